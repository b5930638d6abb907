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
# # 03 · Building the hierarchy
#
# From fourteen names to a graph of twenty-one: how do real labels break it, and is it right at all?
#
# **You will be able to** read a hierarchy of labels, derive the seven that nobody labels, count how often
# labels contradict it, question its edges, say "never both", and write a hierarchy of your own.
#
# **Needs** notebook 02's vocabulary: observation, label, policy. **Minutes** 35, and 20 for the exercises. The
# two sections called *further* take 10 more and can wait. Less than one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
import time

import networkx as nx
import numpy as np
import pandas as pd
import torch

from cxrlib import data, exercises, plots, public, training, widgets
from cxrlib.hierarchy import Hierarchy, HierarchyError, paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy

track = data.open_track(DATA or None)
track

# %% [markdown]
# ## A hierarchy is a graph over label names
#
# An edge from a parent to a child says: *the child is a kind of the parent*. Who shows the child shows
# the parent too. The paper puts thirteen of the fourteen observations under six more names (`No Finding` is
# under none), and adds a seventh, `Uncertain`. **Guess**: is what comes out a tree, in which every label has
# one parent?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.1")

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
# It is a *directed acyclic graph* (DAG). Two labels stand alone. `No Finding` is not a kind of `Abnormal`.
# `Uncertain` is the paper's name for "none of the fourteen is a yes", not even `No Finding`. That is **not**
# CheXpert's −1, which says "this one observation is uncertain".
#
# ## Deriving the seven added labels
#
# Nobody labels groups. Each of the seven is computed from the fourteen by one of two rules.
#
# | label | rule |
# |---|---|
# | the five groups below `Abnormal` | present if **any** child is |
# | `Uncertain` | present if **none of** the fourteen is |
# | `Abnormal` | present if **none of** `No Finding`, `Uncertain` is |
#
# Take one study whose labels are Pneumonia, Consolidation, Lung Opacity and Support Devices, and follow it by
# hand before you run the cell: which of the 21 are present?

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
# A radiograph of the NIH collection was never checked for devices, as in the first two rows below. Is `Other` present? **Guess** for each of the
# three rows below: yes, no, or nobody knows.

# %% tags=["nbval-ignore-output"]
exercises.guess("03.2")

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
# Unknown is a third value, and it must not turn into "absent" on the way up. `derive` follows Kleene's logic:
# *1 or unknown* is 1, *0 or unknown* is unknown.
#
# ## The graph of this track
#
# From here on, "this track's labels" are those a model is trained with: on the phantom and CheXpert the
# image-like ones (`visualchexbert`), on NIH those of the collection. **Guess**: where in the graph are the labels that most images have?
#
# Then click on labels (or go there with Tab and the arrow keys, and press Enter): what follows from each, above it and below?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.3")

# %%
targets = hierarchy.derive(track.split("train")[list(OBSERVATIONS)])
prevalence = targets.mean()
fig = plots.draw_hierarchy(
    hierarchy,
    prevalence,
    title="Prevalence grows towards the root",
    label="share of the training images with a known label",
)
alt = (
    "The hierarchy with the prevalence of every label among the training images: largest for "
    "Abnormal and Opacity, small for leaves such as Fracture and Pleural Other, least for Uncertain."
)


def about(label):
    """What follows from a label, and how often these labels have it where they have its parent."""
    above, below = hierarchy.ancestors(label), hierarchy.descendants(label)
    known = prevalence.notna()[label]
    told = [f"<b>{label}</b>" + (f": {prevalence[label]:.1%} of the images." if known else ".")]
    if above:
        told.append(f"By the hierarchy, an image that shows it also shows {', '.join(above)}.")
    if below:
        told.append(f"One that does not show it shows none of {', '.join(below)}.")
    for parent in hierarchy.parents(label) if known else ():
        among = targets[targets[parent] == 1][label].mean()
        told.append(f"Of the images with {parent} {among:.0%} have it.")
    return "<br>".join(told)


