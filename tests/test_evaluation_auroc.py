"""AUROC: against scikit-learn, bootstrapped by patient, and of several models."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, random_tables
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlib import evaluation
from cxrlib.evaluation import (
    bootstrap_auroc,
    evaluate,
    evaluate_models,
    mean_interval,
    patient_weights,
)
from cxrlib.evaluation.auroc import auroc_means
from cxrlib.labels import OBSERVATIONS


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


def coverage(sets=250, resamples=250, patients=100, images=4, shared=0.7):
    """How often 95% intervals hold the true AUROC: by whole patients, and by single images.

    Scores of negatives are N(0, 1), of positives N(1, 1): the true AUROC is Φ(1/√2) = 0.760.
    ``shared`` of the variance is a patient's own, the same in all images of the patient.
    """
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(patients), images)
    y = groups % 2.0
    hits = {"patients": 0, "images": 0}
    for trial in range(sets):
        person, image = rng.normal(size=patients)[groups], rng.normal(size=len(groups))
        score = y + np.sqrt(shared) * person + np.sqrt(1 - shared) * image
        tables = pd.DataFrame({"Edema": y}), pd.DataFrame({"Edema": score})
        for unit, drawn_by in {"patients": groups, "images": None}.items():
            drawn = bootstrap_auroc(*tables, drawn_by, resamples, seed=trial)["Edema"]
            low, high = drawn.quantile([0.025, 0.975])
            hits[unit] += low <= stats.norm.cdf(1 / np.sqrt(2)) <= high
    return {unit: count / sets for unit, count in hits.items()}


def test_interval_coverage_by_simulation():
    # If 95% is true, a share of 250 data sets is in this band in 999 of 1,000 tries.
    low, high = stats.binom.interval(0.999, 250, 0.95)
    assert (low / 250, high / 250) == (0.9, 0.988)
    found = coverage()
    assert low / 250 <= found["patients"] <= high / 250
    # Four images of one person are not four observations: drawn singly, they promise too much.
    assert found["images"] < 0.85


def test_the_bootstrap_follows_its_seed():
    truth, scores = random_tables()
    one, two = (evaluate(truth, scores, resamples=50, seed=s).intervals for s in (1, 2))
    pd.testing.assert_frame_equal(one, evaluate(truth, scores, resamples=50, seed=1).intervals)
    assert not one.equals(two)


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


def test_blocks_of_resamples_change_nothing(monkeypatch):
    truth, scores = random_tables(unknown=0.1)
    whole = bootstrap_auroc(truth, scores, resamples=57)
    monkeypatch.setattr(evaluation.auroc, "BLOCK", 10)
    pd.testing.assert_frame_equal(bootstrap_auroc(truth, scores, resamples=57), whole)


def test_a_resample_that_loses_a_label_has_no_mean_instead_of_the_mean_of_the_others():
    aurocs = pd.DataFrame({"A": [0.9, 0.9], "B": [0.3, np.nan], "C": [np.nan, np.nan]})
    means = auroc_means(aurocs, pd.Series({"A": 30, "B": 10, "C": 0}))
    assert means["macro_auroc"].tolist() == pytest.approx([0.6, np.nan], nan_ok=True)
    assert means["weighted_auroc"].tolist() == pytest.approx([0.75, np.nan], nan_ok=True)


def test_an_interval_of_a_mean_with_a_rare_label_stays_around_it():
    """Of two positives, one resample in seven has none: the mean of the rest is no mean of both."""
    rng = np.random.default_rng(0)
    truth = pd.DataFrame({"Edema": np.repeat([0, 1], 100), "Fracture": 0}).astype(float)
    truth.loc[[3, 7], "Fracture"] = 1
    scores = pd.DataFrame({"Edema": truth["Edema"] + rng.normal(0, 0.4, 200), "Fracture": 0.5})
    result = evaluate(truth, scores, resamples=400)
    lost = result.resamples["Fracture"].isna()
    assert 0.05 < lost.mean() < 0.3
    means = result.resamples[~lost].mean(axis=1)
    assert result.intervals.loc["macro_auroc", "high"] == pytest.approx(means.quantile(0.975))
    assert result.intervals.loc["macro_auroc", "high"] < result.resamples.loc[lost, "Edema"].min()


def test_a_weighted_mean_is_weighted_by_the_positives_of_each_resample():
    rng = np.random.default_rng(1)
    truth = pd.DataFrame(rng.integers(0, 2, (60, 2)), columns=["Edema", "Fracture"]).astype(float)
    scores = pd.DataFrame(rng.random((60, 2)), columns=truth.columns)
    result = evaluate(truth, scores, resamples=50, seed=3)
    drawn = patient_weights(60, None, 50, 3)
    weighted = [
        sum(row[n] * weights @ truth[n] for n in truth) / sum(weights @ truth[n] for n in truth)
        for (_, row), weights in zip(result.resamples.iterrows(), drawn, strict=True)
    ]
    low, high = np.quantile(weighted, [0.025, 0.975])
    assert result.intervals.loc["weighted_auroc"].tolist() == pytest.approx([low, high])
