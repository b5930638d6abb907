"""cxrlib.reading.room: a program moves what a hand would, and the answers follow."""

import io
import sys
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
from conftest import write_image
from PIL import Image
from test_reading_files import dicom
from test_reading_reader import place, reader  # noqa: F401

from cxrlib.data import open_track
from cxrlib.reading import cases, pictures, room, told
from cxrlib.reading.room import OWN, PHANTOM, Room


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
    before = own.film.now["value"], own.map.now["value"], dict(own.graph.now["texts"])
    assert own.case.truth["Edema"] == 0
    own.severity["Edema"].value = 0.9
    assert own.case.truth["Edema"] == 1 and "Edema" in own.case.places
    assert "Edema" in told.plain(own.report.now["value"]).partition("True:")[2]
    assert own.film.now["value"] != before[0] and own.map.now["value"] != before[1]
    assert dict(own.graph.now["texts"]) != before[2]


def test_a_label_that_is_clicked_has_its_map_and_its_kin(own):
    before = own.map.now["value"]
    own.graph.selected = "Cardiomegaly"
    assert own.map.now["value"] != before and "Cardiomegaly" in own.map.now["alt"]
    words = told.plain(own.about.now["value"])
    assert words.startswith("Cardiomegaly")
    assert "Above it: Enlarged Cardiomediastinum" in words and "Cardiac" in words


def test_threshold_and_risk_are_followed(own):
    own.reading = replace(own.reading, distance=own.reading.distance * 0)  # as if it had passed
    own.threshold.value = 0.02
    all_of_them = sum(share > 0 for share in own.graph.now["shares"].values())
    own.threshold.value = 0.98
    assert sum(share > 0 for share in own.graph.now["shares"].values()) < all_of_them
    own.risk.value = 0.3
    assert own.reading.risk == pytest.approx(0.3)
    refused = own.reading.refused.loc[0]
    assert refused or "at most 30%" in told.plain(own.report.now["value"])


def test_a_test_image_is_read_as_it_lies_there(own, track):
    own.source.value = "a test image"
    rows = track.split("test")
    assert own.number.max == len(rows) - 1 and rows["path"].iloc[0] in own.case.name
    own.number.value = 1
    assert rows["path"].iloc[1] in own.case.name
    truth = own.hierarchy.derive(rows.iloc[[1]][own.case.truth.index[:14]]).iloc[0]
    np.testing.assert_array_equal(own.case.truth, truth)


def test_images_like_it_are_validation_patients_each_once(own, track):
    rows = track.split("valid").reset_index(drop=True)
    patients = rows["patient"].to_numpy()
    assert len(own._nearest) == room.LIKE == len(set(patients[own._nearest]))
    grey, features, _, _ = own._album
    own.case = cases.Case("the third", grey[2], grey[2])
    own.read()
    assert own._nearest[0] == 2, "nothing is more like an image than itself"
    away = [float(np.sqrt(sum((one - features[2]) ** 2))) for one in features]
    by_hand = {}
    for row in sorted(range(len(rows)), key=away.__getitem__):
        by_hand.setdefault(patients[row], row)
    assert list(own._nearest) == list(by_hand.values())[: room.LIKE]


def test_those_of_them_that_have_the_label_are_counted_and_framed(own, track):
    rows = track.split("valid").reset_index(drop=True)
    for label in ("Edema", "Fracture"):
        own.graph.selected = label
        has = [rows[label][row] == 1 for row in own._nearest]
        assert f"of whom {sum(has)}, in an orange frame, have {label}" in own.alike.now["alt"]
        drawn = np.asarray(Image.open(io.BytesIO(own.alike.now["value"])))
        side = drawn.shape[1] // room.LIKE
        framed = [not (drawn[0, k * side + 9] == 255).all() for k in range(room.LIKE)]
        assert framed == has


def test_the_place_of_the_label_is_outlined(own):
    def outlined():
        film = np.asarray(Image.open(io.BytesIO(own.film.now["value"]))).astype(int)
        return (film != pictures.film(own.case.shown)).any()

    assert own.graph.selected in own.case.places and outlined()
    own.graph.selected = "Fracture"
    assert "Fracture" not in own.case.places and not outlined()


