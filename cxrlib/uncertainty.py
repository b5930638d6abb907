"""Uncertainty: how sure a model is, what of it is the model's own doubt, and what to say then."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from cxrlib.data import train_transforms
from cxrlib.explanations import check_images
from cxrlib.labels import OBSERVATIONS


@dataclass(frozen=True)
class Uncertainty:
    """What several passes say of a batch; every field [B, L].

    ``mean`` and ``std`` of the probability over the passes; entropies in nats, 0 … log 2:
    ``predictive_entropy`` of the mean probability (all doubt), ``expected_entropy``, the mean of
    the passes' entropies (doubt that each pass has: aleatoric), and ``mutual_information``, their
    difference (doubt because the passes disagree: epistemic).
    """

    mean: torch.Tensor
    std: torch.Tensor
    predictive_entropy: torch.Tensor
    expected_entropy: torch.Tensor
    mutual_information: torch.Tensor


def mc_dropout(model, images, passes=10, readout=torch.sigmoid):
    """Monte Carlo dropout: predict several times, each time with other units dropped.

    Only the dropout modules are switched on. Everything else stays as in evaluation; in training
    mode batch normalisation would look at the batch, and change its buffers (notebook 07). All that
    comes before the first dropout is the same in every pass and is computed once.

    Parameters
    ----------
    model : ChestNet, in any mode; it is left in the mode it was in.
    images : float [B, 1, H, W], 0 … 1.
    passes : how many, at least 1. The paper makes 10.
    readout : from logits to probabilities, see ``training.make_readout``.

    Returns
    -------
    Uncertainty

    Raises
    ------
    ValueError
        No passes, a model without dropout, or images of another shape or range.

    References
    ----------
    Gal & Ghahramani 2016; Depeweg et al. 2018 for the decomposition.
    """
    return decompose(dropout_passes(model, images, passes, readout))


def dropout_passes(model, images, passes=10, readout=torch.sigmoid):
    """The probabilities of every pass: float [passes, B, L]. See ``mc_dropout``."""
    _check_passes(passes)
    check_images(images)
    parts = list(model.head.children())
    first = next((i for i, part in enumerate(parts) if isinstance(part, nn.Dropout)), None)
    if first is None or not any(part.p > 0 for part in parts if isinstance(part, nn.Dropout)):
        raise ValueError(
            "the model's head has no dropout (or one of probability 0): every pass would be the "
            "same. Build the model with dropout above 0."
        )
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            same = nn.Sequential(model.features, *parts[:first])(images)
            for part in parts:
                part.training = isinstance(part, nn.Dropout)
            repeated = same.repeat(passes, *[1] * (same.ndim - 1))
            scores = readout(nn.Sequential(*parts[first:])(repeated))
    finally:
        for module, mode in modes:
            module.training = mode
    return scores.reshape(passes, len(images), -1)


@torch.inference_mode()
def augmented_passes(model, images, passes=10, transform=None, seed=0, readout=torch.sigmoid):
    """Test-time augmentation: the probabilities of slightly changed copies, [passes, B, L].

    Within a pass, all images are changed alike.

    Parameters
    ----------
    model : ChestNet; it is put into evaluation mode.
    images, passes, readout : as in ``mc_dropout``.
    transform : from uint8 [B, 1, H, W] to float of the same shape; by default the training
        augmentation.
    seed : of the changes.
    """
    _check_passes(passes)
    check_images(images)
    transform, model = transform or train_transforms(), model.eval()
    grey = (images * 255).round().to(torch.uint8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.stack([readout(model(transform(grey))) for _ in range(passes)])


@torch.inference_mode()
def embed(model, images):
    """What the head's last layer looks at: float [B, hidden]. Puts the model into evaluation mode.

    An image far from all training images here is one that the model has no experience with.
    """
    check_images(images)
    parts = list(model.eval().head.children())
    return nn.Sequential(model.features, *parts[:-2])(images)


def decompose(scores):
    """Summarise the probabilities of several passes or models.

    Parameters
    ----------
    scores : float [passes, B, L], 0 … 1.

    Returns
    -------
    Uncertainty
    """
    mean = scores.mean(dim=0)
    total, inner = entropy(mean), entropy(scores).mean(dim=0)
    std = scores.std(dim=0, unbiased=False)
    return Uncertainty(mean, std, total, inner, (total - inner).clamp(min=0))


def entropy(p):
    """Entropy of "present or not" in nats, for probabilities of any shape."""
    return torch.special.entr(p) + torch.special.entr(1 - p)


def _check_passes(passes):
    if isinstance(passes, bool) or not isinstance(passes, int) or passes < 1:
        raise ValueError(f"passes={passes!r}: expected a whole number, at least 1.")


# --- What is uncertainty for? ---------------------------------------------------------------------


def risk_coverage(wrong, doubt):
    """The error rate among the answers that are given, when the most doubtful ones are withheld.

    Parameters
    ----------
    wrong : bool [N], whether the answer is wrong (or any loss, 0 … 1).
    doubt : float [N], how uncertain it is.

    Returns
    -------
    DataFrame [N] with ``coverage``, 1/N … 1, and ``risk``, the mean of ``wrong`` over the share
    ``coverage`` of the answers with the least doubt; of equal doubt, each counts with the mean of
    all that share it. The mean of ``risk`` is the area under the curve (AURC), small where doubt
    knows errors.

    References
    ----------
    Geifman & El-Yaniv 2017.
    """
    wrong, doubt = np.asarray(wrong, dtype=float), np.asarray(doubt, dtype=float)
    if wrong.shape != doubt.shape or wrong.ndim != 1 or not len(wrong):
        raise ValueError(f"wrong {wrong.shape} and doubt {doubt.shape}: expected the same [N].")
    if np.isnan(wrong).any() or np.isnan(doubt).any():
        raise ValueError("wrong or doubt holds NaN: leave out answers whose truth is unknown.")
    table = pd.DataFrame({"wrong": wrong, "doubt": doubt}).sort_values("doubt")
    expected = table.groupby("doubt")["wrong"].transform("mean").to_numpy()
    count = np.arange(1, len(wrong) + 1)
    return pd.DataFrame({"coverage": count / len(wrong), "risk": expected.cumsum() / count})


# --- Conformal prediction: sets that hold the truth as often as promised --------------------------

ANYONE = "all"


def conformal_quantile(strangeness, alpha):
    """The ⌈(n + 1)(1 − α)⌉-th smallest of n values; infinite where n is too small for α.

    A new value, exchangeable with these, is at most that with a probability of at least 1 − α.
    """
    values = np.sort(np.asarray(strangeness, dtype=float))
    rank = int(np.ceil((len(values) + 1) * (1 - alpha) - 1e-9))
    return float(values[rank - 1]) if rank <= len(values) else np.inf


def fit_conformal(scores, truth, alpha=0.1, by_class=True, groups=None):
    """Split conformal prediction for every label on its own.

    How strange it would be to call an image "present" is 1 − p, and "absent" p. The limits are
    quantiles of the strangeness of the truth on images the model was not trained on.

    Parameters
    ----------
    scores, truth : DataFrames [N, L] of probabilities, and of 0, 1 or NaN.
    alpha : how often the sets may miss the truth, 0 < α < 1.
    by_class : one limit for the images with a label and one for those without, so that the promise
        holds for both; otherwise one for all, which a rare label can keep by always missing it.
    groups : Series or array [N]; the promise then holds within each group.

    Returns
    -------
    DataFrame indexed by (group, label) with the limits ``absent`` and ``present``; infinite where
    there are too few images to promise anything: then everything stays possible.

    References
    ----------
    Vovk, Gammerman & Shafer 2005 (Mondrian conformal prediction).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r}: expected a number between 0 and 1.")
    _check_scores(scores)
    scores, truth = _same_table(scores, truth)
    groups = _groups(groups, len(scores))
    rows = {}
    for group in pd.unique(groups):
        of_group = groups == group
        for label in scores.columns:
            p, y = scores.loc[of_group, label].to_numpy(), truth.loc[of_group, label].to_numpy()
            strange = {"absent": p[y == 0], "present": 1 - p[y == 1]}
            if not by_class:
                strange = dict.fromkeys(strange, np.concatenate(list(strange.values())))
            rows[group, label] = {
                verdict: conformal_quantile(values, alpha) for verdict, values in strange.items()
            }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["group", "label"])
    return table


