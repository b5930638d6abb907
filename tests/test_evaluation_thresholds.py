"""Scores cut at a threshold: against scikit-learn, by hand, and against plain sets."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, random_tables
from sklearn.metrics import f1_score, recall_score

from cxrlib.evaluation import at_threshold, hierarchical_f1
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
