import dataclasses
import json
import subprocess
import sys
from inspect import signature

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from cxrlib import configs, models, training
from cxrlib.configs import CONFIGS, ConfigError, read_config
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.training import Classifier, Settings

PAPER = paper_hierarchy()
QUICK = ["--settings.size", "32", "--settings.epochs", "1", "--settings.batch_size", "8"]


def test_every_config_is_read_and_documents_every_field():
    fields = {field.name for field in dataclasses.fields(Settings)}
    files = sorted(CONFIGS.glob("*.yaml"))
    assert {"workshop", "paper"} < {path.stem for path in files}
    for path in files:
        config = read_config(path.stem)
        assert config.name == path.stem
        assert set(config.trainer) == set(signature(pl.Trainer).parameters)
        lines = path.read_text().splitlines()
        named = {line.split(":")[0].strip() for line in lines if line.startswith("  ")}
        assert fields <= named, f"{path.name} leaves a setting to a default"
        assert set(config.data) <= named
        head = lines[: lines.index(next(line for line in lines if line.startswith("name:")))]
        assert len(head) > 2
        assert all(line.startswith("#") or not line for line in head)


def test_the_workshops_config_is_the_default():
    assert read_config("workshop").settings == Settings()


def test_the_pointing_config_differs_from_the_workshops_where_it_says_so():
    ours, workshop = (dataclasses.asdict(read_config(n).settings) for n in ("pointing", "workshop"))
    differ = {name for name in ours if ours[name] != workshop[name]}
    lines = (CONFIGS / "pointing.yaml").read_text().splitlines()
    assert differ == {line.split(":")[0].strip() for line in lines if "# *" in line}
    assert differ == {"head", "dropout", "epochs", "small_epochs"}


def test_the_papers_config_is_the_papers(chexpert_folder):
    """The figures of arXiv 2502.03591, one by one."""
    config = read_config("paper")
    settings = config.settings
    assert (settings.method, settings.penalties, settings.weight) == ("hbce-step", "fixed", 1.0)
    assert (settings.size, settings.batch_size, settings.epochs) == (320, 16, 100)
    assert (settings.augment, settings.equalize, settings.dropout) == ("published", False, 0.5)
    assert config.data["labels"] == "visualchexbert"
    classifier = Classifier(settings, PAPER)
    made = classifier.configure_optimizers()
    assert type(made["optimizer"]) is torch.optim.Adam
    assert made["optimizer"].param_groups[0]["lr"] == 1e-4
    plateau = made["lr_scheduler"]["scheduler"]
    assert made["lr_scheduler"]["monitor"] == "val_loss"
    assert (plateau.factor, plateau.patience, plateau.min_lrs) == (0.9, 1, [1e-8])
    made = training.make_callbacks(settings, chexpert_folder, "paper")
    (stop,) = (c for c in made if isinstance(c, EarlyStopping))
    assert (stop.monitor, stop.patience) == ("val_loss", 10)
    # DenseNet121's features (torchvision's 7,978,856 less its classifier of 1024 × 1000 + 1000).
    assert models.count_parameters(classifier.model.features) == 7_978_856 - 1_025_000
    # 3×3 convolution to 512, batch normalisation, dense 128, dense 21: weights and biases.
    head = (1024 * 9 + 1) * 512 + 2 * 512 + (512 + 1) * 128 + (128 + 1) * 21
    assert models.count_parameters(classifier.model.head) == head


def test_one_step_of_the_papers_config_at_320_pixels(chexpert_folder):
    config = read_config("paper")
    track, hierarchy = config.open(chexpert_folder)
    data = training.make_data(track, hierarchy, config.settings)
    grey, targets, items = next(iter(data.train_dataloader()))
    images = data.prepare(grey, items, epoch=0)
    assert images.shape == (16, 1, 320, 320)
    torch.manual_seed(0)
    model = Classifier(config.settings, hierarchy).model
    logits = model(images[:2])
    assert logits.shape == (2, 21)
    before = model.head.logits.weight.clone()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.settings.lr)
    training.make_loss(config.settings, hierarchy, data.targets("train"))(
        logits, targets[:2]
    ).backward()
    optimizer.step()
    # Adam's first step moves every weight that has a gradient by the learning rate.
    moved = (model.head.logits.weight - before).abs()
    assert moved.max().item() == pytest.approx(1e-4, rel=0.01)


