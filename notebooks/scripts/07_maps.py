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
# **You will be able to** build Grad-CAM by hand, make the maps of all 21 labels in hardly more time than one
# takes, say in what five methods differ, and build a head whose map is its answer.
#
# **Needs** the model with the paper's loss of notebook 05; if it is not there it is trained now, which takes
# four to eight minutes, and so is the course's own model. **Minutes** 40, of which about five are computing,
# the first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import time
from dataclasses import replace

import ipywidgets
import numpy as np
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from cxrlib import configs, data, explanations, plots, training, widgets
from cxrlib.evaluation import read_predictions
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
# **mask** of every finding: its place, as a radiologist would outline it. The phantom knows where it drew
# each one, the air of a pneumothorax, the fluid of an effusion. The mask of a group, such as Opacity, is all
# of its findings' masks together. NIH has boxes for a few images. CheXpert has neither.
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
masks = explanations.find_masks(track, rows["path"], settings.size, kind="lesions") if known else {}
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
# One model, one image, six ways. How far apart will the maps be? Several may look alike, but two of them are
# the same but for rounding: which, and why? Guess before you look.

# %%
ways = {
    "Grad-CAM": {"method": "gradcam"},
    "Grad-CAM++": {"method": "gradcam++"},
    "HiResCAM": {"method": "hirescam"},
    "LayerCAM": {"method": "layercam"},
    "Eigen-CAM": {"method": "eigencam"},
    "LayerCAM, finer": {"method": "layercam", "finer": 1},
}
drawn = [explain(model, image[None], [label], **asked)[label][0] for asked in ways.values()]
fig = plots.gallery(
    [image] * len(ways),
    list(ways),
    columns=3,
    size=2.6,
    maps=drawn,
    masks=[outline] * len(ways),
    title=f"{label}: one model, one image, six maps (outlined: the mask)",
)
for axis in fig.axes:
    axis.title.set_fontsize(12)
plots.show(
    fig,
    "One radiograph with the map of one label made in six ways, the mask of the finding outlined; "
    "the maps differ.",
)

# %% [markdown]
# Find the brightest place of each map. Is it on the finding, beside it, at the rim of the picture?
#
# The two: Grad-CAM and HiResCAM. After the last convolution this network only rescales every map and takes
# its mean over the image. So the derivative is the same at every place, and it makes no difference whether
# one multiplies before or after averaging. For more than this image:

# %%
pair = [explain(model, images[:8], [label], way).features for way in ("gradcam", "hirescam")]
print("Grad-CAM and HiResCAM are the same for this head:", torch.allclose(*pair, atol=1e-5))

# %% [markdown]
# ## A head whose map is its answer
#
# All these maps are made afterwards. The paper's head first takes the mean over all places and then decides,
# so where its answer comes from has to be asked back, by derivatives. Could it be the other way round: every
# place decides, and the image's answer is made of theirs?
#
# Say that every place $i$ of $n$ has a logit $z_i$ for a label. How do they become one? Three proposals:
#
# - the **mean** of the logits,
# - the **highest** logit,
# - the **log-mean-exp**, $\log \frac{1}{n} \sum_i e^{z_i}$.
#
# Take a chest of 12 × 12 places, all of them sure that there is no nodule ($z = -4$), but one, which is sure
# that there is ($z = 8$). Which proposals find the nodule? And which of them lets the other 143 places learn
# anything from this image, if the answer was wrong?

# %%
one_nodule = torch.full((144,), -4.0)
one_nodule[30] = 8.0
one_nodule.requires_grad_()
proposals = {
    "mean": lambda z: z.mean(),
    "highest": lambda z: z.max(),
    "log-mean-exp": lambda z: z.logsumexp(dim=0) - np.log(len(z)),
}
for name, joined in proposals.items():
    logit = joined(one_nodule)
    (slope,) = torch.autograd.grad(logit, one_nodule)
    print(f"{name:13} logit {logit.item():5.2f}, score {logit.sigmoid().item():.2f};", end=" ")
    print(f"derivative at the nodule {slope[30].item():.4f}, elsewhere {slope[0].item():.7f}")

# %% [markdown]
# The mean drowns it, and blames every place alike. The highest place finds it, and nobody else will ever be
# told whether that was right. The log-mean-exp finds it, and everybody learns, in proportion to what they
# said.
#
# It has a plain meaning. $e^z$ are the odds of a logit: $p / (1 - p)$. So **the odds of the image are the
# mean of the odds of its places**, and each place has a share of them:
#
# $$s_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# That share is the map. No derivative has to be asked for. (Or rather: $s_i$ *is* the derivative of the
# image's logit by that of the place. The last line above shows two of them.)
#
# `models.PointingHead` does this: a convolution, and a logit for every label at every place. The course's own
# model has it, on the same features as the paper's, with maps of 12 × 12, since one pooling is left out.
# `configs/pointing.yaml` holds its settings. Two of them are there for the maps and for your time: little
# dropout, and small images, 64 × 64, for the first 20 of 28 epochs.

