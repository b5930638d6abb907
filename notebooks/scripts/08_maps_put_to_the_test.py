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
# # 08 · Maps, put to the test
#
# A heat map over a radiograph persuades everybody. Does it deserve to be believed?
#
# **You will be able to** score maps against known masks and against guesses that have not looked at the
# image, test whether a map depends on what the model has learnt, read deletion and insertion without being
# misled, and catch a model that reads a mark instead of a lung.
#
# **Needs** the five kinds of maps and the two layers of notebook 07, the groups of labels of notebook 03, the
# AUROC of notebook 06, and the model with the paper's loss of notebook 05; if it is not there it is trained
# now, which takes four to eight minutes. **Minutes** 45, of which about five are computing, the first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from sklearn.metrics import roc_auc_score
from torchvision.transforms import v2

from cxrlib import cohort, configs, data, explanations, phantom, plots, training, widgets
from cxrlib.explanations import explain
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %%
workshop = configs.read_config("workshop").settings
settings = replace(workshop, method="hbce-step", penalties="data-driven")
run = training.train(track, hierarchy, settings, name="paper-loss")
model = run.model()

# %% [markdown]
# Four ways to make a map, all explained in notebook 07. In short: **Grad-CAM** weighs each map of the last
# convolution, here 6 × 6, by the mean of its derivative; **LayerCAM** multiplies map and derivative place by
# place, and keeps only positive derivatives; **Eigen-CAM** draws what the maps have most in common, and looks
# at no label. The fourth is LayerCAM of an earlier layer, 12 × 12.

# %%
ways = {
    "Grad-CAM": {"method": "gradcam"},
    "LayerCAM": {"method": "layercam"},
    "Eigen-CAM": {"method": "eigencam"},
    "LayerCAM, finer": {"method": "layercam", "finer": 1},
}

# %% [markdown]
# Does a map lie where the finding is? That takes **masks**. The phantom knows where it drew each finding: the
# mask holds every pixel that the finding changes, and a group's mask those of all its findings. NIH has boxes
# for a few images. We take some images of the validation split, to choose thresholds, and some of the test
# split, to measure.


# %%
class Part:
    """Some images as the model sees them, and the masks of their findings."""

    def __init__(self, split, count):
        rows = track.split(split).iloc[:count]
        targets = hierarchy.derive(rows[sorted(OBSERVATIONS)])
        dataset = data.ChestDataset(
            rows, track.folder, targets, settings.size, equalize=settings.equalize
        )
        self.images = torch.stack([image for image, _ in dataset])
        self.truth = targets.reset_index(drop=True)
        known = track.name in ("phantom", "nih")
        self.masks = explanations.find_masks(track, rows["path"], settings.size) if known else {}

    def enough(self, label):
        """Whether at least five images show where the label is."""
        return len(self.masks.get(label, ([],))[0]) >= 5


valid, test = Part("valid", 160), Part("test", 240)
measured = [label for label in hierarchy.labels if valid.enough(label) and test.enough(label)]
print(f"{len(valid.images)} validation and {len(test.images)} test images")
print(f"masks of enough images for {len(measured)} labels")

# %% [markdown]
# ## Does the map lie on the finding?
#
# With masks, that can be counted. Three scores, from lenient to strict:
#
# - **pointing**: does the highest point of the map lie in the mask?
# - **AUPRC**: take the pixels from the highest value of the map down; what share of those taken lies in the
#   mask (the precision), on average?
# - **IoU**: cut the map at a threshold (the best one on the validation images); how much do it and the mask
#   share?
#
# And three guesses to beat, none of which looks at the image:
#
# - **chance**: the mask's share of the image;
# - the **mean map**: the method's average map of that label, the same for every image;
# - the **usual place**: the average mask, which knows where such findings are.
#
# The usual place has been told more than the model ever was: it is made of masks, and the model has learnt
# from labels alone. A map may fall short of it and still have seen something. A map that does no better than
# *its own* mean map has not shown that it saw anything.
#
# How good will the maps be? Put these four in order of their AUPRC before you run the cells: Grad-CAM,
# LayerCAM of the finer layer, the usual place, chance.


