"""Whether a score of 0.8 means eight in ten: how far off it is, how far chance alone would put it
off, and three ways to mend it."""

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

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


def calibration_by_chance(truth, scores, bins=10, draws=200, level=0.95, seed=0):
    """The calibration error that perfect probabilities would have here: DataFrame [L, 2].

    Few images in a bin are never just as often positive as the score says, and ``calibration``
    takes the size of every gap. So scores that are all true have an error, too. Here images are
    made positive with the chance that their own score says, many times: ``mean`` of that error,
    and ``high``, which ``level`` of the draws stay below. An error below it is no sign of a fault.
    (Images are drawn as if each were of another patient. Where a few patients have many images
    each, true probabilities would err somewhat more than this.)

    Parameters
    ----------
    truth, scores, bins : as in ``calibration``; of the truth only what is known counts.
    draws : at least 1. level : between 0 and 1. seed : at least 0.

    References
    ----------
    Bröcker and Smith 2007 ("consistency resampling").
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    checks.number("draws", draws, 1, 100_000)
    checks.number("seed", seed, 0)
    checks.share("level", level)
    rng, rows = np.random.default_rng(seed), {}
    for name in truth:
        _, _, s = known_values(truth[name], scores[name])
        if not len(s):
            rows[name] = {"mean": np.nan, "high": np.nan}
            continue
        place = _bin(s, bins) == np.arange(bins)[:, None]
        gaps = (rng.random((draws, len(s))) < s) - s
        errors = np.abs(gaps @ place.T).sum(axis=1) / len(s)
        rows[name] = {"mean": errors.mean(), "high": np.quantile(errors, level)}
    return pd.DataFrame.from_dict(rows, orient="index")


def proper_scores(truth, scores):
    """Brier score and log loss per label: DataFrame [L, 3]; lower is better.

    A proper score is least for the true probabilities, and so cannot be bettered by bins or by
    tricks. It is of calibration and of telling apart at once. ``brier`` is the mean square of
    (truth − score); ``log_loss`` the mean cross-entropy in nats, of scores no nearer to 0 and 1
    than 1e-12; ``brier_skill`` is 1 − brier / that of the label's frequency as a score for all: 0
    has learnt nothing, below 0 is worse than that.

    Tables [N, L] of 0/1/NaN and of probabilities; NaN where no image is known, and the skill where
    all are alike.
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    error = (truth - scores) ** 2
    clipped = scores.clip(1e-12, 1 - 1e-12)
    entropy = -(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped))
    rate = truth.mean()
    usual = (rate * (1 - rate)).replace(0, np.nan)
    return pd.DataFrame(
        {
            "brier": error.mean(),
            "log_loss": entropy.mean(),
            "brier_skill": 1 - error.mean() / usual,
        }
    )


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


RECALIBRATORS = ("temperature", "beta", "isotonic")


