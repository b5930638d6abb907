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
# # 07 · Maps, and how they are made
#
# How does a heat map over a radiograph come about, and could a model answer by its map?
#
# **You will be able to** build Grad-CAM by hand, make the maps of all 21 labels without 21 passes through
# the network, say in what five methods differ, and build a head whose map is its answer.
#
# **Needs** the model with the paper's loss of notebook 05, and the course's own, which is introduced here.
# The first run trains what is not there, about seven minutes a model on one core: start the first two code
# cells now, and read on. **Minutes** 35, and 23 for the exercises. Training takes some minutes besides, the
# first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import time
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import withStroke
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy import ndimage
from torch.nn.functional import interpolate

from cxrlib import configs, data, exercises, explanations, plots, training, widgets
from cxrlib.evaluation import read_predictions
from cxrlib.explanations import explain
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %%
workshop, pointing = (configs.read_config(name).settings for name in ("workshop", "pointing"))
settings = replace(workshop, method="hbce-step", penalties="data-driven")
own_run = training.train(track, hierarchy, pointing, name="pointing")
run = training.train(track, hierarchy, settings, name="paper-loss")
model, own = run.model(), own_run.model()

# %% [markdown]
# ## Images, and where their findings are
#
# Here are a few hundred images of the test split, and, where it is known, the **mask** of every finding: all
# places where it lies in the beam, seen or not. That is more than one would outline by eye: fluid goes on
# behind the diaphragm. (00 outlined the pixels that a finding changes: another question.) The mask of a
# group, such as Opacity, is all of its findings' masks together. The phantom knows them all, NIH has boxes
# for a few images, CheXpert has neither.
#
# Not every one of the 21 labels can have a place in the image. **Guess** which cannot.

# %% tags=["nbval-ignore-output"]
exercises.guess("07.1")

# %%
rows = track.split("test").iloc[:240]
targets = hierarchy.derive(rows[sorted(OBSERVATIONS)])
truth = targets.reset_index(drop=True)
dataset = data.ChestDataset(rows, track.folder, targets, settings.size, equalize=settings.equalize)
images = torch.stack([image for image, _ in dataset])
print("images, channels, height, width:", tuple(images.shape))

# %%
known = track.name in ("phantom", "nih")
masks = explanations.find_masks(track, rows["path"], settings.size, kind="lesions") if known else {}
masks = {name: dict(zip(*found, strict=True)) for name, found in masks.items()}
print(f"masks for {len(masks)} of {len(hierarchy.labels)} labels")
if masks:
    print("none for", ", ".join(name for name in hierarchy.labels if name not in masks))

# %% [markdown]
# Take, of the images that have a finding, the one to which the model with the paper's head gives the highest
# score. **Guess**: how high is it for an effusion, a lesion, a pneumothorax?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.2")

# %%
with torch.inference_mode():
    scores = {"paper": model(images).sigmoid(), "pointing": own(images).sigmoid()}


def score(label, number, whose="paper"):
    """The score of one label for one image, by one of the two models."""
    return scores[whose][number, hierarchy.labels.index(label)].item()


def highest_with(label):
    """Of the images that have a finding, the one to which the paper's model gives most."""
    with_it = list(masks.get(label, ())) or np.flatnonzero(truth[label] == 1)
    return int(max(with_it, key=lambda number: score(label, number)))


label = "Pleural Effusion" if track.name != "nih" else "Pneumonia"
three = [n for n in ("Pleural Effusion", "Lung Lesion", "Pneumothorax") if n in masks] or [label]
print(f"highest {label}: a score of at least one half:", score(label, highest_with(label)) >= 0.5)

# %% tags=["nbval-ignore-output"]
print({name: round(score(name, highest_with(name)), 2) for name in three})

# %% [markdown]
# Far below one half the model has not found the finding, and a map asks "why yes?" of a model that says no.
# So every picture below carries its score.


# %%
def outline_of(label, number):
    """The mask without parts of fewer than four pixels, for drawing, or None."""
    mask = masks.get(label, {}).get(number)
    if mask is None:
        return None
    parts, _ = ndimage.label(mask)
    large = mask & (np.bincount(parts.ravel())[parts] >= 4)
    return large if large.any() else mask


