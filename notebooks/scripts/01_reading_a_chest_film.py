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
# # 01 · Reading a chest film
#
# What is black, what is white, what is where; and what does each observation look like, before and after?
#
# **You will be able to** say why a place on a chest film is dark or white, tell left from right and a film
# taken standing from one taken lying, name what lies where, recognise the plain form of the fourteen
# observations that this course classifies, and say what each is confused with.
#
# **Needs** nothing, and no data: the films are drawn as you go. **Minutes** 45, and 20 for the exercises. The
# five sections called *further* take 15 more and can wait. Less than one is computing. Take two sittings, with
# a break before *The fourteen observations*.
#
# This is a first lesson, not a training in radiology, and nothing here is a medical device.

# %% [markdown]
# ## The films in this notebook
#
# They are **phantoms**: a body in three dimensions, made of simple solids, with rays sent through it. What
# that buys is the truth. The same chest can be drawn with and without a finding, and the pixels that the
# finding changes are known.
#
# What it costs is likeness. The heart, the spine and the vessels look somewhat assembled, there is no chin,
# and the letters on the film are drawn with a few strokes. The rules that you learn on them are those of
# real films; the eye for real films comes only from real films.

# %%
# Real radiographs too? Empty: those in the folder that CXR_DATA names, or else none.
DATA = ""

import os
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch

from cxrlib import data, exercises, phantom, plots, widgets
from cxrlib.labels import OBSERVATIONS
from cxrlib.phantom import anatomy
from cxrlib.phantom.chest import LUNG
from cxrlib.phantom.develop import MU, scattered

folder = DATA or os.environ.get("CXR_DATA")
track = data.open_track(folder) if folder else None
real = track is not None and track.name != "phantom"
if real:
    print("A real film stands beside every observation that has one here, as it came:", track)
else:
    print(
        "Drawn films only. Where CXR_DATA names a folder of real radiographs, they appear beside these."
    )

# %% [markdown]
# Two helpers. The first makes a study of a patient: standing straight, after a deep breath, well exposed.
# The number chooses the patient, and with it the place that a finding takes. The second shows pictures.


# %%
GOOD_FILM = {
    "number": 1, "projection": "PA", "lateral": True, "inspiration": 0.85, "rotation": 0.0,
    "tilt": 0.0, "shift": (0.0, -1.6), "field": 42.0, "arms": 0.3, "scatter": 0.2,
    "photons": 3_000_000.0, "enhancement": 0.3, "sharpening": 0.45, "window": (0.65, 0.12),
    "gamma": 1.35, "border": (-0.1,) * 4, "marker": "L", "frame": (4.0, 0.0),
}  # fmt: skip
SIZE = 384


def film(patient, drawn=None, cause=None, **technique):
    """A study of one patient, with findings and their severities ``drawn``."""
    person = phantom.draw_patient(np.random.default_rng(patient))
    person = replace(person, cause=cause or person.cause)
    return phantom.Study(person, seed=patient, drawn=drawn or {}, **(GOOD_FILM | technique))


def panels(images, titles, title, alt, columns=3, masks=None):
    """Pictures side by side, with titles that can be read from the back of a room."""
    size = 10.2 / columns
    fig = plots.gallery(images, titles, columns, title, masks, size)
    for axis in fig.axes:
        axis.title.set_fontsize(12)
    plots.show(fig, alt)


# %% [markdown]
# ## Dark and white
#
# X-rays start on one side of the patient, and a film or a detector counts on the other what has come
# through. Where much arrives the film turns dark; where little arrives it stays white.
#
# A material takes away the more, the denser it is and the heavier its atoms. Radiology lives on five
# steps of that ladder: **air**, **fat**, **water** (and all that is mostly water: muscle, heart, blood,
# liver, fluid), **bone**, **metal**.
#
# **Guess** before you look at the next picture: which of the five is the darkest? Which places in a chest
# hold it? And why is the heart, which is no denser than muscle, so white?

# %% tags=["nbval-ignore-output"]
exercises.guess("01.1")

# %%
wired = film(201, {"Support Devices": 0.3}, cause="heart failure")
chest = phantom.expose(wired, SIZE)  # what each ray meets
water = chest.water()  # … counted in centimetres of water


def at(x, y, z=0.0):
    """Row and column of a point of the body: cm to the patient's left, down, and to the front."""
    row, column, _ = chest.beam.project(np.array([x, y, z]))
    return float(row), float(column)


body = chest.a
extra = water - phantom.expose(wired, SIZE, drawn={}).water()
metal = tuple(int(i) for i in np.unravel_index(extra.argmax(), extra.shape))
collarbone = anatomy.clavicles(body, wired)[0][0][13]
places = {
    "air: beside the patient": (0.78 * SIZE, 0.02 * SIZE),
    "air: in the lung": at(-8.0, 1.2),
    "bone: collarbone": at(*collarbone),
    "water: liver": at(-7.5, body.domes[0] + 5),
    "water: heart": at(5.6, body.domes[1] - 3.2),
    "metal: pacemaker": metal,
}
left = {name: place for name, place in places.items() if place[1] < SIZE / 2}
right = {name: place for name, place in places.items() if name not in left}
fig = plots.pointed(
    phantom.render(wired, SIZE), left, right, "Where air, water, bone and metal lie"
)
plots.show(
    fig,
    "A synthetic frontal chest film with arrows to air beside the patient and in the lung, to bone in "
    "the collarbone, to water in the liver and the heart, and to the metal of a pacemaker.",
)

# %% [markdown]
# Fat is missing. On a real film it is a shade darker than muscle, and thin dark layers of it under the skin
# and around the heart help to tell what is what. The phantom's soft tissue is all water.
#
# How much is taken away is the law of Beer and Lambert: of $I_0$ photons that enter,
#
# $$I = I_0 \, e^{-\mu d}$$
#
# pass through a thickness $d$. For water at the energies of chest films the phantom takes $\mu$ from below,
# and a lung full of air weighs as much as a fraction of its volume in water. Check the sum on a pocket
# calculator:

