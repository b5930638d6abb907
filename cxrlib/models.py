"""The network: DenseNet features in two sizes, and two heads: the paper's, and one that points."""

import math

import torch
from torch import nn
from torchvision.models import DenseNet, DenseNet121_Weights, densenet121

PRESETS = ("tiny", "densenet121")
HEADS = ("paper", "pointing")
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels, for which torchvision's weights were trained."""


class ChestNet(nn.Module):
    """Features, then a head; apart, so that explanations and dropout passes can reuse features.

    Called with images [B, 1, H, W] in [0, 1], it returns logits [B, L].
    """

    def __init__(self, features, head):
        super().__init__()
        self.features = features
        self.head = head

    def forward(self, images):
        if images.ndim != 4 or images.shape[1] != 1:
            raise ValueError(
                f"images of shape {tuple(images.shape)}: expected [B, 1, H, W], one grey channel."
            )
        return self.head(self.features(images))


class Head(nn.Sequential):
    """The head of arXiv 2502.03591, from feature maps [B, C, h, w] to logits [B, L].

    A 3×3 convolution with ReLU, batch normalisation, the mean over the map, a dense layer with
    ReLU, dropout, and one output per label. Grad-CAM looks at the maps after ``relu``.
    """

    def __init__(self, in_channels, num_labels, channels=512, hidden=128, dropout=0.5):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dense = nn.Linear(channels, hidden)
        self.dense_relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(hidden, num_labels)

    def embed(self, features):
        """What the last layer looks at, nothing dropped: [B, hidden]."""
        return nn.Sequential(*list(self)[:-2])(features)


class LogMeanExp(nn.Module):
    """From a logit for every place [B, L, h, w] to one for the image [B, L].

    It is the logarithm of the mean of exp(logit), that is of the places' odds: the image's odds are
    the mean of its places'. One place that is sure is enough to raise it.
    """

    def forward(self, places):
        return places.flatten(2).logsumexp(dim=2) - math.log(places.shape[-2] * places.shape[-1])


class PointingHead(nn.Sequential):
    """A head whose maps are its answer, from feature maps [B, C, h, w] to logits [B, L].

    A 3×3 convolution with ReLU, batch normalisation, dropout of whole channels, and for every label
    a logit at every place, by a 1×1 convolution; ``LogMeanExp`` joins the places. Since the image's
    odds are the mean of the places' odds, ``shares`` says how much of them each place holds, and no
    gradient is needed.
    """

    def __init__(self, in_channels, num_labels, channels=128, dropout=0.5):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.relu = nn.ReLU()
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.logits = nn.Conv2d(channels, num_labels, kernel_size=1)
        self.pool = LogMeanExp()

    def places(self, features):
        """The logit of every label at every place: [B, L, h, w]."""
        return nn.Sequential(*list(self)[:-1])(features)

    def shares(self, features):
        """Each place's share of the image's odds, for every label: [B, L, h, w], of sum 1."""
        places = self.places(features)
        return places.flatten(2).softmax(dim=2).view_as(places)

    def embed(self, features):
        """What the last layer looks at, on average over the places, nothing dropped: [B, C]."""
        return nn.Sequential(self.conv, self.relu, self.norm)(features).mean(dim=(2, 3))


class GreyToRGB(nn.Module):
    """One grey channel as three, for features made for colour photographs.

    ``mean`` and ``std`` of the channels are taken out, where weights expect it; they travel with
    the weights.
    """

    def __init__(self, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images):
        return (images - self.mean) / self.std


def build(preset="tiny", num_labels=21, dropout=0.5, weights="random", head="paper"):
    """Build a ``ChestNet``, from images [B, 1, H, W] in [0, 1] to logits [B, num_labels].

    Parameters
    ----------
    preset : "tiny", DenseNet with growth 16 and blocks of 3 layers, for small images on a laptop;
        or "densenet121", the paper's, for 320 × 320.
    num_labels : outputs L.
    dropout : the probability in the head; the paper's is 0.5.
    weights : "random", as the paper's, or "imagenet" (densenet121 only): torchvision's, downloaded
        if they are not in its cache, behind their own normalisation.
    head : "paper", or "pointing", a ``PointingHead`` on maps that are twice as fine: the pooling
        before the last dense block is left out.

    Examples
    --------
    >>> build("tiny", num_labels=21)(torch.zeros(2, 1, 96, 96)).shape
    torch.Size([2, 21])
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}.")
    if head not in HEADS:
        raise ValueError(f"unknown head {head!r}: choose one of {', '.join(HEADS)}.")
    if weights not in ("random", "imagenet"):
        raise ValueError(f"weights={weights!r}: expected 'random' or 'imagenet'.")
    if preset == "tiny":
        if weights == "imagenet":
            raise ValueError("the 'tiny' preset has no ImageNet weights: use 'densenet121'.")
        # A third block at stride 16 keeps the maps fine enough to point with: 6 × 6 at 96 pixels.
        net = DenseNet(growth_rate=16, block_config=(3, 3, 3), num_init_features=24)
        net.features.conv0 = nn.Conv2d(1, 24, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(net.features.conv0.weight)
        channels, features = 128, net.features
    else:
        net = _densenet121() if weights == "imagenet" else densenet121()
        grey = GreyToRGB(*IMAGENET) if weights == "imagenet" else GreyToRGB()
        channels, features = 512, nn.Sequential(grey, net.features)
    made, width = Head, net.classifier.in_features
    if head == "pointing":
        made, channels = PointingHead, 128
        last = max(name for name, _ in net.features.named_children() if "transition" in name)
        net.features.get_submodule(last).pool = nn.Identity()
    top = made(width, num_labels, channels=channels, dropout=dropout)
    net = ChestNet(nn.Sequential(features, nn.ReLU()), top)
    # The same numbers in another order in memory: a quarter less time for training on a processor.
    # Results may differ in their last bits.
    return net.to(memory_format=torch.channels_last)


def _densenet121():
    try:
        return densenet121(weights=DenseNet121_Weights.IMAGENET1K_V1, progress=False)
    except OSError as error:  # URLError is one
        raise RuntimeError(
            "ImageNet weights were asked for, but they are neither in torch's cache "
            f"({torch.hub.get_dir()}) nor could they be downloaded ({error}). Train from random "
            "initialisation (weights='random'), as the paper does, or connect once."
        ) from error


def count_parameters(module):
    """The number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
