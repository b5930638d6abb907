"""Do heat maps lie on the finding? Every method, against known masks, chance and two blind guesses.

    python benchmarks/explanations.py [--seeds 3] [--jobs 2] [--real NIH_FOLDER]

The course's model (notebook 05's "paper-loss") is trained with several seeds, or found. Each is
explained by every method, and by two remedies: maps of a finer layer, and both layers together.
One more model is trained with a network whose last maps are twice as fine. On the phantom's test
images, whose masks are known, each map is scored for every label, and beside it

- ``chance``, the mask's share of the image;
- ``mean map``, the method's average map of that label, which has not seen the image;
- ``usual place``, the average mask of that label on the validation images.

results/explanations.json then holds, for notebook 08, the rows of ``localisation``, the same on
real radiographs with boxes (``boxes``), the randomisation test (``randomisation``) and the maps of
a model trained on shuffled labels (``shuffled``), deletion and insertion (``deletion``), how much
of a child's map its group's covers (``covered``), a planted shortcut (``shortcut``), and what
burnt-in letters do on real radiographs (``letters``).
"""

import argparse
import json
import os
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from common import RESULTS, equalised, parallel, rounded, write_json
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import nn

from cxrlib import data, explanations, models, phantom, training
from cxrlib.cohort import RECORD, study_of, write_cohort
from cxrlib.configs import read_config
from cxrlib.explanations import explain
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

HIERARCHY = paper_hierarchy()
LABELS = HIERARCHY.labels
SEEN = sorted(OBSERVATIONS)
COHORTS = data.DEFAULT_FOLDER.parent
WAYS = {
    **{method: {"method": method} for method in explanations.METHODS},
    "layercam, finer": {"method": "layercam", "finer": 1},
    "layercam, finest": {"method": "layercam", "finer": 2},
}
"""Ways of making a map: what ``explain`` is asked for."""

BOTH = "layercam, both layers"
"""One more: the geometric mean of ``layercam`` and ``layercam, finer``."""


# --- Models ---------------------------------------------------------------------------------------


def course_settings(seed):
    """The settings of notebook 05's model with the paper's loss."""
    workshop = read_config("workshop").settings
    return replace(workshop, method="hbce-step", penalties="data-driven", seed=seed)


def train_one(task):
    """Train one model, or find it; returns its folder. Tasks: (what, seed)."""
    what, seed = task
    track, name = data.open_track(data.DEFAULT_FOLDER), "paper-loss"
    settings = course_settings(seed)
    if what == "shuffled":
        track, name = shuffled(track), "shuffled-labels"
    elif what in ("with square", "without square"):
        track = data.open_track(shortcut_cohort(what == "with square"), labels="truth")
        settings = replace(read_config("methods-clean").settings, seed=seed)
        name = what.replace(" ", "-")
    elif what == "finer network":
        return train_finer(track, settings)
    return training.train(track, HIERARCHY, settings, name=name).folder


def shuffled(track):
    """The track with its training images' labels dealt out to other training images."""
    table = track.table.copy()
    rows = table.index[table["split"] == "train"]
    dealt = np.random.default_rng(0).permutation(rows)
    table.loc[rows, SEEN] = table.loc[dealt, SEEN].to_numpy()
    return replace(track, table=table)


SHORTCUT = "Pneumothorax"


def shortcut_cohort(square, strength=0.9):
    """Patients whose images carry a burnt-in square where there is a pneumothorax, or nowhere."""
    controls = {"shortcut": SHORTCUT, "strength": strength} if square else {}
    return write_cohort(
        COHORTS / f"phantom-shortcut{f'{strength:+g}' if square else '-none'}",
        patients={"train": 1000, "valid": 150, "test": 570},
        size=64,
        progress=False,
        **controls,
    )


def finer_network():
    """The tiny model without its last pooling: maps of 12 × 12 instead of 6 × 6 at 96 pixels."""
    model = models.build("tiny")
    model.features[0].transition2.pool = nn.Identity()
    return model


