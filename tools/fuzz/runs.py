"""Folders of finished and of interrupted runs whose files were damaged."""

import atexit
import contextlib
import functools
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

from . import harness, tables, yaml_files
from .harness import BYTES, Case, Silent, cxr, pick, target
from .images import write_chexpert


@functools.cache
def trained():
    """A run of one epoch, made once, and the arguments it was made from."""
    base, training = Path(tempfile.mkdtemp(prefix="fuzz-")), cxr("training")
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    os.environ.setdefault("CXR_CACHE", str(base / "cache"))
    write_chexpert(base / "data", images=True)
    track, paper = cxr("data").open_track(base / "data"), cxr("hierarchy").paper_hierarchy()
    made_from = (track, paper, training.Settings(size=32, epochs=1, batch_size=8))
    with contextlib.redirect_stderr(io.StringIO()):
        return training.train(*made_from, name="tiny", runs=base / "runs"), made_from


def copied_run(place):
    run, made_from = trained()
    return run, Path(shutil.copytree(run.folder, place / run.folder.name)), made_from


def damaged(path, rng, planted, parts=()):
    """Damage a checkpoint as bytes or as weights, lose one of its ``parts``, or plant in it what
    makes a folder if it is run; returns how."""
    import torch

    bomb = type("Bomb", (), {"__reduce__": lambda self: (os.mkdir, (str(planted),))})()
    content = torch.load(path, map_location="cpu", weights_only=True)
    weights = content["state_dict"]
    key = pick(rng, [name for name in weights if weights[name].is_floating_point()])

    def number(value):
        return lambda: weights[key][(0,) * weights[key].ndim].fill_(value)

    kinds = {
        "NaN": number(harness.NAN),
        "inf": number(harness.INF),
        "weights lost": lambda: weights.pop(key),
        "shape": lambda: weights.update({key: torch.zeros(3, 5)}),
        "more": lambda: weights.update({"model.more": torch.zeros(1)}),
        "bomb": lambda: bomb,
        "bomb inside": lambda: weights.update({key: bomb}),
        "list": lambda: [1],
        "none": lambda: {},
        **{f"{part} lost": lambda part=part: content.pop(part) and None for part in parts},
    }
    what = pick(rng, (*kinds, *("a bit flipped",) * 6, *BYTES))
    if what in BYTES:
        path.write_bytes(BYTES[what](path.read_bytes(), rng))
    else:
        other = kinds[what]()
        torch.save(other if what in ("bomb", "list", "none") else content, path)
    return what


def weights_differ(got, want):
    got, want = got.state_dict(), want.state_dict()
    same = got.keys() == want.keys() and all(got[name].equal(want[name]) for name in want)
    return None if same else "other weights than were saved"


def checkpoint_case(path, what, read, run, planted, verdict="either"):
    def call():
        try:
            return read()
        finally:
            if planted.exists():
                raise Silent("code from the checkpoint was run")

    verdict = "accept" if what == "as it is" else verdict if what in BYTES else "refuse"
    return Case(f"{path.name}: {what}", call, re.escape(path.name),
                lambda model: weights_differ(model, run.model(path.stem)), verdict)  # fmt: skip


@target(300)
def checkpoint(rng, place):
    run, folder, _ = copied_run(place)
    path, planted = pick(rng, sorted(folder.glob("*.ckpt"))), place / "planted"
    what = damaged(path, rng, planted)
    read = lambda: cxr("training").find_run(folder).model(path.stem)  # noqa: E731
    return checkpoint_case(path, what, read, run, planted)


@target(30)
def resume(rng, place):
    """A training that stopped before it was finished, and whose last.ckpt was damaged since: it
    must say so, and not train anew or go on as if nothing had been."""
    run, folder, made_from = copied_run(place)
    (folder / "run.json").unlink()
    path, parts = folder / "last.ckpt", ("callbacks", "loops", "optimizer_states", "state_dict")
    what, verdict = damaged(path, rng, place / "planted", parts), "either"
    try:
        cxr("training").read_checkpoint(path)
    except ValueError:
        verdict = "refuse"
    folder.rename(place / f".{folder.name}.partial")
    read = lambda: cxr("training").train(*made_from, "tiny", place).model("last")  # noqa: E731
    return checkpoint_case(path, what, read, run, place / "planted", verdict)


@target(300)
def record(rng, place):
    run, folder, _ = copied_run(place)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".csv"))
    path, what = pick(rng, files), "gone"
    if rng.random() < 0.05:
        path.unlink()
    else:
        what = (tables if path.suffix == ".csv" else yaml_files).spoil(path, rng)
    call = {
        "find_run": lambda: cxr("training").find_run(folder),
        "model_card": lambda: cxr("card").model_card(folder, resamples=5),
        "read_config": lambda: cxr("configs").read_config(folder / "config.yaml"),
    }
    action = pick(rng, tuple(call))

    def wrong(answer):
        if action == "model_card":
            return None if answer.startswith("# Model card") else answer[:40]
        if path.name in ("hierarchy.yaml", "predictions.csv") and answer.settings != run.settings:
            return "other settings, though their file was not touched"
        if action == "find_run" and any(kind.kind != "f" for kind in answer.curves.dtypes):
            return f"curves of {answer.curves.dtypes.unique()}"

    names = rf"{re.escape(path.name)}|{re.escape(folder.name)}"
    return Case(f"{action}: {path.name}: {what}", call[action], names, wrong)
