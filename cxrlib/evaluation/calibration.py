"""Whether a score of 0.8 means eight in ten: calibration error and temperatures."""

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import expit, logit

from cxrlib.evaluation.auroc import EvaluationError, _check


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


def _weighted_ece(truth, scores, weights, bins):
    """Expected calibration error of one label under many weightings: array [R]."""
    known = truth.notna().to_numpy()
    y, s = truth.to_numpy(dtype=float)[known], scores.to_numpy(dtype=float)[known]
    number = np.minimum((s * bins).astype(int), bins - 1)
    gaps = (y - s)[:, None] * (number[:, None] == np.arange(bins))
    total = weights[:, known].sum(axis=1)
    error = np.abs(weights[:, known] @ gaps).sum(axis=1)
    return np.divide(error, total, out=np.full(len(weights), np.nan), where=total > 0)
