import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, f1_score, recall_score, roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from cxrlib import evaluation
from cxrlib.evaluation import (
    EvaluationError,
    at_threshold,
    bootstrap_auroc,
    calibration,
    compare,
    evaluate,
    evaluate_models,
    fit_temperatures,
    hierarchical_f1,
    mean_interval,
    measures,
    patient_weights,
    read_predictions,
    reliability,
    rescale,
    subgroups,
)
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.labels import OBSERVATIONS

LABELS = ["Edema", "Fracture", "Cardiac"]


def random_tables(rows=200, seed=0, ties=False, unknown=0.0):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, 3)) < 0.3).astype(float)
    scores = np.clip(truth * 0.2 + rng.random((rows, 3)) * 0.8, 0, 1)
    if ties:
        scores = scores.round(1)
    truth[rng.random(truth.shape) < unknown] = np.nan
    return pd.DataFrame(truth, columns=LABELS), pd.DataFrame(scores, columns=LABELS)


@pytest.mark.parametrize("ties", [False, True])
def test_per_label_equals_scikit_learn(ties):
    truth, scores = random_tables(ties=ties, unknown=0.2)
    result = evaluate(truth, scores)
    for label in LABELS:
        known = truth[label].notna()
        y, s = truth.loc[known, label], scores.loc[known, label]
        row = result.per_label.loc[label]
        assert row.auroc == roc_auc_score(y, s)
        assert row.average_precision == average_precision_score(y, s)
        assert (row.positives, row.negatives) == (y.sum(), (1 - y).sum())


def test_means_equal_scikit_learns():
    truth, scores = random_tables()
    summary = evaluate(truth, scores).summary
    assert summary["macro_auroc"] == pytest.approx(roc_auc_score(truth, scores, average="macro"))
    assert summary["weighted_auroc"] == pytest.approx(
        roc_auc_score(truth, scores, average="weighted")
    )
    observations = [label for label in LABELS if label in OBSERVATIONS]
    assert summary["macro_auroc_observations"] == pytest.approx(
        roc_auc_score(truth[observations], scores[observations])
    )


def test_a_label_with_one_class_is_undefined_noted_and_left_out():
    truth, scores = random_tables()
    full = evaluate(truth[["Edema", "Cardiac"]], scores[["Edema", "Cardiac"]])
    truth["Fracture"] = 0.0
    result = evaluate(truth, scores, resamples=20)
    assert np.isnan(result.per_label.loc["Fracture", "auroc"])
    assert "Fracture" in result.notes[0]
    assert "200 images are negative" in result.notes[0]
    assert result.summary["macro_auroc"] == full.summary["macro_auroc"]
    assert result.summary["weighted_auroc"] == full.summary["weighted_auroc"]
    assert result.intervals.loc["macro_auroc"].notna().all()
    truth["Fracture"] = np.nan
    assert "no image has a known label" in evaluate(truth, scores).notes[0]


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_equals_scikit_learn_with_weights(ties):
    truth, scores = random_tables(rows=60, ties=ties, unknown=0.1)
    patients = np.repeat(np.arange(20), 3)
    drawn = bootstrap_auroc(truth, scores, patients, resamples=25, seed=4)
    draws = np.random.default_rng(4).multinomial(20, np.full(20, 1 / 20), 25)
    for resample in range(25):
        weights = draws[resample][patients]
        for label in LABELS:
            use = truth[label].notna().to_numpy() & (weights > 0)
            y = truth.loc[use, label]
            expected = (
                roc_auc_score(y, scores.loc[use, label], sample_weight=weights[use])
                if y.nunique() == 2
                else np.nan
            )
            np.testing.assert_allclose(drawn.loc[resample, label], expected, rtol=1e-9)


def test_whole_patients_are_drawn():
    # Five copies of every image add no information: drawn by patient, the interval must not shrink.
    truth, scores = random_tables(rows=80)
    groups = np.arange(80)
    single = evaluate(truth, scores, groups, resamples=600).intervals
    many = pd.concat([truth] * 5), pd.concat([scores] * 5), np.tile(groups, 5)
    grouped = evaluate(*many, resamples=600).intervals
    naive = evaluate(*many[:2], resamples=600).intervals

    def width(table):
        return table.loc["Edema", "high"] - table.loc["Edema", "low"]

    assert width(grouped) == pytest.approx(width(single), rel=0.15)
    assert width(naive) < 0.6 * width(single)


