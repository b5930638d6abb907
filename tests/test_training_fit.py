import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PAPER, QUICK, same_weights
from pytorch_lightning.loggers import CSVLogger

from cxrlib import training
from cxrlib.configs import CONFIGS, read_config
from cxrlib.data import DataError, open_track
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.training import Classifier, Settings, fit, read_checkpoint, train


def test_a_run_leaves_checkpoints_curves_and_a_record(track, tmp_path):
    run = train(track, PAPER, QUICK, name="first", runs=tmp_path / "runs")
    names = {path.name for path in run.folder.iterdir()}
    assert {"best-auroc.ckpt", "best-loss.ckpt", "last.ckpt", "curves.csv", "run.json"} <= names
    assert list(run.curves.columns) == list(training.CURVES)
    assert run.curves.index.tolist() == [1, 2]
    assert run.curves.notna().all(axis=None)
    assert run.settings == QUICK
    assert not list((tmp_path / "runs").glob(".*.partial")), "no half run is left behind"


def test_the_same_seed_gives_the_same_weights(track, tmp_path):
    a = train(track, PAPER, QUICK, runs=tmp_path / "a").model("last")
    b = train(track, PAPER, QUICK, runs=tmp_path / "b").model("last")
    assert same_weights(a, b)


def test_step_and_flat_end_in_bitwise_equal_weights(track, tmp_path):
    settings = {"size": 32, "epochs": 2, "batch_size": 8}
    flat = train(track, PAPER, Settings(**settings), runs=tmp_path)
    for penalties in ("fixed", "data-driven"):
        step = train(
            track,
            PAPER,
            Settings(method="hbce-step", penalties=penalties, **settings),
            runs=tmp_path,
        )
        assert same_weights(flat.model("last"), step.model("last"))
        assert (step.curves["train_loss"] > flat.curves["train_loss"]).all()
    hinge = train(track, PAPER, Settings(method="hbce-hinge", **settings), runs=tmp_path)
    assert not same_weights(flat.model("last"), hinge.model("last"))


def test_training_leaves_the_callers_random_state_alone(track, tmp_path):
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    train(track, PAPER, QUICK, runs=tmp_path)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_every_epoch_comes_in_another_order(track, tmp_path, monkeypatch):
    seen, step = {}, Classifier.training_step

    def watched_step(self, batch, number):
        seen.setdefault(self.current_epoch, []).append(batch[1].numpy().copy())
        return step(self, batch, number)

    monkeypatch.setattr(Classifier, "training_step", watched_step)
    train(track, PAPER, QUICK, runs=tmp_path)
    first, second = (np.concatenate(seen[epoch]) for epoch in (0, 1))
    assert not np.array_equal(first, second, equal_nan=True)
    assert sorted(map(tuple, first)) == sorted(map(tuple, second)), "the same images"


def test_fine_tuning_starts_from_the_weights_of_another_run(track, tmp_path):
    first = train(track, PAPER, QUICK, name="first", runs=tmp_path)
    still = Settings(size=32, epochs=1, batch_size=8, lr=1e-12, seed=1)
    tuned = train(track, PAPER, still, name="tuned", runs=tmp_path, start=first)
    weights = dict(first.model().named_parameters())
    for name, value in tuned.model("last").named_parameters():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-9)
    record = json.loads((tuned.folder / "run.json").read_text())
    assert record["started_from"] == f"{first.folder.name}/best-auroc.ckpt"
    assert json.loads((first.folder / "run.json").read_text())["start"] is None


def test_fine_tuning_trains_as_training_does(track, tmp_path, monkeypatch):
    first = train(track, PAPER, QUICK, name="first", runs=tmp_path)
    modes, step = set(), Classifier.training_step

    def watched_step(self, *args):
        modes.update(module.training for module in self.model.modules())
        return step(self, *args)

    monkeypatch.setattr(Classifier, "training_step", watched_step)
    tuned = train(track, PAPER, QUICK, name="tuned", runs=tmp_path, start=first)
    assert modes == {True}, "dropout and batch normalisation are those of training"
    assert not same_weights(tuned.model("last"), first.model("last"))


def test_a_start_of_another_kind_is_refused(track, tmp_path):
    first = train(track, PAPER, QUICK, name="first", runs=tmp_path)
    deep = Settings(size=32, epochs=1, batch_size=8, preset="densenet121")
    with pytest.raises(ValueError, match="'tiny'.*'densenet121'.*same preset"):
        train(track, PAPER, deep, runs=tmp_path, start=first)
    fewer = Hierarchy(["Edema", "Fracture"], [])
    with pytest.raises(ValueError, match="other labels.*Atelectasis.*this hierarchy"):
        train(track, fewer, QUICK, runs=tmp_path, start=first)
    alone = tmp_path / "alone.ckpt"
    alone.write_bytes((first.folder / "last.ckpt").read_bytes())
    with pytest.raises(ValueError, match="do not fit.*paper head and 2 labels"):
        train(track, fewer, QUICK, runs=tmp_path, start=alone)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        train(track, PAPER, QUICK, runs=tmp_path, start=tmp_path / "none.ckpt")
    assert not list(tmp_path.glob("run-*")), "nothing was written"


def test_an_image_that_is_gone_is_named(chexpert_folder, tmp_path):
    track = open_track(chexpert_folder)
    gone = chexpert_folder / track.table["path"].iloc[2]
    gone.unlink()
    with pytest.raises(DataError, match=gone.name):
        training.train(track, paper_hierarchy(), Settings(size=32, epochs=1), runs=tmp_path)


