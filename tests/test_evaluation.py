import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score

from cxrlib.evaluation import (
    EvaluationError,
    at_threshold,
    bootstrap_auroc,
    calibration,
    evaluate,
    evaluate_models,
    mean_interval,
    reliability,
)
from cxrlib.labels import OBSERVATIONS

LABELS = ["Edema", "Fracture", "Cardiac"]


def random_tables(rows=200, seed=0, ties=False, unknown=0.0):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, 3)) < 0.3).astype(float)
    scores = np.clip(truth * 0.2 + rng.random((rows, 3)) * 0.8, 0, 1)
    if ties:
        scores = scores.round(1)
    truth[rng.random(truth.shape) < unknown] = np.nan
    return pd.DataFrame(truth, columns=LABELS), pd.DataFrame(scores, columns=LABELS)


@pytest.mark.parametrize("ties", [False, True])
def test_per_label_equals_scikit_learn(ties):
    truth, scores = random_tables(ties=ties, unknown=0.2)
    result = evaluate(truth, scores)
    for label in LABELS:
        known = truth[label].notna()
        y, s = truth.loc[known, label], scores.loc[known, label]
        row = result.per_label.loc[label]
        assert row.auroc == roc_auc_score(y, s)
        assert row.average_precision == average_precision_score(y, s)
        assert (row.positives, row.negatives) == (y.sum(), (1 - y).sum())


def test_means_equal_scikit_learns():
    truth, scores = random_tables()
    summary = evaluate(truth, scores).summary
    assert summary["macro_auroc"] == pytest.approx(roc_auc_score(truth, scores, average="macro"))
    assert summary["weighted_auroc"] == pytest.approx(
        roc_auc_score(truth, scores, average="weighted")
    )
    observations = [label for label in LABELS if label in OBSERVATIONS]
    assert summary["macro_auroc_observations"] == pytest.approx(
        roc_auc_score(truth[observations], scores[observations])
    )


def test_a_label_with_one_class_is_undefined_noted_and_left_out():
    truth, scores = random_tables()
    full = evaluate(truth[["Edema", "Cardiac"]], scores[["Edema", "Cardiac"]])
    truth["Fracture"] = 0.0
    result = evaluate(truth, scores, resamples=20)
    assert np.isnan(result.per_label.loc["Fracture", "auroc"])
    assert "Fracture" in result.notes[0]
    assert "200 images are negative" in result.notes[0]
    assert result.summary["macro_auroc"] == full.summary["macro_auroc"]
    assert result.summary["weighted_auroc"] == full.summary["weighted_auroc"]
    assert result.intervals.loc["macro_auroc"].notna().all()
    truth["Fracture"] = np.nan
    assert "no image has a known label" in evaluate(truth, scores).notes[0]


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_equals_scikit_learn_with_weights(ties):
    truth, scores = random_tables(rows=60, ties=ties, unknown=0.1)
    patients = np.repeat(np.arange(20), 3)
    drawn = bootstrap_auroc(truth, scores, patients, resamples=25, seed=4)
    draws = np.random.default_rng(4).multinomial(20, np.full(20, 1 / 20), 25)
    for resample in range(25):
        weights = draws[resample][patients]
        for label in LABELS:
            use = truth[label].notna().to_numpy() & (weights > 0)
            y = truth.loc[use, label]
            expected = (
                roc_auc_score(y, scores.loc[use, label], sample_weight=weights[use])
                if y.nunique() == 2
                else np.nan
            )
            np.testing.assert_allclose(drawn.loc[resample, label], expected, rtol=1e-9)


def test_whole_patients_are_drawn():
    # Five copies of every image add no information: drawn by patient, the interval must not shrink.
    truth, scores = random_tables(rows=80)
    groups = np.arange(80)
    single = evaluate(truth, scores, groups, resamples=600).intervals
    many = pd.concat([truth] * 5), pd.concat([scores] * 5), np.tile(groups, 5)
    grouped = evaluate(*many, resamples=600).intervals
    naive = evaluate(*many[:2], resamples=600).intervals

    def width(table):
        return table.loc["Edema", "high"] - table.loc["Edema", "low"]

    assert width(grouped) == pytest.approx(width(single), rel=0.15)
    assert width(naive) < 0.6 * width(single)


def test_interval_coverage_by_simulation():
    # Scores of negatives are N(0, 1), of positives N(1, 1): the true AUROC is Φ(1/√2) = 0.760.
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        y = np.repeat([0.0, 1.0], 60)
        table = pd.DataFrame({"Edema": y}), pd.DataFrame({"Edema": rng.normal(y, 1)})
        low, high = evaluate(*table, resamples=300, seed=trial).intervals.loc["Edema"]
        hits += low <= 0.7602 <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_the_bootstrap_follows_its_seed():
    truth, scores = random_tables()
    one, two = (evaluate(truth, scores, resamples=50, seed=s).intervals for s in (1, 2))
    pd.testing.assert_frame_equal(one, evaluate(truth, scores, resamples=50, seed=1).intervals)
    assert not one.equals(two)


