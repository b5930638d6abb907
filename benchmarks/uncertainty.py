"""What models know of their own doubt, measured where the truth is known.

    python benchmarks/uncertainty.py [--seeds 5] [--jobs 2] [--real NIH_FOLDER]

Two kinds of models are trained, or found: the course's (notebook 05's "paper-loss") with several
seeds, and small ones under ``CONDITIONS``, for which the truth says what doubt they should have.
results/uncertainty.json then holds, for notebook 09:

- ``doubt``: which kind of doubt finds the errors of *one and the same* predictor, a single model:
  all kinds are asked about the same errors. Each model is the predictor in turn;
- ``sides``: what withholding the most doubtful fifth of each label's answers means for those who
  have the finding and for those who do not, by one model and by an ensemble, each about itself;
- ``predictors``: whether a mean of passes or of models is right more often, and calibrated;
- ``severity``: scores and doubt about subtle, middling and marked findings;
- ``levels`` and ``causes``: both parts of an ensemble's doubt, its disagreement in ranks and its
  errors, for each condition and set of images; and by how much a cause raises them;
- ``odd``: whether doubt notices images that are no frontal radiographs.

An interval holds the luck of patients, by a bootstrap, and that of models, by the jackknife
(``with_luck_of_models``). (Of ``odd`` the lowest and the highest of the models are given.)
"""

import argparse
import itertools
import json
import os
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import RESULTS, equalised, images_of, parallel, rounded, write_json
from scipy.stats import rankdata, spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from cxrlib import data, evaluation, training, uncertainty
from cxrlib.cohort import RECORD, write_cohort
from cxrlib.configs import read_config
from cxrlib.evaluation import measures, patient_weights
from cxrlib.evaluation.auroc import weighted_auroc
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

HIERARCHY = paper_hierarchy()
SEEN = sorted(OBSERVATIONS)
PLACES = [HIERARCHY.labels.index(label) for label in SEEN]
PASSES = {"dropout": 30, "augmentation": 10}
COHORTS = data.DEFAULT_FOLDER.parent


# --- Models ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """What some small models learn from: the settings are those of configs/methods-clean.yaml,
    the labels the phantom's image-like ones.
    """

    cohort: str = ""  # of the folder, where it is not the course's own
    drawn: tuple = ()  # what is drawn otherwise there: ((name, value), …) of ``write_cohort``
    fraction: float = 1.0  # of the training patients
    own: bool = True  # whether every model has a fraction of its own
    epochs: int = 8

    def open(self, seed=0):
        """The track that a model learns from; the cohort is drawn now if it is not there."""
        folder = data.DEFAULT_FOLDER
        if self.cohort:
            folder = COHORTS / f"phantom-{self.cohort}"
            write_cohort(folder, **dict(self.drawn), progress=False)
        track = data.open_track(folder)
        if self.fraction == 1:
            return track
        return data.fewer(track, self.fraction, seed if self.own else 0)


CONDITIONS = {
    "usual": Condition(),
    "noisy": Condition("noisy", (("image_noise", 0.2),)),
    "men": Condition("men", (("women", 0.0),)),
    "tenth": Condition(fraction=0.1, epochs=80),
    "one tenth": Condition(fraction=0.1, own=False, epochs=80),
    "short": Condition(epochs=1),
    "tenth, short": Condition(fraction=0.1),
}
"""Everything as it is; a fifth of the findings' labels flipped; men alone; a tenth of the patients
for as many steps as ever, another tenth for each model, or one for all; all patients for an eighth
of the steps; and a tenth of the patients for a tenth of the steps."""


def train_one(task):
    """Train one model, or find it. Returns its run's folder."""
    condition, seed = task
    if condition == "course":
        config = read_config("workshop")
        track, name = data.open_track(data.DEFAULT_FOLDER), "paper-loss"
        settings = replace(config.settings, method="hbce-step", penalties="data-driven")
    else:
        config, case = read_config("methods-clean"), CONDITIONS[condition]
        track, name = case.open(seed), "doubt-" + condition.replace(", ", "-").replace(" ", "-")
        settings = replace(config.settings, epochs=case.epochs)
    run = training.train(
        track, HIERARCHY, replace(settings, seed=seed), name=name, trainer=config.trainer
    )
    return run.folder


