"""Exercises of notebook 02, labels."""

import numpy as np
import pandas as pd

from cxrlib.exercises.core import difference, exercise


@exercise(
    "02",
    1,
    "Three policies for “perhaps”",
    minutes=4,
    hints=(
        "A mean is a fraction: which images count above the line, and which below? A blank is "
        "below it in all three policies, a −1 in two of them only.",
        "`yes = codes == 1` and `unsure = codes == -1`. The three are `(yes | unsure).mean()`, "
        "`yes.mean()` and `yes[~unsure].mean()`.",
    ),
)
def prevalence_by_policy(codes):
    """How frequent is an observation, by what a policy makes of its uncertain labels?

    codes: an array [N] of one observation's codes: 1 yes, 0 no, −1 perhaps, NaN blank. Not all are
        −1.
    Returns a dict of the mean target under "U-Ones", "U-Zeros" and "U-Ignore". Each makes targets
    of the codes, and what it leaves out is not in its mean at all:

                    U-Ones    U-Zeros   U-Ignore
        1           1         1         1
        0           0         0         0
        −1          1         0         left out
        NaN         0         0         0

    With [1, 0, -1, NaN, NaN] the means are 0.4, 0.2 and 0.25.
    """
    yes, unsure = codes == 1, codes == -1
    return {
        "U-Ones": (yes | unsure).mean(),
        "U-Zeros": yes.mean(),
        "U-Ignore": yes[~unsure].mean(),
    }


@prevalence_by_policy.inputs
def _draw_codes(rng):
    yield (rng.permutation([1, 1, 1, 0, 0, -1, -1] + 5 * [np.nan]),)
    for count in (60, 500):
        codes = rng.choice([1, 0, -1, np.nan], count, p=(0.2, 0.1, 0.15, 0.55))
        codes[:7] = 1, 1, 1, 0, -1, np.nan, np.nan
        yield (codes,)


@prevalence_by_policy.judged_by
def _each_by_its_policy(answer, codes):
    """As the solution; and where one policy is wrong, what it would be that gives such a mean."""
    wrong = prevalence_by_policy.compare(answer, (codes,))
    right = prevalence_by_policy.solution(codes)
    if wrong is None or not isinstance(answer, dict) or set(answer) != set(right):
        return wrong
    known, unsure, filled = ~np.isnan(codes), codes == -1, np.nan_to_num(codes)
    blank = "the mean without the blanks, but a blank is to become 0, and to stay in it"
    minus = "the mean with −1 still in it, where a “perhaps” takes a “yes” away; make it a 1 or a 0"
    guesses = {
        "U-Ones": {
            "the mean with −1 as 0, but in U-Ones it is to become 1": right["U-Zeros"],
            blank: (codes != 0)[known].mean(),
            minus: filled.mean(),
            "the mean with blanks as 1: NaN is not 0, but is to become 0": (codes != 0).mean(),
        },
        "U-Zeros": {
            "the mean with −1 as 1, but in U-Zeros it is to become 0": right["U-Ones"],
            blank: (codes == 1)[known].mean(),
            minus: filled.mean(),
        },
        "U-Ignore": {
            "divided by all images, but one that is ignored counts nowhere": right["U-Zeros"],
            blank: (codes == 1)[known & ~unsure].mean(),
            minus: filled.mean(),
        },
    }
    for key, values in guesses.items():
        if difference(answer[key], right[key]):
            told = [says for says, value in values.items() if not difference(answer[key], value)]
            return f"Your {key} is {told[0]}.\n{wrong}" if told else wrong
    return wrong


@prevalence_by_policy.mistake(
    "You left the blanks out. In CheXpert they are most of the table, and every policy takes them "
    "for 0: what a report does not mention is taken to be absent."
)
def _blanks_left_out(codes):
    codes = codes[~np.isnan(codes)]
    yes, unsure = codes == 1, codes == -1
    return {
        "U-Ones": (yes | unsure).mean(),
        "U-Zeros": yes.mean(),
        "U-Ignore": yes[~unsure].mean(),
    }


