"""What the benchmarks share: models, options of those on real radiographs, records, processes."""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from cxrlib import data, training
from cxrlib.cohort import RECORD, write_cohort
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

RESULTS = training.RUNS.parent / "results"
HIERARCHY = paper_hierarchy()

COHORTS = {"usual": {}, "transfer": {"for_transfer": True}}
"""The phantoms that models for real radiographs are trained on: the usual causes of illness; or
every second patient from a survey, with findings that are subtle and independent of each other."""


def parser(description, folders=None):
    """The options of the benchmarks on real radiographs."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("folder", metavar="NIH_FOLDER", nargs=folders, help="see data/README.md")
    made.add_argument("--seeds", type=int, default=3, help="models trained on each cohort")
    made.add_argument("--epochs", type=int, default=4, help="of that training")
    made.add_argument("--augment", default="strong", choices=training.AUGMENTATIONS)
    made.add_argument("--patients", type=int, default=4000, help="phantoms to train on")
    made.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    return made


def open_nih(folder):
    """Real radiographs; ``SystemExit`` if they are not NIH's."""
    real = data.open_track(folder)
    if real.name != "nih":
        raise SystemExit(f"{folder}: a folder of NIH ChestX-ray14 is needed, not {real!r}.")
    return real


def drawn(cohort, patients):
    """The arguments of ``write_cohort`` for one of ``COHORTS``.

    They are others than the course's phantoms, and more: since phantoms cost nothing, a model for
    real radiographs sees many a few times rather than a few many times. What it learns by heart
    would be of no use elsewhere.
    """
    counts = {"train": patients, "valid": 300, "test": 30}
    return {"patients": counts, "seed": 1, **COHORTS[cohort]}


def open_phantoms(cohort, patients):
    """One of ``COHORTS`` with its true labels; drawn now if it is not there."""
    folder = data.DEFAULT_FOLDER.with_name(f"phantom-{cohort}-{patients}")
    return data.open_track(write_cohort(folder, **drawn(cohort, patients)), labels="truth")


def settings_of(options):
    """How the models of the two cohorts are trained."""
    return training.Settings(epochs=options.epochs, augment=options.augment)


def phantom_runs(track, settings, seeds, name):
    """A run for each of so many seeds, on phantoms alone; runs made before are found again."""
    made = [replace(settings, seed=seed) for seed in range(seeds)]
    return [training.train(track, HIERARCHY, s, name=f"{name}-seed{s.seed}") for s in made]


def cohort_runs(cohort, options):
    """(the runs of one of ``COHORTS``, its track), as the options want them."""
    track = open_phantoms(cohort, options.patients)
    return phantom_runs(track, settings_of(options), options.seeds, cohort), track


def provenance(phantom):
    """What phantoms were drawn: their generator's version, seed, size, controls and number."""
    record = json.loads((phantom.folder / RECORD).read_text(encoding="utf-8"))
    return {name: record[name] for name in ("generator", "seed", "size", "controls", "images")}


def versions():
    """Of what calculated the figures."""
    return {"cxrlib": metadata.version("cxrlib"), "torch": torch.__version__}


def which(track):
    """Which radiographs a track holds, by their counts and the digits of its table."""
    hashed = pd.util.hash_pandas_object(track.table, index=False).to_numpy().tobytes()
    return {
        "track": track.name,
        "images": len(track.table),
        "patients": int(track.table["patient"].nunique()),
        "table": hashlib.sha256(hashed).hexdigest()[:12],
    }


def write_json(path, content):
    """Write a record whole or not at all; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    return path


def equalised(grey):
    """Images as the course's models see them: from uint8 [N, 1, H, W] to float, 0 … 1."""
    return data.equalize(grey) / 255


def images_of(track, rows, size):
    """Images of a track's rows as the course's models see them: float [N, 1, size, size]."""
    targets = HIERARCHY.derive(rows[sorted(OBSERVATIONS)])
    dataset = data.ChestDataset(rows, track.folder, targets, size, equalize=True)
    return dataset.prepare(dataset.fetch(range(len(dataset)))[0])


def rounded(value):
    """The same with every number rounded to five places."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


def parallel(work, tasks, jobs, what):
    """``work(task)`` for every task, ``jobs`` at a time, one thread each; results in order."""
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_one_thread) as pool,
        tqdm(total=len(tasks), desc=what, unit="run") as bar,
    ):
        futures = [pool.submit(_quietly, work, task) for task in tasks]
        try:
            for done in as_completed(futures):
                done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        return [future.result() for future in futures]


def _one_thread():
    torch.set_num_threads(1)


def _quietly(work, task):
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        return work(task)
