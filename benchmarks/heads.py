"""Two heads on the same features: what is each worth, and do its maps lie on the finding?

    python benchmarks/heads.py [--seeds 3] [--images 60]

Two heads and two recipes, each head trained by each, with every seed, or found below runs/:
``paper``, the workshop's model, with the paper's head; ``same recipe``, trained alike with
``models.PointingHead``; ``pointing``, that head with the course's own recipe
(configs/pointing.yaml); ``paper, own recipe``, the paper's head trained like that. On the phantom's
test images:

**AUROC**, and the differences from ``paper``, means over the seeds; the 95% intervals resample
patients, the same for every seed, and take the models as given. Each seed's value is stored too.

**Maps**, of each finding on up to ``--images`` images that show it, against two kinds of masks:
``lesions``, where the finding is, and ``changes``, every pixel that it changes. ``hit`` is the
pointing game, ``auprc`` the area under the precision-recall curve over the pixels, ``rank`` and
``mass`` the relevance rank and mass accuracy. Beside each model's maps, by which a claim that a map
points must be judged:

- ``ceiling``, the mask itself at the resolution of the maps;
- ``usual place``, the mean mask of the finding on the validation images: it is blind, and learnt
  from masks, which no map was;
- ``map × usual place``, both multiplied: what a map adds to knowing where to look;
- ``mean map``, the model's mean map of the finding on the other images: blind, learnt from nothing;
- ``another image``, the map of the finding on the next patient's image that shows it;
- ``another mask``, that image's mask as if it were a map;
- ``another label``, the map of a finding that is not there and no kin, drawn by lot, of the image;
- ``true positives``, the map, on those images alone whose score is above the threshold that parts
  validation images best (Youden).

``gains`` are differences from the usual place and between ways, means over findings and seeds, with
95% intervals over patients. ``edge`` is the share of maps that are highest within a twelfth of the
image's side from its rim, beside that of maps whose places are chance; then the rank correlation of
the maps of two seeds. "…, mean of the seeds" is one map from all models. (``mass`` favours maps
whose minimum pytorch-grad-cam has taken out: a pointing map is nowhere quite 0.)
results/heads.json.
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
    images_of,
    phantom_runs,
    provenance,
    rounded,
    versions,
    write_json,
)
from sklearn.metrics import roc_curve
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from tqdm import tqdm

from cxrlib import configs, data, explanations, training
from cxrlib.evaluation import evaluate, read_predictions
from cxrlib.evaluation.auroc import percentiles
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import FINDINGS

LABELS = HIERARCHY.labels
WAYS = {
    "Grad-CAM": ("paper", {"method": "gradcam"}),
    "LayerCAM, finer": ("paper", {"method": "layercam", "finer": 1}),
    "Grad-CAM, own recipe": ("paper, own recipe", {"method": "gradcam"}),
    "LayerCAM, finer, own recipe": ("paper, own recipe", {"method": "layercam", "finer": 1}),
    "pointing, same recipe": ("same recipe", {"method": "pointing"}),
    "pointing": ("pointing", {"method": "pointing"}),
    "Grad-CAM of the pointing head": ("pointing", {"method": "gradcam"}),
}
"""Ways of making a map: of which model, and what ``explain`` is asked for."""


# --- What each head is worth ----------------------------------------------------------------------


def aurocs(runs):
    """Kind → macro AUROC by seed and each observation's, and its difference to ``paper``."""
    found, drawn, name = {}, {}, "macro_auroc_observations"
    for kind, each in runs.items():
        tests = [read_predictions(run.folder / "predictions.csv").split("test") for run in each]
        results = [
            evaluate(t.truth[SEEN], t.scores[SEEN], t.about["patient"], resamples=1000)
            for t in tests
        ]
        drawn[kind] = np.mean([r.means[name].to_numpy() for r in results], axis=0)
        found[kind] = {
            "macro": [r.summary[name] for r in results],
            "labels": pd.DataFrame([r.per_label["auroc"] for r in results]).mean().to_dict(),
            "seconds": [run.seconds for run in each],
        }
        low, high = percentiles(pd.DataFrame({name: drawn[kind] - drawn["paper"]}), 0.95).iloc[0]
        gain = np.mean(found[kind]["macro"]) - np.mean(found["paper"]["macro"])
        found[kind] |= {"difference": gain, "low": low, "high": high}
    return found


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