def coverage(sets=250, resamples=250, patients=100, images=4, shared=0.7):
    """How often 95% intervals hold the true AUROC: by whole patients, and by single images.

    Scores of negatives are N(0, 1), of positives N(1, 1): the true AUROC is Φ(1/√2) = 0.760.
    ``shared`` of the variance is a patient's own, the same in all images of the patient.
    """
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(patients), images)
    y = groups % 2.0
    hits = {"patients": 0, "images": 0}
    for trial in range(sets):
        person, image = rng.normal(size=patients)[groups], rng.normal(size=len(groups))
        score = y + np.sqrt(shared) * person + np.sqrt(1 - shared) * image
        tables = pd.DataFrame({"Edema": y}), pd.DataFrame({"Edema": score})
        for unit, drawn_by in {"patients": groups, "images": None}.items():
            drawn = bootstrap_auroc(*tables, drawn_by, resamples, seed=trial)["Edema"]
            low, high = drawn.quantile([0.025, 0.975])
            hits[unit] += low <= stats.norm.cdf(1 / np.sqrt(2)) <= high
    return {unit: count / sets for unit, count in hits.items()}


def test_interval_coverage_by_simulation():
    # If 95% is true, a share of 250 data sets is in this band in 999 of 1,000 tries.
    low, high = stats.binom.interval(0.999, 250, 0.95)
    assert (low / 250, high / 250) == (0.9, 0.988)
    found = coverage()
    assert low / 250 <= found["patients"] <= high / 250
    # Four images of one person are not four observations: drawn singly, they promise too much.
    assert found["images"] < 0.85


def test_the_bootstrap_follows_its_seed():
    truth, scores = random_tables()
    one, two = (evaluate(truth, scores, resamples=50, seed=s).intervals for s in (1, 2))
    pd.testing.assert_frame_equal(one, evaluate(truth, scores, resamples=50, seed=1).intervals)
    assert not one.equals(two)


def test_bad_tables_name_label_or_row():
    truth, scores = random_tables(rows=10)
    with pytest.raises(EvaluationError, match="Edema"):
        evaluate(truth, scores.drop(columns="Edema"))
    with pytest.raises(EvaluationError, match="another order"):
        evaluate(truth, scores[LABELS[::-1]])
    with pytest.raises(EvaluationError, match="scores has 9 entries for 10 rows"):
        evaluate(truth, scores[:9])
    with pytest.raises(EvaluationError, match="row 3, label 'Fracture': 2"):
        evaluate(_with(truth, 3, "Fracture", 2.0), scores)
    with pytest.raises(EvaluationError, match="row 4, label 'Edema'"):
        evaluate(truth, _with(scores, 4, "Edema", np.nan))
    with pytest.raises(EvaluationError, match="empty"):
        evaluate(truth[:0], scores[:0])
    with pytest.raises(EvaluationError, match="groups has 3 entries for 10 rows"):
        evaluate(truth, scores, groups=[1, 2, 3], resamples=5)


def _with(table, row, column, value):
    table = table.copy()
    table.loc[row, column] = value
    return table


def test_calibration_by_hand_and_against_scikit_learn():
    truth = pd.DataFrame({"Edema": [0.0, 1, 1, 1]})
    scores = pd.DataFrame({"Edema": [0.15, 0.15, 0.95, 0.95]})
    # Bin 1: mean score .15, half positive. Bin 9: mean score .95, all positive.
    assert calibration(truth, scores)["Edema"] == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    truth, scores = random_tables(rows=500)
    positive, score = calibration_curve(truth["Edema"], scores["Edema"], n_bins=10)
    table = reliability(truth["Edema"], scores["Edema"])
    np.testing.assert_allclose(table["positive"], positive)
    np.testing.assert_allclose(table["score"], score)
    weighted = (table["images"] * (table["positive"] - table["score"]).abs()).sum() / 500
    assert calibration(truth, scores)["Edema"] == pytest.approx(weighted)


