"""From a folder of radiographs to batches of images and targets.

Three tracks are read into one table with the columns ``path, patient, study, view, sex, age,
split`` and one column per observation. ``cxrlib.check`` says what is in a folder, what is missing
and what will be used.
"""

from cxrlib.data.augment import AUGMENTATIONS, Augmentation, draw, equalize, to_float
from cxrlib.data.batches import ChestData, ChestDataset
from cxrlib.data.chexpert import (
    BATCHES,
    LABEL_SOURCES,
    TEST_TABLES,
    label_sources,
    patients_in,
    table_path,
    test_table,
)
from cxrlib.data.images import ImageMap, load_image, read_images
from cxrlib.data.nih import NIH_TABLE
from cxrlib.data.track import COLUMNS, SPLITS, DataError, Track, fewer, require_disjoint_patients
from cxrlib.data.tracks import DEFAULT_FOLDER, TRACK_TITLES, data_folder, open_track, track_name
