"""What the benchmarks share: models, options of those on real radiographs, records, processes."""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from cxrlib import data, training
from cxrlib.cohort import RECORD, write_cohort
from cxrlib.hierarchy import paper_hierarchy

RESULTS = training.RUNS.parent / "results"
MANY = data.DEFAULT_FOLDER.with_name("phantom-many")
HIERARCHY = paper_hierarchy()


def parser(description):
    """The options of both benchmarks."""
    made = argparse.ArgumentParser(description=description.splitlines()[0])
    made.add_argument("folder", metavar="NIH_FOLDER", help="see data/README.md")
    made.add_argument("--seeds", type=int, default=3, help="models trained on the phantom")
    made.add_argument("--epochs", type=int, default=6, help="of that training")
    made.add_argument("--augment", default="strong", choices=training.AUGMENTATIONS)
    made.add_argument("--patients", type=int, default=9000, help="phantoms to train on")
    made.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    return made


def open_tracks(options):
    """The phantom and the real radiographs; ``SystemExit`` if the second is not NIH's."""
    real = data.open_track(options.folder)
    if real.name != "nih":
        raise SystemExit(f"{options.folder}: a folder of NIH ChestX-ray14 is needed, not {real!r}.")
    return data.open_track(write_cohort(MANY, **cohort(options)), labels="truth"), real


def cohort(options):
    """The phantoms to train on: others, and more, than the course's, with their true labels.

    Phantoms cost nothing, so a model for real radiographs sees many of them a few times rather
    than a few of them many times: what it learns by heart would be of no use elsewhere.
    """
    return {"patients": {"train": options.patients, "valid": 300, "test": 30}, "seed": 1}


def phantom_runs(phantom, options):
    """A run per seed, trained on the phantom alone; runs made before are found again."""
    runs = []
    for seed in range(options.seeds):
        settings = training.Settings(epochs=options.epochs, augment=options.augment, seed=seed)
        runs.append(training.train(phantom, HIERARCHY, settings, name=f"phantom-seed{seed}"))
    return runs


def provenance(phantom, real):
    """What the figures were made of and with: the two sets of radiographs, and versions."""
    drawn = json.loads((phantom.folder / RECORD).read_text(encoding="utf-8"))
    return {
        "phantom": {name: drawn[name] for name in ("generator", "seed", "size", "images")},
        "real": which(real),
        "versions": {"cxrlib": metadata.version("cxrlib"), "torch": torch.__version__},
    }


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