def test_threshold_metrics_equal_scikit_learn():
    truth, scores = random_tables()
    table = at_threshold(truth, scores, 0.4)
    called = scores > 0.4
    for label in LABELS:
        y, c = truth[label], called[label]
        assert table.loc[label, "sensitivity"] == pytest.approx(recall_score(y, c))
        assert table.loc[label, "specificity"] == pytest.approx(recall_score(1 - y, ~c))
        assert table.loc[label, "f1"] == pytest.approx(f1_score(y, c))
    assert at_threshold(truth, scores, 1.1)["precision"].isna().all()


def test_a_threshold_per_label():
    truth, scores = random_tables()
    thresholds = pd.Series({"Edema": 0.2, "Fracture": 0.5, "Cardiac": 0.8})
    table = at_threshold(truth, scores, thresholds)
    for label, threshold in thresholds.items():
        alone = at_threshold(truth[[label]], scores[[label]], threshold)
        pd.testing.assert_series_equal(table.loc[label], alone.loc[label])


def test_the_mean_of_several_models_is_bootstrapped_on_the_same_patients():
    truth, one = random_tables()
    two = 1 - (1 - one) ** 2  # the same order, so the same AUROC in every resample
    patients = np.arange(len(truth)) // 2
    table = evaluate_models(truth, [one, two], patients, resamples=200)
    alone = evaluate(truth, one, patients, resamples=200)
    assert list(table.columns) == ["model 0", "model 1", "mean", "low", "high"]
    assert list(table.index) == [*LABELS, "mean"]
    for column in ("model 0", "model 1", "mean"):
        pd.testing.assert_series_equal(
            table.loc[LABELS, column], alone.per_label["auroc"], check_names=False
        )
    ends = alone.intervals.loc[LABELS]
    pd.testing.assert_frame_equal(table.loc[LABELS, ["low", "high"]], ends, check_names=False)
    assert table.loc["mean", "low"] == pytest.approx(alone.intervals.loc["macro_auroc", "low"])
    opposite = evaluate_models(truth, [one, 1 - one], patients, resamples=20)
    assert opposite["mean"].to_numpy() == pytest.approx(0.5)
    np.testing.assert_allclose(opposite[["low", "high"]], 0.5)
    first = evaluate_models(truth, [one], patients, resamples=20, mean_of=LABELS[:1])
    assert first.loc["mean"].equals(first.loc[LABELS[0]].rename("mean"))


def test_the_t_interval_equals_scipys():
    values = [0.01, 0.03, -0.02, 0.05, 0.02]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((np.mean(values), expected.low, expected.high))
    assert np.isnan(mean_interval([0.3])[1:]).all()


def test_rows_that_may_not_belong_together_are_refused():
    truth = pd.DataFrame({"Edema": [0.0, 0.0, 1.0, 1.0]})
    scores = pd.DataFrame({"Edema": [0.1, 0.2, 0.8, 0.9]})
    assert evaluate(truth, scores).per_label.loc["Edema", "auroc"] == 1
    with pytest.raises(EvaluationError, match="different row indexes.*reset_index"):
        evaluate(truth, scores.iloc[::-1])


def test_ece_equals_torchmetrics_where_the_two_mean_the_same():
    # torchmetrics takes the mean probability and the accuracy of "positive", so for a sigmoid's
    # output both are the same gap; it bins (0, 1] from the right, so scores on an edge are avoided.
    truth, scores = random_tables(rows=500)
    scores = scores.clip(0.001, 0.999)
    for bins in (10, 15):
        ours = calibration(truth, scores, bins=bins)
        for label in LABELS:
            y, s = torch.tensor(truth[label].to_numpy()), torch.tensor(scores[label].to_numpy())
            theirs = binary_calibration_error(s, y.int(), n_bins=bins, norm="l1")
            assert ours[label] == pytest.approx(theirs.item(), abs=1e-6)


def test_scores_that_are_no_probabilities_are_refused():
    truth, scores = random_tables()
    for odd in (-0.1, 1.5):
        scores.loc[3, "Fracture"] = odd
        calls = (
            lambda: calibration(truth, scores),
            lambda: reliability(truth["Fracture"], scores["Fracture"]),
            lambda: fit_temperatures(truth, scores),
            lambda: rescale(scores, pd.Series(1.0, LABELS)),
            lambda: measures(truth, scores, Hierarchy(LABELS, [])),
        )
        for call in calls:
            with pytest.raises(EvaluationError, match="row 3, label 'Fracture'.*0 to 1"):
                call()