class Chosen:
    """Test images that show findings, and where: what maps are scored on.

    ``table``, ``images`` [N, 1, size, size]; ``shown``, finding → positions in them of at most
    ``count`` images that show it; ``masks``, see ``masks_of``; ``people``, whose each image is.
    """

    def __init__(self, track, size, count, seed=0):
        table, rng = track.split("test").reset_index(drop=True), np.random.default_rng(seed)
        rows = {name: np.flatnonzero(table[name] == 1) for name in FINDINGS}
        rows = {name: np.sort(rng.permutation(own)[:count]) for name, own in rows.items()}
        used = np.unique(np.concatenate(list(rows.values())))
        self.table = table.iloc[used].reset_index(drop=True)
        self.shown = {name: np.searchsorted(used, own) for name, own in rows.items()}
        self.images = images_of(track, self.table, size)
        self.masks = masks_of(track, self.table, size)
        self.people = self.table["patient"].to_numpy()

    def known(self, name, kind="lesions"):
        """Positions of the chosen images of a finding whose mask is not empty, and these masks."""
        where, masks = self.masks[kind][name]
        shown = np.intersect1d(self.shown[name], where)
        return shown, masks[np.searchsorted(where, shown)]


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


def of_another(people):
    """For each image the position of the next one of another patient (its own if there is none)."""
    count = len(people)
    turns = [[(i + k) % count for k in range(1, count)] for i in range(count)]
    return [next((k for k in turn if people[k] != people[i]), i) for i, turn in enumerate(turns)]


def strangers(*names):
    """The findings that are no kin of any of these labels: neither above nor below it."""
    kin = {n for name in names
           for n in (name, *HIERARCHY.descendants(name), *HIERARCHY.ancestors(name))}  # fmt: skip
    return [other for other in FINDINGS if other not in kin]


def of_others(names, truth, maps, seed=0):
    """For each image, the map of a stranger that is not there, by lot, and whether there is one."""
    others, rng = strangers(*names), np.random.default_rng(seed)
    lots = rng.random((len(maps), len(others))) * (truth[others].to_numpy() == 0)
    places = [LABELS.index(others[k]) for k in lots.argmax(axis=1)]
    return maps[np.arange(len(maps)), places], (lots > 0).any(axis=1)


MEASURES = ["hit", "auprc", "rank", "mass"]


def score(scored, masks):
    """``MEASURES`` of maps against masks, image by image."""
    if not len(masks):
        return pd.DataFrame(columns=MEASURES, dtype=float)
    return explanations.localisation(scored, masks)[MEASURES]


EDGE = 1 / 12


def at_edge(maps):
    """Share of maps [N, H, W] that are highest within ``EDGE`` of the image's side from its rim."""
    side = maps.shape[-1]
    row, column = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), side)
    nearest = np.min([row, column, side - 1 - row, side - 1 - column], axis=0)
    return float(np.mean(nearest < EDGE * side))


def edge_of_chance(side, size, count=4000):
    """``at_edge`` of maps whose places are chance, enlarged as maps are."""
    places = torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    large = interpolate(places, (size, size), mode="bilinear", align_corners=False)
    return at_edge(large[:, 0].numpy())


def guesses(name, maps, shown, true, chosen, usual, sure):
    """What is compared with the masks ``true`` of the images ``shown``: guess → (maps, masks)."""
    own = maps[shown, LABELS.index(name)]
    another, there = of_others([name], chosen.table.iloc[shown], maps[shown])
    return {
        "map": (own, true),
        "true positives": (own[sure], true[sure]),
        "map × usual place": (own * usual, true),
        "mean map": ((own.sum(axis=0) - own) / (len(own) - 1), true),
        "another image": (own[of_another(chosen.people[shown])], true),
        "another label": (another[there], true[there]),
    }


