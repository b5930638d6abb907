"""Everything about a training that is not data, and what Lightning's trainer may be asked."""

import inspect
from dataclasses import dataclass
from numbers import Real

import numpy as np
import pytorch_lightning as pl

from cxrlib import models
from cxrlib.data.augment import AUGMENTATIONS
from cxrlib.training.methods import METHODS, PENALTIES

RECIPES = ("workshop", "paper")


@dataclass(frozen=True)
class Settings:
    """Everything about a training run that is not data; ``ValueError`` names a field that is wrong.

    Attributes
    ----------
    method : "flat" for plain BCE; "smooth" for BCE with label smoothing; "hbce-step" (the paper's),
        "hbce-hinge" or "hbce-product" for a form of ``losses.HierarchicalBCELoss``;
        "max-constraint", "conditional" or "hmlc" for outputs that are coherent by construction.
    penalties : of the three hbce methods: "fixed" (0.5 on every edge) or "data-driven".
    weight : of their penalty term.
    smoothing : of "smooth": how far its targets move towards one half, see ``losses.BCELoss``.
    preset, size : the model, and the side of its images in pixels.
    head : "paper", the paper's; or "pointing", whose maps are its answer, see ``models``.
    weights : "random", as the paper's, or "imagenet" (densenet121 only), with its normalisation.
    compile : whether ``torch.compile`` makes the model faster first; it pays on a graphics card.
    equalize : whether every image's histogram is made even first (the paper's are not).
    recipe : "workshop", AdamW on a one-cycle schedule over ``epochs``; or "paper", Adam at a rate
        that is multiplied by 0.9 when the validation loss stands still for more than an epoch;
        after 10 such epochs training stops.
    augment : one of ``data.AUGMENTATIONS``: "none", "chest", "strong", or "published", the paper's,
        flips included, of the validation images too.
    epochs : how many there are at most.
    small_epochs : in how many of them, from the first, images are two thirds as wide and as high.
        Such an epoch costs less than half, so that there can be more of them.
    batch_size, lr : images a step (of each process), and the (highest) learning rate.
    dropout : in the head.
    seed : of initialisation, order, augmentation and dropout.
    """

    method: str = "flat"
    penalties: str = "fixed"
    weight: float = 1.0
    smoothing: float = 0.1
    preset: str = "tiny"
    size: int = 96
    head: str = "paper"
    weights: str = "random"
    compile: bool = False
    equalize: bool = True
    recipe: str = "workshop"
    augment: str = "chest"
    epochs: int = 20
    small_epochs: int = 0
    batch_size: int = 32
    lr: float = 4e-3
    dropout: float = 0.5
    seed: int = 0

    def __post_init__(self):
        for name, choices in {
            "method": METHODS,
            "penalties": PENALTIES,
            "preset": models.PRESETS,
            "head": models.HEADS,
            "weights": ("random", "imagenet"),
            "compile": (False, True),
            "equalize": (False, True),
            "recipe": RECIPES,
            "augment": AUGMENTATIONS,
        }.items():
            value = getattr(self, name)
            if not isinstance(value, str | bool) or value not in choices:
                raise ValueError(f"{name}={value!r}: choose one of {', '.join(map(str, choices))}.")
        for name, kind, low, high in (
            ("size", int, 32, 10_000),
            ("epochs", int, 1, 100_000),
            ("small_epochs", int, 0, 100_000),
            ("batch_size", int, 1, 100_000),
            ("seed", int, 0, 2**32 - 1),
            ("lr", float, 1e-15, 10),
            ("weight", float, 0, 1e6),
            ("smoothing", float, 0, 0.99),
            ("dropout", float, 0, 0.99),
        ):
            object.__setattr__(self, name, _number(name, getattr(self, name), kind, low, high))
        if self.small_epochs >= self.epochs:
            raise ValueError(
                f"small_epochs={self.small_epochs}: expected fewer than epochs={self.epochs}, so "
                "that the model sees images of its size."
            )
        if self.small_epochs and self.size < 48:
            raise ValueError("small_epochs: expected a size of at least 48, two thirds of it 32.")
        if self.method == "hmlc" and (self.recipe != "workshop" or self.epochs < 2):
            raise ValueError(
                "method='hmlc': its loss changes half-way, so it needs recipe='workshop', which "
                "does not stop before, and 2 epochs or more."
            )
        if self.weights == "imagenet" and self.preset == "tiny":
            raise ValueError("weights='imagenet': only preset='densenet121' has ImageNet weights.")


