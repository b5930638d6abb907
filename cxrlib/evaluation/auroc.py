"""AUROC per label, its means, and their intervals by a bootstrap of the patients."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlib.labels import OBSERVATIONS


class EvaluationError(ValueError):
    """Truth and scores that cannot be compared; the message names the label or row."""


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` returns.

    ``per_label``: a row per label with ``positives``, ``negatives``, ``auroc``,
    ``average_precision``. ``summary``: means over labels, by name. ``notes``: which labels were
    left out of the means, and why. ``intervals``: ``low`` and ``high`` for every AUROC of the two
    tables; None without a bootstrap. ``resamples``: the bootstrapped AUROCs [resamples, L].
    """

    per_label: pd.DataFrame
    summary: pd.Series
    notes: tuple[str, ...]
    intervals: pd.DataFrame | None = None
    resamples: pd.DataFrame | None = None


def evaluate(truth, scores, groups=None, resamples=0, level=0.95, seed=0):
    """Measure scores against truth.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN.
    scores : DataFrame [N, L], higher for more likely, same columns and number of rows.
    groups : Series [N] of patients. The bootstrap draws whole patients, since two images of one
        person are not two independent observations. Without it, every row is its own group.
    resamples : bootstrap resamples; 0 for no intervals, 1000 for good ones.
    level : of the percentile intervals.
    seed : of the bootstrap.

    Returns
    -------
    Evaluation. A label with one class only has AUROC NaN and is left out of every mean.

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
    _check(truth, scores)
    rows = {label: _measure(truth[label], scores[label]) for label in truth.columns}
    per_label = pd.DataFrame.from_dict(rows, orient="index").rename_axis("label")
    per_label[["positives", "negatives"]] = per_label[["positives", "negatives"]].astype(int)
    notes = tuple(_note(label, row) for label, row in per_label.iterrows() if np.isnan(row.auroc))
    summary = _summarise(per_label)
    if not resamples:
        return Evaluation(per_label, summary, notes)
    drawn = bootstrap_auroc(truth, scores, groups, resamples, seed)
    means = _bootstrapped_means(drawn, per_label)
    tail = (1 - level) / 2
    everything = drawn.join(means)
    # A resample without a positive has no AUROC; the rest of them make the interval.
    intervals = everything.quantile([tail, 1 - tail]).T.set_axis(["low", "high"], axis=1)
    return Evaluation(per_label, summary, notes, intervals, drawn)


def _check(truth, scores):
    if list(truth.columns) != list(scores.columns):
        odd = set(truth.columns) ^ set(scores.columns)
        raise EvaluationError(
            f"truth and scores have different labels: {', '.join(sorted(map(str, odd)))}."
            if odd
            else "truth and scores have the same labels in another order."
        )
    if len(truth) != len(scores):
        raise EvaluationError(f"truth has {len(truth)} rows, scores have {len(scores)}.")
    if not truth.index.equals(scores.index):
        raise EvaluationError(
            "truth and scores have different row indexes, so rows may not belong together. If they "
            "are in the same order, call reset_index(drop=True) on both; else align them first."
        )
    if truth.empty:
        raise EvaluationError("an empty table: nothing to evaluate.")
    for label in truth.columns:
        values = truth[label].to_numpy(dtype=float)
        odd_rows = np.flatnonzero(~(np.isnan(values) | (values == 0) | (values == 1)))
        if len(odd_rows):
            raise EvaluationError(
                f"truth, row {odd_rows[0]}, label {label!r}: {values[odd_rows[0]]:g} is not 0, 1 "
                "or NaN."
            )
        bad = np.flatnonzero(~np.isfinite(scores[label].to_numpy(dtype=float)))
        if len(bad):
            raise EvaluationError(f"scores, row {bad[0]}, label {label!r}: not a finite number.")


def _measure(truth, scores):
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
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


def _summarise(per_label):
    """Means over the labels that are defined; "weighted" is by number of positives (support)."""
    defined = per_label.dropna(subset="auroc")
    observations = defined[defined.index.isin(OBSERVATIONS)]
    return pd.Series(
        {
            "macro_auroc": defined["auroc"].mean(),
            "weighted_auroc": _weighted(defined["auroc"], defined["positives"]),
            "macro_auroc_observations": observations["auroc"].mean(),
            "macro_average_precision": defined["average_precision"].mean(),
            "macro_average_precision_observations": observations["average_precision"].mean(),
        }
    )


def _weighted(values, weights):
    return float((values * weights).sum() / weights.sum()) if len(values) else np.nan


def _bootstrapped_means(drawn, per_label):
    defined = per_label.dropna(subset="auroc").index
    aurocs, weights = drawn[defined], per_label.loc[defined, "positives"]
    weights_drawn = aurocs.notna() * weights  # a label that a resample lost has no weight in it
    return pd.DataFrame(
        {
            "macro_auroc": aurocs.mean(axis=1),
            "weighted_auroc": (aurocs * weights_drawn).sum(axis=1) / weights_drawn.sum(axis=1),
            "macro_auroc_observations": aurocs[defined[defined.isin(OBSERVATIONS)]].mean(axis=1),
        }
    )


def bootstrap_auroc(truth, scores, groups=None, resamples=1000, seed=0):
    """AUROC of every label in resamples of the patients, drawn with replacement.

    Returns
    -------
    DataFrame [resamples, L]; NaN where a resample has one class only.
    """
    weights = patient_weights(len(truth), groups, resamples, seed)
    blocks = np.split(weights, range(BLOCK, resamples, BLOCK))  # for the sake of memory
    return pd.DataFrame(
        {
            label: np.concatenate([_weighted_auroc(truth[label], scores[label], b) for b in blocks])
            for label in truth.columns
        }
    )


BLOCK = 100


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
    mean_of = list(truth.columns if mean_of is None else mean_of)
    for table in scores:
        _check(truth, table)
    measured = pd.DataFrame(index=truth.columns)
    for number, table in enumerate(scores):
        aurocs = [_measure(truth[label], table[label])["auroc"] for label in truth]
        measured[f"model {number}"] = aurocs
    drawn = [bootstrap_auroc(truth, table, groups, resamples, seed) for table in scores]
    drawn = sum(drawn) / len(drawn)  # the same seed: the same patients for every model
    drawn["mean"] = drawn[mean_of].mean(axis=1)
    measured.loc["mean"] = measured.loc[mean_of].mean()
    tail = (1 - level) / 2
    ends = drawn.quantile([tail, 1 - tail]).T.set_axis(["low", "high"], axis=1)
    return measured.assign(mean=measured.mean(axis=1)).join(ends)


def mean_interval(values, level=0.95):
    """The mean of a few independent values and its t-interval: (mean, low, high).

    With one value there is no interval: low and high are NaN.
    """
    values = np.asarray(values, dtype=float)
    count, mean = len(values), float(values.mean())
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, mean - float(half), mean + float(half)


def patient_weights(rows, groups, resamples, seed):
    """How often each of ``rows`` images is in each resample of the patients: [resamples, N]."""
    if groups is None:
        groups = np.arange(rows)
    if len(groups) != rows:
        raise EvaluationError(f"groups has {len(groups)} entries for {rows} rows.")
    numbers, patients = pd.factorize(np.asarray(groups))
    if (numbers < 0).any():
        raise EvaluationError(f"groups, row {int(np.argmax(numbers < 0))}: no patient given.")
    count = len(patients)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    return draws[:, numbers].astype(float)


def _weighted_auroc(truth, scores, weights):
    """AUROC of one label under many weightings of its images at once: array [resamples].

    The AUROC is the chance that a positive scores above a negative, ties counting half. With the
    images sorted by score, the weight of negatives below each one is a running sum; tied images
    share the mean of the sums at the two ends of their tie.
    """
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
    order = np.argsort(s, kind="stable")
    y, s, weights = y[order], s[order], weights[:, known][:, order]
    positive, negative = weights * (y == 1), weights * (y == 0)
    below = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(negative, axis=1)], axis=1)
    first = np.searchsorted(s, s, side="left")
    last = np.searchsorted(s, s, side="right")
    wins = (positive * (below[:, first] + below[:, last]) / 2).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