def test_a_file_is_read_and_nothing_is_written(own, tmp_path):
    """Not even where nobody would look: every file that Python opens is heard of."""
    write_image(tmp_path / "film.png")
    content, written, listening = (tmp_path / "film.png").read_bytes(), [], [True]

    def hear(event, details):
        if listening and event in ("open", "os.mkdir", "os.rename", "os.link"):
            mode, flags = (*details, None, None)[1:3]
            if event != "open" or set(str(mode or "")) & set("wax+") or (flags or 0) & 3:
                written.append((event, details))

    sys.addaudithook(hear)
    upload(own, "film.png", content)
    assert own.case.name == "film.png" and own.case.truth is None
    upload(own, "scan.dcm", dicom(ViewPosition="LL"))
    listening.clear()
    assert "lateral view" in own.report.now["value"] and own.reading.refused.loc[0]
    assert "by its own words the file is no frontal chest" in own.report.now["value"]
    assert told.NOT_FOR_CLINICAL_USE in own.report.now["value"]
    assert not written
    assert own.body.layout.display is None


@pytest.mark.parametrize("content", [b"words", b"", b"%PDF-1", dicom(Modality="CT")])
def test_a_bad_file_gets_one_sentence_and_an_empty_viewer(own, content):
    upload(own, "<b>x</b>.png", content)
    assert own.problem.now["value"].count("<p ") == 1 and "&lt;b&gt;x" in own.problem.now["value"]
    assert own.body.layout.display == "none" and own.case is None
    own.risk.value, own.threshold.value = 0.2, 0.4  # nothing to read, and no error
    own.source.value = PHANTOM
    assert own.body.layout.display is None and not own.problem.now["value"]


def test_before_a_file_is_chosen_a_sentence_asks_for_one(own):
    own.source.value = OWN
    assert "No file was chosen yet" in own.problem.now["value"]


def test_a_file_is_shown_whatever_stood_there_before(own, tmp_path):
    """The room goes to it by itself, and white can be said."""
    levels = Image.fromarray((np.arange(4096).reshape(64, 64)).astype(np.uint16))
    levels.save(tmp_path / "twelve.png")
    about = {"name": "twelve.png", "type": "", "size": 1, "last_modified": datetime.now()}
    own.upload.value = ({**about, "content": memoryview((tmp_path / "twelve.png").read_bytes())},)
    assert own.source.value == OWN and own.case.name == "twelve.png"
    assert "is white another one (above)?" in own.report.now["value"]
    own.white.value = 4095
    assert own.case.grey.max() > 250 and "is white another" not in own.report.now["value"]


def test_of_a_file_nothing_becomes_state_which_jupyterlab_would_save(own, tmp_path):
    write_image(tmp_path / "film.png")
    upload(own, "Muster Max.png", (tmp_path / "film.png").read_bytes())
    own.graph.selected = "Edema"
    kept = repr([w.get_state() for w in [own.upload, own.graph, *widgets_in(own.box)]])
    assert "Muster" not in kept and "x89PNG" not in kept
    assert own.upload.value == () and own.graph.texts == {}
    assert not any(w.get_state(["value"])["value"] for w in (own.film, own.map, own.alike))
    assert "Muster Max.png" in own.report.now["value"]
    own.source.value = PHANTOM
    assert own.film.value[:4] == b"\x89PNG", "a phantom is nobody"


def widgets_in(box):
    for child in getattr(box, "children", ()):
        yield child
        yield from widgets_in(child)


def test_an_error_that_nobody_foresaw_empties_the_viewer_and_is_told(own, monkeypatch):
    monkeypatch.setattr(pictures, "as_png", lambda _: 1 / 0)
    own.severity["Edema"].value = 0.5
    assert own.body.layout.display == "none" and own.case is None and own.reading is None
    assert "ZeroDivisionError" in own.problem.now["value"]
    monkeypatch.undo()
    own.severity["Edema"].value = 0.6
    assert own.body.layout.display is None and own.problem.now["value"] == ""


