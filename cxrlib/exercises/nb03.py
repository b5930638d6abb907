"""Exercises of notebook 03, building the hierarchy."""

import itertools

import numpy as np

from cxrlib.exercises.core import difference, exercise


@exercise(
    "03",
    1,
    "Is the group there, if a child is not known?",
    minutes=3,
    hints=(
        "What must be known to be sure that a group is there? And to be sure that it is not?",
        "Put 0.5 for what is not known, take the largest of every row, and turn a largest of 0.5 "
        "back into NaN.",
    ),
)
def group_present(children):
    """A group is present if any of its children is. What if some are not known?

    children: an array [N, C], a row an image, a column a child: 1 present, 0 absent, NaN unknown.
    Returns an array [N]: 1, 0 or NaN, as Kleene's logic has it: what can be known is known, and
    the rest stays unknown. The rows [1, NaN], [0, NaN] and [0, 0] give [1, NaN, 0].
    """
    largest = np.where(np.isnan(children), 0.5, children).max(axis=1)
    return np.where(largest == 0.5, np.nan, largest)


@group_present.inputs
def _draw_children(rng):
    for count, width in ((6, 2), (40, 3)):
        children = rng.choice([0.0, 0.0, 1.0, np.nan], (count, width))
        children[:5, :2] = [[1, np.nan], [0, np.nan], [np.nan, np.nan], [0, 0], [0, 1]]
        children[1:4, 2:] = children[1:4, :1]  # these rows stay what they are
        yield (rng.permutation(children),)


@group_present.mistake(
    "On the way up, unknown has turned into absent. An image that was never checked for devices "
    "may well show one."
)
def _absent(children):
    return np.where(np.isnan(children), 0, children).max(axis=1)


@group_present.mistake(
    "You left out what is not known, as `np.nanmax` does. But of 0 and unknown the unknown one may "
    "be a 1, so nobody knows."
)
def _left_out(children):
    largest = np.where(np.isnan(children), 0, children).max(axis=1)
    return np.where(np.isnan(children).all(axis=1), np.nan, largest)


@group_present.mistake(
    "One unknown child makes your group unknown. But if another child is present, so is the group, "
    "whatever the unknown one is."
)
def _contagious(children):
    return children.max(axis=1)


@group_present.mistake(
    "Your group needs all of its children. One is enough: who has a fracture needs no pacemaker to "
    "be under Other."
)
def _all_of_them(children):
    least = np.where(np.isnan(children), 0.5, children).min(axis=1)
    return np.where(least == 0.5, np.nan, least)


@group_present.mistake(
    "On the way up, unknown has turned into present: every image that was never checked for "
    "devices would be under Other."
)
def _present(children):
    return np.where(np.isnan(children), 1, children).max(axis=1)


@exercise(
    "03",
    2,
    "Both give way",
    minutes=4,
    hints=(
        "Where the child scores above its parent, where between the two do they meet?",
        "At their mean: `np.where(child > parent, (parent + child) / 2, parent)`, and likewise for "
        "the child.",
    ),
)
def nearest_coherent(parent, child):
    """The projection of one edge: the coherent scores that are nearest to those predicted.

    parent, child: arrays [N] of scores from 0 to 1. Some children score above their parent.
    Returns two new arrays [N], of the parent and of the child, in which no child scores above its
    parent, and for which the sum of the squared changes is the smallest there is. What was
    predicted stays as it is. A parent with 0.4 and a child with 0.7 both become 0.55; a parent with
    0.9 and a child with 0.8 keep their scores.
    """
    middle, wrong = (parent + child) / 2, child > parent
    return np.where(wrong, middle, parent), np.where(wrong, middle, child)


@nearest_coherent.inputs
def _draw_scores(rng):
    for count in (4, 60):
        scores = rng.random((2, count))
        scores[:, :2] = np.sort(scores[:, :2], axis=0)  # contradictions
        scores[:, 2:4] = np.sort(scores[:, 2:4], axis=0)[::-1]  # none
        yield tuple(scores)


@nearest_coherent.behaviour
def _leaves_the_predictions(answer, parent, child):
    before = parent.copy(), child.copy()
    answer(parent, child)
    if np.array_equal(before, (parent, child)):
        return None
    return (
        "The scores are right, but you wrote them over those predicted, which are then lost: "
        "begin with `parent.copy()` and `child.copy()`."
    )


@nearest_coherent.mistake(
    "That is “max”: the parent alone moves, by the whole gap. Two halves, squared, are less than "
    "one whole."
)
def _trust_the_child(parent, child):
    return np.maximum(parent, child), child


@nearest_coherent.mistake(
    "That is “min”: the child alone moves, by the whole gap. If both move by half of it, the sum "
    "of squares is half as large."
)
def _trust_the_parent(parent, child):
    return parent, np.minimum(parent, child)


