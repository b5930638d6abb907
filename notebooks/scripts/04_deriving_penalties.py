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
# # 04 · Deriving penalties
#
# What should it cost to contradict the hierarchy, and does the published price ever reach the weights?
#
# **You will be able to** write the paper's loss from its formula, derive its gradient, say why nearly all
# data-driven penalties are 1, find out whether the published penalty can train a model, choose a penalty's
# weight knowing what it is weighed against, and name four ways to do what the penalty hoped to do: two that
# push, and two that cannot contradict themselves.
#
# **Needs** notebook 03: edges, parents, derived labels, exclusions. **Minutes** 45, and 16 for the exercises.
# The section called *further* takes 5 more and can wait. Less than one is computing; have a pencil. Take two
# sittings, with a break before *Forms that push*.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import ipywidgets
import numpy as np
import pandas as pd
import torch

from cxrlib import data, exercises, plots, public, widgets
from cxrlib.hierarchy import Hierarchy, paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy
from cxrlib.losses import (
    FORMS,
    BCELoss,
    Conditional,
    ConditionalLoss,
    HierarchicalBCELoss,
    MaxConstraint,
    MaxConstraintLoss,
    NeverBoth,
)
from cxrlib.penalties import data_driven_penalties, fixed_penalties

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# The letters of this notebook, and what the code calls them:
#
# | letter | in code | meaning |
# |---|---|---|
# | $z$ | `logits` | what the model says of a label: any real number |
# | $p = \sigma(z) = 1 / (1 + e^{-z})$ | `logits.sigmoid()` | its probability |
# | $y$ | `targets` | its target: 1 present, 0 absent |
# | $L$ | `len(hierarchy.labels)` | how many labels |
# | $e$ | `(parent, child)` | an edge of the hierarchy |
# | $\text{penalty}_e$ | `penalties[parent, child]` | what it costs to contradict the edge |
# | $\lambda$ | `weight` | how much all penalties count beside the labels |
#
# ## One label: binary cross-entropy
#
# The binary cross-entropy (BCE) of one label is
#
# $$\text{BCE}(z, y) = -y \log p - (1 - y) \log(1 - p)$$
#
# Training takes small steps *against* the gradient, so a logit is pushed by minus the derivative of the loss.
# **Guess**: the model is undecided, $z = 0$. How hard is the logit pushed, and which way, where the label is
# present? Where it is absent?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.1")

# %%
tables = {}
for y in (1, 0):
    z = torch.tensor([-4.0, -2, 0, 2, 4], dtype=torch.float64, requires_grad=True)
    p = z.sigmoid()
    bce = -y * p.log() - (1 - y) * (1 - p).log()
    bce.sum().backward()
    values = {"z": z, "p": p, "gradient": z.grad, "p − y": p - y, "push": -z.grad}
    tables[f"y = {y}"] = pd.DataFrame({name: v.detach() for name, v in values.items()})

pd.concat(tables).droplevel(1).round(3)

# %% [markdown]
# The gradient is $p - y$. Three lines say why: first the sigmoid, then the loss by $p$, then the chain rule,
#
# $$\frac{dp}{dz} = \frac{e^{-z}}{(1 + e^{-z})^2} = p \, (1 - p)$$
#
# $$\frac{d \, \text{BCE}}{dp} = -\frac{y}{p} + \frac{1 - y}{1 - p} = \frac{p - y}{p \, (1 - p)}$$
#
# $$\frac{d \, \text{BCE}}{dz} = \frac{d \, \text{BCE}}{dp} \cdot \frac{dp}{dz} = p - y$$
#
# So the push is $y - p$: up by a half where the undecided model should say yes, down by a half where it should
# say no, and next to nothing where it is right already. It is never more than 1, however wrong the model is.
#
# ## The published loss
#
# Cross-entropy treats labels one by one: "pneumonia, but no consolidation" costs nothing extra. The
# paper's **hierarchical binary cross-entropy** (HBCE; Asadi et al. 2025) adds a penalty for every edge that a
# prediction contradicts:
#
# $$\text{HBCE} = \frac{1}{L} \sum_{l=1}^{L} \text{BCE}(z_l, y_l) + \lambda \sum_e \text{penalty}_e
# \cdot \text{gap}_e, \qquad
# \text{gap}_e = \big[\, p_\text{parent} < 0.5 \text{ and } p_\text{child} > 0.5 \,\big]$$
#
# averaged over the images of a batch. The square bracket is 1 if what it says holds, else 0. The paper
# leaves $\lambda$ at 1, and so do we until we turn it.
#
# **Guess**: 64 images, random logits around 0, a penalty of 0.5 on each of the 20 edges. By how much does
# HBCE exceed BCE? (How often does an edge see a coin fall tails for the parent and heads for the child?)

# %% tags=["nbval-ignore-output"]
exercises.guess("04.2")


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

by_loops, flat = hbce_in_loops(logits, targets, penalties), BCELoss()(logits, targets).item()
print(f"BCE:               {flat:.3f}")
print(f"HBCE in loops:     {by_loops:.3f}")
print(f"HBCE in cxrlib:    {step(logits, targets):.3f}")
print(f"the penalties add: {by_loops - flat:.3f}")
print(f"the guess, 20 edges · 1/4 of the images · 0.5: {20 / 4 * 0.5:.3f}")

