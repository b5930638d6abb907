"""Where in the image a label's score comes from.

A class activation map weighs the feature maps of the last convolution by what they do to the logit
of one label. All maps of an image share its features, so these are computed once; the small head is
then asked about every label in one batch. A ``models.PointingHead`` needs no weighing: each place's
share of the answer falls off on the way.
"""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn.functional import interpolate
from torchvision.models.densenet import _DenseBlock

from cxrlib.hierarchy import paper_hierarchy

LABELS = paper_hierarchy().labels


class OrientedEigenCAM(EigenCAM):
    """Eigen-CAM with a sign. A principal component has none: any map might be turned over.

    It is turned so that it rises with the strength of the feature maps, the sum of their squares.
    """

    def get_cam_image(self, input_tensor, target_layer, target_category, activations, *rest):
        maps = super().get_cam_image(
            input_tensor, target_layer, target_category, activations, *rest
        )
        energy = (activations**2).sum(axis=1)
        centred = energy - energy.mean(axis=(1, 2), keepdims=True)
        sign = np.sign((maps * centred).sum(axis=(1, 2), keepdims=True))
        return maps * np.where(sign == 0, 1, sign)


METHODS = {
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "hirescam": HiResCAM,
    "layercam": LayerCAM,
    "eigencam": OrientedEigenCAM,
}
"""pytorch-grad-cam's methods that make sense here. Eigen-CAM is the same map for every label."""
POINTING = "pointing"
"""The map that a ``models.PointingHead`` answers by."""


@dataclass(frozen=True)
class Maps:
    """What ``explain`` returns; each map from 0 to 1, and 0 where nothing speaks for the label.

    (A pointing map is nowhere quite 0: it falls off from the place with the largest share, 1.)

    ``features`` [B, L, h, w], at the resolution of the feature maps; ``images`` [B, L, H, W], the
    same enlarged to the images'; ``labels``, the names of the L maps.
    """

    features: torch.Tensor
    images: torch.Tensor
    labels: tuple[str, ...]

    def __getitem__(self, label):
        """The maps of one label [B, H, W]."""
        return self.images[:, find_labels([label], self.labels)[0]]


def explain(model, images, labels=None, method="gradcam", names=None, finer=0, *, features=None):
    """Class activation ``Maps`` of a batch of images, for many labels at the price of one.

    Parameters
    ----------
    model : ChestNet, in any mode; it is left in the mode it was in, without gradients.
    images : float32 [B, 1, H, W], 0 … 1.
    labels : names of the labels to explain; by default all.
    method : "gradcam" (Selvaraju et al. 2017), "gradcam++" (Chattopadhyay et al. 2018), "hirescam"
        (Draelos & Carin 2020), "layercam" (Jiang et al. 2021) or "eigencam" (Muhammad & Yeasin
        2020), on the head's convolution after its ReLU, as in the paper; or "pointing", of a model
        with a ``PointingHead``: each place's share of the image's odds, over the largest share.
    names : the names of the model's outputs in order; by default the paper's 21.
    finer : 0 for that layer; 1 for what the last dense block but one passes on, after the ReLU of
        its transition (LayerCAM takes maps to be positive). Its maps are twice as fine (with
        the paper's head: a pointing one has maps as fine as these), and it knows less of what it
        sees; 2 and so on, as far as the model has blocks.
        Eigen-CAM takes maps of up to 64 × 64.
    features : what ``features_of`` made of the same images, if it is at hand (finer=0 only):
        it costs nearly all the time, and ``uncertainty.mc_dropout`` can share it.

    Examples
    --------
    >>> from cxrlib import models
    >>> maps = explain(models.build("tiny"), torch.rand(2, 1, 96, 96), labels=["Edema"])
    >>> maps.features.shape, maps.images.shape
    (torch.Size([2, 1, 6, 6]), torch.Size([2, 1, 96, 96]))
    """
    known = (*METHODS, POINTING)
    if method not in known:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(known)}.")
    if method == POINTING and (finer or not hasattr(model.head, "shares")):
        raise ValueError("method='pointing': expected a model with head='pointing', and finer=0.")
    check_images(images)
    check_features(features, images)
    if features is not None and finer:
        raise ValueError("features are those that the head sees: they go with finer=0.")
    names = tuple(LABELS if names is None else names)
    outputs = len(model.head.logits.bias)
    if len(names) != outputs:
        raise ValueError(f"{len(names)} names for a model with {outputs} outputs.")
    labels = names if labels is None else tuple(labels)
    places = find_labels(labels, names)
    try:
        with _evaluating(model):
            if method == POINTING:
                with torch.no_grad():
                    seen = model.features(images) if features is None else features
                    small = model.head.shares(seen)[:, places]
                    small = small / small.amax(dim=(2, 3), keepdim=True)
            else:
                small = _weighed(model, images, places, method, finer, features)
    finally:
        model.zero_grad(set_to_none=True)
    large = interpolate(small, images.shape[-2:], mode="bilinear", align_corners=False)
    return Maps(small, large, labels)


