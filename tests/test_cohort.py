"""Cohorts: labelers that err as documented, folders that are whole and the same twice."""

import errno
import json
import os
import shutil
import socket

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrlib import cohort, phantom
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS, IMPLIES

SMALL = {"patients": {"train": 5, "valid": 2, "test": 3}, "size": 64, "seed": 7}
QUIET = {"processes": 1, "progress": False}


def contents(folder):
    """Relative path → bytes of every file below ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def neighbours(folder):
    return sorted(path.name for path in folder.parent.iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small complete cohort, written by one process. Tests must not change it."""
    return cohort.write_cohort(tmp_path_factory.mktemp("data") / "phantom", **SMALL, **QUIET)


@pytest.fixture(scope="module")
def studies():
    """The studies of 3,000 patients, drawn without rendering."""
    return [s for i in range(3000) for s in phantom.draw_studies(np.random.default_rng([1, i]))]


# --- Labelers -------------------------------------------------------------------------------------


def agrees(count, total, rate):
    """Whether ``count`` of ``total`` is within 4.5 standard errors of ``rate``."""
    spread = np.sqrt(max(rate * (1 - rate), 1e-9) * total)
    return abs(count - rate * total) <= 4.5 * spread + 1e-6


def test_report_labels_err_as_documented(studies):
    rng = np.random.default_rng(3)
    labels = [cohort.report_labels(rng, s) for s in studies]
    for name, groups in cohort.REPORT.items():

        def group(s, name=name):
            return 0 if name in s.drawn else 1 if name in s.severity else 2

        for which, rates in enumerate(groups):
            given = [row[name] for row, s in zip(labels, studies, strict=True) if group(s) == which]
            if rates is None:
                assert not given, f"{name} is never implied"
                continue
            for code, rate in zip((1.0, -1.0, 0.0), rates, strict=True):
                assert agrees(given.count(code), len(given), rate), (name, which, code)


def test_report_labels_break_the_hierarchy_as_real_ones_do(studies):
    rng = np.random.default_rng(4)
    labels = pd.DataFrame([cohort.report_labels(rng, s) for s in studies])
    assert tuple(labels.columns) == OBSERVATIONS
    assert (labels == -1).any()[list(FINDINGS)].all() and labels.isna().any().all()

    def lacking(child, parent):
        return (labels.loc[labels[child] == 1, parent] != 1).mean()

    assert lacking("Cardiomegaly", "Enlarged Cardiomediastinum") > 0.8
    assert lacking("Pneumonia", "Consolidation") > 0.7
    assert 0.25 < lacking("Edema", "Lung Opacity") < 0.6
    normal = labels[labels["No Finding"] == 1]
    assert (normal["Support Devices"] == 1).any()
    assert not normal[list(FINDINGS)].drop(columns="Support Devices").isin([1, -1]).any(axis=None)
    assert set(labels["No Finding"].dropna()) == {1.0}


def test_visual_labels_err_as_documented(studies):
    rng = np.random.default_rng(5)
    labels = pd.DataFrame([cohort.visual_labels(rng, s) for s in studies])
    truth = pd.DataFrame([s.truth for s in studies])
    assert tuple(labels.columns) == OBSERVATIONS and labels.isin([0.0, 1.0]).all(axis=None)
    for name, (hit, false_alarm) in cohort.VISUAL.items():
        for value, rate in ((1, hit), (0, false_alarm)):
            given = labels.loc[truth[name] == value, name]
            assert agrees(given.sum(), len(given), rate), (name, value)
    for child, parent in IMPLIES.items():
        broken = (labels.loc[labels[child] == 1, parent] == 0).mean()
        assert 0 < broken < 0.5, f"{child} without {parent}: mostly consistent, not always"


# --- Cohorts --------------------------------------------------------------------------------------


def test_tables_have_chexperts_columns(written):
    columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS]
    for split, file in (
        ("train", "train.csv"),
        ("train", "train_visualCheXbert.csv"),
        ("valid", "valid.csv"),
        ("test", "test.csv"),
    ):
        table = pd.read_csv(written / file)
        assert list(table.columns) == columns
        assert table["Path"].str.startswith(f"phantom/{split}/patient").all()
        assert table["Path"].is_unique
        assert table["Sex"].isin(["Male", "Female"]).all()
        assert table["Age"].between(18, 95).all() and table["Age"].dtype.kind == "i"
        assert (table["Frontal/Lateral"] == "Frontal").all()
        assert table["AP/PA"].isin(["AP", "PA"]).all()
        for path in table["Path"]:
            with Image.open(written.parent / path) as image:
                assert image.size == (64, 64) and image.mode == "L" and image.format == "JPEG"
    first = pd.read_csv(written / "train.csv")["Path"][0]
    assert first == "phantom/train/patient00001/study1/view1_frontal.jpg"


