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
# How does a heat map over a radiograph come about, and what does it cost?
#
# **You will be able to** build Grad-CAM by hand, make the maps of all 21 labels in hardly more time than one
# takes, say in what five methods differ, and read a map from another layer.
#
# **Needs** the model with the paper's loss of notebook 05; if it is not there it is trained now, which takes
# four to eight minutes. **Minutes** 20, of which one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import time
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from cxrlib import configs, data, explanations, plots, training, widgets
from cxrlib.explanations import explain
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

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
# A few hundred images of the test split are enough to look at. Beside them, where it is known, lies the
# **mask** of every finding. The phantom knows where it drew each one: the mask holds every pixel that the
# finding visibly changes, so that of a pneumothorax takes in what it has pushed aside as well, such as the
# heart and the windpipe, where a radiologist would outline the air alone. The mask of a group, such as
# Opacity, is all of its findings' masks together. NIH has boxes for a few images. CheXpert has neither.
#
# Not every one of the 21 labels can have a place in the image. Which cannot?

# %%
rows = track.split("test").iloc[:240]
targets = hierarchy.derive(rows[sorted(OBSERVATIONS)])
dataset = data.ChestDataset(rows, track.folder, targets, settings.size, equalize=settings.equalize)
images = torch.stack([image for image, _ in dataset])
truth = targets.reset_index(drop=True)
with torch.inference_mode():
    scores = model(images).sigmoid()
print(
    f"{len(images)} images of {settings.size} × {settings.size} pixels, {scores.shape[1]} scores each"
)

# %%
known = track.name in ("phantom", "nih")
masks = explanations.find_masks(track, rows["path"], settings.size) if known else {}
masks = {name: dict(zip(*found, strict=True)) for name, found in masks.items()}
print(f"masks for {len(masks)} of {len(hierarchy.labels)} labels")
if masks:
    print("none for", ", ".join(name for name in hierarchy.labels if name not in masks))


# %%
def surest(label):
    """The image with the highest score among those that show a label, with its mask if there is one."""
    with_it = np.array(list(masks.get(label, ())) or np.flatnonzero(truth[label] == 1))
    return int(with_it[scores[with_it, hierarchy.labels.index(label)].argmax()])


label = "Pleural Effusion" if track.name != "nih" else "Pneumonia"
image, outline = images[surest(label)], masks.get(label, {}).get(surest(label))
score = scores[surest(label), hierarchy.labels.index(label)]
print(f"the surest {label} has a score of at least one half:", bool(score >= 0.5))

# %% [markdown]
# ## Grad-CAM by hand
#
# Look at the way through this network. Its last convolution, the first layer of its head, gives maps, here
# 128 of them, each 6 × 6. Averaged over the image they become 128 numbers, from which the rest of the head
# computes a logit $z$ for every label: the score before the sigmoid.
#
# The model has just given one of these images a high score. Where in the image did that come from? Here is
# one way to ask: *how much would the logit rise if a map became brighter?* That is a derivative.
# **Grad-CAM** (Selvaraju et al. 2017) weighs every map by the mean of its derivative, adds them up, and
# keeps what is positive:
#
# $$w_k = \operatorname{mean}_{ij} \frac{\partial z}{\partial A^k_{ij}}, \qquad
# M = \operatorname{ReLU}\Big(\sum_k w_k A^k\Big)$$
#
# $A^k_{ij}$ is map $k$ at place $ij$. How many lines of code is that? And will it be the map that a library
# draws? (The course's `explain` leaves the drawing to the library pytorch-grad-cam.) Guess, then read.


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


by_hand = grad_cam(model, image, label)
by_library = explain(model, image[None], [label]).features[0, 0]
print("by hand and by library agree to 1e-5:", torch.allclose(by_hand, by_library, atol=1e-5))

# %% [markdown]
# The last line stretches the map from 0 to 1. So a map tells where, and never how much: the map of a label
# with a score next to nothing can look as bright as that of a certain one.
#
# A map of 6 × 6 is coarse: each place stands for 16 × 16 pixels. What one usually gets to see is the same
# map, smoothed. Which of the two is the more honest picture?

# %%
big = explain(model, image[None], [label])[label][0]
blocks = np.kron(by_hand.numpy(), np.ones((16, 16)))
fig = plots.gallery(
    [image] * 3,
    ["the radiograph", "Grad-CAM, 6 × 6", "the same, smoothed"],
    columns=3,
    size=3.1,
    maps=[None, blocks, big],
    masks=[outline] * 3,
    title=f"{label}: what the model computes is coarse (outlined: the mask)",
)
for axis in fig.axes:
    axis.title.set_fontsize(12)
plots.show(
    fig,
    "One radiograph three times: plain, with the six by six Grad-CAM map as blocks, and with the same "
    "map smoothed; the mask of the finding is outlined in each.",
)

# %% [markdown]
# The smooth one invites to see an outline that nobody has computed.
#
# ## 21 labels, 21 maps
#
# The plain way runs the whole network forwards and backwards once a label. But everything up to the head
# is the same for all labels. `explain` computes it once, and asks the small head about all 21 labels in
# one batch.
#
# Will the maps be those that one gets label by label from the whole network? And how much time is saved: a
# tenth, a half, nine tenths? Guess.

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
print(f"21 maps, the plain way: {1000 * took_plain:.0f} ms; together: {1000 * took_ours:.0f} ms")
print(f"time saved: {1 - took_ours / took_plain:.0%}")

