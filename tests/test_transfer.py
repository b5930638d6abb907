"""Halves, adapted models, joined models, trivial cues, strata, heads and splits that overlap."""

import hashlib
import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LABELS, random_tables, same_weights
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import nn

from cxrlib import transfer
from cxrlib.data import equalize, open_track
from cxrlib.evaluation import EvaluationError, mean_interval
from cxrlib.transfer import (
    adapt_batchnorm,
    auroc,
    aurocs_of_heads,
    best_cues,
    corrected_interval,
    cue_scores,
    rank_mean,
    rank_of_own_head,
    reporting,
    stratified_auroc,
    trivial_scores,
)

# --- Halves ---------------------------------------------------------------------------------------


def test_the_list_of_halves_is_whole():
    lines = transfer.HALVES.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert lines[0].startswith("# Patients of two samples")
    assert len(rows) == len({digits for digits, _ in rows}) == 558
    assert all(len(digits) == 12 and int(digits, 16) >= 0 for digits, _ in rows)
    halves = pd.Series([half for _, half in rows]).value_counts()
    assert halves.to_dict() == {"choosing": 279, "reporting": 279}


def test_listed_patients_have_their_half_and_others_one_by_their_name():
    digits = {n: hashlib.sha256(f"nih{n:05d}".encode()).hexdigest()[:12] for n in range(1, 30806)}
    listed = transfer._listed()
    found = dict(zip(digits, reporting([f"nih{n:05d}" for n in digits]), strict=True))
    in_list = [n for n in digits if digits[n] in listed]
    assert len(in_list) == 558, "each digits of the list are those of a patient of the collection"
    assert all(found[n] == listed[digits[n]] for n in in_list)
    others = [n for n in digits if digits[n] not in listed]
    assert all(found[n] == (digits[n][-1] in "13579bdf") for n in others)
    assert 0.49 < np.mean([found[n] for n in others]) < 0.51


def test_all_images_of_a_patient_are_in_one_half():
    patients = pd.Series(["nih00001", "nih00013", "nih00001", "someone"], index=[7, 3, 1, 2])
    halves = reporting(patients)
    assert halves.dtype == bool
    assert halves.shape == (4,)
    assert halves[0] == halves[2]
    assert list(reporting(["nih00013"])) == [halves[1]]


SAMPLE = os.environ.get("CXR_NIH_SAMPLE", "")


@pytest.mark.skipif(Path(SAMPLE).name != "nih-sample", reason="set CXR_NIH_SAMPLE to that sample")
def test_the_choosing_half_of_the_sample_is_what_the_phantom_was_fitted_to():
    patients = open_track(SAMPLE).table["patient"].to_numpy()
    fitted = np.isin(patients, np.unique(patients)[::2])
    assert (reporting(patients) == ~fitted).all()


# --- Batch normalisation and ranks ----------------------------------------------------------------


def test_one_batch_gives_its_own_mean_and_variance():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    images = torch.rand(10, 1, 8, 8)
    adapted = adapt_batchnorm(net, images, batch_size=10)
    with torch.no_grad():
        first = net[0](images)
        by_hand = first.mean((0, 2, 3)), first.var((0, 2, 3))
        torch.testing.assert_close(adapted[1].running_mean, by_hand[0])
        torch.testing.assert_close(adapted[1].running_var, by_hand[1])
        spread = (first - by_hand[0][:, None, None]) / (
            first.var((0, 2, 3), correction=0) + net[1].eps
        ).sqrt()[:, None, None]
        second = spread.relu()
        torch.testing.assert_close(adapted[3].running_mean, second.mean((0, 2, 3)))
        torch.testing.assert_close(adapted[3].running_var, second.var((0, 2, 3)))


