"""Exercises of notebook 06b, which method when."""

import numpy as np

from cxrlib.exercises.core import difference, exercise


@exercise(
    "06b",
    1,
    "Shown to lose less than a margin",
    minutes=2,
    hints=(
        "What is the worst that the data still allow? Where in the interval is that?",
        "A loss is a negative difference, so the worst is `low`. Compare it with `-margin`.",
    ),
)
def shown_harmless(low, high, margin):
    """Which methods are shown to lose less than a margin that was stated beforehand?

    low, high: arrays [M], the ends of the 95% intervals of M differences, method − flat, in AP.
    margin: a number above 0, the loss that one would put up with.
    Returns an array [M] of True and False. With low [−0.004, −0.020, 0.001], high
    [0.002, 0.030, 0.020] and a margin of 0.01 it is [True, False, True].
    """
    return low > -margin


@shown_harmless.inputs
def _draw_intervals(rng):
    yield np.array([-0.004, -0.02, 0.001]), np.array([0.002, 0.03, 0.02]), 0.01
    for count, margin in ((8, 0.01), (80, 0.02)):
        low = rng.normal(scale=0.01, size=count)
        high = low + 0.02 * rng.random(count) + 1e-3
        low[:6] = -0.05, -0.08, -0.03, -0.005, 0.002, 0.04
        high[:6] = -0.04, 0.004, 0.04, 0.005, 0.006, 0.05
        yield low, high, margin


@shown_harmless.mistake(
    "These are the intervals that hold zero. Not significant is not “no loss”: the wider the "
    "interval, the easier it is to hold zero."
)
def _not_significant(low, high, margin):
    return (low <= 0) & (high >= 0)


@shown_harmless.mistake(
    "You asked the middle of the interval. It may lie above −margin by luck: shown is only what "
    "holds for the whole interval."
)
def _middle(low, high, margin):
    return (low + high) / 2 > -margin


@shown_harmless.mistake(
    "You asked the upper end. That a method may be harmless, at best, is not shown to be so: ask "
    "the end where the loss is greatest."
)
def _upper_end(low, high, margin):
    return high > -margin


@shown_harmless.mistake(
    "These are shown to be better than flat. That is more than was asked: a loss smaller than the "
    "margin is allowed."
)
def _better(low, high, margin):
    return low > 0


@shown_harmless.mistake(
    "These are shown to gain more than the margin. Mind the sign: a loss of 0.01 is a difference "
    "of −0.01."
)
def _gains(low, high, margin):
    return low > margin


@shown_harmless.mistake(
    "You also ask that it gain less than the margin. Those are the methods shown to be "
    "*equivalent*; a gain, however large, does no harm."
)
def _equivalent(low, high, margin):
    return (low > -margin) & (high < margin)


@exercise(
    "06b",
    2,
    "On the same seeds",
    minutes=5,
    hints=(
        "A seed with a good start is good for both. What is left of that in the difference?",
        "`gap = method - flat`. Its mean, plus and minus `t * gap.std(ddof=1) / sqrt(number)`.",
    ),
)
def interval_over_seeds(method, flat, t):
    """The interval of the mean difference, method − flat, over seeds that both were trained with.

    method, flat: arrays [S], the AP of two methods; number s of both is of the same seed.
    t: how many standard errors the interval reaches to either side (of Student's t, for S seeds).
    Returns two numbers, the lower and the upper end. The standard deviation is that of a sample
    (divide by S − 1). With method [0.72, 0.75, 0.71], flat [0.70, 0.74, 0.70] and t = 4.30 they are
    −0.0010 and 0.0277.
    """
    gap = method - flat
    half = t * gap.std(ddof=1) / np.sqrt(len(gap))
    return gap.mean() - half, gap.mean() + half


@interval_over_seeds.inputs
def _draw_seeds(rng):
    for count, t in ((3, 4.303), (5, 2.776), (12, 2.201)):
        flat = 0.6 + 0.03 * rng.normal(size=count)
        flat[:2] = 0.56, 0.66  # seeds differ by more than methods do
        gap = 0.01 + 0.004 * rng.normal(size=count)
        gap[:2] = 0.004, 0.012
        yield flat + gap, flat, t


@interval_over_seeds.mistake(
    "You added up two variances, as if the seeds had nothing in common. A seed that is good for "
    "both cancels out of its own difference: take the differences first."
)
def _unpaired(method, flat, t):
    gap = method.mean() - flat.mean()
    half = t * np.sqrt((method.var(ddof=1) + flat.var(ddof=1)) / len(flat))
    return gap - half, gap + half


@interval_over_seeds.mistake(
    "That is the spread of single seeds. The mean of S of them is surer: its standard error is "
    "smaller by the root of S."
)
def _of_one_seed(method, flat, t):
    gap = method - flat
    return gap.mean() - t * gap.std(ddof=1), gap.mean() + t * gap.std(ddof=1)


