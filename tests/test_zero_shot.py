"""benchmarks/zero_shot.py: who is scored, how models are joined and what is compared."""

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxrlib import models, training
from cxrlib.data import open_track
from cxrlib.evaluation import evaluate_models, patient_weights
from cxrlib.labels import OBSERVATIONS
from cxrlib.transfer import adapt_batchnorm, rank_mean, reporting, stratified_auroc

SIZE = 32


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    found = importlib.import_module("zero_shot")
    monkeypatch.setattr(found, "RESAMPLES", 30)
    return found


@pytest.fixture
def common(benchmark):
    return importlib.import_module("common")


@pytest.fixture
def track(nih_folder):
    """60 images of 40 patients with Effusion, No Finding and others; each patient's view."""
    track = open_track(nih_folder)
    number = track.table["patient"].str[3:].astype(int)
    view = np.where(number % 3 == 0, "PA", "AP").astype(object)
    return replace(track, table=track.table.assign(projection=view))


@pytest.fixture
def arms():
    made = {}
    for arm, seeds in (("workshop", 1), ("usual", 2), ("transfer", 2)):
        made[arm] = []
        for seed in range(seeds):
            torch.manual_seed(seed + 10 * len(made))
            made[arm].append(models.build("tiny").eval())
    return made


def test_labels_need_both_classes_in_both_halves(benchmark, track):
    half = reporting(track.table["patient"])
    six, also = benchmark.labels_to_score(track.table, half)
    assert set(six) <= set(benchmark.SIX)
    assert "Pleural Effusion" in six
    assert "Fracture" not in six + also
    table = track.table.copy()
    table.loc[half, "Pleural Effusion"] = 0.0
    assert "Pleural Effusion" not in benchmark.labels_to_score(table, half)[0]
    table = track.table.copy()
    table["Edema"] = (table["patient"] == table["patient"][half].iloc[0]).astype(float)
    table.loc[~half, "Edema"] = np.arange((~half).sum()) % 2
    assert "Edema" not in benchmark.labels_to_score(table, half)[0], "many images of one patient"
    assert "Pneumonia" not in benchmark.SIX
    assert "Lung Opacity" not in benchmark.SIX


def test_models_are_scored_on_one_half_and_adapted_to_the_other(benchmark, track, arms):
    half = reporting(track.table["patient"])
    scores = benchmark.score_models(track, half, arms, SIZE)
    assert {len(table) for tables in scores.values() for table in tables} == {half.sum()}
    tested = benchmark.dataset(track, half, SIZE)
    others = benchmark.dataset(track, ~half, SIZE)
    names = benchmark.HIERARCHY.labels
    unlabelled = torch.stack([image for image, _ in others])
    adapted = {
        arm: [training.predict(adapt_batchnorm(m, unlabelled), tested, names) for m in arms[arm]]
        for arm in ("usual", "transfer")
    }
    for arm, tables in adapted.items():
        for ours, table in zip(tables, scores[arm, "AdaBN"], strict=True):
            pd.testing.assert_frame_equal(ours, table)
        assert not np.allclose(scores[arm, "AdaBN"][0], scores[arm, "as is"][0])
        (joined,) = scores[arm, "rank mean"]
        pd.testing.assert_frame_equal(joined, rank_mean(scores[arm, "as is"]))
        (joined,) = scores[arm, "AdaBN, rank mean"]
        pd.testing.assert_frame_equal(joined, rank_mean(tables))
    (everyone,) = scores["all", "AdaBN, rank mean"]
    pd.testing.assert_frame_equal(everyone, rank_mean(adapted["usual"] + adapted["transfer"]))
    assert {way for arm, way in scores if arm == "workshop"} == {"as is", "AdaBN"}
    assert [way for arm, way in scores if arm == "all"] == ["AdaBN, rank mean"]


