import itertools
import math
import time

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlib.hierarchy import Hierarchy, paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import (
    FORMS,
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
    NeverBoth,
    TwoStageLoss,
    masked_bce,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties
from cxrlib.training import Settings, make_readout

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
    for loss in (masked_bce, MaxConstraintLoss(PAPER), ConditionalLoss(PAPER)):
        with pytest.raises(ValueError, match="shape"):
            loss(torch.zeros(2, 21), torch.zeros(2, 14))
    for smoothing in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="smoothing="):
            BCELoss(smoothing)
    for value in (-0.5, float("nan"), float("inf")):
        odd = fixed_penalties(PAPER)
        odd["Consolidation", "Pneumonia"] = value
        with pytest.raises(ValueError, match="Consolidation → Pneumonia.*expected"):
            HierarchicalBCELoss(PAPER, odd)


def test_label_smoothing_equals_torchs():
    # For two classes, torch's smoothing of one-hot targets is ours.
    logits, targets = batch()
    pairs = torch.stack([torch.zeros_like(logits), logits], dim=-1).reshape(-1, 2)
    expected = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(pairs, targets.reshape(-1).long())
    torch.testing.assert_close(BCELoss(0.1)(logits, targets), expected)
    targets[0] = float("nan")
    assert torch.isfinite(BCELoss(0.1)(logits, targets))


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


def entropy(p, y):
    return -math.log(p) if y else -math.log(1 - p)


def test_max_constraint_by_hand():
    # The example of the C-HMCNN paper: A is above B. A alone is true.
    chain = Hierarchy(["A", "B"], [("A", "B")])
    logits = torch.tensor([[-1.0, 2.0]])
    torch.testing.assert_close(
        MaxConstraint(chain)(logits), torch.tensor([[sigmoid(2.0), sigmoid(2.0)]])
    )
    loss = MaxConstraintLoss(chain)
    # A is true and B is not: B must not lend A its score.
    value = loss(logits, torch.tensor([[1.0, 0.0]])).item()
    assert value == pytest.approx((entropy(sigmoid(-1), 1) + entropy(sigmoid(2), 0)) / 2)
    # Both are true: A takes B's score. Neither: A is blamed for B's.
    for truth in (1.0, 0.0):
        value = loss(logits, torch.tensor([[truth, truth]])).item()
        assert value == pytest.approx(entropy(sigmoid(2), truth))


@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_max_constraint_equals_the_papers_formula_in_plain_loops(unknown):
    logits, targets = batch(unknown=unknown)
    total, known = 0.0, 0
    for scores, truth in zip(logits.double().tolist(), targets.tolist(), strict=True):
        h = {name: sigmoid(z) for name, z in zip(PAPER.labels, scores, strict=True)}
        y = dict(zip(PAPER.labels, truth, strict=True))
        for a in PAPER.labels:
            if math.isnan(y[a]):
                continue
            known += 1
            below = (a, *PAPER.descendants(a))
            if y[a] == 1:
                total -= math.log(max((y[b] == 1) * h[b] for b in below))
            else:
                total -= math.log(1 - max(h[b] for b in below))
    value = MaxConstraintLoss(PAPER)(logits, targets).item()
    assert value == pytest.approx(total / known, rel=1e-5)


def test_conditional_by_hand():
    # Two parents, one of which is the other's child, as in the paper's hierarchy.
    graph = Hierarchy(["A", "B", "C"], [("A", "B"), ("A", "C"), ("B", "C")])
    logits = torch.tensor([[0.5, -1.0, 2.0]])
    a, b, c = (sigmoid(z) for z in logits[0].tolist())
    torch.testing.assert_close(Conditional(graph)(logits), torch.tensor([[a, a * b, a * b * c]]))
    loss, nan = ConditionalLoss(graph), float("nan")
    for truth, asked in (
        ((1.0, 1.0, 0.0), {0: 1, 1: 1, 2: 0}),
        ((1.0, 0.0, 0.0), {0: 1, 1: 0}),  # no B: C is not asked
        ((0.0, 0.0, 0.0), {0: 0}),
        ((nan, 1.0, 1.0), {}),  # A unknown: neither B nor C is asked, nor A
        ((1.0, nan, 1.0), {0: 1}),
    ):
        p = (a, b, c)
        expected = sum(entropy(p[i], y) for i, y in asked.items()) / max(1, len(asked))
        assert loss(logits, torch.tensor([truth])).item() == pytest.approx(expected, rel=1e-5)


