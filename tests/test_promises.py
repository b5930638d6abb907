"""benchmarks/promises.py: coverage here, elsewhere, and what the law says of it."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

import promises

SEEN = promises.SEEN


def made(patients=400, shift=0.0, seed=0):
    """Two images a patient; elsewhere all logits are ``shift`` higher, and a feature shows it."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.random((patients, 14)) < 0.3, 2, axis=0).astype(float)
    logits = 3 * truth - 1.5 + rng.normal(size=truth.shape) + shift
    scores = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=SEEN)
    features = rng.normal(size=(len(truth), 4)) + np.array([shift, 0, 0, 0])
    owners = np.repeat(np.arange(patients), 2)
    table = pd.DataFrame(truth, columns=SEEN)
    return SimpleNamespace(truth=table, patients=owners, scores=[scores], features=[features])


@pytest.fixture(scope="module")
def rows():
    ours, theirs = made(), made(shift=1.5)
    rng, fat = np.random.default_rng(1), np.arange(800) % 8 < 2
    thirds = pd.DataFrame("absent", index=range(800), columns=SEEN[1:])
    thirds[SEEN[1]] = np.where(ours.truth[SEEN[1]] == 1, "subtle", "absent")
    counts = []
    for _ in range(12):
        half = promises.half_of(ours.patients, rng)
        counts.append(promises.one_split(ours, theirs, 0, half, fat, thirds))
        counts[-1] |= promises.one_real_split("film", ours, theirs, 0, half)
    fitted = {("here", label, "the sick"): ours.truth[label].sum() / 2 for label in SEEN}
    table = pd.DataFrame(promises.summarise(counts, fitted))
    return table.set_index(["way", "label", "side"])


def of(rows, way, side):
    return rows.xs((way, side), level=("way", "side"))["mean"].mean()


def test_a_promise_is_kept_here_and_where_it_was_made(rows):
    for way in ("here", "elsewhere, made there", "stout", "stout, own limits", "film, made there"):
        for side in ("the sick", "the healthy"):
            assert of(rows, way, side) == pytest.approx(0.9, abs=0.025), (way, side)


def test_a_promise_made_here_is_broken_elsewhere_on_one_side(rows):
    for way in ("elsewhere", "film"):
        assert of(rows, way, "the healthy") < 0.5
        assert of(rows, way, "the sick") > 0.97


def test_all_labels_at_once_need_a_promise_of_their_own(rows):
    assert of(rows, "here", "all labels") < 0.4
    assert of(rows, "here, joint", "all labels") == pytest.approx(0.9, abs=0.03)


def test_the_law_is_that_of_the_images_fitted_on(rows):
    row = rows.loc[("here", SEEN[0], "the sick")]
    count = round(made().truth[SEEN[0]].sum() / 2)
    assert row["fitted"] == count
    law = promises.uncertainty.coverage_law(count, 0.1, new=round(row["images"]))
    assert row["law_low"] == pytest.approx(law.ppf(0.05) / round(row["images"]))
    assert row["law_low"] < row["law"] < row["law_high"]


def test_thirds_are_counted_where_they_are_known(rows):
    subtle = rows.loc[("here", SEEN[1], "subtle")]
    sick = rows.loc[("here", SEEN[1], "the sick")]
    assert subtle["mean"] == pytest.approx(sick["mean"])
    assert ("here", SEEN[2], "subtle") not in rows.index


def test_weights_and_limits_of_ones_own_mend_what_they_should():
    """Patients with one to three images, half of them fitted on: lengths differ everywhere.

    Elsewhere logits rise with a feature that is commoner there; stout patients' are lower.
    """
    rng = np.random.default_rng(0)
    times = np.arange(900) % 3 + 1
    owners = np.repeat(np.arange(900), times)
    truth = np.repeat(rng.random((900, 14)) < 0.3, times, axis=0).astype(float)
    fat = np.repeat(rng.random(900) < 0.25, times)

    def seen(mean):
        look = rng.normal(size=len(truth)) + mean
        shift = 1.2 * look - 2.0 * fat
        logits = 3 * truth - 1.5 + rng.normal(size=truth.shape) + shift[:, None]
        scores = pd.DataFrame(1 / (1 + np.exp(-logits)), columns=SEEN)
        table = pd.DataFrame(truth, columns=SEEN)
        features = [np.column_stack([look, fat])]
        return SimpleNamespace(truth=table, patients=owners, scores=[scores], features=features)

    ours, theirs = seen(0.0), seen(0.8)
    thirds = pd.DataFrame("absent", index=range(len(truth)), columns=SEEN[1:])
    counts = []
    for _ in range(6):
        half = promises.half_of(owners, rng)
        half &= owners < 700  # fewer to fit on than to ask about
        counts.append(promises.one_split(ours, theirs, 0, half, fat, thirds))
    fitted = {("here", SEEN[0], "the healthy"): 500}
    table = pd.DataFrame(promises.summarise(counts, fitted)).set_index(["way", "label", "side"])
    for broken, mended, side in (
        ("elsewhere", "elsewhere, weighted", "the healthy"),
        ("stout", "stout, own limits", "the sick"),
    ):
        assert of(table, broken, side) < 0.83
        assert of(table, mended, side) == pytest.approx(0.9, abs=0.03)
    row = table.loc[("here", SEEN[0], "the healthy")]
    law = promises.uncertainty.coverage_law(500, 0.1, new=round(row["images"]))
    assert row["images"] > 550
    assert row["law_low"] == pytest.approx(law.ppf(0.05) / round(row["images"]))


def test_real_images_are_counted_where_no_limits_were_fitted():
    ours, film = made(), made(seed=3)
    half = promises.half_of(film.patients, np.random.default_rng(0))
    half &= film.patients < 200
    found = promises.one_real_split("film", ours, film, 0, half)
    for way in ("film", "film, made there"):
        asked = sum(found[way][SEEN[0], side][3] for side in ("the sick", "the healthy"))
        assert asked == (~half).sum() > half.sum()


def test_likeness_is_high_for_what_looks_like_theirs():
    ours, theirs = made(), made(shift=1.5)
    half = promises.half_of(ours.patients, np.random.default_rng(0))
    here, there = promises.likeness(ours.features[0], theirs.features[0], half)
    assert np.corrcoef(ours.features[0][:, 0], np.log(here))[0, 1] > 0.9
    assert np.median(there) > 1 > np.median(here)


def test_a_half_never_parts_a_patient():
    patients = np.repeat(np.arange(50), np.arange(50) % 3 + 1)
    half = promises.half_of(patients, np.random.default_rng(3))
    assert pd.Series(half).groupby(patients).nunique().eq(1).all()
    assert pd.Series(half).groupby(patients).first().sum() == 25