@pytest.mark.parametrize("workers", [2, 4])
def test_who_loads_does_not_matter(track, tmp_path, workers):
    settings = dataclasses.replace(QUICK, augment="strong")
    alone = train(track, PAPER, settings, runs=tmp_path / "alone")
    helped = train(track, PAPER, settings, runs=tmp_path / "helped", workers=workers)
    assert alone.folder.name == helped.folder.name
    assert same_weights(alone.model("last"), helped.model("last"))


def test_a_smoke_test_is_no_run(track, tmp_path, capsys):
    assert train(track, PAPER, QUICK, runs=tmp_path, trainer={"fast_dev_run": True}) is None
    assert "nothing is kept" in capsys.readouterr().out
    assert not list(tmp_path.glob("*run*"))


def test_limits_make_another_run_that_keeps_to_them(track, tmp_path):
    limits = {"limit_train_batches": 1, "limit_val_batches": 1}
    small = train(track, PAPER, QUICK, runs=tmp_path, trainer=limits)
    assert read_checkpoint(small.folder / "last.ckpt")["global_step"] == 2
    whole = train(track, PAPER, QUICK, runs=tmp_path)
    assert whole.folder != small.folder
    assert read_checkpoint(whole.folder / "last.ckpt")["global_step"] == 4


@pytest.mark.parametrize("recipe", ["workshop", "paper"])
def test_validation_in_every_second_epoch(track, tmp_path, recipe):
    settings = dataclasses.replace(QUICK, epochs=4, recipe=recipe, lr=1e-3)
    run = train(track, PAPER, settings, runs=tmp_path, trainer={"check_val_every_n_epoch": 2})
    assert run.curves["val_auroc"].notna().tolist() == [False, True, False, True]
    assert run.curves["train_loss"].notna().all()
    assert len(pd.read_csv(run.folder / "predictions.csv")) == 16


def test_bf16_clipping_and_a_logger_are_followed(track, tmp_path):
    log = CSVLogger(tmp_path / "log")
    asked = {"precision": "bf16-mixed", "gradient_clip_val": 1e-9, "logger": log}
    run = train(track, PAPER, QUICK, runs=tmp_path / "runs", trainer=asked)
    assert list((tmp_path / "log").rglob("metrics.csv"))
    plain = train(track, PAPER, QUICK, runs=tmp_path / "runs")
    assert not same_weights(run.model("last"), plain.model("last"))
    assert read_config(run.folder / "config.yaml").trainer["precision"] == "bf16-mixed"


def test_the_scores_are_made_where_the_model_was_trained(track, tmp_path, monkeypatch):
    seen, record = [], fit._record

    def watched(experiment, place, device):
        seen.append(device)
        record(experiment, place, device)

    monkeypatch.setattr(fit, "_record", watched)
    train(track, PAPER, QUICK, runs=tmp_path)
    assert seen == [torch.device("cpu")], "the device of the trainer's strategy, not the model's"


DDP = """
import os
import sys
import torch
from torch import nn
from cxrlib import models
from cxrlib.configs import main

build = models.build
def without_batch_statistics(*args, **options):
    # Batch normalisation sees a process's own images only (SyncBatchNorm needs a graphics card), so
    # it is taken out here: what is compared is everything else.
    model = build(*args, **options)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], nn.GroupNorm(1, module.num_features))
    # In double precision: Adam makes a whole step of a gradient near 0, which in single precision
    # is the rounding of a sum, and so another one with another processor.
    forward = model.double().forward
    model.forward = lambda images: forward(images.double()).float()
    if not os.path.exists("first.ckpt"):
        torch.save(model.state_dict(), "first.ckpt")
    return model

models.build = without_batch_statistics
main(sys.argv[1:])
"""


def test_two_processes_train_the_weights_that_one_does(chexpert_folder, tmp_path):
    """At the same global batch, with augmentation, and every image scored once."""
    for table in ("valid", "test"):  # an uneven number of validation images
        rows = pd.read_csv(chexpert_folder / f"{table}.csv")
        rows.iloc[:-1].to_csv(chexpert_folder / f"{table}.csv", index=False)
    (tmp_path / "ddp.py").write_text(DDP)
    command = [
        sys.executable, str(tmp_path / "ddp.py"), "--config", str(CONFIGS / "workshop.yaml"),
        "--data.folder", str(chexpert_folder), "--settings.size", "32", "--settings.epochs", "2",
        "--settings.dropout", "0", "--settings.augment", "strong", "--settings.lr", "1e-3",
    ]  # fmt: skip
    two = ["--settings.batch_size", "2", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    two += ["--trainer.accelerator", "cpu", "--data.workers", "2"]
    found = {}
    for name, options in {"one": ["--settings.batch_size", "4"], "two": two}.items():
        runs = tmp_path / name
        runs.mkdir()
        done = subprocess.run(
            [*command, *options, "--runs", str(runs)], capture_output=True, text=True, cwd=runs,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # as many as each of two processes gets
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        (folder,) = runs.glob("workshop-*")
        found[name] = folder
    one, two = (read_checkpoint(folder / "last.ckpt") for folder in found.values())
    assert one["global_step"] == two["global_step"] == 2 * 16 / 4
    first = read_checkpoint(tmp_path / "one" / "first.ckpt")
    for name, start in first.items():
        ends = [end["state_dict"][f"model.{name}"] for end in (one, two)]
        assert (ends[1] - ends[0]).norm() <= 1e-5 * (ends[0] - start).norm(), name
    curves = [pd.read_csv(folder / "curves.csv") for folder in found.values()]
    np.testing.assert_allclose(curves[1].iloc[:, 1:], curves[0].iloc[:, 1:], atol=1e-4)
    tables = [pd.read_csv(folder / "predictions.csv") for folder in found.values()]
    assert tables[0]["Path"].tolist() == tables[1]["Path"].tolist()
    assert tables[0]["Path"].is_unique
    assert len(tables[0]) == 7 + 7
