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
# **You will be able to** score maps against known masks, against what they could reach at best and against
# guesses that have not looked at the image; test whether a map depends on the model, the image and the label;
# read deletion and insertion without being misled; catch a model that reads a mark instead of a lung.
#
# **Needs** the maps and the two heads of notebook 07, the AUROC of notebook 06. The two models of notebook 07
# are trained now if they are not there, about seven minutes each on one core. **Minutes** 40, and 22 for the
# exercises. The section called *further* takes 10 more and can wait. About three are computing, the first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torchvision.transforms import v2

from cxrlib import cohort, configs, data, exercises, explanations, phantom, plots, training, widgets
from cxrlib.explanations import explain
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %%
workshop, pointing = (configs.read_config(name).settings for name in ("workshop", "pointing"))
paper_loss = replace(workshop, method="hbce-step", penalties="data-driven")
networks = {
    "paper": training.train(track, hierarchy, paper_loss, name="paper-loss").model(),
    "pointing": training.train(track, hierarchy, pointing, name="pointing").model(),
}
ways = {
    "Grad-CAM": ("paper", {"method": "gradcam"}),
    "LayerCAM, finer": ("paper", {"method": "layercam", "finer": 1}),
    "pointing": ("pointing", {"method": "pointing"}),
}

# %% [markdown]
# Three ways to make a map, all explained in notebook 07. **Grad-CAM** of the paper's head asks the last
# convolution, 6 × 6 places, by derivatives. **LayerCAM** of an earlier layer asks 12 × 12. The **pointing**
# head answers by its map, 12 × 12.
#
# Does a map lie where the finding is? That takes **masks**, here of the finding itself: every place where the
# beam goes through it, seen or not. We take some images of the validation split, to see where findings
# usually are, and some of the test split, to measure.


# %%
class Part:
    """Some images as the models see them, and the masks of their findings."""

    def __init__(self, split, count):
        rows = track.split(split).iloc[:count]
        targets = hierarchy.derive(rows[sorted(OBSERVATIONS)])
        dataset = data.ChestDataset(rows, track.folder, targets, 96, equalize=True)
        self.images = torch.stack([image for image, _ in dataset])
        self.truth = targets.reset_index(drop=True)
        known = track.name in ("phantom", "nih")
        self.masks = explanations.find_masks(track, rows["path"], 96, "lesions") if known else {}

    def enough(self, label):
        """Whether at least five images show where the label is."""
        return len(self.masks.get(label, ([],))[0]) >= 5


valid, test = Part("valid", 160), Part("test", 240)
seen = [name for name in sorted(OBSERVATIONS) if valid.enough(name) and test.enough(name)]
print(f"{len(valid.images)} validation and {len(test.images)} test images")
print(f"masks of enough images for {len(seen)} observations")

# %% [markdown]
# ## What could a map reach at best?
#
# Two scores:
#
# - **hit rate**: in what share of images does the highest point of the map lie in the mask?
# - **AUPRC**: take the pixels from the highest value of the map down; what share of those taken lies in the
#   mask (the precision)? The mean of that over the moments when a pixel of the mask is taken.
#
# A map of 6 × 6 cannot draw the rim of a pneumothorax. If maps score badly, is it the model's fault, or the
# grid's? Let an oracle answer: take the true mask, average it over the places of the grid, and score that as
# if it were a map. How high will it come, on 6 × 6 and on 12 × 12? **Guess** both AUPRCs.

# %% tags=["nbval-ignore-output"]
exercises.guess("08.1")


# %%
def oracle(masks, side):
    """Masks as maps of ``side`` × ``side`` places could show them, enlarged as maps are."""
    small = adaptive_avg_pool2d(torch.from_numpy(masks).float()[:, None], side)
    return interpolate(small, masks.shape[1:], mode="bilinear")[:, 0].numpy()


ceilings = pd.DataFrame({
    f"{side} × {side}": {
        name: explanations.localisation(oracle(test.masks[name][1], side), test.masks[name][1])["auprc"].mean()
        for name in seen
    }
    for side in (6, 12)
})  # fmt: skip
print(ceilings.mean().round(2).to_string())
for side, values in ceilings.items():
    print(f"least on {side}:", ", ".join(f"{n} {x:.2f}" for n, x in values.nsmallest(3).items()))

# %% [markdown]
# At least so much is possible. On 12 × 12 nearly everything is, save for thin devices; on 6 × 6 small and thin
# findings lose a good part. Keep these numbers: how far below them will the maps be?
#
# ## Does the map lie on the finding?
#
# Now the maps. Beside them stands a rival that has not looked at the image: the **usual place**, the mean
# mask of the validation images. Findings have their places, so it is strong. It is also better informed than
# the models: it was made of masks, and they learnt from labels alone.
#
# Put these in order of their AUPRC before you run the cell: Grad-CAM, LayerCAM of the finer layer, pointing,
# the usual place.


