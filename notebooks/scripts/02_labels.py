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
# # 02 · Labels
#
# What is a label, and how wrong is it?
#
# **You will be able to** read CheXpert's label codes, choose a policy for uncertain ones and see what
# it changes, say how often labels from reports miss what radiologists see, how far radiologists agree with
# each other, and split data so that a test stays a test.
#
# **Needs** the fourteen names of notebook 01. **Minutes** 35, and 22 for the exercises. The two sections called
# *further* take 10 more and can wait. About one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython.display import display

from cxrlib import cohort, data, evaluation, exercises, plots, public, widgets
from cxrlib.labels import (
    NIH_TO_CHEXPERT,
    OBSERVATIONS,
    POLICIES,
    apply_policy,
    nih_targets,
    read_chexpert,
)

track = data.open_track(DATA or None)
observations = list(OBSERVATIONS)
track

# %% [markdown]
# ## One row per image
#
# Three collections with three layouts become one table: where the image is, who it shows, which split it
# belongs to, and one column per observation.

# %%
shown = ["path", "view", "sex", "age", "split", "No Finding", "Cardiomegaly", "Edema"]
track.table[shown].head()

# %% [markdown]
# ## Four codes
#
# CheXpert's labels were read from radiology *reports* by a program (Irvin et al. 2019). For every
# observation a report can say yes (1), no (0), perhaps (−1), or nothing (blank). The whole table comes with
# the course, without images (`cxrlib.public`).
#
# **Guess** before you run the cell: what share of its cells is blank? And for which four observations is
# "perhaps" more common than "yes"?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.1")

# %%
codes = public.chexpert_labels()[observations]
meaning = {"yes (1)": 1, "perhaps (−1)": -1, "no (0)": 0}
counts = pd.DataFrame({name: (codes == code).mean() for name, code in meaning.items()})
counts["blank"] = codes.isna().mean()
hedged = counts.index[counts["perhaps (−1)"] > counts["yes (1)"]]
print(f"{len(codes):,} images; blank: {codes.isna().mean(axis=None):.0%} of all cells")
print(f"more often perhaps than yes: {', '.join(hedged)}")
counts.round(3)

# %%
fig, axis = plots.figure(height=5.4)
left = np.zeros(len(counts))
colours = [plots.BLUE, plots.ORANGE, plots.SKY, "#dddddd"]
for column, colour in zip(counts, colours, strict=True):
    axis.barh(counts.index[::-1], counts[column][::-1], left=left, color=colour, label=column)
    left += counts[column][::-1].to_numpy()
axis.set_xlabel("share of CheXpert's training images")
axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axis.set_title("Reports leave most observations unmentioned", loc="left", fontsize=13)
fig.legend(ncols=4, loc="outside lower right")
plots.show(
    fig,
    "Stacked bars, one per observation: the share of CheXpert's training images whose label is yes, "
    "perhaps, no or blank. Blank is the largest part almost everywhere.",
)

# %% [markdown]
# ## What to do with "perhaps"
#
# | policy | −1 becomes | which says |
# |---|---|---|
# | U-Ones | 1 | a radiologist who hedges has seen something |
# | U-Zeros | 0 | only count what is certain |
# | U-Ignore | nothing | leave this label out of the loss for this image |
# | U-Soft | 0.55 to 0.85 | probably (Pham et al. 2019) |
#
# Blank becomes 0 in all of them: what a report does not mention is taken to be absent.
#
# **Guess**: for which observation does the choice matter most, and by what factor does the number of its
# positives change?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.2")

# %%
prevalence = pd.DataFrame({policy: apply_policy(codes, policy).mean() for policy in POLICIES})
ratio = (prevalence["U-Ones"] / prevalence["U-Zeros"]).sort_values(ascending=False)
ratio.head(4).round(1).rename("times as many positives with U-Ones as with U-Zeros").to_frame()

# %% [markdown]
# Choose a policy and see the prevalence it makes, over U-Zeros in grey:


