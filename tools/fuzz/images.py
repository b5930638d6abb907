"""Radiographs: a folder of them with its tables, and a single one."""

import functools
import io
import os
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from . import harness
from .harness import Case, cxr, pick, target
from .tables import chexpert_rows, nih_rows, parsed, person, spoil, write_rows

BOXES = [["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]", "", "", ""],
         ["00000001_000.png", "Infiltrate", "512.0", "256.0", "128.0", "64.0", "", "", ""],
         ["00000003_000.png", "Mass", "12.5", "25.0", "10.0", "30.0", "", "", ""]]  # fmt: skip


def write_chexpert(folder, images=False):
    for split, first in (("train", 1), ("valid", 11), ("test", 21)):
        rows = chexpert_rows(split, first=first)
        for name in (split, "train_visualCheXbert") if split == "train" else (split,):
            write_rows(folder / f"{name}.csv", rows)
        for i, row in enumerate(rows[1:] if images else ()):
            path = folder / row[0].removeprefix("data/")
            path.parent.mkdir(parents=True)
            grey = np.random.default_rng(first + i).integers(0, 256, (32, 32), dtype=np.uint8)
            Image.fromarray(grey).save(path)


def write_nih(folder):
    write_rows(folder / "Data_Entry_2017_v2020.csv", nih_rows())
    write_rows(folder / "BBox_List_2017.csv", BOXES)


def track_wrong(track):
    """What every track must keep, whatever its files are like."""
    table, boxes, corners = track.table, track.boxes, ["x", "y", "width", "height"]
    observations = table[list(cxr("labels").OBSERVATIONS)].to_numpy(dtype=float)
    people = table["patient"].str.removeprefix("nih").map(person)
    inside = [not Path(p).is_absolute() and ".." not in Path(p).parts for p in table["path"]]
    checks = {
        "a path that leaves the folder": not all(inside),
        "an image without a name": table["path"].str.endswith(("/", "/.")).any(),
        "an image twice": table["path"].duplicated().any(),
        "a patient in two splits": (table.groupby(people)["split"].nunique() > 1).any(),
        "a label that is no label": ((observations < 0) | (observations > 1)).any(),
        "a box outside": not boxes[corners].stack().between(0, 1).all(),
    }
    lists = track.folder / "test_list.txt"
    if track.name == "nih" and lists.is_file():
        official = set(lists.read_text("utf-8-sig").split())
        test = {Path(p).name for p in table.loc[table["split"] == "test", "path"]}
        checks["another test split than test_list.txt's"] = test != official or not test
    for box in boxes.itertuples():
        got = np.array([box.x, box.y, box.width, box.height]) * 1024
        own = [[float(row[n]) for n in BOXES[0][2:6]]
               for _, row in parsed(track.folder / "BBox_List_2017.csv")[1]
               if row["Image Index"] == Path(box.path).name]  # fmt: skip
        checks[f"box {got}, expected {own}"] = not any(np.allclose(got, b) for b in own)
    return next((name for name, is_so in checks.items() if is_so), None)


NAME, OTHER = "00000001_000.png", "00000001_001.png"
TEST_LISTS = (f"{NAME}\n{OTHER}\n", "", "\n", "00000001_000\n", f"images/{NAME}\n", f"{NAME}\n",
              f"\ufeff{NAME}\n{OTHER}\n", "é.png\n", f"{NAME} {OTHER}")  # fmt: skip
LEAKS = ("patient00001/study3/view1_frontal.jpg", "../x.jpg", "../../valid/patient00011/x.jpg")