# %% [markdown]
# The formula holds no more than that. `cxrlib` does it without a loop over edges: two index tensors pick all
# parents and all children at once. Read it; it fits on a screen.

# %%
import inspect

print(inspect.getsource(HierarchicalBCELoss.penalty))
print(inspect.getsource(HierarchicalBCELoss._step))

# %% [markdown]
# ## Fixed and data-driven penalties
#
# The paper tries two kinds. *Fixed*: 0.5 on every edge. *Data-driven*: the more rarely the training labels
# break an edge, the higher the penalty for predicting so,
#
# $$\text{penalty}_e = 1 - P(\text{child} = 1 \mid \text{parent} = 0)
# = 1 - \frac{n(\text{child} = 1, \text{parent} = 0) + \varepsilon}{n(\text{parent} = 0) + 2 \varepsilon}$$
#
# with counts $n$ of training images and $\varepsilon = 10^{-6}$, so that nothing is divided by zero. (An edge
# without a single image to count on gets 0.5: no evidence either way. NIH's labels leave `Other` so, whose
# children nobody looked for. The tables and the drawing below leave such an edge out.)
#
# **Guess**: take a group that is the OR of its children, such as `Cardiac`. How many images show a child
# without the group? What is the penalty then, and for how many of the twenty edges is it settled before
# anybody has counted? (The drawing in notebook 03 helps.)

# %% tags=["nbval-ignore-output"]
exercises.guess("04.3")


# %%
def is_or(parent):
    """Whether a label is computed as the OR of its children."""
    return parent not in OBSERVATIONS and parent not in hierarchy.none_of


by_construction = np.array([is_or(parent) for parent, _ in hierarchy.edges])
from_or = hierarchy.edge_index[by_construction].get_level_values("parent").value_counts(sort=False)
print(f"{by_construction.sum()} of {len(hierarchy.edges)} edges lead down from an OR:")
print(from_or.to_string(header=False))

# %% [markdown]
# The other edges are free. Count on this track's labels, from every source it has, and on real ones: the
# report labels of CheXpert's whole training table, known from notebook 03.

# %%
codes = public.chexpert_labels()[list(OBSERVATIONS)]
real = {policy: hierarchy.derive(apply_policy(codes, policy)) for policy in ("U-Zeros", "U-Ones")}

if track.name == "nih":
    opened = {"NIH": track}
else:
    opened = {
        f"{track.name}, {source}": data.open_track(track.folder, labels=source, uncertain="U-Zeros")
        for source in ("visualchexbert", "report", "truth")
        if (track.folder / data.LABEL_SOURCES[source]).is_file()
    }
counted = {
    name: hierarchy.derive(one.split("train")[list(OBSERVATIONS)]) for name, one in opened.items()
}
counted |= {f"CheXpert, {policy}": labels for policy, labels in real.items()}
table = pd.DataFrame(
    {name: data_driven_penalties(hierarchy, labels) for name, labels in counted.items()}
)
table = table.where(table != 0.5)  # 0.5: no image to count on
table[~by_construction].round(3)


