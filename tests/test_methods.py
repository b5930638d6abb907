"""benchmarks/methods.py: which runs there are, and how they become a table."""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import methods as benchmark
from methods import Task

from cxrlib import configs, training
from cxrlib.cohort import write_cohort
from cxrlib.evaluation import evaluate, read_predictions


def test_the_grid_is_every_method_condition_and_seed_once():
    tasks = benchmark.grid(seeds=5)
    assert len(set(tasks)) == len(tasks) == 8 * 4 * 5
    first = tasks[:32]
    assert {task.seed for task in first} == {0}, "one whole comparison after the other"
    assert not set(benchmark.more(5)) & set(tasks), "the main comparison goes on from the grid"
    assert {task.seed for task in benchmark.more(5)} == set(range(5, benchmark.MAIN_SEEDS))
    used = {changes["method"] for changes in benchmark.METHODS.values()}
    assert used | {"hbce-step"} == set(training.METHODS), "the step is flat, bit for bit (05)"


def test_the_conditions_differ_in_the_labels_and_what_they_need():
    read = {name: configs.read_config(f"methods-{name}") for name in benchmark.CONDITIONS}
    labels = {name: config.data["labels"] for name, config in read.items()}
    assert labels == {
        "clean": "truth", "report": "report", "visual": "visualchexbert", "tenth": "truth"
    }  # fmt: skip
    assert {name: c.data["fraction"] for name, c in read.items()}["tenth"] == 0.1
    assert read["clean"].settings == read["report"].settings == read["visual"].settings
    assert all(config.settings.method == "flat" for config in read.values())


@pytest.fixture
def runs(chexpert_folder, tmp_path, monkeypatch):
    """Two methods, two seeds, one condition, on a folder of noise."""
    track = configs.open_data(str(chexpert_folder))
    monkeypatch.setattr(configs.Config, "open", lambda self: track)
    monkeypatch.setattr(training, "RUNS", tmp_path)
    quick = training.Settings(size=32, epochs=1, batch_size=8)
    monkeypatch.setattr(
        benchmark,
        "read_config",
        lambda name: configs.Config(name, {"labels": "truth"}, quick, {}),
    )
    monkeypatch.setattr(benchmark, "open_tested", lambda: track[0])
    monkeypatch.setattr(benchmark, "MAIN", ("flat", "max-constraint"))
    tasks = benchmark.grid(["clean"], ["flat", "max-constraint"], seeds=2) + benchmark.more(2, 3)
    return {task: task.train() for task in tasks}


def test_a_run_is_measured_on_its_test_images(runs):
    folder = next(iter(runs.values()))
    assert "clean-flat-seed0" in folder.name
    scored = benchmark.score_run(folder)
    measured = benchmark.measure(scored, resamples=7)
    assert measured.shape == (8, 8)
    test = read_predictions(folder / "predictions.csv").split("test")
    expected = evaluate(test.truth, test.scores).summary
    assert measured.loc[0, "macro_auroc"] == pytest.approx(expected["macro_auroc"])
    assert measured.loc[1:, "macro_auroc"].nunique() > 1
    pd.testing.assert_frame_equal(scored.scores, test.scores, atol=1e-5)
    own = benchmark.score_run(runs[Task("clean", "max-constraint", 0)])
    assert (benchmark.measure(own, 2)["soft"] == 0).all()


def test_runs_are_tested_on_people_none_of_them_has_learnt_from(monkeypatch):
    asked = {}
    monkeypatch.setattr(benchmark, "write_cohort", lambda f, p, **how: asked.update(how) or f)
    monkeypatch.setattr(benchmark.data, "open_track", str)
    assert benchmark.open_tested().endswith("phantom-tested")
    assert asked["seed"] != inspect.signature(write_cohort).parameters["seed"].default


