"""What is promised, what the law says of it, and what is measured: here, elsewhere, on real films.

    python benchmarks/promises.py [--seeds 5] [--splits 20] [--real NIH_FOLDER …]

Nine in ten are promised to the sick and to the healthy, label by label (``fit_conformal``), by five
of the course's models (notebook 05's "paper-loss"). The limits are fitted on half of the phantom's
test patients, and coverage is counted on the other half, many times (``WAYS``):

- ``here``: at the same hospital;
- ``elsewhere``: the same patients as seen by the second hospital, with the limits made here;
- ``elsewhere, weighted``: so, but the images that limits are fitted on count by how much they look
  like the second hospital's (weighted conformal prediction). The ratio is guessed by a logistic
  regression on the model's features, from unlabelled images of both;
- ``elsewhere, made there``: with limits made there, from the first half of its patients;
- ``stout`` and ``stout, own limits``: the quarter of the patients with the most fat, with limits
  made for all, and with limits made for them and for the others each;
- one for each real folder, and ``…, made there``: limits made here or there, its own labels.

A row gives, by way, label and side, the mean coverage over splits and models, and where 90% of them
lie; the same by the law for that many images (``law_low``, ``law_high``); and how often a set is
unsure, or neither. Sides are the sick, the healthy, thirds of the sick by severity, and ``all
labels``: whether an image is covered on all labels at once, with a promise each or (``joint``) one
for all. The result goes to results/promises.json.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import uncertainty as doubts
from common import RESULTS, images_of, provenance, rounded, versions, which, write_json
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from cxrlib import cohort, data, uncertainty

SEEN = doubts.SEEN
ALPHA = 0.1
STOUT = 0.75


# --- What is known of images ----------------------------------------------------------------------


class Images:
    """Images of one kind: truth [N, 14], patients, and what each model makes of them."""

    def __init__(self, models, track, size, split=None):
        rows = (track.split(split) if split else track.table).reset_index(drop=True)
        pictures = images_of(track, rows, size)
        self.truth = rows[SEEN].astype(float)
        self.patients = rows["patient"].to_numpy()
        self.paths = rows["path"]
        self.scores = [
            pd.DataFrame(scores[:, doubts.PLACES].numpy(), columns=SEEN)
            for scores in doubts.members_of(models, pictures)
        ]
        self.features = [doubts.embedded(model, pictures) for model in models]


def habitus(track, images):
    """How stout the patient of each image is, 0 … 1."""
    found = {}
    for patient, path in zip(images.patients, images.paths, strict=True):
        if patient not in found:
            found[patient] = cohort.study_of(track.folder, path).patient.habitus
    return np.array([found[patient] for patient in images.patients])


def likeness(ours, theirs, fitting):
    """How much oftener the like of each image is met there: (ours [N], theirs [N]), guessed.

    By a logistic regression on the features of the images that ``fitting`` is true for.
    """
    told = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    both = np.concatenate([ours[fitting], theirs[fitting]])
    told.fit(both, np.repeat([0, 1], fitting.sum()))
    odds = [np.exp(told.decision_function(x)) for x in (ours, theirs)]
    return [np.clip(of, 1e-3, 1e3) for of in odds]


# --- Counting -------------------------------------------------------------------------------------


def count(sets, truth, thirds=None):
    """{(label, side): (covered, unsure, neither, images)} of images that were not fitted on."""
    held, found = uncertainty.is_covered(sets, truth), {}
    sides = {"the sick": truth.eq(1), "the healthy": truth.eq(0)}
    sides |= {} if thirds is None else {name: thirds.eq(name) for name in doubts.THIRDS}
    for side, inside in sides.items():
        for label in truth:
            if label in inside and (here := inside[label].to_numpy()).any():
                of = sets[label].to_numpy()[here]
                share = [(of == "unsure").mean(), (of == "neither").mean()]
                found[label, side] = (held[label].to_numpy()[here].mean(), *share, here.sum())
    everywhere = held.where(truth.notna(), 1).eq(1).all(axis=1)
    share = [sets.eq(word).mean(axis=None) for word in ("unsure", "neither")]
    found["all labels", "all labels"] = (everywhere.mean(), *share, len(sets))
    return found


def conformal(fit, known, new, groups=(None, None)):
    """Sets of new images, with limits fitted on others; of each group, where there are groups."""
    limits = uncertainty.fit_conformal(fit, known, ALPHA, groups=groups[0])
    return uncertainty.conformal_sets(new, limits, groups[1])


def cut(table, rows):
    return table[rows].reset_index(drop=True)


def one_split(ours, theirs, model, fitting, stout, thirds):
    """{way: ``count``} of one model, whose limits are fitted on the patients of ``fitting``."""
    own, other, truth = ours.scores[model], theirs.scores[model], ours.truth
    fit, known, rest = cut(own, fitting), cut(truth, fitting), ~fitting
    asked, third = cut(truth, rest), cut(thirds, rest)
    here, there = cut(own, rest), cut(other, rest)
    weights, new = likeness(ours.features[model], theirs.features[model], fitting)
    weighted = uncertainty.weighted_sets(fit, known, there, weights[fitting], new[rest], ALPHA)
    limits = uncertainty.fit_joint(fit, known, ALPHA)
    fat, groups = stout[rest], (stout[fitting].astype(str), stout[rest].astype(str))
    by_group = conformal(fit, known, here, groups)
    return {
        "here": count(conformal(fit, known, here), asked, third),
        "here, joint": count(uncertainty.conformal_sets(here, limits), asked),
        "elsewhere": count(conformal(fit, known, there), asked),
        "elsewhere, joint": count(uncertainty.conformal_sets(there, limits), asked),
        "elsewhere, weighted": count(weighted, asked),
        "elsewhere, made there": count(conformal(cut(other, fitting), known, there), asked),
        "stout": count(conformal(fit, known, cut(here, fat)), cut(asked, fat)),
        "stout, own limits": count(cut(by_group, fat), cut(asked, fat)),
    }


def one_real_split(name, ours, real, model, fitting):
    """The same of real images, with limits made on our images or on the first half of theirs."""
    truth = real.truth.loc[:, real.truth.notna().any()]
    scores = real.scores[model][list(truth)]
    new, asked = cut(scores, ~fitting), cut(truth, ~fitting)
    here = ours.scores[model][list(truth)], ours.truth[list(truth)]
    there = cut(scores, fitting), cut(truth, fitting)
    return {
        name: count(conformal(*here, new), asked),
        f"{name}, made there": count(conformal(*there, new), asked),
    }


def summarise(counts, fitted):
    """Rows by way, label and side, of ``counts`` [{way: …} of every split and model].

    ``fitted``: {(way, label, side): images that limits were fitted on}, where the law is known.
    """
    found = {}
    for each in counts:
        for way, rows in each.items():
            for (label, side), values in rows.items():
                found.setdefault((way, label, side), []).append(values)
    rows = []
    for (way, label, side), values in found.items():
        covered, unsure, neither, images = np.transpose(values)
        ends = {"low": 0.05, "high": 0.95}
        row = {"way": way, "label": label, "side": side, "images": round(float(images.mean()), 1)}
        row |= {"mean": covered.mean(), "unsure": unsure.mean(), "neither": neither.mean()}
        row |= {name: np.quantile(covered, q) for name, q in ends.items()}
        count = fitted.get((way, label, side))
        if count is not None and count >= 1 / ALPHA:
            new = max(1, round(images.mean()))
            law = uncertainty.coverage_law(round(count), ALPHA, new=new)
            row |= {"fitted": round(count), "law": law.mean() / new}
            row |= {f"law_{name}": law.ppf(q) / new for name, q in ends.items()}
        rows.append({k: v if isinstance(v, str) else float(v) for k, v in row.items()})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--real", type=Path, nargs="*", default=[], help="folders of NIH's")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    track = data.open_track(data.DEFAULT_FOLDER)
    runs = doubts.course_runs(options.seeds)
    models, size = [run.model() for run in runs], runs[0].settings.size
    ours = Images(models, track, size, "test")
    theirs = Images(models, data.open_track(doubts.second_hospital()), size, "test")
    real = {folder.name: data.open_track(folder) for folder in options.real}
    films = {name: Images(models, of, size) for name, of in real.items()}
    fat = habitus(track, ours)
    stout, severity = fat > np.quantile(fat, STOUT), doubts.severities(track, ours.paths)
    thirds = severity.apply(lambda of: doubts.in_thirds(of.to_numpy()))
    counts, rng = [], np.random.default_rng(0)
    for number in tqdm(range(options.splits * len(models)), desc="splits"):
        model, each = number % len(models), {}
        each |= one_split(ours, theirs, model, half_of(ours.patients, rng), stout, thirds)
        for name, film in films.items():
            each |= one_real_split(name, ours, film, model, half_of(film.patients, rng))
        counts.append(each)
    fitted = {
        (way, label, side): ours.truth[label].eq(side == "the sick").sum() / 2
        for way in ("here", "elsewhere, made there")
        for label in SEEN
        for side in ("the sick", "the healthy")
    }
    result = {
        "seeds": options.seeds,
        "splits": options.splits,
        "alpha": ALPHA,
        "phantom": provenance(track),
        "real": {name: which(of) for name, of in real.items()},
        "versions": versions(),
        "rows": summarise(counts, fitted),
    }
    print(write_json(options.results / "promises.json", rounded(result)))


def half_of(patients, rng):
    """Which images are of a random half of the patients: bool [N]."""
    names = pd.unique(patients)
    return np.isin(patients, rng.permutation(names)[: len(names) // 2])


if __name__ == "__main__":
    main()