# %%
def brightest(drawn):
    """Row and column in the middle of a map's highest pixels."""
    drawn = np.asarray(drawn)
    return np.argwhere(drawn >= drawn.max() - 1e-6).mean(axis=0)


def inside(drawn, mask):
    """The share of a map's sum that lies in a mask, and where its brightest place does."""
    if mask is None:
        return np.nan, ""
    drawn = np.asarray(drawn)
    row, column = brightest(drawn).round().astype(int)
    return drawn[mask].sum() / max(drawn.sum(), 1e-9), "inside" if mask[row, column] else "outside"


number = highest_with(label)
image, mask, outline = images[number], masks.get(label, {}).get(number), outline_of(label, number)
even = np.ones(image.shape[1:])
if mask is not None:
    print("an even map has the mask's share of the image in it:", end=" ")
    print(bool(np.isclose(inside(even, mask)[0], mask.mean())))

# %% [markdown]
# ## Grad-CAM by hand
#
# The paper (arXiv 2502.03591) shows **Grad-CAM** maps of its model. How are they made? First, the way of an
# image through the network:


# %%
def way_through(network):
    """What becomes of one image on its way: every step, and the shape of what it makes."""
    now, line = image[None], [f"image {'×'.join(map(str, image.shape))}"]
    for name, step in (("features", network.features), *network.head.named_children()):
        now = step(now)
        line.append(f"{name} {'×'.join(map(str, now.shape[1:]))}")
    return " → ".join(line)


with torch.inference_mode():
    print(way_through(model))

# %% [markdown]
# What follows the features is the **head**. `conv`, a convolution, makes new maps, here 128, each from a
# small window of all old ones; `relu` makes 0 of what is negative; `norm`, batch normalisation, rescales
# every map; `pool` keeps only its mean. From these 128 means the rest computes a logit $z$ for every label:
# the score before the sigmoid.
#
# Where in the image did the score come from? One way to ask: *how much would the logit rise if a map became
# brighter?* That is a derivative. Grad-CAM (Selvaraju et al. 2017) weighs every map by the mean of its
# derivative, adds them up, and keeps what is positive:
#
# $$w_k = \operatorname{mean}_{ij} \frac{\partial z}{\partial A^k_{ij}}, \qquad
# M = \operatorname{ReLU}\Big(\sum_k w_k A^k\Big)$$
#
# $A^k_{ij}$ is map $k$ after `relu`, at place $ij$. How many lines of code is that? And will it be the map
# that a library draws? (`explain` leaves that to pytorch-grad-cam.) A *hook* is a function that is called
# each time its layer has run.


# %%
def grad_cam(model, image, label):
    """One map [h, w], from 0 to 1."""
    kept = {}

    def keep(layer, given, made):
        kept["maps"] = made

    hook = model.head.relu.register_forward_hook(keep)
    logit = model(image[None])[0, hierarchy.labels.index(label)]
    hook.remove()
    (slope,) = torch.autograd.grad(logit, kept["maps"])
    weights = slope.mean(dim=(2, 3), keepdim=True)
    cam = (weights * kept["maps"]).sum(dim=1)[0].relu().detach()
    return (cam - cam.min()) / (cam.max() - cam.min()).clamp(min=1e-7)


by_hand = grad_cam(model, image, label)
by_library = explain(model, image[None], [label]).features[0, 0]  # as computed, not yet enlarged
print("by hand and by library agree to 1e-5:", torch.allclose(by_hand, by_library, atol=1e-5))

# %% [markdown]
# Each place lies over a whole square of pixels (and sees far more). One usually gets to see the map
# smoothed. Which picture is the more honest? And do the brightest places lie on the finding? Colours run
# from dark (0, see-through) to yellow (1); × marks the highest place.


