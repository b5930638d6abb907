"""Maps put to the test: against masks, boxes, chance and models that have forgotten."""

from copy import deepcopy
from numbers import Real

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score
from torch import nn
from torchvision.models.densenet import _DenseBlock
from torchvision.transforms.v2.functional import gaussian_blur

from cxrlib import phantom
from cxrlib.cohort import study_of
from cxrlib.evaluation import checks
from cxrlib.evaluation.checks import EvaluationError
from cxrlib.explanations.maps import LABELS, check_images, find_labels, stages_of
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

MASKS = {"changes": phantom.masks, "lesions": phantom.lesions}
THRESHOLDS = tuple(np.linspace(0.05, 0.95, 19).round(2))


def find_masks(track, paths, size, kind="changes"):
    """Where the findings of some images are known to be.

    Parameters
    ----------
    track : a phantom, whose masks are drawn again, or NIH, whose boxes become masks. Of CheXpert's
        findings the place is not known.
    paths : of images of the track, as in its table.
    size : of the masks, in pixels, 1 … 4,096.
    kind : of a phantom's masks: "changes", every pixel that a finding changes, displaced organs
        included; or "lesions", where it is, as a radiologist would outline it. NIH has boxes only.

    Returns
    -------
    dict : label → (rows, masks), for observations and groups; ``rows`` int [n], the positions in
    ``paths`` of the images that show it, ``masks`` bool [n, size, size], none of them empty. The
    mask of a group is all of its findings' masks together; on NIH, that of the boxed ones.
    """
    checks.number("size", size, 1, 4096)
    if kind not in tuple(MASKS):
        raise EvaluationError(f"kind={kind!r}: choose one of {', '.join(MASKS)}.")
    paths = list(paths)
    for path in set(paths) - set(track.table["path"]):
        raise EvaluationError(f"{path!r} is no image of the track.")
    if track.name == "phantom":
        draw = delayed(_phantom_masks)
        found = Parallel(n_jobs=-1)(draw(track.folder, path, size, kind) for path in paths)
    elif track.name == "nih":
        by_path = dict(list(track.boxes.groupby("path")))
        found = [_box_masks(by_path.get(path), size) for path in paths]
    else:
        raise ValueError(
            f"track {track.name!r}: where its findings are is not known. Use the phantom or NIH."
        )
    hierarchy, masks = paper_hierarchy(), {}
    for label in hierarchy.labels:
        below = [label, *hierarchy.descendants(label)]
        joint = [np.any([own[name] for name in below if name in own], axis=0) for own in found]
        rows = [row for row, mask in enumerate(joint) if mask.any()]
        if rows:
            masks[label] = np.array(rows), np.stack([joint[row] for row in rows])
    return masks


def _phantom_masks(folder, path, size, kind):
    view = "lateral" if path.endswith("lateral.jpg") else "frontal"
    found = MASKS[kind](study_of(folder, path), size, view)
    return {name: mask for name, mask in found.items() if name in OBSERVATIONS}


def _box_masks(boxes, size):
    """observation → bool [size, size], from boxes in fractions of the image."""
    masks = {}
    for box in () if boxes is None else boxes.itertuples():
        mask = masks.setdefault(box.observation, np.zeros((size, size), dtype=bool))
        left, top = int(box.x * size), int(box.y * size)
        right, bottom = np.ceil([(box.x + box.width) * size, (box.y + box.height) * size])
        mask[top : int(bottom), left : int(right)] = True
    return masks


def localisation(maps, masks, threshold=0.5):
    """How well maps point at what is known to be there.

    Parameters
    ----------
    maps : float [N, H, W], 0 … 1, of one label on N images that show it.
    masks : bool [N, H, W], where it is; every mask holds at least one pixel.
    threshold : what of a map is called "there" for the IoU; a number, 0 … 1, chosen on other
        images, see ``best_threshold``.

    Returns
    -------
    DataFrame [N]: ``hit``, whether the map's highest point lies in the mask (pointing game, Zhang
    et al. 2018; where several points are highest, the share of them that does); ``iou``,
    intersection over union; ``auprc``, the area under the precision-recall curve over the pixels
    (average precision; Arun et al. 2021); ``rank``, of as many highest pixels as the mask has, the
    share that lies in it, and ``mass``, the share of the map's sum that does (relevance rank and
    mass accuracy, Arras et al. 2022; 0 of an empty map); and ``chance``, the mask's share of the
    image: what a random point hits and, about, ``auprc``, ``rank`` and ``mass`` of a random map.
    """
    checks.number("threshold", threshold, 0, 1, Real)
    maps, masks = _check_masks(maps, masks)
    rows = []
    for values, inside in zip(maps, masks, strict=True):
        there = values > threshold
        rows.append(
            {
                "hit": inside[values == values.max()].mean(),
                "iou": (there & inside).sum() / (there | inside).sum(),
                "auprc": average_precision_score(inside.ravel(), values.ravel()),
                "rank": _of_the_highest(values, inside),
                "mass": values[inside].sum() / (values.sum() or 1),
                "chance": inside.mean(),
            }
        )
    return pd.DataFrame(rows)