def conformal_sets(scores, limits, groups=None):
    """What remains possible for every image and label.

    Parameters
    ----------
    scores : DataFrame [N, L] of probabilities.
    limits : of ``fit_conformal``.
    groups : [N], where the limits are by group.

    Returns
    -------
    DataFrame [N, L] of "present", "absent", "unsure" (both are possible) or "neither".
    """
    _check_scores(scores)
    groups = _groups(groups, len(scores))
    unknown = set(groups) - set(limits.index.get_level_values("group"))
    if unknown:
        raise ValueError(f"group {sorted(map(str, unknown))[0]!r}: no limits were fitted for it.")
    out = {}
    for label in scores.columns:
        own = limits.xs(label, level="label").loc[groups]
        p = scores[label].to_numpy()
        present, absent = 1 - p <= own["present"].to_numpy(), p <= own["absent"].to_numpy()
        names = np.array(["neither", "absent", "present", "unsure"])
        out[label] = names[absent + 2 * present]
    return pd.DataFrame(out, index=scores.index)


def is_covered(sets, truth):
    """Whether each set holds the truth: DataFrame of 1, 0, and NaN where the truth is unknown."""
    sets, truth = _same_table(sets, truth)
    held = sets.eq("unsure") | sets.eq("present") & truth.eq(1) | sets.eq("absent") & truth.eq(0)
    return held.astype(float).where(truth.notna())


