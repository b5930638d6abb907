"""Exercises of notebook 05, training."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from cxrlib.exercises.core import difference, exercise


@exercise(
    "05",
    1,
    "Which epoch's weights are kept?",
    minutes=3,
    hints=(
        "The weights are the same; the validation loss by which one chooses among them is not.",
        "`bce.argmin()`, `(bce + penalty).argmin()` and `auroc.argmax()`, each + 1.",
    ),
)
def kept_epochs(bce, penalty, auroc):
    """What the published penalty can change, at the same learning rates: which weights are kept.

    Trained from the same seed, flat BCE and the published step loss pass through the same weights
    in every epoch. But the step's validation loss is BCE plus penalty.

    bce, penalty, auroc: arrays [E], of the validation images after each epoch.
    Returns a dict of three whole numbers, epochs counted from 1, as in the figures: "flat" and
    "step", the epoch with the lowest validation loss of each of the two; and "auroc", the one with
    the highest AUROC. With bce [0.5, 0.3, 0.4], penalty [0.1, 0.3, 0.1] and auroc [0.7, 0.6, 0.8]
    it is {"flat": 2, "step": 3, "auroc": 3}.
    """
    lowest = {"flat": bce.argmin() + 1, "step": (bce + penalty).argmin() + 1}
    return {**lowest, "auroc": auroc.argmax() + 1}


@kept_epochs.inputs
def _draw_curves(rng):
    for count in (6, 20):
        flat, step, least, best = rng.permutation(count)[:4]
        bce, penalty = 0.5 + 0.3 * rng.random(count), 0.1 + 0.2 * rng.random(count)
        auroc = 0.7 + 0.1 * rng.random(count)
        bce[[flat, step, least]] = 0.40, 0.42, 0.85
        penalty[[flat, step, least]] = 0.30, 0.06, 0.01
        auroc[best] = 0.9
        yield bce, penalty, auroc


@kept_epochs.mistake(
    "The two pass through the same weights, but they do not choose alike: the penalty is part of "
    "the loss that is read."
)
def _chosen_alike(bce, penalty, auroc):
    flat = bce.argmin() + 1
    return {"flat": flat, "step": flat, "auroc": auroc.argmax() + 1}


@kept_epochs.mistake(
    "You chose the step's epoch by the penalty alone. The published loss is the sum of BCE and "
    "penalty."
)
def _penalty_alone(bce, penalty, auroc):
    lowest = {"flat": bce.argmin() + 1, "step": penalty.argmin() + 1}
    return {**lowest, "auroc": auroc.argmax() + 1}


@kept_epochs.mistake("You chose the lowest AUROC. A loss is to be low, an AUROC high.")
def _lowest_auroc(bce, penalty, auroc):
    lowest = {"flat": bce.argmin() + 1, "step": (bce + penalty).argmin() + 1}
    return {**lowest, "auroc": auroc.argmin() + 1}


@kept_epochs.mistake(
    "The right epochs, but counted from 0, as `argmin` does. The first epoch is 1, here as in the "
    "figures."
)
def _from_zero(bce, penalty, auroc):
    lowest = {"flat": bce.argmin(), "step": (bce + penalty).argmin()}
    return {**lowest, "auroc": auroc.argmax()}


@kept_epochs.mistake(
    "These are the best losses and the best AUROC themselves. Asked is *when* they were reached: "
    "the epochs, as `argmin` and `argmax` find them."
)
def _values(bce, penalty, auroc):
    return {"flat": bce.min(), "step": (bce + penalty).min(), "auroc": auroc.max()}


@kept_epochs.mistake(
    "Those are the last weights. Training ends where the epochs do, and that need not be where the "
    "model is best."
)
def _the_last(bce, penalty, auroc):
    return dict.fromkeys(("flat", "step", "auroc"), len(bce))


@exercise(
    "05",
    2,
    "Even grey levels",
    minutes=6,
    hints=(
        "Take one pixel, of 80. How many of the image's pixels are 80 or less?",
        "`(image.ravel() <= pixel).mean()` for every pixel; or, for all at once, "
        '`np.searchsorted(np.sort(image.ravel()), image, side="right") / image.size`.',
    ),
)
def even_grey(image):
    """Replace every grey level by its rank within the image, as a share of the pixels.

    image: an array [H, W] of whole numbers from 0 to 255.
    Returns an array [H, W]: for every pixel, the share of the image's pixels that are no brighter
    than it, itself among them. Equal pixels stay equal. [[10, 10], [200, 30]] becomes
    [[0.5, 0.5], [1, 0.75]]. So it does at another hospital, whose tone curve makes of the image
    [[5, 5], [90, 80]].
    """
    return np.searchsorted(np.sort(image.ravel()), image, side="right") / image.size


@even_grey.inputs
def _draw_images(rng):
    for shape in ((2, 3), (9, 12)):
        image = rng.integers(20, 90, shape)
        image[0, 0], image[0, 1], image[1, 0] = 210, 95, 95  # one is brightest, two are equal
        image[1, 1] = 0  # and one is black
        yield (image,)
        yield (np.round(255 * (image / 255) ** 0.5).astype(int),)


@even_grey.judged_by
def _is_even(answer, image):
    """As the solution; and if equal pixels have got different ranks, say so in any order."""
    wrong = even_grey.compare(answer, (image,))
    if wrong is None or not isinstance(answer, np.ndarray) or answer.shape != image.shape:
        return wrong
    for level in np.unique(image):
        ranks = answer[image == level]
        low, high = ranks.min(), ranks.max()
        if not np.isclose(low, high):
            return (
                f"Pixels of one grey, {level}, have become {low:.3g} and {high:.3g}: equal pixels "
                f"are to stay equal.\n{wrong}"
            )
    return wrong


@even_grey.mistake(
    "You stretched: the darkest pixel to 0, the brightest to 1. A bent tone curve stays bent, and "
    "one bright letter decides for all. Ranks feel neither."
)
def _stretched(image):
    return (image - image.min()) / (image.max() - image.min())


@even_grey.mistake(
    "You counted the pixels that are darker. Those that are as bright as the pixel, itself among "
    "them, count too."
)
def _darker(image):
    return np.searchsorted(np.sort(image.ravel()), image, side="left") / image.size


@even_grey.mistake(
    "You ranked within each row. A row through the lungs and one through the shoulders would be "
    "spread alike; the rank is meant within the image."
)
def _by_row(image):
    return (image[:, None, :] <= image[:, :, None]).mean(axis=2)


@even_grey.mistake(
    "Equal pixels have got different ranks, in the order in which they stand. One grey level is to "
    "stay one."
)
def _torn_apart(image):
    order = image.ravel().argsort(kind="stable").argsort(kind="stable")
    return (order.reshape(image.shape) + 1) / image.size


@even_grey.mistake(
    "That is the rank among the grey *levels*, each counted once. Count pixels: a level on which "
    "half of the image lies must take up half of the scale."
)
def _among_levels(image):
    levels = np.unique(image)
    return (np.searchsorted(levels, image) + 1) / len(levels)


@even_grey.mistake(
    "You scaled by mean and standard deviation. That undoes another exposure, but not another tone "
    "curve, and gives no shares."
)
def _standardised(image):
    return (image - image.mean()) / image.std()


@exercise(
    "05",
    3,
    "The loop, by hand",
    minutes=9,
    hints=(
        "Predict, compare, follow the gradient, repeat. Which weights does the second batch meet?",
        "In the loop: `weights = weights.detach().requires_grad_()`, then the loss, then "
        "`(gradient,) = torch.autograd.grad(loss, weights)`, then "
        "`weights = weights - rate * gradient`.",
    ),
)
def train_linear(weights, images, targets, rate):
    """Train a linear model by hand: one step of plain gradient descent for every batch, in order.

    weights: a tensor [D, L], where to start. An image's L logits are `image @ weights`.
    images: a tensor [S, B, D], S batches of B images. targets: a tensor [S, B, L] of 0 and 1.
    rate: the learning rate, a number.
    Returns the weights after S steps, a tensor [D, L]. The loss of a batch is BCE, its mean over
    images and labels: `torch.nn.functional.binary_cross_entropy_with_logits`. No momentum, no
    weight decay, no Adam. With weights [[0.]], two batches of one image [1.] with the target [1.],
    and a rate of 1, the first step leads to 0.5, the second to 0.8775.
    """
    for batch, wanted in zip(images, targets, strict=True):
        weights = weights.detach().requires_grad_()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(batch @ weights, wanted)
        (gradient,) = torch.autograd.grad(loss, weights)
        weights = weights - rate * gradient
    return weights.detach()


@train_linear.inputs
def _draw_batches(rng):
    for steps, batch, inputs, labels in ((1, 3, 2, 2), (2, 3, 2, 1), (6, 4, 3, 2)):
        weights = torch.tensor(0.3 * rng.normal(size=(inputs, labels)), dtype=torch.float32)
        images = torch.tensor(rng.random((steps, batch, inputs)) + 0.2, dtype=torch.float32)
        targets = torch.tensor(rng.random((steps, batch, labels)) < 0.5, dtype=torch.float32)
        targets[:2] = 1
        yield weights, images, targets, 0.5


@train_linear.judged_by
def _is_trained(answer, weights, images, targets, rate):
    """As the solution; and if a single step has become too long, say how much."""
    arguments = weights, images, targets, rate
    wrong = train_linear.compare(answer, arguments)
    if wrong is None or len(images) > 1 or not isinstance(answer, torch.Tensor):
        return wrong
    step = train_linear.solution(*arguments) - weights
    for factor, what in (
        (targets.numel(), "You summed the loss over images and labels"),
        (targets.shape[2], "You summed the loss over the labels, as a mean over images alone does"),
        (targets.shape[1], "You summed the loss over the images, as a mean over labels alone does"),
    ):
        if not difference(answer, weights + factor * step):
            return (
                f"With one batch of {targets.shape[1]} images and {targets.shape[2]} labels, your "
                f"step is {factor} times as long. {what}. Take the mean over both, or the learning "
                f"rate means something else at each size.\n{wrong}"
            )
    return wrong


def _gradients(weights, images, targets):
    """The gradient of one batch's loss."""
    weights = weights.detach().requires_grad_()
    loss = binary_cross_entropy_with_logits(images @ weights, targets)
    return torch.autograd.grad(loss, weights)[0]