def _of_the_highest(values, inside):
    """The share of the ``inside.sum()`` highest values that lies inside; ties count in part."""
    count = inside.sum()
    least = np.partition(values.ravel(), -count)[-count]
    above, tied = values > least, values == least
    return (inside[above].sum() + (count - above.sum()) * inside[tied].mean()) / count


def best_threshold(maps, masks, choices=THRESHOLDS):
    """The threshold with the highest mean IoU; for maps and masks as in ``localisation``."""
    maps, masks = _check_masks(maps, masks)
    if not len(choices):
        raise EvaluationError("choices: expected at least one threshold.")
    means = []
    for threshold in choices:
        checks.number("threshold", threshold, 0, 1, Real)
        there = maps > threshold
        overlap = (there & masks).sum(axis=(1, 2)) / (there | masks).sum(axis=(1, 2))
        means.append(overlap.mean())
    return float(choices[int(np.argmax(means))])


def blind_map(maps):
    """The mean map [H, W] of a label's maps [N, H, W], from 0 to 1.

    It knows where a finding usually is, and nothing of the image at hand: only a map that points
    better than this one has seen something.
    """
    mean = _check_maps(maps)[0].mean(axis=0)
    return (mean - mean.min()) / max(np.ptp(mean), 1e-12)


def _check_maps(*several, axes=(3,), low=-np.inf, high=np.inf):
    """Maps as finite floats [N, H, W] of one shape, from ``low`` to ``high`` but for rounding."""
    several = [checks.floats(maps, "maps") for maps in several]
    shapes = {maps.shape for maps in several}
    if len(shapes) > 1 or several[0].ndim not in axes or not several[0].size:
        listed = " and ".join(str(maps.shape) for maps in several)
        raise EvaluationError(f"maps {listed}: expected the same [N, H, W], at least 1.")
    for maps in several:
        if not (np.isfinite(maps) & (maps >= low - 1e-5) & (maps <= high + 1e-5)).all():
            raise EvaluationError(f"maps: expected finite numbers from {low} to {high}, no NaN.")
    return several


def _check_masks(maps, masks):
    (maps,), masks = _check_maps(maps, low=0, high=1), np.asarray(masks)
    if maps.shape != masks.shape:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape}: expected the same [N, H, W].")
    if masks.dtype != bool:
        raise ValueError(f"masks of type {masks.dtype}: expected bool.")
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if len(empty):
        raise ValueError(f"mask {empty[0]} is empty: leave out images without the finding.")
    return maps, masks


