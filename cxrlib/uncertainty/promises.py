"""What may be said, and how often it may be wrong: conformal sets, controlled risk, backing off."""

import itertools
from numbers import Real

import networkx as nx
import numpy as np
import pandas as pd
from scipy import stats

from cxrlib.evaluation import checks
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.labels import OBSERVATIONS

ANYONE = "all"
SETS = np.array(["neither", "absent", "present", "unsure"])


def conformal_quantile(strangeness, alpha):
    """The ⌈(n + 1)(1 − α)⌉-th smallest of n values; infinite where n is too small for α.

    A new value, exchangeable with these, is at most that with a probability of at least 1 − α,
    0 < α < 1. The values are [n], without NaN.
    """
    checks.share("alpha", alpha)
    values = np.sort(checks.numbers(strangeness, "strangeness", least=0))
    rank = _rank(len(values), alpha)
    return float(values[rank - 1]) if rank <= len(values) else np.inf


def _rank(count, alpha):
    """⌈(n + 1)(1 − α)⌉, safe against rounding."""
    return int(np.ceil((count + 1) * (1 - alpha) - 1e-9))


def coverage_law(count, alpha, new=None):
    """How much of new images limits cover that were fitted on ``count`` images: a distribution.

    ``fit_conformal`` promises at least 1 − α on average over the images it might be fitted on. For
    those it *was* fitted on, the coverage is some number, and this is its law: Beta(k, n + 1 − k),
    k being the rank of ``conformal_quantile``, for exchangeable images and scores without ties
    (Vovk 2012). Of ``new`` images a number is covered, whose law is the beta-binomial: it holds the
    luck of both draws.

    Parameters
    ----------
    count : how many images the limit was fitted on: by class, those of the class.
    alpha : 0 < α < 1.
    new : how many images the coverage is counted on; without it, on all there could ever be.

    Returns
    -------
    A frozen distribution of scipy.stats: of a share, or of how many of ``new``.

    Examples
    --------
    With 32 images, nine in ten promised, one limit in twenty covers less than this:

    >>> round(float(coverage_law(32, 0.1).ppf(0.05)), 2)
    0.82
    """
    checks.number("count", count, 1)
    checks.share("alpha", alpha)
    rank = _rank(count, alpha)
    if rank > count:
        raise ValueError(f"count={count}: too few for alpha={alpha}: no limit, and all is covered.")
    if new is None:
        return stats.beta(rank, count + 1 - rank)
    checks.number("new", new, 1)
    return stats.betabinom(new, rank, count + 1 - rank)


def fit_joint(scores, truth, alpha=0.1):
    """Limits by which an image is covered on *all* its labels at once.

    Promises for each label add up to none for the image: of fourteen labels that are covered nine
    times in ten, some is missed far oftener. Here an image is as strange as the strangest of its
    truths, and one limit is fitted for all labels.

    Parameters, errors and limits are those of ``fit_conformal``; an image counts with the labels
    whose truth is known.
    """
    checks.share("alpha", alpha)
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    limit = conformal_quantile((truth - scores).abs().max(axis=1).dropna(), alpha)
    places = pd.MultiIndex.from_product([[ANYONE], scores.columns], names=["group", "label"])
    return pd.DataFrame(limit, index=places, columns=["absent", "present"], dtype=float)


