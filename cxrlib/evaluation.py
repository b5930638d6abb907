"""How good are the scores? Per label, on average, and with an interval.

Truth and scores are tables with one row per image and one column per label. Truth is 1, 0 or NaN
(not known: that image does not count for that label).
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, stats
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score, roc_auc_score

from cxrlib.labels import OBSERVATIONS, line_of, read_csv


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


def calibration(truth, scores, bins=10):
    """Expected calibration error per label, over bins of equal width.

    The mean over the bins of |share of positives − mean score|, weighted by the bin's images.

    Returns
    -------
    Series [L] in [0, 1]; NaN for a label with no known image.
    """
    _check(truth, scores)
    _check_probabilities(scores)
    once = np.ones((1, len(truth)))
    return pd.Series(
        {label: float(_weighted_ece(truth[label], scores[label], once, bins)[0]) for label in truth}
    )


def reliability(truth, scores, bins=10):
    """The points of a reliability diagram for one label.

    Returns
    -------
    DataFrame with a row per bin that holds images: ``score`` (their mean), ``positive`` (the share
    that is positive), ``images``.
    """
    _check_probabilities(scores.to_frame(scores.name or "score"))
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
    table = pd.DataFrame({"score": s, "positive": y, "images": 1})
    number = np.minimum((s * bins).astype(int), bins - 1)
    means = table.groupby(number)[["score", "positive"]].mean()
    return means.assign(images=table.groupby(number)["images"].sum()).rename_axis("bin")


def at_threshold(truth, scores, threshold=0.5):
    """Sensitivity, specificity, precision and F1 per label, for "present above the threshold".

    ``threshold`` is a number or a Series by label. A rate without a denominator is NaN.
    """
    _check(truth, scores)
    called, known = scores > threshold, truth.notna().to_numpy()
    present = (truth == 1).to_numpy()
    called = called.to_numpy()
    tp = (called & present & known).sum(axis=0).astype(float)
    fp = (called & ~present & known).sum(axis=0)
    fn = (~called & present & known).sum(axis=0)
    tn = (~called & ~present & known).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "sensitivity": tp / (tp + fn),
                "specificity": tn / (tn + fp).astype(float),
                "precision": tp / (tp + fp),
                "f1": 2 * tp / (2 * tp + fp + fn),
            },
            index=truth.columns,
        )


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


# --- Temperature scaling --------------------------------------------------------------------------


def fit_temperatures(truth, scores):
    """One temperature per label that makes its probabilities fit best.

    A logit is divided by the temperature: above 1, the model was too sure. Fit on the validation
    images, use on the test images. The order of scores, and with it the AUROC, stays.

    Parameters
    ----------
    truth, scores : DataFrames [N, L] of 0/1/NaN and of probabilities.

    Returns
    -------
    Series [L], 0.05 … 20, the minimum of the binary cross-entropy; 1 for a label with one class.

    References
    ----------
    Guo et al. 2017, "On calibration of modern neural networks".
    """
    _check(truth, scores)
    _check_probabilities(scores)
    return pd.Series({name: _temperature(truth[name], scores[name]) for name in truth})


def _temperature(truth, scores):
    known = truth.notna().to_numpy()
    y, z = truth.to_numpy(dtype=float)[known], _logits(scores.to_numpy(dtype=float)[known])
    if len(set(y)) < 2:
        return 1.0

    def cross_entropy(log_temperature):
        scaled = z / np.exp(log_temperature)
        return (np.logaddexp(0, scaled) - y * scaled).mean()

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def rescale(scores, temperatures):
    """Scores [N, L] whose logits are divided by their label's temperature."""
    _check_probabilities(scores)
    missing = [name for name in scores if name not in temperatures.index]
    if missing:
        raise EvaluationError(f"no temperature for {missing[0]!r}: fit one for every label.")
    divided = _logits(scores.to_numpy(dtype=float)) / temperatures[scores.columns].to_numpy()
    return pd.DataFrame(expit(divided), index=scores.index, columns=scores.columns)


