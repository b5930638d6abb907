"""Two models, or two groups of patients, compared honestly."""

import numpy as np
import pandas as pd

from cxrlib.evaluation.auroc import (
    EvaluationError,
    _bootstrapped_means,
    _check,
    _weighted_auroc,
    evaluate,
)
from cxrlib.evaluation.calibration import _check_probabilities, _weighted_ece
from cxrlib.evaluation.thresholds import _set_sizes
from cxrlib.labels import OBSERVATIONS


def compare(truth, ours, others, groups=None, resamples=1000, level=0.95, seed=0):
    """Two models on the same patients: a paired bootstrap of their difference.

    What makes some patients easy or hard helps or harms both models, so the difference is known
    better than either AUROC. Every resample of the patients is scored by both.

    Parameters
    ----------
    truth, ours, others : DataFrames [N, L].
    groups, resamples, level, seed : as in ``evaluate``.

    Returns
    -------
    DataFrame with a row per label and for ``macro_auroc``, ``weighted_auroc`` and
    ``macro_auroc_observations``; columns ``ours``, ``others``, ``difference`` (ours − others) and
    its interval, ``low`` and ``high``.
    """
    results = [evaluate(truth, scores, groups, resamples, level, seed) for scores in (ours, others)]
    means = ["macro_auroc", "weighted_auroc", "macro_auroc_observations"]
    points, draws = [], []
    for result in results:
        points.append(pd.concat([result.per_label["auroc"], result.summary[means]]))
        drawn = result.resamples
        draws.append(drawn.join(_bootstrapped_means(drawn, result.per_label)))
    table = pd.DataFrame({"ours": points[0], "others": points[1]})
    tail = (1 - level) / 2
    ends = (draws[0] - draws[1]).quantile([tail, 1 - tail]).T.set_axis(["low", "high"], axis=1)
    return table.assign(difference=points[0] - points[1]).join(ends)


def subgroups(truth, scores, by, groups=None, resamples=200, level=0.95, seed=0, minimum=20):
    """Macro AUROC in every subgroup of the images, over the same labels in all of them.

    A mean over other labels is another measure. Only observations count that have at least
    ``minimum`` positives and negatives in every subgroup.

    Parameters
    ----------
    truth, scores : DataFrames [N, L].
    by : Series [N], for instance sex, view or a band of age; rows with NaN are left out.
    groups : Series [N] of patients.

    Returns
    -------
    DataFrame with a row per value of ``by``: ``images``, ``patients``,
    ``macro_auroc_observations``, ``low``, ``high``. ``.attrs["labels"]``: the labels in the mean.
    """
    _check(truth, scores)
    by = pd.Series(np.asarray(by), index=truth.index)
    groups = pd.Series(np.arange(len(truth)) if groups is None else np.asarray(groups), truth.index)
    values = sorted(by.dropna().unique())
    fewest = pd.concat([_fewest(truth[by == value]) for value in values], axis=1).min(axis=1)
    labels = [n for n in OBSERVATIONS if n in truth and fewest[n] >= minimum]
    if not labels:
        raise EvaluationError(
            f"no observation has {minimum} positives and negatives in every subgroup of "
            f"{', '.join(map(str, values))}: lower minimum, or join small subgroups."
        )
    rows = {}
    for value in values:
        rows_in = by == value
        result = evaluate(
            truth.loc[rows_in, labels], scores.loc[rows_in, labels], groups[rows_in],
            resamples, level, seed,
        )  # fmt: skip
        rows[value] = {
            "images": int(rows_in.sum()),
            "patients": groups[rows_in].nunique(),
            "macro_auroc_observations": result.summary["macro_auroc_observations"],
            **result.intervals.loc["macro_auroc_observations"],
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.attrs["labels"] = labels
    return table.astype({"images": int, "patients": int})


def _fewest(truth):
    """The smaller class of every label [L]."""
    return pd.concat([(truth == 0).sum(), (truth == 1).sum()], axis=1).min(axis=1)


def measures(truth, scores, hierarchy, weights=None, bins=15):
    """Everything by which the course compares methods, under many weightings of the images at once.

    Parameters
    ----------
    truth, scores : DataFrames [N, L] of 0/1/NaN and of probabilities.
    hierarchy : Hierarchy of the L labels.
    weights : array [R, N], how often each image counts, see ``patient_weights``; by default, each
        once (R = 1).
    bins : of the calibration error.

    Returns
    -------
    DataFrame [R, 8]: ``macro_auroc_observations``, ``macro_auroc``, ``weighted_auroc`` (by
    positives), ``macro_average_precision_observations``; ``soft`` and ``hard``, the shares of
    images with a contradiction (of any size; at 0.5); ``calibration_error``, the mean ECE of the
    observations; and ``hierarchical_f1`` at 0.5.
    """
    _check(truth, scores)
    _check_probabilities(scores)
    weights = np.ones((1, len(truth))) if weights is None else np.asarray(weights, dtype=float)
    seen = [label for label in OBSERVATIONS if label in truth]
    aurocs = pd.DataFrame({n: _weighted_auroc(truth[n], scores[n], weights) for n in truth})
    support = pd.DataFrame(weights @ (truth == 1).to_numpy(dtype=float), columns=truth.columns)
    support = support.where(aurocs.notna(), 0.0)
    precisions = [_weighted_average_precision(truth[n], scores[n], weights) for n in seen]
    errors = [_weighted_ece(truth[n], scores[n], weights, bins) for n in seen]
    both, called, present = _set_sizes(truth, scores, hierarchy) @ weights.T
    total = weights.sum(axis=1)
    return pd.DataFrame(
        {
            "macro_auroc_observations": aurocs[seen].mean(axis=1),
            "macro_auroc": aurocs.mean(axis=1),
            "weighted_auroc": (aurocs * support).sum(axis=1) / support.sum(axis=1),
            "macro_average_precision_observations": _mean_of_known(precisions),
            "soft": weights @ hierarchy.incoherent(scores) / total,
            "hard": weights @ hierarchy.incoherent(scores, threshold=0.5) / total,
            "calibration_error": _mean_of_known(errors),
            "hierarchical_f1": 2 * both / (called + present),
        }
    )


def _mean_of_known(columns):
    """The mean [R] of several arrays [R], leaving out NaN."""
    return pd.DataFrame(columns).mean().to_numpy()


def _weighted_average_precision(truth, scores, weights):
    """Average precision of one label under many weightings: array [R].

    The precision at every score that occurs, weighted by the recall gained there.
    """
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
    order = np.argsort(-s, kind="stable")
    y, s, weights = y[order], s[order], weights[:, known][:, order]
    last = np.flatnonzero(np.diff(s, append=-np.inf))  # tied scores are one threshold
    found = np.cumsum(weights * y, axis=1)[:, last]
    called = np.cumsum(weights, axis=1)[:, last]
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    gained = np.diff(found, axis=1, prepend=0)
    total = found[:, -1]
    has_both = (total > 0) & (total < called[:, -1])
    area = (gained * precision).sum(axis=1)
    return np.divide(area, total, out=np.full(len(weights), np.nan), where=has_both)