def test_conditional_probabilities_are_learnt_from_counts():
    # Fitted without images, the product of conditionals must give the share of every label.
    observations = pd.DataFrame(
        np.random.default_rng(2).random((400, 14)) < 0.2, columns=list(OBSERVATIONS), dtype=float
    )
    targets = PAPER.close(PAPER.derive(observations))
    expected = torch.from_numpy(PAPER.to_array(targets)).mean(dim=0)
    truth = torch.from_numpy(PAPER.to_array(targets))
    logits = torch.zeros(1, 21, requires_grad=True)
    loss, optimizer = ConditionalLoss(PAPER), torch.optim.LBFGS([logits], max_iter=200)

    def step():
        optimizer.zero_grad()
        value = loss(logits.expand(len(truth), -1), truth)
        value.backward()
        return value

    for _ in range(10):
        optimizer.step(step)
    torch.testing.assert_close(Conditional(PAPER)(logits)[0], expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("readout", [MaxConstraint(PAPER), Conditional(PAPER)])
def test_coherent_readouts_are_coherent_to_the_last_bit(readout):
    logits = torch.randn(3000, 21, generator=torch.Generator().manual_seed(3)) * 12
    scores = PAPER.to_table(readout(logits).numpy())
    assert PAPER.violations(scores)["soft"].sum() == 0
    assert scores.min(axis=None) >= 0
    assert scores.max(axis=None) <= 1


@pytest.mark.parametrize("rows", [1, 3, 118])
def test_the_last_image_of_a_batch_is_coherent_too(rows):
    """Where the processor's vectors end within an image, equal logits may round differently."""
    values = torch.randn(4000, generator=torch.Generator().manual_seed(4)) * 2
    scores = torch.stack([MaxConstraint(PAPER)(v.expand(rows, 21))[-1] for v in values])
    assert PAPER.violations(PAPER.to_table(scores.numpy()))["soft"].sum() == 0


@pytest.mark.parametrize("loss", [MaxConstraintLoss(PAPER), ConditionalLoss(PAPER)])
def test_gradients_of_the_coherent_losses(loss):
    logits, targets = batch(rows=4, unknown=0.2)
    # Finite differences, away from the maximum's kinks.
    assert torch.autograd.gradcheck(
        lambda z: loss.double()(z, targets.double()), logits.double().requires_grad_()
    )
    assert torch.isfinite(gradient(loss.float(), logits * 50, targets)).all()
    nothing = torch.full_like(targets, float("nan"))
    assert loss(logits, nothing).item() == 0


def test_five_thousand_labels_take_seconds():
    names = [f"L{n}" for n in range(5000)]
    chain = Hierarchy(names, list(itertools.pairwise(names)))
    logits = torch.arange(5000.0)[None] / 1000
    start = time.perf_counter()
    torch.testing.assert_close(MaxConstraint(chain)(logits), torch.full((1, 5000), sigmoid(4.999)))
    logs = torch.nn.functional.logsigmoid(logits.double()).cumsum(dim=1)
    torch.testing.assert_close(Conditional(chain).log(logits).double(), logs, rtol=1e-5, atol=0)
    assert ConditionalLoss(chain).parents.sum() == 4999
    HierarchicalBCELoss(chain, fixed_penalties(chain))
    assert time.perf_counter() - start < 20


# --- Exclusions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["max-constraint", "conditional"])
def test_a_readout_keeps_exclusions(method):
    anatomy = read_hierarchy("anatomy")
    logits = 4 * torch.randn(500, len(anatomy.labels), generator=torch.Generator().manual_seed(0))
    before = make_readout(Settings(method=method), Hierarchy(anatomy.labels, anatomy.edges))(logits)
    after = make_readout(Settings(method=method), anatomy)(logits)
    none, sick = (anatomy.labels.index(name) for name in ("No Finding", "Abnormal"))
    assert (before[:, none] + before[:, sick] > 1).any()
    torch.testing.assert_close(after[:, none], before[:, none].minimum(1 - before[:, sick]))
    rest = [i for i in range(len(anatomy.labels)) if i != none]
    torch.testing.assert_close(after[:, rest], before[:, rest])
    assert not anatomy.incoherent(anatomy.to_table(after)).any()


def test_what_lies_below_an_excluded_label_is_lowered_with_it():
    graph = Hierarchy(["a", "b", "c", "d", "e"], [("a", "b"), ("c", "d"), ("c", "e")],
                      never_both=[("a", "c")])  # fmt: skip
    probabilities = torch.tensor([[0.8, 0.7, 0.9, 0.6, 0.9], [0.3, 0.2, 0.7, 0.7, 0.1]])
    expected = torch.tensor([[0.1, 0.1, 0.9, 0.6, 0.9], [0.3, 0.2, 0.7, 0.7, 0.1]])
    torch.testing.assert_close(NeverBoth(graph)(probabilities), expected)


def test_the_first_stage_is_conditional_and_the_second_asks_for_the_product():
    logits, targets = batch(unknown=0.2)
    loss = TwoStageLoss(PAPER)
    assert torch.equal(loss(logits, targets), ConditionalLoss(PAPER)(logits, targets))
    loss.progress = 0.5
    p = Conditional(PAPER)(logits.double())
    known = ~targets.isnan()
    plain = torch.nn.functional.binary_cross_entropy(p[known], targets[known].double())
    torch.testing.assert_close(loss(logits, targets).double(), plain, rtol=1e-5, atol=1e-6)


def test_the_second_stage_is_not_lost_to_rounding():
    """Where the product rounds to 0 or 1, its logarithm and its gradient are still there."""
    loss, zeros = TwoStageLoss(PAPER), torch.zeros(1, 21)
    loss.progress = 1.0
    for size in (-60.0, 60.0):
        logits = torch.full((1, 21), size, requires_grad=True)
        value = loss(logits, zeros if size > 0 else zeros + 1)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()
    assert value > 5
