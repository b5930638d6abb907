"""Exercises of notebook 12, on real radiographs."""

import numpy as np

from cxrlib.exercises.core import difference, exercise


@exercise(
    "12",
    1,
    "A cue is chosen, and then reported",
    minutes=4,
    hints=(
        "Two choices are made, the cue and its direction. On which half may you make them?",
        "`best = np.abs(choosing - 0.5).argmax()`. If `choosing[best]` is below 0.5, less means "
        "ill, and the AUROC to report is `1 - reporting[best]`.",
    ),
)
def report_the_cue(choosing, reporting):
    """The AUROC to report of the best trivial cue.

    choosing, reporting: arrays [C], the AUROC of each of C cues (the view, the mean grey …) for one
    label, “more means ill”, on the two halves of the patients. If “less means ill” instead, an
    AUROC of a becomes 1 − a.
    The cue and its direction are what tells most on the choosing half. Returns what this cue, in
    this direction, reaches on the reporting half. No two cues tell equally much.
    With choosing [0.6, 0.25] and reporting [0.7, 0.4] it is 0.6: the second cue, less means ill.
    """
    best = np.abs(choosing - 0.5).argmax()
    return reporting[best] if choosing[best] >= 0.5 else 1 - reporting[best]


@report_the_cue.inputs
def _draw_cues(rng):
    for choosing, reporting in (
        ([0.55, 0.2, 0.7, 0.6], [0.5, 0.35, 0.66, 0.9]),
        ([0.38, 0.56], [0.54, 0.51]),
        ([0.66, 0.52, 0.41], [0.45, 0.75, 0.3]),
    ):
        order = rng.permutation(len(choosing))
        both = np.array([choosing, reporting])[:, order]
        yield tuple(both + 0.004 * rng.random(both.shape))


@report_the_cue.mistake(
    "You chose the cue on the half that reports. The best of several flatters itself on those by "
    "whom it was chosen."
)
def _chosen_on_reporting(choosing, reporting):
    best = np.abs(reporting - 0.5).argmax()
    return max(reporting[best], 1 - reporting[best])


@report_the_cue.mistake(
    "That is what the cue reached where it was chosen. Other patients have to say what it is worth."
)
def _choosing_figure(choosing, reporting):
    best = np.abs(choosing - 0.5).argmax()
    return max(choosing[best], 1 - choosing[best])


@report_the_cue.mistake(
    "The direction is a choice, too, and you made it on the reporting half. A cue that was luck "
    "may end below 0.5 there, and that is to be told."
)
def _turned_on_reporting(choosing, reporting):
    best = np.abs(choosing - 0.5).argmax()
    return max(reporting[best], 1 - reporting[best])


@report_the_cue.mistake(
    "You took the highest AUROC. One far below 0.5 tells as much, in the other direction: less "
    "means ill."
)
def _highest_only(choosing, reporting):
    return reporting[choosing.argmax()]


@report_the_cue.mistake(
    "Your cue is right, but it is not turned: where it said “less means ill”, a becomes 1 − a."
)
def _not_turned(choosing, reporting):
    return reporting[np.abs(choosing - 0.5).argmax()]


@exercise(
    "12",
    2,
    "Pairs of one view",
    minutes=8,
    hints=(
        "An AUROC counts pairs: in how many does the ill one score higher? Which pairs are left if "
        "both must be of one view?",
        "For each view: `ill[:, None] > healthy` are its pairs that are won, `==` those that count "
        "half. Add up the wins of all views and the pairs of all views, and divide once.",
    ),
)
def auroc_within_view(truth, score, view):
    """The AUROC within a view: what a score tells beside the way the image was taken.

    truth: an array [N] of 1 (ill) and 0 (healthy). score: an array [N].
    view: an array [N] of "AP" and "PA".
    Of all pairs of an ill and a healthy image of the same view: the share in which the ill one
    scores higher; equal scores count half. Each pair counts alike, whichever its view. There may be
    a view with ill images only: it has no pairs. The other has some.
    Returns a number. With truth [1, 0, 0, 1, 0], score [5, 5, 4, 1, 2] and view
    ["AP", "AP", "AP", "PA", "PA"] it is 0.5: of three pairs, one is won and one is half won.
    """
    wins = pairs = 0
    for one in np.unique(view):
        ill, healthy = (score[(view == one) & (truth == y)] for y in (1, 0))
        wins += (ill[:, None] > healthy).sum() + 0.5 * (ill[:, None] == healthy).sum()
        pairs += len(ill) * len(healthy)
    return wins / pairs


