"""All methods, several seeds, four label conditions: what helps, what does not, and by how much.

    make experiments        (python benchmarks/methods.py [--seeds 5] [--jobs 2])

Every run is a training with one of the four configs ``configs/methods-*.yaml``; the methods differ
in ``settings.method``, ``penalties`` and ``weight`` alone, and all methods share their seeds: the
same first weights, the same order of images. The paper's loss is not among them: it is flat, bit
for bit (notebook 05, and a test). Runs are kept below runs/methods/, so an interrupted experiment
goes on where it was.

Every run is measured with ``evaluation.measures`` on ``TESTED`` phantoms: more than the course's
own test patients, and people whom no run has learnt from. An interval is a bootstrap of seeds and
patients at once: each of 400 resamples draws patients, the same for all runs, and one seed fewer
than there are (with all of them drawn, so few seeds would seem to vary too little). The interval is
moved by the bootstrap's own bias. Only the calibration error has much of it: with some images twice
in a resample, any model looks less calibrated than it is. A difference to flat is taken seed by
seed and patient by patient.

Seeds differ more than patients do. So the methods of ``MAIN`` are trained with more of them on
clean labels: there the interval is narrow enough to tell a difference of half a hundredth.

The result goes to results/methods.json: a row per condition, method and measure, ``main``, the same
rows of the longer comparison, a row per run, ``labels``, a row per condition, method and label, and
what the figures were made of and with.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from common import HIERARCHY, RESULTS, parallel, rounded, write_json
from where import depths

from cxrlib import data, training
from cxrlib.cohort import RECORD, write_cohort
from cxrlib.configs import read_config
from cxrlib.evaluation import (
    Predictions,
    evaluate,
    mean_interval,
    measures,
    patient_weights,
)
from cxrlib.labels import OBSERVATIONS

CONDITIONS = ("clean", "report", "visual", "tenth")
METHODS = {
    "flat": {"method": "flat"},
    "smooth": {"method": "smooth"},
    "hinge, fixed": {"method": "hbce-hinge", "penalties": "fixed"},
    "hinge, data-driven": {"method": "hbce-hinge", "penalties": "data-driven"},
    "product, fixed": {"method": "hbce-product", "penalties": "fixed"},
    "max-constraint": {"method": "max-constraint"},
    "conditional": {"method": "conditional"},
    "hmlc": {"method": "hmlc"},
}
"""What a method is called in the tables, and the settings that make it."""

REPAIRS = {"flat + max": "max", "flat + min": "min", "flat + projection": "projection"}
"""Methods that need no training of their own: flat's scores, made coherent afterwards."""

MAIN, MAIN_SEEDS = ("flat", "max-constraint", "conditional"), 12
"""Clean labels: no method, and the two that cannot contradict themselves, with so many seeds."""


@dataclass(frozen=True)
class Task:
    """One training of the experiment."""

    condition: str
    method: str
    seed: int

    def train(self):
        """Train, or find the run; returns its folder."""
        config = read_config(f"methods-{self.condition}")
        config = replace(
            config,
            settings=replace(config.settings, **METHODS[self.method], seed=self.seed),
        )
        track, hierarchy = config.open()
        words = self.method.replace(", ", "-")
        run = training.train(
            track,
            hierarchy,
            config.settings,
            name=f"{self.condition}-{words}-seed{self.seed}",
            runs=training.RUNS / "methods",
            trainer=config.trainer,
        )
        return run.folder


def grid(conditions=CONDITIONS, methods=tuple(METHODS), seeds=5):
    """All tasks; a whole comparison of all methods for one seed after the other."""
    return [Task(c, m, seed) for seed in range(seeds) for c in conditions for m in methods]


def more(seeds=5, main_seeds=MAIN_SEEDS):
    """The tasks that the main comparison needs, beside those of the grid."""
    return [Task("clean", m, seed) for seed in range(seeds, main_seeds) for m in MAIN]


def train_all(tasks, jobs):
    """Train every task, ``jobs`` at a time, one thread each: ``{task: folder}``."""
    return dict(zip(tasks, parallel(Task.train, tasks, jobs, "trainings"), strict=True))


# --- Measuring ------------------------------------------------------------------------------------

