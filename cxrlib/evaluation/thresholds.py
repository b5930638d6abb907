"""What follows from calling everything above a threshold present."""

import numpy as np
import pandas as pd

from cxrlib.evaluation.auroc import _check


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
