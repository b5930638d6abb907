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
    table = hierarchy.to_table(np.asarray(labels, dtype=float))
    return hierarchy.to_array(hierarchy.close(table))


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
    chance 1 − kappa a label is not looked at but guessed, as often as it is present at all; what
    implies what is true again at the end. So a label without children is called as often as it is
    there, and its kappa (Cohen 1960) is ``kappa``, whether it is rare or frequent. A group is
    called whenever a child is guessed: more often than it is there, with a lower kappa. The errors
    of two labels do not depend on each other, so No Finding may stand beside a finding.

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

RIDGES = {
    "linear": (3000.0, 1000.0, 300.0, 100.0, 30.0),
    "network": (300.0, 200.0, 140.0, 100.0, 70.0, 50.0, 30.0),
}
"""What is tried. At the upper end a linear model's ranking hardly changes any more, and a network's
weights vanish.
"""
WEIGHTS = (0.03, 1.0)
STEPS = {"linear": 50, "network": 150}


class Together(nn.Module):
    """R small models at once, from features [R, B, width] to logits [R, B, L].

    Every replicate has weights of its own; one batch holds all of them, which takes little longer
    than one alone. "linear" is a logistic regression for each label; "network" has one hidden
    layer, through which labels can learn from each other. The last layer begins at zero, and at
    biases that say how frequent a label is: ``rates`` [R, L].
    """

    def __init__(self, width, rates, model="linear", hidden=64, seed=0):
        super().__init__()
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}: choose one of {', '.join(MODELS)}.")
        replicates, labels = rates.shape
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        if model == "network":
            generator = torch.Generator().manual_seed(seed)
            drawn = torch.randn(replicates, width, hidden, generator=generator) / width**0.5
            self._add(drawn, torch.zeros(replicates, hidden))
            width = hidden
        self._add(torch.zeros(replicates, width, labels), torch.logit(rates))

    def _add(self, weight, bias):
        self.weights.append(nn.Parameter(weight))
        self.biases.append(nn.Parameter(bias[:, None]))

    def forward(self, features):
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            features = torch.baddbmm(bias, features.relu() if n else features, weight)
        return features


@dataclass(frozen=True)
class Learnt:
    """Trained replicates, how they are read, and the ridge and λ that were chosen for all."""

    model: Together
    readout: nn.Module
    ridge: float
    weight: float

    @torch.inference_mode()
    def __call__(self, features):
        """Probabilities float32 [R, M, L] of features [R, M, width]."""
        logits = self.model(torch.as_tensor(features))
        return self.readout(logits.flatten(0, 1)).view_as(logits).numpy()

    def average_precision(self, data):
        """The mean over labels and replicates, on features and targets [R, M, ·]."""
        x, y = map(np.asarray, data)
        found = [rank_measures(truth, s)[1] for truth, s in zip(y, self(x), strict=True)]
        return float(np.mean([np.nanmean(of_labels) for of_labels in found]))


