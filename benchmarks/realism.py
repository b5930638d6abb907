"""How far phantoms are from real radiographs: can a linear model tell them apart?

    python benchmarks/realism.py NIH_FOLDER

For each real image a phantom of the same projection, each of another patient, at 96 px and
equalised, as a model sees them. A logistic regression is asked which is which, by three kinds of
features: the 6 × 6 thumbnail (where it is light and dark), and how much detail there is in each of
the 36 squares, of middle and of fine scale. AUROC over five folds by patient: 0.5 cannot tell, 1
always can. Beside it plain measures of both: how fast detail falls off with its fineness, how
much of it lungs and abdomen hold, how light a lung and the mediastinum are, how much images differ,
and how much of what real images differ in lies in ten components of either kind. No label of the
real images is read, and none of the patients to whom ``fit_phantom.py`` may fit.
results/realism.json holds the figures.
"""

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
from common import RESULTS, equalised, open_nih, rounded, which, write_json
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import from_numpy

from cxrlib import cohort, data, phantom, transfer

SIZE, CELLS, SEED = 96, 6, 2024
VIEWS = ("PA", "AP")
BOXES = {  # top, bottom, left, right, as shares of the image
    "left lung": (0.30, 0.55, 0.62, 0.78),
    "mediastinum": (0.30, 0.55, 0.45, 0.55),
    "abdomen": (0.85, 0.97, 0.25, 0.75),
}
FREQUENCIES = (0.09, 0.19, 0.48)  # cycles per pixel


def studies(projections, seed=SEED):
    """A study for each of ``projections``, each the first of another patient."""
    rng, found = np.random.default_rng(seed), []
    for projection in projections:
        study = phantom.draw_studies(rng)[0]
        while study.projection != projection:
            study = phantom.draw_studies(rng)[0]
        found.append(study)
    return found


def real(track, reporting):
    """Images uint8 [N, 96, 96], patients and projections of either half of a track's patients.

    Images of which no projection is known are left out; ``SystemExit`` if one has none.
    """
    known = track.table["projection"].isin(VIEWS)
    half = track.table[known & (transfer.reporting(track.table["patient"]) == reporting)]
    missing = set(VIEWS) - set(half["projection"])
    if missing:
        raise SystemExit(f"{track.folder}: no image of projection {missing.pop()} in this half.")
    images = data.read_images([track.folder / path for path in half["path"]], SIZE)
    return images[:, 0].numpy(), half["patient"].to_numpy(), half["projection"].to_numpy()


def squares(values, cells):
    """Mean of values [N, H, W] in each of ``cells`` × ``cells`` squares: [N, cells²]."""
    side = values.shape[1] // cells
    return (
        values.reshape(len(values), cells, side, cells, side)
        .mean(axis=(2, 4))
        .reshape(len(values), -1)
    )


def features(images):
    """name → [N, 36]: mean grey of each square, and the log of how much detail it has."""
    grey = equalised(from_numpy(images)[:, None])[:, 0].numpy()
    smooth = {s: ndimage.gaussian_filter(grey, (0, s, s)) for s in (1, 2, 4)}
    return {
        "6 × 6 thumbnail": squares(grey, CELLS),
        "middle detail": np.log(squares((smooth[2] - smooth[4]) ** 2, CELLS) + 1e-6),
        "fine detail": np.log(squares((grey - smooth[1]) ** 2, CELLS) + 1e-6),
    }


def spectrum(grey):
    """Power at each frequency (cycles per pixel), averaged over images [N, H, W] and directions."""
    side = grey.shape[1]
    taper = np.hanning(side)[:, None] * np.hanning(side)
    flat = (grey - grey.mean(axis=(1, 2), keepdims=True)) * taper
    power = (np.abs(np.fft.fft2(flat)) ** 2).mean(axis=0)
    ring = np.rint(side * np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side)]))).astype(int)
    rings = np.arange(1, side // 2)
    return rings / side, ndimage.mean(power, ring, rings)


def measures(grey):
    """What equalised images [N, 96, 96], 0 … 1, are like, in single numbers."""
    frequency, power = spectrum(grey)
    middle = (frequency > 0.04) & (frequency < 0.45)
    found = {
        "slope of log power": np.polyfit(np.log(frequency[middle]), np.log(power[middle]), 1)[0]
    }
    for at in FREQUENCIES:
        found[f"power at {at} per pixel"] = np.interp(at, frequency, power)
    fine = grey - ndimage.gaussian_filter(grey, (0, 1, 1))
    for name, box in BOXES.items():
        top, bottom, left, right = (int(SIZE * edge) for edge in box)
        found[f"grey, {name}"] = grey[:, top:bottom, left:right].mean()
        found[f"fine detail, {name}"] = fine[:, top:bottom, left:right].std(axis=(1, 2)).mean()
    return found | {"SD between images": grey.std(axis=0).mean()}


def explained(images, components, count=10):
    """Share of the variance of ``images`` in the first ``count`` components of others."""
    flat, others = (x.reshape(len(x), -1) for x in (images, components))
    axes = np.linalg.svd(others - others.mean(axis=0), full_matrices=False)[2][:count]
    centred = flat - flat.mean(axis=0)
    return (np.square(centred @ axes.T).sum() / np.square(centred).sum()).item()


def table(ours, theirs):
    """Measure → (real, phantom), of equalised images; powers as shares of the real ones'."""
    real, phantoms = measures(theirs), measures(ours)
    rows = {name: {"real": real[name], "phantom": phantoms[name]} for name in real}
    for name in rows:
        if name.startswith("power"):
            rows[name] = {"real": 1.0, "phantom": phantoms[name] / real[name]}
    whose = {"real": theirs, "phantom": ours}
    return rows | {
        "real variance in ten components of": {k: explained(theirs, v) for k, v in whose.items()}
    }


def told_apart(ours, theirs, patients):
    """AUROC of a linear model that tells phantoms from real images, over folds by patient."""
    x = np.concatenate([ours, theirs])
    y = np.repeat([0, 1], [len(ours), len(theirs)])
    groups = np.concatenate([[f"phantom {k}" for k in range(len(ours))], patients])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    folds = GroupKFold(5, shuffle=True, random_state=0)
    scores = cross_val_predict(model, x, y, groups=groups, cv=folds, method="decision_function")
    return roc_auc_score(y, scores)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="NIH_FOLDER", help="see data/README.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    track = open_nih(options.folder)
    images, patients, projections = real(track, reporting=True)
    drawn = np.stack([phantom.render(study, SIZE) for study in studies(projections)])
    rows = table(*(equalised(from_numpy(x)[:, None])[:, 0].numpy() for x in (drawn, images)))
    for name, row in rows.items():
        print(f"{name:36} real {row['real']:7.3f}  phantom {row['phantom']:7.3f}")
    ours, theirs = features(drawn), features(images)
    apart = {name: told_apart(ours[name], theirs[name], patients) for name in ours}
    for name, auroc in apart.items():
        print(f"{name:16} {auroc:.3f}")
    content = {
        "images": len(images),
        "patients": len(set(patients)),
        "real": which(track),
        "phantom": {"generator": cohort.generator_version(), "seed": SEED},
        "versions": {name: metadata.version(name) for name in ("cxrlib", "scikit-learn")},
        "told apart, AUROC": rounded(apart),
        "measures": rounded({k: {n: float(v) for n, v in row.items()} for k, row in rows.items()}),
    }
    print(write_json(options.results / "realism.json", content))


if __name__ == "__main__":
    main()
