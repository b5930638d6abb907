"""Whether a score of 0.8 means eight in ten: calibration error and temperatures."""

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import expit, logit

from cxrlib.evaluation import checks
from cxrlib.evaluation.auroc import known_values


def calibration(truth, scores, bins=10):
    """Expected calibration error per label, over bins of equal width: Series [L], 0 … 1.

    The mean over the bins (1 … 1,000 of them) of |share of positives − mean score|, weighted by the
    bin's images, for tables [N, L] of 0/1/NaN and of probabilities; NaN where no image is known.
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    once = np.ones((1, len(truth)))
    return pd.Series({n: weighted_ece(truth[n], scores[n], once, bins)[0] for n in truth})


def reliability(truth, scores, bins=10):
    """The points of a reliability diagram for one label: Series or arrays [N], bins 1 … 1,000.

    A row per bin that holds images: ``score`` (their mean), ``positive`` (the share that is
    positive), ``images``.
    """
    name = getattr(scores, "name", None) or "score"
    scores = checks.by_row(scores, truth, "scores", blank=True)
    truth = checks.by_row(truth, scores, "truth", blank=True)
    truth, scores = checks.tables(truth.to_frame(name), scores.to_frame(name), checks.probabilities)
    _, y, s = known_values(truth[name], scores[name])
    table = pd.DataFrame({"bin": _bin(s, bins), "score": s, "positive": y, "images": 1})
    return table.groupby("bin").agg({"score": "mean", "positive": "mean", "images": "sum"})


def fit_temperatures(truth, scores):
    """One temperature per label that makes its probabilities fit best: Series [L], 0.05 … 20.

    A logit is divided by the temperature: above 1, the model was too sure. It is fit for the least
    cross-entropy of the validation images (tables [N, L] of 0/1/NaN and of probabilities), for use
    on the test images; 1 for a label with one class. The order of scores, and with it the AUROC,
    stays. Guo et al. 2017, "On calibration of modern neural networks".
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    return pd.Series({name: _temperature(truth[name], scores[name]) for name in truth})


def _temperature(truth, scores):
    _, y, s = known_values(truth, scores)
    z = _logits(s)
    if len(set(y)) < 2:
        return 1.0

    def cross_entropy(log_temperature):
        scaled = z / np.exp(log_temperature)
        return (np.logaddexp(0, scaled) - y * scaled).mean()

    bounds = (np.log(0.05), np.log(20))
    return float(np.exp(optimize.minimize_scalar(cross_entropy, bounds=bounds, method="bounded").x))


def rescale(scores, temperatures):
    """Scores [N, L], 0 … 1, whose logits are divided by their label's temperature.

    ``temperatures`` is a Series by label, or one number for all, 0.001 … 1,000.
    """
    scores = checks.probabilities(scores)
    temperatures = checks.by_label(temperatures, scores.columns, "temperature", 1e-3, 1e3)
    divided = _logits(scores.to_numpy()) / temperatures.to_numpy()
    return pd.DataFrame(expit(divided), index=scores.index, columns=scores.columns)


def _logits(scores):
    """Finite logits, also of scores that were rounded to 0 or 1."""
    return logit(np.clip(scores, 1e-12, 1 - 1e-12))


def _bin(scores, bins):
    """The number of every score's bin, 0 … bins − 1: [N]."""
    checks.number("bins", bins, 1, 1000)
    return np.minimum((scores * bins).astype(int), bins - 1)


def weighted_ece(truth, scores, weights, bins):
    """Expected calibration error of one label under many weightings: array [R]."""
    known, y, s = known_values(truth, scores)
    gaps = (y - s)[:, None] * (_bin(s, bins)[:, None] == np.arange(bins))
    total = weights[:, known].sum(axis=1)
    error = np.abs(weights[:, known] @ gaps).sum(axis=1)
    return np.divide(error, total, out=np.full(len(weights), np.nan), where=total > 0)
