"""Exercises of notebook 10, promises."""

import numpy as np
import pandas as pd

from cxrlib.exercises.core import difference, exercise


@exercise(
    "10",
    1,
    "The limit, by the (n + 1) rule",
    minutes=4,
    hints=(
        "The new image is one more: n + 1 values could change places, and each may be any of them.",
        "Which of the sorted values? `rank = int(np.ceil((n + 1) * (1 - alpha)))`, counted from 1. "
        "Where rank > n there is no such value.",
    ),
)
def conformal_limit(strangeness, alpha):
    """How strange the truth of a new image may be, if at most a share alpha is to be missed.

    strangeness: an array [n], how strange the truth looked on n calibration images; no two are
    equal. alpha: how often the set may miss the truth, between 0 and 1.
    The limit is the k-th smallest of the n values, k being (n + 1)·(1 − alpha), rounded up.
    Returns a number, or np.inf where k is more than n: then nothing is too strange.
    With the nine values 0.1, 0.2 … 0.9 and alpha = 0.25 it is 0.8: k is 7.5, rounded up. With five
    values and alpha = 0.1 it is np.inf.
    """
    n = len(strangeness)
    rank = int(np.ceil((n + 1) * (1 - alpha)))
    return np.sort(strangeness)[rank - 1] if rank <= n else np.inf


@conformal_limit.inputs
def _draw_strange(rng):
    yield np.roll(np.arange(1, 10) / 10, rng.integers(1, 9)), 0.25
    for count, alpha in ((5, 0.1), (100, 0.05), (46, 0.2)):
        yield rng.permutation(np.arange(1, count + 1) / count), alpha


@conformal_limit.behaviour
def _just_enough(answer, strangeness, alpha):
    """Twelve images, 0.1: k is 11.7, rounded up, the last there is."""
    values = np.arange(12, 0, -1) / 13
    told = difference(answer(values.copy(), 0.1), values.max())
    return told and f"{told} Of twelve values, at alpha = 0.1, k is 12: there is one, the largest."


@conformal_limit.mistake(
    "You forgot that the new image counts as well: n + 1 values could change places. Without the 1 "
    "the promise is broken a little, most where n is small."
)
def _without_one(strangeness, alpha):
    rank = int(np.ceil(len(strangeness) * (1 - alpha)))
    return np.sort(strangeness)[rank - 1]


@conformal_limit.mistake(
    "The plain quantile lies between two values and leaves the new image out of the count. A "
    "promise needs one of the values: the k-th smallest."
)
def _plain_quantile(strangeness, alpha):
    return np.quantile(strangeness, 1 - alpha)


@conformal_limit.mistake(
    "Right where k is at most n. Beyond, neither the largest value nor 1 will do: of six images "
    "the new one is the strangest once in six times, and nobody knows how strange. The limit is "
    "then np.inf."
)
def _largest(strangeness, alpha):
    rank = int(np.ceil((len(strangeness) + 1) * (1 - alpha)))
    return np.sort(strangeness)[min(rank, len(strangeness)) - 1]


@conformal_limit.mistake(
    "Your limit allows a share alpha only, and so misses nearly all. The others, 1 − alpha, are "
    "those to be covered."
)
def _wrong_end(strangeness, alpha):
    rank = int(np.ceil((len(strangeness) + 1) * alpha))
    return np.sort(strangeness)[rank - 1]


@conformal_limit.mistake(
    "You took one value too far up. Python counts from 0, so the k-th smallest has the index k − 1."
)
def _one_too_far(strangeness, alpha):
    n = len(strangeness)
    rank = int(np.ceil((n + 1) * (1 - alpha)))
    return np.sort(strangeness)[rank] if rank < n else np.inf


@conformal_limit.mistake(
    "You took the k-th value in the order in which the images came. The k-th *smallest* is asked "
    "for: sort first."
)
def _not_sorted(strangeness, alpha):
    n = len(strangeness)
    rank = int(np.ceil((n + 1) * (1 - alpha)))
    return strangeness[rank - 1] if rank <= n else np.inf