def course_runs(seeds):
    """The course's models, one for each seed: found, or trained one after the other."""
    folders = [train_one(("course", seed)) for seed in range(seeds)]
    return [training.find_run(folder, HIERARCHY) for folder in folders]


def train_all(seeds, jobs):
    """{condition: one run a seed}, in the order of the seeds."""
    for case in CONDITIONS.values():  # a cohort is written once, before several processes want it
        case.open()
    tasks = list(itertools.product(("course", *CONDITIONS), range(seeds)))
    folders = dict(zip(tasks, parallel(train_one, tasks, jobs, "trainings"), strict=True))
    return {
        condition: [training.find_run(folders[condition, seed], HIERARCHY) for seed in range(seeds)]
        for condition in ("course", *CONDITIONS)
    }


# --- Predictions ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Images as the models see them, the truth of the 14 observations, and whose they are."""

    images: torch.Tensor
    truth: pd.DataFrame
    rows: pd.DataFrame

    @classmethod
    def read(cls, track, name, size):
        rows = track.split(name).reset_index(drop=True)
        return cls(images_of(track, rows, size), rows[SEEN], rows)


def in_batches(work, images, size=256):
    """``work`` on some images at a time; results [passes, B, L] put together along the images."""
    return torch.cat([work(batch) for batch in images.split(size)], dim=1)


@torch.inference_mode()
def one_pass(model, images):
    """Scores [1, B, L]."""
    return model(images).sigmoid()[None]


def passes_of(model, images, kind, seed=0):
    """Scores [passes, N, L] of one model."""
    torch.manual_seed(seed)
    if kind == "one model":
        return in_batches(lambda x: one_pass(model, x), images)
    if kind == "dropout":
        return in_batches(lambda x: uncertainty.dropout_passes(model, x, PASSES[kind]), images)
    return in_batches(
        lambda x: uncertainty.augmented_passes(model, x, PASSES[kind], seed=seed), images
    )


def members_of(models, images):
    """Scores [models, N, L] of an ensemble."""
    return torch.cat([passes_of(model, images, "one model") for model in models])


def all_passes(models, images):
    """{kind: [scores [passes, N, L] of each model]}."""
    return {
        kind: [passes_of(model, images, kind, seed) for seed, model in enumerate(models)]
        for kind in tqdm(("one model", *PASSES), desc="passes")
    }


def embedded(model, images):
    """What the last layer of a model looks at: array [N, C]."""
    return torch.cat([uncertainty.embed(model, x) for x in images.split(256)]).numpy()


def logits_of(scores):
    """Log odds of probabilities, none beyond ±14."""
    return torch.logit(scores, eps=1e-6)


# --- Resamples ------------------------------------------------------------------------------------


def all_and_drawn(patients, resamples):
    """How often each image counts: once [row 0], then in each resample of the patients."""
    drawn = patient_weights(len(patients), np.asarray(patients), resamples, seed=0)
    return np.concatenate([np.ones((1, len(patients))), drawn])


def luck_of_models(models, resamples, seed=0):
    """How far each resample is moved by the luck of each model: [1 + R, M]; row 0 is not moved.

    Normal numbers, divided so that their sums have the tails of Student's t with M − 1 degrees of
    freedom: of so few models one knows the spread badly.
    """
    rng, free = np.random.default_rng(seed), models - 1
    if free == 0:
        return np.zeros((1 + resamples, 1))
    drawn = rng.normal(size=(resamples, models))
    drawn *= np.sqrt(free / rng.chisquare(free, size=(resamples, 1)))
    return np.concatenate([np.zeros((1, models)), drawn])