# %%
def maps_of(way, images, label):
    """The maps of one label, [N, 96, 96]."""
    head, asked = ways[way]
    return explain(networks[head], images, [label], **asked)[label].numpy()


auprc = {}
for name in seen:
    found, masks = test.masks[name]
    usual = np.stack([valid.masks[name][1].mean(axis=0)] * len(masks))
    guesses = {way: maps_of(way, test.images[found], name) for way in ways} | {"usual place": usual}
    auprc[name] = {
        guess: explanations.localisation(maps, masks)["auprc"].mean()
        for guess, maps in guesses.items()
    }
auprc = pd.DataFrame(auprc).T

# %%
if seen:
    best = (auprc[list(ways)].idxmax(axis=1) == "pointing").sum()
    fig = plots.intervals(
        auprc.sort_values("usual place"),
        f"For {best} of {len(auprc)} findings the pointing head's map is the best of the three",
        "AUPRC against the finding's place, mean over test images that show it",
        xlim=(0, 1),
    )
    plots.show(
        fig,
        "For every observation, dots for the AUPRC of Grad-CAM, of LayerCAM on a finer layer, of the "
        "pointing head and of the usual place.",
    )
else:
    print("The places of this track's findings are not known: the record below is the phantom's.")

# %% tags=["nbval-ignore-output"]
auprc.mean().sort_values().round(2)

# %%
if track.name == "phantom":
    mean = auprc.mean()
    print("Grad-CAM below the usual place:", bool(mean["Grad-CAM"] < mean["usual place"]))
    print("the finer layer above Grad-CAM:", bool(mean["LayerCAM, finer"] > mean["Grad-CAM"]))
    print("the pointing head above both:  ", bool(mean["pointing"] == mean[list(ways)].max()))

# %% [markdown]
# ## Three models of each, and more rivals
#
# One model and a few images are an anecdote. `benchmarks/heads.py` does the same with three models of each
# kind and more images, and stores what it finds; the next cell says whether that record was made with the
# phantom that you have. It has more rivals:
#
# - the same label's map of **another image**, of another patient who has the finding;
# - on the same image, the map of **another label** that is absent and no kin, drawn by lot;
# - the map's own **mean map** of that label, over the other images that show it;
# - **map × usual place**: what does a map add to knowing where to look?
# - **found**: the same maps, on those images alone whose finding the model calls, at the threshold that
#   parts validation images best.
#
# A map that has seen something in *this* image must beat another image's. The two models above differ in
# more than their heads: the course's own has its own recipe, too, more epochs, growing images and little
# dropout (`configs/pointing.yaml`). So the record has both heads by both recipes. **Guess**: what brings the
# pointing head's map above the usual place, the head, the recipe, or both?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.2")

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "heads.json").read_text(encoding="utf-8"))
same = record["phantom"]["generator"] == cohort.generator_version()
print("measured with the phantom's present version:", same)
rows = pd.DataFrame(record["rows"])
rows = rows[rows["mask"] == "lesions"].replace({"guess": {"true positives": "found"}})
summary = rows.groupby(["way", "guess"])[["hit", "auprc", "rank", "mass"]].mean()
blind = summary.xs("pointing").loc[["usual place", "another mask", "ceiling"], ["hit", "auprc"]]
blind.round(2).rename(columns={"hit": "hit rate", "auprc": "AUPRC"})

# %%
MAPS = {
    "Grad-CAM": "Grad-CAM, paper's head, workshop's recipe",
    "Grad-CAM, own recipe": "Grad-CAM, paper's head, own recipe",
    "LayerCAM, finer": "finer LayerCAM, paper's head, workshop's",
    "LayerCAM, finer, own recipe": "finer LayerCAM, paper's head, own recipe",
    "pointing, same recipe": "pointing head, workshop's recipe",
    "pointing": "pointing head, own recipe",
    "Grad-CAM of the pointing head": "Grad-CAM of the pointing head, own recipe",
}


def rivals(measure):
    """A row for each kind of map, a column for each guess, of one measure."""
    table = summary.reset_index().pivot_table(measure, "way", "guess")
    return table.reindex(list(MAPS)).rename(index=MAPS)


usual = summary.loc[("Grad-CAM", "usual place")]
dots = rivals("hit")[["map", "another image", "another label"]]
above = list(dots.index[dots["map"] > usual["hit"]])
fig = plots.intervals(
    dots,
    f"{len(above)} of {len(dots)} kinds of maps are above the usual place",
    "hit rate (dashed: the usual place)",
    reference=usual["hit"],
    xlim=(0, 1),
)
plots.show(
    fig,
    "For seven kinds of maps, dots for the hit rate of the map, of the map of another image and of the map "
    "of another label; a dashed line marks the usual place.",
)