graph = widgets.HierarchyGraph(
    hierarchy,
    "Edema",
    shares=prevalence.fillna(0).to_dict(),
    texts={label: f"{share:.2f}" for label, share in prevalence.dropna().items()},
)
widgets.ask_graph(graph, about, fig, alt)

# %%
from_parents = [prevalence[parent] >= prevalence[child] for parent, child in hierarchy.edges]
print(f"the parent is at least as frequent as the child on {sum(from_parents)} of 20 edges")
print(f"images with nothing labelled (Uncertain): {prevalence['Uncertain']:.1%}")

# %% [markdown]
# On fifteen edges it must be so: the parent is the OR of its children. On the other five, below an observation or
# `Abnormal`, it is as these labels happen to be.
#
# ## Labels break the hierarchy
#
# A radiologist who writes "pneumonia" does not always add "consolidation". `violations` counts, for every edge,
# the images with the child and without the parent (its column `hard`; the other, `soft`, is for scores and comes
# below). The rows are shares of the images with the child, for the reports' labels (`report`), the image-like
# ones and the truth. **Guess**: which of these three break the hierarchy at all, and of the images with Pneumonia, how
# many lack their Consolidation in the reports?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.4")

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
# Only edges whose parent is an observation, or `Abnormal`, ever appear in this table. Where a group is the OR of
# its children, it cannot be contradicted. And even the truth breaks `Abnormal` → `Other`: a chest with a pacemaker and nothing
# else is *No Finding*, so not abnormal, and yet has a device.
#
# ## And real ones? All 223,414 of CheXpert
#
# The labels that CheXpert's program read in the reports of its training images come with the course,
# without images (`cxrlib.public`). **Guess**: on how many of the twenty edges do they contradict the
# hierarchy, and how long does it take to derive seven labels for 223,414 images?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.5")

# %%
codes = public.chexpert_labels()[list(OBSERVATIONS)]
began = time.perf_counter()
real = hierarchy.derive(apply_policy(codes, "U-Zeros"))
seconds = time.perf_counter() - began
print(f"{len(real):,} images, {real.shape[1]} labels")

# %% tags=["nbval-ignore-output"]
print(f"derived in {seconds:.2f} s")

# %%
broken = hierarchy.violations(real)
broken["child is present"] = [int((real[child] == 1).sum()) for _, child in broken.index]
broken["share"] = (broken["hard"] / broken["child is present"]).round(3)
broken.loc[broken["hard"] > 0, ["child is present", "hard", "share"]]

# %% [markdown]
# Three edges. Of Cardiomegaly there are 2.5 times as many images as of its parent. Who writes "cardiomegaly" does not add "the cardiomediastinum is enlarged": that goes without
# saying. Who writes "pneumonia" is mostly silent of consolidation too, and sometimes doubts or denies it
# (notebook 02). `Abnormal` → `Other` breaks for another reason: CheXpert calls a chest with a pacemaker and
# nothing else `No Finding`.
# `Abnormal` → `Opacity` and `Abnormal` → `Cardiac` never break, though `Abnormal` is no OR: a finding of
# these groups is one that `No Finding` rules out.
#
# ## Closing the labels
#
# Making every ancestor of a positive label positive repairs every edge. The paper does not do this; its 21
# labels are not closed under its own hierarchy. **Guess**: what share of the labels from reports would change, and
# which observation most?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.6")

# %%
repaired = hierarchy.close(real)
changed = pd.DataFrame({"before": (real == 1).sum(), "after": (repaired == 1).sum()})
changed["times"] = (changed["after"] / changed["before"]).round(2)
print(f"share of all labels changed: {(repaired != real).mean(axis=None):.2%}")
print(
    "images with No Finding and Abnormal:",
    int(((repaired[["No Finding", "Abnormal"]] == 1).all(axis=1)).sum()),
)
changed[changed["before"] != changed["after"]]

# %% [markdown]
# Less than one label in a hundred, and still no small thing: there are more than three times as many
# Enlarged Cardiomediastinum as anybody had reported. On this track:

# %%
closed = hierarchy.close(targets)
changed = ((closed == 1) & (targets != 1)).sum()

