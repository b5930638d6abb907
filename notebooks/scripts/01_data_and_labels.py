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
# # 01 · Data and labels
#
# What is a label, and how wrong is it?
#
# **You will be able to** read CheXpert's label codes, choose a policy for uncertain ones and see what
# it changes, say how the phantom's patients come about, measure labels against truth, and split data
# so that a test stays a test.
#
# **Needs** nothing. **Minutes** 25, of which about one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
from IPython.display import display

from cxrlib import data, evaluation, phantom, plots, public, widgets
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
has_reports = track.name != "nih"  # NIH publishes finished labels, not codes
track

# %% [markdown]
# ## One row per image
#
# **Claim.** Three collections with three layouts become one table: where the image is, who it shows,
# which split it belongs to, and one column per observation.

# %%
shown = ["path", "view", "sex", "age", "split", "No Finding", "Cardiomegaly", "Edema"]
track.table[shown].head()

# %% [markdown]
# ## Where the phantom comes from
#
# The default radiographs are computed. A *cause* (heart failure, trauma, cancer, ...) draws findings,
# each with a **severity** from 0, hardly to be seen, to 1, gross. One body in three dimensions, in
# centimetres, holds them, and rays are sent through it: what tissue leaves of the beam is the picture.
#
# **Claim.** One body gives every view, and a patient who comes back is the same person.

# %%
visits = next(
    studies
    for studies in (phantom.draw_studies(np.random.default_rng([4, k])) for k in range(10_000))
    if len(studies) == 3
    and studies[0].lateral
    and all("Pleural Effusion" in visit.drawn for visit in studies)
    and np.ptp([visit.drawn["Pleural Effusion"] for visit in studies]) > 0.4
)
pictures = [phantom.render(visits[0], 256), phantom.render(visits[0], 256, "lateral")]
pictures += [phantom.render(visit, 256) for visit in visits[1:]]
effusions = [f"effusion {visit.drawn['Pleural Effusion']:.2f}" for visit in visits]
views = ["frontal", "lateral", *(visit.projection for visit in visits[1:])]
numbers = [1, 1, 2, 3]
fig = plots.gallery(
    pictures,
    [f"study {n}, {view}\n{effusions[n - 1]}" for n, view in zip(numbers, views, strict=True)],
    columns=4,
    title="One patient: two views of the first study, and two later studies",
    size=2.3,
)
plots.show(
    fig,
    "Four synthetic radiographs of one patient: frontal and lateral of the first study, then the "
    "frontal views of the second and third, with the severity of the pleural effusion over each.",
)

# %% [markdown]
# **Claim.** Severity decides how hard a finding is, for every finding alike; and because the same body
# can be drawn without it, the exact pixels that a finding changes are known: its **mask**.

# %%
severities = (0.3, 0.6, 1.0)
pictures, titles, masks = [], [], []
for k, finding in enumerate(phantom.FINDINGS):
    rng = np.random.default_rng([1, k])
    plain = replace(phantom.draw_study(rng, phantom.draw_patient(rng), 1), other="")
    for severity in severities:
        study = replace(plain, drawn={finding: severity})
        pictures.append(phantom.render(study, 192))
        masks.append(phantom.masks(study, 192)[finding])
        titles.append(f"{finding} {severity}")
titles = [title.replace("Enlarged Cardiomediastinum", "Enl. Cardiomed.") for title in titles]
fig = plots.gallery(
    pictures, titles, columns=6, masks=masks, size=1.75,
    title="Every finding at three severities, outlined",
)  # fmt: skip
plots.show(
    fig,
    "Thirty-nine synthetic radiographs: each of the thirteen findings at the severities 0.3, 0.6 and "
    "1.0, with the pixels that it changes outlined.",
)

# %% [markdown]
# A finding also pushes and pulls its neighbours: a large pneumothorax moves the heart, and those pixels
# are in its mask too. Look closer: choose a finding, make it worse, see it from the side.


