"""One YAML file per experiment, read alike by the command line and by the notebooks.

    python -m cxrlib fit --config configs/paper.yaml --data.folder /data/CheXpert-v1.0-small
    python -m cxrlib fit --config configs/workshop.yaml --settings.method hbce-hinge

A file has the sections ``data`` (the arguments of ``FolderData``), ``settings`` (the fields of
``training.Settings``) and ``trainer`` (those of Lightning's ``Trainer``: devices, strategy,
precision). What stands on the command line wins over the file. A field that does not exist is
refused, by its name.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import yaml
from jsonargparse import ArgumentError, Namespace
from pytorch_lightning.cli import LightningCLI

from cxrlib import training
from cxrlib.data import fewer, open_track
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.training import Classifier, Settings

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


class ConfigError(ValueError):
    """A config that cannot be read or has a field that does not exist; the message names both."""


def open_data(
    folder: str | None = None,
    labels: str = "visualchexbert",
    uncertain: str = "U-Ones",
    views: tuple[str, ...] = ("frontal",),
    fraction: float = 1.0,
    hierarchy: str | None = None,
    seed: int = 0,
):
    """The track and the hierarchy that the section ``data`` of a config describes.

    Parameters
    ----------
    folder, labels, uncertain, views : see ``data.open_track``.
    fraction : share of the training patients to learn from, chosen by ``seed``.
    hierarchy : the path of a hierarchy's YAML file; None for the paper's.

    Returns
    -------
    (Track, Hierarchy)
    """
    track = open_track(folder, labels=labels, uncertain=uncertain, views=tuple(views))
    track = track if fraction == 1 else fewer(track, fraction, seed)
    return track, Hierarchy.from_yaml(hierarchy) if hierarchy else paper_hierarchy()


def make_folder_data(
    settings: Settings,
    folder: str | None = None,
    labels: str = "visualchexbert",
    uncertain: str = "U-Ones",
    views: tuple[str, ...] = ("frontal",),
    fraction: float = 1.0,
    hierarchy: str | None = None,
    workers: int = 0,
) -> pl.LightningDataModule:
    """The loaders of a folder.

    Args:
        settings: of the training, for the size of images, augmentation and seed.
        folder: of radiographs; none for what CXR_DATA names, or else the phantom.
        labels: where training labels come from: visualchexbert, report or truth.
        uncertain: the policy for -1: U-Ones, U-Zeros, U-Ignore or U-Soft.
        views: of frontal and lateral.
        fraction: share of the training patients to learn from.
        hierarchy: path of a hierarchy's YAML file; none for the paper's.
        workers: processes that load images; 0 is quickest for small images kept in memory.
    """
    opened = open_data(folder, labels, uncertain, views, fraction, hierarchy, settings.seed)
    return training.make_data(*opened, settings, workers)


class CommandLine(LightningCLI):
    """Lightning's command line with one subcommand, ``fit``, that leaves a run's folder."""

    def __init__(self, **options):
        super().__init__(
            Classifier,
            make_folder_data,
            save_config_callback=None,  # a run's folder has its own record
            seed_everything_default=False,  # settings.seed is the one seed
            auto_configure_optimizers=False,
            **options,
        )

    @staticmethod
    def subcommands():
        return {"fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "ckpt_path"}}

    def add_arguments_to_parser(self, parser):
        parser.add_argument("--name", type=str, default="run", help="of the run's folder")
        parser.add_argument("--runs", type=str, default=str(training.RUNS), help="where runs go")
        parser.add_class_arguments(Settings, "settings")
        parser.link_arguments("settings", "data.settings", apply_on="instantiate")
        parser.link_arguments("settings", "model.settings", apply_on="instantiate")
        parser.link_arguments("data.hierarchy", "model.hierarchy", apply_on="instantiate")

    def before_instantiate_classes(self):
        chosen = self.config.get("fit", self.config)
        pl.seed_everything(chosen.settings.seed, verbose=False)

    def instantiate_trainer(self, **_):
        """The config's trainer, with the callbacks that write a run's folder."""
        config = self.config_init["fit"]
        self.folder = training.run_folder(
            self.datamodule, self.model.settings, config.name, config.runs
        )
        self.place = self.folder.with_name(f".{self.folder.name}.partial")
        self.done = (self.folder / "run.json").is_file()
        if not self.done:
            self.place.mkdir(parents=True, exist_ok=True)
        return super().instantiate_trainer(
            max_epochs=self.model.settings.epochs,
            callbacks=training.make_callbacks(self.model.settings, self.place, config.name),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )

    def fit(self, model, datamodule, **_):
        """Train and keep the run, unless it is there."""
        if self.done:
            print(f"{self.folder}: trained before, nothing to do.")
            return
        config = self.config["fit"]
        training.fit_and_record(self.trainer, model, datamodule, self.place, config.name)
        if self.trainer.is_global_zero:
            whole = {key: _plain(config[key]) for key in ("data", "settings", "trainer")}
            whole["data"]["views"] = list(whole["data"]["views"])
            text = yaml.safe_dump({"name": config.name, **whole}, sort_keys=False)
            (self.place / "config.yaml").write_text(text, encoding="utf-8")
            self.place.rename(self.folder)
            print(f"{self.folder}: done.")


class _Reader(CommandLine):
    """Reads and checks a config, and makes nothing of it."""

    def instantiate_classes(self):
        pass


@dataclass(frozen=True)
class Config:
    """A config, read: ``data`` are arguments of ``open_data``, ``trainer`` of Lightning's."""

    name: str
    data: dict
    settings: Settings
    trainer: dict

    def open(self, folder=None):
        """(Track, Hierarchy) of this config; ``folder`` in place of its own, if given."""
        chosen = {key: value for key, value in self.data.items() if key != "workers"}
        chosen["folder"] = folder or chosen["folder"]
        return open_data(**chosen, seed=self.settings.seed)


def read_config(path):
    """Read one of ``configs/`` by its name (``"paper"``), or a file by its path.

    Raises
    ------
    ConfigError
        No such file, or a field or value that the command line would refuse as well.

    Examples
    --------
    >>> read_config("paper").settings.preset
    'densenet121'
    """
    named = CONFIGS / f"{path}.yaml"
    file = named if named.is_file() else Path(path)
    if not file.is_file():
        known = ", ".join(sorted(found.stem for found in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"{path}: no such config. There are {known}; or give a file's path.")
    args, quietly = ["--config", str(file)], {"exit_on_error": False}
    try:
        with training.quiet_lightning():
            reader = _Reader(run=False, args=args, parser_kwargs=quietly)
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: {error}") from error
    config = reader.config
    try:
        settings = Settings(**_plain(config.settings))
    except ValueError as error:
        raise ConfigError(f"{file}, settings: {error}") from error
    return Config(config.name, _plain(config.data), settings, _plain(config.trainer))


def _plain(namespace):
    """A section of a config as a dictionary."""
    return namespace.as_dict() if isinstance(namespace, Namespace) else dict(namespace)


def main(args=None):
    """The command line; what is wrong with a config or a folder is said in one line."""
    try:
        with training.quiet_lightning():
            CommandLine(args=args)
    except (ValueError, OSError) as error:  # DataError, LabelError and the like are ValueErrors
        sys.exit(f"error: {error}")
