"""Open a folder of radiographs, whichever of the three tracks it is.

==========  ==================================  ============================================
track       known by                            splits
==========  ==================================  ============================================
phantom     ``cohort.json`` and ``train.csv``   its own
chexpert    ``train.csv``, there or in batch 1  its own: train, valid, test where present
nih         ``Data_Entry_2017_v2020.csv``       the official lists where present; by patient
==========  ==================================  ============================================
"""

import os
from pathlib import Path

from cxrlib import cohort
from cxrlib.data.chexpert import BATCHES, _read_chexpert_table, table_path
from cxrlib.data.nih import NIH_TABLE, _read_boxes, _read_nih_table
from cxrlib.data.track import COLUMNS, DataError, Track, require_disjoint_patients
from cxrlib.labels import OBSERVATIONS
from cxrlib.places import PHANTOM

TRACK_TITLES = {"phantom": "phantom", "nih": "NIH ChestX-ray14", "chexpert": "CheXpert"}
DEFAULT_FOLDER = PHANTOM


def data_folder():
    """The folder that the environment variable ``CXR_DATA`` names, or else the phantom's."""
    return Path(os.environ.get("CXR_DATA") or DEFAULT_FOLDER).expanduser()


def open_track(
    folder=None, labels="visualchexbert", uncertain="U-Ones", views=("frontal",), white=None
):
    """Read a folder of any of the three tracks: a ``Track``, which is one table.

    Parameters
    ----------
    folder : its path; without one, ``data_folder()``, and the phantom is made there if need be.
    labels : where the *training* labels of the phantom and of CheXpert come from, one of
        ``LABEL_SOURCES``. Valid and test keep their own. NIH has one set of labels only.
    uncertain : the policy for −1, or one for each observation, see ``labels.apply_policy``.
    views : which views to keep, of "frontal" and "lateral".
    white : the grey level of white in the images, such as 4095 where 12 bits are kept in files of
        16; None for the highest that a file's format can hold, see ``load_image``.

    Raises
    ------
    DataError, LabelError
        The folder is none of the three, a batch of the full CheXpert is missing, a path leaves the
        folder, an image is of another split than its table, a patient is in two splits, no image
        of these views is left, or a table cannot be read.
    """
    folder = Path(folder).expanduser() if folder is not None else data_folder()
    opened = {
        "folder": None if folder == DEFAULT_FOLDER else str(folder.absolute()),
        "labels": labels,
        "uncertain": uncertain,
        "views": list(views),
        "white": None if white is None else int(white),
    }
    if folder == DEFAULT_FOLDER:
        cohort.write_cohort(folder)
    if isinstance(views, str) or len(views) == 0 or set(views) - {"frontal", "lateral"}:
        raise DataError(f"views={views!r}: expected a list of some of 'frontal' and 'lateral'.")
    name = track_name(folder)
    nih = name == "nih"
    table = _read_nih_table(folder) if nih else _read_chexpert_table(folder, labels, uncertain)
    table = table[table["view"].isin(views)].reset_index(drop=True)
    if table.empty:
        raise DataError(f"{folder}: no image with a view of {', '.join(views)}.")
    require_disjoint_patients(table)
    table = table[[*COLUMNS, *OBSERVATIONS]]
    return Track(name, folder, table, _read_boxes(folder, table), opened)


def track_name(folder):
    """Which track a folder is; ``DataError`` if it is none, with the folder that was meant."""
    if (folder / NIH_TABLE).is_file():
        return "nih"
    whole = (folder / "train.csv").is_file() and (folder / "train").is_dir()
    if folder.name in BATCHES and not whole:
        raise DataError(f"{folder}: one batch of four. Give the folder it lies in: {folder.parent}")
    if table_path(folder, "train.csv").is_file():
        return "phantom" if (folder / cohort.RECORD).is_file() else "chexpert"
    if any((folder / batch).is_dir() for batch in BATCHES):
        raise DataError(
            f"{folder}: {next(iter(BATCHES))!r} is missing, or has no train.csv. It holds the "
            "tables of the full CheXpert: unzip it into this folder, beside the other batches."
        )
    below = [path.parent for name in ("train.csv", NIH_TABLE) for path in folder.glob(f"*/{name}")]
    meant = f"Did you mean {below[0]}? " if below else ""
    what = "not a data folder" if folder.is_dir() else "no such folder"
    raise DataError(
        f"{folder}: {what}. {meant}Expected train.csv (phantom, CheXpert) or {NIH_TABLE} (NIH) in "
        "it. `make data` writes the phantom; data/README.md tells how to get the others. CXR_DATA "
        "chooses the folder."
    )
