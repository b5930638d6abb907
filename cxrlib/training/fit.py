"""One call that trains a run, goes on with it, or finds it."""

import json
import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from pytorch_lightning.utilities.seed import isolate_rng

from cxrlib.cohort import package_version, wait_for_lock
from cxrlib.data.augment import AUGMENTATIONS
from cxrlib.data.batches import ChestData
from cxrlib.places import RUNS
from cxrlib.training.checkpoints import RunError, SafeCheckpoints, load_model, read_checkpoint
from cxrlib.training.methods import make_readout
from cxrlib.training.module import Classifier, make_callbacks, quiet_lightning
from cxrlib.training.runs import Experiment, Run, find_run, is_finished, write_whole
from cxrlib.training.scores import predictions_table
from cxrlib.training.settings import DEFAULTS, Settings, trainer_options


def make_data(track, hierarchy, settings, workers=0):
    """The track's loaders, as ``settings`` wants them."""
    return ChestData(
        track,
        hierarchy,
        size=settings.size,
        batch_size=settings.batch_size,
        augment=AUGMENTATIONS[settings.augment],
        augment_valid=settings.augment == "published",
        workers=workers,
        seed=settings.seed,
        equalize=settings.equalize,
        small_epochs=settings.small_epochs,
    )


def train(
    track, hierarchy, settings=None, name="run", runs=RUNS, start=None, trainer=None, workers=0
):
    """Train a model, go on with a training that was interrupted, or find the finished run.

    A training that is interrupted, by whatever, is kept: the same call goes on with the epoch that
    was not finished, and ends in the same bits. Two processes that want one run train it once.

    Parameters
    ----------
    track : Track; its train split is learnt, its valid split decides which epoch is best.
    hierarchy : Hierarchy
    settings : Settings; the workshop's by default.
    name : what to call it, in the progress bar and in the folder's name.
    runs : the folder to keep runs in.
    start : what to start from instead of new weights: a ``Run`` (its best weights by AUROC) or
        the path of a checkpoint, of the same preset and labels. The size of images may differ.
    trainer : arguments of Lightning's ``Trainer``, such as ``{"precision": "bf16-mixed"}``.
    workers : processes that load images; they do not change the result.

    Returns
    -------
    Run; None in the processes that only helped with it (``devices`` above 1), and after
    ``fast_dev_run``, which tries a few batches and keeps nothing.

    Raises
    ------
    ValueError
        An argument of the trainer that a run cannot follow, or ``start`` is another kind of model.
    DataError
        A split is empty, or an image is missing or unreadable.
    OSError
        A file could not be written or read. What was trained is kept.
    """
    experiment = plan(track, hierarchy, settings, name, start, trainer, workers)
    if experiment.trainer.get("fast_dev_run"):
        if _fit(experiment, None).is_global_zero:
            print(f"{name}: a few batches went well; after fast_dev_run nothing is kept.")
        return None
    folder = experiment.folder(runs)
    with _only_here(folder), as_many_threads():
        if folder.exists() and not is_finished(folder):
            raise RunError(f"{folder}: holds no finished run. Move it away, or complete it.")
        if not is_finished(folder) and not _fit_and_publish(experiment, folder):
            return None
    return find_run(folder, hierarchy)


def plan(track, hierarchy, settings=None, name="run", start=None, trainer=None, workers=0):
    """The ``Experiment`` that ``train`` would carry out; arguments as there."""
    settings = settings or Settings()
    options = trainer_options(trainer, settings)
    start = start.folder / "best-auroc.ckpt" if isinstance(start, Run) else start
    start = Path(start) if start is not None else None
    if start is not None:
        load_start(start, settings, hierarchy)
    data = make_data(track, hierarchy, settings, workers)
    return Experiment(name, settings, data, options, start)


