"""A hierarchy of labels: as boxes from left to right, or as lists."""

import textwrap

import networkx as nx
import numpy as np
import seaborn as sns
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from cxrlib.plots.canvas import BLUE, GREY, PINK, RED, entitle, figure


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
        entitle(axis, title)
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
    entitle(axis, title)
    return fig
