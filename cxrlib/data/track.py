"""A track: one table of radiographs, and what makes it valid."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

SPLITS = ("train", "valid", "test")

COLUMNS = ("path", "patient", "study", "view", "projection", "sex", "age", "split")


class DataError(ValueError):
    """A data folder, table or image that cannot be used; the message names it and the mend."""


@dataclass(frozen=True)
class Track:
    """A folder of radiographs, read.

    ``name`` is "phantom", "nih" or "chexpert"; ``table`` has one row per image, ``path`` relative
    to ``folder``; ``boxes`` holds the boxes of findings that NIH and RSNA drew on NIH's images (it
    is empty elsewhere) as ``path, observation, x, y, width, height`` in fractions of the image;
    ``opened`` is how it was opened, in the arguments of ``configs.open_data``, so that a run can be
    made again.
    """

    name: str
    folder: Path
    table: pd.DataFrame
    boxes: pd.DataFrame
    opened: dict = field(default_factory=dict)

    def split(self, name):
        """The rows of one split: "train", "valid" or "test"."""
        if name not in SPLITS:
            raise DataError(f"unknown split {name!r}: choose one of {', '.join(SPLITS)}.")
        return self.table[self.table["split"] == name]

    def __repr__(self):
        sizes = self.table["split"].value_counts()
        parts = ", ".join(f"{sizes.get(split, 0):,} {split}" for split in SPLITS)
        patients = self.table["patient"].nunique()
        return f"Track {self.name!r}: {parts} images of {patients:,} patients"


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
    table = track.table[~train | track.table["patient"].isin(kept)].reset_index(drop=True)
    chosen = {"fraction": float(fraction), "fraction_seed": int(seed)}
    return replace(track, table=table, opened=track.opened | chosen)


def require_disjoint_patients(table):
    """Raise ``DataError`` if a patient is in more than one split: that would leak."""
    splits = table.groupby("patient")["split"].agg(lambda s: sorted(set(s)))
    shared = splits[splits.map(len) > 1]
    if len(shared):
        others = f" ({len(shared) - 1} other patients too)" if len(shared) > 1 else ""
        raise DataError(
            f"patient {shared.index[0]} is in the splits {' and '.join(shared.iloc[0])}{others}. A "
            "model would be tested on people it has seen: move all their images into one split."
        )


def _entries(folder, places):
    """Name → path in ``folder``, of what lies directly in any of ``places`` that are there."""
    return {
        entry.name: f"{place.relative_to(folder).as_posix()}/{entry.name}"
        for place in places
        if place.is_dir()
        for entry in os.scandir(place)
    }


def _some_patients(patients, fraction, seed):
    """A boolean array: the images of about ``fraction`` of the patients."""
    chosen = np.zeros(len(patients), dtype=bool)
    if patients.nunique() > 1:
        splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=seed)
        chosen[next(splitter.split(patients, groups=patients))[1]] = True
    return chosen