def with_luck_of_models(whole, rest, luck):
    """Figures [1 + R] of all models, on resampled patients, as if the models were others too.

    ``whole`` [1 + R] is of all M models; ``rest`` [M] of all patients without each of the models in
    turn (the jackknife; Efron 1982); ``luck`` of ``luck_of_models``, the same for figures that are
    compared.
    """
    rest = np.asarray(rest, dtype=float)
    return whole + np.sqrt((len(rest) - 1) / len(rest)) * luck @ (rest - rest.mean())


def mean_of_models(figures, luck):
    """The mean over models of figures [models, 1 + R], ``with_luck_of_models``."""
    whole, count = figures.mean(axis=0), len(figures)
    rest = (count * whole[0] - figures[:, 0]) / max(1, count - 1)
    return with_luck_of_models(whole, rest, luck)


def interval(values, prefix=""):
    """The first of ``values`` as the mean, and the 95% interval of the others.

    The interval is moved by the bootstrap's own bias, which calibration errors have: with some
    images twice in a resample, any model looks less calibrated than it is.
    """
    bias = np.nanmean(values[1:]) - values[0]
    low, high = np.nanquantile(values[1:], [0.025, 0.975]) - bias
    names = (f"{prefix}mean", f"{prefix}low", f"{prefix}high")
    return dict(zip(names, map(float, (values[0], low, high)), strict=True))


# --- Does doubt find errors? ----------------------------------------------------------------------

KINDS = {
    "entropy": "predictive_entropy",
    "mutual information": "mutual_information",
    "standard deviation": "std",
}


def doubts_of(number, single, repeated):
    """{name: [N, L]}: every doubt there is about the answers of model ``number``.

    ``single`` holds every model's scores [models, N, L]; ``repeated`` the passes {kind: [passes, N,
    L]} of this one.
    """
    found = {"its entropy": uncertainty.entropy(single[number])}
    others = [n for n in range(len(single)) if n != number]
    asked = {**repeated, "the other models": single[others], "all models": single}
    for name, scores in asked.items():
        result = uncertainty.decompose(scores)
        found |= {f"{name}: {kind}": getattr(result, field) for kind, field in KINDS.items()}
        if name in repeated:
            continue
        found[f"{name}: spread of logits"] = logits_of(scores).std(dim=0)
    return found


def errors_found(number, single, repeated, truth, weights):
    """{(doubt, measure): [R]}: how well each doubt finds one model's errors, mean of the labels."""
    wrong, found = (single[number].numpy() > 0.5) != (truth == 1), {}
    for name, doubt in doubts_of(number, single, repeated).items():
        pairs = list(zip(wrong.T, doubt.numpy().T, strict=True))
        aurc, risk = np.mean([curve_figures(w, d, weights) for w, d in pairs], axis=0)
        detected = [
            weighted_auroc(pd.Series(w.astype(float)), pd.Series(d), weights) for w, d in pairs
        ]
        figures = {"aurc": aurc, "risk at 80%": risk, "error_auroc": np.mean(detected, axis=0)}
        found |= {(name, measure): values for measure, values in figures.items()}
    best = [curve_figures(w, w.astype(float), weights)[0] for w in wrong.T]
    return found | {("knows every error", "aurc"): np.mean(best, axis=0)}


def curve_figures(wrong, doubt, weights):
    """(AURC, risk at 80% coverage) under many weightings: two arrays [R].

    ``wrong``, ``doubt`` [N]; the same as ``uncertainty.risk_coverage`` finds on images that are
    there as often as they count, but for ties.
    """
    order = np.argsort(doubt, kind="stable")
    weights, wrong = weights[:, order], wrong[order]
    answered, total = weights.cumsum(axis=1), weights.sum(axis=1)
    risk = (weights * wrong).cumsum(axis=1) / np.maximum(answered, 1e-9)
    at = (answered >= 0.8 * total[:, None]).argmax(axis=1)
    return (weights * risk).sum(axis=1) / total, risk[np.arange(len(risk)), at]


