"""What five models of one recipe know of their own doubt, measured where the truth is known.

    python benchmarks/uncertainty.py [--seeds 5] [--jobs 2]

Two kinds of models are trained, or found: the course's (notebook 05's "paper-loss") with several
seeds, and small ones under four conditions, for which the truth says what doubt they should have:

- ``usual``: the phantom's training labels as they are;
- ``noisy``: a fifth of the findings' training labels flipped: more doubt that no data can remove;
- ``tenth``: a tenth of the training patients: more doubt for lack of data;
- ``men``: trained on men alone, then asked about women: doubt where nothing was learnt.

results/uncertainty.json then holds, for notebook 09: how well each kind of doubt finds errors
(``doubt``), whether it notices images that are no frontal radiographs (``odd``), and whether it
grows where it should (``difficulty``, ``severity``).
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
from common import RESULTS, equalised, parallel, rounded, write_json
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from cxrlib import data, evaluation, training, uncertainty
from cxrlib.cohort import RECORD, write_cohort
from cxrlib.configs import read_config
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

HIERARCHY = paper_hierarchy()
LABELS = HIERARCHY.labels
SEEN = sorted(OBSERVATIONS)
CONDITIONS = ("usual", "noisy", "tenth", "men")
PASSES = {"dropout": 30, "augmentation": 10}
COHORTS = data.DEFAULT_FOLDER.parent


# --- Models ---------------------------------------------------------------------------------------


def open_condition(condition):
    """The track that a condition trains on, made if need be."""
    if condition == "noisy":
        folder = write_cohort(COHORTS / "phantom-noisy", image_noise=0.2, progress=False)
    elif condition == "men":
        folder = write_cohort(COHORTS / "phantom-men", women=0.0, progress=False)
    else:
        folder = data.DEFAULT_FOLDER
    track = data.open_track(folder)
    return data.fewer(track, 0.1) if condition == "tenth" else track


def train_one(task):
    """Train one model, or find it. Returns its run's folder."""
    condition, seed = task
    if condition == "course":
        track, name = data.open_track(data.DEFAULT_FOLDER), "paper-loss"
        settings = replace(
            read_config("workshop").settings, method="hbce-step", penalties="data-driven"
        )
    else:
        track, name = open_condition(condition), f"doubt-{condition}"
        settings = read_config("methods-clean").settings
    run = training.train(track, HIERARCHY, replace(settings, seed=seed), name=name)
    return run.folder


def train_all(seeds, jobs):
    """{condition: one run a seed}, in the order of the seeds."""
    for condition in CONDITIONS:  # a cohort is written once, before several processes want it
        open_condition(condition)
    tasks = list(itertools.product(("course", *CONDITIONS), range(seeds)))
    folders = dict(zip(tasks, parallel(train_one, tasks, jobs, "trainings"), strict=True))
    return {
        condition: [training.find_run(folders[condition, seed], HIERARCHY) for seed in range(seeds)]
        for condition in ("course", *CONDITIONS)
    }


# --- Predictions ----------------------------------------------------------------------------------


def prepared(track, split, size):
    """Images of a split as the models see them, equalised: float [N, 1, size, size]."""
    rows = track.split(split)
    targets = HIERARCHY.derive(rows[SEEN])
    seen = data.ChestDataset(rows, track.folder, targets, size, equalize=True)
    return torch.stack([image for image, _ in seen])


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


# --- Does doubt find errors? ----------------------------------------------------------------------

DOUBTS = {
    "one model": ("predictive_entropy",),
    "dropout": ("predictive_entropy", "mutual_information", "std"),
    "augmentation": ("predictive_entropy", "mutual_information", "std"),
    "ensemble": ("predictive_entropy", "mutual_information", "std"),
}


@dataclass(frozen=True)
class Split:
    """Images as the models see them, the truth of the 14 observations, and whose they are."""

    images: torch.Tensor
    truth: pd.DataFrame
    patients: np.ndarray

    @classmethod
    def read(cls, track, name, size):
        rows = track.split(name)
        truth = rows[SEEN].reset_index(drop=True)
        return cls(prepared(track, name, size), truth, rows["patient"].to_numpy())


def summarised(kind, models, images):
    """One ``Uncertainty`` of the 14 observations for every seed (an ensemble: one in all)."""
    columns = [LABELS.index(label) for label in SEEN]
    if kind == "ensemble":
        passes = [members_of(models, images)]
    else:
        passes = [passes_of(model, images, kind, seed) for seed, model in enumerate(models)]
    return [uncertainty.decompose(scores[..., columns]) for scores in passes]


