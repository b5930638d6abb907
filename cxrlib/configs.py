"""One YAML file per experiment, read alike by the command line and by the notebooks.

    python -m cxrlib fit --config configs/paper.yaml --data.folder /data/CheXpert-v1.0-small
    python -m cxrlib fit --config configs/workshop.yaml --settings.method hbce-hinge

A file has the sections ``data`` (the arguments of ``open_data``), ``settings`` (the fields of
``training.Settings``) and ``trainer`` (those of Lightning's ``Trainer``: devices, strategy,
precision). What stands on the command line wins over the file. A field that does not exist is
refused, by its name. A finished run's ``config.yaml`` is such a file, and makes the run again.
"""

import re
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytorch_lightning as pl
from jsonargparse import ArgumentParser

from cxrlib import training
from cxrlib.data import fewer, open_track
from cxrlib.hierarchy import read_hierarchy, read_yaml
from cxrlib.places import CONFIGS
from cxrlib.training import RunError, Settings


class ConfigError(ValueError):
    """A config that cannot be read or has a field that does not exist; the message names both."""


def open_data(
    folder: str | None = None,
    labels: str = "visualchexbert",
    uncertain: str | dict[str, str] = "U-Ones",
    views: list[str] = ("frontal",),
    white: int | None = None,
    fraction: float = 1.0,
    fraction_seed: int | None = None,
    hierarchy: str | None = None,
):
    """The track and the hierarchy that the section ``data`` of a config describes.

    Args:
        folder: of radiographs; none for what CXR_DATA names, or else the phantom.
        labels: where training labels come from: visualchexbert, report or truth.
        uncertain: the policy for -1: U-Ones, U-Zeros, U-Ignore or U-Soft; or one per observation.
        views: of frontal and lateral.
        white: the grey level of white in images of more than 8 bits; none for their format's.
        fraction: share of the training patients to learn from.
        fraction_seed: which of them; none for settings.seed.
        hierarchy: one of hierarchies/ by its name, or a YAML file; none for the paper's.

    Returns:
        (Track, Hierarchy)
    """
    track = open_track(folder, labels, uncertain, tuple(views), white)
    track = track if fraction == 1 else fewer(track, fraction, fraction_seed or 0)
    return track, read_hierarchy(hierarchy or "paper")


@dataclass(frozen=True)
class Config:
    """A config, read: ``data`` are arguments of ``open_data``, ``trainer`` of Lightning's."""

    name: str
    data: dict
    settings: Settings
    trainer: dict
    workers: int = 0
    start: str | None = None

    def open(self, folder=None):
        """(Track, Hierarchy) of this config; ``folder`` in place of its own, if given."""
        chosen = self.data | {"folder": folder or self.data["folder"]}
        if chosen["fraction_seed"] is None:
            chosen["fraction_seed"] = self.settings.seed
        return open_data(**chosen)

    def train(self, runs=training.RUNS):
        """Train this config, or find its run: see ``training.train``."""
        how = self.settings, self.name, runs, self.start, self.trainer, self.workers
        return training.train(*self.open(), *how)


def make_parser(**options):
    """The parser of the command ``fit``; a config file holds the same fields."""
    parser = ArgumentParser(
        prog="python -m cxrlib fit",
        description="Train, go on with a training that was interrupted, or find its run.",
        allow_abbrev=False,
        **options,
    )
    parser.add_argument("--config", action="config", help="a YAML file with these fields")
    parser.add_argument("--name", type=str, default="run", help="of the run's folder")
    parser.add_argument("--runs", type=str, default=str(training.RUNS), help="where runs go")
    parser.add_argument("--start", type=str | None, help="a checkpoint to start from")
    parser.add_function_arguments(open_data, "data")
    parser.add_argument("--data.workers", type=int, default=0, help="processes that load images")
    parser.add_class_arguments(Settings, "settings")
    parser.add_class_arguments(pl.Trainer, "trainer", instantiate=False)
    parser.set_defaults({f"trainer.{name}": value for name, value in training.DEFAULTS.items()})
    return parser


def _read(arguments, source, **options):
    """The ``Config`` that some arguments describe, and the folder for runs.

    A hierarchy and a checkpoint to start from that lie beside the config file are found there.
    """
    parser = make_parser(exit_on_error=False, **options)
    # "--config=a.yaml" is "--config a.yaml"
    arguments = [part for word in arguments for part in re.split("(?<=^--config)=", word)]
    files = [b for a, b in pairwise(arguments) if a == "--config"]
    try:
        for file in files:
            read_yaml(Path(file), depth=6)  # refuses what hides in YAML: aliases, a key twice
        with training.quiet_lightning():
            chosen = parser.parse_args(arguments)
            settings = Settings(**chosen.settings.as_dict())
            trainer = parser.instantiate(chosen).trainer.as_dict()
            training.trainer_options(trainer, settings)
            training.check_name(chosen.name)
            data = chosen.data.as_dict()
    except Exception as error:  # jsonargparse hands on what the libraries below it raise
        raise ConfigError(f"{source}: {error}") from error

    def found(path):
        beside = [Path(file).parent / path for file in files] if path else []
        return next((str(place) for place in beside if place.is_file()), path)

    data["hierarchy"], workers = found(data["hierarchy"]), data.pop("workers")
    if workers < 0:
        raise ConfigError(f"{source}: data.workers={workers}: expected 0 or more.")
    config = Config(chosen.name, data, settings, trainer, workers, found(chosen.start))
    return config, chosen.runs


def read_config(path):
    """Read one of ``configs/`` by its name (``"paper"``), or a file by its path.

    ``ConfigError`` where there is none, or where the command line would refuse it too.

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
    config, _ = _read(["--config", str(file)], file)
    return config


def train_again(folder, runs):
    """Train a finished run once more, from its folder alone, and keep it in another place.

    On the same machine and versions the weights are the same, bit for bit: it is trained with as
    many threads. ``RunError`` if the data, or the recipe of this version, are other than they were.
    """
    record, config = training.read_record(folder), read_config(Path(folder) / "config.yaml")
    how = config.settings, config.name, config.start, config.trainer, config.workers
    now = training.plan(*config.open(), *how)
    other = [name for name, value in now.record.items() if value != record[name]]
    if other:
        raise RunError(
            f"{folder}: {' and '.join(other)} would not be those it was trained with (its data "
            f"were {record['track']}). Nothing was trained."
        )
    if Path(runs).absolute() == Path(folder).absolute().parent:
        raise RunError(f"{runs}: the run is there already. Name another folder for runs.")
    with training.as_many_threads(record["threads"]):
        return config.train(runs)


def main(arguments=None):
    """``python -m cxrlib fit``: train; what is wrong with a config or a folder is one line."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if {"-h", "--help", "--print_config"} & {word.split("=")[0] for word in arguments}:
        make_parser().parse_args(arguments)
    try:
        config, runs = _read(arguments, "fit")
        run = config.train(runs)
    except (ValueError, OSError) as error:  # DataError, LabelError and the like are ValueErrors
        sys.exit(f"error: {error}")
    if run is not None:
        print(f"{run.folder}: done.")
