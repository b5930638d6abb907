"""Explanations: where in the image a label's score comes from.

A class activation map weighs the feature maps of the last convolution by what they do to the logit
of one label. All maps of an image share its features, so these are computed once; the small head is
then asked about every label in one batch.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from sklearn.metrics import average_precision_score
from torch.nn.functional import interpolate

from cxrlib.hierarchy import paper_hierarchy

METHODS = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "hirescam": HiResCAM,
    "layercam": LayerCAM,
    "eigencam": EigenCAM,
}
"""pytorch-grad-cam's methods that make sense here. Eigen-CAM is the same map for every label."""


@dataclass(frozen=True)
class Maps:
    """What ``explain`` returns, each map from 0 to 1.

    ``features`` [B, L, h, w], at the resolution of the feature maps; ``images`` [B, L, H, W], the
    same enlarged to the images'; ``labels``, the names of the L maps.
    """

    features: torch.Tensor
    images: torch.Tensor
    labels: tuple[str, ...]

    def __getitem__(self, label):
        """The maps of one label [B, H, W]."""
        return self.images[:, self.labels.index(label)]


def explain(model, images, labels=None, method="gradcam", names=None):
    """Class activation maps of a batch of images, for many labels at the price of one.

    Parameters
    ----------
    model : ChestNet, in any mode; it is left in the mode it was in, without gradients.
    images : float [B, 1, H, W], 0 … 1.
    labels : names of the labels to explain; by default all.
    method : "gradcam" (Selvaraju et al. 2017), "gradcam++" (Chattopadhyay et al. 2018), "hirescam"
        (Draelos & Carin 2020), "layercam" (Jiang et al. 2021) or "eigencam" (Muhammad & Yeasin
        2020), on the head's convolution, as in the paper.
    names : the names of the model's outputs in order; by default the paper's 21.

    Returns
    -------
    Maps. A map is 0 everywhere where nothing speaks for the label.

    Raises
    ------
    ValueError
        An unknown method or label, images of another shape or range, or names that do not fit the
        model.

    Examples
    --------
    >>> from cxrlib import models
    >>> maps = explain(models.build("tiny"), torch.rand(2, 1, 96, 96), labels=["Edema"])
    >>> maps.features.shape, maps.images.shape
    (torch.Size([2, 1, 6, 6]), torch.Size([2, 1, 96, 96]))
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    check_images(images)
    names = tuple(paper_hierarchy().labels if names is None else names)
    outputs = model.head.logits.out_features
    if len(names) != outputs:
        raise ValueError(f"{len(names)} names for a model with {outputs} outputs.")
    labels = names if labels is None else tuple(labels)
    unknown = [label for label in labels if label not in names]
    if unknown or not labels:
        raise ValueError(f"unknown label {unknown[:1] or ''}: choose from {', '.join(names)}.")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # Also where the caller has switched gradients off for good.
        with torch.inference_mode(False), torch.no_grad():
            features = model.features(images.clone())
        small = torch.stack([_maps(model, one, labels, names, METHODS[method]) for one in features])
    finally:
        for module, mode in modes:
            module.training = mode
        model.zero_grad(set_to_none=True)
    large = interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)
    return Maps(small, large, labels)


def _maps(model, features, labels, names, method):
    """Maps [L, h, w] of one image with features [C, h, w]."""
    targets = [ClassifierOutputTarget(names.index(label)) for label in labels]
    batch = features[None].expand(len(labels), -1, -1, -1)
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        method(model=model.head, target_layers=[model.head.conv]) as cam,
    ):
        return torch.from_numpy(cam(input_tensor=batch, targets=targets))


# --- Does the map lie on the finding? -------------------------------------------------------------


def localisation(maps, masks, threshold=0.5):
    """How well maps point at what is known to be there.

    Parameters
    ----------
    maps : float [N, H, W], 0 … 1, of one label on N images that show it.
    masks : bool [N, H, W], where it is; every mask holds at least one pixel.
    threshold : what of a map is called "there" for the IoU; a number chosen on other images, see
        ``best_threshold``.

    Returns
    -------
    DataFrame [N]: ``hit``, whether the map's highest point lies in the mask (pointing game; where
    several points are highest, the share of them that does); ``iou``, intersection over union;
    ``auprc``, the area under the precision-recall curve over the pixels (average precision); and
    ``chance``, the mask's share of the image, which is what a random point hits and, in the long
    run, the AUPRC of a random map.

    References
    ----------
    Zhang et al. 2018 (pointing game); Arun et al. 2021 (AUPRC of saliency maps).
    """
    maps, masks = _check_masks(maps, masks)
    rows = []
    for values, inside in zip(maps, masks, strict=True):
        there = values > threshold
        rows.append(
            {
                "hit": inside[values == values.max()].mean(),
                "iou": (there & inside).sum() / (there | inside).sum(),
                "auprc": average_precision_score(inside.ravel(), values.ravel()),
                "chance": inside.mean(),
            }
        )
    return pd.DataFrame(rows)


THRESHOLDS = tuple(np.linspace(0.05, 0.95, 19).round(2))


def best_threshold(maps, masks, choices=THRESHOLDS):
    """The threshold with the highest mean IoU; for maps and masks as in ``localisation``."""
    maps, masks = _check_masks(maps, masks)
    means = []
    for threshold in choices:
        there = maps > threshold
        overlap = (there & masks).sum(axis=(1, 2)) / (there | masks).sum(axis=(1, 2))
        means.append(overlap.mean())
    return float(choices[int(np.argmax(means))])


def blind_map(maps):
    """The mean map [H, W] of a label's maps [N, H, W], from 0 to 1.

    It knows where a finding usually is, and nothing of the image at hand: only a map that points
    better than this one has seen something.
    """
    mean = np.asarray(maps, dtype=float).mean(axis=0)
    return (mean - mean.min()) / max(np.ptp(mean), 1e-12)


def _check_masks(maps, masks):
    maps, masks = np.asarray(maps, dtype=float), np.asarray(masks)
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and masks {masks.shape}: expected the same [N, H, W].")
    if masks.dtype != bool:
        raise ValueError(f"masks of type {masks.dtype}: expected bool.")
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if len(empty):
        raise ValueError(
            f"mask {empty[0]} is empty: leave out images on which the finding is not to be seen."
        )
    return maps, masks


def check_images(images):
    """Raise ``ValueError`` unless images are float [B, 1, H, W] from 0 to 1."""
    if not isinstance(images, torch.Tensor) or images.ndim != 4 or images.shape[1] != 1:
        shape = tuple(getattr(images, "shape", ()))
        raise ValueError(f"images of shape {shape}: expected [B, 1, H, W], one grey channel.")
    if not len(images) or min(images.shape[-2:]) < 32:
        raise ValueError(f"images of shape {tuple(images.shape)}: expected at least 1, 32 × 32.")
    if not images.is_floating_point():
        raise ValueError(f"images of type {images.dtype}: expected float, 0 to 1 (divide by 255).")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images from {low:g} to {high:g}: expected 0 to 1.")
