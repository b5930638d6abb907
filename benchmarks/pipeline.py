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
counts as wrong; and real radiographs, with the labels they come with. Two promises are made with
each, by conformal risk control (Angelopoulos et al. 2022), ``PROMISES``:

- ``one for all``: on average over patients at most ``ALPHA`` of the fourteen answers are wrong;
- ``to each side``: on average over the patients who have any finding, at most ``ALPHA`` of their
  findings are answered "absent", and of what patients do not have at most ``ALPHA`` "present": two
  thresholds on doubt. No Finding is on neither side.

Temperatures and gate are fitted on one half of the validation patients and thresholds chosen on the
other, since a promise needs patients on whom nothing was chosen. (The models' checkpoints were, on
all of them.) Measured are:

- ``risk at 80%``: the share of wrong answers, when the most doubtful fifth is withheld (not given
  for a gate that refuses more than a fifth);
- of each promise ``risk``, the share of all questions that are answered wrongly, and ``coverage``,
  the share that is answered; ``missed`` and ``false alarms``, the share of the findings that are
  there, and of those that are not, that are answered wrongly: each counted as it is promised, every
  patient as one (``shares``).

Intervals are those of benchmarks/uncertainty.py: patients and models. Thresholds might have been
chosen on other patients: ``draws_low`` to ``draws_high`` is where nine of ten such choices lie, for
the same test patients and models. (They are halves of one pool and share patients: their spread is
widened by the root of 2.) The result goes to results/pipeline.json.
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
PROMISES = ("one for all", "to each side")
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

    def of_patients(self, inside):
        """The images for which ``inside`` [N] is true."""
        chosen = torch.from_numpy(inside)
        parts = self.distances[:, inside], self.truth[inside], self.patients[inside]
        return Stream(self.scores[:, chosen], *parts)

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
    """What a program would answer: whether "present", how doubtful, and what is true [N, 14].

    A doubt above one half is that of an image which the gate refused.
    """

    present: np.ndarray
    doubt: np.ndarray
    truth: np.ndarray

    @property
    def wrong(self):
        """1 or 0; NaN where nobody knows the truth."""
        wrong = np.where(self.truth == -1, 1.0, self.present != (self.truth == 1))
        return np.where(np.isnan(self.truth), np.nan, wrong)


def program(stage, members, tuning):
    """A function from a stream to ``Answers``: some of the models, tuned on images of their own."""
    fitted, limit = None, np.inf
    if STAGES.index(stage) >= STAGES.index("temperature"):
        truth = pd.DataFrame(tuning.truth, columns=SEEN)
        fitted = evaluation.fit_temperatures(truth, mean_of(members, tuning))
    usual = np.median(tuning.distances[members], axis=1, keepdims=True)
    if stage == "gate":
        limit = np.quantile((tuning.distances[members] / usual).mean(axis=0), KEPT)

    def answer(stream):
        scores = mean_of(members, stream)
        if fitted is not None:
            scores = evaluation.rescale(scores, fitted)
        scores = scores.to_numpy()
        doubt = 1 - np.maximum(scores, 1 - scores)
        doubt[(stream.distances[members] / usual).mean(axis=0) > limit] = 1.0
        return Answers(scores > 0.5, doubt, stream.truth)

    return answer


def mean_of(members, stream):
    """The mean score of some models: DataFrame [N, 14]."""
    return HIERARCHY.to_table(stream.scores[members].mean(dim=0).numpy())[SEEN]


def shares(judged, patients):
    """What each answer counts [N, L]: every patient one, alike over images, and over labels there.

    ``judged`` [N, L]: which answers count at all.
    """
    labels, images = judged.sum(axis=1), judged.any(axis=1)
    own = pd.Series(images).groupby(np.asarray(patients)).transform("sum").to_numpy()
    return judged / np.maximum(labels * own, 1)[:, None]


def choose_threshold(wrong, doubt, patients, alpha=ALPHA):
    """The highest doubt with which answers may be given, so that on average over patients at most
    ``alpha`` of the answers about an image are wrong: conformal risk control; −∞: give none.

    ``wrong`` and ``doubt`` are [N, L]. Answers that nobody can judge (NaN) and images without any
    that can be judged do not count.
    """
    judged = np.isfinite(wrong)
    loss = np.nan_to_num(wrong) * shares(judged, patients)
    count = len(np.unique(np.asarray(patients)[judged.any(axis=1)]))
    loss, doubt = loss[judged], doubt[judged]
    order = np.argsort(doubt)
    doubt = doubt[order]
    risk = (loss[order].cumsum() + 1) / (count + 1)
    given = (risk <= alpha + 1e-12) & (doubt <= 0.5)
    last = np.append(doubt[1:] > doubt[:-1], True)  # answers of the same doubt are given together
    allowed = np.flatnonzero(given & last)
    return doubt[allowed[-1]] if len(allowed) else -np.inf


def on_side(truth, side):
    """Which questions are about a finding that is there (1), or about one that is not (0)."""
    return (truth == side) & (np.array(SEEN) != "No Finding")