# %%
def draw_policy(policy):
    table = pd.DataFrame({"U-Zeros": prevalence["U-Zeros"], policy: prevalence[policy]})
    fig, axis = plots.figure(height=5)
    axis.barh(table.index[::-1], table[policy][::-1], color=plots.BLUE, label=policy)
    axis.barh(
        table.index[::-1], table["U-Zeros"][::-1], color="#bbbbbb", label="U-Zeros", height=0.4
    )
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("mean target of CheXpert's training images whose label is known")
    axis.set_title(f"{policy} against U-Zeros", loc="left", fontsize=13)
    axis.legend(loc="center right")
    return fig


widgets.explore(
    draw_policy,
    "Bars of prevalence per observation under U-Ones, with U-Zeros in grey inside each bar; hedged "
    "observations such as Atelectasis and Consolidation grow most.",
    policy=ipywidgets.Dropdown(options=POLICIES, description="policy"),
)

# %% [markdown]
# ## How wrong is a label? A report beside readers
#
# A report is not the image. Radiologists leave out what everyone knows, hedge, and compare with an
# earlier image. Nobody knows the truth of a real radiograph; the nearest to it are several radiologists who
# look at the image and settle what they see. For 4,376 images of NIH ChestX-ray14 that was done (Majkowska
# et al. 2020); NIH's own labels were found in the reports, by a program. Their *Airspace opacity* is a wide
# word: it is compared with any of NIH's Infiltration, Consolidation, Pneumonia, Edema, Atelectasis, Mass and
# Nodule.
#
# - **Sensitivity**: of the radiologists' findings, the share that the label knows.
# - **Precision**: of the labels, the share that the radiologists confirm.
# - **Kappa**: how much more often the two agree than they would if each answered at random with its own
#   frequency; 0 is chance, 1 is perfect agreement (Cohen 1960).
#
# **Guess** before you go on: of a hundred images on which the radiologists agree that there is a
# pneumothorax, how many carry the label?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.3")

# %%
read = public.adjudicated_labels()
asked = ["Pneumothorax", "Nodule or mass", "Airspace opacity"]
reported = read[[f"{name}, report" for name in asked]].set_axis(asked, axis=1)
rates = evaluation.agreement(read[asked], reported, read["patient"])
rates[["positives", "sensitivity", "precision", "kappa"]].round(2)

# %%
measures = ["sensitivity", "precision", "kappa"]
fig, axes = plots.figure(1, 3, 10.5, 2.6, sharey=True)
for axis, measure in zip(axes, measures, strict=True):
    low, high = (rates[f"{measure}_{end}"] for end in ("low", "high"))
    axis.errorbar(
        rates[measure], asked, xerr=[rates[measure] - low, high - rates[measure]],
        fmt="o", ms=8, color=plots.BLUE, capsize=4,
    )  # fmt: skip
    axis.set(xlim=(0, 1), xlabel=measure)
axes[0].invert_yaxis()
axes[0].margins(y=0.3)
fig.suptitle(
    "About half of what radiologists agree on is not in NIH's labels",
    x=0.01,
    ha="left",
    fontsize=13,
)
plots.show(
    fig,
    "Three panels of dots with 95% intervals for Pneumothorax, Nodule or mass and Airspace opacity: "
    "sensitivity between 0.42 and 0.58, precision between 0.46 and 0.70, kappa between 0.34 and 0.43.",
)

# %% [markdown]
# Fewer than half of the pneumothoraces, and of the images that carry that label, radiologists confirm about half. Are these numbers
# the collection's? The images are two sets, drawn in different ways:

# %%
by_set = {
    name: evaluation.agreement(read.loc[rows, asked], reported.loc[rows], read.loc[rows, "patient"])
    for name, rows in read.groupby("set").groups.items()
}
ends = [f"sensitivity_{end}" for end in ("low", "high")]
pd.concat(by_set)[["positives", "sensitivity", *ends, "precision", "kappa"]].round(2)

# %% [markdown]
# No. Precision and kappa depend on how frequent a finding is in a set; but for Pneumothorax even sensitivity differs between these
# two (`val` and `test`), by more than luck: the intervals hardly touch. A label's quality is that of a label *on some
# images*; whoever quotes one number for it has chosen which.
#
# And do radiologists agree with each other? In VinDr-CXR each of 15,000 images was read by three of
# seventeen, each alone (Nguyen et al. 2022). One thing to know before you quote their agreement is who read
# what:

