"""What lies on the cassette is squeezed into a square: pictures and lesions, alike."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cxrlib import phantom
from cxrlib.phantom import patients
from cxrlib.phantom.develop import LATERAL_CASSETTE

SIZE = 192
SQUARE, SHORT = (1.0, 1.0), 0.82
LYING, UPRIGHT = (1.0, SHORT), (SHORT, 1.0)


@pytest.fixture
def study():
    """A study whose picture is neither turned nor framed nor written on."""
    rng = np.random.default_rng(11)
    drawn = phantom.draw_study(rng, phantom.draw_patient(rng), 1)
    plain = {"drawn": {}, "other": "", "border": (0,) * 4, "marker": " ", "tilt": 0.0}
    return replace(drawn, **plain, shift=(0.0, 0.0), projection="PA", photons=5e6)


def test_plates_lie_stand_or_are_square():
    assert set(patients.CASSETTES) == {LYING, UPRIGHT, SQUARE}
    assert LATERAL_CASSETTE == UPRIGHT


@pytest.mark.parametrize("cassette", [LYING, UPRIGHT])
def test_the_shorter_side_of_a_cassette_is_stretched_and_the_other_is_not(study, cassette):
    ill = replace(study, drawn={"Cardiomegaly": 0.5})
    boxes = []
    for plate in (SQUARE, cassette):
        heart = phantom.lesions(replace(ill, cassette=plate), SIZE)["Cardiomegaly"]
        rows, columns = (np.flatnonzero(heart.any(axis=axis)) for axis in (1, 0))
        assert not heart[[0, -1]].any() and not heart[:, [0, -1]].any(), "nothing is cut off"
        boxes.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    (high, wide), (now_high, now_wide) = boxes
    across, down = cassette
    assert now_high == pytest.approx(high / down, abs=2)
    assert now_wide == pytest.approx(wide / across, abs=2)


@pytest.mark.parametrize("cassette", [LYING, UPRIGHT])
def test_a_film_shows_the_middle_of_what_a_square_detector_shows(study, cassette):
    whole = Image.fromarray(phantom.render(replace(study, cassette=SQUARE), SIZE))
    film = phantom.render(replace(study, cassette=cassette), SIZE).astype(float)

    def cropped(across, down):
        cut = [SIZE * (1 - side) / 2 for side in (across, down)]
        box = (*cut, SIZE - cut[0], SIZE - cut[1])
        return np.asarray(whole.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box), float)

    assert np.abs(film - cropped(*cassette)).mean() < 2.5
    assert np.abs(film - cropped(*cassette[::-1])).mean() > 10


@pytest.mark.parametrize("find", [phantom.lesions, phantom.masks])
@pytest.mark.parametrize("name", ["Lung Lesion", "Lung Opacity"])
def test_a_lesion_lies_where_the_picture_changes_on_every_cassette(study, name, find):
    ill = replace(study, drawn={name: 1.0}, tilt=4.0)
    places = {plate: find(replace(ill, cassette=plate), SIZE)[name] for plate in patients.CASSETTES}
    for plate, place in places.items():
        pictures = [
            phantom.render(replace(ill, cassette=plate), SIZE, without=gone).astype(float)
            for gone in (None, name)
        ]
        change = np.abs(np.subtract(*pictures)) > phantom.VISIBLE
        assert (change & ndimage.binary_dilation(place, iterations=3)).sum() > 0.98 * change.sum()
        fit = {p: (change & other).sum() / (change | other).sum() for p, other in places.items()}
        assert max(fit, key=fit.get) == plate and fit[plate] > 0.5


@pytest.mark.parametrize("projection", ["PA", "AP"])
def test_cassettes_are_used_as_often_as_they_should_be(projection):
    studies = [s for i in range(1500) for s in phantom.draw_studies(np.random.default_rng([2, i]))]
    plates = [s.cassette for s in studies if s.projection == projection]
    assert len(plates) > 500
    shares = patients.P_CASSETTES[projection == "AP"]
    assert sum(shares) == pytest.approx(1)
    for plate, share in zip(patients.CASSETTES, shares, strict=True):
        error = np.sqrt(share * (1 - share) / len(plates))
        assert np.mean([p == plate for p in plates]) == pytest.approx(share, abs=4.5 * error + 1e-9)
