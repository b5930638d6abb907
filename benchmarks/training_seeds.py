"""The workshop's model over several seeds: how hard is each observation, and how much by severity?

    python benchmarks/training_seeds.py [--seeds 3]

AUROC on the test split, where the truth is known: of each observation; and of each finding's
subtlest, middle and plainest third, each against all images without the finding. These thirds are
of different people. So, beside it, the same people: each finding is drawn into 60 chests without
any, at rising severities and nothing else changed, and the mean of its logit is compared. Figures
are means over the seeds. Runs are kept below runs/, so a second call only reads them; the first
takes some five minutes a seed on one core. The result goes to results/training_seeds.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import (
    HIERARCHY,
    RESULTS,
    equalised,
    phantom_runs,
    provenance,
    rounded,
    versions,
    write_json,
)
from sklearn.metrics import roc_auc_score

from cxrlib import configs, data, phantom
from cxrlib.evaluation import read_predictions
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS

THIRDS = ("subtlest", "middle", "plainest")
SEVERITIES = (0.2, 0.4, 0.6, 0.8, 1.0)
PEOPLE = 60


def by_severity(severity, scores):
    """AUROC of each third of the positives, by severity, against all negatives.

    ``severity`` [N] is 0 where the finding is absent; ``scores`` [N].
    """
    positive = np.flatnonzero(severity > 0)
    thirds = np.array_split(positive[np.argsort(severity[positive], kind="stable")], 3)
    absent = scores[severity == 0]
    truth = [np.repeat([0, 1], [len(absent), len(third)]) for third in thirds]
    return {
        name: float(roc_auc_score(y, np.concatenate([absent, scores[third]])))
        for name, y, third in zip(THIRDS, truth, thirds, strict=True)
    }


def figures(run, severities):
    """(AUROC of the observations and their macro mean, finding → AUROC by thirds) of one run."""
    test = read_predictions(run.folder / "predictions.csv").split("test")
    result = test.evaluate()
    aurocs = result.per_label.loc[sorted(OBSERVATIONS), "auroc"]
    aurocs["macro"] = result.summary["macro_auroc_observations"]
    drawn = severities.loc[test.about["Path"]]
    return aurocs, pd.DataFrame(
        {name: by_severity(drawn[name].to_numpy(), test.scores[name].to_numpy())
         for name in FINDINGS}
    ).T  # fmt: skip


def chests(size, seed=3):
    """(severity, finding) → the same people's images [N, 1, size, size] with that and no other."""
    rng = np.random.default_rng(seed)
    people = [phantom.draw_studies(rng)[0] for _ in range(PEOPLE)]
    well = [replace(study, drawn={}, other="") for study in people]

    def images(drawn):
        grey = [phantom.render(replace(study, drawn=drawn), size) for study in well]
        return equalised(torch.from_numpy(np.stack(grey))[:, None])

    found = {(0.0, name): same for same in [images({})] for name in FINDINGS}
    return found | {(s, name): images({name: s}) for name in FINDINGS for s in SEVERITIES}


@torch.inference_mode()
def raised(model, images):
    """Finding × severity: by how much the finding's mean logit is above that of healthy chests."""
    logits = {key: model(batch).mean(dim=0) for key, batch in images.items()}
    table = pd.DataFrame(index=FINDINGS, columns=SEVERITIES, dtype=float)
    for name in FINDINGS:
        place = HIERARCHY.labels.index(name)
        for severity in SEVERITIES:
            change = logits[severity, name][place] - logits[0.0, name][place]
            table.loc[name, severity] = change.item()
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    track, workshop = data.open_track(), configs.read_config("workshop")
    truth = pd.read_csv(track.folder / "truth.csv")
    paths = truth["Path"].str.removeprefix(f"{track.folder.name}/")
    severities = truth[[f"severity {name}" for name in FINDINGS]].set_axis(FINDINGS, axis=1)
    severities = severities.set_axis(paths)
    runs = phantom_runs(track, workshop.settings, options.seeds, workshop.name)
    aurocs, thirds = zip(*(figures(run, severities) for run in runs), strict=True)
    table, thirds = pd.DataFrame(aurocs), sum(thirds) / len(thirds)
    images = chests(workshop.settings.size)
    logits = sum(raised(run.model(), images) for run in runs) / len(runs)
    print(table.T.set_axis(range(len(runs)), axis=1).round(3).to_string())
    print(thirds.round(3).to_string())
    print(logits.round(2).to_string())
    content = {
        "phantom": provenance(track),
        "versions": versions(),
        "seconds": [run.seconds for run in runs],
        "auroc": {name: column.tolist() for name, column in table.items()},
        "auroc by severity": thirds.to_dict("index"),
        "logit by severity": {
            name: {str(severity): value for severity, value in row.items()}
            for name, row in logits.iterrows()
        },
    }
    print(write_json(options.results / "training_seeds.json", rounded(content)))


if __name__ == "__main__":
    main()