def _logits(scores):
    """Finite logits, also of scores that were rounded to 0 or 1."""
    return logit(np.clip(scores, 1e-12, 1 - 1e-12))


def _check_probabilities(scores):
    for label in scores.columns:
        values = scores[label].to_numpy(dtype=float)
        odd = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(odd):
            raise EvaluationError(
                f"scores, row {odd[0]}, label {label!r}: {values[odd[0]]:g} is no probability. "
                "Expected 0 to 1; logits need a sigmoid first."
            )


# --- Hierarchical precision and recall ------------------------------------------------------------


def hierarchical_f1(truth, scores, hierarchy, threshold=0.5):
    """Micro-averaged hierarchical precision, recall and F1.

    What is said of an image (the labels above the threshold) and what is true of it are two sets of
    labels. Each is completed by all ancestors; then what they share is counted over all images: to
    call Edema where there is Consolidation is half right, since both are Fluid Accumulation.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN. A label that is unknown on an image counts in neither
        set there, unless a present descendant makes it present.
    scores : DataFrame [N, L].

    Returns
    -------
    Series ``precision``, ``recall``, ``f1``; NaN where nothing is called or present.

    References
    ----------
    Kiritchenko et al. 2005; Silla & Freitas 2011, section 6.
    """
    _check(truth, scores)
    both, called, present = _set_sizes(truth, scores, hierarchy, threshold).sum(axis=1)
    figures = {"precision": (both, called), "recall": (both, present)}
    figures["f1"] = (2 * both, called + present)
    return pd.Series({name: a / b if b else np.nan for name, (a, b) in figures.items()})


def _set_sizes(truth, scores, hierarchy, threshold=0.5):
    """Sizes of the completed sets of every image: shared, called, present; array [3, N]."""
    known_or_present = hierarchy.close(truth)
    known = known_or_present[list(hierarchy.labels)].notna().to_numpy()
    present = (known_or_present == 1).to_numpy()
    called = hierarchy.close((scores > threshold).astype(float)).to_numpy() == 1
    called &= known
    return np.stack([sets.sum(axis=1) for sets in (called & present, called, present)]).astype(
        float
    )


# --- Predictions on file --------------------------------------------------------------------------


@dataclass(frozen=True)
class Predictions:
    """A table of predictions, read: ``about`` (Path, patient and what else there is) [N, …],
    ``truth`` and ``scores`` [N, L]."""

    about: pd.DataFrame
    truth: pd.DataFrame
    scores: pd.DataFrame

    def evaluate(self, **options):
        """``evaluate`` with the table's own patients; ``resamples`` and so on as there."""
        return evaluate(self.truth, self.scores, self.about.get("patient"), **options)

    def split(self, name):
        """The rows of one split, for instance "test"."""
        if "split" not in self.about:
            raise EvaluationError("these predictions have no column 'split'.")
        rows = self.about["split"] == name
        if not rows.any():
            found = ", ".join(map(str, self.about["split"].unique()))
            raise EvaluationError(f"no row of the split {name!r}; there are {found}.")
        parts = (self.about, self.truth, self.scores)
        return Predictions(*(part[rows].reset_index(drop=True) for part in parts))