# %%
readings = public.reader_labels()
sick = readings.query("`No Finding` == 0")
print(f"images with a finding: {sick.index.get_level_values('image').nunique():,} of 15,000")
sick.groupby(level="reader").size().sort_values(ascending=False, kind="stable").head(5).to_frame(
    "of these, read by"
)

# %% [markdown]
# Nearly always the same three. `No Finding` is given by all three readers of an image or by none, and the
# normal images were read by others. So there are two questions: how well do readers agree on all images, normal
# ones included, and how well do these three agree where something is to be seen?
#
# **Guess**: which of the two kappas is higher?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.4")

# %%
kappas = {
    "all images": evaluation.reader_agreement(readings, resamples=200),
    "images with a finding": evaluation.reader_agreement(sick, resamples=200),
}
kappas = {
    name: table.drop(index="No Finding").sort_values("kappa", ascending=False)
    for name, table in kappas.items()
}
order = kappas["all images"].index
column = {
    end: pd.DataFrame({name: table.loc[order, end] for name, table in kappas.items()})
    for end in ("kappa", "kappa_low", "kappa_high")
}
fig = plots.intervals(
    column["kappa"],
    "Readers agree on the heart's size and on pneumothorax, less on consolidation",
    "kappa between two readers of one image (0: chance, 1: perfect)",
    column["kappa_low"],
    column["kappa_high"],
    xlim=(0, 1),
)
plots.show(
    fig,
    "Dots with intervals, two per finding: kappa over all images, from 0.79 for Cardiomegaly down to "
    "0.36 for Consolidation, and over images with a finding only, lower or the same in every row.",
)

# %%
column["kappa"].round(2)

# %% [markdown]
# Normal images, on which everyone says no, raise most of the kappas; neither number is *the* agreement
# of radiologists. On the images where the question is open, agreement on the heart's size is good,
# that on an opacity's kind is poor. And where readers agree at 0.36, a model that agrees with one reader's
# label at 0.9 has learnt the reader.
#
# ## Two labelers, and a truth
#
# Jain et al. (2021) had radiologists label CheXpert's images, and others its reports: on average the two
# agree with a kappa of 0.31 to 0.43. So they trained *VisualCheXbert* to read a report and say what is to be
# seen *in the image*; its teacher was a model that had looked at the images, not a radiologist. Against
# radiologists' labels of the image its F1 (the harmonic mean of sensitivity and precision) was 0.14 higher than that of an existing labeler of reports. The paper
# of this course trains on its labels.
#
# With the phantom the truth is known, and two labelers err on purpose: one reads reports (the table's name for
# its labels is `report`), one is like VisualCheXbert (`visualchexbert`, called *image-like* below; the course's default). Only the
# labels that a model *learns* from are theirs: validation and test images keep the truth. Here is how
# often. "Finds" is the share of images on which the finding is drawn that get a yes; a reader who names
# Pneumonia does not always name the opacity that it is, so a finding that is only *implied* by another has a
# rate of its own; "invents", of those without it.

# %%
table = {}
for name, (drawn, implied, absent) in cohort.REPORT.items():
    finds, invents = cohort.VISUAL[name]
    table[name] = {
        ("report", "finds, drawn"): drawn[0],
        ("report", "finds, implied"): implied[0] if implied else np.nan,
        ("report", "invents"): absent[0],
        ("image-like", "finds"): finds,
        ("image-like", "invents"): invents,
    }
pd.DataFrame(table).T

# %% [markdown]
# Where do these numbers come from? Three of the reports' rows are held against the adjudicated images above
# (nodule or mass: Lung Lesion; airspace opacity: Lung Opacity, whose rates for drawn and implied together make
# the measured one). All others are *assumed*, so that the means below lie where Jain et al. found them.

# %%
missing = (read[asked] == 0) & (reported == 1)
measured = pd.DataFrame(
    {"finds": rates["sensitivity"], "invents": missing.sum() / (read[asked] == 0).sum()}
)
measured.rename_axis("adjudicated").round(2)

# %% [markdown]
# What does that make of a training table?

# %%
knows_truth = track.name == "phantom"


