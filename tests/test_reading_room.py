"""cxrlib.reading.room: a file that is uploaded is answered, and left where it is."""

from datetime import datetime

import pytest
from conftest import write_image
from test_reading_files import dicom
from test_reading_reader import place, reader  # noqa: F401

from cxrlib.reading import room


def upload(box, name, content):
    """As a browser does it."""
    about = {"name": name, "type": "", "size": len(content), "last_modified": datetime.now()}
    box.children[0].value = ({**about, "content": memoryview(content)},)


def test_a_file_is_answered_with_sentences_and_maps(reader, tmp_path):  # noqa: F811
    box = room.upload_box(reader)
    write_image(tmp_path / "film.png")
    upload(box, "film.png", (tmp_path / "film.png").read_bytes())
    _, told, picture = box.children
    assert told.value.startswith("<p>film.png</p>") and room.NOT_FOR_CLINICAL_USE in told.value
    assert picture.value[:4] == b"\x89PNG" and picture.layout.display is None
    upload(box, "scan.dcm", dicom(ViewPosition="LL"))
    assert "lateral view" in told.value


@pytest.mark.parametrize("content", [b"words", b"", b"%PDF-1", dicom(Modality="CT")])
def test_a_bad_file_gets_one_sentence_and_no_picture(reader, content):  # noqa: F811
    box = room.upload_box(reader)
    upload(box, "<b>x</b>.png", content)
    _, told, picture = box.children
    assert told.value.count("<p>") == 1 and "&lt;b&gt;" in told.value, "names are no markup"
    assert picture.value == b"" and picture.layout.display == "none"


def test_the_risk_is_that_of_the_room(reader, tmp_path):  # noqa: F811
    write_image(tmp_path / "film.png")
    said, _ = room.answer(reader, "film.png", (tmp_path / "film.png").read_bytes(), risk=0.25)
    refused = any("Nothing is said" in sentence for sentence in said)
    assert refused or any("at most 25%" in sentence for sentence in said)


def test_on_a_page_a_sentence_stands_in_its_place(reader, monkeypatch):  # noqa: F811
    shown = []
    monkeypatch.setattr("cxrlib.widgets.display", lambda bundle, **how: shown.append(bundle))
    room.show_upload(reader)
    assert "takes a file of yours" in shown[0]["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in shown[0]
