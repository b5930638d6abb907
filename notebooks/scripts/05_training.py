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
# # 05 · Training
#
# One model, one training run, eight methods, and a close look at what each of them changes.
#
# **You will be able to** write a training loop in a dozen lines, train the course's model with one
# call, tell augmentation that keeps a chest a chest from augmentation that does not, show what each of eight
# losses changes in the weights, and run the same experiment from a file, on one GPU or on eight.
#
# **Needs** notebooks 03 and 04 for the words *hierarchy*, *step*, *hinge* and *max-constraint*.
# **Minutes** 35, and 23 for the exercises. Training takes ten to fifteen besides, the first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torchvision.transforms import v2

from cxrlib import configs, data, exercises, models, phantom, plots, training
from cxrlib.evaluation import evaluate, read_predictions
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import BCELoss
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## From table to batch
#
# A model learns from a few images at a time, a *batch*. **Guess** what one of 32 images at 96 pixels is made of: which
# tables of numbers, of which shapes? And are its grey levels fractions from 0 to 1, or bytes?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.1")

# %%
loaders = data.ChestData(track, hierarchy, size=96, batch_size=32)
grey, targets, numbers = next(iter(loaders.train_dataloader()))
images = loaders.prepare(grey, numbers, epoch=0)
print("grey   ", tuple(grey.shape), grey.dtype)
print("images ", tuple(images.shape), images.dtype)
print("targets", tuple(targets.shape), targets.dtype)
print("the first image shows:", [
    name for name, value in zip(hierarchy.labels, targets[0], strict=True) if value == 1
])  # fmt: skip

# %% [markdown]
# Grey levels as bytes, 21 targets in the hierarchy's order, and which images they are. Only on the device that trains do
# bytes become numbers from 0 to 1: what has to be moved is a quarter as large. (Each image is decoded once, and kept in
# `data/cache` for all later trainings.)
#
# ## First, even grey levels
#
# How bright a lung looks depends on the patient, but also on the exposure, the detector and the tone
# curve that a hospital likes. `write_cohort(..., hospital=2)` draws the same patients as another
# hospital would show them.
#
# *Histogram equalisation* replaces every grey level by its rank within the image, or nearly. **Guess**: what becomes of
# the difference between two hospitals' images of one patient? And what of the letter that marks a side?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.2")

# %%
shown = [
    torch.from_numpy(phantom.render(visits[0], 192))[None]
    for visits in (phantom.draw_studies(np.random.default_rng(3), hospital=h) for h in (1, 2))
]
even = [v2.functional.equalize(image) for image in shown]
fig = plots.gallery(
    [*shown, *even],
    ["hospital 1", "hospital 2", "hospital 1, equalised", "hospital 2, equalised"],
    columns=4,
    title="One patient in two hospitals, before and after equalisation",
    size=2.3,
)
plots.show(
    fig,
    "The same synthetic patient as two hospitals show them, differing in contrast, and both images "
    "after histogram equalisation, which look alike.",
)


def difference(one, other):
    """Mean absolute difference of grey levels."""
    return (one.float() - other.float()).abs().mean().item()


print("more alike after equalisation:", difference(*even) < difference(*shown))
print(
    f"mean difference of grey levels, of 255: {difference(*shown):.0f} before, {difference(*even):.0f} after"
)

# %% [markdown]
# The grey levels come out alike; the letter differs as before, and a model could still read it. The course's models
# see equalised images (`Settings.equalize`); the paper's do not. Notebook 12 asks
# what such models are worth on real radiographs from elsewhere.
#
# ## What augmentation may do to a chest
#
# Showing a model slightly changed copies of its images teaches it what does not matter. A patient
# leans, the tube stands closer, the exposure varies: those changes are real.
#
# The published code also turns images upside down and left to right. **Say** of each of the seven copies below, before
# you read its title: could it have been taken in a hospital?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.3")

# %%
example = data.load_image(track.folder / track.split("train")["path"].iloc[3], 192)
allowed = data.AUGMENTATIONS["chest"]
chances = data.draw(seed=0, epoch=0, items=range(4))  # random numbers of four images
copies = [example, *allowed(example[None].expand(4, -1, -1, -1), chances)]
copies += [
    v2.functional.horizontal_flip(example),
    v2.functional.vertical_flip(example),
    v2.functional.vertical_flip(v2.functional.horizontal_flip(example)),
]
names = [
    "as taken",
    *["may happen"] * 4,
    "left to right:\nnever",
    "upside down:\nnever",
    "both:\nnever",
]
fig = plots.gallery(
    copies, names, columns=4, title="Small turns, shifts and exposures, but no flips"
)
plots.show(
    fig,
    "One radiograph as taken, four copies slightly turned, shifted and brightened, and three flipped "
    "copies marked never.",
)

