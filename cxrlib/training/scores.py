"""What a trained model says of images."""

import pandas as pd
import torch

from cxrlib.data.batches import ChestDataset
from cxrlib.labels import OBSERVATIONS


@torch.inference_mode()
def predict(model, dataset, labels, readout=torch.sigmoid, batch_size=128):
    """Score every image of a dataset, on the device that the model is on.

    Parameters
    ----------
    model : from images [B, 1, H, W] to logits [B, L].
    dataset : ChestDataset.
    labels : the names of the L columns.
    readout : from logits to probabilities; a run of "max-constraint" or "conditional" has its own
        (``run.readout``).

    Returns
    -------
    DataFrame [N, L] of probabilities, in the dataset's order.
    """
    model.eval()
    device, scores = next(model.parameters()).device, []
    for items in torch.arange(len(dataset)).split(batch_size):
        grey, _, _ = dataset.fetch(items)
        images = dataset.prepare(grey.to(device))
        scores.append(readout(model(images.contiguous(memory_format=torch.channels_last))).cpu())
    return pd.DataFrame(torch.cat(scores).numpy(), columns=list(labels))


def score(run, track):
    """Score every image of a track, whatever its split, with the best weights of a run.

    Returns a DataFrame [N, L] of probabilities, with the index of ``track.table``.
    """
    table, settings, white = track.table, run.settings, track.opened.get("white")
    targets = run.hierarchy.derive(table[list(OBSERVATIONS)])
    dataset = ChestDataset(table, track.folder, targets, settings.size, settings.equalize, white)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, readout = run.model().to(device), run.readout.to(device)
    return predict(model, dataset, run.hierarchy.labels, readout).set_index(track.table.index)


def predictions_table(model, data, readout=torch.sigmoid):
    """What a model says of the valid and test images, beside what is true of them.

    Returns
    -------
    DataFrame with the columns ``Path``, ``patient``, ``split`` and, for every label, ``<label>_GT``
    (0, 1 or NaN) and ``<label>_Pred`` (0 … 1): the columns of the predictions that the paper's
    authors published.
    """
    parts = []
    for split in ("valid", "test"):
        rows = data.track.split(split).reset_index(drop=True)
        if rows.empty:
            continue
        truth = data.targets(split).reset_index(drop=True)
        scores = predict(model, data.dataset(split), truth.columns, readout)
        about = rows.rename(columns={"path": "Path"})[["Path", "patient", "split"]]
        parts.append(about.join(truth.add_suffix("_GT")).join(scores.add_suffix("_Pred")))
    return pd.concat(parts, ignore_index=True)
