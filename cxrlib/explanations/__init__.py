"""Explanations: where in the image a label's score comes from, and what such maps are worth."""

from cxrlib.explanations.maps import (
    LABELS,
    METHODS,
    Maps,
    check_features,
    check_images,
    explain,
    features_of,
)
from cxrlib.explanations.trials import (
    THRESHOLDS,
    best_threshold,
    blind_map,
    covered,
    deletion_insertion,
    find_masks,
    localisation,
    randomised,
    rank_correlation,
    smooth_fields,
)