# %% [markdown]
# No chest hangs upside down, and a mirrored one has its heart on the wrong side (a real condition, *situs inversus*, but a
# very rare one). Does augmentation help? A later section measures it, for one short training.
#
# ## What the model looks like
#
# The course's small model, `tiny`, is a DenseNet like the paper's: blocks of layers, each of which sees all maps before it in its block,
# and between blocks a *transition* that halves maps and resolution. It has three blocks of three layers instead of four of up to
# 24, and the paper's head on top: a convolution, the mean over the map, and two dense layers to 21 logits. Each row below is one stage: what comes out of it (maps × height × width), how
# many weights it has, and how many pixels of the image one place of its maps depends on, its **receptive field**.
#
# **Guess** the last number of the last row: how wide is what *one* of the 6 × 6 places can see, of 96 pixels?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.4")


# %%
def stages(features, image):
    """Shape, weights and receptive field after every stage of a network of convolutions."""
    rows, field, step = {}, 1, 1
    for name, stage in features.named_children():
        image = stage(image)
        for part in stage.modules():
            if hasattr(part, "kernel_size"):
                kernel, stride = (np.max(part.kernel_size), np.max(part.stride))
                field, step = field + (kernel - 1) * step, step * stride
        weights = sum(parameter.numel() for parameter in stage.parameters())
        rows[name] = {
            "maps": " × ".join(map(str, image.shape[1:])),
            "weights": f"{weights:,}",
            "field": field,
        }
    return pd.DataFrame(rows).T


tiny = models.build("tiny").eval()
table = stages(tiny.features[0], torch.zeros(1, 1, 96, 96))
print(
    f"all of it: {models.count_parameters(tiny):,} weights, the head has {models.count_parameters(tiny.head):,}"
)
table[~table.index.str.startswith(("norm", "relu"))]

# %% [markdown]
# Twice the image. Every place of the last map may depend on every pixel, though the nearer ones count for more. So a
# finding is never too large to be seen as a whole, and a bright place in a heat map may owe it to something far away:
# notebooks 07 and 08 are about that.
#
# ## The loop, in a dozen lines
#
# Training is: predict, compare, follow the gradient, repeat. **Guess**: an undecided model has a loss of log 2, 0.69
# (04). What does one round over small images, with these lines and nothing else, make of it?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.5")

# %%
small = data.ChestData(track, hierarchy, size=32, batch_size=32)
batches = small.train_dataloader()

torch.manual_seed(0)
model = models.build("tiny", num_labels=21)
loss = BCELoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

# %%
model.train()
values = []
for grey, targets, numbers in batches:
    images = small.prepare(grey, numbers, epoch=0)
    optimizer.zero_grad()
    value = loss(model(images), targets)
    value.backward()
    optimizer.step()
    values.append(value.item())

first, last = np.mean(values[:5]), np.mean(values[-5:])
print("loss of the last five batches below that of the first five:", bool(last < first))

# %% tags=["nbval-ignore-output"]
print(f"loss: {first:.3f} over the first five batches, {last:.3f} over the last five")

# %% [markdown]
# It falls by a third. A real training run adds what can go wrong without it: a schedule for the learning rate, validation
# after every epoch, checkpoints of the best model so far, a record of what was done, and a seed.
# PyTorch Lightning supplies these; `cxrlib.training` ties them together in one call.
#
# ## Eight methods from one seed
#
# A method is one word in the settings. `flat` is plain BCE, `smooth` BCE with targets of 0.05 and 0.95 instead of 0 and 1; three
# `hbce-` methods add the penalty in its three forms; `max-constraint` and `conditional` are coherent by
# construction, and so is `hmlc` (hierarchical multi-label classification; Chen et al. 2019): conditional in the first half of training, and in the second
# the cross-entropy of what is then read, the product of the conditionals.
#
# Eight short runs on small images, all from the same seed. **Guess** which of the other seven end in the same weights as
# *flat*, bit for bit. (A run that was made before is found again: its name ends in ten digits
# that follow from the settings, the hierarchy, the labels and every grey level.)

# %% tags=["nbval-ignore-output"]
exercises.guess("05.6")

