"""Calibration errors and temperatures: by hand, against scikit-learn and torchmetrics."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LABELS, random_tables
from scipy import stats
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import binary_calibration_error

from cxrlib.evaluation import EvaluationError, calibration, fit_temperatures, reliability, rescale


def test_calibration_by_hand_and_against_scikit_learn():
    truth = pd.DataFrame({"Edema": [0.0, 1, 1, 1]})
    scores = pd.DataFrame({"Edema": [0.15, 0.15, 0.95, 0.95]})
    # Bin 1: mean score .15, half positive. Bin 9: mean score .95, all positive.
    assert calibration(truth, scores)["Edema"] == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    truth, scores = random_tables(rows=500)
    positive, score = calibration_curve(truth["Edema"], scores["Edema"], n_bins=10)
    table = reliability(truth["Edema"], scores["Edema"])
    np.testing.assert_allclose(table["positive"], positive)
    np.testing.assert_allclose(table["score"], score)
    weighted = (table["images"] * (table["positive"] - table["score"]).abs()).sum() / 500
    assert calibration(truth, scores)["Edema"] == pytest.approx(weighted)


def test_ece_equals_torchmetrics_where_the_two_mean_the_same():
    # torchmetrics takes the mean probability and the accuracy of "positive", so for a sigmoid's
    # output both are the same gap; it bins (0, 1] from the right, so scores on an edge are avoided.
    truth, scores = random_tables(rows=500)
    scores = scores.clip(0.001, 0.999)
    for bins in (10, 15):
        ours = calibration(truth, scores, bins=bins)
        for label in LABELS:
            y, s = torch.tensor(truth[label].to_numpy()), torch.tensor(scores[label].to_numpy())
            theirs = binary_calibration_error(s, y.int(), n_bins=bins, norm="l1")
            assert ours[label] == pytest.approx(theirs.item(), abs=1e-6)


def test_temperatures_are_recovered_and_keep_the_order():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    truth = pd.DataFrame(rng.random(logits.shape) < 1 / (1 + np.exp(-logits)), columns=LABELS)
    truth = truth.astype(float)
    too_sure = logits * [1.0, 2.5, 0.5]
    scores = pd.DataFrame(1 / (1 + np.exp(-too_sure)), columns=LABELS)
    truth.iloc[:50] = np.nan
    temperatures = fit_temperatures(truth, scores)
    assert temperatures.tolist() == pytest.approx([1.0, 2.5, 0.5], rel=0.05)
    better = rescale(scores, temperatures)
    assert (calibration(truth, better) < calibration(truth, scores) + 0.003).all()
    assert (calibration(truth, better) < 0.02).all()
    for label in LABELS:
        assert stats.spearmanr(better[label], scores[label])[0] == pytest.approx(1)
    assert fit_temperatures(truth.assign(Edema=0.0), scores)["Edema"] == 1
    ends = pd.DataFrame({"Edema": [0.0, 1.0]})
    assert np.isfinite(rescale(ends, pd.Series({"Edema": 3.0}))).all(axis=None)
    with pytest.raises(EvaluationError, match="no temperature for 'Cardiac'"):
        rescale(scores, temperatures.drop("Cardiac"))
