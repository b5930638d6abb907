"""Exercises of notebook 09, doubt."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "09",
    1,
    "Is this Monte Carlo dropout?",
    minutes=4,
    hints=(
        "Which kinds of modules compute something else in training mode? Only they matter.",
        "Collect the kinds that are on: `on = {kind for kind, training in modules if training}`. "
        'Then ask whether "BatchNorm2d" is in it, and whether "Dropout" is not.',
    ),
)
def what_is_wrong(modules):
    """What is wrong with a model's modes, if its passes are to be Monte Carlo dropout.

    modules: a list of pairs (kind, training), one for each module in the model: a string, and True
    in training mode, False in evaluation mode. The first pair is the whole model's own; its flag
    says nothing of the modules inside. The kinds: "Sequential", "Conv2d", "ReLU", "BatchNorm2d",
    "Dropout". Convolutions, ReLUs and containers do the same in both modes.
    Returns a set of what is wrong. It holds "normalisation is on" if any batch normalisation is in
    training mode, be it one of several, and "dropout is off" if no dropout is: one of several is
    enough, and a model that has none at all has none on. Nothing wrong: the empty set, `set()`.
    With [("Sequential", True), ("BatchNorm2d", True), ("Dropout", True)], as after `model.train()`,
    it is {"normalisation is on"}.
    """
    on = {kind for kind, training in modules if training}
    wrong = set()
    if "BatchNorm2d" in on:
        wrong.add("normalisation is on")
    if "Dropout" not in on:
        wrong.add("dropout is off")
    return wrong


@what_is_wrong.inputs
def _draw_modes(rng):
    kinds = {"C": "Conv2d", "N": "BatchNorm2d", "R": "ReLU", "D": "Dropout"}
    modes = [  # the whole, and what is inside: large where it is in training mode
        (True, "ND"),
        (False, "nd"),
        (False, "nD"),
        (True, "CnD"),
        (False, "Nd"),
        (False, "NnD"),  # one normalisation is on, the first; then the last
        (False, "nND"),
        (False, "nDd"),  # one dropout is on, the first; then the last
        (False, "ndD"),
        (True, "Cn"),  # no dropout
        (True, "RD"),  # no normalisation
        (False, "Cr"),
    ]
    for _ in range(3):
        flags = rng.random(8) < 0.5
        chars = [c.upper() if flag else c for c, flag in zip("cnrdcnrd", flags, strict=True)]
        modes.append((bool(rng.random() < 0.5), "".join(rng.permutation(chars))))
    for whole, inside in modes:
        yield ([("Sequential", whole), *((kinds[c.upper()], c.isupper()) for c in inside)],)


@what_is_wrong.mistake(
    "You looked at dropout alone. The course's model lost its AUROC by what else was switched on."
)
def _only_dropout(modules):
    return set() if ("Dropout", True) in modules else {"dropout is off"}


@what_is_wrong.mistake(
    "You blame every module in training mode but dropout. A convolution's or a container's flag "
    "changes nothing: they compute the same in both modes."
)
def _harmless_ones_too(modules):
    on = {kind for kind, training in modules if training}
    wrong = {"normalisation is on"} if on - {"Dropout"} else set()
    return wrong if "Dropout" in on else wrong | {"dropout is off"}


@what_is_wrong.mistake(
    "You asked the whole model's flag. Each module has its own: to switch on dropout alone is to "
    "set theirs, and the whole may then still say False."
)
def _whole(modules):
    return {"normalisation is on"} if modules[0][1] else {"dropout is off"}


@what_is_wrong.mistake("You name one fault at most. Both may be there at once.")
def _first_fault(modules):
    on = {kind for kind, training in modules if training}
    if "BatchNorm2d" in on:
        return {"normalisation is on"}
    return set() if "Dropout" in on else {"dropout is off"}


@what_is_wrong.mistake(
    "You say that dropout is off as soon as one of them is. It is off if *none* is on: one that is "
    "on makes the passes differ."
)
def _one_is_off(modules):
    on = {kind for kind, training in modules if training}
    off = {kind for kind, training in modules if not training}
    wrong = {"normalisation is on"} if "BatchNorm2d" in on else set()
    return wrong | {"dropout is off"} if "Dropout" in off else wrong


@what_is_wrong.mistake(
    "Of several modules of a kind you ask only the last (a dict keeps one for each key). Ask all: "
    "one dropout that is on will do, and one normalisation that is on is wrong."
)
def _last_of_a_kind(modules):
    last = dict(modules)
    wrong = {"normalisation is on"} if last.get("BatchNorm2d") else set()
    return wrong if last.get("Dropout") else wrong | {"dropout is off"}


@exercise(
    "09",
    2,
    "All doubt, and its two parts",
    minutes=6,
    hints=(
        "Two of the three are made of an entropy and a mean, in different order. The third is what "
        "is left.",
        "With `h = lambda p: -p * np.log(p) - (1 - p) * np.log(1 - p)`, all doubt is "
        "`h(passes.mean(axis=0))` and the expected entropy `h(passes).mean(axis=0)`.",
    ),
)
def two_parts(passes):
    """All doubt about each image, and the two parts that it is the sum of.

    passes: an array [S, N], the probability of a finding by each of S passes for each of N images,
    strictly between 0 and 1.
    The entropy of a probability p is that of “present or not”: −p·log p − (1 − p)·log(1 − p), with
    the natural logarithm.
    Returns three arrays [N]: all doubt, which is the entropy of the passes' mean; the expected
    entropy, called aleatoric; and the mutual information, called epistemic.
    With passes [[0.5, 0.02], [0.5, 0.98]], two passes over two images, they are about
    [0.693, 0.693], [0.693, 0.098] and [0, 0.595].
    """

    def entropy(p):
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    total = entropy(passes.mean(axis=0))
    expected = entropy(passes).mean(axis=0)
    return total, expected, total - expected


@two_parts.inputs
def _draw_passes(rng):
    yield (np.array([[0.5, 0.02, 0.98], [0.5, 0.98, 0.98]]),)
    for passes, images in ((10, 4), (30, 6)):
        logits = 2 * rng.normal(size=images) + rng.normal(size=(passes, images))
        yield (1 / (1 + np.exp(-logits)),)


def _entropy(p):
    return -p * np.log(p) - (1 - p) * np.log(1 - p)


@two_parts.mistake(
    "Your first two are exchanged. All doubt is the entropy of the mean: it holds the passes' "
    "disagreement, so it is the larger one, and the mutual information never negative."
)
def _exchanged(passes):
    total, expected = _entropy(passes).mean(axis=0), _entropy(passes.mean(axis=0))
    return total, expected, total - expected


@two_parts.mistake(
    "You took −p·log p alone. “Absent” is an answer, too: without −(1 − p)·log(1 − p) a score of "
    "0.02 seems to hold more doubt than one of 0.98."
)
def _one_answer(passes):
    total = -passes.mean(axis=0) * np.log(passes.mean(axis=0))
    expected = (-passes * np.log(passes)).mean(axis=0)
    return total, expected, total - expected


@two_parts.mistake(
    "Your unit is the bit: a score of one half has 1. With the natural logarithm it has 0.693."
)
def _bits(passes):
    total, expected = (
        part / np.log(2) for part in (_entropy(passes.mean(axis=0)), _entropy(passes).mean(axis=0))
    )
    return total, expected, total - expected


@two_parts.mistake(
    "You averaged over the images. It is the passes, the first axis, that are asked about an image."
)
def _over_images(passes):
    total, expected = _entropy(passes.mean(axis=1)), _entropy(passes).mean(axis=1)
    return total, expected, total - expected


@two_parts.mistake(
    "Your third is the spread of the scores. The mutual information is what the expected entropy "
    "leaves of all doubt: a difference of two entropies."
)
def _spread(passes):
    return _entropy(passes.mean(axis=0)), _entropy(passes).mean(axis=0), passes.std(axis=0)


@two_parts.mistake(
    "Your last two are exchanged. The expected entropy, aleatoric, is the mean of the passes' own "
    "entropies; the mutual information is what is left, and 0 where all passes agree."
)
def _parts_exchanged(passes):
    total, expected = _entropy(passes.mean(axis=0)), _entropy(passes).mean(axis=0)
    return total, total - expected, expected


@exercise(
    "09",
    3,
    "Risk at a coverage",
    minutes=4,
    hints=(
        "Which answers are given: those with much doubt, or with little? Of these only, count.",
        "Order the answers: `np.argsort(doubt)`. Keep the first `round(coverage * len(doubt))`; "
        "the mean of `wrong` over these is the risk.",
    ),
)
def risk_at(wrong, doubt, coverage):
    """The share of wrong answers among those that are given, when the most doubtful are withheld.

    wrong: an array [N], 1 where an answer is wrong, else 0.
    doubt: an array [N], how doubtful each answer is; no two are equal.
    coverage: the share of the answers that are given, above 0; coverage · N is a whole number.
    Returns a number. With wrong [0, 1, 0, 1], doubt [0.1, 0.2, 0.5, 0.6] and a coverage of 0.5 it
    is 0.5: of the two answers that are given, one is wrong.
    """
    given = np.argsort(doubt)[: round(coverage * len(doubt))]
    return wrong[given].mean()


@risk_at.inputs
def _draw_answers(rng):
    order = rng.permutation(10)
    wrong, doubt = np.array([0, 0, 0, 1, 0, 0, 0, 0, 1, 1]), np.linspace(0.05, 0.68, 10)
    yield wrong[order], doubt[order], 0.4
    for count, coverage in ((200, 0.8), (50, 0.6), (20, 1.0)):
        doubt = 0.69 * rng.random(count)
        wrong = (rng.random(count) < doubt / 1.4).astype(int)
        wrong[doubt.argmax()], wrong[doubt.argmin()] = 1, 0
        yield wrong, doubt, coverage


@risk_at.mistake("You gave the answers with the *most* doubt, and withheld those it is sure of.")
def _most_doubtful(wrong, doubt, coverage):
    return wrong[np.argsort(-doubt)[: round(coverage * len(doubt))]].mean()


@risk_at.mistake(
    "You divided by all answers. The risk is a share of those that are given; else to be silent "
    "would look like being right."
)
def _of_all(wrong, doubt, coverage):
    return wrong[np.argsort(doubt)[: round(coverage * len(doubt))]].sum() / len(wrong)


@risk_at.mistake(
    "That is the share of all errors that are among the given answers. The risk is the share of "
    "the given answers that are errors."
)
def _of_errors(wrong, doubt, coverage):
    given = np.argsort(doubt)[: round(coverage * len(doubt))]
    return wrong[given].sum() / max(wrong.sum(), 1)


@risk_at.mistake(
    "You took the coverage for a limit on doubt. It is a share of the answers: order them by "
    "doubt, and keep so many."
)
def _as_limit(wrong, doubt, coverage):
    return wrong[doubt <= coverage].mean()


@risk_at.mistake("That is the share of the given answers that are right. The risk is the other.")
def _right_ones(wrong, doubt, coverage):
    return 1 - wrong[np.argsort(doubt)[: round(coverage * len(doubt))]].mean()


@risk_at.mistake(
    "With `<` the answer that lies at the quantile is withheld: at a coverage of 1 that is the "
    "most doubtful one, and all are to be given. Order the answers, and count."
)
def _below_the_quantile(wrong, doubt, coverage):
    return wrong[doubt < np.quantile(doubt, coverage)].mean()


@exercise(
    "09",
    4,
    "Whose answers are withheld?",
    minutes=7,
    hints=(
        "Three shares with three denominators: all the sick, all the healthy, and the sick who get "
        "an answer.",
        "`withheld[truth == 1].mean()`, the same for 0, and for the missed: the mean of "
        "`score <= 0.5` where `(truth == 1) & ~withheld`.",
    ),
)
def who_pays(truth, score, withheld):
    """What withholding answers means for those with a finding and for those without.

    truth: an array [N], 1 for images with the finding (the sick), 0 for those without (the
    healthy). score: an array [N], the model's; above 0.5 it answers “present”, else “absent”.
    withheld: an array [N] of True and False; where True, no answer is given.
    Returns three shares: of the sick, how many get no answer; of the healthy, how many get none;
    and of the sick who do get an answer, how many are told “absent”. Some of the sick do get one.
    With truth [1, 1, 1, 0, 0], score [0.6, 0.2, 0.9, 0.1, 0.4] and only the first withheld, they
    are 1/3, 0 and 1/2.
    """
    sick = truth == 1
    missed = score <= 0.5
    return withheld[sick].mean(), withheld[~sick].mean(), missed[sick & ~withheld].mean()


@who_pays.inputs
def _draw_sides(rng):
    truth = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    score = np.array([0.52, 0.46, 0.9, 0.2, 0.8, 0.7, 0.1, 0.2, 0.55, 0.05, 0.1, 0.3])
    withheld = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], dtype=bool)
    order = rng.permutation(len(truth))
    yield truth[order], score[order], withheld[order]
    for count in (50, 300):
        truth = (rng.random(count) < 0.3).astype(int)
        score = 1 / (1 + np.exp(-1.5 * rng.normal(size=count) - 3 * truth + 2))
        truth[:4], score[:4] = (1, 1, 1, 0), (0.99, 0.01, 0.5, 0.49)
        doubt = -np.abs(score - 0.5)
        yield truth, score, doubt >= np.sort(doubt)[-count // 5]


@who_pays.mistake(
    "You asked who the withheld are. Asked is what becomes of the sick: divide by all the sick, "
    "and by all the healthy."
)
def _who_they_are(truth, score, withheld):
    missed = score[(truth == 1) & ~withheld] <= 0.5
    return (truth[withheld] == 1).mean(), (truth[withheld] == 0).mean(), missed.mean()


@who_pays.mistake(
    "Your first two are shares of all images. A rare finding then looks spared, since few are sick."
)
def _of_all_images(truth, score, withheld):
    missed = score[(truth == 1) & ~withheld] <= 0.5
    return (withheld & (truth == 1)).mean(), (withheld & (truth == 0)).mean(), missed.mean()


@who_pays.mistake(
    "Your third is a share of all the sick. Asked is what an answer is worth: divide by the sick "
    "who get one."
)
def _of_all_sick(truth, score, withheld):
    missed = (score <= 0.5) & ~withheld
    return withheld[truth == 1].mean(), withheld[truth == 0].mean(), missed[truth == 1].mean()


@who_pays.mistake(
    "Your third counts the withheld as well: what the model would have said to them was not said."
)
def _not_said(truth, score, withheld):
    missed = score[truth == 1] <= 0.5
    return withheld[truth == 1].mean(), withheld[truth == 0].mean(), missed.mean()


@who_pays.mistake(
    "Your third counts all errors among the answers, false alarms as well. Asked is how many of "
    "the sick are told “absent”."
)
def _all_errors(truth, score, withheld):
    wrong = (score > 0.5) != (truth == 1)
    return withheld[truth == 1].mean(), withheld[truth == 0].mean(), wrong[~withheld].mean()


@who_pays.mistake(
    "Your third is a share of the “absent” answers. To be told “absent” is rarely wrong where few "
    "are sick, and the sick may be missed all the same: divide by those of them who get an answer."
)
def _of_the_absent(truth, score, withheld):
    told = (score <= 0.5) & ~withheld
    sick = (truth[told] == 1).sum() / max(told.sum(), 1)
    return withheld[truth == 1].mean(), withheld[truth == 0].mean(), sick
