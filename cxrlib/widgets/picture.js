// A PNG from Python as an image with alternative text.
function render({ model, el }) {
  const image = document.createElement("img");
  image.style.maxWidth = "100%";
  const draw = () => {
    const bytes = model.get("value");
    const before = image.src;
    image.alt = model.get("alt");
    image.hidden = bytes.byteLength === 0;
    image.style.width = model.get("wide") ? `${model.get("wide")}px` : "";
    if (!image.hidden) image.src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    if (before) URL.revokeObjectURL(before);
  };
  const names = "change:value change:alt change:wide";
  model.on(names, draw);
  draw();
  el.append(image);
  return () => {
    model.off(names, draw);
    if (image.src) URL.revokeObjectURL(image.src);
  };
}
export default { render };
