"""Training: the LightningModule, and one call that trains, keeps and finds again.

``train()`` writes a folder below ``runs/`` whose name holds a fingerprint of everything that
decides the result: the settings, the data, the weights it starts from and this package's code. A
run that is there is loaded instead of trained again.
"""

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
import pytorch_lightning as pl
import torch
from IPython import get_ipython
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.seed import isolate_rng
from torch import nn
from torchmetrics.classification import BinaryAUROC
from tqdm import tqdm

from cxrlib import models
from cxrlib.data import ChestData, ChestDataset, DataError, to_float, train_transforms
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import BCELoss, HierarchicalBCELoss
from cxrlib.penalties import data_driven_penalties, fixed_penalties

RUNS = Path(__file__).resolve().parent.parent / "runs"
LOSSES = ("flat", "hbce-step", "hbce-hinge", "hbce-product")
RECIPES = ("workshop", "paper")
AUGMENTATIONS = {
    "none": to_float,
    "chest": train_transforms,
    "strong": functools.partial(train_transforms, 10.0, 0.1, 0.25, 0.3, 0.3, erase=0.5),
}


@dataclass(frozen=True)
class Settings:
    """Everything about a training run that is not data.

    Attributes
    ----------
    loss : "flat", or "hbce-" and a form of ``losses.HierarchicalBCELoss``.
    penalties : "fixed" (0.5 on every edge) or "data-driven"; ignored by "flat".
    weight : of the penalty term.
    preset, size : the model, and the side of its images in pixels.
    equalize : whether every image's histogram is made even first (the paper's are not).
    recipe : "workshop", AdamW on a one-cycle schedule over ``epochs``; or "paper", Adam at a rate
        that is multiplied by 0.9 when the validation loss stands still for more than an epoch;
        after 10 such epochs training stops.
    augment : "none"; "chest" for ``data.train_transforms()``; or "strong", more of it, for models
        that must do on other hospitals' images.
    epochs : how many there are at most.
    batch_size, lr : images a step, and the (highest) learning rate.
    dropout : in the head.
    seed : of initialisation, order, augmentation and dropout.
    """

    loss: str = "flat"
    penalties: str = "fixed"
    weight: float = 1.0
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
            "loss": LOSSES,
            "penalties": ("fixed", "data-driven"),
            "preset": models.PRESETS,
            "recipe": RECIPES,
            "augment": AUGMENTATIONS,
        }.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose one of {', '.join(choices)}."
                )
        for name in ("size", "epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected a number above 0.")


PAPER = Settings(
    loss="hbce-step", penalties="fixed", preset="densenet121", size=320, equalize=False,
    recipe="paper",
    augment="chest", epochs=100, batch_size=16, lr=1e-4,
)  # fmt: skip
"""The published settings (arXiv 2502.03591), but for the flips in its augmentation."""


def make_loss(settings, hierarchy, targets):
    """The loss that ``settings`` names; data-driven penalties are counted on ``targets``."""
    if settings.loss == "flat":
        return BCELoss()
    if settings.penalties == "fixed":
        penalties = fixed_penalties(hierarchy)
    else:
        penalties = data_driven_penalties(hierarchy, targets)
    form = settings.loss.removeprefix("hbce-")
    return HierarchicalBCELoss(hierarchy, penalties, form=form, weight=settings.weight)