RESAMPLES = 400
TESTED = {"train": 1, "valid": 1, "test": 2400}


def open_tested():
    """The phantoms that all runs are measured on; drawn now if they are not there."""
    folder = data.DEFAULT_FOLDER.with_name("phantom-tested")
    return data.open_track(write_cohort(folder, TESTED, seed=1, progress=False))


def score_run(folder):
    """``Predictions`` of a run, of the test images of ``open_tested``."""
    track = open_tested()
    track = replace(track, table=track.split("test").reset_index(drop=True))
    scores = training.score(training.find_run(folder, HIERARCHY), track).astype(float)
    truth = HIERARCHY.derive(track.table[list(OBSERVATIONS)])
    return Predictions(track.table[["patient"]], truth, scores)


def repaired(scored):
    """The same ``Predictions`` by task, and beside flat's those made coherent afterwards."""
    made = {
        replace(task, method=name): replace(test, scores=HIERARCHY.make_coherent(test.scores, how))
        for task, test in scored.items()
        if task.method == "flat"
        for name, how in REPAIRS.items()
    }
    return scored | made


def measure(test, resamples=None):
    """The measures of ``Predictions``: DataFrame [1 + resamples, measures].

    Row 0 is measured on the images as they are, the others on resamples of the patients: the same
    ones for every run.
    """
    resamples = RESAMPLES if resamples is None else resamples
    drawn = patient_weights(len(test.truth), test.about["patient"], resamples, seed=0)
    weights = np.concatenate([np.ones((1, len(test.truth))), drawn])
    return measures(test.truth, test.scores, HIERARCHY, weights)


ENDS = ("difference", "low", "high")


def by_label(scored):
    """Rows by condition, method and label: how well it is told, how much better than by flat.

    "depth 0" and so on are means over the labels so far below a root (by the longest way).
    ``auroc`` and ``ap`` are means over the seeds; ``…_difference`` to flat, with a 95% t-interval
    over the seeds: of the luck of training alone, the patients being these.
    """
    told, depth = {}, pd.Series(depths(HIERARCHY), HIERARCHY.labels).map("depth {}".format)
    for task, test in scored.items():
        each = evaluate(test.truth, test.scores).per_label
        means = each.groupby(depth.loc[each.index].to_numpy()).mean()
        told[task.condition, task.method, task.seed] = pd.concat([each, means.rename_axis("label")])
    table = pd.concat(told, names=["condition", "method", "seed"])
    table = table.rename(columns={"average_precision": "ap"})[["positives", "auroc", "ap"]]
    rows = []
    for (condition, method, label), part in table.groupby(level=["condition", "method", "label"]):
        flat = table.xs((condition, "flat", label), level=("condition", "method", "label"))
        own = part.droplevel(["condition", "method", "label"])
        row = {"condition": condition, "method": method, "label": label}
        row["positives"] = int(own["positives"].iloc[0])
        for name in ("auroc", "ap"):
            ends = mean_interval((own[name] - flat[name]).to_numpy())
            row[name] = own[name].mean()
            row |= dict(zip([f"{name}_{end}" for end in ENDS], ends, strict=True))
        rows.append({k: v for k, v in row.items() if not (isinstance(v, float) and np.isnan(v))})
    return rows


def summarise(measured, level=0.95, seed=0):
    """Means, intervals and paired differences to flat.

    Parameters
    ----------
    measured : {Task: DataFrame of ``measure``}; every method with the same seeds as flat.

    Returns
    -------
    DataFrame with a row per condition, method and measure: ``mean``, ``low``, ``high``, and
    ``difference`` (method − flat), ``difference_low``, ``difference_high``.
    """
    rows, ends = [], ((1 - level) / 2, (1 + level) / 2)
    for condition in dict.fromkeys(task.condition for task in measured):
        runs = _stacked(measured, condition)
        names = next(iter(measured.values())).columns
        for method, values in runs.items():
            both = {"": values, "difference": values - runs["flat"]}
            figures = {}
            for prefix, array in both.items():
                drawn, mean = _resampled(array, seed), array[:, 0].mean(axis=0)
                bias = np.nanmean(drawn, axis=0) - mean
                low, high = np.nanquantile(drawn, ends, axis=0) - bias
                figures[prefix or "mean"] = mean
                figures[f"{prefix}_low".strip("_")] = low
                figures[f"{prefix}_high".strip("_")] = high
            table = pd.DataFrame(figures, index=names).rename_axis("measure").reset_index()
            rows.append(table.assign(condition=condition, method=method))
    return pd.concat(rows).set_index(["condition", "method", "measure"])


