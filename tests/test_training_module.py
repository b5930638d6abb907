import builtins

import numpy as np
import pytest
import torch
from conftest import PAPER, QUICK

from cxrlib import training
from cxrlib.losses import TwoStageLoss
from cxrlib.training import Classifier, Settings, train


def test_the_papers_recipe_stops_early(track, tmp_path, monkeypatch):
    # A learning rate of almost 0 keeps the validation loss where it is.
    monkeypatch.setattr(training.EpochProgress, "on_train_epoch_end", lambda *a: None)
    settings = Settings(size=32, epochs=40, batch_size=16, recipe="paper", lr=1e-12)
    run = train(track, PAPER, settings, runs=tmp_path)
    assert 10 <= len(run.curves) < 40


def test_val_auroc_is_the_mean_over_labels_with_both_classes(track, tmp_path):
    from sklearn.metrics import roc_auc_score

    unknown = track.table.copy()
    unknown.loc[unknown["split"] == "valid", "Fracture"] = np.nan
    unknown.loc[unknown["split"] == "valid", "Edema"] = 1.0
    other = type(track)(track.name, track.folder, unknown, track.boxes)
    run = train(other, PAPER, Settings(size=32, epochs=1, batch_size=8), runs=tmp_path)
    data = training.make_data(other, PAPER, run.settings)
    truth = data.targets("valid")
    scores = training.predict(run.model("last"), data.dataset("valid"), PAPER.labels)
    aurocs = []
    for label in PAPER.labels:
        known = truth[label].notna().to_numpy()
        if truth.loc[known, label].nunique() == 2:
            aurocs.append(roc_auc_score(truth.loc[known, label], scores.loc[known, label]))
    assert 2 < len(aurocs) < 21
    assert run.curves.loc[1, "val_auroc"] == pytest.approx(np.mean(aurocs), abs=1e-5)


def test_a_model_of_nan_has_no_auroc_and_is_never_the_best(track, tmp_path, monkeypatch):
    step = Classifier.training_step

    def ruin(self, *args):
        loss = step(self, *args)
        return loss * torch.nan if self.current_epoch == 1 else loss

    monkeypatch.setattr(Classifier, "training_step", ruin)
    settings = Settings(size=32, epochs=3, batch_size=8)
    run = train(track, PAPER, settings, runs=tmp_path, trainer={"num_sanity_val_steps": 2})
    assert run.curves["val_auroc"].isna().tolist() == [False, True, True]
    assert run.curves["val_loss"].isna().tolist() == [False, True, True]
    assert run.model("best-auroc") is not None


def test_a_log_gets_a_line_per_epoch(track, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr(builtins, "__IPYTHON__", raising=False)
    train(track, PAPER, QUICK, name="logged", runs=tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("logged")]
    assert len(lines) == 2
    assert "epoch 2/2" in lines[1]
    assert "val_auroc" in lines[1]


def test_a_loss_of_two_stages_is_told_how_much_is_done(track, tmp_path, monkeypatch):
    told, forward = [], TwoStageLoss.forward
    monkeypatch.setattr(
        TwoStageLoss, "forward", lambda loss, *a: told.append(loss.progress) or forward(loss, *a)
    )
    train(track, PAPER, Settings(size=32, epochs=4, batch_size=8, method="hmlc"), runs=tmp_path)
    assert told == sorted(told)
    assert set(told) == {0.0, 0.25, 0.5, 0.75}


@pytest.mark.parametrize("change", [{"recipe": "paper"}, {"epochs": 1}])
def test_two_stages_need_a_half_way(change):
    with pytest.raises(ValueError, match="hmlc.*half-way"):
        Settings(method="hmlc", **change)
