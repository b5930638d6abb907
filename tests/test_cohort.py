"""Cohorts: labelers that err as documented, folders that are whole and the same twice."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from PIL import Image
from sklearn.metrics import cohen_kappa_score, f1_score

from cxrlib import cohort, phantom
from cxrlib.evaluation import agreement
from cxrlib.labels import OBSERVATIONS, apply_policy
from cxrlib.phantom import FINDINGS, IMPLIES
from cxrlib.phantom.patients import SEVERITY

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
    """The studies of 8,000 patients, drawn without rendering."""
    return [s for i in range(8000) for s in phantom.draw_studies(np.random.default_rng([1, i]))]


# --- Labelers -------------------------------------------------------------------------------------


def agrees(count, total, rate):
    """Whether ``count`` of ``total`` is within 4.5 standard errors, and 0.02, of ``rate``.

    The 0.02 are for rates that depend on severity: only their average is documented.
    """
    spread = np.sqrt(max(rate * (1 - rate), 1e-9) * total)
    return abs(count - rate * total) <= 4.5 * spread + 0.02 * total + 1e-6


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


@pytest.mark.parametrize("labeler", [cohort.report_labels, cohort.visual_labels])
def test_subtle_findings_are_missed_more_often(studies, labeler):
    rng = np.random.default_rng(6)
    found = {"subtle": [], "gross": []}
    for s in studies:
        labels = labeler(rng, s)
        for name, severity in s.drawn.items():
            if not 0.45 <= severity <= 0.75:
                found["subtle" if severity < 0.45 else "gross"].append(labels[name] == 1)
    assert np.mean(found["subtle"]) + 0.05 < np.mean(found["gross"])


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
    report = pd.DataFrame([cohort.report_labels(rng, s) for s in studies])
    for child, parent in IMPLIES.items():
        visual, said = ((t.loc[t[child] == 1, parent] != 1).mean() for t in (labels, report))
        assert 0 < visual < said, f"{child} without {parent}: less often than in reports"


def test_labelers_agree_with_the_truth_as_the_literature_says(studies):
    """Jain et al. 2021: kappa .31 to .43 for reports, and an F1 .09 to .24 higher for the other."""
    rng = np.random.default_rng(7)
    truth = pd.DataFrame([s.truth for s in studies])[list(FINDINGS)]
    report = pd.DataFrame([cohort.report_labels(rng, s) for s in studies])[list(FINDINGS)]
    visual = pd.DataFrame([cohort.visual_labels(rng, s) for s in studies])[list(FINDINGS)]

    def mean(score, labels):
        return np.mean([score(truth[name], labels[name]) for name in FINDINGS])

    for policy in ("U-Zeros", "U-Ones"):
        labels = apply_policy(report, policy)
        assert 0.31 < mean(cohen_kappa_score, labels) < 0.43, policy
        assert 0.09 < mean(f1_score, visual) - mean(f1_score, labels) < 0.24, policy
    rates = agreement(truth, apply_policy(report, "U-Zeros"))
    for name, found in (("Pneumothorax", 0.46), ("Lung Lesion", 0.42), ("Lung Opacity", 0.58)):
        assert rates.loc[name, "sensitivity"] == pytest.approx(found, abs=0.05), name


@pytest.mark.parametrize("usual", sorted({1 - drawn[0] for drawn, _, _ in cohort.REPORT.values()}))
def test_misses_average_to_the_rate_and_fall_with_severity(usual):
    severities = 0.15 + 0.85 * np.random.default_rng(0).beta(*SEVERITY, 50_000)
    misses = np.array([cohort._misses(usual, severity) for severity in severities])
    assert misses.mean() == pytest.approx(usual, abs=0.005)
    assert misses.min() >= 0 and misses.max() <= 1
    assert (np.diff(misses[np.argsort(severities)]) <= 0).all()


def test_every_second_patient_of_a_transfer_cohort_comes_from_a_survey(tmp_path):
    some = {"patients": {"train": 60}, "size": 32, "seed": 3}
    folder = cohort.write_cohort(tmp_path / "transfer", **some, **QUIET, for_transfer=True)
    plain = cohort.write_cohort(tmp_path / "plain", **some, **QUIET)
    truth, usual = (pd.read_csv(f / "truth.csv", index_col="Path") for f in (folder, plain))
    number = truth.index.str.extract(r"patient(\d+)", expand=False).astype(int)
    assert ((truth["cause"] == "survey") == (number % 2 == 1)).all()
    assert not (usual["cause"] == "survey").any()
    severity = truth.filter(like="severity ").replace(0, np.nan)
    survey = truth["cause"] == "survey"
    assert severity[survey].stack().median() < severity[~survey].stack().median() - 0.1
    path = truth.index[survey][0]
    assert cohort.study_of(folder, path).patient.cause == "survey"
    with pytest.raises(ValueError, match="for_transfer='yes': expected True or False"):
        cohort.write_cohort(tmp_path / "wrong", **some, **QUIET, for_transfer="yes")


def share_of_edema(studies, cardiomegaly):
    """Of the studies with, or without, a large heart: the share that have an edema drawn."""
    among = [s for s in studies if ("Cardiomegaly" in s.drawn) == cardiomegaly]
    return np.mean(["Edema" in s.drawn for s in among])


def test_findings_in_a_survey_are_independent_of_each_other(studies):
    """What is drawn, in every pair of findings; what one implies comes with it anywhere."""
    record = cohort._record({"train": 12_000}, 32, 5, {"for_transfer": True})
    survey = [cohort._studies(record, number)[0] for number in range(1, 12_000, 2)]
    assert {s.patient.cause for s in survey} == {"survey"}
    drawn = np.array([[name in s.drawn for name in FINDINGS] for s in survey], dtype=float)
    base = drawn.mean(axis=0)
    expected = np.outer(base, base)
    errors = np.sqrt(expected * np.outer(1 - base, 1 - base) / len(survey))
    off = (drawn.T @ drawn / len(survey) - expected) / errors
    assert np.abs(off[~np.eye(len(FINDINGS), dtype=bool)]).max() < 4.5
    assert share_of_edema(survey, True) < 1.5 * share_of_edema(survey, False)
    assert share_of_edema(studies, True) > 3 * share_of_edema(studies, False)


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
        lateral = table["Frontal/Lateral"] == "Lateral"
        assert (lateral == table["Path"].str.endswith("view2_lateral.jpg")).all()
        assert (table["Frontal/Lateral"][~lateral] == "Frontal").all()
        assert table["AP/PA"][~lateral].isin(["AP", "PA"]).all()
        assert table["AP/PA"][lateral].isna().all()
        for path in table["Path"]:
            with Image.open(written.parent / path) as image:
                assert image.size == (64, 64) and image.mode == "L" and image.format == "JPEG"
    everything = pd.read_csv(written / "truth.csv")["Path"]
    assert everything.str.endswith("lateral.jpg").any(), "no lateral view among these few"
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
        view = "lateral" if path.endswith("lateral.jpg") else "frontal"
        error = np.abs(stored - phantom.render(study, 64, view))
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


def test_study_of_is_quick(written):
    path = "phantom/train/patient00001/study1/view1_frontal.jpg"
    cohort.study_of(written, path)
    began = time.perf_counter()
    for _ in range(20):
        cohort.study_of(written, path)
    assert (time.perf_counter() - began) / 20 < 0.02


def test_a_complete_cohort_is_not_written_again(written, monkeypatch):
    monkeypatch.setattr(cohort, "_write_files", lambda *_: pytest.fail("wrote again"))
    assert cohort.write_cohort(written, **SMALL, **QUIET) == written
    assert cohort.is_complete(written, **SMALL)
    assert not cohort.is_complete(written, **{**SMALL, "size": 65})
    assert not cohort.is_complete(written.parent, **SMALL)


TABLES = {
    "train.csv": "b0d5e4cd4b2318fd",
    "train_visualCheXbert.csv": "94cad129649f58ab",
    "valid.csv": "d2ee2e3a0dd13d9e",
    "test.csv": "6a50bdb7cf4849f9",
    "truth.csv": "12653e85716bea00",
}
NOISY = {"hospital": 2, "shortcut": "Edema", "image_noise": 0.1, "patient_noise": 0.1}


def test_a_number_stands_for_these_tables(tmp_path):
    folder = cohort.write_cohort(tmp_path / "phantom", **{**SMALL, "size": 32}, **QUIET, **NOISY)
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16] for name in TABLES}
    assert json.loads((folder / cohort.RECORD).read_text())["generator"] == cohort.GENERATOR
    assert (cohort.generator_version(), found) == (4, TABLES), (
        "the generator draws other labels: raise GENERATOR in cxrlib/cohort.py, and put the new "
        "number and hashes here"
    )


def test_a_cohort_of_an_older_generator_is_refused(written, tmp_path):
    old = shutil.copytree(written, tmp_path / "phantom")
    record = json.loads((old / cohort.RECORD).read_text())
    (old / cohort.RECORD).write_text(json.dumps(record | {"generator": "0123456789ab"}))
    before = contents(old)
    with pytest.raises(cohort.CohortError, match=r"'generator': '0123456789ab'.*delete this one"):
        cohort.write_cohort(old, **SMALL, **QUIET)
    assert contents(old) == before


# --- What a lesson may change ---------------------------------------------------------------------


def truth_and_squares(folder):
    return pd.read_csv(folder / "truth.csv", keep_default_na=False)


def test_the_square_goes_with_the_label_as_often_as_asked():
    record = cohort._record({"train": 1500}, 64, 5, {"shortcut": "Edema", "strength": 0.8})
    rows = [s for number in range(1, 1501) for s in cohort._studies(record, number)]
    ill = np.array([s.truth["Edema"] == 1 for s in rows])
    square = np.array([s.stamp for s in rows])
    assert square[ill].mean() == pytest.approx(0.9, abs=0.04)
    assert square[~ill].mean() == pytest.approx(0.1, abs=0.03)


def test_a_shortcut_changes_nothing_but_the_square(written, tmp_path):
    record = cohort._record(SMALL["patients"], 64, 7, {})
    marked = record | {"controls": record["controls"] | {"shortcut": "Lung Opacity"}}
    for number in range(1, 11):
        plain, stamped = (cohort._studies(r, number) for r in (record, marked))
        assert [replace(s, stamp=False) for s in stamped] == plain
    folder = cohort.write_cohort(
        tmp_path / "phantom", **SMALL, **QUIET, shortcut="Lung Opacity", strength=1.0
    )
    table = truth_and_squares(folder)
    assert (table["square"] == table["Lung Opacity"]).all() and table["square"].any()
    assert not truth_and_squares(written)["square"].any()
    for file in ("train.csv", "train_visualCheXbert.csv", "valid.csv", "test.csv"):
        assert (folder / file).read_bytes() == (written / file).read_bytes()
    study = cohort.study_of(folder, table["Path"][int(table["square"].argmax())])
    assert study.stamp


def test_label_noise_is_in_the_training_labels_only(tmp_path):
    some = {"patients": {"train": 100, "test": 5}, "size": 32, "seed": 3}
    tables = {}
    for name, controls in (
        ("plain", {}),
        ("image", {"image_noise": 0.3}),
        ("patient", {"patient_noise": 0.3}),
    ):
        folder = cohort.write_cohort(tmp_path / name, **some, **QUIET, **controls)
        tables[name] = {
            file: pd.read_csv(folder / file, index_col="Path")
            for file in ("train_visualCheXbert.csv", "test.csv", "train.csv")
        }
    findings = list(FINDINGS)
    flips = {}
    for name in ("image", "patient"):
        noisy, plain = tables[name], tables["plain"]
        assert (noisy["test.csv"].to_numpy() == plain["test.csv"].to_numpy())[:, 4:].all()
        before, after = (t["train_visualCheXbert.csv"][findings] for t in (plain, noisy))
        flips[name] = pd.DataFrame(
            before.to_numpy() != after.to_numpy(),
            index=before.index.str.extract(r"(patient\d+)", expand=False),
        )
        assert flips[name].to_numpy().mean() == pytest.approx(0.3, abs=0.05)
        report = noisy["train.csv"][findings].to_numpy()
        changed = report != plain["train.csv"][findings].to_numpy()
        changed &= ~(np.isnan(report) & np.isnan(plain["train.csv"][findings].to_numpy()))
        assert np.array_equal(changed, flips[name].to_numpy())
    same = {name: table.groupby(level=0).nunique().max().max() for name, table in flips.items()}
    assert same == {"image": 2, "patient": 1}


def test_flipped_labels_by_hand():
    report = {"No Finding": np.nan, "Edema": 1.0, "Fracture": np.nan, "Pneumonia": -1.0}
    found = cohort.flip(report, ["Edema", "Fracture", "Pneumonia"], absent=np.nan)
    assert np.isnan(found["Edema"]) and np.isnan(found["Pneumonia"]) and found["Fracture"] == 1
    assert cohort.flip({"Edema": 1.0, "Fracture": 0.0}, ["Edema", "Fracture"], absent=0.0) == {
        "Edema": 0.0,
        "Fracture": 1.0,
    }
    assert cohort.flip({"Edema": 1.0}, [], absent=0.0) == {"Edema": 1.0}


@pytest.mark.parametrize(
    ("control", "named"),
    [
        ({"shortcut": "Oedema"}, "shortcut='Oedema'.*Edema"),
        ({"hospital": 3}, "hospital=3"),
        ({"women": 1.5}, "women=1.5"),
        ({"dose": 0}, "dose=0"),
        ({"image_noise": -0.1}, "image_noise=-0.1"),
        ({"strength": 2}, "strength=2"),
    ],
)
def test_a_control_out_of_range_is_named(tmp_path, control, named):
    with pytest.raises(ValueError, match=named):
        cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET, **control)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_control_is_named(tmp_path):
    with pytest.raises(TypeError, match="'shortcuts'.*shortcut, strength"):
        cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET, shortcuts="Edema")


# --- Interruptions and other folders --------------------------------------------------------------


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


def test_what_a_killed_run_left_is_removed_and_nothing_else(written, tmp_path):
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "letter").write_text("words")
    (tmp_path / ".phantom.partial-0123abcd" / "train").mkdir(parents=True)
    (tmp_path / ".phantom.partial-0123abcd" / "train" / "link").symlink_to(keep)
    (tmp_path / ".phantom.lock").touch()  # of a run that was killed: nobody holds it
    others = [".phantom.partial-mine", ".phantom.partial-x.partial-0123abcd"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".phantom.partial-89abcdef").symlink_to(keep)
    folder = cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)
    assert contents(folder) == contents(written)
    assert neighbours(folder) == sorted([*others, ".phantom.partial-89abcdef", "keep", "phantom"])
    assert contents(keep) == {"letter": b"words"}


def start(folder, options="processes=2"):
    """Another Python that writes ``SMALL`` there, as a script without a guard for ``__main__``."""
    script = folder.parent / f"{folder.name}.py"
    script.write_text(
        "from cxrlib.cohort import write_cohort\n"
        f"write_cohort({str(folder)!r}, **{SMALL!r}, {options})\n",
        encoding="utf-8",
    )
    paths = [str(Path(cohort.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, script],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )


def test_a_script_needs_no_guard(written, tmp_path):
    script = start(tmp_path / "phantom")
    _, errors = script.communicate(timeout=120)
    assert script.returncode == 0 and "Traceback" not in errors, errors
    assert contents(tmp_path / "phantom") == contents(written)


@pytest.mark.parametrize("sign", ["", "*/*/*/*.jpg", "train.csv"])
def test_a_run_that_is_killed_leaves_nothing_that_looks_complete(written, tmp_path, sign):
    folder = tmp_path / "phantom"
    run = start(folder)
    pattern = f".phantom.partial-*/{sign}".rstrip("/")
    while not list(tmp_path.glob(pattern)) and run.poll() is None:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait(60)  # not communicate(): a helper that outlives it may hold its stderr open for ever
    run.stderr.close()
    if folder.exists():  # it was quicker than the signal
        assert contents(folder) == contents(written)
    assert contents(cohort.write_cohort(folder, **SMALL, **QUIET)) == contents(written)
    assert not [name for name in neighbours(folder) if name.endswith(".lock")]


def test_a_second_writer_waits_for_the_first(written, tmp_path, monkeypatch, capsys):
    folder, lock = tmp_path / "phantom", FileLock(tmp_path / ".phantom.lock")
    monkeypatch.setattr(cohort, "_write_files", lambda *_: pytest.fail("wrote it as well"))
    second = threading.Thread(target=cohort.write_cohort, args=[folder], kwargs=SMALL)
    with lock:
        second.start()
        second.join(0.5)
        assert second.is_alive() and not folder.exists()
        shutil.copytree(written, folder)
    second.join(30)
    assert not second.is_alive() and contents(folder) == contents(written)
    assert "another process writes it, waiting" in capsys.readouterr().err
    assert neighbours(folder) == ["phantom"]


def test_processes_that_start_together_write_one_cohort(written, tmp_path):
    folder = tmp_path / "phantom"
    runs = [start(folder, "processes=1") for _ in range(3)]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    assert contents(folder) == contents(written)
    assert neighbours(folder) == ["phantom", "phantom.py"]


@pytest.mark.parametrize("name", ["two words", "Thorax – été", "胸部"])
def test_any_name_will_do(written, tmp_path, name):
    folder = cohort.write_cohort(tmp_path / name / name, **SMALL, **QUIET)
    assert neighbours(folder) == [name]
    assert [path for path in contents(folder) if path.endswith(".jpg")] == [
        path for path in contents(written) if path.endswith(".jpg")
    ]
    path = pd.read_csv(folder / "valid.csv")["Path"][0]
    assert path.startswith(f"{name}/valid/") and cohort.study_of(folder, path)


def test_a_link_to_another_disk_is_followed_and_stays(written, tmp_path):
    disk, link = tmp_path / "disk", tmp_path / "phantom"
    disk.mkdir()
    link.symlink_to(disk / "phantom")
    for _ in range(2):
        assert cohort.write_cohort(link, **SMALL, **QUIET) == link
    assert link.is_symlink() and contents(disk / "phantom") == contents(written)
    assert neighbours(disk / "phantom") == ["phantom"]


def test_a_read_only_place_is_explained(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)  # the superuser may write everywhere
    with pytest.raises(OSError, match=r"phantom.*Permission denied.*folder writable\?"):
        cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_the_system_ended_is_explained(tmp_path, monkeypatch):
    def write_files(*_):
        raise cohort.BrokenProcessPool("A worker was terminated abruptly")

    monkeypatch.setattr(cohort, "_write_files", write_files)
    with pytest.raises(RuntimeError, match=r"phantom.*memory.*processes=1"):
        cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "what", [(Path, "mkdir"), (Path, "write_bytes"), (pd.DataFrame, "to_csv"), (Path, "write_text")]
)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_any_write_leaves_nothing(tmp_path, monkeypatch, what, code):
    def full(path, *_, **__):
        raise OSError(code, "No space left on device")

    monkeypatch.setattr(*what, full)
    with pytest.raises(OSError, match=r"phantom.*disk is full.*another disk") as caught:
        cohort.write_cohort(tmp_path / "phantom", **SMALL, **QUIET)
    assert caught.value.errno == code
    assert list(tmp_path.iterdir()) == []


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
