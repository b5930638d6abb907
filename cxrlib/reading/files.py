"""One radiograph from whatever somebody has of it: PNG, JPEG, TIFF, BMP or DICOM."""

import io
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi

from cxrlib.data import DataError, load_image

RADIOGRAPHS = ("CR", "DX", "RG", "OT", "")
"""DICOM's modalities of a radiograph. OT, "other", is what many exports say, and some say none."""

LARGEST = 500_000_000  # bytes

OTHERWISE = "The file says that it"
"""So begins a note that it is no frontal chest radiograph."""

OTHERS = {b"%PDF": "a PDF", b"GIF8": "a GIF", b"PK\x03\x04": "a zip archive", b"RIFF": "a WebP"}
"""What is often taken for a radiograph, by its first bytes."""


class ReadingError(ValueError):
    """A file could not be read as a radiograph; the message says why, and what to do."""


def read_radiograph(source, size, white=None):
    """The grey levels of a file, and what is to be noted about it.

    Parameters
    ----------
    source : a path, or the bytes of a file, which are not written anywhere. What it is, its content
        says, not its name.
    size : pixels per side.
    white : the grey level of white in images of more than 8 bits; None for the highest that the
        file can hold. DICOM files say it themselves.

    Returns
    -------
    image : uint8 tensor [1, size, size], 0 black to 255 white; squeezed into a square, as all
        images that the models have seen. A DICOM file is shown by its own rescaling and window, and
        turned over where its white is low (``MONOCHROME1``).
    notes : a list of sentences, such as that it is a lateral view.

    Raises
    ------
    ReadingError : it is no complete image, or none of a single radiograph.
    """
    try:
        content = source if isinstance(source, bytes) else _content(Path(source))
        if not content:
            raise ReadingError("an empty file; expected PNG, JPEG, TIFF, BMP or DICOM.")
        headless = content[:2] in (b"\x02\x00", b"\x08\x00")  # the first group, without a preamble
        if content[128:132] == b"DICM" or headless:
            return _checked(*_from_dicom(content, size, headless))
        for start, kind in OTHERS.items():
            if content.startswith(start):
                raise ReadingError(f"{kind}; expected PNG, JPEG, TIFF, BMP or DICOM.")
        return _checked(load_image(content, size, white), [])
    except DataError as error:
        told = re.sub(r"cannot identify image file <.*?>", "of no kind known here", str(error))
        raise ReadingError(told.replace("TIFF, BMP", "TIFF, BMP, or DICOM")) from error
    except OSError as error:
        raise ReadingError(f"could not be read ({error.strerror or error}).") from error


def _checked(image, notes):
    if image.min() == image.max():
        raise ReadingError("one grey level throughout; there is nothing to be read in it.")
    used = (int(image.max()) - int(image.min())) / 255
    if used < 0.1:
        notes = [*notes, f"It uses {used:.0%} of the grey levels: is white another one (--white)?"]
    return image, notes


def _content(path):
    if not path.is_file():
        raise ReadingError("not a file." if path.exists() else "no such file.")
    if not 0 < path.stat().st_size <= LARGEST:
        raise ReadingError(
            f"{path.stat().st_size:,} bytes: expected a file of one radiograph, of at most 500 MB."
        )
    return path.read_bytes()


# --- DICOM ----------------------------------------------------------------------------------------


def _from_dicom(content, size, headless):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that do not conform, and do not matter here
        try:
            found = pydicom.dcmread(io.BytesIO(content), force=headless)
            _refuse(found)
            image = Image.fromarray(_shown(found)).resize((size, size), Image.BILINEAR)
            return torch.from_numpy(np.array(image))[None], _notes(found)
        except ReadingError:
            raise
        except Exception as error:  # a damaged file can lead to any error
            raise ReadingError(_unreadable(error)) from error


