"""Which method, when? Real labels, simulated features, every method: minutes instead of days.

    python benchmarks/where.py [--jobs 2] [--replicates 8]

Labels are those of CheXpert (the paper's 21) and of PadChest (its own 194), one image a patient.
Features are simulated (``cxrlib.simulation``): how strong the sign of a label is, and how much of
it is that of its group, is known. Turned, one thing after the other:

- how many images there are to learn from, 200 to 5,000;
- the labels: true; read with a kappa of 0.7 or 0.4 (NIH's report labels have 0.34 to 0.43 against
  radiologists); or true but "unclosed", with the parents left out wherever a child implies them, as
  PadChest has them. (``Hierarchy.close`` makes these true again.)
- ``shared``, the share of a label's sign that is its groups';
- the model, linear or with one hidden layer.

In each of 8 replicates, with patients, signs and noise of its own, every method sees the same data,
and a replicate tests on the same 5,000 images whatever is turned. How much a method is held back is
chosen as well as it can be: on 2,000 images with true labels, for all replicates together. (With
few images to choose by, or wrong labels, the luck of that choice is larger than most differences
between methods.) So the methods are compared at their best. A difference to flat is taken replicate
by replicate, with a t-interval, which is that of one comparison alone.

``auroc`` and ``ap`` are means over the labels with at least 10 positives among the test images;
``ap, seen 1-4`` over those of them that have so many positives to learn from, as given; ``ap, depth
2`` over those so many steps below a root. ``incoherent`` is the share of images with a child above
a parent, ``violations`` that of pairs of image and edge. ``ridge`` and ``λ`` are those chosen.

λ is swept in the usual case. "flat + max" and "flat + projection" repair flat's scores. Two
yardsticks need no training either: in "flat + parent" labels with fewer than five positives to
learn from follow their parents; "flat × ancestors" multiplies each score by those above it. The
result goes to results/where.json: a row per case, method and measure, and how it was made.
"""

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
from common import RESULTS, parallel, versions, write_json

from cxrlib import public, simulation
from cxrlib.evaluation import mean_interval
from cxrlib.hierarchy import paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy

