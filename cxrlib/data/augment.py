"""Augmentation of whole batches, each image by its own random numbers.

The random numbers of an image depend on the seed, the epoch and the image alone: not on the batch
it is in, nor on who loads it. So a training can be resumed, and shared among processes, to the same
bits.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import grid_sample
from torchvision.transforms import v2

DRAWS = 13  # uniform numbers an image


def draw(seed, epoch, items):
    """Uniform numbers in [0, 1) for every image: float32 [B, DRAWS].

    Parameters
    ----------
    seed, epoch : whole numbers, 0 or more.
    items : int [B], which images; the same image in the same epoch gets the same numbers.
    """
    items = items.tolist() if isinstance(items, torch.Tensor) else items  # from its device, at once
    states = [np.random.SeedSequence((seed, epoch, i)).generate_state(DRAWS) for i in items]
    return torch.from_numpy((np.stack(states) / 2**32).astype(np.float32))


def to_float(images):
    """Grey levels, uint8, as float32 in [0, 1]: the paper's "pixels / 255"."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def equalize(images):
    """Spread the grey levels of every image [B, 1, H, W] (uint8) evenly.

    Exposure and the console's tone curve, which differ between hospitals, then matter less.
    """
    return v2.functional.equalize(images)


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a radiograph, at most; by default nothing.

    No flip happens unless asked for: upside down does not occur, and a mirrored chest has its heart
    on the wrong side. The paper's code does both; notebook 05 shows what that looks like.

    Attributes
    ----------
    degrees : of a turn to either side.
    shift : as a share of the image's side, in x and in y.
    zoom : as a share, in and out.
    brightness, contrast : as shares; grey levels stay within 0 … 1.
    erase : the chance that a rectangle, 2 to 12% of the image, is greyed out.
    flips : whether half of the images are mirrored and, independently, half put upside down.
    """

    degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    flips: bool = False

    def __call__(self, images, draws):
        """Change images [B, 1, H, W], uint8 or float in [0, 1]: float32 in [0, 1].

        ``draws`` [B, DRAWS] are uniform in [0, 1), see ``draw``.
        """
        images = to_float(images)
        draws = draws.to(images.device)
        signed = 2 * draws - 1
        if self.degrees or self.shift or self.zoom or self.flips:
            places = places_in(self._matrices(draws, signed), *images.shape[2:])
            images = grid_sample(images, places, align_corners=False)
        if self.brightness or self.contrast:
            contrast = _each(1 + self.contrast * signed[:, 4])
            brightness = _each(1 + self.brightness * signed[:, 5])
            mean = images.mean(dim=(1, 2, 3), keepdim=True)
            # brightness · (mean + contrast · (image − mean)), in one pass
            base = brightness * mean * (1 - contrast)
            images = torch.addcmul(base, images, brightness * contrast).clamp_(0, 1)
        if self.erase:
            images = torch.where(self._erased(images, draws), 0.5, images)
        return images

    def _matrices(self, draws, signed):
        """Where each pixel comes from, in coordinates from −1 to 1: float [B, 2, 3]."""
        angle = torch.deg2rad(self.degrees * signed[:, 0])
        scale = 1 + self.zoom * signed[:, 1]
        mirror = torch.where(draws[:, 6:8] < 0.5, -1.0, 1.0)
        mirror = mirror if self.flips else torch.ones_like(mirror)
        cos, sin = angle.cos() / scale, angle.sin() / scale
        x = torch.stack([cos * mirror[:, 0], sin, 2 * self.shift * signed[:, 2]], dim=1)
        y = torch.stack([-sin, cos * mirror[:, 1], 2 * self.shift * signed[:, 3]], dim=1)
        return torch.stack([x, y], dim=1)

    def _erased(self, images, draws):
        """Bool [B, 1, H, W]: a rectangle for a share ``erase`` of the images."""
        area = _each(0.02 + 0.10 * draws[:, 9])
        tall = (area * _each(3.3 ** (2 * draws[:, 10] - 1))).sqrt().clamp(max=1)
        wide = (area / tall).clamp(max=1)
        y = torch.arange(images.shape[2], device=images.device)[:, None] / images.shape[2]
        x = torch.arange(images.shape[3], device=images.device) / images.shape[3]
        top, left = _each(draws[:, 11]) * (1 - tall), _each(draws[:, 8]) * (1 - wide)
        inside = (y >= top) & (y < top + tall) & (x >= left) & (x < left + wide)
        return inside & _each(draws[:, 12] < self.erase)


def places_in(matrices, height, width):
    """Where each pixel comes from, for matrices [B, 2, 3]: float [B, height, width, 2].

    As ``torch.nn.functional.affine_grid`` with ``align_corners=False``, but faster: a row and a
    column are calculated instead of every pixel.
    """
    like = {"device": matrices.device, "dtype": matrices.dtype}
    x, y = ((2 * torch.arange(n, **like) + 1) / n - 1 for n in (width, height))
    along = matrices[:, :, 0, None] * x
    down = matrices[:, :, 1, None] * y + matrices[:, :, 2, None]
    return (along[:, :, None, :] + down[:, :, :, None]).permute(0, 2, 3, 1)


def _each(values):
    """One value an image, shaped to meet [B, 1, H, W]."""
    return values[:, None, None, None]


AUGMENTATIONS = {
    "none": Augmentation(),
    "chest": Augmentation(degrees=7, shift=0.05, zoom=0.1, brightness=0.1, contrast=0.1),
    "strong": Augmentation(10, 0.1, 0.25, 0.3, 0.3, erase=0.5),
    "published": Augmentation(brightness=0.1, contrast=0.1, flips=True),
}
"""By name: ``chest`` keeps a chest a chest; ``strong`` is for models that must do on other
hospitals' images; ``published`` is what the paper's code does, flips included."""