@prevalence_by_policy.mistake(
    "Your U-Ignore divides by all images, which makes it U-Zeros. To ignore an image is to leave "
    "it out above the line *and* below."
)
def _ignored_as_no(codes):
    yes, unsure = codes == 1, codes == -1
    return {"U-Ones": (yes | unsure).mean(), "U-Zeros": yes.mean(), "U-Ignore": yes.mean()}


@prevalence_by_policy.mistake(
    "Your U-Ignore leaves out the blanks as well as the −1s. It ignores only “perhaps”; a blank is "
    "still taken for a no."
)
def _ignores_blanks_too(codes):
    yes, unsure = codes == 1, codes == -1
    known = ~unsure & ~np.isnan(codes)
    return {"U-Ones": (yes | unsure).mean(), "U-Zeros": yes.mean(), "U-Ignore": yes[known].mean()}


@prevalence_by_policy.mistake(
    "U-Ones and U-Zeros come out alike, as if they did not differ in the −1s: one makes a yes of "
    "every “perhaps”, the other a no."
)
def _alike(codes):
    yes, unsure = codes == 1, codes == -1
    return {"U-Ones": yes.mean(), "U-Zeros": yes.mean(), "U-Ignore": yes[~unsure].mean()}


@prevalence_by_policy.mistake(
    "Your U-Ones counts whatever is not 0, and a blank, NaN, is not 0 either: so it became a yes. "
    "A blank is to become 0."
)
def _blank_as_yes(codes):
    yes, unsure = codes == 1, codes == -1
    return {
        "U-Ones": (codes != 0).mean(),
        "U-Zeros": yes.mean(),
        "U-Ignore": yes[~unsure].mean(),
    }


@prevalence_by_policy.mistake(
    "U-Ones and U-Zeros have changed places. Their names say what a −1 *becomes*."
)
def _exchanged(codes):
    yes, unsure = codes == 1, codes == -1
    return {
        "U-Ones": yes.mean(),
        "U-Zeros": (yes | unsure).mean(),
        "U-Ignore": yes[~unsure].mean(),
    }


@exercise(
    "02",
    2,
    "Kappa by hand",
    minutes=6,
    hints=(
        "Two who answer at random can agree in two ways: both say yes, or both say no.",
        "`agreed = (a == b).mean()` and `chance = a.mean() * b.mean() + (1 - a.mean()) * "
        "(1 - b.mean())`. Kappa is how far agreed lies on the way from chance to 1.",
    ),
)
def kappa_by_hand(a, b):
    """Cohen's kappa: how far do two readers agree beyond chance?

    Chance is how often they would agree if each answered at random with its own frequency of 1s,
    without looking. Kappa says how far their agreement lies on the way from chance, where it is 0,
    to perfect agreement, where it is 1.

    a, b: arrays [N] of 0 and 1, what each says of the same N images. Each holds both values.
    Returns a number. With a = [1, 1, 0, 0, 0] and b = [1, 0, 0, 0, 0] they agree on 0.8 of the
    images, chance is 0.56, and kappa is 0.545.
    """
    agreed = (a == b).mean()
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return (agreed - chance) / (1 - chance)


@kappa_by_hand.inputs
def _draw_readings(rng):
    order, both = rng.permutation(10), int(rng.integers(1, 3))  # of b's two yes, those of a as well
    yield (order < 4).astype(int), ((order >= 4 - both) & (order < 6 - both)).astype(int)
    for count, share in ((200, 0.1), (400, 0.25)):
        a = (rng.random(count) < share).astype(int)
        b = np.where(rng.random(count) < 0.8, a, rng.random(count) < share).astype(int)
        a[:5], b[:5] = (1, 1, 0, 0, 0), (1, 0, 0, 0, 0)
        yield a, b