@contextmanager
def as_many_threads(count=None):
    """Within it, ``count`` threads calculate; afterwards as many as before, whatever happened."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_helper():
    """Whether this process only helps another with a training (``devices`` above 1)."""
    return (rank_zero_only.rank or 0) > 0 or int(os.environ.get("NODE_RANK", 0)) > 0


def _only_here(folder):
    """While one process trains a run, others wait; processes of one training share its lock."""
    if _is_helper():
        return nullcontext()
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = f"{folder.name}: another process trains this run; waiting."
    return wait_for_lock(folder.with_name(f".{folder.name}.lock"), waiting)


def _fit_and_publish(experiment, folder):
    """Train in a hidden folder, and give it its name; False in a process that only helped."""
    place = folder.with_name(f".{folder.name}.partial")
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not _is_helper():
            experiment.write(place)
        trainer = _fit(experiment, place)
        if not trainer.is_global_zero:
            return False
        _record(experiment, place, trainer.strategy.root_device)
        os.replace(place, folder)
    except OSError as error:
        raise OSError(
            f"{folder}: the run could not be written, or its data not be read ({error}). When that "
            "is mended (is the disk full, or the folder not writable?), train again: it goes on "
            "with the epoch that was not finished."
        ) from error
    return True


def _fit(experiment, place):
    settings, last = experiment.settings, place and place / "last.ckpt"
    with quiet_lightning(), isolate_rng(), _switches_as_they_were():
        pl.seed_everything(settings.seed, verbose=False)
        start = experiment.start
        model = load_start(start, settings, experiment.data.hierarchy) if start else None
        classifier = Classifier(settings, experiment.data.hierarchy, model)
        trainer = pl.Trainer(
            **DEFAULTS | experiment.trainer,
            max_epochs=settings.epochs,
            callbacks=make_callbacks(settings, place, experiment.name) if place else None,
            plugins=[SafeCheckpoints()],
            use_distributed_sampler=False,
        )
        resumed = last if last and last.is_file() else None
        if resumed:
            load_model(resumed, settings, experiment.data.hierarchy)  # refused here if damaged
        experiment.data.first_epoch = len(_curves(resumed)["rows"]) if resumed else 0
        trainer.fit(classifier, datamodule=experiment.data, ckpt_path=resumed, weights_only=True)
    return trainer


def _record(experiment, place, device):
    """Score the images by the best weights, on the device that trained, and write what was done."""
    settings, data = experiment.settings, experiment.data
    model = load_model(place / "best-auroc.ckpt", settings, data.hierarchy).to(device)
    readout = make_readout(settings, data.hierarchy).to(device)
    predictions_table(model, data, readout).to_csv(place / "predictions.csv", index=False)
    curves = _curves(place / "last.ckpt")
    record = experiment.record | {
        "name": experiment.name,
        "started_from": "/".join(experiment.start.parts[-2:]) if experiment.start else None,
        "track": repr(data.track),
        "threads": curves["threads"],
        "device": ", then ".join(curves["devices"]),
        "seconds": round(curves["seconds"], 1),
        "code": " ".join(curves["codes"]),
        "versions": {
            "cxrlib": package_version(),
            "python": ".".join(map(str, sys.version_info[:3])),
            "torch": torch.__version__,
            "pytorch_lightning": pl.__version__,
        },
    }
    write_whole(place / "run.json", json.dumps(record, indent=2).encode())


@contextmanager
def _switches_as_they_were():
    """What a trainer switches in the whole process (deterministic, benchmark) is switched back."""
    deterministic, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    names = ("CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.benchmark = benchmark
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _curves(last):
    """What the callback ``Curves`` kept in a checkpoint from which a training can go on."""
    state = read_checkpoint(last)
    needed = ("callbacks", "state_dict", "loops", "optimizer_states", "lr_schedulers")
    try:
        callbacks, *_ = [state[name] for name in needed]
        return callbacks["Curves"]
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{last}: no training can go on from it ({error!r} is missing). Get the file again "
            "from where it came, or delete this one file to begin anew."
        ) from error


def load_start(path, settings, hierarchy):
    """The model of a checkpoint, to be trained on; ``RunError`` if it is another kind of model.

    What the checkpoint was trained as stands in the ``run.json`` beside it; without one, its
    weights must have the shapes of a model of this preset with as many labels.
    """
    if is_finished(path.parent):
        was = find_run(path.parent)
        for name in ("preset", "head"):
            theirs, ours = getattr(was.settings, name), getattr(settings, name)
            if theirs != ours:
                raise RunError(
                    f"{path}: its {name} is {theirs!r}, this training's is {ours!r}. Start from a "
                    f"run of the same {name}, or change the setting."
                )
        if was.hierarchy.labels != hierarchy.labels:
            odd = sorted(set(was.hierarchy.labels) ^ set(hierarchy.labels))
            raise RunError(
                f"{path}: trained on other labels than these: "
                + (f"only one of the two has {', '.join(odd)}" if odd else "their order differs")
                + ". Start from a run with this hierarchy, or train with that run's hierarchy."
            )
    return load_model(path, settings, hierarchy).train()