def blind(true, people, usual, side):
    """The guesses that no model makes."""
    return {
        "usual place": (np.stack([usual] * len(true)), true),
        "another mask": (true[of_another(people)].astype(float), true),
        "ceiling": (coarse(true, side), true),
    }


class Bench:
    """Every score of every guess about the chosen images."""

    def __init__(self, track, size, count):
        self.chosen = Chosen(track, size, count)
        valid = track.split("valid").reset_index(drop=True)
        self.usual = {
            kind: {name: found[name][1].mean(axis=0) for name in FINDINGS}
            for kind, found in masks_of(track, valid, size).items()
        }
        self.scores = []

    def measure(self, way, seed, small, large, run=None):
        """Score the maps [N, L, H, W] of one way and seed, and the guesses beside them."""
        chosen = self.chosen
        cuts = thresholds(run) if run else dict.fromkeys(FINDINGS, 0.0)
        scores = pd.DataFrame(1.0, chosen.table["path"], FINDINGS)
        if run:
            predicted = read_predictions(run.folder / "predictions.csv").split("test")
            scores = predicted.scores.set_axis(predicted.about["Path"])
        for name in FINDINGS:
            for kind in chosen.masks:
                shown, true = chosen.known(name, kind)
                usual, people = self.usual[kind][name], chosen.people[shown]
                sure = scores.loc[chosen.table["path"].iloc[shown], name].to_numpy() >= cuts[name]
                made = guesses(name, large, shown, true, chosen, usual, sure)
                if run is None:  # of several models there is no one threshold
                    del made["true positives"]
                if seed == 0:
                    made |= blind(true, people, usual, small.shape[-1])
                for guess, (maps, masks) in made.items():
                    found = score(maps, masks)
                    if len(found) == len(people):
                        found = found.assign(patient=people)
                    about = {"way": way, "seed": seed, "label": name, "mask": kind, "guess": guess}
                    self.scores.append(found.assign(**about))

    def rows(self):
        """Means by way, seed, label, mask and guess, and how many images there were."""
        table = pd.concat(self.scores, ignore_index=True)
        by = table.groupby(["way", "seed", "label", "mask", "guess"], sort=False)
        return by[MEASURES].mean().assign(images=by.size()).reset_index(), table


def gains(table, pairs, resamples=2000):
    """For pairs of (way, guess): mean difference over findings and seeds, with 95% intervals.

    Patients are drawn, the same for all findings; findings count alike.
    """
    table = table[table["mask"] == "lesions"]
    people, rng = table["patient"].dropna().unique(), np.random.default_rng(0)
    draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), resamples)
    draws = np.vstack([np.ones(len(people)), draws])  # first, as they are
    place = {person: number for number, person in enumerate(people)}

    def drawn(way, guess, measure):
        of = table[(table["way"] == way) & (table["guess"] == guess)]
        means = []
        for _, rows in of.groupby("label"):
            weights = draws[:, rows["patient"].map(place)]
            total = weights.sum(axis=1)
            means.append((weights @ rows[measure].to_numpy(float)) / np.where(total, total, np.nan))
        return np.nanmean(means, axis=0)

    found = []
    for one, other in pairs:
        for measure in ("hit", "auprc"):
            difference = drawn(*one, measure) - drawn(*other, measure)
            low, high = np.quantile(difference[1:], [0.025, 0.975])
            row = {"way": " · ".join(one), "than": " · ".join(other), "measure": measure}
            found.append(row | {"difference": difference[0], "low": low, "high": high})
    return found


def all_maps(model, images, asked):
    """Maps of all labels: at the features' resolution and at the images', [N, L, ·, ·]."""
    parts = [explanations.explain(model, batch, **asked) for batch in images.split(64)]
    return tuple(
        np.concatenate([getattr(part, name).numpy() for part in parts])
        for name in ("features", "images")
    )