def features_of(model, images):
    """What the head sees of ``images``, in evaluation mode: the model's feature maps [B, C, h, w].

    They cost nearly all the time of an answer. ``explain`` and ``uncertainty.mc_dropout`` both take
    them, for those who want to know where and how sure of the same images.
    """
    check_images(images)
    with _evaluating(model), torch.no_grad():
        return model.features(images)


@contextmanager
def _evaluating(model):
    """The model in evaluation mode, and afterwards in the modes it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _weighed(model, images, places, method, finer, features):
    """Maps [B, L, h, w] of the labels at ``places``, by one of ``METHODS``."""
    different = places[:1] if method == "eigencam" else places
    targets = [ClassifierOutputTarget(place) for place in different]
    shared, asked, layer = _halves(model, finer)
    with torch.inference_mode(False):  # also for callers in inference mode
        with torch.no_grad():
            features = shared(images.clone()) if features is None else features.clone()
        if method == "eigencam" and features[0, 0].numel() > 64 * 64:  # its SVD takes too long
            raise ValueError("Eigen-CAM of maps above 64 × 64: use smaller images or finer=0.")
        with torch.enable_grad(), METHODS[method](asked, [layer]) as cam:
            batches = (one.repeat(len(targets), 1, 1, 1).requires_grad_() for one in features)
            small = torch.stack([torch.from_numpy(cam(batch, targets)) for batch in batches])
    return small.expand(-1, len(places), -1, -1)


def find_labels(labels, names):
    """The positions of ``labels`` in ``names``; ``ValueError`` where one is unknown."""
    unknown = [label for label in labels if label not in names]
    if unknown or not labels or len(set(names)) < len(names):
        wrong = f"unknown label {unknown[:1] or ''}, or two"
        raise ValueError(f"{wrong}: choose from {', '.join(names)}.")
    return [names.index(label) for label in labels]


def _halves(model, finer):
    """What all labels share, what each label asks anew, and the layer between, whose maps count."""
    if finer == 0:
        return model.features, model.head, model.head.relu
    stages = stages_of(model.features)
    blocks = [i for i, stage in enumerate(stages) if isinstance(stage, _DenseBlock)]
    if isinstance(finer, bool) or not isinstance(finer, int) or not 0 < finer < len(blocks):
        raise ValueError(f"finer={finer!r}: expected a whole number, 0 to {len(blocks) - 1}.")
    cut, layer = blocks[-1 - finer] + 1, nn.Identity()
    norm, relu, *narrower = stages[cut]  # the transition to the next block
    shared = nn.Sequential(*stages[:cut], norm, relu)
    return shared, nn.Sequential(layer, *narrower, *stages[cut + 1 :], model.head), layer


def stages_of(module):
    """The modules of nested ``nn.Sequential``s, in order."""
    if type(module) is not nn.Sequential:
        return [module]
    return [stage for part in module for stage in stages_of(part)]


def check_images(images):
    """Raise ``ValueError`` unless images are float32 [B, 1, H, W] from 0 to 1."""
    shape = tuple(getattr(images, "shape", ()))
    if not torch.is_tensor(images) or len(shape) != 4 or shape[1] != 1:
        raise ValueError(f"images of shape {shape}: expected [B, 1, H, W], one grey channel.")
    if not len(images) or min(shape[2:]) < 32:
        raise ValueError(f"images of shape {shape}: expected at least 1, 32 × 32.")
    if images.dtype != torch.float32:
        way = "use images.float()" if images.is_floating_point() else "divide by 255"
        raise ValueError(f"images of type {images.dtype}: expected float32, 0 to 1 ({way}).")
    low, high = images.min().item(), images.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images from {low:g} to {high:g}: expected 0 to 1.")


def check_features(features, images):
    """Raise ``ValueError`` unless features are None, or feature maps [B, C, h, w] of B images."""
    shape = None if features is None else tuple(getattr(features, "shape", ()))
    if shape is not None and (len(shape) != 4 or shape[0] != len(images)):
        raise ValueError(
            f"features of shape {shape} for {len(images)} images: expected features_of(them)."
        )