def test_blocks_of_resamples_change_nothing(monkeypatch):
    truth, scores = random_tables(unknown=0.1)
    whole = bootstrap_auroc(truth, scores, resamples=57)
    monkeypatch.setattr(evaluation.auroc, "BLOCK", 10)
    pd.testing.assert_frame_equal(bootstrap_auroc(truth, scores, resamples=57), whole)


# --- Comparing, subgroups, temperatures -----------------------------------------------------------


def test_a_paired_comparison_is_the_difference_on_the_same_resamples():
    truth, scores = random_tables(rows=300)
    patients = pd.Series(np.arange(300) // 2)
    rng = np.random.default_rng(5)
    others = (scores + rng.normal(0, 0.05, scores.shape)).clip(0, 1)
    table = compare(truth, scores, others, patients, resamples=200, seed=3)
    weights = patient_weights(300, patients, 200, 3)
    for label in LABELS:
        gaps = [
            roc_auc_score(truth[label], scores[label], sample_weight=w)
            - roc_auc_score(truth[label], others[label], sample_weight=w)
            for w in weights
        ]
        assert table.loc[label, ["low", "high"]].tolist() == pytest.approx(
            np.quantile(gaps, [0.025, 0.975]).tolist()
        )
    row = table.loc["macro_auroc"]
    assert row["difference"] == pytest.approx(row["ours"] - row["others"])
    same = compare(truth, scores, scores, patients, resamples=50)
    assert (same[["difference", "low", "high"]] == 0).all(axis=None)
    # Two models of the same kind differ less than two intervals side by side would have it.
    alone = evaluate(truth, scores, patients, resamples=200).intervals.loc["macro_auroc"]
    assert row["high"] - row["low"] < alone["high"] - alone["low"]


def test_subgroups_share_their_labels():
    truth, scores = random_tables(rows=400)
    sex = pd.Series(np.where(np.arange(400) % 4, "F", "M"), dtype=object)
    sex[:10] = None
    truth.loc[sex == "M", "Fracture"] = 0.0  # no positive among the men: in nobody's mean
    patients = pd.Series(np.arange(400) // 2)
    table = subgroups(truth, scores, sex, patients, resamples=20)
    assert table.attrs["labels"] == ["Edema"]
    assert table.index.tolist() == ["F", "M"]
    for value, row in table.iterrows():
        chosen = sex == value
        assert row["images"] == chosen.sum()
        assert row["patients"] == patients[chosen].nunique()
        expected = roc_auc_score(truth.loc[chosen, "Edema"], scores.loc[chosen, "Edema"])
        assert row["macro_auroc_observations"] == expected
        assert row["low"] < expected < row["high"]
    with pytest.raises(EvaluationError, match="1000 positives.*F, M: lower minimum"):
        subgroups(truth, scores, sex, minimum=1000)


def test_temperatures_are_recovered_and_keep_the_order():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 3))
    truth = pd.DataFrame(rng.random(logits.shape) < 1 / (1 + np.exp(-logits)), columns=LABELS)
    truth = truth.astype(float)
    too_sure = logits * [1.0, 2.5, 0.5]
    scores = pd.DataFrame(1 / (1 + np.exp(-too_sure)), columns=LABELS)
    truth.iloc[:50] = np.nan
    temperatures = fit_temperatures(truth, scores)
    assert temperatures.tolist() == pytest.approx([1.0, 2.5, 0.5], rel=0.05)
    better = rescale(scores, temperatures)
    assert (calibration(truth, better) < calibration(truth, scores) + 0.003).all()
    assert (calibration(truth, better) < 0.02).all()
    for label in LABELS:
        assert stats.spearmanr(better[label], scores[label])[0] == pytest.approx(1)
    assert fit_temperatures(truth.assign(Edema=0.0), scores)["Edema"] == 1
    ends = pd.DataFrame({"Edema": [0.0, 1.0]})
    assert np.isfinite(rescale(ends, pd.Series({"Edema": 3.0}))).all(axis=None)
    with pytest.raises(EvaluationError, match="no temperature for 'Cardiac'"):
        rescale(scores, temperatures.drop("Cardiac"))


# --- Hierarchical F1 ------------------------------------------------------------------------------


