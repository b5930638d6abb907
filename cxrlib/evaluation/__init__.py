"""How good are the scores? Per label, on average, and with an interval.

Truth and scores are tables with one row per image and one column per label. Truth is 1, 0 or NaN
(not known: that image does not count for that label). What cannot be used is refused with an
``EvaluationError``, which names the argument, and the label or row.
"""

from cxrlib.evaluation.agreement import agreement, reader_agreement
from cxrlib.evaluation.auroc import (
    BLOCK,
    Evaluation,
    bootstrap_auroc,
    evaluate,
    evaluate_models,
    mean_interval,
    patient_weights,
)
from cxrlib.evaluation.calibration import (
    RECALIBRATORS,
    calibrated_interval,
    calibration,
    calibration_by_chance,
    calibration_curves,
    fit_temperatures,
    proper_scores,
    recalibrate,
    reliability,
    rescale,
)
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.evaluation.comparison import compare, measures, subgroups
from cxrlib.evaluation.predictions import Predictions, main, read_predictions
from cxrlib.evaluation.thresholds import at_threshold, hierarchical_f1, threshold_for
