"""What the course's model says of radiographs.

python -m cxrlib read image.png          a table and a report; image.png.json and image.png.maps.png
python -m cxrlib read scan.dcm more.jpg  the same of several
python -m cxrlib read folder             one table of all files in it: folder.csv

For teaching only, not for clinical use. Nothing leaves this machine. Exit code: 0 if every file was
read, 1 if some were not (each is named, with the reason), 2 if nothing could be begun.
"""

import argparse
import csv
import json
import os
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from joblib import cpu_count
from tqdm import tqdm

from cxrlib import plots
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading.files import ReadingError, is_otherwise, read_radiograph
from cxrlib.reading.find import find_reader
from cxrlib.reading.told import NOT_FOR_CLINICAL_USE

BATCH = 32
COLUMNS = ("file", "problem", "notes", "refused", "distance", "said")
MAPS = 4  # of the labels that score highest, and of all that are said


def as_json(reader, found):
    """What a reading says of one image, as JSON can hold it: the schema is in docs/reading.md."""
    reading, row, run = found.reading, str(found.path), reader.run
    ends, refused = (reading.low.loc[row], reading.high.loc[row]), bool(reading.refused.loc[row])
    scores, sets, said = (table.loc[row] for table in (reading.scores, reading.sets, reading.said))
    return {
        "format": 1,
        "file": _told(found.path.name),
        "use": NOT_FOR_CLINICAL_USE,
        "model": {"run": run.folder.name, "trained_on": reader.origin, "cxrlib": version("cxrlib")},
        "notes": list(found.notes),
        "refused": refused,
        "distance": round(float(reading.distance.loc[row]), 4),
        "risk": reading.risk,
        "labels": {
            label: {
                "score": round(float(scores[label]), 4),
                "interval": None
                if refused or np.isnan(ends[0][label])
                else [round(float(end[label]), 3) for end in ends],
                "possible": sets[label],
                "said": bool(said[label]),
                "observation": label in OBSERVATIONS,
                "parents": list(run.hierarchy.parents(label)),
            }
            for label in scores.index
        },
        "contradictions_mended": int(reading.contradictions.loc[row]),
        "report": reading.report(row),
    }


def as_table(reading, row):
    """Every label of one image, highest first: score, what is possible, whether it is said."""
    table = pd.DataFrame(
        {
            "score": reading.scores.loc[row].round(3),
            "possible": reading.sets.loc[row],
            "said": reading.said.loc[row].map({True: "said", False: ""}),
        }
    )
    return table.sort_values("score", ascending=False, kind="stable")


def draw_maps(reader, found):
    """The image, and maps of what is said of it, or else of what scores highest: a figure."""
    reading, row = found.reading, str(found.path)
    scores = reading.scores.loc[row]
    said = [label for label in reader.run.hierarchy.labels if reading.said.loc[row, label]]
    seen = [label for label in OBSERVATIONS if label not in ("No Finding", *said)]
    labels = (said + list(scores[seen].sort_values(ascending=False).index))[: max(MAPS, len(said))]
    maps = reader.maps(found.grey[None], labels)[0]
    image = found.grey[0].numpy()
    sets = reading.sets.loc[row]
    out = {label: "\n(ruled out)" if sets[label] == "absent" else "" for label in labels}
    refused = " Refused: nothing is said." if reading.refused.loc[row] else ""
    return plots.gallery(
        [image, *[image] * len(labels)],
        ["as read", *[f"{label} {scores[label]:.2f}{out[label]}" for label in labels]],
        columns=3,
        size=3.2,
        title=NOT_FOR_CLINICAL_USE + refused,
        maps=[None, *maps.numpy()],
    )


@dataclass(frozen=True)
class Found:
    """One file: what is wrong with it; or its image and notes, and its row in a reading."""

    path: Path
    problem: str = ""
    grey: torch.Tensor | None = None  # uint8 [1, size, size]
    notes: list = ()
    reading: object = None  # of its whole batch; the row is str(path)


def open_file(path, size, white):
    """``Found`` without a reading; whatever is wrong with the file is a sentence."""
    try:
        grey, notes = read_radiograph(path, size, white)
        return Found(path, grey=grey, notes=notes)
    except ReadingError as error:
        return Found(path, str(error).removeprefix(f"{path}: "))
    except Exception as error:  # one odd file must not end the reading of all others
        return Found(path, f"could not be read ({type(error).__name__}: {error}).")


def read_files(reader, paths, risk, white=None, bar=False):
    """Yields a ``Found`` for every path, in order, batch by batch."""
    size, white = reader.run.settings.size, white or reader.white
    bar = tqdm(total=len(paths), desc="reading", unit="image", disable=not bar)
    with bar, ThreadPoolExecutor(min(4, 2 * cpu_count())) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            found = list(pool.map(lambda path: open_file(path, size, white), batch))
            good = [one for one in found if one.grey is not None]
            if good:
                names = [str(one.path) for one in good]
                otherwise = [is_otherwise(one.notes) for one in good]
                grey = torch.stack([one.grey for one in good])
                reading = reader.read(grey, names, risk, otherwise)
            for one in found:
                yield replace(one, reading=reading) if one.grey is not None else one
                bar.update()


