"""How things are drawn: one message a figure, colours that everyone can tell apart.

Every function returns a matplotlib figure. ``show(fig, alt)`` puts it into a notebook together
with a text for those who cannot see it.
"""

import io
import os
import textwrap

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import seaborn as sns
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
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


def _title(axis, text):
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


def layout(hierarchy):
    """Where the labels of a drawn hierarchy stand: {label: (column, −row)}, parents to the left.

    Columns are by depth (longest path from a root); rows by walking the graph depth first.
    """
    columns, row = enumerate(nx.topological_generations(hierarchy.graph)), {}
    depth = {label: column for column, labels in columns for label in labels}

    def place(label, next_row):
        if label in row:
            return next_row
        children = hierarchy.children(label)
        if len(children) < 2:  # a row of its own, so that no edge runs behind its box
            row[label], next_row = next_row, next_row + 1
        for child in children:
            next_row = place(child, next_row)
        if label not in row:
            row[label] = np.mean([row[child] for child in children])
        return next_row

    next_row = 0
    roots = [label for label in hierarchy.labels if depth[label] == 0]
    for root in sorted(roots, key=lambda label: not hierarchy.children(label)):
        next_row = place(root, next_row)
    lowest = dict.fromkeys(depth.values(), -1.0)  # of a column, so far
    for label in sorted(row, key=row.get):  # two groups over the same children would share a place
        row[label] = lowest[depth[label]] = max(row[label], lowest[depth[label]] + 1)
    return {label: (depth[label], -row[label]) for label in hierarchy.labels}


BOX = (0.42, 0.4)
"""Half the width and half the height of a label's box, where rows and columns are 1 apart."""


def draw_hierarchy(
    hierarchy, values=None, title=None, highlight=(), limits=(0, 1), label=None, marked=()
):
    """Draw a hierarchy from left to right, parents before children; exclusions are dashed.

    Parameters
    ----------
    hierarchy : Hierarchy
    values : Series by label, to colour and print in the boxes (whole numbers without decimals, NaN
        not at all); or None.
    title : the figure's message.
    highlight : edges (parent, child) to draw in colour.
    limits : values for the lightest and the darkest colour.
    label : what the values are, for the caption under the drawing.
    marked : labels whose boxes get a coloured frame.
    """
    places = layout(hierarchy)
    depth = max(x for x, _ in places.values())
    rows = 1 - min(y for _, y in places.values())
    fig, axis = figure(width=2.55 * (depth + 1), height=0.52 * rows + 1.0)
    for parent, child in hierarchy.edges:
        _draw_edge(axis, places[parent], places[child], (parent, child) in highlight)
    for pair in hierarchy.never_both:
        _draw_exclusion(axis, *(places[name] for name in pair))
    whole = values is not None and (values.dropna() % 1 == 0).all()
    for name, place in places.items():
        value = None if values is None or np.isnan(values[name]) else float(values[name])
        share = 0 if value is None else np.clip((value - limits[0]) / (limits[1] - limits[0]), 0, 1)
        text = "" if value is None else f"  {value:.0f}" if whole else f"  {value:.2f}"
        _draw_box(axis, place, name, text, share, name in marked)
    room = 0.42 if hierarchy.never_both else 0.05
    axis.set(xlim=(-BOX[0] - room, depth + BOX[0] + 0.05), ylim=(-rows + 0.4, 0.6))
    axis.axis("off")
    if title:
        _title(axis, title)
    notes = [label] * bool(label) + ["dashed: never both"] * bool(hierarchy.never_both)
    if notes:
        words = "; ".join(notes)
        axis.text(1, 0, words, transform=axis.transAxes, fontsize=12, ha="right", va="bottom")
    return fig


def _draw_edge(axis, parent, child, highlighted):
    # Turn in the first gap between columns, then run along the child's own row.
    (x0, y0), (x1, y1) = parent, child
    t = np.linspace(0, 1, 40)
    x = x0 + BOX[0] + (1 - 2 * BOX[0]) * t
    y = y0 + (y1 - y0) * (3 - 2 * t) * t**2
    colour, width = (RED, 2.4) if highlighted else (GREY, 1.2)
    axis.plot([*x, x1 - BOX[0]], [*y, y1], color=colour, lw=width)


def _draw_exclusion(axis, one, other):
    # Bulging to the left: beside the boxes of a column, and behind those of other columns.
    ends = sorted((one, other), key=lambda place: -place[1])
    axis.add_patch(FancyArrowPatch(
        *[(x - BOX[0], y) for x, y in ends], arrowstyle="-", linestyle=(0, (4, 3)),
        connectionstyle="arc3,rad=0.18", color=PINK, lw=2, zorder=2,
    ))  # fmt: skip


def ink_on(colour):
    """Black or white, whichever is read more easily on an RGB colour (by WCAG 2's contrast)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    luminance = np.dot((0.2126, 0.7152, 0.0722), linear)
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def _draw_box(axis, place, name, text, share, marked):
    (x, y), (half_width, half_height) = place, BOX
    face = sns.light_palette(BLUE, as_cmap=True)(share * 0.85)
    axis.add_patch(FancyBboxPatch(
        (x - half_width, y - half_height), 2 * half_width, 2 * half_height,
        boxstyle="round,pad=0,rounding_size=0.12", mutation_aspect=3,
        facecolor=face,
        edgecolor=RED if marked else GREY, linewidth=3 if marked else 1, zorder=3,
    ))  # fmt: skip
    lines = textwrap.wrap(name, 17, break_long_words=False)  # as wide as Cardiomediastinum
    shortest = min(range(len(lines)), key=lambda n: (len(lines[n]), -n))
    lines[shortest] += text
    axis.text(
        x, y, "\n".join(lines), ha="center", va="center", linespacing=0.95, zorder=4,
        fontsize=12, color=ink_on(face),
    )  # fmt: skip


def outline(hierarchy, title, columns=4, highlight=()):
    """A large hierarchy as indented lists, side by side: what has no room as boxes.

    A label with several parents stands under each of them, in italics. ``highlight`` are edges
    (parent, child); the child is then in colour where it stands under that parent.
    """
    lines = []

    def write(label, parent=None, level=0):
        lines.append((label, parent, level))
        for child in hierarchy.children(label):
            write(child, label, level + 1)

    roots = [label for label in hierarchy.labels if not hierarchy.parents(label)]
    for root in sorted(roots, key=lambda label: not hierarchy.children(label)):
        write(root)
    height = -(-len(lines) // columns)
    fig, axis = figure(width=3.9 * columns, height=0.21 * height + 0.9)
    for k, (label, parent, level) in enumerate(lines):
        axis.text(
            k // height + 0.04 * level, -(k % height), label, fontsize=10.5, va="center",
            color=RED if (parent, label) in highlight else "black",
            weight="bold" if level == 0 and hierarchy.children(label) else "normal",
            style="italic" if len(hierarchy.parents(label)) > 1 else "normal",
        )  # fmt: skip
    axis.set(xlim=(0, columns), ylim=(-height, 1))
    axis.axis("off")
    _title(axis, title)
    return fig


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
    _title(axis, title)
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
    _title(axis, title)
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
    _title(axis, title)
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
