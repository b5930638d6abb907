"""The workshop's model over several seeds: seconds of training, and AUROC on the test split.

    python benchmarks/training_seeds.py [--seeds 3] [--method flat] [--augment chest]

Runs are kept below runs/, so a second call only reads them.
"""

import argparse

import pandas as pd

from cxrlib import data, training
from cxrlib.evaluation import read_predictions
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--method", default="flat", choices=training.METHODS)
    parser.add_argument("--augment", default="chest", choices=training.AUGMENTATIONS)
    options = parser.parse_args()
    hierarchy, track = paper_hierarchy(), data.open_track()
    columns = {}
    for seed in range(options.seeds):
        settings = training.Settings(method=options.method, augment=options.augment, seed=seed)
        run = training.train(track, hierarchy, settings, name=f"seed{seed}-{options.method}")
        result = read_predictions(run.folder / "predictions.csv").split("test").evaluate()
        per_label = result.per_label.loc[sorted(OBSERVATIONS), "auroc"]
        columns[f"seed {seed}"] = pd.concat(
            [per_label, result.summary, pd.Series({"seconds": run.seconds})]
        )
    table = pd.DataFrame(columns)
    print(table.assign(mean=table.mean(axis=1), sd=table.std(axis=1)).round(3).to_string())


if __name__ == "__main__":
    main()