def test_hierarchical_f1_by_hand():
    # Opacity above Edema and Consolidation.
    tree = Hierarchy(
        ["Opacity", "Edema", "Consolidation"],
        [("Opacity", "Edema"), ("Opacity", "Consolidation")],
    )
    truth = tree.to_table([[0, 1, 0], [1, 0, 1], [0, 0, 0], [np.nan, 0, np.nan]])
    scores = tree.to_table([[0.1, 0.2, 0.9], [0.9, 0.1, 0.9], [0.9, 0.1, 0.1], [0.9, 0.1, 0.9]])
    # Image 1: truth {Edema, Opacity}, called {Consolidation, Opacity}: 1 shared of 2 and 2.
    # Image 2: both {Opacity, Consolidation}: 2 of 2 and 2. Image 3: called 1, none true.
    # Image 4: Opacity and Consolidation are unknown and count in neither; nothing is left.
    result = hierarchical_f1(truth, scores, tree)
    assert result["precision"] == pytest.approx(3 / 5)
    assert result["recall"] == pytest.approx(3 / 4)
    assert result["f1"] == pytest.approx(2 * 3 / (5 + 4))
    nothing = hierarchical_f1(truth * 0, scores * 0, tree)
    assert nothing.isna().all()


@pytest.mark.parametrize("seed", range(5))
def test_hierarchical_f1_equals_plain_sets(seed):
    paper = paper_hierarchy()
    rng = np.random.default_rng(seed)
    truth = paper.to_table((rng.random((40, 21)) < 0.2).astype(float))
    scores = paper.to_table(rng.random((40, 21)) ** 2)
    shared = called = present = 0
    for row in range(40):
        sets = []
        for table, limit in ((truth, 0.5), (scores, 0.5)):
            names = {n for n in paper.labels if table.loc[row, n] > limit}
            sets.append(names | {a for n in names for a in paper.ancestors(n)})
        shared += len(sets[0] & sets[1])
        present += len(sets[0])
        called += len(sets[1])
    result = hierarchical_f1(truth, scores, paper)
    assert result.tolist() == pytest.approx(
        [shared / called, shared / present, 2 * shared / (called + present)]
    )


# --- Many measures at once ------------------------------------------------------------------------


def paper_tables(rows=150, seed=0):
    paper = paper_hierarchy()
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, 21)) < 0.3).astype(float)
    scores = np.clip(truth * 0.3 + rng.random((rows, 21)) * 0.7, 0, 1).round(2)  # with ties
    truth[rng.random(truth.shape) < 0.05] = np.nan
    return paper, paper.to_table(truth), paper.to_table(scores)


def test_measures_equal_the_single_functions():
    paper, truth, scores = paper_tables()
    row = measures(truth, scores, paper).iloc[0]
    summary = evaluate(truth, scores).summary
    for name in ("macro_auroc_observations", "macro_auroc", "weighted_auroc",
                 "macro_average_precision_observations"):  # fmt: skip
        assert row[name] == pytest.approx(summary[name])
    assert row["soft"] == paper.incoherent(scores).mean()
    assert row["hard"] == paper.incoherent(scores, threshold=0.5).mean()
    observations = sorted(OBSERVATIONS)
    errors = calibration(truth, scores, bins=15)[observations]
    assert row["calibration_error"] == pytest.approx(errors.mean())
    assert row["hierarchical_f1"] == pytest.approx(hierarchical_f1(truth, scores, paper)["f1"])


def test_weighted_measures_equal_repeated_rows():
    # An image that counts twice is an image that is there twice; a weight of 0 leaves it out.
    paper, truth, scores = paper_tables()
    weights = np.random.default_rng(1).integers(0, 4, (3, len(truth)))
    weighted = measures(truth, scores, paper, weights)
    for number, counts in enumerate(weights):
        rows = np.repeat(np.arange(len(truth)), counts)
        repeated = (table.iloc[rows].reset_index(drop=True) for table in (truth, scores))
        expected = measures(*repeated, paper).iloc[0]
        np.testing.assert_allclose(weighted.iloc[number], expected, rtol=1e-9)


# --- Predictions on file --------------------------------------------------------------------------


