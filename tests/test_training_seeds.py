"""benchmarks/training_seeds.py: how hard each finding is, by its severity."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import training_seeds


def test_each_third_of_the_positives_meets_all_negatives():
    severity = np.array([0.9, 0.0, 0.2, 0.5, 0.0, 0.3, 0.6, 0.8])
    scores = np.array([0.9, 0.1, 0.05, 0.3, 0.4, 0.2, 0.6, 0.7])
    found = training_seeds.by_severity(severity, scores)
    # Subtlest: .05 and .2 against .1 and .4, one pair of four in order; middle: .3 and .6, three.
    assert found == {"subtlest": 0.25, "middle": 0.75, "plainest": 1.0}


def test_a_score_that_is_the_severity_rises_with_it():
    rng = np.random.default_rng(0)
    severity = np.where(rng.random(3000) < 0.3, rng.uniform(0.2, 1, 3000), 0)
    found = training_seeds.by_severity(severity, severity + rng.normal(0, 0.5, 3000))
    assert found["subtlest"] < found["middle"] < found["plainest"]
    alike = training_seeds.by_severity(severity, rng.random(3000))
    assert list(alike.values()) == pytest.approx([0.5] * 3, abs=0.06)
