"""Radiographs as PNG, quick enough to follow a slider: no axes, no text, one image."""

import io

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image
from scipy import ndimage

from cxrlib import plots

SIDE = 300
"""Pixels of a film's side."""


def film(grey, heat=None, outline=None, side=SIDE):
    """A radiograph, with a map over it and an outline around a place: array uint8 [side, side, 3].

    Parameters
    ----------
    grey : uint8 [H, W] or [1, H, W].
    heat : a map [h, w], 0 … 1, of any size; warm where it is high.
    outline : bool [h, w], of any size.
    """
    picture = Image.fromarray(np.squeeze(np.asarray(grey)))
    picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    colours = np.repeat(np.asarray(picture, dtype=float)[:, :, None], 3, axis=2)
    if heat is not None:
        heat = _resized(heat, side)[:, :, None]
        weight = 0.75 * heat**0.7
        colours += weight * (255 * colormaps["inferno"](heat[:, :, 0])[:, :, :3] - colours)
    if outline is not None and np.any(outline):
        inside = _resized(outline, side) > 0.5
        line = inside ^ ndimage.binary_erosion(inside, iterations=2)
        colours[line] = 255 * np.array(to_rgb(plots.SKY))
    return np.round(colours).astype(np.uint8)


def framed(pictures, marked, width=4):
    """Pictures [side, side, 3] in a row, those that are marked with a frame in colour."""
    framed = []
    for picture, is_marked in zip(pictures, marked, strict=True):
        colour = 255 * np.array(to_rgb(plots.ORANGE if is_marked else "white"))
        side = len(picture) + 2 * width
        frame = np.broadcast_to(colour.astype(np.uint8), (side, side, 3)).copy()
        frame[width:-width, width:-width] = picture
        framed.append(frame)
    return np.concatenate(framed, axis=1)


def as_png(colours):
    """An array uint8 [H, W, 3] as the bytes of a PNG, quickly made rather than small."""
    content = io.BytesIO()
    Image.fromarray(colours).save(content, "PNG", compress_level=1)
    return content.getvalue()


def _resized(values, side):
    values = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.asarray(values.resize((side, side), Image.Resampling.BILINEAR)).clip(0, 1)
