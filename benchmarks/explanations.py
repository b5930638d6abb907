"""Do maps depend on what was learnt, and on the image and the label? Both heads, put to the test.

    python benchmarks/explanations.py [--seeds 3] [--jobs 2] [--real NIH_FOLDER ...] [--parts ...]

The models are those of ``heads.py``, with the paper's head and with the pointing head, trained or
found. Whether their maps lie on the finding is asked there; here, for notebook 08:

- ``randomisation``: weights are drawn anew from the output down (Adebayo et al. 2018). The rank
  correlation of each map with the model's own, its absolute value too, and the share of maps that
  are the same everywhere, which count in neither. Beside it the map of *another image* of the same
  label: resemblance that owes nothing to learning. ``spread`` is the entropy of a map over that of
  an even one: a network of chance should point at less (efficient MPRT, Hedström et al. 2023).
- ``shuffled``: a model trained on labels dealt out to other images, scored against lesions.
- ``kin``: rank correlation of a group's map with its child's, on images that show the child; beside
  it the group's map with that of a finding that is no kin, and with the child's of another image.
- ``deletion``: areas under deletion and insertion, by finding; beside the maps, the lesion itself
  (from its middle outwards, then what is nearest to it: no order has scattered pixels) and smooth
  fields of chance, three for every image.
- ``shortcut``: a planted square, by seed: where maps are highest, and what the model is worth
  without it.
- ``boxes``: on real radiographs, against NIH's and RSNA's boxes (of Lung Opacity both: NIH calls
  them infiltrates), for models that saw phantoms only, their batch normalisation adapted to the
  folder's images, and for the same models fine-tuned on NIH's labels of half of the patients and
  scored on the other half's boxes; beside each map that of another patient. ``hit`` is the hit rate
  of CheXlocalize, the pointing game. Intervals are over patients, the models held fixed;
  ``box_gains`` has the differences, on the same images.
- ``letters``: do the adapted models look at burnt-in letters, and do scores change without them?
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from common import (
    HIERARCHY,
    RESULTS,
    equalised,
    images_of,
    open_nih,
    parallel,
    provenance,
    rounded,
    versions,
    which,
    write_json,
)
from heads import SEEN, WAYS, Chosen, all_maps, all_runs, of_another, of_others
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from cxrlib import configs, data, explanations, phantom, training
from cxrlib.cohort import study_of, write_cohort
from cxrlib.phantom import FINDINGS
from cxrlib.transfer import adapt_batchnorm

LABELS = HIERARCHY.labels
COHORTS = data.DEFAULT_FOLDER.parent
HEADS = ("paper", "pointing")
WAYS = {way: how for way, how in WAYS.items() if how[0] in HEADS}
WAYS |= {"Eigen-CAM": ("paper", {"method": "eigencam"})}
ON_REAL = ("boxes", "letters")
PARTS = (*ON_REAL, "shortcut", "deletion", "course")
KEPT = (*ON_REAL, "box_gains", "real", "shortcut", "randomisation", "kin", "shuffled", "deletion")
PLACES = [LABELS.index(name) for name in FINDINGS]


# --- Is the map about the model? ------------------------------------------------------------------


def spread(maps):
    """Entropy of maps [..., h, w] over that of an even one, 0 … 1; NaN where a map is empty."""
    flat = maps.reshape(*maps.shape[:-2], -1)
    total = flat.sum(axis=-1, keepdims=True)
    share = np.divide(flat, total, out=np.full_like(flat, np.nan), where=total > 0)
    return -(share * np.log(np.maximum(share, 1e-12))).sum(axis=-1) / np.log(flat.shape[-1])


def likeness(one, other):
    """Rank correlation of two sets of maps, signed and not, without those that are constant."""
    varied = (np.ptp(one, axis=(-2, -1)) > 0) & (np.ptp(other, axis=(-2, -1)) > 0)
    if not varied.any():
        return {"correlation": np.nan, "absolute": np.nan}
    values = explanations.rank_correlation(one, other)[varied]
    return {"correlation": values.mean(), "absolute": np.abs(values).mean()}


def small_maps(model, images, asked):
    """Maps of the findings at the features' resolution [N, F, h, w]."""
    return all_maps(model, images, asked)[0][:, PLACES]


