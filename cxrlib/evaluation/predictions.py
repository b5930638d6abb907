"""Predictions on file, and the command that evaluates them."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.evaluation.auroc import evaluate
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.labels import line_of, read_csv, require_columns


@dataclass(frozen=True)
class Predictions:
    """A table of predictions, read: ``about`` (Path, patient and what else there is) [N, …],
    ``truth`` and ``scores`` [N, L]."""

    about: pd.DataFrame
    truth: pd.DataFrame
    scores: pd.DataFrame

    def evaluate(self, **options):
        """``evaluate`` with the table's own patients; ``resamples`` and so on as there."""
        return evaluate(self.truth, self.scores, self.about.get("patient"), **options)

    def split(self, name):
        """The rows of one split, for instance "test"."""
        if "split" not in self.about:
            raise EvaluationError("these predictions have no column 'split'.")
        rows = self.about["split"] == name
        if not rows.any():
            found = ", ".join(map(str, self.about["split"].unique()))
            raise EvaluationError(f"no row of the split {name!r}; there are {found}.")
        parts = (self.about, self.truth, self.scores)
        return Predictions(*(part[rows].reset_index(drop=True) for part in parts))


def read_predictions(path, expected=None):
    """Read a CSV with the columns ``<label>_GT`` and ``<label>_Pred`` for every label.

    The paper's authors published theirs so, and ``training`` writes its own so. Other columns are
    kept in ``about``; without one called ``patient``, patients are read from ``Path``. ``expected``
    are the Paths that should be there, each once, in any order; None takes what is there.

    An ``EvaluationError`` names the line and label of a score outside 0 … 1, and of truth that is
    not 0, 1 or blank; it also refuses a column without its partner, a Path twice, a blank patient,
    and rows that are missing or too many. A ``LabelError`` says why a file is no readable table.
    """
    path = Path(path)
    raw = read_csv(path)
    require_columns(raw, (), path)
    labels = [name.removesuffix("_Pred") for name in raw if name.endswith("_Pred")]
    truths = [name.removesuffix("_GT") for name in raw if name.endswith("_GT")]
    if not labels and not truths:
        raise EvaluationError(f"{path}: no column ends in _GT or _Pred; every label needs both.")
    alone = [f"{n}_Pred" for n in labels if n not in truths]
    alone += [f"{n}_GT" for n in truths if n not in labels]
    if alone:
        raise EvaluationError(f"{path}: the column {alone[0]!r} lacks its partner (_GT, _Pred).")
    truth = pd.DataFrame({n: _numbers(raw[f"{n}_GT"], path) for n in labels})
    scores = pd.DataFrame({n: _numbers(raw[f"{n}_Pred"], path) for n in labels})
    about = raw.drop(columns=[f"{n}_{kind}" for n in labels for kind in ("GT", "Pred")])
    if "Path" in about:
        _check_paths(about["Path"], expected, path)
        if "patient" not in about:
            about["patient"] = about["Path"].str.extract(r"(patient\d+)")[0].fillna(about["Path"])
    elif expected is not None:
        raise EvaluationError(f"{path}: no column 'Path' to compare with the expected images.")
    if "patient" in about:
        plain = about["patient"].str.strip().str.replace(r"^(\d+)\.0*$", r"\1", regex=True)
        about["patient"] = plain  # "1", " 1" and "1.0" are one person
        for row in np.flatnonzero(about["patient"] == ""):
            raise EvaluationError(f"{path}, line {line_of(row, path)}: the patient is blank.")
    return Predictions(about, truth, scores)


def _numbers(column, path):
    """A column of text as floats: 0 … 1; or 0, 1 or blank where it holds the truth."""
    values = pd.to_numeric(column, errors="coerce")
    good, what = values.between(0, 1), "a probability from 0 to 1"
    if column.name.endswith("_GT"):
        good, what = values.isin((0, 1)) | (column.str.strip() == ""), "0, 1 or blank"
    for row in np.flatnonzero(~good):
        place = f"{path}, line {line_of(row, path)}, column {column.name!r}"
        raise EvaluationError(f"{place}: {column.iloc[row]!r} is not {what}.")
    return values.astype(float)


def _check_paths(paths, expected, source):
    again = paths[paths.duplicated(keep=False)]
    if len(again):
        lines = [line_of(row, source) for row in np.flatnonzero(paths == again.iloc[0])]
        raise EvaluationError(
            f"{source}: {again.iloc[0]} is there more than once, in the lines "
            f"{', '.join(map(str, lines))}. Keep one row for each image."
        )
    expected = pd.Index(paths if expected is None else expected)
    missing, surplus = expected.difference(paths), pd.Index(paths).difference(expected)
    for rows, what in ((missing, "missing"), (surplus, "not expected")):
        if len(rows):
            raise EvaluationError(
                f"{source}: {len(rows)} images are {what}, the first of them {rows[0]}. Predict "
                "every image of the split, and no other."
            )


def main(arguments=None):
    """``python -m cxrlib evaluate predictions.csv``: the figures of a table of predictions."""
    parser = argparse.ArgumentParser(
        prog="python -m cxrlib evaluate",
        description="AUROC with intervals, of a CSV with the columns <label>_GT and <label>_Pred.",
    )
    parser.add_argument("predictions")
    parser.add_argument("--split", help="only its rows, for instance test")
    parser.add_argument("--resamples", type=int, default=1000, help="of patients; 0: no intervals")
    options = parser.parse_args(arguments)
    try:
        table = read_predictions(options.predictions)
        table = table.split(options.split) if options.split else table
        result = table.evaluate(resamples=options.resamples)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    intervals = pd.DataFrame() if result.intervals is None else result.intervals
    print(result.per_label.join(intervals).round(3).to_string())
    print()
    print(result.summary.to_frame("value").join(intervals).round(3).to_string())
    for note in result.notes:
        print(note)
