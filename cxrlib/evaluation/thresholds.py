"""What follows from calling everything above a threshold present."""

import numpy as np
import pandas as pd

from cxrlib.evaluation import checks
from cxrlib.evaluation.auroc import patient_weights


def at_threshold(truth, scores, threshold=0.5, groups=None, resamples=0, level=0.95, seed=0):
    """Sensitivity, specificity, precision and F1 per label, for "present above the threshold".

    ``threshold`` is a number, or a Series by label. A rate without a denominator is NaN. With
    ``resamples``, every rate has an interval, ``sensitivity_low`` and so on: patients (``groups``)
    are drawn anew, the threshold stays. ``level`` is the share of the resamples within.
    """
    truth, scores = checks.tables(truth, scores)
    checks.number("resamples", resamples, 0, 100_000)
    checks.share("level", level)
    groups = None if groups is None else checks.by_row(groups, truth, "groups")
    called = (scores > checks.by_label(threshold, truth.columns, "threshold")).to_numpy()
    present, absent = (truth == 1).to_numpy(), (truth == 0).to_numpy()
    cells = [called & present, ~called & present, called & absent, ~called & absent]
    once = _rates(*(cell.sum(axis=0, dtype=float) for cell in cells))
    table = pd.DataFrame(once, index=truth.columns)
    if resamples:
        weights = patient_weights(len(truth), groups, resamples, seed)
        drawn = _rates(*(weights @ cell.astype(float) for cell in cells))
        for name, values in drawn.items():
            ends = pd.DataFrame(values).quantile([(1 - level) / 2, (1 + level) / 2]).to_numpy()
            table[f"{name}_low"], table[f"{name}_high"] = ends
    return table


def _rates(tp, fn, fp, tn):
    """The rates of counts, arrays of any shape."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }


def threshold_for(truth, scores, sensitivity):
    """The highest threshold of every label that finds at least so many of the sick: Series [L].

    It is chosen on these images, and has just that sensitivity on them. On new ones it has luck,
    and leans to one side: where it misses m of n sick, it will on average find (n − m) / (n + 1) of
    new ones, which is less, and most so where the sick are few. (``uncertainty`` has limits that
    keep a promise on new images.)

    Parameters
    ----------
    truth, scores : tables [N, L] of 0/1/NaN and of scores.
    sensitivity : between 0 and 1. A label without a positive has no threshold: NaN.
    """
    truth, scores = checks.tables(truth, scores)
    checks.share("sensitivity", sensitivity)
    chosen = {}
    for name in truth:
        found = np.sort(scores.loc[truth[name] == 1, name].to_numpy())
        missed = int(np.floor((1 - sensitivity) * len(found) + 1e-9))
        chosen[name] = np.nextafter(found[missed], -np.inf) if len(found) else np.nan
    return pd.Series(chosen)


def hierarchical_f1(truth, scores, hierarchy, threshold=0.5):
    """Micro-averaged hierarchical ``precision``, ``recall`` and ``f1``: a Series.

    What is said of an image (the labels above the threshold) and what is true of it are two sets of
    labels. Each is completed by all ancestors; then what they share is counted over all images: to
    call Edema where there is Consolidation is half right, since both are Fluid Accumulation. NaN
    where nothing is called or present. Kiritchenko et al. 2005; Silla & Freitas 2011, section 6.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN. A label that is unknown on an image counts in neither
        set there, unless a present descendant makes it present.
    scores : DataFrame [N, L], with the same index.
    threshold : a number, or a Series by label.
    """
    truth, scores = checks.tables(truth, scores)
    threshold = checks.by_label(threshold, truth.columns, "threshold")
    both, called, present = set_sizes(truth, scores, hierarchy, threshold).sum(axis=1)
    figures = {"precision": (both, called), "recall": (both, present)}
    figures["f1"] = (2 * both, called + present)
    return pd.Series({name: a / b if b else np.nan for name, (a, b) in figures.items()})


def set_sizes(truth, scores, hierarchy, threshold=0.5):
    """Sizes of the completed sets of every image: shared, called, present; array [3, N]."""
    known_or_present = hierarchy.close(truth)
    known = known_or_present[list(hierarchy.labels)].notna().to_numpy()
    present = (known_or_present == 1).to_numpy()
    called = known & (hierarchy.close((scores > threshold).astype(float)).to_numpy() == 1)
    return np.stack([called & present, called, present]).sum(axis=2).astype(float)
