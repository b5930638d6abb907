"""A run's folder: what decides it, and what must survive."""

import dataclasses
import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import pandas as pd
import pytest
import torch
from conftest import PAPER, QUICK, same_weights

from cxrlib import configs, training
from cxrlib.data import DataError, images, open_track
from cxrlib.hierarchy import Hierarchy
from cxrlib.training import Experiment, RunError, Settings, find_run, fit, module, runs, train


def folder_of(track, settings=QUICK, hierarchy=PAPER, trainer=None, start=None):
    data = training.make_data(track, hierarchy, settings)
    options = training.trainer_options(trainer, settings)
    return Experiment("run", settings, data, options, start).folder("runs").name


# --- What decides a run ---------------------------------------------------------------------------


def test_a_second_call_finds_the_run(track, tmp_path, monkeypatch):
    first = train(track, PAPER, QUICK, runs=tmp_path)
    monkeypatch.setattr(fit, "_fit", lambda *a, **k: pytest.fail("trained again"))
    again = train(track, PAPER, QUICK, runs=tmp_path, workers=2, trainer={"profiler": "simple"})
    assert again.folder == first.folder, "workers and a profiler do not decide the result"
    assert same_weights(again.model(), first.model())


def test_all_that_decides_the_result_makes_another_run(track, monkeypatch):
    relabelled = track.table.copy()
    relabelled.loc[0, "Edema"] = 1 - relabelled.loc[0, "Edema"]
    rules = dataclasses.replace(
        PAPER, none_of={"Abnormal": ("No Finding",), "Uncertain": ("Edema",)}
    )
    folders = [
        folder_of(track),
        folder_of(dataclasses.replace(track, table=relabelled)),
        folder_of(track, dataclasses.replace(QUICK, seed=1)),
        folder_of(track, dataclasses.replace(QUICK, augment="none")),
        folder_of(track, dataclasses.replace(QUICK, head="pointing")),
        folder_of(track, hierarchy=Hierarchy(PAPER.labels, PAPER.edges[1:], PAPER.none_of)),
        folder_of(track, hierarchy=rules),
        folder_of(track, trainer={"limit_train_batches": 1}),
        folder_of(track, trainer={"precision": "bf16-mixed"}),
        folder_of(track, trainer={"gradient_clip_val": 1.0}),
        folder_of(track, trainer={"devices": 2}),
    ]
    monkeypatch.setattr(runs, "RECIPE", runs.RECIPE + 1)
    folders.append(folder_of(track))
    assert len(set(folders)) == len(folders)


def test_an_image_of_the_same_size_and_time_but_other_grey_levels_is_other_data(track):
    before = folder_of(track)
    path = track.folder / track.table["path"].iloc[0]
    about = path.stat()
    other = track.folder / track.table["path"].iloc[1]
    path.write_bytes(other.read_bytes()[: about.st_size].ljust(about.st_size, b"\0"))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_mtime_ns == about.st_mtime_ns
    assert folder_of(track) != before


def test_another_start_is_another_run(track, tmp_path):
    first = train(track, PAPER, QUICK, name="a", runs=tmp_path)
    by_run = train(track, PAPER, QUICK, runs=tmp_path, start=first)
    by_path = train(track, PAPER, QUICK, runs=tmp_path, start=first.folder / "best-auroc.ckpt")
    assert by_path.folder == by_run.folder, "the same weights are the same start"
    second = train(track, PAPER, Settings(size=32, epochs=1, batch_size=8), runs=tmp_path)
    other = train(track, PAPER, QUICK, runs=tmp_path, start=second)
    scratch = train(track, PAPER, QUICK, runs=tmp_path)
    assert len({by_run.folder, other.folder, scratch.folder}) == 3


def test_a_track_of_some_patients_is_another_track(track):
    some = sorted(track.split("train")["patient"].unique())[:3]
    kept = track.table["patient"].isin(some) | (track.table["split"] != "train")
    fewer = dataclasses.replace(track, table=track.table[kept])
    data = training.make_data(fewer, PAPER, QUICK)
    assert len(data.dataset("train")) == 6
    assert len(data.dataset("valid")) == 8
    assert folder_of(fewer) != folder_of(track)