# %%
def draw_finding(finding, severity, view):
    rng = np.random.default_rng(8)
    plain = replace(phantom.draw_study(rng, phantom.draw_patient(rng), 1), other="")
    study = replace(plain, drawn={finding: severity})
    without, with_it = (phantom.render(s, 256, view) for s in (replace(plain, drawn={}), study))
    mask = phantom.masks(study, 256, view)[finding]
    return plots.gallery(
        [without, with_it, with_it],
        ["without", f"{finding}, severity {severity:.2f}", "the pixels it changes"],
        columns=3,
        masks=[None, None, mask],
        size=3.0,
    )


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
# ## Four codes
#
# CheXpert's labels were read from radiology *reports* by a program (Irvin et al. 2019). For every
# observation a report can say yes (1), no (0), perhaps (−1), or nothing (blank).
#
# **Claim.** Most cells of the table are blank, and for some observations "perhaps" is as common as
# "yes".

# %%
if has_reports:
    codes = read_chexpert(track.folder / "train.csv")[observations]
else:  # the same code runs on NIH, whose labels are all yes or no
    codes = track.split("train")[observations]

meaning = {"yes (1)": 1, "perhaps (−1)": -1, "no (0)": 0}
counts = pd.DataFrame({name: (codes == code).mean() for name, code in meaning.items()})
counts["blank"] = codes.isna().mean()
counts.round(2)

# %%
fig, axis = plots.figure(height=5.2)
left = np.zeros(len(counts))
colours = [plots.BLUE, plots.ORANGE, plots.SKY, "#dddddd"]
for column, colour in zip(counts, colours, strict=True):
    axis.barh(counts.index[::-1], counts[column][::-1], left=left, color=colour, label=column)
    left += counts[column][::-1].to_numpy()
axis.set_xlabel("share of the training images")
axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
axis.set_title("Reports leave most observations unmentioned", loc="left", pad=28)
axis.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), borderpad=0)
plots.show(
    fig,
    "Stacked bars, one per observation: the share of training images whose label is yes, perhaps, "
    "no or blank. Blank is the largest part almost everywhere.",
)

# %% [markdown]
# On the real CheXpert training set, Atelectasis has 33,376 yes and 33,739 perhaps; Pneumonia has 6,039
# yes and 18,770 perhaps (of 223,414 images).
#
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
# **Claim.** For some observations, the policy alone more than doubles the number of positives.

# %%
prevalence = pd.DataFrame({policy: apply_policy(codes, policy).mean() for policy in POLICIES})
ratio = (prevalence["U-Ones"] / prevalence["U-Zeros"]).sort_values(ascending=False)
ratio.head(3).round(1).rename("times as many positives with U-Ones as with U-Zeros").to_frame()

# %% [markdown]
# Choose a policy and see the prevalence it makes, over U-Zeros in grey:


# %%
def draw_policy(policy):
    table = pd.DataFrame({"U-Zeros": prevalence["U-Zeros"], policy: prevalence[policy]})
    fig, axis = plots.figure(height=4.6)
    axis.barh(table.index[::-1], table[policy][::-1], color=plots.BLUE, label=policy)
    axis.barh(
        table.index[::-1], table["U-Zeros"][::-1], color="#bbbbbb", label="U-Zeros", height=0.4
    )
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("mean target of the training images whose label is known")
    axis.set_title(f"{policy} against U-Zeros", loc="left")
    axis.legend(loc="lower left", bbox_to_anchor=(0.35, 1.0), ncols=2, borderpad=0)
    return fig


widgets.explore(
    draw_policy,
    "Bars of prevalence per observation under U-Ones, with U-Zeros in grey inside each bar; hedged "
    "observations such as Pneumonia and Consolidation grow most.",
    policy=ipywidgets.Dropdown(options=POLICIES, description="policy"),
)

# %% [markdown]
# ## Who says so? Report labels against the truth
#
# A report is not the image. Radiologists leave out what everyone knows, hedge, and compare with an
# earlier image. Jain et al. (2021) therefore trained *VisualCheXbert* to read a report and label what a
# radiologist would see *in the image*. The paper trains on those labels.
#
# With real data you must take somebody's word for what is in an image. With the phantom the truth is
# known, so both labelers can be judged. (They err as often as the tables in `cxrlib/cohort.py` say: this
# measures what such errors do to a training set. Whether the real VisualCheXbert errs less than the real
# CheXpert labeler is the finding of Jain et al., not ours.) *Cohen's kappa* is agreement beyond chance.
#
# **Claim.** The image-like labels agree with the truth better than the report labels do, and most of
# all they miss less.