@kappa_by_hand.judged_by
def _is_kappa(answer, a, b):
    """As the solution; and where it is another measure, which one."""
    wrong = kappa_by_hand.compare(answer, (a, b))
    agreed = (a == b).mean()
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    if wrong and not difference(answer, agreed / chance):
        return (
            "That is how many times as often they agree as by chance. Kappa is no ratio of the "
            f"two: it is 1 for perfect readers, whatever chance is.\n{wrong}"
        )
    if wrong and not difference(answer, np.corrcoef(a, b)[0, 1]):
        return (
            "That is Pearson's correlation. It partly forgives one who says yes more often than "
            f"the other; for kappa, every image on which they differ counts against them.\n{wrong}"
        )
    return wrong


@kappa_by_hand.mistake(
    "That is the plain agreement. If a finding is rare, two readers who always say no agree nearly "
    "always, and have seen nothing."
)
def _plain_agreement(a, b):
    return (a == b).mean()


@kappa_by_hand.mistake(
    "Your chance counts only that both say yes. Both saying no is agreement, too, and with rare "
    "findings it is most of it."
)
def _chance_of_yes(a, b):
    chance = a.mean() * b.mean()
    return ((a == b).mean() - chance) / (1 - chance)


@kappa_by_hand.mistake(
    "You took chance to be a coin, 0.5. Readers who say yes to one image in ten agree far more "
    "often than that without looking: use their own frequencies."
)
def _coin(a, b):
    return ((a == b).mean() - 0.5) / 0.5


@kappa_by_hand.mistake(
    "That is agreement less chance, in itself. Even perfect readers would not reach 1: divide by "
    "the most that there is to win, 1 − chance."
)
def _not_scaled(a, b):
    return (a == b).mean() - a.mean() * b.mean() - (1 - a.mean()) * (1 - b.mean())


@kappa_by_hand.mistake(
    "Brackets: division comes before subtraction, so you took chance / (1 − chance) off the "
    "agreement. It is (agreed − chance) / (1 − chance)."
)
def _without_brackets(a, b):
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return (a == b).mean() - chance / (1 - chance)


@kappa_by_hand.mistake(
    "You gave both readers the mean of their two frequencies, which makes Scott's pi. For kappa "
    "each answers with its *own* frequency: one may say yes far more often."
)
def _scotts_pi(a, b):
    both = (a.mean() + b.mean()) / 2
    chance = both**2 + (1 - both) ** 2
    return ((a == b).mean() - chance) / (1 - chance)


@exercise(
    "02",
    3,
    "A test that stays a test",
    minutes=4,
    hints=(
        "Draw people, not pictures. Then ask of every picture whose it is.",
        "`np.unique(patients)` has every patient once: choose from it. `np.isin(patients, chosen)` "
        "is true for all the images of those chosen.",
    ),
)
def images_of_the_test(patients, count, rng):
    """Split by patient: which images belong to the test?

    patients: an array [N], the number of the patient whom each image shows. Many come back, and
        their images are not in any order.
    count: how many patients the test is to have.
    rng: a random generator. `rng.choice(values, count, replace=False)` draws from an array, each
        entry at most once.
    Returns a bool array [N], true where an image belongs to the test: all images of `count`
    patients, and no image of anybody else. They are drawn with `rng`, every patient as likely as
    any other, however many images he has. With patients [7, 3, 7, 9] and a count of 1 there are
    three right answers, and [True, False, True, False] is one of them.
    """
    chosen = rng.choice(np.unique(patients), count, replace=False)
    return np.isin(patients, chosen)


@images_of_the_test.inputs
def _draw_patients(rng):
    for people, count in ((40, 12), (40, 35), (60, 20)):
        numbers = rng.choice(9000, people, replace=False) + 1000
        patients = np.concatenate([numbers, numbers, rng.choice(numbers, 2 * people)])
        yield rng.permutation(patients), count, np.random.default_rng(rng.integers(1 << 30))
    often = np.append(numbers[:40], np.repeat(numbers[0], 400))  # one who comes again and again
    yield rng.permutation(often), 10, np.random.default_rng(rng.integers(1 << 30))