def find_errors(passes, test, resamples):
    """Rows of ``doubt``: how well each finds the errors of a single model, and its difference to
    that model's own entropy. ``passes``: of ``passes_of`` the test images.
    """
    single, truth = torch.cat(passes["one model"])[..., PLACES], test.truth.to_numpy()
    weights = all_and_drawn(test.rows["patient"], resamples)
    models, once = range(len(single)), weights[:1]
    repeated = [{kind: passes[kind][n][..., PLACES] for kind in PASSES} for n in models]

    def mean(members, weights):
        found = [
            errors_found(number, single[members], repeated[of], truth, weights)
            for number, of in enumerate(members)
        ]
        return {key: np.mean([each[key] for each in found], axis=0) for key in found[0]}

    whole = mean(list(models), weights)
    rest = [mean([m for m in models if m != out], once) for out in tqdm(models, desc="without")]
    luck = luck_of_models(len(single), resamples)
    values = {
        key: with_luck_of_models(of, np.array([each[key][0] for each in rest]), luck)
        for key, of in whole.items()
    }
    return [
        {"doubt": doubt, "measure": measure}
        | interval(of)
        | interval(of - values["its entropy", measure], "difference_")
        for (doubt, measure), of in values.items()
    ]


# --- At whose expense? ----------------------------------------------------------------------------


def side_figures(scores, truth, weights, kept=0.8):
    """{measure: [R]}, means of the labels, of one predictor that withholds by its own entropy.

    ``scores`` [N, L], ``truth`` [N, L] without NaN. Of each label the most doubtful answers are
    withheld, so that ``kept`` of all are given. "missed": findings answered "absent". A label that
    leaves nothing to divide by does not count.
    """
    found = []
    for p, y in zip(np.asarray(scores).T, (truth == 1).T, strict=True):
        wrong, order = (p > 0.5) != y, np.argsort(np.abs(0.5 - p), kind="stable")[::-1]
        w, sick, bad = weights[:, order], y[order], wrong[order]
        given = (w.cumsum(axis=1) <= kept * w.sum(axis=1, keepdims=True)) * w
        every, missed = np.ones(len(y)), bad & sick
        found.append(
            {
                "wrong": _share(w, bad, every),
                "wrong, always the commoner answer": np.minimum(
                    _share(w, sick, every), _share(w, ~sick, every)
                ),
                "missed": _share(w, missed, sick),
                "wrong of the given": _share(given, bad, every),
                "missed of the given": _share(given, missed, sick),
                "withheld with the finding": 1 - given @ sick / _not_zero(w @ sick),
                "withheld without it": 1 - given @ ~sick / _not_zero(w @ ~sick),
                "misses that are withheld": 1 - given @ missed / _not_zero(w @ missed),
            }
        )
    return {name: np.nanmean([each[name] for each in found], axis=0) for name in found[0]}


def _share(weights, of, among):
    return weights @ of / _not_zero(weights @ among)


def _not_zero(values):
    return np.where(values == 0, np.nan, values)


def find_sides(passes, test, resamples):
    """Rows of ``sides``: of one model, and of an ensemble about its own answers.

    No Finding is none, and those who "have" it are the healthy: it is left out.
    """
    findings = [n for n, label in enumerate(SEEN) if label != "No Finding"]
    single = torch.cat(passes["one model"])[..., PLACES].numpy()[..., findings]
    truth = test.truth.to_numpy()[:, findings]
    weights = all_and_drawn(test.rows["patient"], resamples)
    luck, models = luck_of_models(len(single), resamples), range(len(single))
    each = [side_figures(scores, truth, weights) for scores in single]
    whole = side_figures(single.mean(axis=0), truth, weights)
    rest = [
        side_figures(single[[m for m in models if m != one]].mean(axis=0), truth, weights[:1])
        for one in models
    ]
    rows = []
    for name in whole:
        without = np.array([of[name][0] for of in rest])
        for predictor, values in (
            ("one model", mean_of_models(np.array([of[name] for of in each]), luck)),
            ("ensemble", with_luck_of_models(whole[name], without, luck)),
        ):
            rows.append({"predictor": predictor, "measure": name} | interval(values))
    return rows