def all_runs(track, seeds):
    """Kind → its runs, trained or found."""
    workshop, pointing = (configs.read_config(name) for name in ("workshop", "pointing"))
    alike = replace(workshop.settings, head="pointing")
    own = [replace(pointing.settings, seed=seed) for seed in range(seeds)]
    return {
        "paper": phantom_runs(track, workshop.settings, seeds, "workshop"),
        "same recipe": phantom_runs(track, alike, seeds, "workshop-pointing"),
        "paper, own recipe": [
            training.train(track, HIERARCHY, replace(s, head="paper"), name="paper-own-recipe")
            for s in own
        ],
        "pointing": [training.train(track, HIERARCHY, s, name=pointing.name) for s in own],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60, help="that show a finding, at most")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    track = data.open_track()
    runs = all_runs(track, options.seeds)
    found = aurocs(runs)
    for kind, each in found.items():
        print(kind, np.round(each["macro"], 4), each["difference"], each["low"], each["high"])
    bench = Bench(track, configs.read_config("pointing").settings.size, options.images)
    edges, agreement, chance = [], {}, {}
    for way, (kind, asked) in tqdm(WAYS.items(), desc="ways"):
        kept, sums = [], 0
        for seed, run in enumerate(runs[kind]):
            small, large = all_maps(run.model(), bench.chosen.images, asked)
            bench.measure(way, seed, small, large, run)
            for name, shown in bench.chosen.shown.items():
                edge = at_edge(large[shown, LABELS.index(name)])
                edges.append({"way": way, "seed": seed, "label": name, "edge": edge})
            kept.append(small)
            sums = sums + large
        chance[way] = edge_of_chance(small.shape[-1], large.shape[-1])
        bench.measure(f"{way}, mean of the seeds", -1, small, sums / options.seeds)
        pairs = [(one, two) for k, one in enumerate(kept) for two in kept[:k]]
        agreement[way] = [
            float(np.mean([
                explanations.rank_correlation(one[shown, LABELS.index(name)],
                                              two[shown, LABELS.index(name)]).mean()
                for name, shown in bench.chosen.shown.items()
            ]))
            for one, two in pairs
        ]  # fmt: skip
    rows, table = bench.rows()
    print(rows.groupby(["mask", "way", "guess"], sort=False)[MEASURES].mean().round(3).to_string())
    usual = ("pointing", "usual place")
    pairs = [((way, "map"), usual) for way in (*WAYS, "pointing, mean of the seeds")]
    pairs += [((way, "map"), (way, guess)) for way in ("Grad-CAM", "LayerCAM, finer", "pointing")
              for guess in ("mean map", "another image")]  # fmt: skip
    pairs += [
        (("pointing", "map × usual place"), usual),
        (("pointing", "map"), ("Grad-CAM", "map")),
        (("pointing", "map"), ("Grad-CAM of the pointing head", "map")),
        (("pointing, same recipe", "map"), ("LayerCAM, finer", "map")),
        (("pointing", "map"), ("LayerCAM, finer, own recipe", "map")),
        (("pointing, same recipe", "map"), ("pointing, same recipe", "another image")),
    ]
    content = {
        "phantom": provenance(track),
        "versions": versions(),
        "auroc": found,
        "agreement of seeds": agreement,
        "edge of chance": chance,
        "gains": gains(table, pairs),
        "edges": pd.DataFrame(edges).groupby(["way", "label"])["edge"].mean().reset_index().to_dict(
            "records"),
        "rows": rows.astype(object).where(rows.notna(), None).to_dict("records"),
    }  # fmt: skip
    print(pd.DataFrame(content["gains"]).round(3).to_string())
    print({way: np.round(each, 3).tolist() for way, each in agreement.items()})
    print(write_json(options.results / "heads.json", rounded(content)))


if __name__ == "__main__":
    main()