print(
    "pairs of an image and an edge that it contradicts, before:",
    hierarchy.violations(targets)["hard"].sum(),
)
print("after:                              ", hierarchy.violations(closed)["hard"].sum())
print("labels changed:", ", ".join(sorted(changed[changed > 0].index)))
print(f"share of all labels: {changed.sum() / targets.size:.1%}")
both = ((closed["No Finding"] == 1) & (closed["Abnormal"] == 1)).mean()
print(f"No Finding and Abnormal both 1, after closing: {both:.1%} of the images")

# %% [markdown]
# Closing looks at edges only, and it is a decision about meaning. `Abnormal` becomes 1 for a chest with a
# pacemaker and nothing else, while `No Finding` stays 1: every edge holds, and these two now contradict
# each other. Is that what you want to call abnormal? The hierarchy cannot answer; a radiologist can.
#
# ## Is it right at all?
#
# A course that asks of everything whether it does what it says must ask it of the hierarchy too.
# Read the edges aloud: "*child* is a kind of *parent*".
#
# - **Pneumothorax is an opacity** (through Missing Lung Tissue). An opacity is white. Air between lung and
#   chest wall is *too black*.
# - **Pleural thickening is missing lung tissue.** Nothing is missing; the pleura is thicker.
# - **Atelectasis is missing lung tissue.** The lung is there, collapsed and denser.
# - **Pneumonia is a consolidation.** A disease under a sign. Interstitial pneumonia need not show any.
# - **Two parents.** Would the two labels that have two parents have the same ancestors with one?

# %%
reduced = nx.transitive_reduction(hierarchy.graph)
spare = [edge for edge in hierarchy.edges if edge not in reduced.edges]
print("edges that change nothing:", "; ".join(f"{parent} → {child}" for parent, child in spare))
print("without them every label has one parent at most:", max(n for _, n in reduced.in_degree) == 1)

# %% [markdown]
# So the DAG is a forest with two shortcuts, and they are not harmless. Call Pneumonia without Fluid
# Accumulation, its group: that breaks one edge. If Consolidation is not called, Consolidation → Pneumonia is
# broken too; if it is, Fluid Accumulation → Consolidation is. Either way one mistake is counted twice.
#
# Two other hierarchies, which every command of the course accepts by name: CheXpert's own, in which Lung
# Opacity is the parent of what is seen as an opacity (Irvin et al. 2019), and the course's, which says
# where a finding *is* and not what it looks like. The reasons stand in `hierarchies/anatomy.yaml`. Side by side,
# who is under whom:

# %%
others = {name: read_hierarchy(name) for name in ("chexpert", "anatomy")}
graphs = {
    "the paper's": hierarchy,
    "CheXpert's own": others["chexpert"],
    "the course's": others["anatomy"],
}
pd.DataFrame(
    {
        name: {label: ", ".join(graph.parents(label)) or "·" for label in OBSERVATIONS}
        for name, graph in graphs.items()
    }
)

# %%
fig = plots.draw_hierarchy(
    others["chexpert"], title="CheXpert's own: six edges, no groups, and No Finding excludes six"
)
plots.show(
    fig,
    "CheXpert's hierarchy: Lung Opacity leads to Atelectasis, Consolidation, Edema and Lung Lesion, "
    "Consolidation to Pneumonia, Enlarged Cardiomediastinum to Cardiomegaly; the rest stand alone. Dashed "
    "lines from No Finding to six of them: never both.",
)

# %%
fig = plots.draw_hierarchy(others["anatomy"], title="The course's: where a finding is")
plots.show(
    fig,
    "Abnormal leads to Fracture, Heart and Mediastinum, Lung and Pleura; Pneumothorax is in the "
    "pleura, Atelectasis in the lung. No Finding and Support Devices stand alone. A dashed line joins No "
    "Finding and Abnormal: never both.",
)

# %% [markdown]
# The dashed lines are *exclusions*, pairs that no image shows together; more of them below. **Guess**: which of the three do reports contradict least?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.7")

