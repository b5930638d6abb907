"""Radiographs as grey levels, decoded once and kept as one memory map."""

import hashlib
import io
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from joblib import cpu_count
from PIL import Image, ImageOps
from tqdm import tqdm

from cxrlib.data.track import DataError
from cxrlib.places import cache

FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
READER = 2
"""Raise it with any change that gives other grey levels: kept images are then decoded again."""


def load_image(path, size, white=None):
    """Read one radiograph as grey levels.

    Parameters
    ----------
    path : of a PNG, JPEG, TIFF or BMP file, or the bytes of one. It is turned as its EXIF
        orientation says. A JPEG is decoded at the scale that is needed, not below twice ``size``.
    size : pixels per side, 1 … 10,000.
    white : the grey level of white where there are more than 8 bits; None for the highest that the
        file can hold, 65535 in 16 bits. It is never guessed from the image: one that is dark stays
        dark.

    Returns
    -------
    uint8 tensor [1, size, size], 0 black to 255 white. The aspect ratio is not kept, as in the
    paper: the image is squeezed into a square.

    Raises
    ------
    DataError
        The file is missing, truncated, no image or far too large, or it has no known white.
    OSError
        The file is there and could not be read; the next attempt may succeed.
    """
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10_000:
        raise ValueError(f"size={size!r}: expected a whole number of pixels from 1 to 10,000.")
    file, told = path, f"{path}: "
    if isinstance(path, bytes):
        file, told = io.BytesIO(path), ""
    elif not os.path.isfile(path):
        what = "not a file" if os.path.exists(path) else "no such image"
        raise DataError(f"{path}: {what}. `python -m cxrlib check FOLDER` lists what is missing.")
    try:
        with Image.open(file, formats=FORMATS) as image:
            image.draft("L", (2 * size, 2 * size))
            ImageOps.exif_transpose(image, in_place=True)
            image.load()
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError(f"{image.n_frames} images in one file, and one is expected")
            grey = _eight_bits(image, white)
            return torch.from_numpy(np.array(grey.resize((size, size), Image.BILINEAR)))[None]
    except Exception as error:  # a damaged file can lead Pillow's decoders to any error
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, f"{told}could not be read ({error.strerror})") from error
        raise DataError(
            f"{told}not a readable image ({error or type(error).__name__}). Expected a complete "
            f"file in one of the formats {', '.join(FORMATS)}: get it again, or convert it."
        ) from error


def _eight_bits(image, white):
    """The image with grey levels 0 to 255. (Pillow's own conversion would clip 16 bits.)"""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image.convert("L")
    tags = getattr(image, "tag_v2", {})  # of a TIFF: 258, how many bits; 262, what 0 means
    bits = int(np.max(tags.get(258, 16)))
    white = white or (2**bits - 1 if image.mode.startswith("I;16") else None)
    pixels = np.asarray(image).astype(np.float64)
    if tags.get(262) == 0 and white is not None:
        pixels = white - pixels
    if white is None or not (pixels.min() >= 0 and pixels.max() <= white):
        raise ValueError(
            f"grey levels from {pixels.min():g} to {pixels.max():g} in Pillow's mode "
            f"{image.mode!r}, where white is {white or 'not known'}: say which it is, as white=4095"
        )
    return Image.fromarray((pixels * 255 / white + 0.5).astype(np.uint8))


def read_images(paths, size, white=None, progress=None):
    """Read images with a few threads into one uint8 tensor [N, 1, size, size].

    ``progress`` shows a bar; by default only where there are more than 2,000 images.
    """
    bar = tqdm(total=len(paths), desc="reading images", unit="image",
               disable=not (len(paths) > 2000 if progress is None else progress))  # fmt: skip
    images = torch.empty((len(paths), 1, size, size), dtype=torch.uint8)
    with bar, ThreadPoolExecutor(2 * cpu_count()) as pool:
        for row, image in enumerate(pool.map(lambda path: load_image(path, size, white), paths)):
            images[row] = image
            bar.update()
    return images


