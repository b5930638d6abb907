"""The scores nearest to some others that contradict no edge, and no exclusion."""

from collections import defaultdict
from heapq import heappop, heappush
from itertools import count

import networkx as nx
import numpy as np

from cxrlib.hierarchy.names import HierarchyError


def project(scores, edges, apart, tolerance=1e-10, rounds=20_000):
    """The nearest scores, in least squares, in which no child is above its parent, and no two
    labels that exclude each other add up to more than 1.

    That p(a) + p(b) is at most 1 says that a is at most "not b", of probability 1 − p(b). So with
    exclusions, every label gets a second one, its opposite, and every edge a second one between the
    opposites, upside down; exclusions are then edges like others. The nearest scores of twice as
    many labels keep each pair opposite, since exchanging all pairs changes nothing.

    Parameters
    ----------
    scores : float [N, L]
    edges : (parents, children), int [E] each: the columns that each edge joins.
    apart : (ones, others), int [X] each: the columns that exclude each other.
    """
    parents, children = edges
    if not len(apart[0]):
        return project_on_edges(scores, parents, children, tolerance, rounds)
    labels, (one, other) = scores.shape[1], apart
    above = np.concatenate([parents, children + labels, other + labels, one + labels])
    below = np.concatenate([children, parents + labels, one, other])
    doubled = np.hstack([scores, 1 - scores])
    found = project_on_edges(doubled, above, below, tolerance, rounds)
    return (found[:, :labels] + 1 - found[:, labels:]) / 2


def project_on_edges(scores, parents, children, tolerance, rounds):
    """The nearest scores in which no child is above its parent.

    First only the edge from each label's lowest parent counts: those make a forest, in which the
    nearest scores are exact and quickly found. Where they break no other edge either, nothing
    nearer can exist. Other rows are left to Dykstra's algorithm, which knows all edges.

    References
    ----------
    Pardalos & Xue 1999 (trees); Boyle & Dykstra 1986.
    """
    edges = nx.DiGraph(zip(parents.tolist(), children.tolist(), strict=True))
    most_parents, most_children = (
        max((n for _, n in degree), default=0) for degree in (edges.in_degree, edges.out_degree)
    )
    if most_parents > most_children:  # upside down it is more of a forest
        return -project_on_edges(-scores, children, parents, tolerance, rounds)
    order = list(nx.topological_sort(edges))
    rank = {label: n for n, label in enumerate(order)}
    lowest = {c: max(edges.predecessors(c), key=rank.get) for c in order if edges.in_degree(c)}
    broken = (scores[:, parents] < scores[:, children]).any(axis=1)
    nearest = np.array(scores, dtype=float)
    for row in np.flatnonzero(broken):
        nearest[row] = _project_forest(nearest[row].tolist(), order, lowest)
    broken = (nearest[:, parents] < nearest[:, children]).any(axis=1)
    if broken.any():
        nearest[broken] = _dykstra(scores[broken], parents, children, tolerance, rounds)
    return nearest


def _project_forest(scores, order, parent_of):
    """The same for one row of scores, where a label has one parent at most.

    From the leaves upwards, a label that is below one of the blocks under it is pooled with the
    highest of them: all labels of a block get its mean.
    """
    total, size = list(scores), [1] * len(scores)
    below = defaultdict(list)  # the blocks right below a block, as a heap: (−mean, its top label)
    pooled = set()
    for label in reversed(order):
        blocks = below[label]
        while blocks and -blocks[0][0] > total[label] / size[label]:
            _, top = heappop(blocks)
            pooled.add(top)
            total[label] += total[top]
            size[label] += size[top]
            blocks, fewer = sorted((blocks, below.pop(top)), key=len, reverse=True)
            for block in fewer:
                heappush(blocks, block)
        below[label] = blocks
        if label in parent_of:
            heappush(below[parent_of[label]], (-total[label] / size[label], label))
    for label in order:
        scores[label] = scores[parent_of[label]] if label in pooled else total[label] / size[label]
    return scores


def _dykstra(scores, parents, children, tolerance, rounds):
    """The same for any edges, up to a tolerance.

    Mend one edge after the other (both ends move to their mean), but first take back what was done
    for that edge in the round before. The rounds converge to the projection on what all edges allow
    together; without the taking back they would only reach some coherent scores. Edges that share
    no label are mended at once.
    """
    of = np.array(scores.T, order="C")  # one row for each label
    moved = np.zeros((len(parents), len(scores)))
    groups = _apart(parents, children)
    for _ in range(rounds):
        largest = 0.0
        for edges in groups:
            parent, child = parents[edges], children[edges]
            mend = np.maximum(of[child] - of[parent] + 2 * moved[edges], 0) / 2
            change = mend - moved[edges]
            of[parent] += change
            of[child] -= change
            moved[edges] = mend
            largest = max(largest, np.abs(change).max(initial=0))
        if largest < tolerance:
            return of.T
    raise HierarchyError(
        f"the projection did not settle in {rounds} rounds. Repair these scores by how='max' or "
        "'min'."
    )


def _apart(parents, children):
    """The edges in groups in which no two share a label: lists of their numbers."""
    groups, taken = defaultdict(list), defaultdict(set)
    for edge, (parent, child) in enumerate(zip(parents.tolist(), children.tolist(), strict=True)):
        free = next(n for n in count() if n not in taken[parent] and n not in taken[child])
        groups[free].append(edge)
        taken[parent].add(free)
        taken[child].add(free)
    return list(groups.values())


def keep_apart(of, one, other):
    """Lower labels in place until no two that exclude each other add up to more than 1.

    ``of`` is [L, N], a row for each label. In each column the most probable label is kept, and caps
    those that it excludes; then the next, as it is by then.
    """
    labels, places = np.unique([one, other], return_inverse=True)
    excludes = np.zeros((len(labels), len(labels)), dtype=bool)
    excludes[places[0], places[1]] = excludes[places[1], places[0]] = True
    values, columns = of[labels], np.arange(of.shape[1])
    order = np.argsort(-values, axis=0, kind="stable")
    waiting = np.ones(values.shape, dtype=bool)
    for winner in order:  # one label for each column
        waiting[winner, columns] = False
        left = 1 - values[winner, columns]
        values = np.where(waiting & excludes[winner].T, np.minimum(values, left), values)
    of[labels] = values
