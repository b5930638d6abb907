"""NIH ChestX-ray14's layout: its table, folders, official lists and boxes."""

import os
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from cxrlib.data.track import DataError, _some_patients
from cxrlib.labels import (
    OBSERVATIONS,
    LabelError,
    line_of,
    nih_targets,
    read_csv,
    read_nih,
    require_columns,
)

NIH_TABLE = "Data_Entry_2017_v2020.csv"


def _read_nih_table(folder):
    source = folder / NIH_TABLE
    raw = read_nih(source)
    where = _nih_images(folder)
    for row, name in enumerate(raw["Image Index"]):
        if PurePosixPath(name).name != name or "\\" in name:
            raise DataError(
                f"{source}, line {line_of(row)}: the path {name!r} leaves the data folder. "
                "Expected a file name."
            )
    table = pd.DataFrame(
        {
            "path": raw["Image Index"].map(lambda name: where.get(name, f"images/{name}")),
            "patient": "nih" + raw["Patient ID"].str.zfill(5),
            "study": raw["Image Index"].map(lambda name: Path(name).stem),
            "view": "frontal",
            "sex": raw.get("Patient Gender"),
            "age": pd.to_numeric(raw.get("Patient Age"), errors="coerce"),
        }
    )
    table["split"] = _nih_splits(folder, raw["Image Index"], table["patient"])
    return table.join(raw[list(OBSERVATIONS)])


def _nih_images(folder):
    """File name → path, from images/, images_001/ or images_001/images/, and so on."""
    numbered = [*sorted(folder.glob("images_*")), *sorted(folder.glob("images_*/images"))]
    folders = [folder / "images", *numbered]
    return {
        entry.name: f"{images.relative_to(folder).as_posix()}/{entry.name}"
        for images in folders
        if images.is_dir()
        for entry in os.scandir(images)
    }


def _nih_splits(folder, names, patients):
    """The official test list where it is given, else a fifth of the patients; a tenth to valid."""
    lists = folder / "test_list.txt"
    if lists.is_file():
        official = set(lists.read_text().split())
        test = names.isin(official).to_numpy()
    else:
        test = _some_patients(patients, fraction=0.2, seed=0)
    split = np.where(test, "test", "train")
    rest = np.flatnonzero(~test)
    if len(rest):
        valid = rest[_some_patients(patients.iloc[rest], fraction=0.125, seed=1)]
        split[valid] = "valid"
    return split


def _read_boxes(folder, table):
    """NIH's finding boxes, in fractions of the image's width and height."""
    columns = ["path", "observation", "x", "y", "width", "height"]
    source = folder / "BBox_List_2017.csv"
    if not source.is_file():
        return pd.DataFrame(columns=columns)
    raw = read_csv(source)
    require_columns(raw, ("Image Index", "Finding Label", "Bbox [x"), source)
    raw = raw.iloc[:, :6].set_axis(["name", "finding", *columns[2:]], axis=1)
    raw["finding"] = raw["finding"].replace("Infiltrate", "Infiltration")
    pixels = raw[columns[2:]].apply(pd.to_numeric, errors="coerce")
    odd = (pixels.isna().any(axis=1) | (pixels < 0).any(axis=1)).to_numpy()
    if odd.any():
        row = int(np.argmax(odd))
        raise LabelError(f"{source}, line {line_of(row)}: expected x, y, w, h in pixels.")
    raw[columns[2:]] = pixels / 1024  # the boxes are in the pixels of the 1024 × 1024 originals
    findings = nih_targets(raw["finding"], source)
    raw["observation"] = (findings == 1).idxmax(axis=1).where((findings == 1).any(axis=1))
    paths = table[["path"]].assign(name=table["path"].map(lambda path: Path(path).name))
    return raw.merge(paths, on="name")[columns].dropna(subset="observation")