# %%
def means(guesses, label, tuned_on):
    """Mean scores of guesses about the test images that show a label."""
    threshold = explanations.best_threshold(tuned_on, valid.masks[label][1])
    return explanations.localisation(guesses, test.masks[label][1], threshold).mean()


def judged(way):
    """label → pointing, AUPRC and IoU of a way's maps, and of the guesses to beat."""
    table = {}
    for label in measured:
        (fit_rows, fit_masks), (rows, _) = valid.masks[label], test.masks[label]
        tuned = explain(model, valid.images[fit_rows], [label], **ways[way])[label].numpy()
        maps = explain(model, test.images[rows], [label], **ways[way])[label].numpy()
        mean_map, usual = explanations.blind_map(tuned), fit_masks.mean(axis=0)
        table[label, way] = means(maps, label, tuned)
        table[label, "mean map"] = means(
            np.stack([mean_map] * len(rows)), label, np.stack([mean_map] * len(fit_rows))
        )
        table[label, "usual place"] = means(
            np.stack([usual] * len(rows)), label, np.stack([usual] * len(fit_rows))
        )
    return pd.DataFrame(table).T


shown_ways = ("Grad-CAM", "LayerCAM, finer")
tables = [judged(way) for way in shown_ways] if measured else []

# %%
if tables:
    auprc = pd.DataFrame(
        {
            way: table.xs(way, level=1)["auprc"]
            for way, table in zip(shown_ways, tables, strict=True)
        }
    )
    auprc["usual place"] = tables[0].xs("usual place", level=1)["auprc"]
    auprc["chance"] = tables[0].xs("usual place", level=1)["chance"]
    auprc = auprc.sort_values("usual place")
    fig = plots.intervals(
        auprc,
        "A finer layer helps; the usual place is hard to beat",
        "AUPRC against the mask, mean over test images with the label",
        xlim=(0, 1),
    )
    plots.show(
        fig,
        "For every label, dots for the AUPRC of Grad-CAM, of LayerCAM on a finer layer, of the usual "
        "place and of chance.",
    )
else:
    print(
        "The places of this track's findings are not known: the stored table below is the phantom's."
    )

# %%
if track.name == "phantom":
    found = auprc.loc[[name for name in auprc.index if name in OBSERVATIONS]].mean()
    print("Grad-CAM above chance:           ", bool(found["Grad-CAM"] > found["chance"]))
    print("the finer layer above Grad-CAM:  ", bool(found["LayerCAM, finer"] > found["Grad-CAM"]))
    print("Grad-CAM below the usual place:  ", bool(found["Grad-CAM"] < found["usual place"]))

# %% [markdown]
# ## The whole table: every method, three seeds
#
# One model and a few images are an anecdote. `benchmarks/explanations.py` does the same for all test images
# and three models, and stores what it finds; the next cell says whether that record was made with the phantom
# that you have. It adds `layercam, finest`, one layer earlier still, 24 × 24, and two remedies:
#
# - **both layers**: the maps of the last layer and of the finer one, multiplied;
# - a **finer network**, whose last pooling is left out, so that its last block works on four times as many
#   places. (This is one model; all else are means of three.)
#
# The paper's maps are of the kind in the first line, `gradcam`. Will that point better than someone who
# knows where such findings usually are? And what will help most: another method, or another layer?

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "explanations.json").read_text(encoding="utf-8"))
stored = pd.DataFrame(record["localisation"])
print(f"{record['seeds']} models")
if record["phantom"]["generator"] == cohort.generator_version():
    print("measured with the present version of the phantom")
else:
    print("measured with another version of the phantom; `make experiments` measures anew")

# %%
seen = [name for name in sorted(OBSERVATIONS) if name in set(stored["label"])]
by_way = stored[stored["label"].isin(seen)].copy()
by_way.loc[by_way["guess"] == "usual place", "way"] = "(usual place)"
own = by_way[by_way["guess"].isin(["map", "usual place"])]
order = [*record["ways"], "layercam, both layers"]
order += [way for way in own["way"].unique() if way not in order]


def pivot(measure):
    """Mean over the seeds: a row per observation, a column per way."""
    return own.pivot_table(measure, "label", "way")[order]