def fit_conformal(scores, truth, alpha=0.1, by_class=True, groups=None):
    """Split conformal prediction for every label on its own.

    How strange it would be to call an image "present" is 1 − p, and "absent" p. The limits are
    quantiles of the strangeness of the truth on images the model was not trained on. Vovk,
    Gammerman & Shafer 2005 (Mondrian conformal prediction).

    Parameters
    ----------
    scores, truth : DataFrames [N, L] of probabilities, and of 0, 1 or NaN, with the same index.
    alpha : how often the sets may miss the truth, 0 < α < 1.
    by_class : one limit for the images with a label and one for those without, so that the promise
        holds for both; otherwise one for all, which a rare label can keep by always missing it.
    groups : Series [N] with that index, or array; the promise then holds within each group.

    Returns
    -------
    DataFrame indexed by (group, label) with the limits ``absent`` and ``present``; infinite where
    there are too few images to promise anything: then everything stays possible.
    """
    checks.share("alpha", alpha)
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    groups = _groups(groups, scores)
    rows = {}
    for group in pd.unique(groups):
        of_group = groups == group
        for label in scores.columns:
            p, y = scores.loc[of_group, label].to_numpy(), truth.loc[of_group, label].to_numpy()
            strange = {"absent": p[y == 0], "present": 1 - p[y == 1]}
            if not by_class:
                strange = dict.fromkeys(strange, np.concatenate(list(strange.values())))
            rows[group, label] = {k: conformal_quantile(v, alpha) for k, v in strange.items()}
    return pd.DataFrame(rows).T.rename_axis(["group", "label"])


def conformal_sets(scores, limits, groups=None):
    """What remains possible: [N, L] of "present", "absent", "unsure" (both are) or "neither".

    Parameters
    ----------
    scores : DataFrame [N, L] of probabilities.
    limits : of ``fit_conformal``, for all these labels and groups.
    groups : Series [N] with the index of scores, or array, where the limits are by group.
    """
    scores = checks.probabilities(scores)
    groups = _groups(groups, scores)
    columns = list(getattr(limits, "dtypes", pd.Series()).items())
    if columns != [("absent", np.float64), ("present", np.float64)]:
        raise EvaluationError("limits: expected what fit_conformal returns.")
    for group in pd.unique(groups):
        lost = [label for label in scores if (group, label) not in limits.index]
        if lost:
            raise EvaluationError(f"group {group!r}: no limits were fitted for it and {lost[0]!r}.")
    out = {}
    for label in scores.columns:
        own = limits.xs(label, level="label").loc[groups]
        p = scores[label].to_numpy()
        present, absent = 1 - p <= own["present"].to_numpy(), p <= own["absent"].to_numpy()
        out[label] = SETS[absent + 2 * present]
    return pd.DataFrame(out, index=scores.index)


def weighted_sets(scores, truth, new_scores, weights, new_weights, alpha=0.1):
    """Sets for images of another kind than the limits are fitted on, which only looks differ.

    Weighted conformal prediction (Tibshirani et al. 2019, eq. 8): an image of the old kind counts
    by how much oftener its like is met among the new ones. If these weights are the true ratio of
    the densities, and the truth depends on what an image shows as it did before, new images are
    covered as promised, on average; a ratio that is guessed promises nothing. Class by class, as
    ``fit_conformal`` does it.

    Parameters
    ----------
    scores, truth : DataFrames [N, L] of the old images: probabilities, and 0, 1 or NaN.
    new_scores : DataFrame [M, L] with the same columns.
    weights, new_weights : [N] and [M], above 0: of both kinds of images.
    alpha : how often the sets may miss the truth, 0 < α < 1.

    Returns
    -------
    DataFrame [M, L] as of ``conformal_sets``.
    """
    checks.share("alpha", alpha)
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    new_scores = checks.probabilities(new_scores, "new_scores")
    if list(new_scores) != list(scores):
        raise EvaluationError("new_scores: expected the labels of scores, in their order.")
    weights = checks.by_row(weights, scores, "weights").to_numpy(dtype=float)
    new_weights = checks.by_row(new_weights, new_scores, "new_weights").to_numpy(dtype=float)
    for name, values in (("weights", weights), ("new_weights", new_weights)):
        if not (np.isfinite(values) & (values > 0)).all():
            raise EvaluationError(f"{name}: expected numbers above 0.")
    out = {}
    for label in scores:
        p, y, new = (t[label].to_numpy() for t in (scores, truth, new_scores))
        absent = new <= _weighted_limits(p[y == 0], weights[y == 0], new_weights, alpha)
        present = 1 - new <= _weighted_limits(1 - p[y == 1], weights[y == 1], new_weights, alpha)
        out[label] = SETS[absent + 2 * present]
    return pd.DataFrame(out, index=new_scores.index)