# %%
def agreement(labels, truth):
    """Sensitivity, false positive rate and Cohen's kappa of binary labels, per observation."""
    from sklearn.metrics import cohen_kappa_score

    rows = {}
    for name in observations:
        given, true = labels[name] == 1, truth[name] == 1
        rows[name] = {
            "sensitivity": given[true].mean(),
            "false positives": given[~true].mean(),
            "kappa": cohen_kappa_score(given, true),
        }
    return pd.DataFrame(rows).T


knows_truth = track.name == "phantom"
if knows_truth:

    def labelled(source, policy="U-Ones"):
        opened = data.open_track(track.folder, labels=source, uncertain=policy)
        return opened.split("train").set_index("path")[observations]

    truth = labelled("truth")
    agreements = {
        "report, U-Zeros": agreement(labelled("report", "U-Zeros"), truth),
        "report, U-Ones": agreement(labelled("report", "U-Ones"), truth),
        "image-like": agreement(labelled("visualchexbert"), truth),
    }
    summary = pd.DataFrame({name: table.mean() for name, table in agreements.items()}).T
    display(summary.round(2))
else:
    print("Only the phantom knows the truth: run this notebook without CXR_DATA to see the tables.")

# %%
if knows_truth:
    kappas = pd.DataFrame({name: table["kappa"] for name, table in agreements.items()})
    fig = plots.intervals(
        kappas,
        "Image-like labels agree with the truth best",
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
# Hold on to the middle row too: U-Ones finds more and raises more false alarms. No policy makes a report
# into an image.
#
# ## And on real radiographs? A label beside readers
#
# Nobody knows the truth of a real radiograph. The nearest to it are several radiologists who look at the
# image and settle what they see. For 4,376 images of NIH ChestX-ray14 that was done (Majkowska et al. 2020);
# NIH's own labels were found in the reports, by a program. Both tables come with the course, without
# images and without a registration (`cxrlib.public`).
#
# **Guess** before you go on: of a hundred images on which the radiologists agree that there is a
# pneumothorax, how many carry the label?

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
    "Half of what radiologists agree on is not in NIH's labels", x=0.01, ha="left", fontsize=13
)
plots.show(
    fig,
    "Three panels of dots with 95% intervals for Pneumothorax, Nodule or mass and Airspace opacity: "
    "sensitivity between 0.42 and 0.58, precision between 0.46 and 0.70, kappa between 0.34 and 0.43.",
)

# %% [markdown]
# *Sensitivity* is the share of the radiologists' findings that the label knows, *precision* the share of
# the labels that they confirm. Are these numbers the collection's? The images are two sets, drawn in
# different ways:

# %%
by_set = {
    name: evaluation.agreement(read.loc[rows, asked], reported.loc[rows], read.loc[rows, "patient"])
    for name, rows in read.groupby("set").groups.items()
}
pd.concat(by_set)[["positives", *measures]].round(2)

# %% [markdown]
# No: for Pneumothorax even sensitivity differs between them. A label's quality is that of a label *on some
# images*; whoever quotes one number for it has chosen which.
#
# And do radiologists agree with each other? In VinDr-CXR each of 15,000 images was read by three of
# seventeen, each alone (Nguyen et al. 2022).

# %%
readers = evaluation.reader_agreement(public.reader_labels(), resamples=300)
readers = readers.drop(index="No Finding").sort_values("kappa", ascending=False)
fig, axis = plots.figure(height=5)
axis.errorbar(
    readers["kappa"], readers.index,
    xerr=[readers["kappa"] - readers["kappa_low"], readers["kappa_high"] - readers["kappa"]],
    fmt="o", ms=8, color=plots.BLUE, capsize=4,
)  # fmt: skip
axis.invert_yaxis()
axis.set(xlim=(0, 1), xlabel="kappa between two readers of one image (0: chance, 1: perfect)")
axis.set_title(
    "Readers agree on the size of heart and aorta, hardly on consolidation", loc="left", fontsize=13
)
plots.show(
    fig,
    "Dots with intervals: kappa from 0.79 for Cardiomegaly and 0.78 for Aortic enlargement down to "
    "0.36 for Consolidation and Other lesion.",
)

