import dataclasses
import errno
import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from cxrlib import training
from cxrlib.data import DataError, open_track
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.training import Classifier, Settings, train

PAPER = paper_hierarchy()
QUICK = Settings(size=32, epochs=2, batch_size=8)


@pytest.fixture
def track(chexpert_folder):
    return open_track(chexpert_folder)


def same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_leaves_checkpoints_curves_and_a_record(track, tmp_path):
    run = train(track, PAPER, QUICK, name="first", runs=tmp_path / "runs")
    names = {path.name for path in run.folder.iterdir()}
    assert {"best-auroc.ckpt", "best-loss.ckpt", "last.ckpt", "curves.csv", "run.json"} <= names
    assert list(run.curves.columns) == list(training.CURVES)
    assert run.curves.index.tolist() == [1, 2]
    assert run.curves.notna().all(axis=None)
    assert run.settings == QUICK
    assert not list((tmp_path / "runs").glob(".*")), "no half run is left behind"


def test_a_second_call_finds_the_run(track, tmp_path, monkeypatch):
    first = train(track, PAPER, QUICK, runs=tmp_path)
    monkeypatch.setattr(training, "_fit", lambda *a, **k: pytest.fail("trained again"))
    again = train(track, PAPER, QUICK, runs=tmp_path)
    assert again.folder == first.folder
    assert same_weights(again.model(), first.model())


def test_other_data_or_settings_are_another_run(track):
    def fingerprint(track=track, settings=QUICK):
        return training.fingerprint(training.make_data(track, PAPER, settings), settings)

    relabelled = track.table.copy()
    relabelled.loc[0, "Edema"] = 1 - relabelled.loc[0, "Edema"]
    other = type(track)(track.name, track.folder, relabelled, track.boxes)
    prints = {
        fingerprint(),
        fingerprint(track=other),
        fingerprint(settings=Settings(size=32, epochs=2, batch_size=8, seed=1)),
        fingerprint(settings=Settings(size=32, epochs=2, batch_size=8, augment="none")),
    }
    assert len(prints) == 4
    assert fingerprint() in prints


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


def test_the_papers_recipe_stops_early(track, tmp_path, monkeypatch):
    # A learning rate of almost 0 keeps the validation loss where it is.
    monkeypatch.setattr(training.EpochProgress, "on_train_epoch_end", lambda *a: None)
    settings = Settings(size=32, epochs=40, batch_size=16, recipe="paper", lr=1e-12)
    run = train(track, PAPER, settings, runs=tmp_path)
    assert 10 <= len(run.curves) < 40


def test_interrupted_training_leaves_nothing_that_looks_finished(track, tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.EpochProgress, "on_train_batch_end", die)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(track, PAPER, QUICK, runs=tmp_path)
    assert not list(tmp_path.glob("run-*"))
    monkeypatch.undo()
    assert len(train(track, PAPER, QUICK, runs=tmp_path).curves) == 2


LONGER = Settings(size=32, epochs=4, batch_size=4, augment="strong", method="hbce-hinge")


@pytest.mark.parametrize("settings", [LONGER, dataclasses.replace(LONGER, recipe="paper", lr=1e-3)])
def test_a_killed_training_resumed_ends_in_the_same_bits(track, tmp_path, settings):
    """Killed for good (SIGKILL) in the third epoch, in another process."""
    whole = train(track, PAPER, settings, runs=tmp_path / "whole")
    script = f"""
import os, signal
from cxrlib import training
from cxrlib.data import open_track
from cxrlib.hierarchy import paper_hierarchy

def die(self, trainer, *_):
    if trainer.current_epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

training.EpochProgress.on_train_batch_end = die
training.train(open_track({str(track.folder)!r}), paper_hierarchy(),
               training.{settings!r}, runs={str(tmp_path / "killed")!r})
"""
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = list((tmp_path / "killed").iterdir())
    assert [path.name.startswith(".run-") for path in left] == [True], "no finished run"
    resumed = train(track, PAPER, settings, runs=tmp_path / "killed")
    for checkpoint in ("last", "best-auroc", "best-loss"):
        assert same_weights(whole.model(checkpoint), resumed.model(checkpoint)), checkpoint
    pd.testing.assert_frame_equal(whole.curves, resumed.curves)
    tables = [(run.folder / "predictions.csv").read_bytes() for run in (whole, resumed)]
    assert tables[0] == tables[1]
    records = [json.loads((run.folder / "run.json").read_text()) for run in (whole, resumed)]
    assert [record["resumed"] for record in records] == [False, True]


def test_two_processes_at_one_run_keep_apart(tmp_path):
    first = training.workplace(tmp_path / "run-0")
    assert training.workplace(tmp_path / "run-0") == first, "what we left ourselves is ours"
    (first / training.OWNER).write_text("1")  # the first process of every machine
    assert training.workplace(tmp_path / "run-0") != first
    (first / training.OWNER).write_text("0" * 30)
    assert training.workplace(tmp_path / "run-0") == first


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