def _weighted_limits(strangeness, weights, new_weights, alpha):
    """The limit of each new image [M]: the new one counts as infinitely strange."""
    order = np.argsort(strangeness)
    reached = weights[order].cumsum()
    total = weights.sum() + new_weights
    place = np.searchsorted(reached, (1 - alpha) * total - 1e-9)
    return np.append(strangeness[order], np.inf)[np.minimum(place, len(order))]


def is_covered(sets, truth):
    """Whether each set holds the truth: DataFrame of 1, 0, and NaN where the truth is unknown.

    Both are DataFrames [N, L] with the same index: of ``conformal_sets``, and of 0, 1 or NaN.
    """
    truth = checks.truths(truth)
    if not isinstance(sets, pd.DataFrame):
        raise EvaluationError("sets: expected what conformal_sets returns.")
    checks.same_table(truth, sets, "sets")
    if not sets.isin(SETS).all(axis=None):
        raise EvaluationError(f"sets: expected {', '.join(SETS)} in every place.")
    held = sets.eq("unsure") | sets.eq("present") & truth.eq(1) | sets.eq("absent") & truth.eq(0)
    return held.astype(float).where(truth.notna())


def _groups(groups, table):
    groups = [ANYONE] * len(table) if groups is None else groups
    return checks.by_row(groups, table, "groups").to_numpy(dtype=object)


def doubt_groups(scores, hierarchy, factor):
    """Scores [N, L] under which groups are doubted more than observations, made coherent.

    A group's doubt, one minus its score (0 … 1), is multiplied by ``factor``, at least 1; then each
    group is raised to the highest of its children, since who says the child has said the group.
    With a factor of 1 a group is said as soon as an observation would be. With ``np.inf`` a group
    is never said for itself, which is plain abstention: an observation or nothing.
    """
    checks.number("factor", factor, 1, kind=Real)
    scores = checks.probabilities(scores)
    groups = [label for label in scores if label not in OBSERVATIONS and hierarchy.children(label)]
    doubted = scores.copy()
    if np.isinf(factor):
        doubted[groups] = 0.0
    else:
        doubted[groups] = (1 - factor * (1 - scores[groups])).clip(lower=0)
    return hierarchy.make_coherent(doubted, how="max")


def above_called(scores, hierarchy, threshold=0.5):
    """Coherent scores [N, L] in which only what lies above a called observation can be said.

    Climbing, as in hierarchical selective classification (Goren et al. 2024): a model commits to
    what it would call, and climbs from there until it is sure enough. There one leaf is called for
    each image; here every observation that scores above ``threshold`` is, and each climbs by
    itself. All labels that are no called observation and above none become 0.
    """
    scores = checks.probabilities(scores)
    observations = [label for label in scores if label in OBSERVATIONS]
    called = pd.DataFrame(0.0, index=scores.index, columns=scores.columns)
    called[observations] = (scores[observations] > threshold).astype(float)
    return scores.where(hierarchy.close(called) == 1, 0.0)