def randomised(model, seed=0):
    """Copies of a model that have forgotten more and more, from its output down.

    The randomisation test of Adebayo et al. 2018: a map that stays the same when what the model
    has learnt is replaced by chance does not explain the model.

    Parameters
    ----------
    model : ChestNet; it is left as it is.
    seed : of the new weights, at least 0.

    Yields
    ------
    (stage, model) : what was drawn anew last, and the copy, in evaluation mode: first "logits"
        alone, then "dense" too, where the head has it, then "conv", then "block 3" and so on down
        to "stem", where nothing is left of the training.
    """
    checks.number("seed", seed, 0)
    copy = deepcopy(model).eval()
    stages = {"stem": []}
    for stage in stages_of(copy.features):
        if isinstance(stage, _DenseBlock):
            stages[f"block {len(stages)}"] = []
        stages[list(stages)[-1]].append(stage)
    head = copy.head
    stages["conv"] = [head.conv, head.norm]
    stages |= {name: [getattr(head, name)] for name in ("dense", "logits") if hasattr(head, name)}
    for number, name in enumerate(reversed(stages)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            for module in nn.ModuleList(stages[name]).modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        yield name, deepcopy(copy)


def rank_correlation(one, other):
    """Spearman's correlation of maps [..., H, W] with others, map by map: float [...].

    0 where a map is the same everywhere: it says nothing that could agree.
    """
    one, other = _check_maps(one, other, axes=range(2, 9))
    ranks = [rankdata(m.reshape(*m.shape[:-2], -1), axis=-1) for m in (one, other)]
    a, b = (r - r.mean(axis=-1, keepdims=True) for r in ranks)
    both = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    return np.where(both > 0, (a * b).sum(axis=-1) / np.where(both > 0, both, 1), 0.0)


@torch.inference_mode()
def deletion_insertion(model, images, maps, label, steps=12, names=None, readout=torch.sigmoid):
    """Scores while the image is blurred away, or comes back, in the order that a map gives.

    *Deletion* blurs the highest places of the map first: the sooner the score falls, the better the
    map. *Insertion* starts from the blurred image and brings the highest places back first: the
    sooner the score rises, the better (Petsiuk et al. 2018).

    Parameters
    ----------
    model : ChestNet.
    images : float32 [B, 1, H, W], 0 … 1.
    maps : float [B, H, W], of any order; ties are broken at random.
    label : whose score is followed.
    steps : in how many equal steps the image goes or comes, 1 … 1,000.
    names : the names of the model's outputs; by default the paper's 21.
    readout : from logits to probabilities, see ``training.make_readout``.

    Returns
    -------
    deletion, insertion : float arrays [B, steps + 1], the score with 0, 1, … of the steps done.
    """
    check_images(images)
    checks.number("steps", steps, 1, 1000)
    (maps,) = _check_maps(maps)
    if maps.shape != (len(images), *images.shape[-2:]):
        raise ValueError(f"maps {maps.shape} for images {tuple(images.shape)}: expected [B, H, W].")
    names = tuple(LABELS if names is None else names)
    (place,) = find_labels([label], names)
    outputs = model.eval()(images[:1]).shape[1]
    if outputs != len(names):
        raise EvaluationError(f"{len(names)} names for a model with {outputs} outputs.")
    flat = maps.reshape(len(maps), -1)
    chance = np.broadcast_to(np.random.default_rng(0).random(flat.shape[1]), flat.shape)
    rank = torch.from_numpy(np.argsort(np.lexsort((chance, -flat)), axis=1)).reshape(images.shape)
    kernel = min(images.shape[-2:]) // 4 * 2 + 1
    blurred = gaussian_blur(images, [kernel, kernel], [images.shape[-1] / 10] * 2)
    curves = []
    for start, end in ((images, blurred), (blurred, images)):
        scores = []
        for step in range(steps + 1):
            done = rank < step / steps * rank[0].numel()
            scores.append(readout(model(torch.where(done, end, start)))[:, place])
        curves.append(torch.stack(scores, dim=1).numpy())
    return tuple(curves)


def smooth_fields(count, size, seed=0, width=1 / 8):
    """Random maps [count, size, size], 0 … 1: as smooth as heat maps, they know nothing of images.

    White noise, blurred by a Gaussian of ``width`` (its standard deviation, as a share of the
    side). Only a map whose order of pixels does better than theirs knows something. Scattered
    pixels would be no fair comparison, since to a network they are something else than a region.
    """
    checks.number("seed", seed, 0)
    checks.number("count", count, 1)
    checks.number("size", size, 1, 4096)
    checks.share("width", width)
    noise = torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(seed))
    kernel = min(2 * round(3 * width * size) + 1, 2 * size - 1)
    fields = gaussian_blur(noise, [kernel, kernel], [max(width * size, 1e-3)] * 2)[:, 0]
    low, high = (f(fields, dim=(1, 2), keepdim=True) for f in (torch.amin, torch.amax))
    return ((fields - low) / (high - low).clamp(min=1e-12)).numpy()


def covered(groups, children):
    """The share of each child's map that lies in its group's: Σ min(group, child) / Σ child.

    For maps [N, H, W], 0 … 1: float [N], NaN where the child's map is empty.
    """
    groups, children = _check_maps(groups, children, low=0, high=1)
    mass = children.sum(axis=(1, 2))
    both = np.minimum(groups, children).sum(axis=(1, 2))
    return np.where(mass > 0, both / np.where(mass > 0, mass, 1), np.nan)
