"""One call that trains, keeps and finds again."""

import json
import shutil
import time
from dataclasses import asdict

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities.seed import isolate_rng

from cxrlib.data import (
    ChestData,
)
from cxrlib.training.module import Classifier, make_callbacks, quiet_lightning
from cxrlib.training.runs import (
    RUNS,
    _start_checkpoint,
    data_fingerprint,
    find_run,
    load_model,
    load_start,
    publish,
    run_folder,
    workplace,
)
from cxrlib.training.scores import predictions_table
from cxrlib.training.settings import AUGMENTATIONS, Settings, _fit_in_memory


def make_data(track, hierarchy, settings, workers=0):
    """The track's loaders, as ``settings`` wants them; small images are kept in memory."""
    return ChestData(
        track,
        hierarchy,
        size=settings.size,
        batch_size=settings.batch_size,
        augment=AUGMENTATIONS[settings.augment](),
        augment_valid=settings.augment == "published",
        in_memory=_fit_in_memory(track, settings),
        workers=workers,
        seed=settings.seed,
        equalize=settings.equalize,
    )


def train(track, hierarchy, settings=None, name="run", runs=RUNS, start=None):
    """Train a model, or find the run if it was trained before.

    Parameters
    ----------
    track : Track; its train split is learnt, its valid split decides which epoch is best.
    hierarchy : Hierarchy
    settings : Settings; the workshop's by default.
    name : what to call it, in the progress bar and in the folder's name.
    runs : the folder to keep runs in.
    start : what to start from instead of random weights: a ``Run`` (its best weights by AUROC) or
        the path of a checkpoint, of the same preset and labels. The size of images may differ.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        ``start`` has another preset or other labels.
    DataError
        A split is empty or an image is missing.
    OSError
        The run could not be written.
    """
    settings = settings or Settings()
    data = make_data(track, hierarchy, settings)
    start = _start_checkpoint(start) if start is not None else None
    if start is not None:
        load_start(start, settings, hierarchy)  # before anything is written
    folder = run_folder(data, settings, name, runs, start)
    if not (folder / "run.json").is_file():
        place = None
        try:
            place = workplace(folder)
            _fit(data, settings, name, place, start)
            publish(place, folder)
        except OSError as error:
            raise OSError(
                f"{folder}: the run could not be written ({error}). Is the disk full, or the "
                "folder not writable? When that is mended, train again: it goes on with the epoch "
                "that was not finished."
            ) from error
        except Exception:
            shutil.rmtree(place, ignore_errors=True)
            raise
    return find_run(folder, hierarchy)


def _fit(data, settings, name, folder, start):
    with quiet_lightning(), isolate_rng():
        pl.seed_everything(settings.seed, verbose=False)
        model = load_start(start, settings, data.hierarchy) if start is not None else None
        classifier = Classifier(settings, data.hierarchy, model)
        trainer = pl.Trainer(
            max_epochs=settings.epochs,
            devices=1,  # a notebook and a test must not start other processes
            callbacks=make_callbacks(settings, folder, name),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        fit_and_record(trainer, classifier, data, folder, name, start)


def fit_and_record(trainer, classifier, data, folder, name, start=None):
    """Train, going on from ``last.ckpt`` if it is there, and write what a run's folder holds."""
    settings, began = classifier.settings, time.perf_counter()
    last = folder / "last.ckpt"
    resumed = last.is_file()
    trainer.fit(classifier, datamodule=data, ckpt_path=last if resumed else None, weights_only=True)
    seconds = round(time.perf_counter() - began, 1)
    if not trainer.is_global_zero:
        return
    model = load_model(folder / "best-auroc.ckpt", settings, data.hierarchy).to(classifier.device)
    table = predictions_table(model, data, classifier.readout.to(classifier.device))
    table.to_csv(folder / "predictions.csv", index=False)
    config = yaml.safe_dump({"name": name, "settings": asdict(settings)}, sort_keys=False)
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    record = {
        "name": name,
        "settings": asdict(settings),
        "labels": list(data.hierarchy.labels),
        "data": repr(data.track),
        "data_fingerprint": data_fingerprint(data),
        "start": f"{start.parent.name}/{start.name}" if start is not None else None,
        "versions": {"torch": torch.__version__, "pytorch_lightning": pl.__version__},
        "seconds": seconds,
        "resumed": resumed,
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
