"""benchmarks/where.py: what is turned, what is drawn, and how it becomes a table."""

import functools
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import where
from where import Case

from cxrlib import simulation
from cxrlib.hierarchy import Hierarchy

CHAIN = Hierarchy(["A", "B", "C"], [("A", "B"), ("B", "C")])


@pytest.fixture
def small(monkeypatch):
    """Few test images, a small table of labels, few steps."""
    leaves = np.random.default_rng(0).random((900, 3)) < [0.2, 0.3, 0.2]
    labels = simulation.close(leaves, CHAIN)
    monkeypatch.setattr(where, "TEST", 200)
    monkeypatch.setattr(where, "VALID", 50)
    monkeypatch.setattr(where, "tables", lambda name: (CHAIN, labels))
    few = functools.partial(simulation.learn, ridges=(10.0,))
    monkeypatch.setattr(simulation, "learn", few)
    return labels


def test_every_case_is_there_once_and_each_sweep_has_its_flat():
    every = where.cases()
    assert len(set(every)) == len(every)
    assert all(where.replace(case, sweep=False) in every for case in every)
    assert {case.table for case in every} == {"CheXpert", "PadChest"}


def test_one_replicate_tests_on_the_same_images_whatever_is_turned(small):
    _, usual = where.draw(Case(images=100), 2)
    _, fewer = where.draw(Case(images=50, labels="κ = 0.4"), 2)
    for part in ("test", "valid"):
        for one, other in zip(usual[part], fewer[part], strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(usual["train"][0][:, :50], fewer["train"][0])
    assert (usual["train"][1][:, :50] != fewer["train"][1]).any(), "these are misread"


def test_no_image_is_in_two_parts(small, monkeypatch):
    numbered = np.arange(900)[:, None].repeat(3, axis=1)
    monkeypatch.setattr(where, "tables", lambda name: (CHAIN, numbered))
    monkeypatch.setattr(simulation, "features", lambda labels, *_, **__: labels)
    _, parts = where.draw(Case(images=100), 1)
    drawn = [set(parts[name][0][0, :, 0]) for name in parts]
    assert [len(one) for one in drawn] == [200, 50, 100]
    assert len(set.union(*drawn)) == 350


def test_measures_of_one_replicate_by_hand(monkeypatch):
    monkeypatch.setattr(where, "FEWEST", 1)
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1.0]])
    scores = np.array([[0.9, 0.8, 0.7], [0.6, 0.4, 0.5], [0.4, 0.6, 0.1], [0.9, 0.7, 0.8]])
    found = where.measure(CHAIN, truth, scores, seen=np.array([100, 5, 0]))
    ap = [average_precision_score(truth[:, n], scores[:, n]) for n in range(3)]
    assert found["ap"] == pytest.approx(np.mean(ap))
    names = ("100+", "5-19", "0")
    assert [found[f"ap, seen {name}"] for name in names] == pytest.approx(ap)
    assert [found[f"ap, depth {depth}"] for depth in range(3)] == pytest.approx(ap)
    assert found["violations"] == 3 / 8  # B over A once, C over B twice
    assert found["incoherent"] == 3 / 4
    entropy = -np.where(truth == 1, np.log(scores), np.log(1 - scores)).mean()
    assert found["log loss"] == pytest.approx(entropy)


def test_a_difference_is_taken_replicate_by_replicate():
    flat = [{"method": "flat", "replicate": r, "ap": 0.1 * r, "rare": 0.5} for r in range(5)]
    gains = np.array([0.01, 0.02, 0.03, 0.02, 0.01])
    rows = flat + [
        {"method": "hmlc", "replicate": r, "ap": 0.1 * r + gain, "rare": 0.6 if r else np.nan}
        for r, gain in enumerate(gains)
    ]
    table = pd.DataFrame(where.summarise(Case(), rows, pd.DataFrame(flat)))
    ap, rare = (
        table.query(f"method == 'hmlc' and measure == '{m}'").iloc[0] for m in ("ap", "rare")
    )
    assert ap["difference"] == pytest.approx(gains.mean())
    ends = stats.t.interval(0.95, 4, gains.mean(), stats.sem(gains))
    assert (ap["low"], ap["high"]) == pytest.approx(ends)
    assert (rare["replicates"], rare["mean"]) == (4, pytest.approx(0.6))
    assert np.isnan(rare["difference"]), "of four alone, none is said"
    assert "sweep" not in table


def test_cases_become_a_table(small, tmp_path):
    usual = Case(images=60)
    found = {case: where.try_case((case, 2)) for case in (usual, Case(images=60, sweep=True))}
    about = json.loads(where.write_results(found, 2, tmp_path / "new").read_text())
    assert about["replicates"] == 2
    table = pd.DataFrame(about["rows"], columns=about["columns"]).set_index(["method", "measure"])
    repaired = [f"flat + {how}" for how in (*where.REPAIRS, "parent")] + ["flat × ancestors"]
    swept = [f"{word}, λ = {w:g}" for word in simulation.PENALISED for w in where.WEIGHTS]
    assert set(table.index.levels[0]) == {*simulation.METHODS, *repaired, *swept}
    for word in ("max-constraint", "conditional", "hmlc", "flat + max", "flat + projection"):
        assert table.loc[(word, "incoherent"), "mean"] == 0
    assert table.loc[("hinge", "λ"), "mean"] in simulation.WEIGHTS
    assert table.loc[("hinge, λ = 0.3", "λ"), "mean"] == 0.3
    assert not table.index.duplicated().any()
    assert "difference" not in table, "of two replicates, none is said"
