"""Exercises of notebook 07, maps and how they are made."""

import numpy as np
import torch

from cxrlib.exercises.core import exercise


@exercise(
    "07",
    1,
    "A paler twin",
    minutes=3,
    hints=(
        "What does stretching undo, and what not? Try it on paper with three numbers.",
        "Subtracting and dividing: a map times any number looks the same once it is stretched. "
        "Which numbers make it a tenth at most?",
    ),
)
def paler_twin(drawn):
    """Another map, of a tenth of the brightness at most, that looks the same once stretched.

    To stretch a map is to subtract its lowest value, and then to divide by its highest. So
    [[0, 0.3], [0.6, 0]] becomes [[0, 0.5], [1, 0]].

    drawn: an array [h, w]; its lowest value is 0, its highest is 1.
    Returns an array [h, w]. None of its values is negative, or above a tenth of the value of
    ``drawn`` at the same place; and stretched, the two maps are the same.
    """
    return drawn / 10


@paler_twin.inputs
def _draw_maps(rng):
    for side in (2, 6, 12):
        drawn = rng.random((side, side)) ** 2
        drawn -= drawn.min()
        yield (drawn / drawn.max(),)


@paler_twin.judged_by
def _looks_the_same(answer, drawn):
    if not isinstance(answer, np.ndarray | torch.Tensor):
        return "Expected an array: compute with the whole of `drawn`, and return the result."
    twin = np.asarray(answer, dtype=float)
    if twin.shape != drawn.shape:
        return f"Expected the shape {list(drawn.shape)}, got {list(twin.shape)}."
    if not np.isfinite(twin).all():
        return "Some of your values are not finite numbers."
    if (twin < 0).any():
        return f"Your lowest value is {twin.min():.3g}: a map has no negative values."
    if (above := twin > drawn / 10 + 1e-6).any():
        return (
            f"At a place with {drawn[above][0]:.3f} yours has {twin[above][0]:.3f}: more than a "
            "tenth of it."
        )
    if twin.max() == twin.min():
        return "Your map is the same everywhere, so it cannot be stretched: it stays blank."
    gap = np.abs((twin - twin.min()) / (twin.max() - twin.min()) - drawn)
    if gap.max() > 1e-3:
        return f"Stretched, the two maps differ by up to {gap.max():.3f}."
    return None


@paler_twin.mistake("The same map looks the same, of course. The twin has to be paler.")
def _same(drawn):
    return drawn


@paler_twin.mistake(
    "Pale indeed: but a blank map stays blank, since there is nothing to stretch. What is left of "
    "a pattern, however faint, is made bright again."
)
def _blank(drawn):
    return np.zeros_like(drawn)


@paler_twin.mistake(
    "You cut the map off at a tenth. All that was above is now alike, and no stretching brings it "
    "back."
)
def _cut_off(drawn):
    return np.minimum(drawn, 0.1)


@paler_twin.mistake(
    "A map with something subtracted does look the same once stretched. But yours has negative "
    "values, and the ReLU has none: what else does stretching undo?"
)
def _subtracted(drawn):
    return drawn - 0.9


@paler_twin.mistake(
    "Only the tips above 0.9 are left. Stretched, they are bright, and all the rest is gone."
)
def _tips(drawn):
    return (drawn - 0.9).clip(min=0)


@exercise(
    "07",
    2,
    "How sure must the nodule's place be?",
    minutes=5,
    hints=(
        "The odds of the image are the mean of the odds of its places. What must they add up to?",
        "Together `count * score / (1 - score)`; the others have `(count - 1) * np.exp(rest)` of "
        "it. The logit is the logarithm of what is missing.",
    ),
)
def logit_needed(count, rest, score):
    """The logit that one place needs, so that the image gets a score by log-mean-exp.

    The pointing head: the image's logit is log(1/n Σ exp z_i), its score the sigmoid of that.

    count: n, how many places there are, the one among them.
    rest: the logit of each of the other places, a negative number.
    score: the score that the image is to get, between 0 and 1.
    Returns a number. With 144 places, −4 at the others and a score of 0.5 it is 4.951.
    """
    odds = score / (1 - score)
    return np.log(count * odds - (count - 1) * np.exp(rest))


