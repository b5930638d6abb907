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
# # 02 · Building the hierarchy
#
# From fourteen flat names to a graph of twenty-one, and what real labels do to it.
#
# **You will be able to** explain why the hierarchy is a graph and not a tree, derive the seven added
# labels for any table, count how often labels contradict the hierarchy, and write a hierarchy of your
# own.
#
# **Needs** notebook 01's vocabulary: observation, label, policy. **Minutes** 15, of which less than
# one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import pandas as pd

from cxrlib import data, plots
from cxrlib.hierarchy import Hierarchy, HierarchyError, paper_hierarchy
from cxrlib.labels import OBSERVATIONS

track = data.open_track(DATA or None)
track

# %% [markdown]
# ## A hierarchy is a graph over label names
#
# **Claim.** The paper's hierarchy has 21 labels and 20 edges, and two of its labels have two parents
# each, so it is a directed acyclic graph (DAG) and not a tree.
#
# An edge from a parent to a child says: *the child is a kind of the parent*. Who shows the child shows
# the parent too.

# %%
hierarchy = paper_hierarchy()
several_parents = [label for label in hierarchy.labels if len(hierarchy.parents(label)) > 1]

print(f"{len(hierarchy.labels)} labels, {len(hierarchy.edges)} edges")
for label in several_parents:
    print(f"{label} is a kind of {' and of '.join(hierarchy.parents(label))}")

# %%
shared = [edge for edge in hierarchy.edges if edge[1] in several_parents]
fig = plots.draw_hierarchy(
    hierarchy, title="Two labels have two parents, so it is no tree", highlight=shared
)
plots.show(
    fig,
    "The paper's hierarchy from left to right. Abnormal leads to Cardiac, Opacity and Other; the "
    "edges into Cardiomegaly and Pneumonia are highlighted, two each. No Finding and Uncertain "
    "stand alone.",
)

# %% [markdown]
# Two labels stand alone. `No Finding` is the opposite of `Abnormal`, not a kind of it. `Uncertain` is
# the paper's name for "none of the fourteen was labelled": the labels say nothing at all. It is **not**
# CheXpert's −1, which says "this one observation is uncertain".
#
# ## Deriving the seven added labels
#
# **Claim.** Nobody labels groups. Each of the seven is computed from the fourteen by one of two rules.
#
# | label | rule |
# |---|---|
# | the five groups below `Abnormal` | present if **any** child is |
# | `Uncertain` | present if **none of** the fourteen is |
# | `Abnormal` | present if **none of** `No Finding`, `Uncertain` is |
#
# Take one study with pneumonia and a catheter, and follow it by hand.

# %%
study = pd.DataFrame(0.0, index=["study"], columns=list(OBSERVATIONS))
study[["Pneumonia", "Consolidation", "Lung Opacity", "Support Devices"]] = 1.0

derived = hierarchy.derive(study).loc["study"]
derived[derived == 1].index.tolist()

# %%
fig = plots.draw_hierarchy(hierarchy, derived, title="Four observations switch on four groups")
plots.show(
    fig,
    "The hierarchy with 1 for Pneumonia, Consolidation, Lung Opacity and Support Devices and for "
    "their groups Fluid Accumulation, Opacity, Other and Abnormal; 0 elsewhere.",
)

# %% [markdown]
# ## What if a label is not known?
#
# **Claim.** Unknown is a third value, and it must not turn into "absent" on the way up.
#
# A radiograph of the NIH collection was never checked for fractures or devices. Is `Other` present?
# Nobody knows. `derive` follows Kleene's logic: *1 or unknown* is 1, *0 or unknown* is unknown.

# %%
cases = pd.DataFrame(
    {"Fracture": [1.0, 0.0, 0.0], "Support Devices": [None, None, 0.0]},
    index=["fracture seen", "no fracture", "neither"],
    dtype=float,
)
other = Hierarchy(["Fracture", "Support Devices", "Other"],
                  [("Other", "Fracture"), ("Other", "Support Devices")])  # fmt: skip
other.derive(cases)

# %% [markdown]
# ## The graph of this track
#
# **Claim.** A group is at least as frequent as each thing it holds: the higher a label, the more images
# have it. That alone will make groups look easy when scores are averaged (notebook 05).

# %%
targets = hierarchy.derive(track.split("train")[list(OBSERVATIONS)])
prevalence = targets.mean()
fig = plots.draw_hierarchy(
    hierarchy,
    prevalence,
    title="Prevalence grows towards the root",
    label="share of the training images with a known label",
)
plots.show(
    fig,
    "The hierarchy with the prevalence of every label among the training images: largest for "
    "Abnormal and Opacity, smallest for leaves such as Fracture.",
)

# %%
from_parents = [prevalence[parent] >= prevalence[child] for parent, child in hierarchy.edges]
print(f"the parent is at least as frequent as the child on {sum(from_parents)} of 20 edges")
print(f"images with nothing labelled (Uncertain): {prevalence['Uncertain']:.1%}")

# %% [markdown]
# ## Real labels break the hierarchy
#
# **Claim.** Labels taken from reports contradict the hierarchy, because a radiologist who writes
# "pneumonia" does not add "consolidation". Where a parent is the OR of its children this cannot
# happen; where the parent is a label of its own it does.
#
# `violations` counts, for every edge, the images with the child and without the parent.

