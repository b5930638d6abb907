"""Exercises of notebook 11, the reading room."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "11",
    1,
    "A window on twelve bits",
    minutes=5,
    hints=(
        "First a straight line through two points: where does it reach 0, and where 1? What lies "
        "beyond is black or white. Turning over comes last.",
        "`share = np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)`, and then "
        "`1 - share` where low is white.",
    ),
)
def through_window(levels, centre, width, low_is_white):
    """Grey levels as a viewer shows them, through the window that a DICOM file asks for.

    levels: an array [H, W] of stored levels, such as 0 to 4095.
    centre, width: numbers, the window's; width is above 1. By the standard (PS3.3, C.11.2.1.2) a
    level x becomes (x − (centre − 0.5)) / (width − 1) + 0.5; what is below 0 is 0, and what is
    above 1 is 1.
    low_is_white: True or False; if True (MONOCHROME1), black and white then change places.
    Returns an array [H, W] from 0, black, to 1, white. With levels [[0, 100, 300]], centre 100.5
    and width 201 it is [[0, 0.5, 1]], or [[1, 0.5, 0]] where low is white.
    """
    share = np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return 1 - share if low_is_white else share


@through_window.inputs
def _draw_levels(rng):
    for low_is_white in (False, True, False):
        centre, width = rng.uniform(800, 3000), rng.uniform(200, 900)
        inside = rng.uniform(centre - 0.4 * width, centre + 0.4 * width, (2, 3)).round()
        beyond = np.array([[0.0, 4095.0], [centre - width, centre + width]])
        yield np.hstack([inside, beyond]), round(centre), round(width), low_is_white


@through_window.mistake(
    "What lies beyond the window is left below 0 and above 1. Nothing is blacker than black."
)
def _unclipped(levels, centre, width, low_is_white):
    share = (levels - (centre - 0.5)) / (width - 1) + 0.5
    return 1 - share if low_is_white else share


@through_window.mistake(
    "You never turn over. A film whose low levels are white then comes out as its own negative."
)
def _never_turned(levels, centre, width, low_is_white):
    return np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


@through_window.mistake(
    "You turn over where low is *black*, and leave MONOCHROME1 as it is: the other way round."
)
def _turned_the_others(levels, centre, width, low_is_white):
    share = np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return share if low_is_white else 1 - share


@through_window.mistake(
    "Almost: by the standard the window's halves lie at centre − 0.5, and it is width − 1 wide. "
    "What you wrote is its other kind, LINEAR_EXACT."
)
def _exact(levels, centre, width, low_is_white):
    share = np.clip((levels - centre) / width + 0.5, 0, 1)
    return 1 - share if low_is_white else share


@through_window.mistake("You return levels from 0 to 255. From 0 to 1 was asked for.")
def _bytes(levels, centre, width, low_is_white):
    share = np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    return 255 * (1 - share if low_is_white else share)


@through_window.mistake(
    "You turn the stored levels over first. The window's centre is one of the levels as they are "
    "stored: first the window, then turn over."
)
def _turned_first(levels, centre, width, low_is_white):
    levels = levels.max() - levels if low_is_white else levels
    return np.clip((levels - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)


@through_window.mistake(
    "You stretch from the lowest level of the image to its highest. Then one bright marker darkens "
    "the whole film; the file says where black and white are."
)
def _by_the_extremes(levels, centre, width, low_is_white):
    share = (levels - levels.min()) / (levels.max() - levels.min())
    return 1 - share if low_is_white else share


@exercise(
    "11",
    2,
    "The gate",
    minutes=6,
    hints=(
        "One number for each image: how far its features lie from the centre, where a step counts "
        "the less, the more usual images vary that way. The precision matrix does the weighing.",
        "`away = features - centre`; the squared distances are `((away @ precision) * away).sum("
        "axis=1)`. Then the square root, and which are above the limit.",
    ),
)
def refused_by(features, centre, precision, limit):
    """Which images a gate refuses, by how far their features lie from those of training images.

    features: an array [N, C], what the model's last layer sees of each image.
    centre: an array [C], the mean of the training images' features.
    precision: an array [C, C], the inverse of their covariance; it is symmetric.
    limit: a number; an image is refused if its Mahalanobis distance, the square root of
    (f − centre)ᵀ · precision · (f − centre), is above it.
    Returns an array [N] of True and False, True where refused. With features [[3, 0], [0, 3]],
    centre [0, 0], precision [[1, 0], [0, 0.25]] and limit 2 it is [True, False]: the distances are
    3 and 1.5.
    """
    away = features - centre
    return np.sqrt(((away @ precision) * away).sum(axis=1)) > limit


@refused_by.inputs
def _draw_features(rng):
    for count in (2, 3, 5):
        mix = rng.normal(size=(count, count))
        precision = mix @ mix.T + 0.1 * np.eye(count)
        precision *= 9 / np.trace(precision)
        centre = rng.normal(size=count) + 3
        away = rng.normal(size=(40, count))
        distances = np.sqrt(((away @ precision) * away).sum(axis=1))
        away *= (rng.uniform(0.3, 4.5, 40) / distances)[:, None]
        yield centre + away, centre, precision, 2.0


@refused_by.mistake(
    "You measure from zero and not from the centre: usual images lie around it, not around zero."
)
def _from_zero(features, centre, precision, limit):
    return np.sqrt(((features @ precision) * features).sum(axis=1)) > limit


@refused_by.mistake(
    "Every direction counts alike with you. What is far in one direction, in which usual images "
    "hardly vary, is near in another: the precision matrix says which."
)
def _as_the_crow_flies(features, centre, precision, limit):
    return np.sqrt(((features - centre) ** 2).sum(axis=1)) > limit


@refused_by.mistake(
    "You compare *squared* distances with the limit: it is one of distances, so take the root."
)
def _squared(features, centre, precision, limit):
    away = features - centre
    return ((away @ precision) * away).sum(axis=1) > limit


@refused_by.mistake(
    "You use the precision's diagonal alone. Features vary together, and that is off the diagonal."
)
def _diagonal(features, centre, precision, limit):
    away = features - centre
    return np.sqrt((away**2 * np.diag(precision)).sum(axis=1)) > limit


@refused_by.mistake("You invert the precision. It is the inverse of the covariance already.")
def _inverted_again(features, centre, precision, limit):
    away = features - centre
    return np.sqrt(((away @ np.linalg.inv(precision)) * away).sum(axis=1)) > limit


@refused_by.mistake("You refuse those that are near, and let the others pass.")
def _the_near_ones(features, centre, precision, limit):
    away = features - centre
    return np.sqrt(((away @ precision) * away).sum(axis=1)) <= limit


@exercise(
    "11",
    3,
    "Was the promise kept?",
    minutes=8,
    hints=(
        "Three steps: is an image's report wrong, in anything that it says? What share of a "
        "patient's reports is? And then the mean over patients, each counting once.",
        "`wrong = (said & (truth == 0)).any(axis=1)`; then "
        "`pd.Series(wrong).groupby(patients).mean().mean()`.",
    ),
)
def wrong_reports(said, truth, patients):
    """How often reports say anything wrong: the share that controlled risk promises to keep low.

    said: an array [N, L] of True and False: what the report of each image states.
    truth: an array [N, L] of 1 and 0. A statement is wrong where the truth is 0; what is there and
    not stated is no error here.
    patients: an array [N], whose image it is.
    Returns a number: the share of a patient's reports that state anything wrong, on average over
    patients, each of whom counts once. With said [[True, False], [True, True], [False, False]],
    truth [[1, 0], [1, 0], [1, 1]] and patients [7, 7, 8] it is 0.25: one of two reports of patient
    7, and none of patient 8.
    """
    wrong = (said & (truth == 0)).any(axis=1)
    names = np.unique(patients)
    return float(np.mean([wrong[patients == name].mean() for name in names]))


@wrong_reports.inputs
def _draw_reports(rng):
    for count in (9, 14):
        patients = np.sort(np.concatenate([np.zeros(5, int), rng.integers(1, 6, count)]))
        truth = (rng.random((len(patients), 4)) < 0.5).astype(int)
        said = (rng.random(truth.shape) < 0.35) | ((patients == 0)[:, None] & (truth == 0))
        said[-2:] = False  # reports that say nothing are right
        yield said, truth, patients


@wrong_reports.mistake(
    "You average over images: a patient with five images then counts five times. The promise is to "
    "patients, each of whom counts once."
)
def _by_image(said, truth, patients):
    return float((said & (truth == 0)).any(axis=1).mean())


@wrong_reports.mistake(
    "You count wrong *statements* and not reports with any. Two wrong words in one report are one "
    "wrong report."
)
def _statements(said, truth, patients):
    wrong = (said & (truth == 0)).mean(axis=1)
    return float(np.mean([wrong[patients == name].mean() for name in np.unique(patients)]))


@wrong_reports.mistake(
    "You leave out reports that say nothing. The promise is about all reports, and those are "
    "right: among the reports that do say something more are wrong."
)
def _of_those_that_speak(said, truth, patients):
    wrong, speaks = (said & (truth == 0)).any(axis=1), said.any(axis=1)
    names = np.unique(patients[speaks])
    return float(np.mean([wrong[speaks & (patients == name)].mean() for name in names]))


@wrong_reports.mistake(
    "You take what was missed for an error too. Here a report that says nothing says nothing "
    "wrong; what it leaves unsaid is the price, and is counted elsewhere."
)
def _missed_too(said, truth, patients):
    wrong = (said != (truth == 1)).any(axis=1)
    return float(np.mean([wrong[patients == name].mean() for name in np.unique(patients)]))


@wrong_reports.mistake(
    "You count a patient as wrong if any of his reports is. It is the share of them that counts."
)
def _any_of_a_patient(said, truth, patients):
    wrong = (said & (truth == 0)).any(axis=1)
    return float(np.mean([wrong[patients == name].any() for name in np.unique(patients)]))