@logit_needed.inputs
def _draw_places(rng):
    yield 2, -2.0, 0.4
    for count in (36, 144, 576):
        yield count, -3.5 - 2 * rng.random(), 0.3 + 0.6 * rng.random()


def _logarithm(value):
    return np.log(value) if value > 0 else np.nan


@logit_needed.mistake(
    "That is the logit of the score itself. It would do if the highest place spoke for the image; "
    "here its odds are shared out over all places."
)
def _highest(count, rest, score):
    return np.log(score / (1 - score))


@logit_needed.mistake(
    "That is the mean of the logits, which drowns the nodule: hence so huge a number. Log-mean-exp "
    "takes the mean of the odds, exp z."
)
def _mean_of_logits(count, rest, score):
    return count * np.log(score / (1 - score)) - (count - 1) * rest


@logit_needed.mistake(
    "You took the sum of the odds for their mean. Without 1/n many places that deny it would add "
    "up to a yes."
)
def _sum_of_odds(count, rest, score):
    return _logarithm(score / (1 - score) - (count - 1) * np.exp(rest))


@logit_needed.mistake(
    "You compared odds with a probability: exp z is p / (1 − p). Turn the score into odds first."
)
def _no_odds(count, rest, score):
    return _logarithm(count * score - (count - 1) * np.exp(rest))


@logit_needed.mistake(
    "You forgot the other places. However sure they are of “no”, they have odds, too, and give "
    "the image a part of what it needs."
)
def _others_forgotten(count, rest, score):
    return np.log(count * score / (1 - score))


@logit_needed.mistake(
    "You subtracted the odds of `count` others. The place itself is one of `count`, so the others "
    "are one fewer."
)
def _one_too_many(count, rest, score):
    return _logarithm(count * (score / (1 - score) - np.exp(rest)))


@exercise(
    "07",
    3,
    "Grad-CAM of all labels, without a derivative",
    minutes=8,
    hints=(
        "If one place of map k grows by a little, by how much does the mean of the map grow, and "
        "by how much the logit? Is that the same at every place?",
        "The derivative is `weights[l, k] / (h * w)` everywhere, and so is its mean. Weigh the "
        'maps with it, `torch.einsum("lk,khw->lhw", slopes, maps)`, and keep what is positive.',
    ),
)
def all_maps(maps, weights):
    """The Grad-CAM maps of all labels, for a head that takes the mean of each map.

    The head: logit l is Σ_k weights[l, k] · (mean of map k over its h · w places). Grad-CAM weighs
    every map by the mean of its derivative, adds them up, and keeps what is positive. Here the
    derivative can be seen from the formula, and no pass through the network is needed.

    maps: a tensor [K, h, w]. weights: a tensor [L, K].
    Returns a tensor [L, h, w], not stretched. With the one map [[0, 4], [0, 0]] and the weights
    [[1], [−1]] of two labels it is [[0, 1], [0, 0]] for the first, and zeros for the second.
    """
    slopes = weights / maps[0].numel()
    return torch.einsum("lk,khw->lhw", slopes, maps).relu()


@all_maps.inputs
def _draw_features(rng):
    for labels, kinds, height, width in ((2, 2, 2, 2), (21, 16, 6, 6)):
        maps = torch.tensor(rng.normal(size=(kinds, height, width)), dtype=torch.float32).relu()
        weights = torch.tensor(rng.normal(size=(labels, kinds)), dtype=torch.float32)
        weights[:, -1] = 0.5 + weights[:, -1].abs()
        weights[0] = torch.linspace(-1, 2, kinds)
        maps[:, 0, 0], maps[:, 0, 1], maps[:, 1, 0], maps[:, 1, 1] = 0, 1, 0, 0
        maps[0, 0, 0] = maps[-1, 1, 1] = 2  # against label 0, all, nothing, for every label
        yield maps, weights


@all_maps.mistake(
    "What is negative speaks against the label. Grad-CAM asks what speaks for it: keep what is "
    "positive of the sum."
)
def _no_relu(maps, weights):
    return torch.einsum("lk,khw->lhw", weights, maps) / maps[0].numel()


