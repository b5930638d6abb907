"""Which method, when: real labels, simulated features, and every method of the course in seconds.

Images are dear, and where a hierarchy helps depends on few things: how many images there are, how
clean their labels are, and how much of what gives a child away is its group's sign and how much its
own. So the labels here are those of real tables (``public``), and the features are simulated with a
strength that is known. Training takes seconds, and any of these things can be turned like a knob.
"""

import copy
from dataclasses import dataclass

import networkx as nx
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
PENALISED = ("hinge", "product")
MODELS = ("linear", "network")


def make_method(word, hierarchy, weight=1.0):
    """(loss, readout) of one of ``METHODS``; ``weight`` is that of a penalty."""
    if word not in METHODS:
        raise ValueError(f"unknown method {word!r}: choose one of {', '.join(METHODS)}.")
    if word in PENALISED:
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


STREAMS = ("signs", "noise", "readers", "omissions")


def _stream(seed, name):
    """Random numbers for one purpose: the same seed for two does not make them alike."""
    return np.random.default_rng([seed, STREAMS.index(name)])


# --- Labels ---------------------------------------------------------------------------------------


def close(labels, hierarchy):
    """Labels [N, L] with all ancestors of what is present: float32."""
    closed = np.array(labels, dtype=bool)
    for parent, child in hierarchy.edges_bottom_up:
        closed[:, parent] |= closed[:, child]
    return closed.astype(np.float32)


def implied(labels, hierarchy):
    """Which labels present [N, L] some child of theirs implies: bool [N, L]."""
    labels = np.asarray(labels) > 0.5
    found = np.zeros_like(labels)
    for parent, child in hierarchy.edges_bottom_up:
        found[:, parent] |= labels[:, child]
    return labels & found


def misread(labels, hierarchy, kappa, seed=0):
    """Labels as a poor reader gives them, who agrees with ``labels`` by ``kappa``: float32 [N, L].

    What is most special in an image (all that no child implies) is read label by label. With the
    chance 1 − kappa a label is not looked at but guessed, as often as it is present at all. It is
    called as often as before, its kappa (Cohen 1960) is ``kappa`` whether it is rare or frequent,
    and what implies what is true again at the end. The errors of two labels do not depend on each
    other, so No Finding may stand beside a finding.

    Parameters
    ----------
    labels : 0 and 1 [N, L], closed upwards, in the hierarchy's order.
    kappa : 0 … 1. NIH's report labels have 0.34 to 0.43 against radiologists on the images of
        ``public.adjudicated_labels``.
    """
    if not 0 <= kappa <= 1:
        raise ValueError(f"kappa={kappa!r}: expected 0 to 1.")
    rng, labels = _stream(seed, "readers"), np.asarray(labels) > 0.5
    special = labels & ~implied(labels, hierarchy)
    guessed = rng.random(labels.shape) < special.mean(axis=0)
    blind = rng.random(labels.shape) >= kappa
    return close(np.where(blind, guessed, special), hierarchy)