def randomise(way, seed, runs, chosen):
    """Rows of ``randomisation``: each stage, another seed's model, and another image."""
    kind, asked = WAYS[way]
    images, shown = chosen.images, chosen.shown
    model = runs[kind][seed].model()
    own = small_maps(model, images, asked)
    compared = {"another image": own.copy()}
    if len(runs[kind]) > 1:
        other = runs[kind][(seed + 1) % len(runs[kind])].model()
        compared["another seed"] = small_maps(other, images, asked)
    for place, name in enumerate(FINDINGS):
        order = of_another(chosen.people[shown[name]])
        compared["another image"][shown[name], place] = own[shown[name], place][order]
    for stage, forgetful in explanations.randomised(model, seed=100 * seed):
        compared[stage] = small_maps(forgetful, images, asked)
    rows = [{"stage": "itself", "spread": _mean(own, shown, spread), "constant": _constant(own)}]
    for stage, maps in compared.items():
        alike = [
            likeness(own[shown[name], place], maps[shown[name], place])
            for place, name in enumerate(FINDINGS)
        ]
        row = pd.DataFrame(alike).mean().to_dict() | {"constant": _constant(maps)}
        rows.append({"stage": stage, "spread": _mean(maps, shown, spread)} | row)
    return [{"way": way, "seed": seed} | row for row in rows]


def _mean(maps, shown, measured):
    each = [measured(maps[shown[name], place]) for place, name in enumerate(FINDINGS)]
    return float(np.nanmean([np.nanmean(values) for values in each]))


def _constant(maps):
    return float((np.ptp(maps, axis=(-2, -1)) == 0).mean())


def shuffled(track):
    """The track with its training images' labels dealt out to other training images."""
    table = track.table.copy()
    rows = table.index[table["split"] == "train"]
    dealt = np.random.default_rng(0).permutation(rows)
    table.loc[rows, SEEN] = table.loc[dealt, SEEN].to_numpy()
    return replace(track, table=table)


def settings_of(kind):
    return configs.read_config({"paper": "workshop"}.get(kind, kind)).settings


def scored(way, seed, maps, chosen):
    """Rows of a way: mean scores by finding, against lesions."""
    rows = []
    for name in FINDINGS:
        shown, true = chosen.known(name)
        found = explanations.localisation(maps[shown, LABELS.index(name)], true).mean()
        rows.append({"way": way, "seed": seed, "label": name} | found.to_dict())
    return rows


# --- Is it about the label? -----------------------------------------------------------------------


def kin(way, seed, maps, chosen):
    """Rows of ``kin``, for every edge whose child the phantom can show."""
    rows = []
    for group, child in HIERARCHY.edges:
        if child not in FINDINGS:
            continue
        shown = chosen.shown[child]
        groups, children = (maps[shown, LABELS.index(name)] for name in (group, child))
        families = (child, *HIERARCHY.children(group))
        stranger, there = of_others(families, chosen.table.iloc[shown], maps[shown])
        pairs = {
            "same image": (groups, children),
            "no kin": (groups[there], stranger[there]),
            "another image": (groups, children[of_another(chosen.people[shown])]),
        }
        about = {"way": way, "seed": seed, "group": group, "child": child}
        rows.append(about | {name: likeness(*pair)["correlation"] for name, pair in pairs.items()})
    return rows


# --- Deletion and insertion -----------------------------------------------------------------------


def outwards(masks):
    """Masks [N, H, W] as an order of all pixels: from the depth of each outwards, then away."""
    depth, away = (
        np.stack([ndimage.distance_transform_edt(part) for part in side])
        for side in (masks, ~masks)
    )
    return depth - away


