"""CheXpert's layout, which is also the phantom's: its tables, paths and batches."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.data.track import DataError, _entries
from cxrlib.labels import (
    OBSERVATIONS,
    apply_policy,
    read_chexpert,
    refuse,
    require_columns,
    require_unique,
)

LABEL_SOURCES = {
    "visualchexbert": "train_visualCheXbert.csv",
    "report": "train.csv",
    "truth": "truth.csv",
}
"""Where the training labels of the phantom and of CheXpert come from."""

TEST_TABLES = ("test.csv", "test_labels.csv")

BATCHES = {
    "CheXpert-v1.0 batch 1 (validate & csv)": "valid",
    "CheXpert-v1.0 batch 2 (train 1)": "train",
    "CheXpert-v1.0 batch 3 (train 2)": "train",
    "CheXpert-v1.0 batch 4 (train 3)": "train",
}
"""The folders that CheXpert's full download unzips to, and the split whose images each holds."""


def table_path(folder, name):
    """Where a table lies: in the folder, or in batch 1 of the full download."""
    first = folder / next(iter(BATCHES))
    places = [folder / name, first / name, *first.glob(f"CheXpert*/{name}")]
    return next((path for path in places if path.is_file()), places[0])


def label_sources(folder):
    """Those of ``LABEL_SOURCES`` whose file is there."""
    files = LABEL_SOURCES.items()
    return [source for source, name in files if table_path(Path(folder), name).is_file()]


def test_table(folder):
    """The name of the table of test images, or None."""
    return next((name for name in TEST_TABLES if table_path(folder, name).is_file()), None)


def _read_chexpert_table(folder, labels, uncertain):
    if labels not in LABEL_SOURCES:
        raise DataError(f"labels={labels!r}: choose one of {', '.join(LABEL_SOURCES)}.")
    if labels not in label_sources(folder):
        raise DataError(
            f"{folder / LABEL_SOURCES[labels]}: no such file, so there are no labels {labels!r}. "
            "data/README.md tells where it comes from. Labels that are there, for "
            f"open_track(labels=...): {', '.join(label_sources(folder))}."
        )
    tables = {"train": LABEL_SOURCES[labels], "valid": "valid.csv", "test": test_table(folder)}
    there = [(split, name) for split, name in tables.items() if name is not None]
    parts = [_read_chexpert_split(folder, split, name, uncertain) for split, name in there]
    return pd.concat(parts, ignore_index=True)


def _read_chexpert_split(folder, split, name, uncertain):
    path = table_path(folder, name)
    raw = read_chexpert(path)
    table = _parse_chexpert_paths(raw["Path"], path)
    other = table["split"] != split
    if name == LABEL_SOURCES["truth"]:  # the phantom's truth is one table for all splits
        raw, table = raw[~other], table[~other].copy()
    else:
        wrong = f"an image of the split {{!r}} in a table of {split!r}. Move the row to the table "
        refuse(other, table["split"], path, wrong + "of its split, or remove it.", DataError)
    # Path, sex, age and view may be missing from a label file (test_labels.csv has none); the
    # demographics of the training images stand in train.csv.
    if "Sex" not in raw and split == "train" and name != "train.csv":
        source = table_path(folder, "train.csv")
        about = read_chexpert(source)
        require_columns(about, ("Sex", "Age"), source)
        about = about.set_index(_parse_chexpert_paths(about["Path"], source)["path"])
        known = [name for name in ("Sex", "Age", "AP/PA") if name in about]
        raw = raw.assign(**{name: table["path"].map(about[name]) for name in known})
    table["sex"] = raw["Sex"].str[:1].str.upper() if "Sex" in raw else ""
    table["sex"] = table["sex"].where(table["sex"].isin(["F", "M"]))
    table["age"] = pd.to_numeric(raw["Age"], errors="coerce") if "Age" in raw else np.nan
    said = raw["AP/PA"].astype(object) if "AP/PA" in raw else pd.Series(None, raw.index, object)
    table["projection"] = said.where(said.isin(["AP", "PA"]), None)
    table = table.join(apply_policy(raw[list(OBSERVATIONS)], uncertain))
    if any((folder / batch).is_dir() for batch in BATCHES) and not (folder / split).is_dir():
        table["path"] = _paths_in_batches(folder, table, split)
    return table


_LEAVES = re.compile(r"^/|\\|:|(?:^|/)\.\.(?:/|$)")

_CHEXPERT_PATH = re.compile(
    r"^(?:[^/]+/)?(?P<path>(?P<split>train|valid|test)/(?P<patient>patient[0-9]+)/(?P<study>study[0-9]+)"
    r"/view[0-9]+_(?P<view>frontal|lateral)\.\w+)$"
)


def _parse_chexpert_paths(paths, source):
    """Path, split, patient, study and view from ``CheXpert-v1.0/train/patient1/study1/view1_...``.

    The first folder may have any name or be left out; ``path`` is what follows. A patient's number
    is written with five digits, so that patient7 and patient00007 are one person.
    """
    found = paths.str.extract(_CHEXPERT_PATH)
    wrong = "the path {!r} leaves the data folder. Expected a relative path without '..'."
    refuse(paths.str.contains(_LEAVES), paths, source, wrong, DataError)
    form = "…/train/patient00001/study1/view1_frontal.jpg (or valid, or test)"
    wrong = f"the path {{!r}} is not of the form {form}."
    refuse(found["path"].isna(), paths, source, wrong, DataError)
    require_unique(found["path"], source)
    number = found["patient"].str.removeprefix("patient").str.lstrip("0")
    found["patient"] = "patient" + number.str.zfill(5)
    found["study"] = found["patient"] + "/" + found["study"]
    return found


def patients_in(folder, batch):
    """Name of each patient folder in a batch → its path, directly in it or in train/ or valid/.

    Some programs unzip into one more folder, ``CheXpert-v1.0`` or one named as the batch.
    """
    tops = [folder / batch, *(folder / batch).glob("CheXpert*")]
    found = _entries(folder, [*tops, *(top / BATCHES[batch] for top in tops)])
    return {name: path for name, path in found.items() if name.startswith("patient")}


def _paths_in_batches(folder, table, split):
    """The paths of a split's images in the batch folders; each batch is listed once."""
    found = {batch: patients_in(folder, batch) for batch, of in BATCHES.items() if of == split}
    if not found:  # the test images are in none of the batches
        return table["path"]
    homes = {patient: home for batch in found.values() for patient, home in batch.items()}
    home = table["path"].str.split("/").str[1].map(homes)
    lost = home.isna()
    if lost.any():
        empty = [batch for batch, patients in found.items() if not patients]
        mend = f"Is each of {', '.join(map(repr, found))} unzipped to its end?"
        if empty:
            mend = f"Missing or empty: {', '.join(map(repr, empty))}. Unzip it beside the others."
        raise DataError(
            f"{folder}: {lost.sum():,} of {len(lost):,} {split} images lie in no batch, the first "
            f"of them of {table['patient'][lost].iloc[0]}. {mend} `python -m cxrlib check "
            f"{folder}` lists what is there."
        )
    return home + "/" + table["path"].str.split("/", n=2).str[2]
