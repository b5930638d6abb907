"""Checkpoints that are whole or not there, and that are read without running code from them."""

import os
import zipfile
from pathlib import Path

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from cxrlib import models


class RunError(ValueError):
    """A run's folder, or a file in it, that cannot be used; the message names it and the mend."""


def read_checkpoint(path):
    """The content of a checkpoint, on the CPU.

    Only tensors and plain values are read (``weights_only``): a stranger's file is not run as a
    program. Its checksums are compared, so that a flipped bit is not taken for a weight.

    Raises
    ------
    FileNotFoundError
        No such file; those that are there are named.
    RunError
        It is damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        found = ", ".join(sorted(p.name for p in path.parent.glob("*.ckpt"))) or "none"
        raise FileNotFoundError(f"{path}: no such checkpoint. There are: {found}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if part := archive.testzip():
                raise ValueError(f"the checksum of {part} does not fit")
    except Exception as error:  # zipfile's own words on a file that is not whole differ
        raise RunError(
            f"{path}: damaged ({error}). Delete this one file, or get it again from where it came; "
            "to train the run again, give the folder another name."
        ) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # PyTorch's message recommends weights_only=False, which would run what is in the file.
        raise RunError(
            f"{path}: not read, since it holds more than tensors and plain values "
            f"({type(error).__name__}). Only weights that can be read without running code from "
            "them are read: train again, or get the file from where it came."
        ) from None


class SafeCheckpoints(TorchCheckpointIO):
    """Lightning's reading and writing of checkpoints, safe against crashes and against files.

    A checkpoint is written beside its place and then moved there: whenever the machine stops, the
    old one or the new one is there, whole.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        beside = Path(f"{path}.tmp")
        beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(beside, "wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except RuntimeError as error:  # PyTorch's word for a disk that is full
            raise OSError(28, f"{path}: not written ({error}); is the disk full?") from error
        os.replace(beside, path)

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        return read_checkpoint(path)


def load_model(path, settings, hierarchy):
    """The model of a checkpoint, in evaluation mode.

    ``RunError`` if its weights are of another kind of model, or not all of them are numbers.
    """
    content, prefix = read_checkpoint(path), "model."
    state = content.get("state_dict") if isinstance(content, dict) else None
    weights = {
        str(name).removeprefix(prefix): value
        for name, value in (state if isinstance(state, dict) else {}).items()
        if str(name).startswith(prefix) and isinstance(value, torch.Tensor)
    }
    with torch.random.fork_rng(devices=[]):  # its first weights are drawn, and replaced at once
        shape = settings.preset, len(hierarchy.labels), settings.dropout
        model = models.build(*shape, head=settings.head)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"{path}: its weights do not fit the preset {settings.preset!r} with "
            f"the {settings.head} head and {len(hierarchy.labels)} labels ({error}). Start from a "
            "model of that kind."
        ) from error
    wrong = [name for name, value in weights.items() if not value.isfinite().all()]
    if wrong:
        raise RunError(
            f"{path}: the weights {wrong[0]} are not all numbers. If training diverged, train with "
            "a lower rate (settings.lr)."
        )
    return model.eval()