def learn(word, hierarchy, train, valid, model="linear", weights=WEIGHTS, ridges=None, seed=0):
    """Train R replicates of a model by a method: ``Learnt``.

    Every label's weights are held back by a ridge (½ · ridge · the sum of their squares, beside the
    cross-entropy summed over images and labels), and are taken to the bottom, or near it, by L-BFGS
    with all images at once, so that no learning rate and no stopping time favours a method.

    How much it must be held back depends on the method. So all of ``ridges`` are tried and, for
    hinge and product, all of ``weights``, and one pair is kept: that with the highest average
    precision on the validation data, all replicates together. (What is judged by its ranking is
    chosen by it: cross-entropy wants less ridge. And with few images, a choice for each replicate
    alone would be luck, and other luck for another method.)

    Biases are not held back: they hold how frequent a label is, which for a conditional readout is
    much nearer to one half than for a flat one, and a ridge would favour it for that alone. "hmlc"
    goes on from what "conditional" has learnt with the same ridge.

    Parameters
    ----------
    word : one of ``METHODS``.
    hierarchy : Hierarchy of the L labels.
    train, valid : pairs of features [R, N, width] and targets [R, N, L], of 0 and 1.
    model : "linear" or "network".
    weights : λ, how much the penalty of an edge weighs beside the cross-entropy of a label, each on
        average. (In ``losses`` the edges are added up; so this is divided by their number.)
    ridges : from the highest, by default those of ``RIDGES``; a linear model goes on from the
        weights of the one before.
    seed : of the first weights of a network, whose hidden layer has fewer units than many a
        hierarchy has labels.
    """
    train = tuple(map(torch.as_tensor, train))
    conditional = word in ("conditional", "hmlc")
    asked = are_asked(train[1], hierarchy) if conditional else torch.ones_like(train[1])
    best, highest = None, -np.inf
    for weight in weights if word in PENALISED else (1.0,):
        loss, readout = make_method(word, hierarchy, weight / max(len(hierarchy.edges), 1))
        begin = train[0].shape[2], first_rates(train[1], asked), model
        net = Together(*begin, seed=seed)
        for ridge in ridges or RIDGES[model]:
            if model == "network":  # once its weights have vanished, it would not come back
                net = Together(*begin, seed=seed)
            first = ConditionalLoss(hierarchy) if word == "hmlc" else loss
            fit(net, first, train, ridge, STEPS[model], asked.sum(dim=(1, 2)))
            learnt = Learnt(copy.deepcopy(net), readout, ridge, weight)
            if word == "hmlc":
                loss.progress = 1.0  # its second stage
                fit(learnt.model, loss, train, ridge, STEPS[model])
            found = learnt.average_precision(valid)
            if found > highest:
                best, highest = learnt, found
    return best


def fit(net, loss, data, ridge, steps, count=None):
    """Minimise, for every replicate, its loss and the ridge, by L-BFGS: at most ``steps`` steps.

    ``count`` [R] says of how many targets the loss is the mean; by default of all.
    """
    x, y = data
    count = torch.full((len(x),), y[0].numel()) if count is None else count
    of_each = torch.vmap(loss)
    optimizer = torch.optim.LBFGS(
        net.parameters(), max_iter=steps, history_size=20, line_search_fn="strong_wolfe"
    )

    def objective():
        optimizer.zero_grad()
        held = sum(weight.square().sum(dim=(1, 2)) for weight in net.weights)
        value = ((of_each(net(x), y) * count + ridge / 2 * held) / x.shape[1]).sum()
        value.backward()
        return value

    optimizer.step(objective)


def are_asked(targets, hierarchy):
    """Where all parents of a label are present, so that a conditional method learns it: 0 or 1."""
    asked = torch.ones_like(targets)
    for parent, child in zip(*(p.tolist() for p in hierarchy.edge_positions), strict=True):
        asked[..., child] *= targets[..., parent]
    return asked


def first_rates(targets, asked):
    """How often each label is present among the images on which it is asked: [R, L].

    A model that starts from these need not unlearn that half of all labels are present. One image
    more that has the label as often as all have it keeps the rates off 0 and 1.

    Parameters
    ----------
    targets, asked : 0 and 1 [R, N, L].
    """
    usual = (targets.sum(dim=1) + 0.5) / (targets.shape[1] + 1)
    return ((targets * asked).sum(dim=1) + usual) / (asked.sum(dim=1) + 1)


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
    targets = torch.as_tensor(given)[None]
    rates = first_rates(targets, are_asked(targets, hierarchy))[0].numpy()
    rare, position = np.asarray(given).sum(axis=0) < fewest, hierarchy.labels.index
    followed = np.array(scores)
    for label in nx.topological_sort(hierarchy.graph):
        above = [position(parent) for parent in hierarchy.parents(label)]
        if above and rare[position(label)]:
            followed[:, position(label)] = followed[:, above].min(axis=1) * rates[position(label)]
    return followed


def times_ancestors(scores, hierarchy):
    """Scores [M, L], each times the geometric mean of its ancestors' scores.

    What a conditional readout does with the probabilities, done to a flat model's afterwards.
    """
    scores, position = np.asarray(scores), hierarchy.labels.index
    product = np.array(scores)
    for label in hierarchy.labels:
        above = [position(name) for name in hierarchy.ancestors(label)]
        if above:
            among = np.log(scores[:, above].clip(1e-12)).mean(axis=1)
            product[:, position(label)] *= np.exp(among)
    return product
