"""A cohort of phantoms on disk: labelers, tables and images in CheXpert's own layout.

The truth of every image is known (``phantom``). What reaches a training set is what a labeler made
of it: one reads reports, as CheXpert's does, one agrees with the image, as VisualCheXbert does. The
rates of their errors stand in two tables below. ``Controls`` are what a lesson may change on
purpose: a shortcut, another hospital, noise, who is imaged.
"""

import errno
import io
import json
import os
import re
import secrets
import shutil
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from joblib import Parallel, cpu_count, delayed
from PIL import Image
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS, VIEWS, check_size, draw_studies, render
from cxrlib.phantom.patients import MEAN_SEVERITY, WOMEN

PATIENTS = {"train": 2160, "valid": 270, "test": 570}  # about 4,000, 500 and 1,000 images

# --- Labelers: what reaches a training set --------------------------------------------------------

# What a report says of a finding: P(1), P(−1) and P(0); it is silent (blank) otherwise. First where
# the finding is drawn, then where it is only implied (the reader names the child, not the parent),
# then where it is absent. Where a finding is drawn these are about averages: see ``_misses``.
#
# Measured, on 4,376 images whose findings were adjudicated by radiologists (Majkowska et al. 2020,
# ``public.adjudicated_labels``): NIH's report labels find 46% of Pneumothorax (false alarms 3%),
# 42% of Lung Lesion (5%) and 58% of airspace opacity as ``ADJUDICATED`` counts it (24%), which
# stands for Lung Opacity, drawn or implied; both sets together. Of the others only the mean is
# known: kappa of report against image is 0.31 to 0.43 (Jain et al. 2021, arXiv 2102.11467).
# They are set so that this table's mean lies there, better where VinDr's readers agree better.
REPORT = {
    "Enlarged Cardiomediastinum": ((0.50, 0.15, 0.02), (0.06, 0.03, 0.02), (0.02, 0.04, 0.11)),
    "Cardiomegaly": ((0.54, 0.10, 0.03), None, (0.07, 0.03, 0.05)),
    "Lung Opacity": ((0.80, 0.04, 0.02), (0.51, 0.03, 0.02), (0.24, 0.02, 0.05)),
    "Lung Lesion": ((0.42, 0.08, 0.02), None, (0.05, 0.01, 0.01)),
    "Edema": ((0.48, 0.12, 0.08), None, (0.10, 0.05, 0.10)),
    "Consolidation": ((0.45, 0.18, 0.06), (0.14, 0.15, 0.06), (0.04, 0.09, 0.14)),
    "Pneumonia": ((0.24, 0.26, 0.02), None, (0.03, 0.08, 0.02)),
    "Atelectasis": ((0.42, 0.22, 0.01), None, (0.08, 0.11, 0.01)),
    "Pneumothorax": ((0.46, 0.08, 0.15), None, (0.03, 0.01, 0.26)),
    "Pleural Effusion": ((0.64, 0.08, 0.08), None, (0.14, 0.05, 0.19)),
    "Pleural Other": ((0.28, 0.12, 0.01), None, (0.02, 0.02, 0.00)),
    "Fracture": ((0.36, 0.03, 0.02), None, (0.03, 0.00, 0.01)),
    "Support Devices": ((0.76, 0.01, 0.02), None, (0.17, 0.00, 0.04)),
}

# What a labeler that was trained to agree with the image says: P(1) where a finding is present,
# where absent. Where it is present, this is an average too. Jain et al. (2021) report a mean F1
# that is 0.14 above a report labeler's, and up to 0.24 by observation; here it is 0.17 (U-Ones) to
# 0.21 (U-Zeros). Its labels are dense: it sees more, and more that is not there.
VISUAL = {
    "Enlarged Cardiomediastinum": (0.70, 0.08),
    "Cardiomegaly": (0.84, 0.05),
    "Lung Opacity": (0.86, 0.22),
    "Lung Lesion": (0.62, 0.04),
    "Edema": (0.76, 0.07),
    "Consolidation": (0.68, 0.10),
    "Pneumonia": (0.70, 0.10),
    "Atelectasis": (0.74, 0.14),
    "Pneumothorax": (0.74, 0.02),
    "Pleural Effusion": (0.86, 0.08),
    "Pleural Other": (0.58, 0.03),
    "Fracture": (0.60, 0.04),
    "Support Devices": (0.90, 0.08),
}


