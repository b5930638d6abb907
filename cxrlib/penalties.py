"""How much it costs to predict a child without its parent: one number per edge.

Both kinds are the published ones (arXiv 2502.03591), and both come back as a ``Series`` indexed
by (parent, child), in the order of the hierarchy's edges.
"""

from numbers import Real

import numpy as np
import pandas as pd


def fixed_penalties(hierarchy, value=0.5):
    """The same penalty on every edge; the paper uses 0.5.

    Examples
    --------
    >>> from cxrlib.hierarchy import paper_hierarchy
    >>> fixed_penalties(paper_hierarchy(), 0.5)["Cardiac", "Cardiomegaly"]
    np.float64(0.5)
    """
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"value={value!r}: a penalty is a finite number that is not negative.")
    return pd.Series(float(value), index=hierarchy.edge_index, name="penalty")


def data_driven_penalties(hierarchy, labels, epsilon=1e-6, scale=1.0):
    """Penalise an edge by how rarely the data break it: scale · (1 − P(child = 1 | parent = 0)).

    The probability is counted on ``labels`` and smoothed, as published: (count + ε) / (n + 2ε),
    where n is the number of images whose parent is 0. Images that lack either label are left out;
    an edge with no image left gets P = 0.5.

    Parameters
    ----------
    hierarchy : Hierarchy
    labels : DataFrame [N, L] of 0, 1 and NaN, usually those of the training set.
    epsilon : the smoothing, above 0.
    scale : multiplies every penalty, above 0; the paper uses 1.

    Returns
    -------
    Series of floats in [0, scale], indexed by (parent, child).

    Raises
    ------
    HierarchyError
        A label is missing, or holds values other than 0, 1 and NaN.
    """
    for name, value in {"epsilon": epsilon, "scale": scale}.items():
        if not isinstance(value, Real) or not 0 < value < np.inf:
            raise ValueError(f"{name}={value!r}: expected a number above 0.")
    values = hierarchy.to_numbers(
        labels,
        lambda values: np.isin(values, (0, 1)),
        "0, 1 or NaN, and cannot be counted; apply U-Ones, U-Zeros or U-Ignore to −1 first",
    )
    parents, children = hierarchy.edge_positions
    parent_negative = values[:, parents] == 0
    child_known = ~np.isnan(values[:, children])
    negatives = (parent_negative & child_known).sum(axis=0)
    broken = (parent_negative & (values[:, children] == 1)).sum(axis=0)
    probability = (broken + epsilon) / (negatives + 2 * epsilon)
    return pd.Series(scale * (1 - probability), index=hierarchy.edge_index, name="penalty")
