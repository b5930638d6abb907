"""Observations, label codes and what to do with −1 and blank.

A label table is a ``DataFrame`` with one row per image and one column per observation, holding
1 (present), 0 (absent) or NaN (not known: masked out of the loss and of every metric).
"""

import csv
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

OBSERVATIONS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
"""The 14 observations of CheXpert, in the column order of its CSV files: Irvin et al., "CheXpert: a
large chest radiograph dataset", AAAI 2019."""

POLICIES = ("U-Ones", "U-Zeros", "U-Ignore", "U-Soft")
"""What an uncertain label (−1) becomes: 1, 0, NaN, or a value strictly between 0 and 1."""

CHEXPERT_POLICY = {"Atelectasis": "U-Ones", "Edema": "U-Ones", "default": "U-Zeros"}
"""A common recipe for CheXpert, as in the data loader of LibAUC (Yuan et al. 2021, ICCV)."""

NIH_TO_CHEXPERT = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Effusion": "Pleural Effusion",
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Pleural_Thickening": "Pleural Other",
    "No Finding": "No Finding",
    "Emphysema": None,
    "Fibrosis": None,
    "Hernia": None,
}
"""NIH ChestX-ray14's 15 label names, and the CheXpert observation that each one stands for."""

NIH_UNLABELLED = ("Enlarged Cardiomediastinum", "Fracture", "Support Devices")
"""Observations that nobody looked for in the NIH collection: missing there, not negative."""

CODES = (1.0, 0.0, -1.0)


class LabelError(ValueError):
    """A label table that cannot be read as one; the message names the file, row and column."""


def require_columns(table, columns, source):
    """Raise ``LabelError`` unless ``table`` has every one of ``columns`` and at least one row."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise LabelError(
            f"{source}: no column {', '.join(map(repr, missing))}. The columns found are "
            f"{', '.join(map(repr, table.columns))}. Check that this is the right file and that "
            "its first line is the header."
        )
    if table.empty:
        raise LabelError(f"{source}: the table has a header but no rows. Is the file complete?")


def read_csv(path):
    """Read a CSV file, with a ``LabelError`` naming the file and line where that cannot be done.

    Every value comes back as text, and an empty field as an empty string, so that a check can
    still say what the file holds.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path}: no such file. data/README.md shows what each track needs.")
    try:
        rows = _numbered_rows(path)
        _, header = next(rows, (1, []))
        again = [name for i, name in enumerate(header) if name and name in header[:i]]
        if again:
            raise LabelError(f"{path}: two columns are called {again[0]!r}. Remove one of them.")
        for line, row in rows:
            if len(row) != len(header):  # labels would shift
                raise LabelError(
                    f"{path}, line {line}: {len(row)} fields, but the header has {len(header)}. "
                    "Is a comma missing or too many, or the download incomplete?"
                )
        return pd.read_csv(path, dtype=str, na_filter=False, index_col=False, encoding="utf-8-sig")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise LabelError(
            f"{path}: not a readable CSV file ({error}). Save it as CSV in UTF-8, or get it again."
        ) from error


