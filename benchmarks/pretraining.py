"""Does pretraining on phantoms help on real radiographs?

    python benchmarks/pretraining.py NIH_FOLDER [--splits 5] [--steps 210] [--seeds 3]

Two arms learn from the same real radiographs: ``scratch`` from random weights, ``pretrained`` from
a model that was trained on the phantom (split i takes that of seed i modulo ``--seeds``).

**Patients.** A split puts 35% of the patients aside for testing, and the rest into a random order:
the first 50, 100, 200 and all of them are learnt from, so that the smaller sets lie within the
larger. Every fourth of these patients is for validation and counts among them: with "50 patients",
37 are trained on and 13 validate.

**A fair baseline.** Both arms get everything alike but the weights they start from: the same
patients, order of images, learning rates to choose from, number of steps and schedule. The choice
is made on the validation patients: the epoch and the learning rate with the highest macro AUROC
there. The number of steps is about the same for every number of patients, too (few images are
repeated until they fill an epoch): else the baseline would train least where it has the least to
learn from. The default of 210 is enough for it: tried from scratch on splits 2 and 3 at the higher
rate, twice as many steps (with 50 and with all patients) and four times as many (with all) raised
the AUROC in two of six comparisons and lowered it in four. Images are not augmented: then so few
steps would not be enough from scratch.

**Figures.** The macro AUROC over the findings with at least 20 positive images in the whole
folder. ``No Finding`` is none, and in a folder chosen for one finding it may be its exact opposite.
Per number of patients: the mean of each arm over the splits, and the difference pretrained −
scratch, paired by split, with a 95% t-interval over the splits. The splits share patients, so they
are not quite independent, and the interval is somewhat too narrow.

Every finished training is noted in runs/pretraining.json: an interrupted benchmark goes on where it
was. The result goes to results/pretraining.json.
"""

import contextlib
import dataclasses
import io
import json
import tempfile

import numpy as np
import pandas as pd
from common import HIERARCHY, cohort, open_tracks, parser, phantom_runs, provenance, write_json
from tqdm import tqdm

from cxrlib import training
from cxrlib.evaluation import evaluate, mean_interval
from cxrlib.labels import OBSERVATIONS

COUNTS = (50, 100, 200)
ARMS = ("scratch", "pretrained")
RATES = (1e-3, 4e-3)
TEST_SHARE = 0.35
MIN_POSITIVES = 20
BATCH, EPOCHS = 16, 7


def findings(table):
    """The findings with enough positive images for an AUROC that means something."""
    positives = table[list(OBSERVATIONS)].eq(1).sum()
    negatives = table[list(OBSERVATIONS)].eq(0).sum()
    enough = (positives >= MIN_POSITIVES) & (negatives >= MIN_POSITIVES)
    return [name for name in OBSERVATIONS if enough[name] and name != "No Finding"]


def split_patients(table, number):
    """The test patients of a split, and the others in the order in which they are added."""
    patients = np.random.default_rng(number).permutation(np.unique(table["patient"]))
    tested = round(TEST_SHARE * len(patients))
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


def counts(patients):
    """50, 100, 200 and all of the patients that a split leaves for learning."""
    everyone = patients - round(TEST_SHARE * patients)
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


def summarise(rows):
    """Per number of patients: the mean of each arm, and the paired difference with its interval."""
    table = choose(rows).reset_index().pivot_table("macro", ["patients", "split"], "arm")
    summary = []
    for count, chosen in table.groupby("patients"):
        mean, low, high = mean_interval(chosen["pretrained"] - chosen["scratch"])
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
    options = made.parse_args()
    if options.splits < 2:
        raise SystemExit("--splits: at least 2, for an interval.")
    phantom, real = open_tracks(options)
    starts = phantom_runs(phantom, options)
    labels = findings(real.table)
    about = {
        "settings": {
            "preset": starts[0].settings.preset,
            "size": starts[0].settings.size,
            "pretraining": {
                "epochs": options.epochs, "augment": options.augment,
                "cohort": cohort(options),
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
        **provenance(phantom, real),
        "starts": [run.folder.name for run in starts],
        "labels": labels,
    }  # fmt: skip
    notes = training.RUNS / "pretraining.json"
    rows = noted(notes, about)
    jobs = trainings(about["real"]["patients"], options.splits)
    done = {(row["split"], row["patients"], row["arm"], row["lr"]) for row in rows}
    left = [job for job in jobs if job not in done]
    bar = tqdm(left, desc="trainings", unit="run", initial=len(rows), total=len(jobs))
    for job in bar:
        bar.set_postfix_str("split {}, {} patients, {}, lr {}".format(*job))
        rows.append(train_once(real, job, options.steps, starts, labels))
        write_json(notes, about | {"rows": rows})
    summary = summarise(rows)
    print(pd.DataFrame(summary).round(3).to_string(index=False))
    scored = zero_shot(real, starts, options.splits, labels)
    print(f"not trained on real radiographs: {np.mean([row['macro'] for row in scored]):.3f}")
    result = about | {"rows": rows, "zero_shot": scored, "summary": summary}
    path = write_json(options.results / "pretraining.json", result)
    print(f"stored in {path.name}: {len(rows)} trainings")


def noted(path, about):
    """The rows of an interrupted benchmark, if it was the same one."""
    if not path.is_file():
        return []
    before = json.loads(path.read_text(encoding="utf-8"))
    return before["rows"] if {name: before.get(name) for name in about} == about else []


if __name__ == "__main__":
    main()
