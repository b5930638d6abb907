"""Two models, or two groups of patients, compared honestly."""

import numpy as np
import pandas as pd

from cxrlib.evaluation import checks
from cxrlib.evaluation.auroc import (
    auroc_means,
    evaluate,
    known_values,
    mean_over_labels,
    patient_weights,
    percentiles,
    weighted_auroc,
)
from cxrlib.evaluation.calibration import weighted_ece
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.evaluation.thresholds import set_sizes
from cxrlib.labels import OBSERVATIONS


def compare(truth, ours, others, groups=None, resamples=1000, level=0.95, seed=0):
    """Two models on the same patients: a paired bootstrap of their difference.

    What makes some patients easy or hard helps or harms both models, so the difference is known
    better than either AUROC. Every resample of the patients is scored by both.

    Parameters
    ----------
    truth, ours, others : DataFrames [N, L].
    groups, resamples, level, seed : as in ``evaluate``; at least one resample.

    Returns
    -------
    DataFrame with a row per label (its AUROC) and for ``macro_auroc``, ``weighted_auroc``,
    ``macro_auroc_observations`` and ``macro_average_precision_observations``; columns ``ours``,
    ``others``, ``difference`` (ours − others) and its interval, ``low`` and ``high``.
    """
    checks.number("resamples", resamples, 1)
    results = [evaluate(truth, scores, groups, resamples, level, seed) for scores in (ours, others)]
    weights = patient_weights(len(truth), groups, resamples, seed)  # the ones that evaluate drew
    points, draws, precision = [], [], "macro_average_precision_observations"
    for result, scores in zip(results, (ours, others), strict=True):
        known, given = checks.tables(truth, scores)
        each = pd.DataFrame(
            {
                n: _weighted_average_precision(known[n], given[n], weights)
                for n in OBSERVATIONS
                if n in known
            }
        )
        means = result.means.assign(**{precision: mean_over_labels(each)})
        draws.append(result.resamples.join(means))
        points.append(pd.concat([result.per_label["auroc"], result.summary[means.columns]]))
    table = pd.DataFrame({"ours": points[0], "others": points[1]})
    table["difference"] = table["ours"] - table["others"]
    return table.join(percentiles(draws[0] - draws[1], level))


