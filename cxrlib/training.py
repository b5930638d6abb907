"""Training: the LightningModule, and one call that trains, keeps and finds again.

``train()`` writes a folder below ``runs/`` whose name holds a fingerprint of everything that
decides the result: the settings, the data, the weights it starts from and this package's code. A
run that is there is loaded instead of trained again; one that was interrupted goes on with its next
epoch, and ends in the same weights as if it had not been.
"""

import ast
import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytorch_lightning as pl
import torch
import yaml
from IPython import get_ipython
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torchmetrics.classification import BinaryAUROC
from tqdm import tqdm

from cxrlib import models
from cxrlib.data import (
    ChestData,
    ChestDataset,
    DataError,
    published_transforms,
    to_float,
    train_transforms,
)
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import (
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties

RUNS = Path(__file__).resolve().parent.parent / "runs"
METHODS = (
    "flat",
    "smooth",
    "hbce-step",
    "hbce-hinge",
    "hbce-product",
    "max-constraint",
    "conditional",
)
RECIPES = ("workshop", "paper")
AUGMENTATIONS = {
    "none": to_float,
    "chest": train_transforms,
    "strong": functools.partial(train_transforms, 10.0, 0.1, 0.25, 0.3, 0.3, erase=0.5),
    "published": published_transforms,
}


@dataclass(frozen=True)
class Settings:
    """Everything about a training run that is not data.

    Attributes
    ----------
    method : "flat" for plain BCE; "smooth" for BCE with label smoothing; "hbce-step" (the paper's),
        "hbce-hinge" or "hbce-product" for a form of ``losses.HierarchicalBCELoss``;
        "max-constraint" or "conditional" for outputs that are coherent by construction.
    penalties : of the three hbce methods: "fixed" (0.5 on every edge) or "data-driven".
    weight : of their penalty term.
    smoothing : of "smooth": how far its targets move towards one half, see ``losses.BCELoss``.
    preset, size : the model, and the side of its images in pixels.
    equalize : whether every image's histogram is made even first (the paper's are not).
    recipe : "workshop", AdamW on a one-cycle schedule over ``epochs``; or "paper", Adam at a rate
        that is multiplied by 0.9 when the validation loss stands still for more than an epoch;
        after 10 such epochs training stops.
    augment : "none"; "chest" for ``data.train_transforms()``; "strong", more of it, for models that
        must do on other hospitals' images; or "published", the paper's, flips included, of the
        validation images too.
    epochs : how many there are at most.
    batch_size, lr : images a step, and the (highest) learning rate.
    dropout : in the head.
    seed : of initialisation, order, augmentation and dropout.

    Raises
    ------
    ValueError
        A word that is no choice, or a number out of range; the message names the field.
    """

    method: str = "flat"
    penalties: str = "fixed"
    weight: float = 1.0
    smoothing: float = 0.1
    preset: str = "tiny"
    size: int = 96
    equalize: bool = True
    recipe: str = "workshop"
    augment: str = "chest"
    epochs: int = 20
    batch_size: int = 32
    lr: float = 4e-3
    dropout: float = 0.5
    seed: int = 0

    def __post_init__(self):
        for name, choices in {
            "method": METHODS,
            "penalties": ("fixed", "data-driven"),
            "preset": models.PRESETS,
            "recipe": RECIPES,
            "augment": AUGMENTATIONS,
        }.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}."
                )
        for name, kind, low, high in (
            ("size", int, 1, 10_000),
            ("epochs", int, 1, 100_000),
            ("batch_size", int, 1, 100_000),
            ("seed", int, 0, 2**32 - 1),
            ("lr", int | float, 1e-15, 10),
            ("weight", int | float, 0, 1e6),
            ("smoothing", int | float, 0, 0.99),
            ("dropout", int | float, 0, 0.99),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= high:
                number = "a whole number" if kind is int else "a number"
                raise ValueError(f"{name}={value!r}: expected {number} from {low} to {high}.")


def make_loss(settings, hierarchy, targets):
    """The loss that ``settings`` names; data-driven penalties are counted on ``targets``."""
    if settings.method == "flat":
        return BCELoss()
    if settings.method == "smooth":
        return BCELoss(settings.smoothing)
    if settings.method == "max-constraint":
        return MaxConstraintLoss(hierarchy)
    if settings.method == "conditional":
        return ConditionalLoss(hierarchy)
    if settings.penalties == "fixed":
        penalties = fixed_penalties(hierarchy)
    else:
        penalties = data_driven_penalties(hierarchy, targets)
    form = settings.method.removeprefix("hbce-")
    return HierarchicalBCELoss(hierarchy, penalties, form=form, weight=settings.weight)


def make_readout(settings, hierarchy):
    """How the method's logits [B, L] become probabilities [B, L]: a module."""
    if settings.method == "max-constraint":
        return MaxConstraint(hierarchy)
    if settings.method == "conditional":
        return Conditional(hierarchy)
    return nn.Sigmoid()


class Classifier(pl.LightningModule):
    """A model, its loss and its readout, with the optimiser and schedule of a recipe.

    Logs ``train_loss`` (mean over the epoch), ``val_loss`` and ``val_auroc``: the macro mean over
    the labels that have both classes among the validation images.

    Parameters
    ----------
    settings : Settings
    hierarchy : Hierarchy
    model : from images to logits; by default, the preset of ``settings`` with random weights.
    """

    def __init__(self, settings, hierarchy, model=None):
        super().__init__()
        self.settings = settings
        self.hierarchy = hierarchy
        labels = len(hierarchy.labels)
        self.model = model or models.build(settings.preset, labels, settings.dropout)
        self.model.to(memory_format=torch.channels_last)
        self.readout = make_readout(settings, hierarchy)
        # One metric a label: with no known target at all, a label has none to compute.
        self.aurocs = nn.ModuleList(BinaryAUROC(ignore_index=-1) for _ in range(labels))
        self.register_buffer("seen", torch.zeros(2, labels, dtype=torch.bool), persistent=False)

    def setup(self, stage):
        # Only now are the training labels there, on which data-driven penalties are counted.
        targets = self.trainer.datamodule.targets("train")
        self.loss = make_loss(self.settings, self.hierarchy, targets).to(self.device)

    def forward(self, images):
        return self.model(images.contiguous(memory_format=torch.channels_last))

    def training_step(self, batch, _):
        images, targets = batch
        loss = self.loss(self(images), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def on_validation_epoch_start(self):
        self.seen.zero_()

    def validation_step(self, batch, _):
        images, targets = batch
        logits = self(images)
        self.log("val_loss", self.loss(logits, targets), batch_size=len(images), sync_dist=True)
        truth = torch.where(targets.isnan(), -1, (targets > 0.5).int())
        self.seen |= torch.stack([(truth == 0).any(dim=0), (truth == 1).any(dim=0)])
        scores = self.readout(logits)
        for label, metric in enumerate(self.aurocs):
            metric.update(scores[:, label], truth[:, label])

    def on_validation_epoch_end(self):
        # Labels seen with both classes, on whichever process saw them.
        defined = self.all_gather(self.seen).reshape(-1, *self.seen.shape).any(dim=0).all(dim=0)
        per_label = [self.aurocs[label].compute() for label in defined.nonzero().flatten()]
        self.log("val_auroc", torch.stack(per_label).mean() if per_label else torch.nan)
        for metric in self.aurocs:
            metric.reset()

    def configure_optimizers(self):
        lr = self.settings.lr
        if self.settings.recipe == "paper":
            optimizer = torch.optim.Adam(self.parameters(), lr=lr)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.9, patience=1, min_lr=1e-8
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
            }
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=0.01)
        steps = self.trainer.estimated_stepping_batches
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class EpochSeed(pl.Callback):
    """Give every epoch its own random numbers.

    Dropout and augmentation of an epoch then do not depend on the epochs before it: a training
    that is resumed at the start of an epoch goes on as if it had never stopped.
    """

    def __init__(self, seed):
        self.seed = seed

    def on_train_epoch_start(self, trainer, _):
        key = (self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


CURVES = ("train_loss", "val_loss", "val_auroc")


class Curves(pl.Callback):
    """Keep ``CURVES`` of every epoch in ``curves.csv``, and across interruptions."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.rows = []

    def on_train_epoch_end(self, trainer, _):
        row = {name: float(trainer.callback_metrics[name]) for name in CURVES}
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})
        if trainer.is_global_zero:
            pd.DataFrame(self.rows).to_csv(self.folder / "curves.csv", index=False)

    def state_dict(self):
        return {"rows": list(self.rows)}

    def load_state_dict(self, state):
        self.rows = list(state["rows"])


class EpochProgress(pl.Callback):
    """A bar of training steps where a person watches; a line an epoch where a log is written."""

    def __init__(self, name):
        self.name = name
        self.watched = sys.stderr.isatty() or get_ipython() is not None

    def on_train_start(self, trainer, _):
        self.bar = tqdm(
            total=trainer.max_epochs * trainer.num_training_batches,
            initial=trainer.global_step,
            desc=self.name,
            unit="step",
            disable=not (self.watched and trainer.is_global_zero),
        )

    def on_train_batch_end(self, *_):
        self.bar.update()

    def on_train_epoch_end(self, trainer, _):
        shown = {name: f"{trainer.callback_metrics[name]:.3f}" for name in CURVES}
        self.bar.set_postfix(epoch=trainer.current_epoch + 1, **shown)
        if not self.watched and trainer.is_global_zero:
            numbers = "  ".join(f"{name} {value}" for name, value in shown.items())
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"{self.name}: epoch {epoch}  {numbers}", file=sys.stderr, flush=True)

    def on_train_end(self, *_):
        self.bar.close()

    def on_exception(self, *_):
        if hasattr(self, "bar"):
            self.bar.close()


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


def _fit_in_memory(track, settings):
    return settings.size**2 * len(track.table) < 2e9


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


def make_callbacks(settings, folder, name):
    """What a Lightning trainer needs to leave the files of a run in ``folder``."""
    made = [EpochSeed(settings.seed), Curves(folder), EpochProgress(name)]
    if settings.recipe == "paper":
        made.append(EarlyStopping("val_loss", patience=10))
    keep = functools.partial(ModelCheckpoint, folder, enable_version_counter=False)
    return [
        *made,
        keep("best-auroc", "val_auroc", mode="max", save_weights_only=True),
        keep("best-loss", "val_loss", mode="min", save_weights_only=True),
        # The whole state, written when an epoch is over: what an interrupted run goes on from.
        keep("last", save_on_train_epoch_end=True),
    ]


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


@contextlib.contextmanager
def quiet_lightning():
    """Silence Lightning's notices about devices and loaders; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


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


@torch.inference_mode()
def predict(model, dataset, labels, readout=torch.sigmoid, batch_size=128):
    """Score every image of a dataset.

    Parameters
    ----------
    model : from images [B, 1, H, W] to logits [B, L].
    dataset : ChestDataset (not shuffled).
    labels : the names of the L columns.
    readout : from logits to probabilities; a run of "max-constraint" or "conditional" has its own
        (``run.readout``).

    Returns
    -------
    DataFrame [N, L] of probabilities, in the dataset's order.
    """
    model.eval()
    device = next(model.parameters()).device
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size)
    batches = [
        readout(model(images.to(device).contiguous(memory_format=torch.channels_last))).cpu()
        for images, _ in loader
    ]
    return pd.DataFrame(torch.cat(batches).numpy(), columns=list(labels))