def _refuse(found):
    """Refuse what is no single radiograph, or does not say how it is stored."""
    modality = "/".join(np.atleast_1d(found.get("Modality") or "").astype(str))
    if modality not in RADIOGRAPHS:
        raise ReadingError(f"a DICOM file of modality {modality}; expected a radiograph, CR or DX.")
    if "PixelData" not in found:
        raise ReadingError("a DICOM file without an image in it.")
    if (frames := int(found.get("NumberOfFrames") or 1)) > 1:
        raise ReadingError(f"a DICOM file of {frames} images; expected one: save one of them.")
    for name in ("PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        if found.get(name) is None:
            raise ReadingError(f"a DICOM file that does not say its {name}; export it again.")
    kind = found.PhotometricInterpretation
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ReadingError(f"a DICOM file in colour ({kind}); expected grey levels, MONOCHROME2.")
    if found.get("HighBit", found.BitsStored - 1) != found.BitsStored - 1:
        raise ReadingError("a DICOM file that stores its bits in an unusual place; export it anew.")


def _shown(found):
    """Grey levels uint8 [H, W] as a viewer shows them first: rescaled, windowed, white as white."""
    stored = found.pixel_array
    if stored.ndim != 2:
        raise ReadingError(f"a DICOM file of {list(stored.shape)} values, which is not one image.")
    share = _windowed(stored, found)
    inverse = found.get("PresentationLUTShape") == "INVERSE"
    if inverse or found.PhotometricInterpretation == "MONOCHROME1":
        share = 1 - share
    if (padding := found.get("PixelPaddingValue")) is not None:
        share[stored == padding] = 0  # what lies beside the picture is black
    return (255 * share + 0.5).astype(np.uint8)


def _windowed(stored, found):
    """From 0, black, to 1, white, before any turning over: DICOM PS3.3, C.11.2.1.

    Without a window black and white are the lowest and the highest level that can be stored; they
    are not guessed from the image.
    """
    levels = apply_modality_lut(stored, found)
    if table := found.get("VOILUTSequence"):
        share = apply_voi(levels, found) / (2 ** int(table[0].LUTDescriptor[2]) - 1)
    elif found.get("WindowWidth") not in (None, ""):
        centre, width = (
            float(np.atleast_1d(found[name].value)[0]) for name in ("WindowCenter", "WindowWidth")
        )
        share = _by_window(levels, centre, width, found.get("VOILUTFunction") or "LINEAR")
    else:
        low = -(2 ** (found.BitsStored - 1)) if found.PixelRepresentation else 0
        ends = np.array([low, low + 2**found.BitsStored - 1], dtype=stored.dtype)
        black, white = sorted(apply_modality_lut(ends, found).astype(float))
        share = (levels - black) / max(white - black, 1e-9)
    return np.clip(share, 0, 1).astype(np.float32)


def _by_window(levels, centre, width, function):
    if not width >= (1 if function == "LINEAR" else 1e-9):
        raise ReadingError(f"a DICOM file whose window is {width:g} wide; export it again.")
    if function == "LINEAR":
        return (levels - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    if function == "LINEAR_EXACT":
        return (levels - centre) / width + 0.5
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (levels - centre) / width, -60, 60)))
    raise ReadingError(f"a DICOM file with a window of unknown kind ({function}); export it anew.")


def _notes(found):
    notes = []
    part = str(found.get("BodyPartExamined") or "").upper()
    if part and not re.search("CHEST|THORAX|LUNG|TORAX", part):
        notes.append(f"{OTHERWISE} shows {part}, not a chest.")
    view = str(found.get("ViewPosition") or "").upper()
    if view in ("LL", "RL", "LATERAL", "LAT", "LLO", "RLO"):
        notes.append(f"{OTHERWISE} is a lateral view; the models know frontal ones.")
    if found.get("PresentationIntentType") == "FOR PROCESSING":
        notes.append("The file is the detector's own, not yet made for looking at.")
    return notes


def is_otherwise(notes):
    """Whether a file says of itself that it is no frontal chest radiograph, by its notes."""
    return any(note.startswith(OTHERWISE) for note in notes)


def _unreadable(error):
    told = " ".join(str(error).split()) or type(error).__name__
    told = told if len(told) <= 160 else told[:160].rsplit(" ", 1)[0] + " …"
    if "decompress" in told or "plugin" in told or "decod" in told:
        return (
            f"a DICOM file that is compressed in a way which cannot be decoded here ({told}). "
            "Export it uncompressed, or as PNG."
        )
    return f"a DICOM file that is damaged or incomplete ({told})."
