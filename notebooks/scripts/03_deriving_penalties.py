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
# # 03 · Deriving penalties
#
# From binary cross-entropy to the paper's hierarchical loss, and the question that decides everything:
# where is its gradient?
#
# **You will be able to** write the loss from its formula, derive fixed and data-driven penalties, say
# why nearly all data-driven penalties are 1, show that the published penalty cannot train a model, and
# name four ways to do what it hoped to do: two that push, and two that cannot contradict themselves.
#
# **Needs** notebook 02: edges, parents, derived labels. **Minutes** 20, of which less than one is
# computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import ipywidgets
import numpy as np
import pandas as pd
import torch

from cxrlib import data, plots, public, widgets
from cxrlib.hierarchy import paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy
from cxrlib.losses import (
    FORMS,
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## Binary cross-entropy, one label
#
# A model gives every label a **logit** *z*, any real number; `sigmoid(z)` is its probability *p*. The
# binary cross-entropy of a label with target *y* is
#
#     BCE = −y · log(p) − (1 − y) · log(1 − p)
#
# **Claim.** It pushes a logit by exactly *p − y*: the further off, the harder.

# %%
z = torch.linspace(-4, 4, 9, requires_grad=True)
y = torch.ones(9)
bce = -(y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log())
bce.sum().backward()

pd.DataFrame(
    {
        "logit": z.detach(),
        "probability": z.detach().sigmoid(),
        "gradient": z.grad,
        "p - y": z.detach().sigmoid() - y,
    }
).round(3)

# %% [markdown]
# ## The hierarchical loss
#
# Cross-entropy treats labels one by one: "pneumonia, but no consolidation" costs nothing extra. The
# paper's **hierarchical binary cross-entropy** (HBCE) adds a penalty for every edge that a prediction
# contradicts:
#
#     HBCE = mean over labels of BCE
#          + sum over edges of penalty(parent, child) · [p_parent < 0.5 and p_child > 0.5]
#
# averaged over the images of a batch. The bracket is 1 if the condition holds, else 0.
#
# **Claim.** That is all there is to it. Written as plain loops, it agrees with `cxrlib.losses` to six
# digits.


# %%
def hbce_in_loops(logits, targets, penalties):
    total = 0.0
    for image_logits, image_targets in zip(logits, targets, strict=True):
        p = dict(zip(hierarchy.labels, image_logits.sigmoid().tolist(), strict=True))
        y = dict(zip(hierarchy.labels, image_targets.tolist(), strict=True))
        for label in hierarchy.labels:
            right = p[label] if y[label] == 1 else 1 - p[label]
            total -= np.log(right) / len(hierarchy.labels)
        for parent, child in hierarchy.edges:
            if p[parent] < 0.5 and p[child] > 0.5:
                total += penalties[parent, child]
    return total / len(logits)


# %%
generator = torch.Generator().manual_seed(0)
logits = torch.randn(64, 21, generator=generator)
targets = (torch.rand(64, 21, generator=generator) < 0.3).float()

penalties = fixed_penalties(hierarchy, 0.5)
step = HierarchicalBCELoss(hierarchy, penalties, form="step")

by_loops = hbce_in_loops(logits, targets, penalties)
print(f"in loops:  {by_loops:.3f}")
print(f"in cxrlib: {step(logits, targets):.3f}")
print(f"flat BCE:  {BCELoss()(logits, targets):.3f}")
print("loops and cxrlib agree to six digits:", abs(by_loops - step(logits, targets).item()) < 1e-6)

# %% [markdown]
# `cxrlib` does it without a loop over edges: two index tensors pick all parents and all children at
# once. Read it; it fits on a screen.

# %%
import inspect

print(inspect.getsource(HierarchicalBCELoss.penalty))
print(inspect.getsource(HierarchicalBCELoss._step))

# %% [markdown]
# ## Fixed and data-driven penalties
#
# The paper tries two kinds. *Fixed*: 0.5 on every edge. *Data-driven*: the rarer the training labels
# break an edge, the higher the penalty for predicting so,
#
#     penalty = 1 − P(child = 1 | parent = 0)
#
# **Claim.** Data-driven penalties carry almost no information. Where a parent is the OR of its
# children, no child can be present under an absent parent, so the penalty is 1 *by construction*.

# %%
by_source = {}
if track.name == "nih":
    by_source["nih"] = track
else:
    for source in ("visualchexbert", "report", "truth"):
        if (track.folder / data.LABEL_SOURCES[source]).is_file():
            by_source[source] = data.open_track(track.folder, labels=source, uncertain="U-Zeros")


def train_targets(opened):
    return hierarchy.derive(opened.split("train")[list(OBSERVATIONS)])


table = pd.DataFrame(
    {
        source: data_driven_penalties(hierarchy, train_targets(opened))
        for source, opened in by_source.items()
    }
)


# %%
def is_or(parent):
    """Whether a label is computed as the OR of its children."""
    return parent not in OBSERVATIONS and parent not in hierarchy.none_of


by_construction = np.array([is_or(parent) for parent, _ in hierarchy.edges])
print(f"{by_construction.sum()} of 20 edges have a parent that is the OR of its children")
print("their lowest penalty:", round(float(table[by_construction].min().min()), 3))

# %%
named = table.set_axis([f"{parent} → {child}" for parent, child in table.index])
fig = plots.intervals(
    named,
    "Fifteen of twenty penalties are 1 whatever the data say",
    "data-driven penalty",
    xlim=(0, 1.05),
)
plots.show(
    fig,
    "Dot plot of the twenty data-driven penalties per source of labels. All edges below a group "
    "built by OR sit at 1; only the five edges below Abnormal, Enlarged Cardiomediastinum and "
    "Consolidation can move.",
)

# %% [markdown]
# (An edge without a single image to count on gets 0.5: there is no evidence either way. On NIH labels
# that happens to `Other`, whose children nobody looked for.)
#
# **And on real labels?** The 223,414 report labels of CheXpert's training table, as in notebook 02:

# %%
codes = public.chexpert_labels()[list(OBSERVATIONS)]
real = {policy: hierarchy.derive(apply_policy(codes, policy)) for policy in ("U-Zeros", "U-Ones")}
reported = pd.DataFrame({name: data_driven_penalties(hierarchy, real[name]) for name in real})
always = (reported > 0.9999).all(axis=1).sum()
print(f"{always} of 20 edges have the penalty 1 under both policies")
reported[(reported < 0.9999).any(axis=1)].round(3)

# %% [markdown]
# Beside them the five free edges of this track:

# %%
table[~by_construction].round(2)

# %% [markdown]
# Notebook 02 found that 83% of the images with Pneumonia lack Consolidation, and here that edge has one of
# the highest penalties. Both are right: they are opposite conditionals.

# %%
labels = real["U-Zeros"]
child, parent = labels["Pneumonia"] == 1, labels["Consolidation"] == 1
print(
    f"P(no Consolidation | Pneumonia) = {(child & ~parent).sum():,} / {child.sum():,} = {(child & ~parent).sum() / child.sum():.3f}"
)
print(
    f"P(Pneumonia | no Consolidation) = {(child & ~parent).sum():,} / {(~parent).sum():,} = {(child & ~parent).sum() / (~parent).sum():.3f}"
)

# %% [markdown]
# The penalty is 1 minus the *second*. It looks at all images without the parent, of which there are very
# many, so it is near 1 for every rare child, however often labels contradict the edge.
#
# **Would a larger hierarchy tell more?** PadChest's has 208 edges, and 38% of its images break one
# (notebook 02). Guess how many of its penalties are below 0.9.

# %%
padchest, labelled = read_hierarchy("padchest"), public.padchest_labels()
given = [label for label in padchest.labels if label in labelled]
wide = data_driven_penalties(padchest, padchest.derive(labelled[given].astype(float)))
print(f"{(wide < 0.9).sum()} of {len(wide)} penalties are below 0.9; the lowest are")
wide.sort_values().head(5).round(3).to_frame()

# %% [markdown]
# None. With labels that name the most special thing only, a parent is absent from most images with its
# child, and the penalty still says nearly 1: the data drive it by how *rare* the child is.
#
# ## Where the gradient went
#
# **Claim.** The published penalty has a value but no gradient. Nudge a logit and, unless it crosses
# zero, the bracket stays what it is; the derivative of a constant is zero. A model trained by
# gradients cannot feel it.


# %%
def gradient(loss):
    free = logits.clone().requires_grad_()
    loss(free, targets).backward()
    return free.grad


difference = (gradient(step) - gradient(BCELoss())).abs().max()
print(f"value:    HBCE − BCE = {step(logits, targets) - BCELoss()(logits, targets):.3f}")
print(f"gradient: largest difference between HBCE's and BCE's = {difference:.1e}")

# %% [markdown]
# Not small: *zero*, to the last bit. In training the published loss can act only where its value is
# read: to stop early, to lower the learning rate, and to choose a checkpoint. Notebook 04 trains both
# and compares the weights.
#
# ## Forms that do train
#
# Two differentiable relatives ask for the same thing:
#
#     hinge:    max(0, p_child − p_parent)
#     product:  p_child · (1 − p_parent)
#
# **Claim.** The hinge pushes only where the child scores above its parent and falls silent on the
# diagonal; the product pushes everywhere, even predictions that are coherent already.


# %%
def surface(form):
    """Value of one edge's penalty, and its gradient by the two logits, over the square."""
    loss = HierarchicalBCELoss(hierarchy, fixed_penalties(hierarchy, 1.0), form=form)

    def evaluate(p_parent, p_child):
        parent, child = (
            torch.logit(torch.tensor(p, dtype=torch.float64)).requires_grad_()
            for p in (p_parent, p_child)
        )
        value = getattr(loss, f"_{form}")(parent, child)
        if not value.requires_grad:  # the step
            return value.numpy(), np.zeros_like(p_parent), np.zeros_like(p_child)
        value.sum().backward()
        return value.detach().numpy(), parent.grad.numpy(), child.grad.numpy()

    return evaluate


fig = plots.loss_surface(
    FORMS, [surface(form) for form in FORMS], "Only two of the three penalties push (red arrows)"
)
plots.show(
    fig,
    "Three squares over p(parent) and p(child). Step: a dark block in the upper left quarter and no "
    "arrows. Hinge: shade above the diagonal, arrows towards the diagonal. Product: shade over the "
    "whole upper left, arrows everywhere.",
)

# %% [markdown]
# The arrows are the push on the two *logits*. It is weak in the upper left corner, where it is needed
# most, because a sigmoid is flat near 0 and 1: a model that is sure of a contradiction is slow to mend it.
#
# Move the two probabilities of one edge and watch the three penalties, and how hard each pulls the
# child down.


# %%
def one_edge(p_parent, p_child):
    parent, child = np.array([[p_parent]]), np.array([[p_child]])
    values = {form: surface(form)(parent, child) for form in FORMS}
    shown = pd.DataFrame(
        {
            "penalty": {form: float(v[0][0, 0]) for form, v in values.items()},
            "pull on the child's logit": {form: float(v[2][0, 0]) for form, v in values.items()},
        }
    )
    fig, (left, right) = plots.figure(1, 2, 8, 2.6, sharey=True)
    for axis, column in zip((left, right), shown, strict=True):
        axis.barh(shown.index[::-1], shown[column][::-1], color=plots.BLUE)
        axis.set_xlabel(column)
    left.set_xlim(0, 1)
    right.set_xlim(0, 0.3)
    fig.suptitle(f"p(parent) = {p_parent:.2f}, p(child) = {p_child:.2f}", x=0.01, ha="left")
    return fig


widgets.explore(
    one_edge,
    "Bars for one edge with p(parent) 0.40 and p(child) 0.60: the step's penalty is 1 and its pull "
    "0; hinge and product have smaller penalties and a pull above 0.",
    p_parent=ipywidgets.FloatSlider(0.4, min=0.02, max=0.98, step=0.02, description="p(parent)"),
    p_child=ipywidgets.FloatSlider(0.6, min=0.02, max=0.98, step=0.02, description="p(child)"),
)

# %% [markdown]
# ## Does it work at all? A model of one image
#
# **Claim.** Let the loss alone move 21 logits, towards targets that contradict the hierarchy. Flat BCE
# and the step end in the same contradiction; hinge and product do not.

# %%
contradiction = torch.zeros(1, 21)
contradiction[0, hierarchy.labels.index("Pneumonia")] = 1.0  # without a single ancestor


def settle(loss, steps=400):
    free = torch.zeros(1, 21, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(free, contradiction).backward()
        optimizer.step()
    return hierarchy.to_table(free.detach().sigmoid())


losses = {"flat": BCELoss()} | {
    form: HierarchicalBCELoss(hierarchy, penalties, form=form) for form in FORMS
}
settled = {name: settle(loss) for name, loss in losses.items()}
pd.DataFrame(
    {
        name: {
            "p(Pneumonia)": scores["Pneumonia"].item(),
            "p(Consolidation)": scores["Consolidation"].item(),
            "hard contradictions": hierarchy.violations(scores)["hard"].sum(),
        }
        for name, scores in settled.items()
    }
).T.round(1)

# %% [markdown]
# The penalty won by giving up Pneumonia: with wrong labels, coherence is bought with the child. What
# that means for AUROC, on thousands of images, is a matter for measurement (notebooks 04 and 05).
#
# ## Coherent by construction
#
# A penalty asks for coherence. Two other methods leave no choice, because they read the logits
# differently:
#
# - **max-constraint** (C-HMCNN; Giunchiglia & Lukasiewicz 2020): a label is as probable as the most
#   probable label at or below it.
# - **conditional** (Chen et al. 2019; Pham et al. 2019): a logit says how probable the label is *given its
#   parents*. Its own probability is the product over itself and all its ancestors.
#
# **Claim.** Whatever the logits, a child never scores above its parent.

# %%
readouts = {
    "sigmoid": torch.sigmoid,
    "max-constraint": MaxConstraint(hierarchy),
    "conditional": Conditional(hierarchy),
}
wild = 4 * torch.randn(1000, 21, generator=generator)
pd.DataFrame(
    {
        name: {
            "images with a contradiction": hierarchy.incoherent(
                hierarchy.to_table(readout(wild).numpy())
            ).mean(),
        }
        for name, readout in readouts.items()
    }
).T.round(3)

# %% [markdown]
# With two parents, what is "given its parents"? The conditional method learns a label from those images
# on which *all* its parents are present, and counts every ancestor once. In this hierarchy one of two
# parents is always the child of the other (Consolidation is a kind of Fluid Accumulation), so nothing
# has to be assumed: p(Pneumonia) = p(Pneumonia | Consolidation) · p(Consolidation).
#
# Both need a loss that goes with the readout. The max-constraint's has a twist: where a parent is present
# and its child is not, the child must not be the one that speaks for the parent.
#
# **Claim.** On targets that contradict the hierarchy, the two resolve the contradiction in opposite ways.

# %%
coherent = {
    "max-constraint": (MaxConstraintLoss(hierarchy), readouts["max-constraint"]),
    "conditional": (ConditionalLoss(hierarchy), readouts["conditional"]),
}


def settle_coherently(loss, readout, steps=400):
    free = torch.zeros(1, 21, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(free, contradiction).backward()
        optimizer.step()
    return hierarchy.to_table(readout(free).detach().numpy())


chain = ["Pneumonia", "Consolidation", "Fluid Accumulation", "Opacity", "Abnormal"]
pd.DataFrame(
    {name: settle_coherently(*both)[chain].iloc[0] for name, both in coherent.items()}
).T.round(1)

# %% [markdown]
# Max-constraint cannot please both: five labels share one maximum, one of them asks for 1 and four for 0, and
# they settle where the pulls balance. The conditional method never asks whether there is pneumonia in a
# lung without consolidation: it believes the parents, down from the top.
#
# ## Take away
#
# - HBCE is BCE plus a sum over contradicted edges; fixed penalties are 0.5.
# - Data-driven penalties are 1 on fifteen of twenty edges by construction; of the others three move, on
#   CheXpert's labels down to 0.67. They measure how rare a child is, more than how often it is alone.
# - The published penalty is a step: its gradient is zero, so at a given learning rate every step of
#   training with it is a step of BCE. It acts only where a schedule or a checkpoint reads the loss.
# - Hinge and product are differentiable and do make predictions more coherent. Max-constraint and
#   conditional make contradictions impossible.
#
# **Next**: 04 trains with them.
