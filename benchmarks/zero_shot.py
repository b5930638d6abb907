"""Models that have seen phantoms only, on real radiographs: AUROC per label, with intervals.

    python benchmarks/zero_shot.py NIH_FOLDER [--seeds 3] [--epochs 6] [--augment strong]

The ``tiny`` model is trained on the phantom once for every seed (or found below runs/) and scores
every image of the folder: no real image is trained on, so all of them are test images. The AUROC
of a label is the mean over the seeds; its 95% interval is a bootstrap of the patients, in which
all seeds score the same resample. It holds the models fixed: how much they differ is seen in the
columns of the seeds. The result goes to results/zero_shot.json.
"""

from common import HIERARCHY, cohort, open_tracks, parser, phantom_runs, provenance, write_json

from cxrlib import training
from cxrlib.evaluation import evaluate_models
from cxrlib.labels import OBSERVATIONS

SEVEN = (
    "No Finding", "Cardiomegaly", "Pleural Effusion", "Edema", "Consolidation", "Pneumonia",
    "Atelectasis",
)  # fmt: skip
"""The labels that NIH and CheXpert both define, and under the same name."""
RESAMPLES = 1000


def labels_to_score(table):
    """``SEVEN``, then the other observations with both classes among the images."""
    defined = [name for name in OBSERVATIONS if set(table[name].dropna()) == {0, 1}]
    return [name for name in SEVEN if name in defined], [n for n in defined if n not in SEVEN]


def main():
    options = parser(__doc__).parse_args()
    phantom, real = open_tracks(options)
    runs = phantom_runs(phantom, options)
    seven, also = labels_to_score(real.table)
    scores = [training.score(run, real)[seven + also] for run in runs]
    truth, patients = real.table[seven + also], real.table["patient"]
    table = evaluate_models(truth, scores, patients, RESAMPLES, mean_of=seven)
    print(table.round(3).to_string())
    rows = [
        {
            "label": label,
            "kind": "seven" if label in seven else "also",
            "positives": int((truth[label] == 1).sum()),
            "negatives": int((truth[label] == 0).sum()),
        }
        | figures(table.loc[label])
        for label in truth
    ]
    path = write_json(
        options.results / "zero_shot.json",
        {
            "settings": {
                "preset": runs[0].settings.preset,
                "size": runs[0].settings.size,
                "epochs": options.epochs,
                "augment": options.augment,
                "cohort": cohort(options),
                "seeds": list(range(options.seeds)),
                "resamples": RESAMPLES,
                "level": 0.95,
            },
            **provenance(phantom, real),
            "rows": rows,
            "mean": {"labels": seven} | figures(table.loc["mean"]),
        },
    )
    print(f"stored in {path.name}, with {len(HIERARCHY.labels)} labels trained, {len(rows)} scored")


def figures(row):
    """A row of ``evaluate_models`` as plain numbers."""
    seeds = [float(value) for name, value in row.items() if name.startswith("model")]
    return {"auroc": seeds} | {name: float(row[name]) for name in ("mean", "low", "high")}


if __name__ == "__main__":
    main()