def report_labels(rng, study):
    """A report labeler's 14 codes for ``study``: 1.0, 0.0, −1.0, or NaN where nothing is said.

    The errors are those of ``REPORT``, independent of each other; subtle findings are missed more
    often than gross ones. No Finding is 1 where the labeler has found nothing else than devices
    (and the study shows none of ``phantom.OTHERS``), so a missed finding makes it wrong.
    """
    labels = {}
    for name, (drawn, implied, absent) in REPORT.items():
        if name in study.drawn:
            found = 1 - _misses(1 - drawn[0], study.severity[name])
            rest = (1 - found) / (1 - drawn[0])  # the other codes keep their shares of what is left
            chances = [found, drawn[1] * rest, drawn[2] * rest]
        else:
            chances = list(implied if name in study.severity else absent)
        labels[name] = float(rng.choice([1.0, -1.0, 0.0, np.nan], p=[*chances, 1 - sum(chances)]))
    return {"No Finding": 1.0 if _looks_normal(study, labels) else np.nan} | labels


def visual_labels(rng, study):
    """An image-like labeler's 14 codes for ``study``, 1.0 or 0.0, with the errors of ``VISUAL``."""
    labels = {}
    for name, (hit, false_alarm) in VISUAL.items():
        if name in study.severity:
            hit = 1 - _misses(1 - hit, study.severity[name])
        labels[name] = float(rng.random() < (hit if name in study.severity else false_alarm))
    return {"No Finding": float(_looks_normal(study, labels))} | labels


def _misses(usual, severity):
    """The chance that a finding is missed: more where it is subtle, and on average ``usual``."""
    if usual <= 0.4:
        return usual * (1.15 - severity) / (1.15 - MEAN_SEVERITY)
    # Mostly missed: scaled are the hits, or the subtlest would be missed more often than always.
    return 1 - (1 - usual) * (0.15 + severity) / (0.15 + MEAN_SEVERITY)


def _looks_normal(study, labels):
    found = {name for name, label in labels.items() if label in (1.0, -1.0)}
    return not study.other and not found - {"Support Devices"}


def flip(labels, flipped, absent):
    """Labels that are wrong for the findings in ``flipped``: found where not, and the reverse.

    ``absent`` is what the labeler says of an absent finding: NaN in a report, 0 for an image.
    """
    wrong = {name: absent if labels[name] in (1.0, -1.0) else 1.0 for name in flipped}
    return labels | wrong


# --- What a lesson may change ---------------------------------------------------------------------


@dataclass(frozen=True)
class Controls:
    """What a lesson may change in a cohort; by default nothing.

    Attributes
    ----------
    shortcut : observation whose images tend to carry a burnt-in square, or "".
    strength : of the shortcut, −1 … 1: the square is on (1 + strength) / 2 of the images with the
        observation and on (1 − strength) / 2 of those without; 0, it says nothing.
    hospital : 1 or 2; the second has another detector, other markers and more contrast.
    dose : factor on the number of photons: below 1, noisier images.
    women : share of the patients who are women.
    image_noise : chance that a finding's training label is flipped, image by image; No Finding
        stays as it was.
    patient_noise : the same, but flipped in all images of a patient or in none.
    for_transfer : whether every second patient comes from a survey, with findings that are subtle
        and independent of each other, for models that shall work on other people's radiographs.
    """

    shortcut: str = ""
    strength: float = 0.9
    hospital: int = 1
    dose: float = 1.0
    women: float = WOMEN
    image_noise: float = 0.0
    patient_noise: float = 0.0
    for_transfer: bool = False

    def __post_init__(self):
        if self.shortcut not in ("", *OBSERVATIONS):
            raise ValueError(
                f"shortcut={self.shortcut!r}: expected one of {', '.join(OBSERVATIONS)}, or ''."
            )
        if self.hospital not in (1, 2):
            raise ValueError(f"hospital={self.hospital!r}: expected 1 or 2.")
        if not isinstance(self.for_transfer, bool):
            raise ValueError(f"for_transfer={self.for_transfer!r}: expected True or False.")
        limits = {"strength": (-1, 1), "dose": (0.01, 100)}
        for name in ("strength", "dose", "women", "image_noise", "patient_noise"):
            low, high = limits.get(name, (0, 1))
            value = getattr(self, name)
            if isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name}={value!r}: expected a number from {low} to {high}.")


