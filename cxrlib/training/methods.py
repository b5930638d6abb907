"""A method is a word: it names a loss, and how logits are read afterwards."""

from torch import nn

from cxrlib.losses import (
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
    NeverBoth,
    TwoStageLoss,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties


def _sigmoid(hierarchy):
    return nn.Sigmoid()


def _coherent(readout):
    """Along the edges by construction; where the hierarchy has exclusions, these are kept too."""

    def make(hierarchy):
        made = readout(hierarchy)
        return nn.Sequential(made, NeverBoth(hierarchy)) if hierarchy.never_both else made

    return make


def _hbce(settings, hierarchy, targets):
    penalties = PENALTIES[settings.penalties](hierarchy, targets)
    form = settings.method.removeprefix("hbce-")
    return HierarchicalBCELoss(hierarchy, penalties, form, settings.weight)


PENALTIES = {
    "fixed": lambda hierarchy, targets: fixed_penalties(hierarchy),
    "data-driven": data_driven_penalties,
}

METHODS = {
    "flat": (lambda settings, hierarchy, targets: BCELoss(), _sigmoid),
    "smooth": (lambda settings, hierarchy, targets: BCELoss(settings.smoothing), _sigmoid),
    "hbce-step": (_hbce, _sigmoid),
    "hbce-hinge": (_hbce, _sigmoid),
    "hbce-product": (_hbce, _sigmoid),
    "max-constraint": (
        lambda settings, hierarchy, _: MaxConstraintLoss(hierarchy),
        _coherent(MaxConstraint),
    ),
    "conditional": (
        lambda settings, hierarchy, _: ConditionalLoss(hierarchy),
        _coherent(Conditional),
    ),
    "hmlc": (
        lambda settings, hierarchy, _: TwoStageLoss(hierarchy),
        _coherent(Conditional),
    ),
}
"""word → (loss from settings, hierarchy and training targets; readout from the hierarchy)"""


def make_loss(settings, hierarchy, targets):
    """The loss that ``settings`` names; data-driven penalties are counted on ``targets``."""
    loss, _ = METHODS[settings.method]
    return loss(settings, hierarchy, targets)


def make_readout(settings, hierarchy):
    """How the method's logits [B, L] become probabilities [B, L]: a module."""
    _, readout = METHODS[settings.method]
    return readout(hierarchy)