def test_runs_become_a_record(runs, chexpert_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "RESAMPLES", 5)
    record = '{"generator": "g", "seed": 0, "size": 64, "images": 32}'
    (chexpert_folder / benchmark.RECORD).write_text(record)
    scored = {task: benchmark.score_run(folder) for task, folder in runs.items()}
    scored = benchmark.repaired(scored)
    measured = {task: benchmark.measure(test) for task, test in scored.items()}
    benchmark.write_results(runs, scored, measured, tmp_path / "results", seeds=2)
    stored = json.loads((tmp_path / "results" / "methods.json").read_text())
    table, by_run = pd.DataFrame(stored["summary"]), pd.DataFrame(stored["runs"])
    assert set(table["method"]) == {"flat", "max-constraint", *benchmark.REPAIRS}
    soft = table.query("measure == 'soft'").set_index("method")["mean"]
    assert (soft.drop("flat") == 0).all()
    flat = table[table["method"] == "flat"]
    assert (flat[["difference", "difference_low", "difference_high"]] == 0).all(axis=None)
    assert len(by_run) == 6 + 3 * 3
    chosen = table.query("method == 'max-constraint' and measure == 'macro_auroc'")
    ours = by_run.query("method == 'max-constraint'")
    mean = ours.query("seed < 2")["macro_auroc"].mean()
    assert chosen["mean"].item() == pytest.approx(mean, abs=1e-4)
    assert stored["phantom"]["generator"] == "g"
    labels = pd.DataFrame(stored["labels"]).set_index(["method", "label"])
    assert len(labels) == (21 + 5) * 5
    top = labels.loc["flat"].loc[["Abnormal", "No Finding", "Uncertain"]]
    mean = labels.loc[("flat", "depth 0"), "auroc"]
    assert mean == pytest.approx(top["auroc"].mean(), abs=2e-5)
    assert not labels["positives"].isna().any()
    found = {}
    for task in (Task("clean", m, s) for m in ("flat", "max-constraint") for s in (0, 1)):
        test = read_predictions(runs[task] / "predictions.csv").split("test")
        found[task.method, task.seed] = evaluate(test.truth, test.scores).per_label
    edema = [found["max-constraint", s].loc["Edema", "auroc"] for s in (0, 1)]
    gains = [one - found["flat", s].loc["Edema", "auroc"] for s, one in enumerate(edema)]
    row = labels.loc[("max-constraint", "Edema")]
    assert row["auroc"] == pytest.approx(np.mean(edema), abs=1e-4)
    assert row["auroc_difference"] == pytest.approx(np.mean(gains), abs=1e-4)
    if gains[0] != gains[1]:
        half = 12.706 * np.std(gains, ddof=1) / np.sqrt(2)
        assert row["auroc_high"] - row["auroc_difference"] == pytest.approx(half, rel=1e-2)
    longer = pd.DataFrame(stored["main"])
    assert set(longer["method"]) == set(table["method"])
    assert stored["main seeds"] == [0, 1, 2]
    row = longer.query("method == 'max-constraint' and measure == 'macro_auroc'").iloc[0]
    flat = by_run.query("method == 'flat'")["macro_auroc"].to_numpy()
    gains = ours["macro_auroc"].to_numpy() - flat
    assert row["difference"] == pytest.approx(gains.mean(), abs=1e-4)


def test_differences_are_taken_seed_by_seed():
    # Seeds differ much, methods by exactly 0.01 on every seed and resample.
    rng = np.random.default_rng(0)
    base = {seed: rng.normal(0.8 + 0.1 * seed, 0.02, (51, 1)) for seed in range(3)}
    measured = {}
    for seed, values in base.items():
        for method, gain in (("flat", 0.0), ("hinge, fixed", 0.01)):
            table = pd.DataFrame(values + gain, columns=["macro_auroc"])
            measured[Task("clean", method, seed)] = table
    table = benchmark.summarise(measured).loc[("clean", "hinge, fixed", "macro_auroc")]
    gains = table[["difference", "difference_low", "difference_high"]]
    np.testing.assert_allclose(gains, 0.01, atol=1e-9)
    assert table["high"] - table["low"] > 0.1, "the seeds' own spread is in the interval"
    assert table["mean"] == pytest.approx(np.mean([v[0] for v in base.values()]) + 0.01)


def test_the_interval_of_few_seeds_is_wide_enough():
    # Resampling one seed fewer makes the variance of the mean that of independent seeds.
    rng = np.random.default_rng(1)
    widths, errors = [], []
    for repeat in range(300):
        seeds = rng.normal(0, 1, 5)
        drawn = benchmark._resampled(np.repeat(seeds, 201).reshape(5, 201, 1), repeat)
        widths.append(drawn.var())
        errors.append(seeds.mean() ** 2)
    assert np.mean(widths) == pytest.approx(np.mean(errors), rel=0.25)


def test_a_measure_that_resampling_makes_worse_keeps_its_interval_around_it():
    rng = np.random.default_rng(2)
    drawn = rng.normal(0.06, 0.005, (201, 1))
    drawn[0] = 0.03  # on the images as they are
    table = pd.DataFrame(drawn, columns=["calibration_error"])
    row = benchmark.summarise({Task("clean", "flat", 0): table}).iloc[0]
    assert row["low"] < row["mean"] < row["high"]
    assert row["high"] - row["low"] == pytest.approx(4 * 0.005, rel=0.2)


def test_methods_without_the_same_seeds_are_refused():
    table = pd.DataFrame({"macro_auroc": [0.5, 0.5]})
    measured = {Task("clean", "flat", 0): table, Task("clean", "smooth", 1): table}
    with pytest.raises(ValueError, match="clean: not every method has the same seeds"):
        benchmark.summarise(measured)
