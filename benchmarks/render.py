"""Milliseconds for an image of 128 pixels on one core, beside the phantom's first version.

    python benchmarks/render.py [--patients 100] [--first 700d6f9]

The first version drew in two dimensions; its file is taken from this repository's history (give
another commit with ``--first``, or an empty one to leave it out). The two take turns, so that other
work on the machine slows both.
"""

import argparse
import importlib.util
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from cxrlib import phantom


def first_version(commit):
    """The module ``cxrlib/phantom.py`` as it was at a commit."""
    root = Path(__file__).resolve().parent.parent
    source = subprocess.run(
        ["git", "show", f"{commit}:cxrlib/phantom.py"], cwd=root, check=True, capture_output=True
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first_phantom.py"
        path.write_bytes(source)
        spec = importlib.util.spec_from_file_location("first_phantom", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def milliseconds(module, seed):
    """For the first study of one patient."""
    study = module.draw_studies(np.random.default_rng([3, seed]))[0]
    start = time.perf_counter()
    module.render(study, 128)
    return 1000 * (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--first", default="700d6f9", help="a commit with the first version")
    options = parser.parse_args()
    modules = {"present": phantom}
    if options.first:
        modules["first"] = first_version(options.first)
    with threadpool_limits(1):
        for module in modules.values():
            milliseconds(module, 0)  # the first call fills caches
        times = {name: [] for name in modules}
        for seed in range(options.patients):  # in turns: a slow moment of the machine is shared
            for name, module in modules.items():
                times[name].append(milliseconds(module, seed))
    for name, values in times.items():
        low, middle = np.quantile(values, [0.1, 0.5])
        print(f"{name:8} median {middle:5.1f} ms, mean {np.mean(values):5.1f}, tenth {low:5.1f}")
    if options.first:
        ratio = np.median(times["present"]) / np.median(times["first"])
        print(f"present / first: {ratio:.2f}")


if __name__ == "__main__":
    main()
