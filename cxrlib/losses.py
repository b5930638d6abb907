"""The losses: binary cross-entropy, and the paper's hierarchical one in three forms.

All of them take logits and targets of shape [B, L] and return a scalar. A NaN target is unknown
and adds nothing.
"""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

FORMS = ("step", "hinge", "product")


def masked_bce(logits, targets):
    """Mean binary cross-entropy over the targets that are known.

    Parameters
    ----------
    logits : float [B, L]
    targets : float [B, L], values in [0, 1] or NaN.

    Returns
    -------
    Scalar. With no NaN it equals ``torch.nn.BCEWithLogitsLoss``; with nothing known it is 0 and
    so is its gradient.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} differ in shape."
        )
    known = ~torch.isnan(targets)
    entropy = binary_cross_entropy_with_logits(
        logits, torch.where(known, targets, 0.0), reduction="none"
    )
    return (entropy * known).sum() / known.sum().clamp(min=1)


class BCELoss(nn.Module):
    """Flat binary cross-entropy: what the hierarchical loss is compared with."""

    def forward(self, logits, targets):
        return masked_bce(logits, targets)


class HierarchicalBCELoss(nn.Module):
    """Binary cross-entropy plus a penalty for every child predicted without its parent.

        loss = BCE(logits, targets) + weight · mean over images of Σ over edges penalty · gap

    with p = sigmoid(logits) and, for an edge from parent to child, the gap

    ==========  ==========================================  ======================================
    form        gap                                         gradient
    ==========  ==========================================  ======================================
    "step"      1 if p_child > 0.5 and p_parent < 0.5       none: the published loss (HBCE)
    "hinge"     max(0, p_child − p_parent)                  wherever a child scores above its parent
    "product"   p_child · (1 − p_parent)                    everywhere
    ==========  ==========================================  ======================================

    Parameters
    ----------
    hierarchy : Hierarchy of L labels, whose order the columns of logits and targets follow.
    penalties : Series by (parent, child), from ``cxrlib.penalties``; every edge needs one.
    form : "step", "hinge" or "product".
    weight : of the whole penalty term.

    References
    ----------
    Asadi et al. 2025, arXiv 2502.03591, "penalty-based loss". ``form="step"`` is that loss, value
    for value.
    """

    def __init__(self, hierarchy, penalties, form="step", weight=1.0):
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}.")
        missing = [edge for edge in hierarchy.edges if edge not in penalties.index]
        if missing:
            raise ValueError(f"no penalty for the edge {missing[0][0]} → {missing[0][1]}.")
        self.form = form
        self.weight = weight
        parents, children = hierarchy.edge_positions
        values = [penalties[edge] for edge in hierarchy.edges]
        # Buffers move with the module to a GPU; they follow from the arguments, so no checkpoint
        # needs them.
        for name, buffer in {
            "parent_positions": torch.from_numpy(parents),
            "child_positions": torch.from_numpy(children),
            "penalties": torch.tensor(values, dtype=torch.float32),
        }.items():
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, logits, targets):
        return masked_bce(logits, targets) + self.weight * self.penalty(logits)

    def penalty(self, logits):
        """The penalty term alone: mean over the batch, sum over the edges."""
        parent, child = logits[:, self.parent_positions], logits[:, self.child_positions]
        gap = getattr(self, f"_{self.form}")(parent, child)
        return (self.penalties * gap).sum(dim=1).mean()

    def _step(self, parent, child):
        # p > 0.5 exactly where the logit is above 0.
        return ((child > 0) & (parent < 0)).to(parent.dtype)

    def _hinge(self, parent, child):
        return (child.sigmoid() - parent.sigmoid()).clamp(min=0)

    def _product(self, parent, child):
        return child.sigmoid() * (-parent).sigmoid()