def delete_and_insert(seed, runs, chosen, count=12):
    """Rows of ``deletion``: areas under both curves, per kind of model, order and finding."""
    rows, rng = [], np.random.default_rng(seed)
    for number, name in enumerate(FINDINGS):
        shown, true = chosen.known(name)
        few = np.sort(rng.permutation(len(shown))[:count])
        images, true = chosen.images[shown[few]], true[few]
        for kind in HEADS:
            model = runs[kind][seed].model()
            orders = {
                way: explanations.explain(model, images, [name], **asked)[name].numpy()
                for way, (of, asked) in WAYS.items()
                if of == kind
            }
            orders = [*orders.items(), ("the lesion", outwards(true))]
            for field in range(3):
                chance = 1000 * seed + 10 * number + field
                fields = explanations.smooth_fields(len(few), images.shape[-1], chance)
                orders.append(("chance", fields))
            for order, maps in orders:
                curves = explanations.deletion_insertion(model, images, maps, name)
                steps = curves[0].shape[1] - 1
                areas = [
                    float(np.trapezoid(curve, dx=1 / steps, axis=1).mean()) for curve in curves
                ]
                about = {"head": kind, "seed": seed, "label": name, "order": order}
                rows.append(about | dict(zip(("deletion", "insertion"), areas, strict=True)))
    return rows


# --- A planted shortcut ---------------------------------------------------------------------------

SHORTCUT = "Pneumothorax"
LESSON = {"patients": {"train": 600, "valid": 60, "test": 250}, "size": 64, "seed": 5}
"""The lesson of notebook 08."""


def lesson(square):
    """Patients whose images carry a burnt-in square where there is a pneumothorax, or nowhere."""
    controls = {"shortcut": SHORTCUT, "strength": 0.98} if square else {}
    folder = COHORTS / f"phantom-lesson-{'square' if square else 'plain'}"
    return data.open_track(
        write_cohort(folder, progress=False, **LESSON, **controls), labels="truth"
    )