summary = pd.DataFrame({name: pivot(name).mean() for name in ("hit", "auprc", "iou")})
mean_maps = by_way[by_way["guess"] == "mean map"].groupby("way")[["hit", "auprc", "iou"]].mean()
summary = summary.join(mean_maps[["hit", "auprc"]].add_prefix("mean map: "))
summary.loc["(chance)", ["hit", "auprc"]] = own["chance"].mean()
summary.rename(columns=lambda name: name.replace("hit", "pointing")).round(3)

# %% [markdown]
# A mean over the observations hides the observations. Choose a way and a measure, and see them beside all
# guesses to beat. Which findings does a map find better than their usual place does?

# %%
MEASURES = {"pointing": "hit", "AUPRC": "auprc", "IoU": "iou"}


def draw_way(way, measure):
    """Dots by observation: a way's maps, their mean map, the usual place and chance."""
    name = MEASURES[measure]
    blind = by_way[(by_way["guess"] == "mean map") & (by_way["way"] == way)]
    table = pd.DataFrame(
        {
            "the map": pivot(name)[way],
            "its own mean map": blind.groupby("label")[name].mean(),
            "usual place": pivot(name)["(usual place)"],
        }
    )
    if name != "iou":
        table["chance"] = own.groupby("label")["chance"].mean()
    beaten = (table["the map"] > table["usual place"]).sum()
    return plots.intervals(
        table.sort_values("usual place"),
        f"{way}: above the usual place for {beaten} of {len(table)} observations",
        f"{measure}, mean over test images and models",
        xlim=(0, 1),
    )


widgets.explore(
    draw_way,
    "For every observation, dots for the score of a way's maps, of their mean map, of the usual place "
    "and of chance.",
    way=ipywidgets.Dropdown(options=list(mean_maps.index), value="layercam, finer"),
    measure=ipywidgets.Dropdown(options=list(MEASURES), value="pointing"),
)

# %%
best = "layercam, finer"
per_seed = own.pivot_table("auprc", "label", ["way", "seed"])
usual = pivot("auprc")["(usual place)"]
for way in ("gradcam", best):
    gain = per_seed[way].sub(usual, axis=0)
    sure = gain.index[(gain > 0).all(axis=1)]
    print(f"{way}: AUPRC above the usual place with every seed for {len(sure)} of {len(gain)}:")
    print(f"  {', '.join(sure) or 'none'}")

# %%
blind = by_way[by_way["guess"] == "mean map"].pivot_table("hit", "label", "way")
for way in ("gradcam", best):
    gain = pivot("hit")[way] - blind[way]
    print(
        f"{way}: points better than its own mean map for {(gain > 0).sum()} of {len(gain)} observations"
    )

# %% [markdown]
# So has the map seen anything? On the finer layer, yes: for most observations it points better than its own
# average. Grad-CAM hardly does. And most findings are found more surely by their usual place than by either.
#
# What helped? The layer more than the method. `finer=1` costs nothing in training. Both layers multiplied do
# about as well, and so does the finest layer; a finer network has to be trained anew, and brings Grad-CAM
# most of the way. Eigen-CAM, which looks at no label, points better than Grad-CAM. In numbers:

# %%
print("pointing and AUPRC, mean over the observations:")
for way in ("gradcam", "layercam", "eigencam", "layercam, finer", "layercam, finest",
            "layercam, both layers", "finer network: gradcam", "(usual place)", "(chance)"):  # fmt: skip
    print(f"  {way:24} {summary.loc[way, 'hit']:.2f}  {summary.loc[way, 'auprc']:.2f}")

# %% [markdown]
# ## The randomisation test
#
# A map is meant to explain the model. What, then, must happen to it when the model forgets?
#
# Adebayo et al. (2018) draw the weights anew from the output down to the first layer, and look at the map
# each time. We compare it with the map of the trained model, by rank correlation: 1 is the same order of
# places, 0 is nothing in common.
#
# Grad-CAM, LayerCAM, Eigen-CAM: one of the three will not notice that the output layer knows nothing any
# more. Which? (Think of what each of them looks at.)

