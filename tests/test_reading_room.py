"""cxrlib.reading.room: a program moves what a hand would, and the answers follow."""

from datetime import datetime

import numpy as np
import pytest
import torch
from conftest import write_image
from test_reading_files import dicom
from test_reading_reader import place, reader  # noqa: F401

from cxrlib import phantom
from cxrlib.data import open_track
from cxrlib.reading import room, told
from cxrlib.reading.room import OWN, PHANTOM, Room, phantom_case


@pytest.fixture(scope="module")
def track(place):  # noqa: F811
    return open_track(place / "CheXpert-v1.0-small")


@pytest.fixture
def own(reader, track):  # noqa: F811
    return Room(reader, {"a test image": track})


def upload(own, name, content):
    """As a browser does it."""
    about = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now()}
    own.source.value = OWN
    own.upload.value = ({**about, "content": memoryview(content)},)


def test_a_severity_changes_film_scores_and_truth(own):
    before = own.film.value, own.map.value, dict(own.graph.texts)
    assert own.case.truth["Edema"] == 0
    own.severity["Edema"].value = 0.9
    assert own.case.truth["Edema"] == 1 and "Edema" in own.case.places
    assert "Edema" in told.plain(own.report.value).partition("True:")[2]
    assert own.film.value != before[0] and own.map.value != before[1]
    assert dict(own.graph.texts) != before[2]


def test_a_phantom_is_the_study_that_the_controls_name(reader):  # noqa: F811
    case = phantom_case(reader, 3, {"Pneumonia": 0.8, "Edema": 0.0})
    present = set(case.truth.index[case.truth == 1])
    assert {"Pneumonia", "Consolidation", "Fluid Accumulation", "Abnormal"} <= present
    assert "Edema" not in present
    assert case.grey.shape == (1, 32, 32) and case.grey.dtype == torch.uint8
    assert case.shown.shape == (1, 300, 300)
    assert (case.places["Opacity"] >= case.places["Pneumonia"]).all(), "a group holds its children"
    healthy = phantom_case(reader, 3, dict.fromkeys(phantom.FINDINGS, 0.0))
    assert healthy.truth["No Finding"] == 1 and not healthy.places
    side = phantom_case(reader, 3, {}, "lateral")
    assert (side.shown != healthy.shown).any()


def test_a_label_that_is_clicked_has_its_map_and_its_kin(own):
    before = own.map.value
    own.graph.selected = "Cardiomegaly"
    assert own.map.value != before and "Cardiomegaly" in own.map.alt
    words = told.plain(own.about.value)
    assert words.startswith("Cardiomegaly")
    assert "above it: Cardiac" in words or "above it: Enlarged" in words


def test_threshold_and_risk_are_followed(own):
    own.threshold.value = 0.02
    all_of_them = sum(share > 0 for share in own.graph.shares.values())
    own.threshold.value = 0.98
    assert sum(share > 0 for share in own.graph.shares.values()) < all_of_them
    own.risk.value = 0.3
    assert own.reading.risk == pytest.approx(0.3)
    refused = own.reading.refused.loc[0]
    assert refused or "at most 30%" in told.plain(own.report.value)


def test_a_test_image_is_read_as_it_lies_there(own, track):
    own.source.value = "a test image"
    rows = track.split("test")
    assert own.number.max == len(rows) - 1 and rows["path"].iloc[0] in own.case.name
    own.number.value = 1
    assert rows["path"].iloc[1] in own.case.name
    truth = own.hierarchy.derive(rows.iloc[[1]][own.case.truth.index[:14]]).iloc[0]
    np.testing.assert_array_equal(own.case.truth, truth)


def test_images_like_it_are_validation_patients_each_once(own, track):
    patients = track.split("valid")["patient"].to_numpy()
    assert len(own._nearest) == room.LIKE == len(set(patients[own._nearest]))
    grey, _, _, _ = own._album
    own.case = room.Case("the third", grey[2], grey[2])
    own.read()
    assert own._nearest[0] == 2, "nothing is more like an image than itself"
    assert own.alike.value[:4] == b"\x89PNG" and "have Pleural Effusion" in own.alike.alt


def test_a_file_is_read_and_nothing_is_written(own, tmp_path):
    write_image(tmp_path / "film.png")
    before = sorted(tmp_path.rglob("*"))
    upload(own, "film.png", (tmp_path / "film.png").read_bytes())
    assert own.case.name == "film.png" and own.case.truth is None
    assert own.body.layout.display is None
    assert told.NOT_FOR_CLINICAL_USE in own.report.value
    upload(own, "scan.dcm", dicom(ViewPosition="LL"))
    assert "lateral view" in own.report.value
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"words", b"", b"%PDF-1", dicom(Modality="CT")])
def test_a_bad_file_gets_one_sentence_and_an_empty_viewer(own, content):
    upload(own, "<b>x</b>.png", content)
    assert own.problem.value.count("<p>") == 1 and "&lt;b&gt;x" in own.problem.value
    assert own.body.layout.display == "none" and own.case is None
    own.risk.value, own.threshold.value = 0.2, 0.4  # nothing to read, and no error
    own.source.value = PHANTOM
    assert own.body.layout.display is None and not own.problem.value


def test_before_a_file_is_chosen_a_sentence_asks_for_one(own):
    own.source.value = OWN
    assert "No file was chosen yet" in own.problem.value


def test_without_tracks_there_are_no_images_like_it(reader):  # noqa: F811
    alone = Room(reader)
    assert alone.source.options == (PHANTOM, OWN)
    assert not alone.alike.value and not alone.caption.value


def test_on_a_page_its_first_view_stands_in_its_place(own, monkeypatch):
    shown = []
    monkeypatch.setattr("cxrlib.reading.room.show_box", lambda *parts: shown.append(parts))
    own.show()
    box, instead, about = shown[0]
    assert box is own.box and instead["image/png"][:4] == b"\x89PNG"
    assert "Pleural Effusion" in about["image/png"]["alt"]


def test_the_measured_share_is_told_beside_the_map(reader, track):  # noqa: F811
    own = Room(reader, {"a test image": track}, hits={"Pleural Effusion": 0.61})
    assert "61% (notebook 08)" in own.about.value
    own.graph.selected = "Edema"
    assert "notebook 08" not in own.about.value