@train_linear.mistake(
    "Uphill: the gradient points to where the loss grows. A step goes the other way: subtract it."
)
def _uphill(weights, images, targets, rate):
    for batch, wanted in zip(images, targets, strict=True):
        weights = weights + rate * _gradients(weights, batch, wanted)
    return weights


@train_linear.mistake(
    "Gradients pile up: PyTorch adds each new one to those before, so your second step follows the "
    "first batch, too. Clear it at every step, as `zero_grad` does."
)
def _never_cleared(weights, images, targets, rate):
    total = torch.zeros_like(weights)
    for batch, wanted in zip(images, targets, strict=True):
        total = total + _gradients(weights, batch, wanted)
        weights = weights - rate * total
    return weights


@train_linear.mistake(
    "All your gradients were taken at the weights of the start. Each batch is to be predicted with "
    "the weights that the batch before has left."
)
def _from_the_start(weights, images, targets, rate):
    steps = [_gradients(weights, *one) for one in zip(images, targets, strict=True)]
    return weights - rate * sum(steps)


@train_linear.mistake(
    "You put all batches together and made a single step. A step for every batch is asked, each "
    "from where the one before has led."
)
def _as_one(weights, images, targets, rate):
    return weights - rate * _gradients(weights, images, targets)


@train_linear.mistake(
    "That is Adam: it divides every gradient by its usual size, so that its first step is as long "
    "as the learning rate in every weight. Asked is the plain step, rate × gradient."
)
def _adam(weights, images, targets, rate):
    weights = weights.clone().requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=rate)
    for batch, wanted in zip(images, targets, strict=True):
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(batch @ weights, wanted).backward()
        optimizer.step()
    return weights.detach()