# %% [markdown]
# The maps are the same, and most of the time is saved. How much exactly, a single run cannot say:
# `benchmarks/inference.py` repeats it with care, and for DenseNet121 at 320 pixels too.
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
# - **Eigen-CAM** (Muhammad and Yeasin 2020) draws what the maps have most in common. It looks at no label
#   at all.
#
# And one may look at an earlier layer, whose maps are finer and which knows less of what it sees:
# `explain(..., finer=1)` reads maps of 12 × 12 here.
#
# One model, three images, six ways. How far apart will the maps be? Several columns may look alike, but two
# of them are the same but for rounding: which, and why? Guess before you look.

# %%
ways = {
    "Grad-CAM": {"method": "gradcam"},
    "Grad-CAM++": {"method": "gradcam++"},
    "HiResCAM": {"method": "hirescam"},
    "LayerCAM": {"method": "layercam"},
    "Eigen-CAM": {"method": "eigencam"},
    "LayerCAM, finer": {"method": "layercam", "finer": 1},
}
three = [name for name in ("Pleural Effusion", "Cardiomegaly", "Pneumothorax") if name in masks]
pictures, drawn, outlines, titles = [], [], [], []
for name in three or [label]:
    row = surest(name)
    for way, asked in ways.items():
        pictures.append(images[row])
        drawn.append(explain(model, images[row][None], [name], **asked)[name][0])
        outlines.append(masks.get(name, {}).get(row))
        titles.append(f"{name}\n{way}")

# %%
fig = plots.gallery(
    pictures,
    titles,
    columns=len(ways),
    size=1.75,
    maps=drawn,
    masks=outlines,
    title="Same model, same image: where the map lies depends on the way (outlined: the mask)",
)
for axis in fig.axes:
    axis.title.set_fontsize(11)
plots.show(
    fig,
    "Rows of one radiograph each, explained in six ways; the maps of a row differ; the mask is outlined.",
)

# %% [markdown]
# Find the brightest place of each map. Is it on the finding, beside it, at the rim of the picture? Note your
# answers, then compare:

# %% tags=["nbval-ignore-output"]
on_it = {}
for number, name in enumerate(three):
    first = number * len(ways)
    tops = [int(heat.argmax()) for heat in drawn[first : first + len(ways)]]
    on_it[name] = ["on it" if outlines[first].flat[top] else "beside it" for top in tops]
pd.DataFrame(on_it, index=list(ways)).T

# %% [markdown]
# Mind what *on it* means: on a pixel that the finding changes. On a heart that a pneumothorax has pushed
# aside, a map is *on it* too, though the air is elsewhere. And three images are an anecdote; notebook 08
# counts.
#
# And the two columns: Grad-CAM and HiResCAM. That is no accident. After the last convolution this network
# only rescales every map and takes its mean over the image. So the derivative is the same at every place,
# and it makes no difference whether one multiplies before or after averaging. For more than these three
# images:

# %%
pair = [explain(model, images[:8], [label], way).features for way in ("gradcam", "hirescam")]
print("Grad-CAM and HiResCAM are the same for this head:", torch.allclose(*pair, atol=1e-5))

# %% [markdown]
# ## Look for yourself
#
# Choose an image, a label and a way. Three things to try:
#
# - An image and a label whose score is next to nothing. Is the map any paler?
# - The same image and two labels. Do their maps differ? And by Eigen-CAM?
# - The same image and label, from "Grad-CAM" to "LayerCAM, finer". Which would you rather show to a
#   colleague, and is that a good reason to believe it?


# %%
def draw_map(number, label, way):
    """One image with the map of one label, and its mask where it is known."""
    one = images[number][None]
    made = explain(model, one, [label], **ways[way])[label][0]
    score = scores[number, hierarchy.labels.index(label)]
    fig = plots.gallery(
        [one[0], one[0]],
        ["the radiograph", f"{label}: score {score:.2f}\n{way}"],
        columns=2,
        size=3.6,
        maps=[None, made],
        masks=[masks.get(label, {}).get(number)] * 2,
    )
    for axis in fig.axes:
        axis.title.set_fontsize(12)
    return fig


widgets.explore(
    draw_map,
    "A radiograph, and the same with the map of the chosen label; its mask is outlined where it is known.",
    number=ipywidgets.IntSlider(surest(label), min=0, max=len(images) - 1, description="image"),
    label=ipywidgets.Dropdown(options=hierarchy.labels, value=label, description="label"),
    way=ipywidgets.Dropdown(options=list(ways), value="LayerCAM, finer", description="way"),
)

# %% [markdown]
# ## Take away
#
# - A map of a label is a question about derivatives, and takes a few lines.
# - Up to the head everything is shared: compute it once, and ask the head about all labels in one batch.
# - A map is stretched from 0 to 1. It says where, never how much; the score says how much.
# - What is drawn smoothly was computed on a coarse grid. An earlier layer has a finer one, and knows less.
# - Another way to draw a model's reasons gives another picture. A look does not tell which is right.
#
# **Next**: 08 asks whether a map deserves to be believed.