# %%
print(f"µ of water: {MU} per cm; a lung, after a deep breath, weighs {LUNG['PA']} of water\n")
for name, density in (("lung", LUNG["PA"]), ("liver", 1.0)):
    d = 15 * density
    share = np.exp(-MU * d)
    print(
        f"15 cm of {name:5} weigh {d:5.2f} cm of water: I / I0 = exp(-{MU} x {d:.2f}) = {share:.3f}"
    )

# %% [markdown]
# One number decides about each pixel: everything that its ray meets, added up. Here are the places of the
# picture. **Guess** first: how many of a thousand photons arrive behind the heart?

# %% tags=["nbval-ignore-output"]
exercises.guess("01.2")

# %%
met = {name: float(water[round(r), round(c)]) for name, (r, c) in places.items()}
table = pd.DataFrame({"cm of water in the way": met})
table["of 1000 photons arrive"] = 1000 * np.exp(-MU * table["cm of water in the way"])
table.sort_values("cm of water in the way").round(0).astype(int)

# %% [markdown]
# Air is the darkest: around the patient, in the lungs, in the windpipe, and in the stomach. The heart is
# white because of all that stands in one row with it: chest wall, heart, back. And the liver, mere water,
# beats the collarbone and even this pacemaker, because there is so much of it. (A real pacemaker lets next
# to nothing through.) A film is a **sum along the
# beam**, never a slice. (Scattered rays, left out of this sum, lay a haze over everything.) Two
# consequences that you will use all the time:
#
# - Everything lies over everything. A rib, a breast or a fold of skin can make a white patch "in the lung".
# - An edge is seen only where two different steps of the ladder **touch along the beam**. The heart has an
#   edge because there is air beside it. Fill the lung beside it with fluid, and its edge disappears. This
#   is called the *silhouette sign*.
#
# The last step, the *window*, chooses which range of what arrives becomes black to white.
#
# ## Which way round?
#
# A film is read as if the patient stood facing you: **the patient's right is on your left.** A letter on
# the film, L or R, says which side is which.
#
# **Guess**: below is one patient, three times. In one picture he lies in bed and the rays come from the
# front. Which, and how do you know?