def recalibrate(truth, scores, new, how="temperature"):
    """Scores of ``new`` images, made to fit what is known of others.

    Parameters
    ----------
    truth, scores : tables [N, L] of 0/1/NaN and of probabilities, of validation images.
    new : table [M, L] of probabilities of other images, with the same labels.
    how : "temperature", one number a label, see ``fit_temperatures``; "beta", three numbers (Kull
        et al. 2017): a logistic regression on log p and −log(1 − p), which can also mend scores
        that are too high or too low throughout, and never falls; or "isotonic", any rising
        staircase (Zadrozny & Elkan 2002). The more a way can mend, the more images it needs.
        Isotonic regression ties scores, which changes the AUROC; the others keep the order.

    Returns
    -------
    DataFrame [M, L]; labels with one class stay as they are.
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    new = checks.probabilities(new, "new")
    if list(new.columns) != list(truth.columns):
        raise checks.EvaluationError("new: expected the labels of truth, in the same order.")
    if how not in RECALIBRATORS:
        raise checks.EvaluationError(f"how={how!r}: choose one of {', '.join(RECALIBRATORS)}.")
    if how == "temperature":
        return rescale(new, fit_temperatures(truth, scores))
    fit = {"beta": _beta, "isotonic": _isotonic}[how]
    mended = new.copy()
    for name in truth:
        _, y, s = known_values(truth[name], scores[name])
        if len(set(y)) == 2:
            mended[name] = fit(y, s, new[name].to_numpy())
    return mended


def _beta(y, s, new):
    def pair(p):
        p = np.clip(p, 1e-12, 1 - 1e-12)
        return np.column_stack([np.log(p), -np.log1p(-p)])

    used = [0, 1]
    while used:  # a slope below 0 would turn the order round: leave it out (Kull et al., section 3)
        model = LogisticRegression(C=1e6, max_iter=1000).fit(pair(s)[:, used], y)
        if model.coef_.min() >= 0:
            return model.predict_proba(pair(new)[:, used])[:, 1]
        used.pop(model.coef_.argmin())
    return np.full(len(new), y.mean())


def _isotonic(y, s, new):
    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(s, y).predict(new)


def rescale(scores, temperatures):
    """Scores [N, L], 0 … 1, whose logits are divided by their label's temperature.

    ``temperatures`` is a Series by label, or one number for all, 0.001 … 1,000.
    """
    scores = checks.probabilities(scores)
    temperatures = checks.by_label(temperatures, scores.columns, "temperature", 1e-3, 1e3)
    divided = _logits(scores.to_numpy()) / temperatures.to_numpy()
    return pd.DataFrame(expit(divided), index=scores.index, columns=scores.columns)


def calibration_curves(truth, scores, patients, draws=100, seed=0):
    """How often images with a score have the label, as drawn from resamples of the patients.

    Platt's curve σ(a + b · logit(score)), fitted by logistic regression to each resample. Few
    images have just such a score; by the curve all others tell of it, as far as it has this shape.

    Parameters
    ----------
    truth, scores : tables [N, L] of 0/1/NaN and of probabilities.
    patients : [N]; whole patients are drawn, since images of one are alike.
    draws : resamples, at least 1. seed : at least 0.

    Returns
    -------
    array [draws, L, 2] of a and b. Where a resample has only one of both classes b is 0 and a the
    logit of Laplace's share, (k + 1) / (n + 2); where nothing is known of a label both are NaN.

    References
    ----------
    Platt 1999; his targets, a little within 0 and 1, keep a and b finite where scores tell both
    classes apart.
    """
    truth, scores = checks.tables(truth, scores, checks.probabilities)
    checks.number("draws", draws, 1, 100_000)
    checks.number("seed", seed, 0)
    groups, owner = np.unique(np.asarray(patients), return_inverse=True)
    if len(owner) != len(truth):
        raise checks.EvaluationError(f"patients: {len(owner)} entries for {len(truth)} images.")
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), size=draws)
    found = np.full((draws, len(truth.columns), 2), np.nan)
    for k, name in enumerate(truth):
        known, y, s = known_values(truth[name], scores[name])
        for draw, weights in enumerate(times[:, owner[known]]):
            if weights.any():
                found[draw, k] = _platt(y, _logits(s), weights)
    return found


def _platt(y, logits, weights):
    """Platt's a and b; an image of weight 2 counts twice.

    His targets are shares and not classes: every image is one of each class, with these weights.
    """
    positives, negatives = weights @ y, weights @ (1 - y)
    targets = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    both = np.r_[weights * targets, weights * (1 - targets)]
    line = LogisticRegression(C=np.inf, solver="newton-cholesky")
    line.fit(np.r_[logits, logits][:, None], np.repeat([1, 0], len(y)), both)
    return line.intercept_[0], line.coef_[0, 0]


def calibrated_interval(curves, scores, level=0.9):
    """Between which shares images with such scores have their labels: two DataFrames [N, L].

    The ends of the middle ``level`` of ``curves`` [draws, L, 2], of ``calibration_curves``, at
    every score of ``scores`` [N, L], 0 … 1. What it holds is the luck of the patients that were
    drawn; that the curve has another shape than Platt's it cannot know. NaN where nothing was
    known of a label.
    """
    scores = checks.probabilities(scores)
    checks.share("level", level)
    logits = _logits(scores.to_numpy())
    shares = expit(curves[:, None, :, 0] + curves[:, None, :, 1] * logits)  # [draws, N, L]
    ends = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(pd.DataFrame(end, index=scores.index, columns=scores.columns) for end in ends)


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
