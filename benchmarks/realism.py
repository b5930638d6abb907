"""How far phantoms are from real radiographs: can a linear model tell them apart?

    python benchmarks/realism.py NIH_FOLDER

As many phantoms as there are real images, one of each patient, at 96 px and equalised, as a model
sees them. A logistic regression is asked which is which, by three kinds of features: the 6 × 6
thumbnail (where it is light and dark), and how much detail there is in each of the 36 squares, of
middle and of fine scale. AUROC over five folds by patient: 0.5 cannot tell, 1 always can. No label
of the real images is read, and none of the patients to whom ``fit_phantom.py`` may fit.
results/realism.json holds the figures.
"""

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
from common import RESULTS, equalised, rounded, which, write_json
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import from_numpy

from cxrlib import cohort, data, phantom

SIZE, CELLS, SEED = 96, 6, 2024


def phantoms(count, seed=SEED):
    """``count`` frontal phantoms, uint8 [N, 96, 96], each of another patient."""
    rng = np.random.default_rng(seed)
    return np.stack([phantom.render(phantom.draw_studies(rng)[0], SIZE) for _ in range(count)])


def real(track):
    """The images of a track, uint8 [N, 96, 96], and their patients."""
    images = data.read_images([track.folder / path for path in track.table["path"]], SIZE)
    return images[:, 0].numpy(), track.table["patient"].to_numpy()


def for_fitting(patients):
    """Which images [N] the phantom may be fitted to: those of every second patient."""
    return np.isin(patients, np.unique(patients)[::2])


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
    track = data.open_track(options.folder)
    images, patients = real(track)
    kept = ~for_fitting(patients)
    images, patients = images[kept], patients[kept]
    ours, theirs = features(phantoms(len(images))), features(images)
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
    }
    print(write_json(options.results / "realism.json", content))


if __name__ == "__main__":
    main()