# %%
def mark(fig, maps):
    """A white × at the brightest place of every map of a gallery."""
    for axis, drawn in zip(fig.axes, maps, strict=False):
        axis.title.set_fontsize(12)
        if drawn is not None and drawn.max() > 0:
            row, column = brightest(drawn)
            edge = [withStroke(linewidth=3.5, foreground="black")]
            axis.plot(
                column, row, "x", color="white", ms=8, mew=1.6, path_effects=edge, clip_on=False
            )


big = explain(model, image[None], [label])[label][0]
side = image.shape[-1] // len(by_hand)
blocks = np.kron(by_hand.numpy(), np.ones((side, side)))
fig = plots.gallery(
    [image] * 3,
    ["the radiograph", f"Grad-CAM, {len(by_hand)} × {len(by_hand)}", "the same, smoothed"],
    columns=3,
    size=3.1,
    maps=[None, blocks, big],
    masks=[outline] * 3,
    title=f"{label}, score {score(label, number):.2f}: smoothing hides how coarse the map is",
)
mark(fig, [None, blocks, big])
plots.show(
    fig,
    "One radiograph three times: plain, with the coarse Grad-CAM map as blocks, and with the same "
    "map smoothed; the mask of the finding is outlined in each.",
)

# %% tags=["nbval-ignore-output"]
share, cross = inside(big, mask)
print(f"share of the smoothed map's sum in the mask: {share:.2f}, × {cross}")
print(f"share of an even map's: {inside(even, mask)[0]:.2f}")

# %% [markdown]
# The smooth one invites to see an outline that nobody has computed. And more than half of what shines lies
# outside the fluid, though the × is inside: a hit is a weak test.
#
# ## 21 labels, 21 maps
#
# The plain way runs the whole network forwards and backwards once a label. But everything up to the head is
# the same for all labels. `explain` computes it once, and asks the small head about all 21 in one batch.
#
# **Guess**: are the maps those that one gets label by label from the whole network?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.3")

# %%
maps = explain(model, image[None])
one_by_one = torch.stack([grad_cam(model, image, name) for name in hierarchy.labels])
print("the same maps, to 1e-5:", torch.allclose(maps.features[0], one_by_one, atol=1e-5))

# %% [markdown]
# And **guess** how much time is saved: a tenth, a half, nine tenths?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.4")


# %%
def plain_way():
    with GradCAM(model=model, target_layers=[model.head.relu]) as whole:
        for k in range(len(hierarchy.labels)):
            whole(image[None], [ClassifierOutputTarget(k)])


def milliseconds(job, times=30):
    """How long a job takes, at best, after a first run to warm up."""
    job()
    took = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        took.append(time.perf_counter() - start)
    return 1000 * min(took)


def only_scores(network):
    with torch.inference_mode():
        network(image[None])


took = {
    "21 scores, no map": milliseconds(lambda: only_scores(model)),
    "1 map": milliseconds(lambda: explain(model, image[None], [label])),
    "21 maps, together": milliseconds(lambda: explain(model, image[None])),
    "21 maps, the plain way": milliseconds(plain_way, times=5),
}
print("faster:", took["21 maps, together"] < took["21 maps, the plain way"])

# %% tags=["nbval-ignore-output"]
print({name: f"{each:.0f} ms" for name, each in took.items()})
print(f"time saved: {1 - took['21 maps, together'] / took['21 maps, the plain way']:.0%}")

# %% [markdown]
# Most of the time is saved. `benchmarks/inference.py` measures it.
# (`explanations.features_of` computes the features once for maps and for 09's Monte Carlo dropout.)
#
# ## What the stretching hides
#
# The last line of `grad_cam` stretches every map from 0 to 1. **Guess**: is the map of a score next to nothing
# paler? And *No Finding* is an absence: what could its map be?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.5")

# %%
highest = maps.features[0].amax(dim=(1, 2))
print("every map reaches 1, or is blank:", bool(((highest > 0.99) | (highest == 0)).all()))

# %% tags=["nbval-ignore-output"]
low, high = (each.item() for each in scores["paper"][number].aminmax())
print(f"{(highest > 0.9995).sum()} of {len(highest)} maps reach 1.000;", end=" ")
print(f"their scores go from {low:.3f} to {high:.3f}")