# --- Is a mean right more often? ------------------------------------------------------------------

PREDICTORS = ("one model", "dropout", "augmentation", "ensemble")


def find_predictors(valid_passes, passes, valid, test, resamples):
    """Rows of ``predictors``: is a mean right more often, and calibrated? Differences to one model.

    An ensemble holds all models; to know what other models would do, each is left out in turn.
    """
    weights = all_and_drawn(test.rows["patient"], resamples)
    luck, values = luck_of_models(len(passes["one model"]), resamples), {}
    for kind in tqdm(PREDICTORS, desc="predictors"):
        pairs = zip(mean_scores(valid_passes, kind), mean_scores(passes, kind), strict=True)
        figures = [predictor_figures(*pair, valid, test, weights) for pair in pairs]
        for name in figures[0]:
            table = np.array([figure[name] for figure in figures])
            if kind == "ensemble":  # row 0: of all; then without each
                values[kind, name] = with_luck_of_models(table[0], table[1:, 0], luck)
            else:
                values[kind, name] = mean_of_models(table, luck)
    return [
        {"predictor": kind, "measure": name}
        | interval(of)
        | interval(of - values["one model", name], "difference_")
        for (kind, name), of in values.items()
    ]


def mean_scores(passes, kind):
    """Scores [N, L] for each model; of an ensemble: of all models, then without each."""
    if kind != "ensemble":
        return [scores.mean(dim=0) for scores in passes[kind]]
    single = torch.cat(passes["one model"])
    rest = [[m for m in range(len(single)) if m != out] for out in range(len(single))]
    return [single.mean(dim=0), *(single[members].mean(dim=0) for members in rest)]


def predictor_figures(valid_scores, scores, valid, test, weights):
    """{measure: [1 + resamples]} of one predictor."""
    before = HIERARCHY.to_table(scores.numpy())
    truths = [HIERARCHY.derive(split.truth) for split in (valid, test)]
    temperatures = evaluation.fit_temperatures(truths[0], HIERARCHY.to_table(valid_scores.numpy()))
    after = evaluation.rescale(before, temperatures)
    found, rescaled = (measures(truths[1], s, HIERARCHY, weights) for s in (before, after))
    wrong = ((before[SEEN] > 0.5) != (test.truth == 1)).mean(axis=1).to_numpy()
    return {
        "macro_auroc": found["macro_auroc_observations"].to_numpy(),
        "macro_ap": found["macro_average_precision_observations"].to_numpy(),
        "error_rate": weights @ wrong / weights.sum(axis=1),
        "calibration_error": found["calibration_error"].to_numpy(),
        "calibration_error_after": rescaled["calibration_error"].to_numpy(),
    }


# --- Subtle findings ------------------------------------------------------------------------------

THIRDS = ("subtle", "middling", "marked")


def severities(track, paths):
    """Severity of each finding, 0 where it is absent: DataFrame [N, findings]."""
    truth = pd.read_csv(track.folder / "truth.csv").set_index("Path")
    known = truth.loc[[f"{track.folder.name}/{path}" for path in paths]]
    named = {name: f"severity {name}" for name in SEEN if f"severity {name}" in known}
    return pd.DataFrame({name: known[column].to_numpy() for name, column in named.items()})


def in_thirds(severity):
    """Which third of those that show a finding each image belongs to; or "absent": [N]."""
    third, shown = np.full(len(severity), "absent", dtype=object), severity > 0
    third[shown] = pd.qcut(severity[shown], 3, labels=THIRDS).astype(object)
    return third


