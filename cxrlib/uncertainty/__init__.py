"""Uncertainty: how sure a model is, what of it is the model's own doubt, and what to say then."""

from cxrlib.uncertainty.doubt import (
    DROPOUT,
    Uncertainty,
    augmented_passes,
    decompose,
    dropout_passes,
    embed,
    entropy,
    mc_dropout,
    odd_images,
    risk_coverage,
)
from cxrlib.uncertainty.promises import (
    ANYONE,
    above_called,
    conformal_quantile,
    conformal_sets,
    control_risk,
    coverage_law,
    deepest,
    doubt_groups,
    fit_conformal,
    fit_joint,
    highest_wrong,
    is_covered,
    specificity,
    statements,
    tree_control,
    weighted_sets,
)