class ImageMap:
    """The images of a folder at one size: decoded once, then shared by all who train on them.

    ``pixels.bin`` holds the grey levels, image after image, and ``index.csv`` says which file each
    came from, with its size and time: a file that has changed since is decoded anew, to the end.
    Decoding that was interrupted goes on; a second process waits for the first. ``size`` and
    ``white`` are those of ``load_image``.
    """

    CHUNK = 4096
    INDEX = ("path", "bytes", "time", "crc")

    def __init__(self, folder, size, white=None):
        self.source, self.size, self.white = Path(folder).absolute(), size, white
        key = f"{self.source}|{white}|{READER}".encode()
        name = f"{self.source.name}-{size}-{hashlib.sha256(key).hexdigest()[:8]}"
        self.folder = cache() / name
        self._pixels = None

    def rows(self, paths):
        """Where the images of ``paths`` (relative to the folder) lie: int64 [N].

        Those that are not there yet are decoded, on all cores, with a progress bar.
        """
        wanted = self._look_at(paths)
        index = self._read_index()
        rows = _find(wanted, index)
        if (rows < 0).any():
            with _writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(self.folder / ".lock").acquire()
            with lock:
                index = self._read_index()  # another process may have filled it meanwhile
                index = self._decode(wanted[_find(wanted, index) < 0], index)
            rows = _find(wanted, index)
        self._crc, self._pixels = index["crc"].to_numpy(dtype=np.uint32), None
        return rows

    def read(self, rows):
        """The grey levels of some rows, uint8 [B, 1, size, size]; ``DataError`` if they are not
        those that were decoded: the file was replaced, or is damaged."""
        images = np.asarray(self.pixels[rows])
        for row, image in zip(rows, images, strict=True):
            if zlib.crc32(image) != self._crc[row]:
                raise DataError(
                    f"{self.folder}: image {row} is not what was decoded: the folder was replaced "
                    "meanwhile, or is damaged. Delete it; it is made anew from the radiographs."
                )
        return images

    def fingerprint(self, rows):
        """Hexadecimal digits that change with any grey level of these images, or their order."""
        return hashlib.sha256(self._crc[rows].tobytes()).hexdigest()

    @property
    def pixels(self):
        """Grey levels, uint8 [M, 1, size, size], on disk; index it with ``rows``."""
        if self._pixels is None:
            shape = (len(self._crc), 1, self.size, self.size)
            self._pixels = np.memmap(self.folder / "pixels.bin", np.uint8, "r", shape=shape)
        return self._pixels

    def __getstate__(self):
        return self.__dict__ | {"_pixels": None}  # a process that loads opens the file itself

    def _look_at(self, paths):
        found, missing = [], []
        for path in paths:
            try:
                about = os.stat(self.source / path)
                # Unlike its other times, this one cannot be kept by a file that is replaced.
                found.append((path, about.st_size, about.st_ctime_ns))
            except FileNotFoundError:
                missing.append(path)
        if missing:
            first = self.source / missing[0]
            raise DataError(
                f"{len(missing)} of {len(paths)} images are missing, the first of them {first}. Is "
                f"the download complete? `python -m cxrlib check {self.source}` says what is there."
            )
        return pd.DataFrame(found, columns=self.INDEX[:3])

    def _read_index(self):
        with suppress(FileNotFoundError, ValueError):  # none yet, or damaged: it is made anew
            index = pd.read_csv(self.folder / "index.csv", dtype={"path": str}, na_filter=False)
            there = os.path.getsize(self.folder / "pixels.bin") // self.size**2
            if tuple(index.columns) == self.INDEX and len(index) <= there:
                return index
        return pd.DataFrame(columns=self.INDEX)

    def _decode(self, wanted, index):
        """Append the images of ``wanted``; the index is written after their pixels, so it is true
        whenever the process ends."""
        needed, file = len(wanted) * self.size**2, self.folder / "pixels.bin"
        with _writing(self.folder):
            free = shutil.disk_usage(self.folder).free
            if needed > free:
                raise OSError(28, f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
            if not len(index):
                file.unlink(missing_ok=True)  # those who read an older one keep it
            with open(file, "ab") as pixels:
                pixels.truncate(len(index) * self.size**2)  # what was written and not indexed
        bar = tqdm(total=len(wanted), desc="decoding images, once", unit="image",
                   disable=len(wanted) < 2000)  # fmt: skip
        chunk_size = max(1, min(self.CHUNK, 2**28 // self.size**2))
        with bar:
            for start in range(0, len(wanted), chunk_size):
                chunk = wanted.iloc[start : start + chunk_size]
                paths = [self.source / path for path in chunk["path"]]
                images = read_images(paths, self.size, self.white, progress=False).numpy()
                chunk = chunk.assign(crc=[zlib.crc32(image) for image in images])
                index = pd.concat([index, chunk], ignore_index=True) if len(index) else chunk
                with _writing(self.folder):
                    with open(file, "ab") as pixels:
                        pixels.write(images)
                        pixels.flush()
                        os.fsync(pixels.fileno())
                    index.to_csv(self.folder / "index.tmp", index=False)
                    os.replace(self.folder / "index.tmp", self.folder / "index.csv")
                bar.update(len(chunk))
        return index


@contextmanager
def _writing(folder):
    try:
        yield
    except OSError as error:
        raise OSError(
            error.errno,
            f"{folder}: the decoded images could not be kept ({error}). Free some space, or let "
            "CXR_CACHE name a folder on another disk, and try again: what was decoded is kept",
        ) from error


def _find(wanted, index):
    """The row of ``index`` for every file as it is now, or −1: int64 [N]."""
    by = list(ImageMap.INDEX[:3])
    known = index.assign(row=np.arange(len(index))).drop_duplicates(by, keep="last")
    return wanted.merge(known, "left", by)["row"].fillna(-1).to_numpy(dtype=np.int64)
