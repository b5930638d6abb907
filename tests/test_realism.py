"""benchmarks/realism.py and fit_phantom.py: what cannot be told apart scores a half."""

import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import fit_phantom
import realism

from cxrlib import phantom
from cxrlib.phantom import patients


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(160, 12, 12)).repeat(8, axis=1).repeat(8, axis=2)
    noisy = 128 + 40 * wide + 10 * rng.normal(size=wide.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def test_alike_is_chance_and_another_layout_or_another_grain_is_told(images):
    whose = np.arange(80) // 2
    found = realism.features(images)
    assert {name: table.shape for name, table in found.items()} == dict.fromkeys(found, (160, 36))
    for table in found.values():
        assert 0.3 < realism.told_apart(table[:80], table[80:], whose) < 0.7
    darker = images.copy()
    darker[:, :32] //= 2
    thumbnail = "6 × 6 thumbnail"
    assert realism.told_apart(realism.features(darker)[thumbnail], found[thumbnail],
                              np.arange(160)) > 0.95  # fmt: skip
    blurred = images[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2)
    assert realism.told_apart(realism.features(blurred)["fine detail"], found["fine detail"],
                              np.arange(160)) > 0.95  # fmt: skip


def test_patients_are_for_fitting_or_for_measuring():
    whose = np.array(["b", "a", "c", "a", "d", "c"])
    assert realism.for_fitting(whose).tolist() == [False, True, True, True, False, True]


def test_a_fit_comes_nearer_stays_within_bounds_and_leaves_the_phantom_as_it_was():
    before = dict(patients.FITTED)
    bounds = fit_phantom.BOUNDS
    start = {name: float(np.clip(before[name], *bounds[name])) for name in bounds}
    wide = start | {"field": 48.0, "arms": 0.2, "shoulders": 4.0}
    with mock.patch.dict(patients.FITTED, wide):
        seeds = ([7, k] for k in range(12))
        studies = [phantom.draw_studies(np.random.default_rng(seed))[0] for seed in seeds]
        target = np.stack([phantom.render(study, fit_phantom.SIZE) for study in studies])
    wanted = fit_phantom.moments(target)
    assert fit_phantom.distance(wide, wanted, 12) == 0
    found = fit_phantom.fit(wanted, 12, 25)
    assert fit_phantom.distance(found, wanted, 12) < fit_phantom.distance(start, wanted, 12)
    assert all(low <= found[name] <= high for name, (low, high) in bounds.items())
    assert before == patients.FITTED