def write_predictions(path, rows=30, **columns):
    truth, scores = random_tables(rows)
    paths = [f"test/patient{n // 2:05d}/study{n % 2}/view1_frontal.jpg" for n in range(rows)]
    table = pd.DataFrame({"Path": paths})
    table = table.join(truth.add_suffix("_GT")).join(scores.add_suffix("_Pred")).assign(**columns)
    table.to_csv(path, index=False)
    return table, truth, scores


def test_predictions_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "predictions.csv"
    table, truth, scores = write_predictions(file, split=["valid"] * 10 + ["test"] * 20)
    read = read_predictions(file, expected=table["Path"][::-1])
    pd.testing.assert_frame_equal(read.truth, truth)
    pd.testing.assert_frame_equal(read.scores, scores)
    assert read.about["patient"].nunique() == 15
    by_hand = evaluate(truth, scores, read.about["patient"], resamples=20)
    by_call = read.evaluate(resamples=20)
    pd.testing.assert_frame_equal(by_call.per_label, by_hand.per_label)
    pd.testing.assert_frame_equal(by_call.intervals, by_hand.intervals)
    assert len(read.split("test").truth) == 20
    with pytest.raises(EvaluationError, match="no row of the split 'train'; there are valid, test"):
        read.split("train")
    # As the paper's authors published theirs: labels only, whole numbers, a byte order mark.
    plain = table.drop(columns=["Path", "split"])
    plain["Edema_GT"] = plain["Edema_GT"].astype(int)
    plain.to_csv(file, index=False, encoding="utf-8-sig")
    assert read_predictions(file).evaluate().summary["macro_auroc"] > 0.5


def test_bad_predictions_are_named(tmp_path):
    file = tmp_path / "predictions.csv"
    for changes, message in (
        ({"Edema_Pred": 1.5}, "line 2, column 'Edema_Pred': '1.5' is not a probability"),
        ({"Edema_Pred": "high"}, "line 2, column 'Edema_Pred': 'high' is not"),
        ({"Edema_Pred": np.nan}, "line 2, column 'Edema_Pred'"),
        ({"Edema_GT": 0.5}, "line 2, column 'Edema_GT': '0.5' is not 0, 1 or blank"),
        ({"Uncertain_Pred": 0.5}, "'Uncertain_Pred' lacks its partner"),
        ({"Uncertain_GT": 0}, "'Uncertain_GT' lacks its partner"),
        ({"Path": ["a.jpg", "b.jpg", "a.jpg", *map(str, range(27))]}, "a.jpg.*lines 2, 4"),
    ):
        write_predictions(file, **changes)
        with pytest.raises(EvaluationError, match=message) as refused:
            read_predictions(file)
        assert str(file) in str(refused.value)
    table, _, _ = write_predictions(file)
    with pytest.raises(EvaluationError, match="1 images are missing, the first of them z.jpg"):
        read_predictions(file, expected=[*table["Path"], "z.jpg"])
    with pytest.raises(EvaluationError, match="2 images are not expected.*patient00000"):
        read_predictions(file, expected=table["Path"][2:])
    table.drop(columns="Path").to_csv(file, index=False)
    with pytest.raises(EvaluationError, match="no column 'Path'"):
        read_predictions(file, expected=["a"])
    table[["Path"]].to_csv(file, index=False)
    with pytest.raises(EvaluationError, match="no column ends in _GT or _Pred"):
        read_predictions(file)


def test_the_evaluate_command(tmp_path, capsys):
    file = tmp_path / "predictions.csv"
    write_predictions(file, split=["valid"] * 10 + ["test"] * 20)
    evaluation.main([str(file), "--split", "test", "--resamples", "20"])
    shown = capsys.readouterr().out
    expected = read_predictions(file).split("test").evaluate().per_label.loc["Edema", "auroc"]
    assert f"{expected:.3f}" in shown
    assert "macro_auroc" in shown
    with pytest.raises(SystemExit, match=r"error: .*none\.csv"):
        evaluation.main([str(tmp_path / "none.csv")])


# --- Bad arguments --------------------------------------------------------------------------------


def one_label():
    truth = pd.DataFrame({"Edema": [0.0, 0.0, 1.0, 1.0] * 10})
    return truth, truth * 0.5 + 0.1 + np.linspace(0, 0.3, 40)[:, None]