@target(4000)
def open_track(rng, place):
    kind, options = pick(rng, ("chexpert", "nih")), {}
    folder = place / kind
    (write_chexpert if kind == "chexpert" else write_nih)(folder)
    action = pick(rng, ("table",) * 5 + ("gone", "directory", "list", "option", "person", "leak"))
    path = pick(rng, sorted(folder.glob("*.csv")))
    names = path.name
    if action == "table":
        action = spoil(path, rng)
    elif action in ("gone", "directory"):
        path.unlink()
        path.mkdir() if action == "directory" else None
        names = kind
    elif action == "list":
        content = pick(rng, (*(text.encode() for text in TEST_LISTS), b"\xff\xfe", rng.bytes(50)))
        (folder / "test_list.txt").write_bytes(content)
        names = "test_list|patient"
    elif action == "option":
        name = pick(rng, ("labels", "uncertain", "views"))
        options = {name: pick(rng, ("", "x", "U-Soft", "train.csv", ("x",), ()))}
        names = "labels|policy|view|" + kind
    elif action == "person":  # one person, written in two ways
        rows = nih_rows()
        rows[1][3] = pick(rng, ("1.0", " 1", "01", "1 ", "", "nan", "../1"))
        write_rows(folder / "Data_Entry_2017_v2020.csv", rows)
        names = "Data_Entry|patient"
    else:
        rows = chexpert_rows("valid", first=11)
        rows[1][0] = pick(rng, (*(f"data/valid/{leak}" for leak in LEAKS), "", rows[2][0]))
        write_rows(folder / "valid.csv", rows)
        names = "valid|patient"
    call = functools.partial(cxr("data").open_track, folder, **options)
    return Case(f"{kind}: {path.name}: {action} {options or ''}", call, names, track_wrong)


# --- One image -----------------------------------------------------------------------------------

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA", "DDS", "AVIF", "ICNS", "PCX",
           "SGI", "JPEG2000", "QOI", "ICO", "PDF", "EPS", "MSP", "XBM", "BLP", "IM", "SPIDER",
           )  # fmt: skip
MODES = ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F", "PA")
TURNS = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
         6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90}  # fmt: skip


def png_of(width, height):
    """The start of a PNG file that claims this size."""
    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\0\0\0\0"
    start = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + head
    return start + zlib.crc32(head).to_bytes(4) + bytes([0, 0, 0, 9]) + b"IDATx\x9cc\0\0\0\x01\0\1"


PLACES = {  # what can stand where an image should
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "gone": lambda path: None,
    "bomb": lambda path: path.write_bytes(png_of(2**31 - 1, 60_000)),
    "smaller bomb": lambda path: path.write_bytes(png_of(20_000, 60_000)),
    "empty": Path.touch,
    "text": lambda path: path.write_text("GIF89a"),
    "loop": lambda path: path.symlink_to(path),
}


@target(3300)
def load_image(rng, place):
    path, size, what, options = place / "image.png", 16, "", {}
    grey = (np.add.outer(np.arange(16), np.arange(16)) * 8).astype(np.uint8)  # smooth, for JPEG
    grey[2:8, 2:5] += 10
    want, image = grey, Image.fromarray(grey)
    action = pick(rng, ("format", "format", "mode", "bytes", "bytes", "exif", "place", "size"))
    kind = pick(rng, FORMATS if action == "format" else FORMATS[:3])
    mode = pick(rng, MODES) if action in ("mode", "format") else "L"
    if action == "exif":
        options["exif"], turn = image.getexif(), int(rng.integers(0, 10))
        options["exif"][0x0112], what = turn, f"orientation {turn}"
        want = TURNS.get(turn, np.asarray)(grey)
    if mode in ("I;16", "I"):
        image = Image.fromarray(grey.astype(np.uint16 if mode != "I" else np.int32) * 257)
    elif mode != "L":
        image = (image.convert("RGB") if mode in ("LAB", "HSV") else image).convert(mode)
    file = io.BytesIO()  # given a path, Pillow would take its ending for SPIDER's from then on
    try:
        with warnings.catch_warnings(action="ignore"):
            image.save(file, kind, **options)
    except (OSError, KeyError, ValueError):  # this format does not hold this mode
        Image.fromarray(grey).save(file := io.BytesIO(), "PNG", **options)
    path.write_bytes(file.getvalue())
    if action == "bytes":
        what = harness.spoil(path, rng)
    elif action == "size":
        size = pick(rng, (0, -1, 1.5, harness.NAN, "16", None, True, 10**9))
    elif action == "place":
        path.unlink()
        what = pick(rng, tuple(PLACES))
        PLACES[what](path)

    def wrong(answer):
        if tuple(answer.shape) != (1, 16, 16) or str(answer.dtype) != "torch.uint8":
            return f"{answer.shape} {answer.dtype}"
        off = np.abs(answer[0].numpy().astype(int) - want).max()
        return (
            f"grey levels off by {off}" if off > 24 and action != "bytes" and mode != "1" else None
        )

    return Case(f"{action} {kind} {mode} {what}" + f" {size}" * (size != 16),
                functools.partial(cxr("data").load_image, path, size),
                "size" if action == "size" else "image.png", wrong,
                "refuse" if action in ("size", "place") else "either")  # fmt: skip