def test_truth_table_covers_every_image(written):
    truth = pd.read_csv(written / "truth.csv", keep_default_na=False).set_index("Path")
    images = {f"phantom/{path.relative_to(written).as_posix()}" for path in written.rglob("*.jpg")}
    assert set(truth.index) == images
    assert truth["cause"].isin(phantom.CAUSES).all()
    for name in FINDINGS:
        assert ((truth[f"severity {name}"] > 0) == (truth[name] == 1)).all()
    for split in ("valid", "test"):
        clean = pd.read_csv(written / f"{split}.csv").set_index("Path")
        assert (clean[list(OBSERVATIONS)] == truth.loc[clean.index, list(OBSERVATIONS)]).all(
            axis=None
        )
    assert list(pd.read_csv(written / "train.csv")["Path"]) == list(
        pd.read_csv(written / "train_visualCheXbert.csv")["Path"]
    )


def test_no_patient_is_in_two_splits(written):
    patients = {
        split: {path.name for path in (written / split).iterdir()}
        for split in ("train", "valid", "test")
    }
    assert {split: len(names) for split, names in patients.items()} == SMALL["patients"]
    assert len(set.union(*patients.values())) == 10


def test_any_number_of_processes_writes_the_same_bytes(written, tmp_path):
    two = cohort.write_cohort(tmp_path / "phantom", **SMALL, processes=2, progress=False)
    assert contents(two) == contents(written)
    assert neighbours(two) == ["phantom"]


def test_another_seed_writes_other_patients(written, tmp_path):
    other = cohort.write_cohort(tmp_path / "phantom", **{**SMALL, "seed": 8}, **QUIET)
    first = "train/patient00001/study1/view1_frontal.jpg"
    assert (other / first).read_bytes() != (written / first).read_bytes()


def test_study_of_draws_the_stored_image_again(written):
    for path in pd.read_csv(written / "truth.csv")["Path"]:
        study = cohort.study_of(written, path)
        with Image.open(written.parent / path) as image:
            stored = np.asarray(image, float)
        error = np.abs(stored - phantom.render(study, size=64))
        assert error.mean() < 3, path
        on_disk = cohort.study_of(written, written.parent / path)
        assert on_disk == study


@pytest.mark.parametrize(
    "path",
    [
        "phantom/train/patient00099/study1/view1_frontal.jpg",
        "phantom/test/patient00001/study1/view1_frontal.jpg",
        "phantom/train/patient00001/study9/view1_frontal.jpg",
        "phantom/train/patient00000/study1/view1_frontal.jpg",
        "elsewhere.jpg",
    ],
)
def test_study_of_names_an_unknown_path(written, path):
    with pytest.raises(KeyError, match=path):
        cohort.study_of(written, path)


def test_study_of_refuses_what_another_version_drew(written, tmp_path):
    copy = shutil.copytree(written, tmp_path / "phantom")
    record = json.loads((copy / "cohort.json").read_text())
    (copy / "cohort.json").write_text(json.dumps(record | {"generator": "older"}))
    path = "phantom/train/patient00001/study1/view1_frontal.jpg"
    with pytest.raises(cohort.CohortError, match="older"):
        cohort.study_of(copy, path)
    with pytest.raises(cohort.CohortError, match="no complete|not a complete"):
        cohort.study_of(tmp_path, path)


def test_a_complete_cohort_is_not_written_again(written, monkeypatch):
    monkeypatch.setattr(cohort, "_write_files", lambda *_: pytest.fail("wrote again"))
    assert cohort.write_cohort(written, **SMALL, **QUIET) == written
    assert cohort.is_complete(written, **SMALL)
    assert not cohort.is_complete(written, **{**SMALL, "size": 65})
    assert not cohort.is_complete(written.parent, **SMALL)


class Killed(BaseException):
    """Stands for an interrupt, which is no Exception either."""