# %%
few = test.images[:12]
some = ["Pleural Effusion", "Cardiomegaly", "Edema", "Pneumothorax"]
methods = ("Grad-CAM", "LayerCAM", "Eigen-CAM")
curves = {}
for way in methods:
    before = explain(model, few, some, **ways[way]).features
    curves[way] = {
        stage: explanations.rank_correlation(
            before, explain(forgetful, few, some, **ways[way]).features
        ).mean()
        for stage, forgetful in explanations.randomised(model)
    }
curves = pd.DataFrame(curves)
print(
    "Eigen-CAM does not notice new output weights:", bool(curves.loc["logits", "Eigen-CAM"] > 0.99)
)
print("Grad-CAM does:", bool(curves.loc["logits", "Grad-CAM"] < 0.7))

# %% [markdown]
# Eigen-CAM looks at the maps alone, which come before the output layer. It would draw the same if that layer
# were noise.
#
# How far must a map change? Two models that were trained alike, from different seeds, explain an image
# differently, too. Their likeness is a yardstick: the first column below, from the stored record. In the next
# column only the output layer, `logits`, was drawn anew; then the layer before it too, `dense`; then the last
# convolution too, `conv`; and so on down to `stem`, the first, where nothing is left of the training. Which
# methods will have nothing left of their maps by then?

# %%
forgot = pd.DataFrame(record["randomisation"]).pivot_table("correlation", "stage", "way")
stages = ["another seed", *curves.index]
forgot = forgot.loc[stages, list(record["ways"])]
fig = plots.heatmap(
    forgot.T.round(2) + 0.0,  # no −0
    "Grad-CAM and HiResCAM forget, the others keep some",
    "rank correlation",
    vmin=0,
    vmax=1,
    annot_kws={"fontsize": 11},
)
fig.axes[1].yaxis.label.set_fontsize(12)
plots.show(
    fig,
    "Rank correlation by method in rows; columns: another seed, then weights drawn anew from logits "
    "down to the stem.",
)

# %%
verdict = pd.DataFrame({
    "another seed": forgot.loc["another seed"],
    "output drawn anew": forgot.loc["logits"],
    "all drawn anew": forgot.loc["stem"],
})  # fmt: skip
# Passed: without its output layer, and without anything, a map is less like the model's own than
# another trained model's is, and in the end has next to nothing of it.
verdict["passed"] = (
    (verdict["output drawn anew"] < verdict["another seed"])
    & (verdict["all drawn anew"] < verdict["another seed"])
    & (verdict["all drawn anew"].abs() < 0.1)
)
verdict.round(2)

# %%
print("passed:", ", ".join(verdict.index[verdict["passed"]]))
print("failed:", ", ".join(verdict.index[~verdict["passed"]]))

# %% [markdown]
# By this rule Grad-CAM passes, and it points badly. The finer LayerCAM fails, and it points better. Are the
# maps that point best of no use, then? Not so fast:
#
# - The rule is ours, and strict. Maps of one network may resemble each other for reasons that nobody learnt:
#   the chest has its place in the picture, and so has the picture's rim. A failure says that *something* in
#   the map does not come from what was learnt. It does not say that nothing does.
# - Read the column *another seed*. Two trained models agree least in their Grad-CAM maps. A map that changes
#   with everything also changes with what should not matter.
#
# There is another way to ask. A model trained on **shuffled labels** has learnt nothing true. If the finer
# LayerCAM draws only what is there to see in any chest, it will find as much for this model as for the real
# one. Will it?

# %%
shuffled = pd.DataFrame(record["shuffled"])
shuffled = shuffled[shuffled["label"].isin(seen) & (shuffled["guess"] == "map")]
table = shuffled.groupby("way")[["hit", "auprc", "chance", "correlation"]].mean()
table["hit, real model"] = summary["hit"]
table["auprc, real model"] = summary["auprc"]
table.rename(columns=lambda name: name.replace("hit", "pointing")).round(3)

# %%
for way in table.index:
    lost = bool(table.loc[way, "hit"] < table.loc[way, "hit, real model"] / 2)
    print(f"{way}: points less than half as often where nothing true was learnt: {lost}")

