"""Does pretraining on phantoms help on real radiographs?

    python benchmarks/pretraining.py NIH_FOLDER [--splits 5] [--steps 210] [--name pretraining]

Two arms learn from the same real radiographs: ``scratch`` from random weights, ``pretrained`` from
a model that was trained on the transfer cohort of phantoms (that of ``zero_shot.py``; split i takes
seed i modulo ``--seeds``). For another folder, ``--name`` names another result.

**Patients.** A split puts 35% of the patients aside for testing, and the rest into a random order:
the first 50, 100 and all of them are learnt from, so that the smaller sets lie within the larger.
Every fourth of these patients is for validation and counts among them: with "50 patients", 38 are
trained on and 12 validate. (Patients of both halves take part: all are learnt from in some split.
To one half a few numbers of the phantom were fitted, without labels.)

**A fair baseline.** Both arms get everything alike but the weights they start from: the same
patients, order of images, learning rates to choose from, number of steps and schedule. The choice
is made on the validation patients: the epoch and the learning rate with the highest macro AUROC
there. The number of steps is about the same for every number of patients, too (few images are
repeated until they fill an epoch): else the baseline would train least where it has the least to
learn from. The default of 210 is enough for it: tried from scratch on splits 2 and 3 at the higher
rate, twice as many steps (with 50 and with all patients) and four times as many (with all) raised
the AUROC in two of six comparisons and lowered it in four. Images are not augmented: then so few
steps would not be enough from scratch.

**Figures.** The macro AUROC over the findings with at least 20 positive images in the whole folder.
``No Finding`` is none, nor is a finding that is its opposite: in a folder of pneumonias and normal
radiographs, Pneumonia says no more than "not normal", and Lung Opacity on NIH is told from normal
radiographs alone. Per number of patients: the mean of each arm over the splits, and the difference
pretrained − scratch, paired by split. The splits share patients, so a plain t-interval would be too
narrow: the 95% interval is that of Nadeau and Bengio (``cxrlib.transfer.corrected_interval``), with
all patients that are not tested as those who could be learnt from. It knows of shared patients
only: five splits share three pretrained starts, too (splits 0 and 3 the same, and 1 and 4), and how
far other starts would change the gain is not in it.

**Time.** A training takes about 25 seconds of a core that is otherwise idle: 25 minutes for 60 of
them (three numbers of patients), and 8 for the three starts unless ``zero_shot.py`` has made them.

Every finished training is noted in runs/NAME.json: an interrupted benchmark goes on where it was.
The result goes to results/NAME.json.
"""

import contextlib
import dataclasses
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from common import (
    HIERARCHY,
    cohort_runs,
    drawn,
    open_nih,
    parser,
    provenance,
    settings_of,
    versions,
    which,
    write_json,
)
from tqdm import tqdm

from cxrlib import training
from cxrlib.evaluation import evaluate
from cxrlib.labels import OBSERVATIONS
from cxrlib.transfer import corrected_interval

COUNTS = (50, 100)
ARMS = ("scratch", "pretrained")
RATES = (1e-3, 4e-3)
TEST_SHARE = 0.35
MIN_POSITIVES = 20
OPPOSITE = 0.9
BATCH, EPOCHS = 16, 7


def findings(table):
    """The findings with enough images for an AUROC that means something, and their own meaning.

    Left out is what says the opposite of No Finding on ``OPPOSITE`` of the images that have both.
    """
    labels = table[list(OBSERVATIONS)]
    enough = pd.concat([labels.eq(1).sum(), labels.eq(0).sum()], axis=1).min(axis=1)
    both = labels[labels["No Finding"].notna()]
    opposite = both.eq(1 - both["No Finding"], axis=0).sum() / both.notna().sum()
    kept = (enough >= MIN_POSITIVES) & ~(opposite >= OPPOSITE)
    return [name for name in OBSERVATIONS if kept[name] and name != "No Finding"]


def split_patients(table, number):
    """The test patients of a split, and the others in the order in which they are added."""
    patients = np.random.default_rng(number).permutation(np.unique(table["patient"]))
    tested = tested_of(len(patients))
    return patients[:tested], patients[tested:]


def limit(track, tested, learnt, rows):
    """The track with ``learnt`` patients to learn from, every fourth of them for validation.

    The training images are repeated a whole number of times, at least once, to about ``rows``.
    """
    table = track.table
    valid = table[table["patient"].isin(learnt[3::4])].assign(split="valid")
    train = table[table["patient"].isin(np.setdiff1d(learnt, learnt[3::4]))].assign(split="train")
    repeated = [train] * max(1, round(rows / len(train)))
    test = table[table["patient"].isin(tested)].assign(split="test")
    return dataclasses.replace(track, table=pd.concat([*repeated, valid, test], ignore_index=True))


def trainings(patients, splits):
    """Everything there is to train: (split, number of patients, arm, learning rate)."""
    return [
        (split, count, arm, rate)
        for split in range(splits)
        for count in counts(patients)
        for arm in ARMS
        for rate in RATES
    ]


def tested_of(patients):
    """How many of so many patients are tested in a split."""
    return round(TEST_SHARE * patients)


def counts(patients):
    """50, 100 and all of the patients that a split leaves for learning."""
    everyone = patients - tested_of(patients)
    return [*(count for count in COUNTS if count < everyone), everyone]


