"""One radiograph from whatever somebody has of it: PNG, JPEG, TIFF, BMP or DICOM."""

import io
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from cxrlib.data import DataError, load_image

RADIOGRAPHS = ("CR", "DX", "RG", "OT", "")
"""DICOM's modalities of a radiograph. OT, "other", is what many exports say, and some say none."""

LARGEST = 500_000_000  # bytes


class ReadingError(ValueError):
    """A file could not be read as a radiograph; the message says why, and what to do."""


def read_radiograph(source, size):
    """The grey levels of a file, and what is to be noted about it.

    Parameters
    ----------
    source : a path, or the bytes of a file, which are not written anywhere. What it is, its content
        says, not its name.
    size : pixels per side.

    Returns
    -------
    image : uint8 tensor [1, size, size], 0 black to 255 white; squeezed into a square, as all
        images that the models have seen. A DICOM file is shown by its own rescaling and window, and
        inverted where its white is low (``MONOCHROME1``).
    notes : a list of sentences, such as that it is a lateral view.

    Raises
    ------
    ReadingError : it is no complete image, or none of a single radiograph.
    """
    try:
        content = source if isinstance(source, bytes) else _content(Path(source))
        if content[128:132] == b"DICM":
            return _from_dicom(content, size)
        return load_image(content, size), []
    except DataError as error:
        raise ReadingError(str(error).replace("TIFF, BMP", "TIFF, BMP, or DICOM")) from error
    except OSError as error:
        raise ReadingError(f"could not be read ({error.strerror or error}).") from error


def _content(path):
    if not path.is_file():
        raise ReadingError("not a file." if path.exists() else "no such file.")
    if not 0 < path.stat().st_size <= LARGEST:
        raise ReadingError(
            f"{path.stat().st_size:,} bytes: expected a file of one radiograph, of at most 500 MB."
        )
    return path.read_bytes()


# --- DICOM ----------------------------------------------------------------------------------------


def _from_dicom(content, size):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that do not conform, and do not matter here
        try:
            found = pydicom.dcmread(io.BytesIO(content))
            _refuse(found)
            grey = _shown(found)
        except ReadingError:
            raise
        except Exception as error:  # a damaged file can lead to any error
            raise ReadingError(_unreadable(content, error)) from error
        notes = _notes(found)
    image = Image.fromarray(grey).resize((size, size), Image.BILINEAR)
    return torch.from_numpy(np.array(image))[None], notes


def _refuse(found):
    """Refuse what is no single radiograph."""
    modality = str(found.get("Modality") or "")
    if modality not in RADIOGRAPHS:
        raise ReadingError(f"a DICOM file of modality {modality}; expected a radiograph, CR or DX.")
    if "PixelData" not in found:
        raise ReadingError("a DICOM file without an image in it.")
    if (frames := int(found.get("NumberOfFrames") or 1)) > 1:
        raise ReadingError(
            f"a DICOM file of {frames} images; expected one. Save one of them alone."
        )
    kind = found.PhotometricInterpretation
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ReadingError(f"a DICOM file in colour ({kind}); expected grey levels, MONOCHROME2.")


def _shown(found):
    """Grey levels uint8 [H, W] as a viewer shows them first: rescaled, windowed, white as white.

    Black and white are what the lowest and the highest level that the file can store become; they
    are not guessed from the image (DICOM PS3.3, C.7.6.3.1.2 and C.11).
    """
    stored = found.pixel_array
    low = -(2 ** (found.BitsStored - 1)) if found.PixelRepresentation else 0
    ends = np.array([[low, low + 2**found.BitsStored - 1]], dtype=stored.dtype)
    levels, (black, white) = _windowed(stored, found), sorted(_windowed(ends, found)[0])
    if not white > black:
        raise ReadingError("a DICOM file whose window shows one grey level only.")
    share = ((levels - black) / (white - black)).clip(0, 1)
    if found.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    return (255 * share + 0.5).astype(np.uint8)


def _windowed(levels, found):
    return apply_voi_lut(apply_modality_lut(levels, found), found).astype(np.float64)


def _notes(found):
    notes = []
    part = str(found.get("BodyPartExamined") or "").upper()
    if part and not re.search("CHEST|THORAX|LUNG|TORAX", part):
        notes.append(f"The file says that it shows {part}, not a chest.")
    view = str(found.get("ViewPosition") or "").upper()
    if view in ("LL", "RL", "LATERAL", "LAT", "LLO", "RLO"):
        notes.append("The file says that it is a lateral view; the models know frontal ones.")
    return notes


def _unreadable(content, error):
    told = " ".join(str(error).split())[:160]
    if "decompress" in told or "plugin" in told or "decod" in told:
        return (
            f"a DICOM file that is compressed in a way which cannot be decoded here ({told}). "
            "Export it uncompressed, or as PNG."
        )
    return f"a DICOM file that is damaged or incomplete ({told or type(error).__name__})."
