# ---
# jupyter:
#   jupytext:
#     formats: notebooks///ipynb,notebooks/scripts///py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 12 · On real radiographs
#
# Everything so far was learnt and tested on phantoms. What is it worth on people?
#
# **You will be able to** check a download before anything is trained on it, run the paper's experiment and
# compare it fairly with the published one, find out what a trivial cue tells before you praise a model, adapt
# a model to images without labels, decide with an honest interval whether pretraining helped, and leave a
# model card behind.
#
# **Needs** notebook 06 for the words *AUROC*, *bootstrap* and *interval*. The experiments on real radiographs
# are read from stored results, so none is needed; with a folder of NIH's, one is done live. **Minutes** 45, and
# 20 for the exercises. About one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from IPython.display import Markdown, display
from matplotlib.patches import Rectangle

from cxrlib import cohort, configs, data, exercises, plots, training, transfer
from cxrlib.card import model_card
from cxrlib.check import check_folder
from cxrlib.evaluation import evaluate, evaluate_models, mean_interval
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import NIH_TO_CHEXPERT, NIH_UNLABELLED, OBSERVATIONS

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## From download to result
#
# `data/README.md` tells how to get NIH ChestX-ray14 (free, no registration) and CheXpert (registration with
# Stanford), and how their folders look in every variant. A download of hundreds of gigabytes is rarely
# complete at first. How would you notice that one archive of twelve is missing: from an error in the middle
# of the first epoch, or from a model that is a little worse than it should be?
#
# Neither, if you ask first. In a terminal: `python -m cxrlib check FOLDER`.

# %% tags=["nbval-ignore-output"]
report = check_folder(track.folder)
print(str(report).replace(str(track.folder), track.folder.name))

# %%
print("problems:", len(report.problems))

# %% [markdown]
# Then the paper's experiment is one line, with `configs/paper.yaml` (notebook 05 shows it field by
# field). The second and third lines are its variants; what was interrupted goes on when the line is given
# again.
#
# ```
# python -m cxrlib fit --config configs/paper.yaml --data.folder /data/CheXpert-v1.0-small
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --settings.penalties data-driven
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --settings.method max-constraint
# ```
#
# With several GPUs, `--trainer.devices 8 --trainer.strategy ddp --settings.batch_size 2` keeps to the
# paper's 16 images a step; larger batches are faster and another experiment. On NIH, the same file
# with `--data.folder /data/nih` trains on NIH's labels.

# %%
config = configs.read_config("paper")
print("the paper's settings:", config.settings.method, config.settings.preset, config.settings.size)
print("a step of eight GPUs:", 8 * replace(config.settings, batch_size=2).batch_size, "images")

# %% [markdown]
# **Did you reproduce the paper?** On CheXpert's 668 test images, the authors' released predictions have a
# macro AUROC over the 14 observations of 0.880 (95% interval 0.856 to 0.900). Suppose that your training
# reaches 0.862. It lies within that interval. Is that enough?
#
# No. The interval says what *other patients* would do to the figure, and yours is of the same patients, so
# this luck is shared. Take it out: score both on the same images, and look at the interval of the
# *difference*. (It holds both models fixed: what another seed would do is in neither interval.)
#
# ```python
# from cxrlib.evaluation import compare, read_predictions
#
# theirs = read_predictions("released_predictions.csv")
# ours = read_predictions("runs/paper-.../predictions.csv").split("test")
# image = r"(patient\d+/study\d+/view\w+)"
# place = pd.Index(ours.about["Path"].str.extract(image)[0])
# order = place.get_indexer(theirs.about["Path"].str.extract(image)[0])
# assert min(order) >= 0, "an image is not among ours"
# scores = ours.scores.iloc[order].reset_index(drop=True)[theirs.truth.columns]
# compare(theirs.truth, scores, theirs.scores, theirs.about["patient"])
# ```
#
# A difference far above zero is a reason to look for leakage. This course has not run the paper's
# configuration on CheXpert: the data may not be redistributed, and the figures above are of the authors'
# released file.

# %% [markdown]
# ## What is different?
#
# NIH ChestX-ray14 is a large collection that anyone may use without restriction; the provider to acknowledge
# is the NIH Clinical Center, and the paper to cite is Wang et al., CVPR 2017. Its labels were read out of
# reports by a program. Which of CheXpert's 14 observations would you expect to be missing?

# %%
names = pd.Series(NIH_TO_CHEXPERT, name="CheXpert")
print("NIH names without a counterpart:  ", ", ".join(names.index[names.isna()]))
print("observations that NIH never labels:", ", ".join(NIH_UNLABELLED))

# %% [markdown]
# Never labelled is not negative: those are left out. `Lung Opacity` is a case of its own. NIH's
# *Infiltration* is narrower, so the target is 1 with an infiltration, 0 where the radiograph is normal, and
# unknown where something else was found. And a model that is right where a report label is wrong loses AUROC
# for it.
#
# Two benchmarks, `benchmarks/zero_shot.py` and `benchmarks/pretraining.py`, did what takes too long for here.
# Before reading a stored result, check whether it belongs to what is here now.

# %%
RESULTS = training.RUNS.parent / "results"


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


zero = read(RESULTS / "zero_shot.json")
fewshot = [
    read(path) for path in sorted(RESULTS.glob("pretraining*.json"), key=lambda p: len(p.name))
]
samples = {sample["name"]: sample for sample in zero["samples"]}