@interval_over_seeds.mistake(
    "You divided by S inside the standard deviation. The mean was taken from the same few seeds, "
    "so they lie too near to it: divide by S − 1 (`ddof=1`)."
)
def _of_a_population(method, flat, t):
    gap = method - flat
    half = t * gap.std() / np.sqrt(len(gap))
    return gap.mean() - half, gap.mean() + half


@interval_over_seeds.mistake(
    "You reached 1.96 standard errors to either side. That is for many values; a handful of seeds "
    "needs more, and `t` says how many."
)
def _normal(method, flat, t):
    gap = method - flat
    half = 1.96 * gap.std(ddof=1) / np.sqrt(len(gap))
    return gap.mean() - half, gap.mean() + half


@interval_over_seeds.mistake(
    "Turned round: method − flat is above zero where the method is better."
)
def _turned(method, flat, t):
    gap = flat - method
    half = t * gap.std(ddof=1) / np.sqrt(len(gap))
    return gap.mean() - half, gap.mean() + half


@exercise(
    "06b",
    3,
    "Holm's ladder, upside down",
    minutes=10,
    hints=(
        "The smallest p must be below level / n. So which level would just do for it? And the next "
        "p does not hold unless the smallest does.",
        "`order = np.argsort(p)`. Multiply `p[order]` by n, n − 1, … 1; take "
        "`np.maximum.accumulate`, cap at 1, and put each back in its place: `result[order] = …`.",
    ),
)
def holm_levels(p):
    """For each of n comparisons, the smallest level at which it holds beside all the others.

    By Holm's ladder, at a level of .05, the smallest p must be below .05 / n, the next below
    .05 / (n − 1), and so on down to .05 / 1; at the first p that fails, all that follow fail, too.
    Here the level is not given. At any level above the one that you return, the comparison holds;
    at any level below it, it does not.

    p: an array [n], in any order, no two alike.
    Returns an array [n], in the order of p, with no number above 1. With p [0.01, 0.04, 0.03] it is
    [0.03, 0.06, 0.06].
    """
    order = np.argsort(p)
    steps = p[order] * np.arange(len(p), 0, -1)
    levels = np.empty(len(p))
    levels[order] = np.maximum.accumulate(steps).clip(max=1)
    return levels


@holm_levels.inputs
def _draw_comparisons(rng):
    yield (np.array([0.01, 0.04, 0.03]),)
    yield (np.array([0.5, 0.02, 0.9, 0.021, 0.0001, 0.7]),)
    for count in (10, 80):
        yield (rng.random(count) ** 3,)


@holm_levels.judged_by
def _right_and_in_place(answer, p):
    levels, rungs = holm_levels.solution(p), _no_stop(p)
    told = difference(answer, levels)
    if told is None or np.shape(answer) != np.shape(p):
        return told
    for found, more in ((levels, ""), (rungs, " (And no level is below that of a smaller p.)")):
        if difference(answer, found) and not difference(np.sort(answer), np.sort(found)):
            return (
                "Your levels are in the wrong order. Each belongs where its p stands: "
                f"`result[order] = …`.{more}\n{told}"
            )
    return f"{told}\nThe input: p = {np.array2string(p, separator=', ')}." if len(p) < 9 else told


def _ladder(p):
    order = np.argsort(p)
    return order, p[order] * np.arange(len(p), 0, -1)


@holm_levels.mistake(
    "You asked of every p what the ladder asks of the smallest alone: that is Bonferroni's rule. "
    "Holm's rungs grow easier, n, n − 1, … 1."
)
def _bonferroni(p):
    return (p * len(p)).clip(max=1)


@holm_levels.mistake(
    "Each rung for itself: then a larger p may hold where a smaller one fails. On a ladder nobody "
    "gets past a rung that fails, so a level is never below those of smaller p."
)
def _no_stop(p):
    order, steps = _ladder(p)
    levels = np.empty(len(p))
    levels[order] = steps.clip(max=1)
    return levels


@holm_levels.mistake(
    "You took the p in the order in which they came. The ladder begins with the smallest."
)
def _not_sorted(p):
    return np.maximum.accumulate(p * np.arange(len(p), 0, -1)).clip(max=1)


@holm_levels.mistake(
    "The ladder stands on its head: the smallest p is asked most, n times, the largest once."
)
def _easy_first(p):
    order = np.argsort(p)
    levels = np.empty(len(p))
    levels[order] = np.maximum.accumulate(p[order] * np.arange(1, len(p) + 1)).clip(max=1)
    return levels


@holm_levels.mistake("Nearly: some of your levels are above 1, and a level is a probability.")
def _not_capped(p):
    order, steps = _ladder(p)
    levels = np.empty(len(p))
    levels[order] = np.maximum.accumulate(steps)
    return levels


@holm_levels.mistake(
    "These are Benjamini and Hochberg's. They keep the share of false finds among all finds low; "
    "Holm wants no false find at all, nineteen times in twenty, and asks more."
)
def _false_discovery(p):
    order = np.argsort(p)
    steps = p[order] * len(p) / np.arange(1, len(p) + 1)
    levels = np.empty(len(p))
    levels[order] = np.minimum.accumulate(steps[::-1])[::-1].clip(max=1)
    return levels


