"""benchmarks/realism.py and fit_phantom.py: what cannot be told apart scores a half."""

import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from PIL import Image

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


def test_a_spectrum_falls_as_steeply_as_the_noise_was_made():
    rng = np.random.default_rng(1)
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(96)]))
    frequency[0, 0] = 1
    white = np.fft.fft2(rng.normal(size=(20, 96, 96)))
    for slope in (0.0, -2.0, -3.5):
        noise = np.fft.ifft2(white * frequency ** (slope / 2)).real
        assert realism.measures(noise)["slope of log power"] == pytest.approx(slope, abs=0.15)


def test_boxes_and_spread_are_measured_where_they_say():
    grey = np.zeros((2, 96, 96))
    grey[:, 28:52, 59:74] = 0.4  # the patient's left lung is on the right
    grey[1] += 0.2
    found = realism.measures(grey)
    assert found["grey, left lung"] == pytest.approx(0.5)
    assert found["grey, abdomen"] == pytest.approx(0.1)
    assert found["SD between images"] == pytest.approx(0.1)


def test_ten_components_of_others_explain_what_lies_in_their_space():
    rng = np.random.default_rng(2)
    few, more = rng.normal(size=(5, 36)), rng.normal(size=(30, 36))
    theirs = rng.normal(size=(40, 5)) @ few
    ours = rng.normal(size=(40, 5)) @ few
    assert realism.explained(theirs.reshape(40, 6, 6), ours.reshape(40, 6, 6)) == pytest.approx(1)
    assert realism.explained(more.reshape(30, 6, 6), ours.reshape(40, 6, 6)) < 0.5


def test_each_real_image_is_met_by_a_phantom_of_its_projection():
    projections = np.array(["PA", "AP", "AP", "PA"])
    drawn = realism.studies(projections)
    assert [study.projection for study in drawn] == projections.tolist()
    assert len({study.patient for study in drawn}) == 4


def test_the_half_of_the_patients_that_is_fitted_to_is_not_measured(tmp_path):
    table = pd.DataFrame({"patient": [f"nih{k:05d}" for k in range(8)] * 2})
    table["path"] = [f"{k}.png" for k in range(16)]
    table["projection"] = ["PA"] * 8 + ["AP"] * 8
    for path in table["path"]:
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / path)
    track = SimpleNamespace(folder=tmp_path, table=table)
    halves = [realism.real(track, reporting) for reporting in (False, True)]
    assert sum(len(images) for images, _, _ in halves) == 16
    assert not set(halves[0][1]) & set(halves[1][1])
    for images, whose, projections in halves:
        assert images.shape == (len(whose), realism.SIZE, realism.SIZE)
        assert projections.tolist() == sorted(projections, reverse=True)


def test_a_fit_comes_nearer_stays_within_bounds_and_leaves_the_phantom_as_it_was():
    before = dict(patients.FITTED)
    bounds = fit_phantom.BOUNDS
    start = {name: float(np.clip(before[name], *bounds[name])) for name in bounds}
    wide = start | {"up lying": 2.0, "arms": 0.2, "shoulders": 4.0}
    projections = np.repeat(fit_phantom.VIEWS, 6)
    with mock.patch.dict(patients.FITTED, wide):
        studies = realism.studies(projections, seed=7)
        target = np.stack([phantom.render(study, fit_phantom.SIZE) for study in studies])
    wanted = fit_phantom.moments(target, projections)
    assert fit_phantom.distance(wide, wanted, 6) == 0
    found = fit_phantom.fit(wanted, 6, 25)
    assert fit_phantom.distance(found, wanted, 6) < fit_phantom.distance(start, wanted, 6)
    assert all(low <= found[name] <= high for name, (low, high) in bounds.items())
    assert before == patients.FITTED