made = {f"zero shot, {arm}": phantom for arm, phantom in zero["phantom"].items()}
made |= {f"few shots, {result['real']['name']}": result["phantom"] for result in fewshot}
present = cohort.generator_version()
for name, phantom in made.items():
    same = "as now" if phantom["generator"] == present else f"now {present}: measure again"
    print(f"{name:26} phantom of version {phantom['generator']} ({same})")

# %% [markdown]
# The results are of small samples of NIH's collection. Half of the patients of each, drawn once and for all,
# were for **choosing**: anything may be tried on them. The other half is for **reporting**, and every
# zero-shot figure below is theirs. Why two halves, where no real radiograph is trained on?

# %%
pd.DataFrame({name: sample["halves"]["reporting"] for name, sample in samples.items()})

# %% [markdown]
# Because training is not the only way to learn from images. The phantom's own measures were fitted to some
# of them; a cue, a setting, the best of several variants gets chosen on some. What was chosen on an image
# flatters itself there. (`transfer.reporting` says who is in which half.)
#
# ## Who is *not* ill?
#
# A sample is rarely a random part of its collection. The first of these was collected as images with and
# without pneumonia. So what are the images without Pneumonia: any other, or nearly all of them normal?

# %%
for name, sample in samples.items():
    labels = pd.DataFrame(sample["labels"]).set_index("label")
    normal = labels["normal negatives"] / [row["images"] for row in labels["negatives"]]
    told = normal.drop("No Finding")
    told = [f"{label} ({share:.0%})" for label, share in told[told >= 0.9].items()]
    print(f"{name}: told from normal radiographs (almost) only: {', '.join(told) or 'none'}")
    print(f"{'':{len(name)}}  the mean is over: {', '.join(sample['mean of'])}")

# %% [markdown]
# In the first sample, *Pneumonia* says little more than "not normal". It is nearly No Finding turned over,
# and a mean over both would count one contrast twice. *Lung Opacity* is so by its definition on NIH. Both are
# shown below, outside of the mean, which is of six labels that the benchmark names, where they can be scored.
# A label with fewer than three patients with it, or without it, in either half is not scored at all,
# however many images they have.
#
# ## What can be told without looking?
#
# A patient who cannot stand is X-rayed in bed, from front to back (**AP**); the others stand, and are X-rayed
# from back to front (**PA**). **Guess**: of the images with Edema, how many were taken AP? And without? (The
# titles pick from labels of at least ten patients: a long bar of fewer may be chance.)

# %% tags=["nbval-ignore-output"]
exercises.guess("12.1")


# %%
def shares_ap(sample):
    """Label → share of images taken AP, with the label and without."""
    rows = {}
    for row in sample["labels"]:
        parts = row["positives"], row["negatives"]
        rows[row["label"]] = [part["AP"] / max(1, part["AP"] + part["PA"]) for part in parts]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["with the label", "without it"])


def frequent(sample):
    """The labels of at least ten patients: a title is not made of fewer."""
    return [row["label"] for row in sample["labels"] if row["positives"]["patients"] >= 10]


for name, sample in samples.items():
    views = shares_ap(sample)
    most = views.loc[frequent(sample)].diff(axis=1).iloc[:, 1].abs().idxmax()
    fig = plots.bars(
        views, f"{name}: images with and without {most} are taken in different ways",
        "share of the images taken AP", colours=[plots.ORANGE, plots.BLUE],
    )  # fmt: skip
    plots.show(fig, f"Share of AP images with and without each label in {name}, as bars.")

# %% [markdown]
# So the way an image was taken tells something of a label, one way or the other, and nobody had to look at a
# lung. What else is that cheap? `transfer.trivial_scores` takes four cues: the view, how light the image is,
# how much its grey spreads, and how light two fixed boxes are after the histogram was made even. The boxes,
# on a phantom or an image of your folder:

# %%
path = track.folder / track.split("test")["path"].iloc[0]
grey = data.read_images([path], 256)
fig, axis = plots.figure(1, 1, 4.2, 4.2)
axis.imshow(data.equalize(grey)[0, 0], cmap="gray", vmin=0, vmax=255)
for top, bottom, left, right in transfer.LUNGS:
    place = 256 * left, 256 * top
    axis.add_patch(
        Rectangle(
            place, 256 * (right - left), 256 * (bottom - top), fill=False, ec=plots.ORANGE, lw=3
        )
    )
axis.axis("off")
axis.set_title("Two boxes that know nothing", loc="left", fontsize=13)
plots.show(fig, "A frontal radiograph with a box on each side where the lungs usually are.")

# %% [markdown]
# Each label may choose its best cue and the direction ("light means ill" or "dark means ill"), on the
# choosing half. **Guess** the AUROC that such a cue reaches on the other half, for an effusion. A coin has
# 0.5.

# %% tags=["nbval-ignore-output"]
exercises.guess("12.2")


# %%
def figures(sample, arm, way):
    """Label → value, low, high (and more) of one model in one way."""
    rows = pd.DataFrame(sample["rows"])
    rows = rows[(rows["arm"] == arm) & (rows["way"] == way)].set_index("label")
    return rows.loc[[*sample["mean of"], "mean", *rows.index.drop([*sample["mean of"], "mean"])]]


