"""Training: settings and methods, one call that trains, and the folder that a run leaves."""

from cxrlib.training.fit import fit_and_record, make_data, train
from cxrlib.training.methods import make_loss, make_readout
from cxrlib.training.module import (
    CURVES,
    Classifier,
    Curves,
    EpochProgress,
    EpochSeed,
    make_callbacks,
    quiet_lightning,
)
from cxrlib.training.runs import (
    OWNER,
    RUNS,
    Run,
    data_fingerprint,
    find_run,
    fingerprint,
    load_model,
    load_start,
    publish,
    run_folder,
    workplace,
)
from cxrlib.training.scores import predict, predictions_table, score
from cxrlib.training.settings import AUGMENTATIONS, METHODS, RECIPES, Settings
