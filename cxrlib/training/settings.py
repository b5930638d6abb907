"""Everything about a training that is not data."""

import functools
from dataclasses import dataclass

from cxrlib import models
from cxrlib.data import (
    published_transforms,
    to_float,
    train_transforms,
)

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


def _fit_in_memory(track, settings):
    return settings.size**2 * len(track.table) < 2e9