# --- A cohort on disk, in CheXpert's layout -------------------------------------------------------

GENERATOR = 4
"""Raise it with any change here or in ``phantom`` that draws other pixels or other labels. Cohorts
keep the number they were drawn by, and those of another are refused."""

SPLITS = ("train", "valid", "test")
RECORD = "cohort.json"
COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS)


class CohortError(ValueError):
    """A folder cannot hold, or does not hold, the cohort asked for; the message says why."""


def generator_version():
    """The number of this generator, as the record of a cohort holds it."""
    return GENERATOR


def write_cohort(
    folder, patients=None, size=128, seed=0, processes=None, progress=True, **controls
):
    """Write images and label tables in CheXpert's layout; return the folder's path.

    The same arguments give the same bytes, whatever the number of processes. The folder appears
    only when it is complete: until then the files lie in a hidden folder beside it, which is
    removed on an error, and by the next run after a crash. A complete cohort of the same
    arguments is returned as it is. While another process writes it, this one waits.

    Parameters
    ----------
    folder : where to write. Its name becomes the first part of every ``Path``.
    patients : split → number of patients; default ``PATIENTS``. A patient has 1 to 4 studies.
    size : pixels per side, at least 32.
    seed : a whole number; another seed draws other patients.
    processes : how many to use; default, one for each core that this process may use.
    progress : whether to show a progress bar on stderr.
    controls : what a lesson changes, see ``Controls``: ``shortcut="Pneumothorax"``, ``hospital=2``.

    Raises
    ------
    ValueError
        An argument is out of range (named in the message).
    CohortError
        ``folder`` exists and holds something else. Nothing in it is touched.
    OSError
        The disk is full, or the folder is not writable.
    RuntimeError
        The system ended one of the processes, for want of memory.
    """
    record = _record(patients, size, seed, controls)
    if processes is not None and (not isinstance(processes, int) or processes < 1):
        raise ValueError(f"processes={processes!r}: expected a whole number above 0, or None.")
    asked = Path(folder).absolute()
    folder = asked.resolve()  # a link may lead to another disk, and stays a link
    if _read_record(folder) != record:
        _refuse_other(folder, record)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _lock(folder, progress):
                if _read_record(folder) != record:  # another process may have written it meanwhile
                    _refuse_other(folder, record)
                    _write_and_publish(folder, record, processes, progress)
        except OSError as error:
            raise _explain(error, folder) from error
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"{folder}: the system ended a process that drew images, most often for want of "
                "memory. Nothing was left behind. Try again with fewer, such as processes=1."
            ) from error
    return asked


def is_complete(folder, patients=None, size=128, seed=0, **controls):
    """Whether ``folder`` holds the whole cohort that these arguments describe."""
    return _read_record(Path(folder)) == _record(patients, size, seed, controls)


def study_of(folder, path):
    """Draw again the ``Study`` behind an image of a written cohort, whichever its view.

    Parameters
    ----------
    folder : a folder that ``write_cohort`` wrote.
    path : the image: an entry of a table's ``Path`` column, or its path on disk.

    Raises
    ------
    CohortError
        ``folder`` is no cohort, or another version of this module drew it.
    KeyError
        The cohort has no such image.
    """
    record = _read_record(Path(folder))
    if record is None:
        raise CohortError(f"{folder}: no {RECORD} in it, so it is not a complete phantom cohort.")
    if record["generator"] != generator_version():
        raise CohortError(
            f"{folder}: drawn by version {record['generator']} of the phantom, this is version "
            f"{generator_version()}, which draws other patients. Write the cohort again."
        )
    pattern = r"(train|valid|test)/patient(\d{5,})/study(\d+)/view(?:1_frontal|2_lateral)\.jpg"
    match = re.search(rf"(?:^|/){pattern}$", Path(path).as_posix())
    if match:
        split, patient, number = match[1], int(match[2]), int(match[3])
        if _split_of(patient, record["patients"]) == split:
            studies = _studies(record, patient)
            if 1 <= number <= len(studies):
                return studies[number - 1]
    raise KeyError(
        f"{path}: no such image in the cohort {folder}, which has {record['patients']} patients. "
        "Expected a path like phantom/train/patient00001/study1/view1_frontal.jpg."
    )


