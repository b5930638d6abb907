"""Observations, label codes and what to do with −1 and blank.

A label table is a ``DataFrame`` with one row per image and one column per observation, holding
1 (present), 0 (absent) or NaN (not known: masked out of the loss and of every metric).
"""

import csv
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
"""The 14 observations of CheXpert (Irvin et al., 2019), in the column order of its CSV files."""

POLICIES = ("U-Ones", "U-Zeros", "U-Ignore", "U-Soft")
"""What an uncertain label (−1) becomes: 1, 0, NaN, or a value strictly between 0 and 1."""

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
    """Read a CSV file, with a ``LabelError`` naming the file where pandas cannot.

    Every value comes back as text, and an empty field as an empty string, so that a check can
    still say what the file holds.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(f"{path}: no such file. data/README.md shows what each track needs.")
    try:
        _require_even_rows(path)
        return pd.read_csv(
            path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
        )
    except (
        pd.errors.EmptyDataError,
        pd.errors.ParserError,
        csv.Error,
        UnicodeDecodeError,
    ) as error:
        raise LabelError(f"{path}: not a readable CSV file ({error}).") from error


def _require_even_rows(path):
    """Raise ``LabelError`` where a row is longer or shorter than the header: labels would shift."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        width = len(next(rows, []))
        for row in rows:
            if row and len(row) != width:
                raise LabelError(
                    f"{path}, line {rows.line_num}: {len(row)} fields, but the header has {width}. "
                    "Is a comma missing or too many, or the download incomplete?"
                )


def require_unique(values, source):
    """Raise ``LabelError`` if an image is listed twice: it would count twice everywhere."""
    again = values.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax((values == values.iloc[row]).to_numpy()))
        raise LabelError(
            f"{source}, line {line_of(row)}: {values.iloc[row]!r} is listed a second time (first "
            f"in line {line_of(first)}). Remove one of the two rows."
        )


def line_of(position):
    """The line of a CSV file that holds the row at ``position``: line 1 is the header."""
    return int(position) + 2


def read_chexpert(path):
    """Read a label file in CheXpert's format.

    Parameters
    ----------
    path : path of ``train.csv``, ``valid.csv``, ``train_visualCheXbert.csv`` or a file like them.
        Columns are found by name, since their order differs between files.

    Returns
    -------
    DataFrame with the file's columns. The 14 observations are floats: 1 positive, 0 negative,
    −1 uncertain, NaN not mentioned. The rest stay text, as written.

    Raises
    ------
    LabelError
        No such file, a missing column, no rows, an image listed twice, or a value that is no code.

    References
    ----------
    Irvin et al., "CheXpert: a large chest radiograph dataset", AAAI 2019.
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
                f"{path}, line {line_of(row)}, column {name!r}: the value {table[name].iloc[row]!r}"
                " is not a label. Expected 1 (positive), 0 (negative), -1 (uncertain) or nothing."
            )
        table[name] = codes.astype(float)
    return table


def apply_policy(codes, uncertain="U-Zeros", blank=0.0, soft=(0.55, 0.85), seed=0):
    """Turn label codes into training targets.

    Parameters
    ----------
    codes : DataFrame of 1, 0, −1 and NaN (blank); other columns are not allowed.
    uncertain : one of ``POLICIES``. ``U-Ignore`` gives NaN, which the loss leaves out.
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
    """
    if uncertain not in POLICIES:
        raise LabelError(f"unknown policy {uncertain!r}: choose one of {', '.join(POLICIES)}.")
    if not (pd.isna(blank) or blank == 0):
        raise LabelError(f"blank={blank!r}: a label not mentioned can become 0 or NaN.")
    values = codes.to_numpy(dtype=float, copy=True)
    unsure = values == -1
    values[np.isnan(values)] = blank
    if uncertain == "U-Soft":
        low, high = (soft, soft) if np.isscalar(soft) else soft
        if not 0 <= low <= high <= 1:
            raise LabelError(f"soft={soft!r}: expected a value or a range (low, high) in 0..1.")
        values[unsure] = np.random.default_rng(seed).uniform(low, high, size=unsure.sum())
    else:
        values[unsure] = {"U-Ones": 1.0, "U-Zeros": 0.0, "U-Ignore": np.nan}[uncertain]
    return pd.DataFrame(values, index=codes.index, columns=codes.columns)


def read_nih(path):
    """Read NIH ChestX-ray14's ``Data_Entry_2017_v2020.csv``.

    Returns
    -------
    DataFrame with the file's columns (as text) and the 14 observations as 1, 0 or NaN, after
    ``nih_targets``.

    Raises
    ------
    LabelError
        No such file, a missing column, no rows, or findings that ``nih_targets`` refuses.
    """
    table = read_csv(path)
    require_columns(table, ("Image Index", "Finding Labels", "Patient ID", "View Position"), path)
    require_unique(table["Image Index"], path)
    return table.join(nih_targets(table["Finding Labels"], source=path))


def nih_targets(findings, source="Finding Labels"):
    """Map NIH finding lists such as ``"Effusion|Mass"`` to the 14 observations.

    A finding without a counterpart in CheXpert (Emphysema, Fibrosis, Hernia) leaves ``No Finding``
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

    Raises
    ------
    LabelError
        An unknown finding, no finding at all, or ``No Finding`` together with another one.
    """
    present = findings.str.get_dummies("|").astype(bool)
    for name in present.columns:
        if name not in NIH_TO_CHEXPERT:
            row = int(np.argmax(present[name].to_numpy()))
            raise LabelError(
                f"{source}, line {line_of(row)}: unknown finding {name!r}. Expected names of NIH "
                f"ChestX-ray14: {', '.join(NIH_TO_CHEXPERT)}."
            )
    names = present.sum(axis=1).to_numpy()
    if (names == 0).any():
        row = int(np.argmax(names == 0))
        raise LabelError(
            f"{source}, line {line_of(row)}: no finding is named. Expected 'No Finding' for a "
            "normal radiograph: write it there, or remove the row."
        )
    if "No Finding" in present and (present["No Finding"] & (names > 1)).any():
        row = int(np.argmax((present["No Finding"] & (names > 1)).to_numpy()))
        raise LabelError(
            f"{source}, line {line_of(row)}: {findings.iloc[row]!r} names 'No Finding' and "
            "another. Remove one of the two, or the row."
        )
    targets = pd.DataFrame(0.0, index=findings.index, columns=list(OBSERVATIONS))
    for nih_name, observation in NIH_TO_CHEXPERT.items():
        if observation is not None and nih_name in present:
            targets.loc[present[nih_name], observation] = 1.0
    targets[list(NIH_UNLABELLED)] = np.nan
    other_finding = (targets["No Finding"] == 0) & (targets["Lung Opacity"] == 0)
    targets.loc[other_finding, "Lung Opacity"] = np.nan
    return targets
