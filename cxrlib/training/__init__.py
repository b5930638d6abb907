"""Training: settings and methods, one call that trains, and the folder that a run leaves."""

from cxrlib.data.augment import AUGMENTATIONS
from cxrlib.places import RUNS
from cxrlib.training.checkpoints import RunError, load_model, read_checkpoint
from cxrlib.training.fit import as_many_threads, make_data, plan, train
from cxrlib.training.methods import METHODS, make_loss, make_readout
from cxrlib.training.module import (
    CURVES,
    Classifier,
    EpochProgress,
    EpochSeed,
    make_callbacks,
    quiet_lightning,
)
from cxrlib.training.runs import RECIPE, Experiment, Run, check_name, find_run, read_record
from cxrlib.training.scores import predict, predictions_table, score
from cxrlib.training.settings import DEFAULTS, RECIPES, Settings, trainer_options