def find_errors(runs, valid, test, resamples):
    """Rows of ``doubt``: each method and doubt, the mean over its seeds with an interval."""
    models = [run.model() for run in runs]
    known = {}
    for kind in tqdm(DOUBTS, desc="passes"):
        pairs = zip(*(summarised(kind, models, s.images) for s in (valid, test)), strict=True)
        known[kind] = [(tempered(valid, *pair), pair[1]) for pair in pairs]
    draws = [np.arange(len(test.truth)), *drawn_rows(test.patients, resamples)]
    truth, values = test.truth.to_numpy(), {}
    for drawn in tqdm(draws, desc="resamples"):
        for kind, of_seeds in known.items():
            figures = [judge(kind, truth, *one, drawn) for one in of_seeds]
            for key, value in pd.DataFrame(figures).mean().items():
                values.setdefault((kind, *key), []).append(value)
    rows = []
    for (kind, doubt, measure), found in values.items():
        usual = values["one model", "predictive_entropy" if doubt else "", measure]
        difference = np.subtract(found, usual)
        rows.append(
            {"method": kind, "doubt": doubt, "measure": measure}
            | interval(found)
            | interval(difference, "difference_")
        )
    return rows


def tempered(valid, of_valid, of_test):
    """The test images' scores after a temperature a label, fitted on the validation images."""
    scores = [pd.DataFrame(u.mean.numpy(), columns=SEEN) for u in (of_valid, of_test)]
    temperatures = evaluation.fit_temperatures(valid.truth, scores[0])
    return evaluation.rescale(scores[1], temperatures).to_numpy()


def judge(kind, truth, rescaled, result, drawn):
    """{(doubt, measure): value} of one model on the images ``drawn``."""
    truth, mean = truth[drawn], result.mean.numpy()[drawn]
    wrong = (mean > 0.5) != (truth == 1)
    figures = {
        ("", "error_rate"): wrong.mean(),
        ("", "macro_auroc"): roc_auc_score(truth, mean, average="macro"),
        ("", "calibration_error"): calibration_error(truth, mean),
        ("", "calibration_error_after"): calibration_error(truth, rescaled[drawn]),
        ("", "best_aurc"): np.mean([area(column, column) for column in wrong.T]),
    }
    for doubt in DOUBTS[kind]:
        values = getattr(result, doubt).numpy()[drawn]
        pairs = list(zip(wrong.T, values.T, strict=True))
        figures[doubt, "aurc"] = np.mean([area(*pair) for pair in pairs])
        figures[doubt, "error_auroc"] = np.mean(
            [roc_auc_score(*pair) for pair in pairs if 0 < pair[0].mean() < 1]
        )
    return figures


def area(wrong, doubt):
    """The area under the risk–coverage curve."""
    return uncertainty.risk_coverage(wrong, doubt)["risk"].mean()


def calibration_error(truth, scores):
    """Expected calibration error in 10 equal bins, mean over the labels."""
    errors = []
    for y, p in zip(truth.T, scores.T, strict=True):
        cell = np.minimum((p * 10).astype(int), 9)
        errors.append(np.abs(np.bincount(cell, p - y, 10)).sum() / len(y))
    return np.mean(errors)


def drawn_rows(patients, resamples, seed=0):
    """Row numbers of resamples of the patients, all images of a patient together."""
    rng = np.random.default_rng(seed)
    rows = list(pd.Series(range(len(patients))).groupby(patients).apply(np.array))
    for _ in range(resamples):
        yield np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])


def interval(values, prefix=""):
    """The first of ``values`` as the mean, and the 95% interval of the others.

    The interval is moved by the bootstrap's own bias, which calibration errors have: with some
    images twice in a resample, any model looks less calibrated than it is.
    """
    bias = np.mean(values[1:]) - values[0]
    low, high = np.quantile(values[1:], [0.025, 0.975]) - bias
    names = (f"{prefix}mean", f"{prefix}low", f"{prefix}high")
    return dict(zip(names, map(float, (values[0], low, high)), strict=True))


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
        embedded = torch.cat([uncertainty.embed(model, x) for x in images.split(256)])
        keep("distance of features", distance.mahalanobis(embedded.numpy()))
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
    """Rows of ``odd``: the AUROC with which each measure tells odd images from test images."""
    models, size = [run.model() for run in runs], runs[0].settings.size
    trained = prepared(track, "train", size)[:2000]
    distances = [
        LedoitWolf().fit(torch.cat([uncertainty.embed(m, x) for x in trained.split(256)]).numpy())
        for m in models
    ]
    usual = raw_images(track, "test", size)
    odd = {
        kind: (images * 255).round().to(torch.uint8)
        for kind, images in uncertainty.odd_images(usual[:count] / 255).items()
    }
    lateral = data.open_track(track.folder, views=("lateral",))
    odd["lateral view"] = raw_images(lateral, "test", size)[:count]
    other = data.open_track(other_hospital())
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
            rows.append(
                {"kind": kind, "measure": measure, "images": len(images)}
                | {"auroc": float(np.mean(aurocs)), "lowest": min(aurocs), "highest": max(aurocs)}
            )
    return rows


