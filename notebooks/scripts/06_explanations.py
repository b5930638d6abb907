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
# # 06 · Explanations
#
# A heat map over a radiograph persuades everybody. Does it deserve to?
#
# **You will be able to** build Grad-CAM by hand, make the maps of 21 labels at the price of one, score
# maps against known masks and against guesses that have not looked at the image, test whether a map
# depends on what the model has learnt, and catch a model that reads a mark instead of a lung.
#
# **Needs** notebook 04 (its model is found again, or trained). **Minutes** 30, of which about five are
# computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
import time
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython.display import display
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
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
# ## Images, and where their findings are
#
# The phantom knows where it drew each finding; NIH has boxes for a few images. We take some images of
# the validation split, to choose thresholds, and some of the test split, to measure.


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
# ## Grad-CAM by hand
#
# The last convolution gives maps, here 128 of them, each 6 × 6. Averaged over the image they become 128
# numbers, from which the head computes the logits. How much does a label's logit rise if a map becomes
# brighter? That is a derivative. **Grad-CAM** weighs every map by the mean of that derivative, adds them
# up, and keeps what is positive:
#
# $$w_k = \operatorname{mean}_{ij} \frac{\partial z}{\partial A^k_{ij}}, \qquad
# M = \operatorname{ReLU}\Big(\sum_k w_k A^k\Big)$$
#
# **Claim.** It takes a handful of lines, and the library's maps are the same.


# %%
def grad_cam(model, image, label):
    """One map [h, w], from 0 to 1."""
    kept = {}
    hook = model.head.relu.register_forward_hook(lambda *call: kept.update(maps=call[2]))
    logit = model(image[None])[0, hierarchy.labels.index(label)]
    hook.remove()
    (slope,) = torch.autograd.grad(logit, kept["maps"])
    weights = slope.mean(dim=(2, 3), keepdim=True)
    cam = (weights * kept["maps"]).sum(dim=1)[0].relu().detach()
    return (cam - cam.min()) / (cam.max() - cam.min()).clamp(min=1e-7)


label = "Pleural Effusion" if track.name != "nih" else "Pneumonia"
with_it = np.flatnonzero(test.truth[label] == 1)
with torch.inference_mode():
    scores = model(test.images).sigmoid()
chosen = with_it[scores[with_it, hierarchy.labels.index(label)].argmax()]
image = test.images[chosen]

by_hand = grad_cam(model, image, label)
by_library = explain(model, image[None], [label]).features[0, 0]
print("by hand and by library agree to 1e-5:", torch.allclose(by_hand, by_library, atol=1e-5))

# %%
masks = {name: dict(zip(*found, strict=True)) for name, found in test.masks.items()}
outline = masks.get(label, {}).get(chosen)
big = explain(model, image[None], [label])[label][0]
blocks = np.kron(by_hand.numpy(), np.ones((16, 16)))
fig = plots.gallery(
    [image] * 3,
    ["the radiograph", "Grad-CAM, 6 × 6", "the same, smoothed"],
    columns=3,
    size=2.9,
    maps=[None, blocks, big],
    masks=[outline] * 3,
    title=f"{label}: the model's map, and (outlined) where the finding is known to be",
)
plots.show(
    fig,
    "One radiograph three times: plain, with the six by six Grad-CAM map as blocks, and with the same "
    "map smoothed; the mask of the finding is outlined in each.",
)

# %% [markdown]
# ## All labels at the price of one
#
# The plain way runs the whole network forwards and backwards once a label. But everything up to the head
# is the same for all labels. `explain` computes it once, and asks the small head about all 21 labels in
# one batch.
#
# **Claim.** Same maps, many times as fast.

# %%
start = time.perf_counter()
whole = GradCAM(model=model, target_layers=[model.head.relu])
for k in range(len(hierarchy.labels)):
    whole(image[None], [ClassifierOutputTarget(k)])
took_plain = time.perf_counter() - start
whole.activations_and_grads.release()

start = time.perf_counter()
maps = explain(model, image[None])
took_ours = time.perf_counter() - start

one_by_one = torch.stack([grad_cam(model, image, name) for name in hierarchy.labels])
print("the same maps, at 6 × 6, to 1e-5:", torch.allclose(maps.features[0], one_by_one, atol=1e-5))
print("faster:", took_ours < took_plain)

# %% tags=["nbval-ignore-output"]
print(
    f"21 maps of one image: {1000 * took_plain:.0f} ms the plain way, {1000 * took_ours:.0f} ms ours"
)

# %% [markdown]
# `benchmarks/inference.py` repeats this with care: 23 times as fast for this model, and 19 times for
# DenseNet121 at 320 pixels (one run, one thread).
#
# ## Five methods, and two layers
#
# Grad-CAM has relatives. **HiResCAM** multiplies before it averages; **LayerCAM** keeps only positive
# derivatives, place by place; **Grad-CAM++** weighs bright places more; **Eigen-CAM** looks at no label
# at all. And one may look at an earlier layer, whose maps are finer: `finer=1` is 12 × 12 here.