@exercise(
    "10",
    2,
    "A promise to the sick and the healthy each",
    minutes=6,
    hints=(
        "How strange is the truth, where the finding is there and scores 0.3? Each side has values "
        "of its own, and an n of its own.",
        "`limit(1 - scores[truth == 1])` for the sick and `limit(scores[truth == 0])` for the "
        "healthy, limit being the k-th smallest, with k from the side's own n.",
    ),
)
def promise_each(scores, truth, alpha):
    """Two limits, so that the sick are covered as often as was promised, and the healthy as well.

    scores, truth: arrays [N], the scores of one label and 1 or 0, of calibration images.
    alpha: how often the sets may miss the truth, on each side.
    The strangeness of “present” is one minus the score, that of “absent” the score. A side's limit
    is the k-th smallest strangeness of the truth among its n images, k being (n + 1)·(1 − alpha),
    rounded up. Each side has images enough: k is at most n.
    Returns two numbers: the limit for “present”, and the limit for “absent”.
    With scores [0.9, 0.6, 0.7, 0.1, 0.2], truth [1, 1, 1, 0, 0] and alpha = 0.4 they are 0.4 and
    0.2.
    """

    def limit(strangeness):
        rank = int(np.ceil((len(strangeness) + 1) * (1 - alpha)))
        return np.sort(strangeness)[rank - 1]

    return limit(1 - scores[truth == 1]), limit(scores[truth == 0])


@promise_each.inputs
def _draw_calibration(rng):
    for sick, healthy, alpha in ((4, 6, 0.33), (25, 112, 0.1), (32, 42, 0.2)):
        low = np.arange(1, healthy + 1) / (2 * healthy)  # below one half: the healthy
        high = 0.31 + 0.5 * np.arange(1, sick + 1) / sick
        truth = np.repeat([0, 1], (healthy, sick))
        order = rng.permutation(len(truth))
        scores = np.concatenate([low, high]) + 0.001 * rng.random(len(truth))
        yield scores[order], truth[order], alpha


def _limit(strangeness, alpha, more=1):
    rank = int(np.ceil((len(strangeness) + more) * (1 - alpha)))
    return np.sort(strangeness)[rank - 1]


@promise_each.mistake(
    "That is one promise for all. It can be kept by missing the sick, where they are few: fit each "
    "limit on its own side."
)
def _pooled(scores, truth, alpha):
    both = _limit(np.abs(truth - scores), alpha)
    return both, both


@promise_each.mistake(
    "Your first is a limit on the scores of the sick, and a high score is not strange there. The "
    "strangeness of “present” is one minus the score."
)
def _score_as_strangeness(scores, truth, alpha):
    return _limit(scores[truth == 1], alpha), _limit(scores[truth == 0], alpha)


@promise_each.mistake("Exchanged: first comes the limit for “present”, fitted on the sick.")
def _exchanged(scores, truth, alpha):
    return _limit(scores[truth == 0], alpha), _limit(1 - scores[truth == 1], alpha)


@promise_each.mistake(
    "You left out the new image: k is (n + 1)·(1 − alpha), rounded up. Among few sick that counts."
)
def _without_new(scores, truth, alpha):
    return _limit(1 - scores[truth == 1], alpha, 0), _limit(scores[truth == 0], alpha, 0)


@promise_each.mistake(
    "The plain quantile lies between two values, and forgets the new image: it promises too much, "
    "above all for the few sick. Take the k-th smallest."
)
def _plain_quantiles(scores, truth, alpha):
    return (
        np.quantile(1 - scores[truth == 1], 1 - alpha),
        np.quantile(scores[truth == 0], 1 - alpha),
    )


@promise_each.mistake(
    "You took the strangeness of “present” of all images, and of “absent” of all images. Only that "
    "of the *truth* counts: “present” among the sick, “absent” among the healthy."
)
def _of_everybody(scores, truth, alpha):
    return _limit(1 - scores, alpha), _limit(scores, alpha)


@exercise(
    "10",
    3,
    "The deepest statement",
    minutes=5,
    hints=(
        "A label that reaches the threshold need not be said when a deeper one speaks for it.",
        "Keep a label if its score is at least the threshold and no child's is. The scores are "
        "coherent, so that the children stand for all that lies below them.",
    ),
)
def say_deepest(scores, children, threshold):
    """What a report says that backs off: the deepest labels that reach the threshold.

    scores: a dict, label → score; coherent, so a group is never below its children.
    children: a dict, label → list of its children in the hierarchy; an empty list for some.
    A label reaches the threshold if its score is at least the threshold. It is said if it reaches
    it and nothing below it in the hierarchy does.
    Returns the set of the labels that are said, which may be empty.
    With scores {"Opacity": 0.9, "Edema": 0.4, "Lung Lesion": 0.2}, the last two being the first
    one's children, a threshold of 0.5 gives {"Opacity"}, and one of 0.3 gives {"Edema"}.
    """
    reached = {label for label in scores if scores[label] >= threshold}
    return {label for label in reached if not reached & set(children[label])}