@nearest_coherent.mistake(
    "You moved pairs that had nothing to repair. The nearest scores to coherent ones are these "
    "themselves."
)
def _always(parent, child):
    return (parent + child) / 2, (parent + child) / 2


@nearest_coherent.mistake(
    "You exchanged the two, so that each moves by the whole gap. It is coherent, and farther than "
    "it need be: they may meet."
)
def _exchanged(parent, child):
    return np.maximum(parent, child), np.minimum(parent, child)


@exercise(
    "03",
    3,
    "Closing the labels",
    minutes=8,
    hints=(
        "One walk over the edges carries a label up by one edge, or more if you are lucky with "
        "their order. How often must you walk, so that it reaches the top in any order?",
        "Repeat once for every label: `for parent, child in edges:` make the parent's column the "
        "larger of the two, `np.maximum(closed[:, p], closed[:, c])`.",
    ),
)
def close_labels(table, labels, edges):
    """Make every ancestor of a positive label positive: its parents, their parents, and so on.

    table: an array [N, L] of 0 and 1, a row an image, a column a label.
    labels: a list of the L names, in the order of the columns.
    edges: a list of pairs of names (parent, child), in any order. A label may have several
    parents; there is no cycle.
    Returns the closed table, a new array [N, L]; the old one stays as it is. With labels A, B and
    C, and edges (A, B) and (B, C), the row [0, 0, 1] becomes [1, 1, 1], and [0, 1, 0] becomes
    [1, 1, 0].
    """
    closed = table.copy()
    for _ in labels:
        for parent, child in edges:
            p, c = labels.index(parent), labels.index(child)
            closed[:, p] = np.maximum(closed[:, p], closed[:, c])
    return closed


@close_labels.inputs
def _draw_tables(rng):
    edges = [("Abnormal", "Opacity"), ("Opacity", "Consolidation"), ("Abnormal", "Infection")]
    edges += [("Consolidation", "Pneumonia"), ("Infection", "Pneumonia"), ("Opacity", "Edema")]
    names = ["Abnormal", "Opacity", "Consolidation", "Infection", "Pneumonia", "Edema"]
    for count, ordered in ((6, edges), (30, edges[::-1]), (30, list(rng.permutation(edges)))):
        labels = [str(name) for name in rng.permutation(names)]
        table = (rng.random((count, len(labels))) < 0.2).astype(int)
        table[:2] = [[int(name == only) for name in labels] for only in ("Pneumonia", "Opacity")]
        yield table, labels, [(str(parent), str(child)) for parent, child in ordered]
    chain = list("ABCDEFGH")  # as high as can be, and from the top down: the most walks there are
    yield np.eye(len(chain), dtype=int), chain, list(itertools.pairwise(chain))


def _way_up(above, name, edges):
    """The labels from ``above`` down to ``name``, along edges; empty if there is no way."""
    if above == name:
        return [name]
    ways = (_way_up(child, name, edges) for parent, child in edges if parent == above)
    return next(([above, *way] for way in ways if way), [])


@close_labels.judged_by
def _is_closed(answer, table, labels, edges):
    right, names = close_labels.solution(table, labels, edges), np.array(labels)
    wrong = difference(answer, right)
    if wrong is None or not isinstance(answer, np.ndarray) or answer.shape != right.shape:
        return close_labels.compare(answer, (table, labels, edges))
    answer = answer.astype(float)
    row, column = np.argwhere(~np.isclose(answer, right))[0]
    label, given = labels[column], [str(name) for name in names[table[row] == 1]]
    told = f"Image {row} has {' and '.join(given) or 'no label'}; yours gives {label} "
    told += f"{answer[row, column]:g}, expected {right[row, column]}"
    if right[row, column] == 0:
        return f"{told}: nothing that the image has lies below {label}."
    if label in given:
        return f"{told}: what is positive stays so."
    way = next(way for name in given if (way := _way_up(label, name, edges)))
    return f"{told}, by the edges {' → '.join(way)}."


@close_labels.behaviour
def _leaves_the_table(answer, table, labels, edges):
    before = table.copy()
    answer(table, labels, edges)
    if np.array_equal(before, table):
        return None
    return (
        "The closed table is right, but you wrote it over the old one, and what was annotated is "
        "lost: begin with `table.copy()`."
    )


def _climbed(table, labels, edges, walks):
    closed = table.copy()
    for parent, child in edges * walks:
        p, c = labels.index(parent), labels.index(child)
        closed[:, p] |= closed[:, c]
    return closed


@close_labels.mistake(
    "You walk over the edges once. Where a parent's own edge came first, the grandparent never "
    "hears of the child."
)
def _one_walk(table, labels, edges):
    return _climbed(table, labels, edges, 1)