def test_bad_tables_name_label_or_row():
    truth, scores = random_tables(rows=10)
    with pytest.raises(EvaluationError, match="Edema"):
        evaluate(truth, scores.drop(columns="Edema"))
    with pytest.raises(EvaluationError, match="another order"):
        evaluate(truth, scores[LABELS[::-1]])
    with pytest.raises(EvaluationError, match="10 rows, scores have 9"):
        evaluate(truth, scores[:9])
    with pytest.raises(EvaluationError, match="row 3, label 'Fracture': 2"):
        evaluate(_with(truth, 3, "Fracture", 2.0), scores)
    with pytest.raises(EvaluationError, match="row 4, label 'Edema'"):
        evaluate(truth, _with(scores, 4, "Edema", np.nan))
    with pytest.raises(EvaluationError, match="empty"):
        evaluate(truth[:0], scores[:0])
    with pytest.raises(EvaluationError, match="groups has 3 entries for 10 rows"):
        evaluate(truth, scores, groups=[1, 2, 3], resamples=5)


def _with(table, row, column, value):
    table = table.copy()
    table.loc[row, column] = value
    return table


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


def test_threshold_metrics_equal_scikit_learn():
    truth, scores = random_tables()
    table = at_threshold(truth, scores, 0.4)
    called = scores > 0.4
    for label in LABELS:
        y, c = truth[label], called[label]
        assert table.loc[label, "sensitivity"] == pytest.approx(recall_score(y, c))
        assert table.loc[label, "specificity"] == pytest.approx(recall_score(1 - y, ~c))
        assert table.loc[label, "f1"] == pytest.approx(f1_score(y, c))
    assert at_threshold(truth, scores, 1.1)["precision"].isna().all()


def test_a_threshold_per_label():
    truth, scores = random_tables()
    thresholds = pd.Series({"Edema": 0.2, "Fracture": 0.5, "Cardiac": 0.8})
    table = at_threshold(truth, scores, thresholds)
    for label, threshold in thresholds.items():
        alone = at_threshold(truth[[label]], scores[[label]], threshold)
        pd.testing.assert_series_equal(table.loc[label], alone.loc[label])


def test_the_mean_of_several_models_is_bootstrapped_on_the_same_patients():
    truth, one = random_tables()
    two = 1 - (1 - one) ** 2  # the same order, so the same AUROC in every resample
    patients = np.arange(len(truth)) // 2
    table = evaluate_models(truth, [one, two], patients, resamples=200)
    alone = evaluate(truth, one, patients, resamples=200)
    assert list(table.columns) == ["model 0", "model 1", "mean", "low", "high"]
    assert list(table.index) == [*LABELS, "mean"]
    for column in ("model 0", "model 1", "mean"):
        pd.testing.assert_series_equal(
            table.loc[LABELS, column], alone.per_label["auroc"], check_names=False
        )
    ends = alone.intervals.loc[LABELS]
    pd.testing.assert_frame_equal(table.loc[LABELS, ["low", "high"]], ends, check_names=False)
    assert table.loc["mean", "low"] == pytest.approx(alone.intervals.loc["macro_auroc", "low"])
    opposite = evaluate_models(truth, [one, 1 - one], patients, resamples=20)
    assert opposite["mean"].to_numpy() == pytest.approx(0.5)
    np.testing.assert_allclose(opposite[["low", "high"]], 0.5)
    first = evaluate_models(truth, [one], patients, resamples=20, mean_of=LABELS[:1])
    assert first.loc["mean"].equals(first.loc[LABELS[0]].rename("mean"))


def test_the_t_interval_equals_scipys():
    values = [0.01, 0.03, -0.02, 0.05, 0.02]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((np.mean(values), expected.low, expected.high))
    assert np.isnan(mean_interval([0.3])[1:]).all()


def test_rows_that_may_not_belong_together_are_refused():
    truth = pd.DataFrame({"Edema": [0.0, 0.0, 1.0, 1.0]})
    scores = pd.DataFrame({"Edema": [0.1, 0.2, 0.8, 0.9]})
    assert evaluate(truth, scores).per_label.loc["Edema", "auroc"] == 1
    with pytest.raises(EvaluationError, match="different row indexes.*reset_index"):
        evaluate(truth, scores.iloc[::-1])