# %%
ways = {
    "Grad-CAM": {"method": "gradcam"},
    "Grad-CAM++": {"method": "gradcam++"},
    "HiResCAM": {"method": "hirescam"},
    "LayerCAM": {"method": "layercam"},
    "Eigen-CAM": {"method": "eigencam"},
    "LayerCAM, finer": {"method": "layercam", "finer": 1},
}
three = [name for name in ("Pleural Effusion", "Cardiomegaly", "Pneumothorax") if name in measured]
three = three or [label]
pictures, drawn, outlines, titles = [], [], [], []
for name in three:
    rows = test.masks[name][0] if name in measured else with_it
    row = int(rows[scores[rows, hierarchy.labels.index(name)].argmax()])
    for way, asked in ways.items():
        pictures.append(test.images[row])
        drawn.append(explain(model, test.images[row][None], [name], **asked)[name][0])
        outlines.append(masks.get(name, {}).get(row))
        titles.append(f"{name}\n{way}")
fig = plots.gallery(
    pictures,
    titles,
    columns=len(ways),
    size=1.75,
    maps=drawn,
    masks=outlines,
    title="One model, one image, six different stories (outlined: where the finding is known to be)",
)
plots.show(
    fig,
    "Rows of radiographs, each explained by six methods; the maps differ, and only some lie on the "
    "outlined finding.",
)

# %% [markdown]
# Two columns are the same, and that is no accident. After the last convolution this network only takes
# the mean over the image, so the derivative is the same at every place, and multiplying before or after
# averaging makes no difference.

# %%
pair = [explain(model, test.images[:8], [label], way).features for way in ("gradcam", "hirescam")]
print("Grad-CAM and HiResCAM are the same for this head:", torch.allclose(*pair, atol=1e-5))

# %% [markdown]
# Which of them is right? With masks, that can be counted.
#
# ## Does the map lie on the finding?
#
# Three scores, from lenient to strict:
#
# - **pointing**: does the highest point of the map lie in the mask?
# - **AUPRC**: take the pixels from the highest value of the map down; what is the mean precision?
# - **IoU**: cut the map at a threshold (the best one on the validation images); how much do it and the mask
#   share?
#
# And three guesses to beat. **Chance**: the mask's share of the image. The **mean map**: the average map of
# that label, with which a method explains every image alike. The **usual place**: the average mask, which
# knows where such findings are, and nothing of the image. *A map that does not beat these has not shown
# that it saw anything.*


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
        "AUPRC of the map against the mask, mean over test images that show the label",
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
# `benchmarks/explanations.py` does the same for all test images and three models, and stores what it
# finds. **Claim.** On the phantom, the map of the published kind does not point better than someone who
# knows where such findings usually are.

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "explanations.json").read_text(encoding="utf-8"))
stored = pd.DataFrame(record["localisation"])
same = record["phantom"]["generator"] == cohort.generator_version()
print(f"{record['seeds']} models; measured with the present version of the phantom: {same}")

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
summary.round(3)

# %% [markdown]
# The same by observation, over everything to beat: the usual place, the average maps of two ways, and chance.
# (The finer network is one model; all else are means of three.)


# %%
def everything(measure):
    """A row per way and guess, a column per observation."""
    table = pivot(measure).T
    blind = by_way[by_way["guess"] == "mean map"].pivot_table(measure, "way", "label")
    for way in ("gradcam", "layercam, finer"):
        table.loc[f"(mean map of {way})"] = blind.loc[way]
    if measure != "iou":
        table.loc["(chance)"] = own.groupby("label")["chance"].mean()
    guesses = [name for name in table.index if name.startswith("(")]
    return table.loc[[*table.index.difference(guesses, sort=False), *guesses]]


for measure, title in {
    "hit": "Pointing: share of images whose map's highest point hits",
    "auprc": "AUPRC: mean precision of the map's pixels",
    "iou": "IoU at the threshold that was best on validation images",
}.items():
    fig = plots.heatmap(
        everything(measure), title, f"{measure}, mean over the models", vmin=0, vmax=1
    )
    plots.show(fig, f"{title}; ways of making a map in rows, observations in columns.")

# %%
best = "layercam, finer"
per_seed = own.pivot_table("auprc", "label", ["way", "seed"])
usual = pivot("auprc")["(usual place)"]
for way in ("gradcam", best):
    gain = per_seed[way].sub(usual, axis=0)
    sure = gain.index[(gain > 0).all(axis=1)]
    print(
        f"{way}: beats the usual place with every seed for {len(sure)} of {len(gain)} observations:"
    )
    print(f"  {', '.join(sure) or 'none'}")

