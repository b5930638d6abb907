"""Ratios of speed that the course relies on, all measured in one run on this machine.

    python benchmarks/speed.py [--rows a b ...] [--repeats 5]

Every row sets two ways of doing the same against each other. They take turns, so that other work on
the machine slows both; a row is the median of their ratios, with the lowest and the highest.
"""

import argparse
import contextlib
import functools
import itertools
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from cxrlib import data, evaluation, losses, models, training
from cxrlib.hierarchy import Hierarchy, paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS

CHEXPERT, LOOPED = 223_414, 2_000  # rows of CheXpert; rows that the row-by-row way is timed on
HIERARCHY = paper_hierarchy()


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(one, other, repeats, factor=1.0):
    """How many times as long ``one`` takes as ``other``, in turns, after a turn to warm up."""
    turns = [(seconds(one), seconds(other)) for _ in range(repeats + 1)]
    return [factor * first / second for first, second in turns[1:]]


# --- Training -------------------------------------------------------------------------------------


@functools.cache
def track():
    return data.open_track()


def settings(epochs):
    return training.Settings(size=96, epochs=epochs, augment="chest")


@functools.cache
def prepared():
    """The training data of a run, with all images decoded."""
    made = training.make_data(track(), HIERARCHY, settings(1))
    for split in ("train", "valid"):
        made.dataset(split)
    return made


def a_batch(labels=21):
    torch.manual_seed(0)
    return torch.rand(32, 1, 96, 96), (torch.rand(32, labels) < 0.15).float()


class ByHand:
    """The model, its loss and its optimizer alone, on one batch in memory."""

    def __init__(self):
        self.model = models.build("tiny").to(memory_format=torch.channels_last)
        self.batch, self.loss = a_batch(), losses.BCELoss()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=4e-3)

    def step(self):
        images, targets = self.batch
        self.optimizer.zero_grad()
        self.loss(self.model(images), targets).backward()
        self.optimizer.step()

    @torch.inference_mode()
    def look(self):
        """A pass without a gradient, as in validation."""
        images, targets = self.batch
        self.loss(self.model.eval()(images), targets)
        self.model.train()


def by_hand(steps):
    alone = ByHand()
    for _ in range(steps):
        alone.step()


def train(epochs, runs):
    training.train(track(), HIERARCHY, settings(epochs), "speed", runs)


def loop_against_model(repeats):
    """The model's own share of an epoch: its steps and validation passes, on tensors in memory.

    The rest is what the loop adds: reading, augmentation, metrics, checkpoints. After every step of
    the loop one is made by hand, so that both meet the same noise.
    """
    alone, spent, epochs = ByHand(), [0.0], []

    def step(*_):
        spent[-1] += seconds(alone.step)

    def look(*_):
        spent[-1] += seconds(alone.look)

    def end(*_):
        epochs.append(time.perf_counter())
        spent.append(0.0)

    watched = {
        "on_train_batch_end": step,
        "on_validation_batch_end": look,
        "on_train_epoch_end": end,
    }
    with (
        mock.patch.multiple(training.EpochProgress, create=True, **watched),
        tempfile.TemporaryDirectory() as runs,
    ):
        train(repeats + 1, runs)
    walls = [after - before for before, after in itertools.pairwise(epochs)]
    found = [own / (wall - own) for own, wall in zip(spent[1:-1], walls, strict=True)]
    return {"the model alone / an epoch of the loop": found}


class Stopped(Exception):
    """Stands for a kill in the second epoch."""


def stop(_, trainer, *__):
    if trainer.current_epoch:
        raise Stopped


def train_again(runs):
    """Seconds to go on with a training of two epochs that was stopped in the second."""
    stopping = mock.patch.object(training.EpochProgress, "on_train_batch_end", stop)
    with stopping, contextlib.suppress(Stopped):
        train(2, runs)
    return seconds(lambda: train(2, runs))