def _numbered_rows(path):
    """The rows of a CSV file, header first, each with the line it begins in; no blank lines."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows, line = csv.reader(file, strict=True), 1
        try:
            for row in rows:
                if "\0" in "".join(row):
                    raise csv.Error("a NUL byte")
                if row:
                    yield line, row
                line = rows.line_num + 1
        except csv.Error as error:
            raise LabelError(
                f"{path}, line {line}: not a row of a CSV file ({error}). Is a quotation mark "
                "missing, or the file damaged?"
            ) from error


def require_unique(values, source):
    """Raise ``LabelError`` if an image is listed twice: it would count twice everywhere."""
    again = values.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax((values == values.iloc[row]).to_numpy()))
        raise LabelError(
            f"{source}, line {line_of(row, source)}: {values.iloc[row]!r} is listed a second time "
            f"(first in line {line_of(first, source)}). Remove one of the two rows."
        )


def refuse(odd, values, source, wrong, error=LabelError):
    """Raise ``error`` if any row is ``odd`` (bool [N]), with the line of the first.

    ``wrong`` says what is wrong with it; ``{}`` or ``{!r}`` in it stands for the row's value.
    """
    if odd.any():
        row = int(np.argmax(odd))
        raise error(f"{source}, line {line_of(row, source)}: {wrong.format(values.iloc[row])}")


def line_of(position, path=None):
    """The line of a CSV file in which the row at ``position`` begins: line 1 is the header.

    With the ``path``, blank lines and line breaks inside quotes are counted too.
    """
    if path is not None and Path(path).is_file():
        return next(islice(_numbered_rows(path), int(position) + 1, None))[0]
    return int(position) + 2


def to_numbers(table, good, expected, error=LabelError):
    """The values of ``table`` as floats [N, L], where each is NaN or ``good(values)`` is true.

    ``error`` names the first that is neither, by row and label, and what was ``expected``.
    """
    if not table.columns.is_unique or not len(table.columns):
        raise error("the table has no column, or one twice: expected one for each label.")
    plain = all(isinstance(kind, np.dtype) and kind.kind in "fiub" for kind in table.dtypes)
    numbers = table if plain else table.apply(pd.to_numeric, errors="coerce")
    values = numbers.to_numpy(dtype=float, copy=True)
    odd = np.argwhere(table.notna().to_numpy() & ~good(values))
    if len(odd):
        row, column = odd[0]
        value = table.iloc[row, column]
        value = value.item() if isinstance(value, np.generic) else value
        raise error(
            f"row {table.index[row]!r}, label {table.columns[column]!r}: the value {value!r} is "
            f"not {expected}."
        )
    return values


def read_chexpert(path):
    """Read a label file in CheXpert's format; ``LabelError`` where it is not one.

    Parameters
    ----------
    path : path of ``train.csv``, ``valid.csv``, ``train_visualCheXbert.csv`` or a file like them.
        Columns are found by name, since their order differs between files.

    Returns
    -------
    DataFrame with the file's columns. The 14 observations are floats: 1 positive, 0 negative,
    −1 uncertain, NaN not mentioned. The rest stay text, as written.
    """
    table = read_csv(path)
    require_columns(table, ("Path", *OBSERVATIONS), path)
    require_unique(table["Path"], path)
    for name in OBSERVATIONS:
        text = table[name].str.strip()
        codes = pd.to_numeric(text.where(text != ""), errors="coerce")
        wrong = ((text != "") & ~codes.isin(CODES)).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise LabelError(
                f"{path}, line {line_of(row, path)}, column {name!r}: the value "
                f"{table[name].iloc[row]!r} is not a label. Expected 1 (positive), "
                "0 (negative), -1 (uncertain) or nothing."
            )
        table[name] = codes.astype(float)
    return table


def apply_policy(codes, uncertain="U-Zeros", blank=0.0, soft=(0.55, 0.85), seed=0):
    """Turn label codes into training targets.

    Parameters
    ----------
    codes : DataFrame of 1, 0, −1 and NaN (blank); other columns and values are refused.
    uncertain : one of ``POLICIES``, or one for each observation: a mapping such as
        ``CHEXPERT_POLICY``. Observations it does not name follow its "default", or else U-Zeros.
        ``U-Ignore`` gives NaN, which the loss leaves out.
    blank : what "not mentioned" becomes: 0.0, as CheXpert's authors and the paper do, or NaN.
    soft : for ``U-Soft``, one value or a range (low, high) to draw from uniformly; (0.55, 0.85)
        and (0, 0.3) are the ranges of Pham et al. 2019 for U-Ones and U-Zeros.
    seed : of that draw.

    Returns
    -------
    DataFrame of the same shape, values in [0, 1] or NaN.

    Examples
    --------
    >>> codes = pd.DataFrame({"Edema": [1, 0, -1, None]})
    >>> apply_policy(codes, "U-Ones")["Edema"].tolist()
    [1.0, 0.0, 1.0, 0.0]
    >>> codes["Fracture"] = [-1, -1, 1, 0]
    >>> apply_policy(codes, CHEXPERT_POLICY)["Fracture"].tolist()
    [0.0, 0.0, 1.0, 0.0]
    """
    if not (np.isscalar(blank) and (pd.isna(blank) or blank == 0)):
        raise LabelError(f"blank={blank!r}: a label not mentioned can become 0 or NaN.")
    try:
        low, high = (soft, soft) if np.isscalar(soft) else map(float, soft)
        good = 0 <= low <= high <= 1
    except (TypeError, ValueError):
        good = False
    if not good:
        raise LabelError(f"soft={soft!r}: expected a value or a range (low, high) in 0..1.")
    policies = _policy_of_each(codes.columns, uncertain)
    values = to_numbers(codes, lambda v: np.isin(v, CODES), "a label code: 1, 0, -1 or blank")
    unsure = values == -1
    values = np.where(np.isnan(values), blank, values)
    for policy, value in {"U-Ones": 1.0, "U-Zeros": 0.0, "U-Ignore": np.nan}.items():
        values[unsure & (policies == policy)] = value
    soften = unsure & (policies == "U-Soft")
    values[soften] = np.random.default_rng(seed).uniform(low, high, size=soften.sum())
    return pd.DataFrame(values, index=codes.index, columns=codes.columns)


def _policy_of_each(observations, uncertain):
    """The policy for every observation, as an array of names."""
    if not isinstance(uncertain, Mapping):
        uncertain = {"default": uncertain}
    for name, policy in uncertain.items():
        if name not in {"default", *OBSERVATIONS, *observations}:
            raise LabelError(
                f"a policy for {name!r}, which is no observation. Expected 'default' or some of "
                f"{', '.join(OBSERVATIONS)}."
            )
        if policy not in POLICIES:
            raise LabelError(f"unknown policy {policy!r}: choose one of {', '.join(POLICIES)}.")
    rest = uncertain.get("default", "U-Zeros")
    return np.array([uncertain.get(name, rest) for name in observations], dtype=object)


def read_nih(path):
    """Read NIH ChestX-ray14's ``Data_Entry_2017_v2020.csv``; ``LabelError`` where it is not that.

    Returns
    -------
    DataFrame with the file's columns (as text) and the 14 observations as 1, 0 or NaN, after
    ``nih_targets``.
    """
    table = read_csv(path)
    require_columns(table, ("Image Index", "Finding Labels", "Patient ID", "View Position"), path)
    require_unique(table["Image Index"], path)
    return table.join(nih_targets(table["Finding Labels"], source=path))


def nih_targets(findings, source="Finding Labels"):
    """Map NIH finding lists such as ``"Effusion|Mass"`` to the 14 observations.

    ``LabelError`` refuses an unknown finding, none at all, and ``No Finding`` beside another. A
    finding without a counterpart in CheXpert (Emphysema, Fibrosis, Hernia) leaves ``No Finding``
    at 0 and everything else as it is. An observation without a counterpart in NIH is NaN.
    ``Lung Opacity`` is wider than NIH's Infiltration: it is 1 with Infiltration, 0 where the whole
    radiograph is normal, and NaN where something else was found.

    Parameters
    ----------
    findings : Series of ``|``-separated NIH names.
    source : how an error message calls the table.

    Returns
    -------
    DataFrame [N, 14] of 1, 0, NaN, with the index of ``findings``.
    """
    names = findings.fillna("").map(lambda text: set(text.split("|")) - {""})
    unknown = names.map(lambda found: min(found - set(NIH_TO_CHEXPERT), default=""))
    wrong = f"Expected names of NIH ChestX-ray14: {', '.join(NIH_TO_CHEXPERT)}."
    refuse(unknown != "", unknown, source, "unknown finding {!r}. " + wrong)
    wrong = "Expected 'No Finding' for a normal radiograph: write it there, or remove the row."
    refuse(names.map(len) == 0, names, source, "no finding is named. " + wrong)
    mixed = names.map(lambda found: "No Finding" in found and len(found) > 1)
    wrong = "{!r} names 'No Finding' and another. Remove one of the two, or the row."
    refuse(mixed, findings, source, wrong)
    present = findings.str.get_dummies("|").astype(bool)
    targets = pd.DataFrame(0.0, index=findings.index, columns=list(OBSERVATIONS))
    for nih_name, observation in NIH_TO_CHEXPERT.items():
        if observation is not None and nih_name in present:
            targets.loc[present[nih_name], observation] = 1.0
    targets[list(NIH_UNLABELLED)] = np.nan
    other_finding = (targets["No Finding"] == 0) & (targets["Lung Opacity"] == 0)
    targets.loc[other_finding, "Lung Opacity"] = np.nan
    return targets