def labelled(source, policy="U-Ones"):
    """The training labels of the phantom as one of its labelers gives them."""
    opened = data.open_track(track.folder, labels=source, uncertain=policy)
    return opened.split("train").set_index("path")[observations]


if knows_truth:
    truth = labelled("truth")
    given = {
        "report, U-Zeros": labelled("report", "U-Zeros"),
        "report, U-Ones": labelled("report", "U-Ones"),
        "image-like": labelled("visualchexbert"),
    }
    agreements = {
        name: evaluation.agreement(truth, labels, resamples=1) for name, labels in given.items()
    }
    columns = ["sensitivity", "precision", "kappa"]
    display(pd.DataFrame({name: t[columns].mean() for name, t in agreements.items()}).T.round(2))
else:
    print("Only the phantom knows the truth: run this notebook without CXR_DATA to see the tables.")

# %%
if knows_truth:
    kappas = pd.DataFrame({name: table["kappa"] for name, table in agreements.items()})
    fig = plots.intervals(
        kappas,
        "On the phantom, image-like labels agree with the truth best",
        "Cohen's kappa with the truth (0: chance, 1: perfect)",
        xlim=(0, 1),
    )
    plots.show(
        fig,
        "Dot plot of Cohen's kappa per observation for report labels with U-Zeros, with U-Ones, and "
        "image-like labels; the image-like ones are furthest right.",
    )
    best = kappas.idxmax(axis=1).eq("image-like").sum()
    print(f"image-like labels agree best on {best} of 14 observations")

# %% [markdown]
# U-Ones finds more than U-Zeros and raises more false alarms. No policy makes a report into an image.
#
# And beware of a circle: the image-like labels win *because the rates say so*.
#
# ## Further: where would the order turn?
#
# Multiply the image-like labeler's errors, both kinds, by a factor, label the same images again, and look
# when its mean kappa falls to that of reports. **Guess** the factor.

# %% tags=["nbval-ignore-output"]
exercises.guess("02.5")


# %%
def image_like(factor):
    """Labels of the truth with the image-like labeler's mean errors times ``factor``."""
    rng = np.random.default_rng(0)
    hit, alarm = np.transpose([cohort.VISUAL[name] for name in cohort.VISUAL])
    present = truth[list(cohort.VISUAL)]
    chance = np.where(present == 1, 1 - factor * (1 - hit), factor * alarm)
    return pd.DataFrame(rng.random(chance.shape) < chance, present.index, present.columns) * 1.0


if knows_truth:
    factors = np.arange(0, 3.01, 0.25)
    found = list(cohort.VISUAL)
    mean_kappa = [
        evaluation.agreement(truth[found], image_like(factor), resamples=1)["kappa"].mean()
        for factor in factors
    ]
    report_kappa = kappas.loc[found, ["report, U-Zeros", "report, U-Ones"]].mean()
    turns = np.interp(-report_kappa.max(), -np.array(mean_kappa), factors)

    fig, axis = plots.figure(height=4)
    axis.plot(factors, mean_kappa, "o-", color=plots.BLUE, lw=2)
    axis.annotate("image-like", (factors[1], mean_kappa[1]), (8, 4), textcoords="offset points",
                  fontsize=12, color=plots.BLUE)  # fmt: skip
    axis.axhspan(report_kappa.min() - 0.005, report_kappa.max() + 0.005, color=plots.ORANGE)
    axis.text(0.02, report_kappa.max() + 0.02, "reports, U-Zeros and U-Ones", fontsize=12,
              color="#8a5f00")  # fmt: skip
    axis.plot([turns] * 2, [0, report_kappa.max()], "--", color=plots.GREY)
    axis.set(xlim=(0, 3), ylim=(0, 1.02), ylabel="mean kappa with the truth",
             xlabel="image-like labeler's errors, as a multiple of those assumed\n(mean of the observations without No Finding)")  # fmt: skip
    axis.set_title(f"With {turns:.1f} times the errors, the order turns", loc="left", fontsize=13)
    plots.show(
        fig,
        "Mean kappa of the image-like labels falling as their errors are multiplied; it crosses the "
        "level of the report labels, a horizontal band, where the dashed line stands.",
    )