# %%
asked = [label, "Fracture", "No Finding"]
drawn = [maps[name][0] for name in asked]
fig = plots.gallery(
    [image] * 3,
    [f"{name}: score {score(name, number):.3f}" for name in asked],
    columns=3,
    size=3.1,
    maps=drawn,
    masks=[outline_of(name, number) for name in asked],
    title="A map is just as bright for a label that the model denies",
)
mark(fig, drawn)
plots.show(
    fig,
    "One radiograph with the maps of three labels, of a high score and of scores next to nothing: "
    "all three have a place of full brightness.",
)

# %% [markdown]
# A map tells where, and never how much. It is made even for what has no place, an absence or the reader's
# doubt (Uncertain). Nothing in the picture warns of that.
#
# ## Five methods, and two layers
#
# Grad-CAM has relatives:
#
# - **Grad-CAM++** (Chattopadhyay et al. 2018) keeps only positive derivatives, and does not weigh all places
#   alike when it averages.
# - **HiResCAM** (Draelos and Carin 2020) multiplies map and derivative place by place, before anything is
#   averaged.
# - **LayerCAM** (Jiang et al. 2021) does the same, and keeps only positive derivatives.
# - **Eigen-CAM** (Muhammad and Yeasin 2020) draws what the maps have most in common. It looks at no label at
#   all.
#
# And an earlier layer has finer maps, but knows less of what it sees: `explain(..., finer=1)`.
#
# **Guess**: how far apart are these six, and where will each × lie? Four look alike, and two are even the same but
# for rounding, which no eye can tell: which, and why?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.6")

# %%
ways = {
    "Grad-CAM": {"method": "gradcam"},
    "Grad-CAM++": {"method": "gradcam++"},
    "HiResCAM": {"method": "hirescam"},
    "LayerCAM": {"method": "layercam"},
    "Eigen-CAM": {"method": "eigencam"},
    "LayerCAM, finer": {"method": "layercam", "finer": 1},
}
made = [explain(model, image[None], [label], **options) for options in ways.values()]
drawn = [each[label][0] for each in made]
sizes = [" × ".join(map(str, each.features.shape[2:])) for each in made]
fig = plots.gallery(
    [image] * len(ways),
    [f"{way}: {size}" for way, size in zip(ways, sizes, strict=True)],
    columns=3,
    size=3.0,
    maps=drawn,
    masks=[outline] * len(ways),
    title="Four ways nearly agree, a finer layer narrows it, Eigen-CAM looks elsewhere",
)
mark(fig, drawn)
plots.show(
    fig,
    "One radiograph with the map of one label made in six ways, the mask of the finding outlined: "
    "Grad-CAM, Grad-CAM++, HiResCAM and LayerCAM look alike; Eigen-CAM and the finer LayerCAM differ.",
)

# %% tags=["nbval-ignore-output"]
table = [inside(each, mask) for each in drawn]
pd.DataFrame(table, index=list(ways), columns=["share in the mask", "×"]).round(2)

# %% [markdown]
# The two: Grad-CAM and HiResCAM. After the last convolution this network only rescales every map and takes
# its mean; whatever comes later knows only the means. So the derivative is the same at every place, and it
# makes no difference whether one multiplies before or after averaging. On eight images:

# %%
pair = [explain(model, images[:8], [label], way).features for way in ("gradcam", "hirescam")]
print("Grad-CAM and HiResCAM are the same for this head:", torch.allclose(*pair, atol=1e-5))

# %% [markdown]
# ## A head whose map is its answer
#
# The paper's head first takes the mean over all places and then decides, so where its answer comes from has
# to be asked back, by derivatives. Could it be the other way round: every place decides, and the image's
# answer is made of theirs?
#
# Say that each place $i$ of $n$ has a logit $z_i$ for a label. How do they become one?
#
# - the **mean** of the logits,
# - the **highest** logit,
# - the **log-mean-exp**, $\log \frac{1}{n} \sum_i e^{z_i}$.
#
# Take a chest of 12 × 12 places that deny a nodule ($z$ near $-4$). Only the nodule's own is sure of it
# ($z=8$), or fairly sure ($z=4$), or has not found it yet. **Guess** which proposals find it. And which lets other
# places learn, if the answer was wrong?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.7")

