// HTML from Python, written by the course: names from outside are escaped there.
function render({ model, el }) {
  const words = document.createElement("div");
  words.className = "cxr-words";
  let shown = {};  // what is not to be kept comes as a message, and is no state
  const draw = () => { words.innerHTML = shown.value ?? model.get("value"); };
  const receive = (message) => { shown = message.show; draw(); };
  model.on("change", draw);
  model.on("msg:custom", receive);
  draw();
  el.append(words);
  return () => { model.off("change", draw); model.off("msg:custom", receive); };
}
export default { render };
