"""The losses: flat, penalised, and coherent by construction.

All of them take logits and targets of shape [B, L] and return a scalar. A NaN target is unknown
and adds nothing.

=============================  ==========================================  ==================
loss                           what it adds to binary cross-entropy        logits are read by
=============================  ==========================================  ==================
``BCELoss``                    nothing, or smoothed targets                ``nn.Sigmoid``
``HierarchicalBCELoss``        a penalty for a child without its parent    ``nn.Sigmoid``
``MaxConstraintLoss``          a parent scores as its highest descendant   ``MaxConstraint``
``ConditionalLoss``            a child is asked only where parents are     ``Conditional``
``TwoStageLoss``               the same, then that of the product          ``Conditional``
=============================  ==========================================  ==================

The last three change how logits become probabilities, in training and ever after: their readouts
take logits [B, L] and return probabilities [B, L] in which no child exceeds a parent.
"""

import itertools
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, pad

FORMS = ("step", "hinge", "product")


def masked_bce(logits, targets):
    """Mean binary cross-entropy over the targets that are known: those in [0, 1], not NaN.

    With no NaN it equals ``torch.nn.BCEWithLogitsLoss``; with nothing known it is 0 and so is its
    gradient.
    """
    _require_same_shape(logits, targets)
    known = ~torch.isnan(targets)
    filled = torch.where(known, targets, 0.0)
    entropy = binary_cross_entropy_with_logits(logits, filled, reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)


def _require_same_shape(logits, targets):
    if logits.shape != targets.shape:
        shapes = f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(f"{shapes} differ in shape.")


class BCELoss(nn.Module):
    """Flat binary cross-entropy: what every other loss is compared with.

    Parameters
    ----------
    smoothing : moves every target towards one half, y → y · (1 − smoothing) + smoothing / 2, so
        that no image asks for a logit without end (label smoothing; Szegedy et al. 2016). 0 … 1.
    """

    def __init__(self, smoothing=0.0):
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing={smoothing!r}: expected a number from 0 to below 1.")
        self.smoothing = smoothing

    def forward(self, logits, targets):
        if self.smoothing:
            targets = targets * (1 - self.smoothing) + self.smoothing / 2
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
        missing = hierarchy.edge_index[~hierarchy.edge_index.isin(penalties.index)]
        if len(missing):
            raise ValueError(f"no penalty for the edge {' → '.join(missing[0])}.")
        values = penalties.reindex(hierarchy.edge_index)
        odd = values[~((values >= 0) & (values < float("inf")))]
        if len(odd):
            edge, value = " → ".join(odd.index[0]), odd.iloc[0]
            raise ValueError(f"the penalty of the edge {edge} is {value}: expected 0 or more.")
        self.form, self.weight = form, weight
        values = torch.tensor(values.to_numpy(), dtype=torch.float32)
        parents, children = map(torch.from_numpy, hierarchy.edge_positions)
        # Buffers move with the module to a GPU; they follow from the arguments, so no checkpoint
        # needs them.
        self.register_buffer("parent_positions", parents, persistent=False)
        self.register_buffer("child_positions", children, persistent=False)
        self.register_buffer("penalties", values, persistent=False)

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


# --- Coherent by construction ---------------------------------------------------------------------


def _below(hierarchy):
    """Bool [L, L]: entry (i, j) says that label j is label i, or one of its descendants."""
    below = torch.eye(len(hierarchy.labels), dtype=torch.bool)
    for parent, child in hierarchy.edges_bottom_up:
        below[parent] |= below[child]
    return below


class MaxConstraint(nn.Module):
    """Read logits so that every label is as probable as the most probable label below it.

        p_i = max over j in {i and its descendants} of sigmoid(logit_j)

    The constraint module (MCM) of C-HMCNN: Giunchiglia & Lukasiewicz, "Coherent hierarchical
    multi-label classification networks", NeurIPS 2020.
    """

    def __init__(self, hierarchy):
        super().__init__()
        self.edges = hierarchy.edges_bottom_up

    def highest(self, values):
        """For every label the highest value [B, L] of itself and all below it: [B, L]."""
        of = list(values.unbind(dim=1))
        for parent, child in self.edges:  # from the bottom up, so each passes on all below it
            of[parent] = torch.maximum(of[parent], of[child])
        return torch.stack(of, dim=1)

    def forward(self, logits):
        # The maximum comes last: a processor may round sigmoid(x) otherwise at the end of a tensor.
        return self.highest(logits.sigmoid())


class MaxConstraintLoss(nn.Module):
    """Binary cross-entropy of the constrained output (C-HMCNN's MCLoss, section 3 of that paper).

    For a negative label, the probability is that of ``MaxConstraint``: its own or its highest
    descendant's, whichever is at fault. For a positive one, the maximum runs over those
    descendants only that are positive themselves, so that a parent is never raised by a child that
    is not there. (Sigmoid keeps order, so both maxima are taken over logits.) Targets between 0 and
    1 count as positive above one half.
    """

    def __init__(self, hierarchy):
        super().__init__()
        self.constrain = MaxConstraint(hierarchy)

    def forward(self, logits, targets):
        _require_same_shape(logits, targets)
        positive = targets > 0.5
        of_positives = self.constrain.highest(logits.masked_fill(~positive, float("-inf")))
        of_all = self.constrain.highest(logits)
        return masked_bce(torch.where(positive, of_positives, of_all), targets)