# %%
columns = ["map", "found", "map × usual place", "mean map", "another image", "another label"]
for name, measure in (("hit rate", "hit"), ("AUPRC", "auprc")):
    print(name)
    print(rivals(measure)[columns].round(2).to_string(header=measure == "hit", index_names=False))

# %%
auroc = record["auroc"]
for kind, each in auroc.items():
    print(f"{kind:18} macro AUROC {np.mean(each['macro']):.3f}; against the paper's",
          f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f});",
          f"{np.mean(each['seconds']):.0f} s of training on one core")  # fmt: skip

# %% [markdown]
# Neither alone. By the workshop's recipe the pointing head's map is where the finer LayerCAM of the paper's head
# is, and below the usual place; by the course's own recipe that LayerCAM reaches the usual place, and only the
# pointing head goes beyond it. Nor is it the way of asking: Grad-CAM of the pointing head hits as often as the
# head's own map. What the map is made of counts, a model that answers place by place and was trained for it. Nor
# is it paid for with AUROC: the head alone gains 0.018, the recipe alone 0.022, both 0.052.
#
# Look also how far a map stands above its rivals, and not only how far to the right. All have looked at the
# image, to different degrees: see what is left of each map's hit rate if it is of another image. And a mean
# hides the findings. For which of these four has Grad-CAM looked?

# %%
by_label = rows[rows["way"] == "Grad-CAM"].pivot_table("hit", "label", "guess")
by_label.loc[
    ["Pleural Effusion", "Pneumothorax", "Atelectasis", "Lung Lesion"], ["map", "another image"]
].round(2)

# %% [markdown]
# For effusions and pneumothoraces; for lung lesions it is at home in any image. Are the differences more than chance? Patients drawn anew, 2,000 times, findings counting alike. That asks
# what other *patients* would change, for these three models of each kind; for what another *training* would
# change, see the hit rates by seed.

# %%
gains = pd.DataFrame(record["gains"]).replace("pointing · usual place", "usual place")
gains["what"] = gains["way"].str.replace(" · map", "") + " − " + gains["than"]
gains["told"] = [f"{r.difference:+.2f} ({r.low:+.2f} to {r.high:+.2f})" for r in gains.itertuples()]
told = gains.pivot_table("told", "what", "measure", aggfunc="first", sort=False)
told = told[~told.index.str.contains("mean")]
print(told.rename(columns={"hit": "hit rate", "auprc": "AUPRC"}).to_string(index_names=False))

# %%
seeds = rows[(rows["guess"] == "map") & rows["way"].isin(list(MAPS))]
seeds.pivot_table("hit", "way", "seed").reindex(list(MAPS)).round(2)

# %% [markdown]
# Choose a way and a measure. **Guess** for which findings the usual place remains the better guess, and why.

# %% tags=["nbval-ignore-output"]
exercises.guess("08.3")

# %%
MEASURES = {"hit rate": "hit", "AUPRC": "auprc"}


def draw_way(way, measure):
    """Dots by observation: a way's maps, their mean map, the usual place and the ceiling."""
    name = MEASURES[measure]
    of_way = rows[rows["way"] == way].pivot_table(name, "label", "guess")
    of_all = rows[rows["way"] == "pointing"].pivot_table(name, "label", "guess")
    table = pd.DataFrame({
        "the map": of_way["map"],
        "its own mean map": of_way["mean map"],
        "usual place": of_all["usual place"],
        "ceiling": of_all["ceiling"],
    })  # fmt: skip
    beaten = (table["the map"] > table["usual place"]).sum()
    return plots.intervals(
        table.sort_values("usual place"),
        f"{way}: above the usual place for {beaten} of {len(table)} observations",
        f"{measure}, mean over test images and models",
        xlim=(0, 1.02),
    )


widgets.explore(
    draw_way,
    "For every observation, dots for the score of a way's maps, of their mean map, of the usual place "
    "and of the ceiling.",
    way=ipywidgets.Dropdown(options=list(MAPS), value="pointing"),
    measure=ipywidgets.Dropdown(options=list(MEASURES), value="AUPRC"),
)

# %% [markdown]
# The heart, the mediastinum and edema have one place, and whoever knows it needs no image.
#
# Two more things to look at before a map is shown to anybody. Are maps highest at the rim of the picture,
# where there is mostly nothing? And what is the map worth where the model has *missed* the finding: **guess**,
# is there nothing to see on it?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.4")