@pytest.mark.parametrize("name", ["../../etc/x", "a/b", "", ".hidden", "a\nb"])
def test_a_name_that_leaves_the_folder_is_refused(track, tmp_path, name):
    with pytest.raises(ValueError, match="name=.*expected letters"):
        train(track, PAPER, QUICK, name=name, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


# --- A run says what it is ------------------------------------------------------------------------


def test_a_run_is_trained_again_from_its_folder_alone(chexpert_folder, tmp_path):
    """Report labels, another policy, other edges, a start, and an argument of the trainer."""
    track = open_track(chexpert_folder, labels="report", uncertain="U-Zeros")
    hierarchy = Hierarchy(PAPER.labels, PAPER.edges[1:], PAPER.none_of)
    first = train(track, hierarchy, QUICK, name="first", runs=tmp_path / "runs")
    run = train(
        track, hierarchy, dataclasses.replace(QUICK, method="hbce-hinge"), name="tuned",
        runs=tmp_path / "runs", start=first, trainer={"gradient_clip_val": 0.1},
    )  # fmt: skip
    moved = run.folder.rename(tmp_path / run.folder.name)
    again = configs.train_again(moved, tmp_path / "again")
    for checkpoint in ("last", "best-auroc", "best-loss"):
        assert same_weights(find_run(moved).model(checkpoint), again.model(checkpoint))
    assert again.hierarchy == hierarchy
    table = track.table.assign(Edema=1 - track.table["Edema"])
    for split, rows in table.groupby("split"):
        rows = rows.assign(Path="x/" + rows["path"]).drop(columns=["path", "split"])
        rows.to_csv(chexpert_folder / f"{split}.csv", index=False)
    with pytest.raises(RunError, match="data would not be those it was trained with.*Nothing was"):
        configs.train_again(moved, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_run_is_not_found_for_other_edges_or_rules(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    assert find_run(run.folder).hierarchy == PAPER
    with pytest.raises(RunError, match="other labels"):
        find_run(run.folder, Hierarchy(["A"], []))
    for other in (
        Hierarchy(PAPER.labels, PAPER.edges[1:], PAPER.none_of),
        dataclasses.replace(PAPER, none_of={}),
    ):
        with pytest.raises(RunError, match=r"other edges or rules.*hierarchy\.yaml"):
            find_run(run.folder, other)


def test_a_setting_that_came_later_leaves_earlier_runs_where_they_are(track, monkeypatch):
    now = folder_of(track)
    monkeypatch.setattr(runs, "asdict", lambda s: vars(s) | {"later": "usual"})
    assert folder_of(track) != now
    monkeypatch.setitem(runs.LATER, "later", "usual")
    assert folder_of(track) == now


def test_a_run_with_another_head_is_found_and_its_model_is_of_that_kind(track, tmp_path):
    pointing = dataclasses.replace(QUICK, head="pointing")
    run = train(track, PAPER, pointing, runs=tmp_path)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["settings"]["head"] == "pointing"
    assert hasattr(find_run(run.folder).model().head, "shares")
    with pytest.raises(RunError, match="its head is 'pointing', this training's is 'paper'"):
        train(track, PAPER, QUICK, start=run, runs=tmp_path)


def test_the_record_is_readable(track, tmp_path):
    run = train(track, PAPER, QUICK, name="noted", runs=tmp_path)
    record = json.loads((run.folder / "run.json").read_text())
    assert record["hierarchy"] == PAPER.to_dict()
    assert record["versions"]["torch"] == torch.__version__
    assert record["settings"]["size"] == 32
    assert (record["device"], record["threads"]) == ("cpu", torch.get_num_threads())


def test_code_that_has_changed_is_said_and_the_run_is_still_found(track, tmp_path, monkeypatch):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    monkeypatch.setattr(runs, "CODE", "0123456789")
    with pytest.warns(UserWarning, match=f"{run.folder.name}.*another version of the code"):
        assert train(track, PAPER, QUICK, runs=tmp_path).folder == run.folder


def test_code_that_changed_between_two_stretches_is_said_and_kept(track, tmp_path, monkeypatch):
    in_a_process(track, LONGER, tmp_path, DIE_IN_EPOCH_2).communicate()
    monkeypatch.setattr(module, "CODE", "0123456789")
    with pytest.warns(UserWarning, match="began with another version of the code"):
        run = train(track, PAPER, LONGER, runs=tmp_path)
    assert json.loads((run.folder / "run.json").read_text())["code"] == f"{runs.CODE} 0123456789"


def test_a_device_that_changed_between_two_stretches_is_said_and_kept(track, tmp_path, monkeypatch):
    in_a_process(track, LONGER, tmp_path, DIE_IN_EPOCH_2).communicate()
    monkeypatch.setattr(module, "device_name", lambda _: "abacus")
    with pytest.warns(UserWarning, match=r"began on another device \(cpu, now abacus\)"):
        run = train(track, PAPER, LONGER, runs=tmp_path)
    assert json.loads((run.folder / "run.json").read_text())["device"] == "cpu, then abacus"


def test_a_folder_of_that_name_without_a_run_is_said_before_training(track, tmp_path, monkeypatch):
    folder = tmp_path / folder_of(track)
    folder.mkdir()
    (folder / "best-auroc.ckpt").write_bytes(b"half a copy")
    monkeypatch.setattr(fit, "_fit", lambda *a: pytest.fail("trained first"))
    with pytest.raises(RunError, match=f"{folder.name}: holds no finished run"):
        train(track, PAPER, QUICK, runs=tmp_path)


def test_images_replaced_during_a_training_are_noticed(track, tmp_path, monkeypatch):
    """The map is deleted and filled in another order while it is used."""
    monkeypatch.setenv("CXR_CACHE", str(tmp_path / "cache"))
    hook = module.EpochProgress.on_train_epoch_end

    def replace_map(self, trainer, *args):
        hook(self, trainer, *args)
        shutil.rmtree(tmp_path / "cache")
        images.ImageMap(track.folder, QUICK.size).rows(track.table["path"].tolist()[::-1])

    monkeypatch.setattr(module.EpochProgress, "on_train_epoch_end", replace_map)
    with pytest.raises(DataError, match="is not what was decoded"):
        train(track, PAPER, QUICK, runs=tmp_path / "runs")


def test_a_damaged_record_is_named(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    good = (run.folder / "run.json").read_text()
    for bad in ("{}", "", "[]", "5", good.replace('"settings": {', '"settings": {"extra": 1,'),
                good.replace('"seconds": ', '"seconds": "x'), '{"settings": null}'):  # fmt: skip
        (run.folder / "run.json").write_text(bad)
        with pytest.raises(RunError, match=r"run\.json: not the record of a run"):
            find_run(run.folder)
    (run.folder / "run.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=r"run\.json"):
        find_run(run.folder)
    (run.folder / "run.json").write_text(good)
    for bad in (b"", b"epoch\n1,2,3\n", b"a,b\n1,x\n", b"\xff\xfe", b"epoch,train_loss\n1,x\n"):
        (run.folder / "curves.csv").write_bytes(bad)
        with pytest.raises(RunError, match=r"curves\.csv"):
            find_run(run.folder)
    with pytest.raises(FileNotFoundError, match="no finished run"):
        find_run(tmp_path / "nowhere")


# --- Nothing that was trained is lost -------------------------------------------------------------

LONGER = Settings(size=32, epochs=4, batch_size=4, augment="strong", method="hbce-hinge")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no memory"), DataError("an image"), OSError(5, "I/O"), KeyError("x")],
)
def test_whatever_is_raised_what_was_trained_is_kept(track, tmp_path, monkeypatch, error):
    whole = train(track, PAPER, LONGER, runs=tmp_path / "whole")

    def fail(self, trainer, *_):
        if trainer.current_epoch == 2:
            raise error

    monkeypatch.setattr(module.EpochProgress, "on_train_batch_end", fail)
    with pytest.raises((type(error), OSError), match="no memory|an image|I/O|x"):
        train(track, PAPER, LONGER, runs=tmp_path / "runs")
    monkeypatch.undo()
    (place,) = (tmp_path / "runs").glob(".run-*.partial")
    assert len(pd.read_csv(place / "curves.csv")) == 2
    seen = []
    monkeypatch.setattr(
        module.EpochSeed,
        "on_train_epoch_start",
        _noted(module.EpochSeed.on_train_epoch_start, seen),
    )
    resumed = train(track, PAPER, LONGER, runs=tmp_path / "runs")
    assert seen == [2, 3], "it went on with the epoch that was not finished"
    assert same_weights(whole.model("last"), resumed.model("last"))
    assert resumed.seconds > 0


def _noted(hook, seen):
    def wrapped(self, trainer, module):
        seen.append(trainer.current_epoch)
        hook(self, trainer, module)

    return wrapped


def test_an_interrupted_training_does_not_look_finished(track, tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module.EpochProgress, "on_train_batch_end", die)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(track, PAPER, QUICK, runs=tmp_path)
    assert not list(tmp_path.glob("run-*"))
    monkeypatch.undo()
    assert len(train(track, PAPER, QUICK, runs=tmp_path).curves) == 2


SCRIPT = """
import os, random, signal, sys, threading, time
from cxrlib import training
from cxrlib.data import open_track
from cxrlib.hierarchy import paper_hierarchy
{prelude}
training.train(open_track({data!r}), paper_hierarchy(),
               training.{settings!r}, runs={runs!r}, workers={workers})
"""


def in_a_process(track, settings, runs, prelude="", workers=0):
    script = SCRIPT.format(
        prelude=prelude, data=str(track.folder), settings=settings, runs=str(runs), workers=workers
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


DIE_IN_EPOCH_2 = """
def die(self, trainer, *_):
    if trainer.current_epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

training.EpochProgress.on_train_batch_end = die
"""


BY_THE_PAPER = dataclasses.replace(LONGER, recipe="paper", lr=1e-3)


@pytest.mark.parametrize(("settings", "workers"), [(LONGER, 0), (LONGER, 2), (BY_THE_PAPER, 2)])
def test_a_killed_training_resumed_ends_in_the_same_bits(track, tmp_path, settings, workers):
    """Killed for good (SIGKILL) in the third epoch, in another process, augmented."""
    whole = train(track, PAPER, settings, runs=tmp_path / "whole")
    killed = in_a_process(track, settings, tmp_path / "killed", DIE_IN_EPOCH_2, workers)
    _, errors = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, errors
    assert not list((tmp_path / "killed").glob("run-*")), "no finished run"
    resumed = train(track, PAPER, settings, runs=tmp_path / "killed", workers=workers)
    assert_same_run(whole, resumed)


def assert_same_run(whole, other):
    for checkpoint in ("last", "best-auroc", "best-loss"):
        assert same_weights(whole.model(checkpoint), other.model(checkpoint)), checkpoint
    pd.testing.assert_frame_equal(whole.curves, other.curves)
    tables = [(run.folder / "predictions.csv").read_bytes() for run in (whole, other)]
    assert tables[0] == tables[1]


def kill_at_random_moments(track, settings, whole, place, moments, seed):
    """Train in processes that are killed after random times, until one ends; compare the run."""
    rng = random.Random(seed)
    for number in range(moments):
        process = in_a_process(track, settings, place, workers=2 * (number % 2))
        time.sleep(rng.uniform(1.5, 5))
        process.send_signal(signal.SIGKILL)
        process.wait(60)  # not communicate(): its workers may hold the pipes open a while
        process.stdout.close()
        process.stderr.close()
    assert_same_run(whole, train(track, PAPER, settings, runs=place))


def test_killed_at_random_moments(track, tmp_path):
    settings = dataclasses.replace(LONGER, epochs=12)
    whole = train(track, PAPER, settings, runs=tmp_path / "whole")
    kill_at_random_moments(track, settings, whole, tmp_path / "killed", moments=3, seed=0)


@pytest.mark.parametrize("recipe", ["workshop", "paper"])
def test_killed_when_all_but_publishing_is_done(track, tmp_path, monkeypatch, recipe):
    # A learning rate of almost 0 keeps the validation loss where it is: the paper's recipe stops.
    settings = Settings(size=32, epochs=14, batch_size=16, recipe=recipe, lr=1e-12)
    whole = train(track, PAPER, settings, runs=tmp_path / "whole")
    monkeypatch.setattr(fit, "_record", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(track, PAPER, settings, runs=tmp_path / "killed")
    monkeypatch.undo()
    monkeypatch.setattr(module.Classifier, "training_step", lambda *a: pytest.fail("trained on"))
    assert_same_run(whole, train(track, PAPER, settings, runs=tmp_path / "killed"))


def test_two_processes_at_one_run(track, tmp_path):
    """One trains it, the other waits and finds it."""
    settings = dataclasses.replace(LONGER, epochs=8)
    both = [in_a_process(track, settings, tmp_path) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    epochs = [text.count("run: epoch") for text in said]
    assert sorted(epochs) == [0, 8], said
    assert "another process trains this run; waiting" in said[epochs.index(0)]
    (folder,) = tmp_path.glob("run-*")
    assert len(find_run(folder).curves) == 8


def test_an_old_lock_of_a_process_that_is_gone_is_none(track, tmp_path):
    folder = tmp_path / folder_of(track)
    (tmp_path / f".{folder.name}.lock").write_text("1")  # the first process of every machine
    assert train(track, PAPER, QUICK, runs=tmp_path).folder == folder


def test_a_runs_folder_that_moved_while_interrupted_keeps_its_best(track, tmp_path):
    settings = dataclasses.replace(LONGER, epochs=6)
    whole = train(track, PAPER, settings, runs=tmp_path / "whole")
    killed = in_a_process(
        track, settings, tmp_path / "here", DIE_IN_EPOCH_2.replace("== 2", "== 4")
    )
    killed.communicate()
    (tmp_path / "here").rename(tmp_path / "there é and blanks")
    resumed = train(track, PAPER, settings, runs=tmp_path / "there é and blanks")
    assert_same_run(whole, resumed)


@pytest.mark.parametrize(
    "what",
    ["pandas.DataFrame.to_csv", "pathlib.Path.write_bytes", "torch.save", "os.replace"],
)
def test_a_full_disk_at_any_write_is_explained(track, tmp_path, monkeypatch, what):
    training.make_data(track, PAPER, QUICK).dataset("train")  # the images are decoded already
    folder_of(track)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(what, full)
    with pytest.raises(OSError, match=r"run-\w+: the run could not be written.*No space"):
        train(track, PAPER, QUICK, runs=tmp_path)
    assert not list(tmp_path.glob("run-*"))
    monkeypatch.undo()
    assert len(train(track, PAPER, QUICK, runs=tmp_path).curves) == 2


def test_a_folder_that_cannot_be_written_to(track, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        train(track, PAPER, QUICK, runs=tmp_path / "file" / "runs")


# --- Files of others ------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return (os.mkdir, (os.environ["BOMB"],))


def test_a_planted_or_damaged_last_checkpoint_is_named_and_never_run(track, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    killed = in_a_process(track, LONGER, tmp_path / "runs", DIE_IN_EPOCH_2)
    killed.communicate()
    (place,) = (tmp_path / "runs").glob(".run-*.partial")
    last = place / "last.ckpt"
    good = last.read_bytes()
    with zipfile.ZipFile(last) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    bit = bytearray(good)
    bit[largest.header_offset + 200 + largest.file_size // 2] ^= 16
    bomb, other = io.BytesIO(), io.BytesIO()
    torch.save(torch.load(last, weights_only=True) | {"bomb": Bomb()}, bomb)
    torch.save({"state_dict": {}}, other)
    for bad in (bomb.getvalue(), other.getvalue(), bit, good[: len(good) // 2], b"hello", b""):
        last.write_bytes(bad)
        with pytest.raises((RunError, OSError), match=r"last\.ckpt"):
            train(track, PAPER, LONGER, runs=tmp_path / "runs")
        assert not (tmp_path / "exploded").exists()
        assert last.read_bytes() == bad, "nothing that could be mended is deleted"
    last.write_bytes(good)
    assert len(train(track, PAPER, LONGER, runs=tmp_path / "runs").curves) == 4


def test_a_run_can_be_copied_to_a_folder_that_is_only_read(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    run.folder.chmod(0o555)
    try:
        assert find_run(run.folder).model("last") is not None
    finally:
        run.folder.chmod(0o755)


def test_the_images_are_decoded_once(track, tmp_path, monkeypatch):
    train(track, PAPER, QUICK, runs=tmp_path / "a")
    monkeypatch.setattr(images, "load_image", lambda *a: pytest.fail("decoded again"))
    train(track, PAPER, dataclasses.replace(QUICK, seed=5), runs=tmp_path / "b")
