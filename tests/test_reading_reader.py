"""cxrlib.reading.reader: fitted once, kept, and silent where it should be."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PAPER, QUICK, write_chexpert

from cxrlib import training
from cxrlib.data import open_track
from cxrlib.evaluation import fit_temperatures, read_predictions, rescale
from cxrlib.reading import Reader, find_reader, read_radiograph
from cxrlib.uncertainty import (
    conformal_sets,
    control_risk,
    doubt_groups,
    fit_conformal,
    highest_wrong,
    statements,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs in it: one, "pointing", trained on noise for two epochs."""
    place = tmp_path_factory.mktemp("reading")
    folder = place / "CheXpert-v1.0-small"
    folder.mkdir()
    write_chexpert(folder, patients={"train": 30, "valid": 60, "test": 4})
    settings = QUICK.__class__(**{**QUICK.__dict__, "head": "pointing"})
    training.train(open_track(folder), PAPER, settings, name="pointing", runs=place / "runs")
    return place


@pytest.fixture(scope="module")
def reader(place):
    return find_reader(runs=place / "runs")


def noise(count=3, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
    )


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_kept_and_damaged_is_made_anew(place, reader, content):
    kept = reader.run.folder / "reader.npz"
    before = kept.read_bytes()
    kept.write_bytes(before[: len(before) // 2] if content is None else content)
    assert Reader.load(reader.run) is None
    again = find_reader(runs=place / "runs")
    pd.testing.assert_frame_equal(again.read(noise()).scores, reader.read(noise()).scores)
    assert kept.read_bytes()[:2] == b"PK"


def test_what_is_kept_is_of_these_weights(reader):
    checkpoint = reader.run.folder / "best-auroc.ckpt"
    before = checkpoint.read_bytes()
    checkpoint.write_bytes(before + b"0")
    try:
        assert Reader.load(reader.run) is None
    finally:
        checkpoint.write_bytes(before)
    assert Reader.load(reader.run) is not None


def test_scores_are_those_of_the_model_rescaled_and_coherent(reader):
    """Against the predictions that training has kept of the validation images."""
    run = reader.run
    valid = read_predictions(run.folder / "predictions.csv").split("valid")
    folder = run.folder.parents[1] / "CheXpert-v1.0-small"
    paths = [folder / path.removeprefix(f"{folder.name}/") for path in valid.about["Path"][:5]]
    grey = torch.stack([read_radiograph(path, 32)[0] for path in paths])
    found = reader.read(grey)
    by_hand = PAPER.make_coherent(rescale(valid.scores[:5], reader.temperatures), how="max")
    np.testing.assert_allclose(found.scores, by_hand, atol=1e-5)
    assert not PAPER.incoherent(found.scores).any()
    before = rescale(valid.scores[:5], reader.temperatures).to_numpy()
    mended = (found.scores.to_numpy() > before + 1e-9).any(axis=1)
    assert (mended == (found.contradictions > 0)).all()


def test_the_gate_passes_nineteen_of_twenty_of_what_it_was_made_with_and_no_other(reader):
    assert reader.furthest > 0
    odd = torch.zeros((2, 1, 32, 32), dtype=torch.uint8)
    odd[1, :, :16] = 255
    found = reader.read(odd)
    assert found.refused.all()
    assert not found.said.loc[found.refused].any(axis=None)
    assert "Nothing is said" in found.report(0)[0] and len(found.report(0)) == 1


def test_more_risk_says_no_less(reader):
    said = [
        reader.read(noise(20, 3), risk=risk).said.any(axis=1).sum() for risk in (0.05, 0.5, 0.9)
    ]
    assert said == sorted(said)


def test_what_is_promised_comes_from_other_patients_than_what_was_tuned(reader):
    """By hand from the predictions: temperatures and gate of one half, limits of the other."""
    run = reader.run
    valid = read_predictions(run.folder / "predictions.csv").split("valid")
    patients = valid.about["patient"]
    promised = patients.isin(set(reader.highest.index)).to_numpy()
    assert 0.4 < promised.mean() < 0.6
    assert not set(patients[promised]) & set(patients[~promised])
    assert len(reader.highest) == promised.sum(), "all images of those patients"
    tuned = fit_temperatures(valid.truth[~promised], valid.scores[~promised])
    pd.testing.assert_series_equal(tuned, reader.temperatures, check_names=False)
    scores = PAPER.make_coherent(rescale(valid.scores, reader.temperatures), how="max")
    limits = fit_conformal(scores[promised], valid.truth[promised], 0.1)
    np.testing.assert_allclose(reader.limits, limits)
    doubted = doubt_groups(scores, PAPER, reader.factor)
    highest = highest_wrong(doubted[promised], valid.truth[promised], PAPER)
    np.testing.assert_allclose(reader.highest, highest)
    folder = run.folder.parents[1] / "CheXpert-v1.0-small"
    paths = valid.about["Path"][~promised]
    grey = [read_radiograph(folder / p.removeprefix(f"{folder.name}/"), 32)[0] for p in paths]
    passed = ~reader.read(torch.stack(grey)).refused
    assert passed.mean() == pytest.approx(0.95, abs=0.02)


def test_statements_are_those_of_controlled_risk(reader):
    grey = noise(12, 5)
    for risk in (0.1, 0.6):
        found = reader.read(grey, risk=risk)
        threshold = control_risk(reader.highest.to_numpy(), reader.highest.index.to_numpy(), risk)
        said = statements(doubt_groups(found.scores, PAPER, reader.factor), PAPER, threshold)
        said[found.refused] = False
        pd.testing.assert_frame_equal(found.said, said)
        sets = conformal_sets(found.scores, reader.limits)
        assert found.sets[~found.refused].equals(sets[~found.refused])
        assert (found.sets[found.refused] == "unsure").all(axis=None)


def test_what_is_loaded_is_all_that_was_fitted(reader):
    again = Reader.load(reader.run)
    pd.testing.assert_series_equal(again.highest, reader.highest, check_names=False)
    pd.testing.assert_frame_equal(again.limits, reader.limits)
    assert (again.factor, again.furthest) == (reader.factor, reader.furthest)


def test_any_damaged_byte_is_found_or_changes_nothing(reader):
    kept = reader.run.folder / "reader.npz"
    before, rng = kept.read_bytes(), np.random.default_rng(0)
    try:
        for place in rng.integers(0, len(before), 60):
            damaged = bytearray(before)
            damaged[place] ^= 0xFF
            kept.write_bytes(bytes(damaged))
            again = Reader.load(reader.run)
            if again is not None:
                np.testing.assert_array_equal(again.highest, reader.highest)
                np.testing.assert_array_equal(again.precision, reader.precision)
    finally:
        kept.write_bytes(before)


def test_maps_have_the_images_size(reader):
    maps = reader.maps(noise(2), ["Edema", "Opacity"])
    assert maps.shape == (2, 2, 32, 32) and maps.min() >= 0 and maps.max() <= 1


def test_images_of_another_size_or_kind_are_refused(reader):
    for wrong in (noise().float(), noise()[:, 0], torch.zeros((1, 1, 40, 40), dtype=torch.uint8)):
        with pytest.raises(ValueError, match="expected grey levels"):
            reader.read(wrong)
