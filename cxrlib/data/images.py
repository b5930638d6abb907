"""Radiographs as grey levels, and what may be done to them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2
from tqdm import tqdm

from cxrlib.data.track import DataError


def load_image(path, size):
    """Read one radiograph as grey levels.

    Returns
    -------
    uint8 tensor [1, size, size], 0 black to 255 white. The aspect ratio is not kept, as in the
    paper: the image is squeezed into a square. White is 255 in an image of 8 bits, and in one of
    more the first of 255, 4095 and 65535 that is not below its brightest pixel.

    Raises
    ------
    DataError
        The file is missing, truncated or no image, or its grey levels have no known white.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such image. Check that the download is complete and that CXR_DATA names "
            "the folder with the tables."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path}: not a readable image ({error}). It may be truncated: delete it and get it "
            "again."
        ) from error
    grey = _eight_bits(image, path).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(grey))[None]


def _eight_bits(image, path):
    """The image with grey levels 0 to 255. (Pillow's own conversion would clip 16 bits.)"""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image.convert("L")
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(
            f"{path}: grey levels from {pixels.min():g} to {pixels.max():g} (Pillow's mode "
            f"{image.mode!r}). Expected whole numbers from 0 to 255, 4095 or 65535: rescale the "
            "image and save it as PNG with 8 or 16 bits."
        )
    white = min(level for level in (255, 4095, 65535) if level >= pixels.max())
    levels = (pixels.astype(np.uint32) * 255 + white // 2) // white
    return Image.fromarray(levels.astype(np.uint8))


def to_float():
    """Grey levels as float32 in [0, 1]: the paper's "pixels / 255"."""
    return v2.ToDtype(torch.float32, scale=True)


def train_transforms(degrees=7.0, shift=0.05, zoom=0.1, brightness=0.1, contrast=0.1, erase=0.0):
    """Augmentation that keeps a chest a chest: small turns, shifts and zooms, and exposure.

    No flip. Upside down does not occur, and a mirrored chest has its heart on the wrong side; the
    paper's code does both. Notebook 04 shows what that looks like. ``erase`` is the chance that a
    rectangle is greyed out.
    """
    return v2.Compose(
        [
            v2.RandomAffine(
                degrees,
                translate=(shift, shift),
                scale=(1 - zoom, 1 + zoom),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=brightness, contrast=contrast),
            to_float(),
            v2.RandomErasing(erase, scale=(0.02, 0.12), value=0.5),
        ]
    )


def published_transforms():
    """The augmentation in the paper's code: mirrored, upside down, brighter, more contrast.

    Only to be measured: notebook 04 shows what is wrong with it.
    """
    return v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(brightness=0.1, contrast=0.1),
            to_float(),
        ]
    )


def read_images(paths, size, progress=None):
    """Read images with a few threads into one uint8 tensor [N, 1, size, size].

    ``progress`` shows a bar; by default only where there are more than 2,000 images.
    """
    bar = tqdm(total=len(paths), desc="reading images", unit="image", leave=False,
               disable=not (len(paths) > 2000 if progress is None else progress))  # fmt: skip
    images = torch.empty((len(paths), 1, size, size), dtype=torch.uint8)
    with bar, ThreadPoolExecutor(4) as pool:
        for row, image in enumerate(pool.map(lambda path: load_image(path, size), paths)):
            images[row] = image
            bar.update()
    return images