def _stacked(measured, condition):
    """method → array [seeds, 1 + resamples, measures], seeds in order."""
    chosen = sorted((t for t in measured if t.condition == condition), key=lambda t: t.seed)
    methods = dict.fromkeys(task.method for task in chosen)
    seeds = {m: [task.seed for task in chosen if task.method == m] for m in methods}
    if len(set(map(tuple, seeds.values()))) > 1:
        raise ValueError(f"{condition}: not every method has the same seeds: {seeds}")
    return {m: np.stack([measured[t].to_numpy() for t in chosen if t.method == m]) for m in methods}


def _resampled(values, seed):
    """Means [resamples, measures] over drawn seeds; resample r has its own patients and seeds."""
    seeds, resamples = len(values), values.shape[1] - 1
    if seeds == 1:
        return values[0, 1:]
    draws = np.random.default_rng(seed).integers(seeds, size=(resamples, seeds - 1))
    return np.stack([values[draw, 1 + r].mean(axis=0) for r, draw in enumerate(draws)])


def write_results(folders, scored, measured, results, seeds=5):
    """Store what was found; returns the summary. All by task: the run's folder, what ``score_run``
    and ``repaired`` made of it, and ``measure`` of that. ``seeds``: of the grid.
    """
    records = [json.loads((folder / "run.json").read_text()) for folder in folders.values()]
    seconds = {task: r["seconds"] for task, r in zip(folders, records, strict=True)}
    runs = [
        asdict(task) | table.iloc[0].round(5).to_dict() | {"seconds": seconds.get(task)}
        for task, table in measured.items()
    ]
    summary = summarise({task: table for task, table in measured.items() if task.seed < seeds})
    longer = {
        task: table
        for task, table in measured.items()
        if task.condition == "clean" and task.method in (*MAIN, *REPAIRS)
    }
    opened = {c: read_config(f"methods-{c}") for c in dict.fromkeys(t.condition for t in folders)}
    cohort = next(iter(opened.values())).open()[0].folder / RECORD
    drawn = json.loads(Path(cohort).read_text(encoding="utf-8"))
    asked = next(iter(scored.values()))
    write_json(
        results / "methods.json",
        {
            "seeds": list(range(seeds)),
            "resamples": RESAMPLES,
            "level": 0.95,
            "methods": METHODS,
            "repairs": REPAIRS,
            "conditions": {
                name: {"data": config.data, "settings": asdict(config.settings)}
                for name, config in opened.items()
            },
            "phantom": {name: drawn[name] for name in ("generator", "seed", "size", "images")},
            "tested": {
                "images": len(asked.truth),
                "patients": int(asked.about["patient"].nunique()),
            },
            "versions": {
                "cxrlib": metadata.version("cxrlib"),
                **records[0]["versions"],
            },
            "summary": summary.round(5).reset_index().to_dict("records"),
            "main": summarise(longer).round(5).reset_index().to_dict("records"),
            "main seeds": sorted({task.seed for task in longer}),
            "labels": rounded(by_label({t: s for t, s in scored.items() if t.seed < seeds})),
            "runs": runs,
        },
    )
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    tasks = grid(seeds=options.seeds) + more(options.seeds)
    folders = train_all(tasks, options.jobs)
    open_tested()  # drawn once, before several processes want it
    scores = parallel(score_run, list(folders.values()), options.jobs, "scores")
    scored = repaired(dict(zip(folders, scores, strict=True)))
    tables = parallel(measure, list(scored.values()), options.jobs, "measures")
    measured = dict(zip(scored, tables, strict=True))
    summary = write_results(folders, scored, measured, options.results, options.seeds)
    print(summary.xs("macro_auroc_observations", level="measure").round(4).to_string())


if __name__ == "__main__":
    main()
