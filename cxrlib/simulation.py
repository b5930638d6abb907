"""Which method, when: real labels, simulated features, and every method of the course in seconds.

Images are dear, and where a hierarchy helps depends on few things: how many images there are, how
clean their labels are, and how much of what gives a child away is its group's sign and how much its
own. So the labels here are those of real tables (``public``), and the features are simulated with a
strength that is known. Training takes seconds, and any of these things can be turned like a knob.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import nn

from cxrlib.losses import (
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
    TwoStageLoss,
)
from cxrlib.penalties import fixed_penalties

METHODS = ("flat", "hinge", "product", "max-constraint", "conditional", "hmlc")
MODELS = ("linear", "network")


def make_method(word, hierarchy, weight=1.0):
    """(loss, readout) of one of ``METHODS``; ``weight`` is that of a penalty."""
    if word not in METHODS:
        raise ValueError(f"unknown method {word!r}: choose one of {', '.join(METHODS)}.")
    if word in ("hinge", "product"):
        penalties = fixed_penalties(hierarchy)
        return HierarchicalBCELoss(hierarchy, penalties, word, weight), nn.Sigmoid()
    loss, readout = {
        "flat": (BCELoss, None),
        "max-constraint": (MaxConstraintLoss, MaxConstraint),
        "conditional": (ConditionalLoss, Conditional),
        "hmlc": (TwoStageLoss, Conditional),
    }[word]
    if readout is None:
        return loss(), nn.Sigmoid()
    return loss(hierarchy), readout(hierarchy)


STREAMS = ("signs", "noise", "labeler", "dropped")


def _stream(seed, name):
    """Random numbers for one purpose: the same seed for two does not make them alike."""
    return np.random.default_rng([seed, STREAMS.index(name)])


# --- Labels ---------------------------------------------------------------------------------------


def miss_and_invent(labels, hierarchy, sensitivity, precision, seed=0):
    """Labels as a poor labeler would give them: float32 [N, L], closed upwards.

    Every label without children is found with the chance ``sensitivity`` where it is present, and
    invented elsewhere, as often as makes ``precision`` the share of what is called that is right.
    All other labels follow from these. NIH's report labels of pneumothorax have 0.46 and 0.46
    against radiologists (``public.adjudicated_labels``).

    Parameters
    ----------
    labels : 0 and 1 [N, L], closed upwards, in the hierarchy's order.
    sensitivity, precision : above 0, at most 1.
    """
    for name, value in (("sensitivity", sensitivity), ("precision", precision)):
        if not 0 < value <= 1:
            raise ValueError(f"{name}={value!r}: expected above 0, at most 1.")
    rng, labels = _stream(seed, "labeler"), np.asarray(labels) > 0.5
    leaves = np.array([not hierarchy.children(label) for label in hierarchy.labels])
    rate = labels.mean(axis=0)
    invented = np.clip(rate * sensitivity * (1 / precision - 1) / np.maximum(1 - rate, 1e-9), 0, 1)
    called = rng.random(labels.shape) < np.where(labels, sensitivity, invented)
    # A label with children is told by them; where it is there alone, it is found like a leaf.
    inner_alone = labels & ~leaves & ~_below_present(labels, hierarchy)
    kept = np.where(leaves, called, inner_alone & (rng.random(labels.shape) < sensitivity))
    return close(kept, hierarchy)


def _below_present(labels, hierarchy):
    """Whether a child of each label is present: bool [N, L]."""
    found = np.zeros_like(labels)
    for parent, child in hierarchy.edges_bottom_up:
        found[:, parent] |= labels[:, child]
    return found


def close(labels, hierarchy):
    """Labels [N, L] with all ancestors of what is present: float32."""
    closed = np.array(labels, dtype=bool)
    for parent, child in hierarchy.edges_bottom_up:
        closed[:, parent] |= closed[:, child]
    return closed.astype(np.float32)


def drop_parents(labels, hierarchy, share, seed=0):
    """In a ``share`` of the rows, only the most special labels are named: float32 [N, L].

    Of PadChest's images 38% break an edge in this way (notebook 03).
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share!r}: expected 0 to 1.")
    labels = np.asarray(labels) > 0.5
    careless = _stream(seed, "dropped").random(len(labels)) < share
    implied = _below_present(labels, hierarchy)
    return (labels & ~(careless[:, None] & implied)).astype(np.float32)


# --- Features -------------------------------------------------------------------------------------


