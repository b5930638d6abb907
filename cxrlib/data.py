"""From a folder of radiographs to batches of images and targets.

Three tracks are read into one table with the columns ``path, patient, study, view, sex, age,
split`` and one column per observation. The folder says which track it is:

==========  ==================================  ============================================
track       known by                            splits
==========  ==================================  ============================================
phantom     ``cohort.json`` and ``train.csv``   its own
chexpert    ``train.csv``, there or in batch 1  its own: train, valid, test where present
nih         ``Data_Entry_2017_v2020.csv``       the official lists where present; by patient
==========  ==================================  ============================================

``cxrlib.check`` says what is in a folder, what is missing and what will be used.
"""

import copy
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from PIL import Image
from sklearn.model_selection import GroupShuffleSplit
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler
from torchvision.transforms import v2
from tqdm import tqdm

from cxrlib import cohort
from cxrlib.labels import (
    OBSERVATIONS,
    LabelError,
    apply_policy,
    line_of,
    nih_targets,
    read_chexpert,
    read_csv,
    read_nih,
    require_columns,
    require_unique,
)

SPLITS = ("train", "valid", "test")
COLUMNS = ("path", "patient", "study", "view", "sex", "age", "split")
LABEL_SOURCES = {
    "visualchexbert": "train_visualCheXbert.csv",
    "report": "train.csv",
    "truth": "truth.csv",
}
"""Where the training labels of the phantom and of CheXpert come from."""

TEST_TABLES = ("test.csv", "test_labels.csv")
TRACK_TITLES = {"phantom": "phantom", "nih": "NIH ChestX-ray14", "chexpert": "CheXpert"}
NIH_TABLE = "Data_Entry_2017_v2020.csv"
BATCHES = {
    "CheXpert-v1.0 batch 1 (validate & csv)": "valid",
    "CheXpert-v1.0 batch 2 (train 1)": "train",
    "CheXpert-v1.0 batch 3 (train 2)": "train",
    "CheXpert-v1.0 batch 4 (train 3)": "train",
}
"""The folders that CheXpert's full download unzips to, and the split whose images each holds."""

DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "data" / "phantom"


class DataError(ValueError):
    """A data folder, table or image that cannot be used; the message names it and the mend."""


