"""How many threads calculate: as many as there are cores to spare, and none that spins.

PyTorch's threads (OpenMP's) wait for each other by spinning. On a core that another process needs,
they spin in its place: a training step that takes 0.1 s alone has been seen to take 3 s. So a
process takes only cores that are idle when it starts, and its threads give up spinning soon. Both
must be said before PyTorch is loaded; what the environment says already is left as it is.
"""

import os
import sys

import psutil
from joblib import cpu_count

SPIN = "10000"  # of GNU OpenMP: more is a little faster alone, and ruinous beside others


def idle_cores(seconds=0.1):
    """How many of the cores that this process may use are idle: at least 1."""
    busy = [share > 50 for share in psutil.cpu_percent(seconds, percpu=True)]
    return max(1, min(cpu_count(), busy.count(False)))


def choose():
    """Set the environment for libraries that are not loaded yet, and PyTorch's threads if it is."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(idle_cores())
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
