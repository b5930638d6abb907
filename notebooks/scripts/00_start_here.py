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
# # 00 · Start here
#
# What you will build, whether this machine is ready, and which radiographs you have.
#
# **You will be able to** run every notebook of this course, choose the data it runs on, and read the
# picture that the whole course works towards.
#
# **Needs** nothing. **Minutes** 15, and 4 for the exercises. About one is computing, the first time.
#
# This is teaching material. It is not a medical device, and nothing in it may guide the care of a
# patient.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
import os

import numpy as np
import pandas as pd
import torch

from cxrlib import cohort, data, exercises, phantom, plots, training
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## One radiograph
#
# Here is a synthetic radiograph that the course's own model has not learnt from. **Guess**, before you go on: is
# anything wrong with this chest? Where would you look?

# %%
look = json.loads(
    (training.RUNS.parent / "results" / "first_look.json").read_text(encoding="utf-8")
)
same = track.name == "phantom" and look["phantom"]["generator"] == cohort.generator_version()
if same:
    image = data.load_image(track.folder / look["path"], 256)
    fig = plots.gallery(
        [image], ["not for clinical use"], columns=1, size=4.2, title="A patient of the test split"
    )
    plots.show(fig, "A synthetic frontal chest radiograph.")
else:
    print("The model's stored answer is about the phantom's images; this folder holds others.")

# %% tags=["nbval-ignore-output"]
exercises.guess("00.1")

# %% [markdown]
# The model gives a probability to each of 21 labels: fourteen observations, and the groups above them, from the most
# general on the left to the most special. The darker, the more probable; frames show what is true.

# %%
if same:
    said, truth = pd.Series(look["probabilities"]), pd.Series(look["truth"])
    fig = plots.draw_hierarchy(
        hierarchy, said[list(hierarchy.labels)], marked=tuple(truth.index[truth == 1]),
        title="What the model says of it, and what is true (frames)", label="probability",
    )  # fmt: skip
    plots.show(
        fig,
        "The hierarchy of 21 labels with the model's probability in each box; labels that are true have a frame.",
    )
    over, under = said[truth == 0].idxmax(), said[truth == 1].idxmin()
    print(f"most probable of what is not there: {over} {said[over]:.2f}")
    print(f"least probable of what is there:    {under} {said[under]:.2f}")
    below = [(p, c) for p, c in hierarchy.edges if said[c] > said[p]]
    told = ", ".join(f"{c} above {p}" for p, c in below)
    print(
        f"children that score above their parent: {len(below)} of {len(hierarchy.edges)} edges ({told})"
    )

# %%
if same:
    drawn = cohort.study_of(track.folder, look["path"])
    places = {
        name: mask
        for name, mask in phantom.lesions(drawn, 256).items()
        if name in truth.index[truth == 1]
    }
    fig = plots.gallery(
        [phantom.render(drawn, 256)] * len(places), list(places), columns=len(places), size=3.4,
        masks=list(places.values()), title="Where the truth lies",
    )  # fmt: skip
    plots.show(fig, f"The same radiograph, with outlines of {', '.join(places)}.")

# %% [markdown]
# *Edema* is water in the lungs, here in both; *Pleural Effusion* is fluid around a lung, here at the bottom, on the
# patient's right, which is at your left. The dark
# bubble at the lower right of the picture is the stomach. One child scores above its parent, though pneumonia is a kind of consolidation:
# such contradictions are what the paper's loss is to prevent. (*Uncertain*, below, stands for images about which
# nothing was said.)
#
# This one went well; not all do, and the image was not chosen for it. Whether such numbers can be believed, label by
# label, whether the picture has anything to do with them, and what may be said of a patient on their account: that is the course.
#
# ## The question
#
# A chest X-ray can show many things at once: a large heart *and* fluid around the lung *and* a
# pacemaker. Naming all of them is **multi-label classification**. The names are not independent:
# pneumonia is a kind of consolidation, which is a kind of opacity, which is abnormal. That is a
# **hierarchy**. (There are several: in the paper's graph, above, the box *Opacity* is that opacity, and *Lung Opacity* a
# label beside Consolidation; in CheXpert's own it is its parent. Notebook 03 compares them.)
#
# A paper of 2025 (Asadi, Sodoké, Gerard and Kersten-Oertel, arXiv 2502.03591) builds a classifier that
# knows the hierarchy, with a loss that penalises predicting a child without its parent, heat maps that
# explain, and dropout passes that measure uncertainty. It reports a mean AUROC of 0.903. (AUROC is the chance
# that an image with the finding gets a higher score than one without: 0.5 is a coin, 1 never errs.)
#
# This course builds that system step by step, on a laptop, and asks of each part: *does it do what it
# says?* To answer, it uses synthetic radiographs whose truth is known exactly, and real ones.