def find_severity(passes, track, test, resamples):
    """Rows of ``severity``: the ensemble's score and doubt by how marked a finding is.

    ``of`` is a third of the images that show the finding, "absent", or "Spearman": the correlation
    with severity among those that show it.
    """
    scores = torch.cat(passes["one model"])[..., PLACES]
    result = uncertainty.decompose(scores)
    values = {
        "score": result.mean,
        "entropy": result.predictive_entropy,
        "spread of logits": logits_of(scores).std(dim=0),
    }
    weights, rows = all_and_drawn(test.rows["patient"], resamples), []
    for label, severity in severities(track, test.rows["path"]).items():
        place, severity = SEEN.index(label), severity.to_numpy()
        shown, third = severity > 0, in_thirds(severity)
        for measure, of in values.items():
            of = of[:, place].numpy()
            for name in ("absent", *THIRDS):
                chosen = weights * (third == name)
                means = chosen @ of / chosen.sum(axis=1)
                row = {"observation": label, "measure": measure, "of": name}
                rows.append(row | {"images": int((third == name).sum())} | interval(means))
            times = weights[:, shown].astype(int)
            ranks = [
                spearmanr(np.repeat(severity[shown], t), np.repeat(of[shown], t)).statistic
                for t in times
            ]
            row = {"observation": label, "measure": measure, "of": "Spearman"}
            rows.append(row | {"images": int(shown.sum())} | interval(np.array(ranks)))
    return rows


# --- Does it grow where it should? ----------------------------------------------------------------

PARTS = ("expected_entropy", "mutual_information", "rank_disagreement", "errors")
CAUSES = {
    "a fifth of the labels flipped": (("noisy", "usual"), ("usual", "usual")),
    "a tenth of the patients, each its own": (("tenth", "usual"), ("usual", "usual")),
    "a tenth of the patients, the same": (("one tenth", "usual"), ("usual", "usual")),
    "an eighth of the steps": (("short", "usual"), ("usual", "usual")),
    "a tenth of both": (("tenth, short", "usual"), ("usual", "usual")),
    "another hospital": (("usual", "another hospital"), ("usual", "usual")),
    "never saw a woman: women beside men": (
        ("men", "women"), ("usual", "women"), ("men", "men"), ("usual", "men"),
    ),
}  # fmt: skip
"""(condition, images) of the models with the cause, and of those without; where there are two such
pairs, the ratio of the first is divided by that of the second."""


def parts_of(scores, truth, weights):
    """{part: [R]}: of an ensemble's members, scores [models, N, L]; means over the labels.

    ``rank_disagreement`` is one minus the rank correlation of two members over the images, mean of
    all pairs: unlike the other parts it does not know how extreme scores are. (Ranks are those
    among all images, whatever their weights.)
    """
    result = uncertainty.decompose(scores)
    wrong = (result.mean.numpy() > 0.5) != (truth == 1)
    by_image = {
        "expected_entropy": result.expected_entropy.mean(dim=1).numpy(),
        "mutual_information": result.mutual_information.mean(dim=1).numpy(),
        "errors": wrong.mean(axis=1),
    }
    found = {part: weights @ of / weights.sum(axis=1) for part, of in by_image.items()}
    alike = [rank_correlation(scores[..., label].numpy(), weights) for label in range(len(SEEN))]
    return found | {"rank_disagreement": 1 - np.mean(alike, axis=0)}


def rank_correlation(scores, weights):
    """The mean correlation of ranks over all pairs of members [models, N], weighted: [R]."""
    shares = weights / weights.sum(axis=1, keepdims=True)
    ranks = rankdata(scores, axis=1) / scores.shape[1]
    means, squares = shares @ ranks.T, shares @ (ranks**2).T
    spread = np.sqrt(squares - means**2)
    pairs = itertools.combinations(range(len(scores)), 2)
    return np.mean(
        [
            (shares @ (ranks[a] * ranks[b]) - means[:, a] * means[:, b])
            / (spread[:, a] * spread[:, b])
            for a, b in pairs
        ],
        axis=0,
    )


