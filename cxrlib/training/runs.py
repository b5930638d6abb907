"""A run: what decides it, and the folder that keeps it.

The folder's name ends in ten digits that follow from everything that decides the result: settings,
hierarchy, the trainer's arguments, the labels and every grey level of the images, the weights it
starts from, and ``RECIPE``. The code does not count, but where it has changed since, that is said.
"""

import hashlib
import json
import os
import re
import warnings
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from cxrlib.hierarchy import Hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training.checkpoints import RunError, load_model
from cxrlib.training.methods import make_readout
from cxrlib.training.settings import Settings, decisive

LATER = {"head": "paper", "small_epochs": 0}
"""Settings that came when there were runs already, and the value that these had without a word."""

RECIPE = 1
"""Raise it when the same settings and data are to give another result: earlier runs are then other
runs. (After a mere rewording they need not be trained again.)"""

_DECIDE = ("labels", "penalties", "losses", "models", "hierarchy/*", "data/*", "training/*")
_SOURCE = [f for name in _DECIDE for f in sorted(Path(__file__).parents[1].glob(f"{name}.py"))]
CODE = hashlib.sha256(b"".join(file.read_bytes() for file in _SOURCE)).hexdigest()[:10]
"""Ten digits of the source that trains, as it was when this module was loaded."""


def check_name(name):
    """Refuse a name that would leave the folder for runs."""
    if not re.fullmatch(r"\w[\w. -]{0,100}", name):
        raise ValueError(f"name={name!r}: expected letters, digits, '-', '_' and '.'.")


@dataclass(frozen=True)
class Experiment:
    """All that decides a result, and how to say it again.

    ``data`` is a ``ChestData``; ``trainer`` are the arguments for Lightning's; ``start`` is the
    checkpoint of the weights to start from, or None.
    """

    name: str
    settings: Settings
    data: object
    trainer: dict
    start: Path | None = None

    @cached_property
    def record(self):
        """What decides the result, as JSON can hold it."""
        said = asdict(self.settings).items()
        return {
            "recipe": RECIPE,
            "settings": {name: value for name, value in said if (name, value) not in LATER.items()},
            "hierarchy": self.data.hierarchy.to_dict(),
            "trainer": decisive(self.trainer),
            "data": data_fingerprint(self.data),
            "start": _digits(self.start.read_bytes()) if self.start else None,
        }

    def folder(self, runs):
        """Where the run is kept: its name, and ten digits that follow from the record."""
        check_name(self.name)
        identity = _digits(json.dumps(self.record, sort_keys=True).encode())
        return Path(runs).absolute() / f"{self.name}-{identity}"

    def write(self, folder):
        """Write ``config.yaml`` and what it refers to: the run can be made again from these."""
        opened, kept = self.data.track.opened, {"accelerator", *decisive(self.trainer)}
        config = {
            "name": self.name,
            "data": {**opened, "hierarchy": "hierarchy.yaml", "workers": self.data.workers},
            "settings": asdict(self.settings),
            "trainer": {name: value for name, value in self.trainer.items() if name in kept},
        }
        if self.start:
            config["start"] = "start.ckpt"
            write_whole(folder / "start.ckpt", self.start.read_bytes())
        self.data.hierarchy.to_yaml(folder / "hierarchy.yaml")
        text = yaml.safe_dump(config, sort_keys=False)
        write_whole(folder / "config.yaml", text.encode())


def data_fingerprint(data):
    """Ten digits of the labels, splits and grey levels that a run learns from and is tested on."""
    table = data.track.table[["path", "patient", "split", *OBSERVATIONS]]
    digest = hashlib.sha256(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    for split in ("train", "valid", "test"):
        if not data.track.split(split).empty:
            dataset = data.dataset(split)
            digest.update(dataset.map.fingerprint(dataset.rows).encode())
    return digest.hexdigest()[:10]


def _digits(content):
    return hashlib.sha256(content).hexdigest()[:10]


def write_whole(path, content):
    """Write bytes so that the file is there whole or not at all."""
    beside = path.with_name(f"{path.name}.tmp")
    beside.write_bytes(content)
    os.replace(beside, path)


# --- The folder -----------------------------------------------------------------------------------


def is_finished(folder):
    """Whether a folder holds a finished run."""
    return (folder / "run.json").is_file()


@dataclass(frozen=True)
class Run:
    """A finished training run.

    ``folder`` holds ``best-auroc.ckpt``, ``best-loss.ckpt``, ``last.ckpt``, ``curves.csv``,
    ``config.yaml`` and ``hierarchy.yaml`` (to make it again), ``predictions.csv`` (of the valid and
    test images, see ``predictions_table``) and ``run.json``. ``curves`` is a table by epoch;
    ``seconds`` is what training took.
    """

    folder: Path
    settings: Settings
    hierarchy: Hierarchy
    curves: pd.DataFrame
    seconds: float

    def model(self, checkpoint="best-auroc"):
        """The trained model in evaluation mode: "best-auroc", "best-loss" or "last"."""
        return load_model(self.folder / f"{checkpoint}.ckpt", self.settings, self.hierarchy)

    @property
    def readout(self):
        """The module that turns this run's logits into probabilities."""
        return make_readout(self.settings, self.hierarchy)


def read_record(folder):
    """The content of a run's ``run.json``; ``RunError`` if it is damaged."""
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise FileNotFoundError(f"{folder}: no finished run here (run.json is missing).")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        Settings(**record["settings"])
        Hierarchy.from_dict(record["hierarchy"])
        float(record["seconds"]), dict(record["versions"]), dict(record["trainer"])
        "".join(record[name] for name in ("name", "code", "data", "track", "device"))
        int(record["threads"]), int(record["recipe"]), record["started_from"]
        return record
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path}: not the record of a run ({error!r}). Get the file again from where it came, "
            "or train the run again under another name."
        ) from error


def find_run(folder, hierarchy=None):
    """Read a finished run from its folder.

    ``hierarchy`` is the one that it must have been trained with; None for whichever it was.

    Raises
    ------
    FileNotFoundError
        There is no finished run.
    RunError
        It was trained with another hierarchy, or a file in it is damaged.
    """
    folder = Path(folder)
    record = read_record(folder)
    own = Hierarchy.from_dict(record["hierarchy"])
    if hierarchy is not None and hierarchy != own:
        what = "labels" if hierarchy.labels != own.labels else "edges or rules"
        raise RunError(
            f"{folder}: this run was trained with other {what} than those given. Its hierarchy is "
            "in hierarchy.yaml there; find_run(folder) takes that one."
        )
    try:
        curves = pd.read_csv(folder / "curves.csv", index_col="epoch").astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder / 'curves.csv'}: not readable ({error}).") from error
    if record["code"] != CODE:
        warnings.warn(
            f"{folder.name} was trained by another version of the code (cxrlib "
            f"{record['versions'].get('cxrlib')}, recipe {record['recipe']}). If the change could "
            "matter, train it again under another name, or raise cxrlib.training.RECIPE.",
            stacklevel=2,
        )
    return Run(folder, Settings(**record["settings"]), own, curves, float(record["seconds"]))
