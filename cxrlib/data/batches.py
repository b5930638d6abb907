"""From a track's table to batches of images and targets."""

import copy
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler
from torchvision.transforms import v2

from cxrlib.data.images import load_image, read_images, to_float
from cxrlib.data.track import DataError
from cxrlib.labels import (
    OBSERVATIONS,
)


class ChestDataset(Dataset):
    """Images and targets of some rows of a track's table.

    Parameters
    ----------
    table : rows with a ``path`` column.
    folder : what the paths are relative to.
    targets : DataFrame with the index of ``table``, a column per label, values in [0, 1] or NaN.
    size : images come as [1, size, size].
    transform : from uint8 [1, H, W] to float32 [1, H, W]; ``to_float()`` by default.
    in_memory : read every image once, now, and keep the grey levels (size² bytes an image).
    equalize : spread the grey levels of every image evenly, so that exposure and the console's
        tone curve, which differ between hospitals, matter less.

    Items are ``(image float32 [1, H, W], target float32 [L])``.

    Raises
    ------
    DataError
        An empty table, or a missing image, before anything is trained on the others.
    """

    def __init__(
        self, table, folder, targets, size, transform=None, in_memory=True, equalize=False
    ):
        if table.empty:
            raise DataError("an empty table: no image to make a dataset of.")
        self.paths = [Path(folder) / path for path in table["path"]]
        missing = [path for path in self.paths if not path.is_file()]
        if missing:
            raise DataError(
                f"{len(missing)} of {len(self.paths)} images are missing, the first of them "
                f"{missing[0]}. Check that the download is complete: python -m cxrlib.data FOLDER "
                "says what is there."
            )
        self.targets = torch.from_numpy(np.array(targets.loc[table.index], dtype=np.float32))
        self.size = size
        self.transform = transform or to_float()
        self.equalize = equalize
        self.images = read_images(self.paths, size) if in_memory else None
        if equalize and in_memory:
            for image in self.images:
                image[:] = v2.functional.equalize(image)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, item):
        if self.images is None:
            image = load_image(self.paths[item], self.size)
            image = v2.functional.equalize(image) if self.equalize else image
        else:
            image = self.images[item]
        return self.transform(image), self.targets[item]


class ChestData(pl.LightningDataModule):
    """The three splits of a track as loaders.

    Parameters
    ----------
    track : Track
    hierarchy : Hierarchy; it derives the groups of every split, and tensors have its order.
    size, batch_size : of images, in pixels and in number.
    augment : a transform for the training images; ``to_float()``, no augmentation, by default.
    augment_valid : whether the validation images are changed too, as the paper's code does.
    in_memory, equalize : see ``ChestDataset``.
    workers : processes that load; 0 is quickest for small images in memory.
    seed : of the order in which training images come.
    """

    def __init__(
        self,
        track,
        hierarchy,
        size=96,
        batch_size=32,
        augment=None,
        in_memory=True,
        workers=0,
        seed=0,
        equalize=False,
        augment_valid=False,
    ):
        super().__init__()
        self.track = track
        self.hierarchy = hierarchy
        self.size = size
        self.batch_size = batch_size
        self.augment = augment
        self.augment_valid = augment_valid
        self.in_memory = in_memory
        self.workers = workers
        self.seed = seed
        self.equalize = equalize
        self._datasets = {}

    def targets(self, split):
        """The 21 targets of a split as a DataFrame, in the hierarchy's order."""
        return self.hierarchy.derive(self.track.split(split)[list(OBSERVATIONS)])

    def dataset(self, split, plain=False):
        """The dataset of a split, read once; ``plain`` without any augmentation."""
        if split not in self._datasets:
            self._datasets[split] = ChestDataset(
                self.track.split(split),
                self.track.folder,
                self.targets(split),
                self.size,
                in_memory=self.in_memory,
                equalize=self.equalize,
            )
        made = copy.copy(self._datasets[split])
        if not plain and (split == "train" or (split == "valid" and self.augment_valid)):
            made.transform = self.augment or to_float()
        return made

    def _loader(self, split, shuffle=False):
        dataset = self.dataset(split)
        # The order of an epoch depends on the seed and on the epoch's number, not on what was drawn
        # before: a training can be resumed. (Lightning says which epoch it is.) Several processes
        # share the images of an epoch.
        shares = {"num_replicas": 1, "rank": 0}
        if self.trainer is not None:
            shares = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
        order = DistributedSampler(dataset, **shares, seed=self.seed)
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order if shuffle else None,
            drop_last=shuffle and len(dataset) > self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def train_dataloader(self):
        return self._loader("train", shuffle=True)

    def val_dataloader(self):
        return self._loader("valid")

    def test_dataloader(self):
        return self._loader("test")
