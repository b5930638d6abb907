"""What may be said, and how often it may be wrong: conformal sets, controlled risk, backing off."""

from numbers import Real

import numpy as np
import pandas as pd

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
    rank = int(np.ceil((len(values) + 1) * (1 - alpha) - 1e-9))
    return float(values[rank - 1]) if rank <= len(values) else np.inf


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

    Parameters
    ----------
    said : DataFrame [N, L] of ``statements``.
    truth : DataFrame [N, L] of 0, 1, NaN, with the same index.
    prevalence : Series by label, 0 … 1, of the training images.

    Returns
    -------
    DataFrame with a row for every true observation of every image: ``image`` (position),
    ``observation``, ``told`` (the deepest label said that is it or one of its ancestors, or ""),
    and ``information``, −log prevalence of what was told over that of the observation: 1, it is
    named; 0, nothing.
    """
    truth = checks.truths(truth)
    said = checks.probabilities(said, "said") > 0
    checks.same_table(truth, said, "said")
    prevalence = checks.by_label(prevalence, truth.columns, "prevalence", 0, 1)
    bits = -np.log(prevalence.clip(1e-6, 1 - 1e-6))
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
        columns = {"image": shown, "observation": label, "told": told}
        rows.append(pd.DataFrame(columns | {"information": share.fillna(0)}))
    return pd.concat(rows, ignore_index=True)
