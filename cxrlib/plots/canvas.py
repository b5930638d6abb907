"""A figure in the course's style, and how it is shown: with a text, and whole."""

import io
import os

import matplotlib.pyplot as plt
from PIL import Image

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#777777",
)  # fmt: skip
"""The palette of Okabe and Ito (2008), which colour-blind readers can tell apart."""

STYLE = {
    "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, PINK, SKY, RED]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
}


def figure(rows=1, columns=1, width=9.0, height=4.5, **options):
    """A figure and its axes in the course's style. Sizes in inches."""
    with plt.rc_context(STYLE):
        return plt.subplots(rows, columns, figsize=(width, height), **options)


def entitle(axis, text):
    """A title over the whole figure of an axis, at its left."""
    axis.figure.suptitle(text, x=0.01, ha="left", fontsize=13)


def show(fig, alt):
    """Display a figure once, with alternative text, and close it."""
    from IPython.display import display

    if os.environ.get("CXR_AUTHOR") and (lost := overhang(fig)) > 0.03:
        raise ValueError(f"The figure {alt!r} is cut off by {lost:.2f} inches: shorten its texts.")
    display(png(fig, alt), raw=True, metadata={"image/png": {"alt": alt}})


def overhang(fig):
    """By how many inches what is drawn reaches beyond the picture's edge; 0 if nothing does."""
    fig.draw_without_rendering()  # the layout is made when it is drawn
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox()
    return max(0.0, -box.x0, -box.y0, box.x1 - width, box.y1 - height)


def png(fig, alt):
    """A figure as the two forms a notebook keeps: the picture, and its text.

    64 levels of each colour are kept: no eye misses the others, and noise that nobody sees would
    double a notebook of radiographs. Few colours are kept as a palette, in half the room.
    """
    drawn, kept = io.BytesIO(), io.BytesIO()
    fig.savefig(drawn, format="png", facecolor="white")
    plt.close(fig)
    levels = [round(round(value * 63 / 255) * 255 / 63) for value in range(256)]
    picture = Image.open(drawn).convert("RGB").point(levels * 3)
    few = picture.getcolors(256) is not None
    (picture.quantize(256) if few else picture).save(kept, "PNG", optimize=True)
    return {"image/png": kept.getvalue(), "text/plain": f"[figure] {alt}"}
