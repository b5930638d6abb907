"""NIH ChestX-ray14's layout: its table, folders, official lists and boxes."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from cxrlib.data.track import DataError, _entries, _some_patients
from cxrlib.labels import NIH_TO_CHEXPERT, OBSERVATIONS, read_csv, read_nih, refuse, require_columns

NIH_TABLE = "Data_Entry_2017_v2020.csv"
NIH_BOXES, RSNA_BOXES = "BBox_List_2017.csv", "RSNA_boxes.csv"
BOX = ["observation", "x", "y", "width", "height"]


def _read_nih_table(folder):
    source = folder / NIH_TABLE
    raw = read_nih(source)
    names = raw["Image Index"]
    # Images lie in images/, images_001/ or images_001/images/, and so on.
    places = [*sorted(folder.glob("images_*")), *sorted(folder.glob("images_*/images"))]
    where = _entries(folder, [folder / "images", *places])
    wrong = "the path {!r} leaves the data folder. Expected a file name such as 00000001_000.png."
    refuse(~names.str.fullmatch(r"(?!\.+$)[^/\\:]+"), names, source, wrong, DataError)
    # A program that rewrote the table may have made 1.0 of 1: still the same person.
    patients = raw["Patient ID"].str.extract(r"^\s*0*([0-9]+)(?:\.0*)?\s*$")[0]
    wrong = "the Patient ID {!r} is no whole number."
    refuse(patients.isna(), raw["Patient ID"], source, wrong, DataError)
    table = raw[list(OBSERVATIONS)].assign(
        path=names.map(lambda name: where.get(name, f"images/{name}")),
        patient="nih" + patients.str.zfill(5),
        study=names.map(lambda name: Path(name).stem),
        view="frontal",
        sex=raw.get("Patient Gender"),
        age=pd.to_numeric(raw.get("Patient Age"), errors="coerce"),
        projection=_projections(raw),
    )
    return table.assign(split=_nih_splits(folder, names, table["patient"]))


def _projections(raw):
    """How each image was taken, "AP" or "PA"; None where the table does not say."""
    said = raw.get("View Position", pd.Series("", raw.index)).str.strip().str.upper()
    return said.astype(object).where(said.isin(["AP", "PA"]), None)


def _nih_splits(folder, names, patients):
    """The official test list where it is given, else a fifth of the patients; a tenth to valid."""
    if (folder / "test_list.txt").is_file():
        test = names.isin(_read_test_list(folder / "test_list.txt")).to_numpy()
        if not test.any():
            raise DataError(
                f"{folder / 'test_list.txt'}: names none of the images of {NIH_TABLE}. Get the "
                "official list again, or remove it: a fifth of the patients is then the test set."
            )
    else:
        test = _some_patients(patients, fraction=0.2, seed=0)
    split = np.where(test, "test", "train")
    rest = np.flatnonzero(~test)
    if len(rest):
        valid = rest[_some_patients(patients.iloc[rest], fraction=0.125, seed=1)]
        split[valid] = "valid"
    return split


def _read_test_list(path):
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error}).") from error
    odd = [name for name in names if not re.fullmatch(r"[^/\\]+\.\w+", name)]
    if odd:
        raise DataError(
            f"{path}: {odd[0]!r} is no name of an image. Expected file names such as "
            "00000001_000.png, one in a line, without a folder."
        )
    return names


def _read_boxes(folder, table):
    """NIH's boxes of findings and RSNA's of opacities, in fractions of the image's sides."""
    found = []
    for name, read in {NIH_BOXES: _nih_boxes, RSNA_BOXES: _rsna_boxes}.items():
        if (folder / name).is_file():
            found.append(read(folder / name))
    if not found:
        return pd.DataFrame(columns=["path", *BOX])
    paths = table[["path"]].assign(name=table["path"].map(lambda path: Path(path).name))
    return pd.concat(found).merge(paths, on="name")[["path", *BOX]]


def _nih_boxes(source):
    raw = read_csv(source)
    names = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")  # [x,y,w,h] is one name
    require_columns(raw, names, source)
    raw = raw[list(names)].set_axis(["name", "finding", *BOX[1:]], axis=1)
    raw["finding"] = raw["finding"].replace("Infiltrate", "Infiltration")
    pixels = _in_pixels(raw)
    wrong = "Expected one of NIH's findings, and x, y, w, h in pixels of the 1024 × 1024 original."
    odd = pixels.isna().any(axis=1) | ~raw["finding"].isin(list(NIH_TO_CHEXPERT))
    refuse(odd, raw.agg(", ".join, axis=1), source, "{}. " + wrong)
    raw[BOX[1:]] = pixels / 1024
    raw["observation"] = raw["finding"].map(NIH_TO_CHEXPERT)
    return raw.dropna(subset="observation")


def _rsna_boxes(source):
    """Radiologists' boxes of opacities suspicious for pneumonia (Shih et al. 2019): Target 1.

    They are boxes of Lung Opacity. Target 0, an image that was read and has none, is no box.
    """
    raw = read_csv(source)
    names = ["Image Index", *BOX[1:], "Target"]
    require_columns(raw, names, source)
    raw = raw[names].rename(columns={"Image Index": "name"})
    boxed, pixels = raw["Target"].str.strip() == "1", _in_pixels(raw)
    wrong = "Expected Target 0, or 1 and x, y, width, height in pixels of the 1024 × 1024 original."
    odd = (boxed & pixels.isna().any(axis=1)) | ~raw["Target"].str.strip().isin(["0", "1"])
    refuse(odd, raw.agg(", ".join, axis=1), source, "{}. " + wrong)
    raw[BOX[1:]] = pixels / 1024
    return raw[boxed].assign(observation="Lung Opacity")


def _in_pixels(raw):
    """The numbers of boxes; all NaN in a row that is no box within 1024 × 1024 pixels."""
    pixels = raw[BOX[1:]].apply(pd.to_numeric, errors="coerce")
    inside = (pixels["x"] + pixels["width"] <= 1025) & (pixels["y"] + pixels["height"] <= 1025)
    inside &= (pixels[["x", "y"]] >= 0).all(axis=1) & (pixels[["width", "height"]] > 0).all(axis=1)
    return pixels.where(inside)