for name, sample in samples.items():
    cues = pd.DataFrame(sample["cues"]).set_index("label")
    table = (
        figures(sample, "trivial", "cue").drop(index="mean").join(cues[["cue", "sign", "choosing"]])
    )
    table["direction"] = table["sign"].map({1: "more means ill", -1: "less means ill"})
    print(name)
    display(
        table[["cue", "direction", "choosing", "value", "low", "high"]]
        .rename(columns={"choosing": "AUROC, choosing", "value": "AUROC, reporting"})
        .round(2)
    )

# %% [markdown]
# (For *No Finding*, read "ill" as "normal".) Where the two AUROCs differ much, chance had a hand: the
# patients with the label are few. Where they agree, this is the bar, be it a cue of the disease or only of
# the sample, which both halves share. Whoever reports
# 0.7 for a label where a box of grey has 0.7 has not shown that the model sees anything.
#
# Do *phantoms* give themselves away like this? Here the images at hand choose on their validation patients
# and report on their test patients. **Guess** first.

# %% tags=["nbval-ignore-output"]
exercises.guess("12.3")


# %%
def cues_of(rows):
    """The trivial cues of some rows of the track's table."""
    images = data.read_images([track.folder / path for path in rows["path"]], 96)
    return transfer.trivial_scores(images, rows.get("projection")).set_axis(rows.index)


valid, test = track.split("valid"), track.split("test")
both = [name for name in sorted(OBSERVATIONS)
        if set(valid[name].dropna()) == set(test[name].dropna()) == {0, 1}]  # fmt: skip
chosen = transfer.best_cues(valid[both], cues_of(valid))
scores = transfer.cue_scores(cues_of(test), chosen)
here = evaluate(test[both], scores).per_label["auroc"].sort_values(ascending=False)
fig = plots.intervals(
    here, f"{track.name}: the best trivial cue tells {here.index[0]} best, {here.iloc[0]:.2f}",
    "AUROC of the trivial cue on the test images", reference=0.5,
)  # fmt: skip
plots.show(fig, "AUROC of the best trivial cue by label on the track at hand, as dots.")

# %% [markdown]
# ## Does a model know more than that?
#
# Three kinds of models have seen phantoms only, and score the real images (**zero-shot**): the *workshop's*
# own model; models of another *usual* cohort; and models of a cohort for *transfer*. In that one every second
# patient has findings that are subtle and independent of each other, so that a model cannot lean on the
# company that findings keep. In blue, six models of the last two cohorts, adapted to the choosing half's
# images (without labels) and joined, in ways that a later section explains.
#
# **Guess**: on how many labels is it decided that the six models tell more than the trivial cue?

# %% tags=["nbval-ignore-output"]
exercises.guess("12.4")


# %%
def verdict(row):
    return "more" if row["low"] > 0 else "less" if row["high"] < 0 else "not decided"


def compared(sample, ours, others):
    """Label → difference with its interval."""
    rows = pd.DataFrame(sample["differences"])
    ours, others = list(ours), list(others)
    chosen = rows["ours"].map(lambda e: e == ours) & rows["others"].map(lambda e: e == others)
    return rows[chosen].set_index("label")


NAMES = {
    ("trivial", "cue"): "best trivial cue",
    ("workshop", "as is"): "the workshop's model",
    ("all", "AdaBN, rank mean"): "six models, adapted and joined",
}
COLOURS = dict(zip(NAMES.values(), (plots.ORANGE, plots.GREEN, plots.BLUE), strict=True))


def draw_labels(name, sample):
    """AUROC by label of three contestants, with intervals, beside a coin's."""
    counts = {row["label"]: row["positives"]["patients"] for row in sample["labels"]}
    fig, axis = plots.figure(1, 1, 10, 7.5)
    for shift, (entry, title) in zip((0.24, 0, -0.24), NAMES.items(), strict=True):
        table = figures(sample, *entry)
        y = -np.arange(len(table)) + shift
        axis.hlines(y, table["low"], table["high"], color=COLOURS[title], lw=2.5, alpha=0.6)
        axis.plot(table["value"], y, "o", color=COLOURS[title], ms=7, label=title)
    texts = [
        f"{label} ({counts[label]})" if label in counts else "mean of the above"
        for label in table.index
    ]
    axis.set_yticks(-np.arange(len(table)), texts)
    axis.axhspan(
        -table.index.get_loc("mean") - 0.45, -table.index.get_loc("mean") + 0.45, color="0.93"
    )
    axis.axvline(0.5, color=plots.GREY, ls="--", lw=1)
    axis.set_xlabel("AUROC on patients for reporting, with 95% interval (patients with the label)")
    known = compared(sample, ("all", "AdaBN, rank mean"), ("trivial", "cue")).drop(index="mean")
    more = known.index[known["low"] > 0]
    title = f"{name}: six models tell more than the cue on {len(more)} of {len(known)} labels"
    axis.set_title(title, loc="left", fontsize=13)
    fig.legend(loc="outside lower left", ncols=3)
    return fig


for name, sample in samples.items():
    plots.show(
        draw_labels(name, sample),
        f"{name}: AUROC with interval by label of the best trivial cue, the workshop's model and six "
        "models joined, and the mean over the labels.",
    )

# %% [markdown]
# Intervals that overlap decide nothing by themselves: all three were scored on the same patients. Again it is
# the paired difference that counts, as it did for the titles.