def _check_scores(scores):
    bad = ~scores.apply(lambda column: column.between(0, 1)).to_numpy()
    if bad.any():
        row, place = np.argwhere(bad)[0]
        raise ValueError(
            f"{scores.columns[place]}, row {row}: a score of {scores.iloc[row, place]}; expected a "
            "probability from 0 to 1."
        )


def _same_table(scores, truth):
    if list(scores.columns) != list(truth.columns) or len(scores) != len(truth):
        raise ValueError(
            f"tables {scores.shape} and {truth.shape} do not fit: expected the same images in rows "
            "and the same labels in columns."
        )
    return scores.reset_index(drop=True), truth.reset_index(drop=True)


def _groups(groups, count):
    groups = np.full(count, ANYONE, dtype=object) if groups is None else np.asarray(groups)
    if len(groups) != count:
        raise ValueError(f"{len(groups)} groups for {count} images.")
    return groups


# --- Backing off up the hierarchy -----------------------------------------------------------------


def doubt_groups(scores, hierarchy, factor):
    """Scores under which groups are doubted more than observations, made coherent.

    A group's doubt, one minus its score, is multiplied by ``factor``; then each group is raised to
    the highest of its children, since who says the child has said the group.

    Parameters
    ----------
    scores : DataFrame [N, L], 0 … 1.
    factor : at least 1. With 1 a group is said as soon as an observation would be. With ``np.inf``
        a group is never said for itself, which is plain abstention: an observation or nothing.

    Returns
    -------
    DataFrame [N, L], coherent.
    """
    if not factor >= 1:
        raise ValueError(f"factor={factor!r}: expected a number of at least 1, or infinity.")
    _check_scores(scores)
    groups = [label for label in scores if label not in OBSERVATIONS and hierarchy.children(label)]
    doubted = scores.copy()
    if np.isinf(factor):
        doubted[groups] = 0.0
    else:
        doubted[groups] = (1 - factor * (1 - scores[groups])).clip(lower=0)
    return hierarchy.make_coherent(doubted, how="max")


def statements(scores, hierarchy, threshold):
    """What is said of every image: the deepest labels that score at least ``threshold``.

    Where a child falls below the threshold, its group may still reach it: "Fluid Accumulation, kind
    not certain" is said instead of Edema. "Uncertain" is never said: it states nothing.

    Parameters
    ----------
    scores : DataFrame [N, L], coherent, of ``doubt_groups``.
    threshold : 0 … 1, or infinite to say nothing.

    Returns
    -------
    DataFrame [N, L] of bool.

    Raises
    ------
    ValueError
        Scores that are not coherent: a child would be said while its group is denied.
    """
    if hierarchy.incoherent(scores).any():
        raise ValueError(
            "the scores are not coherent: a child would be said while its group is denied. Use "
            "doubt_groups(scores, hierarchy, factor) first."
        )
    reached = scores >= threshold
    said = pd.DataFrame(False, index=scores.index, columns=scores.columns)
    for label in _sayable(scores, hierarchy):
        deeper = list(hierarchy.descendants(label))
        said[label] = reached[label] & ~reached[deeper].any(axis=1)
    return said


def _sayable(scores, hierarchy):
    """Labels that state something about the patient: observations, and groups of them."""
    return [label for label in scores if label in OBSERVATIONS or hierarchy.children(label)]


def highest_wrong(scores, truth, hierarchy):
    """The highest score of a label that is not true: [N]; −infinity where there is none.

    A report says something wrong exactly where its threshold is not above this.

    Parameters
    ----------
    scores : DataFrame [N, L], coherent.
    truth : DataFrame [N, L] of 0, 1, NaN; it is closed first (an ancestor of what is true is true).
    """
    scores, truth = _same_table(scores, hierarchy.close(truth))
    labels = _sayable(scores, hierarchy)
    wrong = scores[labels].where(truth[labels] == 0)
    return wrong.max(axis=1).fillna(-np.inf).to_numpy()