def log_parts(scores, truth, weights, luck):
    """{part: log [1 + resamples]} of an ensemble's members, ``with_luck_of_models``."""
    members = range(len(scores))
    whole = parts_of(scores, truth, weights)
    rest = [
        parts_of(scores[[m for m in members if m != one]], truth, weights[:1]) for one in members
    ]
    return {
        part: with_luck_of_models(np.log(whole[part]), np.log([of[part][0] for of in rest]), luck)
        for part in PARTS
    }


def second_hospital():
    """The same people as the models' own cohort, seen by another hospital's machines.

    Patients are drawn by seed and number: those of the test split are the same there, and no model
    has learnt from them.
    """
    return write_cohort(COHORTS / "phantom-second-hospital", hospital=2, progress=False)


def find_causes(runs, resamples):
    """Rows of ``levels`` and of ``causes``: what each cause raises, and by which factor.

    The models are those of the last epoch. Which epoch is best on the validation images differs
    between models that learnt from few patients for long, from the 8th to the 54th of 80: then a
    member more would also be a number of steps more.
    """
    size = runs["usual"][0].settings.size
    own = Split.read(CONDITIONS["usual"].open(), "test", size)
    other = Split.read(data.open_track(second_hospital()), "test", size)
    if list(own.rows["patient"]) != list(other.rows["patient"]):
        raise SystemExit(
            "The second hospital has other patients: remove its folder, and run again."
        )
    sex = own.rows["sex"].to_numpy()
    sets = {
        "usual": (own, np.ones(len(sex))),
        "men": (own, sex == "M"),
        "women": (own, sex == "F"),
        "another hospital": (other, np.ones(len(sex))),
    }
    weights = all_and_drawn(own.rows["patient"], resamples)
    luck, logs = luck_of_models(len(runs["usual"]), resamples), {}
    for condition in tqdm(CONDITIONS, desc="conditions"):
        models = [run.model("last") for run in runs[condition]]
        scores = {
            id(split): members_of(models, split.images)[..., PLACES] for split in (own, other)
        }
        for name, (split, chosen) in sets.items():
            of = log_parts(scores[id(split)], split.truth.to_numpy(), weights * chosen, luck)
            logs |= {(condition, name, part): values for part, values in of.items()}
    levels = [
        {"condition": condition, "set": name, "part": part} | exp_interval(values)
        for (condition, name, part), values in logs.items()
    ]
    causes = []
    for (cause, pairs), part in itertools.product(CAUSES.items(), PARTS):
        signs = (1, -1, -1, 1)
        ratio = sum(sign * logs[(*of, part)] for sign, of in zip(signs, pairs, strict=False))
        causes.append({"cause": cause, "part": part} | exp_interval(ratio))
    return levels, causes


def exp_interval(values):
    """``interval`` of what ``values`` are the logarithms of."""
    return {name: float(np.exp(value)) for name, value in interval(values).items()}


# --- Does it notice what is no frontal radiograph? ------------------------------------------------


def raw_images(track, split, size):
    """Images of a split as they are, not equalised: uint8 [N, 1, size, size]."""
    rows = track.split(split)
    return data.read_images([track.folder / path for path in rows["path"]], size)


def image_doubts(models, images, distances, seed=0):
    """{measure: one value an image}, mean over the models (the ensemble's is one)."""
    found = {}

    def keep(name, values):
        found.setdefault(name, []).append(np.asarray(values))

    for number, (model, distance) in enumerate(zip(models, distances, strict=True)):
        keep("distance of features", distance.mahalanobis(embedded(model, images)))
        for kind in ("one model", "dropout", "augmentation"):
            result = uncertainty.decompose(passes_of(model, images, kind, seed + number))
            if kind == "one model":
                keep("one model: entropy", result.predictive_entropy.mean(dim=1))
            else:
                keep(f"{kind}: mutual information", result.mutual_information.mean(dim=1))
    result = uncertainty.decompose(members_of(models, images))
    keep("ensemble: entropy", result.predictive_entropy.mean(dim=1))
    keep("ensemble: mutual information", result.mutual_information.mean(dim=1))
    return found


