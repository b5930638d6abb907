"""All methods, several seeds, three label conditions: what helps, what does not, and by how much.

    make experiments        (python benchmarks/methods.py [--seeds 5] [--jobs 2])

Every run is a training with one of the three configs ``configs/methods-*.yaml``; the methods differ
in ``settings.method`` and ``settings.penalties`` alone, and all methods share their seeds: the same
first weights, the same order of images. Runs are kept below runs/methods/, so an interrupted
experiment goes on where it was. Its tables go to results/.
"""

import argparse
import contextlib
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

import torch
from tqdm import tqdm

from cxrlib import training
from cxrlib.configs import read_config

CONDITIONS = ("clean", "report", "tenth")
METHODS = {
    "flat": {"method": "flat"},
    "smooth": {"method": "smooth"},
    "step, fixed": {"method": "hbce-step", "penalties": "fixed"},
    "step, data-driven": {"method": "hbce-step", "penalties": "data-driven"},
    "hinge, fixed": {"method": "hbce-hinge", "penalties": "fixed"},
    "hinge, data-driven": {"method": "hbce-hinge", "penalties": "data-driven"},
    "product, fixed": {"method": "hbce-product", "penalties": "fixed"},
    "product, data-driven": {"method": "hbce-product", "penalties": "data-driven"},
    "max-constraint": {"method": "max-constraint"},
    "conditional": {"method": "conditional"},
}
"""What a method is called in the tables, and the settings that make it."""


@dataclass(frozen=True)
class Task:
    """One training of the experiment."""

    condition: str
    method: str
    seed: int

    def train(self):
        """Train, or find the run; returns its folder."""
        config = read_config(f"methods-{self.condition}")
        config = replace(
            config, settings=replace(config.settings, **METHODS[self.method], seed=self.seed)
        )
        track, hierarchy = config.open()
        name = f"{self.condition}-{self.method.replace(', ', '-')}-seed{self.seed}"
        run = training.train(
            track, hierarchy, config.settings, name=name, runs=training.RUNS / "methods"
        )
        return run.folder


def grid(conditions=CONDITIONS, methods=tuple(METHODS), seeds=5):
    """All tasks; a whole comparison of all methods for one seed after the other."""
    return [Task(c, m, seed) for seed in range(seeds) for c in conditions for m in methods]


def train_all(tasks, jobs):
    """Train every task, ``jobs`` at a time, one thread each: ``{task: folder}``."""
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_one_thread) as pool,
        tqdm(total=len(tasks), desc="trainings", unit="run") as bar,
    ):
        futures = {pool.submit(_quietly, task): task for task in tasks}
        folders = {}
        try:
            for done in as_completed(futures):
                folders[futures[done]] = done.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {task: folders[task] for task in tasks}


def _one_thread():
    torch.set_num_threads(1)


def _quietly(task):
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        return task.train()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    options = parser.parse_args()
    train_all(grid(seeds=options.seeds), options.jobs)


if __name__ == "__main__":
    main()