def test_the_command_line_trains_what_a_notebook_trains(chexpert_folder, tmp_path):
    file = tmp_path / "mine.yaml"
    text = (CONFIGS / "workshop.yaml").read_text()
    changes = {"size: 96": "size: 32", "epochs: 20": "epochs: 1", "method: flat": "method: smooth"}
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "cxrlib", "fit", "--config", str(file), "--runs", str(runs)]
    command += ["--data.folder", str(chexpert_folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    (folder,) = runs.glob("workshop-*")
    config = read_config(file)
    run = training.train(
        *config.open(chexpert_folder), config.settings, name=config.name, runs=tmp_path / "again"
    )
    assert run.folder.name == folder.name
    weights = training.find_run(folder, PAPER).model("last").state_dict()
    for name, value in run.model("last").state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert (folder / "predictions.csv").read_bytes() == (
        run.folder / "predictions.csv"
    ).read_bytes()
    again = read_config(folder / "config.yaml")
    assert again.settings == config.settings
    own = {"folder": str(chexpert_folder), "hierarchy": str(folder / "hierarchy.yaml")}
    assert again.data == config.data | own
    again = subprocess.run(command, capture_output=True, text=True)
    assert "done" in again.stdout
    assert "epoch" not in again.stderr, "it was found, not trained again"


def test_two_processes_train_one_model_on_half_the_images_each(chexpert_folder, tmp_path):
    command = [sys.executable, "-m", "cxrlib", "fit", "--config", str(CONFIGS / "workshop.yaml")]
    command += ["--data.folder", str(chexpert_folder), "--runs", str(tmp_path / "runs"), *QUICK]
    command += ["--settings.batch_size", "2", "--trainer.accelerator", "cpu"]
    command += ["--trainer.devices", "2", "--trainer.strategy", "ddp"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").glob("workshop-*")
    steps = torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert steps == 16 / 2 / 2, "16 images, two processes, two images a step"
    assert len(pd.read_csv(folder / "predictions.csv")) == 16


def test_a_runs_folder_says_how_to_make_it_again(chexpert_folder, tmp_path):
    config = read_config("workshop")
    settings = dataclasses.replace(config.settings, size=32, epochs=1, method="max-constraint")
    run = training.train(*config.open(chexpert_folder), settings, runs=tmp_path)
    assert read_config(run.folder / "config.yaml").settings == settings
    record = json.loads((run.folder / "run.json").read_text())
    assert record["settings"]["method"] == "max-constraint"
    assert len(record["data"]) == 10
    table = pd.read_csv(run.folder / "predictions.csv")
    assert set(table["split"]) == {"valid", "test"}
    scores = PAPER.to_table(table[[f"{label}_Pred" for label in PAPER.labels]])
    assert PAPER.violations(scores)["soft"].sum() == 0, "the constrained output is what is kept"


def test_what_is_wrong_with_a_config_is_named(tmp_path):
    good = (CONFIGS / "workshop.yaml").read_text()
    cases = {
        "methud": ("  method:", "  methud:"),
        "banana": ("method: flat", "method: banana"),
        "epochs=0": ("epochs: 20", "epochs: 0"),
        "epochs": ("epochs: 20", "epochs: many"),
        "folders": ("  folder:", "  folders:"),
        "devises": ("  devices:", "  devises:"),
        "model": ("settings:", "model:"),
    }
    for named, (old, new) in cases.items():
        assert old in good
        file = tmp_path / "bad.yaml"
        file.write_text(good.replace(old, new))
        with pytest.raises(ConfigError, match=rf"bad\.yaml.*{named}"):
            read_config(file)
    with pytest.raises(ConfigError, match=r"papers: no such config. There are .*paper"):
        read_config("papers")


def test_the_command_line_says_what_is_wrong_in_a_line(chexpert_folder, tmp_path):
    run = ["--config", str(CONFIGS / "workshop.yaml"), "--runs", str(tmp_path / "runs")]
    run += ["--data.folder", str(chexpert_folder)]
    for options, message in (
        (["--settings.method", "banana"], "method='banana': choose one of flat"),
        (["--data.folder", str(tmp_path / "nowhere")], "nowhere"),
        (["--data.fraction", "7"], "fraction"),
    ):
        with pytest.raises(SystemExit) as stopped:
            configs.main([*run, *QUICK, *options])
        assert message in str(stopped.value)
        assert "\n" not in str(stopped.value)
    for option in ("--settings.methud", "--trainer.devises", "--model.settings"):
        with pytest.raises(SystemExit, match=option.strip("-")):
            configs.main([*run, option, "1"])
    with pytest.raises(SystemExit, match="trainer.max_epochs=3 is not for a run.*settings.epochs"):
        configs.main([*run, "--trainer.max_epochs", "3"])
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nname: b\n")
    for form in (["--config", str(file)], [f"--config={file}"]):
        with pytest.raises(SystemExit, match="name"):
            configs.main(form)
    with pytest.raises(SystemExit, match="name='../x'"):
        configs.main([*run, "--name", "../x"])
    assert not (tmp_path / "runs").exists(), "nothing was written"


def test_some_of_the_training_patients(chexpert_folder):
    track, _ = configs.open_data(str(chexpert_folder))
    half, _ = configs.open_data(str(chexpert_folder), fraction=0.5)
    quarter, _ = configs.open_data(str(chexpert_folder), fraction=0.25)
    people = [set(t.split("train")["patient"]) for t in (track, half, quarter)]
    assert [len(some) for some in people] == [8, 4, 2]
    assert people[2] < people[1] < people[0]
    for split in ("valid", "test"):
        assert half.split(split)["path"].tolist() == track.split(split)["path"].tolist()
    other, _ = configs.open_data(str(chexpert_folder), fraction=0.5, fraction_seed=1)
    assert set(other.split("train")["patient"]) != people[1]
