"""A method is a word that names a loss and a readout."""

from torch import nn

from cxrlib.losses import (
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties


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