class Classifier(pl.LightningModule):
    """A model and a loss, with the optimiser and schedule of a recipe.

    Logs ``train_loss`` (mean over the epoch), ``val_loss`` and ``val_auroc``: the macro mean over
    the labels that have both classes among the validation images.
    """

    def __init__(self, model, loss, recipe="workshop", lr=2e-3, steps=None):
        super().__init__()
        self.model = model
        self.loss = loss
        self.recipe = recipe
        self.lr = lr
        self.steps = steps
        num_labels = model.head.logits.out_features
        # One metric a label: with no known target at all, a label has none to compute.
        self.aurocs = nn.ModuleList(BinaryAUROC(ignore_index=-1) for _ in range(num_labels))
        self.register_buffer("seen", torch.zeros(2, num_labels, dtype=torch.bool), persistent=False)

    def forward(self, images):
        return self.model(images)

    def training_step(self, batch, _):
        images, targets = batch
        loss = self.loss(self(images.contiguous(memory_format=torch.channels_last)), targets)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def on_validation_epoch_start(self):
        self.seen.zero_()

    def validation_step(self, batch, _):
        images, targets = batch
        logits = self(images.contiguous(memory_format=torch.channels_last))
        self.log("val_loss", self.loss(logits, targets), batch_size=len(images), sync_dist=True)
        truth = torch.where(targets.isnan(), -1, (targets > 0.5).int())
        self.seen |= torch.stack([(truth == 0).any(dim=0), (truth == 1).any(dim=0)])
        for label, metric in enumerate(self.aurocs):
            metric.update(logits[:, label].sigmoid(), truth[:, label])

    def on_validation_epoch_end(self):
        # Labels seen with both classes, on whichever process saw them.
        defined = self.all_gather(self.seen).reshape(-1, *self.seen.shape).any(dim=0).all(dim=0)
        per_label = [self.aurocs[label].compute() for label in defined.nonzero().flatten()]
        self.log("val_auroc", torch.stack(per_label).mean() if per_label else torch.nan)
        for metric in self.aurocs:
            metric.reset()

    def configure_optimizers(self):
        if self.recipe == "paper":
            optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=0.9, patience=1, min_lr=1e-8
            )
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"},
            }
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.01)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class EpochProgress(pl.Callback):
    """A bar of training steps where a person watches; a line an epoch where a log is written."""

    def __init__(self, name):
        self.name = name
        self.watched = sys.stderr.isatty() or get_ipython() is not None

    def on_train_start(self, trainer, _):
        steps = trainer.max_epochs * trainer.num_training_batches
        self.bar = tqdm(total=steps, desc=self.name, unit="step", disable=not self.watched)

    def on_train_batch_end(self, *_):
        self.bar.update()

    def on_train_epoch_end(self, trainer, _):
        shown = {name: f"{trainer.callback_metrics[name]:.3f}" for name in CURVES}
        self.bar.set_postfix(epoch=trainer.current_epoch + 1, **shown)
        if not self.watched:
            numbers = "  ".join(f"{name} {value}" for name, value in shown.items())
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"{self.name}: epoch {epoch}  {numbers}", file=sys.stderr, flush=True)

    def on_train_end(self, *_):
        self.bar.close()

    def on_exception(self, *_):
        if hasattr(self, "bar"):
            self.bar.close()


CURVES = ("train_loss", "val_loss", "val_auroc")


@dataclass(frozen=True)
class Run:
    """A finished training run.

    ``folder`` holds ``best-auroc.ckpt``, ``best-loss.ckpt``, ``last.ckpt``, ``curves.csv`` and
    ``run.json``. ``curves`` is a table by epoch; ``seconds`` is what training took.
    """

    folder: Path
    settings: Settings
    hierarchy: object
    curves: pd.DataFrame
    seconds: float

    def model(self, checkpoint="best-auroc"):
        """The trained model in evaluation mode: "best-auroc", "best-loss" or "last"."""
        return load_model(self.folder / f"{checkpoint}.ckpt", self.settings, self.hierarchy)


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