def fail_after(calls, error, monkeypatch):
    real, count = cohort.render, iter(range(10**6))

    def render(*args, **kwargs):
        if next(count) >= calls:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(cohort, "render", render)


def test_an_interrupted_run_leaves_nothing_and_can_be_repeated(written, tmp_path, monkeypatch):
    folder = tmp_path / "phantom"
    with monkeypatch.context() as patch:
        fail_after(4, Killed(), patch)
        with pytest.raises(Killed):
            cohort.write_cohort(folder, **SMALL, **QUIET)
    assert list(tmp_path.iterdir()) == []
    cohort.write_cohort(folder, **SMALL, **QUIET)
    assert contents(folder) == contents(written)


def test_what_a_killed_run_left_is_removed(written, tmp_path, monkeypatch):
    host, running = socket.gethostname(), os.getppid()
    dead = tmp_path / f".phantom.partial-{host}-999999999"
    (dead / "train").mkdir(parents=True)
    alive = tmp_path / f".phantom.partial-{host}-{running}"
    alive.mkdir()
    elsewhere = tmp_path / ".phantom.partial-another.host-999999999"
    elsewhere.mkdir()
    monkeypatch.setattr(cohort, "_other_runs", lambda process: process == running)
    folder = cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)
    assert contents(folder) == contents(written)
    assert neighbours(folder) == sorted([alive.name, elsewhere.name, "phantom"])


def test_running_processes_are_told_from_dead_ones():
    assert cohort._other_runs(os.getppid())
    assert not cohort._other_runs(999999999)


def test_a_full_disk_is_explained(written, tmp_path, monkeypatch):
    folder = tmp_path / "phantom"
    with monkeypatch.context() as patch:
        fail_after(3, OSError(errno.ENOSPC, "No space left on device"), patch)
        with pytest.raises(OSError, match=r"phantom.*disk is full.*another disk") as caught:
            cohort.write_cohort(folder, **SMALL, **QUIET)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []
    assert contents(cohort.write_cohort(folder, **SMALL, **QUIET)) == contents(written)


def test_a_half_written_folder_is_never_taken_for_whole(written, tmp_path):
    half = shutil.copytree(written, tmp_path / "phantom")
    (half / "cohort.json").unlink()
    before = contents(half)
    assert not cohort.is_complete(half, **SMALL)
    with pytest.raises(cohort.CohortError, match="not a complete phantom cohort"):
        cohort.write_cohort(half, **SMALL, **QUIET)
    assert contents(half) == before


def test_another_cohort_is_refused_and_untouched(written):
    before = contents(written)
    with pytest.raises(cohort.CohortError, match=r"'seed': 7.*'seed': 9"):
        cohort.write_cohort(written, **{**SMALL, "seed": 9}, **QUIET)
    assert contents(written) == before and neighbours(written) == ["phantom"]


def test_a_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("words")
    (tmp_path / "file").write_text("more words")
    for name in ("thesis", "file"):
        with pytest.raises(cohort.CohortError, match=name):
            cohort.write_cohort(tmp_path / name, **SMALL, **QUIET)
    assert contents(tmp_path) == {"thesis/chapter1.txt": b"words", "file": b"more words"}


def test_an_empty_folder_is_filled(written, tmp_path):
    (tmp_path / "phantom").mkdir()
    assert contents(cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)) == contents(
        written
    )


def test_progress_is_a_bar_on_stderr_or_nothing(tmp_path, capsys):
    tiny = {"patients": {"test": 2}, "size": 32}
    cohort.write_cohort(tmp_path / "loud", **tiny, processes=1)
    loud = capsys.readouterr()
    assert "patients" in loud.err and loud.out == ""
    cohort.write_cohort(tmp_path / "quiet", **tiny, **QUIET)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 31}, "size=31"),
        ({"size": 64.0}, "size=64.0"),
        ({"patients": {"train": -1}}, "'train': -1"),
        ({"patients": {"validation": 3}}, "validation"),
        ({"patients": {}}, "at least one patient"),
        ({"seed": -1}, "seed=-1"),
        ({"processes": 0}, "processes=0"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, named):
    with pytest.raises(ValueError, match=named):
        cohort.write_cohort(tmp_path / "phantom", **{**SMALL, **QUIET, **arguments})
    assert list(tmp_path.iterdir()) == []