# %% [markdown]
# Less than twice the errors turn the order. Whether VisualCheXbert's labels are better than a report labeler's is a matter for
# measurement, on images that radiologists have read. Jain et al. did that; the phantom cannot.
#
# ## Other names: NIH ChestX-ray14
#
# A label that one collection has and the other has not is *missing*, not negative. **Guess**: if NIH says
# `No Finding`, which of the fourteen observations does it say are absent, and of which does it say nothing?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.6")

# %%
pd.Series(NIH_TO_CHEXPERT, name="CheXpert").fillna("(no counterpart)").rename_axis("NIH").to_frame()

# %%
examples = pd.Series(["No Finding", "Effusion|Mass", "Hernia"], index=["normal", "two", "hernia"])
nih_targets(examples).T.rename_axis("observation")

# %% [markdown]
# NaN reads "nobody looked": NIH has no name for fractures, devices or an enlarged mediastinum, so even its
# `No Finding` says nothing of these three, and says *no* to ten. `Lung Opacity` is a wider word than NIH's
# Infiltration, which counts as one: a normal chest has no opacity (0), but where something else was found,
# a mass or a hernia, nobody said whether the lung is opaque as well (NaN). And a hernia is not `No Finding`,
# though it is none of the other thirteen.
#
# ## What reports leave unsaid
#
# The first three of these pairs are edges of hierarchies that the course will meet. **Guess**: of the images
# called Pneumonia, what share is called Consolidation too? And of the others: did the report say no, perhaps,
# or nothing?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.7")

# %%
is_coded = track.name != "nih"  # NIH publishes finished labels, not codes
here = track.split("train")[observations]
if is_coded:
    here = read_chexpert(track.folder / "train.csv")[observations]
pairs = [
    ("Cardiomegaly", "Enlarged Cardiomediastinum"), ("Pneumonia", "Consolidation"),
    ("Edema", "Lung Opacity"), ("No Finding", "Support Devices"),
]  # fmt: skip


def said_of(table, pairs):
    """Of the images with the first of a pair, the share of each code of the second."""
    names = {1: "yes", -1: "perhaps", 0: "no"}
    return pd.DataFrame(
        {
            f"{a}: {b}?": table.loc[table[a] == 1, b].map(names).fillna("nothing").value_counts(True)
            for a, b in pairs
        }
    ).T.reindex(columns=["yes", "perhaps", "no", "nothing"], fill_value=0.0).fillna(0.0)  # fmt: skip


both = {"CheXpert": said_of(codes, pairs), track.name: said_of(here, pairs)}
fig, axes = plots.figure(1, 2, 11.5, 3.4, sharey=True)
for axis, (name, shares) in zip(axes, both.items(), strict=True):
    left = np.zeros(len(shares))
    for answer, colour in zip(shares, colours, strict=True):
        axis.barh(shares.index, shares[answer], left=left, color=colour, label=answer)
        for row, share in enumerate(shares[answer]):
            if share > 0.045:
                axis.text(left[row] + share / 2, row, f"{share:.0%}", ha="center", va="center",
                          fontsize=12, color="white" if answer == "yes" else "black")  # fmt: skip
        left += shares[answer].to_numpy()
    axis.set(title=name, xlim=(0, 1), xticks=[])
axes[0].invert_yaxis()
fig.suptitle("The report says the first. What does it say of the second?", x=0.01, ha="left",
             fontsize=13)  # fmt: skip
fig.legend(*axes[0].get_legend_handles_labels(), ncols=4, loc="outside lower right")
plots.show(
    fig,
    "Stacked bars for four pairs of observations, in CheXpert and on this track: of the images whose "
    "report names the first, the shares in which it says yes, perhaps, no or nothing of the second. "
    "Nothing is the largest part for most pairs.",
)

# %% [markdown]
# A report that says Cardiomegaly does not add that the cardiomediastinum is enlarged: that goes without saying,
# and the table has a blank. Of Consolidation it is mostly silent, sometimes doubtful, and sometimes it
# contradicts: "pneumonia, no consolidation". Whatever the reason, a model that takes a blank for a no is
# taught a child without its parent. Notebook 03 counts them all.
#
# ## Further: prevalence and company
#
# Findings come in company, and a model will use that. **Guess**: which two observations of this track's
# training labels come together much more often than by chance, and which less often?