@images_of_the_test.judged_by
def _is_by_patient(answer, patients, count, rng):
    chosen = np.asarray(answer)
    if chosen.shape != patients.shape or not np.isin(chosen, (0, 1)).all():
        return f"Expected a bool array of the shape {list(patients.shape)}, one value an image."
    chosen = chosen.astype(bool)
    both = np.intersect1d(patients[chosen], patients[~chosen])
    if len(both):
        return (
            f"{len(both)} patients have images on both sides of the split, such as patient "
            f"{both[0]}: what the model remembers of them would count as skill."
        )
    everybody, found = np.unique(patients), np.unique(patients[chosen])
    if len(found) != count:
        told = f"The test has {len(found)} patients, expected {count} of {len(everybody)}."
        twice = " Was somebody drawn twice? `replace=False` draws each entry at most once."
        return told + twice * (len(found) < count)
    first = np.sort(pd.unique(patients)[:count])
    for which, taken in (
        ("with the lowest numbers", everybody[:count]),
        ("with the highest numbers", everybody[-count:]),
        ("who come first in the list", first),
    ):
        if np.array_equal(found, taken):
            return f"You took the {count} patients {which}, not {count} drawn at random."
    return None


@images_of_the_test.behaviour
def _draws_evenly_and_with_rng(answer, patients, count, rng):
    seed = int(rng.integers(1 << 30))

    def drawn(other):
        own = np.random.default_rng(seed + other)
        return np.asarray(answer(patients.copy(), count, own), dtype=bool)

    first = drawn(0)
    if not np.array_equal(first, drawn(0)):
        return (
            "The same generator, started alike, drew two different tests: so the chance is not "
            "`rng`'s. Nobody could repeat your split; draw with the `rng` that you are given."
        )
    if np.array_equal(first, drawn(1)):
        return "Two generators that were started differently drew the same test: draw with `rng`."
    everybody, images = np.unique(patients, return_counts=True)
    if images.max() < len(patients) / 2:
        return None
    times = np.zeros(len(everybody), dtype=int)
    for other in range(80):
        times += np.isin(everybody, patients[drawn(other)])
    fair, most = 80 * count / len(everybody), times.argmax()
    if times.max() > 2.5 * fair:
        return (
            f"Of 80 tests, {times[most]} have patient {everybody[most]}, who has {images[most]} of "
            f"the {len(patients)} images. If every patient were as likely as any other, it would "
            f"be about {fair:.0f}: who comes often must not be drawn more often."
        )
    if times.min() == 0:
        return f"Patient {everybody[times.argmin()]} is never drawn, not once in 80 tests."
    return None


@images_of_the_test.mistake(
    "You drew images, not patients. Most patients now lie on both sides, and a model that only "
    "recognises people would seem to be a radiologist."
)
def _by_image(patients, count, rng):
    return np.isin(np.arange(len(patients)), rng.choice(len(patients), count, replace=False))


@images_of_the_test.mistake(
    "You drew from the images' list, in which who comes often stands often: the same patient is "
    "drawn twice, so that there are fewer than asked, and the test prefers the sickest. Draw from "
    "a list in which everybody stands once."
)
def _who_comes_often(patients, count, rng):
    return np.isin(patients, rng.choice(patients, count, replace=False))


@images_of_the_test.mistake(
    "Split by patient, but not drawn: numbers are often given in the order of arrival, so this "
    "test would be of other years than the training."
)
def _lowest_numbers(patients, count, rng):
    return np.isin(patients, np.unique(patients)[:count])


@images_of_the_test.mistake(
    "You put one image of each patient drawn into the test, and left his others in training. All "
    "images of a patient must go with him."
)
def _one_image_each(patients, count, rng):
    people, first = np.unique(patients, return_index=True)
    chosen = rng.choice(people, count, replace=False)
    return np.isin(np.arange(len(patients)), first[np.isin(people, chosen)])


@images_of_the_test.mistake(
    "Those are the images for training: true is to mean that an image belongs to the test."
)
def _for_training(patients, count, rng):
    return ~np.isin(patients, rng.choice(np.unique(patients), count, replace=False))


@images_of_the_test.mistake(
    "That is who belongs to the test. Asked is, for every image, whether it does."
)
def _who(patients, count, rng):
    return rng.choice(np.unique(patients), count, replace=False)