def omit_parents(labels, hierarchy, share, seed=0):
    """In a ``share`` of the rows, only the most special labels are named: float32 [N, L].

    So it is in 98% of those images of PadChest that have a parent to leave out, 38% of all.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share!r}: expected 0 to 1.")
    labels = np.asarray(labels) > 0.5
    careless = _stream(seed, "omissions").random(len(labels)) < share
    return (labels & ~(careless[:, None] & implied(labels, hierarchy))).astype(np.float32)


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
    special = labels & ~implied(labels, hierarchy)
    noise = _stream(seed, "noise").standard_normal((len(labels), signs.shape[1]))
    return (special @ signs + noise).astype(np.float32)


# --- Learning -------------------------------------------------------------------------------------

RATES = {"linear": 0.03, "network": 0.01}
DECAYS = (0.1, 1.0, 3.0, 10.0, 30.0)
WEIGHTS = (0.03, 0.3, 3.0)
STEPS, CHECKS = 400, 20


class Together(nn.Module):
    """Many small models at once, from features [R, B, width] to logits [D, R, B, L].

    For each of R replicates, which see data of their own, there are D models. One batch holds all
    of them, which takes little longer than one alone. "linear" is a logistic regression for each
    label; "network" has one hidden layer, through which labels can learn from each other.

    Of one replicate all D begin alike: the last layer at zero, and at biases that say how frequent
    a label is.
    """

    def __init__(self, copies, width, rates, model="linear", hidden=64, seed=0):
        super().__init__()
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}: choose one of {', '.join(MODELS)}.")
        replicates, labels = rates.shape
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        if model == "network":
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(replicates, width, hidden, generator=generator)
            self._add(copies, drawn * (2 / width) ** 0.5, torch.zeros(replicates, hidden))
            width = hidden
        self._add(copies, torch.zeros(replicates, width, labels), torch.logit(rates))

    def _add(self, copies, weight, bias):
        self.weights.append(nn.Parameter(weight.repeat(copies, 1, 1, 1)))
        self.biases.append(nn.Parameter(bias[:, None].repeat(copies, 1, 1, 1)))

    def forward(self, features):
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            features = (features.relu() if n else features) @ weight + bias
        return features


@dataclass
class Learnt:
    """The best weights of each of R replicates, and what they were chosen for.

    ``decays`` and ``weights`` [R] are those of weight decay and of the penalty that were chosen,
    ``least`` [R] the cross-entropy on validation data by which they were.
    """

    model: Together
    readout: nn.Module
    least: torch.Tensor
    decays: torch.Tensor
    weights: torch.Tensor

    @torch.inference_mode()
    def __call__(self, features):
        """Probabilities float32 [R, M, L] of features [R, M, width]."""
        return read(self.readout, self.model(torch.as_tensor(features))[0]).numpy()

    @torch.no_grad()
    def offer(self, net, valid, weight):
        """Keep, replicate by replicate, the best of the models of ``net`` if it is the best yet."""
        x, y = valid
        scores = read(self.readout, net(x)).clamp(1e-6, 1 - 1e-6)
        entropy = nn.functional.binary_cross_entropy(scores, y.expand_as(scores), reduction="none")
        now, which = entropy.mean(dim=(2, 3)).min(dim=0)
        better = (now < self.least).nonzero()[:, 0]
        for kept, offered in zip(self.model.parameters(), net.parameters(), strict=True):
            kept[0, better] = offered[which[better], better]
        self.least[better] = now[better]
        self.decays[better] = torch.tensor(DECAYS)[which[better]]
        self.weights[better] = weight


def read(readout, logits):
    """Probabilities of logits [..., L]."""
    return readout(logits.flatten(end_dim=-2)).view_as(logits)


def learn(word, hierarchy, train, valid, model="linear", weights=WEIGHTS, steps=STEPS, seed=0):
    """Train R replicates of a model by a method: ``Learnt``.

    Adam on one cycle of the learning rate, once for each weight decay of ``DECAYS`` and, for hinge
    and product, for each weight λ of the penalty. How much a method must be held back depends on
    the method. So of each replicate those weights are kept, of all tried and of ``CHECKS`` points
    in time, whose probabilities have the least cross-entropy on its validation data. "hmlc" is two
    trainings, the second from what the first, "conditional", has kept; so its choice is never worse
    than that of "conditional" on validation data.

    Biases do not decay: they hold how frequent a label is, which for a conditional readout is much
    nearer to one half than for a flat one, and a decay would favour it for that alone.

    Parameters
    ----------
    word : one of ``METHODS``.
    hierarchy : Hierarchy of the L labels.
    train, valid : pairs of features [R, N, width] and targets [R, N, L], of 0 and 1.
    model : "linear" or "network".
    weights : of the penalty, of which one is chosen.
    steps : how many batches of up to 128, a multiple of ``CHECKS``.
    seed : of the first weights and of the order of the data.
    """
    if steps < 1 or steps % CHECKS:
        raise ValueError(f"steps={steps}: expected a multiple of {CHECKS}.")
    train, valid = ([torch.as_tensor(part) for part in pair] for pair in (train, valid))
    rates = first_rates(train[1], hierarchy if word in ("conditional", "hmlc") else None)
    shape = train[0].shape[2], rates, model
    if word == "hmlc":
        best = learn("conditional", hierarchy, train, valid, model, steps=steps, seed=seed)
    else:
        nothing_yet = torch.full((3, len(rates)), torch.inf)
        readout = make_method(word, hierarchy)[1]
        best = Learnt(Together(1, *shape, seed=seed), readout, *nothing_yet)
    first = copy.deepcopy(best.model).state_dict()
    for weight in weights if word in PENALISED else (1.0,):
        loss = make_method(word, hierarchy, weight)[0]
        if word == "hmlc":
            loss.progress = 1.0  # its second stage
        net = Together(len(DECAYS), *shape, seed=seed)
        for name, parameter in net.named_parameters():
            parameter.data.copy_(first[name].expand_as(parameter))
        for done in fit(net, loss, train, model, steps, seed):
            if done % (steps // CHECKS) == 0:
                best.offer(net, valid, weight)
    return best


def fit(net, loss, data, model="linear", steps=STEPS, seed=0):
    """Train all models of ``net``, the d-th with the d-th of ``DECAYS``; yields the steps done."""
    x, y = data
    decays = torch.tensor(DECAYS)[:, None, None, None]
    optimizer = torch.optim.Adam(net.parameters(), RATES[model])
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATES[model], total_steps=steps)
    of_each = torch.vmap(torch.vmap(loss, in_dims=(0, 0)), in_dims=(0, None))
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        rows = torch.randint(x.shape[1], (min(x.shape[1], 128),), generator=generator)
        value = of_each(net(x[:, rows]), y[:, rows]).sum()  # of models that share nothing
        optimizer.zero_grad()
        value.backward()
        for weight in net.weights:  # as torch's AdamW does it, but each with a decay of its own
            weight.data *= 1 - cycle.get_last_lr()[0] * decays
        optimizer.step()
        cycle.step()
        yield step + 1


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


def ask_the_parent(scores, given, hierarchy, fewest=5):
    """Scores [M, L] in which labels that were hardly ever seen follow their parents.

    The simplest way to learn from a parent, as a yardstick: a label with parents and fewer than
    ``fewest`` positives among the labels ``given`` [N, L] gets the least of its parents' scores
    times how often it is present where they are (counted as in ``first_rates``).
    """
    rates = first_rates(torch.as_tensor(given)[None], hierarchy)[0].numpy()
    rare, position = np.asarray(given).sum(axis=0) < fewest, hierarchy.labels.index
    followed = np.array(scores)
    for label in nx.topological_sort(hierarchy.graph):
        above = [position(parent) for parent in hierarchy.parents(label)]
        if above and rare[position(label)]:
            followed[:, position(label)] = followed[:, above].min(axis=1) * rates[position(label)]
    return followed
