"""Exercises of notebook 08, maps put to the test."""

import numpy as np

from cxrlib.exercises.core import exercise


@exercise(
    "08",
    1,
    "The usual place",
    minutes=4,
    hints=(
        "The guess is made once, from the validation masks, and is the same for all test images.",
        "`place = valid.mean(axis=0).argmax()` counts the pixels of the flattened image; in how "
        "many rows of `test.reshape(len(test), -1)` is it in the mask?",
    ),
)
def usual_place(valid, test):
    """The hit rate of a guess that has not looked at the image: where the finding usually is.

    The guess is the highest point of the mean mask of the validation images. The hit rate is the
    share of test images whose mask holds it.

    valid, test: arrays [N, h, w] and [M, h, w] of True and False, the masks of one finding. The
    mean mask has one highest point.
    Returns a number. With the validation masks [[1, 1, 0]] and [[0, 1, 1]] and the test masks
    [[0, 1, 0]] and [[1, 0, 1]] (written as 0 and 1, one row of pixels each) it is 0.5.
    """
    row, column = np.argwhere(valid.mean(axis=0) == valid.mean(axis=0).max())[0]
    return test[:, row, column].mean()


@usual_place.inputs
def _draw_masks(rng):
    places = rng.permutation(4)
    valid = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]]) == 1
    test = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1]]) == 1
    yield valid[:, places].reshape(3, 2, 2), test[:, places].reshape(3, 2, 2)
    for side, images in ((4, 8), (8, 10), (12, 20)):
        valid, test = rng.random((2, images, side, side)) < 0.3
        usual, of_test, rare = (divmod(at, side) for at in rng.permutation(side * side)[:3])
        valid[0] = test[0] = False
        valid[:, *usual], valid[:, *rare] = True, False
        test[0, *rare] = True
        test[1:, *usual] = np.arange(1, images) <= 0.6 * images
        test[1:, *of_test] = np.arange(1, images) > 1
        valid[1, *of_test] = True
        yield valid, test


def _rate(place, masks):
    return masks.reshape(len(masks), -1)[:, place].mean()


@usual_place.mistake(
    "You made the guess of the test masks, on which it is then scored. Whoever has seen the "
    "answers guesses well: take the validation images' place."
)
def _peeked(valid, test):
    return _rate(test.mean(axis=0).argmax(), test)


@usual_place.mistake(
    "You scored the guess on the validation images, of which it was made. It must be scored on "
    "images that it has not seen."
)
def _on_its_own(valid, test):
    return _rate(valid.mean(axis=0).argmax(), valid)


@usual_place.mistake(
    "That is the mean mask's share in the test masks (its mass). A hit asks for the highest point "
    "alone."
)
def _mass(valid, test):
    usual = valid.mean(axis=0)
    return ((usual * test).sum(axis=(1, 2)) / usual.sum()).mean()


@usual_place.mistake(
    "You took the mean mask's value over all pixels of the test masks. How often the finding was "
    "at a place is not asked there: a hit asks for the highest point alone."
)
def _mass_by_pixel(valid, test):
    return (valid.mean(axis=0) * test).sum() / test.sum()


@usual_place.mistake(
    "You guessed a point in every row (or column) of the image. The guess is one point: take the "
    "`argmax` of all pixels, or look up the row and the column of the highest."
)
def _by_row(valid, test):
    at = valid.mean(axis=0).argmax(axis=1)
    return test[:, np.arange(test.shape[1]), at].mean()


@usual_place.mistake(
    "That is the masks' share of the image: what a random point hits. The usual place knows more."
)
def _chance(valid, test):
    return test.mean()


@exercise(
    "08",
    2,
    "Which maps have seen the image?",
    minutes=6,
    hints=(
        "Make a table of hits first: a row for each image's mask, a column for each map's highest "
        "point. Where in it are the maps of their own images?",
        "`at = maps.reshape(N, -1).argmax(axis=1)`, `hits = masks.reshape(N, -1)[:, at]`. On the "
        "diagonal are the own maps; `hits[~np.eye(N, dtype=bool)]` are all the others.",
    ),
)
def gain_over_another_image(maps, masks):
    """How much more often a map hits than the maps of other images do.

    Two ways to make maps may hit equally often, though one of them always points at the usual place
    and has not looked. So score the maps on the masks of their own images, and then every map on
    the masks of all images but its own. The gain is the hit rate of the first, less that of the
    second. A hit: the map's highest point lies in the mask.

    maps: an array [N, h, w] of one finding's maps, each with one highest point; masks: an array
    [N, h, w] of True and False, of the same N images. N is at least 2.
    Returns a number. With the maps [[0.9, 0.1, 0.0]] and [[0.2, 0.1, 0.7]] and the masks
    [[1, 0, 0]] and [[1, 1, 1]] (as 0 and 1) it is 1 − 0.5 = 0.5. If all maps are the same it is 0.
    """
    at = maps.reshape(len(maps), -1).argmax(axis=1)
    hits = masks.reshape(len(masks), -1)[:, at]
    own = np.eye(len(hits), dtype=bool)
    return hits[own].mean() - hits[~own].mean()


