"""The LightningModule, and the callbacks that watch it learn."""

import builtins
import contextlib
import functools
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from torchmetrics.functional.classification import binary_auroc
from tqdm import tqdm

from cxrlib import models
from cxrlib.training.methods import make_loss, make_readout
from cxrlib.training.runs import CODE, write_whole

UNKNOWN = -1


class Classifier(pl.LightningModule):
    """A model, its loss and its readout, with the optimiser and schedule of a recipe.

    Logs ``train_loss`` (mean over the epoch), ``val_loss`` and ``val_auroc``: the macro mean over
    the labels that have both classes among the validation images. ``model``, from images to logits,
    is the preset of ``settings`` by default.
    """

    def __init__(self, settings, hierarchy, model=None):
        super().__init__()
        self.settings, self.hierarchy = settings, hierarchy
        shape = settings.preset, len(hierarchy.labels), settings.dropout, settings.weights
        self.model = model or models.build(*shape, settings.head)
        self.model.to(memory_format=torch.channels_last)
        if settings.compile:
            self.model.compile()
        self.readout = make_readout(settings, hierarchy)

    def setup(self, stage):
        # Only now are the training labels there, on which data-driven penalties are counted.
        targets = self.trainer.datamodule.targets("train")
        self.loss = make_loss(self.settings, self.hierarchy, targets).to(self.device)

    def forward(self, images):
        return self.model(images.contiguous(memory_format=torch.channels_last))

    def on_train_epoch_start(self):
        if hasattr(self.loss, "progress"):  # of a loss with two stages
            self.loss.progress = self.current_epoch / self.trainer.max_epochs

    def training_step(self, batch, _):
        images, targets = batch
        loss = self.loss(self(images).float(), targets)  # half the bits would blur small gaps
        size = len(images)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)
        return loss

    def on_validation_epoch_start(self):
        self.validated = []

    def validation_step(self, batch, _):
        images, targets = batch
        logits = self(images).float()
        known = ~targets.isnan()
        count = known.any(dim=1).sum()  # what fills up a process's share is no image
        truth = torch.where(known, (targets > 0.5).int(), UNKNOWN)
        loss = self.loss(logits, targets) * count
        self.validated.append((loss, count, self.readout(logits), truth))

    def on_validation_epoch_end(self):
        losses, counts, scores, truths = zip(*self.validated, strict=True)
        loss, count = self.all_gather((sum(losses), sum(counts)))  # of all processes
        scores = self.all_gather(torch.cat(scores)).flatten(end_dim=-2)
        truths = self.all_gather(torch.cat(truths)).flatten(end_dim=-2)
        per_label = [
            binary_auroc(scores[:, i], truths[:, i], ignore_index=UNKNOWN, validate_args=False)
            for i in range(truths.shape[1])
            if (truths[:, i] == 0).any() and (truths[:, i] == 1).any()
        ]
        loss = loss.sum() / count.sum()
        sound = per_label and loss.isfinite()  # of scores that are no numbers, AUROC makes some
        self.log("val_loss", loss)
        self.log("val_auroc", torch.stack(per_label).mean() if sound else torch.nan)

    def configure_optimizers(self):
        lr = self.settings.lr
        if self.settings.recipe == "paper":
            optimizer = torch.optim.Adam(self.parameters(), lr=lr)
            plateau = ReduceLROnPlateau(optimizer, factor=0.9, patience=1, min_lr=1e-8)
            every = getattr(self._trainer, "check_val_every_n_epoch", 1)
            schedule = {"scheduler": plateau, "monitor": "val_loss", "frequency": every}
            return {"optimizer": optimizer, "lr_scheduler": schedule}
        optimizer = torch.optim.AdamW(self.parameters(), lr=lr, weight_decay=0.01)
        steps = self.trainer.estimated_stepping_batches
        cycle = OneCycleLR(optimizer, lr, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


class EpochSeed(pl.Callback):
    """Give every epoch its own random numbers.

    Dropout of an epoch then does not depend on the epochs before it: a training that is resumed at
    the start of an epoch goes on as if it had never stopped. (Order and augmentation have their
    own, see ``cxrlib.data``.)
    """

    def __init__(self, seed):
        self.seed = seed

    def on_train_epoch_start(self, trainer, _):
        key = (self.seed, trainer.current_epoch, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


CURVES = ("train_loss", "val_loss", "val_auroc")


def device_name(device):
    """What a device calls itself: "cpu", "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


class Curves(pl.Callback):
    """Keep ``CURVES`` of every epoch in ``curves.csv``, and the time taken, across interruptions.

    An epoch without validation has no ``val_loss`` and ``val_auroc``: NaN. A training that goes on
    goes on with as many threads as it began with, since another number rounds differently; where
    the code or the device has changed meanwhile, it says so, and keeps which they were.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.rows, self.seconds, self.validated = [], 0.0, {}
        self.codes, self.devices = [CODE], []

    def on_train_start(self, trainer, _):
        self.began = time.perf_counter() - self.seconds
        self.devices = self._and_now(
            self.devices, device_name(trainer.strategy.root_device), "on another device"
        )

    def on_validation_end(self, trainer, _):
        if not trainer.sanity_checking:
            self.validated = {name: float(trainer.callback_metrics[name]) for name in CURVES[1:]}

    def on_train_epoch_end(self, trainer, _):
        row = {name: self.validated.get(name, np.nan) for name in CURVES}
        row["train_loss"] = float(trainer.callback_metrics["train_loss"])
        self.rows.append({"epoch": trainer.current_epoch + 1, **row})
        self.seconds, self.validated = time.perf_counter() - self.began, {}
        if trainer.is_global_zero:
            text = pd.DataFrame(self.rows).to_csv(index=False)
            write_whole(self.folder / "curves.csv", text.encode())

    def state_dict(self):
        return {
            "rows": list(self.rows),
            "seconds": self.seconds,
            "threads": torch.get_num_threads(),
            "codes": list(self.codes),
            "devices": list(self.devices),
        }

    def load_state_dict(self, state):
        self.rows, self.seconds = list(state["rows"]), state["seconds"]
        torch.set_num_threads(state["threads"])
        self.codes = self._and_now(state["codes"], CODE, "with another version of the code")
        self.devices = list(state["devices"])

    def _and_now(self, before, now, words):
        """What was so far and, said aloud where it is another, what is now."""
        if before and now not in before:
            warnings.warn(
                f"{self.folder}: this training began {words} ({before[-1]}, now {now}). It goes "
                "on; if the change could matter, train again under another name.",
                stacklevel=1,  # the caller is Lightning, whose warnings are silenced
            )
        return list(dict.fromkeys([*before, now]))


class EpochProgress(pl.Callback):
    """A bar of training steps where a person watches; a line an epoch where a log is written."""

    def __init__(self, name):
        self.name = name
        self.watched = sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")

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
        found = trainer.callback_metrics
        shown = {name: f"{found[name]:.3f}" for name in CURVES if name in found}
        self.bar.set_postfix(epoch=trainer.current_epoch + 1, **shown)
        if not self.watched and trainer.is_global_zero:
            numbers = "  ".join(f"{name} {value}" for name, value in shown.items())
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            print(f"{self.name}: epoch {epoch}  {numbers}", file=sys.stderr, flush=True)

    def teardown(self, trainer, pl_module, stage):
        if hasattr(self, "bar"):
            self.bar.close()


class Keep(ModelCheckpoint):
    """A checkpoint that is kept up to date, also where the run's folder has moved meanwhile."""

    def load_state_dict(self, state):
        super().load_state_dict(state | {"dirpath": self.dirpath})


class Patience(EarlyStopping):
    """Early stopping that also stops a training which was resumed when it was over."""

    def on_train_start(self, trainer, _):
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience


def make_callbacks(settings, folder, name):
    """The callbacks of a run: they leave its curves and checkpoints in ``folder``.

    ``best-auroc.ckpt`` and ``best-loss.ckpt`` hold weights; ``last.ckpt`` holds all that an
    interrupted training needs to go on, and is written when an epoch is over.
    """
    made = [EpochSeed(settings.seed), Curves(folder), EpochProgress(name)]
    if settings.recipe == "paper":
        made.append(Patience("val_loss", patience=10))
    keep = functools.partial(Keep, folder, enable_version_counter=False)
    return [
        *made,
        keep("best-auroc", "val_auroc", mode="max", save_weights_only=True),
        keep("best-loss", "val_loss", mode="min", save_weights_only=True),
        keep("last", save_on_train_epoch_end=True),
    ]


@contextlib.contextmanager
def quiet_lightning():
    """Silence Lightning's notices about devices and loaders; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pytorch_lightning|torch\.utils\.data")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
