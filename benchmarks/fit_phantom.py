"""Fit the phantom's global parameters to real radiographs, without any of their labels.

    python benchmarks/fit_phantom.py NIH_FOLDER [--trials 400]

What is compared are the mean and the spread, over the images of each projection, of each square of
a 12 × 12 thumbnail (equalised, as a model sees it). A change of a few numbers of
``patients.FITTED`` at a time is kept where it brings all of them closer; the same phantoms, by
their random numbers, are drawn each time. It prints the numbers that were found, to be put into
``cxrlib/phantom/patients.py``; what it bought is measured by ``realism.py``, on images of other
patients.
"""

import argparse
from unittest import mock

import numpy as np
from common import equalised, open_nih
from realism import VIEWS, real, squares, studies
from torch import from_numpy

from cxrlib import phantom
from cxrlib.phantom.patients import FITTED

SIZE, CELLS = 48, 12
BOUNDS = {
    "up standing": (-6, 3),
    "up lying": (-6, 3),
    "up spread": (0.5, 2.2),
    "side spread": (0.3, 2),
    "heart": (0.45, 0.5),
    "heart spread": (0.015, 0.06),
    "mediastinum": (0.7, 1.2),
    "chest": (0.9, 1.0),
    "lungs": (0.88, 1.0),
    "lungs spread": (0.8, 2.4),
    "breath": (-3, 1.5),
    "breath lying": (-7, 0),
    "taper": (0.8, 1.8),
    "breasts": (0.7, 1.1),
    "arms": (-0.9, 0.3),
    "arms spread": (0.2, 0.9),
    "shoulders": (3, 10),
    "soft": (2, 7),
    "muscle": (0, 2.5),
    "waist": (-1, 4),
    "white": (0, 0.3),
}
"""What people and technique allow: few lungs are cut off by the edge. ``sharpening`` is not among
them: a thumbnail has no edges."""


def moments(images, projections):
    """Mean and spread [2, 2, 144] of each square of equalised images, uint8 [N, 48, 48].

    The first of the two axes is for ``VIEWS``.
    """
    grey = equalised(from_numpy(images)[:, None])[:, 0].numpy()
    views = [squares(grey[projections == view], CELLS) for view in VIEWS]
    return np.array([[view.mean(axis=0), view.std(axis=0)] for view in views])


def distance(values, wanted, count):
    """Sum over all moments of the mean squared difference of ``count`` phantoms of each view."""
    projections = np.repeat(VIEWS, count)
    with mock.patch.dict(FITTED, values):
        drawn = np.stack([phantom.render(study, SIZE) for study in studies(projections, seed=7)])
    return float(((moments(drawn, projections) - wanted) ** 2).mean(axis=2).sum())


def fit(wanted, count, trials):
    """Random search from the present numbers, steps growing where they help."""
    rng = np.random.default_rng(0)
    best = {name: float(np.clip(FITTED[name], *bounds)) for name, bounds in BOUNDS.items()}
    least, step = distance(best, wanted, count), 0.15
    print(f"before: {1000 * least:.2f}")
    for _ in range(trials):
        trial = dict(best)
        for name in rng.choice(list(BOUNDS), 4, replace=False):
            low, high = BOUNDS[name]
            trial[name] = float(np.clip(best[name] + step * (high - low) * rng.normal(), low, high))
        now = distance(trial, wanted, count)
        step = min(1.15 * step, 0.25) if now < least else max(0.97 * step, 0.03)
        if now < least:
            least, best = now, trial
            print(f"{1000 * least:.2f}")
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="NIH_FOLDER", help="see data/README.md")
    parser.add_argument("--trials", type=int, default=400, help="of about two seconds each")
    parser.add_argument("--phantoms", type=int, default=100, help="of each view, for each trial")
    options = parser.parse_args()
    images, _, projections = real(open_nih(options.folder), reporting=False)
    images = squares(images, SIZE).round().astype(np.uint8).reshape(-1, SIZE, SIZE)
    wanted = moments(images, projections)
    for name, value in fit(wanted, options.phantoms, options.trials).items():
        print(f'    "{name}": {value:.3g},' + "  # at its limit" * (value in BOUNDS[name]))


if __name__ == "__main__":
    main()
