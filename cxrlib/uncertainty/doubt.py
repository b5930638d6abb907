"""How sure a model is, and what of its doubt is the model's own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxrlib.data import AUGMENTATIONS, draw
from cxrlib.evaluation import checks
from cxrlib.explanations import check_features, check_images

DROPOUT = (nn.Dropout, nn.Dropout2d)
"""The layers that stay on in Monte Carlo dropout: of single numbers, or of whole channels."""


@dataclass(frozen=True)
class Uncertainty:
    """What several passes say of a batch; every field [B, L].

    ``mean`` and ``std`` of the probability over the passes; entropies in nats, 0 … log 2:
    ``predictive_entropy`` of the mean probability (all doubt), ``expected_entropy``, the mean of
    the passes' entropies (doubt that each pass has: aleatoric), and ``mutual_information``, their
    difference (doubt because the passes disagree: epistemic; Depeweg et al. 2018).
    """

    mean: torch.Tensor
    std: torch.Tensor
    predictive_entropy: torch.Tensor
    expected_entropy: torch.Tensor
    mutual_information: torch.Tensor


def mc_dropout(model, images, passes=10, readout=torch.sigmoid, *, features=None):
    """``Uncertainty`` by Monte Carlo dropout: predict several times, with other units dropped.

    Only the dropout modules are switched on. Everything else stays as in evaluation; in training
    mode batch normalisation would look at the batch, and change its buffers (notebook 09). All that
    comes before the first dropout is the same in every pass and is computed once. Gal & Ghahramani
    2016.

    Parameters
    ----------
    model : ChestNet, in any mode; it is left in the mode it was in.
    images : float32 [B, 1, H, W], 0 … 1.
    passes : how many, 1 … 10,000. The paper makes 10.
    readout : from logits to probabilities, see ``training.make_readout``.
    features : what ``explanations.features_of`` made of the same images, if it is at hand.
    """
    return decompose(dropout_passes(model, images, passes, readout, features=features))


def dropout_passes(model, images, passes=10, readout=torch.sigmoid, *, features=None):
    """The probabilities of every pass: float [passes, B, L]. See ``mc_dropout``."""
    checks.number("passes", passes, 1, 10_000)
    check_images(images)
    check_features(features, images)
    parts = list(model.head.children())
    first = next((i for i, part in enumerate(parts) if isinstance(part, DROPOUT)), None)
    if not any(part.p > 0 for part in parts if isinstance(part, DROPOUT)):
        raise ValueError("no dropout above 0 in the model's head: every pass would be the same.")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            seen = model.features(images) if features is None else features
            same = nn.Sequential(*parts[:first])(seen)
            for part in parts:
                part.training = isinstance(part, DROPOUT)
            repeated = same.repeat(passes, *[1] * (same.ndim - 1))
            scores = readout(nn.Sequential(*parts[first:])(repeated))
    finally:
        for module, mode in modes:
            module.training = mode
    return scores.reshape(passes, len(images), -1)


@torch.inference_mode()
def augmented_passes(model, images, passes=10, augment=None, seed=0, readout=torch.sigmoid):
    """Test-time augmentation: the probabilities of slightly changed copies, [passes, B, L].

    Parameters
    ----------
    model : ChestNet; it is put into evaluation mode.
    images, passes, readout : as in ``mc_dropout``.
    augment : ``data.Augmentation``; by default the training's, "chest".
    seed : of the changes, at least 0.
    """
    checks.number("seed", seed, 0)
    checks.number("passes", passes, 1, 10_000)
    check_images(images)
    augment, model = augment or AUGMENTATIONS["chest"], model.eval()
    draws = [draw(seed, number, range(len(images))) for number in range(passes)]
    return torch.stack([readout(model(augment(images, chance))) for chance in draws])


@torch.inference_mode()
def embed(model, images):
    """What the head's last layer looks at: float [B, C]. Puts the model into evaluation mode.

    An image far from all training images here is one that the model has no experience with.
    """
    check_images(images)
    model.eval()
    return model.head.embed(model.features(images))


def decompose(scores):
    """``Uncertainty`` of several passes' or models' probabilities: float [passes, B, L], 0 … 1."""
    inner, mean = entropy(scores).mean(dim=0), scores.mean(dim=0)
    total = entropy(mean)
    std = scores.std(dim=0, unbiased=False)
    return Uncertainty(mean, std, total, inner, (total - inner).clamp(min=0))


def entropy(p):
    """Entropy of "present or not" in nats, for float probabilities, 0 … 1, of any shape."""
    if not (torch.is_tensor(p) and p.is_floating_point() and ((p >= 0) & (p <= 1)).all()):
        raise ValueError("entropy: expected a float tensor of probabilities, 0 to 1.")
    return torch.special.entr(p) + torch.special.entr(1 - p)


def risk_coverage(wrong, doubt):
    """The error rate among the answers that are given, when the most doubtful ones are withheld.

    Parameters
    ----------
    wrong : bool [N], whether the answer is wrong (or any loss, 0 … 1).
    doubt : float [N], how uncertain it is; where both are Series, with the same index.

    Returns
    -------
    DataFrame [N] with ``coverage``, 1/N … 1, and ``risk``, the mean of ``wrong`` over the share
    ``coverage`` of the answers with the least doubt; of equal doubt, each counts with the mean of
    all that share it. The mean of ``risk`` is the area under the curve (AURC), small where doubt
    knows errors. Geifman & El-Yaniv 2017.
    """
    losses, doubts = checks.numbers(wrong, "wrong"), checks.numbers(doubt, "doubt")
    checks.same_rows(wrong, doubt, "doubt (beside wrong)")
    if not ((losses >= 0) & (losses <= 1)).all():
        raise ValueError("wrong outside 0 to 1: leave out answers of unknown truth.")
    table = pd.DataFrame({"wrong": losses, "doubt": doubts}).sort_values("doubt")
    expected = table.groupby("doubt")["wrong"].transform("mean").to_numpy()
    count = np.arange(1, len(table) + 1)
    return pd.DataFrame({"coverage": count / len(table), "risk": expected.cumsum() / count})


def odd_images(images, seed=0):
    """Images that a model of frontal radiographs should not be sure about.

    A dict of as many images as there are in ``images``, frontal radiographs, float32 [N, 1, H, H],
    0 … 1: "inverted" (black for white), "upside down", "on its side", "blank", "noise", and
    "photograph", a landscape drawn by code. ``seed``, at least 0, is that of what is drawn.
    """
    check_images(images)
    checks.number("seed", seed, 0)
    size, rng = images.shape[-1], np.random.default_rng(seed)
    if images.shape[-2] != size:
        raise ValueError(f"images of shape {tuple(images.shape)}: expected square ones.")
    levels = torch.from_numpy(rng.random((len(images), 1, 1, 1), dtype=np.float32))
    landscapes = np.stack([_landscape(rng, size) for _ in images])[:, None]
    return {
        "inverted": 1 - images,
        "upside down": images.flip(-2),
        "on its side": images.rot90(1, (-2, -1)),
        "blank": levels.expand(-1, 1, size, size).clone(),
        "noise": torch.from_numpy(rng.random(images.shape, dtype=np.float32)),
        "photograph": torch.from_numpy(landscapes.astype(np.float32)),
    }


def _landscape(rng, size):
    """Sky with a sun, two ranges of hills, a house: float [size, size], 0 … 1."""
    y, x = np.mgrid[:size, :size] / size
    sun = np.exp(-((x - rng.uniform(0.1, 0.9)) ** 2 + (y - rng.uniform(0.1, 0.3)) ** 2) / 0.004)
    scene = 0.75 - 0.3 * y + 0.4 * sun
    for level, grey in ((0.45, 0.45), (0.65, 0.25)):
        waves = sum(
            rng.uniform(0.02, 0.06) * np.sin(2 * np.pi * (k * x + rng.random())) for k in (1, 2, 5)
        )
        grass = 0.05 * rng.standard_normal((size, size))
        scene = np.where(y > level + waves, grey + grass, scene)
    left, top, wide = rng.uniform(0.1, 0.6), rng.uniform(0.6, 0.7), rng.uniform(0.15, 0.3)
    house = (x > left) & (x < left + wide) & (y > top) & (y < top + wide)
    roof = (y < top) & (y > top - wide / 2 + np.abs(x - left - wide / 2))
    return np.where(house, 0.85, np.where(roof, 0.1, scene)).clip(0, 1)
