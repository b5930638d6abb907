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
# # 11 · Reading room
#
# Everything together, on one radiograph: is it one at all, what does the model see and where, and what may be said?
#
# **You will be able to** read an image of your own, PNG or DICOM, follow it through gate, scores, maps and report, and say what
# each part of the report promises, and of whom.
#
# **Needs** the maps of 07, the gate of 09 and the promises of 10. The model is the course's own; if it is not there it is
# trained now, which takes five to eight minutes. **Minutes** 25, and 19 for the exercises. Less than one is
# computing.
#
# Nothing here is for clinical use, and nothing that you read leaves your machine.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import io
import json
import textwrap
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pydicom
import torch

from cxrlib import configs, data, exercises, phantom, plots, reading, training, uncertainty
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import room

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
pointing = configs.read_config("pointing").settings
run = training.train(track, hierarchy, pointing, name="pointing")
reader = reading.find_reader(run.folder)
SIZE = pointing.size
track

# %% [markdown]
# ## One radiograph, one call
#
# A *reader* is a model with all that it needs to be silent where it should: a temperature for each label (06), a gate (09), and
# limits for what may be said (10). The temperatures and the gate come from one half of the validation patients, the limits
# from the other. Here is a test patient whose hierarchy is lit up by the model's scores. **Guess**: at most one report in ten may
# say anything wrong, on average over patients. How many of the 21 labels will this one state?

# %%
rows = track.split("test").reset_index(drop=True)
number = int((rows[list(OBSERVATIONS)].sum(axis=1) >= 3).to_numpy().argmax())
path = track.folder / rows["path"][number]
grey, notes = reading.read_radiograph(path, SIZE)
one = reader.read(grey[None], ["this one"], risk=0.1)
fig = plots.draw_hierarchy(
    hierarchy,
    one.scores.loc["this one"],
    title="What the model gives each label",
    label="probability",
)
plots.show(
    fig, "The hierarchy of 21 labels with the model's probability for one test image in every box."
)

# %% tags=["nbval-ignore-output"]
exercises.guess("11.1")

# %% tags=["nbval-ignore-output"]
for sentence in [*notes, *one.report("this one")]:
    print(textwrap.fill(sentence, 100))
truth = hierarchy.derive(rows.loc[[number], sorted(OBSERVATIONS)]).iloc[0]
print("\nTrue:", ", ".join(truth.index[truth == 1]))

# %% [markdown]
# Three, though six score above 0.8: what follows from what is said, such as *Abnormal*, is not said again. A group is said where its kind
# is not certain, and often nothing is said at all; the end of this notebook counts.
#
# Two sentences promise something, each something else. What is *said*: at most one report in ten says anything wrong. What is *ruled out* is a
# promise for every label by itself: of the images that have it, about one in ten is told that it is absent. With many labels ruled out
# a report as a whole is wrong more often.
#
# And where? Each label has its map, scaled to itself (07).

# %%
said = [label for label in hierarchy.labels if one.said.loc["this one", label]][:3]
maps = reader.maps(grey[None], said or ["Abnormal"])[0]
fig = plots.gallery(
    [grey[0]] * (len(maps) + 1),
    ["as read", *(said or ["Abnormal"])],
    columns=4,
    size=2.7,
    title="Where the model sees what it says",
    maps=[None, *maps.numpy()],
)
plots.show(
    fig,
    "The test image, and the same with the map of each label that is said, warm where it is seen.",
)

# %% [markdown]
# ## Is it a chest radiograph at all?
#
# The gate comes first. It measures how far an image's features lie from those of the training images; what is further than 95% of the usual
# images is refused, whatever its scores. **Guess** below the pictures: which of the eight does it refuse?

# %%
frontal = torch.cat(
    [reading.read_radiograph(track.folder / p, SIZE)[0] for p in rows["path"][:40]]
)[:, None]
odd = uncertainty.odd_images(frontal.float()[:1] / 255)
strange = {name: (255 * image[0, 0]).to(torch.uint8) for name, image in odd.items()}
person = phantom.draw_patient(np.random.default_rng(7))
study = replace(phantom.draw_study(np.random.default_rng(7), person, 1), lateral=True)
side = torch.from_numpy(phantom.render(study, SIZE, "lateral"))
strange = {"as usual": frontal[0, 0], **strange, "from the side": side}
fig = plots.gallery(
    list(strange.values()),
    list(strange),
    columns=4,
    title="Which of these is a frontal chest radiograph?",
)
plots.show(
    fig,
    "Eight images: a usual radiograph; the same inverted, upside down and on its side; blank, noise, a photograph; and a lateral view.",
)