_CHILDREN = {
    "Abnormal": ["Opacity", "Cardiac"],
    "Opacity": ["Lung Lesion", "Fluid Accumulation"],
    "Fluid Accumulation": ["Edema", "Consolidation"],
    "Consolidation": ["Pneumonia"],
    "Cardiac": ["Enlarged Cardiomediastinum"],
    "Enlarged Cardiomediastinum": ["Cardiomegaly"],
}


@say_deepest.inputs
def _draw_reports(rng):
    leaves = ["Lung Lesion", "Edema", "Pneumonia", "Cardiomegaly"]
    children = _CHILDREN | {label: [] for label in leaves}
    deepest_first = [*leaves, *reversed(_CHILDREN)]

    def coherent(own):
        scores = {}
        for label in deepest_first:
            scores[label] = max([own[label], *(scores[child] for child in children[label])])
        return {label: scores[label] for label in rng.permutation(deepest_first).tolist()}

    fixed = {"Abnormal": 0.9, "Opacity": 0.88, "Fluid Accumulation": 0.8, "Cardiac": 0.7}
    fixed |= {"Edema": 0.4, "Consolidation": 0.45, "Cardiomegaly": 0.6, "Pneumonia": 0.1}
    fixed = {label: fixed.get(label, 0.05) for label in deepest_first}
    for threshold in (0.5, 0.4, 0.6, 0.7, 0.95):
        yield coherent(fixed), children, threshold
    for _ in range(4):
        own = {label: float(round(rng.random() ** 2, 2)) for label in deepest_first}
        yield coherent(own), children, 0.5


@say_deepest.mistake(
    "You say all that reaches the threshold. Who says Edema has said Opacity and Abnormal as well: "
    "leave out a label when one below it is said."
)
def _all_that_reach(scores, children, threshold):
    return {label for label in scores if scores[label] >= threshold}


@say_deepest.mistake(
    "That is silence: findings or nothing. To back off is to say the group where no finding below "
    "it reaches the threshold."
)
def _silence(scores, children, threshold):
    return {label for label in scores if scores[label] >= threshold and not children[label]}


@say_deepest.mistake(
    "A score equal to the threshold reaches it: “at least”. The promise is counted in the same way."
)
def _strictly(scores, children, threshold):
    reached = {label for label in scores if scores[label] > threshold}
    return {label for label in reached if not reached & set(children[label])}


@say_deepest.mistake(
    "You say one label only, the lowest of those that reach it. A report may hold several "
    "statements, one at the end of each branch."
)
def _only_one(scores, children, threshold):
    reached = [label for label in scores if scores[label] >= threshold]
    return {min(reached, key=scores.get)} if reached else set()


@say_deepest.mistake(
    "You say the highest score. Scores are coherent, so that is the broadest group there is, and "
    "tells least; asked for are the deepest labels that still reach the threshold."
)
def _highest_score(scores, children, threshold):
    best = max(scores, key=scores.get)
    return {best} if scores[best] >= threshold else set()


@say_deepest.mistake(
    "You say a group as soon as *one* of its children falls short. Where another reaches the "
    "threshold, that one speaks for the group; the group is said for itself if none does."
)
def _some_child_short(scores, children, threshold):
    reached = {label for label in scores if scores[label] >= threshold}
    return {label for label in reached if not children[label] or set(children[label]) - reached}