def choose_limits(promise, known, patients, alpha=ALPHA):
    """The highest doubt of an answer "absent", and of an answer "present", under a promise."""
    if promise == "one for all":
        return (choose_threshold(known.wrong, known.doubt, patients, alpha),) * 2
    return tuple(
        choose_threshold(
            np.where(on_side(known.truth, side), known.wrong, np.nan), known.doubt, patients, alpha
        )
        for side in (1, 0)
    )


def given(answers, limits):
    """Which answers a program gives [N, 14]."""
    return answers.doubt <= np.where(answers.present, limits[1], limits[0])


# --- Measuring ------------------------------------------------------------------------------------


def halves(valid, seed=0):
    """The validation images in two, patient by patient: to tune on, and to choose thresholds on."""
    names = np.random.default_rng(seed).permutation(pd.unique(valid.patients))
    first = np.isin(valid.patients, names[: len(names) // 2])
    return valid.of_patients(first), valid.of_patients(~first)


def figures(stage, members, valid, stream, weights, seed=0):
    """{(promise, measure): [1 + resamples]} of one program, on the images of a stream."""
    tuning, fitting = halves(valid, seed)
    answer = program(stage, members, tuning)
    known, asked = answer(fitting), answer(stream)
    judged = np.isfinite(asked.wrong)
    wrong = np.nan_to_num(asked.wrong)
    counted = np.repeat(weights[:, :, None], len(SEEN), axis=2)[:, judged]

    def share(of, among=judged):
        each = shares(among, stream.patients)
        return weights @ (each * of).sum(axis=1) / (weights @ each.sum(axis=1))

    at_80 = doubts.curve_figures(wrong[judged], asked.doubt[judged], counted)[1]
    found = {
        ("", "risk at 80%"): at_80,
        ("", "error rate"): share(wrong),
        ("", "refused"): weights @ (asked.doubt > 0.5).all(axis=1) / weights.sum(axis=1),
    }
    for promise in PROMISES:
        said = given(asked, choose_limits(promise, known, fitting.patients))
        found |= {
            (promise, "risk"): share(wrong * said),
            (promise, "coverage"): share(said),
            (promise, "missed"): share(wrong * said, on_side(stream.truth, 1)),
            (promise, "false alarms"): share(wrong * said, on_side(stream.truth, 0)),
        }
    return found


def over_draws(stage, programs, valid, stream, draws):
    """{(promise, measure): where nine of ten lie}, of thresholds chosen on other patients."""
    once = np.ones((1, len(stream.truth)))
    found = [
        [figures(stage, members, valid, stream, once, 1 + seed) for members in programs]
        for seed in range(draws)
    ]
    spread = {}
    for name in found[0][0]:
        values = [np.mean([of[name][0] for of in each]) for each in found]
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        ends = {"draws_low": low, "draws_high": high}
        spread[name] = {k: float(middle + np.sqrt(2) * (v - middle)) for k, v in ends.items()}
    return spread


def measure(valid, stream, resamples, draws):
    """Rows of one stream: every stage and measure, and its difference to the stage before."""
    count = len(stream.scores)
    weights = doubts.all_and_drawn(stream.patients, resamples)
    luck, values, spread = doubts.luck_of_models(count, resamples), {}, {}
    everyone = list(range(count))
    rest = [[m for m in everyone if m != one] for one in everyone]
    for stage in STAGES:
        alone = stage == "one model"
        programs = [[m] for m in everyone] if alone else [everyone]
        found = [figures(stage, members, valid, stream, weights) for members in programs]
        without = [figures(stage, some, valid, stream, weights[:1]) for some in rest if not alone]
        for name in found[0]:
            values[stage, name] = (
                doubts.mean_of_models(np.array([of[name] for of in found]), luck)
                if alone
                else doubts.with_luck_of_models(
                    found[0][name], np.array([of[name][0] for of in without]), luck
                )
            )
        spread[stage] = over_draws(stage, programs, valid, stream, draws)
    rows = []
    if values["gate", ("", "refused")][0] > 0.2:
        del values["gate", ("", "risk at 80%")]
    for (stage, name), of in values.items():
        before = STAGES[max(0, STAGES.index(stage) - 1)]
        row = {"stage": stage, "promise": name[0], "measure": name[1]} | doubts.interval(of)
        row |= doubts.interval(of - values[before, name], "difference_") | spread[stage][name]
        rows.append(row)
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
    parser.add_argument("--draws", type=int, default=30, help="of the patients thresholds are of")
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
        found = measure(valid, stream, options.resamples, options.draws)
        rows += [{"stream": name} | asked | row for row in found]
    result = {
        "seeds": options.seeds,
        "resamples": options.resamples,
        "alpha": ALPHA,
        "kept": KEPT,
        "draws": options.draws,
        "phantom": provenance(track),
        "real": {name: which(of) for name, of in real.items()},
        "versions": versions(),
        "rows": rows,
    }
    print(write_json(options.results / "pipeline.json", rounded(result)))


if __name__ == "__main__":
    main()
