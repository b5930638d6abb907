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
    units, step = body.read_nifti(nifti(volume, to_the_left, intercept=-1024), "ct")
    assert units.shape == (4, 2, 3) and step == pytest.approx((2.5, 0.7, 0.8))
    assert units[0, 1, 2] == volume[1, 2, 3] - 1024  # the top, left, front corner
    turned = [[0, 0, 7.0, 9], [0, -8.0, 0, 9], [-25.0, 0, 0, 9]]  # mm: down, back, right
    units, step = body.read_nifti(nifti(volume, turned), "ct")
    assert units.shape == (2, 4, 3) and step == pytest.approx((2.5, 0.7, 0.8))
    assert units[0, -1, -1] == volume[0, 0, 0]


def test_what_is_no_nifti_volume_is_refused():
    volume, affine = np.zeros((2, 2, 2)), np.eye(3, 4)
    for broken in (nifti(volume, affine, code=1), nifti(volume, affine, sform=0)):
        with pytest.raises(ValueError, match="ct.nii.gz: .*expected"):
            body.read_nifti(broken, "ct.nii.gz")
    with pytest.raises(ValueError, match="ct.nii.gz: .*n\\+1"):
        body.read_nifti(gzip.compress(bytes(400)), "ct.nii.gz")


def tilted(degrees):
    """The affine of voxels of 1 cm, turned about the axis from right to left."""
    cos, sin = 10 * np.cos(np.radians(degrees)), 10 * np.sin(np.radians(degrees))
    return [[10.0, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0]]


def test_a_tilted_volume_keeps_its_voxels_sizes_or_is_refused():
    volume = np.zeros((2, 3, 4))
    units, step = body.read_nifti(nifti(volume, tilted(7)), "ct.nii.gz")
    assert units.shape == (4, 2, 3) and step == pytest.approx((1, 1, 1))
    for degrees in (9, 30, 45):
        with pytest.raises(ValueError, match=r"ct\.nii\.gz: the volume lies askew"):
            body.read_nifti(nifti(volume, tilted(degrees)), "ct.nii.gz")
    sheared = [[8.0, 0, 0, 0], [0, 8.0, 6.0, 0], [0, 0, 8.0, 0]]  # a scanner's gantry was tilted
    flat = [[8.0, 0, 0, 0], [0, 8.0, 8.0, 0], [0, 0, 0, 0]]
    for affine in (sheared, flat, np.zeros((3, 4))):
        with pytest.raises(ValueError, match="askew"):
            body.read_nifti(nifti(volume, affine), "ct.nii.gz")


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


LIKELY = {
    "heart's width": (10.5, 15),
    "heart's depth": (8.5, 15),
    "chest's inner width, PA film": (26, 35),
    "chest's inner width": (24, 33),
    "chest's inner width at the carina": (20, 28),
    "chest's inner depth": (15, 22),
    "chest's inner depth at the carina": (13, 20),
    "left dome below the right, PA film": (0.8, 2.2),
    "both lungs, gas and tissue": (5, 9.5),
    "tissue in both lungs": (0.5, 1.8),  # more than in people, as results/body.json shows
    "lungs' mean density": (0.12, 0.23),
    "right main bronchus": (0.8, 1.5),
    "left main bronchus": (0.75, 1.4),
    "subcarinal angle": (50, 90),
    "descending aorta, left of the spine's middle": (1, 2.3),
    "vascular pedicle": (4.5, 8),
    "rib's height, 4th to 8th": (0.9, 1.5),
    "rib's thickest cortex": (0.09, 0.2),
    "all ribs' bone above soft tissue, as water": (150, 400),
    "thoracic spine's bone above soft tissue, as water": (0.5, 1.2),
    "chest wall in front": (2.4, 6),
    "chest wall at the side": (2.4, 6),
    "trunk's depth at the carina": (18, 28),
}
"""Where a mean over men and women is to lie in the rows without a source, and in some with one:
where the phantom is known to be off, or where the source's range is too wide to find a mistake."""


def likely(row):
    """The range of a row's mean: of ``LIKELY``, or the source's, a fifth wider at both ends."""
    if row.name in LIKELY:
        return LIKELY[row.name]
    return min(row.men[0], row.women[0]) / 1.2, max(row.men[1], row.women[1]) * 1.2


@pytest.fixture(scope="module")
def measured():
    """What ``body.measured`` gives for eight phantoms: a list of sizes, and one of places."""
    studies = [phantom.draw_studies(np.random.default_rng(seed))[0] for seed in range(8)]
    assert {study.patient.sex for study in studies} == {"Male", "Female"}
    return list(zip(*[body.measured(body.textbook(study)) for study in studies], strict=True))


def test_every_row_is_measured_in_every_phantom(measured):
    for sizes, places in zip(*measured, strict=True):
        assert set(sizes) == {row.name for row in body.ROWS}
        assert np.isfinite(list(sizes.values())).all()
        assert tuple(places) == body.PLACES and all(3 < cm < 60 for cm in places.values())


@pytest.mark.parametrize("row", body.ROWS, ids=lambda row: row.name)
def test_organs_have_a_likely_size_and_twice_that_would_be_noticed(measured, row):
    mean = np.mean([sizes[row.name] for sizes in measured[0]])
    low, high = likely(row)
    assert low < mean < high < 2 * mean


def test_the_result_is_of_the_present_phantom():
    if not RESULT.is_file():
        pytest.skip("no results/body.json: benchmarks/body.py writes it")
    record = json.loads(RESULT.read_text(encoding="utf-8"))["phantom"]
    again = "results/body.json is of another phantom: run benchmarks/body.py again"
    assert {name: record.get(name) for name in body.made_by()} == body.made_by(), again


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