def find_shortcut(task):
    """Rows of ``shortcut``: what a model sees in the square, and what it is worth without it."""
    kind, square, seed = task
    short = training.Settings(size=64, epochs=15, augment="none", seed=seed)
    short = replace(short, head=kind, dropout=settings_of(kind).dropout)
    name = f"shortcut-{'square' if square else 'plain'}"
    model = training.train(lesson(square), HIERARCHY, short, name=name).model("last")
    track = lesson(True)
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
    stamped = (pictures["square on all"] != pictures["no square"]).any(dim=0)[0].numpy()
    for way, (of, asked) in WAYS.items():
        if of != kind or way == "Eigen-CAM":
            continue
        sick = images["square on all"][ill]
        made = explanations.explain(model, sick, [SHORTCUT], **asked)
        maps, side = made[SHORTCUT].numpy(), made.features.shape[-1]
        # As near as this map can tell: on the square, or within one of the map's own places of it.
        region = ndimage.binary_dilation(stamped, iterations=stamped.shape[0] // side)
        tops = maps.reshape(len(maps), -1).argmax(axis=1)
        found[f"highest point in the square, {way}"] = region.ravel()[tops].mean()
        share = maps[:, region].sum(axis=1) / np.maximum(maps.sum(axis=(1, 2)), 1e-9)
        found[f"share of the map in the square, {way}"] = share.mean()
        found[f"share of the image, {way}"] = region.mean()
    about = {"head": kind, "learnt": "with square" if square else "without square", "seed": seed}
    return [about | {"measure": name, "value": float(value)} for name, value in found.items()]


def draw(studies, size):
    """Frontal images uint8 [N, 1, size, size]."""
    return torch.stack([torch.from_numpy(phantom.render(study, size))[None] for study in studies])


# --- Real radiographs -----------------------------------------------------------------------------

FINE_TUNING = {"epochs": 10, "small_epochs": 0, "batch_size": 16, "lr": 1e-3, "augment": "chest"}


def half(patient):
    """Which of two halves a patient is in, by the number."""
    return int(patient.removeprefix("nih")) % 2


def fine_tuned(run, track, side):
    """A run's model, fine-tuned on the labels of the patients of one half; an eighth validates."""
    table = track.table
    own = table[table["patient"].map(half) == side]
    people = np.random.default_rng(0).permutation(own["patient"].unique())
    valid = own["patient"].isin(people[::8])
    split = np.where(valid, "valid", "train")
    learnt = replace(track, table=own.assign(split=split).reset_index(drop=True))
    settings = replace(run.settings, **FINE_TUNING)
    name = f"boxes-{track.folder.name}-{side}"
    return training.train(learnt, HIERARCHY, settings, name=name, start=run).model()


def find_boxes(task):
    """Rows of ``boxes``: scores image by image, of one model and its two fine-tuned ones."""
    kind, seed, run, folders = task
    rows = []
    for folder in folders:
        track = data.open_track(folder)
        size = run.settings.size
        images = images_of(track, track.table, size)
        found = explanations.find_masks(track, track.table["path"], size)
        adapted = adapt_batchnorm(run.model(), images)
        sides = track.table["patient"].map(half).to_numpy()
        tuned = [fine_tuned(run, track, side) for side in (0, 1)]
        for way, (of, asked) in WAYS.items():
            if of != kind or way == "Eigen-CAM":
                continue
            for label in (name for name in FINDINGS if name in found):
                where, true = found[label]
                models = {"phantoms only": [adapted] * 2, "fine-tuned": tuned[::-1]}
                for learnt, pair in models.items():
                    both = np.stack([
                        explanations.explain(model, images[where], [label], **asked)[label].numpy()
                        for model in pair
                    ])  # fmt: skip
                    maps = both[sides[where], np.arange(len(where))]  # by who has not seen them
                    about = {"label": label, "way": way, "seed": seed, "learnt": learnt}
                    rows += _scored_boxes(track, where, maps, true, about)
                    people = track.table["patient"].iloc[where].to_numpy()
                    strangers = maps[of_another(people)]
                    rows += _scored_boxes(track, where, strangers, true, about, "another patient")
        if seed == 0 and kind == "paper":
            rows += _usual_boxes(track, found)
    return rows


def _scored_boxes(track, where, maps, true, about, guess="map"):
    scores = explanations.localisation(maps, true)[["hit", "auprc", "chance"]]
    of = {name: track.table[name].iloc[where].to_numpy() for name in ("patient", "path")}
    return scores.assign(folder=track.folder.name, guess=guess, **of, **about).to_dict("records")


def _usual_boxes(track, found):
    """The usual place: of other patients' boxes, and of the phantom's lesions."""
    rows, course = [], data.open_track()
    valid = course.split("valid")
    size = next(iter(found.values()))[1].shape[-1]
    lesions = explanations.find_masks(course, valid["path"], size, "lesions")
    for label in (name for name in FINDINGS if name in found):
        where, true = found[label]
        people = track.table["patient"].iloc[where].to_numpy()
        about = {"label": label, "way": "usual place", "seed": 0}
        if len(set(people)) > 1:
            others = np.stack([true[people != person].mean(axis=0) for person in people])
            rows += _scored_boxes(track, where, others, true, about | {"learnt": "other boxes"})
        same = np.stack([lesions[label][1].mean(axis=0)] * len(true))
        rows += _scored_boxes(track, where, same, true, about | {"learnt": "phantoms only"})
    return rows


def summarise(rows, resamples=2000):
    """Means over images and seeds, with intervals by patient, of every kind of guess."""
    table, summary, kinds = pd.DataFrame(rows), [], ["label", "way", "learnt", "guess"]
    for kind, part in table.groupby(kinds):
        each = part.groupby("path").agg({"patient": "first", "hit": "mean", "auprc": "mean"})
        people, places = np.unique(each["patient"], return_inverse=True)
        if len(each) < 5 or len(people) < 5:
            continue
        rng = np.random.default_rng(0)
        draws = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), resamples)
        weights = draws[:, places]
        row = dict(zip(kinds, kind, strict=True))
        row |= {"images": len(each), "patients": len(people), "chance": part["chance"].mean()}
        for name in ("hit", "auprc"):
            means = weights @ each[name].to_numpy() / weights.sum(axis=1)
            row |= {name: each[name].mean()}
            low, high = np.quantile(means, [0.025, 0.975])
            row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        summary.append(row)
    return summary


