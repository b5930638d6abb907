"""Two heads on the same features: what is each worth, and do its maps lie on the finding?

    python benchmarks/heads.py [--seeds 3] [--images 60]

The workshop's model with the paper's head and with the pointing head (``models.PointingHead``),
trained alike with every seed, or found below runs/. On the test images of the phantom:

**AUROC**, and the difference pointing − paper, mean over the seeds, with a 95% interval over
patients that are the same for all seeds: it holds the models fixed. Each seed's is stored beside.

**Maps**, of each finding on up to ``--images`` images that show it, against two kinds of masks:
``lesions``, where the finding is, and ``changes``, every pixel that it changes. ``hit`` is the
pointing game, ``auprc`` the area under the precision-recall curve over the pixels. Beside each
model's maps, by which a claim that a map points must be judged:

- ``ceiling``, the mask itself at the resolution of the maps;
- ``usual place``, the mean mask of the finding on the validation images: it is blind, and learnt
  from masks, which no map was;
- ``mean map``, the model's mean map of the finding: blind, and learnt from nothing;
- ``another image``, the map of the finding on the next image that shows it;
- ``another label``, the map of a finding that is not there and not of its kin, of the same image;
- ``true positives``, the map, on those images alone whose score is above the threshold that parts
  validation images best (Youden).

``edge`` is the share of maps that are highest at the image's edge, in the outermost row or column
of the feature map; beside it the rank correlation of the maps of two seeds. results/heads.json.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import RESULTS, phantom_runs, provenance, rounded, versions, write_json
from sklearn.metrics import roc_curve
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from tqdm import tqdm

from cxrlib import configs, data, explanations
from cxrlib.evaluation import evaluate, read_predictions
from cxrlib.evaluation.auroc import percentiles
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS

HIERARCHY = paper_hierarchy()
LABELS = HIERARCHY.labels
HEADS = ("paper", "pointing")
WAYS = {
    "Grad-CAM": ("paper", {"method": "gradcam"}),
    "LayerCAM, finer": ("paper", {"method": "layercam", "finer": 1}),
    "pointing": ("pointing", {"method": "pointing"}),
    "Grad-CAM of the pointing head": ("pointing", {"method": "gradcam"}),
}
"""Ways of making a map: of which model, and what ``explain`` is asked for."""


# --- What each head is worth ----------------------------------------------------------------------


def aurocs(runs):
    """Head → (macro AUROC and each observation's, [seeds]), and the differences with intervals."""
    results = {}
    for head, each in runs.items():
        tests = [read_predictions(run.folder / "predictions.csv").split("test") for run in each]
        results[head] = [
            evaluate(t.truth[SEEN], t.scores[SEEN], t.about["patient"], resamples=1000)
            for t in tests
        ]
    found = {
        head: {
            "macro": [r.summary["macro_auroc_observations"] for r in each],
            "labels": pd.DataFrame([r.per_label["auroc"] for r in each]).mean().to_dict(),
        }
        for head, each in results.items()
    }
    name = "macro_auroc_observations"
    paper, pointing = (
        np.mean([r.means[name].to_numpy() for r in results[head]], axis=0) for head in HEADS
    )
    low, high = percentiles(pd.DataFrame({name: pointing - paper}), 0.95).iloc[0]
    gain = np.mean(found["pointing"]["macro"]) - np.mean(found["paper"]["macro"])
    return found, {"pointing - paper": gain, "low": low, "high": high}


SEEN = sorted(OBSERVATIONS)


def thresholds(run):
    """Finding → the score that parts the validation images best (Youden's J)."""
    valid = read_predictions(run.folder / "predictions.csv").split("valid")
    found = {}
    for name in FINDINGS:
        false, true, cuts = roc_curve(valid.truth[name], valid.scores[name])
        found[name] = float(cuts[np.argmax(true - false)])
    return found


# --- Images, and where the findings are -----------------------------------------------------------


def chosen_rows(table, count, seed=0):
    """Finding → positions of at most ``count`` images of a table that show it."""
    rng = np.random.default_rng(seed)
    shown = {name: np.flatnonzero(table[name] == 1) for name in FINDINGS}
    return {name: np.sort(rng.permutation(rows)[:count]) for name, rows in shown.items()}


def images_of(track, rows, size):
    """Images [N, 1, size, size] as a model sees them."""
    targets = HIERARCHY.derive(rows[SEEN])
    dataset = data.ChestDataset(rows, track.folder, targets, size, equalize=True)
    return dataset.prepare(dataset.fetch(range(len(dataset)))[0])


def masks_of(track, rows, size):
    """Kind → (finding → (positions, masks))."""
    return {
        kind: explanations.find_masks(track, rows["path"], size, kind)
        for kind in ("lesions", "changes")
    }


def coarse(masks, side):
    """Masks bool [N, H, W] as maps of ``side`` × ``side`` can show them: float [N, H, W]."""
    fine = torch.from_numpy(masks).float()[:, None]
    small = adaptive_avg_pool2d(fine, side)
    return interpolate(small, masks.shape[1:], mode="bilinear", align_corners=False)[:, 0].numpy()


# --- Maps -----------------------------------------------------------------------------------------


def strangers(name):
    """The findings that are not kin: neither one's group is the other, nor implies it."""
    kin = {name, *HIERARCHY.descendants(name), *HIERARCHY.ancestors(name)}
    return [other for other in FINDINGS if other not in kin]


def of_others(name, truth, maps):
    """For each image, the map of the first stranger that is not there: [N, H, W]."""
    others = strangers(name)
    absent = truth[others].to_numpy() == 0
    first = [others[k] for k in absent.argmax(axis=1)]
    places = [LABELS.index(other) for other in first]
    return maps[np.arange(len(maps)), places], absent.any(axis=1)


def score(scored, masks):
    """Mean ``hit`` and ``auprc`` of maps, and how many there were."""
    if not len(masks):
        return {"hit": None, "auprc": None, "images": 0}
    found = explanations.localisation(scored, masks)[["hit", "auprc"]].mean()
    return found.to_dict() | {"images": len(masks)}


def at_edge(small):
    """Share of feature maps [N, h, w] that are highest in their outermost row or column."""
    side = small.shape[-1]
    row, column = np.divmod(small.reshape(len(small), -1).argmax(axis=1), side)
    return float(np.mean((np.minimum(row, column) == 0) | (np.maximum(row, column) == side - 1)))


def measure(way, seed, run, small, large, about, masks, valid_masks, chosen):
    """Rows of one way and one seed: finding × kind of mask × guess."""
    rows, cuts, side = [], thresholds(run), small.shape[-1]
    predicted = read_predictions(run.folder / "predictions.csv").split("test")
    scores = predicted.scores.set_axis(predicted.about["Path"])
    for name in FINDINGS:
        place = LABELS.index(name)
        edge = at_edge(small[chosen[name], place])
        sure = scores.loc[about["path"].iloc[chosen[name]], name].to_numpy() >= cuts[name]
        for kind, found in masks.items():
            where, all_masks = found[name]
            kept = np.isin(chosen[name], where)
            shown, sure_here = chosen[name][kept], sure[kept]
            true = all_masks[np.searchsorted(where, shown)]
            maps = large[shown, place]
            another, there = of_others(name, about.iloc[shown], large[shown])
            mean = np.stack([maps.mean(axis=0)] * len(true))
            usual = np.stack([valid_masks[kind][name][1].mean(axis=0)] * len(true))
            guesses = {
                "map": (maps, true),
                "true positives": (maps[sure_here], true[sure_here]),
                "mean map": (mean, true),
                "another image": (np.roll(maps, 1, axis=0), true),
                "another label": (another[there], true[there]),
                "ceiling": (coarse(true, side), true),
            }
            if seed == 0:
                guesses["usual place"] = usual, true
            for guess, pair in guesses.items():
                row = {"way": way, "seed": seed, "label": name, "mask": kind, "guess": guess}
                rows.append(row | score(*pair) | ({"edge": edge} if guess == "map" else {}))
    return rows


def all_maps(model, images, asked):
    """Maps of all labels: at the features' resolution and at the images', [N, L, ·, ·]."""
    parts = [explanations.explain(model, batch, **asked) for batch in images.split(64)]
    return tuple(
        np.concatenate([getattr(part, name).numpy() for part in parts])
        for name in ("features", "images")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60, help="that show a finding, at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    track, workshop = data.open_track(), configs.read_config("workshop")
    settings = {head: replace(workshop.settings, head=head) for head in HEADS}
    names = {"paper": workshop.name, "pointing": f"{workshop.name}-pointing"}
    runs = {head: phantom_runs(track, settings[head], options.seeds, names[head]) for head in HEADS}
    found, difference = aurocs(runs)
    print(pd.DataFrame({head: each["labels"] for head, each in found.items()}).round(3).to_string())
    print({head: np.round(each["macro"], 4).tolist() for head, each in found.items()}, difference)
    size = workshop.settings.size
    test, valid = (track.split(split).reset_index(drop=True) for split in ("test", "valid"))
    chosen = chosen_rows(test, options.images)
    used = np.unique(np.concatenate(list(chosen.values())))
    test = test.iloc[used].reset_index(drop=True)
    chosen = {name: np.searchsorted(used, rows) for name, rows in chosen.items()}
    images = images_of(track, test, size)
    masks, valid_masks = (masks_of(track, rows, size) for rows in (test, valid))
    rows, agreement = [], {}
    for way, (head, asked) in tqdm(WAYS.items(), desc="ways"):
        kept = []
        for seed, run in enumerate(runs[head]):
            small, large = all_maps(run.model(), images, asked)
            rows += measure(way, seed, run, small, large, test, masks, valid_masks, chosen)
            kept.append(small)
        pairs = [(one, two) for k, one in enumerate(kept) for two in kept[:k]]
        agreement[way] = [
            float(np.mean([
                explanations.rank_correlation(one[chosen[n], LABELS.index(n)],
                                              two[chosen[n], LABELS.index(n)]).mean()
                for n in FINDINGS
            ]))
            for one, two in pairs
        ]  # fmt: skip
    table = pd.DataFrame(rows)
    print(
        table.groupby(["mask", "way", "guess"], sort=False)[["hit", "auprc", "edge"]]
        .mean().round(3).to_string()
    )  # fmt: skip
    content = {
        "phantom": provenance(track),
        "versions": versions(),
        "seconds": {head: [run.seconds for run in each] for head, each in runs.items()},
        "auroc": found | {"difference": difference},
        "agreement of seeds": agreement,
        "rows": table.astype(object).where(table.notna(), None).to_dict("records"),
    }
    print(write_json(options.results / "heads.json", rounded(content)))


if __name__ == "__main__":
    main()