# %%
proposals = {
    "mean": lambda z: z.mean(),
    "highest": lambda z: z.max(),
    "log-mean-exp": lambda z: z.logsumexp(dim=0) - np.log(len(z)),
}
for case, at_nodule in {"sure": 8.0, "fairly sure": 4.0, "not found yet": -4.0}.items():
    z = torch.linspace(-4.2, -3.8, 144)
    z[30] = at_nodule
    z.requires_grad_()
    print(f"{case}, z = {at_nodule:g} at the nodule:")
    for name, joined in proposals.items():
        logit = joined(z)
        (slope,) = torch.autograd.grad(logit, z)
        there, elsewhere = slope[30].item(), slope[31:].max().item()
        print(f"  {name:13} logit {logit.item():5.2f}, score {logit.sigmoid().item():.2f};", end="")
        print(f" derivative at the nodule {there:.4f}, elsewhere up to {elsewhere:.6f}")

# %% [markdown]
# The mean drowns the nodule, and blames every place alike. The highest place finds it, but only one place
# ever learns; before the nodule is found, the wrong one. The log-mean-exp finds it, too, and before it does
# all learn, in proportion to their odds; afterwards hardly anybody else. The price: a small finding has to
# be very sure. With $z=4$ the score stays below one half.
#
# Why? $e^z$ is the odds $p / (1 - p)$ that belong to logit $z$:

# %%
z = torch.linspace(-4.2, -3.8, 144)
z[30] = 8.0
odds = z.exp().mean().item()
print(f"odds of the nodule's place: {z[30].exp().item():,.0f} to 1")
print(f"mean odds of 144 places: {odds:.1f} to 1, a probability of {odds / (1 + odds):.2f}")

# %% [markdown]
# So **the odds of the image are the mean of the odds of its places**, and each place has a share of them:
#
# $$s_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# That share is the map. (It *is* the derivative printed above, but nobody has to ask for it.)
#
# Log-sum-exp pooling is from Pinheiro and Collobert (2015); Wang et al. (2017) used it on NIH's chest films;
# a map read off a linear last layer is CAM (Zhou et al. 2016), which Grad-CAM generalises.
#
# The course's own model has such a head, `models.PointingHead`, behind the same kind of DenseNet, trained
# anew, and maps twice as fine, since one pooling is left out.

# %%
with torch.inference_mode():
    print(way_through(own))
    places = own.head.places(own.features(images[:8]))
    logits = own(images[:8])
pointed = explain(own, images[:8], method="pointing").features

# %%
odds = places.exp().mean(dim=(2, 3))
shares = places.flatten(2).softmax(dim=2).view_as(places)
stretched = shares / shares.amax(dim=(2, 3), keepdim=True)
same_odds = torch.allclose(logits.exp(), odds, rtol=1e-3)
print("the image's odds are the mean of its places':", same_odds)
print("its map is the places' shares, over the largest:", torch.allclose(pointed, stretched))

# %% [markdown]
# **Guess**: does this model tell findings apart less well than the one with the paper's head, as well, or better?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.8")

# %% tags=["nbval-ignore-output"]
print("macro AUROC over the 14 observations, test split:")
for name, each in {"the paper's head": run, "the pointing head": own_run}.items():
    found = read_predictions(each.folder / "predictions.csv").split("test").evaluate().summary
    print(f"  {name}: {found['macro_auroc_observations']:.3f};", end=" ")
    print(f"{each.seconds:.0f} s of training on this machine")

# %% [markdown]
# Better, by one training each. But head, epochs, the size of the first images and dropout all differ
# (`configs/pointing.yaml`; the losses only in name, 05): 08 parts head from recipe.
#
# And does more of its map lie on the finding? Here are the three, with both models' scores; at the right,
# not stretched, the score of each place.