# %%
edges = pd.DataFrame(record["edges"]).groupby("way")["edge"].mean()
hits = rows[rows["seed"] >= 0].copy()
hits["sum"] = hits["hit"] * hits["images"]
both = hits.pivot_table(["sum", "images"], ["way", "label"], "guess", aggfunc="sum")
missed = both.xs("map", level="guess", axis=1) - both.xs("found", level="guess", axis=1)
missed = missed.groupby("way").sum()
for way in ways:
    print(
        f"{way:16} highest near the rim: {edges[way]:.0%} (places of chance: {record['edge of chance'][way]:.0%});",
        f"on the finding where the model missed it: {missed['sum'][way] / missed['images'][way]:.0%}",
    )

# %% [markdown]
# Grad-CAM's maps are often highest near the rim; but a map of 6 × 6 has most of its places there, and chance is
# there more often. And where a model has missed a finding, its map may lie on it all the same, the pointing head's
# in nearly half of the images. A low score does not mean that there is nothing to see on the map, and a bright map
# does not mean that the score is high.
#
# ## Does the map depend on the model?
#
# A map is meant to explain the model. What, then, must happen to it when the model forgets? Adebayo et al.
# (2018) draw the weights anew, from the output down to the first layer, and look at the map each time.
#
# Grad-CAM, Eigen-CAM, pointing: one of the three will not notice that the output layer knows nothing any
# more. Which? (Think of what each of them looks at.)

# %%
few, some = test.images[:12], ["Pleural Effusion", "Cardiomegaly", "Edema", "Pneumothorax"]
asked = {**ways, "Eigen-CAM": ("paper", {"method": "eigencam"})}
for way in ("Grad-CAM", "Eigen-CAM", "pointing"):
    head, how = asked[way]
    before = explain(networks[head], few, some, **how).features
    _, forgetful = next(explanations.randomised(networks[head]))
    after = explain(forgetful, few, some, **how).features
    alike = explanations.rank_correlation(before, after)
    print(f"{way} notices new output weights: {bool(alike.mean() < 0.7)}")

# %% [markdown]
# Eigen-CAM looks at the maps alone, which come before the output layer. It would draw the same if that layer
# were noise.
#
# How far must a map change? Maps of any chest resemble each other a little, for reasons that nobody learnt:
# the chest has its place in the picture, and the picture has a rim. So the yardstick is **another image's**
# map of the same label, by the same model, as in Arun et al. (2021), who tested maps of chest films in this
# way. And two models that were trained alike from different seeds explain an image differently, too: **another
# seed**.
#
# In the stored record, `benchmarks/explanations.py` draws anew the output layer, then the layers before it,
# down to the first, where nothing is left of the training. New weights turn a map over as often as not, and then
# it is still the old pattern; so the *size* of the correlation is asked beside the correlation. (A map that is
# the same everywhere agrees with nothing, and counts nowhere.) **Guess** which ways have no more in common with their
# map than another image has.

# %% tags=["nbval-ignore-output"]
exercises.guess("08.5")

# %%
tested = json.loads((RESULTS / "explanations.json").read_text(encoding="utf-8"))
print("measured with the phantom's present version:",
      tested["phantom"]["generator"] == cohort.generator_version())  # fmt: skip
STAGES = {
    "another image": "another image",
    "another seed": "another seed",
    "logits": "new output layer",
    "stem": "all weights new",
}
forgot = pd.DataFrame(tested["randomisation"])
forgot = forgot[forgot["stage"].isin(list(STAGES))].replace({"stage": STAGES})
order = [*ways, "Eigen-CAM"]
sizes = forgot.pivot_table("absolute", "way", "stage").loc[order, list(STAGES.values())]
fig = plots.intervals(
    sizes,
    "With a new output layer the pointing map is gone, Eigen-CAM's the same",
    "rank correlation with the model's own map (its size), mean over findings and three models",
    xlim=(0, 1.02),
)
plots.show(
    fig,
    "For four ways in rows, dots for the likeness of the model's own map to that of another image, of "
    "another seed, of the model with a new output layer and of one with all weights new.",
)


# %%
def against(values, stage):
    """Whether, over all seeds, a stage is more or less like the model's map than another image is."""
    one, other = (values.xs(name, level="stage") for name in (stage, "another image"))
    if one.max() < other.min():
        return "less"
    return "more" if one.min() > other.max() else "about as much"


stage_means = forgot.set_index(["way", "stage", "seed"])[["correlation", "absolute"]]
for way in order:
    told = [against(stage_means.loc[way][kind], "new output layer") for kind in stage_means]
    print(f"{way:16} new output layer: {told[0]} alike than another image; by size, {told[1]}")