def tree_control(scores, truth, patients, new, hierarchy, alpha):
    """Statements by control of all errors over the graph: bool [M, L], the deepest that are shown.

    A label is *shown* if all above it are, and if its score would be too high for an image that has
    all above it but not the label: its conformal p-value, the share of such calibration images with
    as high a score, is at most α times the share of all leaves that lie at or below it. (So
    Meinshausen 2008 controls a tree's hypotheses; with conformal p-values Tyagi and Guo 2023.)

    Then the chance that an image gets any wrong statement is at most α, on average over patients;
    exactly so where all images of a patient have one truth. Of the wrong labels shown, the topmost
    have all above them true, none lies above another, and so they share no leaf (a hierarchy in
    which they could is refused): the chances of theirs add up to α at most. Compared with *all*
    images without the label, which mostly lack what is above it too and look nothing like it, its
    p-value would be too small.

    Parameters
    ----------
    scores, truth, patients : of calibration images: DataFrames [N, L] of probabilities and of 0, 1,
        NaN, with the same index, and [N], whose image it is. The images of a patient count together
        as one.
    new : DataFrame [M, L] of probabilities of other images.
    alpha : the risk that is accepted, 0 < α < 1. A label whose p-values come from n patients is
        never shown where its part of α is below 1 / (n + 1).

    Raises
    ------
    ValueError : two labels share a leaf, and none of them lies above the other.
    """
    checks.share("alpha", alpha)
    leaves = _leaves_below(hierarchy)
    closed, scores = checks.tables(
        hierarchy.close(checks.truths(truth)), scores, checks.probabilities
    )
    new = checks.probabilities(new, "new")
    patients = checks.by_row(patients, scores, "patients")
    every = set().union(*leaves.values())
    shown = pd.DataFrame(False, index=new.index, columns=new.columns)
    for label in nx.topological_sort(hierarchy.graph):
        if label in leaves:
            above = list(hierarchy.ancestors(label))
            like = ((closed[label] == 0) & (closed[above] == 1).all(axis=1)).to_numpy()
            p = _p_values(scores.loc[like, label], patients[like], new[label])
            level = alpha * len(leaves[label]) / len(every)
            shown[label] = (p <= level + 1e-12) & shown[above].all(axis=1)
    return deepest(shown, hierarchy)


def _leaves_below(hierarchy):
    """{label: its leaves} of all that states something, if α can be divided among them."""
    sayable = _sayable(hierarchy.labels, hierarchy)
    ends = {label for label in sayable if not hierarchy.children(label)}
    leaves = {label: {label, *hierarchy.descendants(label)} & ends for label in sayable}
    for one, other in itertools.combinations(sayable, 2):
        nested = one in hierarchy.ancestors(other) or other in hierarchy.ancestors(one)
        if not nested and (both := leaves[one] & leaves[other]):
            raise ValueError(
                f"{one} and {other} both lie above {min(both)}, and none of them above the other: "
                "alpha cannot be divided between them. Expected a hierarchy without such labels."
            )
    return leaves


def _p_values(scores, patients, new):
    """For each new score the share of patients, by their share of images, with as high a one."""
    weight = 1 / patients.map(patients.value_counts()).to_numpy()
    order = np.argsort(-scores.to_numpy(), kind="stable")
    descending = scores.to_numpy()[order]
    higher = np.concatenate([[0.0], weight[order].cumsum()])
    count = np.searchsorted(-descending, -new.to_numpy(), side="right")
    return (higher[count] + 1) / (patients.nunique() + 1)


def statements(scores, hierarchy, threshold):
    """What is said of an image: the deepest labels that score at least ``threshold``; bool [N, L].

    Where a child falls below the threshold, its group may still reach it: "Fluid Accumulation, kind
    not certain" is said instead of Edema. "Uncertain" is never said: it states nothing.

    Parameters
    ----------
    scores : DataFrame [N, L], coherent, of ``doubt_groups``; in others, which are refused, a child
        would be said while its group is denied.
    threshold : a number, 0 … 1, or infinite to say nothing.
    """
    scores = checks.probabilities(scores)
    checks.number("threshold", threshold, -np.inf, kind=Real)
    if hierarchy.incoherent(scores).any():
        raise ValueError("the scores are not coherent, a child above its group: use doubt_groups.")
    return deepest(scores >= threshold, hierarchy)


def deepest(reached, hierarchy):
    """Of the labels that are reached, bool [N, L], those with nothing reached below them."""
    said = pd.DataFrame(False, index=reached.index, columns=reached.columns)
    for label in _sayable(reached, hierarchy):
        deeper = list(hierarchy.descendants(label))
        said[label] = reached[label] & ~reached[deeper].any(axis=1)
    return said


