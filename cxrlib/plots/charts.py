"""Tables as bars, squares, dots and lines."""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns

from cxrlib.plots.canvas import BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY, entitle, figure


def bars(table, title, xlabel, height=None, colours=None, percent=True):
    """Horizontal bars: one group of bars per row of ``table``, one colour per column."""
    colours = colours or [BLUE, ORANGE, GREEN, PINK]
    if len(table.columns) > len(colours):
        raise ValueError(f"{len(table.columns)} columns, but only {len(colours)} colours for them.")
    table = table.iloc[::-1]
    count, width = len(table), 0.8 / len(table.columns)
    fig, axis = figure(height=height or 0.6 + 0.36 * count * max(1, 0.5 * len(table.columns)))
    for i, (column, colour) in enumerate(zip(table.columns, colours, strict=False)):
        offset = ((len(table.columns) - 1) / 2 - i) * width
        axis.barh(np.arange(count) + offset, table[column], width, color=colour, label=column)
    axis.set_yticks(np.arange(count), table.index)
    axis.margins(y=0.01)
    entitle(axis, title)
    axis.set_xlabel(xlabel)
    if percent:
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    if len(table.columns) > 1:
        fig.legend(loc="outside lower right", ncols=len(table.columns))
    return fig


def heatmap(table, title, label, **options):
    """A table as coloured squares, with numbers where there is a value."""
    rows, columns = table.shape
    fig, axis = figure(width=3.2 + 0.52 * columns, height=2.2 + 0.36 * rows)
    settings = {"cmap": "Blues", "annot": True, "fmt": ".2f", "annot_kws": {"fontsize": 8}}
    sns.heatmap(table, ax=axis, cbar_kws={"label": label}, **(settings | options))
    axis.set(xlabel="", ylabel="")
    axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=45, ha="right")
    entitle(axis, title)
    return fig


def intervals(points, title, xlabel, low=None, high=None, reference=None, xlim=None):
    """Dots with intervals, a row per label.

    ``points`` is a Series, or a DataFrame with one colour per column; ``low`` and ``high`` have its
    shape, or are None for dots alone. ``reference`` is an x to draw a dashed line at.
    """
    points = points.to_frame() if points.ndim == 1 else points
    names = list(points.index)[::-1]
    count = len(points.columns)
    fig, axis = figure(height=1.1 + 0.3 * len(names) * max(1, 0.42 * count))
    gap = min(0.24, 0.7 / count)
    for i, column in enumerate(points):
        y = np.arange(len(names)) + ((count - 1) / 2 - i) * gap
        x = points[column].reindex(names)
        colour = [BLUE, ORANGE, GREEN, PINK][i % 4]
        if low is not None:
            ends = [(t.to_frame(column) if t.ndim == 1 else t)[column].reindex(names)
                    for t in (low, high)]  # fmt: skip
            axis.hlines(y, *ends, color=colour, lw=2.2, alpha=0.55)
        axis.plot(x, y, "o", color=colour, ms=6, label=str(column))
    if reference is not None:
        axis.axvline(reference, color=GREY, ls="--", lw=1)
    axis.set_yticks(np.arange(len(names)), names)
    axis.grid(axis="x", alpha=0.25)
    axis.set(xlabel=xlabel, xlim=xlim, ylim=(-0.7, len(names) - 0.3))
    entitle(axis, title)
    if count > 1:
        room = sum(len(str(column)) + 6 for column in points) < 85
        fig.legend(loc="outside lower right", ncols=count if room else 2)
    return fig


def loss_surface(forms, surfaces, title):
    """The penalty over the square of (p_parent, p_child), with arrows where training pushes.

    ``forms`` are the names of the columns, and ``surfaces``, one for each, functions of two arrays
    that return (value, gradient of parent, of child).
    """
    fig, axes = figure(1, len(forms), 4.1 * len(forms), 4.7, sharey=True)
    fine, coarse = np.linspace(0.005, 0.995, 100), np.linspace(0.08, 0.92, 9)
    shade = sns.light_palette(SKY, as_cmap=True)  # arrows stay visible on its darkest
    for axis, form, surface in zip(np.atleast_1d(axes), forms, surfaces, strict=True):
        value, _, _ = surface(*np.meshgrid(fine, fine))
        image = axis.pcolormesh(fine, fine, value, cmap=shade, vmin=0, vmax=1, rasterized=True)
        x, y = np.meshgrid(coarse, coarse)
        _, down_parent, down_child = surface(x, y)
        if np.hypot(down_parent, down_child).max() > 0:
            pushed = np.hypot(down_parent, down_child) > 1e-9
            arrows = [a[pushed] for a in (x, y, -down_parent, -down_child)]
            axis.quiver(*arrows, color=RED, scale=3.2, width=0.009)
        else:
            axis.text(0.5, 0.06, "no arrows: no gradient", color=RED, ha="center", fontsize=12)
        axis.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
        axis.set(xlabel="p(parent)", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.set_title(form, fontsize=12)
    np.atleast_1d(axes)[0].set_ylabel("p(child)")
    fig.colorbar(image, ax=axes, label="penalty", shrink=0.75)
    fig.suptitle(title, x=0.01, ha="left", fontsize=13)
    return fig


def curves(tables, title):
    """Loss and AUROC by epoch, a colour per run. ``tables`` maps names to ``Run.curves``."""
    fig, (left, right) = figure(1, 2, 10, 4)
    colours = [BLUE, ORANGE, GREEN, PINK, *plt.rcParams["axes.prop_cycle"].by_key()["color"]]
    for (name, table), colour in zip(tables.items(), colours, strict=False):
        left.plot(table.index, table["train_loss"], color=colour, ls="--", lw=1.5)
        left.plot(table.index, table["val_loss"], color=colour, lw=2, label=name)
        right.plot(table.index, table["val_auroc"], color=colour, lw=2, label=name)
    left.set(xlabel="epoch", ylabel="loss (dashed: training)")
    right.set(xlabel="epoch", ylabel="AUROC, validation")
    for axis in (left, right):
        axis.xaxis.get_major_locator().set_params(integer=True)
    right.legend(loc="lower right")
    fig.suptitle(title, x=0.01, ha="left", fontsize=13)
    return fig
