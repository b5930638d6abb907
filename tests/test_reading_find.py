"""cxrlib.reading.find: the reader that was kept, or a new one, or a sentence."""

import json
import os
import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from conftest import PAPER, write_image
from test_reading_reader import noise, place, reader  # noqa: F401

from cxrlib.configs import read_config
from cxrlib.reading import Reader, ReadingError, find, find_reader


def test_other_images_than_those_it_was_trained_with_are_refused(place, reader):  # noqa: F811
    (reader.run.folder / "reader.npz").unlink()
    folder = place / "CheXpert-v1.0-small"
    image = next((folder / "valid").rglob("*.jpg"))
    before = image.read_bytes()
    write_image(image, seed=77)
    try:
        with pytest.raises(ReadingError, match="no longer holds the images"):
            find_reader(runs=place / "runs")
    finally:
        image.write_bytes(before)
    find_reader(runs=place / "runs")


def test_the_courses_own_settings_come_before_what_is_newer(tmp_path):
    """Of three folders the one that is as the config has it, though another was trained later."""
    own = asdict(read_config("pointing").settings)
    for number, settings in enumerate((own, {**own, "seed": 1}, {**own, "seed": 2})):
        record = {"settings": settings, "hierarchy": PAPER.to_dict(), "seconds": 1, "versions": {},
                  "trainer": {}, "threads": 1, "recipe": 1, "started_from": None,
                  **dict.fromkeys(("name", "code", "data", "track", "device"), "x")}  # fmt: skip
        (tmp_path / f"pointing-{number}").mkdir()
        (tmp_path / f"pointing-{number}" / "run.json").write_text(json.dumps(record))
        os.utime(tmp_path / f"pointing-{number}" / "run.json", (number, number))
    assert find._last("pointing", tmp_path).name == "pointing-0"
    shutil.rmtree(tmp_path / "pointing-0")
    assert find._last("pointing", tmp_path).name == "pointing-2"


def test_no_model_says_how_to_make_one(tmp_path):
    with pytest.raises(ReadingError, match="make course"):
        find_reader(runs=tmp_path)
    with pytest.raises(ReadingError, match="no finished run"):
        find_reader(tmp_path)


def test_it_is_kept_and_found_again(place, reader, monkeypatch):  # noqa: F811
    monkeypatch.setattr(Reader, "fit", lambda *_: pytest.fail("it was fitted already"))
    again = find_reader(runs=place / "runs")
    one, other = reader.read(noise()), again.read(noise())
    pd.testing.assert_frame_equal(one.scores, other.scores)
    pd.testing.assert_frame_equal(one.sets, other.sets)
    assert one.said.equals(other.said) and np.allclose(one.distance, other.distance)
    named = find_reader(next((place / "runs").glob("pointing-*")))
    pd.testing.assert_frame_equal(named.read(noise()).scores, one.scores)
