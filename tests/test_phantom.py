"""The phantom: truth that is known, and masks that fit it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import ndimage

from cxrlib import phantom
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS, IMPLIES


@pytest.fixture(scope="module")
def studies():
    """The studies of 3,000 patients, drawn without rendering."""
    return [s for i in range(3000) for s in phantom.draw_studies(np.random.default_rng([1, i]))]


@pytest.fixture
def study():
    rng = np.random.default_rng(11)
    return replace(
        phantom.draw_study(rng, phantom.draw_patient(rng), 1), drawn={}, other="", border=(0,) * 4
    )


# --- Drawing ------------------------------------------------------------------------------------


def test_render_is_a_pure_function_of_the_study(study):
    first = phantom.render(study)
    assert first.shape == (128, 128) and first.dtype == np.uint8
    assert np.array_equal(first, phantom.render(study))
    other = replace(study, seed=study.seed + 1)
    assert not np.array_equal(first, phantom.render(other))


@pytest.mark.parametrize("size", [32, 96, 200])
def test_the_same_chest_at_any_size(study, size):
    image = phantom.render(study, size=size)
    assert image.shape == (size, size)
    coarse = [
        np.asarray(Image.fromarray(i).resize((16, 16), Image.Resampling.BOX), float)
        for i in (image, phantom.render(study))
    ]
    assert np.corrcoef(coarse[0].ravel(), coarse[1].ravel())[0, 1] > 0.95


def test_air_is_dark_and_the_abdomen_bright(study):
    image = phantom.render(study).astype(float)
    x, y = phantom._grid(study, 128)
    lung = (np.abs(np.abs(x) - 8) < 2) & (np.abs(y) < 4)
    liver = (np.abs(x + 5) < 2) & (y > phantom.anatomy(study).domes[0] + 4)
    assert image[lung].mean() + 25 < image[liver].mean()


def test_pixels_and_centimetres_are_inverse(study):
    study = replace(study, tilt=7.0, shift=(1.3, -2.1))
    x, y = phantom._grid(study, 64)
    rows, cols = phantom._to_pixels(study, 64, np.stack([x.ravel(), y.ravel()], 1))
    expected = np.mgrid[:64, :64].reshape(2, -1)
    assert np.allclose([rows, cols], expected, atol=1e-3)


@pytest.mark.parametrize("size", [64, 256])
def test_a_tube_weighs_what_its_volume_says(study, size):
    chest = phantom.expose(study, size)
    path, radius = [[-5.0, -6.0], [2.0, 1.0], [4.0, 6.0]], 0.5
    tube = phantom._tubes(chest, [path], radius)
    length = np.hypot(*np.diff(path, axis=0).T).sum()
    volume = tube.sum() * chest.pixel**2
    assert volume == pytest.approx(np.pi * radius**2 * length, rel=0.02)
    assert phantom._tubes(chest, [[[90.0, 0.0], [95.0, 0.0]]], radius).max() == 0


def test_more_photons_less_noise(study):
    def noise(photons):
        same = replace(study, photons=photons)
        healthy = phantom.expose(same, 128, {}).water()
        clean = phantom.develop(same, healthy, healthy, noise=False)
        return np.std(phantom.develop(same, healthy, healthy) - clean)

    assert noise(40_000.0) < noise(10_000.0) < noise(2_500.0)


def test_truth_obeys_the_hierarchy(studies):
    truth = pd.DataFrame([s.truth for s in studies])
    assert tuple(truth.columns) == OBSERVATIONS
    for child, parent in IMPLIES.items():
        assert (truth[child] <= truth[parent]).all(), f"{child} without {parent}"
        assert truth[child].sum() > 0
    abnormal = truth[list(FINDINGS)].drop(columns="Support Devices").any(axis=1)
    assert not (abnormal & (truth["No Finding"] == 1)).any()
    assert ((truth["No Finding"] == 1) & (truth["Support Devices"] == 1)).any()
    for s in studies:
        assert set(s.severity) == {name for name in FINDINGS if s.truth[name]}
        assert all(0 < value <= 1 for value in s.severity.values())
        assert not (s.other and s.drawn)


def test_prevalence_is_that_of_a_hospital(studies):
    share = pd.DataFrame([s.truth for s in studies]).mean()
    unlabelled = np.mean([not any(s.truth.values()) for s in studies])
    assert 0.03 < unlabelled < 0.07
    assert share.between(0.055, 0.70).all(), share
    assert 0.10 < share["No Finding"] < 0.25
    assert 0.45 < share["Lung Opacity"] < 0.70
    assert 0.35 < share["Support Devices"] < 0.60
    assert 0.25 < share["Pleural Effusion"] < 0.45
    assert 0.03 < np.mean([s.projection == "PA" for s in studies]) < 0.7


def test_studies_of_a_patient_share_the_anatomy_and_progress(studies):
    by_patient = {}
    for s in studies:
        by_patient.setdefault(s.patient.seed, []).append(s)
    counts = np.bincount([len(group) for group in by_patient.values()])
    assert counts[0] == 0 and len(counts) == 5 and (counts[1:] > 100).all()
    repeated = [group for group in by_patient.values() if len(group) > 1]
    for group in repeated:
        assert [s.number for s in group] == list(range(1, len(group) + 1))
        assert len({s.patient for s in group}) == 1
        assert len({s.seed for s in group}) == len(group)
    kept = [set(a.drawn) & set(b.drawn) for a, b in repeated_pairs(repeated) if a.drawn]
    assert np.mean([bool(k) for k in kept]) > 0.8
    assert any(a.drawn != b.drawn for a, b in repeated_pairs(repeated))


def repeated_pairs(groups):
    return [(group[0], group[1]) for group in groups]


# --- Masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [0.3, 1.0])
@pytest.mark.parametrize("name", FINDINGS)
def test_a_mask_is_where_the_pixels_change(study, name, severity):
    study = replace(study, drawn={name: severity})
    mask = phantom.masks(study)[name]
    with_it, without = (phantom.render(study, without=w).astype(float) for w in (None, name))
    change = np.abs(with_it - without)
    assert mask.dtype == bool and mask.shape == (128, 128)
    assert 8 < mask.sum() < 0.6 * mask.size
    # Outside the mask and one pixel around it, nothing that could be seen.
    assert change[~ndimage.binary_dilation(mask)].max() <= phantom.VISIBLE + 2
    # Inside it, most pixels change. The mask is one pixel wider than the change: undo that.
    core = ndimage.binary_erosion(mask, border_value=1)
    assert (change[core] > phantom.VISIBLE - 2).mean() > 0.8


@pytest.mark.parametrize("name", FINDINGS)
def test_severity_makes_a_finding_easier_to_see(study, name):
    def contrast(severity):
        drawn = replace(study, drawn={name: severity})
        images = [phantom.render(drawn, without=w).astype(float) for w in (None, name)]
        return np.square(images[0] - images[1]).sum()

    assert contrast(0.2) < contrast(0.6) < contrast(1.0)


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
    with pytest.raises(ValueError, match="'Fractures': 0.5"):
        replace(study, drawn={"Fractures": 0.5})
    with pytest.raises(ValueError, match=r"'Fracture': 1\.5.*at most 1"):
        replace(study, drawn={"Fracture": 1.5})
    with pytest.raises(ValueError, match="other='cold'"):
        replace(study, other="cold")
    with pytest.raises(ValueError, match="size=16"):
        phantom.masks(study, size=16)