# %%
rows = {}
for name, graph in {"paper": hierarchy, **others}.items():
    labels = graph.derive(apply_policy(codes, "U-Zeros"))
    contradicted = graph.violations(labels)["hard"]
    rows[name] = {
        "labels": len(graph.labels),
        "edges": len(graph.edges),
        "exclusions": len(graph.never_both),
        "broken by reports": int((contradicted > 0).sum()),
        "images that break one": f"{graph.incoherent(labels, 0.5).mean():.1%}",
    }
pd.DataFrame(rows).T

# %% [markdown]
# The course's is contradicted least, CheXpert's own most. The more a hierarchy says that reports leave out, the
# more they contradict it. That does not make CheXpert's own wrong: an edema *is* an opacity. It is the labels that do not say so.
#
# ## Coherent and incoherent scores
#
# A model's scores can contradict a hierarchy too, in two ways. *Hard*: at a threshold of 0.5 the child is called
# and the parent is not. *Soft*: the child simply scores above its parent. **Guess**: which of the three images
# below is which? (One is both, one is neither.)

# %% tags=["nbval-ignore-output"]
exercises.guess("03.8")

# %%
chain = Hierarchy(["Consolidation", "Pneumonia"], [("Consolidation", "Pneumonia")])
scores = pd.DataFrame(
    {"Consolidation": [0.9, 0.4, 0.6], "Pneumonia": [0.8, 0.7, 0.7]},
    index=["A", "B", "C"],
)
scores.assign(
    hard=chain.incoherent(scores, threshold=0.5),
    soft=chain.incoherent(scores),
)

# %% [markdown]
# `make_coherent` repairs scores after the fact: by raising parents ("max": trust the children), by lowering
# children ("min": trust the parents), or by moving both as little as possible ("projection"). What that
# costs is measured in notebook 06.

# %%
ways = ("max", "min", "projection")
repaired = {how: chain.make_coherent(scores, how=how) for how in ways}
pd.concat({"as predicted": scores, **repaired}, axis=1).round(2)

# %% [markdown]
# ## Never both
#
# Edges cannot say that a chest with findings is not one without. An *exclusion* can: `never_both` names
# pairs that no image shows together. Labels break it when both are 1. But what should it ask of scores? If the
# two are probabilities of events that never happen together, they cannot add up to more than 1:
#
# $$p_a + p_b \le 1$$
#
# Then the smaller is at most 0.5, and no threshold above 0.5 calls both.

# %%
anatomy = others["anatomy"]
print("never both:", anatomy.never_both)
unsure = anatomy.to_table([[0.3] * len(anatomy.labels)])
unsure[["No Finding", "Abnormal", "Lung", "Edema"]] = [0.7, 0.6, 0.5, 0.8]
repaired = {how: anatomy.make_coherent(unsure, how) for how in ways}
pd.concat({"as predicted": unsure, **repaired})[["No Finding", "Abnormal", "Lung", "Edema"]].round(
    3
)

# %% [markdown]
# As predicted, Edema scores above the Lung it is in, and No Finding and Abnormal are both called at 0.5.
# "max" believes the Edema, "min" No Finding; the projection moves all four as little as it can. After
# each of them no threshold finds a child without its parent, and none above 0.5 finds both of a
# pair. (Below it one may: 0.4 and 0.4 are two honest doubts.)
#
# ## Further: beside other ways
#
# *PiShield* (Stoian et al. 2024) repairs predictions for any rules of logic, exclusions too, label after label, in
# one of three orders. `benchmarks/coherence.py` gave it and the course's ways the paper's hierarchy with two
# exclusions, No Finding with Abnormal and with Uncertain, on ten thousand rows of random scores and on the
# scores that the model of notebook 05 gives the test images. The two *readouts* of the table are layers on top of
# a model from which no contradiction can come (notebook 04 builds them). **Guess**: which rows leave something
# broken?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.9")