# %% tags=["nbval-ignore-output"]
exercises.guess("02.8")

# %%
binary = track.split("train")[observations] == 1
both = pd.DataFrame(
    {a: [(binary[a] & binary[b]).mean() for b in observations] for a in observations},
    index=observations,
)
expected = np.outer(binary.mean(), binary.mean())
lift = both / np.where(expected > 0, expected, np.nan)  # 1: as often as if they were strangers
doublings = np.log2(lift.where(both > 0))
fig = plots.heatmap(
    doublings.where(np.tri(14, k=-1, dtype=bool)).iloc[1:, :-1],
    "Who keeps whose company? (+1: twice as often as by chance, −1: half as often)",
    "log2 of the lift",
    cmap="PuOr_r",
    vmin=-2.5,
    vmax=2.5,
    fmt="+.1f",
    annot_kws={"fontsize": 12},
)
plots.show(
    fig,
    "Half a heat map: for every pair of observations, how much more often (orange) or less often "
    "(purple) than by chance they come together. Pneumonia and Consolidation, or Cardiomegaly and Enlarged "
    "Cardiomediastinum, come together much more often; No Finding comes with nothing but Support Devices, and less often than by "
    "chance.",
)

# %% [markdown]
# The *lift* of a pair is $P(a, b) / (P(a)\,P(b))$: 1 where they are strangers. The two ends
# among the pairs that do come together:

# %%
strongest = (
    doublings.where(np.tri(14, k=-1, dtype=bool)).stack().dropna().sort_values(kind="stable")
)
for name, (a, b) in {
    "most": strongest.index[-1], "least": strongest.index[0]
}.items():  # fmt: skip
    print(f"{name} often together: {a} and {b}, {2 ** strongest[a, b]:.1f} times chance")

# %% [markdown]
# How much like a hospital is the phantom? Compare what its *report labeler* says with CheXpert's table.
# The phantom's order of frequency should be roughly CheXpert's; some rare findings are more frequent on
# purpose, so that a few thousand images hold enough of each to learn from.

# %%
real = pd.DataFrame({"yes": (codes == 1).mean(), "perhaps": (codes == -1).mean()})
shares = pd.DataFrame({"yes": (here == 1).mean(), "perhaps": (here == -1).mean()})
fig, (left, right) = plots.figure(1, 2, 10.5, 4.8, sharey=True)
place = np.arange(14)
for axis, code in ((left, "yes"), (right, "perhaps")):
    axis.barh(place + 0.2, shares[code], 0.4, color=plots.BLUE, label=track.name)
    axis.barh(place - 0.2, real[code], 0.4, color=plots.ORANGE, label="CheXpert")
    axis.set_xlabel(f"share of the training images labelled {code}")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
left.set_yticks(place, observations)
left.invert_yaxis()
right.legend(loc="lower right")
rank = shares["yes"].corr(real["yes"], method="spearman")
fig.suptitle(
    f"Frequencies beside CheXpert's (rank correlation of yes: {rank:.2f})",
    x=0.01, ha="left", fontsize=13,
)  # fmt: skip
plots.show(
    fig,
    "Bars for each observation: the share of images that reports call yes, and perhaps, on this track "
    "and in CheXpert.",
)

# %% [markdown]
# ## Splitting: by patient, or you measure memory
#
# Patients come back. Two images of one person share a heart, a spine, a pacemaker, and often the
# disease.
#
# **Guess**: a model that can do nothing but recognise a patient, and repeats what that patient's other images
# are labelled: what AUROC has it if images of one patient may fall on both sides of the split? (**AUROC** is the
# chance that an image with the finding scores above one without it; *macro* is the plain mean over the findings;
# notebook 06 says more.)
#
# Two models that remember. The first is told who is who, and so shows the most that memory can be worth. The second
# has to recognise people by their looks: it describes every image by how it differs from the average chest
# (whitened principal components, the old "eigenfaces"), finds the five most similar training images, and
# repeats their labels. Ten random splits each way, with the same images (of patients who came at least three
# times).

# %% tags=["nbval-ignore-output"]
exercises.guess("02.9")

# %%
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize
from torchvision.transforms.v2.functional import equalize

