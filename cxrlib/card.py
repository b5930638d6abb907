"""A model card: what a run is, what it was made from, how good it is, and what it is not for.

    python -m cxrlib card runs/paper-0123456789

The headings follow Mitchell et al. 2019, "Model cards for model reporting".
"""

import argparse
import sys
from pathlib import Path

import yaml

from cxrlib.evaluation import at_threshold, calibration, read_predictions
from cxrlib.hierarchy import Hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training import read_record


def model_card(folder, resamples=1000):
    """Fill a model card from what a run left behind.

    Parameters
    ----------
    folder : of a finished run, with ``run.json``, ``config.yaml`` and ``predictions.csv``.
    resamples : of the test patients, for the intervals.

    Returns
    -------
    Markdown, as a string. A ``FileNotFoundError`` says that the folder holds no finished run, a
    ``RunError`` or ``EvaluationError`` what is wrong with its record or its predictions.
    """
    folder = Path(folder)
    record = read_record(folder)
    settings, hierarchy = record["settings"], Hierarchy.from_dict(record["hierarchy"])
    test = read_predictions(folder / "predictions.csv").split("test")
    result = test.evaluate(resamples=resamples)
    figures = result.per_label[["positives", "auroc"]].join(result.intervals)
    figures["ECE"] = calibration(test.truth, test.scores, bins=15)
    figures = figures.join(at_threshold(test.truth, test.scores)[["sensitivity", "specificity"]])
    means = result.summary.filter(like="auroc").to_frame("auroc").join(result.intervals)
    parts = [
        f"# Model card: {folder.name}",
        "## What it is",
        f"A {settings['preset']} model for {settings['size']} × {settings['size']} pixel chest "
        f"radiographs with {len(hierarchy.labels)} outputs, trained by the method "
        f"`{settings['method']}`. Its settings:",
        f"```yaml\n{yaml.safe_dump(settings, sort_keys=False).strip()}\n```",
        "## What it was made from",
        f"{record['track']} (fingerprint {record['data']}). Weights at the start: "
        f"{record['started_from'] or settings['weights']}. Made with "
        + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        + f" in {record['seconds'] / 60:.0f} minutes of training.",
        "## How good it is",
        f"On {len(test.truth):,} test images of {test.about['patient'].nunique():,} patients; 95% "
        "intervals by a bootstrap of the patients.",
        _markdown(means),
        _markdown(figures.loc[[name for name in hierarchy.labels if name in figures.index]]),
        "\n".join(f"- {note}" for note in result.notes),
        _coherence(test.scores, hierarchy),
        "## What it is not for",
        "It is teaching material and not a medical device: no decision about a person may rest on "
        "it. It has not been tested on other hospitals' images than those above, nor for fairness "
        "between groups of patients. Labels made by a program have errors of their own, which "
        "these figures do not show.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(table):
    """A table of numbers, as Markdown."""
    head = ["", *table.columns]
    rows = [[name, *(_number(*cell) for cell in row.items())] for name, row in table.iterrows()]
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows])


def _number(name, value):
    if value != value:  # NaN
        return "undefined"
    return f"{value:,.0f}" if name == "positives" else f"{value:.3f}"


def _coherence(scores, hierarchy):
    scores = scores[list(hierarchy.labels)]
    soft, hard = hierarchy.incoherent(scores), hierarchy.incoherent(scores, threshold=0.5)
    return (
        f"A child scores above its parent on {soft.mean():.1%} of the images; it is above 0.5, and "
        f"a parent below, on {hard.mean():.1%}. Of the labels, "
        f"{sum(name in OBSERVATIONS for name in scores)} are observations; the rest are derived."
    )


def main(arguments=None):
    """``python -m cxrlib card FOLDER``: print a run's model card."""
    parser = argparse.ArgumentParser("python -m cxrlib card", description="A run's model card.")
    parser.add_argument("folder", help="of a finished run")
    options = parser.parse_args(arguments)
    try:
        print(model_card(options.folder))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