stage_means.pivot_table(["correlation", "absolute"], "way", "stage").loc[order].round(2)

# %% [markdown]
# The pointing head's map is gone with its output layer, as it must be: it *is* that layer's answer. Grad-CAM turns
# over, and keeps the pattern of the layer below, about as much of it as two images share. The finer LayerCAM, whose
# layer comes long before the output, keeps more than that, and Eigen-CAM all. That is no proof that these explain
# nothing (Binder et al. 2023 show why maps of early layers survive such tests). It says how much of a map is there
# whatever the label's weights are.
#
# And see how little is needed to change a map: another seed of the same training. Grad-CAM's map of one image by
# two models is no more alike than of two images by one model.
#
# A group and its child should look at one place, if "Fluid Accumulation" is seen where Edema is. Two maps of one
# image always share something; so beside that of the child stands, on the same image, the map of a finding
# that is **no kin**, and the child's map of **another image**:

# %%
kin = pd.DataFrame(tested["kin"])
KIN = ["same image", "another image", "no kin"]
of_kin = kin.groupby("way")[KIN].mean().loc[list(ways)]
of_kin.rename(columns={"same image": "its child"}).round(2)

# %%
kin["edge"] = kin["group"] + " ⊃ " + kin["child"]
least = kin[kin["way"] == "pointing"].groupby("edge")[KIN].mean().nsmallest(3, "same image")
print("pointing head, where the child is least like its group:")
print(least.rename(columns={"same image": "its child"}).round(2).to_string())

# %% [markdown]
# ## Further: deletion and insertion
#
# Without masks one can still ask the model. Blur away what the map calls important, and see how soon the
# score falls (*deletion*; low is good). Or start from a blurred image and bring those places back first
# (*insertion*; high is good). (After Petsiuk et al. 2018, who delete to a constant; here both blur.)
#
# Against what? Not against scattered pixels: to a network they are something else than a region. The rival is
# a **smooth field of chance**, as smooth as a map and about nothing.
#
# How much of the image must be blurred until half of the score is gone? And while the image comes back, can
# the score ever be higher than that of the whole image? **Guess** both.

# %% tags=["nbval-ignore-output"]
exercises.guess("08.6")

# %%
followed = "Pneumothorax" if (test.truth["Pneumothorax"] == 1).any() else "Abnormal"
several = test.images[np.flatnonzero(test.truth[followed] == 1)[:24]]
orders = {
    "pointing": maps_of("pointing", several, followed),
    "chance": explanations.smooth_fields(len(several), 96),
}
fig, axes = plots.figure(1, 2, 10, 3.9, sharey=True)
for (name, values), colour in zip(orders.items(), (plots.BLUE, plots.ORANGE), strict=True):
    pair = explanations.deletion_insertion(networks["pointing"], several, values, followed)
    for axis, curve in zip(axes, pair, strict=True):
        steps = np.linspace(0, 1, curve.shape[1])
        axis.plot(steps, curve.mean(axis=0), color=colour, lw=2, label=name)
for axis, title, done in zip(axes, ("deletion", "insertion"), ("gone", "back"), strict=True):
    axis.set(xlabel=f"share of the image that is {done}", ylim=(0, None))
    axis.set_title(title, loc="left")
axes[0].set_ylabel(f"score, {followed}")
axes[0].legend()
fig.suptitle(
    "Blur a little of what the map marks, and much of the score is gone",
    x=0.01, ha="left", fontsize=13,
)  # fmt: skip
plots.show(
    fig,
    "The mean score of one label over several images while they are blurred away, and while they come "
    "back, in the order of the pointing map and of smooth fields of chance.",
)

# %% tags=["nbval-ignore-output"]
gone, back = (
    curve.mean(axis=0)
    for curve in explanations.deletion_insertion(
        networks["pointing"], several, orders["pointing"], followed
    )
)
half = int(np.argmax(gone < gone[0] / 2))
print(f"half of the score is gone when {half / (len(gone) - 1):.0%} of the image is blurred")
print(f"the whole image has {back[-1]:.2f}; the most on the way there is {back.max():.2f}")

# %% [markdown]
# Half is gone soon. And yes: with a little of the image back the score can be higher than that of the whole,
# since the rest speaks against it.
#
# This finding was chosen because it shows the curves well. The record has the area under the right curve less
# that under the left, less that of chance, for all findings. Beside the map stands *the lesion itself*, from its
# middle outwards. **Guess**: does the true place of a finding do better than the map, or worse?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.7")