@auroc_within_view.inputs
def _draw_views(rng):
    truth = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0])
    score = np.array([9, 7, 6, 8, 7, 4, 3, 1, 2, 5, 3.0])
    view = np.array(["AP"] * 6 + ["PA"] * 5)
    order = rng.permutation(len(truth))
    yield truth[order], score[order], view[order]
    for count in (40, 120):
        view = np.where(rng.random(count) < 0.5, "AP", "PA")
        truth = (rng.random(count) < np.where(view == "AP", 0.6, 0.2)).astype(int)
        view[:4], truth[:4] = ("AP", "AP", "PA", "PA"), (0, 1, 0, 1)
        yield truth, np.round(truth + 2 * (view == "AP") + 1.5 * rng.normal(size=count)), view


@auroc_within_view.behaviour
def _one_without_pairs(answer, truth, score, view):
    kept = (view == "PA") | (truth == 1)
    given = truth[kept], score[kept], view[kept]
    told = difference(answer(*(part.copy() for part in given)), auroc_within_view.solution(*given))
    return told and (
        f"{told}\nThere, one view has ill images only: it has no pairs, and the other's are all "
        "that count."
    )


def _won(truth, score, ties=0.5):
    """Pairs won, and all pairs."""
    ill, healthy = score[truth == 1], score[truth == 0]
    won = (ill[:, None] > healthy).sum() + ties * (ill[:, None] == healthy).sum()
    return won, len(ill) * len(healthy)


def _by_view(truth, score, view, ties=0.5):
    return np.array([_won(truth[view == v], score[view == v], ties) for v in np.unique(view)]).T


@auroc_within_view.mistake(
    "That is the AUROC of any pair. A score that only sees *that it is AP* earns by it, since the "
    "ill are more often taken AP."
)
def _any_pair(truth, score, view):
    won, pairs = _won(truth, score)
    return won / pairs


@auroc_within_view.mistake(
    "You took the mean of the views' AUROCs, so that a view with four pairs counts as much as one "
    "with four thousand. Add up wins and pairs, and divide once."
)
def _mean_of_views(truth, score, view):
    won, pairs = _by_view(truth, score, view)
    return (won / pairs).mean()


@auroc_within_view.mistake(
    "You weighted the views' AUROCs by their images. An AUROC is a share of pairs, and twice as "
    "many images make four times as many pairs: add up wins and pairs, and divide once."
)
def _by_images(truth, score, view):
    won, pairs = _by_view(truth, score, view)
    return np.average(won / pairs, weights=[(view == v).sum() for v in np.unique(view)])


@auroc_within_view.mistake("Equal scores count half: who cannot tell is as good as a coin.")
def _ties_lost(truth, score, view):
    won, pairs = _by_view(truth, score, view, ties=0)
    return won.sum() / pairs.sum()


@auroc_within_view.mistake(
    "Your pairs are of *different* views: there the view itself gives away who is ill."
)
def _across_views(truth, score, view):
    (won, pairs), within = _won(truth, score), _by_view(truth, score, view).sum(axis=1)
    return (won - within[0]) / (pairs - within[1])


@auroc_within_view.mistake("Turned over: you count the pairs in which the healthy one is higher.")
def _turned(truth, score, view):
    won, pairs = _by_view(truth, score, view)
    return 1 - won.sum() / pairs.sum()


@exercise(
    "12",
    3,
    "Batch normalisation, measured anew",
    minutes=5,
    hints=(
        "A channel has one mean and one spread. Over which of the four axes are they taken, and of "
        "which images?",
        "`mean = here.mean(axis=(0, 2, 3), keepdims=True)`, `here.std` with the same axes; scale "
        "and shift as `scale[:, None, None]`.",
    ),
)
def renormalise(features, here, scale, shift):
    """One batch normalisation, with the statistics of the place where the model is to work: AdaBN.

    features: an array [B, C, H, W], what comes into the layer for B images that are to be scored.
    here: an array [M, C, H, W], the same for M unlabelled images of the new place.
    scale, shift: arrays [C], the layer's weights, as they were learnt.
    Of each channel, the mean and the spread (np.std) are measured on `here`. The mean is taken from
    the features, the result divided by the spread, then multiplied by scale; then shift is added.
    Returns an array [B, C, H, W]. With one channel, here holding only 1s and as many 3s, scale [2]
    and shift [1], a feature of 4 becomes 5.
    """
    mean = here.mean(axis=(0, 2, 3), keepdims=True)
    spread = here.std(axis=(0, 2, 3), keepdims=True)
    return (features - mean) / spread * scale[:, None, None] + shift[:, None, None]


@renormalise.inputs
def _draw_features(rng):
    here = rng.permutation([1.0, 1, 3, 3]).reshape(4, 1, 1, 1)
    yield np.array([4.0, 2.0]).reshape(1, 1, 2, 1), here, np.array([2.0]), np.array([1.0])
    for many, images, channels, height in ((3, 1, 2, 1), (20, 5, 4, 6)):
        shape = channels, height, channels  # as many columns: see _along_the_columns
        level = rng.normal(size=(channels, 1, 1))
        here, features = (
            level + rng.uniform(0.5, 2, (n, 1, 1, 1)) * rng.normal(size=(n, *shape)) + add
            for n, add in ((many, 1), (images, 0))
        )
        yield features, here, 0.5 + rng.random(channels), rng.normal(size=channels)


