"""Which method, when? Real labels, simulated features, every method: minutes instead of days.

    python benchmarks/where.py [--jobs 2] [--replicates 8]

Labels are those of CheXpert (the paper's 21) and of PadChest (its own 194), one image a patient.
Features are simulated (``cxrlib.simulation``): how strong the sign of a label is, and how much of
it is that of its group, is known. Turned, one after the other from a usual case and then together:

- how many images there are to learn from, 200 to 5,000;
- the labels: true; ``noisy``, with errors as large as those of NIH's report labels of pneumothorax
  against radiologists (sensitivity and precision .46); ``half-noisy``, .75 and .75; ``unclosed``,
  true but with the parents left out in 38% of the images, as in PadChest, and ``closed``, the same
  after ``Hierarchy.close``, which in these is the truth again and stands in no table;
- ``shared``, the share of a label's sign that is its groups';
- the model, linear or with one hidden layer.

Validation labels have the same errors as those to learn from; test labels are true. Every method
learns from the same features and labels with the same first weights, in 8 replicates; a difference
to flat is taken replicate by replicate, with a t-interval. ``auroc`` and ``ap`` are means over the
labels with at least 10 positives among the 3,000 test images and one to learn from, ``…, rare``
over those of them with fewer than 20 to learn from, ``…, depth n`` over those n steps below a root.
``violations`` is the share of (image, edge) pairs with the child above the parent; ``hard``, at one
half; ``incoherent``, the share of images with any. ``decay at an end`` is the share of replicates
whose weight decay, chosen on validation data, is the least or the largest that was tried: where it
is large, the method might do better with another.

λ, the weight of a penalty, is swept in the usual case. "flat + max" and "flat + projection" repair
flat's scores. The result goes to results/where.json.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
from common import RESULTS, parallel, rounded, versions, write_json

from cxrlib import public, simulation
from cxrlib.evaluation import mean_interval
from cxrlib.hierarchy import paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy

TEST, VALID = 3000, 1000
FEWEST, RARE = 10, 20
WEIGHTS = (0.03, 0.1, 0.3, 3.0, 10.0, 30.0)
ERRORS = {"noisy": (0.46, 0.46), "half-noisy": (0.75, 0.75)}
UNCLOSED = 0.38


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
    """A usual case, and what is turned: one thing at a time, and images × labels × model."""
    sizes, models = (200, 1000, 5000), simulation.MODELS
    made = [Case("CheXpert", n, "true", shared, m)
            for n in sizes for shared in (0.0, 0.5, 0.9) for m in models]  # fmt: skip
    worse = ("half-noisy", "noisy", "unclosed")
    made += [Case("CheXpert", n, kind, 0.5, m) for n in sizes for kind in worse for m in models]
    made += [Case("PadChest", n, kind, 0.5, "linear")
             for n in sizes for kind in ("true", "noisy", "unclosed")]  # fmt: skip
    made += [Case("PadChest", n, "true", 0.5, "network") for n in sizes]
    return made + [Case("CheXpert", 1000, "true", 0.5, m, sweep=True) for m in models]


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


def spoilt(labels, hierarchy, kind, seed):
    """Labels as a case has them."""
    if kind in ERRORS:
        return simulation.miss_and_invent(labels, hierarchy, *ERRORS[kind], seed=seed)
    if kind == "unclosed":
        return simulation.drop_parents(labels, hierarchy, UNCLOSED, seed=seed)
    return labels


def draw(case, replicates):
    """Hierarchy, and for each of train, valid and test features and labels [R, N, ·].

    The labels of the test are true. Replicates have other patients, other signs and other noise.
    """
    hierarchy, everyone = tables(case.table)
    parts = {"train": ([], []), "valid": ([], []), "test": ([], [])}
    for r in range(replicates):
        rng = np.random.default_rng([r, case.images])
        people = rng.permutation(len(everyone))[: case.images + VALID + TEST]
        signs = simulation.signs(hierarchy, shared=case.shared, seed=r)
        ends = np.split(people, [case.images, case.images + VALID])
        for n, (name, rows) in enumerate(zip(parts, ends, strict=True)):
            seed = 1000 * r + n
            true = everyone[rows]
            x = simulation.features(true, signs, hierarchy, seed=seed)
            y = true if name == "test" else spoilt(true, hierarchy, case.labels, seed + 500)
            parts[name][0].append(x)
            parts[name][1].append(y)
    return hierarchy, {name: tuple(map(np.stack, pair)) for name, pair in parts.items()}


def measure(hierarchy, truth, scores, known):
    """The measures of one replicate: a dict. ``known``: positives of each label to learn from."""
    auroc, ap = simulation.rank_measures(truth, scores)
    counts = truth.sum(axis=0)
    told = (counts >= FEWEST) & (counts <= len(truth) - FEWEST) & (known > 0)
    depth = depths(hierarchy)
    groups = {"": told, ", rare": told & (known < RARE)}
    groups |= {f", depth {d}": told & (depth == d) for d in np.unique(depth)}
    parents, children = hierarchy.edge_positions
    over = scores[:, children] > scores[:, parents]
    hard = (scores[:, children] > 0.5) & (scores[:, parents] < 0.5)
    found = {"violations": over.mean(), "hard": hard.mean(), "incoherent": over.any(axis=1).mean()}
    for name, chosen in groups.items():
        if chosen.any():
            found |= {f"auroc{name}": auroc[chosen].mean(), f"ap{name}": ap[chosen].mean()}
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
    x, truth = parts["test"]
    known = parts["train"][1].sum(axis=1)
    found, decays = {}, {}
    methods = [(word, 1.0) for word in simulation.METHODS]
    if case.sweep:
        methods = [(word, w) for word in ("hinge", "product") for w in WEIGHTS]
    for word, weight in methods:
        learnt = simulation.learn(
            word, hierarchy, parts["train"], parts["valid"], case.model, weight=weight
        )
        name = word if weight == 1 else f"{word}, λ = {weight:g}"
        found[name], decays[name] = learnt(x), learnt.decays
    if "flat" in found:
        for how in ("max", "projection"):
            found[f"flat + {how}"] = np.stack([
                hierarchy.make_coherent(hierarchy.to_table(one), how).to_numpy()
                for one in found["flat"].astype(float)
            ])  # fmt: skip
    rows = []
    for name, scores in found.items():
        for r in range(replicates):
            row = {"method": name, "replicate": r}
            row |= measure(hierarchy, truth[r], scores[r], known[r])
            if name in decays:
                row["decay at an end"] = float(
                    decays[name][r] in simulation.DECAYS[:: len(simulation.DECAYS) - 1]
                )
            rows.append(row)
    return rows


def summarise(case, rows, flat):
    """Rows of means, and of differences to flat with a 95% t-interval over the replicates."""
    summary, about = [], {name: getattr(case, name) for name in Case.__annotations__}
    about.pop("sweep")
    usual = flat.set_index("replicate")
    for method, part in pd.DataFrame(rows).groupby("method", sort=False):
        part = part.set_index("replicate").drop(columns="method").dropna(axis=1)
        for name in part:
            row = about | {"method": method, "measure": name, "mean": float(part[name].mean())}
            if method != "flat" and name in usual:
                difference = (part[name] - usual[name]).dropna()
                if len(difference):
                    both = mean_interval(difference.to_numpy())
                    row |= dict(zip(("difference", "low", "high"), map(float, both), strict=True))
            summary.append(row)
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    every = cases()
    found = parallel(
        try_case, [(case, options.replicates) for case in every], options.jobs, "cases"
    )
    of = dict(zip(every, found, strict=True))
    summary = []
    for case, rows in of.items():
        usual = Case(case.table, case.images, case.labels, case.shared, case.model)
        flat = pd.DataFrame(of[usual])
        summary += summarise(case, rows, flat[flat["method"] == "flat"])
    content = {
        "replicates": options.replicates,
        "test images": TEST,
        "errors": {name: list(pair) for name, pair in ERRORS.items()},
        "unclosed": UNCLOSED,
        "versions": versions(),
        "rows": summary,
    }
    print(write_json(options.results / "where.json", rounded(content)))


if __name__ == "__main__":
    main()