def control_risk(highest, patients, alpha):
    """The lowest threshold at which reports with a wrong statement are promised to be rare.

    Conformal risk control: for a new patient, exchangeable with these, the expected share of images
    whose report holds a wrong statement is at most ``alpha``. A patient's images count together as
    one, since they are not independent.

    Parameters
    ----------
    highest : [N], of ``highest_wrong`` on images the model was not trained on.
    patients : [N], whose image it is.
    alpha : the risk that is accepted, 0 < α < 1.

    Returns
    -------
    float: for ``statements``; infinite (say nothing) where there are too few patients.

    References
    ----------
    Angelopoulos et al. 2022, eq. 4.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r}: expected a number between 0 and 1.")
    highest, patients = np.asarray(highest, dtype=float), pd.Series(np.asarray(patients))
    if highest.shape != patients.shape or not len(highest):
        raise ValueError(f"highest {highest.shape} and patients {patients.shape}: expected [N].")
    weight = 1 / patients.map(patients.value_counts()).to_numpy()  # of an image in its patient
    count = patients.nunique()
    order = np.argsort(-highest)
    descending = highest[order]
    risk = (weight[order].cumsum() + 1) / (count + 1)  # of a threshold at each of these values
    allowed = int(np.searchsorted(risk, alpha + 1e-12, side="right"))
    if 1 / (count + 1) > alpha:
        return np.inf
    if allowed == len(descending):
        return -np.inf
    # Just above the first value that would be one too many.
    return float(np.nextafter(descending[allowed], np.inf))


def specificity(said, truth, hierarchy, prevalence):
    """How much of what is true the statements tell, finding by finding.

    Parameters
    ----------
    said : of ``statements``.
    truth : DataFrame [N, L] of 0, 1, NaN.
    prevalence : Series by label, 0 … 1, of the training images.

    Returns
    -------
    DataFrame with a row for every true observation of every image: ``image`` (position),
    ``observation``, ``told`` (the deepest label said that is it or one of its ancestors, or ""),
    and ``information``, −log prevalence of what was told over that of the observation: 1, it is
    named; 0, nothing.
    """
    said, truth = _same_table(said, truth)
    bits = -np.log(prevalence.clip(1e-6, 1))
    rows = []
    for label in (name for name in OBSERVATIONS if name in truth):
        above = sorted(hierarchy.ancestors(label), key=bits.get, reverse=True)
        shown = np.flatnonzero(truth[label] == 1)
        implied = {
            name: said[[name, *hierarchy.descendants(name)]].any(axis=1).to_numpy()[shown]
            for name in (label, *above)
        }
        told = np.full(len(shown), "", dtype=object)
        for name in (*reversed(above), label):
            told[implied[name]] = name
        share = pd.Series(told).map({name: bits[name] / bits[label] for name in implied})
        rows.append(
            pd.DataFrame(
                {"image": shown, "observation": label, "told": told, "information": share.fillna(0)}
            )
        )
    return pd.concat(rows, ignore_index=True)


# --- Images that are no frontal radiographs -------------------------------------------------------


def odd_images(images, seed=0):
    """Images that a model of frontal radiographs should not be sure about.

    Parameters
    ----------
    images : float [N, 1, H, W], 0 … 1, frontal radiographs, some of which are spoilt.

    Returns
    -------
    dict : kind → float [N, 1, H, W]: "inverted" (black for white), "upside down", "on its side",
    "blank", "noise", and "photograph", a landscape drawn by code.
    """
    check_images(images)
    rng = np.random.default_rng(seed)
    size = images.shape[-1]
    levels = torch.from_numpy(rng.random((len(images), 1, 1, 1), dtype=np.float32))
    landscapes = np.stack([_landscape(rng, size) for _ in images])[:, None]
    return {
        "inverted": 1 - images,
        "upside down": images.flip(-2),
        "on its side": images.rot90(1, (-2, -1)),
        "blank": levels.expand(-1, 1, size, size).clone(),
        "noise": torch.from_numpy(rng.random(images.shape, dtype=np.float32)),
        "photograph": torch.from_numpy(landscapes.astype(np.float32)),
    }


def _landscape(rng, size):
    """Sky with a sun, two ranges of hills, a house: float [size, size], 0 … 1."""
    y, x = np.mgrid[:size, :size] / size
    sun = np.exp(-((x - rng.uniform(0.1, 0.9)) ** 2 + (y - rng.uniform(0.1, 0.3)) ** 2) / 0.004)
    scene = 0.75 - 0.3 * y + 0.4 * sun
    for level, grey in ((0.45, 0.45), (0.65, 0.25)):
        waves = sum(
            rng.uniform(0.02, 0.06) * np.sin(2 * np.pi * (k * x + rng.random())) for k in (1, 2, 5)
        )
        grass = 0.05 * rng.standard_normal((size, size))
        scene = np.where(y > level + waves, grey + grass, scene)
    left, top, wide = rng.uniform(0.1, 0.6), rng.uniform(0.6, 0.7), rng.uniform(0.15, 0.3)
    house = (x > left) & (x < left + wide) & (y > top) & (y < top + wide)
    roof = (y < top) & (y > top - wide / 2 + np.abs(x - left - wide / 2))
    return np.where(house, 0.85, np.where(roof, 0.1, scene)).clip(0, 1)