several = track.table.groupby("patient")["path"].transform("size") > 2
returning = track.table[several].head(2000).reset_index(drop=True)
patients = returning["patient"].to_numpy()
pixels = data.read_images([track.folder / path for path in returning["path"]], 48)
pixels = equalize(pixels).flatten(1).numpy() / 255.0
pixels = (pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(axis=1, keepdims=True)
faces = normalize(PCA(min(80, len(pixels) // 4), whiten=True, random_state=0).fit_transform(pixels))
print(f"{len(returning):,} images of {len(set(patients)):,} patients who came back")


# %%
def told(train, test, target):
    """Scores of the model that is told who is who: the mean label of the patient's other images."""
    own = pd.Series(target[train]).groupby(patients[train]).mean()
    return own.reindex(patients[test]).fillna(target[train].mean()).to_numpy()


def by_looks(train, test, target):
    """Scores of the model that goes by the five most similar images."""
    model = KNeighborsClassifier(5, weights="distance").fit(faces[train], target[train])
    return model.predict_proba(faces[test])[:, 1]


def macro_auroc(model, splits):
    """Macro AUROC of a remembering model over the observations, for each split."""
    results = []
    for train, test in splits:
        aurocs = []
        for name in observations:
            known = returning[name].notna().to_numpy()
            here, there = train[known[train]], test[known[test]]
            target = (returning[name] == 1).to_numpy()
            if target[here].any() and target[there].sum() >= 5 and not target[there].all():
                aurocs.append(roc_auc_score(target[there], model(here, there, target)))
        results.append(np.mean(aurocs))
    return np.array(results)


options = {"n_splits": 10, "test_size": 0.3, "random_state": 0}
split = {
    "by patient": list(GroupShuffleSplit(**options).split(faces, groups=patients)),
    "by image": list(ShuffleSplit(**options).split(faces)),
}
memory = {
    (model.__name__, way): macro_auroc(model, splits)
    for model in (by_looks, told)
    for way, splits in split.items()
}
gap = memory["told", "by image"].mean() - memory["told", "by patient"].mean()

# %%
words = {"by_looks": "goes by looks", "told": "is told who is who"}
fig, axis = plots.figure(height=3.2)
for row, values in enumerate(memory.values()):
    axis.plot(values, np.full(10, row), "o", color=plots.BLUE, alpha=0.5, ms=8)
    axis.plot(values.mean(), row, "|", color=plots.RED, ms=34, mew=3)
axis.set_yticks(range(4), [f"{words[model]}, split {way}" for model, way in memory])
axis.axvline(0.5, color=plots.GREY, ls="--", lw=1)
axis.set_ylim(-0.6, 3.6)
axis.set_xlabel("macro AUROC of a model that remembers (0.5: chance; red: mean)")
axis.set_title(f"Memory is worth up to {gap:.2f}, if images are split", loc="left")
plots.show(
    fig,
    "Dots for ten splits each way and two models. The one that is told who is who is at chance when split "
    "by patient, and far above it when split by image; the one that goes by looks gains little.",
)

# %%
for (model, way), values in memory.items():
    print(f"{words[model]:20} split {way:11} {values.mean():.2f}")

# %% [markdown]
# Split by patient, who only recognises people is at chance, as he should be. Split by image, he seems to be a
# radiologist. The eigenfaces recognise few people, since the phantom's patients are framed anew at every visit,
# and so they gain little; a large network recognises more of them, and nobody knows how many.
# (Eigenfaces are above chance even among strangers: sick chests look alike, too.) The difference between the two
# ways to split is memory, and no new patient will ever benefit from it. `cxrlib` refuses a table in
# which a patient is in two splits:

# %%
leaky = track.table.copy()
first = leaky.index[leaky["split"] == "train"][0]
leaky.loc[leaky.index[leaky["split"] == "test"][:1], "patient"] = leaky.loc[first, "patient"]
try:
    data.require_disjoint_patients(leaky)
except data.DataError as error:
    print(error)

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 02.1: Three policies for “perhaps” (4 minutes)
def prevalence_by_policy(codes):
    """How frequent is an observation, by what a policy makes of its uncertain labels?

    codes: an array [N] of one observation's codes: 1 yes, 0 no, −1 perhaps, NaN blank. Not all are
        −1.
    Returns a dict of the mean target under "U-Ones", "U-Zeros" and "U-Ignore". Each makes targets
    of the codes, and what it leaves out is not in its mean at all:

                    U-Ones    U-Zeros   U-Ignore
        1           1         1         1
        0           0         0         0
        −1          1         0         left out
        NaN         0         0         0

    With [1, 0, -1, NaN, NaN] the means are 0.4, 0.2 and 0.25.
    """
    ...  # your code


exercises.check(prevalence_by_policy)
# exercises.hint("prevalence_by_policy")
# exercises.solution("prevalence_by_policy")


# %% tags=["nbval-ignore-output"]
# Exercise 02.2: Kappa by hand (6 minutes)
def kappa_by_hand(a, b):
    """Cohen's kappa: how far do two readers agree beyond chance?

    Chance is how often they would agree if each answered at random with its own frequency of 1s,
    without looking. Kappa says how far their agreement lies on the way from chance, where it is 0,
    to perfect agreement, where it is 1.

    a, b: arrays [N] of 0 and 1, what each says of the same N images. Each holds both values.
    Returns a number. With a = [1, 1, 0, 0, 0] and b = [1, 0, 0, 0, 0] they agree on 0.8 of the
    images, chance is 0.56, and kappa is 0.545.
    """
    ...  # your code


exercises.check(kappa_by_hand)
# exercises.hint("kappa_by_hand")
# exercises.solution("kappa_by_hand")


# %% tags=["nbval-ignore-output"]
# Exercise 02.3: A test that stays a test (4 minutes)
def images_of_the_test(patients, count, rng):
    """Split by patient: which images belong to the test?

    patients: an array [N], the number of the patient whom each image shows. Many come back, and
        their images are not in any order.
    count: how many patients the test is to have.
    rng: a random generator. `rng.choice(values, count, replace=False)` draws from an array, each
        entry at most once.
    Returns a bool array [N], true where an image belongs to the test: all images of `count`
    patients, and no image of anybody else. They are drawn with `rng`, every patient as likely as
    any other, however many images he has. With patients [7, 3, 7, 9] and a count of 1 there are
    three right answers, and [True, False, True, False] is one of them.
    """
    ...  # your code


exercises.check(images_of_the_test)
# exercises.hint("images_of_the_test")
# exercises.solution("images_of_the_test")


# %% tags=["nbval-ignore-output"]
# Exercise 02.4: A model that only remembers (8 minutes)
def scores_from_memory(patients, labels, is_train):
    """What does a model predict that cannot read a film, but is told whose it is?

    It repeats what it remembers of a patient, the mean label of his training images. For a patient
    it has never met it gives the mean label of all training images. Split by patient, it has met
    nobody, so all its scores are equal: chance. Split by image, it seems to be a radiologist.

    patients: an array [N], the number of the patient whom each image shows.
    labels: an array [N] of 0 and 1, one observation.
    is_train: a bool array [N], true for training images; the others are the test.
    Returns an array: the scores of the test images, in their order. With patients
    [1, 1, 2, 2, 3, 1], labels [1, 1, 0, 1, 1, 0] and the first, the third and the last of them for
    training, the scores of the other three are [1/2, 0, 1/3].
    """
    ...  # your code


exercises.check(scores_from_memory)
# exercises.hint("scores_from_memory")
# exercises.solution("scores_from_memory")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("02")

# %% [markdown]
# ## Take away
#
# - A label is somebody's reading of somebody's report. Codes: yes, no, perhaps, nothing.
# - The policy for "perhaps" is a modelling decision; missing is not negative.
# - On NIH's adjudicated images, labels from reports miss about half of three findings that radiologists see. A
#   number for a label's quality holds for the images it was measured on.
# - Radiologists agree well on some findings (the heart's size) and poorly on others (consolidation).
# - The paper hopes that VisualCheXbert's labels are better; on the phantom that is built in, not found.
# - Split by patient. Always.
# - On Monday: have two people read fifty images of your label that matters most. Their agreement with each other, and
#   with the label, is the best that a number measured on that label can mean. And look whether a patient is in two splits.
#
# **Next**: 03 builds the hierarchy over these fourteen names.