def score(run, track):
    """Score every image of a track, whatever its split, with the best weights of a run.

    Returns
    -------
    DataFrame [N, L] of probabilities, with the index of ``track.table``.
    """
    targets = run.hierarchy.derive(track.table[list(OBSERVATIONS)])
    dataset = ChestDataset(
        track.table,
        track.folder,
        targets,
        run.settings.size,
        in_memory=_fit_in_memory(track, run.settings),
        equalize=run.settings.equalize,
    )
    scores = predict(run.model(), dataset, run.hierarchy.labels, run.readout)
    return scores.set_index(track.table.index)


def predictions_table(model, data, readout=torch.sigmoid):
    """What a model says of the valid and test images, beside what is true of them.

    Returns
    -------
    DataFrame with the columns ``Path``, ``patient``, ``split`` and, for every label, ``<label>_GT``
    (0, 1 or NaN) and ``<label>_Pred`` (0 … 1): the columns of the predictions that the paper's
    authors published.
    """
    parts = []
    for split in ("valid", "test"):
        rows = data.track.split(split)
        if rows.empty:
            continue
        truth = data.targets(split).reset_index(drop=True)
        scores = predict(model, data.dataset(split, plain=True), truth.columns, readout)
        about = rows[["path", "patient", "split"]].reset_index(drop=True)
        about = about.rename(columns={"path": "Path"})
        parts.append(about.join(truth.add_suffix("_GT")).join(scores.add_suffix("_Pred")))
    return pd.concat(parts, ignore_index=True)