# %%
stored = json.loads((training.RUNS.parent / "results/coherence.json").read_text(encoding="utf-8"))
measured = pd.DataFrame(stored["rows"]).set_index(["scores", "way"])
shares = ["an edge, any threshold", "a pair above 1", "anything at 0.5"]
shown = measured[shares].map("{:.1%}".format).join(measured[["moved", "macro AUROC"]].round(3))
shown.loc["random"].drop(columns="macro AUROC")

# %%
shown.loc["model"]

# %% [markdown]
# The first three columns are shares of images on which something is broken: an edge at some threshold, the sum
# of either pair above 1, an edge or a pair at 0.5. PiShield mends every decision at
# 0.5, and in most rows of random scores leaves a child above its parent: then some other threshold calls the
# child alone. On a model's scores it depends on the order: a few rows in a hundred, or about every third. The
# course's ways leave nothing at any threshold. *Moved* is the mean change of a score: on random scores, of the
# ways that leave nothing broken, the projection moves least. (The conditional readout is meant for a model that
# was trained with it; to read another's scores with it costs AUROC.)
#
# ## Further: a hierarchy of another size
#
# PadChest, 160,758 labelled images of a Spanish hospital, has a vocabulary of findings and diagnoses under two
# headings, 194 names in all (Bustos et al. 2020). Its table comes with the course too. **Guess**: what share of the
# images contradicts it? And whose labels do so more often, physicians' or those of the network that learnt from
# them?

# %% tags=["nbval-ignore-output"]
exercises.guess("03.10")

# %%
padchest, labelled = read_hierarchy("padchest"), public.padchest_labels()
began = time.perf_counter()
given = [label for label in padchest.labels if label in labelled]
wide = padchest.derive(labelled[given].astype(float))
seconds = time.perf_counter() - began
odd = padchest.incoherent(wide, 0.5)
several = sum(len(padchest.parents(label)) > 1 for label in padchest.labels)
print(
    f"{len(padchest.labels)} labels, {len(padchest.edges)} edges, {several} labels with several parents"
)
print(f"images that contradict it: {odd.sum():,} of {len(odd):,} ({odd.mean():.1%})")
odd.groupby(labelled["by"]).agg(images="size", contradict="mean").round(3)

# %% tags=["nbval-ignore-output"]
print(f"derived in {seconds:.1f} s")

# %% [markdown]
# About as often: the network has learnt the physicians' habits. (Contradicting less would not mean being right
# more often.) Where do the labels break?

# %%
worst = padchest.violations(wide)["hard"].sort_values(ascending=False, kind="stable")
table = worst.head(8).to_frame("images")
table["share of the child's"] = [
    round(n / (wide[child] == 1).sum(), 2) for (_, child), n in worst.head(8).items()
]
table

# %% [markdown]
# On these edges, physicians and the network that learnt from them name the most special thing they know,
# and stop. So a hierarchy is needed to *complete* labels before it can judge scores.
#
# 194 boxes do not fit on a page; indented lines do, if you scroll. In colour, labels that stand under a parent
# which more than a thousand images lack; in italics, those with several parents, which stand under each:

# %%
broken = [edge for edge, count in worst.items() if count > 1000]
fig = plots.outline(
    padchest,
    f"PadChest's 194 labels; in colour, the {len(broken)} edges broken most",
    columns=2,
    highlight=broken,
)
plots.show(
    fig,
    "PadChest's hierarchy as an indented list in two columns: differential diagnoses, then radiological "
    "findings from abnormal foreign body to volume loss. Labels with several parents are repeated in italics.",
)

# %% [markdown]
# One branch of it, with its shares of the images before and after completion:

# %%
root = "infiltrates"
part = [root, *padchest.descendants(root)]
branch = Hierarchy(part, [edge for edge in padchest.edges if set(edge) <= set(part)])
whole = padchest.close(wide)
shares = pd.DataFrame({"as labelled": wide[part].mean(), "completed": whole[part].mean()})
most = [edge for edge in worst.index[:8] if edge in branch.edges]
fig = plots.draw_hierarchy(
    branch, title="Two edges of one branch that labels break most", highlight=most
)
plots.show(
    fig,
    "The branch of PadChest's hierarchy below infiltrates: alveolar pattern and interstitial pattern, "
    "whose edges are highlighted, and their kinds; air bronchogram has two parents.",
)
shares.map("{:.2%}".format)

