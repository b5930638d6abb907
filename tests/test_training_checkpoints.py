import zipfile

import pytest
import torch
from conftest import PAPER, QUICK

from cxrlib import models
from cxrlib.training import RunError, load_model, read_checkpoint, train
from cxrlib.training.checkpoints import SafeCheckpoints


@pytest.fixture
def path(tmp_path):
    model = models.build("tiny", 21)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    SafeCheckpoints().save_checkpoint({"state_dict": state}, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


def test_what_is_saved_is_read(path):
    state = read_checkpoint(path)["state_dict"]
    model = load_model(path, QUICK, PAPER)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[f"model.{name}"])
    assert not model.training
    assert [file.name for file in path.parent.iterdir()] == ["a.ckpt"], "nothing else is left"


def test_every_flipped_bit_of_a_weight_is_noticed(path):
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.file_size > 1000]
    for number, entry in enumerate(entries[:20]):
        changed = bytearray(good)
        changed[entry.header_offset + 300 + 37 * number] ^= 1 << number % 8
        path.write_bytes(changed)
        with pytest.raises(RunError, match=r"a\.ckpt: damaged.*checksum"):
            read_checkpoint(path)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_file_that_is_not_whole_is_named(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(RunError, match=r"a\.ckpt: damaged"):
        read_checkpoint(path)


def test_code_in_a_checkpoint_is_not_run_nor_recommended(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code in the checkpoint was run",))

    torch.save({"state_dict": {}, "bomb": Bomb()}, path)
    with pytest.raises(RunError, match="without running code") as caught:
        read_checkpoint(path)
    assert "weights_only=False" not in str(caught.value)


@pytest.mark.parametrize("content", [5, [1], {}, {"state_dict": 5}, {"state_dict": {"model.x": 1}}])
def test_another_content_is_no_model(path, content):
    torch.save(content, path)
    with pytest.raises(RunError, match=r"a\.ckpt: its weights do not fit the preset 'tiny'"):
        load_model(path, QUICK, PAPER)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(path, value):
    content = read_checkpoint(path)
    content["state_dict"]["model.head.logits.bias"][3] = value
    torch.save(content, path)
    with pytest.raises(RunError, match=r"head\.logits\.bias are not all numbers"):
        load_model(path, QUICK, PAPER)


def test_a_write_that_fails_leaves_the_old_checkpoint(path, monkeypatch):
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"a\.ckpt: not written.*disk full"):
        SafeCheckpoints().save_checkpoint({}, path)
    assert path.read_bytes() == before


def test_a_missing_checkpoint_names_those_that_are_there(track, tmp_path):
    run = train(track, PAPER, QUICK, runs=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"best-f1.*best-auroc"):
        run.model("best-f1")
