import os
import subprocess
import sys

import psutil
import pytest

from cxrlib import threads

SHOW = "import cxrlib, os, torch; print(torch.get_num_threads(), os.environ['GOMP_SPINCOUNT'])"


def show(first="", **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}
    done = subprocess.run(
        [sys.executable, "-c", first + SHOW],
        capture_output=True,
        text=True,
        env=clean | environment,
    )
    return done.stdout.split()


def test_what_the_environment_says_is_left():
    assert show(OMP_NUM_THREADS="1", GOMP_SPINCOUNT="7") == ["1", "7"]


@pytest.mark.parametrize("first", ["", "import torch;"])
def test_threads_are_chosen_before_and_after_torch_is_loaded(first):
    count, spin = show(first)
    assert 1 <= int(count) <= psutil.cpu_count()
    assert spin == threads.SPIN


@pytest.mark.parametrize(
    ("shares", "cores"), [([0, 0, 0, 0], 4), ([100, 0, 90, 3], 2), ([100] * 4, 1)]
)
def test_busy_cores_are_left_to_others(monkeypatch, shares, cores):
    monkeypatch.setattr(threads.psutil, "cpu_percent", lambda *a, **k: shares)
    monkeypatch.setattr(threads, "cpu_count", lambda: 4)
    assert threads.idle_cores() == cores
    monkeypatch.setattr(threads, "cpu_count", lambda: 1)
    assert threads.idle_cores() == 1, "not more than the process may use"
