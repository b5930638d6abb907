"""How far two opinions of the same images agree: labels with a reference, readers with readers."""

import numpy as np
import pandas as pd

from cxrlib.evaluation import checks
from cxrlib.evaluation.auroc import patient_weights


def kappa(both, first, second, neither):
    """Cohen's kappa of counts (arrays): said by both, by one alone, by the other alone, by neither.

    1 is perfect agreement, 0 what two would reach who guess at their own rates; undefined (NaN)
    where neither ever varies.
    """
    total = both + first + second + neither
    one, other = (both + first) / total, (both + second) / total
    chance = one * other + (1 - one) * (1 - other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((both + neither) / total - chance) / (1 - chance)


def agreement(truth, labels, groups=None, resamples=1000, level=0.95, seed=0):
    """How well labels say what a reference says, finding by finding.

    Parameters
    ----------
    truth, labels : DataFrames [N, L] of 0, 1 or NaN with the same index and columns. What is NaN in
        either does not count.
    groups : Series [N], the patient of each image, so that the intervals resample patients; images
        by default.
    resamples, level, seed : of the bootstrap; ``level`` is the share of resamples within.

    Returns
    -------
    DataFrame by label: ``positives`` of the reference, ``sensitivity`` (the share of them that the
    labels know), ``precision`` (the share of the labels' positives that the reference confirms) and
    ``kappa``, each with ``…_low`` and ``…_high``.

    References
    ----------
    Cohen 1960 (kappa).
    """
    checks.share("level", level)
    truth, labels = checks.tables(truth, labels, checks.truths)
    groups = None if groups is None else checks.by_row(groups, truth, "groups")
    known = (truth.notna() & labels.notna()).to_numpy()
    yes, said = truth.to_numpy() == 1, labels.to_numpy() == 1
    parts = (yes & said, yes & ~said, ~yes & said, ~yes & ~said)
    counts = _counts([part & known for part in parts], groups, resamples, seed)
    both, missed, invented, _ = counts
    with np.errstate(invalid="ignore", divide="ignore"):
        measures = {
            "sensitivity": both / (both + missed),
            "precision": both / (both + invented),
            "kappa": kappa(*counts),
        }
    positives = pd.DataFrame({"positives": (yes & known).sum(axis=0)}, index=truth.columns)
    return positives.join(_with_intervals(measures, truth.columns, level))


def reader_agreement(readings, resamples=1000, level=0.95, seed=0):
    """Kappa between any two readers of the same image (Fleiss 1971: the rates of all are pooled).

    Parameters
    ----------
    readings : DataFrame of 0 and 1 indexed by (image, reader), a row for each reading; two readers
        or more for each image.
    resamples, level, seed : of the bootstrap of the images.

    Returns
    -------
    DataFrame by finding: ``any`` and ``all``, images of which one reader or more, or every reader,
    says it; ``kappa``, ``kappa_low``, ``kappa_high``.
    """
    checks.share("level", level)
    readings = checks.truths(readings)
    _check_readings(readings)
    by_image = readings.groupby(level=0)
    said, readers = by_image.sum().to_numpy(), by_image.size().to_numpy()[:, None]
    silent = readers - said
    # Ordered pairs of readers: each is once the first and once the second.
    pairs = (said * (said - 1), said * silent, said * silent, silent * (silent - 1))
    counts = _counts(pairs, None, resamples, seed)
    table = pd.DataFrame(
        {"any": (said > 0).sum(axis=0), "all": (silent == 0).sum(axis=0)}, index=readings.columns
    )
    return table.join(_with_intervals({"kappa": kappa(*counts)}, readings.columns, level))


def _check_readings(readings):
    index = readings.index
    if index.nlevels != 2 or index.to_frame().isna().any(axis=None):
        raise checks.EvaluationError("readings: expected an index of (image, reader), none blank.")
    if not index.is_unique:
        image, reader = index[index.duplicated()][0]
        raise checks.EvaluationError(f"readings: {reader} reads the image {image} twice.")
    count = readings.groupby(level=0).size()
    if (count < 2).any():
        raise checks.EvaluationError(f"readings: the image {count.idxmin()} has one reader only.")
    for image, reader in index[readings.isna().any(axis=1)]:
        raise checks.EvaluationError(
            f"readings: {reader} left a finding of {image} blank (NaN). Leave out findings "
            "that not all looked for."
        )


def _counts(parts, groups, resamples, seed):
    """Sums over the images, [1 + resamples, L] for each part: as they are, then resampled."""
    weights = patient_weights(len(parts[0]), groups, resamples, seed)
    return [np.vstack([part.sum(axis=0), weights @ part.astype(float)]) for part in parts]


def _with_intervals(measures, labels, level):
    """A table by label of each measure [1 + resamples, L], and the interval of its resamples."""
    columns = {}
    for name, values in measures.items():
        drawn = pd.DataFrame(values[1:])  # undefined resamples (NaN) do not count
        low, high = drawn.quantile([(1 - level) / 2, (1 + level) / 2]).to_numpy()
        columns |= {name: values[0], f"{name}_low": low, f"{name}_high": high}
    return pd.DataFrame(columns, index=labels)