def resume(repeats):
    """The last of two epochs, resumed, against a whole training of one; in epochs."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder)
            one, two = (seconds(lambda e=e, r=runs: train(e, r / str(e))) for e in (1, 2))
            found.append((train_again(runs / "stopped") - one) / (two - one))
    return {"resuming, less a training of one epoch / an epoch": found}


def first_batch(repeats):
    """Seconds until the first batch is there, against a step, with the images decoded before."""
    prepared()

    def first():
        made = training.make_data(track(), HIERARCHY, settings(1))
        next(iter(made.train_dataloader()))

    return {"first batch / ten training steps": ratios(first, lambda: by_hand(10), repeats)}


# --- Losses, labels, evaluation, images -----------------------------------------------------------


def random_dag(labels):
    """A hierarchy of that many labels, each with one or two parents among those before it."""
    rng = np.random.default_rng(0)
    names = [f"label {k}" for k in range(labels)]
    edges = {(int(rng.integers(k)), k) for k in range(1, labels) for _ in range(2)}
    return Hierarchy(names, [(names[parent], names[child]) for parent, child in sorted(edges)])


def loop_over_edges(logits, targets, edges):
    """The hinge form of the penalised loss, one edge after the other."""
    p = logits.sigmoid()
    gaps = [(p[:, child] - p[:, parent]).clamp(min=0).mean() for parent, child in edges]
    return losses.masked_bce(logits, targets) + 0.5 * sum(gaps)


def hbce(repeats):
    """Forward and backward of the penalised loss, against BCE and against a loop over edges."""
    rows = {}
    for hierarchy in (HIERARCHY, read_hierarchy("padchest"), random_dag(400)):
        count = len(hierarchy.labels)
        penalties = pd.Series(0.5, index=pd.MultiIndex.from_tuples(hierarchy.edges))
        loss, bce = losses.HierarchicalBCELoss(hierarchy, penalties, "hinge"), losses.BCELoss()
        loop = functools.partial(
            loop_over_edges, edges=list(zip(*hierarchy.edge_positions, strict=True))
        )
        logits, targets = torch.randn(32, count, requires_grad=True), a_batch(count)[1]
        assert torch.allclose(loss(logits, targets), loop(logits, targets), atol=1e-4)

        def work(loss, logits=logits, targets=targets):
            return lambda: [loss(logits, targets).backward() for _ in range(20)]

        rows[f"HBCE / BCE, {count} labels"] = ratios(work(loss), work(bce), repeats)
        rows[f"loop over edges / HBCE, {count} labels"] = ratios(work(loop), work(loss), repeats)
    return rows


def derive_by_rows(table):
    """The same rules, image by image, as a reader of the paper would first write them."""
    rows = []
    for _, row in table.iterrows():
        values = row.to_dict()

        def value(label, values=values):
            if label not in values:
                absent = HIERARCHY.none_of.get(label)
                sources = absent or HIERARCHY.children(label)
                present = any(value(source) == 1 for source in sources)
                values[label] = float(not present if absent else present)
            return values[label]

        rows.append({label: value(label) for label in HIERARCHY.labels})
    return pd.DataFrame(rows)


def derive(repeats):
    """The paper's 21 labels of all of CheXpert, whole columns at once against row by row."""
    drawn = np.random.default_rng(0).random((CHEXPERT, len(OBSERVATIONS))) < 0.15
    table = pd.DataFrame(drawn.astype(float), columns=list(OBSERVATIONS))
    few = table[:LOOPED]
    pd.testing.assert_frame_equal(derive_by_rows(few), HIERARCHY.derive(few))
    found = ratios(
        lambda: derive_by_rows(few), lambda: HIERARCHY.derive(table), repeats, CHEXPERT / LOOPED
    )
    return {"labels row by row / by columns": found}


def repair(repeats, images=10_000):
    """The projection of scores on what a hierarchy allows, against raising parents."""
    rows = {}
    for name in ("paper", "anatomy", "chexpert"):
        hierarchy = read_hierarchy(name)
        labels = len(hierarchy.labels)
        scores = hierarchy.to_table(np.random.default_rng(0).random((images, labels)))
        ways = [
            functools.partial(hierarchy.make_coherent, scores, how) for how in ("projection", "max")
        ]
        key = f"projection / max, {name}, {len(hierarchy.never_both)} exclusions"
        rows[key] = ratios(*ways, repeats)
    return rows