def test_a_full_disk_is_explained_and_leaves_nothing(track, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(training.pd.DataFrame, "to_csv", full)
    with pytest.raises(OSError, match=r"run-\w+: the run could not be written.*No space"):
        train(track, PAPER, QUICK, runs=tmp_path)
    assert not list(tmp_path.glob("run-*"))
    monkeypatch.undo()
    assert len(train(track, PAPER, QUICK, runs=tmp_path).curves) == 2


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


def test_checkpoints_are_loaded_without_running_code(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code in the checkpoint was run",))

    torch.save({"state_dict": {}, "bomb": Bomb()}, run.folder / "last.ckpt")
    with pytest.raises(Exception, match="[Ww]eights"):
        run.model("last")


def test_helpful_errors(track, tmp_path):
    with pytest.raises(ValueError, match="method='bce'.*flat"):
        Settings(method="bce")
    for field, value in {
        "epochs": 0, "size": 96.5, "lr": 0.0, "weight": -1.0, "dropout": 1.5, "seed": -1,
        "smoothing": 1.0, "batch_size": True,
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{field}=.*expected"):
            Settings(**{field: value})
    with pytest.raises(ValueError, match="weight=nan"):
        Settings(weight=float("nan"))
    run = train(track, PAPER, QUICK, runs=tmp_path)
    with pytest.raises(FileNotFoundError, match="best-f1.*best-auroc"):
        run.model("best-f1")
    with pytest.raises(FileNotFoundError, match="no finished run"):
        training.find_run(tmp_path / "nowhere", PAPER)
    with pytest.raises(ValueError, match="other labels"):
        training.find_run(run.folder, Hierarchy(["A"], []))
    (tmp_path / "half").mkdir()
    empty = type(track)(track.name, track.folder, track.split("valid"), track.boxes)
    with pytest.raises(DataError, match="empty"):
        train(empty, PAPER, QUICK, runs=tmp_path)


def test_the_record_is_readable(track, tmp_path):
    run = train(track, PAPER, QUICK, name="noted", runs=tmp_path)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["labels"] == list(PAPER.labels)
    assert record["versions"]["torch"] == torch.__version__
    assert record["settings"]["size"] == 32


def test_predictions_come_in_order_and_between_0_and_1(track):
    model = training.models.build("tiny")
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


def test_a_log_gets_a_line_per_epoch(track, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training.EpochProgress, "__init__", _in_a_log)
    train(track, PAPER, QUICK, name="logged", runs=tmp_path)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("logged")]
    assert len(lines) == 2
    assert "epoch 2/2" in lines[1]
    assert "val_auroc" in lines[1]


def _in_a_log(self, name):
    self.name, self.watched = name, False


def test_fine_tuning_starts_from_the_weights_of_another_run(track, tmp_path):
    first = train(track, PAPER, QUICK, name="first", runs=tmp_path)
    still = Settings(size=32, epochs=1, batch_size=8, lr=1e-12, seed=1)
    tuned = train(track, PAPER, still, name="tuned", runs=tmp_path, start=first)
    weights = dict(first.model().named_parameters())
    for name, value in tuned.model("last").named_parameters():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-9)
    record = json.loads((tuned.folder / "run.json").read_text())
    assert record["start"] == f"{first.folder.name}/best-auroc.ckpt"
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


def test_another_start_is_another_run(track, tmp_path):
    first = train(track, PAPER, QUICK, name="a", runs=tmp_path)
    by_run = train(track, PAPER, QUICK, runs=tmp_path, start=first)
    by_path = train(track, PAPER, QUICK, runs=tmp_path, start=first.folder / "best-auroc.ckpt")
    assert by_path.folder == by_run.folder, "the same weights are the same start"
    second = train(track, PAPER, Settings(size=32, epochs=1, batch_size=8), runs=tmp_path)
    other = train(track, PAPER, QUICK, runs=tmp_path, start=second)
    scratch = train(track, PAPER, QUICK, runs=tmp_path)
    assert len({by_run.folder, other.folder, scratch.folder}) == 3


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
    with pytest.raises(ValueError, match="do not fit.*with 2 labels"):
        train(track, fewer, QUICK, runs=tmp_path, start=alone)
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        train(track, PAPER, QUICK, runs=tmp_path, start=tmp_path / "none.ckpt")
    assert not list(tmp_path.glob("run-*")), "nothing was written"


def test_a_track_of_some_patients_is_another_track(track, tmp_path):
    some = sorted(track.split("train")["patient"].unique())[:3]
    kept = track.table["patient"].isin(some) | (track.table["split"] != "train")
    fewer = dataclasses.replace(track, table=track.table[kept])
    data = training.make_data(fewer, PAPER, QUICK)
    assert len(data.dataset("train")) == 6
    assert len(data.dataset("valid")) == 8
    whole = training.make_data(track, PAPER, QUICK)
    assert training.fingerprint(data, QUICK) != training.fingerprint(whole, QUICK)


def test_a_run_scores_every_image_of_a_track(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    other = dataclasses.replace(track, table=track.table.iloc[::-1])
    scores = training.score(run, other)
    assert scores.index.equals(other.table.index)
    valid = training.make_data(track, PAPER, QUICK).dataset("valid")
    expected = training.predict(run.model(), valid, PAPER.labels)
    rows = track.split("valid").index
    np.testing.assert_allclose(scores.loc[rows], expected, rtol=1e-4)


def test_an_image_that_is_gone_is_named(chexpert_folder, tmp_path):
    track = open_track(chexpert_folder)
    gone = chexpert_folder / track.table["path"].iloc[2]
    gone.unlink()
    with pytest.raises(DataError, match=gone.name):
        training.train(track, paper_hierarchy(), Settings(size=32, epochs=1), runs=tmp_path)
