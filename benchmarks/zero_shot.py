"""Models that have seen phantoms only, on real radiographs: is it more than a trivial cue tells?

    python benchmarks/zero_shot.py NIH_FOLDER [NIH_FOLDER ...] [--seeds 3] [--epochs 4]

**Models.** ``tiny`` is trained on two cohorts of phantoms, ``usual`` and ``transfer`` (every second
patient with subtle, independent findings), once for every seed; ``workshop`` is the course's own
model, of its default cohort with its usual settings. Runs made before are found below runs/.
Each is scored ``as is``, and adapted (``AdaBN``: its batch normalisation sees the unlabelled images
of the choosing half). A cohort's seeds are joined by their mean rank: ``rank mean`` joins them as
they are, ``AdaBN, rank mean`` adapted. ``all`` joins the adapted models of both cohorts: twice as
many models as of one cohort.

**Halves.** Figures are of the reporting half of the patients (``cxrlib.transfer.reporting``). On
the other half, for choosing, the phantom was fitted, the statistics of AdaBN are taken, and the
trivial cue of each label is chosen, with its direction. No real image is trained on.

**Labels.** The mean is over ``SIX`` that NIH and CheXpert both define under the same name, less
those with fewer than three patients. Pneumonia is reported outside of it: in a collection made of
pneumonias and normal radiographs it is No Finding's complement, and one contrast would count twice.
So is Lung Opacity, which on NIH is told from normal radiographs only.

**Figures.** The AUROC of a label is the mean over the seeds; its 95% interval is a bootstrap of the
patients, the same for all, in which all seeds score the same resample: it holds the models fixed.
``within view`` counts only pairs of an image taken AP with one taken AP, and of PA with PA; for it
the trivial cue is chosen by such pairs, too: where the view itself is the best cue of all pairs, it
would have 0.5 by construction. Differences are paired, resample by resample. The result goes to
results/zero_shot.json.

**Time.** On one core, about 190 images a second in training: 4 minutes for the two cohorts, 16 for
their six models, 7 for the workshop's, one for scoring.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from common import (
    COHORTS,
    HIERARCHY,
    cohort_runs,
    drawn,
    open_nih,
    parser,
    phantom_runs,
    provenance,
    rounded,
    settings_of,
    versions,
    which,
    write_json,
)

from cxrlib import configs, data, training
from cxrlib.data import ChestDataset
from cxrlib.evaluation import EvaluationError, patient_weights
from cxrlib.evaluation.auroc import mean_over_labels, percentiles, weighted_auroc
from cxrlib.labels import OBSERVATIONS
from cxrlib.transfer import (
    adapt_batchnorm,
    aurocs_of_heads,
    best_cues,
    cue_scores,
    rank_mean,
    rank_of_own_head,
    reporting,
    stratified_auroc,
    trivial_scores,
)

SIX = ("No Finding", "Cardiomegaly", "Pleural Effusion", "Edema", "Consolidation", "Atelectasis")
FEWEST = 3  # patients with each class, in each half, for a label to be scored
RESAMPLES, LEVEL = 1000, 0.95
ADAPT_TO = 2048  # unlabelled images are enough
AS_IS, ADAPTED, JOINED, BOTH = "as is", "AdaBN", "rank mean", "AdaBN, rank mean"
TRIVIAL = ("trivial", "cue")


# --- One collection of radiographs ----------------------------------------------------------------


def labels_to_score(table, half):
    """The observations with enough patients of both classes in both halves, ``SIX`` first."""
    enough = [
        name
        for name in OBSERVATIONS
        if all(
            table.loc[here & (table[name] == y), "patient"].nunique() >= FEWEST
            for here in (half, ~half)
            for y in (0, 1)
        )
    ]
    return [name for name in SIX if name in enough], [name for name in enough if name not in SIX]


def dataset(track, rows, size):
    """The images of some rows of a track, as a model sees them."""
    table = track.table[rows].reset_index(drop=True)
    targets = HIERARCHY.derive(table[list(OBSERVATIONS)])
    return ChestDataset(table, track.folder, targets, size, equalize=True)


def score_models(track, half, models, size):
    """(arm, way) → score tables [reporting images, 21]; ``models`` are arm → one for each seed."""
    tested = dataset(track, half, size)
    choosing = np.flatnonzero(~half)
    spaced = np.linspace(0, len(choosing) - 1, min(ADAPT_TO, len(choosing))).astype(int)
    others = dataset(track, np.isin(np.arange(len(half)), choosing[spaced]), size)
    unlabelled = others.prepare(others.fetch(range(len(others)))[0])
    scores = {}
    for arm, seeds in models.items():
        for way, those in (
            (AS_IS, seeds),
            (ADAPTED, [adapt_batchnorm(model, unlabelled) for model in seeds]),
        ):
            scores[arm, way] = [training.predict(m, tested, HIERARCHY.labels) for m in those]
        if len(seeds) > 1:
            scores[arm, JOINED] = [rank_mean(scores[arm, AS_IS])]
            scores[arm, BOTH] = [rank_mean(scores[arm, ADAPTED])]
    adapted = [table for arm in COHORTS for table in scores[arm, ADAPTED]]
    return scores | {("all", BOTH): [rank_mean(adapted)]}


def trivial(track, half, labels, size):
    """The best cue of each label, chosen on one half; its scores on the other, as of a model.

    Such a pair for all pairs of images, and another for pairs within a view.
    """
    images = data.read_images([track.folder / path for path in track.table["path"]], size)
    cues = trivial_scores(images, track.table.get("projection"))
    cues = cues.set_axis(track.table.index)
    truth = track.table.loc[~half, labels]
    choices = (
        best_cues(truth, cues[~half]),
        best_cues_within(truth, cues[~half], views_of(track.table[~half])),
    )
    return [(chosen, cue_scores(cues[half], chosen).reset_index(drop=True)) for chosen in choices]


def best_cues_within(truth, cues, views):
    """``best_cues`` by pairs within a view; where there are none, that of all, its AUROC NaN."""
    chosen = best_cues(truth, cues)
    for label in truth:
        try:
            chosen.loc[label] = best_cues(truth[[label]], cues, views).loc[label]
        except EvaluationError:
            chosen.loc[label, "auroc"] = np.nan
    return chosen


def views_of(table):
    """AP, PA or None for each image: None for all where a collection does not tell."""
    return table.get("projection", pd.Series(None, table.index, dtype=object))


def bootstrapped(truth, tables, weights, strata=None):
    """AUROCs [R, L] under R weightings of the images, the mean over some models' score tables.

    With ``strata``, of pairs within a stratum. Column "mean" is over those of ``SIX``.
    """
    columns = {}
    for label in truth:
        each = [
            weighted_auroc(truth[label], table[label], weights)
            if strata is None
            else stratified_auroc(truth[label], table[label], strata, weights)
            for table in tables
        ]
        columns[label] = np.mean(each, axis=0)
    table = pd.DataFrame(columns)
    return table.assign(mean=mean_over_labels(table[[n for n in SIX if n in table]]))


def summarised(table):
    """Row 0, which weighs all images alike, with the interval of the others: label → numbers.

    A number that does not exist, of a view without one of the classes, is None.
    """
    low_high = percentiles(table.iloc[1:], LEVEL)
    numbers = low_high.assign(value=table.iloc[0])[["value", "low", "high"]].astype(object)
    return numbers.where(numbers.notna(), None).to_dict("index")


def comparisons(tables):
    """The pairs (ours, others) whose difference is worth an interval."""
    pairs = [((arm, ADAPTED), (arm, AS_IS)) for arm in (*COHORTS, "workshop")]
    pairs += [((arm, JOINED), (arm, AS_IS)) for arm in COHORTS]
    pairs += [((arm, BOTH), (arm, JOINED)) for arm in COHORTS]
    pairs += [(("transfer", way), ("usual", way)) for way in (AS_IS, BOTH)]
    pairs += [(("all", BOTH), entry) for entry in (("usual", AS_IS), *((a, BOTH) for a in COHORTS))]
    pairs += [(entry, TRIVIAL) for entry in tables if entry != TRIVIAL]
    return [pair for pair in pairs if set(pair) <= set(tables)]


def measure(track, models, size):
    """All figures of one collection; ``models`` are arm → trained models, one for each seed."""
    half = reporting(track.table["patient"])
    six, also = labels_to_score(track.table, half)
    labels = [*six, *also]
    tested = track.table[half].reset_index(drop=True)
    truth = tested[labels]
    (chosen, cue), (chosen_within, cue_within) = trivial(track, half, labels, size)
    scores = score_models(track, half, models, size)
    entries = {TRIVIAL: [cue]} | {e: [table[labels] for table in scores[e]] for e in scores}
    drawings = patient_weights(len(truth), tested["patient"], RESAMPLES, seed=0)
    weights = np.concatenate([np.ones((1, len(truth))), drawings])
    tables = {e: bootstrapped(truth, entries[e], weights) for e in entries}
    views, inside = views_of(tested), {}
    if views.notna().any():
        within = entries | {TRIVIAL: [cue_within]}
        inside = {e: bootstrapped(truth, within[e], weights, views) for e in within}
    cues = cues_chosen(chosen)
    if inside:
        for row, other in zip(cues, cues_chosen(chosen_within), strict=True):
            row["within view"] = {name: other[name] for name in ("cue", "sign", "choosing")}
    return {
        "name": Path(track.folder).name,
        "real": which(track),
        "halves": {"reporting": size_of(tested), "choosing": size_of(track.table[~half])},
        "mean of": six,
        "labels": [about(label, tested, six) for label in labels],
        "cues": cues,
        "rows": [
            row for entry in entries for row in rows_of(entry, truth, entries, tables, inside)
        ],
        "differences": [
            row for pair in comparisons(tables) for row in differences_of(*pair, tables, inside)
        ],
        "heads": [row for arm in models for row in heads(arm, truth[six], scores[arm, AS_IS])],
    }


def cues_chosen(chosen):
    """A row for each label: its cue and direction, and their AUROC on the choosing half."""
    return [
        {
            "label": label,
            "cue": row.cue,
            "sign": int(row.sign),
            "choosing": None if np.isnan(row.auroc) else float(row.auroc),
        }
        for label, row in chosen.iterrows()
    ]


def rows_of(entry, truth, entries, tables, inside):
    """A row for each label and for their mean: by seed, over the seeds, and within a view."""
    alike = np.ones((1, len(truth)))
    seeds = [bootstrapped(truth, [each], alike).iloc[0] for each in entries[entry]]
    within = summarised(inside[entry]) if inside else {}
    return [
        {"arm": entry[0], "way": entry[1], "label": label}
        | {"seeds": [float(s[label]) for s in seeds]}
        | figures
        | ({"within view": within[label]} if inside else {})
        for label, figures in summarised(tables[entry]).items()
    ]


def differences_of(ours, others, tables, inside):
    """A row for each label and for their mean; from the trivial cue, also within a view."""
    within = {}
    if inside and others == TRIVIAL:
        within = summarised(inside[ours] - inside[others])
    return [
        {"ours": list(ours), "others": list(others), "label": label}
        | figures
        | ({"within view": within[label]} if within else {})
        for label, figures in summarised(tables[ours] - tables[others]).items()
    ]


def size_of(table):
    """The images and patients of a table, and how many images were taken AP and PA."""
    views = views_of(table)
    counts = {"images": len(table), "patients": int(table["patient"].nunique())}
    return counts | {view: int((views == view).sum()) for view in ("AP", "PA")}


def about(label, table, six):
    """How many images of a label there are, and from whom it is told."""
    rows = {name: table[table[label] == y] for name, y in (("positives", 1), ("negatives", 0))}
    counts = {name: size_of(part) for name, part in rows.items()}
    normal = int((rows["negatives"]["No Finding"] == 1).sum())
    return {"label": label, "in the mean": label in six, "normal negatives": normal} | counts


def heads(arm, truth, tables):
    """For each label, the AUROC of every head (mean over the seeds), and its own head's place."""
    aurocs = sum(aurocs_of_heads(truth, table) for table in tables) / len(tables)
    ranks = rank_of_own_head(aurocs)
    return [
        {"arm": arm, "label": label, "rank": int(ranks[label]), "aurocs": row.to_dict()}
        for label, row in aurocs.iterrows()
    ]


