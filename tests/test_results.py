"""The stored results of the benchmarks: whole, and in step with their own rows."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrlib.labels import NIH_UNLABELLED, OBSERVATIONS

RESULTS = Path(__file__).parent.parent / "results"


def read(name):
    path = RESULTS / name
    if not path.is_file():
        pytest.skip(f"no results/{name}: benchmarks/{Path(name).stem}.py writes it")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def zero_shot():
    return read("zero_shot.json")


@pytest.fixture
def pretraining():
    return read("pretraining.json")


@pytest.mark.parametrize("name", ["zero_shot.json", "pretraining.json"])
def test_a_result_says_what_it_was_made_of(name):
    result = read(name)
    assert {"settings", "phantom", "real", "versions", "rows"} <= set(result)
    assert len(result["phantom"]["generator"]) == 12
    assert result["real"]["images"] >= result["real"]["patients"] > 0
    assert set(result["versions"]) == {"cxrlib", "torch"}
    assert result["settings"]["level"] == 0.95


def test_zero_shot_has_a_row_per_label_and_means_of_them(zero_shot):
    rows = {row["label"]: row for row in zero_shot["rows"]}
    assert set(rows) <= set(OBSERVATIONS) - set(NIH_UNLABELLED)
    assert len(rows) == len(zero_shot["rows"])
    for row in [*rows.values(), zero_shot["mean"]]:
        assert len(row["auroc"]) == len(zero_shot["settings"]["seeds"])
        assert row["mean"] == pytest.approx(np.mean(row["auroc"]))
        assert 0 <= row["low"] < row["mean"] < row["high"] <= 1
    for row in rows.values():
        assert 0 < row["positives"] < row["positives"] + row["negatives"]
        assert row["positives"] + row["negatives"] <= zero_shot["real"]["images"]
    seven = [row for row in rows.values() if row["kind"] == "seven"]
    assert [row["label"] for row in seven] == zero_shot["mean"]["labels"]
    by_seed = np.mean([row["auroc"] for row in seven], axis=0)
    assert zero_shot["mean"]["auroc"] == pytest.approx(by_seed)


def test_pretraining_has_every_training_once(pretraining):
    settings, rows = pretraining["settings"], pretraining["rows"]
    counts = [row["patients"] for row in pretraining["summary"]]
    expected = {
        (split, count, arm, rate)
        for split in range(settings["splits"])
        for count in counts
        for arm in ("scratch", "pretrained")
        for rate in settings["learning_rates"]
    }
    found = [(row["split"], row["patients"], row["arm"], row["lr"]) for row in rows]
    assert len(found) == len(expected)
    assert set(found) == expected
    assert [row["split"] for row in pretraining["zero_shot"]] == list(range(settings["splits"]))
    for count in counts:
        steps = {(row["split"], row["steps"]) for row in rows if row["patients"] == count}
        assert len(steps) == settings["splits"], "both arms take the same number of steps"


def test_pretrainings_macro_means_are_of_its_labels(pretraining):
    for row in [*pretraining["rows"], *pretraining["zero_shot"]]:
        assert list(row["auroc"]) == pretraining["labels"]
        known = [value for value in row["auroc"].values() if value is not None]
        assert row["macro"] == pytest.approx(np.mean(known))


def test_pretrainings_summary_follows_from_its_rows(pretraining):
    for stored in pretraining["summary"]:
        differences, arms = [], {"scratch": [], "pretrained": []}
        for split in range(pretraining["settings"]["splits"]):
            for arm, macros in arms.items():
                tried = [
                    row
                    for row in pretraining["rows"]
                    if (row["split"], row["patients"], row["arm"])
                    == (split, stored["patients"], arm)
                ]
                macros.append(max(tried, key=lambda row: row["valid_auroc"])["macro"])
            differences.append(arms["pretrained"][-1] - arms["scratch"][-1])
        for arm, macros in arms.items():
            assert stored[arm] == pytest.approx(np.mean(macros))
        assert stored["difference"] == pytest.approx(stored["pretrained"] - stored["scratch"])
        count = len(differences)
        error = np.std(differences, ddof=1) / math.sqrt(count)
        low, high = stats.t.interval(0.95, count - 1, np.mean(differences), error)
        assert (stored["low"], stored["high"]) == pytest.approx((low, high))


@pytest.fixture
def methods():
    return read("methods.json")


def test_the_comparison_has_every_method_condition_and_seed(methods):
    names = [*methods["methods"], *methods["repairs"]]
    runs = {(run["condition"], run["method"], run["seed"]) for run in methods["runs"]}
    wanted = itertools.product(methods["conditions"], names, methods["seeds"])
    assert runs == set(wanted)
    assert len(methods["runs"]) == len(runs)
    assert len(methods["seeds"]) >= 5
    rows = {(row["condition"], row["method"], row["measure"]) for row in methods["summary"]}
    measures = {row["measure"] for row in methods["summary"]}
    assert rows == set(itertools.product(methods["conditions"], names, measures))


def test_the_comparisons_means_are_those_of_its_runs(methods):
    runs = pd.DataFrame(methods["runs"])
    means = runs.groupby(["condition", "method"]).mean(numeric_only=True)
    for row in methods["summary"]:
        mean = means.loc[(row["condition"], row["method"]), row["measure"]]
        assert row["mean"] == pytest.approx(mean, abs=2e-5)
        flat = means.loc[(row["condition"], "flat"), row["measure"]]
        assert row["difference"] == pytest.approx(mean - flat, abs=4e-5)
        assert row["low"] - 1e-9 <= row["mean"] <= row["high"] + 1e-9
        assert row["difference_low"] - 1e-9 <= row["difference"] <= row["difference_high"] + 1e-9


def test_the_step_is_flat_in_every_run_of_the_comparison(methods):
    for row in methods["summary"]:
        if row["method"].startswith("step"):
            assert row["difference"] == row["difference_low"] == row["difference_high"] == 0


def test_coherent_methods_have_no_contradiction(methods):
    coherent = {"max-constraint", "conditional", *methods["repairs"]}
    for run in methods["runs"]:
        if run["method"] in coherent:
            assert run["soft"] == run["hard"] == 0
