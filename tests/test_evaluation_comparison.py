"""Models and subgroups compared, and many measures at once."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, random_tables
from sklearn.metrics import roc_auc_score

from cxrlib.evaluation import (
    EvaluationError,
    calibration,
    compare,
    evaluate,
    hierarchical_f1,
    measures,
    patient_weights,
    subgroups,
)
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.labels import OBSERVATIONS


def test_a_paired_comparison_is_the_difference_on_the_same_resamples():
    truth, scores = random_tables(rows=300)
    patients = pd.Series(np.arange(300) // 2)
    rng = np.random.default_rng(5)
    others = (scores + rng.normal(0, 0.05, scores.shape)).clip(0, 1)
    table = compare(truth, scores, others, patients, resamples=200, seed=3)
    weights = patient_weights(300, patients, 200, 3)
    for label in LABELS:
        gaps = [
            roc_auc_score(truth[label], scores[label], sample_weight=w)
            - roc_auc_score(truth[label], others[label], sample_weight=w)
            for w in weights
        ]
        assert table.loc[label, ["low", "high"]].tolist() == pytest.approx(
            np.quantile(gaps, [0.025, 0.975]).tolist()
        )
    row = table.loc["macro_auroc"]
    assert row["difference"] == pytest.approx(row["ours"] - row["others"])
    precision = table.loc["macro_average_precision_observations"]
    assert precision["ours"] == pytest.approx(
        evaluate(truth, scores).summary["macro_average_precision_observations"]
    )
    assert precision["low"] < precision["difference"] < precision["high"]
    same = compare(truth, scores, scores, patients, resamples=50)
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    # Two models of the same kind differ less than two intervals side by side would have it.
    alone = evaluate(truth, scores, patients, resamples=200).intervals.loc["macro_auroc"]
    assert row["high"] - row["low"] < alone["high"] - alone["low"]


def test_subgroups_share_their_labels():
    truth, scores = random_tables(rows=400)
    sex = pd.Series(np.where(np.arange(400) % 4, "F", "M"), dtype=object)
    sex[:10] = None
    truth.loc[sex == "M", "Fracture"] = 0.0  # no positive among the men: in nobody's mean
    patients = pd.Series(np.arange(400) // 2)
    table = subgroups(truth, scores, sex, patients, resamples=20)
    assert table.attrs["labels"] == ["Edema"]
    assert table.index.tolist() == ["F", "M"]
    for value, row in table.iterrows():
        chosen = sex == value
        assert row["images"] == chosen.sum()
        assert row["patients"] == patients[chosen].nunique()
        expected = roc_auc_score(truth.loc[chosen, "Edema"], scores.loc[chosen, "Edema"])
        assert row["macro_auroc_observations"] == expected
        assert row["low"] < expected < row["high"]
    with pytest.raises(EvaluationError, match="1000 positives.*F, M: lower minimum"):
        subgroups(truth, scores, sex, minimum=1000)


def test_a_subgroups_difference_has_an_interval_of_its_own():
    truth, scores = random_tables(rows=600)
    patients = pd.Series(np.arange(600) // 2)
    by = pd.Series(np.arange(600) % 2)  # every patient has an image in both: their luck is shared
    by.iloc[:2] = 1
    table = subgroups(truth, scores, by, patients, resamples=200, seed=2)
    assert table.attrs["reference"] == 1
    assert table.loc[1, ["difference", "difference_low", "difference_high"]].tolist() == [0, 0, 0]
    means = table["macro_auroc_observations"]
    assert table.loc[0, "difference"] == pytest.approx(means[0] - means[1])
    weights = patient_weights(600, patients, 200, 2)
    drawn = []
    for weight in weights[:50]:
        both = []
        for value in (0, 1):
            here = (by == value).to_numpy()
            both.append(np.mean([
                roc_auc_score(truth.loc[here, n], scores.loc[here, n], sample_weight=weight[here])
                for n in table.attrs["labels"]
            ]))  # fmt: skip
        drawn.append(both[0] - both[1])
    low, high = table.loc[0, ["difference_low", "difference_high"]]
    assert low < np.mean(drawn) < high
    assert np.std(drawn) == pytest.approx((high - low) / 3.92, rel=0.35)


# --- Many measures at once ------------------------------------------------------------------------


def paper_tables(rows=150, seed=0):
    paper = paper_hierarchy()
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, 21)) < 0.3).astype(float)
    scores = np.clip(truth * 0.3 + rng.random((rows, 21)) * 0.7, 0, 1).round(2)  # with ties
    truth[rng.random(truth.shape) < 0.05] = np.nan
    return paper, paper.to_table(truth), paper.to_table(scores)


def test_measures_equal_the_single_functions():
    paper, truth, scores = paper_tables()
    row = measures(truth, scores, paper).iloc[0]
    summary = evaluate(truth, scores).summary
    for name in ("macro_auroc_observations", "macro_auroc", "weighted_auroc",
                 "macro_average_precision_observations"):  # fmt: skip
        assert row[name] == pytest.approx(summary[name])
    assert row["soft"] == paper.incoherent(scores).mean()
    assert row["hard"] == paper.incoherent(scores, threshold=0.5).mean()
    observations = sorted(OBSERVATIONS)
    errors = calibration(truth, scores, bins=15)[observations]
    assert row["calibration_error"] == pytest.approx(errors.mean())
    assert row["hierarchical_f1"] == pytest.approx(hierarchical_f1(truth, scores, paper)["f1"])


def test_weighted_measures_equal_repeated_rows():
    # An image that counts twice is an image that is there twice; a weight of 0 leaves it out.
    paper, truth, scores = paper_tables()
    weights = np.random.default_rng(1).integers(0, 4, (3, len(truth)))
    weighted = measures(truth, scores, paper, weights)
    for number, counts in enumerate(weights):
        rows = np.repeat(np.arange(len(truth)), counts)
        repeated = (table.iloc[rows].reset_index(drop=True) for table in (truth, scores))
        expected = measures(*repeated, paper).iloc[0]
        np.testing.assert_allclose(weighted.iloc[number], expected, rtol=1e-9)


def test_a_label_that_nobody_knows_is_in_no_measure():
    paper, truth, scores = paper_tables()
    truth["Fracture"] = np.nan
    row = measures(truth, scores, paper).iloc[0]
    summary = evaluate(truth, scores).summary
    for name in ("macro_auroc", "weighted_auroc", "macro_average_precision_observations"):
        assert row[name] == pytest.approx(summary[name])
    pets = pd.DataFrame({"cat": [0.0, 1.0], "dog": [1.0, 0.0]})
    row = measures(pets, pets, Hierarchy(["cat", "dog"], [])).iloc[0]
    assert row["macro_auroc"] == 1
    assert np.isnan(row["calibration_error"])


def test_truth_given_as_text_is_compared_like_numbers():
    truth, ours = random_tables()
    _, others = random_tables(seed=1)
    numbers = compare(truth, ours, others, resamples=20)
    pd.testing.assert_frame_equal(compare(truth.astype(str), ours, others, resamples=20), numbers)
