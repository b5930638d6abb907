import errno
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
import torch
from conftest import write_image
from PIL import Image

from cxrlib.data import DataError, ImageMap, images, load_image, read_images


def test_levels_and_shape(tmp_path):
    pixels = np.full((30, 20), 200, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", 16)
    assert image.shape == (1, 16, 16)
    assert image.dtype == torch.uint8
    assert (image == 200).all()


def test_sixteen_bits_and_colour_give_the_same_grey_levels(tmp_path):
    levels = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    Image.fromarray(levels).save(tmp_path / "8.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(np.stack([levels] * 4, axis=-1), "RGBA").save(tmp_path / "rgba.png")
    expected = load_image(tmp_path / "8.png", 32)
    assert torch.equal(load_image(tmp_path / "16.png", 32), expected)
    assert torch.equal(load_image(tmp_path / "rgba.png", 32), expected)


@pytest.mark.parametrize("white", [255, 4095, 65535])
@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_white_is_the_level_that_is_said(tmp_path, white, kind):
    levels = np.array([[0, white // 3], [white * 2 // 3, white]], dtype=kind)
    Image.fromarray(levels).save(tmp_path / "deep.tif")
    assert load_image(tmp_path / "deep.tif", 2, white).flatten().tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("brightest", [4000, 4100, 60000])
def test_white_is_not_guessed_from_the_brightest_pixel(tmp_path, brightest):
    """A pixel of 4000 among 16 bits is dark, whether or not another one is a little above 4095."""
    Image.fromarray(np.array([[4000, brightest]], dtype=np.uint16)).save(tmp_path / "deep.png")
    assert load_image(tmp_path / "deep.png", 2)[0, 0, 0] == round(4000 * 255 / 65535)


@pytest.mark.parametrize(
    ("pixels", "white"),
    [
        (np.array([[0.0, 1.0]], np.float32), None),
        (np.array([[0, 65536], [-1, 0]], np.int32), 65535),
        (np.array([[0, 300]], np.int32), None),
        (np.array([[0, 5000]], np.uint16), 4095),
        (np.array([[0.0, np.nan]], np.float32), 1),
    ],
)
def test_grey_levels_without_a_known_white_are_refused(tmp_path, pixels, white):
    Image.fromarray(pixels).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"deep\.tif: .*grey levels from .* to .*white=4095"):
        load_image(tmp_path / "deep.tif", 8, white)


def tiff(levels, bits, zero_is_white):
    """The bytes of an uncompressed TIFF of 12 or 16 bits, of an even width, by hand."""
    height, width = levels.shape
    if bits == 16:
        pixels = levels.astype("<u2").tobytes()
    else:  # two levels in three bytes
        one, other = levels.reshape(-1, 2).astype(int).T
        thirds = [one >> 4, (one & 15) << 4 | other >> 8, other & 255]
        pixels = np.stack(thirds, axis=1).astype(np.uint8).tobytes()
    start = 8 + 2 + 9 * 12 + 4
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: int(not zero_is_white), 273: start,
            277: 1, 278: height, 279: len(pixels)}  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + pixels


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("zero_is_white", [False, True])
def test_a_tiff_says_what_white_is(bits, zero_is_white):
    """Its tags 258 and 262: how many bits, and what 0 means."""
    levels = np.array([[0, 1], [2, 3]]) * (2**bits // 4)
    share = levels / (2**bits - 1)
    expected = 255 * (1 - share if zero_is_white else share)
    if bits == 12 and zero_is_white:  # Pillow does not know these: a sentence, and no picture
        with pytest.raises(DataError, match="not a readable image"):
            load_image(tiff(levels, bits, zero_is_white), 2)
        return
    found = load_image(tiff(levels, bits, zero_is_white), 2)[0]
    np.testing.assert_allclose(found, expected, atol=1)


def test_several_images_in_one_file_are_refused(tmp_path):
    pages = [Image.new("L", (8, 8), grey) for grey in (10, 200)]
    for name in ("a.tif", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        with pytest.raises(DataError, match="2 images in one file"):
            load_image(tmp_path / name, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says(tmp_path, orientation):
    pixels = np.zeros((40, 40), dtype=np.uint8)
    pixels[:20, :20], pixels[:20, 20:] = 250, 120
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = orientation
    undone_by = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation: Pillow's transposition
    if orientation > 1:
        image = image.transpose(Image.Transpose(undone_by[orientation]))
    image.save(tmp_path / "turned.png", exif=exif)
    found = load_image(tmp_path / "turned.png", 40)[0].numpy()
    np.testing.assert_array_equal(found, pixels)


def test_a_jpeg_is_decoded_at_the_scale_that_is_needed(tmp_path):
    y, x = np.mgrid[:1200, :1000] / 1200
    pixels = (127 + 80 * np.sin(9 * x) * np.cos(7 * y) + 40 * y).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.jpg", quality=95)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    quick, whole = load_image(tmp_path / "large.jpg", 100), load_image(tmp_path / "large.png", 100)
    assert (quick.int() - whole.int()).abs().max() <= 3


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_named(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: not a readable image.*get it again"):
        load_image(tmp_path / "a.png", 32)


def test_other_kinds_of_files(tmp_path):
    with pytest.raises(DataError, match="no such image"):
        load_image(tmp_path / "none.png", 32)
    with pytest.raises(DataError, match="not a file"):
        load_image(tmp_path, 32)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a file"):
        load_image(tmp_path / "pipe.png", 32)
    Image.new("LAB", (8, 8)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match=r"lab\.tif"):
        load_image(tmp_path / "lab.tif", 8)
    Image.new("L", (8, 8)).save(tmp_path / "a.gif")
    with pytest.raises(DataError, match=r"a\.gif.*formats PNG, JPEG, TIFF, BMP"):
        load_image(tmp_path / "a.gif", 8)


def test_a_decompression_bomb_is_refused(tmp_path):
    Image.new("1", (8, 8)).save(tmp_path / "bomb.png")
    header = bytearray((tmp_path / "bomb.png").read_bytes())
    header[16:24] = (60000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(DataError, match=r"bomb\.png.*decompression bomb"):
        load_image(tmp_path / "bomb.png", 8)


@pytest.mark.parametrize("size", [0, -1, 10_001, 32.0, True, "32"])
def test_a_size_that_is_none(tmp_path, size):
    with pytest.raises(ValueError, match="size=.*whole number of pixels"):
        load_image(tmp_path / "a.png", size)


def test_a_passing_error_is_no_bad_image(tmp_path, monkeypatch):
    """What the network drops for a moment is not the file's fault: the error comes through."""
    write_image(tmp_path / "a.png")

    monkeypatch.setattr(Image, "open", _fail)
    with pytest.raises(OSError, match=r"a\.png: could not be read \(Input/output") as caught:
        load_image(tmp_path / "a.png", 8)
    assert not isinstance(caught.value, DataError)


# --- The memory map -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache é"))
    for number in range(12):
        write_image(tmp_path / "data" / f"{number}.png", seed=number)
    return tmp_path / "data"


PATHS = [f"{number}.png" for number in range(12)]


def test_the_map_holds_what_decoding_gives(folder):
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS[::-1])
    expected = read_images([folder / path for path in PATHS[::-1]], 16).numpy()
    np.testing.assert_array_equal(kept.pixels[rows], expected)


def test_each_image_is_decoded_once_and_more_can_be_added(folder, monkeypatch):
    ImageMap(folder, 16).rows(PATHS[:5])
    decoded, load = [], images.load_image
    monkeypatch.setattr(images, "load_image", lambda p, *a: decoded.append(p.name) or load(p, *a))
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS)
    assert sorted(decoded) == sorted(PATHS[5:])
    expected = read_images([folder / path for path in PATHS], 16).numpy()
    np.testing.assert_array_equal(kept.pixels[rows], expected)
    assert ImageMap(folder, 24).rows(PATHS[:1]) == 0, "another size is another map"


def test_a_file_that_changed_is_decoded_anew_while_others_keep_what_they_have(folder):
    old = ImageMap(folder, 16)
    rows = old.rows(PATHS)
    before, print_before = old.pixels[rows].copy(), old.fingerprint(rows)
    write_image(folder / "3.png", seed=99)
    new = ImageMap(folder, 16)
    again = new.rows(PATHS)
    assert new.fingerprint(again) != print_before
    assert (again != rows).tolist() == [path == "3.png" for path in PATHS]
    np.testing.assert_array_equal(old.pixels[rows], before)
    expected = load_image(folder / "3.png", 16).numpy()
    np.testing.assert_array_equal(new.pixels[again[3]], expected)


def test_the_fingerprint_is_of_the_grey_levels(folder, tmp_path):
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS)
    shutil.copytree(folder, tmp_path / "copy")
    copy = ImageMap(tmp_path / "copy", 16)
    assert copy.fingerprint(copy.rows(PATHS)) == kept.fingerprint(rows), "wherever it lies"
    assert kept.fingerprint(rows[::-1]) != kept.fingerprint(rows), "and their order"


def test_missing_and_bad_images_are_named_and_the_rest_is_kept(folder, monkeypatch):
    with pytest.raises(DataError, match=r"2 of 4 images are missing.*x\.png.*cxrlib check"):
        ImageMap(folder, 16).rows([*PATHS[:2], "x.png", "y.png"])
    monkeypatch.setattr(ImageMap, "CHUNK", 4)
    (folder / "9.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"9\.png"):
        ImageMap(folder, 16).rows(PATHS)
    write_image(folder / "9.png", seed=9)
    decoded, load = [], images.load_image
    monkeypatch.setattr(images, "load_image", lambda p, *a: decoded.append(p.name) or load(p, *a))
    ImageMap(folder, 16).rows(PATHS)
    assert sorted(decoded) == ["10.png", "11.png", "8.png", "9.png"]


@pytest.mark.parametrize("damage", ["index", "short", "both", "nothing but pixels"])
def test_a_damaged_map_is_made_again(folder, damage):
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS)
    expected = np.array(kept.pixels[rows])
    if damage in ("index", "both"):
        (kept.folder / "index.csv").write_bytes(b"path\xff,\n1")
    if damage in ("short", "both"):
        os.truncate(kept.folder / "pixels.bin", 1000)
    if damage == "nothing but pixels":
        (kept.folder / "index.csv").unlink()
    again = ImageMap(folder, 16)
    np.testing.assert_array_equal(_read(again), expected)


def _read(kept):
    rows = kept.rows(PATHS)
    return kept.pixels[rows]


def test_a_full_disk_is_said_before_anything_is_written(folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match=r"GB are needed.*CXR_CACHE"):
        ImageMap(folder, 16).rows(PATHS)


def test_grey_levels_that_are_not_what_was_decoded_are_refused(folder):
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS)
    kept.read(rows)
    with open(kept.folder / "pixels.bin", "r+b") as pixels:
        pixels.seek(5 * 16 * 16 + 7)
        pixels.write(b"\0\1\2")
    with pytest.raises(DataError, match="image 5 is not what was decoded.*Delete it"):
        kept.read(rows)
    kept.read(rows[:5])


def test_a_map_can_be_asked_again_for_more(folder):
    kept = ImageMap(folder, 16)
    kept.read(kept.rows(PATHS[:3]))
    expected = read_images([folder / path for path in PATHS], 16).numpy()
    np.testing.assert_array_equal(kept.read(kept.rows(PATHS)), expected)


def test_an_index_that_cannot_be_read_for_a_moment_destroys_nothing(folder, monkeypatch):
    kept = ImageMap(folder, 16)
    rows = kept.rows(PATHS)
    before = kept.read(rows).copy()
    with monkeypatch.context() as patch:
        patch.setattr(images.pd, "read_csv", _fail)
        with pytest.raises(OSError, match="Input/output"):
            ImageMap(folder, 16).rows(PATHS)
    (kept.folder / "index.csv").write_text("damaged")
    ImageMap(folder, 16).rows(PATHS[::-1])  # made anew, in another order
    np.testing.assert_array_equal(kept.read(rows), before)


def _fail(*args, **kwargs):
    raise OSError(errno.EIO, "Input/output error")


BUILD = """
import sys
from cxrlib.data import ImageMap, images
from pathlib import Path
images.ImageMap.CHUNK = 4
load = images.load_image
def slow(*a):
    import time
    time.sleep(0.02)
    return load(*a)
images.load_image = slow
kept = ImageMap(Path(sys.argv[1]), 16)
print("ready", flush=True)
kept.rows([f"{n}.png" for n in range(12)])
"""


def test_killed_while_the_map_is_built(folder):
    for moment in (0.01, 0.05, 0.1, 0.15):
        command = [sys.executable, "-c", BUILD, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(moment)
        process.kill()
        process.wait()
    expected = read_images([folder / path for path in PATHS], 16).numpy()
    np.testing.assert_array_equal(_read(ImageMap(folder, 16)), expected)


def test_two_processes_build_one_map(folder):
    command = [sys.executable, "-c", BUILD, str(folder)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    kept = ImageMap(folder, 16)
    expected = read_images([folder / path for path in PATHS], 16).numpy()
    np.testing.assert_array_equal(_read(kept), expected)
    assert os.path.getsize(kept.folder / "pixels.bin") == 12 * 16 * 16, "each image once"


def test_a_bar_that_has_ended_stays(tmp_path, capsys):
    """In a notebook one that goes leaves an empty strip."""
    for number in range(3):
        write_image(tmp_path / f"{number}.png", seed=number)
    read_images(sorted(tmp_path.glob("*.png")), 16, progress=True)
    last = capsys.readouterr().err.rstrip().rpartition("\r")[2]
    assert "reading images: 100%" in last and "3/3" in last