def bootstrap(repeats, images=1000, resamples=20):
    """AUROC of 21 labels in resamples of the patients, against scikit-learn in a loop."""
    rng = np.random.default_rng(0)
    truth = pd.DataFrame(rng.random((images, 21)) < 0.3, columns=list(HIERARCHY.labels)) * 1.0
    scores = truth * 0.5 + rng.random(truth.shape)
    groups = pd.Series(np.arange(images) // 2)

    def looped():
        draw = np.random.default_rng(0)
        for _ in range(resamples):
            patients = draw.integers(images // 2, size=images // 2)
            rows = np.concatenate([2 * patients, 2 * patients + 1])
            for label in truth:
                roc_auc_score(truth[label].to_numpy()[rows], scores[label].to_numpy()[rows])

    ours = functools.partial(
        evaluation.bootstrap_auroc, truth, scores, groups, resamples=10 * resamples
    )
    found = ratios(looped, ours, repeats, 10)
    return {"scikit-learn in a loop / bootstrap_auroc": found}


def reading(repeats, images=500):
    """Images of 96 pixels from their files, against a memory map of grey levels."""
    table = track().split("train").head(images)
    files = [track().folder / path for path in table["path"]]
    grey = torch.stack([data.load_image(path, 96) for path in files]).numpy()
    order = np.random.default_rng(0).permutation(len(files))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pixels.bin"
        grey.tofile(path)
        mapped = np.memmap(path, np.uint8, "r", shape=grey.shape)
        found = ratios(
            lambda: [data.load_image(files[k], 96) for k in order],
            lambda: [mapped[order[k : k + 32]] for k in range(0, len(order), 32)],
            repeats,
        )
    return {"decoding files / memory map": found}


# --- Threads --------------------------------------------------------------------------------------

STEP = """
import sys, time, torch
sys.path.insert(0, {here!r})
import speed
torch.set_num_threads({threads})
speed.by_hand(1)
start = time.perf_counter()
speed.by_hand(5)
print((time.perf_counter() - start) / 5)
"""


def _step(threads, variables):
    """Seconds a training step in a process of its own: OpenMP reads its variables as it loads."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    code = STEP.format(here=str(Path(__file__).parent), threads=threads)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=clean | variables, check=True, capture_output=True)
    return float(done.stdout)


def _be_busy():
    torch.set_num_threads(2)
    while True:
        by_hand(5)


def threads(repeats):
    """A step of the tiny model with two threads and with one, alone and beside another process."""
    rows = {}
    variables = {
        "": {},
        ", GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
        ", OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
    }
    for beside in ("alone", "beside two busy threads"):
        other = multiprocessing.get_context("spawn").Process(target=_be_busy, daemon=True)
        if beside != "alone":
            other.start()
            time.sleep(4)  # it has to import torch first
        try:
            for _ in range(min(repeats, 3)):
                one = _step(1, {})
                for name, setting in variables.items():
                    key = f"2 threads / 1, {beside}{name}"
                    rows.setdefault(key, []).append(_step(2, setting) / one)
        finally:
            if beside != "alone":
                other.kill()
                other.join()
    return rows


ROWS = {
    "loop": loop_against_model,
    "hbce": hbce,
    "derive": derive,
    "repair": repair,
    "bootstrap": bootstrap,
    "reading": reading,
    "resume": resume,
    "first": first_batch,
    "threads": threads,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{'':54}   ratio  (lowest – highest)")
    for name in options.rows:
        repeats = min(options.repeats, 2) if name == "resume" else options.repeats
        for row, found in ROWS[name](repeats).items():
            median, low, high = np.median(found), min(found), max(found)
            print(f"{row:54}{median:8.2f}  ({low:.2f} – {high:.2f})", flush=True)


if __name__ == "__main__":  # the busy process imports this file again
    main()