@exercise(
    "10",
    4,
    "How high must the threshold be?",
    minutes=10,
    hints=(
        "First the risk of one threshold: a mean over patients, not over images. Then add the "
        "patient to come, and take the first threshold at which the mean is low enough.",
        "`shares = pd.Series(highest >= t).groupby(patients).mean()`; t keeps the promise if "
        "`(shares.sum() + 1) / (len(shares) + 1) <= risk`.",
    ),
)
def lowest_threshold(highest, patients, thresholds, risk):
    """The lowest threshold that keeps a promise, by conformal risk control.

    highest: an array [N], for each image the highest score of a label that is not true. At a
    threshold t its report holds a wrong statement exactly where `highest >= t`.
    patients: an array [N], whose image it is; patients may have several.
    thresholds: an array, ascending, to choose from. risk: what is accepted, between 0 and 1.
    A patient's loss is the share of that patient's images with a wrong report. A threshold keeps
    the promise if the mean loss is at most `risk`: over the n patients here and one more, the
    patient to come, whose loss is taken for the worst there is, 1.
    Returns the lowest threshold that keeps it, or np.inf where none does.
    With highest [0.2, 0.4, 0.6, 0.8], patients [0, 0, 1, 2], thresholds [0.1, 0.3, 0.5, 0.7, 0.9]
    and a risk of 0.7 it is 0.7: there the losses are 0, 0, 1, and 1 for the patient to come.
    """
    for threshold in thresholds:
        losses = pd.Series(highest >= threshold).groupby(patients).mean()
        if (losses.sum() + 1) / (len(losses) + 1) <= risk:
            return threshold
    return np.inf


@lowest_threshold.inputs
def _draw_highest(rng):
    risk = 0.1037  # no sum of losses comes near it

    def case(sizes, patients):
        values = np.sort(rng.permutation(998)[:sizes] + 1) / 1000
        order = rng.permutation(sizes)
        people = rng.permutation(len(set(patients)))[np.asarray(patients)]
        return values[order], people[order], np.append(values, 1.0), risk

    order = rng.permutation(4)
    few = (np.array([0.2, 0.4, 0.6, 0.8]), np.array([0, 0, 1, 2]))
    yield *(part[order] for part in few), np.array([0.1, 0.3, 0.5, 0.7, 0.9]), 0.7
    yield case(40, range(40))
    yield case(6, range(6))  # too few for so small a risk
    # From the lowest score to the highest: patients 3 … 29, then one image in three of the patients
    # 1 and 2, at the top twelve of the patient 0.
    yield case(45, [1, 1, 2, 2, *range(3, 30), 1, 2, *[0] * 12])


def _first_kept(highest, patients, thresholds, kept):
    return next((t for t in thresholds if kept(pd.Series(highest >= t), patients)), np.inf)


@lowest_threshold.mistake(
    "You left out the patient to come. The share of those here is no promise yet: with few of them "
    "it says too little of the next."
)
def _without_next(highest, patients, thresholds, risk):
    return _first_kept(
        highest, patients, thresholds, lambda wrong, who: wrong.groupby(who).mean().mean() <= risk
    )


@lowest_threshold.mistake(
    "You counted images. A patient's images are not independent, and one with many would decide "
    "alone: take the mean within each patient first."
)
def _by_image(highest, patients, thresholds, risk):
    return _first_kept(
        highest,
        patients,
        thresholds,
        lambda wrong, who: (wrong.sum() + 1) / (len(wrong) + 1) <= risk,
    )


@lowest_threshold.mistake(
    "A patient's loss is the *share* of the images with a wrong report. You count a patient as "
    "wholly wrong for a single one, which is another promise, and a dearer one."
)
def _any_image(highest, patients, thresholds, risk):
    def kept(wrong, who):
        losses = wrong.groupby(who).max()
        return (losses.sum() + 1) / (len(losses) + 1) <= risk

    return _first_kept(highest, patients, thresholds, kept)


@lowest_threshold.mistake(
    "A label at the threshold is said, so a report is wrong where `highest >= t`, not only above."
)
def _strictly_above(highest, patients, thresholds, risk):
    for threshold in thresholds:
        losses = pd.Series(highest > threshold).groupby(patients).mean()
        if (losses.sum() + 1) / (len(losses) + 1) <= risk:
            return threshold
    return np.inf


@lowest_threshold.mistake(
    "That is the *highest* threshold that keeps the promise. It is kept by saying nearly nothing; "
    "the lowest one says most."
)
def _highest_one(highest, patients, thresholds, risk):
    def kept(wrong, who):
        losses = wrong.groupby(who).mean()
        return (losses.sum() + 1) / (len(losses) + 1) <= risk

    return _first_kept(highest, patients, thresholds[::-1], kept)


@lowest_threshold.mistake(
    "Two things: you counted images, where a mean within each patient comes first, so that none "
    "decides alone; and the patient to come is missing, with a loss of 1."
)
def _images_here(highest, patients, thresholds, risk):
    return _first_kept(highest, patients, thresholds, lambda wrong, who: wrong.mean() <= risk)