def _record(patients, size, seed, controls):
    """What makes a cohort the one it is: the content of its ``cohort.json``."""
    patients = dict(PATIENTS if patients is None else patients)
    check_size(size)
    if not _is_count(seed):
        raise ValueError(f"seed={seed!r}: expected a whole number, 0 or more.")
    for split, count in patients.items():
        if split not in SPLITS or not _is_count(count):
            raise ValueError(
                f"patients={{{split!r}: {count!r}}}: expected a number of patients, 0 or more, "
                f"for some of the splits {', '.join(SPLITS)}."
            )
    if not sum(patients.values()):
        raise ValueError(f"patients={patients!r}: expected at least one patient.")
    counts = {split: int(patients.get(split, 0)) for split in SPLITS}
    unknown = set(controls) - set(asdict(Controls()))
    if unknown:
        raise TypeError(f"{min(unknown)!r}: expected one of {', '.join(asdict(Controls()))}.")
    drawn = {"controls": asdict(Controls(**controls)), "generator": generator_version()}
    return {"seed": int(seed), "size": int(size), "patients": counts} | drawn


def _is_count(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 0


def _read_record(folder):
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {key: record[key] for key in ("seed", "size", "patients", "controls", "generator")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_other(folder, record):
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    found = _read_record(folder)
    if found is None:
        raise CohortError(
            f"{folder}: exists, and is not a complete phantom cohort (no readable {RECORD}). "
            "Nothing was changed. Choose another folder, or move this one away."
        )
    wanted = {key: value for key, value in record.items() if value != found[key]}
    there = {key: found[key] for key in wanted}
    raise CohortError(
        f"{folder}: holds another phantom cohort, with {there} where {wanted} was asked for. "
        "Nothing was changed. Choose another folder, or delete this one to write it anew."
    )


def wait_for_lock(path, waiting):
    """The lock of a file, for ``with``: one process at a time holds it, and gives it back at the
    end of its block, or when it ends, however that is. ``waiting`` is said while another has it."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        if waiting:
            print(waiting, file=sys.stderr)
        return lock.acquire()


@contextmanager
def _lock(folder, progress):
    """Let one process at a time write ``folder``, and leave no file behind."""
    path = folder.with_name(f".{folder.name}.lock")
    waiting = f"{folder}: another process writes it, waiting for that."
    with wait_for_lock(path, progress and waiting):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # filelock sees it, and makes another


def _write_and_publish(folder, record, processes, progress):
    """Fill a hidden folder, and give it its name when it is complete. Needs the lock."""
    _remove_stale(folder)
    partial = folder.parent / f".{folder.name}.partial-{secrets.token_hex(4)}"
    partial.mkdir()
    try:
        _write_files(partial, folder.name, record, processes, progress)
        if folder.is_dir():
            folder.rmdir()  # empty, or this fails
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_stale(folder):
    """Remove what runs that were killed left behind: we have the lock, so they have ended."""
    name = re.compile(rf"\.{re.escape(folder.name)}\.partial-[0-9a-f]{{8}}")
    for left in folder.parent.iterdir():
        if name.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)


def _explain(error, folder):
    """The same error, with what to do about it."""
    advice = "Is the folder writable?"
    if error.errno in (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else None):
        advice = "The disk is full. Free some space, or choose a folder on another disk."
    return OSError(
        error.errno,
        f"{folder}: the cohort could not be written ({error.strerror or error}). {advice} "
        "What was written has been removed; run it again to start afresh",
    )


def _write_files(partial, name, record, processes, progress):
    """Fill ``partial``: images, tables and, last of all, the record."""
    last = sum(record["patients"].values())
    work = [(partial, name, record, number, os.getpid()) for number in range(1, 1 + last)]
    processes = min(processes or cpu_count(), max(1, len(work) // 4))
    backend = "sequential" if processes == 1 else "loky"  # loky: safe beside torch's threads
    pool = Parallel(processes, backend=backend, return_as="generator")
    with closing(pool(delayed(_write_patient)(*task) for task in work)) as patients:
        bar = tqdm(patients, "patients", len(work), unit="", disable=not progress)
        rows = [row for written in bar for row in written]
    _write_tables(partial, pd.DataFrame(rows))
    content = record | {"images": len(rows), "cxrlib": package_version()}
    (partial / RECORD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _studies(record, number):
    """The studies of patient ``number``, as the cohort's controls want them."""
    controls = Controls(**record["controls"])
    rng = _patient_rng(record["seed"], number)
    cause = "survey" if controls.for_transfer and number % 2 else None
    studies = draw_studies(rng, controls.women, controls.hospital, controls.dose, cause)
    if controls.shortcut:
        # Its own random numbers: with and without the shortcut, everything else is the same.
        luck = _patient_rng(record["seed"], number, 2).random(len(studies))
        for k, study in enumerate(studies):
            sign = 1 if study.truth[controls.shortcut] else -1
            studies[k] = replace(study, stamp=bool(luck[k] < (1 + sign * controls.strength) / 2))
    return studies


@cache
def _end_with(parent):
    """End this process soon after the one that wants its images, should that be killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getpid() != parent:
        threading.Thread(target=watch, daemon=True).start()


@threadpool_limits.wrap(limits=1)  # the same sums in the same order, in every process
def _write_patient(partial, name, record, number, parent):
    """Write the images of one patient; return a row of facts and labels for each."""
    _end_with(parent)
    split = _split_of(number, record["patients"])
    labeler = _patient_rng(record["seed"], number, 1)
    noise = _patient_rng(record["seed"], number, 3)
    controls = Controls(**record["controls"])
    always = noise.random(len(FINDINGS)) < controls.patient_noise
    rows = []
    for study in _studies(record, number):
        facts = {"split": split, "Sex": study.patient.sex, "Age": study.patient.age}
        facts |= {("truth", key): value for key, value in study.truth.items()}
        report, visual = report_labels(labeler, study), visual_labels(labeler, study)
        severity = study.severity
        facts |= {f"severity {key}": round(severity.get(key, 0.0), 4) for key in FINDINGS}
        facts |= {"cause": study.patient.cause, "other": study.other, "square": int(study.stamp)}
        for k, view in enumerate(VIEWS[: 1 + study.lateral]):
            place = f"{split}/patient{number:05d}/study{study.number}/view{k + 1}_{view}.jpg"
            (partial / place).parent.mkdir(parents=True, exist_ok=True)
            jpeg = io.BytesIO()  # Pillow takes no notice of a file that a full disk cuts short
            Image.fromarray(render(study, record["size"], view)).save(jpeg, "JPEG", quality=95)
            (partial / place).write_bytes(jpeg.getvalue())
            once = noise.random(len(FINDINGS)) < controls.image_noise
            wrong = [name for name, odd in zip(FINDINGS, always ^ once, strict=True) if odd]
            row = {"Path": f"{name}/{place}", "Frontal/Lateral": view.capitalize()} | facts
            row["AP/PA"] = study.projection if view == "frontal" else None
            row |= {("report", key): value for key, value in flip(report, wrong, np.nan).items()}
            row |= {("visual", key): value for key, value in flip(visual, wrong, 0.0).items()}
            rows.append(row)
    return rows


def _write_tables(partial, rows):
    def table(split, labels):
        columns = {(labels, observation): observation for observation in OBSERVATIONS}
        chosen = rows[rows["split"] == split].rename(columns=columns)[list(COLUMNS)]
        return chosen.astype(dict.fromkeys(OBSERVATIONS, float))

    truth = rows.rename(columns={("truth", name): name for name in OBSERVATIONS})
    severity = [f"severity {name}" for name in FINDINGS]
    for file, content in {
        "train.csv": table("train", "report"),
        "train_visualCheXbert.csv": table("train", "visual"),
        "valid.csv": table("valid", "truth"),
        "test.csv": table("test", "truth"),
        "truth.csv": truth[["Path", *OBSERVATIONS, *severity, "cause", "other", "square"]],
    }.items():
        content.to_csv(partial / file, index=False, lineterminator="\n")


def _split_of(number, patients):
    """The split of patient ``number``: numbers run on from train to valid to test."""
    for split in SPLITS:
        if 1 <= number <= patients[split]:
            return split
        number -= patients[split]
    return None


def _patient_rng(seed, number, stream=0):
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, stream)))


def package_version():
    """The version of cxrlib that is installed."""
    try:
        return metadata.version("cxrlib")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
