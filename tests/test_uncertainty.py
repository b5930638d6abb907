"""benchmarks/uncertainty.py: which doubt finds errors, and what raises it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import rankdata, spearmanr

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


def test_the_luck_of_models_has_the_tails_of_few_models():
    """Half of Student's t: the mean of five normal numbers lies in 19 of 20 intervals."""
    rng, inside = np.random.default_rng(1), []
    luck = doubt.luck_of_models(5, 400)
    assert (luck[0] == 0).all()
    for _ in range(400):
        figures = np.repeat(rng.normal(size=(5, 1)), 401, axis=1)
        low, high = np.quantile(doubt.mean_of_models(figures, luck)[1:], [0.025, 0.975])
        inside.append(low < 0 < high)
    assert 0.92 < np.mean(inside) < 0.975


def test_means_of_models_by_hand():
    figures = np.array([[1.0, 1.0, 10.0], [3.0, 3.0, 20.0], [8.0, 8.0, 60.0]])
    luck = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 2]])
    # Means of all: 4, 4, 30. In the first column, of all patients, the means without each model are
    # 5.5, 4.5 and 2, which is 1.5, .5 and −2 from their mean; times the root of 2/3.
    expected = [4.0, 4 + 1.5 * np.sqrt(2 / 3), 30 - 4 * np.sqrt(2 / 3)]
    np.testing.assert_allclose(doubt.mean_of_models(figures, luck), expected)


def test_one_model_alone_has_no_luck_of_models():
    figures = np.array([[1.0, 2.0, 3.0]])
    found = doubt.mean_of_models(figures, doubt.luck_of_models(1, 2))
    np.testing.assert_array_equal(found, [1, 2, 3])


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
    noise = torch.rand(4, 200, 21)
    at = torch.zeros(200, 21)
    at[:, doubt.PLACES] = torch.tensor(truth.to_numpy(), dtype=torch.float32)
    passes = {kind: [0.4 * at + 0.6 * noise[n : n + 1] for n in range(4)] for kind in KINDS}
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
    scores = torch.cat([scores, torch.rand(2, 3, 14)], dim=1)
    first = np.array([[1.0, 0, 0, 0]])
    parts = doubt.parts_of(scores, np.zeros((4, 14)), first)
    inner = -0.1 * np.log(0.1) - 0.9 * np.log(0.9)
    assert parts["expected_entropy"][0] == pytest.approx((13 * np.log(2) + inner) / 14, rel=1e-5)
    assert parts["mutual_information"][0] == pytest.approx((np.log(2) - inner) / 14, rel=1e-5)
    assert parts["errors"][0] == 0