# %%
for name, sample in samples.items():
    print(f"{name}: knows more than the trivial cue?")
    for entry, title in list(NAMES.items())[1:]:
        table = compared(sample, entry, ("trivial", "cue"))
        words = table.drop(index="mean").apply(verdict, axis=1)
        for word in ("more", "not decided", "less"):
            print(f"  {title:30} {word:11}: {', '.join(words.index[words == word]) or '-'}")
        mean = table.loc["mean"]
        print(f"  {'':30} mean {mean['value']:+.3f} ({mean['low']:+.3f} to {mean['high']:+.3f})")

# %% [markdown]
# Where it says "not decided", so small a sample cannot tell: with a few patients who have a finding, a model
# must be far better than a grey box before it can be told from one. And with fewer than about ten of them,
# the number in brackets, the interval itself is a rough guess. A bootstrap cannot draw patients whom the
# sample does not hold.
#
# ## And within one view?
#
# An image taken AP shows a larger heart and higher domes, and a model may well see in it *that it is AP*.
# Take that away: count only pairs of an ill and a healthy image **of the same view**. A score that knows the
# view and nothing else then has 0.5. **Guess** for which label this costs most.

# %% tags=["nbval-ignore-output"]
exercises.guess("12.5")

# %%
within = {}
for name, sample in samples.items():
    table = figures(sample, "all", "AdaBN, rank mean")
    if "within view" in table:
        inside = pd.DataFrame(table["within view"].tolist(), index=table.index).astype(float)
        within[name] = pd.DataFrame({"any pair": table["value"], "same view": inside["value"]})
        lost = within[name].loc[frequent(sample)].diff(axis=1).iloc[:, 1].mul(-1)
        fig = plots.intervals(
            within[name], f"{name}: {lost.idxmax()} loses most within a view, {lost.max():.2f}",
            "AUROC of the six models joined, with 95% interval", reference=0.5,
            low=pd.DataFrame({"any pair": table["low"], "same view": inside["low"]}),
            high=pd.DataFrame({"any pair": table["high"], "same view": inside["high"]}),
        )  # fmt: skip
        plots.show(fig, f"{name}: AUROC by label, of any pair of images and of pairs of one view.")

# %% [markdown]
# Small losses, of which Pleural Other's and Lung Lesion's are the largest, on few patients. What a model loses here it owed to the view; what it keeps, it saw elsewhere; where from, this does not say.
# A label may gain, too, where the view had misled. But a change of a few hundredths is not decided here: it
# has no interval of its own, and the two that are drawn are of the same patients. (The titles pick again from
# labels of at least ten patients.)
#
# And the trivial cue? Where it is the view itself, it has 0.5 here for nothing, and to be ahead of that is no
# feat. So let each label choose once more, by pairs of one view on the choosing half. Is what the models
# joined tell within a view more than this other cue tells there?

# %%
JOINED = {
    "usual, as they are": ("usual", "rank mean"),
    "usual, adapted": ("usual", "AdaBN, rank mean"),
    "transfer, as they are": ("transfer", "rank mean"),
    "transfer, adapted": ("transfer", "AdaBN, rank mean"),
    "all six, adapted": ("all", "AdaBN, rank mean"),
}
for name in within:
    print(f"{name}: knows more than the trivial cue, within a view?")
    cues = {row["label"]: row["within view"]["cue"] for row in samples[name]["cues"]}
    print("  the cues there:", ", ".join(f"{label}: {cue}" for label, cue in cues.items()))
    for title, entry in JOINED.items():
        table = compared(samples[name], entry, ("trivial", "cue"))["within view"]
        table = pd.DataFrame(table.tolist(), index=table.index).astype(float).dropna()
        words = table.drop(index="mean").apply(verdict, axis=1)
        mean = table.loc["mean"]
        print(
            f"  {title:21} {mean['value']:+.3f} ({mean['low']:+.3f} to {mean['high']:+.3f}), mean"
        )
        for word in ("more", "not decided", "less"):
            print(f"    {word:11}: {', '.join(words.index[words == word]) or '-'}")

# %% [markdown]
# Of so many verdicts, here and below, some may say "more" or "less" by chance alone, above all on labels of
# few patients.
#
# ## Which head says it?
#
# The model has 21 outputs, its heads. If the one called *Edema* tells edema, does the one called *Abnormal*
# tell it as well? Then "Edema: 0.8" would be a fine figure, and no evidence that the model knows what an
# edema is. **Guess** how often a label's own head is the best of the 21. (In the figure: models of the
# transfer cohort.)

# %% tags=["nbval-ignore-output"]
exercises.guess("12.6")

# %%
tables = {}
for name, sample in samples.items():
    rows = [row for row in sample["heads"] if row["arm"] == "transfer"]
    tables[name] = pd.DataFrame({row["label"]: row["aurocs"] for row in rows})  # heads × labels
heads = tables[next(iter(samples))].mean(axis=1).sort_values(ascending=False).index