@close_labels.mistake(
    "Turned round: you made the children of a positive label positive. Who shows an opacity need "
    "not show every kind of it."
)
def _downwards(table, labels, edges):
    return _climbed(table, labels, [(child, parent) for parent, child in edges], len(labels))


@close_labels.mistake(
    "You struck out children whose parent is missing. That is coherent too, but closing believes "
    "the child and completes the parent."
)
def _struck_out(table, labels, edges):
    return 1 - _climbed(1 - table, labels, [(c, p) for p, c in edges], len(labels))


@close_labels.mistake(
    "You copied the child's column onto its parent's, zeros and all. A parent that is 1 stays 1, "
    "whatever any one child says."
)
def _copied(table, labels, edges):
    closed = table.copy()
    for parent, child in edges * len(labels):
        closed[:, labels.index(parent)] = closed[:, labels.index(child)]
    return closed


@close_labels.mistake(
    "One parent of each label was lost, as in a dict of {child: parent}. A hierarchy is a DAG: a "
    "label may have several, and all of them become positive."
)
def _one_parent(table, labels, edges):
    last = {child: parent for parent, child in edges}
    return _climbed(table, labels, [(p, c) for c, p in last.items()], len(labels))


@exercise(
    "03",
    4,
    "An edge that says nothing new, and costs",
    minutes=5,
    hints=(
        "In the paper's hierarchy, which edges into Cardiomegaly and Pneumonia could one strike "
        "out, so that every label keeps its ancestors?",
        "Look for two edges that follow each other, (a, b) and (b, c). If (a, c) is no edge yet, "
        "it is one to return.",
    ),
)
def silent_edge(edges):
    """Find an edge that changes no closed table, and still makes a mistake cost more.

    edges: a list of pairs of names (parent, child), without a cycle.
    Returns one pair (parent, child) of these names that is not in `edges`. With it, the hierarchy
    still has no cycle, and every label has the ancestors that it had before. There may be several
    such pairs. With [("Opacity", "Consolidation"), ("Consolidation", "Pneumonia")] it is
    ("Opacity", "Pneumonia").
    """
    # What it costs: let a loss add up how much children score above their parents. An image that
    # scores Opacity 0.4, Consolidation 0.6 and Pneumonia 0.9 pays 0.2 + 0.3 = 0.5 on the two edges.
    # The third makes it pay 0.5 more, for the same mistake.
    for parent, middle in edges:
        for upper, child in edges:
            if upper == middle and (parent, child) not in edges:
                return parent, child


@silent_edge.inputs
def _draw_hierarchies(rng):
    chain = [("Abnormal", "Opacity"), ("Opacity", "Lung Opacity"), ("Lung Opacity", "Edema")]
    twins = [("Abnormal", "Other"), ("Other", "Fracture"), ("Other", "Support Devices")]
    twice = [("Heart", "Cardiac"), ("Cardiac", "Cardiomegaly"), ("Heart", "Cardiomegaly")]
    twice += [("Abnormal", "Heart"), ("Abnormal", "Lung")]
    for edges in (chain + twins, twins, twice):
        yield ([edges[place] for place in rng.permutation(len(edges))],)
    yield (twice,)  # in this order the first two edges that follow each other are joined already


def _below(name, edges):
    """A label and all its descendants."""
    found = {name}
    for _ in edges:
        found |= {child for parent, child in edges if parent in found}
    return found


@silent_edge.judged_by
def _says_nothing_new(answer, edges):
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return "Expected a pair of names: `return parent, child`."
    names = {name for edge in edges for name in edge}
    if not all(isinstance(name, str) and name in names for name in answer):
        return f"Expected two of the names {', '.join(sorted(names))}; got {answer!r}."
    parent, child = answer
    if (parent, child) in edges:
        return f"{parent} → {child} is an edge already."
    if parent in _below(child, edges):
        return f"{parent} → {child} closes a cycle: {parent} is {child}, or below it."
    if child not in _below(parent, edges):
        return (
            f"{parent} → {child} says something new: an image with {child} alone would now be "
            f"closed with {parent}, too."
        )
    return None


@silent_edge.mistake(
    "That edge is there already. A second copy would be no edge of a graph; look for two labels "
    "that are joined only by a longer way."
)
def _there_already(edges):
    return edges[0]


@silent_edge.mistake(
    "The right two labels, turned round: with a child as the parent of its own ancestor, the graph "
    "has a cycle and is no hierarchy."
)
def _upside_down(edges):
    for parent, middle in edges:
        for upper, child in edges:
            if upper == middle and (parent, child) not in edges:
                return child, parent


@silent_edge.mistake(
    "You joined two children of one parent. Siblings imply nothing about each other, so this edge "
    "changes what closing does."
)
def _siblings(edges):
    for parent, one in edges:
        for other, two in edges:
            if parent == other and one != two and (one, two) not in edges:
                return one, two