def test_rows_go_by_their_index_everywhere():
    truth, scores = one_label()
    shuffled, mixed = (table.sample(frac=1, random_state=0) for table in (truth, scores))
    tree, patients = Hierarchy(["Edema"], []), pd.Series(np.arange(40) // 2)
    turned, by = patients.iloc[::-1], pd.Series(list("FM") * 20)
    for call in (
        lambda: evaluate(truth, scores, turned, resamples=5),
        lambda: evaluate_models(truth, [scores, mixed], resamples=5),
        lambda: evaluate_models(truth, [scores], turned, resamples=5),
        lambda: bootstrap_auroc(shuffled, scores, resamples=5),
        lambda: compare(truth, scores, mixed, resamples=5),
        lambda: compare(truth, scores, scores, turned, resamples=5),
        lambda: subgroups(truth, scores, by.iloc[::-1], resamples=5, minimum=1),
        lambda: subgroups(truth, scores, by, turned, resamples=5, minimum=1),
        lambda: reliability(shuffled["Edema"], scores["Edema"]),
        lambda: calibration(shuffled, scores),
        lambda: fit_temperatures(shuffled, scores),
        lambda: at_threshold(shuffled, scores),
        lambda: hierarchical_f1(shuffled, scores, tree),
        lambda: measures(shuffled, scores, tree),
    ):
        with pytest.raises(EvaluationError, match="different row indexes.*reset_index"):
            call()
    # Arrays and lists carry no index, and are taken by position.
    by_position = evaluate(truth, scores, list(patients), resamples=5).intervals
    pd.testing.assert_frame_equal(by_position, evaluate(truth, scores, patients, 5).intervals)
    named = truth["Edema"].to_numpy(), scores["Edema"].to_numpy()
    assert reliability(*named).equals(reliability(truth["Edema"], scores["Edema"]))


def test_the_kind_of_column_changes_nothing():
    truth, scores = one_label()
    truth.loc[3] = np.nan
    expected = evaluate(truth, scores).per_label
    for kind in ("Int64", "boolean", object):
        pd.testing.assert_frame_equal(evaluate(truth.astype(kind), scores).per_label, expected)
    named = truth.set_axis(["a"] * 40), scores.set_axis(["a"] * 40)  # every row has the same name
    pd.testing.assert_frame_equal(evaluate(*named).per_label, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to_numpy(), "truth: expected a DataFrame"),
        (lambda t: t["Edema"], "truth: expected a DataFrame"),
        (lambda t: t.astype(object).replace(0.0, "no"), "truth, label 'Edema': expected numbers"),
        (lambda t: t.astype(object).replace(0.0, pd.NA), "truth, label 'Edema': expected numbers"),
        (lambda t: pd.concat([t, t], axis=1), "truth has a label twice"),
        (lambda t: t.iloc[:, :0], "truth is an empty table"),
        (lambda t: t.replace(0.0, np.inf), "truth, row 0, label 'Edema': inf is not 0, 1 or NaN"),
    ],
)
def test_what_is_no_table_of_truth_is_named(change, message):
    truth, scores = one_label()
    for call in (evaluate, calibration, at_threshold, fit_temperatures, bootstrap_auroc):
        with pytest.raises(EvaluationError, match=message):
            call(change(truth), scores)