# %% [markdown]
# It does not. The finer maps do depend on what was learnt, although they fail the test above. One test never
# settles it.
#
# ## Deletion and insertion
#
# Without masks one can still ask the model. Blur away what the map calls important, and see how soon the
# score falls (*deletion*; low is good). Or start from a blurred image and bring those places back first
# (*insertion*; high is good). (Petsiuk et al. 2018.)
#
# How much of the image must be blurred until half of the score is gone? And while the image comes back, can
# the score ever be higher than that of the whole image? Guess both.

# %%
followed = "Pneumothorax" if (test.truth["Pneumothorax"] == 1).any() else "Abnormal"
several = test.images[np.flatnonzero(test.truth[followed] == 1)[:24]]
fig, axes = plots.figure(1, 2, 10, 3.9, sharey=True)
for way, colour in zip(("Grad-CAM", "LayerCAM, finer"), (plots.BLUE, plots.ORANGE), strict=True):
    values = explain(model, several, [followed], **ways[way])[followed]
    both = explanations.deletion_insertion(model, several, values, followed)
    for axis, curve in zip(axes, both, strict=True):
        steps = np.linspace(0, 1, curve.shape[1])
        axis.plot(steps, curve.mean(axis=0), color=colour, lw=2, label=way)
for axis, title, done in zip(axes, ("deletion", "insertion"), ("gone", "back"), strict=True):
    axis.set(xlabel=f"share of the image that is {done}", ylim=(0, None))
    axis.set_title(title, loc="left")
axes[0].set_ylabel(f"score, {followed}")
axes[0].legend()
fig.suptitle(
    "Blur a little of what the map marks, and most of the score is gone",
    x=0.01, ha="left", fontsize=13,
)  # fmt: skip
plots.show(
    fig,
    "The mean score of one label over several images while they are blurred away, and while they come "
    "back, in the order of two maps.",
)

# %% [markdown]
# Where a curve on the right rises above its own end, an image that is partly there looks more ill to the
# model than the whole. Keep that in mind.
#
# The record has this for every method, as areas under the two curves, and for two orders more: places at
# random, and *the mask itself*, which holds all that the finding truly changes. Where in the table will the
# mask stand: at the top, in the middle, at the bottom?

# %%
deletion = pd.DataFrame(record["deletion"]).groupby("way")[["deletion", "insertion"]].mean()
deletion["insertion − deletion"] = deletion["insertion"] - deletion["deletion"]
deletion.sort_values("insertion − deletion", ascending=False).round(3)

# %%
by_label = pd.DataFrame(record["deletion"]).pivot_table(["deletion", "insertion"], "label", "way")
gap = by_label["insertion"] - by_label["deletion"]
gap = (gap["the mask itself"] - gap["random"]).sort_values()
print(f"the mask does better than random places for {(gap > 0).sum()} of {len(gap)} labels")
print("worst:", ", ".join(f"{name} {value:+.2f}" for name, value in gap.head(3).items()))
print("best: ", ", ".join(f"{name} {value:+.2f}" for name, value in gap.tail(3).items()))

# %% [markdown]
# At the bottom, as a mean, next to places at random. By label it differs: a few large findings pull the mean
# down. For those, to blur the true finding away is not the quickest way to change the model's mind.
#
# So deletion and insertion measure what the model uses, not what is ill. And blurring makes images that the
# model has never seen, whose scores may be anything.
#
# ## Does a group's map cover its children's?
#
# If "Fluid Accumulation" is seen where Edema is, its map should cover Edema's. How much of the child's map
# lies in the group's? Two maps always share something, so there is a comparison: the group's map of *another*
# image that shows the child. Guess both shares.

# %%
cover = pd.DataFrame(record["covered"])
cover = cover[cover["way"] == best].groupby(["group", "child"])[["covered", "by_another"]].mean()
cover = cover.rename(columns={"covered": "same image", "by_another": "another image"})
cover.index = [f"{group} ⊃ {child}" for group, child in cover.index]
fig = plots.bars(
    cover.sort_values("same image", ascending=False),
    "A group's map covers its child's better on the same image",
    "share of the child's map, mean over images that show the child",
)
plots.show(
    fig,
    "Bars for every edge of the hierarchy: the share of the child's map covered by its group's map of "
    "the same image, and of another image.",
)