def other_hospital():
    """A cohort of the second hospital: another detector, and people whom no model has met.

    (With the seed of the models' own cohort, its first patients would be those they learnt from.)
    """
    patients = {"train": 30, "valid": 30, "test": 570}
    return write_cohort(
        COHORTS / "phantom-other-hospital", patients, seed=1, hospital=2, progress=False
    )


# --- Does it grow where it should? ----------------------------------------------------------------


def find_difficulty(runs, resamples):
    """Rows of ``difficulty``: for each condition and set of images, both parts of doubt."""
    size = runs["usual"][0].settings.size
    usual, other = open_condition("usual"), data.open_track(other_hospital())
    sex = usual.split("test")["sex"].to_numpy()
    of_test = Split.read(usual, "test", size)
    of_other = Split.read(other, "test", size)
    every = np.ones(len(sex), dtype=bool)
    sets = {
        "usual": (of_test, every),
        "men": (of_test, sex == "M"),
        "women": (of_test, sex == "F"),
        "another hospital": (of_other, np.ones(len(of_other.patients), dtype=bool)),
    }
    rows = []
    for condition in CONDITIONS:
        models = [run.model() for run in runs[condition]]
        doubt = {
            id(split): summarised("ensemble", models, split.images)[0]
            for split in (of_test, of_other)
        }
        for name, (split, chosen) in sets.items():
            result, patients = doubt[id(split)], split.patients[chosen]
            for part in ("expected_entropy", "mutual_information"):
                values = getattr(result, part).mean(dim=1).numpy()[chosen]
                draws = [np.arange(len(patients)), *drawn_rows(patients, resamples)]
                means = [values[drawn].mean() for drawn in draws]
                rows.append({"condition": condition, "set": name, "part": part} | interval(means))
    return rows


def find_severity(runs, track, test, resamples):
    """Rows of ``severity``: is there more doubt about subtle findings? Spearman's correlation."""
    models = [run.model() for run in runs]
    result = summarised("ensemble", models, test.images)[0]
    truth = pd.read_csv(track.folder / "truth.csv").set_index("Path")
    known = truth.loc[[f"{track.folder.name}/{path}" for path in track.split("test")["path"]]]
    rows = []
    for place, label in enumerate(SEEN):
        if f"severity {label}" not in known:
            continue
        severity = known[f"severity {label}"].to_numpy()
        shown = severity > 0
        for part in ("predictive_entropy", "expected_entropy", "mutual_information"):
            doubt = getattr(result, part)[:, place].numpy()[shown]
            draws = [np.arange(shown.sum()), *drawn_rows(test.patients[shown], resamples)]
            values = [spearmanr(severity[shown][d], doubt[d]).statistic for d in draws]
            rows.append(
                {"observation": label, "part": part, "images": int(shown.sum())} | interval(values)
            )
    return rows


# --- All of it ------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--resamples", type=int, default=200, help="of the test patients")
    parser.add_argument("--real", type=Path, help="a folder of NIH radiographs, as odd images")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    runs = train_all(options.seeds, options.jobs)
    track, course = data.open_track(data.DEFAULT_FOLDER), runs["course"]
    size = course[0].settings.size
    valid, test = (Split.read(track, name, size) for name in ("valid", "test"))
    real = data.open_track(options.real) if options.real else None
    drawn = json.loads((track.folder / RECORD).read_text(encoding="utf-8"))
    record = json.loads((course[0].folder / "run.json").read_text(encoding="utf-8"))
    result = {
        "seeds": options.seeds,
        "resamples": options.resamples,
        "passes": PASSES,
        "settings": {name: asdict(runs[name][0].settings) for name in ("course", "usual")},
        "phantom": {name: drawn[name] for name in ("generator", "seed", "size", "images")},
        "versions": {"cxrlib": metadata.version("cxrlib"), **record["versions"]},
        "doubt": find_errors(course, valid, test, options.resamples),
        "severity": find_severity(course, track, test, options.resamples),
        "odd": find_odd(course, track, real),
        "difficulty": find_difficulty(runs, options.resamples),
    }
    print(write_json(options.results / "uncertainty.json", rounded(result)))


if __name__ == "__main__":
    main()