@dataclass(frozen=True)
class Track:
    """A folder of radiographs, read.

    ``name`` is "phantom", "nih" or "chexpert"; ``table`` has one row per image, ``path`` relative
    to ``folder``; ``boxes`` holds NIH's finding boxes (empty elsewhere) as ``path, observation,
    x, y, width, height`` in fractions of the image.
    """

    name: str
    folder: Path
    table: pd.DataFrame
    boxes: pd.DataFrame

    def split(self, name):
        """The rows of one split: "train", "valid" or "test"."""
        if name not in SPLITS:
            raise DataError(f"unknown split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.table[self.table["split"] == name]

    def __repr__(self):
        sizes = self.table["split"].value_counts()
        parts = ", ".join(f"{sizes.get(split, 0):,} {split}" for split in SPLITS)
        return (
            f"Track {self.name!r}: {parts} images of {self.table['patient'].nunique():,} patients"
        )


def data_folder():
    """The folder that the environment variable ``CXR_DATA`` names, or else the phantom's."""
    return Path(os.environ.get("CXR_DATA") or DEFAULT_FOLDER).expanduser()


def open_track(folder=None, labels="visualchexbert", uncertain="U-Ones", views=("frontal",)):
    """Read a folder of any of the three tracks into one table.

    Parameters
    ----------
    folder : its path; without one, ``data_folder()``, and the phantom is made there if need be.
    labels : where the *training* labels of the phantom and of CheXpert come from, one of
        ``LABEL_SOURCES``. Valid and test keep their own. NIH has one set of labels only.
    uncertain : the policy for −1, see ``labels.apply_policy``.
    views : which views to keep, of "frontal" and "lateral".

    Returns
    -------
    Track

    Raises
    ------
    DataError, LabelError
        The folder is none of the three, a batch of the full CheXpert is missing, a path leaves the
        folder, an image is of another split than its table, a patient is in two splits, no image
        of these views is left, or a table cannot be read.
    """
    folder = Path(folder).expanduser() if folder is not None else data_folder()
    if folder == DEFAULT_FOLDER:
        cohort.write_cohort(folder)
    name = track_name(folder)
    if name == "nih":
        table = _read_nih_table(folder)
    else:
        table = _read_chexpert_table(folder, labels, uncertain)
    unknown_views = set(views) - {"frontal", "lateral"}
    if unknown_views:
        raise DataError(f"unknown view {min(unknown_views)!r}: expected 'frontal' or 'lateral'.")
    table = table[table["view"].isin(views)].reset_index(drop=True)
    if table.empty:
        raise DataError(f"{folder}: no image with a view of {', '.join(views)}.")
    require_disjoint_patients(table)
    return Track(name, folder, table[[*COLUMNS, *OBSERVATIONS]], _read_boxes(folder, table))


def fewer(track, fraction, seed=0):
    """The same track with the images of only some of its training patients; the rest stays.

    Parameters
    ----------
    fraction : of the training patients, above 0 and up to 1; at least one is kept.
    seed : of the choice. A smaller fraction chooses among those that a larger one chose.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction={fraction!r}: expected a number above 0 and up to 1.")
    train = track.table["split"] == "train"
    patients = np.sort(track.table.loc[train, "patient"].unique())
    order = np.random.default_rng(seed).permutation(patients)
    kept = order[: max(1, round(fraction * len(order)))]
    rows = ~train | track.table["patient"].isin(kept)
    return replace(track, table=track.table[rows].reset_index(drop=True))


def require_disjoint_patients(table):
    """Raise ``DataError`` if a patient is in more than one split: that would leak."""
    splits = table.groupby("patient")["split"].agg(lambda s: sorted(set(s)))
    shared = splits[splits.map(len) > 1]
    if len(shared):
        others = f" ({len(shared) - 1} other patients too)" if len(shared) > 1 else ""
        raise DataError(
            f"patient {shared.index[0]} is in the splits {' and '.join(shared.iloc[0])}{others}. A "
            "model would be tested on people it has seen: move all images of a patient into one "
            "split."
        )


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


# --- CheXpert's layout (also the phantom's) ------------------------------------------------------


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
    return pd.concat(
        [
            _read_chexpert_split(folder, split, name, uncertain)
            for split, name in tables.items()
            if name is not None
        ],
        ignore_index=True,
    )


def _read_chexpert_split(folder, split, name, uncertain):
    path = table_path(folder, name)
    raw = read_chexpert(path)
    table = _parse_chexpert_paths(raw["Path"], path)
    other = (table["split"] != split).to_numpy()
    if name == LABEL_SOURCES["truth"]:  # the phantom's truth is one table for all splits
        raw, table = raw[~other], table[~other].copy()
    elif other.any():
        row = int(np.argmax(other))
        raise DataError(
            f"{path}, line {line_of(row)}: {raw['Path'].iloc[row]!r} is an image of the split "
            f"{table['split'].iloc[row]!r} in a table of {split!r}. Move the row to the table of "
            "its split, or remove it."
        )
    # Path, sex, age and view may be missing from a label file (test_labels.csv has none); the
    # demographics of the training images stand in train.csv.
    if "Sex" not in raw and split == "train" and name != "train.csv":
        about = _demographics(table_path(folder, "train.csv"))
        raw = raw.assign(**{name: table["path"].map(about[name]) for name in about})
    table["sex"] = raw["Sex"].str[:1].str.upper() if "Sex" in raw else ""
    table["sex"] = table["sex"].where(table["sex"].isin(["F", "M"]))
    table["age"] = pd.to_numeric(raw["Age"], errors="coerce") if "Age" in raw else np.nan
    table = table.join(apply_policy(raw[list(OBSERVATIONS)], uncertain))
    if any((folder / batch).is_dir() for batch in BATCHES) and not (folder / split).is_dir():
        table["path"] = _paths_in_batches(folder, table, split)
    return table


def _demographics(path):
    """Sex and age from train.csv, as text, indexed by the path inside the data folder."""
    about = read_chexpert(path)
    require_columns(about, ("Sex", "Age"), path)
    return about.set_index(_parse_chexpert_paths(about["Path"], path)["path"])[["Sex", "Age"]]


_LEAVES = re.compile(r"^/|\\|:|(?:^|/)\.\.(?:/|$)")
_CHEXPERT_PATH = re.compile(
    r"^(?:[^/]+/)?(?P<path>(?P<split>train|valid|test)/(?P<patient>patient\d+)/(?P<study>study\d+)"
    r"/view\d+_(?P<view>frontal|lateral)\.\w+)$"
)


def _parse_chexpert_paths(paths, source):
    """Path, split, patient, study and view from ``CheXpert-v1.0/train/patient1/study1/view1_...``.

    The first folder may have any name or be left out; ``path`` is what follows.
    """
    found = paths.str.extract(_CHEXPERT_PATH)
    leaves = paths.str.contains(_LEAVES).to_numpy()
    odd = leaves | found["path"].isna().to_numpy()
    if odd.any():
        row = int(np.argmax(odd))
        where = f"{source}, line {line_of(row)}: the path {paths.iloc[row]!r}"
        if leaves[row]:
            raise DataError(
                f"{where} leaves the data folder. Expected a relative path without '..'."
            )
        raise DataError(
            f"{where} is not of the form …/train/patient00001/study1/view1_frontal.jpg (or valid, "
            "or test)."
        )
    require_unique(found["path"], source)
    found["study"] = found["patient"] + "/" + found["study"]
    return found


def patients_in(folder, batch):
    """Name of each patient folder in a batch → its path, directly in it or in train/ or valid/.

    Some programs unzip into one more folder, ``CheXpert-v1.0`` or one named as the batch.
    """
    tops = [folder / batch, *(folder / batch).glob("CheXpert*")]
    return {
        entry.name: f"{place.relative_to(folder).as_posix()}/{entry.name}"
        for place in (*tops, *(top / BATCHES[batch] for top in tops))
        if place.is_dir()
        for entry in os.scandir(place)
        if entry.name.startswith("patient")
    }


def _paths_in_batches(folder, table, split):
    """The paths of a split's images in the batch folders; each batch is listed once."""
    found = {batch: patients_in(folder, batch) for batch, of in BATCHES.items() if of == split}
    if not found:  # the test images are in none of the batches
        return table["path"]
    homes = {patient: home for batch in found.values() for patient, home in batch.items()}
    home = table["patient"].map(homes)
    lost = home.isna()
    if lost.any():
        empty = [batch for batch, patients in found.items() if not patients]
        mend = (
            f"Missing or empty: {', '.join(map(repr, empty))}. Unzip it into this folder, beside "
            "the others."
            if empty
            else f"Is each of {', '.join(map(repr, found))} unzipped to its end?"
        )
        raise DataError(
            f"{folder}: {lost.sum():,} of {len(lost):,} {split} images lie in no batch, the first "
            f"of them of {table['patient'][lost].iloc[0]}. {mend}"
        )
    return home + "/" + table["path"].str.split("/", n=2).str[2]


# --- NIH's layout --------------------------------------------------------------------------------


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


def _some_patients(patients, fraction, seed):
    """A boolean array: the images of about ``fraction`` of the patients."""
    chosen = np.zeros(len(patients), dtype=bool)
    if patients.nunique() > 1:
        splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
        chosen[next(splitter.split(patients, groups=patients))[1]] = True
    return chosen


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


# --- Images --------------------------------------------------------------------------------------


def load_image(path, size):
    """Read one radiograph as grey levels.

    Returns
    -------
    uint8 tensor [1, size, size], 0 black to 255 white. The aspect ratio is not kept, as in the
    paper: the image is squeezed into a square. White is 255 in an image of 8 bits, and in one of
    more the first of 255, 4095 and 65535 that is not below its brightest pixel.

    Raises
    ------
    DataError
        The file is missing, truncated or no image, or its grey levels have no known white.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such image. Check that the download is complete and that CXR_DATA names "
            "the folder with the tables."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable image ({error}). It may be truncated: delete it and get it "
            "again."
        ) from error
    grey = _eight_bits(image, path).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(grey))[None]


def _eight_bits(image, path):
    """The image with grey levels 0 to 255. (Pillow's own conversion would clip 16 bits.)"""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image.convert("L")
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(
            f"{path}: grey levels from {pixels.min():g} to {pixels.max():g} (Pillow's mode "
            f"{image.mode!r}). Expected whole numbers from 0 to 255, 4095 or 65535: rescale the "
            "image and save it as PNG with 8 or 16 bits."
        )
    white = min(level for level in (255, 4095, 65535) if level >= pixels.max())
    levels = (pixels.astype(np.uint32) * 255 + white // 2) // white
    return Image.fromarray(levels.astype(np.uint8))


def to_float():
    """Grey levels as float32 in [0, 1]: the paper's "pixels / 255"."""
    return v2.ToDtype(torch.float32, scale=True)


def train_transforms(degrees=7.0, shift=0.05, zoom=0.1, brightness=0.1, contrast=0.1, erase=0.0):
    """Augmentation that keeps a chest a chest: small turns, shifts and zooms, and exposure.

    No flip. Upside down does not occur, and a mirrored chest has its heart on the wrong side; the
    paper's code does both. Notebook 04 shows what that looks like. ``erase`` is the chance that a
    rectangle is greyed out.
    """
    return v2.Compose(
        [
            v2.RandomAffine(
                degrees,
                translate=(shift, shift),
                scale=(1 - zoom, 1 + zoom),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=brightness, contrast=contrast),
            to_float(),
            v2.RandomErasing(erase, scale=(0.02, 0.12), value=0.5),
        ]
    )


def published_transforms():
    """The augmentation in the paper's code: mirrored, upside down, brighter, more contrast.

    Only to be measured: notebook 04 shows what is wrong with it.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.1, contrast=0.1),
            to_float(),
        ]
    )


class ChestDataset(Dataset):
    """Images and targets of some rows of a track's table.

    Parameters
    ----------
    table : rows with a ``path`` column.
    folder : what the paths are relative to.
    targets : DataFrame with the index of ``table``, a column per label, values in [0, 1] or NaN.
    size : images come as [1, size, size].
    transform : from uint8 [1, H, W] to float32 [1, H, W]; ``to_float()`` by default.
    in_memory : read every image once, now, and keep the grey levels (size² bytes an image).
    equalize : spread the grey levels of every image evenly, so that exposure and the console's
        tone curve, which differ between hospitals, matter less.

    Items are ``(image float32 [1, H, W], target float32 [L])``.

    Raises
    ------
    DataError
        An empty table, or a missing image, before anything is trained on the others.
    """

    def __init__(
        self, table, folder, targets, size, transform=None, in_memory=True, equalize=False
    ):
        if table.empty:
            raise DataError("an empty table: no image to make a dataset of.")
        self.paths = [Path(folder) / path for path in table["path"]]
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(self.paths)} images are missing, the first of them "
                f"{missing[0]}. Check that the download is complete: python -m cxrlib.data FOLDER "
                "says what is there."
            )
        self.targets = torch.from_numpy(np.array(targets.loc[table.index], dtype=np.float32))
        self.size = size
        self.transform = transform or to_float()
        self.equalize = equalize
        self.images = read_images(self.paths, size) if in_memory else None
        if equalize and in_memory:
            for image in self.images:
                image[:] = v2.functional.equalize(image)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, item):
        if self.images is None:
            image = load_image(self.paths[item], self.size)
            image = v2.functional.equalize(image) if self.equalize else image
        else:
            image = self.images[item]
        return self.transform(image), self.targets[item]


def read_images(paths, size, progress=None):
    """Read images with a few threads into one uint8 tensor [N, 1, size, size].

    ``progress`` shows a bar; by default only where there are more than 2,000 images.
    """
    bar = tqdm(total=len(paths), desc="reading images", unit="image", leave=False,
               disable=not (len(paths) > 2000 if progress is None else progress))  # fmt: skip
    images = torch.empty((len(paths), 1, size, size), dtype=torch.uint8)
    with bar, ThreadPoolExecutor(4) as pool:
        for row, image in enumerate(pool.map(lambda path: load_image(path, size), paths)):
            images[row] = image
            bar.update()
    return images


class ChestData(pl.LightningDataModule):
    """The three splits of a track as loaders.

    Parameters
    ----------
    track : Track
    hierarchy : Hierarchy; it derives the groups of every split, and tensors have its order.
    size, batch_size : of images, in pixels and in number.
    augment : a transform for the training images; ``to_float()``, no augmentation, by default.
    augment_valid : whether the validation images are changed too, as the paper's code does.
    in_memory, equalize : see ``ChestDataset``.
    workers : processes that load; 0 is quickest for small images in memory.
    seed : of the order in which training images come.
    """

    def __init__(
        self,
        track,
        hierarchy,
        size=96,
        batch_size=32,
        augment=None,
        in_memory=True,
        workers=0,
        seed=0,
        equalize=False,
        augment_valid=False,
    ):
        super().__init__()
        self.track = track
        self.hierarchy = hierarchy
        self.size = size
        self.batch_size = batch_size
        self.augment = augment
        self.augment_valid = augment_valid
        self.in_memory = in_memory
        self.workers = workers
        self.seed = seed
        self.equalize = equalize
        self._datasets = {}

    def targets(self, split):
        """The 21 targets of a split as a DataFrame, in the hierarchy's order."""
        return self.hierarchy.derive(self.track.split(split)[list(OBSERVATIONS)])

    def dataset(self, split, plain=False):
        """The dataset of a split, read once; ``plain`` without any augmentation."""
        if split not in self._datasets:
            self._datasets[split] = ChestDataset(
                self.track.split(split),
                self.track.folder,
                self.targets(split),
                self.size,
                in_memory=self.in_memory,
                equalize=self.equalize,
            )
        made = copy.copy(self._datasets[split])
        if not plain and (split == "train" or (split == "valid" and self.augment_valid)):
            made.transform = self.augment or to_float()
        return made

    def _loader(self, split, shuffle=False):
        dataset = self.dataset(split)
        # The order of an epoch depends on the seed and on the epoch's number, not on what was drawn
        # before: a training can be resumed. (Lightning says which epoch it is.) Several processes
        # share the images of an epoch.
        shares = {"num_replicas": 1, "rank": 0}
        if self.trainer is not None:
            shares = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
        order = DistributedSampler(dataset, **shares, seed=self.seed)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order if shuffle else None,
            drop_last=shuffle and len(dataset) > self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train_dataloader(self):
        return self._loader("train", shuffle=True)

    def val_dataloader(self):
        return self._loader("valid")

    def test_dataloader(self):
        return self._loader("test")
