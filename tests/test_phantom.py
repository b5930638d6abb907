"""The phantom's pictures, and masks that fit them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from threadpoolctl import threadpool_limits

from cxrlib import cohort, phantom
from cxrlib.phantom import FINDINGS, IMPLIES, VIEWS, anatomy, develop, rays
from cxrlib.phantom.anatomy import lay_out


@pytest.fixture
def study():
    rng = np.random.default_rng(11)
    drawn = phantom.draw_study(rng, phantom.draw_patient(rng), 1)
    return replace(drawn, drawn={}, other="", border=(0,) * 4, lateral=True, projection="PA")


# --- Pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_render_is_a_pure_function_of_the_study(study, view):
    first = phantom.render(study, view=view)
    assert first.shape == (128, 128) and first.dtype == np.uint8
    assert np.array_equal(first, phantom.render(study, view=view))
    other = replace(study, seed=study.seed + 1)
    assert not np.array_equal(first, phantom.render(other, view=view))


@pytest.mark.parametrize("size", [32, 96, 200])
@pytest.mark.parametrize("view", VIEWS)
def test_the_same_chest_at_any_size(study, size, view):
    image = phantom.render(study, size, view)
    assert image.shape == (size, size)
    coarse = [
        np.asarray(Image.fromarray(i).resize((16, 16), Image.Resampling.BOX), float)
        for i in (image, phantom.render(study, view=view))
    ]
    assert np.corrcoef(coarse[0].ravel(), coarse[1].ravel())[0, 1] > 0.95


def test_air_is_dark_and_the_abdomen_bright(study):
    study = replace(study, tilt=0.0, rotation=0.0)
    image, a = phantom.render(study).astype(float), lay_out(study)
    s, y = phantom.expose(study).beam.axes()
    x, y = np.meshgrid(s, y)
    lung = (np.abs(np.abs(x) - 8) < 1.5) & (np.abs(y + 1) < 4)
    liver = (np.abs(x + 5) < 2) & (np.abs(y - a.domes[0] - 7) < 2)
    assert image[lung].mean() + 25 < image[liver].mean()


def test_both_views_show_one_body(study):
    # The diaphragm is at the same height in both, and what is enlarged in one is so in the other.
    big = replace(study, drawn={"Cardiomegaly": 1.0}, tilt=0.0)
    a = lay_out(big)
    for view in VIEWS:
        healthy, ill = (phantom.expose(big, 128, view, drawn) for drawn in ({}, big.drawn))
        _, y = ill.beam.axes()
        more = (ill.water() - healthy.water()).clip(0)
        middle = (more.sum(axis=1) * y).sum() / more.sum()
        assert a.apex + 8 < middle < max(a.domes) + 2, view
        air = sum(healthy.air).sum(axis=1)
        assert air[y > max(a.domes) + 9].max(initial=0) < 0.05 * air.max(), view


def test_from_the_front_the_heart_is_larger_than_from_the_back(study):
    # Perspective alone: the same heart, with the detector behind instead of before the patient.
    def width(facing, source):
        beam = replace(phantom.expose(study).beam, facing=facing, source=source)
        solids = [anatomy.heart(lay_out(study)), anatomy.lung(lay_out(study), -1)]
        return [(rays.thickness(beam, s) > 0).any(axis=0).sum() for s in solids]

    ahead, behind = width(1, 183.0), width(-1, 105.0)
    assert behind[0] / behind[1] > ahead[0] / ahead[1]


def test_more_photons_less_noise(study):
    def noise(photons):
        same = replace(study, photons=photons)
        healthy = phantom.expose(same, 128, drawn={}).water()
        clean = develop.develop(same, healthy, healthy, noise=False)
        return np.std(develop.develop(same, healthy, healthy) - clean)

    assert noise(40_000.0) < noise(10_000.0) < noise(2_500.0)


def test_the_square_of_the_shortcut_is_all_that_changes(study):
    plain, stamped = (phantom.render(replace(study, stamp=s)).astype(int) for s in (False, True))
    rows, cols = np.nonzero(np.abs(plain - stamped) > 1)
    assert 20 < len(rows) < 100
    assert rows.min() > 105 and cols.min() > 105


# --- The same pixels everywhere -------------------------------------------------------------------

ROUNDS = "f659b195d5338291"
"""How the machine rounds that drew what follows: its matrix products, and not all others', are so.
Elsewhere one pixel in 100,000 is a grey level lighter or darker, and a hash says nothing."""

PIXELS = {
    1: "75466dfbf2e40730",
    2: "103572298a97c5f9",
    3: "a409ab08edfa814c",
    4: "074a4795e565a59c",
}
MEANS = {
    1: [124.15, 123.53, 131.1, 146.88, 31.34, 70.54, 66.62, 95.1],
    2: [165.13, 167.26, 202.31, 210.79, 72.79, 126.27, 139.3, 170.87],
    3: [146.79, 162.73, 158.14, 196.25, 64.34, 105.13, 93.87, 141.0],
    4: [81.75, 81.14, 111.03, 125.2, 37.4, 68.68, 81.75, 107.86],
}


@threadpool_limits.wrap(limits=1)
def rounding():
    rng = np.random.default_rng(0)
    a, b = (rng.random(shape, dtype=np.float32) for shape in ((96, 200), (200, 200)))
    parts = (a @ b @ a.T, np.exp(a), np.sin(a.astype(float)), b[:96, :96] @ a, np.sqrt(a))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


def drawn(seed):
    """Both views of a study, uint8 [2, 64, 64]; together the four show every finding."""
    study = phantom.draw_studies(np.random.default_rng([20, seed]), hospital=1 + seed % 2)[0]
    findings = dict.fromkeys(FINDINGS[seed - 1 :: 4], 0.7)
    other = phantom.OTHERS[seed % len(phantom.OTHERS)]
    study = replace(study, drawn=findings, other=other, stamp=seed == 3)
    return np.stack([phantom.render(study, 64, view) for view in VIEWS])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", PIXELS)
def test_a_number_stands_for_these_pixels(seed, threads):
    with threadpool_limits(threads):
        pixels = drawn(seed)
    raise_it = (
        "the phantom draws other pixels: raise GENERATOR in cxrlib/cohort.py, and put the new "
        "number, hashes and means here"
    )
    means = pixels.reshape(len(pixels), 2, 32, 2, 32).mean(axis=(2, 4))
    assert cohort.GENERATOR == 2, raise_it
    assert means.round(2).ravel().tolist() == pytest.approx(MEANS[seed], abs=0.02), raise_it
    if rounding() != ROUNDS:
        pytest.skip("this machine rounds matrix products otherwise: only the means were compared")
    assert hashlib.sha256(pixels.tobytes()).hexdigest()[:16] == PIXELS[seed], raise_it


# --- Masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [0.3, 1.0])
@pytest.mark.parametrize("name", FINDINGS)
@pytest.mark.parametrize("view", VIEWS)
def test_a_mask_is_where_the_pixels_change(study, name, severity, view):
    study = replace(study, drawn={name: severity})
    mask = phantom.masks(study, view=view)[name]
    with_it, without = (
        phantom.render(study, 128, view, without=w).astype(float) for w in (None, name)
    )
    change = np.abs(with_it - without)
    assert mask.dtype == bool and mask.shape == (128, 128)
    assert mask.sum() < 0.6 * mask.size
    if view == "frontal" or severity == 1:  # from the side, what is subtle may be hidden
        assert mask.sum() > 8
    # Outside the mask and one pixel around it, nothing that could be seen.
    assert change[~ndimage.binary_dilation(mask)].max() <= phantom.VISIBLE + 2
    # Inside it, most pixels change. The mask is one pixel wider than the change: undo that.
    core = ndimage.binary_erosion(mask, border_value=1)
    assert not core.any() or (change[core] > phantom.VISIBLE - 2).mean() > 0.8


@pytest.mark.parametrize("name", FINDINGS)
def test_severity_makes_a_finding_easier_to_see(study, name):
    def contrast(severity):
        drawn = replace(study, drawn={name: severity})
        images = [phantom.render(drawn, without=w).astype(float) for w in (None, name)]
        return np.square(images[0] - images[1]).sum()

    assert contrast(0.2) < contrast(0.6) < contrast(1.0)


def test_a_lesion_grows_where_it_is(study):
    small, large = (
        phantom.masks(replace(study, drawn={"Lung Lesion": severity}))["Lung Lesion"]
        for severity in (0.4, 0.9)
    )
    assert (small & large).sum() > 0.7 * small.sum()
    assert large.sum() > 1.5 * small.sum()


def test_masks_follow_the_implications(study):
    drawn = {"Cardiomegaly": 0.7, "Pneumonia": 0.6, "Lung Lesion": 0.8, "Fracture": 0.5}
    found = phantom.masks(replace(study, drawn=drawn))
    implied = {"Enlarged Cardiomediastinum", "Consolidation", "Lung Opacity"}
    assert set(found) == set(drawn) | implied
    for child, parent in IMPLIES.items():
        if child in found:
            assert not (found[child] & ~found[parent]).any()
    assert (found["Fracture"] & ~found["Lung Opacity"]).any()


def test_nothing_drawn_no_masks(study):
    assert phantom.masks(study) == {}


def test_leaving_out_an_absent_finding_changes_nothing(study):
    study = replace(study, drawn={"Edema": 0.8})
    assert np.array_equal(phantom.render(study), phantom.render(study, without="Fracture"))
    bare = phantom.render(replace(study, drawn={}))
    assert np.array_equal(phantom.render(study, without="Lung Opacity"), bare)


@pytest.mark.parametrize("name", phantom.OTHERS)
def test_other_abnormalities_show_and_have_no_label(study, name):
    other = replace(study, other=name)
    assert not any(other.truth.values())
    change = np.abs(phantom.render(other).astype(float) - phantom.render(study))
    assert (change > 8).sum() > 15


def test_unknown_findings_and_sizes_are_named(study):
    with pytest.raises(ValueError, match="'Fractures'.*Fracture"):
        phantom.render(study, without="Fractures")
    with pytest.raises(ValueError, match="No Finding"):
        phantom.render(study, without="No Finding")
    with pytest.raises(ValueError, match="size=16"):
        phantom.masks(study, size=16)
    with pytest.raises(ValueError, match="view='top'.*frontal, lateral"):
        phantom.render(study, view="top")
