"""What a data folder holds, what is missing, and what will be used for training.

python -m cxrlib check FOLDER
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from cxrlib import cohort, data
from cxrlib.data.nih import NIH_BOXES, RSNA_BOXES
from cxrlib.labels import OBSERVATIONS


@dataclass(frozen=True)
class FolderReport:
    """What ``check_folder`` found: ``lines`` to read, and ``problems``, none where all is well."""

    lines: tuple
    problems: tuple

    def __str__(self):
        count = f"{len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}:"
        wrong = [count, *(f"  {n}. {text}" for n, text in enumerate(self.problems, start=1))]
        end = wrong if self.problems else ["Everything needed is here."]
        return "\n".join([*self.lines, "", *end])


def check_folder(folder=None, labels="visualchexbert", images=200):
    """Say what a data folder holds, what is missing and what will be used. Nothing is written.

    Every image of the tables, of both views, must be there; some of them are opened too.

    Parameters
    ----------
    folder, labels : as for ``open_track``, but no phantom is made.
    images : how many of each split to open; None opens all.

    Returns
    -------
    FolderReport; ``print`` shows it. A folder that cannot be used is a problem in it, no error.
    """
    folder = Path(folder).expanduser() if folder is not None else data.data_folder()
    head, tables, batches, details, problems = str(folder), [], [], [], []
    try:
        batches = _batch_lines(folder)
        name = data.track_name(folder)
        head += f": {data.TRACK_TITLES[name]}"
        tables = _nih_lines(folder) if name == "nih" else _table_lines(folder, labels)
        problems += _phantom_problems(folder) if name == "phantom" else []
        if not (problems and folder == data.DEFAULT_FOLDER):  # open_track refuses that one
            track = data.open_track(folder, labels, "U-Ignore", views=("frontal", "lateral"))
            batches = _batch_lines(folder, track.table)
            about, wrong = _check_images(track, images)
            details = [*_split_lines(track.table), about, *_positive_lines(track.split("train"))]
            problems += _split_problems(track.table) + wrong
    except (OSError, ValueError) as error:  # DataError and LabelError are ValueErrors
        problems.append(str(error))
    return FolderReport((head, *tables, *batches, *details), tuple(problems))


def _line(name, text):
    return f"  {name:<12}{text}"


def _table_lines(folder, labels):
    names = dict.fromkeys([*data.LABEL_SOURCES.values(), "valid.csv", *data.TEST_TABLES])
    there = [name for name in names if data.table_path(folder, name).is_file()]
    others = ", ".join(repr(source) for source in data.label_sources(folder) if source != labels)
    used = f"{labels!r} ({data.LABEL_SOURCES.get(labels)}); also here: {others or 'none'}"
    no_test = f"no {' or '.join(data.TEST_TABLES)}: a model can be trained, but not be tested here"
    return [
        _line("tables", ", ".join(there)),
        _line("labels", used),
        _line("test", data.test_table(folder) or no_test),
    ]


def _batch_lines(folder, table=None):
    """One line for each batch of the full CheXpert, if there is any."""
    texts = dict.fromkeys(data.BATCHES, "missing")
    for batch in data.BATCHES:
        if (folder / batch).is_dir():
            texts[batch] = f"{len(data.patients_in(folder, batch)):,} patients"
            if table is not None:
                texts[batch] += f", {table['path'].str.startswith(f'{batch}/').sum():,} images"
    lines = [_line("batch", f"{batch}: {text}") for batch, text in texts.items()]
    return lines if set(texts.values()) != {"missing"} else []


def _nih_lines(folder):
    numbered = [f"images_{number:03d}" for number in range(1, 13)]
    there = [name for name in numbered if (folder / name).is_dir()]
    missing = [name for name in numbered if name not in there]
    places = ["images"] * (folder / "images").is_dir() + there
    text = ", ".join(places) or "none: no images, no images_001 to images_012"
    if there and missing:
        text += f"; not here: {', '.join(missing)}"
    test_list = (folder / "test_list.txt").is_file()
    boxes = [name for name in (NIH_BOXES, RSNA_BOXES) if (folder / name).is_file()]
    return [
        _line("folders", text),
        _line("split", "test_list.txt" if test_list else "by patient (no test_list.txt)"),
        _line("boxes", ", ".join(boxes) or f"none (no {NIH_BOXES}, no {RSNA_BOXES})"),
    ]


def _phantom_problems(folder):
    try:
        generator = json.loads((folder / cohort.RECORD).read_text(encoding="utf-8"))["generator"]
    except (ValueError, KeyError, TypeError):
        generator = "unknown"
    current = cohort.generator_version()
    wrong = f"{folder}: drawn by version {generator} of the phantom, this is version {current}"
    mend = "Delete the folder and write it again (`make data` for the one in data/phantom)"
    return [] if generator == current else [f"{wrong}. {mend}."]


def _split_lines(table):
    lines = []
    for split in data.SPLITS:
        rows = table[table["split"] == split]
        counts = rows["view"].value_counts()
        views = ", ".join(f"{count:,} {view}" for view, count in counts.items())
        text = f"{len(rows):,} images of {rows['patient'].nunique():,} patients: {views}"
        lines += [_line(split, text)] if len(rows) else []
    return lines


def _split_problems(table):
    frontal = set(table.loc[table["view"] == "frontal", "split"])
    return [
        f"no frontal image in the split {split!r}: nothing to {verb} on."
        for split, verb in (("train", "train"), ("valid", "choose a model"))
        if split not in frontal
    ]


def _check_images(track, images):
    """A line on the image files of a track, and what is wrong with them."""
    files = track.folder.as_posix() + "/" + track.table["path"]
    there = np.array([os.path.isfile(path) for path in files])
    chosen = files[there].sample(frac=1, random_state=0)
    if images is not None:
        chosen = chosen.groupby(track.table["split"]).head(images)
    bar = {"desc": "opening images", "unit": "image", "leave": False, "disable": len(chosen) <= 500}
    with ThreadPoolExecutor(4) as pool:
        answers = tqdm(pool.map(_complaint, chosen), total=len(chosen), **bar)
        complaints = [complaint for complaint in answers if complaint]
    problems = []
    if not there.all():
        problems.append(
            f"{(~there).sum():,} of {len(files):,} images are missing, the first of them "
            f"{files[~there].iloc[0]}. Get the rest, or take them out of the tables."
        )
    if complaints:
        problems.append(f"{len(complaints):,} images cannot be read. The first: {complaints[0]}")
    text = f"{there.sum():,} of {len(files):,} are here; {len(chosen):,} opened, "
    return _line("images", text + f"{len(complaints):,} of them unreadable"), problems


def _complaint(path):
    """What ``load_image`` says against an image, or None."""
    try:
        data.load_image(path, 16)
    except data.DataError as error:
        return str(error)


def _positive_lines(train):
    lines = [_line("positive", f"of {len(train):,} training images (unknown: -1, or not labelled)")]
    for name in OBSERVATIONS:
        positive, unknown = (train[name] == 1).sum(), train[name].isna().sum()
        share = f"{positive:>9,} {positive / max(1, len(train)):>6.1%}"
        lines.append(f"    {name:<28}{share}" + (f", {unknown:,} unknown" if unknown else ""))
    return lines


def main(arguments=None):
    """``python -m cxrlib check [FOLDER]``: print what a folder holds; 1 if something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m cxrlib check",
        description="Say what a data folder holds, what is missing and what will be used.",
    )
    parser.add_argument("folder", nargs="?", help="default: CXR_DATA, or else the phantom's")
    parser.add_argument("--labels", choices=data.LABEL_SOURCES, default="visualchexbert",
                        help="of the training images, for CheXpert and the phantom")  # fmt: skip
    parser.add_argument("--all-images", action="store_true", help="open all, not 200 of each split")
    options = parser.parse_args(arguments)
    report = check_folder(options.folder, options.labels, None if options.all_images else 200)
    print(report)
    return 1 if report.problems else 0
