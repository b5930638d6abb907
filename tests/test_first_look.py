"""benchmarks/first_look.py, on three images."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from first_look import look

from cxrlib.evaluation.predictions import Predictions
from cxrlib.hierarchy import paper_hierarchy


def made(*counts):
    """Images with so many observations each; all scores of an image are a tenth of its number."""
    truth = pd.DataFrame(0.0, index=range(len(counts)), columns=paper_hierarchy().labels)
    for row, count in enumerate(counts):
        truth.iloc[row, :count] = 1.0
    scores = truth * 0 + np.arange(len(counts))[:, None] / 10
    about = pd.DataFrame({"Path": [f"{row}.jpg" for row in range(len(counts))]})
    return Predictions(about, truth, scores)


def test_the_first_image_with_three_observations_is_shown_with_its_own_numbers():
    found = look(made(1, 2, 4, 3))
    assert found["path"] == "2.jpg"
    assert set(found["probabilities"].values()) == {0.2}
    assert sum(found["truth"].values()) == 4


def test_no_such_image_is_said():
    with pytest.raises(SystemExit, match="three observations"):
        look(made(1, 2))