@train_linear.mistake(
    "Only one step, with the first batch. Is your `return` inside the loop? Every batch is to make "
    "a step."
)
def _one_step(weights, images, targets, rate):
    return weights - rate * _gradients(weights, images[0], targets[0])


@exercise(
    "05",
    4,
    "Chance that does not depend on who loads",
    minutes=5,
    hints=(
        "What must a number depend on, and on what must it not? Its place in the batch, say?",
        "A generator of its own for every row, `np.random.default_rng(list_of_three)`, and from it "
        "one number, `.random()`.",
    ),
)
def chances(asked):
    """Random numbers for augmentation, the same whether one machine loads the images or eight.

    asked: an array [N, 3] of whole numbers from 0 to 999, each row a seed, an epoch and an image.
    Rows come in any order, and the same row may come several times.
    Returns an array [N] of numbers from 0 to 1, one for every row. Equal rows get equal numbers,
    and different rows different ones: the same image in another epoch, another image in the same
    epoch, and both with another seed. A row's number is the same in every call, whichever other
    rows are asked for. The numbers are to look random: about half lie below 0.5. With the rows
    [0, 4, 7], [0, 5, 7] and [0, 4, 7], the first and the last number are equal.
    """
    return np.array([np.random.default_rng(row).random() for row in asked.tolist()])


