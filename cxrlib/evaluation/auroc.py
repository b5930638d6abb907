"""AUROC per label, its means, and their intervals by a bootstrap of the patients."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlib.evaluation import checks
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.labels import OBSERVATIONS

BLOCK = 100
"""How many resamples are scored at once, for the sake of memory."""


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` returns.

    ``per_label``: a row per label with ``positives``, ``negatives``, ``auroc``,
    ``average_precision``; the last two are NaN for a label with one class only, which is left out
    of every mean. ``summary``: means over labels, by name. ``notes``: which labels were left out,
    and why. ``intervals``: ``low`` and ``high`` for every AUROC of the two tables; None without a
    bootstrap. ``resamples``: the bootstrapped AUROCs [resamples, L], and ``means`` their means.
    """

    per_label: pd.DataFrame
    summary: pd.Series
    notes: tuple[str, ...]
    intervals: pd.DataFrame | None = None
    resamples: pd.DataFrame | None = None
    means: pd.DataFrame | None = None


def evaluate(truth, scores, groups=None, resamples=0, level=0.95, seed=0):
    """Measure scores against truth: an ``Evaluation``.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN.
    scores : DataFrame [N, L], higher for more likely, with the same columns and index.
    groups : patients, a Series [N] with that index, or a list or array by position. The bootstrap
        draws whole patients, since two images of one person are not two independent observations.
        Without it, every row is its own group.
    resamples : bootstrap resamples, 0 … 100,000; 0 for no intervals, 1000 for good ones.
    level : of the percentile intervals, between 0 and 1.
    seed : of the bootstrap, at least 0.

    Examples
    --------
    >>> truth = pd.DataFrame({"Edema": [0, 0, 1, 1], "Fracture": [0, 0, 0, 0]})
    >>> scores = pd.DataFrame({"Edema": [0.1, 0.4, 0.35, 0.8], "Fracture": [0.1, 0.2, 0.3, 0.4]})
    >>> result = evaluate(truth, scores)
    >>> float(result.per_label.loc["Edema", "auroc"])
    0.75
    >>> result.notes
    ('Fracture: AUROC undefined, all 4 images are negative; left out of the means.',)
    """
    truth, scores = checks.tables(truth, scores)
    per_label = pd.DataFrame({label: _measure(truth[label], scores[label]) for label in truth}).T
    per_label = per_label.astype({"positives": int, "negatives": int}).rename_axis("label")
    notes = tuple(_note(label, row) for label, row in per_label.iterrows() if np.isnan(row.auroc))
    summary = auroc_means(per_label[["auroc"]].T, per_label["positives"]).iloc[0]
    precisions = per_label["average_precision"]
    summary["macro_average_precision"] = precisions.mean()
    observed = precisions[precisions.index.isin(OBSERVATIONS)]
    summary["macro_average_precision_observations"] = observed.mean()
    if not resamples:
        return Evaluation(per_label, summary, notes)
    drawn = bootstrap_auroc(truth, scores, groups, resamples, seed)
    means = bootstrap_means(truth, drawn, groups, seed)
    intervals = percentiles(drawn.join(means), level)
    return Evaluation(per_label, summary, notes, intervals, drawn, means)


def percentiles(drawn, level):
    """The middle ``level`` of every column of resamples: DataFrame with ``low`` and ``high``.

    A resample without a positive has no AUROC (and no mean); the rest of them make the interval.
    """
    checks.share("level", level)
    tail = (1 - level) / 2
    return drawn.quantile([tail, 1 - tail]).T.set_axis(["low", "high"], axis=1)


def known_values(truth, scores):
    """Of one label: where the truth is known (bool [N]), and truth and scores there."""
    known = truth.notna().to_numpy()
    return known, truth.to_numpy()[known], scores.to_numpy()[known]


def _measure(truth, scores):
    _, y, s = known_values(truth, scores)
    row = {"positives": (y == 1).sum(), "negatives": (y == 0).sum()}
    both = row["positives"] > 0 and row["negatives"] > 0
    row["auroc"] = roc_auc_score(y, s) if both else np.nan
    row["average_precision"] = average_precision_score(y, s) if both else np.nan
    return row


def _note(label, row):
    if row.positives + row.negatives == 0:
        reason = "no image has a known label"
    else:
        known, sign = (row.positives, "positive") if row.positives else (row.negatives, "negative")
        reason = f"all {int(known)} images are {sign}"
    return f"{label}: AUROC undefined, {reason}; left out of the means."


def mean_over_labels(values):
    """Mean over the labels of values [R, L], one for each of R resamples.

    A label that is undefined in every row is left out. A row that lacks one which others have is
    NaN: the mean of the labels that are left would be another quantity.
    """
    return values.loc[:, values.notna().any()].mean(axis=1, skipna=False)