def test_batches_count_alike_and_neighbours_are_apart():
    net = nn.Sequential(nn.BatchNorm2d(1))
    images = torch.arange(6.0)[:, None, None, None].expand(6, 1, 2, 2)
    norm = adapt_batchnorm(net, images, batch_size=2)[0]  # batches 0 3, 1 4, 2 5
    assert norm.running_mean.item() == pytest.approx(2.5)
    variance = np.var([0] * 4 + [3] * 4, ddof=1)
    assert norm.running_var.item() == pytest.approx(variance)
    assert norm.num_batches_tracked == 3


def test_an_adapted_model_is_a_copy_with_the_same_weights(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = adapt_batchnorm(model, images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not same_weights(model, adapted)
    for (name, ours), other in zip(model.named_parameters(), adapted.parameters(), strict=True):
        assert torch.equal(ours, other), name
    assert not any(module.training for module in adapted.modules())
    usual = [m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.momentum for m in adapted.modules() if isinstance(m, nn.BatchNorm2d)] == usual
    assert same_weights(adapt_batchnorm(adapted, images), adapted), "nothing of before is left"
    assert not same_weights(adapt_batchnorm(model, images * 0.5), adapted)


def test_nothing_to_adapt_is_refused(model, images):
    with pytest.raises(ValueError, match="0 images"):
        adapt_batchnorm(model, images[:0])
    with pytest.raises(ValueError, match="0 batch normalisations"):
        adapt_batchnorm(nn.Conv2d(1, 1, 3), images)


def test_rank_mean_is_the_mean_of_scipys_ranks():
    tables = [random_tables(seed=seed, ties=True)[1] for seed in range(3)]
    joined = rank_mean(tables)
    for label in LABELS:
        ranks = [(stats.rankdata(table[label]) - 1) / 199 for table in tables]
        np.testing.assert_allclose(joined[label], np.mean(ranks, axis=0))
    bolder = [tables[0], tables[1] ** 3, tables[2]]
    pd.testing.assert_frame_equal(rank_mean(bolder), joined)
    assert rank_mean([tables[0].iloc[:1]]).iloc[0].tolist() == [0, 0, 0]
    with pytest.raises(EvaluationError, match="different row indexes"):
        rank_mean([tables[0], tables[1].set_axis(range(1, 201))])
    for wrong, what in (([], "an empty list"), (tables[0], "DataFrame")):
        with pytest.raises(EvaluationError, match=f"expected a DataFrame for each .* not {what}"):
            rank_mean(wrong)


# --- Trivial cues ---------------------------------------------------------------------------------


@pytest.fixture
def grey():
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (6, 1, 50, 100), generator=generator, dtype=torch.uint8)


def test_trivial_cues_are_what_they_say(grey):
    projection = pd.Series(["AP", "PA", None, "PA", "AP", "AP"], index=list("abcdef"))
    cues = trivial_scores(grey, projection)
    assert list(cues.index) == list("abcdef")
    assert cues["image is AP"].tolist() == [1, 0, 0.5, 0, 1, 1]
    for row, image in enumerate(grey[:, 0].numpy() / 255):
        assert cues["mean grey"].iloc[row] == pytest.approx(image.mean(), abs=1e-6)
        assert cues["spread of grey"].iloc[row] == pytest.approx(image.std(ddof=1), abs=1e-6)
    even = equalize(grey)[:, 0].numpy() / 255
    right, left = even[:, 11:34, 18:42], even[:, 11:34, 58:82]
    expected = (right.mean((1, 2)) + left.mean((1, 2))) / 2
    np.testing.assert_allclose(cues["mean grey of the lungs"], expected, atol=1e-6)
    assert "image is AP" not in trivial_scores(grey)
    for plain in (projection.tolist(), tuple(projection), projection.to_numpy()):
        found = trivial_scores(grey, plain)
        pd.testing.assert_frame_equal(found, cues.reset_index(drop=True))


def test_the_best_cue_and_its_direction_are_chosen_by_auroc():
    rng = np.random.default_rng(0)
    truth = pd.DataFrame({"Edema": rng.integers(0, 2, 80), "Fracture": rng.integers(0, 2, 80)})
    truth = truth.astype(float)
    cues = pd.DataFrame(
        {
            "noise": rng.random(80),
            "dark": rng.random(80) - 0.5 * truth["Edema"],
            "bright": rng.random(80) + 0.4 * truth["Fracture"],
        }
    )
    chosen = best_cues(truth, cues)
    assert chosen["cue"].to_dict() == {"Edema": "dark", "Fracture": "bright"}
    assert chosen["sign"].to_dict() == {"Edema": -1, "Fracture": 1}
    scores = cue_scores(cues, chosen)
    for label in truth:
        every = [roc_auc_score(truth[label], cues[cue]) for cue in cues]
        best = max(max(value, 1 - value) for value in every)
        assert chosen.loc[label, "auroc"] == pytest.approx(best)
        assert roc_auc_score(truth[label], scores[label]) == pytest.approx(best)
    with pytest.raises(EvaluationError, match="Edema: one class only"):
        best_cues(truth * 0, cues)


def test_within_strata_a_cue_is_chosen_that_tells_there():
    rng = np.random.default_rng(1)
    truth = pd.DataFrame({"Edema": rng.integers(0, 2, 200).astype(float)})
    view = pd.Series(np.where(rng.random(200) < 0.2 + 0.6 * truth["Edema"], "AP", "PA"))
    cues = pd.DataFrame(
        {"view": (view == "AP") * 1.0, "dark": rng.random(200) - 0.3 * truth["Edema"]}
    )
    assert best_cues(truth, cues).loc["Edema", "cue"] == "view"
    within = best_cues(truth, cues, view).loc["Edema"]
    assert (within["cue"], within["sign"]) == ("dark", -1)
    assert within["auroc"] == pytest.approx(slow_stratified(truth["Edema"], -cues["dark"], view))
    with pytest.raises(EvaluationError, match="Edema: one class only in every stratum"):
        best_cues(truth, cues, pd.Series(range(200)))


# --- Strata and heads -----------------------------------------------------------------------------


def slow_stratified(target, score, stratum):
    wins = pairs = 0
    for i, j in product(range(len(target)), repeat=2):
        if target[i] == 1 and target[j] == 0 and stratum[i] == stratum[j] is not None:
            pairs += 1
            wins += 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
    return wins / pairs if pairs else np.nan


@pytest.mark.parametrize("seed", range(5))
def test_pairs_within_a_stratum_are_counted_as_a_slow_loop_counts_them(seed):
    rng = np.random.default_rng(seed)
    target = pd.Series(rng.choice([0, 1, np.nan], 60, p=[0.6, 0.3, 0.1]))
    score = pd.Series(rng.random(60).round(1))
    stratum = pd.Series(rng.choice(["AP", "PA", None], 60, p=[0.4, 0.5, 0.1]), dtype=object)
    expected = slow_stratified(target.tolist(), score.tolist(), stratum.tolist())
    assert stratified_auroc(target, score, stratum) == pytest.approx(expected)
    weights = rng.integers(0, 3, (4, 60)).astype(float)
    for found, counts in zip(
        stratified_auroc(target, score, stratum, weights), weights, strict=True
    ):
        rows = np.repeat(np.arange(60), counts.astype(int))
        again = [values.iloc[rows].tolist() for values in (target, score, stratum)]
        assert found == pytest.approx(slow_stratified(*again))


def test_a_stratum_that_tells_everything_is_worth_nothing_within():
    target = pd.Series([1.0, 1, 1, 0, 0, 0, 1, 0])
    stratum = pd.Series(["AP"] * 4 + ["PA"] * 4, dtype=object)
    score = (stratum == "AP").astype(float)
    assert auroc(target, score) == pytest.approx(roc_auc_score(target, score)) != 0.5
    assert stratified_auroc(target, score, stratum) == 0.5
    assert stratified_auroc(target, score, pd.Series(["AP"] * 8)) == auroc(target, score)
    apart = pd.Series(np.where(target == 1, "AP", "PA"))
    assert np.isnan(stratified_auroc(target, score, apart))
    nobody = pd.Series([None] * 8, dtype=object)
    assert np.isnan(stratified_auroc(target, score, nobody))
    assert np.isnan(stratified_auroc(target, score, nobody, np.ones((3, 8)))).all()


def test_the_place_of_a_labels_own_head():
    truth = pd.DataFrame({"Edema": [0.0, 0, 1, 1, np.nan], "Fracture": [0.0, 1, 0, 1, 1]})
    scores = pd.DataFrame(
        {
            "Abnormal": [0.1, 0.2, 0.7, 0.8, 0.1],
            "Edema": [0.3, 0.1, 0.2, 0.4, 0.9],
            "Fracture": [0.1, 0.6, 0.2, 0.7, 0.8],
            "Other": [0.9, 0.2, 0.3, 0.1, 0.5],
        }
    )
    aurocs = aurocs_of_heads(truth, scores)
    assert list(aurocs.columns) == list(scores)
    for label, head in product(truth, scores):
        known = truth[label].notna()
        expected = roc_auc_score(truth[label][known], scores[head][known])
        assert aurocs.loc[label, head] == pytest.approx(expected)
    # Edema: Abnormal 1, Edema 3/4, Fracture 3/4, Other 1/4. A tie costs no place.
    assert rank_of_own_head(aurocs).to_dict() == {"Edema": 2, "Fracture": 1}


def test_a_head_that_tells_nothing_known_has_no_place():
    truth = pd.DataFrame({"Edema": [0.0, 0, 1], "Fracture": [0.0, 0, 0]})
    scores = pd.DataFrame({"Edema": [0.1, 0.2, 0.3], "Fracture": [0.3, 0.2, 0.1]})
    ranks = rank_of_own_head(aurocs_of_heads(truth, scores))
    assert ranks["Edema"] == 1 and np.isnan(ranks["Fracture"])


# --- Splits that overlap --------------------------------------------------------------------------


def test_the_corrected_interval_of_a_case_worked_by_hand():
    # Mean 0.02; variance (0.0001 + 0 + 0.0001) / 2 = 0.0001; 100 tested, 200 learnt from:
    # error² = 0.0001 · (1/3 + 1/2) = 8.333e-5, error = 9.129e-3; t with 2 degrees = 4.30265.
    mean, low, high = corrected_interval([0.01, 0.02, 0.03], tested=100, learnt=200)
    assert mean == pytest.approx(0.02)
    assert (low, high) == pytest.approx((0.02 - 0.039279, 0.02 + 0.039279), abs=1e-5)


def test_the_correction_only_widens():
    values = [0.02, -0.01, 0.05, 0.03, 0.00]
    mean, low, high = corrected_interval(values, tested=145, learnt=50)
    plain = mean_interval(values)
    assert mean == plain[0]
    wider = (high - low) / (plain[2] - plain[1])
    assert wider == pytest.approx(np.sqrt((1 / 5 + 145 / 50) / (1 / 5)))
    almost = corrected_interval(values, tested=1, learnt=10**9)
    assert almost == pytest.approx(plain)
    assert np.isnan(corrected_interval([0.1], 1, 2)[1:]).all()
    for wrong in ({"tested": 0, "learnt": 5}, {"tested": 5, "learnt": 0}):
        with pytest.raises(EvaluationError, match="expected a whole number"):
            corrected_interval(values, **wrong)


def test_it_covers_where_the_plain_interval_does_not():
    """Splits of one sample: the mean over patients, which differ, tested on a third of them."""
    rng = np.random.default_rng(0)
    covered = {"plain": 0, "corrected": 0}
    for _ in range(400):
        sample = rng.normal(0.1, 1, 90)
        values = [rng.permutation(sample)[:30].mean() for _ in range(5)]
        for name, (_, low, high) in {
            "plain": mean_interval(values),
            "corrected": corrected_interval(values, tested=30, learnt=60),
        }.items():
            covered[name] += low <= 0.1 <= high
    assert covered["plain"] / 400 < 0.91
    assert 0.93 < covered["corrected"] / 400 < 0.99