# %%
TRIAL = Settings(size=48, epochs=3, augment="none")
trials = {
    method: training.train(track, hierarchy, replace(TRIAL, method=method), name=f"trial-{method}")
    for method in training.METHODS
}


# %%
def same_bits(a, b):
    """Whether two models agree in every bit of every weight and buffer."""
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


flat = trials["flat"].model("last")
for name, run in trials.items():
    if name != "flat":
        print(f"{name:14} same weights as flat: {same_bits(flat, run.model('last'))}")

# %%
four = ("flat", "hbce-step", "hbce-hinge", "max-constraint")
fig = plots.curves(
    {name: trials[name].curves for name in four},
    "The step's loss is higher than flat's, its AUROC is the same",
)
plots.show(
    fig,
    "Loss and validation AUROC by epoch for four methods. The loss of hbce-step runs above that of "
    "flat; their AUROC curves coincide, so that only one of the two is to be seen.",
)

# %%
equal = trials["flat"].curves["val_auroc"].equals(trials["hbce-step"].curves["val_auroc"])
higher = (trials["hbce-step"].curves["train_loss"] >= trials["flat"].curves["train_loss"]).all()
print("AUROC of step and flat equal in every epoch:", equal)
print("training loss of step at least that of flat: ", bool(higher))

# %% [markdown]
# The published *step* does, and no other: a step has no gradient (04), so training never feels it. What *can* the
# published penalty change? Only what reads the loss's value: when training stops,
# when the learning rate drops, and which epoch's weights are kept. Never which weights there are to
# choose from at a given epoch and rate.
#
# ## What they are for: coherence
#
# In what share of the validation images does at least one child score above its parent? **Guess** which methods do
# better than *flat*, and which leave nothing to repair.

# %% tags=["nbval-ignore-output"]
exercises.guess("05.7")

# %%
small = training.make_data(track, hierarchy, TRIAL)


def incoherent_share(run):
    scores = training.predict(
        run.model("last"), small.dataset("valid"), hierarchy.labels, run.readout
    )
    return {
        "soft (child above parent)": hierarchy.incoherent(scores).mean(),
        "hard (at 0.5)": hierarchy.incoherent(scores, threshold=0.5).mean(),
    }


incoherent = pd.DataFrame({name: incoherent_share(run) for name, run in trials.items()}).T
soft, hard = incoherent["soft (child above parent)"], incoherent["hard (at 0.5)"]
BUILT_IN = ("max-constraint", "conditional", "hmlc")
fig, axis = plots.figure(height=4.2)
colours = [plots.BLUE if name in BUILT_IN else plots.ORANGE for name in soft.index]
axis.barh(soft.index, soft, color=colours)
for place, (name, share) in enumerate(soft.items()):
    words = "0, by construction" if name in BUILT_IN else f"{share:.1%}"
    axis.annotate(words, (share, place), xytext=(5, 0), textcoords="offset points", va="center")
axis.invert_yaxis()
axis.set(
    xlim=(0, 1.15 * soft.max()), xlabel="share of validation images with a child above its parent"
)
axis.set_title(
    "Penalties with a gradient leave no contradiction; other readouts cannot have one", loc="left"
)
plots.show(
    fig,
    "Bars for eight methods: the share of incoherent validation images is the same for flat and step, "
    "lower for hinge and product, and zero by construction for max-constraint, conditional and hmlc.",
)

# %%
print(
    "at 0.5, at most one image in a hundred contradicts itself, with any method:",
    bool(hard.max() < 0.01),
)
print("flat and step equal:   ", soft["flat"] == soft["hbce-step"])
print("hinge below flat:      ", soft["hbce-hinge"] < soft["flat"])
print("product below flat:    ", soft["hbce-product"] < soft["flat"])
print("max-constraint:        ", soft["max-constraint"])
print("conditional:           ", soft["conditional"])
print("hmlc:                  ", soft["hmlc"])

# %% [markdown]
# A penalty with a gradient leaves none here, and a readout that cannot contradict itself needs none. (In 04 the product left a child above its
# parents: there the labels contradicted the edge. Here nearly all keep it, and at λ = 1 the penalty outweighs the rest.) Contradictions at 0.5, the only ones that
# the published penalty charges, are none or next to none here, even with flat: there is little left for it to do. Which method is *better*? Three epochs of one seed cannot say. Notebook 06b reads an experiment with all
# methods and several seeds of each.
#
# ## Three ways to augment
#
# The paper's code flips training images at random, left to right and upside down, and does the same to the
# validation images by which it chooses the model. **Guess** the order of three models, each tested on the validation
# images as they are: trained without augmentation, with the small turns and shifts from above, and as published.