def _number(name, value, kind, low, high):
    """The value as a plain int or float; NumPy's numbers are welcome, as those of a sweep are."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not low <= value <= high or kind(value) != value:
        number = "a whole number" if kind is int else "a number"
        raise ValueError(f"{name}={value!r}: expected {number} from {low} to {high}.")
    return kind(value)


# --- Lightning's trainer --------------------------------------------------------------------------

DEFAULTS = {
    "accelerator": "auto",
    "devices": 1,  # a notebook and a test must not start other processes unasked
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}

REFUSED = {
    "max_steps": "say settings.epochs, or limit_train_batches",
    "min_steps": "say settings.epochs",
    "max_epochs": "say it in the settings: settings.epochs, or Settings(epochs=...)",
    "callbacks": "a run's folder could not say what they do; build a Trainer around Classifier",
    "plugins": "checkpoints are written by one of the course's own",
    "enable_checkpointing": "a run is its checkpoints",
    "default_root_dir": "runs say where they go",
    "max_time": "the result would depend on how fast a machine is; say settings.epochs",
    "use_distributed_sampler": "the loaders deal out the images themselves",
    "reload_dataloaders_every_n_epochs": "the loaders stay as they are",
    "overfit_batches": "use limit_train_batches, or data.fraction",
    "limit_test_batches": "all test images are scored when training is over",
    "limit_predict_batches": "all test images are scored when training is over",
    "barebones": "it measures speed and keeps nothing",
    "model_registry": "runs are kept as folders",
}
"""Arguments of ``Trainer`` that a run cannot follow, and what to do instead."""

NEUTRAL = (
    "accelerator", "logger", "enable_progress_bar", "enable_model_summary", "log_every_n_steps",
    "profiler", "detect_anomaly", "enable_autolog_hparams", "inference_mode",
    "num_sanity_val_steps",
)  # fmt: skip
"""Arguments that do not decide the result."""

SAME = (("precision", "32-true"), ("precision", "32"), ("precision", 32))
"""Other words for a default."""


def trainer_options(given, settings):
    """The arguments for Lightning's ``Trainer``: those given that differ from its defaults.

    ``ValueError`` names one that does not exist, or that a run cannot follow.
    """
    known = inspect.signature(pl.Trainer).parameters
    unknown = [name for name in given or {} if name not in known]
    if unknown:
        raise ValueError(f"trainer.{unknown[0]}: no argument of Lightning's Trainer.")
    options = {}
    for name, value in (given or {}).items():
        value = value.item() if isinstance(value, np.generic) else value
        if name == "devices" and str(value).isdigit():  # the command line gives a word
            value = int(value)
        if value == DEFAULTS.get(name, known[name].default) or (name, value) in SAME:
            continue
        if name in REFUSED:
            raise ValueError(f"trainer.{name}={value!r} is not for a run: {REFUSED[name]}.")
        if name not in NEUTRAL and not isinstance(value, str | int | float | bool | list | None):
            raise ValueError(f"trainer.{name}: expected a word or a number, which a file can hold.")
        options[name] = value
    for name in ("limit_train_batches", "limit_val_batches"):
        if options.get(name, 1) == 0:
            raise ValueError(f"trainer.{name}=0: there must be images to train and to choose by.")
    if options.get("precision") not in (None, "16-mixed", "bf16-mixed"):
        raise ValueError(f"trainer.precision={options['precision']!r}: expected 32-true, 16-mixed "
                         "or bf16-mixed; weights stay in 32 bits.")  # fmt: skip
    for name in ("devices", "val_check_interval"):
        if isinstance(options.get(name), str) or options.get(name) == -1:
            raise ValueError(f"trainer.{name}={options[name]!r}: expected a number, which is the "
                             "same on every machine.")  # fmt: skip
    every = options.get("check_val_every_n_epoch", 1)
    if not isinstance(every, int) or not 1 <= every <= settings.epochs:
        raise ValueError(
            f"trainer.check_val_every_n_epoch={every}: expected at most settings.epochs, "
            f"{settings.epochs}, since the best epoch is chosen by validation."
        )
    return options


def decisive(options):
    """Those of the trainer's options that decide the result."""
    return {name: value for name, value in sorted(options.items()) if name not in NEUTRAL}