# %% tags=["nbval-ignore-output"]
exercises.guess("11.2")

# %% tags=["nbval-ignore-output"]
gate = reader.read(torch.stack(list(strange.values()))[:, None], list(strange))
pd.DataFrame({"distance, of the limit": gate.distance.round(2), "refused": gate.refused})

# %%
usual = reader.read(frontal)
print("of 40 usual images at most one in eight is refused:", bool(usual.refused.sum() <= 5))
print("noise and the photograph are refused:", bool(gate.refused[["noise", "photograph"]].all()))

# %% [markdown]
# Noise by far, what is a chest by little: turned, or from the side, it is made of the same stuff. These are one example each; over many, 09 counted, half
# of the lateral views pass, and most images on their side. What the file says of itself is worth more, and `read_radiograph` notes it: that it is a
# lateral view, or no chest.
#
# ## Make it worse
#
# Now the truth is in your hands. A phantom patient has a pleural effusion, from 0, nothing, to 1, the most that the phantom draws.

# %%
GROWING = (0.0, 0.4, 0.7, 1.0)


def patient_with(number, drawn):
    """One patient's frontal film with these findings, uint8 [1, SIZE, SIZE]."""
    person = phantom.draw_patient(np.random.default_rng(number))
    study = phantom.draw_study(np.random.default_rng(number), person, 1)
    study = replace(study, drawn={name: s for name, s in drawn.items() if s > 0})
    return torch.from_numpy(phantom.render(study, SIZE))[None]


fig = plots.gallery(
    [patient_with(1, {"Pleural Effusion": severity}) for severity in GROWING],
    [f"severity {severity}" for severity in GROWING],
    columns=4,
    size=2.7,
    title="One patient, as the model sees him: an effusion grows, on the right of the picture",
)
plots.show(
    fig,
    "Four films of 96 pixels of one phantom patient; the corner of the lung at the right fills with white from below.",
)

# %% [markdown]
# **Guess**: from which severity on does the report say it, of half of the patients? And which of effusion, consolidation and
# fracture will it hardly ever say?

# %% tags=["nbval-ignore-output"]
exercises.guess("11.3")

# %% tags=["nbval-ignore-output"]
SEVERITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
FINDINGS = ("Pleural Effusion", "Consolidation", "Fracture")

rows_of = {}
for finding in FINDINGS:
    for severity in SEVERITIES:
        films = torch.stack([patient_with(n, {finding: severity}) for n in range(16)])
        found = reader.read(films)
        rows_of[finding, severity] = {
            "score": found.scores[finding].mean(),
            "said": found.said[finding].mean(),
            "it or above": found.said[[finding, *hierarchy.ancestors(finding)]].any(axis=1).mean(),
            "refused": found.refused.mean(),
        }
told = pd.DataFrame(rows_of).T
TITLES = {
    "score": "its mean score",
    "said": "16 patients: it is said",
    "it or above": "… or a group above it",
}
fig, axes = plots.figure(1, 3, 11, 4, sharex=True, sharey=True)
for axis, (what, title) in zip(axes, TITLES.items(), strict=True):
    for finding, colour, mark in zip(
        FINDINGS, (plots.BLUE, plots.ORANGE, plots.RED), "os^", strict=True
    ):
        axis.plot(SEVERITIES, told.loc[finding, what], f"{mark}-", color=colour, label=finding)
    axis.set(xlabel="severity", ylim=(-0.03, 1.03))
    axis.set_title(title, loc="left", fontsize=12)
fig.suptitle(
    "What grows is scored before it is said, and some is hardly ever said", x=0.01, ha="left"
)
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
plots.show(
    fig,
    "Three panels over severity, for pleural effusion, consolidation and fracture: the mean score, the share of patients of whom "
    "the finding is said, and of whom it or a group above it is. Effusion rises first and furthest, fracture hardly.",
)