TEST, VALID, FEWEST = 5000, 2000, 10
SEEN = {"0": (0, 0), "1-4": (1, 4), "5-19": (5, 19), "20-99": (20, 99), "100+": (100, np.inf)}
WEIGHTS = (0.03, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
KAPPAS = {"κ = 0.7": 0.7, "κ = 0.4": 0.4}
REPAIRS = ("max", "projection")
CHOSEN = ("ridge", "λ")
"""Beginnings of measures that are no method's merit."""


@dataclass(frozen=True)
class Case:
    """One set of circumstances in which all methods are compared."""

    table: str = "CheXpert"
    images: int = 1000
    labels: str = "true"
    shared: float = 0.5
    model: str = "linear"
    sweep: bool = False


def cases():
    """A usual case, and what is turned."""
    sizes = 200, 1000, 5000
    made = [Case("CheXpert", n, kind) for n in sizes for kind in ("true", *KAPPAS, "unclosed")]
    made += [Case("CheXpert", n, "true", shared) for n in sizes[:2] for shared in (0.0, 0.9)]
    made += [Case("CheXpert", n, "true", sweep=True) for n in sizes[1:]]
    made += [
        Case("CheXpert", n, kind, 0.5, "network") for n in sizes[:2] for kind in ("true", "κ = 0.4")
    ]
    made += [
        Case("PadChest", n, kind) for n in sizes[:2] for kind in ("true", "κ = 0.4", "unclosed")
    ]
    made += [Case("PadChest", 200, "true", shared) for shared in (0.0, 0.9)]
    return [*made, Case("PadChest", 5000, "true")]


def tables(name):
    """(hierarchy, true labels [patients, L]) of one of the two tables."""
    if name == "CheXpert":
        hierarchy, table = paper_hierarchy(), public.chexpert_labels()
        table = table[table["view"] == "frontal"].drop_duplicates("patient")
        observed = apply_policy(table[list(OBSERVATIONS)], "U-Ones")
    else:
        hierarchy, table = read_hierarchy("padchest"), public.padchest_labels()
        table = table.drop_duplicates("patient")
        observed = table[[label for label in hierarchy.labels if label in table]].astype(float)
    return hierarchy, simulation.close(hierarchy.to_array(hierarchy.derive(observed)), hierarchy)


def as_given(labels, hierarchy, kind, seed):
    """True labels as a case has them."""
    if kind in KAPPAS:
        return simulation.misread(labels, hierarchy, KAPPAS[kind], seed=seed)
    if kind == "unclosed":
        return simulation.omit_parents(labels, hierarchy, 1.0, seed=seed)
    return labels


def draw(case, replicates):
    """Hierarchy, and for each of test, valid and train features and labels [R, N, ·].

    Only those to learn from are as the case has them; all others are true. Fewer images to learn
    from are the first of more.
    """
    hierarchy, everyone = tables(case.table)
    sizes = {"test": TEST, "valid": VALID, "train": case.images}
    parts = {name: ([], []) for name in sizes}
    for r in range(replicates):
        given = as_given(everyone, hierarchy, case.labels, seed=r)
        people = np.random.default_rng(r).permutation(len(everyone))
        signs = simulation.signs(hierarchy, shared=case.shared, seed=r)
        for n, (name, size) in enumerate(sizes.items()):
            rows = people[n * len(people) // 3 :][:size]
            x = simulation.features(everyone[rows], signs, hierarchy, seed=10 * r + n)
            parts[name][0].append(x)
            parts[name][1].append((given if name == "train" else everyone)[rows])
    return hierarchy, {name: tuple(map(np.stack, pair)) for name, pair in parts.items()}


def measure(hierarchy, truth, scores, seen):
    """The measures of one replicate: a dict. ``seen``: positives of each label to learn from."""
    auroc, ap = simulation.rank_measures(truth, scores)
    counts = truth.sum(axis=0)
    told = (counts >= FEWEST) & (counts <= len(truth) - FEWEST)
    depth = depths(hierarchy)
    groups = {"": told}
    groups |= {f", seen {n}": told & (seen >= a) & (seen <= b) for n, (a, b) in SEEN.items()}
    groups |= {f", depth {d}": told & (depth == d) for d in np.unique(depth)}
    parents, children = hierarchy.edge_positions
    over = scores[:, children] > scores[:, parents]
    found = {"violations": over.mean(), "incoherent": over.any(axis=1).mean()}
    for name, chosen in groups.items():
        if chosen.any():
            found[f"ap{name}"] = ap[chosen].mean()
    found["auroc"] = auroc[told].mean()
    clipped = np.clip(scores, 1e-6, 1 - 1e-6)
    found["log loss"] = -np.mean(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped))
    return {name: float(value) for name, value in found.items()}


def depths(hierarchy):
    """How many steps each label is below a root, by the longest way: int [L]."""
    layers = enumerate(nx.topological_generations(hierarchy.graph))
    of = {label: depth for depth, layer in layers for label in layer}
    return np.array([of[label] for label in hierarchy.labels])


def try_case(task):
    """Rows of a case: method, replicate and measures."""
    case, replicates = task
    hierarchy, parts = draw(case, replicates)
    (x, truth), (_, given) = parts["test"], parts["train"]
    data = hierarchy, parts["train"], parts["valid"], case.model
    if case.sweep:
        learnt = {
            f"{word}, λ = {weight:g}": simulation.learn(word, *data, weights=(weight,))
            for word in simulation.PENALISED
            for weight in WEIGHTS
        }
    else:
        learnt = {word: simulation.learn(word, *data) for word in simulation.METHODS}
    found = {name: one(x) for name, one in learnt.items()}
    if "flat" in found:
        for how in REPAIRS:
            found[f"flat + {how}"] = np.stack([
                hierarchy.make_coherent(hierarchy.to_table(one), how).to_numpy()
                for one in found["flat"].astype(float)
            ])  # fmt: skip
        found["flat + parent"] = np.stack([
            simulation.ask_the_parent(*pair, hierarchy)
            for pair in zip(found["flat"], given, strict=True)
        ])  # fmt: skip
        found["flat × ancestors"] = np.stack([
            simulation.times_ancestors(one, hierarchy) for one in found["flat"]
        ])  # fmt: skip
    rows = []
    for name, scores in found.items():
        for r in range(replicates):
            row = {"method": name, "replicate": r}
            row |= measure(hierarchy, truth[r], scores[r], given[r].sum(axis=0))
            if name in learnt:
                row |= {"ridge": learnt[name].ridge, "λ": learnt[name].weight}
            rows.append(row)
    return rows


def summarise(case, rows, flat):
    """Rows of means, and of differences to flat with a 95% t-interval over the replicates.

    A measure is of those replicates in which it is defined: their number stands beside it, and
    with fewer than five there is no interval.
    """
    summary, about = [], {name: getattr(case, name) for name in Case.__annotations__}
    about.pop("sweep")
    usual = flat.set_index("replicate")
    for method, part in pd.DataFrame(rows).groupby("method", sort=False):
        part = part.set_index("replicate").drop(columns="method").dropna(axis=1, how="all")
        for name in part:
            values = part[name].dropna()
            row = about | {"method": method, "measure": name, "mean": float(values.mean())}
            row["replicates"] = len(values)
            if method != "flat" and not name.startswith(CHOSEN) and len(values) >= 5:
                both = mean_interval((values - usual[name][values.index]).to_numpy())
                row |= dict(zip(("difference", "low", "high"), map(float, both), strict=True))
            summary.append(row)
    return summary


def write_results(found, replicates, results):
    """Store what was found, ``{case: rows}``, and how it was made."""
    summary = []
    for case, rows in found.items():
        flat = pd.DataFrame(found[replace(case, sweep=False)])
        summary += summarise(case, rows, flat[flat["method"] == "flat"])
    table = pd.DataFrame(summary).round(6)
    about = {
        "replicates": replicates,
        "test images": TEST,
        "images to choose by": VALID,
        "ridges": simulation.RIDGES,
        "weights": list(simulation.WEIGHTS),
        "kappas": KAPPAS,
        "versions": versions(),
        "columns": list(table),
        "rows": table.astype(object).where(table.notna(), None).to_numpy().tolist(),
    }
    return write_json(results / "where.json", about)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    every = cases()
    tasks = [(case, options.replicates) for case in every]
    found = dict(zip(every, parallel(try_case, tasks, options.jobs, "cases"), strict=True))
    print(write_results(found, options.replicates, options.results))


if __name__ == "__main__":
    main()