def test_a_track_without_test_or_validation_images(reader, track):  # noqa: F811
    for split in ("test", "valid"):
        table = track.table[track.table["split"] != split]
        own = Room(reader, {"few": replace(track, table=table)})
        own.source.value = "few"
        if split == "test":
            assert "few: this track has no test images." in own.problem.now["value"]
        else:
            assert own.case.name.startswith("few: ") and own.alike.now["value"] == b""


def test_a_file_of_a_track_that_is_gone_is_named(reader, track, tmp_path):  # noqa: F811
    own = Room(reader, {"moved": replace(track, folder=tmp_path)})
    own.source.value = "moved"
    assert f"moved: {track.split('test')['path'].iloc[0]}: no such file" in own.problem.now["value"]


def test_risks_and_names_that_cannot_be_are_refused(reader, track):  # noqa: F811
    for risk in (0, 0.001, 0.7):
        with pytest.raises(ValueError, match="from 0.01 to 0.5"):
            Room(reader, risk=risk)
    assert Room(reader, risk=0.01).risk.value == 0.01
    with pytest.raises(ValueError, match="'a phantom' is the room's own name"):
        Room(reader, {PHANTOM: track})


def test_what_labels_say_is_not_called_true(own):
    own.source.value = "a test image"
    assert own.case.known_as == "Labelled" and "True:" not in own.report.now["value"]


def test_without_tracks_there_are_no_images_like_it(reader):  # noqa: F811
    alone = Room(reader)
    assert alone.source.options == (PHANTOM, OWN)
    assert not alone.alike.now["value"] and not alone.caption.now["value"]


def test_on_a_page_its_first_view_stands_in_its_place(own, monkeypatch):
    shown = []
    monkeypatch.setattr("cxrlib.reading.room.show_box", lambda *parts: shown.append(parts))
    own.show()
    box, instead, about = shown[0]
    assert box is own.box and instead["image/png"][:4] == b"\x89PNG"
    assert "Pleural Effusion" in about["image/png"]["alt"]


def test_a_page_has_no_picture_of_a_patient(own, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("cxrlib.reading.room.show_box", lambda *parts: shown.append(parts))
    write_image(tmp_path / "Muster Max.png")
    upload(own, "Muster Max.png", (tmp_path / "Muster Max.png").read_bytes())
    own.show()
    own.source.value = "a test image"
    own.show()
    for _, instead in shown:
        assert set(instead) == {"text/plain"} and "Muster" not in instead["text/plain"]


def test_the_still_has_every_word_and_strange_names_harm_nothing(own, tmp_path, monkeypatch):
    drawn = []
    figure = told.plots.figure
    monkeypatch.setattr(
        told.plots, "figure", lambda *a, **k: drawn.append(figure(*a, **k)) or drawn[-1]
    )
    write_image(tmp_path / "film.png")
    upload(own, "$x_{$.png", (tmp_path / "film.png").read_bytes())
    told.still(own)
    written = drawn[0][1][2].texts[0].get_text()
    assert written.split() == told.plain(own.report.now["value"]).split()


def test_with_nothing_on_the_viewer_a_sentence_stands_there(own, monkeypatch):
    shown = []
    monkeypatch.setattr("cxrlib.reading.room.show_box", lambda *parts: shown.append(parts))
    own.source.value = OWN
    own.show()
    assert "No file was chosen yet" in shown[0][1]["text/plain"] and len(shown[0][1]) == 1
    own.source.value = PHANTOM
    own.show()
    assert "image/png" in shown[1][1]


def test_the_measured_share_is_told_beside_the_map(reader, track):  # noqa: F811
    own = Room(reader, {"a test image": track}, hits={"Pleural Effusion": 0.61})
    own.threshold.value = 0.02
    assert own.reading.refused.loc[0] or "61% (08)" in own.about.now["value"]
    own.graph.selected = "Edema"
    assert "(08)" not in own.about.now["value"]
