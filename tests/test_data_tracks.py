import pytest

from cxrlib import data
from cxrlib.data import DataError, open_track, tracks


def test_a_folder_that_is_no_track(tmp_path):
    with pytest.raises(DataError, match="make data"):
        open_track(tmp_path)


def test_cxr_data_chooses_the_folder(nih_folder, monkeypatch):
    monkeypatch.setenv("CXR_DATA", str(nih_folder))
    assert open_track().name == "nih"
    monkeypatch.delenv("CXR_DATA")
    assert data.data_folder() == data.DEFAULT_FOLDER


def test_without_a_folder_the_phantom_is_made_and_read(chexpert_folder, monkeypatch):
    made = []
    (chexpert_folder / "cohort.json").write_text("{}")
    monkeypatch.delenv("CXR_DATA", raising=False)
    monkeypatch.setattr(tracks, "DEFAULT_FOLDER", chexpert_folder)
    monkeypatch.setattr(tracks.cohort, "write_cohort", made.append)
    assert open_track().name == "phantom"
    assert made == [chexpert_folder]
    monkeypatch.setattr(tracks, "DEFAULT_FOLDER", chexpert_folder.parent)
    assert open_track(chexpert_folder).name == "phantom"
    assert len(made) == 1, "a folder that was asked for is only read"


def test_the_folder_above_says_which_one_was_meant(chexpert_folder):
    with pytest.raises(DataError, match="Did you mean .*CheXpert-v1.0-small"):
        open_track(chexpert_folder.parent)
    with pytest.raises(DataError, match="no such folder"):
        open_track(chexpert_folder / "nowhere")


def test_unknown_split(chexpert_folder):
    with pytest.raises(DataError, match="validation"):
        open_track(chexpert_folder).split("validation")


@pytest.mark.parametrize("views", ["frontal", "", [], ["front"], ["frontal", "oblique"]])
def test_views_that_are_none_are_named(chexpert_folder, views):
    with pytest.raises(DataError, match="views=.*expected a list of some of 'frontal'"):
        open_track(chexpert_folder, views=views)


def test_a_track_says_how_it_was_opened(chexpert_folder):
    asked = {"labels": "report", "uncertain": {"Edema": "U-Ones", "default": "U-Zeros"}}
    track = data.fewer(open_track(chexpert_folder, **asked), 0.5, seed=3)
    assert track.opened == {
        "folder": str(chexpert_folder), "views": ["frontal"], "white": None,
        "fraction": 0.5, "fraction_seed": 3, **asked,
    }  # fmt: skip