# %%
pointing = configs.read_config("pointing").settings
own_run = training.train(track, hierarchy, pointing, name="pointing")
own = own_run.model()
own.head

# %%
with torch.inference_mode():
    places = own.head.places(own.features(images[:8]))
    logits = own(images[:8])
maps = explain(own, images[:8], method="pointing")
odds = places.exp().mean(dim=(2, 3))
shares = places.flatten(2).softmax(dim=2).view_as(places)
stretched = shares / shares.amax(dim=(2, 3), keepdim=True)
print("a logit for every image, label and place:", tuple(places.shape))
print(
    "the image's odds are the mean of its places':", torch.allclose(logits.exp(), odds, rtol=1e-3)
)
print("its map is the places' shares, over the largest:", torch.allclose(maps.features, stretched))

# %% [markdown]
# What must be paid for that? Whoever decides place by place sees no more of the image than that place sees of
# it. Will this model tell findings apart less well than the one with the paper's head, as well, or better?
# And will its maps lie nearer to the finding?

# %% tags=["nbval-ignore-output"]
for name, each in {"the paper's head": run, "the pointing head": own_run}.items():
    found = read_predictions(each.folder / "predictions.csv").split("test").evaluate().summary
    print(
        f"{name}: AUROC {found['macro_auroc_observations']:.3f}, {each.seconds:.0f} s of training"
    )

# %%
three = [n for n in ("Pleural Effusion", "Lung Lesion", "Pneumothorax") if n in masks] or [label]
pictures, drawn, outlines, titles = [], [], [], []
for name in three:
    row = surest(name)
    for title, network, asked in (
        ("Grad-CAM, paper's head", model, ways["Grad-CAM"]),
        ("LayerCAM, finer, paper's head", model, ways["LayerCAM, finer"]),
        ("pointing head", own, {"method": "pointing"}),
    ):
        pictures.append(images[row])
        drawn.append(explain(network, images[row][None], [name], **asked)[name][0])
        outlines.append(masks.get(name, {}).get(row))
        titles.append(f"{name}\n{title}")

# %%
fig = plots.gallery(
    pictures,
    titles,
    columns=3,
    size=2.9,
    maps=drawn,
    masks=outlines,
    title="Maps that are asked back, and maps that are the answer (outlined: the mask)",
)
for axis in fig.axes:
    axis.title.set_fontsize(11)
plots.show(
    fig,
    "Three radiographs in rows, the mask of a finding outlined in each; in columns Grad-CAM and a finer "
    "LayerCAM of the paper's head, and the map of the pointing head.",
)

# %% [markdown]
# The accuracy has not suffered, and the maps are smaller and lie nearer to the findings. But that is one model
# of each kind, trained by two recipes, and three images, chosen because the paper's model is sure of them.
# Notebook 08 counts, with three models of each.
#
# What do 21 maps cost here? For the paper's head, `explain` goes back through the head once a label. Here the
# 21 maps were made on the way to the scores.

# %%
took = {}
for name, network, asked in (("paper's", model, {}), ("pointing", own, {"method": "pointing"})):
    explain(network, image[None], **asked)
    start = time.perf_counter()
    for _ in range(5):
        explain(network, image[None], **asked)
    took[name] = (time.perf_counter() - start) / 5
print("the pointing head's 21 maps are made faster:", took["pointing"] < took["paper's"])

# %% tags=["nbval-ignore-output"]
print({name: f"{1000 * seconds:.0f} ms" for name, seconds in took.items()})

# %% [markdown]
# ## Look for yourself
#
# Choose an image, a label and a way. Three things to try:
#
# - An image and a label whose score is next to nothing. Is the map any paler?
# - The same image and two labels. Do their maps differ? And by Eigen-CAM?
# - The same image and label, from "Grad-CAM" to "pointing". Which would you rather show to a colleague, and
#   is that a good reason to believe it?

# %%
ways["pointing"] = {"method": "pointing"}


def draw_map(number, label, way):
    """One image with the map of one label, and its mask where it is known."""
    one, network = images[number][None], own if way == "pointing" else model
    made = explain(network, one, [label], **ways[way])[label][0]
    with torch.inference_mode():
        score = network(one).sigmoid()[0, hierarchy.labels.index(label)]
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
    way=ipywidgets.Dropdown(options=list(ways), value="pointing", description="way"),
)

# %% [markdown]
# ## Take away
#
# - A map of a label is a question about derivatives, and takes a few lines.
# - Up to the head everything is shared: compute it once, and ask the head about all labels in one batch.
# - A map is stretched from 0 to 1. It says where, never how much; the score says how much.
# - What is drawn smoothly was computed on a coarse grid. An earlier layer has a finer one, and knows less.
# - A head can answer place by place. Then its map is no explanation made afterwards but the answer, and
#   costs nothing.
#
# **Next**: 08 asks whether a map deserves to be believed.