# %%
columns = {
    "Grad-CAM\npaper's head": (model, ways["Grad-CAM"]),
    "LayerCAM, finer\npaper's head": (model, ways["LayerCAM, finer"]),
    "pointing head\nits map: shares": (own, {"method": "pointing"}),
}
compared = {}
for name in three:
    one = images[highest_with(name)][None]
    drawn = [explain(net, one, [name], **options)[name][0] for net, options in columns.values()]
    with torch.inference_mode():
        places = own.head.places(own.features(one))[:, [hierarchy.labels.index(name)]].sigmoid()
    compared[name] = [*drawn, interpolate(places, one.shape[-2:], mode="bilinear")[0, 0]]

# %%
shown = [each for name in three for each in compared[name]]
heads = [*columns, "pointing head\neach place's score"]
fig = plots.gallery(
    [images[highest_with(name)] for name in three for _ in heads],
    heads + [""] * (len(shown) - len(heads)),
    columns=len(heads),
    size=2.2,
    maps=shown,
    masks=[outline_of(name, highest_with(name)) for name in three for _ in heads],
    title="More of the pointing map lies on the finding",
)
mark(fig, shown)
for axis, name in zip(fig.axes[:: len(heads)], three, strict=True):
    own_score, paper_score = (
        score(name, highest_with(name), whose) for whose in ("pointing", "paper")
    )
    text = f"{name}\npaper's score {paper_score:.2f}\npointing {own_score:.2f}"
    axis.text(-0.05, 0.5, text, transform=axis.transAxes, ha="right", va="center", fontsize=12)
fig.set_size_inches(10.4, 2.3 * len(three) + 1)
plots.show(
    fig,
    "Three radiographs in rows, the mask of a finding outlined in each; in columns Grad-CAM and a finer "
    "LayerCAM of the paper's head, the map of the pointing head, and the score of each of its places.",
)

# %%
on_it = {}
for name in three:
    its_mask = masks.get(name, {}).get(highest_with(name))
    on_it[name] = [inside(drawn, its_mask) for drawn in [*compared[name][:3], even]]
if masks:
    more = sum(shares[0] > cam[0] for cam, _, shares, _ in on_it.values())
    most = 2 * more > len(three)
    print("in most images more of the pointing map than of Grad-CAM is inside:", most)

# %% tags=["nbval-ignore-output"]
print("share of the map in the mask, and where its × is:")
table = {name: [f"{share:.2f}, {cross}" for share, cross in each] for name, each in on_it.items()}
for name in three:
    table[name][-1] = f"{on_it[name][-1][0]:.2f}"  # an even map has no highest place
pd.DataFrame(table, index=[*(way.replace("\n", ", ") for way in columns), "an even map"])

# %%
apart = [np.abs(brightest(each[2]) - brightest(each[3])).max() for each in compared.values()]
print("shares and scores have the same highest place:", max(apart) <= 1)

# %% [markdown]
# More of the pointing map lies on the finding, in all three. By the × alone the finer LayerCAM does as well:
# both hit two of three. The lesion scores low with the paper's model, and its Grad-CAM misses it; the finer layer of the same model is on
# it all the same. A low score does not say that the features saw nothing. That
# is one model of each kind, and three images: 08 counts, with three models of each.
#
# The pointing map is also smaller, which is arithmetic: put through an exponential, a place of half the
# largest logit vanishes beside it (compare the last two columns). A small map is no outline: it says what
# made the answer, not how far the finding reaches.
#
# ## What has a place looked at?
#
# Each of these places lies over a small square of pixels. Has it looked at these? Ask for the derivative of
# *one place's* logit by every pixel. **Guess**: how much of it lies in the place's own square?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.9")

# %%
pixels = image[None].clone().requires_grad_()
places = own.head.places(own.features(pixels))[0, hierarchy.labels.index(label)]
(slope,) = torch.autograd.grad(places.max(), pixels)
looked = slope[0, 0].abs()