# %%
deletion = pd.DataFrame(tested["deletion"])
deletion["gap"] = deletion["insertion"] - deletion["deletion"]
gap = deletion[deletion["head"] == "pointing"].pivot_table("gap", ["label", "seed"], "order")
gap = gap[["pointing", "the lesion"]].sub(gap["chance"], axis=0).groupby("label")
mean = gap.mean().sort_values("the lesion")
low, high = gap.min().loc[mean.index], gap.max().loc[mean.index]
fig = plots.intervals(
    mean,
    "The lesion itself is no better guide than the map, for most findings",
    "insertion − deletion, above smooth chance: mean and range of three models",
    low,
    high,
    reference=0,
)
plots.show(
    fig,
    "For every finding, dots with ranges for insertion minus deletion of the pointing map and of the "
    "lesion itself, above chance; a dashed line at zero.",
)
print(f"above chance: the map for {(mean['pointing'] > 0).sum()}, the lesion for {(mean['the lesion'] > 0).sum()}",
      f"of {len(mean)} findings; the lesion ahead of the map for {(mean['the lesion'] > mean['pointing']).sum()}")  # fmt: skip

# %% [markdown]
# Where even the true place does worse than chance, as for the heart, it is not the map that has failed, but the
# test: an image with a blurred heart is like no chest that the model has seen, and its scores may be anything.
# Deletion and insertion measure the model on blurred images. Compare with smooth chance, and where you have it
# with the true place, before you believe them.
#
# ## A planted shortcut
#
# In some hospitals the portable machine, which visits the sickest, burns a mark into its images. A model
# may learn the mark instead of the disease, and nothing in its AUROC will tell. So we plant one: in the
# phantoms of this lesson, most images with a pneumothorax carry a small square at the lower right, and few
# others do. (Whatever your data, this part uses the phantom.)
#
# One model learns from images with squares, another from images without. **Guess**: does the map give the first one
# away?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.8")


# %%
def lesson(square):
    """Small phantoms with their true labels, with the square or without."""
    controls = {"shortcut": "Pneumothorax", "strength": 0.98} if square else {}
    folder = data.DEFAULT_FOLDER.with_name(f"phantom-lesson-{'square' if square else 'plain'}")
    patients = {"train": 600, "valid": 60, "test": 250}
    cohort.write_cohort(folder, patients, size=64, seed=5, **controls)
    return data.open_track(folder, labels="truth")


with_square, without_square = lesson(True), lesson(False)
short = Settings(size=64, epochs=15, augment="none", head="pointing", dropout=pointing.dropout)
cheat = training.train(with_square, hierarchy, short, name="shortcut-square").model("last")
honest = training.train(without_square, hierarchy, short, name="shortcut-plain").model("last")


# %%
def prepared(studies):
    """Frontal images of studies as the models see them."""
    grey = np.stack([phantom.render(study, 64) for study in studies])[:, None]
    return torch.stack([v2.functional.equalize(torch.from_numpy(image)) for image in grey]) / 255


rows_of = with_square.split("test")
ill = (rows_of["Pneumothorax"] == 1).to_numpy()
studies = [cohort.study_of(with_square.folder, path) for path in rows_of["path"]]
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
        mean_of = explain(network, sick, ["Pneumothorax"], "pointing").images.mean(dim=0)
        shown.append(sick.mean(dim=0))
        drawn.append(mean_of[0] / mean_of.max())
        score = score_of(network, sick).mean()
        titles.append(f"{name}\nshown {condition}\nmean score {score:.2f}")
fig = plots.gallery(
    shown, titles, columns=4, size=2.6, maps=drawn,
    title="Only the model that learnt the mark looks towards its corner (mean of all sick patients)",
)  # fmt: skip
for axis in fig.axes:
    axis.title.set_fontsize(12)
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
# What is the cheat worth where nobody has marked anything? **Guess** how much of its AUROC goes.

# %% tags=["nbval-ignore-output"]
exercises.guess("08.9")

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
# On images as planted the cheat looks like the better model; without squares it is far behind the honest one.
#
# The maps above are means over many patients. Would you have noticed from one? The record has three seeds of
# the cheat with either head. "At the square" is the share of images with a pneumothorax and a square whose
# map is highest on the square, or no further from it than one of the map's own places is wide: 8 pixels, or 16
# for Grad-CAM's 4 × 4. **Guess**: in how many of ten images is that, and does it depend on the seed?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.10")

# %%
shortcut = pd.DataFrame(tested["shortcut"])
cheats = shortcut[shortcut["learnt"] == "with square"]
highest = cheats[cheats["measure"].str.startswith("highest point")].copy()
highest["way"] = highest["measure"].str.split(", ", n=1).str[1]
by_seed = highest.pivot_table("value", "way", "seed")
region = cheats[cheats["measure"].str.startswith("share of the image")].copy()
region["way"] = region["measure"].str.split(", ", n=1).str[1]
by_seed["a random point"] = region.groupby("way")["value"].mean()
print("highest at the square, by seed")
print(by_seed.round(2).to_string())
worth = shortcut[shortcut["measure"].str.startswith("auroc")]
worth.pivot_table("value", "measure", ["head", "learnt"]).round(2)