def train_finer(track, settings):
    """Train the finer network with the course's loop; returns the folder of its weights."""
    folder = training.RUNS / f"finer-network-seed{settings.seed}"
    if not (folder / "weights.pt").is_file():
        pl.seed_everything(settings.seed)
        classifier = training.Classifier(settings, HIERARCHY, finer_network())
        trainer = pl.Trainer(
            max_epochs=settings.epochs,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            callbacks=[training.EpochSeed(settings.seed)],
        )
        trainer.fit(classifier, training.make_data(track, HIERARCHY, settings))
        folder.mkdir(parents=True)
        torch.save(classifier.model.state_dict(), folder / "weights.pt")
    return folder


def load(folder):
    """A trained model from its folder."""
    if not (folder / "weights.pt").is_file():
        return training.find_run(folder, HIERARCHY).model()
    model = finer_network()
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return model.eval()


# --- Images and masks -----------------------------------------------------------------------------


class Known:
    """Images of a split as the models see them, and where their findings are."""

    def __init__(self, track, split, size, count=None):
        rows = (track.split(split) if split else track.table).iloc[:count]
        targets = HIERARCHY.derive(rows[SEEN])
        dataset = data.ChestDataset(rows, track.folder, targets, size, equalize=True)
        self.images = torch.stack([image for image, _ in dataset])
        self.masks = explanations.find_masks(track, rows["path"], size)
        self.patients = rows["patient"].to_numpy()


def each_way(model, *images):
    """(way, one array [N, L, H, W] for each batch of images), way by way: all would fill memory."""
    kept = {}
    for way, asked in WAYS.items():
        maps = [all_maps(model, batch, **asked) for batch in images]
        if way in ("layercam", "layercam, finer"):
            kept[way] = maps
        yield way, maps
    yield BOTH, [np.sqrt(a * b) for a, b in zip(*kept.values(), strict=True)]


def all_maps(model, images, **asked):
    """Maps [N, L, H, W] of all labels, a few images at a time."""
    parts = [explain(model, batch, **asked).images.numpy() for batch in images.split(64)]
    return np.concatenate(parts)


def score_guess(tuned_on, known, scored, masks):
    """Mean scores of one guess about one label, at the threshold best on the validation images."""
    threshold = explanations.best_threshold(tuned_on, known)
    scores = explanations.localisation(scored, masks, threshold).mean().to_dict()
    return scores | {"threshold": threshold, "images": len(masks)}


def score_maps(way, seed, valid_maps, test_maps, valid, test):
    """Rows of ``localisation`` for one way and one model."""
    rows = []
    for label in (name for name in test.masks if name in valid.masks):
        place, (fitting, known), (shown, masks) = (
            LABELS.index(label), valid.masks[label], test.masks[label]
        )  # fmt: skip
        mean_map = explanations.blind_map(valid_maps[fitting, place])
        for guess, (tuned_on, scored) in {
            "map": (valid_maps[fitting, place], test_maps[shown, place]),
            "mean map": (np.stack([mean_map] * len(known)), np.stack([mean_map] * len(masks))),
        }.items():
            about = {"way": way, "seed": seed, "label": label, "guess": guess}
            rows.append(about | score_guess(tuned_on, known, scored, masks))
    return rows


def score_usual_place(valid, test):
    """Rows of ``localisation`` for the average mask."""
    rows = []
    for label in (name for name in test.masks if name in valid.masks):
        (_, known), (_, masks) = valid.masks[label], test.masks[label]
        usual = known.mean(axis=0)
        rows.append(
            {"way": "", "seed": 0, "label": label, "guess": "usual place"}
            | score_guess(
                np.stack([usual] * len(known)), known, np.stack([usual] * len(masks)), masks
            )
        )
    return rows


# --- Is the map about the model, and about the label? ---------------------------------------------