def subgroups(truth, scores, by, groups=None, resamples=200, level=0.95, seed=0, minimum=20):
    """Macro AUROC in every subgroup of the images, over the same labels in all of them.

    A mean over other labels is another measure. Only observations count that have at least
    ``minimum`` positives and negatives in every subgroup.

    Parameters
    ----------
    truth, scores : DataFrames [N, L].
    by : Series [N], for instance sex, view or a band of age; rows with NaN are left out.
    groups, resamples, level, seed : as in ``evaluate``; at least one resample.
    minimum : at least 1.

    Returns
    -------
    DataFrame with a row per value of ``by``: ``images``, ``patients``,
    ``macro_auroc_observations``, ``low``, ``high``; and ``difference`` from the largest subgroup,
    with ``difference_low`` and ``difference_high``. Patients are drawn once for all subgroups, so
    that one who is in two of them moves both. Two intervals that overlap, or do not, say little of
    the difference: look at its own. ``.attrs["labels"]``: the labels in the mean;
    ``.attrs["reference"]``: the largest subgroup.
    """
    truth, scores = checks.tables(truth, scores)
    checks.number("resamples", resamples, 1)
    checks.number("minimum", minimum, 1)
    by = checks.by_row(by, truth, "by", blank=True)
    groups = checks.by_row(range(len(truth)) if groups is None else groups, truth, "groups")
    values = sorted(by.dropna().unique(), key=lambda value: (isinstance(value, str), value))
    if not values:
        raise EvaluationError("by: every row is NaN, so there is no subgroup.")
    counts = [(truth == y).groupby(by, sort=False).sum() for y in (0, 1)]
    fewest = pd.concat(counts).min()  # the smaller class of every label in its poorest subgroup
    labels = [n for n in OBSERVATIONS if n in truth and fewest[n] >= minimum]
    if not labels:
        raise EvaluationError(
            f"no observation has {minimum} positives and negatives in every subgroup of "
            f"{', '.join(map(str, values))}: lower minimum, or join small subgroups."
        )
    tables = truth[labels], scores[labels]
    weights = patient_weights(len(truth), groups, resamples, seed)
    rows, drawn = {}, {}
    for value in values:
        here = (by == value).to_numpy()
        point, drawn[value] = (
            _macro_auroc(*(table[here] for table in tables), weighting[:, here])
            for weighting in (np.ones((1, len(truth))), weights)
        )
        rows[value] = {
            "images": here.sum(),
            "patients": groups[here].nunique(),
            "macro_auroc_observations": point[0],
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    drawn = pd.DataFrame(drawn)
    largest = table["images"].idxmax()
    table = table.join(percentiles(drawn, level))
    table["difference"] = table["macro_auroc_observations"].sub(table.loc[largest].iloc[2])
    ends = percentiles(drawn.sub(drawn[largest], axis=0), level)
    table = table.join(ends.add_prefix("difference_"))
    table.attrs |= {"labels": labels, "reference": largest}
    return table.astype({"images": int, "patients": int})


def _macro_auroc(truth, scores, weights):
    """The mean over the labels of their AUROC, for each of R weightings [R, N]: array [R]."""
    each = {n: weighted_auroc(truth[n], scores[n], weights) for n in truth}
    return mean_over_labels(pd.DataFrame(each)).to_numpy()


def measures(truth, scores, hierarchy, weights=None, bins=15):
    """Everything by which the course compares methods, under many weightings of the images at once.

    Parameters
    ----------
    truth, scores : DataFrames [N, L] of 0/1/NaN and of probabilities.
    hierarchy : Hierarchy of the L labels.
    weights : array [R, N], how often each image counts, see ``patient_weights``; by default, each
        once (R = 1). Each weighting has at least one image above 0, and none below.
    bins : of the calibration error, 1 … 1,000.

    Returns
    -------
    DataFrame [R, 8]: ``macro_auroc_observations``, ``macro_auroc``, ``weighted_auroc`` (by
    positives), ``macro_average_precision_observations``; ``soft`` and ``hard``, the shares of
    images with a contradiction (of any size; at 0.5); ``calibration_error``, the mean ECE of the
    observations; and ``hierarchical_f1`` at 0.5. A label that no weighting gives both classes is in
    no mean; a weighting that lacks a label which others have has no mean of it (NaN).
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    weights = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=float)
    good = np.isfinite(weights) & (weights >= 0)
    if weights.shape[1:] != (len(truth),) or not (good.all() and weights.sum(axis=1).all()):
        raise EvaluationError(f"weights: expected [R, {len(truth)}], at least 0, no row all 0.")
    seen = [label for label in OBSERVATIONS if label in truth]
    aurocs = pd.DataFrame({n: weighted_auroc(truth[n], scores[n], weights) for n in truth})
    support = pd.DataFrame(weights @ (truth == 1).to_numpy(dtype=float), columns=truth.columns)
    precisions = {n: _weighted_average_precision(truth[n], scores[n], weights) for n in seen}
    errors = {n: weighted_ece(truth[n], scores[n], weights, bins) for n in seen}
    both, called, present = set_sizes(truth, scores, hierarchy) @ weights.T
    total = weights.sum(axis=1)
    means = auroc_means(aurocs, support)
    return means[["macro_auroc_observations", "macro_auroc", "weighted_auroc"]].assign(
        **{
            "macro_average_precision_observations": mean_over_labels(pd.DataFrame(precisions)),
            "soft": weights @ hierarchy.incoherent(scores) / total,
            "hard": weights @ hierarchy.incoherent(scores, threshold=0.5) / total,
            "calibration_error": mean_over_labels(pd.DataFrame(errors)),
            "hierarchical_f1": 2 * pd.Series(both) / (called + present),
        }
    )


def _weighted_average_precision(truth, scores, weights):
    """Average precision of one label under many weightings: array [R].

    The precision at every score that occurs, weighted by the recall gained there.
    """
    known, y, s = known_values(truth, scores)
    order = np.argsort(-s, kind="stable")
    y, s, weights = y[order], s[order], weights[:, known][:, order]
    last = np.flatnonzero(np.diff(s, append=-np.inf))  # tied scores are one threshold
    found = np.cumsum(weights * y, axis=1)[:, last]
    called = np.cumsum(weights, axis=1)[:, last]
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    gained = np.diff(found, axis=1, prepend=0)
    total = weights @ y
    has_both = (total > 0) & (weights @ (1 - y) > 0)
    area = (gained * precision).sum(axis=1)
    return np.divide(area, total, out=np.full(len(weights), np.nan), where=has_both)
