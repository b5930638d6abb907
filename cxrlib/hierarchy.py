"""The hierarchy: which label is a kind of which other, and what follows from that.

A ``Hierarchy`` is a directed acyclic graph over label names. An edge (parent, child) says that
the child is a kind of the parent: an image that shows the child shows the parent too. A label may
have several parents.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from itertools import count
from numbers import Real
from pathlib import Path
from types import MappingProxyType

import networkx as nx
import numpy as np
import pandas as pd
import yaml

from cxrlib.labels import OBSERVATIONS, to_numbers


class HierarchyError(ValueError):
    """A hierarchy, or a table that should fit one, is not valid; the message names the label."""


@dataclass(frozen=True)
class Hierarchy:
    """An immutable, validated DAG over label names.

    Parameters
    ----------
    labels : names in the order that tensors use.
    edges : (parent, child) pairs over these names.
    none_of : for labels that are defined by absence. ``{"Uncertain": [...]}`` makes ``derive`` set
        ``Uncertain`` to 1 where none of the listed labels is present. A label that a table lacks
        and that is not named here is the OR of its children.

    Raises
    ------
    HierarchyError
        Labels that are no names, are there twice or unknown, a repeated edge, a rule that names
        no label, or a cycle, spelt out edge by edge.

    Examples
    --------
    >>> heart = Hierarchy(["Cardiac", "Cardiomegaly"], [("Cardiac", "Cardiomegaly")])
    >>> heart.parents("Cardiomegaly")
    ('Cardiac',)
    >>> heart.derive(pd.DataFrame({"Cardiomegaly": [1.0, 0.0]}))["Cardiac"].tolist()
    [1.0, 0.0]
    """

    labels: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    none_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self):
        freeze = object.__setattr__
        freeze(self, "labels", _names(self.labels, "the labels"))
        if not self.labels:
            raise HierarchyError("the list of labels is empty.")
        _no_duplicates(self.labels, "label")
        edges = [_names(edge, f"the edge {edge!r}") for edge in self.edges]
        wrong = next((edge for edge in edges if len(edge) != 2), None)
        if wrong is not None:
            raise HierarchyError(f"the edge {wrong!r}: expected two labels, parent and child.")
        rules = {
            label: _names(absent, f"the rule of {label!r}")
            for label, absent in dict(self.none_of).items()
        }
        for name in [name for names in (*edges, rules, *rules.values()) for name in names]:
            self._known(name)
        # One order, whoever wrote them: a hierarchy read from a file equals the one written.
        position = self._position.__getitem__
        freeze(self, "edges", tuple(sorted(edges, key=lambda edge: tuple(map(position, edge)))))
        in_order = {label: self._in_order(rules[label]) for label in self._in_order(rules)}
        freeze(self, "none_of", MappingProxyType(in_order))
        self._validate()

    def _validate(self):
        _no_duplicates([f"{parent} → {child}" for parent, child in self.edges], "edge")
        for label, absent in self.none_of.items():
            _no_duplicates(absent, f"label in the rule of {label!r}:")
            if not absent:
                raise HierarchyError(
                    f"the rule of {label!r} in none_of names no label. List those whose absence "
                    "makes it present, or remove the rule."
                )
        _no_cycle(self.graph, "edges")
        _no_cycle(self._sources, "rules for deriving labels")

    def __reduce__(self):
        # A mapping proxy does not pickle; data loader workers and DDP need one that does.
        return type(self), (self.labels, self.edges, dict(self.none_of))

    # --- The graph -------------------------------------------------------------------------

    @cached_property
    def graph(self):
        """The hierarchy as a ``networkx.DiGraph``, edges from parent to child."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.labels)
        graph.add_edges_from(self.edges)
        return graph

    def parents(self, label):
        """The labels that ``label`` is directly a kind of, in the hierarchy's order."""
        return self._in_order(self.graph.predecessors(self._known(label)))

    def children(self, label):
        """The labels that are directly a kind of ``label``, in the hierarchy's order."""
        return self._in_order(self.graph.successors(self._known(label)))

    def ancestors(self, label):
        """Parents, their parents and so on, in the hierarchy's order."""
        return self._in_order(nx.ancestors(self.graph, self._known(label)))

    def descendants(self, label):
        """Children, their children and so on, in the hierarchy's order."""
        return self._in_order(nx.descendants(self.graph, self._known(label)))

    def _in_order(self, labels):
        return tuple(sorted(labels, key=self._position.__getitem__))

    def _known(self, label):
        if label not in self._position:
            raise HierarchyError(f"unknown label {label!r}: the labels are {_few(self.labels)}.")
        return label

    # --- Between names and positions ---------------------------------------------------------

    @cached_property
    def _position(self):
        return {label: i for i, label in enumerate(self.labels)}

    @cached_property
    def edge_positions(self):
        """Positions of all parents and of all children: two int64 arrays [E], edge by edge."""
        pairs = [tuple(map(self._position.__getitem__, edge)) for edge in self.edges]
        return tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)

    @cached_property
    def edges_bottom_up(self):
        """Positions of (parent, child), an edge after all edges below it: values pass upwards."""
        rank = {self._position[name]: n for n, name in enumerate(nx.topological_sort(self.graph))}
        pairs = zip(*(positions.tolist() for positions in self.edge_positions), strict=True)
        return sorted(pairs, key=lambda edge: (-rank[edge[1]], -rank[edge[0]]))

    def to_array(self, table):
        """The columns of ``table`` in the hierarchy's order, as float32 [N, L]."""
        return np.array(self._columns(table, self.labels), dtype=np.float32)

    def to_numbers(self, table, good, expected):
        """The same as float64, after the checks of ``labels.to_numbers``."""
        return to_numbers(self._columns(table, self.labels), good, expected, HierarchyError)

    def to_table(self, array, index=None):
        """The inverse of ``to_array``: a DataFrame whose columns are the labels."""
        return pd.DataFrame(np.asarray(array), index=index, columns=list(self.labels))

    def _columns(self, table, labels):
        have = set(table.columns)
        missing = [name for name in labels if name not in have]
        if missing:
            raise HierarchyError(
                f"the table has no column {_few(map(repr, missing))}. It has "
                f"{_few(map(repr, table.columns))}."
            )
        columns = table[list(labels)]
        _no_duplicates(columns.columns, "column")
        return columns

    # --- From observations to groups ---------------------------------------------------------

    @cached_property
    def _sources(self):
        """A graph of what each label that can be derived is derived from."""
        sources = nx.DiGraph()
        sources.add_nodes_from(self.labels)
        for label in self.labels:
            needs = self.none_of.get(label) or self.children(label)
            sources.add_edges_from((source, label) for source in needs)
        return sources

    def derive(self, observations):
        """Add the labels that ``observations`` lacks.

        A label that is already a column is kept as it is. A missing one is computed from its
        ``none_of`` rule, or else as the OR of its children. Unknown values follow Kleene's logic:
        1 OR unknown is 1, 0 OR unknown is unknown. Values between 0 and 1 (U-Soft) are OR-ed
        by their maximum.

        Parameters
        ----------
        observations : DataFrame [N, at least the leaves], values in [0, 1] or NaN.

        Returns
        -------
        DataFrame [N, L] in the hierarchy's order, float64, with the index of the input.
        """
        have = set(observations.columns)
        given = self._columns(observations, [label for label in self.labels if label in have])
        array = to_numbers(
            given, lambda x: (x >= 0) & (x <= 1), "0, 1, between them, or NaN", HierarchyError
        )
        values = dict(zip(given.columns, array.T, strict=True))
        for label in nx.topological_sort(self._sources):
            if label in values:
                continue
            sources = self.none_of.get(label) or self.children(label)
            if not sources:
                raise HierarchyError(
                    f"the table has no column {label!r}, and it has no children to derive it from."
                )
            any_present = _kleene_or([values[source] for source in sources])
            values[label] = 1 - any_present if label in self.none_of else any_present
        return pd.DataFrame(
            {label: values[label] for label in self.labels}, index=observations.index
        )

    def close(self, targets):
        """Make positive every ancestor of a positive label; change nothing else.

        Parameters
        ----------
        targets : DataFrame [N, L] of 0, 1, NaN.
        """
        values = self.to_numbers(targets, lambda x: (x >= 0) & (x <= 1), "0, 1 or NaN")
        present = np.array((values == 1).T, order="C")  # one row for each label
        for parent, child in self.edges_bottom_up:
            present[parent] |= present[child]
        return self.to_table(np.where(present.T, 1.0, values), targets.index)

    # --- Coherence ---------------------------------------------------------------------------

    def _edge_scores(self, scores):
        array = self.to_numbers(scores, lambda values: ~np.isnan(values), "a number")
        parents, children = self.edge_positions
        return array[:, parents], array[:, children]

    def violations(self, scores, threshold=0.5):
        """Count, for every edge, the images whose scores contradict it.

        Parameters
        ----------
        scores : DataFrame [N, L] of probabilities (or of 0/1 labels).
        threshold : a label counts as predicted above it.

        Returns
        -------
        DataFrame indexed by (parent, child): ``hard``, images with the child above the threshold
        and the parent below it; ``soft``, images with the child above the parent. NaN never counts.
        """
        parent, child = self._edge_scores(scores)
        hard = _hard(parent, child, threshold)
        return pd.DataFrame(
            {"hard": hard.sum(axis=0), "soft": (child > parent).sum(axis=0)}, index=self.edge_index
        )

    def incoherent(self, scores, threshold=None):
        """Whether each image breaks at least one edge: a boolean Series [N].

        Soft where no threshold is given (a child scores above its parent), hard otherwise.
        """
        parent, child = self._edge_scores(scores)
        broken = child > parent
        if threshold is not None:
            broken = _hard(parent, child, threshold)
        return pd.Series(broken.any(axis=1), index=scores.index, name="incoherent")

    def make_coherent(self, scores, how="max"):
        """Repair scores so that no child scores above any of its parents.

        Parameters
        ----------
        scores : DataFrame [N, L], no NaN.
        how : ``"max"`` raises a parent to its highest descendant (trust the children);
            ``"min"`` lowers a child to its lowest ancestor (trust the parents);
            ``"projection"`` changes scores least, in the sum of squares: parents and children meet
            each other halfway.
        """
        if how not in ("max", "min", "projection"):
            raise HierarchyError(f"how={how!r}: expected 'max', 'min' or 'projection'.")
        repaired = self.to_numbers(scores, np.isfinite, "a finite number")
        if np.isnan(repaired).any():
            raise HierarchyError("scores hold NaN; every label needs a score before the repair.")
        if how == "projection":
            repaired = project(repaired, *self.edge_positions)  # up to rounding; max does the rest
        of = np.array(repaired.T, order="C")  # one row for each label
        if how == "min":
            for parent, child in reversed(self.edges_bottom_up):
                np.minimum(of[child], of[parent], out=of[child])
        else:
            for parent, child in self.edges_bottom_up:
                np.maximum(of[parent], of[child], out=of[parent])
        return self.to_table(of.T, scores.index)

    @cached_property
    def edge_index(self):
        """The edges as a pandas ``MultiIndex`` with the levels parent and child."""
        return pd.MultiIndex.from_tuples(self.edges, names=["parent", "child"])

    # --- Files -------------------------------------------------------------------------------

    def to_dict(self):
        """The hierarchy as plain lists and dictionaries, for YAML and JSON."""
        return {
            "labels": list(self.labels),
            "children": {
                label: list(self.children(label)) for label in self.labels if self.children(label)
            },
            "none_of": {label: list(absent) for label, absent in self.none_of.items()},
        }

    @classmethod
    def from_dict(cls, content):
        """The inverse of ``to_dict``; ``HierarchyError`` where it is not of that form."""
        if not isinstance(content, dict) or not isinstance(content.get("labels"), list):
            raise HierarchyError("expected a list called 'labels' at the top level.")
        unknown = [name for name in content if name not in ("labels", "children", "none_of")]
        if unknown:
            raise HierarchyError(f"unknown entry {unknown[0]!r}; see 'labels', 'children'.")
        children, none_of = (_lists(content.get(name), name) for name in ("children", "none_of"))
        edges = [(parent, child) for parent, below in children.items() for child in below]
        return cls(content["labels"], edges, none_of)

    def to_yaml(self, path):
        """Write the hierarchy as a YAML file that a person can edit."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def from_yaml(cls, path):
        """Read a hierarchy from a YAML file with ``labels``, ``children`` and ``none_of``."""
        try:
            return cls.from_dict(read_yaml(Path(path)))
        except HierarchyError as error:
            raise HierarchyError(f"{path}: {error}") from error
        except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or no such date
            raise HierarchyError(f"{path}: not valid YAML in UTF-8 ({error}).") from error


def _hard(parent, child, threshold):
    if not isinstance(threshold, Real) or np.isnan(threshold):
        raise HierarchyError(f"threshold={threshold!r}: expected a number.")
    return (child > threshold) & (parent < threshold)


def project(scores, parents, children, tolerance=1e-10, rounds=20_000):
    """The nearest scores, in least squares, in which no child is above its parent.

    First only the edge from each label's lowest parent counts: those make a forest, in which the
    nearest scores are exact and quickly found. Where they break no other edge either, nothing
    nearer can exist. Other rows are left to Dykstra's algorithm, which knows all edges.

    Parameters
    ----------
    scores : float [N, L]
    parents, children : int [E], the columns that each edge joins.

    References
    ----------
    Pardalos & Xue 1999 (trees); Boyle & Dykstra 1986.
    """
    edges = nx.DiGraph(zip(parents.tolist(), children.tolist(), strict=True))
    most_parents, most_children = (
        max((n for _, n in degree), default=0) for degree in (edges.in_degree, edges.out_degree)
    )
    if most_parents > most_children:  # upside down it is more of a forest
        return -project(-scores, children, parents, tolerance, rounds)
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
    raise HierarchyError(f"the projection did not settle in {rounds} rounds.")


def _apart(parents, children):
    """The edges in groups in which no two share a label: lists of their numbers."""
    groups, taken = defaultdict(list), defaultdict(set)
    for edge, (parent, child) in enumerate(zip(parents.tolist(), children.tolist(), strict=True)):
        free = next(n for n in count() if n not in taken[parent] and n not in taken[child])
        groups[free].append(edge)
        taken[parent].add(free)
        taken[child].add(free)
    return list(groups.values())


def _kleene_or(columns):
    """OR of 0/1/NaN columns: 1 if any is 1, else NaN if any is NaN, else their maximum."""
    stacked = np.stack(columns)
    unknown = np.isnan(stacked)
    highest = np.where(unknown, 0.0, stacked).max(axis=0)
    return np.where(unknown.any(axis=0) & (highest < 1), np.nan, highest)


def _lists(mapping, name):
    mapping = {} if mapping is None else mapping
    if not isinstance(mapping, dict) or not all(isinstance(v, list) for v in mapping.values()):
        raise HierarchyError(f"{name!r}: expected a label name and, for each, a list of labels.")
    return mapping


def _few(names, joint=", "):
    """Names for a message, which must not fill the screen."""
    names = list(names)
    return joint.join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def _names(names, what):
    """``names`` as a tuple of str, if that is what they are."""
    if isinstance(names, str):
        raise HierarchyError(f"{what}: expected a list of labels, not the text {names!r}.")
    names = tuple(names)
    for name in names:
        if not (isinstance(name, str) and name.strip() and name.isprintable()):
            raise HierarchyError(
                f"{what}: {name!r} is not a name. Expected printable text; in YAML, quote "
                "words such as yes, no and null, numbers and dates."
            )
    return tuple(map(str, names))


def read_yaml(path, depth=3):
    """The content of a small, plain YAML file: no anchors, tags, keys twice or deep nesting."""
    if path.stat().st_size > 1_000_000:
        raise HierarchyError("over 1 MB, which is too large.")
    text = path.read_text(encoding="utf-8-sig")
    nested = 0
    for event in yaml.parse(text, Loader=_Loader):
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise HierarchyError(f"{event.start_mark}: expected no anchor (&, *) and no tag (!).")
        nested += isinstance(event, yaml.CollectionStartEvent)
        nested -= isinstance(event, yaml.CollectionEndEvent)
        if nested > depth:
            raise HierarchyError(f"{event.start_mark}: lists inside lists, deeper than {depth}.")
    return yaml.load(text, Loader=_Loader)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """PyYAML's own keeps the last of two values with one key, and says nothing."""

    def construct_mapping(self, node, deep=False):
        _no_duplicates([str(key.value) for key, _ in node.value], "key")
        return super().construct_mapping(node, deep)


