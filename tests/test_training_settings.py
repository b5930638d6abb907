import dataclasses

import numpy as np
import pytest
from pytorch_lightning.strategies import DDPStrategy

from cxrlib.training import METHODS, Settings, trainer_options
from cxrlib.training.settings import DEFAULTS, decisive


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="method='bce'.*flat"):
        Settings(method="bce")
    for field, value in {
        "epochs": 0, "small_epochs": -1, "size": 96.5, "lr": 0.0, "weight": -1.0, "dropout": 1.5,
        "seed": -1, "smoothing": 1.0, "batch_size": True, "weights": "best", "compile": 1,
        "equalize": "yes", "method": ["flat"], "penalties": None, "preset": "96",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"{field}=.*(expected|choose)"):
            Settings(**{field: value})
    with pytest.raises(ValueError, match="weight=nan"):
        Settings(weight=float("nan"))
    with pytest.raises(ValueError, match="head='best'.*paper, pointing"):
        Settings(head="best")
    with pytest.raises(ValueError, match="small_epochs=3: expected fewer than epochs=3"):
        Settings(small_epochs=3, epochs=3)
    with pytest.raises(ValueError, match="small_epochs: expected a size of at least 48"):
        Settings(small_epochs=1, size=47)
    with pytest.raises(ValueError, match="only preset='densenet121'"):
        Settings(weights="imagenet")


def test_numbers_of_a_sweep_are_plain_numbers():
    """NumPy's numbers are taken, and are the same settings, also in a file."""
    settings = Settings(seed=np.int64(1), lr=np.float64(0.01), epochs=np.int32(3))
    assert settings == Settings(seed=1, lr=0.01, epochs=3)
    assert {type(value) for value in dataclasses.asdict(settings).values()} <= {
        int, float, str, bool}  # fmt: skip


def test_every_method_is_a_loss_and_a_readout():
    for loss, readout in METHODS.values():
        assert callable(loss)
        assert callable(readout)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("max_epochs", 3, "settings.epochs"),
        ("callbacks", [], "folder could not say"),
        ("enable_checkpointing", False, "checkpoints"),
        ("max_time", "00:01:00:00", "fast a machine"),
        ("overfit_batches", 2, "limit_train_batches"),
        ("use_distributed_sampler", False, "deal out"),
        ("limit_val_batches", 0, "choose by"),
        ("limit_train_batches", 0, "train"),
        ("max_steps", 7, "settings.epochs"),
        ("precision", "64-true", "32-true, 16-mixed"),
        ("devices", "auto", "the same on every machine"),
        ("devices", -1, "the same on every machine"),
        ("val_check_interval", "00:00:00:05", "a number"),
        ("check_val_every_n_epoch", "2", "at most settings.epochs"),
        ("check_val_every_n_epoch", 21, "at most settings.epochs, 20"),
        ("strategy", DDPStrategy(), "a word or a number"),
        ("devises", 2, "no argument of Lightning's"),
    ],
)
def test_a_trainer_argument_that_a_run_cannot_follow_is_refused_by_name(name, value, instead):
    with pytest.raises(ValueError, match=rf"trainer\.{name}.*{instead}"):
        trainer_options({name: value}, Settings())


def test_what_the_trainer_is_asked_anyway_is_no_option():
    assert (
        trainer_options(DEFAULTS | {"precision": "32-true", "max_epochs": None}, Settings()) == {}
    )
    assert trainer_options(None, Settings()) == {}
    given = {"precision": "bf16-mixed", "devices": 2, "logger": True, "gradient_clip_val": 1.0}
    assert trainer_options(given, Settings()) == given
    assert "logger" not in decisive(given), "who writes a log does not decide the result"
    assert decisive(given)["precision"] == "bf16-mixed"
    numbers = {
        "gradient_clip_val": np.float64(0.5),
        "devices": "2",
        "limit_train_batches": np.int64(3),
    }
    plain = trainer_options(numbers, Settings())
    assert plain == {"gradient_clip_val": 0.5, "devices": 2, "limit_train_batches": 3}
    assert {type(value) for value in plain.values()} == {float, int}
