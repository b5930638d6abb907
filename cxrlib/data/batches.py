"""From a track's table to batches of images and targets.

Grey levels stay bytes until they are on the device that trains: what is loaded is small, needs no
random numbers, and is the same whoever loads it. There a batch is equalised and augmented.
"""

import numpy as np
import pytorch_lightning as pl
import torch
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.distributed import DistributedSampler

from cxrlib.data.augment import Augmentation, draw, equalize, to_float
from cxrlib.data.images import ImageMap
from cxrlib.data.track import DataError
from cxrlib.labels import OBSERVATIONS

NOTHING = -1
"""In place of an image's number: no image, and nothing known. It fills up uneven shares."""

SMALL = 2 / 3
"""What is left of an image's side in the epochs that train on small ones."""


class ChestDataset(Dataset):
    """Images and targets of some rows of a track's table.

    ``dataset[i]`` is an image as a model sees it, float32 [1, H, W] in [0, 1], and its target,
    float32 [L]. Loaders fetch whole batches of grey levels instead (``fetch``). ``DataError`` says
    that an image is missing or cannot be read, or that there is none.

    Parameters
    ----------
    table : rows with a ``path`` column.
    folder : what the paths are relative to.
    targets : DataFrame with the index of ``table``, a column per label, values in [0, 1] or NaN.
    size : images come as [1, size, size].
    equalize : see ``augment.equalize``.
    white : see ``load_image``.
    """

    def __init__(self, table, folder, targets, size, equalize=False, white=None):
        if table.empty:
            raise DataError("an empty table: no image to make a dataset of.")
        if not table.index.is_unique:
            raise DataError("a table with a row name twice: call reset_index(drop=True) first.")
        self.targets = torch.from_numpy(np.array(targets.loc[table.index], dtype=np.float32))
        self.map = ImageMap(folder, size, white)
        self.rows = self.map.rows(table["path"].tolist())
        self.equalize = equalize

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, item):
        item = range(len(self))[item]
        grey, targets, _ = self.fetch([item])
        return self.prepare(grey)[0], targets[0]

    def fetch(self, items):
        """Grey levels uint8 [B, 1, H, W], targets float32 [B, L] and the images' numbers [B]."""
        items = torch.as_tensor(items)
        grey = torch.from_numpy(self.map.read(self.rows[items.numpy()]))
        targets, nothing = self.targets[items], items == NOTHING
        return grey, targets.masked_fill(nothing[:, None], torch.nan), items

    __getitems__ = fetch

    def prepare(self, grey):
        """Grey levels as a model sees them: float32 [B, 1, H, W] in [0, 1], on their device."""
        return to_float(equalize(grey) if self.equalize else grey)


class Share(Sampler):
    """Every image once, dealt out to ``count`` processes; ``NOTHING`` makes their shares equal."""

    def __init__(self, images, count, rank):
        self.images, self.count, self.rank = images, count, rank

    def __len__(self):
        return -(-self.images // self.count)

    def __iter__(self):
        mine = range(self.rank, self.images, self.count)
        return iter([*mine, *[NOTHING] * (len(self) - len(mine))])


class ChestData(pl.LightningDataModule):
    """The three splits of a track as loaders.

    Parameters
    ----------
    track : Track
    hierarchy : Hierarchy; it derives the groups of every split, and tensors have its order.
    size, batch_size : of images, in pixels and in number (of each process, if there are several).
    augment : ``Augmentation`` of the training images; none by default.
    augment_valid : whether the validation images are changed too, as the paper's code does.
    equalize : see ``ChestDataset``.
    workers : processes that load; 0 is quickest for small images.
    seed : of the order in which training images come, and of their augmentation.
    small_epochs : in how many epochs, from the first, training images are shrunk to ``SMALL`` of
        their side.

    ``first_epoch`` is the epoch with which a training that was interrupted goes on.
    """

    def __init__(
        self,
        track,
        hierarchy,
        size=96,
        batch_size=32,
        augment=None,
        workers=0,
        seed=0,
        equalize=False,
        augment_valid=False,
        small_epochs=0,
    ):
        super().__init__()
        self.track, self.hierarchy, self.workers, self.seed = track, hierarchy, workers, seed
        self.size, self.batch_size, self.equalize = size, batch_size, equalize
        self.augment, self.augment_valid = augment or Augmentation(), augment_valid
        self.small_epochs = small_epochs
        self.first_epoch, self._datasets = 0, {}

    def targets(self, split):
        """The 21 targets of a split as a DataFrame, in the hierarchy's order."""
        return self.hierarchy.derive(self.track.split(split)[list(OBSERVATIONS)])

    def dataset(self, split):
        """The dataset of a split, without any augmentation."""
        if split not in self._datasets:
            rows, targets = self.track.split(split), self.targets(split)
            how = self.size, self.equalize, self.track.opened.get("white")
            self._datasets[split] = ChestDataset(rows, self.track.folder, targets, *how)
        return self._datasets[split]

    def prepare(self, grey, items, epoch, split="train"):
        """A batch of grey levels [B, 1, H, W] as a model is to see it in this epoch, augmented."""
        images = self.dataset(split).prepare(grey)
        if split == "train" or self.augment_valid:
            stream = 2 * epoch + (split == "valid")
            images = self.augment(images, draw(self.seed, stream, items.clamp(min=0)))
        if split == "train" and epoch < self.small_epochs:
            size = round(SMALL * self.size)
            images = interpolate(images, (size, size), mode="bilinear", antialias=True)
        return images

    def on_after_batch_transfer(self, batch, _):
        """Lightning calls this once a batch is on its device."""
        grey, targets, items = batch
        split = "train" if self.trainer.training else "valid"
        return self.prepare(grey, items, self.trainer.current_epoch, split), targets

    def _loader(self, split, training=False):
        dataset, trainer = self.dataset(split), self.trainer
        count, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        if len(dataset) < count:
            raise DataError(f"{len(dataset)} {split} images for {count} processes: use fewer.")
        # The order of an epoch depends on the seed and on the epoch's number, which Lightning sets.
        # What several processes see in a step is what one would, with their batches together.
        whole = training and len(dataset) >= count * self.batch_size
        order = DistributedSampler(dataset, count, rank, seed=self.seed, drop_last=whole)
        order.set_epoch(self.first_epoch)  # workers begin to load before Lightning says which it is
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order if training else Share(len(dataset), count, rank),
            drop_last=whole,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # else workers would take from dropout's random numbers
            collate_fn=tuple,  # ``fetch`` returns whole batches: there is nothing to put together
        )

    def train_dataloader(self):
        return self._loader("train", training=True)

    def val_dataloader(self):
        return self._loader("valid")
