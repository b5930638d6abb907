"""Bad input, by the thousand: does the package answer rightly, or refuse and say why?

    python tools/fuzz.py [--count N] [--seed S] [--target NAME]

Input number i of a target is made by ``TARGETS[name](rng, place)`` from the seed (S, name, i)
alone, so that every line of the report can be made again. A target makes something valid, spoils
it, and returns a ``Case``; ``classify`` calls the package and says which of five things happened:

right   an answer that the case's oracle accepts
clear   one of cxrlib's own ``raise`` statements, of a ``ValueError`` or ``OSError``, whose message
        names the file, label or argument that was spoilt
raw     any other error
silent  an answer that is wrong, or to what should have been refused; or a refusal of what is valid
hang    neither, for ``LIMIT`` seconds

To add a target, write a function of ``(rng, place)``, where ``place`` is an empty folder, import
from cxrlib inside it, and give it a line in ``TARGETS`` with the number of inputs of a full run.
To add a function that takes tables, images or numbers, a line in ``CALLS`` is enough.
"""

import argparse
import atexit
import contextlib
import copy
import csv
import functools
import graphlib
import importlib
import io
import itertools
import json
import linecache
import os
import re
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 10.0
OUTCOMES = ("right", "clear", "raw", "silent", "hang")
NAN, INF = float("nan"), float("inf")


class Hang(BaseException):
    """Rung by the alarm; no ``except Exception`` of the package's may swallow it."""


class Refuse(Exception):
    """An oracle says that the input must be refused; its text is a pattern for the message."""


class Silent(Exception):
    """A call has seen something that no answer or error would show."""


@dataclass(frozen=True)
class Case:
    """``what`` was spoilt, the ``call``, a pattern that an error must match (``names``), ``wrong``,
    which says what is wrong with an answer, and whether to "accept", "refuse" or do "either"."""

    what: str
    call: Callable
    names: str = ""
    wrong: Callable = lambda answer: None
    verdict: str = "either"


def judged(what, call, oracle, same, names=""):
    """The case of an input for which ``oracle()`` gives the answer, or raises ``Refuse``."""
    try:
        want = oracle()
    except Refuse as reason:
        return Case(what, call, f"{names}.*(?:{reason})", verdict="refuse")
    return Case(what, call, names, lambda got: same(got, want), "accept")


def classify(case):
    """(outcome, message) of one case."""

    def ring(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    quiet = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(quiet),
            contextlib.redirect_stdout(quiet),
            warnings.catch_warnings(action="ignore"),
        ):
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
            answer = case.call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            complaint = case.wrong(answer)
    except Hang:
        return "hang", f"no answer in {LIMIT:g} s"
    except (Silent, Refuse) as error:
        return "silent", f"{type(error).__name__}: {error}"
    except (Exception, SystemExit) as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return _judge(error, case)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if case.verdict == "refuse":
        return "silent", f"accepted; an error was expected that matches {case.names!r}"
    return ("silent", complaint) if complaint else ("right", "")


def _judge(error, case):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno).strip()
    message = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
    own = (ROOT / "cxrlib") in Path(frame.filename).parents and line.startswith("raise ")
    if not own or not isinstance(error, ValueError | OSError):
        return "raw", message
    if not re.search(case.names, str(error), re.DOTALL | re.IGNORECASE):
        return "raw", f"does not name {case.names!r}: {message}"
    return ("silent", f"refused what is valid: {message}") if case.verdict == "accept" else (
        "clear", "")  # fmt: skip


def cxr(name):
    """A module of the package, imported when it is needed."""
    return importlib.import_module(f"cxrlib.{name}")


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


# --- Bytes and tables ------------------------------------------------------------------------


def flipped(data, rng):
    data = bytearray(data)
    for _ in range(min(1, len(data))):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(data)