# %% [markdown]
# With the square on the wrong patients the cheat is almost always wrong. And every way of making a map tells on
# it, Grad-CAM's too, in most images and with every seed. But see how coarse that is: on 4 × 4 places, "at the
# square" is an eighth of the picture, and who does not suspect the mark will call it the costophrenic angle.
# Whoever removes the mark and measures does not need to suspect anything.
#
# ## On real radiographs
#
# Boxes of opacity have been drawn on some of NIH's images: RSNA's radiologists', and NIH's own of infiltrates
# (see data/README.md). The record has the hit rate, as CheXlocalize (Saporta et al. 2022) defines it, for
# models that learnt from phantoms alone, their batch normalisation adapted to the folder's images without any
# label; and for the same models fine-tuned on the labels of half of the patients and scored on the other half's
# boxes. No model has seen a box. Two usual places: that of the other patients' boxes, and that of the phantom's
# lesions.
#
# (Published figures are of other findings and other outlines: on CheXpert's ten findings a model reaches a hit
# rate of .376 by Grad-CAM and one built of patches .485; MedicalPatchNet, Sci Rep 2026.) **Guess**: do ours, which have
# seen a few hundred real chests at most, beat the usual place?

# %% tags=["nbval-ignore-output"]
exercises.guess("08.11")

# %%
boxes = pd.DataFrame(tested.get("boxes", []))
if len(boxes):
    of = boxes[boxes["label"] == "Lung Opacity"].copy()
    of["which"] = of["way"] + ", " + of["learnt"]
    usual = of["way"] == "usual place"
    best_first = of[of["guess"] == "map"].assign(last=~usual).sort_values(["last", "hit"])
    order = best_first["which"][::-1]
    names = {"map": "the map", "another patient": "the map of another patient"}

    def by_guess(measure):
        return (
            of.pivot_table(measure, "which", "guess")
            .reindex(order)[list(names)]
            .rename(columns=names)
        )

    print(
        f"{of['images'].iloc[0]} images of {of['patients'].iloc[0]} patients with a box of opacity"
    )
    fig = plots.intervals(
        by_guess("hit"),
        "On real radiographs no map is ahead of the usual place",
        "hit rate on boxes of opacity, 95% intervals (dashed: chance)",
        by_guess("hit_low"),
        by_guess("hit_high"),
        reference=of["chance"].mean(),
        xlim=(0, 1),
    )
    plots.show(
        fig,
        "The hit rate on boxes of opacity with its interval, for kinds of maps of models that saw "
        "phantoms only or were fine-tuned, beside the map of another patient, and for two usual places.",
    )

# %% [markdown]
# Intervals that overlap do not say that two maps are alike: they are of the same images. So look at the
# differences, image by image, patients drawn anew:

# %%
if len(boxes):
    pairs = pd.DataFrame(tested["box_gains"]).query("label == 'Lung Opacity'")
    pairs = pairs[~pairs["which"].str.startswith("Grad-CAM of")]
    pairs["told"] = [
        f"{row.difference:+.2f} ({row.low:+.2f} to {row.high:+.2f})" for row in pairs.itertuples()
    ]
    told = pairs.pivot_table("told", ["measure", "which"], "than", aggfunc="first")
    print(told.to_string())

# %% [markdown]
# See three things. No map is ahead of what anyone would guess who knows where opacities usually are; the finer
# LayerCAM's hit rate is level with it, its AUPRC is not. LayerCAM's and the pointing head's maps have looked at
# the patient all the same: they hit more than another patient's. Grad-CAM's have not. And the order of the
# phantom does not hold: here LayerCAM of the paper's head is ahead of the pointing head, and fine-tuning on a
# few hundred images takes its lead away. What a map is worth on phantoms it need not be worth on people.
#
# ## What to do on Monday
#
# Someone shows you a model for radiographs, with maps. If you have its images and maps:
#
# 1. **Ask for the map of another image**, and for that of an absent label on the same image. Compare all three,
#    finding by finding. Where the other image's is as good, the map is decoration.
# 2. **Get about a hundred boxes** of the findings that matter (97 gave intervals of a tenth to either side), and
#    give hit rate and AUPRC beside the usual place, made of the other patients' boxes, and the ceiling of the
#    map's grid. Report every finding, with intervals over patients.
# 3. **Show the score beside the map.** A map is stretched to its own highest value: that of a low score looks as
#    bright as that of a high one, and may even lie on the finding.
#
# And if you have the model:
#
# 4. **Change the image.** Remove marks, letters and devices, and measure the score, not the map.
# 5. **Train a second seed.** Its maps should be more alike than the maps of two images. Draw the output layer
#    anew: what is left is not about the label.
# 6. **Try a finer layer, then a head that answers by its map.** The map is then the answer, place by place, and
#    each place has seen its surroundings. Whether it is the better map, step 2 says, on your images: on the
#    phantom it was, on the real radiographs above it was not.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 08.1: The usual place (4 minutes)
def usual_place(valid, test):
    """The hit rate of a guess that has not looked at the image: where the finding usually is.

    The guess is the highest point of the mean mask of the validation images. The hit rate is the
    share of test images whose mask holds it.

    valid, test: arrays [N, h, w] and [M, h, w] of True and False, the masks of one finding. The
    mean mask has one highest point.
    Returns a number. With the validation masks [[1, 1, 0]] and [[0, 1, 1]] and the test masks
    [[0, 1, 0]] and [[1, 0, 1]] (written as 0 and 1, one row of pixels each) it is 0.5.
    """
    ...  # your code


