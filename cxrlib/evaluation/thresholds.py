"""What follows from calling everything above a threshold present."""

import numpy as np
import pandas as pd

from cxrlib.evaluation import checks


def at_threshold(truth, scores, threshold=0.5):
    """Sensitivity, specificity, precision and F1 per label, for "present above the threshold".

    ``threshold`` is a number, or a Series by label. A rate without a denominator is NaN.
    """
    truth, scores = checks.tables(truth, scores)
    called = scores > checks.by_label(threshold, truth.columns, "threshold")
    present, absent = truth == 1, truth == 0
    tp, fn = (called & present).sum(), (~called & present).sum()
    fp, tn = (called & absent).sum(), (~called & absent).sum()
    return pd.DataFrame(
        {
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
        }
    )


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
