"""The hierarchy: which label is a kind of which other, and what follows from that.

A ``Hierarchy`` is a directed acyclic graph over label names. An edge (parent, child) says that
the child is a kind of the parent: an image that shows the child shows the parent too. A label may
have several parents. It may also say that two labels exclude each other: no image shows both.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from types import MappingProxyType

import networkx as nx
import numpy as np
import pandas as pd
import yaml

from cxrlib.hierarchy.files import read_yaml
from cxrlib.hierarchy.names import HierarchyError, few, names_of, no_duplicates
from cxrlib.hierarchy.projection import keep_apart, project
from cxrlib.labels import to_numbers

ROUNDING = 1e-6
"""By how much two single-precision probabilities may miss the sum of 1."""


def _is_probability(values):
    return (values >= 0) & (values <= 1)


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

    never_both : pairs of labels that no image shows together, such as No Finding and Abnormal.
        Their probabilities must not add up to more than 1.

    Raises
    ------
    HierarchyError
        Labels that are no names, are there twice or unknown, a repeated edge, a rule that names
        no label, a cycle, spelt out edge by edge, or a label that an exclusion makes impossible.

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
    never_both: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        freeze = object.__setattr__
        freeze(self, "labels", names_of(self.labels, "the labels"))
        if not self.labels:
            raise HierarchyError("the list of labels is empty.")
        no_duplicates(self.labels, "label")
        edges = _pairs(self.edges, "edge", "parent and child")
        apart = _pairs(self.never_both, "exclusion", "of which no image shows both")
        rules = {
            label: names_of(absent, f"the rule of {label!r}")
            for label, absent in dict(self.none_of).items()
        }
        for name in [name for names in (*edges, *apart, rules, *rules.values()) for name in names]:
            self._known(name)
        # One order, whoever wrote them: a hierarchy read from a file equals the one written.
        freeze(self, "edges", self._sorted(edges))
        freeze(self, "never_both", self._sorted(self._in_order(pair) for pair in apart))
        in_order = {label: self._in_order(rules[label]) for label in self._in_order(rules)}
        freeze(self, "none_of", MappingProxyType(in_order))
        self._validate()

    def _validate(self):
        no_duplicates([f"{parent} → {child}" for parent, child in self.edges], "edge")
        for label, absent in self.none_of.items():
            no_duplicates(absent, f"label in the rule of {label!r}:")
            if not absent:
                raise HierarchyError(
                    f"the rule of {label!r} in none_of names no label. List those whose absence "
                    "makes it present, or remove the rule."
                )
        _no_cycle(self.graph, "edges")
        _no_cycle(self._sources, "rules for deriving labels")
        no_duplicates([f"{a} and {b}" for a, b in self.never_both], "exclusion")
        for one, other in self.never_both:
            if one == other:
                raise HierarchyError(f"never_both: {one!r} cannot exclude itself. Remove the pair.")
            both = ({one} | nx.descendants(self.graph, one)) & (
                {other} | nx.descendants(self.graph, other)
            )
            if both:
                raise HierarchyError(
                    f"{one!r} and {other!r} exclude each other, so {min(both)!r}, which would be a "
                    "kind of both, could never be present. Remove the exclusion, or an edge."
                )

    def __reduce__(self):
        # A mapping proxy does not pickle; data loader workers and DDP need one that does.
        return type(self), (self.labels, self.edges, dict(self.none_of), self.never_both)

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

    def _sorted(self, pairs):
        """Pairs of labels in the hierarchy's order."""
        return tuple(sorted(pairs, key=lambda pair: tuple(map(self._position.get, pair))))

    def _known(self, label):
        if label not in self._position:
            raise HierarchyError(f"unknown label {label!r}: the labels are {few(self.labels)}.")
        return label

    # --- Between names and positions ---------------------------------------------------------

    @cached_property
    def _position(self):
        return {label: i for i, label in enumerate(self.labels)}

    @cached_property
    def edge_positions(self):
        """Positions of all parents and of all children: two int64 arrays [E], edge by edge."""
        return self._positions_of(self.edges)

    @cached_property
    def apart_positions(self):
        """Positions of the labels that exclude each other: two int64 arrays, pair by pair."""
        return self._positions_of(self.never_both)

    def _positions_of(self, pairs):
        positions = [tuple(map(self._position.__getitem__, pair)) for pair in pairs]
        return tuple(np.array(positions, dtype=np.int64).reshape(-1, 2).T)

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
                f"the table has no column {few(map(repr, missing))}. It has "
                f"{few(map(repr, table.columns))}."
            )
        columns = table[list(labels)]
        no_duplicates(columns.columns, "column")
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
        if not have & set(self.labels):
            raise HierarchyError(
                f"the table has none of the labels {few(self.labels)}. It has "
                f"{few(map(repr, observations.columns))}."
            )
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

    def _scores(self, scores):
        return self.to_numbers(scores, lambda values: ~np.isnan(values), "a number")

    def _broken(self, array, threshold):
        """Bool [N, edges and exclusions]: which are broken, hard; soft where threshold is None."""
        parent, child = (array[:, positions] for positions in self.edge_positions)
        one, other = (array[:, positions] for positions in self.apart_positions)
        if threshold is None:
            return np.hstack([child > parent, one + other > 1 + ROUNDING])
        if not isinstance(threshold, Real) or np.isnan(threshold):
            raise HierarchyError(f"threshold={threshold!r}: expected a number.")
        above = (one > threshold) & (other > threshold)
        return np.hstack([(child > threshold) & (parent < threshold), above])

    def violations(self, scores, threshold=0.5):
        """Count, for every edge and every exclusion, the images whose scores contradict it.

        Parameters
        ----------
        scores : DataFrame [N, L] of probabilities (or of 0/1 labels).
        threshold : a label counts as predicted above it.

        Returns
        -------
        DataFrame indexed by (parent, child), then by the pairs of ``never_both``. ``hard``: images
        with the child above the threshold and the parent below it, or with both of a pair above it.
        ``soft``: images with the child above the parent, or a pair that adds up to more than 1. NaN
        never counts.
        """
        array = self._scores(scores)
        hard, soft = self._broken(array, threshold), self._broken(array, None)
        index = pd.MultiIndex.from_tuples([*self.edges, *self.never_both], names=self._ENDS)
        return pd.DataFrame({"hard": hard.sum(axis=0), "soft": soft.sum(axis=0)}, index=index)

    def incoherent(self, scores, threshold=None):
        """Whether each image breaks at least one edge or exclusion: a boolean Series [N].

        Soft where no threshold is given (a child scores above its parent, or two labels that
        exclude each other add up to more than 1), hard otherwise. Scores that are not softly
        incoherent contradict no edge at any threshold, and (up to rounding) no exclusion at one of
        0.5 or more; at a lower one, two labels of 0.4 may both be above it. Edges are compared
        exactly: round what another program has computed first.
        """
        broken = self._broken(self._scores(scores), threshold)
        return pd.Series(broken.any(axis=1), index=scores.index, name="incoherent")

    def make_coherent(self, scores, how="max"):
        """Repair scores so that no child scores above any of its parents, and no two labels that
        exclude each other add up to more than 1.

        Parameters
        ----------
        scores : DataFrame [N, L], no NaN; probabilities, if there are exclusions.
        how : ``"max"`` raises a parent to its highest descendant (trust the children);
            ``"min"`` lowers a child to its lowest ancestor (trust the parents);
            ``"projection"`` changes scores least, in the sum of squares: parents and children meet
            each other halfway. Where a pair still adds up to more than 1, "max" and "min" lower
            the less probable of the two, and what is below it, beginning with the most probable
            label (of equals, with the first).
        """
        if how not in ("max", "min", "projection"):
            raise HierarchyError(f"how={how!r}: expected 'max', 'min' or 'projection'.")
        good, expected = np.isfinite, "a finite number"
        if self.never_both:
            good, expected = _is_probability, "a probability, from 0 to 1, as exclusions need"
        repaired = self.to_numbers(scores, good, expected)
        if (unknown := np.argwhere(np.isnan(repaired))).size:
            row, label = unknown[0]
            raise HierarchyError(
                f"row {scores.index[row]!r}, label {self.labels[label]!r}: NaN. Every label needs "
                "a score before the repair."
            )
        if how == "projection":  # up to rounding; the rest is done below
            repaired = project(repaired, self.edge_positions, self.apart_positions)
        of = np.array(repaired.T, order="C")  # one row for each label
        if how == "min":
            self._lower_children(of)
        else:
            for parent, child in self.edges_bottom_up:
                np.maximum(of[parent], of[child], out=of[parent])
        if self.never_both:
            keep_apart(of, *self.apart_positions)
            self._lower_children(of)
        return self.to_table(of.T, scores.index)

    def _lower_children(self, of):
        for parent, child in reversed(self.edges_bottom_up):
            np.minimum(of[child], of[parent], out=of[child])

    _ENDS = ("parent", "child")

    @cached_property
    def edge_index(self):
        """The edges as a pandas ``MultiIndex`` with the levels parent and child."""
        return pd.MultiIndex.from_tuples(self.edges, names=self._ENDS)

    # --- Files -------------------------------------------------------------------------------

    def to_dict(self):
        """The hierarchy as plain lists and dictionaries, for YAML and JSON."""
        return {
            "labels": list(self.labels),
            "children": {
                label: list(self.children(label)) for label in self.labels if self.children(label)
            },
            "none_of": {label: list(absent) for label, absent in self.none_of.items()},
        } | ({"never_both": list(map(list, self.never_both))} if self.never_both else {})

    @classmethod
    def from_dict(cls, content):
        """The inverse of ``to_dict``; ``HierarchyError`` where it is not of that form."""
        if not isinstance(content, dict) or not isinstance(content.get("labels"), list):
            raise HierarchyError("expected a list called 'labels' at the top level.")
        known = ("labels", "children", "none_of", "never_both")
        unknown = [name for name in content if name not in known]
        if unknown:
            raise HierarchyError(f"unknown entry {unknown[0]!r}; there are {', '.join(known)}.")
        never_both = content.get("never_both")
        never_both = [] if never_both is None else never_both
        if not isinstance(never_both, list):
            raise HierarchyError("'never_both': expected a list of pairs of labels.")
        children, none_of = (_lists(content.get(name), name) for name in ("children", "none_of"))
        edges = [(parent, child) for parent, below in children.items() for child in below]
        return cls(content["labels"], edges, none_of, never_both)

    def to_yaml(self, path):
        """Write the hierarchy as a YAML file that a person can edit."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def from_yaml(cls, path):
        """Read a hierarchy from a YAML file in the form of ``to_dict``."""
        try:
            return cls.from_dict(read_yaml(Path(path)))
        except HierarchyError as error:
            raise HierarchyError(f"{path}: {error}") from error
        except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or no such date
            raise HierarchyError(f"{path}: not valid YAML in UTF-8 ({error}).") from error


def _pairs(pairs, kind, what):
    """Pairs of names, each a tuple of two."""
    if not isinstance(pairs, Iterable):
        raise HierarchyError(f"{pairs!r}: expected a list of pairs, each an {kind}.")
    made = [names_of(pair, f"the {kind} {pair!r}") for pair in pairs]
    for pair in made:
        if len(pair) != 2:
            raise HierarchyError(f"the {kind} {pair!r}: expected two labels, {what}.")
    return made


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


def _no_cycle(graph, what):
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = nx.find_cycle(graph)
    path = few([cycle[0][0], *(edge[1] for edge in cycle)], " → ")
    raise HierarchyError(f"the {what} form a cycle: {path}. Remove one of them.")