def test_rank_correlation_is_spearmans_and_knows_no_scale():
    rng = np.random.default_rng(0)
    scores = rng.random((3, 40))
    scores[1] += scores[0]
    pairs = [spearmanr(scores[a], scores[b]).statistic for a, b in ((0, 1), (0, 2), (1, 2))]
    once = np.ones((1, 40))
    assert doubt.rank_correlation(scores, once)[0] == pytest.approx(np.mean(pairs))
    stretched = np.stack([scores[0] ** 3, np.exp(scores[1]), scores[2]])
    assert doubt.rank_correlation(stretched, once)[0] == pytest.approx(np.mean(pairs))
    twice = np.r_[np.ones(20) * 2, np.zeros(20)][None]
    ranks = rankdata(scores, axis=1)[:, :20]
    pairs = [np.corrcoef(ranks[a], ranks[b])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert doubt.rank_correlation(scores, twice)[0] == pytest.approx(np.mean(pairs))


def test_those_who_are_withheld_by_hand():
    # Ten answers to one question; the least sure two are withheld: the findings at .45 and .55.
    scores = np.array([[0.1], [0.1], [0.1], [0.1], [0.2], [0.9], [0.45], [0.55], [0.2], [0.3]])
    truth = np.array([[0.0], [0], [0], [0], [1], [1], [1], [1], [0], [0]])
    found = {
        name: of[0] for name, of in doubt.side_figures(scores, truth, np.ones((1, 10))).items()
    }
    assert found == pytest.approx(
        {
            "wrong": 0.2,  # .2 and .45 are findings
            "wrong, always the commoner answer": 0.4,
            "missed": 0.5,
            "wrong of the given": 1 / 8,
            "missed of the given": 1 / 2,
            "withheld with the finding": 0.5,
            "withheld without it": 0.0,
            "misses that are withheld": 0.5,
        }
    )


def test_sides_are_weighted_and_say_nothing_of_nobody():
    rng = np.random.default_rng(0)
    scores, truth = rng.random((40, 2)), (rng.random((40, 2)) < 0.4) * 1.0
    times = np.r_[np.zeros(20), np.full(20, 2.0)]
    weighted = doubt.side_figures(scores, truth, times[None])
    repeated = np.repeat(np.arange(40), times.astype(int))
    plain = doubt.side_figures(scores[repeated], truth[repeated], np.ones((1, 40)))
    for name in ("wrong", "missed", "wrong, always the commoner answer"):
        assert weighted[name][0] == pytest.approx(plain[name][0])
    truth[:, 1] = 0  # nobody has it: neither missed nor found
    alone = doubt.side_figures(scores[:, :1], truth[:, :1], np.ones((1, 40)))
    both = doubt.side_figures(scores, truth, np.ones((1, 40)))
    for name in ("missed", "missed of the given", "withheld with the finding"):
        assert both[name][0] == pytest.approx(alone[name][0])


class Trained:
    """A run of a known model, which takes down the checkpoint that is asked for."""

    settings = SimpleNamespace(size=64)

    def __init__(self, asked=None):
        self.asked = [] if asked is None else asked

    def model(self, checkpoint="best-auroc"):
        self.asked.append(checkpoint)
        return self


def test_causes_are_ratios_of_what_they_say(monkeypatch):
    """Each condition's scores are known: errors, disagreement and who has them."""
    rows = pd.DataFrame({"patient": np.arange(400) // 2, "sex": ["M", "F"] * 200})
    truth = pd.DataFrame(np.tile([0.0, 0, 1, 1], (14, 100)).T, columns=doubt.SEEN)
    here, there = torch.zeros(1), torch.ones(1)
    splits = iter([doubt.Split(here, truth, rows), doubt.Split(there, truth, rows)])
    monkeypatch.setattr(doubt.Split, "read", lambda *args: next(splits))
    monkeypatch.setattr(doubt.Condition, "open", lambda self, seed=0: None)
    monkeypatch.setattr(doubt.data, "open_track", lambda folder: None)
    monkeypatch.setattr(doubt, "second_hospital", lambda: None)
    asked = []
    runs = {name: [Trained(asked) for _ in range(3)] for name in doubt.CONDITIONS}
    of = {id(run): name for name, group in runs.items() for run in group}
    wrong = {"usual": 0.1, "noisy": 0.2, "men": 0.1}

    def members(models, images):
        name = of[id(models[0])]
        share = wrong.get(name, 0.3) * (1.5 if images is there else 1)
        right = torch.tensor(truth.to_numpy(), dtype=torch.float32)
        lost = torch.arange(400) % 100 < 100 * share
        if name == "men":  # twice as many errors about women
            lost |= (torch.arange(400) % 2 == 1) & (torch.arange(400) % 100 < 20)
        right[lost] = 1 - right[lost]
        torch.manual_seed(len(name))
        scores = 0.2 + 0.6 * right + 0.1 * torch.rand(len(models), 400, 14)
        full = torch.zeros(len(models), 400, 21)
        full[..., doubt.PLACES] = scores
        return full

    monkeypatch.setattr(doubt, "members_of", members)
    levels, causes = doubt.find_causes(runs, 30)
    assert set(asked) == {"last"}
    errors = {r["cause"]: r for r in causes if r["part"] == "errors"}
    assert errors["a fifth of the labels flipped"]["mean"] == pytest.approx(2)
    assert errors["another hospital"]["mean"] == pytest.approx(1.5)
    assert errors["an eighth of the steps"]["mean"] == pytest.approx(3)
    assert errors["never saw a woman: women beside men"]["mean"] == pytest.approx(2)
    level = {(r["condition"], r["set"]): r["mean"] for r in levels if r["part"] == "errors"}
    assert level["men", "women"] == pytest.approx(2 * level["men", "men"])
    assert all(r["low"] <= r["mean"] <= r["high"] for r in causes if r["part"] != "errors")


def test_compared_models_have_taken_as_many_steps():
    usual, few = doubt.CONDITIONS["usual"], doubt.CONDITIONS["tenth"]
    steps = {name: c.fraction * c.epochs for name, c in doubt.CONDITIONS.items()}
    assert steps["tenth"] == steps["one tenth"] == steps["noisy"] == steps["usual"] == usual.epochs
    assert steps["short"] == pytest.approx(usual.epochs / 8)
    assert steps["tenth, short"] == pytest.approx(usual.epochs / 10)
    assert few.own and not doubt.CONDITIONS["one tenth"].own


def test_thirds_by_hand():
    severity = np.array([0, 0.9, 0.1, 0.5, 0, 0.2, 0.8, 0.6])
    assert doubt.in_thirds(severity).tolist() == [
        "absent", "marked", "subtle", "middling", "absent", "subtle", "marked", "middling",
    ]  # fmt: skip


def test_temperatures_come_from_the_validation_images():
    rng = np.random.default_rng(0)
    truth = pd.DataFrame((rng.random((300, 14)) < 0.4) * 1.0, columns=doubt.SEEN)
    at = torch.zeros(300, 21)
    lean = np.where(rng.random((300, 14)) < 0.8, truth, 1 - truth)
    at[:, doubt.PLACES] = torch.tensor(0.02 + 0.96 * lean, dtype=torch.float32)
    valid = doubt.Split(None, truth, pd.DataFrame({"patient": np.arange(300)}))
    coin = pd.DataFrame((rng.random((300, 14)) < 0.5) * 1.0, columns=doubt.SEEN)
    test = doubt.Split(None, coin, valid.rows)
    weights = np.ones((1, 300))
    good, bad = (doubt.predictor_figures(at, at, valid, on, weights) for on in (valid, test))
    assert good["calibration_error_after"][0] < 0.1 < good["calibration_error"][0]
    # Temperatures of these coins would say one half everywhere, and be calibrated.
    assert bad["calibration_error_after"][0] > 0.2


def test_odd_images_are_told_from_usual_ones(monkeypatch):
    """Bright images are odd, and the only measure is how bright an image is after preparation."""
    made = torch.full((60, 1, 8, 8), 100, dtype=torch.uint8) + torch.arange(60)[:, None, None, None]
    track = SimpleNamespace(folder=Path("x"), split=lambda name: pd.DataFrame({"path": ["a"] * 60}))
    monkeypatch.setattr(doubt.data, "open_track", lambda *args, **how: track)
    monkeypatch.setattr(doubt, "second_hospital", lambda: None)
    monkeypatch.setattr(doubt, "images_of", lambda *args: made)
    monkeypatch.setattr(doubt, "raw_images", lambda *args: made)
    monkeypatch.setattr(
        doubt, "embedded", lambda model, images: np.random.default_rng(0).random((60, 2))
    )
    monkeypatch.setattr(doubt, "equalised", lambda raw: raw / 255)
    odd = {"bright": torch.ones(20, 1, 8, 8), "dark": torch.zeros(20, 1, 8, 8)}
    monkeypatch.setattr(doubt.uncertainty, "odd_images", lambda usual: odd)
    asked = []

    def look(models, images, distances):
        asked.append(len(images))
        return {"brightness": [images.mean(dim=(1, 2, 3)).numpy()]}

    monkeypatch.setattr(doubt, "image_doubts", look)
    rows = {row["kind"]: row for row in doubt.find_odd([Trained()], track, count=20)}
    assert asked[0] == 40, "the usual ones are those that no odd image is made of"
    assert rows["bright"]["auroc"] == rows["bright"]["noticed"] == 1
    assert rows["dark"]["auroc"] == rows["dark"]["noticed"] == 0
    # The first twenty test images are the darkest here.
    assert rows["another hospital"]["auroc"] == 0


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