def signs(hierarchy, strength=1.5, shared=0.5, width=128, seed=0):
    """What each label adds to the features: float32 [L, width].

    Every label has a direction of its own, drawn at random. A present label adds to the features
    its own sign, of length strength · √(1 − shared), and the signs of all that lies above it share
    what is left of ``strength``². With ``shared`` 0 nothing gives a group away but its children's
    own signs; with 1 children of one group cannot be told apart.

    A label with nothing above it has its whole strength to itself.
    """
    if not 0 <= shared <= 1 or strength < 0:
        raise ValueError(f"strength={strength!r}, shared={shared!r}: expected 0 or more, 0 to 1.")
    directions = _stream(seed, "signs").standard_normal((len(hierarchy.labels), width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    position = {label: n for n, label in enumerate(hierarchy.labels)}
    made = np.empty_like(directions)
    for label, n in position.items():
        above = [position[name] for name in hierarchy.ancestors(label)]
        own = 1 - shared if above else 1.0
        made[n] = strength * np.sqrt(own) * directions[n]
        if above:
            made[n] += strength * np.sqrt(shared / len(above)) * directions[above].sum(axis=0)
    return made.astype(np.float32)


def features(labels, signs, hierarchy, seed=0):
    """Features float32 [N, width]: the signs of the most special labels present, and noise.

    A label that is present only because a child is adds nothing of its own: the child's sign
    already holds it. The noise is standard normal, so that a label with a sign of length d, alone,
    can be told with an AUROC of Φ(d / √2).
    """
    labels = np.asarray(labels) > 0.5
    special = labels & ~_below_present(labels, hierarchy)
    noise = _stream(seed, "noise").standard_normal((len(labels), signs.shape[1]))
    return (special @ signs + noise).astype(np.float32)


# --- Learning -------------------------------------------------------------------------------------


class Together(nn.Module):
    """R small models at once, from features [R, B, width] to logits [R, B, L].

    Every replicate has weights of its own; one batch holds all of them, which takes little longer
    than one alone. "linear" is a logistic regression for each label; "network" has one hidden
    layer, through which labels can learn from each other.
    """

    def __init__(self, replicates, width, labels, model="linear", hidden=64, seed=0):
        super().__init__()
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}: choose one of {', '.join(MODELS)}.")
        sizes = (width, labels) if model == "linear" else (width, hidden, labels)
        generator = torch.Generator().manual_seed(seed)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for size, following in itertools.pairwise(sizes):
            drawn = torch.randn(replicates, size, following, generator=generator)
            self.weights.append(nn.Parameter(drawn * (2 / size) ** 0.5))
            self.biases.append(nn.Parameter(torch.zeros(replicates, 1, following)))

    def forward(self, features):
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            features = torch.baddbmm(bias, features.relu() if n else features, weight)
        return features


@dataclass(frozen=True)
class Learnt:
    """Trained replicates, how their logits are read, and the weight decay [R] chosen for each."""

    model: Together
    readout: nn.Module
    decays: torch.Tensor

    @torch.inference_mode()
    def __call__(self, features):
        """Probabilities float32 [R, M, L] of features [R, M, width]."""
        logits = self.model(torch.as_tensor(features))
        return self.readout(logits.flatten(0, 1)).view_as(logits).numpy()


RATES = {"linear": 0.03, "network": 0.01}
DECAYS = (0.1, 1.0, 3.0, 10.0, 30.0)
STEPS, CHECKS = 400, 20


def learn(word, hierarchy, train, valid, model="linear", weight=1.0, steps=STEPS, seed=0):
    """Train R replicates of a model by a method: ``Learnt``.

    AdamW on one cycle of the learning rate, once for each weight decay of ``DECAYS``. How much a
    method must be held back depends on the method; so of each replicate those weights are kept, of
    all decays and of ``CHECKS`` points in time, whose probabilities have the least cross-entropy on
    its validation data. ("hmlc" counts from its second stage on; its first is "conditional".)
    Biases do not decay: they hold how frequent a label is, which for a conditional readout is much
    nearer to one half than for a flat one, and a decay would favour it for that alone.

    Parameters
    ----------
    word : one of ``METHODS``; ``weight`` is that of a penalty.
    hierarchy : Hierarchy of the L labels.
    train, valid : pairs of features [R, N, width] and targets [R, N, L], of 0 and 1.
    model : "linear" or "network".
    steps : how many batches of up to 128, a multiple of ``CHECKS``.
    seed : of the first weights and of the order of the data.
    """
    if steps < 1 or steps % CHECKS:
        raise ValueError(f"steps={steps}: expected a multiple of {CHECKS}.")
    train, valid = ([torch.as_tensor(part) for part in pair] for pair in (train, valid))
    loss, readout = make_method(word, hierarchy, weight)
    rates = first_rates(train[1], hierarchy if word in ("conditional", "hmlc") else None)
    best = None, torch.full((len(train[0]),), torch.inf), torch.zeros(len(train[0]))
    for decay in DECAYS:
        net = Together(*train[0].shape[::2], train[1].shape[2], model, seed=seed)
        net.biases[-1].data = torch.logit(rates)[:, None]
        groups = [{"params": net.weights}, {"params": net.biases, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, RATES[model], weight_decay=decay)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATES[model], total_steps=steps)
        generator = torch.Generator().manual_seed(seed)
        for step in range(steps):
            if hasattr(loss, "progress"):
                loss.progress = step / steps
            _step(net, loss, optimizer, train, generator)
            cycle.step()
            first_stage = getattr(loss, "progress", 1) < 0.5
            if (step + 1) % (steps // CHECKS) == 0 and not first_stage:
                best = _keep_best(net, readout, valid, *best, decay)
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), best[0], strict=True):
            parameter.copy_(value)
    return Learnt(net, readout, best[2])


