// A hierarchy from left to right, parents before children. Every box is a button.
const COLUMN = 192, ROW = 46, WIDTH = 164, HEIGHT = 36;  // of the drawing's units: pixels at most
const BLUE = [0, 114, 178], RED = "#D55E00", PINK = "#CC79A7", GREY = "#777777";

function make(parent, name, attributes = {}, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}

// All labels that lie above one (from = 1) or below it (from = 0), and the edges on the way.
function reached(edges, start, from) {
  const found = new Set([start]), ways = new Set();
  for (const label of found)  // a set that grows is walked to its end
    edges.forEach((edge, k) => {
      if (edge[from] === label) { found.add(edge[1 - from]); ways.add(k); }
    });
  return ways;
}

function render({ model, el }) {
  const boxes = model.get("boxes"), edges = model.get("edges");
  const left = model.get("never_both").length ? 30 : 6;
  const at = (label) => [left + COLUMN * boxes[label][0], 5 - ROW * boxes[label][1]];
  const depth = Math.max(...Object.values(boxes).map(([x]) => x));
  const lowest = Math.max(...Object.values(boxes).map(([, y]) => -y));
  const [width, height] = [left + COLUMN * depth + WIDTH + 6, ROW * lowest + HEIGHT + 10];

  el.style.overflowX = "auto";  // on a narrow screen one scrolls: letters must not shrink too far
  el.dataset.lmSuppressShortcuts = "true";  // Jupyter has plans of its own for keys
  const svg = make(el, "svg", {
    viewBox: `0 0 ${width} ${height}`, role: "group",
    "aria-label": "The hierarchy of labels: arrow keys go from one to the next, Enter chooses",
  });
  svg.style.cssText =
    `width: 100%; min-width: ${0.8 * width}px; max-width: ${width}px; background: white; font: 13px sans-serif`;

  const lines = edges.map(([parent, child]) => {
    // It turns in the first gap between columns, then runs along the child's own row.
    const [x, y] = at(parent), [endX, endY] = at(child);
    const [startX, turnX] = [x + WIDTH, x + COLUMN];
    const [from, to, middle] = [y + HEIGHT / 2, endY + HEIGHT / 2, (startX + turnX) / 2];
    const d = `M${startX},${from} C${middle},${from} ${middle},${to} ${turnX},${to} H${endX}`;
    return make(svg, "path", { d, fill: "none" });
  });
  for (const pair of model.get("never_both")) {
    const [[x, y], [endX, endY]] = pair.map(at).sort((a, b) => a[1] - b[1]);
    const bulge = Math.min(x, endX) - 0.12 * (endY - y);
    const d = `M${x},${y + HEIGHT / 2} Q${bulge},${(y + endY + HEIGHT) / 2} ${endX},${endY + HEIGHT / 2}`;
    make(svg, "path", { d, fill: "none", stroke: PINK, "stroke-width": 2, "stroke-dasharray": "4 3" });
  }

  const choose = (label) => { model.set("selected", label); model.save_changes(); };
  const columns = (one, other) => boxes[one][0] - boxes[other][0] || boxes[other][1] - boxes[one][1];
  const order = Object.keys(boxes).sort(columns);  // down each column, from the left
  const drawn = order.map((label, k) => {
    const [x, y] = at(label);
    const group = make(svg, "g", { role: "button", transform: `translate(${x},${y})` });
    group.style.cssText = "cursor: pointer";
    const parts = {
      label, group,
      said: make(group, "rect", { x: -3, y: -3, width: WIDTH + 6, height: HEIGHT + 6, rx: 8, fill: "none" }),
      box: make(group, "rect", { width: WIDTH, height: HEIGHT, rx: 6 }),
      name: make(group, "text", { x: 7, "font-size": 12 }, label.replace("Cardiomediastinum", "Cardiom.")),
      text: make(group, "text", { x: WIDTH - 7, "text-anchor": "end", "font-weight": "bold", y: 15 }),
      note: make(group, "text", { x: 7, y: 30, "font-size": 12 }),
      hint: make(group, "title"),
    };
    group.addEventListener("click", () => choose(label));
    group.addEventListener("keydown", (event) => {
      const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      if (!move && event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      if (!move) return choose(label);
      const next = drawn[(k + move + drawn.length) % drawn.length];
      for (const other of drawn) other.group.setAttribute("tabindex", other === next ? 0 : -1);
      next.group.focus();
    });
    return parts;
  });
  for (const { label, group } of drawn)  // one stop for Tab; arrows go on from there
    group.setAttribute("tabindex", label === model.get("selected") ? 0 : -1);

  let shown = {};  // what is not to be kept comes as a message, and is no state
  function draw() {
    const chosen = model.get("selected");
    const near = new Set([...reached(edges, chosen, 0), ...reached(edges, chosen, 1)]);
    lines.forEach((line, k) => {
      line.setAttribute("stroke", near.has(k) ? RED : GREY);
      line.setAttribute("stroke-width", near.has(k) ? 2.4 : 1.2);
    });
    const [shares, texts, notes, marks] =
      ["shares", "texts", "notes", "marks"].map((name) => shown[name] ?? model.get(name));
    for (const { label, group, said, box, name, text, note, hint } of drawn) {
      const share = 0.85 * Math.min(1, Math.max(0, shares[label] ?? 0));
      const colour = BLUE.map((level) => Math.round(246 + share * (level - 246)));
      const ink = share > 0.55 ? "white" : "black";
      box.setAttribute("fill", `rgb(${colour})`);
      box.setAttribute("stroke", label === chosen ? RED : GREY);
      box.setAttribute("stroke-width", label === chosen ? 3.5 : 1);
      said.setAttribute("stroke", marks[label] ? "black" : "none");
      said.setAttribute("stroke-width", 2.5);
      for (const part of [name, text, note]) part.setAttribute("fill", ink);
      name.setAttribute("y", notes[label] ? 15 : HEIGHT / 2 + 4);
      [text.textContent, note.textContent] = [texts[label] ?? "", notes[label] ?? ""];
      hint.textContent = [label, texts[label], notes[label], marks[label]].filter(Boolean).join(", ");
      group.setAttribute("aria-label", hint.textContent);
      group.setAttribute("aria-pressed", label === chosen);
    }
  }
  const receive = (message) => { shown = message.show; draw(); };
  model.on("change", draw);  // once for a message, whatever it holds
  model.on("msg:custom", receive);
  draw();
  return () => { model.off("change", draw); model.off("msg:custom", receive); };
}
export default { render };
