"""benchmarks/body.py: what is measured has the size that it was given, and ranges have sources."""

import gzip
import json
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import body

from cxrlib import phantom
from cxrlib.phantom.rays import ellipsoid, thickness, tubes

RESULT = Path(__file__).parent.parent / "results" / "body.json"


def nifti(volume, affine, intercept=0.0, code=4, sform=1):
    """The bytes of a NIfTI-1 file of 16-bit whole numbers [i, j, k]."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *volume.shape, 1, 1, 1, 1)
    struct.pack_into("<h", header, 70, code)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, intercept)
    struct.pack_into("<2h", header, 252, 0, sform)
    struct.pack_into("<12f", header, 280, *np.ravel(affine))
    header[344:348] = b"n+1\0"
    return gzip.compress(bytes(header) + volume.astype("<i2").tobytes(order="F"))


def test_a_nifti_volume_is_turned_to_down_left_front():
    volume = np.arange(24).reshape(2, 3, 4)
    to_the_left = [[-7.0, 0, 0, 9], [0, 8.0, 0, 9], [0, 0, 25.0, 9]]  # mm: left, front, up
    units, step = body.read_nifti(nifti(volume, to_the_left, intercept=-1024))
    assert units.shape == (4, 2, 3) and step == pytest.approx((2.5, 0.7, 0.8))
    assert units[0, 1, 2] == volume[1, 2, 3] - 1024  # the top, left, front corner
    turned = [[0, 0, 7.0, 9], [0, -8.0, 0, 9], [-25.0, 0, 0, 9]]  # mm: down, back, right
    units, step = body.read_nifti(nifti(volume, turned))
    assert units.shape == (2, 4, 3) and step == pytest.approx((2.5, 0.7, 0.8))
    assert units[0, -1, -1] == volume[0, 0, 0]


def test_what_is_no_nifti_volume_is_refused():
    volume, affine = np.zeros((2, 2, 2)), np.eye(3, 4)
    for broken in (nifti(volume, affine, code=1), nifti(volume, affine, sform=0)):
        with pytest.raises(ValueError, match="expected"):
            body.read_nifti(broken)
    with pytest.raises(ValueError, match="n\\+1"):
        body.read_nifti(gzip.compress(bytes(400)))


def test_an_ellipsoid_is_as_wide_as_its_radii_say():
    solid = ellipsoid((1.0, -2.0, 3.0), (4.0, 5.0, 6.0), knots=101)
    assert body.widths(solid) == pytest.approx((8, 10, 12), rel=0.01)
    shape = thickness(body.PARALLEL, solid) > 0.5
    assert body.span(shape.any(axis=0), body.PARALLEL.pixel) == pytest.approx(8, abs=0.2)
    assert body.span(np.zeros(5, bool)) == 0


def test_airways_have_the_diameters_and_the_angle_they_were_drawn_with():
    way = np.tan(np.radians(30))
    paths = [[[0, -12, 0], [0, 0, 0]], [[0, 0, 0], [-5 * way, 5, 0]], [[0, 0, 0], [5 * way, 5, 0]]]
    gas = tubes(body.PARALLEL, paths, [[0.9] * 2, [0.6] * 2, [0.5] * 2])
    sizes, (row, column) = body.airways(gas, body.PARALLEL.pixel)
    assert sizes["trachea, side to side"] == pytest.approx(1.8, abs=0.1)
    assert sizes["right main bronchus"] == pytest.approx(1.2, abs=0.1)
    assert sizes["left main bronchus"] == pytest.approx(1.0, abs=0.1)
    assert sizes["subcarinal angle"] == pytest.approx(60, abs=3)
    middle = body.PARALLEL.size / 2
    assert (row, column) == pytest.approx((middle + 20, middle), abs=10)


def test_a_rod_has_the_section_it_was_given():
    step = 0.07
    x, y, z = np.mgrid[:100, :30, :30] * step
    rod = ((y - 1) / 0.7) ** 2 + ((z - 1) / 0.4) ** 2 < 1
    points = np.stack([x, y, z], 3)[rod]
    found = body.section(points, np.random.default_rng(0))
    assert found == pytest.approx([1.4, 0.8], abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_measured_in_every_phantom(seed):
    study = body.textbook(phantom.draw_studies(np.random.default_rng(seed))[0])
    sizes, places = body.measured(study)
    assert set(sizes) == {row.name for row in body.ROWS}
    assert all(-3 < size < 1000 for size in sizes.values())  # a left dome may stand higher
    assert tuple(places) == body.PLACES and all(3 < cm < 60 for cm in places.values())


def test_every_range_has_a_source_and_every_verdict_a_range():
    assert len({row.name for row in body.ROWS}) == len(body.ROWS)
    if not RESULT.is_file():
        pytest.skip("no results/body.json: benchmarks/body.py writes it")
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows] == [row.name for row in body.ROWS]
    for row in rows:
        for sex in ("Male", "Female"):
            ends = row[sex]["range"]
            assert (row[sex]["verdict"] is None) == (ends is None)
            if ends is None:
                assert row["source"] == "no source found"
            else:
                assert ends[0] <= ends[1] and re.search(r"\d{4}|vol\. \d", row["source"])
                inside = ends[0] <= row[sex]["mean"] <= ends[1]
                assert (row[sex]["verdict"] == "inside") == inside
