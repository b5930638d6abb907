"""benchmarks/training_seeds.py: how hard each finding is, by its severity."""

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import training_seeds

from cxrlib.labels import OBSERVATIONS


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


class Grey(torch.nn.Module):
    """A model that says how white an image is, whatever the label."""

    def forward(self, images):
        return images.mean(dim=(2, 3)).expand(-1, 21)


def test_the_same_chests_are_shown_at_every_severity(monkeypatch):
    monkeypatch.setattr(training_seeds, "PEOPLE", 2)
    images = training_seeds.chests(32)
    assert {name for _, name in images} == set(OBSERVATIONS) - {"No Finding"}
    healthy = images[0.0, "Fracture"]
    assert healthy.shape == (2, 1, 32, 32)
    change = [(images[s, "Edema"] - healthy).abs().mean() for s in training_seeds.SEVERITIES]
    assert all(less < more for less, more in pairwise(change))
    table = training_seeds.raised(Grey(), images)
    expected = images[1.0, "Edema"].mean() - healthy.mean()
    assert table.loc["Edema", 1.0] == pytest.approx(expected.item(), abs=1e-5)