# %%
readers[["any", "all", "kappa"]].assign(agreed=readers["all"] / readers["any"]).round(2)

# %% [markdown]
# `any` counts the images of which one reader or more says it, `all` those of which all three do; `agreed`
# is the one over the other. Two things to know before quoting them. `No Finding` (left out here) is always
# said by all three or by none. And who reads what was not left to chance:

# %%
sick = public.reader_labels().query("`No Finding` == 0")
print(f"images with a finding: {sick.index.get_level_values('image').nunique():,}")
sick.groupby(level="reader").size().sort_values(ascending=False, kind="stable").head(5).to_frame(
    "of these, read by"
)

# %% [markdown]
# Nearly always the same three. So this is how well *they* agree. Still: where readers agree at 0.36, a model
# that agrees with one reader's label at 0.9 has learnt the reader.
#
# The phantom's labelers are kinder than this. Its image-like labels reach a kappa of about 0.9, which is
# an assumption, not a measurement. So the order of the dots above, image-like before report, is built
# into the phantom; it is no evidence for it.
#
# ## Other names: NIH ChestX-ray14
#
# **Claim.** A label that one collection has and the other has not is *missing*, not negative.

# %%
pd.Series(NIH_TO_CHEXPERT, name="CheXpert").fillna("(no counterpart)").rename_axis("NIH").to_frame()

# %%
examples = pd.Series(["No Finding", "Effusion|Mass", "Hernia"], index=["normal", "two", "hernia"])
nih_targets(examples).T.rename_axis("observation")

# %% [markdown]
# NaN reads "nobody looked". A hernia is not `No Finding`, and it is none of the fourteen either.
#
# ## Prevalence and company
#
# **Claim.** Findings come in company: some make others several times as likely, some less likely, and a
# model will use that.

# %%
binary = track.split("train")[observations] == 1
together = pd.DataFrame(
    {column: [binary.loc[binary[row], column].mean() for row in observations] for column in observations},
    index=observations,
)  # fmt: skip
times = together / binary.mean().replace(0, np.nan)  # 1: as often as in any image
fig = plots.heatmap(
    times.where(~np.eye(14, dtype=bool)),
    "How many times as often as usual the column's finding comes with the row's",
    "times as often",
    vmin=0,
    vmax=5,
    fmt=".1f",
)
plots.show(
    fig,
    "Heat map: for every pair of observations, how many times as often as usual the column's comes "
    "with the row's. Pneumonia and Consolidation, or Cardiomegaly and Enlarged Cardiomediastinum, "
    "come together several times as often.",
)

# %% [markdown]
# How much like a hospital is the phantom? What CheXpert's labeler read in the reports of 223,414 images
# (Irvin et al. 2019) comes with the course. Compare what the phantom's *report labeler* says.
#
# **Claim.** The phantom's order of frequency is roughly CheXpert's, but some rare findings are up to three
# times as frequent, so that a few thousand images hold enough of each to learn from.

# %%
real = public.chexpert_labels()[observations]
published = pd.DataFrame({"yes": (real == 1).mean(), "perhaps": (real == -1).mean()})
shares = pd.DataFrame({"yes": (codes == 1).mean(), "perhaps": (codes == -1).mean()})
fig, (left, right) = plots.figure(1, 2, 10.5, 4.8, sharey=True)
place = np.arange(14)
for axis, code in ((left, "yes"), (right, "perhaps")):
    axis.barh(place + 0.2, shares[code], 0.4, color=plots.BLUE, label=track.name)
    axis.barh(place - 0.2, published[code], 0.4, color=plots.ORANGE, label="CheXpert")
    axis.set_xlabel(f"share of the training images labelled {code}")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
left.set_yticks(place, observations)
left.invert_yaxis()
right.legend(loc="lower right")
rank = shares["yes"].corr(published["yes"], method="spearman")
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
# And the company they keep? The first two pairs are edges of the hierarchy that the course will build:
# labels read from reports are far from it.

