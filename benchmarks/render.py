"""Milliseconds for the phantom's images and masks on one core, beside those of an earlier commit.

    python benchmarks/render.py [--patients 100] [--against COMMIT] [--size 128]

The earlier package is taken from this repository's history. Each draws its own studies of the same
patients, and the two take turns, so that other work on the machine slows both.
"""

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parent.parent


def serve(size):
    """Answer each seed on a line with the ms of its patient's first image and of its masks."""
    from cxrlib import phantom

    with threadpool_limits(1):
        for line in sys.stdin:
            study = phantom.draw_studies(np.random.default_rng([3, int(line)]))[0]
            print(
                *(fastest(draw, study, size) for draw in (phantom.render, phantom.masks)),
                flush=True,
            )


def fastest(draw, *arguments, repeats=3):
    """The fewest ms that a call takes."""
    times = [time.perf_counter()]
    for _ in range(repeats):
        draw(*arguments)
        times.append(time.perf_counter())
    return 1000 * min(np.diff(times))


def package_of(commit, folder):
    """Put the package as it was at a commit into a folder."""
    command = ["git", "archive", commit, "cxrlib"]
    packed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")


def started(folder, size):
    """A process that serves the package in a folder, and its answer to a seed."""
    path = [str(folder), str(Path(__file__).parent)]
    call = f"import sys; sys.path[:0] = {path}; import render; render.serve({size})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", call], cwd=folder, **pipes)

    def ask(seed):
        print(seed, file=process.stdin, flush=True)
        return [float(word) for word in process.stdout.readline().split()]

    return process, ask


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--against", default="HEAD", help="the commit to compare with")
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package_of(options.against, folder)
        served = {
            name: started(at, options.size)
            for name, at in (("present", ROOT), (options.against, folder))
        }
        times = {name: [] for name in served}
        for seed in range(options.patients):
            for name, (_, ask) in served.items():
                times[name].append(ask(seed))
        for process, _ in served.values():
            process.stdin.close()
            process.wait()
    middle = {}
    for name, values in times.items():
        values = np.array(values)
        middle[name], low = np.median(values, axis=0), np.quantile(values, 0.1, axis=0)
        for what, *ms in zip(
            ("image", "masks"), middle[name], values.mean(axis=0), low, strict=True
        ):
            print(f"{name:8} {what}: median {ms[0]:6.1f} ms, mean {ms[1]:6.1f}, tenth {ms[2]:6.1f}")
    image, masks = middle["present"] / middle[options.against]
    print(f"present / {options.against}: image {image:.2f}, masks {masks:.2f}")


if __name__ == "__main__":
    main()