def first_rates(targets, hierarchy=None):
    """How often each label is present, [R, L], of targets [R, N, L]; with a hierarchy, how often
    where all its parents are.

    A model that starts from these need not unlearn that half of all labels are present. (One that
    starts from one half learns from a label it never sees that whatever is ill lacks it.) An image
    more that says yes by half keeps the rates off 0 and 1.
    """
    asked = torch.ones_like(targets)
    if hierarchy is not None:
        for parent, child in zip(*(p.tolist() for p in hierarchy.edge_positions), strict=True):
            asked[..., child] *= targets[..., parent]
    return ((targets * asked).sum(dim=1) + 0.5) / (asked.sum(dim=1) + 1)


def _step(net, loss, optimizer, data, generator):
    """One batch, the same rows of every replicate."""
    x, y = data
    rows = torch.randint(x.shape[1], (min(x.shape[1], 128),), generator=generator)
    value = loss(net(x[:, rows]).flatten(0, 1), y[:, rows].flatten(0, 1))
    optimizer.zero_grad()
    (value * len(x)).backward()  # a mean over all replicates, of which each has its own weights
    optimizer.step()


@torch.no_grad()
def _keep_best(net, readout, valid, kept, least, decays, decay):
    """The weights of each replicate at its least validation cross-entropy so far, that, and the
    weight decay they were found with.
    """
    x, y = valid
    logits = net(x)
    scores = readout(logits.flatten(0, 1)).view_as(logits).clamp(1e-6, 1 - 1e-6)
    now = nn.functional.binary_cross_entropy(scores, y, reduction="none").mean(dim=(1, 2))
    better = now < least
    if kept is None:
        kept = [parameter.clone() for parameter in net.parameters()]
    for old, parameter in zip(kept, net.parameters(), strict=True):
        old[better] = parameter[better]
    return kept, torch.where(better, now, least), torch.where(better, decay, decays)


# --- Measuring ------------------------------------------------------------------------------------


def rank_measures(truth, scores):
    """AUROC and average precision of every label: two arrays [L]; NaN without both classes.

    For scores that hardly ever tie: AUROC counts a tie half, average precision in the order of the
    rows.

    Parameters
    ----------
    truth : 0 and 1 [M, L]; scores : [M, L].
    """
    truth, scores = np.asarray(truth, dtype=float), np.asarray(scores, dtype=float)
    positives, count = truth.sum(axis=0), len(truth)
    negatives = count - positives
    ranks = stats.rankdata(scores, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = (ranks * truth).sum(axis=0) - positives * (positives + 1) / 2
        auroc = wins / (positives * negatives)
        found = np.take_along_axis(truth, np.argsort(-scores, axis=0, kind="stable"), axis=0)
        precision = found.cumsum(axis=0) / np.arange(1, count + 1)[:, None]
        average = (precision * found).sum(axis=0) / positives
    undefined = (positives == 0) | (negatives == 0)
    return np.where(undefined, np.nan, auroc), np.where(undefined, np.nan, average)