# %%
standing = film(198)
lying = replace(
    standing, projection="AP", inspiration=0.35, arms=-0.7, rotation=0.2, tilt=-1.5,
    marker="LPORTABLE", scatter=0.7,
)  # fmt: skip
panels(
    [
        phantom.render(standing, SIZE),
        phantom.render(lying, SIZE),
        phantom.render(standing, SIZE, "lateral"),
    ],
    ["1", "2", "3"],
    "One patient, three films: how was each taken?",
    "Three synthetic films of one patient: a frontal film taken standing, a frontal film taken lying with "
    "the word portable on it, whose heart looks larger, and a lateral film in which he faces left.",
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.3")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 1 is **PA**: the rays enter at the back (*posterior*) and leave in front (*anterior*), where the detector
# is. He stands, has breathed in, and has rolled his shoulders forward, so the blades clear the lungs.
#
# 2 is **AP**, lying: a portable machine, the detector under his back. The word on the film says so. Without
# it: the diaphragm stands higher, the shoulder blades lie over the lungs, the heart looks larger. And the
# gas in the stomach, under the left dome, has lost its flat lower edge: in 1 it floats on fluid, and the
# level shows only when the rays cross it from the side, as they do in a patient who stands.
#
# 3 is **lateral**: he faces to your left, spine on the right. Both lungs lie over each other.
#
# </details>
#
# **Guess** by how much the heart grows from 1 to 2, in the same man. The usual measure is its greatest
# width as a share of the width of the chest, inside the ribs: the **cardiothoracic ratio**.

# %% tags=["nbval-ignore-output"]
exercises.guess("01.4")


# %%
def cardiothoracic_ratio(study):
    """Width of the heart over that of the chest, both as they appear on the detector."""
    chest = phantom.expose(study, 64)
    heart = anatomy.heart(chest.a)
    _, depth = chest.beam.turned(*heart.middle)
    width = ((heart.x + heart.a).max() - (heart.x - heart.a).min()) * chest.beam.magnify(depth)
    inside = 2 * anatomy.wall_at(chest.a, max(chest.a.domes)) * chest.beam.magnify(0.0)
    return float(width / inside)


print(f"PA, standing: {cardiothoracic_ratio(standing):.2f}")
print(f"AP, lying:    {cardiothoracic_ratio(lying):.2f}")

# %% [markdown]
# Nothing in the man has changed but his position. Lying and breathing less spread the heart; and from the
# front it is far from the detector, so its shadow grows more than the chest's, as your hand's does when you
# move it towards the lamp. On a PA film a ratio above 0.5 is commonly called large. On an AP film that rule does not hold.
#
# Much of what fools readers, and models, is of this kind: not illness, but how the film was taken. And a
# film that is mirrored puts the heart on the wrong side, which in a few people is the truth. 05 asks which
# changes of a picture a model may be shown.
#
# ## What is where?
#
# **Guess** each of these before you follow the arrows: where is the windpipe? Which dome of the diaphragm
# stands higher? Where does the heart end and the great artery begin?

# %% tags=["nbval-ignore-output"]
exercises.guess("01.5")

# %%
map_film = film(198)
chest = phantom.expose(map_film, SIZE)
body = chest.a
heart = anatomy.heart(body)


def heart_edge(y, side):
    """Where the heart ends at height ``y``, on the patient's right (-1) or left (1)."""
    middle, half = (np.interp(y, heart.y, v) for v in (heart.x, heart.a))
    return at(middle + side * half, y, heart.middle[1])


def sulcus(side):
    """The deep corner between diaphragm and ribs."""
    y = body.domes[int(side > 0)] + 0.9 * body.flat
    return at(side * (float(anatomy.wall_at(body, y)) - 0.2), y)


ribs = anatomy.ribs(body, map_film.patient)[0]
reader_left = {
    "collarbone": at(*anatomy.clavicles(body, map_film)[0][0][16]),
    "shoulder blade": at(-0.86 * body.chest - 1.6, body.apex + 6, -0.75 * body.depth),
    "a rib": at(*ribs[2 * 5][14]),
    "right hilum": at(-4.3, -0.2, -1.0),
    "right heart border": heart_edge(body.domes[1] - 4.5, -1),
    "right dome": at(-0.46 * body.chest, body.domes[0], 1.2),
    "right costophrenic\nangle": sulcus(-1),
    "liver": at(-7, body.domes[0] + 4.5),
}
reader_right = {
    "windpipe": at(0, -14.5),
    "top of the lung": at(5.0, body.apex + 1.2, -3.0),
    "aortic knob": at(0.9 + 1.5 * body.knob, -5.6),
    "where the windpipe\ndivides": at(0, -3.6),
    "left hilum": at(4.4, -1.2, -1.0),
    "left heart border": heart_edge(body.domes[1] - 4.5, 1),
    "left dome": at(0.72 * body.chest, body.domes[1] + 0.5, 1.2),
    "gas in the stomach": at(5.5, body.domes[1] + 3.0),
    "left costophrenic\nangle": sulcus(1),
}
fig = plots.pointed(
    phantom.render(map_film, SIZE),
    reader_left,
    reader_right,
    "A normal frontal film, and what is where",
)
plots.show(
    fig,
    "A normal synthetic frontal chest film with arrows to collarbone, shoulder blade, rib, both hila, both "
    "heart borders, both domes of the diaphragm, both costophrenic angles, liver, windpipe and its "
    "division, the top of the lung, the aortic knob, and the gas in the stomach.",
)

# %% [markdown]
# A few words for what the arrows show. The **hilum** is the root of a lung, where its vessels enter; the
# left one stands a little higher. Where between knob and left heart border the edge has a waist, there the
# heart ends. The **aortic knob** is the arch of the great artery, seen end-on as it
# turns backwards. Heart, great vessels, windpipe and gullet together are the **mediastinum**. The right
# **dome** is usually the higher one, with the liver under it. The **costophrenic angle** is the sharp, dark
# corner between diaphragm and ribs: keep an eye on it.
#
# A lung is made of **lobes**, three on the right and two on the left, and the clefts between them are the
# **fissures**; its air comes through **bronchi**, the branches of the windpipe.
#
# The phantom does not draw the chin, layers of fat, the fissures between healthy lobes, nipples, or the
# calcium in the cartilage of ribs. It draws the stomach's bubble in about half of its studies.
#
# Readers go through a film in a fixed order, so that a striking finding does not end the search. One that
# is often taught: **A**irway (windpipe: in the middle?), **B**reathing (lungs, both sides compared, down to
# the corners), **C**irculation (heart and mediastinum: size, edges), **D**iaphragm (domes, angles),
# **E**verything else (bones, soft tissue, devices).
#
# ## The fourteen observations
#
# CheXpert, the collection that the paper trains on, asks fourteen questions of every film. Here is each as
# the phantom draws it, alone and plainly, with severities in the upper half of a scale from 0 to 1. Real
# ones come in company, and many are fainter.
#
# Each row is *one* patient: without the finding, with it, and with the pixels that it changes outlined.
# **Cover the outlined column with your hand, and find the difference yourself first.**


# %%
CASES = {  # observation: the patient, and how severe
    "Enlarged Cardiomediastinum": (119, 0.9),
    "Cardiomegaly": (179, 0.9),
    "Lung Opacity": (131, 1.0),
    "Consolidation": (44, 0.8),
    "Pneumonia": (1798, 0.8),
    "Edema": (197, 0.8),
    "Atelectasis": (201, 0.5),
    "Lung Lesion": (411, 0.6),
    "Pneumothorax": (185, 0.75),
    "Pleural Effusion": (232, 0.8),
    "Pleural Other": (218, 0.8),
    "Fracture": (244, 0.8),
    "Support Devices": (165, 0.8),
}


def real_film(observation):
    """A real radiograph with this label and as few others as there are, and its title; or None."""
    has = track.table[list(OBSERVATIONS)] == 1
    has = has[has[observation]]
    for i in has.sum(axis=1).sort_values(kind="stable").index:
        path = track.folder / track.table.loc[i, "path"]
        if path.is_file():
            others = [name for name in OBSERVATIONS if has.loc[i, name] and name != observation]
            more = f"also {others[0]}" if len(others) == 1 else f"and {len(others)} more"
            return data.load_image(path, SIZE), f"real; {more if others else 'this label alone'}"
    return None


def before_and_after(names, title, alt):
    """A row for each observation: without, with, outlined, and a real film where there is one."""
    images, titles, masks = [], [], []
    for name in names:
        patient, severity = CASES[name]
        study = film(patient, {name: severity})
        picture = phantom.render(study, SIZE)
        images += [phantom.render(replace(study, drawn={}), SIZE), picture, picture]
        titles += ["without", name, "what it changes"]
        masks += [None, None, phantom.masks(study, SIZE)[name]]
        if real:
            found = real_film(name)
            image, words = found or (
                np.full((SIZE, SIZE), 255, np.uint8),
                "no real film\nlabelled so",
            )
            images, titles, masks = [*images, image], [*titles, words], [*masks, None]
    columns = 4 if real else 3
    alt += " At the end of each row, a real one where there is one." * real
    panels(images, titles, title, alt, columns, masks)


# %% [markdown]
# ### Is it normal?
#
# - **No Finding**: none of the abnormalities. *One sees* an ordinary chest. *Confused
#   with* anything faint enough to miss.
#
# **Guess**: which of these three films carry the label *No Finding*?

# %%
plain = film(201)
with_device = film(201, {"Support Devices": 0.3}, cause="heart failure")
hernia = film(201, other="hernia")
normals = [plain, with_device, hernia]
images, titles = [phantom.render(study, SIZE) for study in normals], ["1", "2", "3"]
if real and (found := real_film("No Finding")):
    images, titles = [*images, found[0]], [*titles, found[1]]
panels(
    images,
    titles,
    "Which of these are No Finding?",
    "Three synthetic films of one patient: an ordinary chest, the same chest with a pacemaker and a thin "
    "line, and the same "
    "chest with a round shadow behind the heart that holds air over a level of fluid.",
    columns=len(images),
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.6")

# %%
for number, study in enumerate(normals, start=1):
    print(f"{number}: No Finding = {study.truth['No Finding']}")
print("labels of 3:", [name for name, present in hernia.truth.items() if present])

# %% [markdown]
# Film 2 is *No Finding*, with two devices: a pacemaker, and a line into a great vein. Film 3 shows part of
# the stomach risen through the diaphragm: a hernia, a round shadow behind the heart with air over a level of
# fluid. It is not normal, and none of the other thirteen names fits it either. So *No Finding* means "nothing
# abnormal", not "none of these names", and neither means that the patient is well: much illness does not show
# on a chest film.
#
# ### The middle
#
# - **Enlarged Cardiomediastinum**: heart and great vessels together are too wide. *One sees* the white
#   middle bulge, often above the heart. *Confused with* a turned or lying patient, a shallow breath, the
#   winding aorta of old age.
# - **Cardiomegaly**: a large heart. *One sees* a heart wider than half the chest on a PA film. *Confused
#   with* an AP film, a shallow breath, fluid around the heart, which looks the same.
#
# A large heart makes a large middle, so *Cardiomegaly* has *Enlarged Cardiomediastinum* for a parent. 03
# builds the hierarchy of such names.

# %%
before_and_after(
    ["Enlarged Cardiomediastinum", "Cardiomegaly"],
    "The middle: too wide above, too wide below",
    "Two rows of synthetic films, without, with, and outlined: an enlarged cardiomediastinum, whose upper "
    "part bulges to both sides, and an enlarged heart.",
)

# %%
large = film(CASES["Cardiomegaly"][0], {"Cardiomegaly": 0.9})
print(f"cardiothoracic ratio without: {cardiothoracic_ratio(replace(large, drawn={})):.2f}")
print(f"                     with:    {cardiothoracic_ratio(large):.2f}")

# %% [markdown]
# ### Lungs that are too white, first part
#
# - **Lung Opacity**: the umbrella word. *One sees* any part of the lung whiter than it should be, a haze or
#   a patch. *Confused with* breast, muscle, a fold of skin, a turned patient.
# - **Consolidation**: the lung's air is replaced by pus, water, blood or cells. *One sees* dense white in
#   which vessels drown; dark bronchi may branch through it; a neighbour's edge may disappear. *Confused
#   with* collapse and with fluid around the lung; what filled the lung cannot be seen.
# - **Pneumonia**: an infection of the lung. *One sees* a consolidation in one lobe, many patches, or a mesh.
#   *Confused with* every other consolidation, edema, collapse.
#
# Pneumonia is a diagnosis more than a sight: fever and cough make it of a white patch. In the phantom it
# implies consolidation, and consolidation implies opacity.

# %%
before_and_after(
    ["Lung Opacity", "Consolidation", "Pneumonia"],
    "Three words for a white lung, from the vaguest to the boldest",
    "Three rows of synthetic films, without, with, and outlined: a hazy opacity in the patient's right upper "
    "lung, a dense consolidation of the left lower lung in which the heart's edge is lost, a pneumonia of the "
    "right lung that ends above in a "
    "straight edge.",
)

# %% [markdown]
# Where is the left edge of the heart in the second row? The consolidation lies beside it, so that nothing dark
# touches it any more: the silhouette sign. And the pneumonia ends above in a straight line: there it meets a
# fissure. An edge like that says "one lobe".
#
# And how would you tell the three apart? On the film alone, often you would not; radiologists do not agree on
# it either (02 measures how much).
#
# ### Lungs that are too white, second part
#
# - **Edema**: water in the lungs, mostly because the heart fails. *One sees*, on both sides, wide and
#   blurred vessels, a haze around the hila, short level lines at the edges. *Confused with* pneumonia of
#   both lungs, a shallow breath.
# - **Atelectasis**: a part of the lung has lost its air and folded up. *One sees* white plates over the
#   diaphragm, or a dense wedge; neighbours are pulled *towards* it. *Confused with* consolidation, which
#   does not pull, and with scars.
# - **Lung Lesion**: a nodule (up to 3 cm) or a mass (larger). *One sees* something round. *Confused with* a
#   nipple, a vessel seen end-on, the old break of a rib, a round pneumonia.

# %%
before_and_after(
    ["Edema", "Atelectasis", "Lung Lesion"],
    "Wet, folded, round",
    "Three rows of synthetic films, without, with, and outlined: edema of both lungs around the hila, with "
    "a white line of fluid in a fissure; plates of atelectasis over the right diaphragm, which is raised, and "
    "a round lesion in the left upper lung.",
)

# %% [markdown]
# The white line across the right lung with edema is fluid in a fissure. And the outline of the atelectasis
# holds more than its plates: a lung that shrinks pulls diaphragm, heart and windpipe with it.
#
# One name can have several faces. **Guess** which of the three below is an atelectasis, and what the other
# two are.

# %%
faces = [
    film(179, {"Pneumonia": 0.8}),
    film(119, {"Atelectasis": 0.7}),
    film(197, {"Pneumonia": 0.8}),
]
panels(
    [phantom.render(study, SIZE) for study in faces],
    ["1", "2", "3"],
    "The same names with other faces",
    "Three synthetic films: patches of pneumonia in both lungs, a dense wedge behind the heart where a lobe "
    "has collapsed, and a mesh of pneumonia, mostly over the right lung.",
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.7")

# %%
for number, study in enumerate(faces, start=1):
    implied = [name for name in study.severity if name not in study.drawn]
    print(f"{number}: {', '.join(study.drawn)}, and so also {', '.join(implied)}")

# %% [markdown]
# 2 is the atelectasis: a lobe folded up behind the heart, a straight edge through the heart's shadow. 1 and
# 3 are pneumonias, in patches and as a mesh. A mesh is hardly a "consolidation", yet the labels say so: the
# hierarchy is a rule about names, and pictures do not always obey it.
#
# ### Around the lungs
#
# Lung and chest wall are each covered by a thin skin, the **pleura**. Between the two there is normally
# nothing.
#
# - **Pneumothorax**: air between lung and wall. *One sees* the lung's edge as a fine line, and **beyond it no
#   vessels**. *Confused with* a fold of skin, the edge of the shoulder blade, a tube.
# - **Pleural Effusion**: fluid between lung and wall. *One sees*, standing, a blunt angle, then white that
#   climbs at the side (the *meniscus*). *Confused with* collapse or consolidation at the base,
#   a raised diaphragm.
# - **Pleural Other**: the rest, which is thickening, scars, calcium. *One sees* a white rim or plaques along
#   the wall. *Confused with* an old effusion, fat or muscle under the ribs.

# %%
before_and_after(
    ["Pneumothorax", "Pleural Effusion", "Pleural Other"],
    "Around the lung: air, fluid, scar",
    "Three rows of synthetic films, without, with, and outlined: a right pneumothorax with the lung's edge "
    "drawn back from the wall, a right pleural effusion that fills the angle, and thickened pleura along "
    "the right chest wall.",
)

# %% [markdown]
# Three things to take from the outlines. The pneumothorax is outlined to the wall although much of the
# outline is *darker*, not whiter: the sign is something missing. (The lung beside it has shrunk and is whiter, and the heart has
# moved: all that is outlined too.) The effusion reaches below the dome,
# because the lung and the fluid go deeper at the back than the dome's top that you see. And a pleural rim
# goes around the lung, so that part of it lies in front of and behind the lung and dims that, too.
#
# Now the effusion of a patient who stands, and who lies. **Guess** where the fluid goes.

# %% tags=["nbval-ignore-output"]
exercises.guess("01.8")

# %%
upright = film(207, {"Pleural Effusion": 0.8})
supine = replace(upright, projection="AP", inspiration=0.5, arms=-0.7)
picture = phantom.render(supine, SIZE)
panels(
    [phantom.render(upright, SIZE), picture, picture],
    ["standing", "lying", "lying: what it changes"],
    "Lying down, an effusion becomes a veil",
    "Three synthetic films of one patient with a right pleural effusion: standing, with a blunt corner at the "
    "base; "
    "lying, with the whole right lung greyer than the left; and the same outlined.",
    masks=[None, None, phantom.masks(supine, SIZE)["Pleural Effusion"]],
)

# %% [markdown]
# It runs to the back and lies behind the whole lung, which is greyer than the other; vessels still show
# through. Compare the two sides: that is how a veil is found. (The phantom veils only some of its lying
# patients, and leaves all of them a meniscus.)
#
# ### Bones, and things
#
# - **Fracture**: a broken rib, collarbone or other bone. *One sees* a step or a gap in an edge, later a knot.
#   *Confused with* edges that only cross. Many breaks do not show at all.
# - **Support Devices**: tubes, lines, wires, pacemakers, valves. *One sees* lines and shapes that are
#   smooth, regular, and often whiter than any tissue. *Confused with* things on the skin or under the
#   back, and with calcium.

# %%
before_and_after(
    ["Fracture", "Support Devices"],
    "A step in the edge of a rib, and lines too smooth to be grown",
    "Two rows of synthetic films, without, with, and outlined: several broken ribs and a broken collarbone on "
    "the patient's left, with blood inside the chest wall, and a chest tube, a port and electrodes.",
)

# %% [markdown]
# Where broken ends lie over each other it is whiter; the collarbone shows a step. The outline of the fracture
# holds more than the breaks: the ribs beyond them have moved, and between them and the lung there is blood.
#
# Which devices? **Guess** what each is for, then open the answer.

# %%
wearers = [
    film(131, {"Support Devices": 0.8}, cause="heart failure"),
    film(197, {"Support Devices": 0.8}, cause="surgery"),
    film(262, {"Support Devices": 0.8}, cause="intensive care"),
]
panels(
    [phantom.render(study, SIZE) for study in wearers],
    ["1", "2", "3"],
    "Devices tell why somebody is in hospital",
    "Three synthetic films with devices: a pacemaker with its lead, a heart valve and a central line; "
    "steel wires in the breastbone, a heart valve and a chest tube; a breathing tube, a feeding tube and a "
    "central line.",
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.9")

# %% [markdown]
# <details><summary>Answer</summary>
#
# 1, a failing heart: a pacemaker under the skin with its lead to the heart, the ring of an artificial heart
# valve, and a central line, a catheter in a great vein.
#
# 2, after an operation on the heart: steel wires that close the breastbone, a valve, and a chest tube that
# drains air or fluid.
#
# 3, intensive care: a tube in the windpipe for breathing, one through the gullet into the stomach for
# feeding, and a central line.
#
# The phantom also has ports (a small chamber under the skin, for chemotherapy) and the electrodes of a
# monitor, of which you saw some above.
#
# </details>
#
# A device comes with an illness, and a model may learn the one in place of the other: a chest tube says
# "pneumothorax" more loudly than the pneumothorax does. 08 plants such a shortcut and looks for it.

# %%
if real:
    absent = [name for name in OBSERVATIONS if real_film(name) is None]
    print("no real example in this folder:", ", ".join(absent) or "none is missing")
    print("The real ones were taken as they come: turned, or with things that no label names.")
    print("And a real film's label may be wrong: 02 asks how often.")
else:
    print("Only drawn films here: with CXR_DATA, a real one stands at the end of each row.")

# %% [markdown]
# ## Find it
#
# Four films without a label. Go through each in your fixed order, decide, and **write your answer down**
# before you read on, in the cell below or on paper. The answers follow after the fourth.

# %%
my_answers = {1: "", 2: "", 3: "", 4: ""}  # such as {1: "No Finding", …}

# %%
questions = {number: exercises.quiz_film(number, film) for number in my_answers}


def ask(number):
    study, view = questions[number]
    alt = f"A synthetic {view} chest film, number {number} of the quiz, without a label."
    fig = plots.gallery([phantom.render(study, 512, view)], columns=1, size=5.2)
    plots.show(fig, alt)


def answer(number):
    """The labels of a film, and where each finding lies, from every side that helps."""
    study, view = questions[number]
    present = [name for name, there in study.truth.items() if there]
    print("you wrote:", my_answers[number] or "(nothing yet)")
    print("it shows: ", ", ".join(present))
    views = phantom.VIEWS if view == "lateral" or not study.drawn else [view]
    shown = [(seen, name) for seen in views for name in study.drawn or [""]]
    shown = [(view, ""), *shown] if len(shown) == 1 else shown
    panels(
        [phantom.render(study, SIZE, seen) for seen, _ in shown],
        [f"{seen}: {name}" if name else seen for seen, name in shown],
        None,
        f"The synthetic film {number} of the quiz; outlined: {', '.join(study.drawn) or 'nothing'}.",
        columns=len(shown),
        masks=[phantom.lesions(study, SIZE, seen).get(name) for seen, name in shown],
    )


ask(1)

# %% [markdown]
# **Film 1.** What do you see? And is that all?
#
# <details><summary>A hint</summary>Compare the two costophrenic angles. Then measure the heart with a ruler.
# </details>

# %%
ask(2)

# %% [markdown]
# **Film 2.** What is *not* there?
#
# <details><summary>A hint</summary>Follow the vessels outwards, on both sides, to the ribs.</details>

# %%
ask(3)

# %% [markdown]
# **Film 3.** Both lower lungs are whiter than the upper ones. What is it?
#
# <details><summary>A hint</summary>Follow the white outwards: does it stop where the lung stops?</details>

# %%
ask(4)

# %% [markdown]
# **Film 4.** A lateral film: the patient faces left. What do you see, and would it be plain from the front?
#
# <details><summary>A hint</summary>Vessels branch; what does not branch?</details>
#
# ### Answers
#
# The first:

# %%
answer(1)
print(f"cardiothoracic ratio: {cardiothoracic_ratio(questions[1][0]):.2f}")

# %% [markdown]
# Two findings. The heart is wider than half the chest, and the angle on *the patient's right*, your left, is
# filled. (The third label only follows from the first: a large heart makes a large middle.) Whoever stops
# at the heart misses the fluid: teachers call it *satisfaction of search*. The two often come together,
# because fluid gathers where a heart fails. Labels that come in company are what this course is about.

# %%
answer(2)

# %% [markdown]
# On the patient's left, the vessels end at a fine edge, and beyond it, up to the chest wall, it is darker and
# empty but for the ribs. The upper part is the place to look when the patient stands, since air rises. The
# sign is an absence, which is easy to overlook. 07 and 08 ask how the maps that are to show what a model
# looks at fare with it.

# %%
answer(3)

# %% [markdown]
# Nothing: the white over both lower lungs is breast, alike on both sides, with a round edge. From the side
# it is seen where it is, in front of the chest wall. Did you call it edema or pneumonia? Many do at first,
# and a model that has seen few women might, too.

# %%
answer(4)

# %% [markdown]
# A round lesion, where nothing round belongs. (*Lung Opacity* only follows from it, by CheXpert's own hierarchy, which the phantom keeps; in the paper's graph of 00
# the two stand side by side.)
# From the front it lies mostly *behind the heart*: here it shines through, on many a real film it hardly does.
# Two views at right angles tell where a thing is; one never
# does.

# %% [markdown]
# ## Further: what it is, and what it changes
#
# A radiologist outlines the *disease*, as the quiz's answers did. The outlines before them hold the *pixels that it changes*. **Guess**: for
# which findings are the two alike, and for which not?

# %% tags=["nbval-ignore-output"]
exercises.guess("01.10")

# %%
pairs = {
    "Pneumothorax": film(CASES["Pneumothorax"][0], {"Pneumothorax": 1.0}),
    "Cardiomegaly": film(CASES["Cardiomegaly"][0], {"Cardiomegaly": 0.8}),
    "Lung Lesion": film(CASES["Lung Lesion"][0], {"Lung Lesion": 0.7}),
}
outlines = {"where it is": phantom.lesions, "what it changes": phantom.masks}
panels(
    [phantom.render(study, SIZE) for study in pairs.values()] * 2,
    [f"{name}: {what}" for what in outlines for name in pairs],
    "Two outlines of one finding",
    "Three findings, each outlined twice. Pneumothorax: the air beside the lung, and with it the heart and "
    "dome that it displaces. Cardiomegaly: the whole heart, and the same but for a strip over the spine. Lung "
    "lesion: both alike.",
    masks=[
        outline(study, SIZE)[name] for outline in outlines.values() for name, study in pairs.items()
    ],
)

# %% [markdown]
# A round lesion is where it changes the film. The air of a pneumothorax also moves the heart; and an enlarged
# heart changes nothing where it lies over the spine, which was white before. Which of the two should a heat
# map mark? The question has no one answer. Notebook 08 uses the place of the finding itself; its stored
# record has both.

# %% [markdown]
# ## Further: layer by layer
#
# A film is a sum along the beam. Here is that sum, layer by layer, up to the picture. Not all rays that arrive came straight: some were
# scattered on their way. **Guess**: by what, and behind which organs do more of them arrive than of the
# straight ones? (In every panel white means little: few rays, or much in their way.)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.11")

# %%
ill = film(158, {"Consolidation": 0.8})
layers = phantom.expose(ill, SIZE)
air = sum(air * clear for air, clear in zip(layers.air, layers.clear, strict=True))
gas = 1 - LUNG[ill.projection]  # the rest of a lung is tissue
lungs = layers.body - gas * air
direct = np.exp(-MU * layers.water())
strayed = scattered(ill, phantom.expose(ill, SIZE, drawn={}).water())
stages = {
    "soft tissue, in cm": layers.body,
    "less the air in the lungs": layers.body - gas * sum(layers.air),
    "… where it is not filled": lungs,
    "all that is in the way": layers.water(),
    "direct rays": direct,
    "scattered rays": strayed,
    "what arrives": direct + strayed,
}


def stretched(values, low, high):
    """Values from ``low`` to ``high`` as grey levels, dark to light."""
    return (255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.uint8)


shown = []
for name, values in stages.items():
    rays = "rays" in name or "arrives" in name  # few of them are white, as on film
    values = -np.log(values) if rays else values
    bounds = (1.2, 5.5) if rays else (0, 36)
    shown.append(stretched(values, *bounds))
panels(
    [*shown, phantom.render(ill, SIZE)],
    [*stages, "window, noise, letters"],
    "A film, layer by layer",
    "Eight pictures of one synthetic chest: soft tissue, the lungs' air taken out of it, a consolidation in "
    "them, bones and vessels added, the direct rays, the blurred haze of scattered rays, their sum, and the "
    "finished film.",
    columns=4,
)
spots = {
    "in the lung": (0.45, 0.24),
    "behind the heart": (0.62, 0.55),
    "behind the spine": (0.78, 0.5),
}
for name, (down, across) in spots.items():
    spot = np.s_[
        int(down * SIZE) - 4 : int(down * SIZE) + 4, int(across * SIZE) - 4 : int(across * SIZE) + 4
    ]
    print(
        f"scattered rays for each straight one, {name}: {strayed[spot].sum() / direct[spot].sum():.1f}"
    )

# %% [markdown]
# By the patient. Scattered rays come from everywhere, so they carry hardly any picture. Thick tissue stops
# them, too, but the straight ones even more: the *share* of scattered rays grows with thickness, as the numbers above
# say. Behind the heart and the lower spine there are more of them than of straight ones. That is why so little is seen
# there. A grid of lead strips before the detector takes most of them away; at the bedside there is often
# none.

# %% [markdown]
# ## Further: how faint can it be?
#
# Everything so far was plain. **Guess**: at which of these severities would you have seen the
# consolidation, had nobody told you?

# %%
severities = (0.2, 0.5, 0.9)
faint = [film(44, {"Consolidation": severity}) for severity in severities]
panels(
    [phantom.render(study, SIZE) for study in faint],
    [f"severity {severity}" for severity in severities],
    "One consolidation, from faint to plain",
    "Three synthetic films of one patient with a consolidation in the left lower lung at the severities "
    "0.2, 0.5 and 0.9; at 0.2 it can hardly be seen.",
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.12")

# %%
panels(
    [phantom.render(study, SIZE) for study in faint],
    [f"severity {severity}" for severity in severities],
    "The same, outlined",
    "The same three synthetic films with the consolidation outlined; it is there in all of them.",
    masks=[phantom.masks(study, SIZE)["Consolidation"] for study in faint],
)

# %% [markdown]
# A faint one is missed by people too, with the same film in hand; some are seen only when one looks back
# from a later, plainer film. Remember that when a model misses: ask *which ones*. The phantom can answer,
# because it knows the severity of everything it draws.
#
# ## Further: where the phantom comes from
#
# The course's default radiographs are not made one by one as here, but by the thousand. A *cause* (heart
# failure, trauma, cancer, …) draws findings, each with a severity; one body in three dimensions, in
# centimetres, holds them; and rays are sent through it. So one body gives every view, and a patient who
# comes back is the same person, whose findings grow or fade. How a film is exposed differs from study to
# study, as it does in a hospital.
#
# Here is one patient at three visits. **Guess**: what stayed, what faded, what is new?

# %%
visits = phantom.draw_studies(np.random.default_rng([4, 28861]))
pictures = [phantom.render(visits[0], SIZE), phantom.render(visits[0], SIZE, "lateral")]
pictures += [phantom.render(visit, SIZE) for visit in visits[1:]]
views = ["frontal", "lateral", "frontal", "frontal"]
panels(
    pictures,
    [f"study {n}, {view}" for n, view in zip([1, 1, 2, 3], views, strict=True)],
    "One patient: two views of the first study, and two later studies",
    "Four synthetic radiographs of one patient: frontal and lateral of the first study, then the frontal "
    "views of the second and third. In the third, the left lung has drawn back from the wall.",
    columns=2,
)

# %% tags=["nbval-ignore-output"]
exercises.guess("01.13")

# %%
for visit in visits:
    found = ", ".join(f"{name} {severity:.2f}" for name, severity in visit.drawn.items())
    print(f"study {visit.number}, {visit.projection}: {found}")

# %% [markdown]
# After an accident: broken ribs on the patient's right, fluid in both angles, a haze in the lungs, and
# devices. The ribs stay broken, and the port and the electrodes stay; the chest tube is gone at the second
# visit, which was in bed, as the third was. And at the third there is a pneumothorax on the left: the lung has drawn back from
# the wall. You saw that the haze faded? The numbers say so; the films, taken in other ways, hardly do.

# %% [markdown]
# ## Further: look closer
#
# Choose a finding, make it worse, see it from the side. Two things to try: find the smallest severity at
# which you see a pneumothorax, and watch what happens to the heart when the pneumothorax becomes large.


# %%
def draw_finding(finding, severity, view):
    study = film(CASES[finding][0], {finding: severity})
    with_it = phantom.render(study, 320, view)
    fig = plots.gallery(
        [phantom.render(replace(study, drawn={}), 320, view), with_it, with_it],
        ["without", f"severity {severity:.2f}", "the pixels it changes"],
        columns=3,
        masks=[None, None, phantom.masks(study, 320, view)[finding]],
        size=3.4,
    )
    for axis in fig.axes:
        axis.title.set_fontsize(12)
    return fig


widgets.explore(
    draw_finding,
    "The same synthetic chest three times: without a pleural effusion, with it, and with the pixels "
    "that it changes outlined.",
    finding=ipywidgets.Dropdown(
        options=phantom.FINDINGS, value="Pleural Effusion", description="finding"
    ),
    severity=ipywidgets.FloatSlider(value=0.6, min=0.15, max=1, step=0.05, description="severity"),
    view=ipywidgets.Dropdown(options=phantom.VIEWS, description="view"),
)

# %% [markdown]
# A finding also pushes and pulls its neighbours: a large pneumothorax moves the heart *away*, a collapsed
# lobe moves it *nearer*, and those pixels are in its outline too.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 01.1: A film is a sum along the beam (3 minutes)
def photons_arriving(photons, thickness, density, mu):
    """How many photons of a ray arrive at the detector, by the law of Beer and Lambert?

    photons: how many enter the patient.
    thickness: an array [K], the cm of each layer that the ray crosses, one behind the other.
    density: an array [K], how many cm of water take away as much as 1 cm of the layer: of muscle
        1, of a lung 0.16.
    mu: the attenuation of water, per cm.
    Returns a number. With 1000 photons, mu = 0.19, 5 cm of muscle and 15 cm of lung it is 245.1
    (the layers take away what 5 + 2.4 cm of water would).
    """
    ...  # your code


exercises.check(photons_arriving)
# exercises.hint("photons_arriving")
# exercises.solution("photons_arriving")


# %% tags=["nbval-ignore-output"]
# Exercise 01.2: On which side is it? (4 minutes)
def side_of_the_patient(column, letter, letter_column, width):
    """On which side of the patient does a finding lie, in a film that may have been mirrored?

    The letter was beside the patient when the film was taken, on the side that it names. Where a
    film is mirrored, the letter has gone over to the other half with everything else.

    column, letter_column: where finding and letter lie, from 0 at your left to width - 1 at your
        right; neither is in the middle.
    letter: "L" or "R", for the patient's left or right.
    Returns "left" or "right", the patient's. With 30, "L", 90 and a width of 100 it is "right": the
    film hangs as it should. With 30, "L", 10 and 100 the film is mirrored, and it is "left".
    """
    ...  # your code


exercises.check(side_of_the_patient)
# exercises.hint("side_of_the_patient")
# exercises.solution("side_of_the_patient")


# %% tags=["nbval-ignore-output"]
# Exercise 01.3: A heart that grows by being far away (6 minutes)
def ratio_on_the_film(heart, chest, heart_gap, chest_gap, source):
    """The cardiothoracic ratio that a film shows: the heart's shadow over the chest's, in width.

    Rays spread from one point. A shadow is wider than the thing by the same factor by which the
    detector is further from the source than the thing is.

    heart, chest: their true widths, in cm.
    heart_gap, chest_gap: from where each is widest to the detector, in cm.
    source: from the source to the detector, in cm.
    Returns a number. A heart of 13 cm in a chest of 28 cm has a true ratio of 0.464. Lying, with
    gaps of 16 and 11 cm and the source at 105 cm, the film shows 0.490.
    """
    ...  # your code


exercises.check(ratio_on_the_film)
# exercises.hint("ratio_on_the_film")
# exercises.solution("ratio_on_the_film")


# %% tags=["nbval-ignore-output"]
# Exercise 01.4: Where it is, and what it changes (7 minutes)
def hidden_and_elsewhere(without, with_it, lesion, least):
    """How far do a finding's place and the pixels that it changes lie apart?

    An enlarged heart changes nothing where it lies over the spine, which was white before; and the
    air of a pneumothorax also moves the heart.

    without, with_it: uint8 arrays [H, W] of greys, 0 (black) to 255 (white), as films come: one
        drawn without and with the finding.
    lesion: a bool array [H, W], true where the finding itself lies.
    least: a pixel is changed if its two greys are more than this apart, not just by this.
    Returns two shares: *hidden*, of the pixels where the finding lies, those that it does not
    change; and *elsewhere*, of the pixels that it changes, those outside it. One row of five pixels
    with the greys [10, 10, 200, 90, 90] without and [90, 10, 205, 40, 30] with it, the lesion
    [True, False, True, False, False] and 8 for least give 1/2 and 2/3.
    """
    ...  # your code


exercises.check(hidden_and_elsewhere)
# exercises.hint("hidden_and_elsewhere")
# exercises.solution("hidden_and_elsewhere")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("01")

# %% [markdown]
# ## Take away
#
# - A film is a sum along the beam: air dark, then fat, water, bone, metal. An edge needs two of them side by
#   side.
# - The patient's right is on your left. Standing or lying changes the film more than many an illness does.
# - Read in a fixed order, and do not stop at the first finding. Some signs are absences.
# - The fourteen names overlap: some are kinds of others, some look alike, and one means "nothing abnormal".
# - Faint findings are missed by people too.
# - On Monday: of ten images of your own collection, write down position, side marker and devices before any finding. If
#   these differ between the sick and the healthy, a model will read them first.
#
# **Next**: 02 asks what a label is, and how wrong.
