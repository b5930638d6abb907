"""Calibration errors and temperatures: by hand, against scikit-learn and torchmetrics."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import LABELS, random_tables
from scipy import optimize, special, stats
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from cxrlib.evaluation import (
    RECALIBRATORS,
    EvaluationError,
    calibrated_interval,
    calibration,
    calibration_by_chance,
    calibration_curves,
    fit_temperatures,
    proper_scores,
    recalibrate,
    reliability,
    rescale,
)
from cxrlib.evaluation.calibration import _platt


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


def test_beta_calibration_never_turns_the_order_round():
    rng = np.random.default_rng(0)
    new = pd.DataFrame({"Edema": np.linspace(0.01, 0.99, 99)})
    turned = 0
    for _ in range(40):  # of so few images, a free fit would often have a slope below 0
        scores = pd.DataFrame({"Edema": rng.beta(1, 3, 60)})
        truth = (rng.random((60, 1)) < 0.5 * scores + 0.1).astype(float)
        x = np.column_stack([np.log(scores["Edema"]), -np.log1p(-scores["Edema"])])
        turned += LogisticRegression(C=1e6, max_iter=1000).fit(x, truth["Edema"]).coef_.min() < 0
        mended = recalibrate(truth, scores, new, "beta")["Edema"]
        assert (mended.diff().dropna() >= -1e-12).all()
    assert turned > 5
    truth = (scores < 0.3).astype(float)  # the wrong way round: nothing but the rate is left
    mended = recalibrate(truth, scores, new, "beta")["Edema"]
    np.testing.assert_allclose(mended, truth["Edema"].mean())


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


# --- Proper scores, chance, and three ways to mend ------------------------------------------------


def test_proper_scores_are_scikit_learns():
    truth, scores = random_tables()
    truth.iloc[:7, 0] = np.nan
    table = proper_scores(truth, scores)
    for label in LABELS:
        known = truth[label].notna()
        y, s = truth.loc[known, label], scores.loc[known, label]
        assert table.loc[label, "brier"] == pytest.approx(brier_score_loss(y, s))
        assert table.loc[label, "log_loss"] == pytest.approx(log_loss(y, s))
        usual = brier_score_loss(y, np.full(len(y), y.mean()))
        skill = 1 - table.loc[label, "brier"] / usual
        assert table.loc[label, "brier_skill"] == pytest.approx(skill)


def test_true_probabilities_err_as_much_as_chance_makes_them():
    """Over many tables, the error of true scores is what was said, and below "high" as promised."""
    rng, found, below = np.random.default_rng(0), [], []
    for _ in range(200):
        scores = pd.DataFrame({"Edema": rng.beta(1, 3, 150)})
        truth = (rng.random((150, 1)) < scores).astype(float)
        chance = calibration_by_chance(truth, scores, draws=100).loc["Edema"]
        error = calibration(truth, scores)["Edema"]
        found.append((error, chance["mean"]))
        below.append(error <= chance["high"])
    errors, means = np.array(found).T
    assert means.mean() == pytest.approx(errors.mean(), rel=0.05)
    assert np.mean(below) == pytest.approx(0.95, abs=0.04)
    # It is of one draw what ``calibration`` makes of it, in plain code.
    once = calibration_by_chance(truth, scores, draws=1, seed=3)["mean"].iloc[0]
    drawn = (np.random.default_rng(3).random((1, 150)) < scores["Edema"].to_numpy())[0]
    plain = calibration(pd.DataFrame({"Edema": drawn.astype(float)}), scores)["Edema"]
    assert once == pytest.approx(plain)
    unknown = calibration_by_chance(truth * np.nan, scores)
    assert unknown.isna().all(axis=None)


def crooked(rows, seed):
    """Scores that are too high throughout: a temperature cannot mend them, beta can."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-1, 1.5, rows)
    truth = (rng.random(rows) < 1 / (1 + np.exp(-z))).astype(float)
    scores = 1 / (1 + np.exp(-(z + 1.5)))
    return pd.DataFrame({"Edema": truth}), pd.DataFrame({"Edema": scores})


def test_what_a_recalibrator_can_mend():
    (truth, scores), (new_truth, new) = crooked(4000, 0), crooked(4000, 1)
    losses = {"none": proper_scores(new_truth, new)["log_loss"].iloc[0]}
    for how in RECALIBRATORS:
        mended = recalibrate(truth, scores, new, how)
        losses[how] = proper_scores(new_truth, mended)["log_loss"].iloc[0]
        if how != "isotonic":
            auroc = [roc_auc_score(new_truth, table) for table in (new, mended)]
            assert auroc[0] == pytest.approx(auroc[1])
    assert losses["beta"] < losses["temperature"] - 0.05 < losses["none"]
    assert losses["isotonic"] == pytest.approx(losses["beta"], abs=0.02)
    best = calibration_by_chance(new_truth, recalibrate(truth, scores, new, "beta"))
    error = calibration(new_truth, recalibrate(truth, scores, new, "beta"))
    assert error["Edema"] < 2 * best.loc["Edema", "mean"]
    staircase = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    expected = staircase.fit(scores["Edema"], truth["Edema"]).predict(new["Edema"])
    np.testing.assert_allclose(recalibrate(truth, scores, new, "isotonic")["Edema"], expected)