def box_gains(rows, resamples=2000):
    """Differences between kinds of guess on the same images, with intervals by patient."""
    table = pd.DataFrame(rows)
    usual = table["way"] == "usual place"
    table["which"] = np.where(usual, "usual place", table["way"]) + ", " + table["learnt"]
    gains = []
    for label, part in table.groupby("label"):
        each = part.pivot_table(["hit", "auprc"], "path", ["which", "guess"])
        people = part.groupby("path")["patient"].first().reindex(each.index)
        names, places = np.unique(people, return_inverse=True)
        if len(names) < 5:
            continue
        draws = np.random.default_rng(0).multinomial(
            len(names), np.full(len(names), 1 / len(names)), resamples
        )
        weights = draws[:, places]
        maps = [which for which in part["which"].unique() if not which.startswith("usual place")]
        pairs = [((which, "map"), (which, "another patient")) for which in maps]
        pairs += [
            ((which, "map"), (f"usual place, {of}", "map"))
            for which in maps
            for of in ("other boxes", "phantoms only")
        ]
        for one, other in pairs:
            for measure in ("hit", "auprc"):
                if not {(measure, *one), (measure, *other)} <= set(each):
                    continue
                difference = (each[(measure, *one)] - each[(measure, *other)]).to_numpy()
                drawn = weights @ difference / weights.sum(axis=1)
                low, high = np.quantile(drawn, [0.025, 0.975])
                than = other[1] if other[1] != "map" else other[0]
                row = {"label": label, "which": one[0], "than": than, "measure": measure}
                row |= {"difference": difference.mean(), "low": float(low), "high": float(high)}
                gains.append(row | {"images": len(each), "patients": len(names)})
    return gains


def find_letters(task):
    """Rows of ``letters``: do maps look at burnt-in letters, and do scores change without them?"""
    kind, seed, run, folders = task
    rows = []
    for folder in folders:
        track, size = data.open_track(folder), run.settings.size
        grey = data.read_images([track.folder / path for path in track.table["path"]], size)
        marks = np.stack([burnt_in(image[0].numpy()) for image in grey])
        has = marks.any(axis=(1, 2))
        grey, marks = grey[has], marks[has]
        # Paint over the letters, and as a comparison over the same pixels of the mirrored place.
        mirrored = marks[:, :, ::-1].copy() & ~marks
        if not has.any():
            continue
        model = adapt_batchnorm(run.model(), images_of(track, track.table, size))
        pictures = {"none": marks & False, "letters": marks, "beside": mirrored}
        with torch.inference_mode():
            scores = {
                name: model(equalised(paint_over(grey, place))).sigmoid().numpy()
                for name, place in pictures.items()
            }
        way = "pointing" if kind == "pointing" else "LayerCAM, finer"
        maps = all_maps(model, equalised(grey), WAYS[way][1])[1]
        inside = (maps * marks[:, None]).sum(axis=(2, 3)) / marks.sum(axis=(1, 2))[:, None]
        change, elsewhere = (
            np.abs(scores[name] - scores["none"]).mean(axis=0) for name in ("letters", "beside")
        )
        ratio = inside.mean(axis=0) / np.maximum(maps.mean(axis=(0, 2, 3)), 1e-9)
        for place, label in enumerate(LABELS):
            about = {"head": kind, "way": way, "seed": seed, "folder": track.folder.name}
            rows.append(
                about
                | {
                    "label": label,
                    "images": int(has.sum()),
                    "map on the letters, times the map's mean": float(ratio[place]),
                    "change without the letters": float(change[place]),
                    "change, painted elsewhere": float(elsewhere[place]),
                }
            )
    return rows


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


