"""benchmarks/pretraining.py: who is tested, who is learnt from, and what is chosen."""

import importlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxrlib import training
from cxrlib.data import open_track
from cxrlib.training import Settings


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    return importlib.import_module("pretraining")


@pytest.fixture
def track(nih_folder):
    return open_track(nih_folder)


def test_smaller_sets_lie_in_larger_ones_and_no_patient_is_on_two_sides(benchmark, track):
    tested, pool = benchmark.split_patients(track.table, 0)
    assert len(tested) == 14
    assert set(tested) | set(pool) == set(track.table["patient"])
    assert not set(tested) & set(pool)
    before = {"train": set(), "valid": set()}
    for count in (8, 16, 26):
        limited = benchmark.limit(track, tested, pool[:count], rows=100)
        parts = {name: set(limited.split(name)["patient"]) for name in ("train", "valid", "test")}
        assert parts["test"] == set(tested)
        assert len(parts["train"]) + len(parts["valid"]) == count
        assert not parts["train"] & parts["valid"]
        assert before["train"] <= parts["train"]
        assert before["valid"] <= parts["valid"]
        times = limited.split("train")["path"].value_counts()
        assert times.nunique() == 1, "every image is repeated as often"
        assert 70 <= len(limited.split("train")) <= 140
        before = parts
    again, _ = benchmark.split_patients(track.table, 0)
    other, _ = benchmark.split_patients(track.table, 1)
    assert list(again) == list(tested)
    assert set(other) != set(tested)


def test_of_fifty_patients_twelve_validate(benchmark, track):
    table = track.table.iloc[[0] * 50].assign(patient=[f"p{i:02}" for i in range(50)])
    limited = benchmark.limit(replace(track, table=table), [], table["patient"].to_numpy(), rows=38)
    assert limited.split("train")["patient"].nunique() == 38
    assert limited.split("valid")["patient"].nunique() == 12
    assert "38 are trained on and 12 validate" in " ".join(benchmark.__doc__.split())


def test_findings_have_enough_images_of_both_kinds(benchmark, track):
    table = track.table.copy()
    assert benchmark.findings(table) == ["Pleural Effusion"]
    table["Pleural Effusion"] = np.where(np.arange(len(table)) < 19, 1.0, 0.0)
    assert "Pleural Effusion" not in benchmark.findings(table)


def test_a_finding_that_is_the_opposite_of_normal_is_left_out(benchmark, track):
    table = track.table.copy()
    normal = np.arange(60) < 30
    table["No Finding"] = normal.astype(float)
    table["Pneumonia"] = 1 - table["No Finding"]  # each image shows one or nothing
    table["Lung Opacity"] = np.where(np.arange(60) < 55, 1 - table["No Finding"], np.nan)
    table["Edema"] = (np.arange(60) >= 37).astype(float)  # alike on 53 of 60
    assert benchmark.findings(table) == ["Edema", "Pleural Effusion"]
    table.loc[:5, "Pneumonia"] = 1.0  # 54 of 60, nine tenths
    assert "Pneumonia" not in benchmark.findings(table)
    table.loc[:6, "Pneumonia"] = 1.0
    assert "Pneumonia" in benchmark.findings(table)
    # 53 of the 58 that have both are more than nine tenths; of the 60 that have the label, less.
    table.loc[58:, "No Finding"] = np.nan
    table["Pneumonia"] = (1 - table["No Finding"]).fillna(1.0)
    table.loc[:4, "Pneumonia"] = 1.0
    assert "Pneumonia" not in benchmark.findings(table)


def test_numbers_of_patients(benchmark):
    assert benchmark.counts(414) == [50, 100, 414 - 145]
    assert benchmark.counts(147) == [50, 96]
    assert benchmark.tested_of(414) == 145


def test_the_validation_chooses_and_the_test_does_not(benchmark):
    rows = [
        {"split": split, "patients": 50, "arm": arm, "lr": lr, "valid_auroc": valid, "macro": macro}
        for split in range(2)
        for arm, lr, valid, macro in [
            ("scratch", 1e-3, 0.6, 0.9), ("scratch", 4e-3, 0.7, 0.5),
            ("pretrained", 1e-3, 0.7, 0.6 + split / 10), ("pretrained", 4e-3, 0.6, 0.9),
        ]
    ]  # fmt: skip
    (summary,) = benchmark.summarise(rows, patients=200)
    assert summary["patients"] == 50
    assert summary["scratch"] == pytest.approx(0.5)
    assert summary["pretrained"] == pytest.approx(0.65)
    assert summary["difference"] == pytest.approx(0.15)
    # t with one degree of freedom; 70 of 200 patients are tested, 130 are not: the variance,
    # 0.005, times 1/2 + 70/130.
    half = 12.7062 * math.sqrt(0.005 * (1 / 2 + 70 / 130))
    assert (summary["low"], summary["high"]) == pytest.approx((0.15 - half, 0.15 + half), rel=1e-4)


def test_a_training_of_each_arm(benchmark, track, tmp_path, monkeypatch):
    quick = Settings(epochs=1)
    start = training.train(track, benchmark.HIERARCHY, quick, runs=tmp_path)
    monkeypatch.setattr(benchmark, "EPOCHS", 1)
    started = []
    train = training.train
    monkeypatch.setattr(
        training, "train", lambda *a, **k: started.append(k["start"]) or train(*a, **k)
    )
    labels = ["Pleural Effusion"]
    rows = [
        benchmark.train_once(track, (0, 20, arm, 1e-3), 2, [start], labels)
        for arm in benchmark.ARMS
    ]
    assert started == [None, start]
    assert rows[0]["steps"] == rows[1]["steps"] > 0
    for row in rows:
        assert list(row["auroc"]) == labels
        assert 0 <= row["macro"] <= 1
        assert row["macro"] == row["auroc"]["Pleural Effusion"]
