"""The benchmarks of explanations and of uncertainty: the parts that decide their figures."""

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_calibration_error

from cxrlib.evaluation import Predictions
from cxrlib.labels import OBSERVATIONS

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def maps(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("explanations")


@pytest.fixture
def doubt(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("uncertainty")


def test_calibration_error_is_torchmetrics(doubt):
    rng = np.random.default_rng(0)
    p = rng.random((500, 1)).astype(np.float32)
    y = (rng.random((500, 1)) < p**2).astype(int)
    # torchmetrics compares confidence and accuracy; for scores above one half it is the same.
    high = p[:, 0] > 0.5
    ours = doubt.calibration_error(y[high], p[high])
    theirs = binary_calibration_error(torch.tensor(p[high, 0]), torch.tensor(y[high, 0]), n_bins=10)
    assert ours == pytest.approx(theirs.item(), abs=1e-5)


def test_resamples_take_all_images_of_a_patient(doubt):
    patients = np.array(["a", "b", "a", "c", "b", "a"])
    for drawn in doubt.drawn_rows(patients, 20):
        counts = pd.Series(patients[drawn]).value_counts()
        times = counts / pd.Series(patients).value_counts().loc[counts.index]
        assert (times == times.round()).all()
        assert times.sum() == 3


def test_an_interval_without_the_bootstraps_bias(doubt):
    values = [0.5, *np.linspace(0.6, 0.8, 101)]  # estimate 0.5, resamples about 0.7
    found = doubt.interval(values, "x_")
    assert found["x_mean"] == 0.5
    assert (found["x_low"] + found["x_high"]) / 2 == pytest.approx(0.5)
    assert found["x_high"] - found["x_low"] == pytest.approx(0.19)


def perfect(doubt, count=200):
    """Predictions that are right about everything, and sure of it."""
    rng = np.random.default_rng(0)
    truth = doubt.HIERARCHY.derive(
        pd.DataFrame(rng.integers(0, 2, (count, 14)).astype(float), columns=OBSERVATIONS)
    )
    truth = doubt.HIERARCHY.close(truth)
    about = pd.DataFrame({"patient": np.repeat(np.arange(count // 2), 2)})
    return Predictions(about, truth, truth * 0.98 + 0.01)


def test_a_perfect_model_tells_everything(doubt):
    made = perfect(doubt)
    scores = doubt.uncertainty.doubt_groups(made.scores, doubt.HIERARCHY, 2.0)
    fitting = (made.about["patient"] < 50).to_numpy()
    prevalence = made.truth.mean().clip(0.01, 0.99)
    found = doubt.measure_split(
        scores, made.truth, made.about["patient"], fitting, prevalence, risk=0.1
    )
    assert found["measured_risk"] == 0
    assert found["named"] == found["information"] == 1
    assert found["nothing"] == found["group_only"] == 0
    assert doubt.choose_factor(made.scores, made, prevalence) in doubt.FACTORS


def test_rounding_keeps_the_shape(doubt):
    value = {"a": [1, 0.123456789, {"b": "c"}], "d": None}
    assert doubt.rounded(value) == {"a": [1, 0.12346, {"b": "c"}], "d": None}


def test_labels_are_shuffled_in_training_only(maps, chexpert_folder):
    track = maps.data.open_track(chexpert_folder)
    mixed = maps.shuffled(track)
    for split in ("valid", "test"):
        pd.testing.assert_frame_equal(mixed.split(split), track.split(split))
    before, after = (t.split("train")[maps.SEEN].to_numpy() for t in (track, mixed))
    assert (before != after).any()
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))


def test_letters_are_found_and_painted_over(maps):
    grey = np.full((96, 96), 90, dtype=np.uint8)
    grey[5:12, 80:83] = 250  # a stroke near the border
    grey[40:50, 40:43] = 250  # a clip in the middle: no letter
    grey[:, :8] = 255  # a bright margin: too large
    marks = maps.burnt_in(grey)
    assert marks[5:12, 80:83].all()
    assert not marks[40:50, 40:43].any()
    assert not marks[:, :6].any()
    image = torch.from_numpy(grey)[None, None]
    painted = maps.paint_over(image, marks[None])
    assert (painted[0, 0][torch.from_numpy(marks)] == 90).all()
    assert torch.equal(
        painted[0, 0][~torch.from_numpy(marks)], image[0, 0][~torch.from_numpy(marks)]
    )


def test_the_finer_network_has_finer_maps(maps):
    torch.manual_seed(0)
    made = maps.all_maps(maps.finer_network().eval(), torch.rand(1, 1, 96, 96), labels=["Edema"])
    assert made.shape == (1, 1, 96, 96)
    features = maps.finer_network().features(torch.rand(1, 1, 96, 96))
    assert features.shape[-2:] == (12, 12)


def test_a_guess_is_scored_at_its_own_threshold(maps):
    masks = np.zeros((4, 8, 8), dtype=bool)
    masks[:, 2:5, 2:5] = True
    scores = maps.score_guess(masks * 0.4, masks, masks * 0.4, masks)
    assert scores["hit"] == scores["auprc"] == scores["iou"] == 1
    assert scores["threshold"] < 0.4
    assert scores["images"] == 4