def read_one_by_one(reader, paths, options):
    """Print and keep what is said of some files; returns how many were read."""
    count, names = 0, _distinct(paths)
    for found in read_files(reader, paths, options.risk, options.white):
        print(f"\n{_told(found.path)}")
        if found.problem:
            print(f"  {found.problem}")
            continue
        row, count = str(found.path), count + 1
        print(as_table(found.reading, row).to_string(header=True))
        for sentence in (*found.notes, *found.reading.report(row), NOT_FOR_CLINICAL_USE):
            print(f"  {sentence}")
        content = as_json(reader, found)
        kept, drawn = (options.out / f"{names[found.path]}.{end}" for end in ("json", "maps.png"))
        kept.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        fig = draw_maps(reader, found)
        fig.savefig(drawn)
        plt.close(fig)
        print(f"  Kept: {_told(kept)}, {_told(drawn)}")
    return count


def read_folder(reader, folder, name, options):
    """One table of a folder's files, whatever they are; returns how many of how many were read.

    It grows as ``name.csv.part``, so that what was read is there even if the reading is ended.
    """
    paths = files_in(folder)
    kept, columns = options.out / f"{name}.csv", [*COLUMNS, *reader.run.hierarchy.labels]
    part, count = kept.with_name(f"{kept.name}.part"), 0
    with open(part, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for found in read_files(reader, paths, options.risk, options.white, bar=True):
            row = {"file": _told(found.path.relative_to(folder)), "problem": found.problem}
            if found.problem:
                tqdm.write(f"{row['file']}: {found.problem}", file=sys.stderr)
            else:
                row |= _as_row(found)
                count += 1
            table.writerow(row)
            file.flush()
    part.replace(kept)
    print(f"{count} of {len(paths)} files read: {_told(kept)}. {NOT_FOR_CLINICAL_USE}")
    return count, len(paths)


def _as_row(found):
    reading, row = found.reading, str(found.path)
    return {
        "notes": " ".join(found.notes),
        "refused": bool(reading.refused.loc[row]),
        "distance": round(float(reading.distance.loc[row]), 4),
        "said": "; ".join(label for label in reading.said if reading.said.loc[row, label]),
    } | reading.scores.loc[row].round(4).to_dict()


def _distinct(paths):
    """{path: a name for its results}: its own, with its folders' where two are called alike."""
    counts = Counter(path.name for path in paths)
    return {
        path: path.name if counts[path.name] == 1
        else "-".join(part for part in path.parts if part not in ("/", ".."))
        for path in paths
    }  # fmt: skip


def _told(path):
    """A path as text that can be written, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def files_in(folder):
    """All that lies below a folder, by name, but folders, hidden files and this command's results.

    What is no file, such as a link to nothing, is there too: it gets its sentence.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.name.endswith((".json", ".csv", ".csv.part", ".maps.png"))
    )


def main(arguments):
    """``python -m cxrlib read``; the exit code."""
    parser = argparse.ArgumentParser(
        "python -m cxrlib read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files = "PNG, JPEG, TIFF, BMP or DICOM, whatever its name; of a folder all that lies in it"
    risk = "share of a patient's reports that may say anything wrong; 0.1"
    white = "grey level of white in images of more than 8 bits; by default what the file can hold"
    parser.add_argument("files", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER", help=files)
    parser.add_argument("--run", type=Path, help="a run's folder; by default the course's model")
    parser.add_argument("--out", type=Path, default=Path(), help="where results go; here")
    parser.add_argument("--risk", type=float, default=0.1, help=risk)
    parser.add_argument("--white", type=int, help=white)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of files that do not conform; what matters is said
    try:
        files, folders = _look_at(options)
        reader = find_reader(options.run)
    except (ValueError, OSError) as error:  # ReadingError and the like are ValueErrors
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Model: {reader.run.folder.name}, trained on {reader.origin}.")
    count, total = read_one_by_one(reader, files, options), len(files)
    names = _distinct([folder.resolve() for folder in folders])
    for folder in folders:
        read, of = read_folder(reader, folder, names[folder.resolve()], options)
        count, total = count + read, total + of
    return 0 if count == total else 1


def _look_at(options):
    """(files, folders) that are to be read; ``ReadingError`` if anything is amiss beforehand."""
    if not 0 < options.risk < 1:
        raise ReadingError(f"--risk {options.risk:g}: expected a share between 0 and 1.")
    if options.white is not None and not 0 < options.white < 2**32:
        raise ReadingError(f"--white {options.white}: expected a grey level, such as 4095.")
    paths = list(dict.fromkeys(options.files))
    folders = [path for path in paths if path.is_dir()]
    for path in paths:
        if not path.exists():
            raise ReadingError(f"{_told(path)}: no such file or folder.")
        if path in folders and not files_in(path):
            raise ReadingError(f"{_told(path)}: no file in it.")
    options.out.mkdir(parents=True, exist_ok=True)
    return [path for path in paths if path not in folders], folders