class Conditional(nn.Module):
    """Read logits as conditional probabilities, and multiply them down the graph.

    sigmoid(logit_i) is the probability of label i *given that all its parents are present*. A label
    implies all its ancestors, so its own probability is the product over itself and them, each
    counted once:

        p_i = product over j in {i and its ancestors} of sigmoid(logit_j)

    With one parent each this is the chain rule. With two it reads the graph as a Bayesian network.
    In the paper's hierarchy one of two parents is always the other's child, which leaves nothing to
    assume: p(Pneumonia) = p(Pneumonia | Consolidation) · p(Consolidation).
    """

    def __init__(self, hierarchy):
        super().__init__()
        above, count = _below(hierarchy).T, len(hierarchy.labels)
        # Row i: the positions of label i and its ancestors, filled up with that of a column of 0.
        places = torch.full((count, int(above.sum(dim=1).max())), count)
        for row, among in zip(places, above, strict=True):
            row[: among.sum()] = among.nonzero()[:, 0]
        self.register_buffer("above", places, persistent=False)
        self.edges = hierarchy.edges_bottom_up

    def log(self, logits):
        """The logarithms of the probabilities [B, L], exact where these are next to 0."""
        own = pad(logsigmoid(logits), (0, 1))
        of = list(own[:, self.above].sum(dim=2).unbind(dim=1))
        for parent, child in reversed(self.edges):  # rounding must not lift a child over its parent
            of[child] = torch.minimum(of[child], of[parent])
        return torch.stack(of, dim=1)

    def forward(self, logits):
        return self.log(logits).exp()


class NeverBoth(nn.Module):
    """Make probabilities [B, L] keep what a hierarchy excludes: p(a) + p(b) is at most 1.

    Of a pair, the label with fewer descendants gives way (of equals, the one in more exclusions):
    it and all below it are at most what the other leaves. What was coherent along the edges stays
    so, and a pair that adds up to 1 or less stays as it is.

        p_a ← min(p_a, 1 − p_b)
    """

    def __init__(self, hierarchy):
        super().__init__()
        below = _below(hierarchy)
        pairs = np.stack(hierarchy.apart_positions, axis=1).tolist()
        size, often = below.sum(dim=1).tolist(), Counter(itertools.chain(*pairs))
        self.pairs = [
            sorted(pair, key=lambda label: (size[label], -often[label])) for pair in pairs
        ]
        self.register_buffer("below", below, persistent=False)

    def forward(self, probabilities):
        for lowered, other in self.pairs:
            left = 1 - probabilities[:, other, None]
            capped = torch.minimum(probabilities, left)
            probabilities = torch.where(self.below[lowered], capped, probabilities)
        return probabilities


class ConditionalLoss(nn.Module):
    """Binary cross-entropy over the questions that make sense: given its parents, is it there?

    A label is learnt from the images on which all its parents are present; labels without parents
    are learnt from all. A parent that is absent or unknown leaves the child out.

    References
    ----------
    Chen et al. 2019 (HMLC), its first stage, for which see ``TwoStageLoss``; Pham et al. 2019,
    arXiv 1911.06475, "conditional training", whose second stage is not here.
    """

    def __init__(self, hierarchy):
        super().__init__()
        above, below = map(torch.from_numpy, hierarchy.edge_positions)
        parents = torch.zeros(len(hierarchy.labels), len(hierarchy.labels), dtype=torch.bool)
        parents[below, above] = True
        self.register_buffer("parents", parents.float(), persistent=False)

    def forward(self, logits, targets):
        _require_same_shape(logits, targets)
        absent = ~(targets > 0.5)
        lacks_a_parent = absent.to(self.parents.dtype) @ self.parents.T > 0
        return masked_bce(logits, targets.masked_fill(lacks_a_parent, torch.nan))


class TwoStageLoss(nn.Module):
    """HMLC: learn the conditional probabilities first, then what their products say.

    The first half of training is ``ConditionalLoss``. A label deep in the graph is then asked on
    few images, and nobody has asked for the product of all that lies above it. The second half asks
    for just that: the binary cross-entropy of ``Conditional``'s probabilities p, on every image, by

        log p_i = sum over j in {i and its ancestors} of log sigmoid(logit_j)

    and log(1 − p_i) from it, so that neither is lost to rounding where p is next to 0 or 1.

    ``progress``, from 0 to 1, says how much of the training is done; who trains keeps it up to
    date.

    References
    ----------
    Chen et al. 2019, "Deep hierarchical multi-label classification of chest X-ray images" (HMLC).
    There the second stage is a training of its own, with a rate of its own; here it is the second
    half of one cycle.
    """

    def __init__(self, hierarchy):
        super().__init__()
        self.conditional, self.readout = ConditionalLoss(hierarchy), Conditional(hierarchy)
        self.progress = 0.0

    def forward(self, logits, targets):
        if self.progress < 0.5:
            return self.conditional(logits, targets)
        _require_same_shape(logits, targets)
        known = ~torch.isnan(targets)
        filled = torch.where(known, targets, 0.0)
        log_p = self.readout.log(logits.float())
        log_not = torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))
        entropy = -(filled * log_p + (1 - filled) * log_not)
        return (entropy * known).sum() / known.sum().clamp(min=1)
