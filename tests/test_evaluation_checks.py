"""What every function of evaluation refuses by name: tables, rows, values and options."""

import numpy as np
import pandas as pd
import pytest
from conftest import LABELS, random_tables

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
    reliability,
    rescale,
    subgroups,
)
from cxrlib.hierarchy import Hierarchy


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


def test_rows_that_may_not_belong_together_are_refused():
    truth = pd.DataFrame({"Edema": [0.0, 0.0, 1.0, 1.0]})
    scores = pd.DataFrame({"Edema": [0.1, 0.2, 0.8, 0.9]})
    assert evaluate(truth, scores).per_label.loc["Edema", "auroc"] == 1
    with pytest.raises(EvaluationError, match="different row indexes.*reset_index"):
        evaluate(truth, scores.iloc[::-1])


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
