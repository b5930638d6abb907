"""cxrlib.reading.files: every kind of file gives the right grey levels, or one sentence."""

import io
from functools import cache

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from cxrlib.reading import ReadingError, read_radiograph

RAMP = np.linspace(0, 4095, 64).astype(np.uint16).reshape(1, 64).repeat(64, axis=0)


def dicom(pixels=RAMP, bits=12, syntax=ExplicitVRLittleEndian, **tags):
    """The bytes of a DICOM file."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality, made.PhotometricInterpretation, made.SamplesPerPixel = "DX", "MONOCHROME2", 1
    made.Rows, made.Columns = pixels.shape[-2:]
    made.BitsAllocated, made.BitsStored, made.HighBit = 8 * pixels.itemsize, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    for name, value in tags.items():
        setattr(made, name, value)
    content = io.BytesIO()
    pydicom.dcmwrite(content, made, enforce_file_format=True)
    return content.getvalue()


def levels(content, size=64):
    """Grey levels of the middle row, of a ramp from the left to the right."""
    return read_radiograph(content, size)[0][0, size // 2].numpy().astype(int)


def test_a_dicom_file_is_read_as_it_is_stored():
    """No window: black is the lowest level that 12 bits hold, and white the highest."""
    assert np.abs(levels(dicom()) - RAMP[0] / 4095 * 255).max() <= 1
    assert levels(dicom(RAMP // 2)).max() == pytest.approx(127, abs=1), "white is not guessed"


def test_low_white_is_turned_over():
    plain = levels(dicom())
    assert np.array_equal(levels(dicom(PhotometricInterpretation="MONOCHROME1")), 255 - plain)


def test_a_window_by_hand():
    """Centre 1000, width 500: black up to 750, white from 1250 (PS3.3, C.11.2.1.2)."""
    seen = levels(dicom(WindowCenter=1000, WindowWidth=500))
    by_hand = ((RAMP[0] - 999.5) / 499 + 0.5).clip(0, 1) * 255
    assert np.abs(seen - by_hand).max() <= 1
    assert seen[0] == 0 and seen[-1] == 255


def test_levels_are_rescaled_before_the_window():
    stored = levels(dicom(WindowCenter=1000, WindowWidth=500))
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -100}
    moved = levels(dicom(WindowCenter=1900, WindowWidth=1000, **rescaled))
    assert np.abs(moved - stored).max() <= 2


def test_a_negative_slope_turns_levels_over_before_the_window():
    """Low stored levels become high ones: the ramp falls."""
    tags = {"RescaleSlope": -1, "RescaleIntercept": 4095, "WindowCenter": 1800, "WindowWidth": 2400}
    by_hand = ((4095 - RAMP[0].astype(int) - 1799.5) / 2399 + 0.5).clip(0, 1) * 255
    assert np.abs(levels(dicom(**tags)) - by_hand).max() <= 1


@pytest.mark.parametrize(("centre", "width"), [(2048, 8192), (4000, 3000), (-500, 2000)])
def test_a_window_may_reach_beyond_what_can_be_stored(centre, width):
    by_hand = ((RAMP[0] - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1) * 255
    assert np.abs(levels(dicom(WindowCenter=centre, WindowWidth=width)) - by_hand).max() <= 1


def test_the_two_other_kinds_of_window():
    """PS3.3, C.11.2.1.3."""
    tags = {"WindowCenter": [2000, 1], "WindowWidth": [2500, 1]}  # the first of two
    sigmoid = 255 / (1 + np.exp(-4 * (RAMP[0] - 2000.0) / 2500))
    assert np.abs(levels(dicom(VOILUTFunction="SIGMOID", **tags)) - sigmoid).max() <= 1
    exact = ((RAMP[0] - 2000.0) / 2500 + 0.5).clip(0, 1) * 255
    assert np.abs(levels(dicom(VOILUTFunction="LINEAR_EXACT", **tags)) - exact).max() <= 1


def test_padding_is_black_and_inverse_is_inverse():
    padded = RAMP.copy()
    padded[:, 40:] = 0
    seen = levels(dicom(padded, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0))
    assert (seen[41:] == 0).all() and seen[1] > 240
    assert np.array_equal(levels(dicom(PresentationLUTShape="INVERSE")), 255 - levels(dicom()))


def test_a_file_without_its_preamble_is_read():
    assert np.array_equal(levels(dicom()[132:]), levels(dicom()))


def test_levels_may_be_negative():
    signed = (RAMP.astype(np.int32) - 2048).astype(np.int16)
    assert np.abs(levels(dicom(signed)) - levels(dicom())).max() <= 1


def test_a_table_of_levels_is_followed():
    """A VOI LUT of three values of 8 bits: of stored levels 0, 1 and all above."""
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 0, 8], [0, 100, 200]
    table["LUTData"].VR = "US"
    pixels = np.array([[0, 1], [2, 3]], dtype=np.uint16)
    image, _ = read_radiograph(dicom(pixels, VOILUTSequence=Sequence([table])), 2)
    assert image[0].tolist() == [[0, 100], [200, 200]], "white is 255, whatever the table holds"


def test_eight_bits_and_lossless_compression_change_nothing():
    small = (RAMP // 16).astype(np.uint8)
    assert np.array_equal(levels(dicom(small, bits=8)), small[0])
    found = pydicom.dcmread(io.BytesIO(dicom()))
    found.compress(RLELossless, generate_instance_uid=False)
    packed = io.BytesIO()
    found.save_as(packed, enforce_file_format=True)
    assert np.array_equal(levels(packed.getvalue()), levels(dicom()))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (dicom(Modality="CT"), "modality CT; expected a radiograph"),
        (dicom(np.stack([RAMP, RAMP]), NumberOfFrames=2), "of 2 images; expected one"),
        (dicom(PhotometricInterpretation="RGB"), r"in colour \(RGB\)"),
        (dicom()[:4000], "damaged or incomplete"),
        (dicom()[:150], "damaged or incomplete|without an image"),
        (dicom(WindowCenter=100, WindowWidth=0), "window is 0 wide"),
        (dicom(WindowCenter=9, WindowWidth=9, VOILUTFunction="CURVED"), r"unknown kind \(CURVED\)"),
        (dicom(HighBit=15), "stores its bits in an unusual place"),
        (dicom(Modality=["DX", "CT"]), "modality DX/CT"),
        (
            dicom(SamplesPerPixel=3, PlanarConfiguration=0, Columns=32, Rows=42),
            "not one image|damaged",
        ),
        (dicom(Rows=20), "not one image|damaged"),
        (dicom(WindowCenter=90000, WindowWidth=10), "one grey level throughout"),
        (b"%PDF-1.7 and more", "a PDF; expected"),
        (b"GIF89a and more", "a GIF; expected"),
        (b"", "an empty file; expected"),
        (b"only words", r"Expected a complete file .* TIFF, BMP, or DICOM"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 90, "not a readable image"),
        (bytes(128) + b"DICM" + b"?" * 50, "damaged or incomplete|without an image"),
    ],
)
def test_what_is_no_radiograph_gets_a_sentence(content, told):
    with pytest.raises(ReadingError, match=told) as caught:
        read_radiograph(content, 32)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 400 and "object at 0x" not in said


def test_a_tag_that_is_missing_is_named():
    for name in ("PhotometricInterpretation", "BitsStored", "PixelRepresentation"):
        found = pydicom.dcmread(io.BytesIO(dicom()))
        delattr(found, name)
        content = io.BytesIO()
        found.save_as(content)
        with pytest.raises(ReadingError, match=f"does not say its {name}"):
            read_radiograph(content.getvalue(), 8)


def test_a_file_without_an_image_and_one_that_cannot_be_unpacked(tmp_path):
    found = pydicom.dcmread(io.BytesIO(dicom()))
    del found.PixelData
    found.save_as(tmp_path / "report.dcm")
    with pytest.raises(ReadingError, match="without an image"):
        read_radiograph(tmp_path / "report.dcm", 32)
    found = pydicom.dcmread(io.BytesIO(dicom()))
    found.file_meta.TransferSyntaxUID = JPEG2000Lossless
    found.PixelData = pydicom.encaps.encapsulate([b"no JPEG 2000 at all"])
    found["PixelData"].is_undefined_length = True
    found.save_as(tmp_path / "packed.dcm")
    with pytest.raises(ReadingError, match="cannot be decoded|damaged"):
        read_radiograph(tmp_path / "packed.dcm", 32)


def test_what_a_file_says_of_itself_is_noted():
    _, notes = read_radiograph(dicom(BodyPartExamined="HAND", ViewPosition="LL"), 8)
    assert "HAND" in notes[0] and "lateral" in notes[1]
    assert read_radiograph(dicom(BodyPartExamined="CHEST", ViewPosition="PA"), 8)[1] == []


def test_twelve_bits_in_sixteen_are_noted_until_white_is_said():
    content = io.BytesIO()
    Image.fromarray(RAMP).save(content, format="PNG")
    (note,) = read_radiograph(content.getvalue(), 64)[1]
    assert note == "It uses 6% of the grey levels: is white another one (--white)?"
    image, notes = read_radiograph(content.getvalue(), 64, white=4095)
    assert notes == [] and np.abs(image[0, 9].numpy() - RAMP[0] / 4095 * 255).max() <= 1


def test_the_content_counts_and_not_the_name(tmp_path):
    (tmp_path / "image.png").write_bytes(dicom())
    from_path, _ = read_radiograph(tmp_path / "image.png", 64)
    assert torch.equal(from_path, read_radiograph(dicom(), 64)[0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_an_image_is_the_same_from_its_path_and_from_its_bytes(tmp_path, kind):
    path = tmp_path / "image.any"
    Image.fromarray((RAMP // 16).astype(np.uint8)).save(path, format=kind)
    from_path, from_bytes = (read_radiograph(source, 32)[0] for source in (path, path.read_bytes()))
    assert torch.equal(from_path, from_bytes)
    assert np.abs(levels(path.read_bytes()) - RAMP[0] // 16).max() <= 6


def test_paths_that_hold_nothing(tmp_path):
    (tmp_path / "empty.png").touch()
    for path, told in (("none.png", "no such file"), ("", "not a file"), ("empty.png", "0 bytes")):
        with pytest.raises(ReadingError, match=told):
            read_radiograph(tmp_path / path, 8)


# --- A hundred files -----------------------------------------------------------------------------

FILM = np.rot90(np.outer(np.linspace(40, 230, 96), np.linspace(0.4, 1, 96)).astype(np.uint8))
"""Not alike when turned, mirrored or inverted."""


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()


@cache
def good_files():
    """{name: bytes}: one film, in every way in which such a film is kept."""
    grey = Image.fromarray(FILM)
    alpha = Image.merge("LA", (grey, Image.new("L", grey.size, 255)))
    modes = {"L": grey, "RGB": grey.convert("RGB"), "RGBA": grey.convert("RGBA"), "LA": alpha,
             "P": grey.convert("RGB").quantize(200)}  # fmt: skip
    sixteen = Image.fromarray(FILM.astype(np.uint16) * 257)
    files = {f"{mode}.png": saved(image, "PNG") for mode, image in modes.items()}
    files |= {f"{mode}.tif": saved(image, "TIFF") for mode, image in modes.items()}
    files |= {f"{mode}.bmp": saved(modes[mode], "BMP") for mode in ("L", "RGB", "P")}
    for quality in (60, 75, 95):
        for mode in ("L", "RGB"):
            files[f"{mode}{quality}.jpg"] = saved(modes[mode], "JPEG", quality=quality)
    files["progressive.jpg"] = saved(grey, "JPEG", progressive=True)
    files["sixteen.png"], files["sixteen.tif"] = saved(sixteen, "PNG"), saved(sixteen, "TIFF")
    files["named wrongly.jpg"], files["nameless"] = files["L.png"], files["L.png"]
    for bits in (8, 10, 12, 14, 16):
        kind = np.uint8 if bits == 8 else np.uint16
        levels = np.round(FILM / 255 * (2**bits - 1)).astype(kind)
        for turned in (False, True):
            stored = (2**bits - 1 - levels) if turned else levels
            how = {"PhotometricInterpretation": f"MONOCHROME{1 if turned else 2}"}
            name = f"{bits}{'-inverted' if turned else ''}"
            files[f"{name}.dcm"] = dicom(stored, bits, **how)
            window = {"WindowCenter": 2 ** (bits - 1), "WindowWidth": 2**bits}
            files[f"{name}-window.dcm"] = dicom(stored, bits, **how, **window)
            scaled = {"RescaleSlope": 2, "RescaleIntercept": -1000}
            window = {"WindowCenter": 2**bits - 1000, "WindowWidth": 2 ** (bits + 1)}
            files[f"{name}-scaled.dcm"] = dicom(stored, bits, **how, **scaled, **window)
    files["headless.dcm"] = files["12.dcm"][132:]
    return files


@cache
def bad_files():
    """{name: bytes}: cut off at two places, renamed, of other kinds, nothing at all."""
    files = {}
    for name, content in good_files().items():
        if not name.startswith(("named", "nameless", "headless")) and "-scaled" not in name:
            files[f"cut {name}"] = content[: len(content) * 2 // 3]
    films = [Image.fromarray(FILM)] * 2
    files["two.tif"] = saved(films[0], "TIFF", save_all=True, append_images=films[1:])
    files["page.gif"], files["page.webp"] = saved(films[0], "GIF"), saved(films[0], "WEBP")
    files["text.png"], files["table.dcm"] = b"a,b\n1,2\n", b"only words " * 40
    files["report.pdf"], files["all.zip"], files["empty.png"] = b"%PDF-1.7 x", b"PK\x03\x04 x", b""
    files["zeros.dcm"], files["black.png"] = bytes(5000), saved(Image.new("L", (50, 50)), "PNG")
    files["clear.png"] = saved(Image.new("LA", (50, 50), (0, 0)), "PNG")
    files["ct.dcm"] = dicom(Modality="CT")
    files["cine.dcm"] = dicom(np.stack([RAMP, RAMP]), NumberOfFrames=2)
    files["colour.dcm"] = dicom(PhotometricInterpretation="YBR_FULL")
    return files


def test_there_are_a_hundred_of_them():
    assert len(good_files()) + len(bad_files()) > 100


@pytest.mark.parametrize("name", good_files())
def test_a_good_file_is_that_film(name):
    image, notes = read_radiograph(good_files()[name], 96)
    away = np.abs(image[0].numpy().astype(int) - FILM)
    assert away.mean() < 2 and away.max() <= 16 and not notes, f"{away.mean():.1f}, {away.max()}"


@pytest.mark.parametrize("name", bad_files())
def test_a_bad_file_gets_one_sentence(name):
    with pytest.raises(ReadingError) as caught:
        read_radiograph(bad_files()[name], 96)
    said = str(caught.value)
    assert 20 < len(said) < 400 and "\n" not in said and "Traceback" not in said