def test_a_label_of_one_class_is_not_recalibrated():
    (truth, scores), (_, new) = crooked(100, 0), crooked(50, 1)
    for how in RECALIBRATORS:
        mended = recalibrate(truth * 0, scores, new, how)
        np.testing.assert_allclose(mended, new)
    with pytest.raises(EvaluationError, match="how='platt'.*temperature"):
        recalibrate(truth, scores, new, "platt")
    with pytest.raises(EvaluationError, match="new.*labels of truth"):
        recalibrate(truth, scores, new.rename(columns={"Edema": "Fracture"}))


def clustered(patients, share, seed):
    """Truth, scores and patients of one label: two images each, by a = b = 1."""
    rng = np.random.default_rng(seed)
    logits = np.repeat(rng.normal(special.logit(share), 2, patients), 2)
    logits += rng.normal(0, 0.2, 2 * patients)
    noise = np.repeat(rng.random(patients), 2)  # both images of a patient have it, or neither
    truth = noise < special.expit(1 + logits)
    names = np.repeat(np.arange(patients), 2)
    return (
        pd.DataFrame({"Edema": truth * 1.0}),
        pd.DataFrame({"Edema": special.expit(logits)}),
        names,
    )


def test_a_curve_has_the_least_cross_entropy_with_platts_targets():
    """Against a minimiser that knows nothing of regressions."""
    truth, scores, _ = clustered(100, 0.2, 0)
    y, z = truth["Edema"].to_numpy(), special.logit(scores["Edema"].to_numpy())
    weights = np.random.default_rng(1).integers(0, 3, (3, 200)).astype(float)
    for row in weights:
        high, low = (row @ y + 1) / (row @ y + 2), 1 / (row @ (1 - y) + 2)
        soft = np.where(y == 1, high, low)

        def cross_entropy(line, row=row, soft=soft):
            logits = line[0] + line[1] * z
            return row @ (np.logaddexp(0, logits) - soft * logits)

        best = optimize.minimize(cross_entropy, [0, 1], method="Nelder-Mead", tol=1e-9).x
        assert _platt(y, z, row) == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_an_interval_holds_the_share_about_as_often_as_it_says(share):
    """Also at high scores of a rare label, of which there are few images, two of each patient."""
    new, held = pd.DataFrame({"Edema": [0.02, 0.1, 0.5, 0.9, 0.98]}), []
    true = special.expit(1 + special.logit(new))
    for seed in range(80):
        curves = calibration_curves(*clustered(130, share, seed), draws=60, seed=seed)
        low, high = calibrated_interval(curves, new)
        held.append(((low <= true) & (true <= high)).to_numpy()[:, 0])
    assert np.mean(held) == pytest.approx(0.9, abs=0.04)
    assert np.mean(held, axis=0).min() > 0.8


def test_patients_are_drawn_whole():
    """Twice the same images of the same patients tell no more; of new patients they would."""
    truth, scores, names = clustered(60, 0.3, 3)
    doubled = [pd.concat([table, table], ignore_index=True) for table in (truth, scores)]
    new = pd.DataFrame({"Edema": [0.3]})

    def width(*tables):
        low, high = calibrated_interval(calibration_curves(*tables, draws=400), new)
        return float((high - low).iloc[0, 0])

    alone = width(truth, scores, names)
    assert width(*doubled, np.r_[names, names]) == pytest.approx(alone, rel=0.1)
    assert width(*doubled, np.r_[names, names + 60]) < 0.85 * alone


def test_one_class_or_scores_that_tell_all_apart_give_finite_curves():
    scores = pd.DataFrame({"Edema": [0.0, 0.1, 0.9, 1.0] * 5})
    for truth in (scores * 0, scores * 0 + 1, scores.round()):
        curves = calibration_curves(truth, scores, range(20), draws=20)
        assert np.isfinite(curves).all()
    low, high = calibrated_interval(calibration_curves(scores * 0, scores, range(20)), scores)
    assert np.allclose(low, 1 / 22) and np.allclose(high, 1 / 22), "Laplace: 0 + 1 of 20 + 2"
    unknown = calibration_curves(scores * np.nan, scores, range(20))
    assert all(end.isna().all(axis=None) for end in calibrated_interval(unknown, scores))
    with pytest.raises(EvaluationError, match="patients: 3 entries for 20 images"):
        calibration_curves(scores.round(), scores, range(3))