side = image.shape[-1] // len(places)
top, left = (side * int(at) for at in np.unravel_index(places.argmax().item(), places.shape))
in_square = looked[top : top + side, left : left + side].sum() / looked.sum()
print(f"the place's own square: {side} × {side} pixels;", end=" ")
print("less than half of the derivative lies in it:", bool(in_square < 0.5))
print("more than half of all pixels have a part in it:", bool((looked > 0).float().mean() > 0.5))

# %%
middle = top + (side - 1) / 2, left + (side - 1) / 2
rows_off, columns_off = (at - to for at, to in zip(np.indices(looked.shape), middle, strict=True))
far = np.hypot(rows_off, columns_off).ravel()
nearest_first = far.argsort()
so_far = looked.ravel().numpy()[nearest_first].cumsum() / looked.sum().item()
radius = far[nearest_first][np.searchsorted(so_far, 0.5)]
print("the circle that holds half of it is wider than the square:", bool(2 * radius > side))

# %% tags=["nbval-ignore-output"]
print(f"in its own square {in_square:.0%}, half of it within {radius:.0f} pixels;", end=" ")
print(f"pixels with a part in it: {(looked > 0).float().mean():.0%}")

# %%
fig = plots.gallery(
    [image, (looked / looked.max()).sqrt()],
    ["the place with the highest logit", "its derivative by every pixel (square root)"],
    columns=2,
    size=3.8,
    title=f"{label}: one place speaks, and it has looked far around",
)
for axis in fig.axes:
    axis.title.set_fontsize(12)
    square = Rectangle((left - 0.5, top - 0.5), side, side, fill=False, color=plots.ORANGE, lw=2.5)
    axis.add_patch(square)
    axis.add_patch(Circle(middle[::-1], radius, fill=False, color=plots.SKY, lw=2, ls="--"))
note = {"transform": fig.axes[1].transAxes, "color": plots.SKY, "fontsize": 12}
fig.axes[1].text(0.03, 0.04, "dashed: holds half of it", **note)
plots.show(
    fig,
    "A radiograph with the square of one place framed, and beside it the size of the derivative of this "
    "place's logit by every pixel: it is spread far beyond the square; a circle holds half of it.",
)

# %% [markdown]
# So the map says exactly which place spoke, and not what it looked at: a mark elsewhere can speak through
# it. 08 plants one.
#
# Last, the price. **Guess** how much longer than the scores alone maps take here, where nothing goes back through
# a head?

# %% tags=["nbval-ignore-output"]
exercises.guess("07.10")

# %%
took |= {
    "pointing: 21 scores, no map": milliseconds(lambda: only_scores(own)),
    "pointing: 21 maps": milliseconds(lambda: explain(own, image[None], method="pointing")),
}
print("its 21 maps are made faster:", took["pointing: 21 maps"] < took["21 maps, together"])

# %% tags=["nbval-ignore-output"]
pd.Series(took, name="milliseconds").round(1).to_frame()

# %% [markdown]
# Little longer: they are made on the way.
#
# ## Look for yourself
#
# Choose an image, a label and a way:
#
# - "No Finding" in an image with a finding: what does its map point at?
# - The same image and two labels. Do their maps differ? And by Eigen-CAM?
# - The same image and label, from "Grad-CAM" to "pointing" (another model, so another score). Which would
#   you rather show to a colleague, and is that a good reason to believe it?

# %%
ways["pointing"] = {"method": "pointing"}


def draw_map(number, label, way):
    """One image with the map of one label, and its mask where it is known."""
    whose = "pointing" if way == "pointing" else "paper"
    network = own if whose == "pointing" else model
    made = explain(network, images[number][None], [label], **ways[way])[label][0]
    fig = plots.gallery(
        [images[number]] * 2,
        ["the radiograph", way],
        columns=2,
        size=3.8,
        maps=[None, made],
        masks=[outline_of(label, number)] * 2,
        title=f"{label}: the {whose} model gives it {score(label, number, whose):.2f}",
    )
    mark(fig, [None, made])
    return fig


