"""A method is a word: it names a loss, and how logits are read afterwards."""

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


def _sigmoid(hierarchy):
    return nn.Sigmoid()


def _hbce(form):
    def make(settings, hierarchy, targets):
        penalties = PENALTIES[settings.penalties](hierarchy, targets)
        return HierarchicalBCELoss(hierarchy, penalties, form=form, weight=settings.weight)

    return make


PENALTIES = {
    "fixed": lambda hierarchy, targets: fixed_penalties(hierarchy),
    "data-driven": data_driven_penalties,
}

METHODS = {
    "flat": (lambda settings, hierarchy, targets: BCELoss(), _sigmoid),
    "smooth": (lambda settings, hierarchy, targets: BCELoss(settings.smoothing), _sigmoid),
    "hbce-step": (_hbce("step"), _sigmoid),
    "hbce-hinge": (_hbce("hinge"), _sigmoid),
    "hbce-product": (_hbce("product"), _sigmoid),
    "max-constraint": (lambda settings, hierarchy, _: MaxConstraintLoss(hierarchy), MaxConstraint),
    "conditional": (lambda settings, hierarchy, _: ConditionalLoss(hierarchy), Conditional),
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