@exercise(
    "02",
    4,
    "A model that only remembers",
    minutes=8,
    hints=(
        "What has the model seen when the test begins? Only the training images: their mean label "
        "for each patient, and over all of them for a stranger.",
        "For each test image with patient p: `own = labels[is_train & (patients == p)]`; its score "
        "is `own.mean()` if `len(own)`, and else `labels[is_train].mean()`.",
    ),
)
def scores_from_memory(patients, labels, is_train):
    """What does a model predict that cannot read a film, but is told whose it is?

    It repeats what it remembers of a patient, the mean label of his training images. For a patient
    it has never met it gives the mean label of all training images. Split by patient, it has met
    nobody, so all its scores are equal: chance. Split by image, it seems to be a radiologist.

    patients: an array [N], the number of the patient whom each image shows.
    labels: an array [N] of 0 and 1, one observation.
    is_train: a bool array [N], true for training images; the others are the test.
    Returns an array: the scores of the test images, in their order. With patients
    [1, 1, 2, 2, 3, 1], labels [1, 1, 0, 1, 1, 0] and the first, the third and the last of them for
    training, the scores of the other three are [1/2, 0, 1/3].
    """
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    stranger = labels[is_train].mean()
    return known.reindex(patients[~is_train]).fillna(stranger).to_numpy()


@scores_from_memory.inputs
def _draw_visits(rng):
    for people, by_patient in ((3, False), (20, False), (21, True), (40, False)):
        visits = np.append(np.repeat(np.arange(people), 3), people)  # the last one came once
        patients = rng.permutation(visits)
        sick = rng.random(people + 1) < 0.3
        labels = (rng.random(len(patients)) < np.where(sick, 0.8, 0.1)[patients]).astype(int)
        is_train = patients < people // 2 if by_patient else rng.random(len(patients)) < 0.6
        for patient, known, own in ((0, True, (1, 0, 0)), (1, by_patient, (0, 1, 1))):
            labels[patients == patient] = own
            is_train[patients == patient] = known
        is_train[patients == people] = False
        patients = patients + 101
        yield patients, labels, is_train


@scores_from_memory.mistake(
    "Your model remembers the test as well: each test image's own label is in the mean that it is "
    "scored with. In the test it may know only what was in training."
)
def _peeks(patients, labels, is_train):
    return pd.Series(labels).groupby(patients).transform("mean").to_numpy()[~is_train]


@scores_from_memory.mistake(
    "You give strangers a 0, as if never met meant healthy. Missing is not negative: the best "
    "guess for a stranger is the mean of all training images."
)
def _strangers_are_healthy(patients, labels, is_train):
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    return known.reindex(patients[~is_train]).fillna(0).to_numpy()


@scores_from_memory.mistake(
    "You give strangers a 0.5, as if a coin decided. In training the finding had a frequency of "
    "its own: that is the best guess."
)
def _strangers_are_coins(patients, labels, is_train):
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    return known.reindex(patients[~is_train]).fillna(0.5).to_numpy()


@scores_from_memory.mistake(
    "For strangers you take the mean of all images, the test's among them. That is a little of the "
    "answer, seen before the question: take the training images alone."
)
def _strangers_from_everybody(patients, labels, is_train):
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    return known.reindex(patients[~is_train]).fillna(labels.mean()).to_numpy()


@scores_from_memory.mistake(
    "For strangers you take the mean of the patients' means. Asked is the mean of all training "
    "images, in which who came often counts more."
)
def _mean_of_means(patients, labels, is_train):
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    return known.reindex(patients[~is_train]).fillna(known.mean()).to_numpy()


@scores_from_memory.mistake(
    "Strangers come out as NaN, the mean of nothing. A patient whom the model never met is to get "
    "the mean label of all training images."
)
def _strangers_are_nan(patients, labels, is_train):
    known = pd.Series(labels[is_train]).groupby(patients[is_train]).mean()
    return known.reindex(patients[~is_train]).to_numpy()