widgets.explore(
    draw_map,
    "A radiograph, and the same with the map of the chosen label; its mask is outlined where it is known.",
    number=ipywidgets.IntSlider(
        highest_with(label), min=0, max=len(images) - 1, description="image"
    ),
    label=ipywidgets.Dropdown(options=hierarchy.labels, value=label, description="label"),
    way=ipywidgets.Dropdown(options=list(ways), value="pointing", description="way"),
)

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 07.1: A paler twin (3 minutes)
def paler_twin(drawn):
    """Another map, of a tenth of the brightness at most, that looks the same once stretched.

    To stretch a map is to subtract its lowest value, and then to divide by its highest. So
    [[0, 0.3], [0.6, 0]] becomes [[0, 0.5], [1, 0]].

    drawn: an array [h, w]; its lowest value is 0, its highest is 1.
    Returns an array [h, w]. None of its values is negative, or above a tenth of the value of
    ``drawn`` at the same place; and stretched, the two maps are the same.
    """
    ...  # your code


exercises.check(paler_twin)
# exercises.hint("paler_twin")
# exercises.solution("paler_twin")


# %% tags=["nbval-ignore-output"]
# Exercise 07.2: How sure must the nodule's place be? (5 minutes)
def logit_needed(count, rest, score):
    """The logit that one place needs, so that the image gets a score by log-mean-exp.

    The pointing head: the image's logit is log(1/n Σ exp z_i), its score the sigmoid of that.

    count: n, how many places there are, the one among them.
    rest: the logit of each of the other places, a negative number.
    score: the score that the image is to get, between 0 and 1.
    Returns a number. With 144 places, −4 at the others and a score of 0.5 it is 4.951.
    """
    ...  # your code


exercises.check(logit_needed)
# exercises.hint("logit_needed")
# exercises.solution("logit_needed")


# %% tags=["nbval-ignore-output"]
# Exercise 07.3: Grad-CAM of all labels, without a derivative (8 minutes)
def all_maps(maps, weights):
    """The Grad-CAM maps of all labels, for a head that takes the mean of each map.

    The head: logit l is Σ_k weights[l, k] · (mean of map k over its h · w places). Grad-CAM weighs
    every map by the mean of its derivative, adds them up, and keeps what is positive. Here the
    derivative can be seen from the formula, and no pass through the network is needed.

    maps: a tensor [K, h, w]. weights: a tensor [L, K].
    Returns a tensor [L, h, w], not stretched. With the one map [[0, 4], [0, 0]] and the weights
    [[1], [−1]] of two labels it is [[0, 1], [0, 0]] for the first, and zeros for the second.
    """
    ...  # your code


exercises.check(all_maps)
# exercises.hint("all_maps")
# exercises.solution("all_maps")


# %% tags=["nbval-ignore-output"]
# Exercise 07.4: How far does a place see? (7 minutes)
def receptive_field(layers):
    """The width, in pixels, of what one place of the last layer can have looked at.

    layers: a list of (kernel, stride) from the image upwards, of convolutions and poolings: each
    output looks at ``kernel`` neighbouring inputs in a row, and the next output lies ``stride``
    inputs further on.
    Returns a whole number. For [(3, 1), (3, 1)] it is 5, and for [(7, 2), (3, 2), (3, 1)] it is 19.
    """
    ...  # your code


exercises.check(receptive_field)
# exercises.hint("receptive_field")
# exercises.solution("receptive_field")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("07")

# %% [markdown]
# ## Take away
#
# - Grad-CAM is a question about derivatives, and takes a few lines.
# - Up to the head everything is shared: compute it once, and ask the head about all labels in one batch.
# - A map is stretched from 0 to 1. It says where, never how much; the score says how much.
# - What is drawn smoothly was computed on a coarse grid. An earlier layer has a finer one, and knows less.
# - A head can answer place by place. Then its map is not made afterwards: it is each place's share of the
#   answer, at little cost beyond the score. It is no outline, and what a place has looked at is another
#   question.
# - On Monday: draw your heat maps beside each other with one colour scale, and with the score in the title. Those of labels
#   that score 0.02 look as sure as any; that is the stretching.
#
# **Next**: 08 asks whether a map deserves to be believed.
