"""python -m cxrlib read: a table, a report, maps and JSON; a folder; bad files; exit codes."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import write_image
from test_reading_files import dicom
from test_reading_reader import place, reader  # noqa: F401

from cxrlib.__main__ import main
from cxrlib.reading import command


@pytest.fixture
def read(place, reader, tmp_path):  # noqa: F811
    """The command, on this run, with results in a folder of their own."""

    def read(*arguments):
        run, out = str(reader.run.folder), str(tmp_path / "out")
        return main(["read", "--run", run, "--out", out, *map(str, arguments)])

    return read


def test_one_image(read, tmp_path, capsys):
    write_image(tmp_path / "film.png")
    assert read(tmp_path / "film.png") == 0
    said = capsys.readouterr().out
    assert "Edema" in said and command.NOT_FOR_CLINICAL_USE in said
    content = json.loads((tmp_path / "out/film.png.json").read_text(encoding="utf-8"))
    assert set(content) == FIELDS
    assert content["file"] == "film.png" and len(content["labels"]) == 21
    edema = content["labels"]["Edema"]
    assert set(edema) == OF_A_LABEL
    assert 0 <= edema["score"] <= 1 and edema["parents"] == ["Fluid Accumulation"]
    assert content["report"] and all(sentence in said for sentence in content["report"])
    assert (tmp_path / "out/film.png.maps.png").read_bytes()[:4] == b"\x89PNG"


def test_an_interval_is_told_of_what_is_not_refused(reader, tmp_path):  # noqa: F811
    write_image(tmp_path / "film.png")
    (found,) = command.read_files(reader, [tmp_path / "film.png"], 0.1)
    for distance in (0.5, 2.0):
        reading = replace(found.reading, distance=found.reading.distance * 0 + distance)
        told = command.as_json(reader, replace(found, reading=reading))
        interval = told["labels"]["Edema"]["interval"]
        assert told["refused"] == (interval is None) == (distance > 1)
    unknown = replace(found.reading, distance=found.reading.distance * 0, low=reading.low * np.nan)
    told = command.as_json(reader, replace(found, reading=unknown))
    assert told["labels"]["Edema"]["interval"] is None, "NaN is no JSON"
    low, high = (float(end["Edema"].iloc[0]) for end in (reading.low, reading.high))
    assert 0 <= low < high <= 1


FIELDS = {
    "format", "file", "use", "model", "notes", "refused", "distance", "risk", "labels",
    "contradictions_mended", "report",
}  # fmt: skip
OF_A_LABEL = {"score", "interval", "possible", "said", "observation", "parents"}


def test_every_field_of_the_json_is_documented():
    text = (Path(__file__).parents[1] / "docs" / "reading.md").read_text(encoding="utf-8")
    for field in FIELDS | OF_A_LABEL:
        assert f"`{field}`" in text, field


def test_a_folder_of_all_kinds_of_files(read, tmp_path, capsys):
    folder = tmp_path / "films"
    for number in range(3):
        write_image(folder / f"{number}.png", seed=number)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "scan").write_bytes(dicom(ViewPosition="LL"))
    (folder / "notes.txt").write_text("words")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:200])
    (folder / ".hidden").write_text("not looked at")
    assert read(folder) == 1
    done = capsys.readouterr()
    table = pd.read_csv(tmp_path / "out/films.csv", keep_default_na=False).set_index("file")
    assert sorted(table.index) == ["0.png", "1.png", "2.png", "cut.png", "deeper/scan", "notes.txt"]
    bad = table["problem"] != ""
    assert sorted(table.index[bad]) == ["cut.png", "notes.txt"]
    assert "lateral" in table.loc["deeper/scan", "notes"]
    assert table.loc["deeper/scan", "refused"] == "True", "as the file itself says"
    assert not list((tmp_path / "out").glob("*.part"))
    assert table.loc[~bad, "Edema"].astype(float).between(0, 1).all()
    assert "4 of 6 files read" in done.out
    lines = [line for line in done.err.splitlines() if ".png: " in line or ".txt: " in line]
    assert len(lines) == 2 and "Traceback" not in done.err


def test_a_folder_says_the_same_as_one_by_one(read, tmp_path, capsys):
    folder = tmp_path / "films"
    for number in range(40):
        write_image(folder / f"{number:02}.png", seed=number)
    assert read(folder) == 0
    table = pd.read_csv(tmp_path / "out/films.csv").set_index("file")
    assert read(folder / "39.png", folder / "00.png") == 0
    for name in ("39.png", "00.png"):
        content = json.loads((tmp_path / f"out/{name}.json").read_text(encoding="utf-8"))
        scores = pd.Series({label: of["score"] for label, of in content["labels"].items()})
        np.testing.assert_allclose(table.loc[name, scores.index].astype(float), scores, atol=2e-4)
        said = "; ".join(label for label, of in content["labels"].items() if of["said"])
        assert (table["said"].fillna("")[name], table["refused"][name]) == (
            said,
            content["refused"],
        )


def test_its_own_results_are_no_films_and_odd_names_cost_nothing(read, place, reader, tmp_path):  # noqa: F811
    films = tmp_path / "films"
    write_image(films / "film.png")
    (films / "link.png").symlink_to("nowhere.png")
    odd = os.fsencode(films) + b"/\xff.png"
    shutil.copy(films / "film.png", odd)
    assert main(["read", "--run", str(reader.run.folder), "--out", str(films),
                 str(films / "film.png")]) == 0  # fmt: skip
    assert sorted(path.name for path in films.glob("film.png.*")) == [
        "film.png.json", "film.png.maps.png",
    ]  # fmt: skip
    assert read(films) == 1
    table = pd.read_csv(tmp_path / "out/films.csv", keep_default_na=False).set_index("file")
    assert sorted(table.index) == ["\\xff.png", "film.png", "link.png"]
    assert table.loc["link.png", "problem"] == "no such file."


def test_folders_called_alike_have_tables_of_their_own(read, tmp_path):
    for above in ("a", "b"):
        write_image(tmp_path / above / "films" / "film.png")
    assert read(tmp_path / "a" / "films", tmp_path / "b" / "films") == 0
    assert len(list((tmp_path / "out").glob("*.csv"))) == 2


def test_an_error_of_ours_does_not_end_the_reading_of_others(read, tmp_path, monkeypatch):
    films = tmp_path / "films"
    for number in range(3):
        write_image(films / f"{number}.png", seed=number)
    real = command.read_radiograph

    def broken(path, *how):
        return real(path, *how) if path.name != "1.png" else 1 / 0

    monkeypatch.setattr(command, "read_radiograph", broken)
    assert read(films) == 1
    table = pd.read_csv(tmp_path / "out/films.csv", keep_default_na=False).set_index("file")
    assert list(table["problem"] != "") == [False, True, False]
    assert "ZeroDivisionError" in table.loc["1.png", "problem"]


def test_what_cannot_be_begun_is_one_line(read, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "film.png")
    for arguments, told in (
        ([tmp_path / "none.png"], "none.png: no such file or folder"),
        ([tmp_path / "empty"], "no file in it"),
        ([tmp_path / "film.png", "--risk", 2], "--risk 2"),
        ([tmp_path / "film.png", "--run", tmp_path], "no finished run"),
    ):
        assert read(*arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and told in error and error.count("\n") == 1


def test_files_called_alike_do_not_overwrite_each_other(read, tmp_path):
    for number in range(2):
        write_image(tmp_path / f"study{number}" / "view.png", seed=number)
    assert read(tmp_path / "study0" / "view.png", tmp_path / "study1" / "view.png") == 0
    kept = sorted((tmp_path / "out").glob("*.json"))
    assert len(kept) == 2 and [path.name.count("study") for path in kept] == [1, 1]


def test_a_bad_file_among_good_ones(read, tmp_path, capsys):
    write_image(tmp_path / "film.png")
    (tmp_path / "words.png").write_text("words")
    assert read(tmp_path / "words.png", tmp_path / "film.png") == 1
    said = capsys.readouterr().out
    assert "not a readable image" in said and "Kept: " in said