def test_each_change_is_compared_by_itself(benchmark, track, arms):
    ways = ["as is", "AdaBN", "rank mean", "AdaBN, rank mean"]
    tables = {("trivial", "cue"): None, ("all", "AdaBN, rank mean"): None}
    tables |= {(arm, way): None for arm in ("usual", "transfer") for way in ways}
    pairs = benchmark.comparisons(tables)
    assert len(set(pairs)) == len(pairs)
    usual, transfer, everyone = ((arm, "AdaBN, rank mean") for arm in ("usual", "transfer", "all"))
    assert {
        (usual, ("usual", "rank mean")),
        (transfer, ("transfer", "rank mean")),
        (transfer, usual),
        (everyone, usual),
        (everyone, transfer),
        (everyone, ("usual", "as is")),
    } <= set(pairs)
    assert {ours for ours, others in pairs if others == ("trivial", "cue")} == set(tables) - {
        ("trivial", "cue")
    }


def test_the_bootstrap_is_that_of_the_evaluation(benchmark):
    rng = np.random.default_rng(0)
    labels = ["Edema", "Atelectasis", "Pneumonia"]
    truth = pd.DataFrame(rng.integers(0, 2, (80, 3)), columns=labels).astype(float)
    tables = [pd.DataFrame(rng.random((80, 3)), columns=labels) for _ in range(2)]
    patients = pd.Series(np.arange(80) // 2)
    weights = np.concatenate([np.ones((1, 80)), patient_weights(80, patients, 50, 0)])
    found = pd.DataFrame.from_dict(
        benchmark.summarised(benchmark.bootstrapped(truth, tables, weights)), orient="index"
    )
    expected = evaluate_models(truth, tables, patients, 50, mean_of=labels[:2])
    ours = found.loc[[*labels, "mean"], ["value", "low", "high"]].astype(float).to_numpy()
    np.testing.assert_allclose(ours, expected[["mean", "low", "high"]])
    view = pd.Series(np.where(np.arange(80) % 3, "AP", "PA"))
    within = benchmark.bootstrapped(truth, tables, weights, view).iloc[0]
    by_hand = np.mean([stratified_auroc(truth["Edema"], t["Edema"], view) for t in tables])
    assert within["Edema"] == pytest.approx(by_hand)


def test_a_number_that_does_not_exist_is_none(benchmark):
    table = pd.DataFrame({"Edema": [np.nan] * 4, "mean": [0.5, 0.4, 0.5, 0.6]})
    found = benchmark.summarised(table)
    assert found["Edema"] == {"value": None, "low": None, "high": None}
    assert found["mean"]["value"] == 0.5
    json.dumps(found, allow_nan=False)


def test_all_figures_of_a_collection(benchmark, common, track, arms):
    sample = benchmark.measure(track, arms, SIZE)
    json.dumps(common.rounded(sample), allow_nan=False)
    half = reporting(track.table["patient"])
    assert sample["halves"]["reporting"]["images"] == half.sum()
    assert sample["halves"]["choosing"]["images"] == (~half).sum()
    tested = track.table[half].reset_index(drop=True)
    about = {row["label"]: row for row in sample["labels"]}
    effusion = about["Pleural Effusion"]
    assert effusion["positives"]["images"] == (tested["Pleural Effusion"] == 1).sum()
    ill = tested[tested["Pleural Effusion"] == 1]
    assert effusion["positives"]["AP"] == (ill["projection"] == "AP").sum()
    normal = (tested["Pleural Effusion"] == 0) & (tested["No Finding"] == 1)
    assert effusion["normal negatives"] == normal.sum()
    ways = {(row["arm"], row["way"]) for row in sample["rows"]}
    assert ways == {
        ("trivial", "cue"), ("all", "AdaBN, rank mean"),
        ("workshop", "as is"), ("workshop", "AdaBN"),
        *[(a, w) for a in ("usual", "transfer")
          for w in ("as is", "AdaBN", "rank mean", "AdaBN, rank mean")],
    }  # fmt: skip
    assert len(sample["rows"]) == len(ways) * (len(about) + 1)
    scores = benchmark.score_models(track, half, arms, SIZE)
    for row in sample["rows"]:
        assert row["value"] == pytest.approx(np.mean(row["seeds"]))
        if row["arm"] != "trivial" and row["label"] != "mean":
            tables = scores[row["arm"], row["way"]]
            known = tested[row["label"]].notna()
            targets = tested[row["label"]][known]
            each = [roc_auc_score(targets, table[row["label"]][known]) for table in tables]
            assert row["seeds"] == pytest.approx(each)
        assert set(row["within view"]) == {"value", "low", "high"}
    rows = {(r["arm"], r["way"], r["label"]): r for r in sample["rows"]}
    for row in sample["differences"]:
        ours, others = (rows[(*row[who], row["label"])] for who in ("ours", "others"))
        assert row["value"] == pytest.approx(ours["value"] - others["value"])
        assert row["low"] <= row["high"]
        assert ("within view" in row) == (row["others"] == ["trivial", "cue"])
        if "within view" in row and row["within view"]["value"] is not None:
            inside = ours["within view"]["value"] - others["within view"]["value"]
            assert row["within view"]["value"] == pytest.approx(inside)
            assert row["within view"]["low"] <= row["within view"]["high"]
    heads = {(row["arm"], row["label"]) for row in sample["heads"]}
    assert heads == {(arm, label) for arm in arms for label in sample["mean of"]}
    text = benchmark.printed(sample).to_string()
    assert "Pleural Effusion" in text
    assert "image is AP" in text or "grey" in text


def test_without_projections_nothing_is_within_a_view(benchmark, track, arms):
    bare = replace(track, table=track.table.drop(columns="projection"))
    sample = benchmark.measure(bare, arms, SIZE)
    for rows in ("rows", "differences", "cues"):
        assert not any("within view" in row for row in sample[rows])
    assert {row["cue"] for row in sample["cues"]}.isdisjoint({"image is AP"})
    benchmark.printed(sample)


def test_the_cue_is_chosen_without_the_reporting_half(benchmark, track):
    half = reporting(track.table["patient"])
    labels = ["Pleural Effusion"]
    before = benchmark.trivial(track, half, labels, SIZE)
    changed = track.table.copy()
    changed.loc[half, labels] = 1 - changed.loc[half, labels]
    after = benchmark.trivial(replace(track, table=changed), half, labels, SIZE)
    assert len(before) == len(after) == 2, "for all pairs, and for those within a view"
    for (chosen, scores), (again, same) in zip(before, after, strict=True):
        pd.testing.assert_frame_equal(chosen, again)
        pd.testing.assert_frame_equal(scores, same)
        assert len(scores) == half.sum()


def test_within_a_view_the_cue_is_another_than_the_view(benchmark):
    # All but one of the ill are AP, all but one of the healthy PA. In each view the ill are darker.
    views = pd.Series(["AP"] * 4 + ["PA"] * 4)
    truth = pd.DataFrame({"Edema": [1.0, 1, 1, 0, 1, 0, 0, 0]})
    cues = pd.DataFrame(
        {"image is AP": [1.0] * 4 + [0.0] * 4, "mean grey": [5, 6, 7, 8, 1, 2, 3, 4]}
    )
    assert benchmark.best_cues(truth, cues).loc["Edema", "cue"] == "image is AP"
    within = benchmark.best_cues_within(truth, cues, views).loc["Edema"]
    assert (within.cue, within.sign, within.auroc) == ("mean grey", -1, 1)
    nowhere = benchmark.best_cues_within(truth, cues, pd.Series(range(8))).loc["Edema"]
    assert nowhere.cue == "image is AP"
    assert np.isnan(nowhere.auroc)
    (row,) = benchmark.cues_chosen(nowhere.to_frame().T)
    assert row["choosing"] is None


def test_the_trivial_row_within_a_view_is_of_the_cue_chosen_there(benchmark, track, arms):
    half = reporting(track.table["patient"])
    sample = benchmark.measure(track, arms, SIZE)
    tested = track.table[half].reset_index(drop=True)
    labels = [row["label"] for row in sample["labels"]]
    _, (chosen, scores) = benchmark.trivial(track, half, labels, SIZE)
    rows = {row["label"]: row for row in sample["rows"] if row["arm"] == "trivial"}
    for cue in sample["cues"]:
        label = cue["label"]
        assert cue["within view"]["cue"] == chosen.loc[label, "cue"]
        found = stratified_auroc(tested[label], scores[label], tested["projection"])
        assert rows[label]["within view"]["value"] == pytest.approx(found)


def test_what_does_not_exist_is_printed_as_a_dash(benchmark, track, arms):
    sample = benchmark.measure(track, arms, SIZE)
    for row in sample["rows"]:
        row["within view"] = {"value": None, "low": None, "high": None}
        if row["label"] == "mean":
            row |= {"value": None, "low": None, "high": None}
    table = benchmark.printed(sample)
    assert set(table["all", "in view"]) == {"–"}
    assert table.loc["mean", ("usual", "as is")] == "–"
    assert table.loc["mean", ("all", "95%")] == "– … –"


def test_figures_are_stored_before_they_are_printed(benchmark, tmp_path, monkeypatch):
    def fails(sample):
        raise RuntimeError("printing")

    monkeypatch.setattr("sys.argv", ["zero_shot.py", "folder", "--results", str(tmp_path)])
    monkeypatch.setattr(benchmark, "open_nih", lambda folder: folder)
    monkeypatch.setattr(benchmark.data, "open_track", lambda folder: None)
    monkeypatch.setattr(benchmark, "phantom_runs", lambda *about: [])
    monkeypatch.setattr(benchmark, "cohort_runs", lambda *about: ([], None))
    monkeypatch.setattr(benchmark, "provenance", lambda track: {})
    monkeypatch.setattr(benchmark, "measure", lambda *about: {"name": "one"})
    monkeypatch.setattr(benchmark, "show", fails)
    with pytest.raises(RuntimeError, match="printing"):
        benchmark.main()
    stored = json.loads((tmp_path / "zero_shot.json").read_text(encoding="utf-8"))
    assert stored["samples"] == [{"name": "one"}]


def test_the_cohorts_are_two_and_each_patient_number_has_its_folder(common, monkeypatch):
    assert list(common.COHORTS) == ["usual", "transfer"]
    usual, transfer = (common.drawn(cohort, 50) for cohort in common.COHORTS)
    assert transfer == usual | {"for_transfer": True}
    assert usual["patients"]["train"] == 50
    monkeypatch.setattr(common, "write_cohort", lambda folder, **drawn: (folder.name, drawn))
    monkeypatch.setattr(common.data, "open_track", lambda made, labels: (*made, labels))
    for cohort, patients in (("usual", 50), ("usual", 60), ("transfer", 50)):
        folder, arguments, labels = common.open_phantoms(cohort, patients)
        assert folder == f"phantom-{cohort}-{patients}"
        assert arguments == common.drawn(cohort, patients)
        assert labels == "truth"


def test_a_folder_that_is_not_nihs_is_refused(common, chexpert_folder):
    with pytest.raises(SystemExit, match="NIH ChestX-ray14 is needed"):
        common.open_nih(chexpert_folder)


def test_seeds_are_other_runs_and_are_found_again(common, track, tmp_path, monkeypatch):
    train = training.train
    monkeypatch.setattr(training, "train", lambda *a, **k: train(*a, **{"runs": tmp_path, **k}))
    quick = training.Settings(size=SIZE, epochs=1, batch_size=8)
    runs = common.phantom_runs(track, quick, 2, "trial")
    assert [run.settings.seed for run in runs] == [0, 1]
    assert [run.folder.name[:12] for run in runs] == ["trial-seed0-", "trial-seed1-"]
    again = common.phantom_runs(track, quick, 2, "trial")
    assert [run.folder for run in again] == [run.folder for run in runs]
    assert set(OBSERVATIONS) <= set(runs[0].hierarchy.labels)