# %% [markdown]
# What helped?
#
# - **a finer layer** (`finer=1`), at no cost in training;
# - **both layers**, multiplied: the deep one says what, the fine one where;
# - a **finer network**, whose last pooling is left out, so that its last block works on four times as many
#   places.
#
# The choice among methods at the same layer helped little; Eigen-CAM, which looks at no label, points
# better than Grad-CAM. And most findings are still found more surely by their usual place.

# %%
print("pointing and AUPRC, mean over the observations:")
for way in ("gradcam", "layercam", "eigencam", "layercam, finer", "layercam, both layers",
            "finer network: gradcam", "(usual place)", "(chance)"):  # fmt: skip
    print(f"  {way:24} {summary.loc[way, 'hit']:.2f}  {summary.loc[way, 'auprc']:.2f}")

# %% [markdown]
# ## The randomisation test
#
# **Claim.** If a map explains the model, it must change when the model forgets. We draw the weights anew
# from the output down to the first layer, and compare each time with the map of the trained model, by rank
# correlation. How alike are honest maps? As alike as those of two models trained from different seeds.

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

# %%
forgot = pd.DataFrame(record["randomisation"]).pivot_table("correlation", "stage", "way")
stages = ["another seed", *curves.index]
forgot = forgot.loc[stages, list(record["ways"])]
fig = plots.heatmap(
    forgot.T,
    "Which maps change when the model forgets?",
    "rank correlation with the model's own maps",
    vmin=0,
    vmax=1,
)
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

# %% [markdown]
# **The maps that point best fail the test**: without the model's output, LayerCAM's maps change no more than
# from seed to seed, and something of them is left even when nothing learnt is. They show where there is
# something to see, more than why the label was given. Grad-CAM passes, and points badly. A test can be passed
# by a map that is of no use, and failed by one that is.

# %%
print("passed:", ", ".join(verdict.index[verdict["passed"]]))
print("failed:", ", ".join(verdict.index[~verdict["passed"]]))

# %% [markdown]
# A model trained on **shuffled labels** has learnt nothing true. Its maps should resemble those of the real
# model no more than another seed's do, and should not find anything.

# %%
shuffled = pd.DataFrame(record["shuffled"])
shuffled = shuffled[shuffled["label"].isin(seen) & (shuffled["guess"] == "map")]
table = shuffled.groupby("way")[["hit", "auprc", "chance", "correlation"]].mean()
table["hit, real model"] = summary["hit"]
table["auprc, real model"] = summary["auprc"]
table.round(3)

# %% [markdown]
# ## Deletion and insertion
#
# Without masks one can still ask the model: blur away what the map calls important, and see how soon the
# score falls (*deletion*; low is good); or start from a blurred image and bring those places back first
# (*insertion*; high is good).

# %%
followed = "Pneumothorax" if "Pneumothorax" in measured else label
several = test.images[np.flatnonzero(test.truth[followed] == 1)[:24]]
fig, axes = plots.figure(1, 2, 10, 3.6, sharey=True)
for way, colour in zip(("Grad-CAM", "LayerCAM, finer"), (plots.BLUE, plots.ORANGE), strict=True):
    values = explain(model, several, [followed], **ways[way])[followed]
    both = explanations.deletion_insertion(model, several, values, followed)
    for axis, curve in zip(axes, both, strict=True):
        steps = np.linspace(0, 1, curve.shape[1])
        axis.plot(steps, curve.mean(axis=0), color=colour, lw=2, label=way)
for axis, title in zip(axes, ("deletion", "insertion"), strict=True):
    axis.set(xlabel="share of the image that is done", ylim=(0, 1))
    axis.set_title(title, loc="left")
axes[0].set_ylabel(f"score, {followed}")
axes[0].legend()
plots.show(
    fig,
    "The mean score of one label over several images while they are blurred away, and while they come "
    "back, in the order of two maps.",
)

# %%
deletion = pd.DataFrame(record["deletion"]).groupby("way")[["deletion", "insertion"]].mean()
deletion["insertion − deletion"] = deletion["insertion"] - deletion["deletion"]
deletion.sort_values("insertion − deletion", ascending=False).round(3)

# %% [markdown]
# Look where *the mask itself* stands. To blur the true finding away is not the quickest way to change the
# model's mind: deletion and insertion measure what the model uses, not what is ill. And blurring makes
# images that the model has never seen.
#
# ## Does a group's map cover its children's?
#
# **Claim.** If "Fluid Accumulation" is seen where Edema is, then its map should cover Edema's. The share of
# the child's map that lies in the group's, beside that in the group's map of *another* image that shows
# the child:

