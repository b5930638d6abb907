"""What the course's model says of radiographs.

python -m cxrlib read image.png          a table and a report; beside it image.json, image.maps.png
python -m cxrlib read scan.dcm more.jpg  the same of several
python -m cxrlib read folder             one table of all files in it: folder.csv

For teaching only, not for clinical use. Nothing leaves this machine. Exit code: 0 if every file was
read, 1 if some were not (each is named, with the reason), 2 if nothing could be begun.
"""

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch
from joblib import cpu_count
from tqdm import tqdm

from cxrlib import plots
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading.files import ReadingError, read_radiograph
from cxrlib.reading.reader import find_reader

NOT_FOR_CLINICAL_USE = "For teaching. Not for clinical use."
BATCH = 32
MAPS = 4  # of the labels that score highest, and of all that are said


def as_json(reading, row, source, notes, run):
    """What a reading says of one image, as JSON can hold it: the schema is in docs/reading.md."""
    scores, sets, said = (table.loc[row] for table in (reading.scores, reading.sets, reading.said))
    return {
        "format": 1,
        "file": source,
        "use": NOT_FOR_CLINICAL_USE,
        "model": {"run": run.folder.name, "cxrlib": version("cxrlib")},
        "notes": notes,
        "refused": bool(reading.refused.loc[row]),
        "distance": round(float(reading.distance.loc[row]), 4),
        "risk": reading.risk,
        "labels": {
            label: {
                "score": round(float(scores[label]), 4),
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


def draw_maps(reader, reading, grey, row, number):
    """The image, and maps of what is said of it, or else of what scores highest: a figure."""
    hierarchy, scores = reader.run.hierarchy, reading.scores.loc[row]
    said = [label for label in hierarchy.labels if reading.said.loc[row, label]]
    seen = [label for label in OBSERVATIONS if label not in ("No Finding", *said)]
    labels = (said + list(scores[seen].sort_values(ascending=False).index))[: max(MAPS, len(said))]
    maps = reader.maps(grey[number : number + 1], labels)[0]
    image = grey[number, 0].numpy()
    titles = [f"{label} {scores[label]:.2f}" for label in labels]
    return plots.gallery(
        [image, *[image] * len(labels)],
        ["as read", *titles],
        columns=3,
        size=3.2,
        title=NOT_FOR_CLINICAL_USE + (" Refused: nothing is said." * reading.refused.loc[row]),
        maps=[None, *maps.numpy()],
    )


def read_files(reader, paths, risk, bar=False):
    """Yields (path, grey levels or None, notes, reading or None, row, what is wrong or "")."""
    size = reader.run.settings.size

    def opened(path):
        try:
            return *read_radiograph(path, size), ""
        except ReadingError as error:
            return None, [], str(error).removeprefix(f"{path}: ")

    bar = tqdm(total=len(paths), desc="reading", unit="image", disable=not bar)
    with bar, ThreadPoolExecutor(2 * cpu_count()) as pool:
        for start in range(0, len(paths), BATCH):
            batch = paths[start : start + BATCH]
            found = list(pool.map(opened, batch))
            good = [n for n, (image, _, _) in enumerate(found) if image is not None]
            reading = grey = None
            if good:
                grey = torch.stack([found[n][0] for n in good])
                reading = reader.read(grey, [str(batch[n]) for n in good], risk)
            for n, (image, notes, wrong) in enumerate(found):
                row = good.index(n) if image is not None else None
                yield batch[n], grey, notes, reading if image is not None else None, row, wrong
                bar.update()


def read_one_by_one(reader, paths, risk, out):
    """Print and keep what is said of some files; returns how many were read."""
    count, names = 0, _distinct(paths)
    for path, grey, notes, reading, number, wrong in read_files(reader, paths, risk):
        print(f"\n{path}")
        if wrong:
            print(f"  {wrong}")
            continue
        row, count = str(path), count + 1
        print(as_table(reading, row).to_string(header=True))
        for sentence in (*notes, *reading.report(row), NOT_FOR_CLINICAL_USE):
            print(f"  {sentence}")
        content = as_json(reading, row, path.name, notes, reader.run)
        kept, drawn = (out / f"{names[path]}.{end}" for end in ("json", "maps.png"))
        kept.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
        fig = draw_maps(reader, reading, grey, row, number)
        fig.savefig(drawn)
        plots.plt.close(fig)
        print(f"  Kept: {kept}, {drawn}")
    return count


def _distinct(paths):
    """{path: a name for its results}: the file's, with its folders' where two are called alike."""
    names = [path.name for path in paths]
    return {
        path: "-".join(p for p in path.parts if p not in ("/", "..")) if names.count(path.name) > 1
        else path.name
        for path in paths
    }  # fmt: skip


def read_folder(reader, folder, paths, risk, out):
    """One table of a folder's files, whatever they are; returns how many were read."""
    rows = []
    for path, _, notes, reading, _, wrong in read_files(reader, paths, risk, bar=True):
        row = {"file": path.relative_to(folder).as_posix(), "problem": wrong}
        if reading is not None:
            name = str(path)
            said = [label for label in reading.said if reading.said.loc[name, label]]
            row |= {
                "notes": " ".join(notes),
                "refused": bool(reading.refused.loc[name]),
                "distance": round(float(reading.distance.loc[name]), 4),
                "said": "; ".join(said),
            } | reading.scores.loc[name].round(4).to_dict()
        rows.append(row)
    table = pd.DataFrame(rows)
    kept = out / f"{folder.absolute().name}.csv"
    table.to_csv(kept, index=False)
    read = table["problem"] == ""
    for row in table[~read].itertuples():
        print(f"{row.file}: {row.problem}", file=sys.stderr)
    print(f"{read.sum()} of {len(table)} files read: {kept}. {NOT_FOR_CLINICAL_USE}")
    return int(read.sum())


def main(arguments):
    """``python -m cxrlib read``; the exit code."""
    parser = argparse.ArgumentParser(
        "python -m cxrlib read",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    risk = "share of a patient's reports that may say anything wrong; 0.1"
    parser.add_argument("files", nargs="+", type=Path, metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--run", type=Path, help="a run's folder; by default the course's model")
    parser.add_argument("--out", type=Path, default=Path(), help="where results go; here")
    parser.add_argument("--risk", type=float, default=0.1, help=risk)
    options = parser.parse_args(arguments)
    try:
        if not 0 < options.risk < 1:
            raise ReadingError(f"--risk {options.risk:g}: expected a share between 0 and 1.")
        if lost := [path for path in options.files if not path.exists()]:
            raise ReadingError(f"{lost[0]}: no such file or folder.")
        options.out.mkdir(parents=True, exist_ok=True)
        reader = find_reader(options.run)
        count = total = 0
        files = list(dict.fromkeys(path for path in options.files if not path.is_dir()))
        for folder in (path for path in options.files if path.is_dir()):
            inside = _files_in(folder)
            if not inside:
                raise ReadingError(f"{folder}: no file in it.")
            total += len(inside)
            count += read_folder(reader, folder, inside, options.risk, options.out)
        total += len(files)
        count += read_one_by_one(reader, files, options.risk, options.out)
    except (ReadingError, EvaluationError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if count == total else 1


def _files_in(folder):
    """All files below a folder but hidden ones, by name."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
