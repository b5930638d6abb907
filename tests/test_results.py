"""The stored results of the benchmarks: whole, and in step with their own rows."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cxrlib import cohort
from cxrlib.hierarchy import paper_hierarchy
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
    assert isinstance(result["phantom"]["generator"], int)
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


# --- Explanations ---------------------------------------------------------------------------------

PAPER = paper_hierarchy()


@pytest.fixture(scope="module")
def explained():
    return read("explanations.json")


@pytest.fixture(scope="module")
def doubted():
    return read("uncertainty.json")


@pytest.mark.parametrize("name", ["explanations.json", "uncertainty.json"])
def test_what_was_measured_is_said(name):
    result = read(name)
    assert {"seeds", "settings", "phantom", "versions"} <= set(result)
    assert isinstance(result["phantom"]["generator"], int)


def test_every_way_is_scored_for_every_label_with_every_seed(explained):
    rows = pd.DataFrame(explained["localisation"])
    seen = sorted(set(OBSERVATIONS) - {"No Finding"})
    groups = [label for label in PAPER.labels if PAPER.children(label)]
    maps = rows[(rows["guess"] == "map") & ~rows["way"].str.startswith("finer network")]
    ways = [*explained["ways"], "layercam, both layers"]
    expected = set(itertools.product(ways, range(explained["seeds"]), {*seen, *groups}))
    assert set(zip(maps["way"], maps["seed"], maps["label"], strict=True)) == expected
    assert len(maps) == len(expected)
    for measure in ("hit", "iou", "auprc", "chance"):
        assert rows[measure].between(0, 1).all()
    # The same images are behind every guess about a label.
    assert (rows.groupby("label")["images"].nunique() == 1).all()
    chance = rows.groupby("label")["chance"]
    assert (chance.max() - chance.min()).max() < 1e-4


def test_eigen_cam_fails_the_randomisation_test_as_it_must(explained):
    rows = pd.DataFrame(explained["randomisation"])
    stages = {"another seed", "logits", "dense", "conv", "block 3", "block 2", "block 1", "stem"}
    assert set(rows["stage"]) == stages
    assert rows["correlation"].between(-1, 1).all()
    blind = rows[(rows["way"] == "eigencam") & rows["stage"].isin(["logits", "dense"])]
    assert (blind["correlation"] > 0.999).all()


def test_every_edge_is_measured_for_covering(explained):
    rows = pd.DataFrame(explained["covered"])
    assert set(zip(rows["group"], rows["child"], strict=True)) == set(PAPER.edges)
    for share in ("covered", "by_another"):
        assert rows[share].between(0, 1).all()


def test_the_shortcut_is_measured_with_and_without(explained):
    rows = pd.DataFrame(explained["shortcut"])
    counts = rows.groupby(["learnt", "measure"]).size()
    assert (counts == explained["seeds"]).all()
    assert set(rows["learnt"]) == {"with square", "without square"}


def test_no_real_image_is_named_in_the_results():
    for name in ("explanations.json", "uncertainty.json"):
        assert ".png" not in json.dumps(read(name))


# --- Uncertainty ----------------------------------------------------------------------------------


def test_differences_to_one_model_are_differences(doubted):
    rows = pd.DataFrame(doubted["doubt"]).set_index(["method", "doubt", "measure"])
    for (method, doubt, measure), row in rows.iterrows():
        usual = rows.loc[("one model", "predictive_entropy" if doubt else "", measure), "mean"]
        assert row["difference_mean"] == pytest.approx(row["mean"] - usual, abs=2e-5)
        if method == "one model":
            assert row["difference_low"] == row["difference_high"] == 0
    assert rows.xs("error_auroc", level="measure")["mean"].between(0, 1).all()


def test_no_doubt_is_better_than_knowing_every_error(doubted):
    rows = pd.DataFrame(doubted["doubt"])
    best = rows[rows["measure"] == "best_aurc"].set_index("method")["mean"]
    for row in rows[rows["measure"] == "aurc"].itertuples():
        assert row.mean > best[row.method]


def test_the_promised_risk_is_kept(doubted):
    rows = pd.DataFrame(doubted["backoff"])
    risk = rows[(rows["measure"] == "measured_risk") & (rows["policy"] != "difference")]
    assert (risk["mean"] < risk["risk"] + 0.015).all()
    assert (risk["mean"] > risk["risk"] - 0.02).all()
    # What becomes of a true finding: named, or its group said, or nothing.
    fates = rows[rows["measure"].isin(["named", "group_only", "nothing"])]
    fates = fates[fates["policy"] != "difference"]
    assert fates.groupby(["risk", "policy"])["mean"].sum().to_numpy() == pytest.approx(1, abs=1e-4)


def test_each_measure_met_each_kind_of_odd_image(doubted):
    rows = pd.DataFrame(doubted["odd"])
    assert len(rows) == rows["kind"].nunique() * rows["measure"].nunique()
    assert (rows["lowest"] <= rows["auroc"] + 1e-5).all()
    assert (rows["auroc"] <= rows["highest"] + 1e-5).all()


def test_every_condition_met_every_set(doubted):
    rows = pd.DataFrame(doubted["difficulty"])
    assert len(rows) == 4 * 4 * 2
    assert (rows["mean"] > 0).all()
    assert (rows["low"] <= rows["high"]).all()


def test_what_the_course_makes_coherent_breaks_nothing():
    rows = read("coherence.json")["rows"]
    ours = [r for r in rows if not r["way"].startswith(("as predicted", "PiShield"))]
    assert {row["scores"] for row in ours} == {"random", "model"}
    for row in ours:
        for broken in ("an edge, any threshold", "a pair above 1", "anything at 0.5"):
            assert row[broken] == 0, (row["way"], broken)


def test_realism_was_measured_with_this_phantom():
    record = read("realism.json")
    assert record["phantom"]["generator"] == cohort.GENERATOR
    assert all(0.5 < auroc <= 1 for auroc in record["told apart, AUROC"].values())