def test_options_out_of_range_are_named():
    truth, scores = one_label()
    pair, tree = (truth, scores), Hierarchy(["Edema"], [])
    by, weights = ["F", "M"] * 20, np.ones((2, 40))
    weights[1] = 0
    for call, message in (
        (lambda: evaluate(*pair, resamples=-1), "resamples=-1"),
        (lambda: evaluate(*pair, resamples=2.5), "resamples=2.5: expected a whole number"),
        (lambda: evaluate(*pair, resamples=10**9), "resamples=1000000000.*at most 100,000"),
        (lambda: evaluate(*pair, resamples=5, level=95), "level=95.*between 0 and 1"),
        (lambda: evaluate(*pair, resamples=5, level=0), "level=0"),
        (lambda: evaluate(*pair, resamples=5, level="a"), "level='a'"),
        (lambda: evaluate(*pair, resamples=5, seed=-1), "seed=-1"),
        (lambda: evaluate(*pair, ["a", np.nan] * 20, 5), "groups, row 1: no value"),
        (lambda: evaluate(*pair, ["a", ""] * 20, 5), "groups, row 1: no value"),
        (lambda: evaluate(*pair, "patients", 5), "groups: expected one value for every row"),
        (lambda: compare(truth, scores, scores, resamples=0), "resamples=0.*at least 1"),
        (lambda: subgroups(*pair, by, resamples=0), "resamples=0.*at least 1"),
        (lambda: subgroups(*pair, by, minimum=0), "minimum=0"),
        (lambda: subgroups(*pair, [np.nan] * 40), "every row is NaN"),
        (lambda: evaluate_models(truth, scores), "a list of DataFrames"),
        (lambda: evaluate_models(truth, []), "a list of DataFrames"),
        (lambda: evaluate_models(truth, [scores], mean_of=["Oedema"]), "mean_of=.*Oedema"),
        (lambda: mean_interval([1, 2], level=95), "level=95"),
        (lambda: mean_interval([]), "at least one number"),
        (lambda: calibration(*pair, bins=0), "bins=0"),
        (lambda: calibration(*pair, bins=10**6), "bins=1000000.*at most 1,000"),
        (lambda: reliability(truth["Edema"], scores["Edema"], bins=2.0), "bins=2.0"),
        (lambda: at_threshold(*pair, np.nan), "threshold=nan"),
        (lambda: at_threshold(*pair, pd.Series({"Edema": np.nan})), "threshold of 'Edema'=nan"),
        (lambda: at_threshold(*pair, pd.Series({"Oedema": 0.5})), "no threshold for 'Edema'"),
        (lambda: hierarchical_f1(*pair, tree, np.nan), "threshold=nan"),
        (lambda: rescale(scores, pd.Series({"Edema": 0.0})), "temperature of 'Edema'=0.0"),
        (lambda: rescale(scores, pd.Series({"Edema": np.nan})), "temperature of 'Edema'=nan"),
        (lambda: measures(*pair, tree, -np.ones((1, 40))), "weights: expected.*at least 0"),
        (lambda: measures(*pair, tree, np.full((1, 40), np.nan)), "weights: expected"),
        (lambda: measures(*pair, tree, np.ones(40)), r"weights: expected \[R, 40\]"),
        (lambda: measures(*pair, tree, weights), "no row all 0"),
    ):
        with pytest.raises(EvaluationError, match=message):
            call()


def test_a_label_that_nobody_knows_is_in_no_measure():
    paper, truth, scores = paper_tables()
    truth["Fracture"] = np.nan
    row = measures(truth, scores, paper).iloc[0]
    summary = evaluate(truth, scores).summary
    for name in ("macro_auroc", "weighted_auroc", "macro_average_precision_observations"):
        assert row[name] == pytest.approx(summary[name])
    pets = pd.DataFrame({"cat": [0.0, 1.0], "dog": [1.0, 0.0]})
    row = measures(pets, pets, Hierarchy(["cat", "dog"], [])).iloc[0]
    assert row["macro_auroc"] == 1
    assert np.isnan(row["calibration_error"])


def test_a_blank_patient_and_a_table_without_rows_are_refused(tmp_path):
    file = tmp_path / "predictions.csv"
    write_predictions(file, patient=["a", " a", *" b" * 14])
    with pytest.raises(EvaluationError, match="line 4: the patient is blank"):
        read_predictions(file)
    write_predictions(file, patient=["a", " a", *["b"] * 28])
    assert read_predictions(file).about["patient"].nunique() == 2
    write_predictions(file, rows=0)
    with pytest.raises(ValueError, match="no rows"):
        read_predictions(file)


def test_the_same_column_twice_is_refused(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text("Path,Edema_GT,Edema_GT,Edema_Pred\na,1,0,0.5\n")
    with pytest.raises(ValueError, match="Edema_GT"):
        read_predictions(file)


def test_the_evaluate_command_without_intervals(tmp_path, capsys):
    file = tmp_path / "predictions.csv"
    write_predictions(file)
    evaluation.main([str(file), "--resamples", "0"])
    shown = capsys.readouterr().out
    assert "macro_auroc" in shown
    assert "low" not in shown
    with pytest.raises(SystemExit, match="error: resamples=-1"):
        evaluation.main([str(file), "--resamples", "-1"])