# %%
gap = cover["same image"] - cover["another image"]
print(f"covered better by the same image's map: {(gap > 0).sum()} of {len(gap)} edges")
print(f"mean share covered: {cover['same image'].mean():.2f}")
print(f"by another image's: {cover['another image'].mean():.2f}")

# %% [markdown]
# Most of a child's map lies in its group's, but most of it would lie in that of a stranger, too. And the
# gap is no proof that the model thinks in groups: any two maps of one image have that image in common.
#
# ## A planted shortcut
#
# In some hospitals the portable machine, which visits the sickest, burns a mark into its images. A model
# may learn the mark instead of the disease, and nothing in its AUROC will tell. So we plant one: in the
# phantoms of this lesson, most images with a pneumothorax carry a small square at the lower right, and few
# others do. (Whatever your data, this part uses the phantom.)
#
# One model learns from images with squares, another from images without. Will the map give the first one
# away?


# %%
def lesson(square):
    """Small phantoms with their true labels, with the square or without."""
    controls = {"shortcut": "Pneumothorax", "strength": 0.98} if square else {}
    folder = data.DEFAULT_FOLDER.with_name(f"phantom-lesson-{'square' if square else 'plain'}")
    patients = {"train": 600, "valid": 60, "test": 250}
    cohort.write_cohort(folder, patients, size=64, seed=5, **controls)
    return data.open_track(folder, labels="truth")


with_square, without_square = lesson(True), lesson(False)
short = Settings(size=64, epochs=15, augment="none")
cheat = training.train(with_square, hierarchy, short, name="shortcut-square").model("last")
honest = training.train(without_square, hierarchy, short, name="shortcut-plain").model("last")


# %%
def prepared(studies):
    """Frontal images of studies as the models see them."""
    grey = np.stack([phantom.render(study, 64) for study in studies])[:, None]
    return torch.stack([v2.functional.equalize(torch.from_numpy(image)) for image in grey]) / 255


rows = with_square.split("test")
ill = (rows["Pneumothorax"] == 1).to_numpy()
studies = [cohort.study_of(with_square.folder, path) for path in rows["path"]]
pictures = {
    "with the square": prepared([replace(study, stamp=True) for study in studies]),
    "without": prepared([replace(study, stamp=False) for study in studies]),
    "as planted": prepared(studies),
}
place = hierarchy.labels.index("Pneumothorax")


def score_of(model, images):
    with torch.inference_mode():
        return model(images).sigmoid()[:, place].numpy()


print(f"{len(studies)} test images, {ill.sum()} with a pneumothorax")

# %%
shown, drawn, titles = [], [], []
for name, network in {"learnt without squares": honest, "learnt with squares": cheat}.items():
    for condition in ("without", "with the square"):
        sick = pictures[condition][ill]
        mean_of = explain(network, sick, ["Pneumothorax"], "layercam", finer=1).images.mean(dim=0)
        shown.append(sick.mean(dim=0))
        drawn.append(mean_of[0] / mean_of.max())
        score = score_of(network, sick).mean()
        titles.append(f"{name}\nshown {condition}\nmean score {score:.2f}")
fig = plots.gallery(
    shown, titles, columns=4, size=2.6, maps=drawn,
    title="Only the model that learnt the mark looks towards its corner (mean of all sick patients)",
)  # fmt: skip
for axis in fig.axes:
    axis.title.set_fontsize(11)
plots.show(
    fig,
    "The mean image of all patients with a pneumothorax, four times, with the mean map of two models, "
    "each shown the images with and without a small square at the lower right.",
)

# %% [markdown]
# The map does give it away: shown the square, the model that learnt from squares looks at its corner, and the
# other does not. But see the third picture. No square is there and the score is low, and the map is as bright
# as the others, since each is scaled to its own highest value. A bright place on a map is not yet a sign that
# the model has found anything there.
#
# What is the cheat worth where nobody has marked anything? Guess how much of its AUROC goes.