@all_maps.mistake(
    "You weighed by the weights themselves. A single place has only 1/(h · w) of a map's mean, so "
    "that is its derivative's share, too."
)
def _no_places(maps, weights):
    return torch.einsum("lk,khw->lhw", weights, maps).relu()


@all_maps.mistake(
    "You kept what is positive map by map, and then added. So nothing can speak against: the ReLU "
    "is of the sum."
)
def _relu_first(maps, weights):
    return torch.einsum("lk,khw->lhw", weights.relu(), maps.relu()) / maps[0].numel()


@all_maps.mistake(
    "You took the size of the sum. Places that speak against the label would shine like those that "
    "speak for it."
)
def _size(maps, weights):
    return torch.einsum("lk,khw->lhw", weights, maps).abs() / maps[0].numel()


@all_maps.mistake(
    "You divided by the number of maps, K. The mean in this head is over the h · w places."
)
def _mean_of_maps(maps, weights):
    return torch.einsum("lk,khw->lhw", weights, maps).relu() / len(maps)


@all_maps.mistake(
    "These are stretched. Then a faint map looks as strong as any, and in an empty one 0 is "
    "divided by 0: return them as they are."
)
def _stretched(maps, weights):
    found = torch.einsum("lk,khw->lhw", weights, maps).relu()
    return found / found.amax(dim=(1, 2), keepdim=True).clamp(min=1e-7)


@exercise(
    "07",
    4,
    "How far does a place see?",
    minutes=7,
    hints=(
        "Go from the image upwards. After a stride of 2, two neighbours lie 2 pixels apart: how "
        "much farther does a window of 3 reach then?",
        "Start with `field, step = 1, 1`. For each layer `field += (kernel - 1) * step`, and then "
        "`step *= stride`.",
    ),
)
def receptive_field(layers):
    """The width, in pixels, of what one place of the last layer can have looked at.

    layers: a list of (kernel, stride) from the image upwards, of convolutions and poolings: each
    output looks at ``kernel`` neighbouring inputs in a row, and the next output lies ``stride``
    inputs further on.
    Returns a whole number. For [(3, 1), (3, 1)] it is 5, and for [(7, 2), (3, 2), (3, 1)] it is 19.
    """
    field, step = 1, 1
    for kernel, stride in layers:
        field += (kernel - 1) * step
        step *= stride
    return field


@receptive_field.inputs
def _draw_layers(rng):
    yield ([(3, 1), (3, 1)],)
    yield ([(7, 2), (3, 2), (3, 1)],)
    for count in (2, 6):
        more = [(int(rng.integers(1, 6)), int(rng.integers(1, 3))) for _ in range(count)]
        yield ([(5, 2), (3, 1), *more],)


@receptive_field.mistake(
    "That is the place's own square: how far two neighbouring places lie apart. It has looked "
    "farther around than that."
)
def _own_square(layers):
    return int(np.prod([stride for _, stride in layers]))


@receptive_field.mistake(
    "You counted every window in pixels. After a stride, neighbours lie farther apart, so the "
    "same window reaches farther."
)
def _no_strides(layers):
    return 1 + sum(kernel - 1 for kernel, _ in layers)


@receptive_field.mistake(
    "You multiplied the kernels. Windows of neighbouring outputs overlap: two of 3 see 5 pixels, "
    "not 9."
)
def _product(layers):
    return int(np.prod([kernel for kernel, _ in layers]))


@receptive_field.mistake(
    "You added the kernels. Each window adds its own width less one, since the place in its "
    "middle was counted before."
)
def _sum(layers):
    return sum(kernel for kernel, _ in layers)


@receptive_field.mistake(
    "A layer's own stride came too early. Its window is laid on its inputs, which its own stride "
    "has not yet spread: only those of the layers below have."
)
def _stride_first(layers):
    field, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        field += (kernel - 1) * step
    return field


@receptive_field.mistake(
    "You began at the wrong end: the strides that spread a layer's inputs are those between it "
    "and the image."
)
def _wrong_end(layers):
    field, step = 1, 1
    for kernel, stride in reversed(layers):
        field += (kernel - 1) * step
        step *= stride
    return field