@gain_over_another_image.inputs
def _draw_ways(rng):
    order, places = np.roll(range(3), rng.integers(3)), rng.permutation(4)
    hits = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=bool)  # of masks, by maps
    maps, masks = 0.1 * rng.random((3, 4)), np.zeros((3, 4), dtype=bool)
    maps[range(3), places[:3]], masks[:, places[:3]] = 0.9, hits
    maps[:, places[3]] = 0.8  # in no mask, and the mean map's highest
    yield maps[order].round(2).reshape(3, 2, 2), masks[order].reshape(3, 2, 2)
    for side, images, looks in ((5, 4, True), (8, 12, True), (8, 12, False)):
        masks = rng.random((images, side, side)) < 0.3
        maps = 0.6 * rng.random((images, side, side))
        usual = rng.integers(side, size=2)
        masks[:, *usual] = np.arange(images) < 0.75 * images
        maps[:, *usual] = 0.95
        for number, (drawn, mask) in enumerate(zip(maps, masks, strict=True)):
            mask[number // side, number % side] = True
            seen = np.argwhere(mask)[0 if number % 2 else -1]
            drawn[tuple(seen if looks and number else usual)] = 1.0
        yield maps, masks


def _hits(maps, masks):
    return masks.reshape(len(masks), -1)[:, maps.reshape(len(maps), -1).argmax(axis=1)]


@gain_over_another_image.mistake(
    "That is the hit rate of the maps on their own images. A way that has not looked may hit as "
    "often: how much of it do other images' maps reach?"
)
def _own_alone(maps, masks):
    return np.diag(_hits(maps, masks)).mean()


@gain_over_another_image.mistake(
    "That is the hit rate of the rivals alone. How much higher is that of the maps on their own "
    "images?"
)
def _rivals_alone(maps, masks):
    hits = _hits(maps, masks)
    return hits[~np.eye(len(hits), dtype=bool)].mean()


@gain_over_another_image.mistake(
    "Each image's own map is among the rivals, too, so the gain comes out too small. Leave out the "
    "diagonal."
)
def _own_among_rivals(maps, masks):
    hits = _hits(maps, masks)
    return np.diag(hits).mean() - hits.mean()


@gain_over_another_image.mistake(
    "Your rival is the mean map. It has seen all images, but it is no image's map: the rival asked "
    "for is every other image's own."
)
def _mean_map(maps, masks):
    at = maps.mean(axis=0).argmax()
    return np.diag(_hits(maps, masks)).mean() - masks.reshape(len(masks), -1)[:, at].mean()


@gain_over_another_image.mistake(
    "Turned round: a gain is above zero where a map does better on its own image."
)
def _turned(maps, masks):
    hits = _hits(maps, masks)
    return hits[~np.eye(len(hits), dtype=bool)].mean() - np.diag(hits).mean()


@gain_over_another_image.mistake(
    "Each mask meets the map of one other image with you, its neighbour. Which one it is, is luck: "
    "ask all the others."
)
def _neighbour(maps, masks):
    hits = _hits(maps, masks)
    return np.diag(hits).mean() - np.diag(np.roll(hits, 1, axis=1)).mean()


class Reader:
    """A model of the exercises: what it sees in the middle, and in the corners, makes its score."""

    def __init__(self, corner, bias):
        self.corner, self.bias = corner, bias

    def __call__(self, images):
        """The scores, [N], of images [N, h, w]; of one image [h, w], one score."""
        images = np.asarray(images, dtype=float)
        middle = images[..., 2:-2, 2:-2].mean(axis=(-2, -1))
        left, right = (images[..., part, part].mean(axis=(-2, -1)) for part in _CORNERS)
        logit = self.bias + 3 * middle + left + self.corner * (middle - 0.3) * right
        return 1 / (1 + np.exp(-logit))

    def __repr__(self):
        return "a model"


_CORNERS = (slice(None, 4), slice(-4, None))


class Mean:
    """A model whose score is the image's mean."""

    def __call__(self, image):
        """One score of an image [h, w]."""
        return np.mean(image)

    def __repr__(self):
        return "a model that returns the image's mean"


class CornerReader(Reader):
    """A ``Reader`` of images from 12 × 12 on, to which the three other corners are alike."""

    def __call__(self, images):
        """The scores, [N], of images [N, h, w]."""
        images = np.asarray(images, dtype=float)
        middle = images[:, 4:-4, 4:-4].mean(axis=(1, 2))
        upper_left, upper_right, lower_left, right = (
            images[:, rows, columns].mean(axis=(1, 2)) for rows in _CORNERS for columns in _CORNERS
        )
        others = np.maximum.reduce([upper_left, upper_right, lower_left])
        logit = self.bias + 3 * middle + others + self.corner * (middle - 0.25) * right
        return 1 / (1 + np.exp(-logit))


@exercise(
    "08",
    3,
    "Plant a mark, and measure",
    minutes=4,
    hints=(
        "Ask the model twice about the same images. What must differ between the two, and nothing "
        "else?",
        "`marked = images.copy()`, then `marked[:, -4:, -4:] = 1`. The mean of "
        "`model(marked) - model(images)`.",
    ),
)
def raised_by_mark(model, images):
    """By how much a mark raises the score of a model, on average over images.

    The mark is a white square (value 1) of 4 × 4 pixels in the lower right corner. The images have
    none.

    model: a function that takes images, an array [N, h, w], and returns their scores, an array
    [N], from 0 to 1.
    images: an array [N, h, w] from 0 to 1; row 0 is the top one, column 0 the one at the left.
    Returns a number, negative if the mark lowers the scores. If two images have the scores 0.2 and
    0.5, and 0.9 and 0.4 with the mark, it is 0.3.
    """
    marked = images.copy()
    marked[:, -4:, -4:] = 1
    return (model(marked) - model(images)).mean()


@raised_by_mark.inputs
def _draw_readers(rng):
    for corner, images in ((20, 4), (8, 12), (-12, 12)):
        level = np.linspace(0.1, 0.8, images)[:, None, None]
        yield CornerReader(corner, -2 * rng.random() - 0.5), level * rng.random((images, 12, 12))


@raised_by_mark.behaviour
def _leaves_the_images(answer, model, images):
    before = images.copy()
    answer(model, images)
    if np.array_equal(images, before):
        return None
    return (
        "The number is right, but you painted the mark into the images you were given, and they "
        "keep it: paint into `images.copy()`."
    )


def _with_mark(images):
    marked = images.copy()
    marked[:, -4:, -4:] = 1
    return marked


@raised_by_mark.mistake(
    "You get zero, always: the marked images and the others are one and the same array, so both "
    "got the mark. Copy before you paint: `images.copy()`."
)
def _in_place(model, images):
    return 0.0


@raised_by_mark.mistake(
    "That is the score with the mark. It may be high without it, too: measure both, and subtract."
)
def _score_with_it(model, images):
    return model(_with_mark(images)).mean()


@raised_by_mark.mistake(
    "Your square is in another corner. Row 0 is the top one and column 0 the one at the left, so "
    "the lower right corner has the last rows and the last columns: negative indices, for both."
)
def _other_corner(model, images):
    marked = images.copy()
    marked[:, -4:, :4] = 1
    return (model(marked) - model(images)).mean()


@raised_by_mark.mistake(
    "You added 1 to what was there. A mark covers it: its pixels have the value 1, whatever lies "
    "below."
)
def _added(model, images):
    marked = images.copy()
    marked[:, -4:, -4:] += 1
    return (model(marked) - model(images)).mean()


@raised_by_mark.mistake("Turned round: the mark's effect is the score with it, less without it.")
def _lowered(model, images):
    return (model(images) - model(_with_mark(images))).mean()


@raised_by_mark.mistake(
    "You took the size of each difference. Then a mark that raises one score and lowers the next "
    "counts as if it raised both."
)
def _sizes(model, images):
    return np.abs(model(_with_mark(images)) - model(images)).mean()


@exercise(
    "08",
    4,
    "Deletion",
    minutes=8,
    hints=(
        "Give every pixel a rank by the map, 0 for the highest. Which ranks are blurred after k of "
        "the steps?",
        "`rank = (-drawn).ravel().argsort().argsort().reshape(drawn.shape)`. After k steps the "
        "image is `np.where(rank < k * drawn.size // steps, blurred, image)`.",
    ),
)
def deletion(model, image, blurred, drawn, steps):
    """The model's scores while the image is blurred away, what the map marks most first.

    model: a function that takes an image, an array [h, w], and returns its score.
    image, blurred: arrays [h, w], the image and the same all blurred.
    drawn: an array [h, w], the map; no two of its values are alike.
    steps: in how many equal steps all pixels are blurred; h · w is a multiple of it. What is
    blurred stays so.
    Returns an array [steps + 1]: the score after 0, 1, … steps. For a model that returns the
    image's mean, image [[1.0, 0.6]], blurred [[0.0, 0.2]], drawn [[0.9, 0.1]] and 2 steps it is
    [0.8, 0.3, 0.1].
    """
    rank = (-drawn).ravel().argsort().argsort().reshape(drawn.shape)
    gone = [rank < step * drawn.size // steps for step in range(steps + 1)]
    return np.array([model(np.where(now, blurred, image)) for now in gone])


@deletion.inputs
def _draw_images(rng):
    image, blurred = np.array([[1.0, 0.6, 0.8, 0.1]]), np.array([[0.1, 0.2, 0.4, 0.3]])
    yield Mean(), image, blurred, np.array([[0.5, 0.9, 0.7, 0.1]]), 2
    for shape, steps in (((8, 8), 4), ((6, 10), 12), ((12, 12), 9)):
        image, noise = rng.random((2, *shape))
        image[:4, :4] *= 0.5  # so that no order of the pixels is like its reverse
        drawn = rng.permutation(image.size).reshape(shape) / image.size + 0.3 * image
        yield Reader(5, -1.5), image, 0.5 * image.mean() + 0.1 * noise, drawn, steps


@deletion.behaviour
def _leaves_the_image(answer, model, image, blurred, drawn, steps):
    given = image, blurred, drawn
    before = [part.copy() for part in given]
    answer(model, image, blurred, drawn, steps)
    if all(np.array_equal(was, now) for was, now in zip(before, given, strict=True)):
        return None
    return "The scores are right, but you changed what you were given: work on `image.copy()`."


def _curve(model, start, end, drawn, steps):
    rank = (-drawn).ravel().argsort().argsort().reshape(drawn.shape)
    gone = [rank < step * drawn.size // steps for step in range(steps + 1)]
    return np.array([model(np.where(now, end, start)) for now in gone])


@deletion.mistake(
    "You blurred the lowest places of the map first. If the map is right nothing happens for long: "
    "sort from the highest down."
)
def _lowest_first(model, image, blurred, drawn, steps):
    return _curve(model, image, blurred, -drawn, steps)


@deletion.mistake(
    "That is insertion: you began with the blurred image, and brought the marked places back."
)
def _insertion(model, image, blurred, drawn, steps):
    return _curve(model, blurred, image, drawn, steps)


@deletion.mistake(
    "You began after the first step. The score of the whole image belongs to the curve: without it "
    "nobody sees what fell."
)
def _no_start(model, image, blurred, drawn, steps):
    return _curve(model, image, blurred, drawn, steps)[1:]


@deletion.mistake(
    "Your steps are equal in the map's values, so that some blur many pixels and others hardly "
    "any. Every step blurs as many pixels as the next: it is the map's order that counts."
)
def _by_value(model, image, blurred, drawn, steps):
    limits = np.linspace(drawn.max(), drawn.min(), steps + 1)[1:]
    gone = [np.zeros(drawn.shape, bool), *(drawn >= limit for limit in limits)]
    return np.array([model(np.where(now, blurred, image)) for now in gone])


@deletion.mistake(
    "In each step you blurred only that step's pixels, and the others came back. What is blurred "
    "stays so."
)
def _one_band(model, image, blurred, drawn, steps):
    rank = (-drawn).ravel().argsort().argsort().reshape(drawn.shape)
    edges = [step * drawn.size // steps for step in range(steps + 1)]
    bands = [(rank >= low) & (rank < high) for low, high in zip([0, *edges], edges, strict=False)]
    return np.array([model(np.where(band, blurred, image)) for band in bands])


@deletion.mistake(
    "You sorted once, which tells which pixel comes first, second, …; you need each pixel's rank. "
    "Sort the result once more: `.argsort().argsort()`."
)
def _no_rank(model, image, blurred, drawn, steps):
    order = (-drawn).ravel().argsort().reshape(drawn.shape)
    gone = [order < step * drawn.size // steps for step in range(steps + 1)]
    return np.array([model(np.where(now, blurred, image)) for now in gone])
