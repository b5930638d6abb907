"""Scores cut at a threshold: against scikit-learn, by hand, and against plain sets."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, random_tables
from sklearn.metrics import f1_score, recall_score

from cxrlib.evaluation import EvaluationError, at_threshold, hierarchical_f1, threshold_for
from cxrlib.hierarchy import Hierarchy, paper_hierarchy


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


# --- Hierarchical F1 ------------------------------------------------------------------------------


def test_hierarchical_f1_by_hand():
    # Opacity above Edema and Consolidation.
    tree = Hierarchy(
        ["Opacity", "Edema", "Consolidation"],
        [("Opacity", "Edema"), ("Opacity", "Consolidation")],
    )
    truth = tree.to_table([[0, 1, 0], [1, 0, 1], [0, 0, 0], [np.nan, 0, np.nan]])
    scores = tree.to_table([[0.1, 0.2, 0.9], [0.9, 0.1, 0.9], [0.9, 0.1, 0.1], [0.9, 0.1, 0.9]])
    # Image 1: truth {Edema, Opacity}, called {Consolidation, Opacity}: 1 shared of 2 and 2.
    # Image 2: both {Opacity, Consolidation}: 2 of 2 and 2. Image 3: called 1, none true.
    # Image 4: Opacity and Consolidation are unknown and count in neither; nothing is left.
    result = hierarchical_f1(truth, scores, tree)
    assert result["precision"] == pytest.approx(3 / 5)
    assert result["recall"] == pytest.approx(3 / 4)
    assert result["f1"] == pytest.approx(2 * 3 / (5 + 4))
    nothing = hierarchical_f1(truth * 0, scores * 0, tree)
    assert nothing.isna().all()


@pytest.mark.parametrize("seed", range(5))
def test_hierarchical_f1_equals_plain_sets(seed):
    paper = paper_hierarchy()
    rng = np.random.default_rng(seed)
    truth = paper.to_table((rng.random((40, 21)) < 0.2).astype(float))
    scores = paper.to_table(rng.random((40, 21)) ** 2)
    shared = called = present = 0
    for row in range(40):
        sets = []
        for table, limit in ((truth, 0.5), (scores, 0.5)):
            names = {n for n in paper.labels if table.loc[row, n] > limit}
            sets.append(names | {a for n in names for a in paper.ancestors(n)})
        shared += len(sets[0] & sets[1])
        present += len(sets[0])
        called += len(sets[1])
    result = hierarchical_f1(truth, scores, paper)
    assert result.tolist() == pytest.approx(
        [shared / called, shared / present, 2 * shared / (called + present)]
    )


def test_rates_have_intervals_that_resample_patients():
    truth, scores = random_tables(rows=400)
    patients = pd.Series(np.arange(400) // 4)
    table = at_threshold(truth, scores, 0.5, patients, resamples=300, seed=1)
    plain = at_threshold(truth, scores, 0.5)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    for rate in plain:
        assert (table[f"{rate}_low"] <= table[rate]).all()
        assert (table[rate] <= table[f"{rate}_high"]).all()
    # By hand: sensitivities of the same resamples, row by row.
    from cxrlib.evaluation import patient_weights

    weights = patient_weights(400, patients, 300, 1).astype(int)
    label = LABELS[0]
    drawn = []
    for weight in weights:
        rows = np.repeat(np.arange(400), weight)
        y, called = truth[label].to_numpy()[rows], scores[label].to_numpy()[rows] > 0.5
        drawn.append(recall_score(y, called))
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(table.loc[label, ["sensitivity_low", "sensitivity_high"]], expected)


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.9, 0.95, 0.999])
def test_a_threshold_finds_as_many_as_was_asked_and_hardly_more(sensitivity):
    truth, scores = random_tables(rows=500)
    scores = scores.round(2)  # ties
    chosen = threshold_for(truth, scores, sensitivity)
    found = at_threshold(truth, scores, chosen)["sensitivity"]
    assert (found >= sensitivity).all()
    for label in LABELS:  # the next higher score as a threshold finds too few
        above = scores.loc[scores[label] > chosen[label], label].min()
        fewer = at_threshold(truth[[label]], scores[[label]], above)["sensitivity"]
        assert (fewer < sensitivity).all()


def test_on_new_patients_a_threshold_finds_as_many_as_was_said():
    """(n − m) / (n + 1) on average: with few sick, clearly less than was asked."""
    rng, count, sensitivity = np.random.default_rng(0), 10, 0.9
    truth = pd.DataFrame({"Edema": np.ones(count)})
    found = []
    for _ in range(4000):
        chosen = threshold_for(truth, pd.DataFrame({"Edema": rng.random(count)}), sensitivity)
        found.append(1 - chosen["Edema"])  # of uniform scores, what lies above
    assert np.mean(found) == pytest.approx((count - 1) / (count + 1), abs=0.01)


def test_a_label_without_a_positive_has_no_threshold():
    truth, scores = random_tables()
    truth[LABELS[0]] = 0.0
    assert np.isnan(threshold_for(truth, scores, 0.9)[LABELS[0]])
    with pytest.raises(EvaluationError, match="sensitivity=1"):
        threshold_for(truth, scores, 1)
