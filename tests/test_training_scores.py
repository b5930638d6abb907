import dataclasses

import numpy as np
import pandas as pd
import torch
from conftest import PAPER, QUICK

from cxrlib import models, training
from cxrlib.training import train


def test_predictions_come_in_order_and_between_0_and_1(track):
    model = models.build("tiny")
    dataset = training.make_data(track, PAPER, QUICK).dataset("valid")
    scores = training.predict(model, dataset, PAPER.labels, batch_size=3)
    model.eval()
    with torch.inference_mode():
        last = model(dataset[7][0][None]).sigmoid()[0].numpy()
    assert isinstance(scores, pd.DataFrame)
    assert scores.shape == (8, 21)
    np.testing.assert_allclose(scores.iloc[7], last, rtol=1e-4)
    assert scores.to_numpy().min() >= 0
    assert scores.to_numpy().max() <= 1


def test_a_run_scores_every_image_of_a_track(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    other = dataclasses.replace(track, table=track.table.iloc[::-1])
    scores = training.score(run, other)
    assert scores.index.equals(other.table.index)
    valid = training.make_data(track, PAPER, QUICK).dataset("valid")
    expected = training.predict(run.model(), valid, PAPER.labels)
    rows = track.split("valid").index
    np.testing.assert_allclose(scores.loc[rows], expected, rtol=1e-4)