def find_odd(runs, track, real=None, count=200):
    """Rows of ``odd``: the AUROC with which each measure tells odd images from test images, and the
    share of them that is ``noticed`` at a limit that 95% of these test images pass.
    """
    models, size = [run.model() for run in runs], runs[0].settings.size
    trained = images_of(track, track.split("train").iloc[:2000], size)
    distances = [LedoitWolf().fit(embedded(model, trained)) for model in models]
    usual = raw_images(track, "test", size)
    odd = {
        kind: (images * 255).round().to(torch.uint8)
        for kind, images in uncertainty.odd_images(usual[:count] / 255).items()
    }
    lateral = data.open_track(track.folder, views=("lateral",))
    odd["lateral view"] = raw_images(lateral, "test", size)[:count]
    other = data.open_track(second_hospital())
    odd["another hospital"] = raw_images(other, "test", size)[:count]
    if real is not None:
        odd["real radiographs"] = raw_images(real, "train", size)[:count]
    reference = image_doubts(models, equalised(usual[count:]), distances)
    rows = []
    for kind, images in tqdm(odd.items(), desc="odd images"):
        for measure, values in image_doubts(models, equalised(images), distances).items():
            aurocs = [
                roc_auc_score([0] * len(a) + [1] * len(b), np.concatenate([a, b]))
                for a, b in zip(reference[measure], values, strict=True)
            ]
            noticed = [
                (b > np.quantile(a, 0.95)).mean()
                for a, b in zip(reference[measure], values, strict=True)
            ]
            rows.append(
                {"kind": kind, "measure": measure, "images": len(images)}
                | {"auroc": float(np.mean(aurocs)), "lowest": min(aurocs), "highest": max(aurocs)}
                | {"noticed": float(np.mean(noticed))}
            )
    return rows


# --- All of it ------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--resamples", type=int, default=400, help="of the test patients")
    parser.add_argument("--real", type=Path, help="a folder of NIH radiographs, as odd images")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    runs = train_all(options.seeds, options.jobs)
    track, course = data.open_track(data.DEFAULT_FOLDER), runs["course"]
    models, size = [run.model() for run in course], course[0].settings.size
    valid, test = (Split.read(track, name, size) for name in ("valid", "test"))
    valid_passes, passes = (all_passes(models, split.images) for split in (valid, test))
    real = data.open_track(options.real) if options.real else None
    drawn = json.loads((track.folder / RECORD).read_text(encoding="utf-8"))
    record = json.loads((course[0].folder / "run.json").read_text(encoding="utf-8"))
    levels, causes = find_causes(runs, options.resamples)
    result = {
        "seeds": options.seeds,
        "resamples": options.resamples,
        "passes": PASSES,
        "settings": {name: asdict(runs[name][0].settings) for name in ("course", "usual")},
        "conditions": {name: asdict(case) for name, case in CONDITIONS.items()},
        "phantom": {name: drawn[name] for name in ("generator", "seed", "size", "images")},
        "versions": {"cxrlib": metadata.version("cxrlib"), **record["versions"]},
        "doubt": find_errors(passes, test, options.resamples),
        "sides": find_sides(passes, test, options.resamples),
        "predictors": find_predictors(valid_passes, passes, valid, test, options.resamples),
        "severity": find_severity(passes, track, test, options.resamples),
        "levels": levels,
        "causes": causes,
        "odd": find_odd(course, track, real),
    }
    print(write_json(options.results / "uncertainty.json", rounded(result)))


if __name__ == "__main__":
    main()