@chances.inputs
def _draw_rows(rng):
    for count, limits in ((12, (1000, 1000, 1000)), (300, (3, 20, 200))):
        rows = rng.integers(0, limits, (count, 3))
        first = rows[0] // 2 + [1, 0, 0]  # a seed that is not 0
        for place, other in enumerate(([0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, -1], [1, -1, 0])):
            rows[place + 1] = np.abs(first + other)
        rows[0], rows[-1] = first, first
        yield (rows,)


@chances.judged_by
def _belong_to_their_rows(answer, asked):
    try:
        found = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (len(asked),):
        return f"Expected an array of {len(asked)} numbers, one for every row."
    if not ((found >= 0) & (found <= 1)).all():
        return "Some of your numbers lie outside 0 … 1."
    seen, of_number = {}, {}
    for row, number in zip(map(tuple, asked.tolist()), found.tolist(), strict=True):
        told = "seed {}, epoch {}, image {}".format(*row)
        if seen.setdefault(row, number) != number:
            return f"The same row, {told}, got {seen[row]:.4f} once and {number:.4f} another time."
        if of_number.setdefault(number, row) != row:
            other = "seed {}, epoch {}, image {}".format(*of_number[number])
            return f"Two rows share the number {number:.4f}: {other}; and {told}."
    low = (found < 0.5).mean()
    if len(found) > 100 and not 0.3 < low < 0.7:
        return f"These do not look random: {low:.0%} of {len(found)} numbers lie below 0.5."
    return None


@chances.behaviour
def _whoever_loads(answer, asked):
    """The same numbers again, in another order, in two halves, and alone."""
    count = len(asked)
    again = {"asked for once more": [range(count)], "in another order": [range(count)[::-1]]}
    again["in a batch half as large"] = [range(count // 2), range(count // 2, count)]
    again["alone"] = [[place] for place in range(min(count, 20))]
    first = np.asarray(answer(asked.copy()), dtype=float)
    for how, batches in again.items():
        for batch in map(list, batches):
            found = np.asarray(answer(asked[batch]), dtype=float)
            if found.shape != (len(batch),):
                return f"Asked for {len(batch)} of the rows, you did not give {len(batch)} numbers."
            if (wrong := np.abs(found - first[batch]) > 1e-9).any():
                place = int(wrong.argmax())
                return (
                    "The row of seed {}, epoch {}, image {}".format(*asked[batch[place]])
                    + f" gets {first[batch[place]]:.4f} among {count} rows, but {how} "
                    f"{found[place]:.4f}. Two machines that share the images would not agree."
                )
    return None


@chances.mistake(
    "One generator for all rows: a number then depends on the row's place. Load the images in "
    "another order, or on eight machines, and each is turned otherwise."
)
def _by_place(asked):
    return np.random.default_rng(0).random(len(asked))


@chances.mistake(
    "One generator, started with the first row's seed, for all rows: what an image gets depends on "
    "which images came before it."
)
def _by_seed_and_place(asked):
    return np.random.default_rng(int(asked[0, 0])).random(len(asked))


@chances.mistake(
    "Your number depends on the image alone: in every epoch the image would be turned in the same "
    "way, and the model see one copy of it all along."
)
def _same_every_epoch(asked):
    return np.array([np.random.default_rng(int(image)).random() for image in asked[:, 2]])


@chances.mistake(
    "You added the three up. Image 3 in epoch 4 then gets what image 4 gets in epoch 3; keep the "
    "three apart."
)
def _added_up(asked):
    return np.array([np.random.default_rng(int(total)).random() for total in asked.sum(axis=1)])


@chances.mistake(
    "The seed is left out: two runs with different seeds would still see the same copies of every "
    "image."
)
def _no_seed(asked):
    return np.array([np.random.default_rng(row).random() for row in asked[:, 1:].tolist()])
