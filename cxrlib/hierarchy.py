"""The hierarchy: which label is a kind of which other, and what follows from that.

A ``Hierarchy`` is a directed acyclic graph over label names. An edge (parent, child) says that
the child is a kind of the parent: an image that shows the child shows the parent too. A label may
have several parents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import networkx as nx
import numpy as np
import pandas as pd
import yaml

from cxrlib.labels import OBSERVATIONS


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
        Duplicate or unknown labels, a repeated edge, or a cycle, spelt out edge by edge.

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
        freeze(self, "labels", tuple(self.labels))
        freeze(self, "edges", tuple((parent, child) for parent, child in self.edges))
        rules = {label: tuple(absent) for label, absent in dict(self.none_of).items()}
        freeze(self, "none_of", MappingProxyType(rules))
        self._validate()
        # One order, whoever wrote the edges: a hierarchy read from a file equals the one written.
        position = {label: i for i, label in enumerate(self.labels)}
        order = sorted(self.edges, key=lambda edge: tuple(position[name] for name in edge))
        freeze(self, "edges", tuple(order))

    def _validate(self):
        _no_duplicates(self.labels, "label")
        _no_duplicates([f"{parent} → {child}" for parent, child in self.edges], "edge")
        ruled = [name for label, absent in self.none_of.items() for name in (label, *absent)]
        named = [name for edge in self.edges for name in edge] + ruled
        unknown = [name for name in dict.fromkeys(named) if name not in self.labels]
        if unknown:
            raise HierarchyError(
                f"unknown label {', '.join(map(repr, unknown))}: edges and rules may only name "
                f"the hierarchy's labels, which are {', '.join(self.labels)}."
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
        return tuple(sorted(labels, key=self.labels.index))

    def _known(self, label):
        if label not in self.labels:
            raise HierarchyError(
                f"unknown label {label!r}: this hierarchy has {', '.join(self.labels)}."
            )
        return label

    # --- Between names and positions ---------------------------------------------------------

    @cached_property
    def edge_positions(self):
        """Positions of all parents and of all children: two int64 arrays [E], edge by edge."""
        position = {label: i for i, label in enumerate(self.labels)}
        pairs = [(position[parent], position[child]) for parent, child in self.edges]
        return tuple(np.array(pairs, dtype=np.int64).reshape(-1, 2).T)

    def to_array(self, table):
        """The columns of ``table`` in the hierarchy's order, as float32 [N, L]."""
        return self._columns(table, self.labels).to_numpy(dtype=np.float32)

    def to_table(self, array, index=None):
        """The inverse of ``to_array``: a DataFrame whose columns are the labels."""
        return pd.DataFrame(np.asarray(array), index=index, columns=list(self.labels))

    def _columns(self, table, labels):
        missing = [name for name in labels if name not in table.columns]
        if missing:
            raise HierarchyError(
                f"the table has no column {', '.join(map(repr, missing))}. It has "
                f"{', '.join(map(repr, table.columns))}."
            )
        return table[list(labels)]

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
        values = {
            label: observations[label].to_numpy(dtype=float)
            for label in self.labels
            if label in observations.columns
        }
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
        closed = self._columns(targets, self.labels).copy()
        for label in self.labels:
            below = self._columns(targets, self.descendants(label))
            closed[label] = closed[label].mask((below == 1).any(axis=1), 1.0)
        return closed

    # --- Coherence ---------------------------------------------------------------------------

    def _edge_scores(self, scores):
        array = self._columns(scores, self.labels).to_numpy(dtype=float)
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
        hard = (child > threshold) & (parent < threshold)
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
            broken = (child > threshold) & (parent < threshold)
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
        repaired = self._columns(scores, self.labels).astype(float)
        if repaired.isna().any(axis=None):
            raise HierarchyError("scores hold NaN; every label needs a score before the repair.")
        if how == "projection":
            nearest = project(repaired.to_numpy(), *self.edge_positions)
            repaired = self.to_table(nearest, repaired.index)  # up to rounding; max does the rest
        relatives, pick = (self.ancestors, "min") if how == "min" else (self.descendants, "max")
        return pd.DataFrame(
            {
                label: getattr(repaired[[label, *relatives(label)]], pick)(axis=1)
                for label in self.labels
            }
        )

    @cached_property
    def edge_index(self):
        """The edges as a pandas ``MultiIndex`` with the levels parent and child."""
        return pd.MultiIndex.from_tuples(self.edges, names=["parent", "child"])

    # --- Files -------------------------------------------------------------------------------

    def to_yaml(self, path):
        """Write the hierarchy as a YAML file that a person can edit."""
        children = {
            label: list(self.children(label)) for label in self.labels if self.children(label)
        }
        content = {
            "labels": list(self.labels),
            "children": children,
            "none_of": {label: list(absent) for label, absent in self.none_of.items()},
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def from_yaml(cls, path):
        """Read a hierarchy from a YAML file with ``labels``, ``children`` and ``none_of``."""
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise HierarchyError(f"{path}: not valid YAML ({error}).") from error
        if not isinstance(content, dict) or not isinstance(content.get("labels"), list):
            raise HierarchyError(f"{path}: expected a list called 'labels' at the top level.")
        unknown = sorted(set(content) - {"labels", "children", "none_of"})
        if unknown:
            raise HierarchyError(f"{path}: unknown entry {unknown[0]!r}; see 'labels', 'children'.")
        lists = {
            name: _lists(content.get(name) or {}, f"{path}, {name!r}")
            for name in ("children", "none_of")
        }
        edges = [(parent, child) for parent, below in lists["children"].items() for child in below]
        try:
            return cls(content["labels"], edges, lists["none_of"])
        except HierarchyError as error:
            raise HierarchyError(f"{path}: {error}") from error


def project(scores, parents, children, tolerance=1e-10, rounds=20_000):
    """The nearest scores, in least squares, in which no child is above its parent.

    Dykstra's algorithm: mend one edge after the other (both ends move to their mean), but first
    take back what was done for that edge in the round before. The rounds converge to the projection
    on what all edges allow together; without the taking back they would only reach some coherent
    scores.

    Parameters
    ----------
    scores : float [N, L]
    parents, children : int [E], the columns that each edge joins.

    References
    ----------
    Boyle & Dykstra 1986.
    """
    scores = np.array(scores, dtype=float)
    moved = np.zeros((len(parents), len(scores)))
    for _ in range(rounds):
        largest = 0.0
        for edge, (parent, child) in enumerate(zip(parents, children, strict=True)):
            above = scores[:, child] - scores[:, parent] + 2 * moved[edge]
            mend = np.maximum(above, 0) / 2
            change = mend - moved[edge]
            scores[:, parent] += change
            scores[:, child] -= change
            moved[edge] = mend
            largest = max(largest, np.abs(change).max(initial=0))
        if largest < tolerance:
            return scores
    raise HierarchyError(f"the projection did not settle in {rounds} rounds.")


def _kleene_or(columns):
    """OR of 0/1/NaN columns: 1 if any is 1, else NaN if any is NaN, else their maximum."""
    stacked = np.stack(columns)
    unknown = np.isnan(stacked)
    highest = np.where(unknown, 0.0, stacked).max(axis=0)
    return np.where(unknown.any(axis=0) & (highest < 1), np.nan, highest)


def _lists(mapping, source):
    if not isinstance(mapping, dict) or not all(isinstance(v, list) for v in mapping.values()):
        raise HierarchyError(f"{source}: expected a label name and, for each, a list of labels.")
    return mapping


def _no_duplicates(names, kind):
    seen = set()
    for name in names:
        if name in seen:
            raise HierarchyError(f"duplicate {kind} {name!r}: each may appear once.")
        seen.add(name)


def _no_cycle(graph, what):
    try:
        cycle = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        return
    path = " → ".join([cycle[0][0], *(edge[1] for edge in cycle)])
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