# --- To be read -----------------------------------------------------------------------------------


def as_text(value):
    """Two places, or a dash for what does not exist."""
    return "–" if pd.isna(value) else f"{value:.2f}"


def printed(sample):
    """The figures of one collection as a table: a row per label, a column per model and way."""
    rows = pd.DataFrame(sample["rows"])
    labels = [*sample["mean of"], "mean"]
    labels += [label for label in rows["label"].unique() if label not in labels]
    entries = rows.groupby(["arm", "way"], sort=False)
    table = pd.DataFrame({e: part.set_index("label")["value"] for e, part in entries}).loc[labels]
    table = table.map(as_text).astype(object)
    joined = rows[rows["arm"] == "all"].set_index("label").loc[labels]
    table["all", "95%"] = [
        f"{as_text(row.low)} … {as_text(row.high)}" for row in joined.itertuples()
    ]
    if "within view" in rows:
        table["all", "in view"] = joined["within view"].map(
            lambda numbers: as_text(numbers["value"])
        )
    ranks = pd.DataFrame(sample["heads"]).astype({"rank": str}).groupby("label")["rank"]
    arms = "/".join(row["arm"][0] for row in sample["heads"] if row["label"] == labels[0])
    table["own head is", f"no. ({arms})"] = ranks.agg("/".join)
    cues = {row["label"]: f"{'−+'[row['sign'] > 0]} {row['cue']}" for row in sample["cues"]}
    table["the trivial", "cue"] = pd.Series(cues)
    return table.fillna("").rename_axis(None).rename_axis([None, None], axis=1)