def cover(maps, test, seed, way):
    """Rows of ``covered``: how much of a child's map lies in its group's, where both are present.

    Beside it the same with the group's map of another image that shows the child.
    """
    rows = []
    for group, child in HIERARCHY.edges:
        if child not in test.masks:
            continue
        shown = test.masks[child][0]
        groups, children = (maps[shown, LABELS.index(label)] for label in (group, child))
        rows.append(
            {"way": way, "seed": seed, "group": group, "child": child, "images": len(shown)}
            | {"covered": np.nanmean(explanations.covered(groups, children))}
            | {"by_another": np.nanmean(explanations.covered(np.roll(groups, 1, 0), children))}
        )
    return rows


def randomise(folders, seed, images):
    """Rows of ``randomisation``: rank correlation with the model's own maps, stage by stage.

    The stage "another seed" compares with the next seed's model: as alike as honest maps get.
    """
    model, other = (load(folders[number % len(folders)]) for number in (seed, seed + 1))
    rows = []
    for way, asked in WAYS.items():
        own = explain(model, images, SEEN, **asked).features
        compared = {"another seed": explain(other, images, SEEN, **asked).features}
        for stage, forgetful in explanations.randomised(model, seed=100 * seed):
            compared[stage] = explain(forgetful, images, SEEN, **asked).features
        for stage, maps in compared.items():
            correlation = float(explanations.rank_correlation(own, maps).mean())
            rows.append({"way": way, "seed": seed, "stage": stage, "correlation": correlation})
    return rows


def shuffle_labels(model, confused, valid, test, count=300):
    """Rows of ``shuffled``: maps of a model that learnt nothing true, scored like the others."""
    rows = []
    for way in ("gradcam", "layercam, finer"):
        asked, chosen = WAYS[way], test.images[:count]
        alike = explanations.rank_correlation(
            explain(model, chosen, SEEN, **asked).features.numpy(),
            explain(confused, chosen, SEEN, **asked).features.numpy(),
        ).mean()
        maps = [all_maps(confused, part.images, **asked) for part in (valid, test)]
        for row in score_maps(way, 0, *maps, valid, test):
            rows.append(row | {"correlation": alike})
    return rows


def delete_and_insert(model, seed, test, count=24):
    """Rows of ``deletion``: areas under both curves, per way and observation."""
    rows, rng = [], np.random.default_rng(seed)
    for label in (name for name in SEEN if name in test.masks):
        shown, masks = test.masks[label]
        chosen = rng.permutation(len(shown))[:count]
        images = test.images[shown[chosen]]
        orders = {
            way: explain(model, images, [label], **asked)[label] for way, asked in WAYS.items()
        }
        orders["random"] = rng.random((len(images), *images.shape[-2:]))
        orders["the mask itself"] = masks[chosen].astype(float)
        for way, maps in orders.items():
            curves = explanations.deletion_insertion(model, images, np.asarray(maps), label)
            areas = {
                name: float(np.trapezoid(curve, dx=1 / (curve.shape[1] - 1), axis=1).mean())
                for name, curve in zip(("deletion", "insertion"), curves, strict=True)
            }
            rows.append({"way": way, "seed": seed, "label": label} | areas)
    return rows


# --- A planted shortcut ---------------------------------------------------------------------------


def find_shortcut(seed, learnt, folder):
    """Rows of ``shortcut``: what a model sees in the square, and what it is worth without it."""
    model, track = load(folder), data.open_track(shortcut_cohort(True), labels="truth")
    rows = track.split("test")
    ill = rows[SHORTCUT].to_numpy() == 1
    planted = [study_of(track.folder, path) for path in rows["path"]]
    shown = {
        "as planted": planted,
        "no square": [replace(study, stamp=False) for study in planted],
        "square on the healthy": [
            replace(study, stamp=not sick) for study, sick in zip(planted, ill, strict=True)
        ],
        "square on all": [replace(study, stamp=True) for study in planted],
    }
    pictures = {name: draw(studies, 64) for name, studies in shown.items()}
    images = {name: equalised(grey) for name, grey in pictures.items()}
    place, found = LABELS.index(SHORTCUT), {}
    with torch.inference_mode():
        scores = {name: model(x).sigmoid()[:, place].numpy() for name, x in images.items()}
    for name in ("as planted", "no square", "square on the healthy"):
        found[f"auroc, {name}"] = roc_auc_score(ill, scores[name])
    change = scores["square on all"] - scores["no square"]
    found["score raised by the square, ill"] = change[ill].mean()
    found["score raised by the square, healthy"] = change[~ill].mean()
    square = (pictures["square on all"] != pictures["no square"]).any(dim=0)[0].numpy()
    region = ndimage.binary_dilation(square, iterations=3)
    for way in ("gradcam", "layercam, finer"):
        maps = all_maps(model, images["square on all"][ill], labels=[SHORTCUT], **WAYS[way])[:, 0]
        tops = maps.reshape(len(maps), -1).argmax(axis=1)
        found[f"highest point in the square, {way}"] = region.ravel()[tops].mean()
        share = maps[:, region].sum(axis=1) / np.maximum(maps.sum(axis=(1, 2)), 1e-9)
        found[f"share of the map in the square, {way}"] = share.mean()
    found["share of the image"] = region.mean()
    return [
        {"learnt": learnt, "seed": seed, "measure": name, "value": float(value)}
        for name, value in found.items()
    ]