# %%
SOURCES = ("report", "visualchexbert", "truth")


def broken_share(table):
    """The share of images with the child, among those with the child, that lack the parent."""
    labels = hierarchy.derive(table[list(OBSERVATIONS)])
    broken = hierarchy.violations(labels)["hard"]
    return broken / [max((labels[child] == 1).sum(), 1) for _, child in hierarchy.edges]


if track.name == "nih":  # one set of labels only
    shares = pd.DataFrame({"nih": broken_share(track.split("train"))})
else:
    available = [s for s in SOURCES if (track.folder / data.LABEL_SOURCES[s]).is_file()]
    shares = pd.DataFrame(
        {
            source: broken_share(
                data.open_track(track.folder, labels=source, uncertain="U-Zeros").split("train")
            )
            for source in available
        }
    )
shares[(shares > 0).any(axis=1)].round(2)

# %% [markdown]
# Only edges whose parent is an observation, or `Abnormal`, ever appear in this table. On the real
# CheXpert labels 93% of the images with Cardiomegaly lack Enlarged Cardiomediastinum, and 83% of those
# with Pneumonia lack Consolidation (counted on the published training table). The edge from `Abnormal`
# to `Other` breaks for another reason: CheXpert calls a chest with a pacemaker and nothing else
# `No Finding`.
#
# ## Closing the labels
#
# **Claim.** Making every ancestor of a positive label positive repairs every edge, and changes few
# labels. The paper does not do this; its 21 labels are not closed under its own hierarchy.

# %%
closed = hierarchy.close(targets)
changed = ((closed == 1) & (targets != 1)).sum()

print("contradictions before:", hierarchy.violations(targets)["hard"].sum() > 0)
print("contradictions after: ", hierarchy.violations(closed)["hard"].sum() > 0)
print("labels changed:       ", sorted(changed[changed > 0].index))
print(f"share of all labels:   {changed.sum() / targets.size:.1%}")
both = ((closed["No Finding"] == 1) & (closed["Abnormal"] == 1)).mean()
print(f"No Finding and Abnormal both 1, after closing: {both:.1%} of the images")

# %% [markdown]
# Closing looks at edges only, and it is a decision about meaning. `Abnormal` becomes 1 for a chest with a
# pacemaker and nothing else, while `No Finding` stays 1: every edge holds, and these two now contradict
# each other. Is that what you want to call abnormal? The hierarchy cannot answer; a radiologist can.
#
# ## A hierarchy of your own
#
# **Claim.** A hierarchy is data, not code: a file that anyone can read and edit.

# %%
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
hierarchy.to_yaml(folder / "hierarchy.yaml")
print((folder / "hierarchy.yaml").read_text().split("children:")[1].split("none_of")[0])

# %% [markdown]
# Suppose your ward asks one question first: *is there something on the pleura?* Add a group.

# %%
pleura = Hierarchy(
    [*hierarchy.labels, "Pleura"],
    [*hierarchy.edges, ("Opacity", "Pleura"), ("Pleura", "Pleural Effusion"),
     ("Pleura", "Pleural Other"), ("Pleura", "Pneumothorax")],
    hierarchy.none_of,
)  # fmt: skip
fig = plots.draw_hierarchy(
    pleura, title="One group more, and three labels gained a parent",
    highlight=[edge for edge in pleura.edges if "Pleura" in edge],
)  # fmt: skip
plots.show(
    fig,
    "The hierarchy with a new group, Pleura, between Opacity and the three labels Pleural Effusion, "
    "Pleural Other and Pneumothorax.",
)

# %% [markdown]
# A mistake is caught when the hierarchy is built, and named:

# %%
try:
    Hierarchy(hierarchy.labels, [*hierarchy.edges, ("Pneumonia", "Opacity")])
except HierarchyError as error:
    print(error)

# %% [markdown]
# ## Coherent and incoherent scores
#
# **Claim.** A model's scores can contradict the hierarchy in two ways. *Hard*: at a threshold of 0.5
# the child is called and the parent is not. *Soft*: the child simply scores above its parent.

# %%
chain = Hierarchy(["Consolidation", "Pneumonia"], [("Consolidation", "Pneumonia")])
scores = pd.DataFrame(
    {"Consolidation": [0.9, 0.4, 0.6], "Pneumonia": [0.8, 0.7, 0.7]},
    index=["fine", "hard and soft", "soft only"],
)
scores.assign(
    hard=chain.incoherent(scores, threshold=0.5),
    soft=chain.incoherent(scores),
)

# %% [markdown]
# `make_coherent` repairs scores after the fact, by raising parents ("max") or lowering children
# ("min"). What that costs is measured in notebook 05.

# %%
repaired = {how: chain.make_coherent(scores, how=how) for how in ("max", "min")}
pd.concat({"as predicted": scores, **repaired}, axis=1)

# %% [markdown]
# ## Take away
#
# - The hierarchy is a DAG of 21 labels: 14 observations, 6 groups and `Uncertain`. Cardiomegaly and
#   Pneumonia have two parents.
# - Groups are derived by OR; `Uncertain` and `Abnormal` by absence. Unknown stays unknown.
# - Labels break the hierarchy exactly where a parent is not the OR of its children.
# - Closure repairs labels, `make_coherent` repairs scores; both are decisions, not corrections.
#
# **Next**: 03 turns the edges into penalties.
