"""Explanations: where in the image a label's score comes from.

A class activation map weighs the feature maps of the last convolution by what they do to the logit
of one label. All maps of an image share its features, so these are computed once; the small head is
then asked about every label in one batch.
"""

from dataclasses import dataclass

import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
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