def read_predictions(path, expected=None):
    """Read a CSV with the columns ``<label>_GT`` and ``<label>_Pred`` for every label.

    The paper's authors published theirs so, and ``training`` writes its own so. Other columns are
    kept in ``about``; without one called ``patient``, patients are read from ``Path``.

    Parameters
    ----------
    expected : the Paths that should be there, each once, in any order; None to take what is there.

    Raises
    ------
    EvaluationError
        Columns without their partner, a score outside 0 … 1, truth that is not 0, 1 or blank, a
        Path twice, or rows that are missing or too many. The message names line and label.
    """
    path = Path(path)
    raw = read_csv(path)
    labels = [name.removesuffix("_Pred") for name in raw if name.endswith("_Pred")]
    truths = [name.removesuffix("_GT") for name in raw if name.endswith("_GT")]
    if not labels and not truths:
        raise EvaluationError(
            f"{path}: no column ends in _GT or _Pred. Expected '<label>_GT' and '<label>_Pred'."
        )
    alone = [f"{n}_Pred" for n in labels if n not in truths]
    alone += [f"{n}_GT" for n in truths if n not in labels]
    if alone:
        raise EvaluationError(f"{path}: the column {alone[0]!r} lacks its partner (_GT, _Pred).")
    truth = pd.DataFrame({n: _numbers(raw[f"{n}_GT"], path, (0, 1), blank=True) for n in labels})
    scores = pd.DataFrame({n: _numbers(raw[f"{n}_Pred"], path) for n in labels})
    about = raw.drop(columns=[f"{n}_{kind}" for n in labels for kind in ("GT", "Pred")])
    if "Path" in about:
        _check_paths(about["Path"], expected, path)
        if "patient" not in about:
            about["patient"] = about["Path"].str.extract(r"(patient\d+)")[0].fillna(about["Path"])
    elif expected is not None:
        raise EvaluationError(f"{path}: no column 'Path' to compare with the expected images.")
    return Predictions(about, truth, scores)


def _numbers(column, path, choices=None, blank=False):
    """A column of text as floats; 0 … 1, or one of ``choices``, or blank where that is allowed."""
    values = pd.to_numeric(column, errors="coerce")
    empty = column.isna() | (column.astype(str).str.strip() == "")
    good = values.isin(choices) if choices else values.between(0, 1)
    bad = np.flatnonzero(~(good | (empty if blank else False)))
    if len(bad):
        what = "0, 1 or blank" if choices else "a probability from 0 to 1"
        raise EvaluationError(
            f"{path}, line {line_of(bad[0])}, column {column.name!r}: {column.iloc[bad[0]]!r} is "
            f"not {what}."
        )
    return values.astype(float)


def _check_paths(paths, expected, source):
    again = paths[paths.duplicated(keep=False)]
    if len(again):
        lines = [line_of(row) for row in np.flatnonzero(paths == again.iloc[0])]
        raise EvaluationError(
            f"{source}: {again.iloc[0]} is there more than once, in the lines "
            f"{', '.join(map(str, lines))}. Keep one row for each image."
        )
    if expected is None:
        return
    expected = pd.Index(expected)
    missing, surplus = expected.difference(paths), pd.Index(paths).difference(expected)
    for rows, what in ((missing, "missing"), (surplus, "not expected")):
        if len(rows):
            raise EvaluationError(
                f"{source}: {len(rows)} images are {what}, the first of them {rows[0]}. Predict "
                "every image of the split, and no other."
            )


# --- Many measures at once ------------------------------------------------------------------------


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


def _weighted_ece(truth, scores, weights, bins):
    """Expected calibration error of one label under many weightings: array [R]."""
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
    number = np.minimum((s * bins).astype(int), bins - 1)
    gaps = (y - s)[:, None] * (number[:, None] == np.arange(bins))
    total = weights[:, known].sum(axis=1)
    error = np.abs(weights[:, known] @ gaps).sum(axis=1)
    return np.divide(error, total, out=np.full(len(weights), np.nan), where=total > 0)


def main(arguments=None):
    """``python -m cxrlib evaluate predictions.csv``: the figures of a table of predictions."""
    parser = argparse.ArgumentParser(
        prog="python -m cxrlib evaluate",
        description="AUROC with intervals, of a CSV with the columns <label>_GT and <label>_Pred.",
    )
    parser.add_argument("predictions")
    parser.add_argument("--split", help="only its rows, for instance test")
    parser.add_argument("--resamples", type=int, default=1000, help="of the patients")
    options = parser.parse_args(arguments)
    try:
        table = read_predictions(options.predictions)
        result = (table.split(options.split) if options.split else table).evaluate(
            resamples=options.resamples
        )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    print(result.per_label.join(result.intervals).round(3).to_string())
    print()
    print(result.summary.to_frame("value").join(result.intervals).round(3).to_string())
    for note in result.notes:
        print(note)
