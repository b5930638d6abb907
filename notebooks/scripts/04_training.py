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
# # 04 · Training
#
# One model, one training run, four losses, and a close look at what each loss changes.
#
# **You will be able to** write a training loop in a dozen lines, train the course's model with one
# call, tell augmentation that keeps a chest a chest from augmentation that does not, and show that the
# published loss trains exactly the model that plain cross-entropy trains.
#
# **Needs** notebooks 02 and 03 for the words *hierarchy*, *step* and *hinge*. **Minutes** 30, of which
# about eight are training, the first time.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import numpy as np
import pandas as pd
import torch
from torchvision.transforms import v2

from cxrlib import data, models, phantom, plots, training
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.losses import BCELoss
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## From table to batch
#
# **Claim.** A batch is two tensors: images from 0 to 1, and 21 targets in the hierarchy's order.

# %%
loaders = data.ChestData(track, hierarchy, size=96, batch_size=32)
images, targets = next(iter(loaders.train_dataloader()))
print("images ", tuple(images.shape), images.dtype)
print("targets", tuple(targets.shape), targets.dtype)
print("the first image shows:", [
    name for name, value in zip(hierarchy.labels, targets[0], strict=True) if value == 1
])  # fmt: skip

# %% [markdown]
# ## First, even grey levels
#
# How bright a lung looks depends on the patient, but also on the exposure, the detector and the tone
# curve that a hospital likes. `write_cohort(..., hospital=2)` draws the same patients as another
# hospital would show them.
#
# **Claim.** *Histogram equalisation* replaces every grey level by its rank within the image. What two
# hospitals show of one patient becomes more alike.

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

# %% [markdown]
# The course's models see equalised images (`Settings.equalize`); the paper's do not. Notebook 09 asks
# what such models are worth on real radiographs from elsewhere.
#
# ## What augmentation may do to a chest
#
# Showing a model slightly changed copies of its images teaches it what does not matter. A patient
# leans, the tube stands closer, the exposure varies: those changes are real.
#
# **Claim.** The published code also turns images upside down and left to right. Neither exists: no
# chest hangs upside down, and a mirrored one has its heart on the wrong side (a real condition,
# *situs inversus*, but a very rare one).