def show(sample):
    """Print ``printed`` under a line that says what it is of."""
    tested, others = (sample["halves"][name] for name in ("reporting", "choosing"))
    print(
        f"\n{sample['name']}: AUROC on {tested['images']} images of {tested['patients']} patients; "
        f"the other {others['patients']} were for choosing"
    )
    print(printed(sample).to_string())


def main():
    options = parser(__doc__, folders="+").parse_args()
    tracks = [open_nih(folder) for folder in options.folder]
    workshop = configs.read_config("workshop")
    course = data.open_track(data.DEFAULT_FOLDER)
    runs = {"workshop": phantom_runs(course, workshop.settings, 1, workshop.name)}
    phantoms = {"workshop": provenance(course)}
    for cohort in COHORTS:
        runs[cohort], track = cohort_runs(cohort, options)
        phantoms[cohort] = provenance(track)
    models = {arm: [run.model() for run in each] for arm, each in runs.items()}
    settings = settings_of(options)
    samples = [measure(track, models, settings.size) for track in tracks]
    content = {
        "settings": {
            "preset": settings.preset,
            "size": settings.size,
            "epochs": options.epochs,
            "augment": options.augment,
            "cohorts": {cohort: drawn(cohort, options.patients) for cohort in COHORTS},
            "seeds": list(range(options.seeds)),
            "resamples": RESAMPLES,
            "level": LEVEL,
            "fewest": FEWEST,
            "workshop": {"epochs": workshop.settings.epochs, "augment": workshop.settings.augment},
        },
        "phantom": phantoms,
        "versions": versions(),
        "samples": samples,
    }
    path = write_json(options.results / "zero_shot.json", rounded(content))
    for sample in samples:
        show(sample)
    print(f"\nstored in {path.name}")


if __name__ == "__main__":
    main()