# %%
pairs = [
    ("Cardiomegaly", "Enlarged Cardiomediastinum"), ("Pneumonia", "Consolidation"),
    ("Edema", "Lung Opacity"), ("No Finding", "Support Devices"),
]  # fmt: skip


def share_without(table):
    """Of the images with the first of a pair, the share that lacks the second."""
    return {f"{a} without {b}": (table.loc[table[a] == 1, b] != 1).mean() for a, b in pairs}


lacking = pd.DataFrame({track.name: share_without(codes), "CheXpert": share_without(real)})
fig = plots.bars(lacking, "What reports leave unsaid, here and in CheXpert", "share of the images")
plots.show(
    fig,
    "Bars for four pairs of observations: how often the second is not labelled although the first "
    "is, on this track and in CheXpert.",
)

# %% [markdown]
# ## Splitting: by patient, or you measure memory
#
# Patients come back. Two images of one person share a heart, a spine, a pacemaker, and often the
# disease.
#
# **Claim.** If images of one patient fall on both sides of a split, *remembering faces* counts as
# recognising disease.
#
# The simplest model that remembers: describe every image by how it differs from the average chest
# (whitened principal components, the old "eigenfaces"), find the five most similar training images, and
# repeat their labels. Ten random splits each way, with the same images (of patients who came at least
# three times) and the same model. Its score is an **AUROC**: the chance that an image with the finding
# scores above one without it; *macro* is the plain mean over the findings (notebook 05 says more).

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
def memory_auroc(splits):
    """Macro AUROC of the remembering model over the observations, for each split."""
    results = []
    for train, test in splits:
        aurocs = []
        for name in observations:
            known = returning[name].notna().to_numpy()
            here, there = train[known[train]], test[known[test]]
            target = (returning[name] == 1).to_numpy()
            if target[here].any() and target[there].sum() >= 5 and not target[there].all():
                model = KNeighborsClassifier(5, weights="distance")
                scores = model.fit(faces[here], target[here]).predict_proba(faces[there])[:, 1]
                aurocs.append(roc_auc_score(target[there], scores))
        results.append(np.mean(aurocs))
    return np.array(results)


options = {"n_splits": 10, "test_size": 0.3, "random_state": 0}
by_image = memory_auroc(ShuffleSplit(**options).split(faces))
by_patient = memory_auroc(GroupShuffleSplit(**options).split(faces, groups=patients))
gap = by_image.mean() - by_patient.mean()

# %%
fig, axis = plots.figure(height=2.4)
for row, values in enumerate((by_patient, by_image)):
    axis.plot(values, np.full(10, row), "o", color=plots.BLUE, alpha=0.5, ms=8)
    axis.plot(values.mean(), row, "|", color=plots.RED, ms=34, mew=3)
axis.set_yticks([0, 1], ["split by patient", "split by image"])
axis.axvline(0.5, color=plots.GREY, ls="--", lw=1)
axis.set_ylim(-0.6, 1.6)
axis.set_xlabel("macro AUROC of the model that remembers (0.5: chance; red: mean)")
axis.set_title(f"Splitting by image inflates AUROC by {gap:.2f}", loc="left")
plots.show(
    fig,
    "Dots for ten splits each way: the remembering model's AUROC is higher when images of one "
    "patient may fall on both sides.",
)

# %%
print("higher when split by image, by more than 0.02:", bool(gap > 0.02))

# %% [markdown]
# What is left when split by patient is skill of a kind: large hearts resemble large hearts. The difference
# is memory, and no new patient will ever benefit from it. `cxrlib` refuses a table in
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
# ## Take away
#
# - A label is somebody's reading of somebody's report. Codes: yes, no, perhaps, nothing.
# - The policy for "perhaps" is a modelling decision; missing is not negative.
# - Labels from reports miss about half of what radiologists see, and radiologists do not agree on much.
#   The paper hopes that VisualCheXbert's labels are better; on the phantom that is built in, not found.
# - Split by patient. Always.
#
# **Next**: 02 builds the hierarchy over these fourteen names.