# %% [markdown]
# ## A hierarchy of your own
#
# A hierarchy is data, not code: a file that anyone can read and edit.

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
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 03.1: Is the group there, if a child is not known? (3 minutes)
def group_present(children):
    """A group is present if any of its children is. What if some are not known?

    children: an array [N, C], a row an image, a column a child: 1 present, 0 absent, NaN unknown.
    Returns an array [N]: 1, 0 or NaN, as Kleene's logic has it: what can be known is known, and
    the rest stays unknown. The rows [1, NaN], [0, NaN] and [0, 0] give [1, NaN, 0].
    """
    ...  # your code


exercises.check(group_present)
# exercises.hint("group_present")
# exercises.solution("group_present")


# %% tags=["nbval-ignore-output"]
# Exercise 03.2: Both give way (4 minutes)
def nearest_coherent(parent, child):
    """The projection of one edge: the coherent scores that are nearest to those predicted.

    parent, child: arrays [N] of scores from 0 to 1. Some children score above their parent.
    Returns two new arrays [N], of the parent and of the child, in which no child scores above its
    parent, and for which the sum of the squared changes is the smallest there is. What was
    predicted stays as it is. A parent with 0.4 and a child with 0.7 both become 0.55; a parent with
    0.9 and a child with 0.8 keep their scores.
    """
    ...  # your code


exercises.check(nearest_coherent)
# exercises.hint("nearest_coherent")
# exercises.solution("nearest_coherent")


# %% tags=["nbval-ignore-output"]
# Exercise 03.3: Closing the labels (8 minutes)
def close_labels(table, labels, edges):
    """Make every ancestor of a positive label positive: its parents, their parents, and so on.

    table: an array [N, L] of 0 and 1, a row an image, a column a label.
    labels: a list of the L names, in the order of the columns.
    edges: a list of pairs of names (parent, child), in any order. A label may have several
    parents; there is no cycle.
    Returns the closed table, a new array [N, L]; the old one stays as it is. With labels A, B and
    C, and edges (A, B) and (B, C), the row [0, 0, 1] becomes [1, 1, 1], and [0, 1, 0] becomes
    [1, 1, 0].
    """
    ...  # your code


exercises.check(close_labels)
# exercises.hint("close_labels")
# exercises.solution("close_labels")


# %% tags=["nbval-ignore-output"]
# Exercise 03.4: An edge that says nothing new, and costs (5 minutes)
def silent_edge(edges):
    """Find an edge that changes no closed table, and still makes a mistake cost more.

    edges: a list of pairs of names (parent, child), without a cycle.
    Returns one pair (parent, child) of these names that is not in `edges`. With it, the hierarchy
    still has no cycle, and every label has the ancestors that it had before. There may be several
    such pairs. With [("Opacity", "Consolidation"), ("Consolidation", "Pneumonia")] it is
    ("Opacity", "Pneumonia").
    """
    ...  # your code


exercises.check(silent_edge)
# exercises.hint("silent_edge")
# exercises.solution("silent_edge")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("03")

# %% [markdown]
# ## Take away
#
# - The hierarchy is a DAG of 21 labels: 14 observations, 6 groups and `Uncertain`. Cardiomegaly and
#   Pneumonia have two parents.
# - Groups are derived by OR; `Uncertain` and `Abnormal` by absence. Unknown stays unknown.
# - A parent that is the OR of its children cannot be contradicted; an observation that is a parent is,
#   in most reports that name its child.
# - The hierarchy is a choice. The paper's puts a lucency under Opacity; others say other things.
# - An exclusion says what an edge cannot: never both.
# - Closure repairs labels, `make_coherent` repairs scores; both are decisions, not corrections.
# - On Monday: write your own labels as a YAML file, close the labels you have, and count by edge how often a child stands
#   without its parent. Where that is often, ask who wrote the labels before you ask a loss to mend it.
#
# **Next**: 04 turns the edges into penalties.
