"""Real radiographs end to end, where a folder of NIH ChestX-ray14 is at hand.

Set CXR_NIH_SAMPLE to such a folder. Nothing of it is copied into the project.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from cxrlib import training
from cxrlib.data import ChestData, open_track
from cxrlib.evaluation import evaluate
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import NIH_UNLABELLED, OBSERVATIONS
from cxrlib.training import Settings

FOLDER = os.environ.get("CXR_NIH_SAMPLE", "")
pytestmark = pytest.mark.skipif(
    not Path(FOLDER).is_dir() or not FOLDER,
    reason="no real radiographs: set CXR_NIH_SAMPLE to a folder of NIH ChestX-ray14",
)
PAPER = paper_hierarchy()


@pytest.fixture(scope="module")
def track():
    return open_track(FOLDER)


def test_tables_boxes_and_splits(track):
    table = track.table
    assert len(table) >= 100
    assert table[list(NIH_UNLABELLED)].isna().all(axis=None)
    assert table["No Finding"].isin([0, 1]).all()
    assert (table.groupby("patient")["split"].nunique() == 1).all()
    assert set(table["sex"]) == {"F", "M"}
    assert table["age"].between(0, 100).all()
    boxes = track.boxes
    assert len(boxes) > 0
    assert set(boxes["observation"]) <= set(OBSERVATIONS)
    assert boxes["path"].isin(table["path"]).all()
    fractions = boxes[["x", "y", "width", "height"]].to_numpy()
    assert fractions.min() >= 0
    assert (boxes["x"] + boxes["width"] <= 1.01).all()
    assert (boxes["y"] + boxes["height"] <= 1.01).all()


def test_the_hierarchy_of_labels_that_are_partly_missing(track):
    targets = ChestData(track, PAPER, size=32).targets("train")
    assert targets["Other"].isna().all()
    normal = targets["No Finding"] == 1
    assert (targets.loc[normal, "Abnormal"] == 0).all()
    assert (targets.loc[~normal, "Abnormal"] != 0).all()
    assert PAPER.violations(targets).drop(index=[("Consolidation", "Pneumonia")])["hard"].sum() == 0


def test_a_short_training_learns_something_on_real_radiographs(track, tmp_path):
    settings = Settings(size=64, epochs=6, batch_size=32, lr=3e-3)
    run = training.train(track, PAPER, settings, name="nih", runs=tmp_path)
    data = training.make_data(track, PAPER, settings)
    scores = training.predict(run.model("last"), data.dataset("test"), PAPER.labels)
    truth = data.targets("test").reset_index(drop=True)
    patients = track.split("test")["patient"].to_numpy()
    result = evaluate(truth, scores, groups=patients, resamples=200)
    auroc = result.per_label.loc["No Finding", "auroc"]
    low, high = result.intervals.loc["No Finding"]
    print(f"No Finding on patients not trained on: {auroc:.2f} ({low:.2f} to {high:.2f})")
    assert auroc > 0.5
    assert low < auroc < high
    assert np.isnan(result.per_label.loc["Fracture", "auroc"])
    assert any(note.startswith("Fracture") for note in result.notes)