@exercise(
    "06b",
    4,
    "A trick that trains nothing",
    minutes=7,
    hints=(
        "Ask two things of each child: has it enough positives to speak for itself? And if not, "
        "how often is it there where its parent is?",
        "`seen = children.sum(axis=0)` and `share = (seen + 1) / (parents.sum() + 2)`. Then "
        "`np.where(seen < 5, parent_scores[:, None] * share, child_scores)`.",
    ),
)
def follow_parent(parent_scores, child_scores, parents, children):
    """The scores of *flat + parent*: children that were hardly ever seen follow their parent.

    A child with fewer than 5 positives to learn from takes its parent's score, times how often it
    is present where the parent is: (positives of the child + 1) / (positives of the parent + 2),
    so that what was never seen does not get 0. The others keep their scores.

    parent_scores, child_scores: arrays [M] and [M, C], flat's scores of a group and of its C
    children for M new images.
    parents, children: arrays [N] and [N, C] of 0 and 1, the labels learnt from, closed.
    Returns a new array [M, C]; those given stay as they are. If the parent has 8 positives and two
    children 1 and 6, one image with the scores 0.6 and [0.3, 0.7] gets [0.12, 0.7].
    """
    seen = children.sum(axis=0)
    share = (seen + 1) / (parents.sum() + 2)
    return np.where(seen < 5, parent_scores[:, None] * share, child_scores)


@follow_parent.inputs
def _draw_children(rng):
    parents = np.array([1, 1, 1, 1, 1, 0])
    children = np.column_stack([parents, np.eye(6, dtype=int)[0]])
    order, number = rng.permutation(6), rng.permutation(2)
    yield np.array([0.6]), np.array([[0.7, 0.3]]), parents[order], children[order][:, number]
    for images, count, seen in ((3, 40, [0, 4, 5, 11]), (20, 200, [1, 30, 3, 5, 2, 60])):
        children = np.zeros((count, len(seen)), int)
        parents = np.zeros(count, int)
        parents[rng.permutation(count)[: count // 2]] = 1
        for number, positives in enumerate(seen):
            of_group = rng.permutation(np.flatnonzero(parents))
            children[of_group[:positives], number] = 1
        yield 0.05 + 0.9 * rng.random(images), rng.random((images, len(seen))), parents, children


@follow_parent.behaviour
def _leaves_the_scores(answer, parent_scores, child_scores, parents, children):
    given = parent_scores, child_scores, parents, children
    before = [part.copy() for part in given]
    answer(*given)
    if all(np.array_equal(was, now) for was, now in zip(before, given, strict=True)):
        return None
    return (
        "The scores are right, but you wrote them over those given, so that flat's own are lost: "
        "begin with `child_scores.copy()`, or use `np.where`."
    )


def _rare(children):
    return children.sum(axis=0) < 5


@follow_parent.mistake(
    "You divided by all images. A child is asked about where its parent is present, so those "
    "images alone are counted below."
)
def _of_all_images(parent_scores, child_scores, parents, children):
    share = (children.sum(axis=0) + 1) / (len(children) + 2)
    return np.where(_rare(children), parent_scores[:, None] * share, child_scores)


@follow_parent.mistake(
    "Now every child follows. One with many positives has learnt for itself how it looks, and a "
    "parent's score cannot tell one child from another."
)
def _everyone(parent_scores, child_scores, parents, children):
    return parent_scores[:, None] * (children.sum(axis=0) + 1) / (parents.sum() + 2)


@follow_parent.mistake(
    "The parent's score as it is: images are ranked well, but a rare child is said to be as likely "
    "as its whole group. Multiply by how often it is there where the parent is."
)
def _as_it_is(parent_scores, child_scores, parents, children):
    return np.where(_rare(children), parent_scores[:, None], child_scores)


@follow_parent.mistake(
    "You multiplied the child's own score, which was learnt from fewer than five positives. It is "
    "replaced: what is multiplied is the score of the parent."
)
def _its_own(parent_scores, child_scores, parents, children):
    share = (children.sum(axis=0) + 1) / (parents.sum() + 2)
    return np.where(_rare(children), child_scores * share, child_scores)


@follow_parent.mistake(
    "Without + 1 and + 2 a child that was never seen gets 0 for every image, and ranks nothing."
)
def _unsmoothed(parent_scores, child_scores, parents, children):
    share = children.sum(axis=0) / parents.sum()
    return np.where(_rare(children), parent_scores[:, None] * share, child_scores)


@follow_parent.mistake(
    "You let children with exactly 5 positives follow, too. The trick is for fewer than 5."
)
def _five_too(parent_scores, child_scores, parents, children):
    share = (children.sum(axis=0) + 1) / (parents.sum() + 2)
    few = children.sum(axis=0) <= 5
    return np.where(few, parent_scores[:, None] * share, child_scores)