fig, axes = plots.figure(1, len(samples), 4.2 + 3.6 * len(samples), 9.5, sharey=True, squeeze=False)
for axis, (name, table) in zip(axes.flat, tables.items(), strict=True):
    ranks = {label: 1 + int((table[label] > table.loc[label, label]).sum()) for label in table}
    sns.heatmap(
        table.loc[heads], ax=axis, annot=True, fmt=".2f", annot_kws={"fontsize": 12}, cbar=False,
        cmap="PuOr_r", center=0.5, vmin=0.2, vmax=0.8,
    )  # fmt: skip
    for x, label in enumerate(table):
        place = x, heads.get_loc(label)
        axis.add_patch(Rectangle(place, 1, 1, fill=False, ec="black", lw=2.5))
    words = [f"{label} (no. {rank})" for label, rank in ranks.items()]
    axis.set_xticks(np.arange(len(words)) + 0.5, words, rotation=40, ha="right")
    first = sum(rank == 1 for rank in ranks.values())
    axis.set_title(
        f"{name}: own head first\nfor {first} of {len(ranks)} labels", loc="left", fontsize=13
    )
axes[0, 0].set_ylabel("head of the model", fontsize=12)
plots.show(
    fig,
    "Squares of AUROC, for each sample a panel: a column for each real label and a row for each of the "
    "model's 21 heads; the label's own head is framed, and its place among the 21 is given.",
)

# %%
for name, sample in samples.items():
    for arm in ("workshop", "usual", "transfer"):
        ranks = {row["label"]: row["rank"] for row in sample["heads"] if row["arm"] == arm}
        print(f"{name}, {arm:8}:", ", ".join(f"{label} {rank}" for label, rank in ranks.items()))

# %% [markdown]
# (A square far below 0.5 tells as much as one far above: the head of *No Finding* is there to be low on the
# ill.) A column of squares alike, and far from 0.5, means that the model tells ill
# from healthy, whatever the illness; a column alike near 0.5, that it tells nothing. And a first place by a
# hundredth is not decided: there are no intervals here.
#
# ## What helps without a single label?
#
# **Batch normalisation** subtracts a mean and divides by a spread, channel by channel, as they were in
# training. On images of another make these are the wrong ones. So measure them anew, on unlabelled images of
# the place where the model is to work, and change nothing else: **AdaBN** (Li et al. 2016). It takes seconds:
# `transfer.adapt_batchnorm(model, images)`.
#
# Try it. A small model, trained on the radiographs chosen above (some seconds, the first time), meets a
# console that shows everything paler. **Guess**: how much of what it loses does AdaBN bring back?

# %% tags=["nbval-ignore-output"]
exercises.guess("12.7")

# %%
quick = replace(configs.read_config("workshop").settings, size=48, epochs=3, augment="none")
run = training.train(track, hierarchy, quick, name="card")
model = run.model()


def prepared(rows, size=quick.size):
    """Images as the model sees them, [N, 1, size, size]."""
    targets = hierarchy.derive(rows[list(OBSERVATIONS)])
    dataset = data.ChestDataset(rows, track.folder, targets, size, equalize=True)
    return dataset.prepare(dataset.fetch(range(len(dataset)))[0])


def paler(images):
    return 0.25 + 0.5 * images


def macro(model, images):
    """Macro AUROC over the observations on the test images."""
    with torch.inference_mode():
        scores = torch.cat([model(batch).sigmoid() for batch in images.split(128)])
    table = pd.DataFrame(scores.numpy(), columns=hierarchy.labels, index=test.index)
    return evaluate(test[both], table[both]).summary["macro_auroc_observations"]


usual = prepared(test)
adapted = transfer.adapt_batchnorm(model, paler(prepared(valid)))
tried = {
    "as in training": macro(model, usual),
    "paler": macro(model, paler(usual)),
    "paler, AdaBN": macro(adapted, paler(usual)),
}
lost, won = tried["as in training"] - tried["paler"], tried["paler, AdaBN"] - tried["paler"]
print("AdaBN brings back more than half of it:", bool(won > lost / 2))

# %% tags=["nbval-ignore-output"]
pd.Series(tried, name="macro AUROC").round(3).to_frame()

# %% [markdown]
# That is a change which batch normalisation is made to undo. Phantoms and people differ in more than that.
#
# The other help is company: models that differ by their seed alone err differently. Join them by the **mean
# of their ranks**, label by label, since one model's 0.3 may be another's 0.7. Here are each cohort's models
# as they are, adapted ("AdaBN"), joined as they are ("rank mean"), and first adapted, then joined ("AdaBN,
# rank mean"); small dots are single seeds. **Guess** which of the two helps more, and whether the transfer
# cohort does.

# %% tags=["nbval-ignore-output"]
exercises.guess("12.8")

# %%
ARMS = [("trivial", "cue"), ("workshop", "as is"), ("workshop", "AdaBN")]
WAYS = ("as is", "AdaBN", "rank mean", "AdaBN, rank mean")
ARMS += [(arm, way) for arm in ("usual", "transfer") for way in WAYS]
ARMS += [("all", "AdaBN, rank mean")]
PAINT = {"trivial": plots.ORANGE, "workshop": plots.GREEN, "usual": plots.SKY,
         "transfer": plots.PINK, "all": plots.BLUE}  # fmt: skip

