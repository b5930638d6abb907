"""What arguments must be: checked here, for evaluation, uncertainty and explanations.

Rows belong together by their index: where two arguments carry one, it must be the same. Arrays and
lists carry none, and are taken by position.
"""

from numbers import Integral, Real

import numpy as np
import pandas as pd


class EvaluationError(ValueError):
    """An argument that cannot be used; the message names it, and the label or row."""


def number(name, value, low, high=np.inf, kind=Integral):
    """Refuse what is no number from ``low`` to ``high``; a whole one, unless ``kind`` is Real."""
    if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
        what = f"{'whole ' * (kind is Integral)}number, at least {low:,}, at most {high:,}"
        raise EvaluationError(f"{name}={value!r}: expected a {what}.")


def share(name, value):
    """Refuse what is no number between 0 and 1, both excluded."""
    if not isinstance(value, Real) or not 0 < value < 1:
        raise EvaluationError(f"{name}={value!r}: expected a number between 0 and 1.")


def same_rows(table, values, name):
    """Refuse ``values`` that do not have the rows of ``table``, in the same order."""
    if len(values) != len(table):
        raise EvaluationError(f"{name} has {len(values)} entries for {len(table)} rows.")
    indexes = [rows.index for rows in (table, values) if isinstance(rows, pd.Series | pd.DataFrame)]
    if len(indexes) == 2 and not indexes[0].equals(indexes[1]):
        raise EvaluationError(
            f"{name} and the table beside it have different row indexes. If rows are in the same "
            f"order, reset_index(drop=True) of both; else align them, with {name}.loc[table.index]."
        )


def same_table(truth, table, name):
    """Refuse a ``table`` that does not have the labels and rows of ``truth``."""
    odd = set(truth.columns) ^ set(table.columns)
    if odd or list(truth.columns) != list(table.columns):
        what = f"labels: {', '.join(sorted(map(str, odd)))}" if odd else "labels in another order"
        raise EvaluationError(f"truth and {name} do not fit: they have different {what}.")
    same_rows(truth, table, name)


def by_row(values, table, name, blank=False):
    """``values`` [N], one for each row of ``table``, as a Series; none missing unless ``blank``."""
    if getattr(values, "ndim", isinstance(values, list | tuple | range)) != 1:
        raise EvaluationError(f"{name}: expected one value for every row, [{len(table)}].")
    same_rows(table, values, name)
    if not isinstance(values, pd.Series):  # np.asarray would make a patient "nan" of NaN in a list
        values = pd.Series(np.asarray(values) if hasattr(values, "__array__") else list(values))
    missing = (values.isna() | (values == "")).to_numpy()
    if missing.any() and not blank:
        raise EvaluationError(f"{name}, row {np.argmax(missing)}: no value given.")
    return values.set_axis(table.index) if isinstance(table, pd.Series | pd.DataFrame) else values


def numbers(values, name, least=1):
    """``values`` [N], ``least`` or more, none of them NaN, as a float array."""
    array = np.asarray(floats(values, name))
    if array.ndim != 1 or len(array) < least or np.isnan(array).any():
        raise EvaluationError(f"{name} {array.shape}: expected [N] without NaN, at least {least}.")
    return array


def by_label(values, labels, name, low=-np.inf, high=np.inf):
    """A number for all ``labels``, or a Series with one for each, as a float Series [L]."""
    if not isinstance(values, pd.Series):
        number(name, values, low, high, Real)
        return pd.Series(float(values), index=labels)
    for label in labels:
        if (values.index == label).sum() != 1:
            raise EvaluationError(f"no {name} for {label!r}, or two: every label needs one.")
    values = floats(values[list(labels)], name)
    for label in labels:
        number(f"{name} of {label!r}", float(values[label]), low, high, Real)
    return values


def truths(table):
    """A table [N, L] of 0, 1 and NaN, as floats."""
    return _table(table, "truth", lambda v: np.isnan(v) | np.isin(v, (0, 1)), "0, 1 or NaN")


def probabilities(table, name="scores"):
    """A table [N, L] of numbers from 0 to 1, as floats."""
    what = "a probability, 0 to 1; logits need a sigmoid first"
    return _table(table, name, lambda v: (v >= 0) & (v <= 1), what)


def tables(truth, scores, read=None):
    """Truth, and scores as ``read``, as floats, if they have the same rows and labels."""
    truth = truths(truth)
    scores = read(scores) if read else _table(scores, "scores", np.isfinite, "a finite number")
    same_table(truth, scores, "scores")
    return truth, scores


def _table(table, name, good, expected):
    if not isinstance(table, pd.DataFrame):
        raise EvaluationError(f"{name}: expected a DataFrame [N, L], not {type(table).__name__}.")
    if table.empty or not table.columns.is_unique:
        what = "is an empty table" if table.empty else "has a label twice"
        raise EvaluationError(f"{name} {what}: expected rows, and one column for each label.")
    table = pd.DataFrame({n: floats(table[n], f"{name}, label {n!r}") for n in table.columns})
    for row, place in np.argwhere(~good(table.to_numpy())):
        where, value = f"{name}, row {row}, label {table.columns[place]!r}", table.iloc[row, place]
        raise EvaluationError(f"{where}: {value:g} is not {expected}.")
    return table


def floats(values, name):
    """A Series as one of floats, anything else as an array of floats."""
    try:
        series = isinstance(values, pd.Series)
        return values.astype(float) if series else np.asarray(values, dtype=float)
    except (TypeError, ValueError, RuntimeError) as error:
        raise EvaluationError(f"{name}: expected numbers ({error}).") from error
