import numpy as np
import pandas as pd
import pytest

from cxrlib.hierarchy import Hierarchy, HierarchyError, paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.penalties import data_driven_penalties, fixed_penalties

PAPER = paper_hierarchy()
CHAIN = Hierarchy(["parent", "child"], [("parent", "child")])


def test_fixed():
    penalties = fixed_penalties(PAPER, 0.5)
    assert tuple(penalties.index) == PAPER.edges
    assert (penalties == 0.5).all()


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_fixed_refuses(value):
    with pytest.raises(ValueError, match="penalty"):
        fixed_penalties(PAPER, value)


def test_data_driven_by_hand():
    # Four images have no parent; one of them has the child. P = (1 + ε) / (4 + 2ε).
    labels = pd.DataFrame({"parent": [0, 0, 0, 0, 1, 1], "child": [1, 0, 0, 0, 1, 0]}, dtype=float)
    epsilon = 0.5
    penalty = data_driven_penalties(CHAIN, labels, epsilon=epsilon, scale=2.0)
    assert penalty["parent", "child"] == pytest.approx(2 * (1 - 1.5 / 5))


def test_unknown_labels_are_not_counted():
    labels = pd.DataFrame({"parent": [0, 0, np.nan], "child": [1, np.nan, 1]})
    assert data_driven_penalties(CHAIN, labels)["parent", "child"] == pytest.approx(0, abs=1e-5)
    nothing = pd.DataFrame({"parent": [1.0], "child": [1.0]})
    assert data_driven_penalties(CHAIN, nothing)["parent", "child"] == pytest.approx(0.5)


def test_an_or_built_parent_gives_one_whatever_the_labels():
    observations = pd.DataFrame(
        np.random.default_rng(0).random((2000, 14)) < 0.2, columns=list(OBSERVATIONS), dtype=float
    )
    penalties = data_driven_penalties(PAPER, PAPER.derive(observations))
    free = {edge for edge, value in penalties.items() if value < 0.999}
    assert free <= {
        ("Abnormal", "Opacity"),
        ("Abnormal", "Cardiac"),
        ("Abnormal", "Other"),
        ("Enlarged Cardiomediastinum", "Cardiomegaly"),
        ("Consolidation", "Pneumonia"),
    }
    assert len(free) == 5  # labels at random break every edge that is not an OR


def test_the_published_counts_of_chexpert():
    # With U-Zeros, 8,808 of 22,381 No Finding images and 11,141 all-zero rows make up the images
    # without Abnormal; Abnormal → Other is 0.737 (1 − 8808 / 33522 = 0.737).
    negatives, broken = 22_381 + 11_141, 8_808
    labels = pd.DataFrame({"parent": np.zeros(negatives), "child": np.zeros(negatives)})
    labels.loc[: broken - 1, "child"] = 1
    penalty = data_driven_penalties(CHAIN, labels)["parent", "child"]
    assert penalty == pytest.approx(0.737, abs=5e-4)


def test_soft_labels_and_codes_are_refused_by_name():
    for value in (0.7, -1.0):
        labels = pd.DataFrame({"parent": [0.0, 0.0], "child": [0.0, value]})
        with pytest.raises(HierarchyError, match="row 1, label 'child'"):
            data_driven_penalties(CHAIN, labels)


def test_epsilon_must_be_positive():
    labels = pd.DataFrame({"parent": [0.0], "child": [0.0]})
    with pytest.raises(ValueError, match="epsilon"):
        data_driven_penalties(CHAIN, labels, epsilon=0)