fig, axes = plots.figure(1, len(samples), 5.5 * len(samples) + 1, 5.4, sharey=True, squeeze=False)
for axis, (name, sample) in zip(axes.flat, samples.items(), strict=True):
    for y, (arm, way) in enumerate(ARMS):
        row = figures(sample, arm, way).loc["mean"]
        axis.hlines(-y, row["low"], row["high"], color=PAINT[arm], lw=2.5, alpha=0.6)
        axis.plot(row["value"], -y, "o", color=PAINT[arm], ms=8)
        if len(row["seeds"]) > 1:
            axis.plot(row["seeds"], [-y - 0.22] * len(row["seeds"]), ".", color="black", ms=5)
    axis.axvline(figures(sample, "trivial", "cue").loc["mean", "value"], color=plots.ORANGE, ls=":")
    axis.set_yticks(-np.arange(len(ARMS)), [f"{arm}: {way}" for arm, way in ARMS])
    axis.set_xlabel("mean AUROC, 95% interval over patients")
    best = max(ARMS, key=lambda entry: figures(sample, *entry).loc["mean", "value"])
    axis.set_title(f"{name}: highest is\n{best[0]} ({best[1]})", loc="left", fontsize=13)
plots.show(
    fig,
    "Mean AUROC with interval, for each sample a panel: the trivial cue, the workshop's model, models of "
    "the usual and the transfer cohort as they are, adapted, joined, and adapted then joined, and all "
    "adapted and joined.",
)

# %% [markdown]
# AdaBN helps by 0.02 to 0.04, company by less than 0.01, and whether the transfer cohort does is not decided. The highest of so many rows was picked on the reporting half, so its figure flatters itself: the titles
# describe, they do not choose. And three things change between the *usual* models as they are and all six
# adapted and joined: the statistics, the company and the cohort. To credit one of them, change it
# alone and keep the others.

# %%
USUAL, TRANSFER, ALL = ((arm, "AdaBN, rank mean") for arm in ("usual", "transfer", "all"))
QUESTIONS = {
    "AdaBN, usual cohort": (("usual", "AdaBN"), ("usual", "as is")),
    "AdaBN, transfer cohort": (("transfer", "AdaBN"), ("transfer", "as is")),
    "joining, usual cohort": (("usual", "rank mean"), ("usual", "as is")),
    "joining, transfer cohort": (("transfer", "rank mean"), ("transfer", "as is")),
    "transfer instead of usual": (("transfer", "as is"), ("usual", "as is")),
    "AdaBN, usual models joined": (USUAL, ("usual", "rank mean")),
    "AdaBN, transfer models joined": (TRANSFER, ("transfer", "rank mean")),
    "transfer instead of usual, both adapted and joined": (TRANSFER, USUAL),
    "all six instead of the usual three": (ALL, USUAL),
    "all six instead of the transfer three": (ALL, TRANSFER),
    "all of it": (ALL, ("usual", "as is")),
}
for name, sample in samples.items():
    print(name)
    for question, pair in QUESTIONS.items():
        row = compared(sample, *pair).loc["mean"]
        print(
            f"  {question:50} {row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})  {verdict(row)}"
        )

# %% [markdown]
# The intervals resample patients and hold the models fixed. How much another *training* would change is
# another question; a few seeds, the small dots, give an idea of it and no more. A difference between two
# cohorts that is smaller than the distance between the dots of a row is not to be trusted, whatever its
# interval over patients. And six models are more company than three: what they gain over one cohort's is not
# the other cohort's merit alone.
#
# ## Does pretraining on phantoms help?
#
# Zero-shot is not the use one would make of phantoms. The other one: **pretrain** on as many phantoms as
# you like, then **fine-tune** on the few real radiographs you have. `training.train(..., start=run)`
# starts from the weights of another run.
#
# Suppose that someone shows you such a gain. What would you ask about the other arm, the one from scratch?
#
# Whether it got everything alike: the same patients for training, validation and test, the same learning
# rates to choose from, the same number of steps. A baseline that was stopped early makes any pretraining look
# good.

# %%
setup = fewshot[0]["settings"]
for result in fewshot:
    print(f"{result['real']['name']}: findings in the mean: {', '.join(result['labels'])}")
print("random splits by patient:", setup["splits"])
print("pretrained starts, which the splits take in turn:", len(setup["pretraining"]["seeds"]))
print("share of the patients that is tested:", setup["test_share"])
print("learning rates to choose from, on validation:", setup["learning_rates"])
print("steps of every training, about:", setup["steps"], "of", setup["batch_size"], "images")

# %% [markdown]
# Every split draws anew who is tested, and the difference of the arms is taken split by split. Then
# a mean and an interval over the splits. But are a few splits of the same people so many independent
# experiments?
#
# No: the tests of any two share a good part of their patients. The plain *t* interval takes them for
# independent and is too narrow. Nadeau and Bengio (2003) put $\frac1k + \frac{n_\text{test}}{n_\text{rest}}$
# in place of $\frac1k$ before the variance, for $k$ splits. (That is for shared patients only: the splits
# also take turns with a few pretrained starts, and what other starts would do is in these intervals at best
# in part. And the splits are of all patients, the choosing half too, to which the phantom was fitted: that
# may flatter the pretrained arm.) **Guess** by what factor that widens an interval, with the splits above.

# %% tags=["nbval-ignore-output"]
exercises.guess("12.9")


# %%
def gains(result, count):
    """pretrained − scratch in each split, with the learning rate that validation chose."""
    rows = pd.DataFrame(result["rows"]).sort_values("valid_auroc", ascending=False, kind="stable")
    rows = rows[rows["patients"] == count].drop_duplicates(["split", "arm"])
    chosen = rows.pivot_table("macro", "split", "arm")
    return chosen["pretrained"] - chosen["scratch"]