def draw(studies, size):
    """Frontal images uint8 [N, 1, size, size]."""
    return torch.stack([torch.from_numpy(phantom.render(study, size))[None] for study in studies])


# --- Real radiographs -----------------------------------------------------------------------------


def find_boxes(seed, folder, known):
    """Rows of ``boxes``: maps of a model of the phantom, against NIH's boxes."""
    model, rows = load(folder), []
    for way, asked in WAYS.items():
        for label, (shown, masks) in known.masks.items():
            if len(shown) < 5:
                continue
            maps = explain(model, known.images[shown], [label], **asked)[label]
            scores = explanations.localisation(maps, masks).mean()
            others = (masks.sum(axis=0) - masks) / (len(masks) - 1)  # the other images' boxes
            usual = explanations.localisation(others, masks)
            about = {"way": way, "seed": seed, "label": label, "images": len(shown)}
            rows.append(
                about
                | scores[["hit", "auprc", "chance"]].to_dict()
                | {f"usual_{name}": usual[name].mean() for name in ("hit", "auprc")}
            )
    return rows


def find_letters(seed, folder, track, size=96):
    """Rows of ``letters``: do maps look at burnt-in letters, and do scores change without them?"""
    rows = track.table
    grey = data.read_images([track.folder / path for path in rows["path"]], size)
    marks = np.stack([burnt_in(image[0].numpy()) for image in grey])
    has = marks.any(axis=(1, 2))
    grey, marks = grey[has], marks[has]
    # Paint over the letters, and as a comparison over the same pixels of the mirrored place.
    mirrored = marks[:, :, ::-1].copy() & ~marks
    model, found = load(folder), {}
    with torch.inference_mode():
        scores = {
            name: model(equalised(paint_over(grey, where))).sigmoid().numpy()
            for name, where in {"none": marks & False, "letters": marks, "beside": mirrored}.items()
        }
    maps = all_maps(model, equalised(grey), **WAYS["layercam, finer"])
    table = []
    for place, label in enumerate(LABELS):
        inside = np.array([m[place][w].mean() for m, w in zip(maps, marks, strict=True)])
        outside = np.array([m[place].mean() for m in maps])
        found = {
            "map on the letters, times the map's mean": inside.mean() / max(outside.mean(), 1e-9),
            "change without the letters": np.abs(scores["letters"] - scores["none"])[:, place],
            "change, painted elsewhere": np.abs(scores["beside"] - scores["none"])[:, place],
        }
        table.append(
            {"seed": seed, "label": label, "images": int(has.sum())}
            | {name: float(np.mean(value)) for name, value in found.items()}
        )
    return table


def burnt_in(grey, frame=0.2, level=235):
    """Small bright marks near the border of a radiograph: bool [H, W]."""
    size = len(grey)
    bright, count = ndimage.label(grey >= level)
    near = np.ones_like(grey, dtype=bool)
    inner = slice(int(frame * size), int((1 - frame) * size))
    near[inner, inner] = False
    marks = np.zeros_like(near)
    for number in range(1, count + 1):
        part = bright == number
        if 3 <= part.sum() <= 0.01 * size**2 and near[part].all():
            marks |= part
    return ndimage.binary_dilation(marks, iterations=2)