def _sayable(labels, hierarchy):
    """Of these labels those that state something about the patient: observations, and groups."""
    return [label for label in labels if label in OBSERVATIONS or hierarchy.children(label)]


def highest_wrong(scores, truth, hierarchy):
    """The highest score of a label that is not true: [N]; −infinity where there is none.

    A report says something wrong exactly where its threshold is not above this. Scores [N, L] are
    coherent; truth [N, L] of 0, 1, NaN, with the same index, is closed first (an ancestor of what
    is true is true).
    """
    closed = hierarchy.close(checks.truths(truth))
    closed, scores = checks.tables(closed, scores, checks.probabilities)
    wrong = scores[_sayable(scores, hierarchy)].where(closed == 0)
    return wrong.max(axis=1).fillna(-np.inf).to_numpy()


def control_risk(highest, patients, alpha):
    """The lowest threshold at which reports with a wrong statement are promised to be rare.

    Conformal risk control (Angelopoulos et al. 2022, eq. 4): for a new patient, exchangeable with
    these, the expected share of images whose report holds a wrong statement is at most ``alpha``. A
    patient's images count together as one, since they are not independent.

    Parameters
    ----------
    highest : [N], of ``highest_wrong`` on images the model was not trained on; no NaN.
    patients : [N], whose image it is; where both are Series, with the same index.
    alpha : the risk that is accepted, 0 < α < 1. With too few patients for it the threshold is
        infinite: say nothing.
    """
    checks.share("alpha", alpha)
    values = checks.numbers(highest, "highest")
    patients = checks.by_row(patients, highest, "patients")
    weight = 1 / patients.map(patients.value_counts()).to_numpy()  # of an image in its patient
    count = patients.nunique()
    order = np.argsort(-values)
    descending = values[order]
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

    A finding is told by its name (or one below it, which implies it), or by a group above it that
    is said *for itself*. A group that is only implied, by a statement about another finding, tells
    nothing of this one: who says Support Devices does not mention a pneumothorax, though both are
    Abnormal. Nor does a group that holds every finding, Abnormal itself; and No Finding is none.

    Parameters
    ----------
    said : DataFrame [N, L] of ``statements``.
    truth : DataFrame [N, L] of 0, 1, NaN, with the same index.
    prevalence : Series by label, 0 … 1, of the training images.

    Returns
    -------
    DataFrame with a row for every true finding of every image: ``image`` (position),
    ``observation``, ``told`` (the deepest label said that is it or a group of it, or ""), and
    ``information``, −log prevalence of what was told over that of the finding: 1, it is named; 0,
    nothing.
    """
    truth = checks.truths(truth)
    said = checks.probabilities(said, "said") > 0
    checks.same_table(truth, said, "said")
    prevalence = checks.by_label(prevalence, truth.columns, "prevalence", 0, 1)
    bits = -np.log(prevalence.clip(1e-6, 1 - 1e-6))
    findings = [name for name in OBSERVATIONS if name in truth and name != "No Finding"]
    rows = []
    for label in findings:
        groups = [
            name
            for name in hierarchy.ancestors(label)
            if not set(findings) <= set(hierarchy.descendants(name))
        ]
        above = sorted(groups, key=bits.get, reverse=True)
        shown = np.flatnonzero(truth[label] == 1)
        told = np.full(len(shown), "", dtype=object)
        named = said[[label, *hierarchy.descendants(label)]].any(axis=1)
        for name, by in (*((n, said[n]) for n in reversed(above)), (label, named)):
            told[by.to_numpy()[shown]] = name
        share = pd.Series(told).map({name: bits[name] / bits[label] for name in (label, *above)})
        columns = {"image": shown, "observation": label, "told": told}
        rows.append(pd.DataFrame(columns | {"information": share.fillna(0)}))
    return pd.concat(rows, ignore_index=True)