for result in fewshot:
    people = result["real"]["patients"]
    tested = round(result["settings"]["test_share"] * people)
    print(result["real"]["name"])
    for count in pd.DataFrame(result["summary"])["patients"]:
        gain = gains(result, count)
        _, low, high = mean_interval(gain)
        _, low_nb, high_nb = transfer.corrected_interval(gain, tested, people - tested)
        print(
            f"  n = {count:3}: gain {gain.mean():+.3f}, plain {low:+.3f} to {high:+.3f}, corrected "
            f"{low_nb:+.3f} to {high_nb:+.3f}, {(high_nb - low_nb) / (high - low):.1f} times as wide"
        )

# %%
for result in fewshot:
    summary = pd.DataFrame(result["summary"])
    untuned = np.mean([row["macro"] for row in result["zero_shot"]])
    place = np.arange(len(summary))
    fig, (left, right) = plots.figure(1, 2, 10, 4.2)
    for arm, colour in {"scratch": plots.ORANGE, "pretrained": plots.BLUE}.items():
        left.plot(place, summary[arm], "o-", color=colour, label=arm, ms=7)
    left.axhline(untuned, color=plots.GREY, ls=":", label="pretrained, not fine-tuned")
    left.set(ylabel="macro AUROC, test patients")
    right.errorbar(
        place, summary["difference"], fmt="o", color=plots.BLUE, capsize=4, lw=2, ms=7,
        yerr=[summary["difference"] - summary["low"], summary["high"] - summary["difference"]],
    )  # fmt: skip
    for x, count in zip(place, summary["patients"], strict=True):
        gain = gains(result, count)
        right.plot([x + 0.08] * len(gain), gain, ".", color="black", ms=5)
    right.axhline(0, color=plots.GREY, ls="--", lw=1)
    right.set(ylabel="gain, with corrected interval")
    for axis in (left, right):
        axis.set_xticks(place, summary["patients"])
        axis.set(xlabel="real patients to learn from", xlim=(-0.4, len(place) - 0.6))
    fig.legend(loc="outside lower left", ncols=3)
    above = int((summary["low"] > 0).sum())
    fig.suptitle(
        f"{result['real']['name']}: the gain is decided for {above} of {len(summary)} numbers of patients",
        x=0.01, ha="left", fontsize=13,
    )  # fmt: skip
    plots.show(
        fig,
        "Left, macro AUROC against the number of real patients, from scratch and pretrained; right, "
        "the difference with its corrected interval, and a small dot for each split.",
    )

# %%
for result in fewshot:
    print(f"{result['real']['name']}: does pretraining give more?")
    for row in result["summary"]:
        gain = gains(result, row["patients"])
        print(
            f"  n = {row['patients']:3}: {row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}), "
            f"{verdict(row)}; above zero in {int((gain > 0).sum())} of {len(gain)} splits"
        )

# %% [markdown]
# Nothing is decided, at any number of patients. One is tempted to go on: "with phantoms, 100 patients are worth 200". Where the interval of a gain holds
# zero, such a sentence counts what may not be there. What the figures are good for, then, is to plan a larger
# study: the interval's width says how far this one is from deciding. (What fine-tuning adds to the dotted
# line, the pretrained model as it is, is a question of its own, and has no interval here.)
#
# ## Live: your folder
#
# If the radiographs chosen above are NIH's, a model of the transfer cohort scores their reporting half now,
# adapted to the choosing half, beside the trivial cue. (The first time, phantoms are drawn and it is trained:
# some minutes.)


# %%
def transfer_run():
    """The first of the benchmark's models: made now, unless it is there."""
    settings = zero["settings"]
    drawn = settings["cohorts"]["transfer"]
    folder = data.DEFAULT_FOLDER.with_name(f"phantom-transfer-{drawn['patients']['train']}")
    phantoms = data.open_track(cohort.write_cohort(folder, **drawn), labels="truth")
    chosen = {name: settings[name] for name in ("preset", "size", "epochs", "augment")}
    how = training.Settings(**chosen, seed=0)
    return training.train(phantoms, hierarchy, how, name="transfer-seed0")


def live(track, run):
    """AUROC by label of the trivial cue and of an adapted model, of the reporting half."""
    half = transfer.reporting(track.table["patient"])
    tested, others = track.table[half], track.table[~half]
    labels = [name for name in OBSERVATIONS
              if min(t.loc[t[name] == y, "patient"].nunique()
                     for t in (tested, others) for y in (0, 1)) >= 3]  # fmt: skip
    chosen = transfer.best_cues(others[labels], cues_of(others))
    adapted = transfer.adapt_batchnorm(run.model(), prepared(others, run.settings.size))
    with torch.inference_mode():
        batches = prepared(tested, run.settings.size).split(128)
        scores = torch.cat([adapted(batch) for batch in batches]).sigmoid().numpy()
    contestants = {
        "best trivial cue": transfer.cue_scores(cues_of(tested), chosen),
        "one model, AdaBN": pd.DataFrame(scores, tested.index, hierarchy.labels)[labels],
    }
    return {name: evaluate_models(tested[labels], [table], tested["patient"], 300).drop(index="mean")
            for name, table in contestants.items()}  # fmt: skip