# %% tags=["nbval-ignore-output"]
exercises.guess("05.8")

# %%
recipes = ("none", "chest", "published")
augmented = {
    augment: training.train(
        track, hierarchy, replace(TRIAL, epochs=6, augment=augment), name=f"augment-{augment}"
    )
    for augment in recipes
}


# %%
def on_upright_images(run):
    """Macro AUROC over the observations on the validation images, nothing turned."""
    scores = training.predict(run.model("last"), small.dataset("valid"), hierarchy.labels)
    truth = small.targets("valid").reset_index(drop=True)
    return evaluate(truth, scores).summary["macro_auroc_observations"]


reached = pd.Series({name: on_upright_images(run) for name, run in augmented.items()})
print("the published augmentation is the worst of the three:", reached.idxmin() == "published")

# %%
titles = {
    "none": "none: images as they are",
    "chest": "chest: small turns, shifts, exposures",
    "published": "published: flips, of validation too",
}
fig = plots.intervals(
    reached.rename(titles),
    "The published augmentation comes last (six epochs, one seed)",
    "macro AUROC over the observations, upright validation images",
    xlim=(reached.min() - 0.03, reached.max() + 0.03),
)
plots.show(
    fig,
    "Macro AUROC on upright validation images of three short trainings: without augmentation, with "
    "small turns and shifts, and with the published flips, which is lowest.",
)

# %% tags=["nbval-ignore-output"]
print(reached.round(3).to_string())

# %% [markdown]
# With the published recipe half of all images stand on their head: part of what the model can hold is spent on chests that do
# not exist. Between no augmentation and the small turns there is nothing to choose, after six epochs of one seed. The three recipes differ in more than flips (the published one also changes brightness and contrast, and turns
# the images by which the epoch is chosen; here all are taken after their last epoch), so this does not say what
# the flips alone cost. Nor does one short training say when augmentation pays.
#
# ## The course's two models
#
# Now for real: 96-pixel images, twenty epochs: the settings of `configs/workshop.yaml`. One model with
# the paper's loss and its data-driven penalties, one with the hinge and otherwise the same. Their
# validation curves, and what training took on this machine:

# %%
workshop = configs.read_config("workshop").settings
paper = training.train(
    track,
    hierarchy,
    replace(workshop, method="hbce-step", penalties="data-driven"),
    name="paper-loss",
)
hinge = training.train(
    track,
    hierarchy,
    replace(workshop, method="hbce-hinge", penalties="data-driven"),
    name="hinge-loss",
)

# %%
fig = plots.curves(
    {"step (the paper's)": paper.curves, "hinge": hinge.curves},
    "Twenty epochs: the two losses end close together",
)
plots.show(
    fig,
    "Loss and validation AUROC by epoch for the two models of the course; both AUROC curves rise, "
    "with ups and downs on the way, and end close together.",
)

# %% tags=["nbval-ignore-output"]
for name, run in {"step": paper, "hinge": hinge}.items():
    best = run.curves["val_auroc"].idxmax()
    auroc = run.curves["val_auroc"].max()
    print(f"{name:6} best AUROC {auroc:.3f} in epoch {best}, after {run.seconds:.0f} s of training")

# %% [markdown]
# That AUROC compares predictions with the labels of the validation images, which on the phantom are the truth. (Seconds depend on what else the
# machine had to do.) Is it good? Over which
# labels, with what uncertainty? That is notebook 06.
#
# ## One image through your model
#
# Notebook 00 began with a radiograph, 21 probabilities and the truth. Here is the same for the model that was trained above
# with the paper's loss. On the phantom it is the very same radiograph; there the course's own model spoke, of notebook 07. **Guess**: is what
# is true at the top of the scores? And is pneumonia above consolidation again?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.9")

# %%
predicted = read_predictions(paper.folder / "predictions.csv").split("test")
counts = track.split("test")[list(OBSERVATIONS)].sum(axis=1).reset_index(drop=True)
number = int((counts >= 3).argmax())
said, truth = predicted.scores.iloc[number], predicted.truth.iloc[number]
fig = plots.draw_hierarchy(
    hierarchy, said, marked=tuple(truth.index[truth == 1]),
    title="What your model says of one image, and what is true (frames)", label="probability",
)  # fmt: skip
plots.show(
    fig,
    "The hierarchy of 21 labels with your model's probability in each box; labels that are true have a frame.",
)

