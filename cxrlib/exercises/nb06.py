"""Exercises of notebook 06, evaluation."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "06",
    1,
    "A mean of what?",
    minutes=2,
    hints=(
        "First leave out the undefined labels, in both arrays. Then there are two ways to average.",
        "`known = ~np.isnan(auroc)`; then `auroc[known].mean()`, and the same with "
        "`np.average(..., weights=positives[known])`.",
    ),
)
def two_means(auroc, positives):
    """The macro mean of an AUROC per label, and the one that is weighted by positives.

    auroc: an array [L], NaN where it is undefined: where the images are all of one class.
    positives: an array [L], how many images have the label.
    Returns a dict of two numbers, "macro" and "weighted". Undefined labels are left out of both.
    With auroc [0.9, 0.6, NaN] and positives [30, 10, 40] it is {"macro": 0.75, "weighted": 0.825}.
    """
    known = ~np.isnan(auroc)
    weighted = np.average(auroc[known], weights=positives[known])
    return {"macro": auroc[known].mean(), "weighted": weighted}


@two_means.inputs
def _draw_aurocs(rng):
    for labels in (4, 21):
        auroc, positives = rng.uniform(0.6, 1, labels), rng.integers(5, 300, labels)
        auroc[:2], positives[:2] = np.nan, (0, 400)
        auroc[2:4], positives[2:4] = (0.95, 0.7), (390, 5)  # frequent and easy, rare and hard
        order = rng.permutation(labels)
        yield auroc[order], positives[order]


@two_means.mistake(
    "The undefined labels count as 0 with you, as if the model had ordered every pair wrongly. "
    "Nobody knows how it orders them."
)
def _as_zero(auroc, positives):
    found = np.nan_to_num(auroc)
    return {"macro": found.mean(), "weighted": np.average(found, weights=positives)}


@two_means.mistake(
    "The undefined labels count as 0.5 with you. A coin was never tossed: they are left out."
)
def _as_coin(auroc, positives):
    found = np.nan_to_num(auroc, nan=0.5)
    return {"macro": found.mean(), "weighted": np.average(found, weights=positives)}


@two_means.mistake(
    "You left the undefined labels out above the line, but their positives still stand below it. "
    "(A label that all images have is undefined, and has many.)"
)
def _below_the_line(auroc, positives):
    return {
        "macro": np.nanmean(auroc),
        "weighted": np.nansum(auroc * positives) / positives.sum(),
    }


@two_means.mistake(
    "The two are exchanged. “Macro” lets every label count the same, however rare it is."
)
def _exchanged(auroc, positives):
    known = ~np.isnan(auroc)
    weighted = np.average(auroc[known], weights=positives[known])
    return {"macro": weighted, "weighted": auroc[known].mean()}


@two_means.mistake(
    "A NaN went into your means, and out came NaN. One label without an AUROC must not hide the "
    "others."
)
def _all_nan(auroc, positives):
    return {"macro": auroc.mean(), "weighted": np.average(auroc, weights=positives)}


@exercise(
    "06",
    2,
    "A threshold that finds 95% of the sick",
    minutes=5,
    hints=(
        "Sensitivity is about the sick alone. Sort their scores: how many may lie below?",
        "With `found = np.sort(scores[truth == 1])`, `int((1 - sensitivity) * len(found))` of the "
        "sick may be missed. The next one is the threshold.",
    ),
)
def highest_threshold(truth, scores, sensitivity):
    """The highest threshold that still finds at least this share of the sick.

    truth: an array [N] of 0 and 1; at least one image is sick, that is 1.
    scores: an array [N], all different. An image is called if its score is at or above the
    threshold.
    sensitivity: a number such as 0.95, the least share of the sick that are to be called.
    Returns a number. With scores [0.9, 0.7, 0.6, 0.3, 0.8], of which the first four are sick, and
    a sensitivity of 0.75 it is 0.6: three of four are found, and any higher one finds fewer.
    """
    found = np.sort(scores[truth == 1])
    missed = int((1 - sensitivity) * len(found))
    return found[missed]


@highest_threshold.inputs
def _draw_sick(rng):
    for sick, healthy, sensitivity in ((57, 300, 0.95), (4, 5, 0.75), (20, 60, 0.95)):
        truth = np.repeat([1, 0], (sick, healthy))
        scores = rng.permutation(np.linspace(0.01, 0.99, len(truth)))
        scores = 0.6 * scores + 0.3 * truth + 0.005 * rng.random(len(truth)) / len(truth)
        last_missed, first_found = _around(truth, scores, sensitivity)
        below = scores[scores < first_found].max()  # nobody lies between these two
        scores[scores == last_missed] = (below + first_found) / 2
        order = rng.permutation(len(truth))
        yield truth[order], scores[order], sensitivity


def _around(truth, scores, sensitivity):
    """The highest score of the sick who are missed, and the lowest of those who are found."""
    found = np.sort(scores[truth == 1])
    missed = int((1 - sensitivity) * len(found))
    return found[missed - 1], found[missed]


@highest_threshold.judged_by
def _finds_enough(answer, truth, scores, sensitivity):
    if not np.isscalar(answer) and np.shape(answer) != ():
        return "Expected one number, the threshold."
    try:
        threshold = float(answer)
    except (TypeError, ValueError):
        return "Expected a number, the threshold."
    sick = scores[truth == 1]
    caught = (sick >= threshold).sum()
    told = f"Your threshold of {threshold:.3f} finds {caught} of {len(sick)} sick, "
    if caught < sensitivity * len(sick) - 1e-9:
        return f"{told}which is {caught / len(sick):.1%}: less than {sensitivity:.0%}."
    lowest = sick[sick >= threshold].min()
    fewer = caught - 1 >= sensitivity * len(sick) - 1e-9
    if fewer:
        return f"{told}and a higher one would still find {sensitivity:.0%} of them."
    between = ((scores >= threshold) & (scores < lowest)).sum()
    if between:
        return f"{told}and so would {lowest:.3f}, which calls {between} fewer of the healthy."
    return None


@highest_threshold.behaviour
def _with_one_more_healthy(answer, truth, scores, sensitivity):
    """Someone healthy scores hardly less than the last of the sick who must be found."""
    just_below = _around(truth, scores, sensitivity)[1] - 1e-7
    truth, scores = np.append(truth, 0), np.append(scores, just_below)
    return _finds_enough(answer(truth, scores, sensitivity), truth, scores, sensitivity)


@highest_threshold.mistake(
    "You looked at all images. How many healthy ones there are, and what they score, has no say in "
    "sensitivity."
)
def _of_all(truth, scores, sensitivity):
    return np.sort(scores)[int((1 - sensitivity) * len(scores))]


@highest_threshold.mistake(
    "That is a threshold for specificity: this share of the *healthy* stays below it."
)
def _of_the_healthy(truth, scores, sensitivity):
    return np.quantile(scores[truth == 0], sensitivity)


@highest_threshold.mistake(
    "Turned round: this share of the sick lies below your threshold, and is missed."
)
def _turned(truth, scores, sensitivity):
    return np.quantile(scores[truth == 1], sensitivity)


@highest_threshold.mistake(
    "The lowest score of the sick finds all of them. Some may be missed here, and each one spares "
    "healthy people a false alarm."
)
def _misses_nobody(truth, scores, sensitivity):
    return scores[truth == 1].min()


@highest_threshold.mistake(
    "A quantile lies between two scores, and so it can miss one too many: of 57 sick, 5% are 2.85, "
    "so 2 may be missed and not 3. Count the sick, and take the score of one."
)
def _interpolated(truth, scores, sensitivity):
    return np.quantile(scores[truth == 1], 1 - sensitivity)


@highest_threshold.mistake(
    "One sick person too many lies at or above your threshold. Do you count only those *above* it? "
    "A score that equals the threshold is called, too."
)
def _strictly_above(truth, scores, sensitivity):
    return _around(truth, scores, sensitivity)[0]


@exercise(
    "06",
    3,
    "A temperature by hand",
    minutes=9,
    hints=(
        "What is divided is the logit, log(p / (1 − p)); then back to a probability. "
        "And which temperature suits the truth best, by the log loss?",
        "With `z = np.log(scores / (1 - scores))` and `p = 1 / (1 + np.exp(-z / t))`, the log loss "
        "is the mean of `-(truth * np.log(p) + (1 - truth) * np.log(1 - p))`. Keep the t for which "
        "it is lowest.",
    ),
)
def best_temperature(truth, scores, temperatures):
    """The temperature that mends the scores of one label best: with the lowest log loss.

    truth: an array [N] of 0 and 1. scores: an array [N] of probabilities between 0 and 1.
    temperatures: a list of positive numbers, from which one is to be chosen.
    A temperature t divides the logit of every score p, which is log(p / (1 − p)). Above 1 it makes
    scores less sure.
    Returns the best of `temperatures`. Of ten images that all score 0.8, six are positive: of
    [0.5, 1, 3.4] it is 3.4, which turns 0.8 into 0.6.
    """
    losses = []
    for t in temperatures:
        p = 1 / (1 + np.exp(-np.log(scores / (1 - scores)) / t))
        losses.append(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))
    return temperatures[np.argmin(losses)]


@best_temperature.inputs
def _draw_miscalibrated(rng):
    yield np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0]), np.full(10, 0.8), [0.5, 1, 3.4]
    right = 0.68 + 0.04 * rng.random(9)  # nine a little timid, and one that is sure, and wrong
    place = rng.integers(10)
    yield np.insert(np.ones(9, int), place, 0), np.insert(right, place, 0.999), [0.5, 1, 2]
    yield np.array([1, 0, 1, 0]), np.array([0.6, 0.4, 0.7, 0.2]), [1, 3, 0.5]
    logits = (1.5 * rng.normal(size=1500)).clip(-4, 4)
    truth = (rng.random(1500) < 1 / (1 + np.exp(-logits))).astype(int)
    yield truth, 1 / (1 + np.exp(-2 * logits)), [1.0, 2.0, 3.0, 0.5, 0.3]


def _log_losses(truth, scores, powers):
    logits = np.log(scores / (1 - scores))
    signed = np.where(truth == 1, logits, -logits)
    return [np.logaddexp(0, -power * signed).mean() for power in powers]


@best_temperature.mistake(
    "You multiplied the logits. A temperature divides them: above 1, it brings scores nearer to "
    "0.5."
)
def _multiplied(truth, scores, temperatures):
    return temperatures[np.argmin(_log_losses(truth, scores, temperatures))]


@best_temperature.mistake(
    "That is the worst one: the log loss is to be low. Has its minus sign been lost?"
)
def _highest_loss(truth, scores, temperatures):
    return temperatures[np.argmax(_log_losses(truth, scores, 1 / np.array(temperatures)))]


@best_temperature.mistake(
    "You raised the scores to the power 1/t, and so divided log p. A temperature divides the "
    "logit, log(p / (1 − p)): then 0.5 stays 0.5, and “present” is treated as “absent” is."
)
def _power(truth, scores, temperatures):
    losses = []
    for t in temperatures:
        p = scores ** (1 / t)
        losses.append(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))
    return temperatures[np.argmin(losses)]


@best_temperature.mistake(
    "You took log p for the logit. It is never above 0, so no sigmoid of it is above one half: the "
    "logit is log(p / (1 − p))."
)
def _log_for_logit(truth, scores, temperatures):
    losses = []
    for t in temperatures:
        p = 1 / (1 + np.exp(-np.log(scores) / t))
        losses.append(-np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p)))
    return temperatures[np.argmin(losses)]


@best_temperature.mistake(
    "Your temperature has the lowest Brier score, the mean of (truth − p)². There, a score that is "
    "sure and wrong costs 1 at most; by the log loss, which is asked for, it may cost any amount."
)
def _brier(truth, scores, temperatures):
    logits = np.log(scores / (1 - scores))
    costs = [np.mean((truth - 1 / (1 + np.exp(-logits / t))) ** 2) for t in temperatures]
    return temperatures[np.argmin(costs)]


@best_temperature.mistake(
    "The log loss has two halves. You have log p where the truth is 1; where it is 0, log(1 − p) "
    "counts, else to say “present” of everybody costs nothing."
)
def _one_half(truth, scores, temperatures):
    logits = np.log(scores / (1 - scores))
    costs = [-np.mean(truth * np.log(1 / (1 + np.exp(-logits / t)))) for t in temperatures]
    return temperatures[np.argmin(costs)]


@exercise(
    "06",
    4,
    "Two models, the same patients",
    minutes=9,
    hints=(
        "One resample: gather the images of every drawn patient, of one drawn twice two times. "
        "Which number of it do you need, if both models are judged on the same images?",
        "For every row: `np.concatenate([(ours - others)[patients == p] for p in row]).mean()`. "
        "Then `np.quantile` of these numbers, at 0.025 and 0.975.",
    ),
)
def paired_interval(patients, ours, others, drawn):
    """A 95% interval for the difference of two models, by resampling patients.

    patients: an array [N], the patient of each image, numbered 0 … P − 1; some have several images.
    ours, others: arrays [N], how well each model did on each image, from 0 to 1.
    drawn: an array [R, P]. Each row is a resample: P patients, drawn with replacement.
    Returns two numbers, the 2.5% and the 97.5% quantile (`np.quantile`), over the resamples, of the
    mean of ours minus the mean of others. In a resample, all images of a drawn patient count, and
    twice if the patient was drawn twice; each image counts the same.

    With patients [0, 0, 1], ours [1, 0.8, 0.6], others [0.9, 0.6, 0.7] and drawn [[0, 1], [0, 0],
    [1, 1]] the three differences are 0.0667, 0.15 and −0.1, and the interval −0.0917 to 0.1458.
    """
    gain = ours - others
    images = [np.concatenate([gain[patients == p] for p in row]) for row in drawn]
    return tuple(np.quantile([one.mean() for one in images], [0.025, 0.975]))


@paired_interval.inputs
def _draw_patients(rng):
    for count, resamples in ((5, 20), (12, 60)):
        patients = np.repeat(np.arange(count), 1 + np.arange(count) % 3)
        hard = rng.random(count)[patients]
        ours, others = (0.7 * hard + 0.3 * rng.random((2, len(hard)))).clip(0, 1)
        drawn = rng.integers(0, count, (resamples, count))
        drawn[:, 1] = drawn[:, 0]  # at least one of them twice
        order = rng.permutation(len(patients))
        yield patients[order], ours[order], others[order], drawn


def _ends(values):
    return tuple(np.quantile(np.asarray(values), [0.025, 0.975]))


def _resampled(patients, values, drawn):
    weights = np.stack([np.bincount(row, minlength=len(row))[patients] for row in drawn])
    return weights @ values / weights.sum(axis=1)


@paired_interval.mistake(
    "You took the numbers in `drawn` for images. Each is a patient, whose images all come along: "
    "they resemble each other, and drawn one by one they make an interval too narrow."
)
def _images_drawn(patients, ours, others, drawn):
    return _ends((ours - others)[drawn].mean(axis=1))


@paired_interval.mistake(
    "A patient who was drawn twice counts once with you. Drawing with replacement makes resamples "
    "vary as new samples would; without the repeats they vary too little."
)
def _counted_once(patients, ours, others, drawn):
    return _ends([(ours - others)[np.isin(patients, row)].mean() for row in drawn])


@paired_interval.mistake(
    "You set one model's low end against the other's high end. What makes a patient easy helps "
    "both models, and cancels if you take the difference within each resample first."
)
def _two_intervals(patients, ours, others, drawn):
    mine, theirs = (_ends(_resampled(patients, one, drawn)) for one in (ours, others))
    return mine[0] - theirs[1], mine[1] - theirs[0]


@paired_interval.mistake(
    "You took each model's interval, and subtracted low from low and high from high. That is no "
    "interval of the difference: subtract within each resample, and take quantiles last."
)
def _end_by_end(patients, ours, others, drawn):
    mine, theirs = (_ends(_resampled(patients, one, drawn)) for one in (ours, others))
    return mine[0] - theirs[0], mine[1] - theirs[1]


@paired_interval.mistake(
    "You averaged within patients first, so that each patient counts the same. Here each image "
    "does: a patient with three images weighs three times as much."
)
def _mean_of_means(patients, ours, others, drawn):
    by_patient = np.bincount(patients, ours - others) / np.bincount(patients)
    return _ends(by_patient[drawn].mean(axis=1))


@paired_interval.mistake(
    "Turned round: that is others minus ours, which is high where ours is worse."
)
def _turned_round(patients, ours, others, drawn):
    return _ends(_resampled(patients, others - ours, drawn))
