"""Exercises of notebook 01, reading a chest film."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "01",
    1,
    "A film is a sum along the beam",
    minutes=3,
    hints=(
        "What one layer lets through is what the next one gets. What happens to the exponents?",
        "First add up centimetres of water, `(thickness * density).sum()`; then one exponential, "
        "`np.exp(-mu * …)`, times the photons.",
    ),
)
def photons_arriving(photons, thickness, density, mu):
    """How many photons of a ray arrive at the detector, by the law of Beer and Lambert?

    photons: how many enter the patient.
    thickness: an array [K], the cm of each layer that the ray crosses, one behind the other.
    density: an array [K], how many cm of water take away as much as 1 cm of the layer: of muscle
        1, of a lung 0.16.
    mu: the attenuation of water, per cm.
    Returns a number. With 1000 photons, mu = 0.19, 5 cm of muscle and 15 cm of lung it is 245.1
    (the layers take away what 5 + 2.4 cm of water would).
    """
    return photons * np.exp(-mu * (thickness * density).sum())


@photons_arriving.inputs
def _draw_rays(rng):
    for layers in (2, 5, 1):
        photons, mu = float(rng.integers(500, 5000)), round(rng.uniform(0.15, 0.3), 3)
        thickness = rng.uniform(2, 5, layers).round(1)
        thickness[0] = rng.integers(6, 9)  # the layers are not equally thick, nor equally dense
        density = rng.choice([0.16, 0.21, 0.5, 0.8, 1.8], layers, replace=False)
        yield photons, thickness, density, mu


@photons_arriving.mistake(
    "You counted a centimetre of every layer as one of water. A lung of 15 cm is mostly air, and "
    "weighs as little as 2.4 cm of water: that is why it is dark."
)
def _all_water(photons, thickness, density, mu):
    return photons * np.exp(-mu * thickness.sum())


@photons_arriving.mistake(
    "These are the photons that are lost on the way. Film and detector count those that arrive."
)
def _lost(photons, thickness, density, mu):
    return photons * (1 - np.exp(-mu * (thickness * density).sum()))


@photons_arriving.mistake(
    "You let every layer have all the photons and added up what each lets through. They stand one "
    "behind the other: the second gets only what the first has let through."
)
def _side_by_side(photons, thickness, density, mu):
    return photons * np.exp(-mu * thickness * density).sum()


@photons_arriving.mistake(
    "You gave the mean density to the whole thickness, as if all layers were equally thick. Take "
    "thickness times density for every layer, and then add."
)
def _mean_density(photons, thickness, density, mu):
    return photons * np.exp(-mu * thickness.sum() * density.mean())


@photons_arriving.mistake(
    "That is a number for each layer. A film has one for each ray, for everything in its way: add "
    "up what the layers weigh before the exponential."
)
def _each_layer(photons, thickness, density, mu):
    return photons * np.exp(-mu * thickness * density)


@photons_arriving.mistake(
    "You took a fixed share of the first photons for each centimetre. Each centimetre takes its "
    "share of what is *left*, which makes an exponential; yours falls below zero in a thick chest."
)
def _straight_line(photons, thickness, density, mu):
    return photons * (1 - mu * (thickness * density).sum())


@exercise(
    "01",
    2,
    "On which side is it?",
    minutes=4,
    hints=(
        "The letter marks one side of the patient. Does the finding lie in the same half of the "
        "picture as the letter, or in the other one?",
        "`same = (column < width / 2) == (letter_column < width / 2)`. If same, the side is the "
        "letter's; if not, it is the other.",
    ),
)
def side_of_the_patient(column, letter, letter_column, width):
    """On which side of the patient does a finding lie, in a film that may have been mirrored?

    The letter was beside the patient when the film was taken, on the side that it names. Where a
    film is mirrored, the letter has gone over to the other half with everything else.

    column, letter_column: where finding and letter lie, from 0 at your left to width - 1 at your
        right; neither is in the middle.
    letter: "L" or "R", for the patient's left or right.
    Returns "left" or "right", the patient's. With 30, "L", 90 and a width of 100 it is "right": the
    film hangs as it should. With 30, "L", 10 and 100 the film is mirrored, and it is "left".
    """
    same = (column < width / 2) == (letter_column < width / 2)
    return "left" if same == (letter == "L") else "right"


@side_of_the_patient.inputs
def _draw_sides(rng):
    for finding in (0, 1):
        for letter in "LR":
            for marked in (0, 1):
                for narrow, wide, least, most in ((100, 120, 0.05, 0.4), (280, 400, 0.2, 0.45)):
                    width = int(rng.integers(narrow, wide))
                    column, at = (
                        int(width * (half / 2 + rng.uniform(least, most)))
                        for half in (finding, marked)
                    )
                    yield column, letter, at, width


@side_of_the_patient.mistake(
    "That is *your* side. The patient stands facing you, so his right is on your left; and is this "
    "film mirrored? Ask the letter."
)
def _yours(column, letter, letter_column, width):
    return "left" if column < width / 2 else "right"


@side_of_the_patient.mistake(
    "“The patient's right is on your left” holds for a film that hangs as it should. A mirrored "
    "one breaks it, and only the letter tells: look where the letter lies."
)
def _by_custom(column, letter, letter_column, width):
    return "right" if column < width / 2 else "left"


@side_of_the_patient.mistake(
    "You gave the side that the letter names, wherever the finding is. It may lie in the other "
    "half."
)
def _letter_only(column, letter, letter_column, width):
    return "left" if letter == "L" else "right"


@side_of_the_patient.mistake(
    "You found out whether the finding lies in the letter's half, but took every letter for an L."
)
def _any_letter(column, letter, letter_column, width):
    return "left" if (column < width / 2) == (letter_column < width / 2) else "right"


@side_of_the_patient.mistake(
    "Just the other way round. The letter already names the *patient's* side: what lies in its "
    "half of the picture is on that side, and needs no turning."
)
def _turned_once_more(column, letter, letter_column, width):
    same = (column < width / 2) == (letter_column < width / 2)
    return "right" if same == (letter == "L") else "left"


@side_of_the_patient.mistake(
    "You took column 50 for the middle of every film. Films are of different widths: the middle is "
    "at width / 2."
)
def _fifty(column, letter, letter_column, width):
    same = (column < 50) == (letter_column < 50)
    return "left" if same == (letter == "L") else "right"


@exercise(
    "01",
    3,
    "A heart that grows by being far away",
    minutes=6,
    hints=(
        "Hold your hand under a lamp: its shadow grows as the hand comes nearer to the lamp. Which "
        "two distances *from the lamp* decide?",
        "A shadow is `width * source / (source - gap)`. Do that for the heart and for the chest, "
        "each with its own gap, and divide.",
    ),
)
def ratio_on_the_film(heart, chest, heart_gap, chest_gap, source):
    """The cardiothoracic ratio that a film shows: the heart's shadow over the chest's, in width.

    Rays spread from one point. A shadow is wider than the thing by the same factor by which the
    detector is further from the source than the thing is.

    heart, chest: their true widths, in cm.
    heart_gap, chest_gap: from where each is widest to the detector, in cm.
    source: from the source to the detector, in cm.
    Returns a number. A heart of 13 cm in a chest of 28 cm has a true ratio of 0.464. Lying, with
    gaps of 16 and 11 cm and the source at 105 cm, the film shows 0.490.
    """
    shadow_of_heart = heart * source / (source - heart_gap)
    shadow_of_chest = chest * source / (source - chest_gap)
    return shadow_of_heart / shadow_of_chest


@ratio_on_the_film.inputs
def _draw_bodies(rng):
    for source, heart_gap in ((183.0, 8.0), (105.0, 16.0), (100.0, 19.0)):
        heart, chest = rng.uniform(11, 16), rng.uniform(26, 32)
        gaps = heart_gap + rng.uniform(-1, 1), rng.uniform(10, 13)
        yield *(round(length, 1) for length in (heart, chest, *gaps)), source


@ratio_on_the_film.mistake(
    "That is the ratio in the body. On the film what is further from the detector is enlarged "
    "more, and heart and chest are not equally far from it."
)
def _in_the_body(heart, chest, heart_gap, chest_gap, source):
    return heart / chest


@ratio_on_the_film.mistake(
    "You enlarged the heart alone. The chest stands off the detector, too, so its shadow has grown "
    "as well, by its own factor."
)
def _heart_alone(heart, chest, heart_gap, chest_gap, source):
    return heart * source / (source - heart_gap) / chest


@ratio_on_the_film.mistake(
    "Your factor is turned over: it makes shadows *smaller* than things, the more so the nearer "
    "they are to the lamp. Divide by the thing's distance from the source."
)
def _turned_over(heart, chest, heart_gap, chest_gap, source):
    return heart * (source - heart_gap) / (chest * (source - chest_gap))


@ratio_on_the_film.mistake(
    "You divided by the distance to the *detector*. So a thing that touches it would have an "
    "endless shadow. What counts is how far the thing is from the source."
)
def _wrong_end(heart, chest, heart_gap, chest_gap, source):
    return (heart * source / heart_gap) / (chest * source / chest_gap)


@ratio_on_the_film.mistake(
    "Nearly: 1 + gap / source holds for small gaps only. From the lamp, the thing is at "
    "source − gap and the detector at source: the factor is one divided by the other."
)
def _small_gaps(heart, chest, heart_gap, chest_gap, source):
    return heart * (1 + heart_gap / source) / (chest * (1 + chest_gap / source))


@ratio_on_the_film.mistake(
    "You multiplied by the gaps. With no gap at all there would be no shadow; but a thing that "
    "touches the detector has one, of just its own width."
)
def _by_the_gaps(heart, chest, heart_gap, chest_gap, source):
    return heart * heart_gap / (chest * chest_gap)


@exercise(
    "01",
    4,
    "Where it is, and what it changes",
    minutes=7,
    hints=(
        "Make a second outline first: the pixels that differ by more than `least`. A pneumothorax "
        "makes pixels *darker*.",
        "`changed = np.abs(with_it.astype(int) - without) > least`. Then count `lesion & ~changed` "
        "among the lesion's pixels, and `changed & ~lesion` among the changed ones.",
    ),
)
def hidden_and_elsewhere(without, with_it, lesion, least):
    """How far do a finding's place and the pixels that it changes lie apart?

    An enlarged heart changes nothing where it lies over the spine, which was white before; and the
    air of a pneumothorax also moves the heart.

    without, with_it: uint8 arrays [H, W] of greys, 0 (black) to 255 (white), as films come: one
        drawn without and with the finding.
    lesion: a bool array [H, W], true where the finding itself lies.
    least: a pixel is changed if its two greys are more than this apart, not just by this.
    Returns two shares: *hidden*, of the pixels where the finding lies, those that it does not
    change; and *elsewhere*, of the pixels that it changes, those outside it. One row of five pixels
    with the greys [10, 10, 200, 90, 90] without and [90, 10, 205, 40, 30] with it, the lesion
    [True, False, True, False, False] and 8 for least give 1/2 and 2/3.
    """
    changed = np.abs(with_it.astype(int) - without) > least
    hidden = (lesion & ~changed).sum() / lesion.sum()
    elsewhere = (changed & ~lesion).sum() / changed.sum()
    return hidden, elsewhere


@hidden_and_elsewhere.inputs
def _draw_films(rng):
    limits = rng.choice(np.arange(5, 20), 4, replace=False).astype(float)
    least, order = limits[0], rng.permutation(10)  # of the ten, the first four are the lesion
    moves = np.array([0, 1, 1, -1, 1, -1, 0, 0, 0, 0]) * (least + 20)
    moves[[0, 6]] = rng.choice([-least, least], 2)  # apart by just the limit: not changed
    without = rng.integers(90, 160, (1, 10)).astype(float)
    yield *_films(without, without + moves[None, order]), order[None] < 4, least
    for columns, least in enumerate(limits[1:], start=1):
        lesion, sign = np.zeros((2, 16, 24))
        top, left = rng.integers(0, 10), rng.integers(0, 8)
        rows = slice(top, top + 6)
        lesion[rows, left : left + 8] = 1
        sign[rows, left + columns : left + 8] = rng.choice([-1, 1], p=(0.3, 0.7))
        sign[rows, left + 10 : left + 11 + columns] = rng.choice([-1, 1], (6, 1 + columns))
        sign[top, [left + columns, left + 10]] = 1, -1  # some whiter, some darker, each time
        without = rng.integers(90, 160, lesion.shape).astype(float)
        moves = sign * (least + rng.integers(1, 40, lesion.shape))
        moves += (sign == 0) * rng.integers(-least, least + 1, lesion.shape)
        moves[top + 1, left], moves[top, left + columns] = -least, least + 1
        yield *_films(without, without + moves), lesion.astype(bool), least


def _films(*greys):
    return (grey.astype(np.uint8) for grey in greys)


def _outlines(without, with_it, least):
    return np.abs(with_it.astype(int) - without) > least


@hidden_and_elsewhere.mistake(
    "uint8 holds no negative number: 100 − 103 becomes 253, and a little darker counts as much "
    "brighter. Make whole numbers with a sign of the greys first: `.astype(int)`."
)
def _wrapped(without, with_it, lesion, least):
    changed = np.abs(with_it - without) > least
    return (lesion & ~changed).sum() / lesion.sum(), (changed & ~lesion).sum() / changed.sum()


@hidden_and_elsewhere.mistake(
    "You counted only pixels that turned *whiter*. Some signs are absences: where air or a moved "
    "heart leaves less in the way, the film turns darker, and that is a change, too."
)
def _only_whiter(without, with_it, lesion, least):
    changed = with_it.astype(int) - without > least
    return (lesion & ~changed).sum() / lesion.sum(), (changed & ~lesion).sum() / changed.sum()


@hidden_and_elsewhere.mistake(
    "You divided by all pixels of the film. So a wider border would make both shares smaller. "
    "Hidden is a share of the finding's pixels, elsewhere one of the changed pixels."
)
def _of_the_film(without, with_it, lesion, least):
    changed = _outlines(without, with_it, least)
    return (lesion & ~changed).mean(), (changed & ~lesion).mean()


@hidden_and_elsewhere.mistake(
    "The pixels are the right ones, but each is divided by the other outline. The words after “of” "
    "say what to divide by: hidden by where it lies, elsewhere by what it changes."
)
def _crossed(without, with_it, lesion, least):
    changed = _outlines(without, with_it, least)
    return (lesion & ~changed).sum() / changed.sum(), (changed & ~lesion).sum() / lesion.sum()


@hidden_and_elsewhere.mistake(
    "You took pixels whose greys are apart by just `least` for changed. A pixel is changed if they "
    "are *more* than that apart."
)
def _by_just_least(without, with_it, lesion, least):
    changed = np.abs(with_it.astype(int) - without) >= least
    return (lesion & ~changed).sum() / lesion.sum(), (changed & ~lesion).sum() / changed.sum()


@hidden_and_elsewhere.mistake(
    "These are the shares in which the two outlines agree. You were asked where they differ: one "
    "minus each."
)
def _where_they_agree(without, with_it, lesion, least):
    changed = _outlines(without, with_it, least)
    return (lesion & changed).sum() / lesion.sum(), (changed & lesion).sum() / changed.sum()


@hidden_and_elsewhere.mistake("Both shares are right, in the other order: hidden comes first.")
def _other_order(without, with_it, lesion, least):
    changed = _outlines(without, with_it, least)
    return (changed & ~lesion).sum() / changed.sum(), (lesion & ~changed).sum() / lesion.sum()