def paint_over(grey, where):
    """Images in which marked pixels take the median of what surrounds them."""
    painted = grey.clone()
    for image, marks in zip(painted, where, strict=True):
        if marks.any():
            around = ndimage.binary_dilation(marks, iterations=3) & ~marks
            image[0][torch.from_numpy(marks)] = image[0][torch.from_numpy(around)].median()
    return painted


# --- All of it ------------------------------------------------------------------------------------


def measure(task):
    """The rows of one part of the work, ``(what, seed, folders)``, by their place in the result."""
    what, seed, folder = task
    if what in ("with square", "without square"):
        return {"shortcut": find_shortcut(seed, what, folder)}
    size = course_settings(0).size
    if what == "real":
        folder, radiographs = folder
        track = data.open_track(radiographs)
        return {
            "boxes": find_boxes(seed, folder, Known(track, None, size)),
            "letters": find_letters(seed, folder, track),
        }
    track = data.open_track(data.DEFAULT_FOLDER)
    if what == "randomised":
        return {"randomisation": randomise(folder, seed, Known(track, "test", size, 100).images)}
    valid, test = (Known(track, split, size) for split in ("valid", "test"))
    if what == "shuffled":
        own = load(train_one(("course", 0)))
        return {"shuffled": shuffle_labels(own, load(folder), valid, test)}
    if what == "finer network":
        rows = []
        for way in ("gradcam", "layercam", "layercam, finer"):
            maps = [all_maps(load(folder), part.images, **WAYS[way]) for part in (valid, test)]
            rows += score_maps(f"finer network: {way}", 0, *maps, valid, test)
        return {"localisation": rows}
    model, rows, covered = load(folder), [], []
    for way, maps in each_way(model, valid.images, test.images):
        rows += score_maps(way, seed, *maps, valid, test)
        covered += cover(maps[1], test, seed, way)
    if seed == 0:
        rows += score_usual_place(valid, test)
    deletion = delete_and_insert(model, seed, test)
    return {"localisation": rows, "covered": covered, "deletion": deletion}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trainings at a time")
    parser.add_argument("--real", type=Path, help="a folder of NIH radiographs with boxes")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    seeds = range(options.seeds)
    for square in (True, False):  # written once, before several processes want them
        shortcut_cohort(square)
    tasks = [("course", seed) for seed in seeds] + [("shuffled", 0), ("finer network", 0)]
    tasks += [(what, seed) for what in ("with square", "without square") for seed in seeds]
    folders = dict(zip(tasks, parallel(train_one, tasks, options.jobs, "trainings"), strict=True))
    course = [folders["course", seed] for seed in seeds]
    work = [("course", seed, course[seed]) for seed in seeds]
    work += [(what, 0, folders[what, 0]) for what in ("finer network", "shuffled")]
    work += [("randomised", seed, course) for seed in seeds]
    work += [
        (what, seed, folders[what, seed])
        for what in ("with square", "without square")
        for seed in seeds
    ]
    if options.real:
        work += [("real", seed, (course[seed], options.real)) for seed in seeds]
    result = {}
    for part in parallel(measure, work, options.jobs, "measuring"):
        for name, rows in part.items():
            result.setdefault(name, []).extend(rows)
    track = data.open_track(data.DEFAULT_FOLDER)
    drawn = json.loads((track.folder / RECORD).read_text(encoding="utf-8"))
    record = json.loads((course[0] / "run.json").read_text(encoding="utf-8"))
    about = {
        "seeds": options.seeds,
        "settings": asdict(course_settings(0)),
        "ways": WAYS,
        "phantom": {name: drawn[name] for name in ("generator", "seed", "size", "images")},
        "versions": {"cxrlib": metadata.version("cxrlib"), **record["versions"]},
    }
    print(write_json(options.results / "explanations.json", rounded(about | result)))


if __name__ == "__main__":
    main()
