"""Predictions on file: read as they were written, or refused by line; and the command."""

import numpy as np
import pandas as pd
import pytest
from conftest import random_tables

from cxrlib import evaluation
from cxrlib.evaluation import EvaluationError, evaluate, read_predictions


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