# %%
def draw_penalties(table, title):
    """The free edges above, a colour per source; below, on grey, those that no label can break."""
    rows = pd.concat([table[~by_construction], table[by_construction]])
    free = (~by_construction).sum()
    y = -np.concatenate([1.8 * np.arange(free), 1.8 * free + np.arange(len(rows) - free)])
    edge = y[free] + 0.9
    fig, axis = plots.figure(width=10, height=8.2)
    axis.axhspan(y[-1] - 0.7, edge, color="0.9", lw=0)
    looks = zip("osD^v", (plots.BLUE, plots.SKY, plots.GREEN, plots.ORANGE, plots.RED), strict=True)
    for i, (name, (marker, colour)) in enumerate(zip(table, looks, strict=False)):
        height = y[:free] + 0.28 * (2 - i)
        axis.plot(rows[name][:free], height, marker, color=colour, ms=9, label=name, clip_on=False)
        axis.plot(rows[name][free:], y[free:], "o", color=plots.GREY, ms=8, clip_on=False)
    axis.text(0.03, y[free // 2], "free to move", fontsize=14, va="center")
    words = "parent = OR of its children:\n1 by construction, whatever is counted"
    axis.text(0.03, (edge + y[-1]) / 2, words, fontsize=14, va="center")
    axis.set_yticks(y, [" → ".join(names) for names in rows.index], fontsize=12)
    axis.tick_params(axis="x", labelsize=12)
    axis.grid(axis="x", alpha=0.3)
    axis.set(xlim=(0, 1), ylim=(y[-1] - 0.7, 1.0))
    axis.set_xlabel("data-driven penalty", fontsize=13)
    axis.set_title(title, loc="left", fontsize=14, pad=10)
    fig.legend(loc="outside lower center", ncols=3, fontsize=12, frameon=False)
    return fig


# %%
free_edges = table[~by_construction]
below_one = (free_edges < 0.9995).any(axis=1).sum()
title = f"Only {len(free_edges)} of {len(table)} penalties can move, and {below_one} of them do"
fig = draw_penalties(table, title)
plots.show(
    fig,
    "Dot plot of the twenty data-driven penalties. On grey the edges whose parent is the OR of its "
    "children, all at 1. Above them the five free edges with a marker per source of labels: "
    "Abnormal to Cardiac and to Opacity are at 1 too; Enlarged Cardiomediastinum to Cardiomegaly, "
    "Consolidation to Pneumonia and Abnormal to Other are mostly lower.",
)

# %% [markdown]
# `Abnormal` → `Cardiac` and → `Opacity` are free to move and do not: no chest with one of these findings is
# called `No Finding`. A chest with a pacemaker and nothing else is, and that moves `Abnormal` → `Other`.
#
# ## Two conditionals
#
# Notebook 03 found that most reports of pneumonia contradict `Consolidation` → `Pneumonia`. Yet on CheXpert's
# labels its penalty moved least of the three. A mistake? All that is needed is four counts (U-Zeros):

# %%
child, parent = "Pneumonia", "Consolidation"
words = {
    name: real["U-Zeros"][name].map({0: f"no {name}", 1: name}).rename(None)
    for name in (parent, child)
}
counts = pd.crosstab(words[parent], words[child], margins=True, margins_name="all")
order = {name: [f"no {name}", name, "all"] for name in (parent, child)}
counts = counts.loc[order[parent], order[child]].rename_axis(index=None, columns=None)
counts.map("{:,}".format)

# %% [markdown]
# **Guess**, with a pencil, from the one number where `no Consolidation` meets `Pneumonia`:
#
# 1. Of the images with Pneumonia, what share lacks Consolidation? Divide by the foot of the *column*.
# 2. Of the images without Consolidation, what share shows Pneumonia? Divide by the end of the *row*.
#
# Which of the two is in the penalty?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.4")

# %%
broken = counts.loc[f"no {parent}", child]
column, row = counts.loc["all", child], counts.loc[f"no {parent}", "all"]
print(f"P(no {parent} | {child}) = {broken:,} / {column:,} = {broken / column:.3f}")
print(f"P({child} | no {parent}) = {broken:,} / {row:,} = {broken / row:.3f}")
print(f"the penalty: 1 − {broken / row:.3f} = {1 - broken / row:.3f}")
print(f"cxrlib says:             {table.loc[(parent, child), 'CheXpert, U-Zeros']:.3f}")

# %% [markdown]
# No mistake: they are opposite conditionals. The first asks how often an image of the *child* contradicts the
# edge, the second how often an image without the *parent* does, and of those there are very many. Bayes' rule
# ties the two together:
#
# $$P(\text{child} \mid \text{no parent}) = P(\text{no parent} \mid \text{child}) \cdot
# \frac{P(\text{child})}{P(\text{no parent})}$$
#
# The first factor is at most 1. So for a child that is rare beside the images without its parent, the
# penalty is near 1 *however often* the labels contradict the edge.
#
# ## Further: would a larger hierarchy tell more?
#
# PadChest's has 208 edges, and more than a third of its images break one (notebook 03). **Guess**: how many of its
# penalties are below 0.9?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.5")

# %%
padchest, labelled = read_hierarchy("padchest"), public.padchest_labels()
given = [label for label in padchest.labels if label in labelled]
wide = padchest.derive(labelled[given].astype(float))
edges = data_driven_penalties(padchest, wide).to_frame("penalty")
edges["child is in"] = [wide[child].mean() for _, child in edges.index]
contradicted = padchest.violations(wide)["hard"].to_numpy() / len(wide)
edges["child lacks the parent"] = contradicted / edges["child is in"]

print(f"{(edges['penalty'] < 0.9).sum()} of {len(edges)} are below 0.9")
edges.sort_values("penalty").head(5).round(3)

# %% [markdown]
# Not one. First set apart, as above, what was settled before anybody counted: parents that PadChest's table
# does not have, so that they are the OR of their children. Of the rest, how many do the labels break on most
# images of the child?

# %%
derived = ~edges.index.get_level_values("parent").isin(given)
often = (edges["child lacks the parent"] > 0.5).to_numpy()
kinds = np.select(
    [derived, often],
    ["by construction", "free, broken on most images of the child"],
    "free, broken on fewer or none",
)
bounds = [0, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.01]
names = [
    "below 0.9",
    "0.9 to 0.95",
    "0.95 to 0.99",
    "0.99 to 0.999",
    "0.999 to 0.9999",
    "0.9999 to 1",
]
classes = pd.cut(edges["penalty"], bounds, right=False, labels=names)
heights = pd.crosstab(classes, kinds, dropna=False).rename_axis(columns=None)
print("the OR of their children:", ", ".join(sorted(set(padchest.labels) - set(given))))
heights.T

# %%
fig, axis = plots.figure(width=9.5, height=4.8)
where = [name.replace(" ", "\n", 1) for name in heights.index]
under = np.zeros(len(where))
for kind, colour in zip(heights, ("0.8", plots.BLUE, plots.ORANGE), strict=True):
    axis.bar(where, heights[kind], bottom=under, color=colour, label=kind)
    under += heights[kind].to_numpy()
for x, n in enumerate(under):
    axis.text(x, n + 1.5, f"{n:.0f}", ha="center", fontsize=13)
axis.set_ylim(0, 1.1 * under.max())
axis.tick_params(labelsize=12)
axis.set_xlabel("data-driven penalty", fontsize=13)
axis.set_ylabel("edges", fontsize=13)
axis.legend(fontsize=12, frameon=False, loc="upper left")
high = (edges.loc[~derived, "penalty"] >= 0.99).sum()
title = f"PadChest: of {(~derived).sum()} penalties free to move, {high} are still 0.99 or more"
axis.set_title(title, loc="left", fontsize=14)
plots.show(
    fig,
    "Histogram of PadChest's 208 penalties in six uneven classes from below 0.9 to 1, in three "
    "colours. None is below 0.9 and one below 0.95. The highest class holds 111, nearly all by "
    "construction. The free ones lie mostly between 0.95 and 0.9999, and nearly all of them are "
    "edges that the labels break on most images of the child.",
)

# %%
free_edges = edges[~derived]
rare = (free_edges["child is in"] < 0.01).sum()
print(f"free edges: {len(free_edges)}, broken on most images of the child: {often[~derived].sum()}")
print(f"their lowest penalty: {free_edges['penalty'].min():.3f}")
print(f"their child is in fewer than one image of a hundred: {rare}")

# %% [markdown]
# If you guessed many, so did we, and were wrong for the two reasons of before. Nearly half of the edges can never
# be broken: they lead down from PadChest's two headings, the ORs of what they hold. Nearly all of the rest the labels break on
# most images of the child, and yet no penalty says so: the more labels there are, the rarer is each. A
# data-driven penalty measures how *rare* a child is, more than how often it comes without its parent.
#
# ## The penalty's push
#
# Back to training. The penalty has a value, as we have seen: about 2.5 on random logits. **Guess**: how large
# is its push on the 64 × 21 logits of that batch?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.6")


# %%
def gradient(loss):
    free = logits.clone().requires_grad_()
    loss(free, targets).backward()
    return free.grad


of_bce, of_hbce = gradient(BCELoss()), gradient(step)
print(f"value:    HBCE − BCE = {step(logits, targets) - BCELoss()(logits, targets):.3f}")
print(f"gradient: largest entry of BCE's               = {of_bce.abs().max():.1e}")
print(f"gradient: largest difference, HBCE's and BCE's = {(of_hbce - of_bce).abs().max():.1e}")

# %% [markdown]
# Not small: *zero*, to the last bit. Unless a logit crosses 0, the bracket stays what it is, and the
# derivative of a constant is 0. A model trained by gradients cannot feel the published penalty. It can act
# only where the loss's *value* is read: to stop early, to lower the learning rate, to choose a checkpoint.
# Notebook 05 trains both and compares the weights.
#
# ## Forms that push
#
# Two differentiable relatives ask for the same thing with another gap:
#
# $$\text{hinge:} \quad \text{gap}_e = \max(0, \; p_\text{child} - p_\text{parent}) \qquad\qquad
# \text{product:} \quad \text{gap}_e = p_\text{child} \, (1 - p_\text{parent})$$
#
# **Guess**: over the square of all $(p_\text{parent}, p_\text{child})$, where does each of the three forms
# push? Where does each fall silent?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.7")


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


# %%
fig = plots.loss_surface(
    FORMS, [surface(form) for form in FORMS], "Only two of the three penalties push (arrows)"
)
fig.set_size_inches(10.5, 4.0)
for axis in fig.axes[:3]:
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
for axis in fig.axes:
    axis.tick_params(labelsize=12)
    axis.yaxis.label.set_size(13)
plots.show(
    fig,
    "Three squares over p(parent) and p(child). Step: a dark block in the upper left quarter and no "
    "arrows. Hinge: shade above the diagonal, arrows towards the diagonal. Product: shade over the "
    "whole upper left, arrows everywhere.",
)

# %% [markdown]
# The hinge pushes only where the child scores above its parent, and falls silent on the diagonal. The
# product pushes everywhere, if faintly where the child scores low: even predictions that are coherent already.
#
# The arrows are the push on the two *logits*, so each carries the sigmoid's slope. For the hinge, where the
# child scores above its parent,
#
# $$-\frac{\partial \, \text{gap}}{\partial z_\text{child}} = -p_\text{child} (1 - p_\text{child}), \qquad
# -\frac{\partial \, \text{gap}}{\partial z_\text{parent}} = p_\text{parent} (1 - p_\text{parent})$$
#
# In the upper left corner, where the contradiction is greatest, both slopes are near 0: a model that is sure
# of a contradiction is slow to mend it.
#
# Move the two probabilities of one edge and watch the three penalties, and how hard each pulls the child
# down. Can you make the product's penalty larger than the hinge's? Smaller? And its pull?


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
    fig, (left, right) = plots.figure(1, 2, 9, 2.8, sharey=True)
    for axis, column in zip((left, right), shown, strict=True):
        axis.barh(shown.index[::-1], shown[column][::-1], color=plots.BLUE)
        axis.set_xlabel(column, fontsize=13)
        axis.tick_params(labelsize=12)
        for y, value in enumerate(shown[column][::-1]):
            axis.text(value, y, f" {value:.2f}", va="center", fontsize=13)
    left.set_xlim(0, 1.15)
    right.set_xlim(0, 0.3)
    pulling = shown.index[shown["pull on the child's logit"] > 0]
    where = f"p(parent) = {p_parent:.2f}, p(child) = {p_child:.2f}"
    fig.suptitle(f"{where}: pulled by {' and '.join(pulling)}", x=0.01, ha="left", fontsize=14)
    return fig


# %%
widgets.explore(
    one_edge,
    "Bars for one edge with p(parent) 0.40 and p(child) 0.60: the step's penalty is 1 and its pull "
    "0; hinge and product have smaller penalties and a pull above 0.",
    p_parent=ipywidgets.FloatSlider(0.4, min=0.02, max=0.98, step=0.02, description="p(parent)"),
    p_child=ipywidgets.FloatSlider(0.6, min=0.02, max=0.98, step=0.02, description="p(child)"),
)

# %% [markdown]
# The product's penalty is never the smaller one: it is $p_\text{child} - p_\text{child} \, p_\text{parent}$,
# and takes away less than all of $p_\text{parent}$. Where both pull, the hinge pulls harder.
#
# ## A sum against a mean
#
# A form that pushes must be weighed against the labels. Take the worst case, labels that contradict an
# edge themselves: the child is present, the parent is not. The child's logit is then pushed two ways:
#
# $$\underbrace{\frac{1}{L} \, (1 - p_\text{child})}_{\text{up, by its label: one of a mean over } L}
# \qquad\qquad
# \underbrace{\lambda \; \text{penalty}_e \; p_\text{child} \, (1 - p_\text{child})}_{\text{down, by the
# hinge: one of a sum over edges}}$$
#
# **Guess**: with $L = 21$, a penalty of 0.5, $\lambda = 1$ and $p_\text{child} = 0.9$, which is stronger, and how
# many times? For which $\lambda$ are they equal? Ask the losses themselves:

# %% tags=["nbval-ignore-output"]
exercises.guess("04.8")

# %%
only = 0 * penalties  # one edge counts, the others are free
only["Consolidation", "Pneumonia"] = 0.5
one_hinge = HierarchicalBCELoss(hierarchy, only, form="hinge")
at_child = hierarchy.labels.index("Pneumonia")

contradiction = torch.zeros(1, 21, dtype=torch.float64)
contradiction[0, at_child] = 1.0  # without a single ancestor

rows = {}
for p_child in (0.3, 0.5, 0.9, 0.99):
    z = torch.full((1, 21), -6.0, dtype=torch.float64)
    z[0, at_child] = np.log(p_child / (1 - p_child))
    z.requires_grad_()
    (up,) = torch.autograd.grad(-BCELoss()(z, contradiction), z)
    (down,) = torch.autograd.grad(one_hinge.penalty(z), z)
    up, down = up[0, at_child].item(), down[0, at_child].item()
    rows[p_child] = {
        "label, up": up,
        "edge, down": down,
        "times": down / up,
        "equal at λ": up / down,
    }
pd.DataFrame(rows).T.rename_axis("p(child)").round(4)

# %% [markdown]
# With $\lambda = 1$ the edge pulls several times as hard as the label pushes, and the more so the surer the
# model is of the child: they are equal where $\lambda \; \text{penalty}_e \; p_\text{child} = 1 / L$. Not
# because coherence was judged so important: a sum over edges met a mean over labels.
#
# Where does such a tug of war end? As long as the child is above the parent, what is minimised is
#
# $$\frac{-\log p_\text{child} - \log(1 - p_\text{parent})}{L} +
# \lambda \; \text{penalty}_e \, (p_\text{child} - p_\text{parent})$$
#
# and its derivatives vanish at $p_\text{child} = 1 - p_\text{parent} = 1 / (L \, \lambda \, \text{penalty}_e)$.
# So there are three cases. While that is above 1, the labels have their way. When it has fallen to one half,
# child and parent meet, and a heavier weight changes nothing any more. In between they haggle.
#
# Is that so? Let the loss alone move 21 logits, for many $\lambda$, and compare.


# %%
def settle(loss, readout=torch.sigmoid, steps=2000):
    """Where a loss alone takes 21 logits on the contradicting targets: probabilities [1, 21]."""
    free = torch.zeros(1, 21, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.3)
    slower = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1e-2 ** (1 / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        loss(free, contradiction).backward()
        optimizer.step()
        slower.step()
    return hierarchy.to_table(readout(free.detach()).numpy())


def balance(weight, labels=21, penalty=0.5):
    """p(child) and p(parent) in the end, from the formula."""
    child = np.clip(1 / (labels * weight * penalty), 0.5, 1)
    return child, 1 - child


# %%
found = pd.DataFrame(
    {
        weight: settle(HierarchicalBCELoss(hierarchy, only, "hinge", weight)).iloc[0]
        for weight in (0.02, 0.05, 0.11, 0.13, 0.16, 0.3, 1.0)
    }
).T[["Pneumonia", "Consolidation"]]
theory = pd.DataFrame(
    {weight: balance(weight) for weight in found.index}, index=["formula, child", "parent"]
).T
found.join(theory).rename_axis("λ").round(2)

# %%
print(f"below λ = {1 / (21 * 0.5):.3f} the labels win: child 1, parent 0")
print(f"above λ = {2 / (21 * 0.5):.3f} the edge wins: both one half")

# %% [markdown]
# So a fixed penalty of 0.5, once it pushes, is far past both at $\lambda = 1$. (A child with two
# contradicted parents, as Pneumonia has, is pulled twice, and begins to give way at half the $\lambda$.) Move
# $\lambda$ and watch: on the left the two forces, on the right where they end.


# %%
def tug_of_war(weight):
    child, parent = balance(weight)
    fig, (left, right) = plots.figure(1, 2, 10.5, 4.4)
    p = np.linspace(0, 1, 201)
    left.plot(p, (1 - p) / 21, color=plots.BLUE, lw=3, label="the label pushes up")
    pull = weight * 0.5 * p * (1 - p)
    left.plot(p, pull, color=plots.RED, lw=3, ls="--", label="the edge pulls down")
    if 0.5 < child < 1:
        left.plot(child, (1 - child) / 21, "o", color="black", ms=9, label="equally strong")
    left.set(xlim=(0, 1), ylim=(0, 0.13))
    left.set_xlabel("p(child), the parent below it", fontsize=13)
    left.set_ylabel("force on the child's logit", fontsize=13)
    left.legend(fontsize=12, frameon=False, loc="upper right")

    weights = np.geomspace(0.01, 3, 300)
    lines = np.array([balance(one) for one in weights]).T
    right.plot(weights, lines[0], color=plots.BLUE, lw=3)
    right.plot(weights, lines[1], color=plots.ORANGE, lw=3, ls="--")
    right.plot(found.index, found["Pneumonia"], "o", color=plots.BLUE, ms=8)
    right.plot(found.index, found["Consolidation"], "s", color=plots.ORANGE, ms=8)
    right.text(0.011, 0.9, "child\n(label 1)", fontsize=12, va="top")
    right.text(0.011, 0.1, "parent\n(label 0)", fontsize=12)
    right.axvline(weight, color="black", lw=2, ls=":")
    right.set_xscale("log")
    right.set(xlim=(0.01, 3), ylim=(-0.03, 1.03))
    right.set_xticks([0.01, 0.1, 1], ["0.01", "0.1", "1"])
    right.set_xlabel("λ (line: formula, dots: found by descent)", fontsize=13)
    right.set_ylabel("probability in the end", fontsize=13)
    for axis in (left, right):
        axis.tick_params(labelsize=12)
    said = "the labels win" if child == 1 else "the edge wins" if child == 0.5 else "they haggle"
    ends = f"the child ends at {child:.2f}, the parent at {parent:.2f}"
    fig.suptitle(f"λ = {weight:.3g}: {said}, {ends}", x=0.01, ha="left", fontsize=14)
    return fig


# %%
steps = [0.01, 0.02, 0.05, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0]
widgets.explore(
    tug_of_war,
    "Left, the label's push and the edge's pull on the child's logit for a weight of 0.14; they "
    "cross at 0.68. Right, where child and parent end for every weight: at 1 and 0 for small "
    "weights, moving towards each other from about 0.1, both at one half from about 0.2 on.",
    weight=ipywidgets.SelectionSlider(options=steps, value=0.14, description="λ"),
)

# %% [markdown]
# Where the labels keep the hierarchy, they and the edges want the same in the end. What a penalty does to
# AUROC, on thousands of images, is a matter for measurement (notebook 06b).
#
# ## All twenty edges at once
#
# Now all twenty edges, at the published weight. Pneumonia is present and its four ancestors are not. Two tied
# labels that disagreed met at one half. **Guess**: if the hinge ties all five together, where do they meet?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.9")

# %%
chain = ["Pneumonia", "Consolidation", "Fluid Accumulation", "Opacity", "Abnormal"]
losses = {"flat": BCELoss()} | {
    form: HierarchicalBCELoss(hierarchy, penalties, form=form) for form in FORMS
}
settled = {name: settle(loss) for name, loss in losses.items()}
ends = pd.concat(settled).droplevel(1)[chain].round(2)
wrong = {name: (scores - contradiction.numpy()).abs() for name, scores in settled.items()}
ends["BCE"] = [float(-np.log(1 - off).mean(axis=None)) for off in wrong.values()]
ends["BCE"] = ends["BCE"].round(3)
ends["hard contradictions"] = [
    int(hierarchy.violations(scores)["hard"].sum()) for scores in settled.values()
]
ends

# %%
apart = (settled["step"] - settled["flat"]).abs().max(axis=None)
print(f"after 2,000 steps of training, flat and step differ by at most {apart:.1e}")

# %% [markdown]
# Flat BCE and the step end in the same contradiction, and in the same numbers. The hinge ends coherent, with
# five equal probabilities. Call the common value $q$: one target says 1, four say 0, so what is minimised is
#
# $$-\log q - 4 \log(1 - q), \qquad \text{with derivative} \quad -\frac{1}{q} + \frac{4}{1 - q} = 0
# \quad \Longrightarrow \quad q = \frac{1}{5}$$
#
# One vote in five. The best single number for several targets is their mean: cross-entropy counts votes.
#
# The product never ties anything. It pulls the child down until its pull, from two edges, is as weak as the
# label's push: with the formula above, the parents being near 0, at $1 / (21 \cdot (0.5 + 0.5))$. That is still above the parents.
#
# With wrong labels, then, the hinge buys coherence with the child. The product pays more, by BCE, and gets less:
# no contradiction at a threshold of 0.5, but a child that still scores above its parents.
#
# ## Readouts that cannot contradict themselves
#
# A penalty asks for coherence. Two other methods leave no choice, because they *read* the logits
# differently:
#
# - **max-constraint** (C-HMCNN; Giunchiglia & Lukasiewicz 2020): a label is as probable as the most
#   probable label at or below it. With $D_l$ for the label $l$ and all its descendants,
#
#   $$p_l = \max_{j \in D_l} \sigma(z_j)$$
#
# - **conditional** (Chen et al. 2019; Pham et al. 2019): a logit says how probable the label is *given its
#   parents*. $P(\text{child}) = P(\text{parent}) \cdot P(\text{child} \mid \text{parent})$, and so on upwards:
#   with $A_l$ for the label $l$ and all its ancestors, each counted once,
#
#   $$p_l = \prod_{j \in A_l} \sigma(z_j)$$
#
# **Guess**: of 1,000 images with wild random logits, how many have a child above its parent, for each
# readout? Why? (Compare the sets of a parent and of its child.)

# %% tags=["nbval-ignore-output"]
exercises.guess("04.10")

# %%
readouts = {
    "sigmoid": torch.sigmoid,
    "max-constraint": MaxConstraint(hierarchy),
    "conditional": Conditional(hierarchy),
}
wild = 4 * torch.randn(1000, 21, generator=generator)
for name, readout in readouts.items():
    scores = hierarchy.to_table(readout(wild).numpy())
    print(f"{name:14} {hierarchy.incoherent(scores).sum():5,} of 1,000 contradict themselves")

# %% [markdown]
# A parent's $D$ contains its child's, so its maximum is no lower. A child's $A$ contains its parent's, so its
# product has more factors, none above 1.
#
# With two parents, what is "given its parents"? All of them present. In this hierarchy one of two parents is
# always the child of the other (Consolidation is a kind of Fluid Accumulation), so nothing has to be assumed:
# P(Pneumonia) = P(Pneumonia | Consolidation) · P(Consolidation).
#
# ## Losses that go with the readouts
#
# The obvious loss for max-constraint is BCE of the probabilities that are read. Try it on two labels of a
# single image: Consolidation is present, Pneumonia is not, and the model says the reverse, logits 0 and 2.
# Consolidation reads as Pneumonia's 2. **Guess**: which of the two logits does "Consolidation is present" push
# up?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.11")

# %%
two = Hierarchy(["Consolidation", "Pneumonia"], [("Consolidation", "Pneumonia")])
truth = torch.tensor([[1.0, 0.0]])
as_read = MaxConstraint(two)


def obvious_loss(z, y):
    p = as_read(z)
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


pushes = {}
for name, loss in {"BCE as read": obvious_loss, "C-HMCNN's": MaxConstraintLoss(two)}.items():
    z = torch.tensor([[0.0, 2.0]], requires_grad=True)
    loss(z, truth).backward()
    pushes[name] = pd.Series(-z.grad[0].numpy(), index=two.labels)
pd.DataFrame(pushes).T.round(3) + 0.0  # no −0

# %% [markdown]
# Pneumonia's. Consolidation's own logit is not pushed at all: it is not the maximum, so it has no gradient,
# and it never learns while its child speaks for it. (Pneumonia is still pushed down, but weaker: it is asked
# to fall as itself, and to rise as its parent.)
#
# C-HMCNN's loss lets only those descendants speak for a *present* label that are present themselves:
#
# $$\frac{1}{L} \sum_l \text{BCE}(\hat{z}_l, y_l), \qquad
# \hat{z}_l = \begin{cases} \max_{j \in D_l} z_j & \text{where } y_l = 0 \\
# \max_{j \in D_l, \; y_j = 1} z_j & \text{where } y_l = 1 \end{cases}$$
#
# (A maximum of logits instead of probabilities: the sigmoid keeps order.) An absent label is still charged
# with its loudest descendant, which has to be absent too.
#
# The conditional method's loss asks only the questions that make sense: of each image, those labels
# whose parents are all present,
#
# $$\frac{1}{|Q|} \sum_{l \in Q} \text{BCE}(z_l, y_l), \qquad
# Q = \{\, l : y_j = 1 \text{ for all parents } j \text{ of } l \,\}$$
#
# where $|Q|$ counts the questions in the whole batch. **Guess**: what do these two make of the contradicting
# targets, Pneumonia without its four ancestors?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.12")

# %%
coherent = {
    "max-constraint": (MaxConstraintLoss(hierarchy), readouts["max-constraint"]),
    "conditional": (ConditionalLoss(hierarchy), readouts["conditional"]),
}
pd.concat({name: settle(*both)[chain] for name, both in coherent.items()}).droplevel(1).round(2)

# %% [markdown]
# Max-constraint takes the vote: the four absent labels are charged with Pneumonia's logit, which its own
# label wants high, and the five settle at one in five. The conditional method takes no vote. `Abnormal` is
# absent, so nothing below it is ever asked: it believes the topmost label, and the rest follow.
#
# ## Never both
#
# Edges are not all a hierarchy may say. An exclusion, `never_both`, asks that two probabilities do not add up
# to more than 1 (notebook 03). No penalty of the paper's does that, and no loss here; a last step of the
# readout does, `losses.NeverBoth`. Of a pair $(a, b)$, the label with fewer descendants gives way, it and
# all below it:
#
# $$p_a \leftarrow \min(p_a, \; 1 - p_b)$$
#
# **Guess**: in the course's own hierarchy `No Finding` excludes `Abnormal`. A model says 0.7 and 0.6. What
# is left of each?

# %% tags=["nbval-ignore-output"]
exercises.guess("04.13")

# %%
anatomy = read_hierarchy("anatomy")
print("never both:", *(" and ".join(pair) for pair in anatomy.never_both))
said = anatomy.to_table(np.full((3, len(anatomy.labels)), 0.1))
said.loc[0, ["No Finding", "Abnormal"]] = [0.7, 0.6]
said.loc[1, ["No Finding", "Abnormal"]] = [0.3, 0.6]
said.loc[2, ["No Finding", "Abnormal", "Lung", "Edema"]] = [0.9, 0.8, 0.8, 0.8]
kept = anatomy.to_table(NeverBoth(anatomy)(torch.from_numpy(anatomy.to_array(said))).numpy())
few = ["No Finding", "Abnormal", "Lung", "Edema"]
pd.concat({"as said": said[few], "as read": kept[few]}, axis=1).round(2)

# %% [markdown]
# `No Finding` has nothing below it and gives way; in the second row there was room for both. `Abnormal` and
# what is below it stay as they are, so what was coherent along the edges still is. Why the label with fewer
# descendants? It is a choice: if `Abnormal` gave way, every finding below it would, and the third chest's edema
# would be lost to the word normal. "min" in notebook 03 chose otherwise. The course puts this step after the readouts of max-constraint and conditional wherever a hierarchy has exclusions; the paper's has
# none.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 04.1: The penalty of one edge (3 minutes)
def edge_penalty(parents, children):
    """How much one edge costs by the data: 1 − P(child = 1 | parent = 0), unsmoothed.

    parents, children: arrays [N] of 0 and 1, the labels of the same N images.
    Returns a number. With parents [0, 0, 0, 1] and children [0, 0, 1, 1] it is 2/3.
    """
    ...  # your code


exercises.check(edge_penalty)
# exercises.hint("edge_penalty")
# exercises.solution("edge_penalty")


# %% tags=["nbval-ignore-output"]
# Exercise 04.2: The hinge, from its formula (5 minutes)
def hinge_penalty(parents, children, penalties):
    """The hinge: penalty · max(0, p_child − p_parent), summed over edges, averaged over images.

    parents, children: logits, tensors [B, E], of both ends of each of E edges.
    penalties: a tensor [E].
    Returns a tensor with one number, whose gradient reaches the logits of both ends: training is to
    feel it. With one image and one edge of penalty 1, a parent's logit of 0 and a child's of 20, it
    is 0.5.
    """
    ...  # your code


exercises.check(hinge_penalty)
# exercises.hint("hinge_penalty")
# exercises.solution("hinge_penalty")


# %% tags=["nbval-ignore-output"]
# Exercise 04.3: A readout that cannot contradict itself (6 minutes)
def coherent_pair(parent, child):
    """Probabilities of a parent and its child, such that the child's is never the higher.

    parent, child: logits, tensors [B].
    Returns two tensors [B], each from 0 to 1, of the parent and of the child. Both must still
    listen. A higher logit never lowers a label's own probability. And where the other's logit is 9,
    moving a label's own from −9 to 9 takes its probability from near 0 to near 1; only, a parent
    need not go below its child. Many answers are right. With the logits 0 and 2, the probabilities
    0.5 and 0.44 would be one; the sigmoids alone, 0.5 and 0.88, contradict each other.
    """
    ...  # your code


exercises.check(coherent_pair)
# exercises.hint("coherent_pair")
# exercises.solution("coherent_pair")


# %% tags=["nbval-ignore-output"]
# Exercise 04.4: Which edges does the step push? (2 minutes)
def gradient_of_step(parents, children):
    """The gradient of the published penalty, Σ over edges [p_parent < 0.5 and p_child > 0.5].

    parents, children: logits, arrays [E], none exactly 0.
    Returns two arrays [E]: the derivative of the sum by each parent's and by each child's logit.
    """
    ...  # your code


exercises.check(gradient_of_step)
# exercises.hint("gradient_of_step")
# exercises.solution("gradient_of_step")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("04")

# %% [markdown]
# ## Take away
#
# - BCE pushes a logit by $y - p$. HBCE adds a sum over contradicted edges; fixed penalties are 0.5.
# - Data-driven penalties are 1 by construction where a parent is the OR of its children. Elsewhere they
#   measure how rare a child is, more than how often it is alone, and PadChest's are no exception.
# - The published penalty is a step: its gradient is zero, so at a given learning rate every step of
#   training with it is a step of BCE. It acts only where a schedule or a checkpoint reads the loss.
# - Hinge and product push. A penalty is a sum over edges beside a mean over labels: at $\lambda = 1$ it
#   outweighs labels that contradict it, several times.
# - Tied labels take a vote; one in five is 0.2. Max-constraint votes too, the conditional method believes
#   the topmost label. Neither can contradict itself.
# - On Monday: of any term you add to a loss, print its gradient on one batch before you train with it. If it is zero, or a
#   hundred times the rest, you know enough.
#
# **Next**: 05 trains with them.