# %%
values = pd.DataFrame(
    {
        name: {
            "AUROC as planted": roc_auc_score(ill, score_of(network, pictures["as planted"])),
            "AUROC without squares": roc_auc_score(ill, score_of(network, pictures["without"])),
            "score raised by the square": (
                score_of(network, pictures["with the square"])
                - score_of(network, pictures["without"])
            ).mean(),
        }
        for name, network in {"learnt with it": cheat, "learnt without it": honest}.items()
    }
)
drop = values.loc["AUROC as planted"] - values.loc["AUROC without squares"]
print(
    "the cheat looks better on images with squares: ", bool(values.iloc[0, 0] > values.iloc[0, 1])
)
print("and loses more than 0.05 without them:         ", bool(drop["learnt with it"] > 0.05))
print("the honest one loses less than that:           ", bool(drop["learnt without it"] < 0.05))

# %% tags=["nbval-ignore-output"]
values.round(3)

# %% [markdown]
# On images as planted the cheat looks like the better model; without squares little or nothing is left of its
# lead.
#
# The maps above are means over many patients. Would you have noticed from one? The record has three seeds of
# each model, with more phantoms. "Square on the healthy" are the same patients with the square on the wrong
# ones. "Highest point in the square" is the share of images with a pneumothorax and a square whose map is
# highest on the square, or next to it; "share of the image" is how much of the image that region is, which is
# what a random point would hit. In how many of ten images will the map of the cheat be highest on the square?

# %%
shortcut = pd.DataFrame(record["shortcut"])
shortcut.pivot_table("value", "measure", "learnt").round(3)

# %%
highest = shortcut[shortcut["measure"].str.startswith("highest point")]
highest = highest[highest["learnt"] == "with square"].pivot_table("value", "measure", "seed")
print("learnt with the square, highest point in it, seed by seed:")
print(highest.round(2).rename(index=lambda name: name.split(", ", 1)[1]).to_string())

# %% [markdown]
# With the square on the wrong patients, the cheat is no better than a coin. Yet how often its map is
# highest on the square differs from seed to seed and from method to method, and may be never. Whoever looks
# at a few maps may well miss it; whoever removes the mark and measures does not.
#
# ## On real radiographs
#
# The models of the whole table, which have only seen phantoms, on a sample of NIH's radiographs. A few of
# these have a box of pneumonia. The *usual place* is here the mean of the other images' boxes. Will anything
# beat it?

# %%
if "boxes" in record:
    boxes = pd.DataFrame(record["boxes"]).query("label == 'Pneumonia'")
    real = boxes.groupby("way")[["hit", "auprc"]].mean().loc[list(record["ways"])]
    real.loc["(usual place)"] = boxes[["usual_hit", "usual_auprc"]].mean().to_numpy()
    real.loc["(chance)"] = boxes["chance"].mean()
    print(f"{boxes['images'].iloc[0]} images with a box")
    display(real.rename(columns={"hit": "pointing"}).round(3))

# %% [markdown]
# Nothing does. But these are few images of one finding, and models that have never seen a real chest. It says
# nothing of a model that has.
#
# Radiographs carry burnt-in letters. Do these models look at them? We find small bright marks near the
# border, paint them over, and see what changes; beside it, the same done at the mirrored place, where there
# are no letters.

# %%
if "letters" in record:
    letters = pd.DataFrame(record["letters"]).groupby("label").mean(numeric_only=True)
    means_of = letters.drop(columns="seed").mean()
    print(f"images with marks: {means_of.pop('images'):.0f}")
    for name, value in means_of.items():
        print(f"{name}: {value:.4f}")
    print("label that changes most:", letters["change without the letters"].idxmax())

# %% [markdown]
# Their maps lie on the letters about half as much as on the rest of the image, and painting the letters over
# changes the scores hardly more than painting elsewhere. No wonder: a phantom's letters say nothing about its
# illness. A model trained on real radiographs needs the same test.

# %% [markdown]
# ## Take away
#
# - Beside every score of a map put a guess that has not seen the image. That guess is strong: findings have
#   their places.
# - The choice of the layer mattered more than the choice of the method. Do not stop at the default.
# - Pointing well and depending on the model are different virtues: test both, and by more than one test. Draw
#   weights anew, shuffle labels, plant a shortcut.
# - Look at means by label and by seed before you believe them.
# - A map can show *that* a model cheats. It cannot show that it does not: change the image, and measure.
#
# **Next**: 09 asks how sure a model is.
