"""benchmarks/uncertainty.py: which doubt finds errors, and what raises it."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import uncertainty as doubt

from cxrlib.cohort import write_cohort
from cxrlib.data import open_track
from cxrlib.labels import OBSERVATIONS
from cxrlib.uncertainty import entropy, risk_coverage


def test_resamples_take_all_images_of_a_patient_and_leave_one_model_out():
    patients = np.array(["a", "b", "a", "c", "b", "a"])
    weights = doubt.all_and_drawn(patients, 20)
    assert weights.shape == (21, 6)
    assert (weights[0] == 1).all()
    for drawn in weights:
        assert pd.Series(drawn).groupby(patients).nunique().eq(1).all()
        assert drawn[[0, 1, 3]].sum() == 3
    out = doubt.left_out(5, 200)
    assert out[0] == -1
    assert set(out[1:]) == set(range(5))


def test_means_of_models_without_one_by_hand():
    figures = np.array([[1.0, 1.0, 10.0], [3.0, 3.0, 20.0], [8.0, 8.0, 60.0]])
    assert doubt.without(figures, np.array([-1, 2, 0])).tolist() == [4.0, 2.0, 40.0]


def test_an_interval_without_the_bootstraps_bias():
    values = [0.5, *np.linspace(0.6, 0.8, 101)]  # estimate 0.5, resamples about 0.7
    found = doubt.interval(values, "x_")
    assert found["x_mean"] == 0.5
    assert (found["x_low"] + found["x_high"]) / 2 == pytest.approx(0.5)
    assert found["x_high"] - found["x_low"] == pytest.approx(0.19)


def test_curves_are_those_of_risk_coverage():
    rng = np.random.default_rng(0)
    wrong, uncertain = (rng.random(150) < 0.3).astype(float), rng.random(150)
    times = rng.integers(0, 3, 150)
    weights = np.stack([np.ones(150), times])
    aurc, risk = doubt.curve_figures(wrong, uncertain, weights)
    plain = risk_coverage(wrong, uncertain)
    assert aurc[0] == pytest.approx(plain["risk"].mean())
    assert risk[0] == pytest.approx(plain["risk"].iloc[119])  # 120 of 150
    repeated = risk_coverage(np.repeat(wrong, times), np.repeat(uncertain, times))
    assert aurc[1] == pytest.approx(repeated["risk"].mean(), abs=2e-3)


def test_all_doubts_are_about_one_predictor_and_the_others_do_not_hold_it():
    torch.manual_seed(0)
    single = torch.rand(4, 30, 14)
    repeated = {kind: torch.rand(6, 30, 14) for kind in doubt.PASSES}
    found = doubt.doubts_of(2, single, repeated)
    torch.testing.assert_close(found["its entropy"], entropy(single[2]))
    changed = single.clone()
    changed[2] = 0.5
    again = doubt.doubts_of(2, changed, repeated)
    same = {name for name in found if torch.equal(found[name], again[name])}
    ours = {"its entropy", *(name for name in found if name.startswith("all models"))}
    assert set(found) - same == ours


def test_a_doubt_that_knows_every_error_is_the_best_there_is():
    torch.manual_seed(0)
    truth = pd.DataFrame((torch.rand(200, 14) < 0.4).double(), columns=doubt.SEEN)
    noise = torch.rand(3, 200, 21)
    at = torch.zeros(200, 21)
    at[:, doubt.PLACES] = torch.tensor(truth.to_numpy(), dtype=torch.float32)
    passes = {kind: [0.4 * at + 0.6 * noise[n : n + 1] for n in range(3)] for kind in KINDS}
    about = pd.DataFrame({"patient": np.arange(200) // 2})
    rows = pd.DataFrame(doubt.find_errors(passes, doubt.Split(None, truth, about), 30))
    rows = rows.set_index(["measure", "doubt"])
    assert (rows["low"] <= rows["mean"]).all()
    assert rows.loc["aurc", "mean"].idxmin() == "knows every error"
    assert rows.loc[("error_auroc", "its entropy"), "mean"] > 0.6
    assert rows.loc[("aurc", "its entropy"), "difference_mean"] == 0


KINDS = ("one model", *doubt.PASSES)


def test_the_parts_of_doubt_by_hand():
    scores = torch.full((2, 1, 14), 0.5)
    scores[0, 0, 0], scores[1, 0, 0] = 0.1, 0.9
    parts = doubt.parts_of(scores, np.zeros((1, 14)))
    inner = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    assert parts["expected_entropy"][0] == pytest.approx((13 * np.log(2) + inner) / 14, rel=1e-5)
    assert parts["mutual_information"][0] == pytest.approx((np.log(2) - inner) / 14, rel=1e-5)
    apart = np.sqrt(2) * np.log(9)  # the standard deviation of ±log 9
    assert parts["logit_spread"][0] == pytest.approx(apart / 14, rel=1e-5)
    assert parts["errors"][0] == 0


def test_a_tenth_is_each_models_own_or_one_for_all(track, monkeypatch):
    monkeypatch.setattr(doubt.data, "open_track", lambda folder: track)

    def learnt(case, seed):
        rows = case.open(seed).split("train")
        return set(rows["patient"])

    own, one = doubt.Condition(fraction=0.4), doubt.Condition(fraction=0.4, own=False)
    assert len({frozenset(learnt(own, seed)) for seed in range(5)}) > 1
    assert len({frozenset(learnt(one, seed)) for seed in range(5)}) == 1
    assert learnt(doubt.Condition(), 3) == set(track.split("train")["patient"])


def test_the_second_hospital_sees_the_same_people(tmp_path, monkeypatch):
    """And so nobody there is one that a model has learnt from."""
    asked = {}
    monkeypatch.setattr(doubt, "write_cohort", lambda folder, **how: asked.update(how))
    doubt.second_hospital()
    assert asked == {"hospital": 2, "progress": False}
    few = {"train": 3, "valid": 2, "test": 3}
    tracks = [
        open_track(write_cohort(tmp_path / f"phantom-{n}", few, hospital=n, progress=False))
        for n in (1, 2)
    ]
    ours, theirs = (track.split("test") for track in tracks)
    pd.testing.assert_frame_equal(ours[list(OBSERVATIONS)], theirs[list(OBSERVATIONS)])
    assert list(ours["patient"]) == list(theirs["patient"])
    assert list(ours["sex"]) == list(theirs["sex"])


def test_rounding_keeps_the_shape():
    value = {"a": [1, 0.123456789, {"b": "c"}], "d": None}
    assert doubt.rounded(value) == {"a": [1, 0.12346, {"b": "c"}], "d": None}
