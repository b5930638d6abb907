import math

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import FORMS, BCELoss, HierarchicalBCELoss, masked_bce
from cxrlib.penalties import data_driven_penalties, fixed_penalties

PAPER = paper_hierarchy()


def batch(rows=32, seed=0, unknown=0.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, 21, generator=generator) * 2
    targets = (torch.rand(rows, 21, generator=generator) > 0.7).float()
    targets[torch.rand(rows, 21, generator=generator) < unknown] = float("nan")
    return logits, targets


def gap(form, parent, child):
    if form == "step":
        return 1.0 if child > 0.5 and parent < 0.5 else 0.0
    return max(0.0, child - parent) if form == "hinge" else child * (1 - parent)


def loss_in_plain_loops(logits, targets, penalties, form, weight):
    """HBCE written from its formula, one image, label and edge at a time, in float64."""
    total = 0.0
    for scores, truth in zip(logits.double().tolist(), targets.tolist(), strict=True):
        p = dict(zip(PAPER.labels, (1 / (1 + math.exp(-z)) for z in scores), strict=True))
        y = dict(zip(PAPER.labels, truth, strict=True))
        entropy = [-y[n] * math.log(p[n]) - (1 - y[n]) * math.log(1 - p[n]) for n in PAPER.labels]
        extra = [penalties[a, b] * gap(form, p[a], p[b]) for a, b in PAPER.edges]
        total += sum(entropy) / len(entropy) + weight * sum(extra)
    return total / len(logits)


def observed_penalties():
    observations = pd.DataFrame(
        np.random.default_rng(1).integers(0, 2, (300, 14)), columns=list(OBSERVATIONS), dtype=float
    )
    return data_driven_penalties(PAPER, PAPER.derive(observations))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("penalties", [fixed_penalties(PAPER), observed_penalties()])
def test_equals_the_formula_in_plain_loops(form, penalties):
    logits, targets = batch()
    for weight in (1.0, 0.3):
        loss = HierarchicalBCELoss(PAPER, penalties, form=form, weight=weight)
        expected = loss_in_plain_loops(logits, targets, penalties, form, weight)
        assert loss(logits, targets).item() == pytest.approx(expected, abs=1e-6, rel=1e-6)


def gradient(loss, logits, targets):
    logits = logits.clone().requires_grad_()
    loss(logits, targets).backward()
    return logits.grad


def test_the_step_has_a_value_but_no_gradient():
    logits, targets = batch()
    step = HierarchicalBCELoss(PAPER, fixed_penalties(PAPER), form="step")
    assert step.penalty(logits) > 0
    assert torch.equal(gradient(step, logits, targets), gradient(BCELoss(), logits, targets))


@pytest.mark.parametrize("form", ["hinge", "product"])
def test_the_other_forms_push_the_child_down_and_the_parent_up(form):
    # Only the edge Consolidation → Pneumonia is broken here.
    logits = torch.full((1, 21), -8.0, dtype=torch.double)
    parent, child = PAPER.labels.index("Consolidation"), PAPER.labels.index("Pneumonia")
    for name in ("Fluid Accumulation", "Opacity", "Abnormal"):
        logits[0, PAPER.labels.index(name)] = 8.0
    logits[0, child], logits[0, parent] = 1.0, -1.0
    logits.requires_grad_()
    loss = HierarchicalBCELoss(PAPER, fixed_penalties(PAPER), form=form).double()
    loss.penalty(logits).backward()
    assert logits.grad[0, child] > 0.01
    assert logits.grad[0, parent] < -0.01
    elsewhere = batch(rows=4)[0].double().requires_grad_()  # away from the hinge's kink
    assert torch.autograd.gradcheck(loss.penalty, elsewhere)


def test_equals_torch_where_everything_is_known():
    logits, targets = batch()
    expected = torch.nn.BCEWithLogitsLoss()(logits, targets)
    torch.testing.assert_close(masked_bce(logits, targets), expected)


def test_unknown_targets_add_nothing():
    logits, targets = batch(unknown=0.3)
    known = ~torch.isnan(targets)
    expected = torch.nn.BCEWithLogitsLoss()(logits[known], targets[known])
    torch.testing.assert_close(masked_bce(logits, targets), expected)
    grad = gradient(BCELoss(), logits, targets)
    assert torch.isfinite(grad).all()
    assert (grad[~known] == 0).all()


def test_nothing_known_is_zero_not_nan():
    logits, targets = batch(unknown=1.1)
    assert masked_bce(logits, targets).item() == 0


def test_weight_zero_is_flat():
    logits, targets = batch()
    loss = HierarchicalBCELoss(PAPER, fixed_penalties(PAPER), form="hinge", weight=0.0)
    assert torch.equal(gradient(loss, logits, targets), gradient(BCELoss(), logits, targets))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="sigmoid"):
        HierarchicalBCELoss(PAPER, fixed_penalties(PAPER), form="sigmoid")
    with pytest.raises(ValueError, match="Consolidation → Pneumonia"):
        HierarchicalBCELoss(PAPER, fixed_penalties(PAPER).drop(("Consolidation", "Pneumonia")))
    with pytest.raises(ValueError, match="shape"):
        masked_bce(torch.zeros(2, 21), torch.zeros(2, 14))
