"""Uncertainty: how sure a model is, and what of it is the model's own doubt."""

from dataclasses import dataclass

import torch
from torch import nn

from cxrlib.explanations import check_images


@dataclass(frozen=True)
class Uncertainty:
    """What several passes say of a batch; every field [B, L].

    ``mean`` and ``std`` of the probability over the passes; entropies in nats, 0 … log 2:
    ``predictive_entropy`` of the mean probability (all doubt), ``expected_entropy``, the mean of
    the passes' entropies (doubt that each pass has: aleatoric), and ``mutual_information``, their
    difference (doubt because the passes disagree: epistemic).
    """

    mean: torch.Tensor
    std: torch.Tensor
    predictive_entropy: torch.Tensor
    expected_entropy: torch.Tensor
    mutual_information: torch.Tensor


def mc_dropout(model, images, passes=10, readout=torch.sigmoid):
    """Monte Carlo dropout: predict several times, each time with other units dropped.

    Only the dropout modules are switched on. Everything else stays as in evaluation; in training
    mode batch normalisation would look at the batch, and change its buffers (notebook 07). All that
    comes before the first dropout is the same in every pass and is computed once.

    Parameters
    ----------
    model : ChestNet, in any mode; it is left in the mode it was in.
    images : float [B, 1, H, W], 0 … 1.
    passes : how many, at least 1. The paper makes 10.
    readout : from logits to probabilities, see ``training.make_readout``.

    Returns
    -------
    Uncertainty

    Raises
    ------
    ValueError
        No passes, a model without dropout, or images of another shape or range.

    References
    ----------
    Gal & Ghahramani 2016; Depeweg et al. 2018 for the decomposition.
    """
    return decompose(dropout_passes(model, images, passes, readout))


def dropout_passes(model, images, passes=10, readout=torch.sigmoid):
    """The probabilities of every pass: float [passes, B, L]. See ``mc_dropout``."""
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ValueError(f"passes={passes!r}: expected a whole number, at least 1.")
    check_images(images)
    parts = list(model.head.children())
    first = next((i for i, part in enumerate(parts) if isinstance(part, nn.Dropout)), None)
    if first is None or not any(part.p > 0 for part in parts if isinstance(part, nn.Dropout)):
        raise ValueError(
            "the model's head has no dropout (or one of probability 0): every pass would be the "
            "same. Build the model with dropout above 0."
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            same = nn.Sequential(model.features, *parts[:first])(images)
            for part in parts:
                part.training = isinstance(part, nn.Dropout)
            repeated = same.repeat(passes, *[1] * (same.ndim - 1))
            scores = readout(nn.Sequential(*parts[first:])(repeated))
    finally:
        for module, mode in modes:
            module.training = mode
    return scores.reshape(passes, len(images), -1)


def decompose(scores):
    """Summarise the probabilities of several passes or models.

    Parameters
    ----------
    scores : float [passes, B, L], 0 … 1.

    Returns
    -------
    Uncertainty
    """
    mean = scores.mean(dim=0)
    total, inner = entropy(mean), entropy(scores).mean(dim=0)
    std = scores.std(dim=0, unbiased=False)
    return Uncertainty(mean, std, total, inner, (total - inner).clamp(min=0))


def entropy(p):
    """Entropy of "present or not" in nats, for probabilities of any shape."""
    return torch.special.entr(p) + torch.special.entr(1 - p)