# %% [markdown]
# ## Is this machine ready?

# %%
from importlib.metadata import version

for package in ("torch", "torchvision", "pytorch-lightning", "scikit-learn", "pandas"):
    installed = ".".join(version(package).split("+")[0].split(".")[:2])
    print(f"{package:18} {installed}")

# %% [markdown]
# The course is made for two CPU cores. A graphics card is used if there is one.

# %% tags=["nbval-ignore-output"]
accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
print("cores:", os.cpu_count(), "· accelerator:", accelerator or "none, which is fine")

# %% [markdown]
# ## Which radiographs have I got?
#
# One variable decides, `DATA`, in the first cell of every notebook. Leave it empty for the **phantom**: radiographs computed
# on this machine, in about a minute, the first time that a notebook asks for them. Or put the path of a folder with the
# **NIH ChestX-ray14** or **CheXpert** images, there or in the environment variable `CXR_DATA`, and every
# notebook runs on those. `data/README.md` tells how to get them. Here are some of yours:

# %%
test = track.split("test")
few = test[test[list(OBSERVATIONS)].sum(axis=1) < 4]
sample = few.groupby("patient").head(1).head(15)
images = [data.load_image(track.folder / path, 256) for path in sample["path"]]


def findings(row):
    """The observations of one image, one to a line, the longest name shortened."""
    names = [name for name in OBSERVATIONS if row[name] == 1] or ["nothing labelled"]
    return "\n".join(names).replace("Enlarged Cardiomediastinum", "Enl. Cardiomed.")


fig = plots.gallery(
    images,
    [findings(row) for _, row in sample.iterrows()],
    title="Fifteen patients, and what their radiographs show",
)
plots.show(
    fig,
    "Fifteen frontal chest radiographs of different patients with the names of their findings above "
    "each; some have none or devices only, the others one to three.",
)

# %% [markdown]
# `No Finding` may stand beside `Support Devices`: in CheXpert's words, a chest with a pacemaker and nothing else
# shows no *finding*. (Patients with four findings or more are left out here.) Notebook 01 explains each name.
#
# ## What you will build
#
# A model that fills the graph below from pixels alone: a probability for each of 21 labels, where no child
# should come out more probable than its parent. (Notebook 05 trains one, 06 measures it.) What it learns from are graphs
# like this one, filled from the labels of an image.

# %%
busy = test[list(OBSERVATIONS)].sum(axis=1).sort_values(ascending=False, kind="stable").index[0]
study = test.loc[busy]
targets = hierarchy.derive(test.loc[[busy], list(OBSERVATIONS)]).iloc[0]
print(f"{int((targets == 1).sum())} of {len(hierarchy.labels)} labels are present")

# %%
fig = plots.draw_hierarchy(hierarchy, targets, title="One image, twenty-one labels, one graph")
plots.show(
    fig,
    "The paper's hierarchy drawn from left to right, with 1 in every box whose label is present in "
    "one busy image and 0 in the others.",
)

# %% [markdown]
# Because the phantom's truth is known, it comes with something no real collection has: the pixels that every
# finding changes, its own and those of what it pushes aside. (A large heart widens the cardiomediastinum: two
# names, one outline.) Notebook 08 will ask whether a heat map lies where the finding is.