exercises.check(usual_place)
# exercises.hint("usual_place")
# exercises.solution("usual_place")


# %% tags=["nbval-ignore-output"]
# Exercise 08.2: Which maps have seen the image? (6 minutes)
def gain_over_another_image(maps, masks):
    """How much more often a map hits than the maps of other images do.

    Two ways to make maps may hit equally often, though one of them always points at the usual place
    and has not looked. So score the maps on the masks of their own images, and then every map on
    the masks of all images but its own. The gain is the hit rate of the first, less that of the
    second. A hit: the map's highest point lies in the mask.

    maps: an array [N, h, w] of one finding's maps, each with one highest point; masks: an array
    [N, h, w] of True and False, of the same N images. N is at least 2.
    Returns a number. With the maps [[0.9, 0.1, 0.0]] and [[0.2, 0.1, 0.7]] and the masks
    [[1, 0, 0]] and [[1, 1, 1]] (as 0 and 1) it is 1 − 0.5 = 0.5. If all maps are the same it is 0.
    """
    ...  # your code


exercises.check(gain_over_another_image)
# exercises.hint("gain_over_another_image")
# exercises.solution("gain_over_another_image")


# %% tags=["nbval-ignore-output"]
# Exercise 08.3: Plant a mark, and measure (4 minutes)
def raised_by_mark(model, images):
    """By how much a mark raises the score of a model, on average over images.

    The mark is a white square (value 1) of 4 × 4 pixels in the lower right corner. The images have
    none.

    model: a function that takes images, an array [N, h, w], and returns their scores, an array
    [N], from 0 to 1.
    images: an array [N, h, w] from 0 to 1; row 0 is the top one, column 0 the one at the left.
    Returns a number, negative if the mark lowers the scores. If two images have the scores 0.2 and
    0.5, and 0.9 and 0.4 with the mark, it is 0.3.
    """
    ...  # your code


exercises.check(raised_by_mark)
# exercises.hint("raised_by_mark")
# exercises.solution("raised_by_mark")


# %% tags=["nbval-ignore-output"]
# Exercise 08.4: Deletion (8 minutes)
def deletion(model, image, blurred, drawn, steps):
    """The model's scores while the image is blurred away, what the map marks most first.

    model: a function that takes an image, an array [h, w], and returns its score.
    image, blurred: arrays [h, w], the image and the same all blurred.
    drawn: an array [h, w], the map; no two of its values are alike.
    steps: in how many equal steps all pixels are blurred; h · w is a multiple of it. What is
    blurred stays so.
    Returns an array [steps + 1]: the score after 0, 1, … steps. For a model that returns the
    image's mean, image [[1.0, 0.6]], blurred [[0.0, 0.2]], drawn [[0.9, 0.1]] and 2 steps it is
    [0.8, 0.3, 0.1].
    """
    ...  # your code


exercises.check(deletion)
# exercises.hint("deletion")
# exercises.solution("deletion")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("08")

# %% [markdown]
# ## Take away
#
# - Beside every score of a map put its ceiling, and guesses that have not seen the image. The usual place is a
#   strong one.
# - On the phantom, a head that answers place by place, with a recipe of its own, has maps that beat the usual place,
#   and tells findings apart better; head and recipe are both needed. On real radiographs no map was ahead.
# - To depend on the model, on the image and on the label are three things: test each, against its own rival.
# - Deletion and insertion measure a model on blurred images. Even the true place of a finding may fail them.
# - A map can show *that* a model cheats. It cannot show that it does not: change the image, and measure.
#
# **Next**: 09 asks how sure a model is.
