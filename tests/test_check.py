import shutil
import struct
import zlib

import pandas as pd
import pytest
from conftest import BATCH

from cxrlib import check, cohort
from cxrlib.check import check_folder
from cxrlib.data import open_track


def test_a_complete_folder_has_no_problems(chexpert_folder):
    report = check_folder(chexpert_folder)
    text = str(report)
    assert report.problems == ()
    assert report.lines[0] == f"{chexpert_folder}: CheXpert"
    assert "'visualchexbert' (train_visualCheXbert.csv); also here: 'report'" in text
    assert "train       16 images of 8 patients: 16 frontal" in text
    assert "32 of 32 are here; 32 opened, 0 of them unreadable" in text
    assert text.endswith("Everything needed is here.")
    edema = open_track(chexpert_folder).split("train")["Edema"].sum()
    assert any(line.split()[:2] == ["Edema", f"{edema:.0f}"] for line in report.lines)


def test_uncertain_labels_are_not_counted_as_positive(chexpert_folder):
    table = pd.read_csv(chexpert_folder / "train.csv")
    table["Edema"] = [-1.0] * 5 + [1.0] * 3 + [0.0] * 8
    table.to_csv(chexpert_folder / "train.csv", index=False)
    lines = check_folder(chexpert_folder, labels="report").lines
    assert next(line for line in lines if "Edema" in line).split() == [
        "Edema", "3", "18.8%,", "5", "unknown"]  # fmt: skip


def test_a_sample_or_all_of_the_images_are_opened(chexpert_folder):
    for path in chexpert_folder.glob("train/patient0000[123]/*/*.jpg"):
        path.write_bytes(b"no image")
    gone = chexpert_folder / "test/patient00013/study2/view1_frontal.jpg"
    gone.unlink()
    report = check_folder(chexpert_folder, images=None)
    assert "31 of 32 are here; 31 opened, 6 of them unreadable" in str(report)
    assert f"1 of 32 images are missing, the first of them {gone}" in report.problems[0]
    assert "6 images cannot be read" in report.problems[1]
    assert "Expected a complete file" in report.problems[1]
    assert "; 6 opened, " in str(check_folder(chexpert_folder, images=2))


def test_no_test_set_is_said_and_no_problem(chexpert_folder):
    (chexpert_folder / "test.csv").unlink()
    report = check_folder(chexpert_folder)
    assert report.problems == ()
    assert "no test.csv or test_labels.csv" in str(report)


def test_a_split_without_frontal_views_is_a_problem(chexpert_folder):
    for path in chexpert_folder.glob("valid/*/*/view1_frontal.jpg"):
        path.rename(path.with_name("view1_lateral.jpg"))
    table = (chexpert_folder / "valid.csv").read_text()
    (chexpert_folder / "valid.csv").write_text(table.replace("_frontal", "_lateral"))
    report = check_folder(chexpert_folder)
    assert "8 lateral" in str(report)
    assert report.problems == ("no frontal image in the split 'valid': nothing to choose a model "
                               "on.",)  # fmt: skip


def test_batches_are_listed_with_what_is_missing(batches_folder):
    assert check_folder(batches_folder).problems == ()
    assert f"{BATCH[3]}: 3 patients, 6 images" in str(check_folder(batches_folder))
    shutil.rmtree(batches_folder / BATCH[3])
    report = check_folder(batches_folder)
    assert any(line.endswith(f"{BATCH[3]}: missing") for line in report.lines)
    assert "6 of 16 train images lie in no batch" in report.problems[0]
    shutil.rmtree(batches_folder / BATCH[1])
    assert f"{BATCH[1]}: missing" in str(check_folder(batches_folder))


def test_nih_folders_lists_and_boxes_are_named(nih_folder):
    text = str(check_folder(nih_folder))
    assert text.endswith("Everything needed is here.")
    for part in ("folders     images\n", "by patient (no test_list.txt)", "BBox_List_2017.csv"):
        assert part in text
    parts = nih_folder / "images_002"
    (nih_folder / "images").rename(parts)
    next(parts.iterdir()).unlink()
    (nih_folder / "BBox_List_2017.csv").unlink()
    report = check_folder(nih_folder)
    assert "images_002; not here: images_001, images_003" in str(report)
    assert "none (no BBox_List_2017.csv, no RSNA_boxes.csv)" in str(report)
    assert "1 of 60 images are missing" in report.problems[0]


def test_a_phantom_of_another_version_is_a_problem(chexpert_folder):
    record = chexpert_folder / "cohort.json"
    record.write_text('{"generator": %s}' % cohort.generator_version())  # noqa: UP031
    assert check_folder(chexpert_folder).problems == ()
    for content in ('{"generator": "0123"}', "{}", "no json"):
        record.write_text(content)
        (problem,) = check_folder(chexpert_folder).problems
        assert "make data" in problem


def test_checking_writes_no_phantom(tmp_path, monkeypatch):
    monkeypatch.setattr("cxrlib.data.tracks.DEFAULT_FOLDER", tmp_path / "phantom")
    monkeypatch.delenv("CXR_DATA", raising=False)
    assert "no such folder" in check_folder().problems[0]
    assert not (tmp_path / "phantom").exists()


@pytest.mark.parametrize("content", [None, "", "Path\n", "\xff\xfe"])
def test_a_wrong_folder_is_a_problem_and_no_traceback(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "train.csv").write_text(content, encoding="latin-1")
    assert check.main([str(tmp_path), "--labels", "report"]) == 1
    assert "1 problem:\n  1. " in capsys.readouterr().out


def test_the_command_says_what_is_there(chexpert_folder, capsys):
    assert check.main([str(chexpert_folder), "--all-images"]) == 0
    assert "32 opened" in capsys.readouterr().out
    (chexpert_folder / "train_visualCheXbert.csv").unlink()
    assert check.main([str(chexpert_folder)]) == 1
    assert "no labels 'visualchexbert'" in capsys.readouterr().out
    assert check.main([str(chexpert_folder), "--labels", "report"]) == 0


def test_an_image_whose_header_promises_too_much_is_a_problem(nih_folder):
    def chunk(kind, content):
        parts = struct.pack(">I", len(content)) + kind + content
        return parts + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path = nih_folder / "images/00000001_000.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    assert "00000001_000.png" in check_folder(nih_folder, images=None).problems[0]
