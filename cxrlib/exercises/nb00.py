"""Exercises of notebook 00, start here."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "00",
    1,
    "How an exercise works",
    minutes=1,
    hints=(
        "A label that is present adds 1 to a sum, and one that is absent adds nothing.",
        "`return targets.sum()`",
    ),
)
def how_many_present(targets):
    """How many labels of one image are present?

    Write the body in place of the dots and run the cell. The check calls your function on images
    of its own, new ones each time, and says what differs. Below are a hint and the solution: take
    the # away to see them. `np`, `pd` and `torch` are there to be used.

    targets: an array [L] of 0 (absent) and 1 (present), one for each label.
    Returns a number. With [0, 1, 0, 0, 1] it is 2; where nothing is present, 0.
    """
    return targets.sum()


@how_many_present.inputs
def _draw_images(rng):
    for labels in (11, 21):
        targets = rng.integers(0, 2, labels)
        targets[:3] = 1, 0, 1
        yield (targets,)
    yield (np.zeros(21, dtype=int),)


@how_many_present.mistake(
    "That is how many labels there are. Multi-label means that each may be present or absent."
)
def _all_of_them(targets):
    return len(targets)


@how_many_present.mistake(
    "That is the share of labels that are present. You were asked how many: do not divide."
)
def _share(targets):
    return targets.mean()


@how_many_present.mistake("You counted the absent labels: 0 is absent, 1 is present.")
def _absent(targets):
    return (targets == 0).sum()


@how_many_present.mistake(
    "You say whether anything is present. More than one label can be: count them."
)
def _whether(targets):
    return targets.max()


@how_many_present.mistake(
    "You marked each label, a 1 where it is present. One number is asked: add the marks up."
)
def _marked(targets):
    return targets == 1


@how_many_present.mistake(
    "Those are the labels that are present, one by one. Asked is how many they are: one number."
)
def _one_by_one(targets):
    return [target for target in targets if target == 1]


@exercise(
    "00",
    2,
    "Where do probabilities contradict the hierarchy?",
    minutes=3,
    hints=(
        "Each edge is a question of its own: is this child more probable than this parent?",
        "Go through the edges, `for parent, child in edges`, and keep those with "
        "`probability[child] > probability[parent]`, in a set.",
    ),
)
def contradicted_edges(probability, edges):
    """Which edges of the hierarchy does a model contradict?

    A child is a kind of its parent: pneumonia is a kind of consolidation. So no child should come
    out more probable than its parent. Equally probable is allowed.

    probability: a dict {label: its probability}, of one image.
    edges: a list of pairs (parent, child) of labels.
    Returns the set of the edges whose child is more probable than its parent, an empty one if
    there is none. With {"Fluid Accumulation": 0.3, "Consolidation": 0.45, "Pneumonia": 0.4} and
    the edges ("Fluid Accumulation", "Consolidation") and ("Consolidation", "Pneumonia") it is
    {("Fluid Accumulation", "Consolidation")}.
    """
    return {(parent, child) for parent, child in edges if probability[child] > probability[parent]}


@contradicted_edges.inputs
def _draw_probabilities(rng):
    names = ["Fluid Accumulation", "Consolidation", "Pneumonia", "Edema"]
    pairs = ((0, 1), (1, 2), (0, 2), (0, 3))
    edges = [(names[parent], names[child]) for parent, child in rng.permutation(pairs)]
    low, middle, high = (int(rng.integers(n, n + 10)) for n in (10, 30, 60))
    rising = low, low + 1, high, low  # above by little, above by much, equal
    mixed = low, high, middle, low - 5  # contradicted and not, under the same parents
    falling = np.sort(rng.choice(98, len(names), replace=False) + 1)[::-1]  # none is contradicted
    for percent in (rising, mixed, falling):
        yield {name: int(p) / 100 for name, p in zip(names, percent, strict=True)}, edges


@contradicted_edges.mistake(
    "Turned round: these are the edges whose parent is the more probable, which is as it should be."
)
def _turned_round(probability, edges):
    return {(parent, child) for parent, child in edges if probability[child] < probability[parent]}


@contradicted_edges.mistake(
    "You asked for a child above 0.5 and a parent below it. A child of 0.4 under a parent of 0.2 "
    "contradicts it as well: compare the two with each other, not with 0.5."
)
def _yes_and_no(probability, edges):
    return {(a, b) for a, b in edges if probability[b] > 0.5 > probability[a]}


@contradicted_edges.mistake(
    "You kept the edges with equal probabilities, too. If all fluid in a lung were edema, both "
    "would be equally probable: that contradicts nothing."
)
def _ties_too(probability, edges):
    return {(a, b) for a, b in edges if probability[b] >= probability[a]}


@contradicted_edges.mistake(
    "These are the children alone. A child may have several parents, so name the pair."
)
def _children_alone(probability, edges):
    return {b for a, b in edges if probability[b] > probability[a]}


@contradicted_edges.mistake(
    "The pairs are right, but parent and child have changed places: an edge is (parent, child)."
)
def _child_first(probability, edges):
    return {(b, a) for a, b in edges if probability[b] > probability[a]}


@contradicted_edges.mistake(
    "That says whether anything is contradicted. Asked is which edges are: a set of pairs."
)
def _whether_any(probability, edges):
    return any(probability[b] > probability[a] for a, b in edges)