def _no_duplicates(names, kind):
    seen = set()
    for name in names:
        if name in seen:
            raise HierarchyError(f"duplicate {kind} {name!r}: each may appear once.")
        seen.add(name)


def _no_cycle(graph, what):
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = nx.find_cycle(graph)
    path = _few([cycle[0][0], *(edge[1] for edge in cycle)], " → ")
    raise HierarchyError(f"the {what} form a cycle: {path}. Remove one of them.")


GROUPS = (
    "Abnormal",
    "Cardiac",
    "Fluid Accumulation",
    "Missing Lung Tissue",
    "Opacity",
    "Other",
)
"""The paper's six groups, sorted by name."""

PAPER_CHILDREN = {
    "Abnormal": ("Opacity", "Cardiac", "Other"),
    "Opacity": ("Lung Opacity", "Lung Lesion", "Fluid Accumulation", "Missing Lung Tissue"),
    "Fluid Accumulation": ("Edema", "Consolidation", "Pleural Effusion", "Pneumonia"),
    "Missing Lung Tissue": ("Atelectasis", "Pneumothorax", "Pleural Other"),
    "Cardiac": ("Enlarged Cardiomediastinum", "Cardiomegaly"),
    "Other": ("Fracture", "Support Devices"),
    "Enlarged Cardiomediastinum": ("Cardiomegaly",),
    "Consolidation": ("Pneumonia",),
}


def paper_hierarchy():
    """The hierarchy of arXiv 2502.03591: 21 labels, 20 edges.

    The order of the labels is the paper's: the 14 observations sorted by name, ``Uncertain``
    (none of the 14 is present; it is not CheXpert's −1), and the 6 groups sorted by name.
    ``Abnormal`` is "neither No Finding nor Uncertain". Cardiomegaly and Pneumonia have two parents,
    so this is a DAG and not a tree.

    Examples
    --------
    >>> hierarchy = paper_hierarchy()
    >>> len(hierarchy.labels), len(hierarchy.edges)
    (21, 20)
    >>> hierarchy.parents("Pneumonia")
    ('Consolidation', 'Fluid Accumulation')
    """
    edges = [(parent, child) for parent, below in PAPER_CHILDREN.items() for child in below]
    return Hierarchy(
        labels=(*sorted(OBSERVATIONS), "Uncertain", *GROUPS),
        edges=edges,
        none_of={"Uncertain": sorted(OBSERVATIONS), "Abnormal": ("No Finding", "Uncertain")},
    )