def aurocs(track, scores, labels, patients):
    """AUROC by label on the images of some patients; None where one class is missing."""
    rows = track.table["patient"].isin(patients)
    measured = evaluate(track.table.loc[rows, labels], scores.loc[rows, labels]).per_label["auroc"]
    return {label: None if np.isnan(value) else float(value) for label, value in measured.items()}


def train_once(real, job, steps, starts, labels):
    """One training, scored on its split's test patients: a row of the result."""
    split, count, arm, rate = job
    tested, pool = split_patients(real.table, split)
    track = limit(real, tested, pool[:count], rows=BATCH * steps // EPOCHS)
    settings = training.Settings(
        lr=rate, batch_size=BATCH, epochs=EPOCHS, augment="none", seed=split
    )
    start = starts[split % len(starts)] if arm == "pretrained" else None
    # The checkpoints of so many trainings are not kept, and their lines per epoch not shown.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        run = training.train(track, HIERARCHY, settings, runs=folder, start=start)
        test = dataclasses.replace(track, table=track.split("test"))
        by_label = aurocs(test, training.score(run, test), labels, tested)
    return {
        "split": split,
        "patients": count,
        "arm": arm,
        "lr": rate,
        "steps": EPOCHS * (len(track.split("train")) // BATCH),
        "epoch": int(run.curves["val_auroc"].idxmax()),
        "valid_auroc": float(run.curves["val_auroc"].max()),
        "auroc": by_label,
        "macro": macro(by_label),
        "seconds": run.seconds,
    }


def macro(by_label):
    """The mean over the labels that have an AUROC."""
    return float(np.mean([value for value in by_label.values() if value is not None]))


def choose(rows):
    """Of every split, number of patients and arm, the row with the best validation."""
    table = pd.DataFrame(rows).sort_values("valid_auroc", ascending=False, kind="stable")
    return table.groupby(["patients", "split", "arm"]).first()


def summarise(rows, patients):
    """Per number of patients: the mean of each arm, and the paired difference with its interval.

    ``patients`` : in the folder, of whom a share is tested in every split.
    """
    table = choose(rows).reset_index().pivot_table("macro", ["patients", "split"], "arm")
    tested, summary = tested_of(patients), []
    for count, chosen in table.groupby("patients"):
        differences = chosen["pretrained"] - chosen["scratch"]
        mean, low, high = corrected_interval(differences, tested, patients - tested)
        arms = {arm: float(chosen[arm].mean()) for arm in ARMS}
        summary.append({"patients": int(count)} | arms)
        summary[-1] |= {"difference": mean, "low": low, "high": high}
    return summary


def zero_shot(real, starts, splits, labels):
    """The pretrained models as they are, on the same test patients."""
    scores = [training.score(run, real) for run in starts]
    rows = []
    for split in range(splits):
        tested, _ = split_patients(real.table, split)
        by_label = aurocs(real, scores[split % len(starts)], labels, tested)
        rows.append({"split": split, "auroc": by_label, "macro": macro(by_label)})
    return rows


def main():
    made = parser(__doc__)
    made.add_argument("--splits", type=int, default=5)
    made.add_argument("--steps", type=int, default=210, help="of a training on real radiographs")
    made.add_argument("--name", default="pretraining", help="of the file that holds the result")
    options = made.parse_args()
    if options.splits < 2:
        raise SystemExit("--splits: at least 2, for an interval.")
    real = open_nih(options.folder)
    starts, phantom = cohort_runs("transfer", options)
    labels = findings(real.table)
    about = {
        "settings": {
            "preset": starts[0].settings.preset,
            "size": starts[0].settings.size,
            "pretraining": {
                "epochs": settings_of(options).epochs, "augment": settings_of(options).augment,
                "cohort": drawn("transfer", options.patients),
                "seeds": list(range(options.seeds)),
            },
            "steps": options.steps,
            "batch_size": BATCH,
            "epochs": EPOCHS,
            "augment": "none",
            "learning_rates": list(RATES),
            "splits": options.splits,
            "test_share": TEST_SHARE,
            "level": 0.95,
        },
        "phantom": provenance(phantom),
        "real": {"name": Path(real.folder).name} | which(real),
        "versions": versions(),
        "starts": [run.folder.name for run in starts],
        "labels": labels,
    }  # fmt: skip
    notes = training.RUNS / f"{options.name}.json"
    rows = noted(notes, about)
    jobs = trainings(about["real"]["patients"], options.splits)
    done = {(row["split"], row["patients"], row["arm"], row["lr"]) for row in rows}
    left = [job for job in jobs if job not in done]
    bar = tqdm(left, desc="trainings", unit="run", initial=len(rows), total=len(jobs))
    for job in bar:
        bar.set_postfix_str("split {}, {} patients, {}, lr {}".format(*job))
        rows.append(train_once(real, job, options.steps, starts, labels))
        write_json(notes, about | {"rows": rows})
    summary = summarise(rows, about["real"]["patients"])
    print(f"{about['real']['name']}, macro AUROC over {', '.join(labels)}:")
    print(pd.DataFrame(summary).round(3).to_string(index=False))
    scored = zero_shot(real, starts, options.splits, labels)
    print(f"not trained on real radiographs: {np.mean([row['macro'] for row in scored]):.3f}")
    result = about | {"rows": rows, "zero_shot": scored, "summary": summary}
    path = write_json(options.results / f"{options.name}.json", result)
    print(f"stored in {path.name}: {len(rows)} trainings")


def noted(path, about):
    """The rows of an interrupted benchmark, if it was the same one."""
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    return before["rows"] if {name: before.get(name) for name in about} == about else []


if __name__ == "__main__":
    main()
