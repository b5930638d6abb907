"""A careful program, part by part: what does each part of it gain, and what does it still promise?

    python benchmarks/pipeline.py [--seeds 5] [--real NIH_FOLDER …]

A program that answers fourteen questions about an image, "present" or "absent", and may withhold
any answer, is built in four steps (``STAGES``):

- one model;
- the mean of an ensemble;
- a temperature for each label, fitted on validation patients, so that one threshold on doubt means
  the same for all labels;
- a gate: an image whose features are further from the training images' than those of 95% of the
  validation images gets no answer at all.

Each is asked about the phantom's test patients; the same people at the second hospital; the test
patients with one image in ten exchanged for one that is no frontal radiograph, where any answer
counts as wrong; and real radiographs, with the labels they come with. Measured are:

- ``risk at 80%``: the share of wrong answers, when the most doubtful fifth is withheld (not given
  for a gate that refuses more than a fifth);
- ``missed`` and ``false alarms``: of the findings that are there, and of those that are not, how
  many are answered wrongly under that promise, which is one for both;
- ``risk`` and ``coverage`` of a promise: the threshold on doubt is chosen on validation patients by
  conformal risk control (Angelopoulos et al. 2022), so that on average over patients at most
  ``ALPHA`` of the fourteen answers are wrong. (Temperatures, gate and threshold, and the models'
  checkpoints, are chosen on the same validation patients: strictly, each would need its own.)

Intervals are those of benchmarks/uncertainty.py: patients, and one model left out. The result goes
to results/pipeline.json.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import uncertainty as doubts
from common import HIERARCHY, RESULTS, equalised, provenance, rounded, versions, which, write_json
from sklearn.covariance import LedoitWolf
from tqdm import tqdm

from cxrlib import data, evaluation, uncertainty

SEEN = doubts.SEEN
STAGES = ("one model", "ensemble", "temperature", "gate")
ALPHA = 0.03
KEPT = 0.95
"""Share of the validation images that the gate lets through."""


@dataclass(frozen=True)
class Stream:
    """Images that a program is asked about: what the models say, and what is true."""

    scores: torch.Tensor  # [models, N, L]
    distances: np.ndarray  # [models, N], of the features from the training images'
    truth: np.ndarray  # [N, 14]: 0, 1; NaN: not known; −1: no answer is right
    patients: np.ndarray  # [N]

    @classmethod
    def of(cls, experts, images, truth, patients):
        distances = [space.mahalanobis(doubts.embedded(model, images)) for model, space in experts]
        scores = doubts.members_of([model for model, _ in experts], images)
        return cls(scores, np.stack(distances), np.asarray(truth, float), np.asarray(patients))


def experts_of(runs, track):
    """(model, where the features of its training images lie) of each run."""
    images = doubts.images_of(track, track.split("train").iloc[:2000], runs[0].settings.size)
    models = [run.model() for run in runs]
    return [(model, LedoitWolf().fit(doubts.embedded(model, images))) for model in models]


# --- The program ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answers:
    """What a program would answer: whether wrong (NaN: nobody knows) and with which doubt [N, 14].

    A doubt above one half is that of an image which the gate refused.
    """

    wrong: np.ndarray
    doubt: np.ndarray


def answer(stage, members, valid, stream):
    """(``Answers`` about the validation images, about the stream's) of some of the models."""
    streams = (valid, stream)
    tables = [HIERARCHY.to_table(s.scores[members].mean(dim=0).numpy()) for s in streams]
    if STAGES.index(stage) >= STAGES.index("temperature"):
        truth = pd.DataFrame(valid.truth, columns=SEEN)
        temperatures = evaluation.fit_temperatures(truth, tables[0][SEEN])
        tables = [evaluation.rescale(table[SEEN], temperatures) for table in tables]
    refused = [np.zeros(len(s.truth), bool) for s in streams]
    if stage == "gate":
        refused = gate(valid.distances[members], stream.distances[members])
    return [
        _answers(table[SEEN].to_numpy(), s.truth, closed)
        for table, s, closed in zip(tables, streams, refused, strict=True)
    ]


def gate(valid, new):
    """Which images are refused, of validation and of new ones, by distances [models, N]."""
    usual = np.median(valid, axis=1, keepdims=True)
    far = [(distances / usual).mean(axis=0) for distances in (valid, new)]
    limit = np.quantile(far[0], KEPT)
    return [distance > limit for distance in far]


def _answers(scores, truth, refused):
    wrong = np.where(np.isnan(truth), np.nan, (scores > 0.5) != (truth == 1))
    wrong[truth == -1] = 1.0
    doubt = 1 - np.maximum(scores, 1 - scores)
    doubt[refused] = 1.0
    return Answers(wrong, doubt)


def choose_threshold(answers, patients, alpha=ALPHA):
    """The highest doubt with which answers may be given, so that on average over patients at most
    ``alpha`` of the answers about an image are wrong: conformal risk control; −∞: give none.
    """
    known = np.isfinite(answers.wrong)
    labels = known.sum(axis=1, keepdims=True)
    images = pd.Series(patients).map(pd.Series(patients).value_counts()).to_numpy()[:, None]
    loss = np.where(known, answers.wrong, 0) / np.maximum(labels, 1) / images
    order = np.argsort(answers.doubt, axis=None)
    doubt, count = answers.doubt.ravel()[order], len(np.unique(patients))
    risk = (loss.ravel()[order].cumsum() + 1) / (count + 1)
    given = (risk <= alpha + 1e-12) & (doubt <= 0.5)
    last = np.append(doubt[1:] > doubt[:-1], True)  # answers of the same doubt are given together
    allowed = np.flatnonzero(given & last)
    return doubt[allowed[-1]] if len(allowed) else -np.inf


# --- Measuring ------------------------------------------------------------------------------------


def figures(stage, members, valid, stream, weights):
    """{measure: [1 + resamples]} of one program, on the images of a stream."""
    calm, asked = answer(stage, members, valid, stream)
    threshold = choose_threshold(calm, valid.patients)
    known = np.isfinite(asked.wrong)
    counted = np.repeat(weights[:, :, None], len(SEEN), axis=2)[:, known]
    wrong, doubt = asked.wrong[known], asked.doubt[known]
    given, total, truth = doubt <= threshold, counted.sum(axis=1), stream.truth[known]

    def of_side(value):
        here = counted[:, truth == value]
        return here @ (wrong * given)[truth == value] / here.sum(axis=1)

    return {
        "risk at 80%": doubts.curve_figures(wrong, doubt, counted)[1],
        "error rate": counted @ wrong / total,
        "risk": counted @ (wrong * given) / total,
        "coverage": counted @ given / total,
        "missed": of_side(1),
        "false alarms": of_side(0),
        "refused": weights @ (asked.doubt > 0.5).all(axis=1) / weights.sum(axis=1),
    }


def measure(valid, stream, resamples):
    """Rows of one stream: every stage and measure, and its difference to the stage before."""
    count = len(stream.scores)
    weights = doubts.all_and_drawn(stream.patients, resamples)
    out, values = doubts.left_out(count, resamples), {}
    rest = [[m for m in range(count) if m != one] for one in range(count)]
    for stage in STAGES:
        alone = stage == "one model"
        programs = [[m] for m in range(count)] if alone else [list(range(count)), *rest]
        found = [figures(stage, members, valid, stream, weights) for members in programs]
        for name in found[0]:
            table = np.array([of[name] for of in found])
            each = doubts.without(table, out) if alone else table[out + 1, np.arange(len(out))]
            values[stage, name] = each
    rows = []
    if values["gate", "refused"][0] > 0.2:
        del values["gate", "risk at 80%"]
    for (stage, name), of in values.items():
        before = STAGES[max(0, STAGES.index(stage) - 1)]
        row = {"stage": stage, "measure": name} | doubts.interval(of)
        rows.append(row | doubts.interval(of - values[before, name], "difference_"))
    return rows


# --- The streams ----------------------------------------------------------------------------------


def with_intruders(experts, track, size, share=0.1):
    """The test images, so many of them exchanged for images that are no frontal radiographs."""
    rows = track.split("test").reset_index(drop=True)
    raw, truth = doubts.raw_images(track, "test", size), rows[SEEN].to_numpy(dtype=float, copy=True)
    lateral = data.open_track(track.folder, views=("lateral",))
    odd = uncertainty.odd_images(raw / 255)
    kinds = {kind: (images * 255).round().to(torch.uint8) for kind, images in odd.items()}
    kinds["lateral view"] = doubts.raw_images(lateral, "test", size)
    rng = np.random.default_rng(0)
    for place in np.flatnonzero(rng.random(len(rows)) < share):
        images = kinds[list(kinds)[rng.integers(len(kinds))]]
        raw[place] = images[place % len(images)]
        truth[place] = -1
    return Stream.of(experts, equalised(raw), truth, rows["patient"])


def from_split(experts, track, size, split=None):
    """A split's images, or all a track has, with their labels."""
    rows = track.split(split) if split else track.table
    images = doubts.images_of(track, rows, size)
    return Stream.of(experts, images, rows[SEEN].to_numpy(dtype=float), rows["patient"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=200, help="of the patients")
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of NIH's")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    track = data.open_track(data.DEFAULT_FOLDER)
    runs = doubts.course_runs(options.seeds)
    experts, size = experts_of(runs, track), runs[0].settings.size
    valid = from_split(experts, track, size, "valid")
    other = data.open_track(doubts.second_hospital())
    real = {folder.name: data.open_track(folder) for folder in options.real}
    streams = {
        "phantom": lambda: from_split(experts, track, size, "test"),
        "second hospital": lambda: from_split(experts, other, size, "test"),
        "one in ten is odd": lambda: with_intruders(experts, track, size),
    } | {name: lambda of=of: from_split(experts, of, size) for name, of in real.items()}
    rows = []
    for name, make in tqdm(streams.items(), desc="streams"):
        stream = make()
        known = np.isfinite(stream.truth)
        asked = {"images": len(known), "labels": int(known.any(axis=0).sum())}
        rows += [
            {"stream": name} | asked | row for row in measure(valid, stream, options.resamples)
        ]
    result = {
        "seeds": options.seeds,
        "resamples": options.resamples,
        "alpha": ALPHA,
        "kept": KEPT,
        "phantom": provenance(track),
        "real": {name: which(of) for name, of in real.items()},
        "versions": versions(),
        "rows": rows,
    }
    print(write_json(options.results / "pipeline.json", rounded(result)))


if __name__ == "__main__":
    main()