# %%
cover = pd.DataFrame(record["covered"])
cover = cover[cover["way"] == best].groupby(["group", "child"])[["covered", "by_another"]].mean()
cover = cover.rename(columns={"covered": "same image", "by_another": "another image"})
cover.index = [f"{group} ⊃ {child}" for group, child in cover.index]
fig = plots.bars(
    cover.sort_values("same image", ascending=False),
    "How much of a child's map its group's map covers",
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
print(
    f"mean share covered: {cover['same image'].mean():.2f}, by another image's {cover['another image'].mean():.2f}"
)

# %% [markdown]
# ## A planted shortcut, found
#
# In some hospitals the portable machine, which visits the sickest, burns a mark into its images. A model
# may learn the mark instead of the disease, and nothing in its AUROC will tell. So we plant one: in the
# phantoms of this lesson, most images with a pneumothorax carry a small square at the lower right, and few
# others do. (Whatever your data, this part uses the phantom.)


# %%
def lesson(square):
    """Small phantoms with their true labels, with the square or without."""
    controls = {"shortcut": "Pneumothorax", "strength": 0.95} if square else {}
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


# %%
shown, drawn, titles = [], [], []
for name, network in {"learnt without squares": honest, "learnt with squares": cheat}.items():
    for condition in ("without", "with the square"):
        sick = pictures[condition][ill]
        mean_of = explain(network, sick, ["Pneumothorax"], "layercam", finer=1).images.mean(dim=0)
        shown.append(sick.mean(dim=0))
        drawn.append(mean_of[0] / mean_of.max())
        score = score_of(network, sick).mean()
        titles.append(f"{name}\nshown {condition}: mean score {score:.2f}")
fig = plots.gallery(
    shown, titles, columns=4, size=2.6, maps=drawn,
    title="Shown the mark, only the model that learnt it looks there (mean of all sick patients)",
)  # fmt: skip
plots.show(
    fig,
    "The mean image of all patients with a pneumothorax, four times, with the mean map of two models, "
    "each shown the images with and without a small square at the lower right.",
)

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
# Three seeds each, with more phantoms. "Highest point in the square" is the share of images with a
# pneumothorax and a square whose map is highest on the square; "square on the healthy" are the same
# patients with the square on the wrong ones:

# %%
shortcut = pd.DataFrame(record["shortcut"]).pivot_table("value", "measure", "learnt")
shortcut.round(3)

# %% [markdown]
# With the square on the wrong patients, the cheat is no better than a coin. Yet its maps are highest on the
# square in a minority of images only. Whoever looks at a few maps may well miss it; whoever removes the
# mark and measures does not.
#
# ## On real radiographs
#
# The same models, which have only seen phantoms, on the NIH sample. It has 21 images with a box of
# pneumonia. The *usual place* is here the mean of the other images' boxes.

# %%
if "boxes" in record:
    boxes = pd.DataFrame(record["boxes"]).query("label == 'Pneumonia'")
    real = boxes.groupby("way")[["hit", "auprc"]].mean().loc[list(record["ways"])]
    real.loc["(usual place)"] = boxes[["usual_hit", "usual_auprc"]].mean().to_numpy()
    real.loc["(chance)"] = boxes["chance"].mean()
    display(real.round(3))

# %% [markdown]
# Nothing beats the usual place there.
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
# Their maps lie on the letters about half as much as elsewhere, and painting the letters over changes the
# scores no more than painting elsewhere. No wonder: a phantom's letters say nothing about its illness. A model
# trained on real radiographs needs the same test.

# %% [markdown]
# ## Look for yourself


# %%
def draw_map(number, label, way):
    """One image with the map of one label, and its mask where it is known."""
    one = test.images[number][None]
    made = explain(model, one, [label], **ways[way])[label][0]
    score = scores[number, hierarchy.labels.index(label)]
    return plots.gallery(
        [one[0], one[0]],
        ["the radiograph", f"{label}: score {score:.2f}"],
        columns=2,
        size=3.6,
        maps=[None, made],
        masks=[masks.get(label, {}).get(number)] * 2,
    )


widgets.explore(
    draw_map,
    "A radiograph, and the same with the map of the chosen label; its mask is outlined where it is known.",
    number=ipywidgets.IntSlider(0, min=0, max=len(test.images) - 1, description="image"),
    label=ipywidgets.Dropdown(options=hierarchy.labels, value="Abnormal", description="label"),
    way=ipywidgets.Dropdown(options=list(ways), value="LayerCAM, finer", description="way"),
)

# %% [markdown]
# ## Take away
#
# - A map of a label is a question about derivatives; ask all labels at once, on shared features.
# - Beside every score of a map put a guess that has not seen the image. That guess is strong: findings have
#   their places.
# - The choice of the layer mattered more than the choice of the method. Do not stop at the default.
# - Pointing well and depending on the model are different virtues: test both. Draw weights anew, shuffle
#   labels, plant a shortcut.
# - A map can show *that* a model cheats. It cannot show that it does not: change the image, and measure.