# %%
example = data.load_image(track.folder / track.split("train")["path"].iloc[3], 192)
torch.manual_seed(0)
allowed = data.train_transforms()
copies = [example, *(allowed(example) for _ in range(4))]
published = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.RandomVerticalFlip(1.0)])
copies += [
    v2.functional.horizontal_flip(example),
    v2.functional.vertical_flip(example),
    published(example),
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
# Does it help? That depends on the budget, and a later section measures it.
#
# ## The loop, in a dozen lines
#
# **Claim.** Training is: predict, compare, follow the gradient, repeat. Nothing else is needed to bring
# the loss down.

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
for images, targets in batches:
    optimizer.zero_grad()
    value = loss(model(images), targets)
    value.backward()
    optimizer.step()
    values.append(value.item())

first, last = np.mean(values[:5]), np.mean(values[-5:])
print("loss of the last five batches below that of the first five:", bool(last < first))

# %% [markdown]
# A real training run adds what can go wrong without it: a schedule for the learning rate, validation
# after every epoch, checkpoints of the best model so far, a record of what was done, and a seed.
# PyTorch Lightning supplies these; `cxrlib.training` ties them together in one call.
#
# ## Four losses from one seed
#
# **Claim.** Trained from the same seed, *flat* BCE and the published *step* loss end in the same
# weights, **bit for bit**. The hinge and the product do not.
#
# Four short runs on small images. (A run that was made before is found again; its name holds a
# fingerprint of the settings, the data and the code.)

# %%
TRIAL = {"size": 48, "epochs": 3, "augment": "none"}
trials = {
    loss: training.train(track, hierarchy, Settings(loss=loss, **TRIAL), name=f"trial-{loss}")
    for loss in training.LOSSES
}


# %%
def same_bits(a, b):
    """Whether two models agree in every bit of every weight and buffer."""
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


flat = trials["flat"].model("last")
for name in ("hbce-step", "hbce-hinge", "hbce-product"):
    print(f"{name:13} same weights as flat: {same_bits(flat, trials[name].model('last'))}")

# %%
fig = plots.curves(
    {name: run.curves for name, run in trials.items()},
    "The step's loss is higher than flat's, its AUROC is the same",
)
plots.show(
    fig,
    "Loss and validation AUROC by epoch for four losses. The loss of hbce-step runs above that of "
    "flat; their AUROC curves coincide.",
)

# %%
equal = trials["flat"].curves["val_auroc"].equals(trials["hbce-step"].curves["val_auroc"])
higher = (trials["hbce-step"].curves["train_loss"] >= trials["flat"].curves["train_loss"]).all()
print("AUROC of step and flat equal in every epoch:", equal)
print("training loss of step at least that of flat: ", bool(higher))

# %% [markdown]
# So what *can* the published penalty change? Only what reads the loss's value: when training stops,
# when the learning rate drops, and which epoch's weights are kept. Never which weights there are to
# choose from at a given epoch and rate.
#
# ## What they are for: coherence
#
# **Claim.** The differentiable forms make predictions more coherent. Share of validation images with
# at least one child scoring above its parent. (After so short a training all scores are still close to
# the labels' frequencies, and those are coherent; a trained model contradicts itself far more, as
# notebook 05 shows.)

# %%
small = training.make_data(track, hierarchy, trials["flat"].settings)


def incoherent_share(run):
    scores = training.predict(run.model("last"), small.dataset("valid"), hierarchy.labels)
    return {
        "soft (child above parent)": hierarchy.incoherent(scores).mean(),
        "hard (at 0.5)": hierarchy.incoherent(scores, threshold=0.5).mean(),
    }


incoherent = pd.DataFrame({name: incoherent_share(run) for name, run in trials.items()}).T
fig = plots.bars(
    incoherent,
    "Only the penalties with a gradient make predictions coherent",
    "share of validation images with a contradiction",
    height=3.4,
)
plots.show(
    fig,
    "Bars for flat, hbce-step, hbce-hinge and hbce-product: the share of incoherent validation "
    "images is the same for flat and step and lower for hinge and product.",
)

# %%
soft = incoherent["soft (child above parent)"]
print("flat and step equal:   ", soft["flat"] == soft["hbce-step"])
print("hinge below flat:      ", soft["hbce-hinge"] < soft["flat"])
print("product below flat:    ", soft["hbce-product"] < soft["flat"])

# %% [markdown]
# ## Is augmentation worth its price?
#
# **Claim.** In a short training, augmentation gives little or costs something: the model is still
# learning what it sees, and now it sees it less clearly. It pays when epochs are many and images few,
# since then the model begins to know its images by heart.

# %%
augmented = training.train(
    track, hierarchy, Settings(loss="flat", **TRIAL | {"augment": "chest"}), name="trial-augmented"
)
compared = {"as taken": trials["flat"].curves, "augmented": augmented.curves}
reached = {name: curves["val_auroc"].iloc[-1] for name, curves in compared.items()}
fig = plots.curves(
    compared,
    f"After three epochs: AUROC {reached['as taken']:.2f} as taken, {reached['augmented']:.2f} augmented",
)
plots.show(
    fig,
    "Loss and validation AUROC by epoch with and without augmentation; the title gives the AUROC "
    "that each reached.",
)

# %% [markdown]
# Three epochs are too few to judge by. The models below train for twenty, with augmentation, and so do
# the paper's settings; `benchmarks/training_seeds.py --augment none` shows what they reach without.
#
# ## The course's two models
#
# Now for real: 96-pixel images, twenty epochs. One model with the paper's loss and its data-driven
# penalties, one with the hinge and otherwise the same. Their validation curves, and what training took on this machine:

# %%
paper = training.train(
    track, hierarchy, Settings(loss="hbce-step", penalties="data-driven"), name="paper-loss"
)
hinge = training.train(
    track, hierarchy, Settings(loss="hbce-hinge", penalties="data-driven"), name="hinge-loss"
)

# %%
fig = plots.curves(
    {"step (the paper's)": paper.curves, "hinge": hinge.curves},
    "Twenty epochs: the two losses end close together",
)
plots.show(
    fig,
    "Loss and validation AUROC by epoch for the two models of the course; both AUROC curves rise "
    "steeply and then flatten, close together.",
)

# %% tags=["nbval-ignore-output"]
for name, run in {"step": paper, "hinge": hinge}.items():
    best = run.curves["val_auroc"].idxmax()
    auroc = run.curves["val_auroc"].max()
    print(f"{name:6} best AUROC {auroc:.3f} in epoch {best}, after {run.seconds:.0f} s of training")

# %% [markdown]
# That AUROC compares predictions with the labels of the validation images. Is it good? Over which
# labels, with what uncertainty? That is notebook 05.
#
# ## Two checkpoints
#
# **Claim.** The weights with the lowest validation loss and those with the highest AUROC need not be
# those of the same epoch. The paper keeps both, and so do we.

# %%
print(sorted(path.name for path in paper.folder.iterdir() if path.suffix in (".ckpt", ".json")))

# %% tags=["nbval-ignore-output"]
for name, run in {"step": paper, "hinge": hinge}.items():
    by_loss, by_auroc = run.curves["val_loss"].idxmin(), run.curves["val_auroc"].idxmax()
    print(f"{name:6} lowest loss in epoch {by_loss}, highest AUROC in epoch {by_auroc}")

# %% [markdown]
# A checkpoint is read without running any code from it (`weights_only`): a stranger's file is not run as
# a program. Keep PyTorch up to date all the same.
#
# ## The published settings
#
# **Claim.** The paper's model is the same code with other settings: DenseNet121 on 320-pixel images,
# some fifty times as many parameters, and hours on a graphics card instead of minutes here.

# %%
presets = {"tiny": Settings(), "densenet121": training.PAPER}
sizes = pd.DataFrame(
    {
        name: {
            "image side": settings.size,
            "parameters": f"{models.count_parameters(models.build(name)):,}",
            "batch": settings.batch_size,
            "highest learning rate": settings.lr,
            "epochs, at most": settings.epochs,
        }
        for name, settings in presets.items()
    }
)
sizes

# %% [markdown]
# ## Take away
#
# - The loop is a dozen lines; everything around it is there so that the result can be trusted.
# - Augment only with what happens to real chests.
# - The published loss trains the same weights as flat BCE, bit for bit. The hinge does not, and makes
#   predictions more coherent.
#
# **Next**: 05 asks how good these two models are.