BYTES = {
    "as it is": lambda data, rng: data,
    "bits flipped": flipped,
    "truncated": lambda data, rng: data[: int(rng.integers(len(data) + 1))],
    "empty": lambda data, rng: b"",
    "byte order mark": lambda data, rng: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data, rng: data.decode("utf-8", "replace").encode("utf-16"),
    "Latin-1": lambda data, rng: data.replace(b"e", b"\xe9"),
    "CR line ends": lambda data, rng: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "blank lines": lambda data, rng: data.replace(b"\n", b"\n\n", int(rng.integers(1, 5))),
    "NUL at the end": lambda data, rng: data + b"\0",
    "noise": lambda data, rng: rng.bytes(200),
    "a block of zeros": lambda data, rng: data[: len(data) // 2] + bytes(40) + data[-20:],
}

ODD = ("nan", "inf", "-inf", "2", "-2", "0.5", "1.0", " 1", "1 ", "", " ", "-1", "0", "1e0", "True",
       "x", "é", "٣", "None", "1_0", "0x1", "a\nb", 'a"b', "..", "../../etc/passwd", "/etc/x", "\0",
       "a,b", "-0", "1e400", "Edema", "Effusion||Mass", "No Finding|Mass", " Mass", "|",
       "\\")  # fmt: skip


def odd_cell(rows, rng):
    rows[int(rng.integers(1, len(rows)))][int(rng.integers(len(rows[0])))] = pick(rng, ODD)


def columns_shuffled(rows, rng):
    order = rng.permutation(len(rows[0]))
    rows[:] = [[row[i] for i in order] for row in rows]


def column_twice(rows, rng):
    column = int(rng.integers(len(rows[0])))
    for number, row in enumerate(rows):
        row.append(row[column] if number == 0 else pick(rng, ("0", "1", row[column])))


def column_gone(rows, rng):
    column = int(rng.integers(len(rows[0])))
    for row in rows:
        del row[column]


def header_odd(rows, rng):
    rows[0][int(rng.integers(len(rows[0])))] = pick(rng, ("", " Edema", "edema", "Path", "x", "é"))


SHEETS = {
    "odd cell": odd_cell,
    "rows shuffled": lambda rows, rng: rows.__setitem__(
        slice(1, None), [rows[i + 1] for i in rng.permutation(len(rows) - 1)]),
    "columns shuffled": columns_shuffled,
    "a column twice": column_twice,
    "a column gone": column_gone,
    "odd header": header_odd,
    "a row twice": lambda rows, rng: rows.append(list(pick(rng, rows[1:]))),
    "only the header": lambda rows, rng: rows.__delitem__(slice(1, None)),
    "a short row": lambda rows, rng: pick(rng, rows[1:]).pop(),
    "a long row": lambda rows, rng: pick(rng, rows[1:]).append("1"),
    "blank line, odd cell": lambda rows, rng: (odd_cell(rows, rng), rows.insert(1, [])),
    "quoted line end, odd cell": lambda rows, rng: (
        rows[1].__setitem__(-1, "1\n"), odd_cell(rows, rng)),
}  # fmt: skip


def spoilt_table(rows, rng, path, extra=None):
    """Write a table, spoilt as cells or as bytes; returns what was done to it."""
    rows, kinds = copy.deepcopy(rows), SHEETS | (extra or {})
    what = pick(rng, (*kinds, *BYTES))
    if what in kinds:
        kinds[what](rows, rng)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    data = out.getvalue().encode()
    path.write_bytes(BYTES[what](data, rng) if what in BYTES else data)
    return what


def parsed(data):
    """Header and rows of a CSV file, read strictly: [(lines as a pattern, {column: text})]."""
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError as error:
        raise Refuse("") from error
    if b"\0" in data:
        raise Refuse("")
    lines, last = [], 0
    for row in reader:
        lines += [(rf"line ({last + 1}|{reader.line_num})\b", row)] if row else []
        last = reader.line_num
    if not lines:
        raise Refuse("")
    header = lines[0][1]
    named = [name for name in header if name]
    for line, row in lines:
        if len(row) != len(header):
            raise Refuse(line)
    if len(set(named)) != len(named):
        raise Refuse("|".join(re.escape(n) for n, times in Counter(named).items() if times > 1))
    return header, [(line, dict(zip(header, row, strict=True))) for line, row in lines[1:]]


def required(header, rows, columns, key):
    """Refuse a table without these columns or rows, or with a key twice."""
    missing = [name for name in columns if name not in header]
    if missing or not rows:
        raise Refuse("|".join(map(re.escape, missing)) or "rows|empty")
    seen = set()
    for line, row in rows:
        if row[key] in seen:
            raise Refuse(f"{re.escape(row[key])}.*|{line}")
        seen.add(row[key])


NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def number(text, good, where):
    """A cell as a number; NaN where it is blank; refused where it is no ``good`` one."""
    if not text.strip():
        return NAN
    if not NUMBER.fullmatch(text) or not good(float(text)):
        raise Refuse(where)
    return float(text)


def same_columns(got, want):
    for name, values in want.items():
        if not np.array_equal(got[name], values, equal_nan=True):
            return f"{name}: {list(got[name])[:6]}, expected {values[:6]}"


def chexpert_rows(split="train", patients=5, first=1):
    rng, names = np.random.default_rng(first), cxr("labels").OBSERVATIONS
    rows = [["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *names]]
    for patient in range(first, first + patients):
        for study in (1, 2):
            path = f"data/{split}/patient{patient:05d}/study{study}/view1_frontal.jpg"
            codes = map(str, rng.choice([0.0, 1.0], len(names)))
            rows.append([path, "Female", str(30 + patient), "Frontal", "AP", *codes])
    return rows


def chexpert_oracle(path):
    names = cxr("labels").OBSERVATIONS
    header, rows = parsed(path.read_bytes())
    required(header, rows, ("Path", *names), "Path")
    return {
        name: [number(row[name], (0, 1, -1).__contains__, line) for line, row in rows]
        for name in names
    }


def read_chexpert(rng, place):
    path = place / "train.csv"
    what = spoilt_table(chexpert_rows(), rng, path)
    call = functools.partial(cxr("labels").read_chexpert, path)
    return judged(what, call, lambda: chexpert_oracle(path), same_columns, "train.csv")


NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
)


def nih_rows(patients=12):
    findings = ("No Finding", "Effusion", "Effusion|Mass", "Hernia", "Infiltration|Edema")
    rows = [NIH_HEADER.split(",")]
    for patient in range(1, patients + 1):
        for visit in range(1 + patient % 2):
            name = f"{patient:08d}_{visit:03d}.png"
            finding = findings[(patient + visit) % 5]
            rows.append([name, finding, str(visit), str(patient), "57", "F", "PA"])
    return rows


def nih_oracle(path):
    labels = cxr("labels")
    header, rows = parsed(path.read_bytes())
    wanted = ("Image Index", "Finding Labels", "Patient ID", "View Position")
    required(header, rows, wanted, "Image Index")
    table = {name: [] for name in labels.OBSERVATIONS}
    for line, row in rows:
        found = {name for name in row["Finding Labels"].split("|") if name}
        if not found or found - set(labels.NIH_TO_CHEXPERT) or found > {"No Finding"}:
            raise Refuse(line)
        meant = {labels.NIH_TO_CHEXPERT[name] for name in found}
        for name, column in table.items():
            unknown = name in labels.NIH_UNLABELLED
            unknown |= name == "Lung Opacity" and meant.isdisjoint({name, "No Finding"})
            column.append(NAN if unknown else float(name in meant))
    return table


def read_nih(rng, place):
    path = place / "Data_Entry.csv"
    what = spoilt_table(nih_rows(), rng, path)
    call = functools.partial(cxr("labels").read_nih, path)
    return judged(what, call, lambda: nih_oracle(path), same_columns, "Data_Entry.csv")


def predictions_oracle(path):
    header, rows = parsed(path.read_bytes())
    if not rows:
        raise Refuse("")
    ends = {
        end: {n.removesuffix(end) for n in header if n.endswith(end)} for end in ("_GT", "_Pred")
    }
    if ends["_GT"] != ends["_Pred"] or not ends["_GT"]:
        raise Refuse("_GT|_Pred")
    answer = {}
    for n in (n.removesuffix("_GT") for n in header if n.endswith("_GT")):
        answer[n, "truth"] = [
            number(row[f"{n}_GT"], (0, 1).__contains__, line) for line, row in rows
        ]
        scores = [number(row[f"{n}_Pred"], lambda p: 0 <= p <= 1, line) for line, row in rows]
        if np.isnan(scores).any():
            raise Refuse(rows[int(np.isnan(scores).argmax())][0])
        answer[n, "scores"] = scores
    if "Path" in header:
        required(header, rows, (), "Path")
    for line, row in rows:
        if not row.get("patient", "x").strip():
            raise Refuse(line)
    people = {person(row["patient"]) for _, row in rows} if "patient" in header else None
    return answer, people


def person(text):
    """A patient's number, however it is written."""
    whole = re.fullmatch(r"\s*(\d+)(\.0*)?\s*", text, re.ASCII)
    return int(whole[1]) if whole else text.strip()


def same_predictions(got, want):
    answer, people = want
    complaint = same_columns({n: getattr(got, n[1])[n[0]] for n in answer}, answer)
    count = got.about["patient"].nunique() if people and "patient" in got.about else 0
    if people and count != len(people):
        complaint = complaint or f"{count} patients, expected {len(people)}"
    return complaint


def read_predictions(rng, place):
    path, numbers = place / "predictions.csv", np.random.default_rng(0)
    rows = [["Path", "patient", "Edema_GT", "Edema_Pred", "Mass_GT", "Mass_Pred"]]
    for i in range(9):
        truth = numbers.integers(0, 2, 2).astype(str)
        scores = numbers.random(2).round(4).astype(str)
        rows.append([f"a/{i}.png", str(i // 2), truth[0], scores[0], truth[1], scores[1]])
    patients = {f"a patient as {t!r}": lambda rows, rng, t=t: rows[2].__setitem__(1, t)
                for t in ("0.0", " 0", "", "1 ", "1.0")}  # fmt: skip
    what = spoilt_table(rows, rng, path, patients)
    call = functools.partial(cxr("evaluation").read_predictions, path)
    return judged(what, call, lambda: predictions_oracle(path), same_predictions, "predictions.csv")


# --- Folders ---------------------------------------------------------------------------------


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_chexpert(folder, images=False):
    for split, first in (("train", 1), ("valid", 11), ("test", 21)):
        rows = chexpert_rows(split, first=first)
        names = (split, "train_visualCheXbert") if split == "train" else (split,)
        for name in names:
            write_rows(folder / f"{name}.csv", rows)
        for i, row in enumerate(rows[1:] if images else ()):
            path = folder / row[0].removeprefix("data/")
            path.parent.mkdir(parents=True)
            grey = np.random.default_rng(first + i).integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(grey).save(path)


def write_nih(folder, boxes=None):
    write_rows(folder / "Data_Entry_2017_v2020.csv", nih_rows())
    write_rows(folder / "BBox_List_2017.csv", boxes or BOXES)


BOXES = [["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""],
         ["00000001_000.png", "Infiltrate", "512.0", "256.0", "128.0", "64.0", "", "", ""],
         ["00000003_000.png", "Mass", "12.5", "25.0", "10.0", "30.0", "", "", ""]]  # fmt: skip


def boxes_wrong(track):
    _, rows = parsed((track.folder / "BBox_List_2017.csv").read_bytes())
    boxes = track.boxes.assign(name=track.boxes["path"].map(lambda p: Path(p).name))
    for box in boxes.itertuples():
        got = np.array([box.x, box.y, box.width, box.height]) * 1024
        own = [[float(row[n]) for n in BOXES[0][2:6]] for _, row in rows
               if row["Image Index"] == box.name]  # fmt: skip
        if not any(np.allclose(got, numbers) for numbers in own):
            return f"box {got} of {box.name}, expected {own}"


def track_wrong(track):
    """What every track must keep, whatever its files are like."""
    table, boxes = track.table, track.boxes
    observations = table[list(cxr("labels").OBSERVATIONS)].to_numpy(dtype=float)
    people = table["patient"].str.removeprefix("nih").map(person)
    inside = [not Path(p).is_absolute() and ".." not in Path(p).parts for p in table["path"]]
    checks = {
        "a path that leaves the folder": not all(inside),
        "an image without a name": table["path"].str.endswith(("/", "/.")).any(),
        "an image twice": table["path"].duplicated().any(),
        "a patient in two splits": (table.groupby(people)["split"].nunique() > 1).any(),
        "a label that is no label": not (np.isnan(observations) | (observations >= 0)
                                         & (observations <= 1)).all(),
        "a box outside": not boxes[["x", "y", "width", "height"]].stack().between(0, 1).all(),
    }  # fmt: skip
    lists = track.folder / "test_list.txt"
    if track.name == "nih" and lists.is_file():
        official = set(lists.read_text("utf-8-sig").split())
        test = {Path(p).name for p in table.loc[table["split"] == "test", "path"]}
        checks["another test split than test_list.txt's"] = test != official or not test
    wrong = [name for name, is_so in checks.items() if is_so]
    return wrong[0] if wrong else boxes_wrong(track) if len(boxes) else None


TEST_LISTS = ("00000001_000.png\n00000001_001.png\n", "", "\n", "00000001_000\n",
              "images/00000001_000.png\n", "\ufeff00000001_000.png\n00000001_001.png\n",
              "00000001_000.png\n", "é.png\n", "00000001_000.png 00000001_001.png")  # fmt: skip


def open_track(rng, place):
    kind, options, names = pick(rng, ("chexpert", "nih")), {}, ""
    folder = place / kind
    (write_chexpert if kind == "chexpert" else write_nih)(folder)
    tables = sorted(folder.glob("*.csv"))
    action = pick(rng, ("table",) * 5 + ("gone", "directory", "list", "option", "person", "leak"))
    path = pick(rng, tables)
    if action == "table":
        with path.open(newline="") as file:
            action, names = spoilt_table(list(csv.reader(file)), rng, path), path.name
    elif action in ("gone", "directory"):
        path.unlink()
        path.mkdir() if action == "directory" else None
        names = kind
    elif action == "list":
        path = folder / "test_list.txt"
        path.write_bytes(pick(rng, (*(t.encode() for t in TEST_LISTS), b"\xff\xfe", rng.bytes(50))))
        names = "test_list|patient"
    elif action == "option":
        names = pick(rng, ("labels", "uncertain", "views"))
        options = {names: pick(rng, ("", "x", "U-Soft", "train.csv", ("x",), ()))}
        names = "labels|policy|view|" + kind
    elif action == "person":  # one person, written in two ways
        rows = nih_rows()
        rows[1][3] = pick(rng, ("1.0", " 1", "01", "1 ", "", "nan", "../1"))
        write_rows(folder / "Data_Entry_2017_v2020.csv", rows)
        names = "Data_Entry|patient"
    else:
        rows = chexpert_rows("valid", first=11)
        leaks = (
            "patient00001/study3/view1_frontal.jpg",
            "../x.jpg",
            "../../valid/patient00011/x.jpg",
        )
        rows[1][0] = pick(rng, (*(f"data/valid/{path}" for path in leaks), "", rows[2][0]))
        write_rows(folder / "valid.csv", rows)
        names = "valid|patient"
    call = functools.partial(cxr("data").open_track, folder, **options)
    return Case(f"{kind}: {path.name}: {action} {options or ''}", call, names, track_wrong)


# --- Images ----------------------------------------------------------------------------------

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA", "DDS", "AVIF", "ICNS", "PCX",
           "SGI", "JPEG2000", "QOI", "ICO", "PDF", "EPS", "MSP", "XBM", "BLP", "IM", "SPIDER",
           )  # fmt: skip
MODES = ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F", "PA")


def png_of(width, height):
    """The start of a PNG file that claims this size."""
    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\0\0\0\0"
    start = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + head
    return start + zlib.crc32(head).to_bytes(4) + bytes([0, 0, 0, 9]) + b"IDATx\x9cc\0\0\0\x01\0\1"


def load_image(rng, place):
    path, size = place / "image.png", 16
    grey = (np.add.outer(np.arange(16), np.arange(16)) * 8).astype(np.uint8)  # smooth, for JPEG
    grey[2:8, 2:5] += 10
    want, what, names = grey, "", "image.png"
    options = {}
    action = pick(rng, ("format", "format", "mode", "bytes", "bytes", "exif", "place", "size"))
    image = Image.fromarray(grey)
    if action == "exif":
        exif, turn = image.getexif(), int(rng.integers(0, 10))
        exif[0x0112], what = turn, f"orientation {turn}"
        options["exif"] = exif
        turns = {
            2: np.fliplr,
            3: lambda a: np.rot90(a, 2),
            4: np.flipud,
            5: np.transpose,
            6: lambda a: np.rot90(a, -1),
            7: lambda a: np.rot90(a, 2).T,
            8: np.rot90,
        }
        want = turns.get(turn, np.asarray)(grey)
    kind = pick(rng, FORMATS if action == "format" else FORMATS[:3])
    mode = pick(rng, MODES) if action in ("mode", "format") else "L"
    if mode in ("I;16", "I"):
        image = Image.fromarray(grey.astype(np.uint16 if mode != "I" else np.int32) * 257)
    elif mode != "L":
        image = (
            image.convert("RGB").convert(mode) if mode in ("LAB", "HSV") else image.convert(mode)
        )
    if mode == "1":
        want = None
    try:
        with warnings.catch_warnings(action="ignore"):
            image.save(path, kind, **options)
    except (OSError, KeyError, ValueError):  # this format does not hold this mode
        Image.fromarray(grey).save(path, "PNG", **options)
    if action == "bytes":
        what, want = pick(rng, tuple(BYTES)), None
        path.write_bytes(BYTES[what](path.read_bytes(), rng))
    if action == "size":
        size, want, names = pick(rng, (0, -1, 1.5, NAN, "16", None, True, 10**9)), None, "size"
    if action == "place":
        want, what = None, pick(rng, ("fifo", "folder", "gone", "bomb", "empty", "text", "loop"))
        path.unlink()
        width = int(rng.integers(20_000, 2**31))
        {
            "fifo": lambda: os.mkfifo(path),
            "folder": path.mkdir,
            "gone": lambda: None,
            "bomb": lambda: path.write_bytes(png_of(width, 60_000)),
            "empty": path.touch,
            "text": lambda: path.write_text("GIF89a"),
            "loop": lambda: path.symlink_to(path),
        }[what]()

    def wrong(answer):
        if tuple(answer.shape) != (1, 16, 16) or str(answer.dtype) != "torch.uint8":
            return f"{answer.shape} {answer.dtype}"
        off = 0 if want is None else np.abs(answer[0].numpy().astype(int) - want).max()
        return f"grey levels off by {off}" if off > 24 else None

    call = functools.partial(cxr("data").load_image, path, size)
    verdict = "refuse" if action in ("size", "place") else "either"
    return Case(f"{action} {kind} {mode} {what}" + f" {size}" * (size != 16), call, names, wrong,
                verdict)  # fmt: skip


# --- YAML ------------------------------------------------------------------------------------

BOMB, MERGE = "a: &a [" + "x, " * 9 + "]\n", "m0: &m0 {x: 1}\n"
for a, b in itertools.pairwise("abcdefg"):
    BOMB += f"{b}: &{b} [" + f"*{a}, " * 9 + "]\n"
for i in range(1, 8):
    MERGE += f"m{i}: &m{i}\n  <<: [" + f"*m{i - 1}, " * 9 + "]\n"
VALUES = (None, 5, 1.5, True, [], {}, "", "é", [[]], {"a": 1}, NAN, "x" * 300, -1, "2020-01-01",
          ["x"], [None], "yes", 10**30, "\0", "0")  # fmt: skip


def anywhere(tree, rng):
    """Put an odd value, or none at all, somewhere into nested lists and dictionaries."""
    place = tree
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = pick(rng, keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        action, value = rng.integers(4), copy.deepcopy(pick(rng, VALUES))
        if action == 0:
            del place[key]
        elif action == 1 and isinstance(place, dict):
            place[pick(rng, (None, 5, True, "x", "", "é", "labels"))] = value
        else:
            place[key] = value
        return


def strict_yaml(path):
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Refuse("") from error


def hierarchy_oracle(path, got):
    content = strict_yaml(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if (
        not isinstance(labels, list)
        or not labels
        or set(content) - {"labels", "children", "none_of"}
    ):
        raise Refuse(f"labels: {labels!r:.40}")
    lists = [content.get(name) or {} for name in ("children", "none_of")]
    edges = [(a, b) for a, below in lists[0].items() for b in below]
    named = [
        *labels,
        *(n for e in edges for n in e),
        *lists[1],
        *(n for v in lists[1].values() for n in v),
    ]
    odd = [n for n in named if not isinstance(n, str) or not n.strip() or n not in labels]
    if odd or len(set(labels)) != len(labels) or len(set(edges)) != len(edges):
        raise Refuse(f"a name {odd[:1]!r} or a duplicate")
    below = {label: [b for a, b in edges if a == label] for label in labels}
    try:
        graphlib.TopologicalSorter(below).prepare()
    except graphlib.CycleError as error:
        raise Refuse("a cycle") from error
    if list(got.labels) != labels or set(got.edges) != set(edges):
        return "other labels or edges than the file's"


def slow_yaml(rng):
    count = int(pick(rng, (300, 1000, 5000)))
    names = [f"n{i}" for i in range(count)]
    shape = pick(
        rng, ("chain", "star", "tree", "many", "deep", "bomb", "merge", "self", "bomb edges")
    )
    pairs = {
        "chain": itertools.pairwise(names),
        "star": ((names[0], n) for n in names[1:]),
        "tree": ((names[(i - 1) // 2], names[i]) for i in range(1, count)),
    }.get(shape, ())
    children = defaultdict(list)
    for a, b in pairs:
        children[a].append(b)
    text = yaml.dump({"labels": names, "children": dict(children)}, Dumper=yaml.CSafeDumper)
    other = {"many": "labels:\n" + "".join(f"- n{i}\n" for i in range(200_000)),
             "deep": "labels: " + "[" * count + "]" * count, "bomb": BOMB + "labels: *g\n",
             "merge": MERGE + "labels: [x]\n", "self": "labels: &l [*l]\n",
             "bomb edges": BOMB + "labels: [x]\nchildren:\n  x: *g\n"}  # fmt: skip
    return f"{shape} {count}", other.get(shape, text).encode()


def from_yaml(rng, place):
    path, hierarchy = place / "hierarchy.yaml", cxr("hierarchy")
    hierarchy.paper_hierarchy().to_yaml(path)
    action = pick(rng, ("anywhere",) * 3 + tuple(BYTES))
    if rng.random() < 0.02:
        action, data = slow_yaml(rng)
        path.write_bytes(data)
    elif action == "anywhere":
        tree = yaml.safe_load(path.read_text())
        if rng.random() < 0.3:
            tree = {
                "labels": ["a", "b", "c"],
                "children": {"a": ["b"]},
                "none_of": {"c": ["a", "b"]},
            }
        for _ in range(int(rng.integers(1, 3))):
            anywhere(tree, rng)
        path.write_text(yaml.dump(tree, allow_unicode=True))
    else:
        path.write_bytes(BYTES[action](path.read_bytes(), rng))

    def call():
        made = hierarchy.Hierarchy.from_yaml(path)
        if len(made.labels) > 100:
            made.close(pd.DataFrame(0.0, range(2), made.labels))
        return made

    return Case(action, call, "hierarchy.yaml", functools.partial(hierarchy_oracle, path))


SECTIONS = [  # what a config must not say
    *(("trainer", "max_epochs", 3), ("trainer", "devises", 1), ("trainer", "callbacks", ["x"])),
    *(("settings", "methud", "flat"), ("settings", "epochs", 0), ("settings", "epochs", "many")),
    *(("settings", "size", 96.5), ("settings", "lr", NAN), ("settings", "lr", INF)),
    *(("settings", "seed", True), ("settings", "weight", -1), ("settings", "method", "banana")),
    *(("data", "folders", "x"), ("data", "views", 5), ("model", "settings", {"size": 9})),
]
NAMES = ("../../etc/x", "a/b", "..", ".", "", "/tmp/x", "a\0b", "a\nb", ["x"], {"x": 1})


def read_config(rng, place):
    path, names = place / "mine.yaml", r"mine\.yaml"
    data = (ROOT / "configs" / "workshop.yaml").read_bytes()
    tree, verdict = yaml.safe_load(data), "either"
    action = pick(
        rng, ("anywhere",) * 4 + ("section", "name", "appended", "place") * 2 + tuple(BYTES)
    )
    if action == "anywhere":
        anywhere(tree, rng)
    elif action == "section":
        section, field, value = pick(rng, SECTIONS)
        tree.setdefault(section, {})[field], verdict = value, "refuse"
        action, names = f"{section}.{field}={value!r}", rf"{names}.*(?:{section}|{field})"
    elif action == "name":
        tree["name"], verdict = pick(rng, NAMES), "refuse"
        action, names = f"name={tree['name']!r}", rf"{names}.*name"
    elif action == "appended":
        verdict, evil = "refuse", "x: !!python/object/apply:os.mkdir [evil]\n"
        more = (BOMB, MERGE, "x: &l [*l]\n", "settings:\n  size: 32\n", "name: b\n", "- 1\n", evil)
        action = pick(rng, more)
    if action in BYTES:
        path.write_bytes(BYTES[action](data, rng))
    elif action == "place":
        path.mkdir() if rng.random() < 0.5 else None
        verdict = "refuse"
    else:
        text = yaml.dump(tree, allow_unicode=True)
        path.write_text(text + (action if verdict == "refuse" and "\n" in action else ""))

    def wrong(config):
        content, settings = strict_yaml(path), cxr("training").Settings
        if not isinstance(content, dict) or not re.fullmatch(r"\w[\w. -]*", str(config.name)):
            return f"accepted: {str(content)[:60]!r}, name {config.name!r}"
        try:
            want = settings(**content.get("settings") or {})
        except (ValueError, TypeError) as error:
            return f"accepted: {error}"
        return None if config.settings == want else f"{config.settings}, expected {want}"

    call = functools.partial(cxr("configs").read_config, path)
    return Case(f"{action[:40]!r}", call, names, wrong, verdict)


# --- Runs ------------------------------------------------------------------------------------


@functools.cache
def trained():
    """A run of one epoch, made once, and the arguments it was made from."""
    base, training = Path(tempfile.mkdtemp(prefix="fuzz-")), cxr("training")
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    os.environ.setdefault("CXR_CACHE", str(base / "cache"))
    write_chexpert(base / "data", images=True)
    track, paper = cxr("data").open_track(base / "data"), cxr("hierarchy").paper_hierarchy()
    made_from = (track, paper, training.Settings(size=32, epochs=1, batch_size=8))
    with contextlib.redirect_stderr(io.StringIO()):
        return training.train(*made_from, name="tiny", runs=base / "runs"), made_from


def copied_run(place):
    run, _ = trained()
    return run, Path(shutil.copytree(run.folder, place / run.folder.name))


def damaged(path, rng, planted):
    """Damage a checkpoint, as bytes or as weights, or plant in it what makes a folder if run."""
    import torch

    bomb = type("Bomb", (), {"__reduce__": lambda self: (os.mkdir, (str(planted),))})
    content = torch.load(path, map_location="cpu", weights_only=True)
    weights = content["state_dict"]
    key = pick(rng, [name for name in weights if weights[name].is_floating_point()])
    kinds = ("NaN", "inf", "lost", "shape", "more", "bomb", "bomb inside", "list", "none")
    action = pick(rng, (*kinds, *("bits flipped",) * 6, *BYTES))
    if action in BYTES:
        path.write_bytes(BYTES[action](path.read_bytes(), rng))
        return action
    if action in ("NaN", "inf"):
        weights[key][(0,) * weights[key].ndim] = float(action)
    elif action == "lost":
        del weights[key]
    else:
        new = {"shape": torch.zeros(3, 5), "bomb inside": bomb()}.get(action, torch.zeros(1))
        weights[key if action != "more" else "model.more"] = new
    other = {"bomb": bomb(), "list": [1], "none": {}}.get(action, content)
    torch.save(other, path)
    return action


def weights_differ(got, want):
    got, want = got.state_dict(), want.state_dict()
    same = got.keys() == want.keys() and all(got[name].equal(want[name]) for name in want)
    return None if same else "other weights than were saved"


def checkpoint(rng, place):
    run, folder = copied_run(place)
    name, planted = pick(rng, ("best-auroc", "best-loss", "last")), place / "planted"
    what = damaged(folder / f"{name}.ckpt", rng, planted)

    def call():
        try:
            return cxr("training").find_run(folder).model(name)
        finally:
            if planted.exists():
                raise Silent("code from the checkpoint was run")

    wrong = lambda model: weights_differ(model, run.model(name))  # noqa: E731
    verdict = "refuse" if what not in BYTES and what != "more" else "either"
    return Case(f"{name}: {what}", call, rf"{name}\.ckpt", wrong, verdict)


def resume(rng, place):
    """A training that stopped before it was finished, and whose last.ckpt was damaged since."""
    run, folder = copied_run(place)
    _, made_from = trained()
    (folder / "run.json").unlink()
    what = damaged(folder / "last.ckpt", rng, place / "planted")
    folder.rename(place / f".{folder.name}.partial")

    def call():
        model = cxr("training").train(*made_from, name="tiny", runs=place).model("last")
        if (place / "planted").exists():
            raise Silent("code from the checkpoint was run")
        return model

    return Case(what, call, r"last\.ckpt", lambda model: weights_differ(model, run.model("last")))


def record(rng, place):
    run, folder = copied_run(place)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".csv"))
    path, what = pick(rng, files), pick(rng, ("anywhere",) * 8 + ("gone",) + tuple(BYTES))
    if what == "gone":
        path.unlink()
    elif what in BYTES:
        path.write_bytes(BYTES[what](path.read_bytes(), rng))
    elif path.suffix == ".csv":
        with path.open(newline="") as file:
            what = spoilt_table(list(csv.reader(file)), rng, path)
    else:
        tree = yaml.safe_load(path.read_text())
        anywhere(tree, rng)
        path.write_text(json.dumps(tree) if path.suffix == ".json" else yaml.dump(tree))
    action = pick(rng, ("find_run", "model_card", "read_config"))
    call = {
        "find_run": lambda: cxr("training").find_run(folder),
        "model_card": lambda: cxr("card").model_card(folder, resamples=5),
        "read_config": lambda: cxr("configs").read_config(folder / "config.yaml"),
    }[action]

    def wrong(answer):
        if action == "model_card":
            return None if answer.startswith("# Model card") else answer[:40]
        if path.name in ("hierarchy.yaml", "predictions.csv"):
            same = answer.settings == run.settings
            return None if same else "other settings, though their file was not touched"
        if action == "find_run" and any(kind.kind != "f" for kind in answer.curves.dtypes):
            return f"curves of {answer.curves.dtypes.unique()}"

    names = rf"{re.escape(path.name)}|{re.escape(folder.name)}"
    return Case(f"{action}: {path.name}: {what}", call, names, wrong)


# --- Calls -----------------------------------------------------------------------------------

CALLS = {
    "evaluate": """
        evaluation.evaluate truth scores groups resamples level
        evaluation.evaluate truth scores groups resamples level
        evaluation.compare truth ours=scores others=scores groups resamples level
        evaluation.subgroups truth scores by groups resamples level minimum
        evaluation.measures truth scores=p hierarchy bins
        evaluation.calibration truth scores=p bins
        evaluation.reliability truth=one_truth scores=one_p bins
        evaluation.fit_temperatures truth scores=p
        evaluation.rescale scores=p temperatures
        evaluation.at_threshold truth scores threshold
        evaluation.hierarchical_f1 truth scores hierarchy threshold
        penalties.data_driven_penalties hierarchy labels=truth epsilon scale
    """,
    "explain, promise": """
        uncertainty.fit_conformal scores=p truth alpha groups
        uncertainty.conformal_sets scores=p limits
        uncertainty.is_covered sets truth
        uncertainty.doubt_groups scores=p hierarchy factor
        uncertainty.statements scores=p hierarchy threshold
        uncertainty.highest_wrong scores=p truth hierarchy
        uncertainty.control_risk highest patients alpha
        uncertainty.specificity said truth hierarchy prevalence
        uncertainty.risk_coverage wrong doubt
        uncertainty.mc_dropout model images passes
        uncertainty.augmented_passes model images passes
        uncertainty.embed model images
        explanations.explain model images method finer
        explanations.deletion_insertion model images maps label steps
        explanations.localisation maps masks threshold
        explanations.best_threshold maps masks
        hierarchy.Hierarchy.derive self=hierarchy observations
        hierarchy.Hierarchy.close self=hierarchy targets=observed
        hierarchy.Hierarchy.violations self=hierarchy scores=loose threshold
        hierarchy.Hierarchy.make_coherent self=hierarchy scores how
        labels.apply_policy codes uncertain blank soft
    """,
}
ODD_NUMBERS = {  # what each argument must not be
    "level": (0, 1, 95, NAN, -0.1, "0.9", None),
    "resamples": (-1, 1.5, NAN, "10"),
    "bins": (0, -1, 2.5, NAN, 10**6, "10", None),
    "threshold": (NAN, "0.5"),
    "minimum": (-1, NAN, "2", None),
    "alpha": (0, 1, -1, NAN, INF, "0.1", None),
    "factor": (0, NAN, -INF, "2", None),
    "passes": (0, 1.5, True, NAN, "3", None),
    "steps": (0, -1, 1.5, 10**5, NAN, "3", None),
    "epsilon": (0, -1, NAN, "1", None),
    "scale": (NAN, INF, -1, "1", None),
    "method": ("", "cam", None, 5, []),
    "finer": (-1, 9, 1.5, True, "1", None),
    "label": ("", "edema", None, 5, []),
    "how": ("", "mean", None, 5, []),
    "uncertain": ("", "u-ones", None, 5, []),
    "blank": (1, "x", -1, INF, None),
    "soft": (2, -1, (0.5,), (1, 0), "x", NAN, (NAN, 1), None),
}
ODD_CELLS = {  # what a table must not hold; every other of these values it may
    "truth": (2, -2, 0.5, INF),
    "scores": (NAN, INF),
    "p": (NAN, INF, -INF, 2, -2),
    "observations": (2, -2, INF, -INF),
    "observed": (2, -2, INF, -INF),
    "codes": (2, -2, 0.5, INF),
    "loose": (),
}


@functools.cache
def sample():
    """A valid argument of every name."""
    rng, torch = np.random.default_rng(1), importlib.import_module("torch")
    leaves = ["Edema", "Consolidation", "Pneumonia", "Fracture"]
    edges = [("Fluid", "Edema"), ("Fluid", "Consolidation"), ("Fluid", "Pneumonia")]
    hierarchy = cxr("hierarchy").Hierarchy([*leaves, "Fluid"], edges)
    truth = hierarchy.derive(pd.DataFrame(rng.integers(0, 2, (40, 4)), columns=leaves))
    p = hierarchy.to_table(rng.random((40, 5)))
    p["Fluid"] = p.max(axis=1)  # so that it is coherent
    groups, model = pd.Series(np.arange(40) // 2), cxr("models").build("tiny").eval()
    limits = cxr("uncertainty").fit_conformal(p, truth)
    return {"truth": truth, "scores": p * 3 - 1, "p": p, "loose": p, "one_p": p["Edema"],
            "groups": groups, "by": groups % 2, "patients": groups, "hierarchy": hierarchy,
            "one_truth": truth["Edema"],
            "temperatures": pd.Series(2.0, p.columns), "observations": truth[leaves],
            "codes": truth, "observed": truth,
            "limits": limits, "sets": cxr("uncertainty").conformal_sets(p, limits), "said": p > 0.5,
            "highest": pd.Series(rng.random(40)), "prevalence": truth.mean(), "model": model,
            "wrong": pd.Series(rng.random(40) > 0.5), "doubt": pd.Series(rng.random(40)),
            "images": torch.from_numpy(rng.random((2, 1, 32, 32), dtype=np.float32)),
            "maps": rng.random((2, 32, 32)), "masks": rng.random((2, 32, 32)) > 0.8, "level": 0.9,
            "resamples": 10, "bins": 5, "threshold": 0.5, "minimum": 2, "alpha": 0.2, "factor": 2.0,
            "passes": 2, "steps": 2, "epsilon": 1e-6, "scale": 1.0, "method": "gradcam", "finer": 0,
            "label": "Edema", "how": "max", "uncertain": "U-Soft", "blank": 0.0, "soft": 0.5,
            }  # fmt: skip


def odd_table(table, kind, rng):
    """(what, table, verdict): "same" is for what may be refused, or answered as if it were well."""
    column = pick(rng, list(table.columns))
    kinds = ("shuffled", "turned", "twice", "gone", "empty", "text", "object", "index", "half",
             "nothing")  # fmt: skip
    what = pick(rng, ("cell",) * 8 + kinds)
    if what == "cell":
        value = pick(rng, (NAN, INF, -INF, 2, -2, 0.5))
        table = table.astype(float if table[column].dtype.kind in "fiub" else object)
        table.iloc[int(rng.integers(len(table))), table.columns.get_loc(column)] = value
        return f"{value} in {column}", table, "refuse" if value in ODD_CELLS.get(kind, ()) or (
            np.isnan(value) and NAN in ODD_CELLS.get(kind, ())) else "either"  # fmt: skip
    text = table.astype(object)
    text.iloc[0, table.columns.get_loc(column)] = "x"
    changed = {"shuffled": table.iloc[rng.permutation(len(table))],
               "turned": table[table.columns[::-1]], "gone": table.drop(columns=column),
               "twice": pd.concat([table, table[[column]]], axis=1), "empty": table.iloc[:0],
               "text": text, "object": table.astype(object), "half": table.iloc[: len(table) // 2],
               "index": table.set_axis(range(7, 7 + len(table))), "nothing": table[[]],
               }[what]  # fmt: skip
    refused = what in ("text", "twice") and kind in ODD_CELLS
    return what, changed, "refuse" if refused else "same" if what in (
        "shuffled", "turned", "object", "index") else "either"  # fmt: skip


def odd_series(series, kind, rng):
    last = series.astype(object).where(series.index != series.index[-1], None)
    what = pick(rng, ("shuffled", "short", "blank", "word", "empty"))
    changed = {"shuffled": series.iloc[rng.permutation(len(series))], "short": series.iloc[1:],
               "blank": last, "word": "x", "empty": series.iloc[:0]}[what]  # fmt: skip
    may = kind in ("by", "one_truth") and what == "blank"
    return what, changed, "same" if what == "shuffled" else "either" if may else "refuse"


def odd_array(array, kind, rng):
    what = pick(rng, ("NaN", "flat", "none", "whole", "double", "narrow", "list"))
    nan = copy.deepcopy(array)
    nan[0, ..., 0] = NAN if kind != "masks" else False
    whole = array.astype(int) if isinstance(array, np.ndarray) else (array * 255).byte()
    double = array.astype("float16") if isinstance(array, np.ndarray) else array.double()
    changed = {"NaN": nan, "flat": array[0], "none": array[:0], "whole": whole, "double": double,
               "narrow": array[..., :8], "list": array.tolist()}[what]  # fmt: skip
    refused = what in ("flat", "none") or (what == "NaN" and kind != "masks")
    return what, changed, "refuse" if refused else "either"


def differs(got, want):
    """Whether two answers say other things; the order of rows and columns says nothing."""
    if hasattr(want, "__dataclass_fields__"):
        return any(differs(getattr(got, name), getattr(want, name)) for name in vars(want))
    if isinstance(want, pd.DataFrame) and set(got.columns) == set(want.columns):
        got = got[want.columns]
    if isinstance(want, pd.DataFrame | pd.Series) and got.index.sort_values().equals(
        want.index.sort_values()
    ):
        got = got.reindex(want.index)
    got, want = np.asarray(got), np.asarray(want)
    if got.shape != want.shape or want.dtype.kind not in "fiub":
        return got.tolist() != want.tolist()
    return not np.allclose(got.astype(float), want.astype(float), equal_nan=True)


def auroc_wrong(result, truth, scores):
    """AUROCs against a count of all pairs."""
    for name in truth:
        y, s = truth[name].astype(float), scores[name].loc[truth.index].astype(float)
        pairs = np.subtract.outer(s[y == 1].to_numpy(), s[y == 0].to_numpy())
        want = ((pairs > 0) + (pairs == 0) / 2).mean() if pairs.size else NAN
        if differs(result.per_label.loc[name, "auroc"], want):
            return f"{name}: AUROC {result.per_label.loc[name, 'auroc']}, expected {want}"


def calls(group, rng, place):
    function, *words = pick(rng, CALLS[group].strip().splitlines()).split()
    kinds = dict((word.split("=") * 2)[:2] for word in words)
    good = {name: sample()[kind] for name, kind in kinds.items()}
    name = pick(rng, [name for name in kinds if kinds[name] not in ("hierarchy", "model")])
    value, kind = good[name], kinds[name]
    spoil = {pd.DataFrame: odd_table, pd.Series: odd_series}.get(type(value), odd_array)
    if kind in ODD_NUMBERS:
        odd = pick(rng, ODD_NUMBERS[kind])
        what, odd, verdict = repr(odd), odd, "refuse"
    else:
        what, odd, verdict = spoil(value, kind, rng)
    module, *path = function.split(".")
    call = functools.reduce(getattr, path, cxr(module))

    def wrong(answer):
        if function == "evaluation.evaluate":
            return auroc_wrong(answer, *({**good, name: odd}[key] for key in ("truth", "scores")))
        if verdict == "same" and differs(answer, call(**good)):
            return "another answer than to the same in order"

    tables = [n.rstrip("s") for n in kinds if hasattr(good[n], "shape")]
    own = (
        [name, "policy"]
        if kind in ODD_NUMBERS
        else [*tables, "row", "table", *sample()["p"].columns]
    )
    names = rf"\b({'|'.join(own)})s?\b"
    return Case(f"{function}: {name}: {what}", functools.partial(call, **good | {name: odd}), names,
                wrong, "either" if verdict == "same" else verdict)  # fmt: skip


TARGETS = {
    "read_chexpert": (read_chexpert, 1750),
    "read_nih": (read_nih, 1750),
    "open_track": (open_track, 4000),
    "load_image": (load_image, 3300),
    "from_yaml": (from_yaml, 3100),
    "read_config": (read_config, 850),
    "read_predictions": (read_predictions, 3000),
    "checkpoint": (checkpoint, 300),
    "record": (record, 300),
    "resume": (resume, 20),
    "evaluate": (functools.partial(calls, "evaluate"), 2000),
    "explain": (functools.partial(calls, "explain, promise"), 900),
}


def make(target, seed, number, place):
    """Input ``number`` of a target: the same whatever else was tried."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return TARGETS[target][0](
        np.random.default_rng([seed, zlib.crc32(target.encode()), number]), place
    )


def campaign(target, seed, numbers):
    """(tally of outcomes, examples of the bad ones) of some inputs of a target."""
    tally, examples = Counter(), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            case = make(target, seed, number, Path(folder) / "case")
            outcome, message = classify(case)
            tally[outcome] += 1
            if outcome not in ("right", "clear"):
                examples[outcome].append((number, case.what, message))
    return tally, examples


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="inputs of each target; by default a full run's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--number", type=int, help="only this input, to see one again")
    parser.add_argument("--examples", type=int, default=5)
    options = parser.parse_args(arguments)
    print(f"{'target':<20}" + "".join(f"{name:>8}" for name in ("tried", *OUTCOMES)), flush=True)
    found = {}
    for target in [options.target] if options.target else TARGETS:
        numbers = range(options.count if options.count is not None else TARGETS[target][1])
        numbers = numbers if options.number is None else [options.number]
        tally, found[target] = campaign(target, options.seed, numbers)
        cells = (tally.total(), *(tally[name] for name in OUTCOMES))
        print(f"{target:<20}" + "".join(f"{cell:>8}" for cell in cells), flush=True)
    for target, examples in found.items():
        for outcome, some in examples.items():
            print(f"\n{target}, {outcome}:")
            for number, what, message in some[: options.examples]:
                print(f"  --target {target} --seed {options.seed} --number {number} [{what}]")
                print(f"      {message[:300]!r}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