def make_data(track, hierarchy, settings):
    """The track's loaders, as ``settings`` wants them; small images are kept in memory."""
    return ChestData(
        track,
        hierarchy,
        size=settings.size,
        batch_size=settings.batch_size,
        augment=AUGMENTATIONS[settings.augment](),
        in_memory=_fit_in_memory(track, settings),
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
        The run could not be written; nothing of it is left.
    """
    settings = settings or Settings()
    data = make_data(track, hierarchy, settings)
    start = _start_checkpoint(start) if start is not None else None
    if start is not None:
        load_start(start, settings, hierarchy)  # before anything is written
    folder = Path(runs) / f"{name}-{fingerprint(data, settings, start)}"
    if not (folder / "run.json").is_file():
        partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            _fit(data, settings, name, partial, start)
            _rename(partial, folder)
        except OSError as error:
            raise OSError(
                f"{folder}: the run could not be written ({error}). Is the disk full, or the "
                "folder not writable? Train again when that is mended."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return find_run(folder, hierarchy)


def _rename(partial, folder):
    """Put a finished folder in place; if another process was quicker, its result is the same."""
    try:
        partial.rename(folder)
    except OSError:
        if not (folder / "run.json").is_file():
            raise


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
    folder.mkdir(parents=True)
    began = time.perf_counter()
    with quiet_lightning(), isolate_rng():
        pl.seed_everything(settings.seed, verbose=False)
        if start is None:
            model = models.build(settings.preset, len(data.hierarchy.labels), settings.dropout)
        else:
            model = load_start(start, settings, data.hierarchy)
        model = model.to(memory_format=torch.channels_last)
        loss = make_loss(settings, data.hierarchy, data.targets("train"))
        steps = settings.epochs * len(data.train_dataloader())
        classifier = Classifier(model, loss, settings.recipe, settings.lr, steps)
        trainer = make_trainer(settings, folder, name)
        trainer.fit(classifier, data)
    curves = pd.read_csv(folder / "metrics.csv").groupby("epoch")[list(CURVES)].first()
    curves.index += 1
    curves.to_csv(folder / "curves.csv")
    record = {
        "name": name,
        "settings": asdict(settings),
        "labels": list(data.hierarchy.labels),
        "data": repr(data.track),
        "start": f"{start.parent.name}/{start.name}" if start is not None else None,
        "versions": {"torch": torch.__version__, "pytorch_lightning": pl.__version__},
        "seconds": round(time.perf_counter() - began, 1),
    }
    (folder / "run.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


def make_trainer(settings, folder, name):
    """A Lightning trainer with two checkpoints, curves in a CSV file, and early stopping."""
    callbacks = [
        ModelCheckpoint(folder, "best-auroc", "val_auroc", mode="max", save_weights_only=True),
        ModelCheckpoint(folder, "best-loss", "val_loss", mode="min", save_weights_only=True),
        ModelCheckpoint(folder, "last", save_weights_only=True),
        EpochProgress(name),
    ]
    if settings.recipe == "paper":
        callbacks.append(EarlyStopping("val_loss", patience=10))
    return pl.Trainer(
        max_epochs=settings.epochs,
        devices=1,  # a notebook and a test must not start other processes
        callbacks=callbacks,
        logger=CSVLogger(folder, name="", version=""),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


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
    """
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    digest.update(repr((data.hierarchy, data.track.name)).encode())
    table = data.track.table
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    # The sizes of the images tell a regenerated cohort from an older one at little cost.
    try:
        sizes = [(data.track.folder / path).stat().st_size for path in table["path"]]
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename}: no such image. Check that the download is complete."
        ) from error
    digest.update(np.array(sizes).tobytes())
    for module in ("labels", "hierarchy", "penalties", "losses", "data", "models", "training"):
        digest.update((Path(__file__).parent / f"{module}.py").read_bytes())
    if start is not None:
        digest.update(start.read_bytes())
    return digest.hexdigest()[:10]


@torch.inference_mode()
def predict(model, dataset, labels, batch_size=128):
    """Score every image of a dataset.

    Parameters
    ----------
    model : from images [B, 1, H, W] to logits [B, L].
    dataset : ChestDataset (not shuffled).
    labels : the names of the L columns.

    Returns
    -------
    DataFrame [N, L] of probabilities, in the dataset's order.
    """
    model.eval()
    device = next(model.parameters()).device
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size)
    batches = [
        model(images.to(device).contiguous(memory_format=torch.channels_last)).sigmoid().cpu()
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
    scores = predict(run.model(), dataset, run.hierarchy.labels)
    return scores.set_index(track.table.index)