# %% tags=["nbval-ignore-output"]
one = predicted.scores.iloc[[number]]
both = {"above its parent": hierarchy.incoherent(one), "at 0.5": hierarchy.incoherent(one, 0.5)}
print("contradicts itself:", {name: bool(found.iloc[0]) for name, found in both.items()})
for name, run in {"step": paper, "hinge": hinge}.items():
    of = read_predictions(run.folder / "predictions.csv").split("test").scores
    print(f"{name:5} of all {len(of):,} test images: a child above its parent in "
          f"{hierarchy.incoherent(of).mean():.1%}, at 0.5 in {hierarchy.incoherent(of, 0.5).mean():.1%}")  # fmt: skip

# %% [markdown]
# What is true stands high, here. Of all test images more than half have a child above its parent: a penalty without a gradient could
# not teach otherwise; the hinge did. At 0.5, the only place where the published penalty counts, there are few with either.
#
# ## Two checkpoints
#
# Two numbers could choose the best epoch: the lowest validation loss, or the highest AUROC. **Guess**: do they choose the
# same one?

# %% tags=["nbval-ignore-output"]
exercises.guess("05.10")

# %%
print(sorted(path.name for path in paper.folder.iterdir() if path.suffix in (".ckpt", ".json")))

# %% tags=["nbval-ignore-output"]
for name, run in {"step": paper, "hinge": hinge}.items():
    by_loss, by_auroc = run.curves["val_loss"].idxmin(), run.curves["val_auroc"].idxmax()
    print(f"{name:6} lowest loss in epoch {by_loss}, highest AUROC in epoch {by_auroc}")

# %% [markdown]
# They need not. The paper keeps both, and so do we. A checkpoint is read without running any code from it (`weights_only`): a stranger's file is not run as
# a program. Keep PyTorch up to date all the same.
#
# ## What a run leaves behind
#
# What would you need to judge this run in a year, and to make it again? **Write down** five things, then look.

# %% tags=["nbval-ignore-output"]
exercises.guess("05.11")

# %%
print(sorted(path.name for path in paper.folder.iterdir()))
print((paper.folder / "config.yaml").read_text())

# %% [markdown]
# Settings, hierarchy, data and versions, curves and checkpoints, and the scores of every validation and test image beside the
# truth, in the columns that the paper's authors published theirs in.
#
# What if the power fails in epoch 90 of 100? Call `train()` again: it goes on with the epoch that was not
# finished, and ends in the same weights, bit for bit, as if nothing had happened. (A test of the package
# kills trainings at random moments and compares.) That works because every epoch has its own random
# numbers for dropout, and in every epoch every image has its own for augmentation, whoever loads it:

# %%
print(inspect.getsource(training.EpochSeed.on_train_epoch_start))
print(inspect.getsource(data.draw))

# %% [markdown]
# ## The published settings, and more than one GPU
#
# The paper's experiment is the same code with another file of settings: DenseNet121 on 320-pixel images, and hours on a
# graphics card instead of minutes here. **Guess** how many times as many parameters that is.

# %% tags=["nbval-ignore-output"]
exercises.guess("05.12")

# %%
presets = {name: configs.read_config(name).settings for name in ("workshop", "paper")}
sizes = pd.DataFrame(
    {
        name: {
            "method": settings.method,
            "model": settings.preset,
            "image side": settings.size,
            "parameters": f"{models.count_parameters(models.build(settings.preset)):,}",
            "batch": settings.batch_size,
            "highest learning rate": settings.lr,
            "epochs, at most": settings.epochs,
            "augmentation": settings.augment,
        }
        for name, settings in presets.items()
    }
)
tiny_has, paper_has = (
    models.count_parameters(models.build(settings.preset)) for settings in presets.values()
)
print(f"{paper_has / tiny_has:.0f} times as many")
sizes

# %% [markdown]
# The file says it field by field. From a terminal, each field can be changed in place; a field that does
# not exist is refused by its name. The last line is for eight GPUs, with the same 16 images a step: each has
# two, too few for batch normalisation to know a mean, so `sync_batchnorm` lets them share it.
#
# ```
# python -m cxrlib check /data/CheXpert-v1.0-small                      what is there, what is missing?
# python -m cxrlib fit --config configs/paper.yaml --data.folder /data/CheXpert-v1.0-small
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --settings.penalties data-driven
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --trainer.devices 8 \
#                      --trainer.strategy ddp --settings.batch_size 2 --trainer.sync_batchnorm true
# ```