def auroc_means(aurocs, positives):
    """Means over the labels of AUROCs [R, L], see ``mean_over_labels``.

    "weighted" is by number of ``positives`` (support), of each label [L] or of each in each row.
    """
    known = aurocs.columns[aurocs.notna().any()]
    support = positives[known]
    weighted = (aurocs[known] * support).sum(axis=1, skipna=False)
    return pd.DataFrame(
        {
            "macro_auroc": mean_over_labels(aurocs),
            "weighted_auroc": weighted / support.sum(axis=support.ndim - 1),
            "macro_auroc_observations": mean_over_labels(
                aurocs.loc[:, aurocs.columns.isin(OBSERVATIONS)]
            ),
        }
    )


def bootstrap_auroc(truth, scores, groups=None, resamples=1000, seed=0):
    """AUROC of every label in resamples of the patients, drawn with replacement.

    A DataFrame [resamples, L]; NaN where a resample has one class only.
    """
    truth, scores = checks.tables(truth, scores)
    groups = None if groups is None else checks.by_row(groups, truth, "groups")
    weights = patient_weights(len(truth), groups, resamples, seed)
    blocks = np.split(weights, range(BLOCK, resamples, BLOCK))
    drawn = [{n: weighted_auroc(truth[n], scores[n], block) for n in truth} for block in blocks]
    return pd.concat(map(pd.DataFrame, drawn), ignore_index=True)


def bootstrap_means(truth, drawn, groups=None, seed=0):
    """``auroc_means`` of what ``bootstrap_auroc`` has ``drawn`` [resamples, L] with that seed."""
    groups = None if groups is None else checks.by_row(groups, truth, "groups")
    weights = patient_weights(len(truth), groups, len(drawn), seed)
    support = pd.DataFrame(weights @ (truth == 1).to_numpy(dtype=float), columns=truth.columns)
    return auroc_means(drawn, support)


def evaluate_models(truth, scores, groups=None, resamples=1000, level=0.95, seed=0, mean_of=None):
    """AUROC of several models of one kind, and their mean with an interval.

    Every resample of the patients is scored by all models, and their AUROCs are averaged: the
    interval says what other patients would change, for these models.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN.
    scores : a DataFrame [N, L] for every model, for instance one per seed.
    groups, resamples, level, seed : as in ``evaluate``.
    mean_of : labels that the row "mean" averages over; all by default.

    Returns
    -------
    DataFrame with a row per label and the row "mean" (macro), and the columns ``model 0``,
    ``model 1`` and so on, ``mean``, ``low`` and ``high``. A label with one class only is NaN, and
    left out of the macro mean.
    """
    if isinstance(scores, pd.DataFrame) or not len(scores):
        raise EvaluationError("scores: expected a list of DataFrames, one for every model.")
    scores = [checks.tables(truth, table)[1] for table in scores]
    truth = checks.truths(truth)
    mean_of = list(truth.columns if mean_of is None else mean_of)
    if not mean_of or not set(mean_of) <= set(truth):
        raise EvaluationError(f"mean_of={mean_of}: expected some of the labels of truth.")
    aurocs = [[_measure(truth[n], table[n])["auroc"] for n in truth] for table in scores]
    measured = pd.DataFrame(aurocs, columns=truth.columns).T.add_prefix("model ", axis=1)
    drawn = [bootstrap_auroc(truth, table, groups, resamples, seed) for table in scores]
    drawn = sum(drawn) / len(drawn)  # the same seed: the same patients for every model
    drawn["mean"] = mean_over_labels(drawn[mean_of])
    measured.loc["mean"] = measured.loc[mean_of].mean()
    return measured.assign(mean=measured.mean(axis=1)).join(percentiles(drawn, level))


def mean_interval(values, level=0.95):
    """The mean of a few independent values and its t-interval: (mean, low, high).

    With one value there is no interval: low and high are NaN. ``level`` is between 0 and 1.
    """
    checks.share("level", level)
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values):
        raise EvaluationError(f"values of shape {values.shape}: expected at least one number, [n].")
    count, mean = len(values), float(values.mean())
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, mean - float(half), mean + float(half)


def patient_weights(rows, groups, resamples, seed):
    """How often each of ``rows`` images is in each resample of the patients: [resamples, N]."""
    checks.number("resamples", resamples, 1, 100_000)
    checks.number("seed", seed, 0)
    groups = range(rows) if groups is None else groups
    numbers, patients = pd.factorize(checks.by_row(groups, range(rows), "groups"))
    count = len(patients)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return draws[:, numbers].astype(float)


def weighted_auroc(truth, scores, weights):
    """AUROC of one label under many weightings of its images at once: array [resamples].

    The AUROC is the chance that a positive scores above a negative, ties counting half. With the
    images sorted by score, the weight of negatives below each one is a running sum; tied images
    share the mean of the sums at the two ends of their tie.
    """
    known, y, s = known_values(truth, scores)
    order = np.argsort(s, kind="stable")
    y, s, weights = y[order], s[order], weights[:, known][:, order]
    positive, negative = weights * (y == 1), weights * (y == 0)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(negative, axis=1)], axis=1)
    first, last = np.searchsorted(s, s, side="left"), np.searchsorted(s, s, side="right")
    wins = (positive * (below[:, first] + below[:, last]) / 2).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
