// A PNG from Python as an image with alternative text.
function render({ model, el }) {
  const image = document.createElement("img");
  image.style.maxWidth = "100%";
  let shown = {};  // what is not to be kept comes as a message, and is no state
  const draw = () => {
    const bytes = shown.value ?? model.get("value"), before = image.src;
    image.alt = shown.alt ?? model.get("alt");
    image.hidden = bytes.byteLength === 0;
    image.style.width = model.get("wide") ? `${model.get("wide")}px` : "";
    if (!image.hidden) image.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    if (before) URL.revokeObjectURL(before);
  };
  const receive = (message, buffers) => {
    const had = Object.keys(shown).length;
    shown = { ...message.show };
    message.buffers.forEach((name, k) => { shown[name] = buffers[k]; });
    if (had || Object.keys(shown).length) draw();
  };
  model.on("change", draw);  // once for a message, whatever it holds
  model.on("msg:custom", receive);
  draw();
  el.append(image);
  return () => {
    model.off("change", draw);
    model.off("msg:custom", receive);
    if (image.src) URL.revokeObjectURL(image.src);
  };
}
export default { render };