def test_of(task):
    """All that is asked of the course's models of one seed: results by name."""
    seed, seeds, count = task
    track = data.open_track()
    runs, chosen = all_runs(track, seeds), Chosen(track, settings_of("pointing").size, count)
    found = {"randomisation": [], "kin": [], "shuffled": []}
    for way, (kind, asked) in WAYS.items():
        found["randomisation"] += randomise(way, seed, runs, chosen)
        maps = all_maps(runs[kind][seed].model(), chosen.images, asked)[0]
        found["kin"] += kin(way, seed, maps, chosen)
    if seed == 0:
        for kind in HEADS:
            run = training.train(shuffled(track), HIERARCHY, settings_of(kind), "shuffled-labels")
            # Its last weights: those best on validation images, whose labels are true, know a bit.
            for way, (of, asked) in WAYS.items():
                if of == kind:
                    maps = all_maps(run.model("last"), chosen.images, asked)[1]
                    found["shuffled"] += scored(way, seed, maps, chosen)
    return found


def delete_of(task):
    """Rows of ``deletion`` for the models of one seed."""
    seed, seeds, count = task
    track = data.open_track()
    runs, chosen = all_runs(track, seeds), Chosen(track, settings_of("pointing").size, count)
    return delete_and_insert(seed, runs, chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=20, help="that show a finding, at most")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--real", nargs="*", default=[], help="folders of NIH with boxes")
    parser.add_argument("--parts", nargs="*", choices=PARTS, help="the others stay as they were")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result is stored")
    options = parser.parse_args()
    reals = [open_nih(folder) for folder in options.real]
    parts = options.parts or [part for part in PARTS if reals or part not in ON_REAL]
    if set(parts) & set(ON_REAL) and not any(len(track.boxes) for track in reals):
        raise SystemExit("--real: expected folders of NIH with boxes, see data/README.md.")
    track, seeds = data.open_track(), range(options.seeds)
    path = options.results / "explanations.json"
    result = kept(path, provenance(track)) if len(parts) < len(PARTS) else {}
    runs = all_runs(track, options.seeds)
    for square in (True, False):  # written once, before several processes want them
        lesson(square)
    on_real = [(kind, s, runs[kind][s], options.real) for s in seeds for kind in HEADS]
    work = {
        "boxes": (find_boxes, on_real),
        "letters": (find_letters, on_real),
        "shortcut": (
            find_shortcut,
            [(k, q, s) for s in seeds for k in HEADS for q in (True, False)],
        ),
        "deletion": (delete_of, [(s, options.seeds, options.images) for s in seeds]),
        "course": (test_of, [(s, options.seeds, options.images) for s in seeds]),
    }
    for part in parts:
        found = parallel(*work[part], options.jobs, part)
        if part == "course":
            result |= {name: [row for each in found for row in each[name]] for name in found[0]}
        else:
            rows = [row for each in found for row in each]
            result[part] = summarise(rows) if part == "boxes" else rows
            if part == "boxes":
                result["box_gains"] = box_gains(rows)
    result |= {
        "seeds": options.seeds,
        "ways": {way: list(how) for way, how in WAYS.items()},
        "phantom": provenance(track),
        "versions": versions(),
    }
    if reals:
        result["real"] = [which(real) for real in reals]
    print(write_json(path, rounded(without_nan(result))))


def kept(path, drawn):
    """The parts of a stored result, if it is of the same phantom: {} otherwise."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if stored.get("phantom") != drawn:
        return {}
    return {name: value for name, value in stored.items() if name in KEPT}


def without_nan(value):
    """The same without NaN, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and np.isnan(value) else value


if __name__ == "__main__":
    main()