# %%
if track.name == "phantom":
    drawn = cohort.study_of(track.folder, study["path"])
    masks = phantom.masks(drawn, size=256)
    picture = phantom.render(drawn, size=256)
    names = list(masks)
    fig = plots.gallery(
        [picture] * (1 + len(names)),
        ["the image", *names],
        columns=min(4, 1 + len(names)),
        size=2.6,
        masks=[None, *masks.values()],
        title="Every finding comes with the pixels that it changes",
    )
    plots.show(
        fig,
        "The same synthetic radiograph several times; in each copy one finding is outlined.",
    )
else:
    print("Real radiographs come without outlines of their findings.")

# %% [markdown]
# ## The course
#
# | | notebook | the question it answers |
# |---|---|---|
# | 00 | start here | what will I build, is my machine ready, which data have I got? |
# | 01 | reading a chest film | what is black, what is white, what is where? |
# | 02 | labels | what is a label, and how wrong is it? |
# | 03 | building the hierarchy | how do 14 names become a graph of 21, and is it right? |
# | 04 | deriving penalties | what does the paper's loss penalise, and where is its gradient? |
# | 05 | training | how is the model trained, and what does each method change? |
# | 06 | evaluation | how good is it: which mean, with what interval, and is it coherent? |
# | 06b | which method, when? | where does a hierarchy help, and what does coherence cost? |
# | 07 | maps, and how they are made | how does a heat map come about, and can it be the answer? |
# | 08 | maps, put to the test | does a map deserve to be believed? |
# | 09 | doubt | does the model know when it is wrong? |
# | 10 | promises | what may it say, so that a promise is kept? |
# | 11 | reading room | one radiograph, perhaps yours: is it one, what is seen where, what may be said? |
# | 12 | on real radiographs | what is a model worth that has only seen phantoms? |
#
# Every notebook runs alone and in any order. What an earlier one made is found again, or made again. Each asks before it
# tells: where it says **guess**, say a number or a name aloud, or write it down, before you run the cell; where it is about a picture, below the picture. And each ends with
# exercises that check themselves.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 00.1: How an exercise works (1 minute)
def how_many_present(targets):
    """How many labels of one image are present?

    Write the body in place of the dots and run the cell. The check calls your function on images
    of its own, new ones each time, and says what differs. Below are a hint and the solution: take
    the # away to see them. `np`, `pd` and `torch` are there to be used.

    targets: an array [L] of 0 (absent) and 1 (present), one for each label.
    Returns a number. With [0, 1, 0, 0, 1] it is 2; where nothing is present, 0.
    """
    ...  # your code


exercises.check(how_many_present)
# exercises.hint("how_many_present")
# exercises.solution("how_many_present")


# %% tags=["nbval-ignore-output"]
# Exercise 00.2: Where do probabilities contradict the hierarchy? (3 minutes)
def contradicted_edges(probability, edges):
    """Which edges of the hierarchy does a model contradict?

    A child is a kind of its parent: pneumonia is a kind of consolidation. So no child should come
    out more probable than its parent. Equally probable is allowed.

    probability: a dict {label: its probability}, of one image.
    edges: a list of pairs (parent, child) of labels.
    Returns the set of the edges whose child is more probable than its parent, an empty one if
    there is none. With {"Fluid Accumulation": 0.3, "Consolidation": 0.45, "Pneumonia": 0.4} and
    the edges ("Fluid Accumulation", "Consolidation") and ("Consolidation", "Pneumonia") it is
    {("Fluid Accumulation", "Consolidation")}.
    """
    ...  # your code


exercises.check(contradicted_edges)
# exercises.hint("contradicted_edges")
# exercises.solution("contradicted_edges")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("00")

# %% [markdown]
# ## What you have done
#
# What you solve is noted in `progress.json` beside `README.md`, on your machine only. Run this cell whenever you want to know what comes next.

# %% tags=["nbval-ignore-output"]
exercises.progress()

# %% [markdown]
# ## Take away
#
# - One variable, `DATA` or `CXR_DATA`, chooses the radiographs for the whole course.
# - The phantom needs nothing and knows the truth; real data need a download and do not.
# - On Monday: show somebody the first picture, and ask what they would want to know before they believed it. Their
#   question is one of these notebooks.
#
# **Next**: 01 reads a chest film.