@renormalise.behaviour
def _other_sizes(answer, features, here, scale, shift):
    """As many columns as channels is a chance that must not help."""
    given = np.repeat(features, 2, axis=3), np.repeat(here, 2, axis=3), scale, shift
    return difference(answer(*(part.copy() for part in given)), renormalise.solution(*given))


def _normalised(features, of, axes, scale, shift):
    mean, spread = of.mean(axis=axes, keepdims=True), of.std(axis=axes, keepdims=True)
    return (features - mean) / spread * scale[:, None, None] + shift[:, None, None]


@renormalise.mistake(
    "You measured the images that are to be scored, as `model.train()` does. An image's score then "
    "depends on the company it is scored in; measure on `here`, once."
)
def _own_batch(features, here, scale, shift):
    return _normalised(features, features, (0, 2, 3), scale, shift)


@renormalise.mistake(
    "You took one mean and one spread for all channels together. Batch normalisation goes channel "
    "by channel."
)
def _all_channels(features, here, scale, shift):
    return _normalised(features, here, (0, 1, 2, 3), scale, shift)


@renormalise.mistake(
    "You took a mean and a spread for every pixel. A channel has one of each: average over the "
    "images, and over the places in them."
)
def _each_pixel(features, here, scale, shift):
    return _normalised(features, here, 0, scale, shift)


@renormalise.mistake(
    "You divided by the variance. The spread is its square root, the standard deviation."
)
def _variance(features, here, scale, shift):
    mean, variance = (f(here, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var))
    return (features - mean) / variance * scale[:, None, None] + shift[:, None, None]


@renormalise.mistake(
    "NumPy lays scale and shift, [C], along the last axis: that is the columns, not the channels. "
    "`scale[:, None, None]` has the shape [C, 1, 1], and goes with the channels."
)
def _along_the_columns(features, here, scale, shift):
    mean, spread = (f(here, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
    return (features - mean) / spread * scale + shift


@renormalise.mistake(
    "All that you have of each channel, [C], NumPy lays along the last axis: the columns. Keep the "
    "axes of mean and spread (`keepdims=True`), and write `scale[:, None, None]`."
)
def _all_along_the_columns(features, here, scale, shift):
    mean, spread = here.mean(axis=(0, 2, 3)), here.std(axis=(0, 2, 3))
    return (features - mean) / spread * scale + shift


@exercise(
    "12",
    4,
    "Splits that overlap",
    minutes=3,
    hints=(
        "The width goes with the standard error, and that is the root of the factor times the "
        "variance. What is the quotient of the two widths?",
        "The root of (1/k + tested/rest), divided by the root of 1/k.",
    ),
)
def widening(splits, tested, rest):
    """By what factor Nadeau and Bengio's correction widens an interval over random splits.

    splits: k, how many random splits of the same patients there were. tested, rest: how many
    patients each split puts aside for testing, and how many are left.
    The plain interval of a mean reaches t·√(variance/k) to each side. The correction puts
    1/k + tested/rest in place of 1/k, and changes nothing else.
    Returns a number, the corrected width divided by the plain one. With 12 splits, 20 tested and 80
    left it is 2.
    """
    return np.sqrt((1 / splits + tested / rest) * splits)


@widening.inputs
def _draw_splits(rng):
    yield 12, 20, 80
    for splits in (5, 30):
        yield splits, int(rng.integers(30, 60)), int(rng.integers(80, 200))


@widening.mistake(
    "That is how the variance grows. An interval's width goes with its root, the standard error."
)
def _no_root(splits, tested, rest):
    return 1 + splits * tested / rest


@widening.mistake(
    "You divided the tested by all patients. In the correction stands tested/rest: those tested, "
    "beside those left."
)
def _share_of_all(splits, tested, rest):
    return np.sqrt(1 + splits * tested / (tested + rest))


@widening.mistake(
    "That is the new root alone. By what factor is it larger than the old one, √(1/k)?"
)
def _not_divided(splits, tested, rest):
    return np.sqrt(1 / splits + tested / rest)


@widening.mistake(
    "You left out the number of splits. The plain interval shrinks with each further one, and the "
    "overlap does not: the more splits, the larger the factor."
)
def _no_splits(splits, tested, rest):
    return np.sqrt(1 + tested / rest)


@widening.mistake(
    "Turned over: the plain width divided by the corrected one. A correction that widens has a "
    "factor above 1."
)
def _turned_over(splits, tested, rest):
    return 1 / np.sqrt(1 + splits * tested / rest)
