"""A run's folder."""

import ast
import functools
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch

from cxrlib import models
from cxrlib.data import (
    DataError,
)
from cxrlib.training.methods import make_readout
from cxrlib.training.settings import Settings

RUNS = Path(__file__).resolve().parent.parent / "runs"


@dataclass(frozen=True)
class Run:
    """A finished training run.

    ``folder`` holds ``best-auroc.ckpt``, ``best-loss.ckpt``, ``last.ckpt``, ``curves.csv``,
    ``config.yaml``, ``predictions.csv`` (of the valid and test images, see ``predictions_table``)
    and ``run.json``. ``curves`` is a table by epoch; ``seconds`` is what training took.
    """

    folder: Path
    settings: Settings
    hierarchy: object
    curves: pd.DataFrame
    seconds: float

    def model(self, checkpoint="best-auroc"):
        """The trained model in evaluation mode: "best-auroc", "best-loss" or "last"."""
        return load_model(self.folder / f"{checkpoint}.ckpt", self.settings, self.hierarchy)

    @property
    def readout(self):
        """The module that turns this run's logits into probabilities."""
        return make_readout(self.settings, self.hierarchy)


def load_model(path, settings, hierarchy):
    """Load a model from a checkpoint without running code from it (``weights_only``)."""
    path = Path(path)
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in path.parent.glob("*.ckpt"))) or "none"
        raise FileNotFoundError(f"{path}: no such checkpoint. There are: {found}.")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    model = models.build(settings.preset, len(hierarchy.labels), settings.dropout)
    prefix = "model."
    model.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    return model.eval()


def _start_checkpoint(start):
    """The file to start from: a run's best weights by AUROC, or the path that was given."""
    return start.folder / "best-auroc.ckpt" if isinstance(start, Run) else Path(start)


def load_start(path, settings, hierarchy):
    """The model of a checkpoint, to be trained on; ``ValueError`` if it is another kind of model.

    What the checkpoint was trained as stands in the ``run.json`` beside it; without one, its
    weights must have the shapes of a model of this preset with as many labels.
    """
    record = path.parent / "run.json"
    if record.is_file():
        was = json.loads(record.read_text(encoding="utf-8"))
        if was["settings"]["preset"] != settings.preset:
            raise ValueError(
                f"{path}: its preset is {was['settings']['preset']!r}, this training's is "
                f"{settings.preset!r}. Start from a run of the same preset, or change the setting."
            )
        if was["labels"] != list(hierarchy.labels):
            odd = sorted(set(was["labels"]) ^ set(hierarchy.labels))
            raise ValueError(
                f"{path}: trained on other labels than these: "
                + (f"only one of the two has {', '.join(odd)}" if odd else "their order differs")
                + ". Start from a run with this hierarchy, or train with that run's hierarchy."
            )
    try:
        return load_model(path, settings, hierarchy).train()
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: its weights do not fit the preset {settings.preset!r} with "
            f"{len(hierarchy.labels)} labels ({error}). Start from a model of that kind."
        ) from error


def run_folder(data, settings, name="run", runs=RUNS, start=None):
    """Where a run is kept: its name and its fingerprint."""
    return Path(runs).absolute() / f"{name}-{fingerprint(data, settings, start)}"


OWNER = "owner.txt"


def workplace(folder):
    """A hidden folder beside the run's to train in; what an interrupted training left is in it.

    If another process is training the same run right now, a folder of our own.
    """
    place = folder.with_name(f".{folder.name}.partial")
    try:
        owner = int((place / OWNER).read_text())
    except (OSError, ValueError):
        owner = None
    if owner not in (None, os.getpid()) and psutil.pid_exists(owner):
        place = place.with_name(f"{place.name}-{os.getpid()}")
    place.mkdir(parents=True, exist_ok=True)
    (place / OWNER).write_text(str(os.getpid()))
    return place


def publish(place, folder):
    """Put a finished folder in place; if another process was quicker, its result is the same."""
    (place / OWNER).unlink()
    try:
        place.rename(folder)
    except OSError:
        if not (folder / "run.json").is_file():
            raise
        shutil.rmtree(place)


def find_run(folder, hierarchy):
    """Read a finished run from its folder."""
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{folder}: no finished run here (run.json is missing).")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if record["labels"] != list(hierarchy.labels):
        raise ValueError(f"{folder}: this run was trained on other labels: {record['labels']}.")
    curves = pd.read_csv(folder / "curves.csv", index_col="epoch")
    return Run(folder, Settings(**record["settings"]), hierarchy, curves, record["seconds"])


def fingerprint(data, settings, start=None):
    """Ten hexadecimal digits that change with the settings, the data or the code of training.

    And with the weights it starts from: ``start`` is the path of their checkpoint, or None.
    Comments and docstrings are not code.
    """
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    digest.update(data_fingerprint(data).encode())
    for module in ("labels", "hierarchy", "penalties", "losses", "data", "models", "training"):
        digest.update(_code(Path(__file__).parent / f"{module}.py"))
    if start is not None:
        digest.update(start.read_bytes())
    return digest.hexdigest()[:10]


def data_fingerprint(data):
    """Ten hexadecimal digits of the table, the hierarchy and the sizes of the image files.

    The sizes tell a cohort that was written anew from an older one at little cost; an image that
    was changed to another of exactly the same size is not noticed.
    """
    digest = hashlib.sha256(repr((data.hierarchy, data.track.name)).encode())
    table = data.track.table
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    try:
        sizes = [(data.track.folder / path).stat().st_size for path in table["path"]]
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such image. Check that the download is complete."
        ) from error
    digest.update(np.array(sizes).tobytes())
    return digest.hexdigest()[:10]


@functools.cache
def _code(path):
    """A module without its comments and docstrings, as bytes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not _is_text(part)]
    return ast.dump(tree).encode()


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