print("refused by the gate, of 16 patients, by severity:")
for finding in FINDINGS:
    shares = told.loc[finding, "refused"]
    print(
        f"  {finding:17}",
        "  ".join(f"{severity}: {16 * of:.0f}" for severity, of in shares.items()),
    )

# %% [markdown]
# An effusion is said of half of the patients at 0.4, and of nearly all from 0.6 on. A consolidation is said by its name of half of them, and late; a group above it much sooner: that is
# backing off (10). A fracture is hardly ever said: the model has hardly learnt it, and no limit makes it braver. Its silence tells you nothing.
#
# And look at the last lines: the gate refuses some of the *sickest*, who look least like those that it has learnt from. A refusal is no all-clear either.

# %% [markdown]
# ## A file as a hospital has it
#
# Hospitals keep radiographs as DICOM: twelve bits and more, a *window* that says which levels are black and white, and
# sometimes the other way round (MONOCHROME1: low is white). Here is a patient as such a file. **Guess**: a program takes the
# stored numbers and forgets to turn them over. What does the gate say, and what do the scores do?

# %% tags=["nbval-ignore-output"]
exercises.guess("11.4")


# %%
def as_dicom(grey, inverted):
    """The bytes of a DICOM file of twelve bits that shows ``grey``; stored low for white if inverted."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = (
        pydicom.uid.DigitalXRayImageStorageForPresentation
    )
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = "1.2.3"
    made.Modality, made.ViewPosition, made.BodyPartExamined = "DX", "PA", "CHEST"
    made.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    stored = grey[0].numpy().astype(np.uint16) * 8 + 1000  # black is 1000, white 3040
    stored = 4095 - stored if inverted else stored
    made.Rows, made.Columns, made.SamplesPerPixel, made.PixelRepresentation = *stored.shape, 1, 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    # The window is one of levels as they are stored: 2020 turned over is 4095 - 2020.
    made.WindowCenter, made.WindowWidth = (2075 if inverted else 2020), 2040
    made.PixelData = stored.tobytes()
    content = io.BytesIO()
    pydicom.dcmwrite(content, made, enforce_file_format=True)
    return content.getvalue()


film = patient_with(1, {"Pleural Effusion": 0.7})
plain = reading.read_radiograph(as_dicom(film, inverted=False), SIZE)[0]
turned = reading.read_radiograph(as_dicom(film, inverted=True), SIZE)[0]
forgotten = 255 - film
difference = max((image.int() - film.int()).abs().max().item() for image in (plain, turned))
print(f"as the file says, against the film itself: at most {difference} of 255 grey levels apart")

# %% tags=["nbval-ignore-output"]
four = reader.read(
    torch.stack([film, turned, forgotten]), ["the film", "as the file says", "not turned over"]
)
table = four.scores[["Pleural Effusion", "Lung Opacity", "No Finding"]].round(2)
table.assign(**{"distance, of the limit": four.distance.round(2), "refused": four.refused})

# %%
print(
    "read as the file says, the same scores to 0.05:",
    bool((four.scores.iloc[0] - four.scores.iloc[1]).abs().max() < 0.05),
)

# %% [markdown]
# The scores of a negative are those of another patient: the effusion is gone, and something else is there. The gate notices this one, but do not count on it;
# what helps is to read what the file says. `read_radiograph` does: rescaling, window, inversion. And what cannot be read gets a sentence:

# %%
whole = as_dicom(film, inverted=False)
for content in (b"only words", b"%PDF-1.7", whole[:9000]):
    try:
        reading.read_radiograph(content, SIZE)
    except reading.ReadingError as error:
        print("-", error)

# %% [markdown]
# ## The room
#
# Here is all of it. On the viewer is a phantom, whose findings you move; or a test image; or a file of yours, which is read in this
# notebook's own Python process. Nothing of it is sent, and nothing of it is saved with the notebook. Set `REAL` to a folder of NIH's images, if you have them (`data/README.md`), to
# choose among these too.
#
# In the graph every label has its score, and below it how many images with such a score have the label: a 90% interval over the luck of validation
# patients (06). In blue are labels at or above the *threshold*, for which nothing is promised; a black frame is round what is *said*, at the *risk* that you accept. Click a
# label (or go there with Tab and the arrow keys, and press Enter) and ask: where is it seen, what lies above and below it, which patients are like this one?
#
# Four things to try. **Guess** the second before you do it.
#
# 1. Raise Edema to 0.4, and click it. Is it said? Lower the threshold until it is blue: what else is?
# 2. Edema back to 0, Consolidation up to 1: what becomes of the *name* of the effusion, which has not changed?
# 3. Turn the patient to *lateral*. Does the gate notice? Then try patients 2 to 10.
# 4. Edema at 0.4 again: which risk buys another statement, and is it true?

# %% tags=["nbval-ignore-output"]
exercises.guess("11.5")

# %% tags=["nbval-ignore-output"]
REAL = ""

measured = pd.DataFrame(
    json.loads((training.RUNS.parent / "results/heads.json").read_text())["rows"]
)
measured = measured.query("way == 'pointing' and guess == 'map' and mask == 'lesions'")
tracks = {"a test patient": track} | ({"NIH": data.open_track(REAL)} if REAL else {})
hits = measured.groupby("label")["hit"].mean() if track.name == "phantom" else None
reading_room = room.Room(reader, tracks, hits)
reading_room.show()

# %% tags=["nbval-ignore-output"]
edema, times = reading_room.severity["Edema"], []
for severity in (0.2, 0.4, 0.6, 0.8):
    edema.value = severity
    start = time.perf_counter()
    reading_room.open()
    times.append(time.perf_counter() - start)
edema.value = 0
print(
    f"from a severity to film, scores, map, report: {1000 * np.median(times):.0f} ms, without the browser"
)

# %% [markdown]
# 1. A mild edema is in the picture, and it is *ruled out*: of those who have it one in ten scores as low, and these are the mild ones. No threshold helps: before
#    this one is blue half of the graph is. Ruled out is also not the same as rare: a label can be blue and ruled out, where nearly all who have it score higher still.
# 2. The more there is beside it, the less sure is its kind. From some severity on *Fluid Accumulation* is said, "kind not certain": backing off (10).
# 3. This patient's lateral view passes, by a hair; most others are refused. A gate is no proof that a film is frontal. (A file that *says* it is lateral is refused,
#    whatever the gate thinks.)
# 4. At 0.05 Lung Opacity goes, and at 0.4 Support Devices come, of which there are none: that is what was accepted. What is said comes with the promise of the risk, what is
#    ruled out with its own, and blue with none.
#
# Images *like it* are those whose features are nearest, all of them together; that few share its effusion says how little of what the model sees is this label.
#
# The same as a command, for one file or a folder: `python -m cxrlib read film.png` (`docs/reading.md`).
#
# ## What does the risk buy?
#
# Last, the promise itself, on all test images. **Guess**, for an accepted risk of 10%: of how many images is anything said? And how
# many reports are wrong: of all, and of those that say something?

# %% tags=["nbval-ignore-output"]
exercises.guess("11.6")

# %% tags=["nbval-ignore-output"]
tested = torch.stack([reading.read_radiograph(track.folder / p, SIZE)[0] for p in rows["path"]])
true = hierarchy.derive(rows[sorted(OBSERVATIONS)])
patients = rows["patient"]
weight = 1 / patients.map(patients.value_counts())  # every patient counts once
bought = {}
for risk in (0.05, 0.1, 0.2, 0.4):
    found = reader.read(tested, risk=risk)
    wrong, spoken = (found.said & (true == 0)).any(axis=1), found.said.any(axis=1)
    bought[risk] = {
        "anything said": np.average(spoken, weights=weight),
        "wrong, of all": np.average(wrong, weights=weight),
        "wrong, of those that say something": np.average(wrong[spoken], weights=weight[spoken])
        if spoken.any()
        else np.nan,
        "statements": found.said.sum(axis=1)[spoken].mean(),
    }
ill = [label for label in sorted(OBSERVATIONS) if label != "No Finding"]
lost = ((found.sets[ill] == "absent") & (true[ill] == 1)).any(axis=1)
print(f"refused by the gate: {found.refused.mean():.1%}")
print(f"reports that rule out something that is there: {np.average(lost, weights=weight):.1%}")
bought = pd.DataFrame(bought).T
bought.round(3)

# %%
accepted, promising = bought.index.to_numpy(), reader.highest.index.nunique()
luck = np.sqrt(accepted * (1 - accepted) * (1 / promising + 1 / patients.nunique()))
kept = bought["wrong, of all"] <= accepted + 2 * luck
print("wrong, of all, is the accepted risk at most, to two standard errors:", bool(kept.all()))
print("more risk, more said:", bool((bought["anything said"].diff().dropna() >= 0).all()))

# %% [markdown]
# The promise is kept (on average over the patients who might have made it; these might be lucky). What it is about is the second column: all
# reports, those that say nothing among them. Of reports that *do* say something a larger share is wrong. Both numbers are true; say which one you
# mean. At 40% something is said of nearly everybody: *Abnormal*, above all, which is right for most.
#
# What is ruled out is no part of that promise: look at the second line above the table.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 11.1: A window on twelve bits (5 minutes)
def through_window(levels, centre, width, low_is_white):
    """Grey levels as a viewer shows them, through the window that a DICOM file asks for.

    levels: an array [H, W] of stored levels, such as 0 to 4095.
    centre, width: numbers, the window's; width is above 1. By the standard (PS3.3, C.11.2.1.2) a
    level x becomes (x − (centre − 0.5)) / (width − 1) + 0.5; what is below 0 is 0, and what is
    above 1 is 1.
    low_is_white: True or False; if True (MONOCHROME1), black and white then change places.
    Returns an array [H, W] from 0, black, to 1, white. With levels [[0, 100, 300]], centre 100.5
    and width 201 it is [[0, 0.5, 1]], or [[1, 0.5, 0]] where low is white.
    """
    ...  # your code


exercises.check(through_window)
# exercises.hint("through_window")
# exercises.solution("through_window")


# %% tags=["nbval-ignore-output"]
# Exercise 11.2: The gate (6 minutes)
def refused_by(features, centre, precision, limit):
    """Which images a gate refuses, by how far their features lie from those of training images.

    features: an array [N, C], what the model's last layer sees of each image.
    centre: an array [C], the mean of the training images' features.
    precision: an array [C, C], the inverse of their covariance; it is symmetric.
    limit: a number; an image is refused if its Mahalanobis distance, the square root of
    (f − centre)ᵀ · precision · (f − centre), is above it.
    Returns an array [N] of True and False, True where refused. With features [[3, 0], [0, 3]],
    centre [0, 0], precision [[1, 0], [0, 0.25]] and limit 2 it is [True, False]: the distances are
    3 and 1.5.
    """
    ...  # your code


exercises.check(refused_by)
# exercises.hint("refused_by")
# exercises.solution("refused_by")


# %% tags=["nbval-ignore-output"]
# Exercise 11.3: Was the promise kept? (8 minutes)
def wrong_reports(said, truth, patients):
    """How often reports say anything wrong: the share that controlled risk promises to keep low.

    said: an array [N, L] of True and False: what the report of each image states.
    truth: an array [N, L] of 1 and 0. A statement is wrong where the truth is 0; what is there and
    not stated is no error here.
    patients: an array [N], whose image it is.
    Returns a number: the share of a patient's reports that state anything wrong, on average over
    patients, each of whom counts once. With said [[True, False], [True, True], [False, False]],
    truth [[1, 0], [1, 0], [1, 1]] and patients [7, 7, 8] it is 0.25: one of two reports of patient
    7, and none of patient 8.
    """
    ...  # your code


exercises.check(wrong_reports)
# exercises.hint("wrong_reports")
# exercises.solution("wrong_reports")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("11")

# %% [markdown]
# ## Take away
#
# - A reader is a model and what keeps it quiet: gate, temperatures, and limits from patients that nothing else was tuned on.
# - Read the file as it says. A negative, or a lateral view, looks to a model like somebody else.
# - Two promises in one report are two promises: what is said, and what is ruled out. Of a real radiograph neither holds here; the
#   model has seen phantoms only.
#
# **On Monday**
#
# - Take ten files of your own archive, of ten machines, and read them with what you use now: is any of them a negative, or black?
# - Of any program that reports: ask what its promise is about, all reports or those that say something, and whether "absent" is a promise.
#
# **Next**: 12 goes to real radiographs.