# %%
print((configs.CONFIGS / "paper.yaml").read_text())

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 05.1: Which epoch's weights are kept? (3 minutes)
def kept_epochs(bce, penalty, auroc):
    """What the published penalty can change, at the same learning rates: which weights are kept.

    Trained from the same seed, flat BCE and the published step loss pass through the same weights
    in every epoch. But the step's validation loss is BCE plus penalty.

    bce, penalty, auroc: arrays [E], of the validation images after each epoch.
    Returns a dict of three whole numbers, epochs counted from 1, as in the figures: "flat" and
    "step", the epoch with the lowest validation loss of each of the two; and "auroc", the one with
    the highest AUROC. With bce [0.5, 0.3, 0.4], penalty [0.1, 0.3, 0.1] and auroc [0.7, 0.6, 0.8]
    it is {"flat": 2, "step": 3, "auroc": 3}.
    """
    ...  # your code


exercises.check(kept_epochs)
# exercises.hint("kept_epochs")
# exercises.solution("kept_epochs")


# %% tags=["nbval-ignore-output"]
# Exercise 05.2: Even grey levels (6 minutes)
def even_grey(image):
    """Replace every grey level by its rank within the image, as a share of the pixels.

    image: an array [H, W] of whole numbers from 0 to 255.
    Returns an array [H, W]: for every pixel, the share of the image's pixels that are no brighter
    than it, itself among them. Equal pixels stay equal. [[10, 10], [200, 30]] becomes
    [[0.5, 0.5], [1, 0.75]]. So it does at another hospital, whose tone curve makes of the image
    [[5, 5], [90, 80]].
    """
    ...  # your code


exercises.check(even_grey)
# exercises.hint("even_grey")
# exercises.solution("even_grey")


# %% tags=["nbval-ignore-output"]
# Exercise 05.3: The loop, by hand (9 minutes)
def train_linear(weights, images, targets, rate):
    """Train a linear model by hand: one step of plain gradient descent for every batch, in order.

    weights: a tensor [D, L], where to start. An image's L logits are `image @ weights`.
    images: a tensor [S, B, D], S batches of B images. targets: a tensor [S, B, L] of 0 and 1.
    rate: the learning rate, a number.
    Returns the weights after S steps, a tensor [D, L]. The loss of a batch is BCE, its mean over
    images and labels: `torch.nn.functional.binary_cross_entropy_with_logits`. No momentum, no
    weight decay, no Adam. With weights [[0.]], two batches of one image [1.] with the target [1.],
    and a rate of 1, the first step leads to 0.5, the second to 0.8775.
    """
    ...  # your code


exercises.check(train_linear)
# exercises.hint("train_linear")
# exercises.solution("train_linear")


# %% tags=["nbval-ignore-output"]
# Exercise 05.4: Chance that does not depend on who loads (5 minutes)
def chances(asked):
    """Random numbers for augmentation, the same whether one machine loads the images or eight.

    asked: an array [N, 3] of whole numbers from 0 to 999, each row a seed, an epoch and an image.
    Rows come in any order, and the same row may come several times.
    Returns an array [N] of numbers from 0 to 1, one for every row. Equal rows get equal numbers,
    and different rows different ones: the same image in another epoch, another image in the same
    epoch, and both with another seed. A row's number is the same in every call, whichever other
    rows are asked for. The numbers are to look random: about half lie below 0.5. With the rows
    [0, 4, 7], [0, 5, 7] and [0, 4, 7], the first and the last number are equal.
    """
    ...  # your code


exercises.check(chances)
# exercises.hint("chances")
# exercises.solution("chances")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("05")

# %% [markdown]
# ## Take away
#
# - The loop is a dozen lines; everything around it is there so that the result can be trusted.
# - Augment only with what happens to real chests; and measure whether it helps, over more than one seed.
# - At the same learning rates the published loss trains the same weights as flat BCE, bit for bit. (The paper's own recipe lowers
#   the rate by the validation loss: there the penalty's value can matter.) The hinge pushes, and makes predictions coherent;
#   max-constraint, conditional and hmlc cannot contradict themselves.
# - An experiment is a file: the notebooks and the command line read the same one.
# - On Monday: train your own model twice from one seed and compare the bits; then from two seeds, and compare the AUROC.
#   The first tells whether you can repeat yourself, the second what difference is worth talking about.
#
# **Next**: 06 asks how good these models are.