# %%
if track.name == "nih":
    tables = live(track, transfer_run())
    mean, low, high = (
        pd.DataFrame({name: table[column] for name, table in tables.items()})
        for column in ("mean", "low", "high")
    )
    ahead = int((mean["one model, AdaBN"] > mean["best trivial cue"]).sum())
    fig = plots.intervals(
        mean, f"The model is ahead of the trivial cue on {ahead} of {len(mean)} labels",
        "AUROC on this folder's reporting half", low=low, high=high, reference=0.5,
    )  # fmt: skip
    plots.show(fig, "AUROC with interval by label of the trivial cue and of an adapted model.")
else:
    print(
        f"The track is {track.name!r}: set DATA to a folder of NIH ChestX-ray14 to score it here."
    )

# %% [markdown]
# ## A model card
#
# Whoever meets a model later should not have to ask what it is. What would you want to know of one that
# someone hands you? A run's folder holds enough to say what it was made from, how good it is and what it is
# not for: `python -m cxrlib card FOLDER`. Here is the card of the small model above. Is anything on your
# list missing from it?

# %%
card = model_card(run.folder, resamples=200)
print(*[line for line in card.splitlines() if line.startswith("## ")], sep="\n")

# %% tags=["nbval-ignore-output"]
Markdown(card)

# %% [markdown]
# The table of predictions beside it needs nothing else to be evaluated, by us or by anybody:
# `python -m cxrlib evaluate predictions.csv`. It takes the authors' published file as well.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 12.1: A cue is chosen, and then reported (4 minutes)
def report_the_cue(choosing, reporting):
    """The AUROC to report of the best trivial cue.

    choosing, reporting: arrays [C], the AUROC of each of C cues (the view, the mean grey …) for one
    label, “more means ill”, on the two halves of the patients. If “less means ill” instead, an
    AUROC of a becomes 1 − a.
    The cue and its direction are what tells most on the choosing half. Returns what this cue, in
    this direction, reaches on the reporting half. No two cues tell equally much.
    With choosing [0.6, 0.25] and reporting [0.7, 0.4] it is 0.6: the second cue, less means ill.
    """
    ...  # your code


exercises.check(report_the_cue)
# exercises.hint("report_the_cue")
# exercises.solution("report_the_cue")


# %% tags=["nbval-ignore-output"]
# Exercise 12.2: Pairs of one view (8 minutes)
def auroc_within_view(truth, score, view):
    """The AUROC within a view: what a score tells beside the way the image was taken.

    truth: an array [N] of 1 (ill) and 0 (healthy). score: an array [N].
    view: an array [N] of "AP" and "PA".
    Of all pairs of an ill and a healthy image of the same view: the share in which the ill one
    scores higher; equal scores count half. Each pair counts alike, whichever its view. There may be
    a view with ill images only: it has no pairs. The other has some.
    Returns a number. With truth [1, 0, 0, 1, 0], score [5, 5, 4, 1, 2] and view
    ["AP", "AP", "AP", "PA", "PA"] it is 0.5: of three pairs, one is won and one is half won.
    """
    ...  # your code


exercises.check(auroc_within_view)
# exercises.hint("auroc_within_view")
# exercises.solution("auroc_within_view")


# %% tags=["nbval-ignore-output"]
# Exercise 12.3: Batch normalisation, measured anew (5 minutes)
def renormalise(features, here, scale, shift):
    """One batch normalisation, with the statistics of the place where the model is to work: AdaBN.

    features: an array [B, C, H, W], what comes into the layer for B images that are to be scored.
    here: an array [M, C, H, W], the same for M unlabelled images of the new place.
    scale, shift: arrays [C], the layer's weights, as they were learnt.
    Of each channel, the mean and the spread (np.std) are measured on `here`. The mean is taken from
    the features, the result divided by the spread, then multiplied by scale; then shift is added.
    Returns an array [B, C, H, W]. With one channel, here holding only 1s and as many 3s, scale [2]
    and shift [1], a feature of 4 becomes 5.
    """
    ...  # your code


exercises.check(renormalise)
# exercises.hint("renormalise")
# exercises.solution("renormalise")


# %% tags=["nbval-ignore-output"]
# Exercise 12.4: Splits that overlap (3 minutes)
def widening(splits, tested, rest):
    """By what factor Nadeau and Bengio's correction widens an interval over random splits.

    splits: k, how many random splits of the same patients there were. tested, rest: how many
    patients each split puts aside for testing, and how many are left.
    The plain interval of a mean reaches t·√(variance/k) to each side. The correction puts
    1/k + tested/rest in place of 1/k, and changes nothing else.
    Returns a number, the corrected width divided by the plain one. With 12 splits, 20 tested and 80
    left it is 2.
    """
    ...  # your code


exercises.check(widening)
# exercises.hint("widening")
# exercises.solution("widening")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("12")

# %% [markdown]
# ## Take away
#
# - Check a folder before training on it; compare with a published result by the paired difference.
# - On other data, ask first who is *not* ill, how images were taken, and what a trivial cue tells.
# - What was chosen on some patients is reported on others, also where nothing was trained.
# - Zero-shot is judged label by label: against the cue, within a view, and by which head says it.
# - AdaBN and joined models need no label; whether they helped is a paired difference.
# - Few-shot gains need a baseline that got everything alike, and an interval that knows that splits overlap.
# - On Monday: before you try a model on your own images, fit one line to a trivial cue (the view, the mean grey, the
#   hospital) and write down its AUROC. The model has to beat that, within one view.
#
# **Next**: your own data. The card is where to begin: what must it say before anyone may trust the model?
