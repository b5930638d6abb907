"""The reader of a run: the one that was kept beside it, or a new one."""

import sys
import warnings
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from cxrlib import places
from cxrlib.configs import read_config
from cxrlib.reading.files import ReadingError
from cxrlib.reading.reader import Reader
from cxrlib.training import RunError, find_run, read_record
from cxrlib.training.fit import make_data
from cxrlib.training.runs import data_fingerprint, is_finished


def find_reader(run=None, runs=places.RUNS):
    """The reader of a run, fitted now where that was not done yet.

    ``run`` is a run's folder; by default the course's own model, "pointing" (notebook 07), as its
    config has it, the last one that was trained. ``ReadingError`` says what is missing, and how to
    make it.
    """
    folder = Path(run) if run else _last("pointing", Path(runs))
    if not is_finished(folder):
        raise ReadingError(f"{folder}: no finished run (run.json is missing).")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the code has changed matters to those who train
        found = find_run(folder)
    try:
        with FileLock(folder / ".reader.lock"):  # a second process waits, and finds it
            if (reader := Reader.load(found)) is None:
                reader = _fit(found)
                reader.save()
            return reader
    except PermissionError:  # a folder that others may only read
        return Reader.load(found) or _fit(found)


def _fit(run):
    print(f"Fitting gate and limits of {run.folder.name}, once: some seconds.", file=sys.stderr)
    return Reader.fit(run, _own_data(run))


def _last(name, runs):
    own = [path.parent for path in runs.glob(f"{name}-*/run.json")]
    if not own:
        raise ReadingError(
            f"{runs}: no trained model called {name!r}. `make course` trains it, or "
            "`python -m cxrlib fit --config configs/pointing.yaml`, in some minutes."
        )
    settings = asdict(read_config(name).settings)  # another seed's only if there is no such
    as_it_is = [folder for folder in own if _settings_of(folder) == settings]
    return max(as_it_is or own, key=lambda folder: (folder / "run.json").stat().st_mtime)


def _settings_of(folder):
    with suppress(RunError):  # a damaged run is not the one; if there is no other, it says so
        return read_record(folder)["settings"]


def _own_data(run):
    """The data that a run was trained with; ``ReadingError`` if other images lie there now."""
    track, hierarchy = read_config(run.folder / "config.yaml").open()
    data = make_data(track, hierarchy, run.settings)
    if data_fingerprint(data) != read_record(run.folder)["data"]:
        raise ReadingError(
            f"{track.folder} no longer holds the images that {run.folder.name} was trained with, "
            "from which its limits come. Let CXR_DATA name the folder that does, or train it anew."
        )
    return data
