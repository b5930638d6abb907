"""Radiographs: side by side, with maps and outlines, or with names for what is seen."""

import matplotlib.pyplot as plt
import numpy as np

from cxrlib.plots.canvas import ORANGE, SKY, figure


def gallery(images, titles=None, columns=5, title=None, masks=None, size=2.1, maps=None):
    """Radiographs in a grid.

    Parameters
    ----------
    images : sequence of [H, W] or [1, H, W] arrays, black to white over the range of their type.
    titles : one short text each, or None.
    columns : images per row.
    title : of the whole figure.
    masks : sequence of boolean [H, W] arrays to outline, or None each.
    size : of one image, in inches.
    maps : sequence of [H, W] arrays, 0 … 1, to lay over the images in colour, or None each.
    """
    rows = -(-len(images) // columns)
    line = 0.2 * max((text.count("\n") + 1 for text in titles or []), default=0)
    height = rows * (size + line) + (0.5 if title else 0.1)
    fig, axes = figure(rows, columns, columns * size, height, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
        image = np.squeeze(np.asarray(image))
        top = 255 if image.dtype == np.uint8 else 1
        axis.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="lanczos")
        if maps is not None and maps[i] is not None:
            heat = np.asarray(maps[i], dtype=float).clip(0, 1)
            colours = plt.get_cmap("inferno")(heat)
            colours[..., 3] = 0.75 * heat**0.7
            axis.imshow(colours, interpolation="bilinear")
        if masks is not None and masks[i] is not None and masks[i].any():
            line = SKY if maps is not None else ORANGE
            axis.contour(masks[i], levels=[0.5], colors=[line], linewidths=1.2)
        if titles is not None:
            axis.set_title(titles[i], fontsize=12, loc="center", pad=3)
    if title:
        fig.suptitle(title, x=0.01, ha="left", fontsize=13)
    return fig


def pointed(image, left, right, title):
    """One radiograph with names at both sides, and an arrow from each to its place.

    Parameters
    ----------
    image : array [H, H], 0 to 255.
    left, right : {name: (row, column)}, the names at the left and at the right.
    """
    size, gap = len(image), 0.085 * len(image)
    fig, axis = figure(width=10.2, height=6.6)
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="lanczos")
    for places, x, side in ((left, -0.03, "right"), (right, 1.03, "left")):
        names = sorted(places, key=places.get)
        room = np.arange(len(names)) * gap  # names stand beside their places, a line apart
        heights = room + np.maximum.accumulate([places[name][0] for name in names] - room)
        heights = np.minimum(heights, 0.98 * size - room[::-1])
        for height, name in zip(heights, names, strict=True):
            row, column = places[name]
            arrow = {"arrowstyle": "->", "color": ORANGE, "lw": 1.8, "shrinkB": 0}
            axis.annotate(
                name, (column, row), (x * size, height),
                ha=side, va="center", fontsize=12, arrowprops=arrow, annotation_clip=False,
            )  # fmt: skip
    axis.set(xlim=(-0.42 * size, 1.42 * size))
    axis.axis("off")
    axis.set_title(title, loc="left", fontsize=13)
    return fig
