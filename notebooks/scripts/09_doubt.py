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
# # 09 · Doubt
#
# Does the model know when it is wrong?
#
# **You will be able to** use Monte Carlo dropout without breaking the model, tell doubt about the image
# from doubt about the model, judge any measure of doubt by what it is for, and notice images that are no
# frontal radiographs.
#
# **Needs** the words *AUROC*, *interval* and *calibration* of notebook 06, and the model with the paper's
# loss of notebook 05; if it is not there it is trained now, which takes four to eight minutes.
# **Minutes** 40, of which about three are computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from torchvision.transforms import v2

from cxrlib import cohort, configs, data, plots, training, uncertainty
from cxrlib.evaluation import evaluate, read_predictions
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.uncertainty import mc_dropout

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %%
workshop = configs.read_config("workshop").settings
settings = replace(workshop, method="hbce-step", penalties="data-driven")
run = training.train(track, hierarchy, settings, name="paper-loss")
model = run.model()

test = read_predictions(run.folder / "predictions.csv").split("test")
rows = track.split("test")
seen = [label for label in sorted(OBSERVATIONS) if test.truth[label].nunique() == 2]


def prepared(rows):
    """Images as the model sees them, [N, 1, size, size]."""
    targets = hierarchy.derive(rows[sorted(OBSERVATIONS)])
    dataset = data.ChestDataset(rows, track.folder, targets, settings.size, equalize=True)
    return torch.stack([image for image, _ in dataset])


images = prepared(rows)
print(f"{len(images)} test images; {len(seen)} observations with both classes")

# %% [markdown]
# ## Dropout at test time, the wrong way
#
# In training, dropout switches units off at random: each of those that the head's last layer sees, with a
# chance of one half. Leave it on when predicting, predict several times, and see how much the scores vary:
# **Monte Carlo dropout** (Gal and Ghahramani 2016). The paper makes ten passes.
#
# The obvious way to switch it on is `model.train()`. What else does that switch on? **Guess** what becomes
# of the AUROC when one image at a time is predicted so; and whether `model.eval()` brings the old model
# back.


# %%
def auroc(scores, few):
    """Macro AUROC over the observations on the first ``few`` test images."""
    table = pd.DataFrame(np.asarray(scores), columns=hierarchy.labels)
    return evaluate(test.truth.iloc[:few], table).summary["macro_auroc_observations"]


few = min(300, len(images))
patient = deepcopy(model)  # this copy is going to suffer
with torch.inference_mode():
    healthy = patient(images[:few]).sigmoid()
    patient.train()
    naive = torch.cat([patient(image[None]).sigmoid() for image in images[:few]])
    patient.eval()
    afterwards = patient(images[:few]).sigmoid()

reached = {
    "model.eval()": auroc(healthy, few),
    "model.train(), one image at a time": auroc(naive, few),
    "model.eval() again, afterwards": auroc(afterwards, few),
}
before = dict(model.named_buffers())
changed = sum(not torch.equal(value, before[name]) for name, value in patient.named_buffers())
print(
    "AUROC lost by model.train():",
    bool(reached["model.train(), one image at a time"] < reached["model.eval()"] - 0.1),
)
print("buffers that it changed for good:", changed, "of", len(before))

# %% tags=["nbval-ignore-output"]
pd.Series(reached, name="macro AUROC").round(3).to_frame()

# %% [markdown]
# *Batch normalisation* went on as well. It standardised each image by itself, instead of by what it saw in
# training. In this head that makes the model blind: the mean over the map comes right after the
# normalisation, and a map standardised by itself has the same mean whatever it shows. All that still differs
# from image to image is which units were dropped. And batch normalisation wrote what it saw into its memory,
# so `model.eval()` does not bring the old model back.
#
# ## The right way
#
# Switch on the dropout modules, and nothing else. And since all that comes before the first of them is the
# same in every pass, compute it once: `mc_dropout` repeats only what follows.
#
# Three questions for a repair. Is the model left as it was? Is a single image treated like one in a batch?
# And the one to **guess**: is the mean of thirty passes better than the single prediction?

# %%
torch.manual_seed(0)
doubt = mc_dropout(model, images, passes=30)
intact = all(torch.equal(value, before[name]) for name, value in model.named_buffers())
alone = mc_dropout(model, images[:1], passes=2000).mean
together = mc_dropout(model, images[:8], passes=2000).mean[:1]
print("buffers untouched:", intact)
print(
    "AUROC within 0.02 of the single prediction:",
    bool(abs(auroc(doubt.mean[:few], few) - reached["model.eval()"]) < 0.02),
)
print("one image alone or in a batch, within 0.05:", bool((alone - together).abs().max() < 0.05))

# %% tags=["nbval-ignore-output"]
both = {
    "one prediction": reached["model.eval()"],
    "mean of thirty passes": auroc(doubt.mean[:few], few),
}
pd.Series(both, name="macro AUROC").round(3).to_frame()

# %% [markdown]
# The repair works, and the mean of the passes is about as good as one prediction without dropout; hardly
# anything is gained. But the passes were made for the sake of their spread. Take the test image over which
# they differ most. **Guess** where the spread is large: at high scores, at low ones, or in between?

# %%
number = int(doubt.std[:, [hierarchy.labels.index(name) for name in seen]].mean(dim=1).argmax())
passes = pd.DataFrame(
    uncertainty.dropout_passes(model, images[number][None], 200)[:, 0].numpy(),
    columns=hierarchy.labels,
)
ordered = passes.mean().sort_values(ascending=False).index
fig = plots.intervals(
    passes[ordered].mean(),
    "The passes agree near 0 and near 1, and differ in between",
    "score of one image: mean of 200 passes, and where 95% of them lie",
    low=passes[ordered].quantile(0.025),
    high=passes[ordered].quantile(0.975),
    xlim=(-0.02, 1.02),
)
plots.show(
    fig,
    "For one image, the mean score of every label over 200 dropout passes, with the range of 95%: short "
    "ranges near 0 and 1, long ones between.",
)

# %% [markdown]
# Most bars in the middle are long, and those at both ends are short. So does the length say more than the
# score did? Keep that question.
#
# ## Two kinds of doubt
#
# Every pass *s* gives a probability *pₛ*, and a probability has an **entropy** *H*, its own doubt: none at 0
# and at 1, highest at one half, where it is log 2, about 0.693. Averaged over the passes that is the
# *expected entropy*. The mean of the probabilities has an entropy too, and it is never smaller: it holds the
# passes' disagreement as well. The difference is the **mutual information** *I*:
#
# $$\underbrace{H\big[\overline{p}\big]}_{\text{all doubt}} =
# \underbrace{\overline{H[p_s]}}_{\text{the image is unclear (aleatoric)}} +
# \underbrace{I}_{\text{the model has not learnt it (epistemic)}}$$
#
# **Guess** before you run the cell. Of two passes over an image, both may say 0.5; or one may say 0.02 and
# the other 0.98. Which image holds more doubt in all, and of which kind is it?

# %%
total = doubt.expected_entropy + doubt.mutual_information
print("the parts add up:", torch.allclose(total, doubt.predictive_entropy, atol=1e-5))
examples = torch.tensor([[[0.5], [0.02], [0.98]], [[0.5], [0.98], [0.98]]])
parts = uncertainty.decompose(examples)
pd.DataFrame(
    {
        "passes say": ["0.5, 0.5", "0.02, 0.98", "0.98, 0.98"],
        "all doubt": parts.predictive_entropy[:, 0],
        "aleatoric": parts.expected_entropy[:, 0],
        "epistemic": parts.mutual_information[:, 0],
    }
).round(3)

# %% [markdown]
# As much doubt in the second row as in the first. But the first holds only the aleatoric kind, and the second
# mostly the epistemic. In the third, the passes agree on an answer that is nearly certain: little doubt of
# either kind.
#
# Do the two parts mean what they say on images? On the phantom one can ask, because what is unclear and
# what was never learnt is known. That comes below. First: what is doubt *for*?
#
# ## Risk and coverage
#
# Above a score of 0.5 the model answers "present", and otherwise "absent". Let it answer only what it is
# surest of, and count its errors among those: the **risk** at that **coverage**. A useful doubt makes the
# curve fall to the left. The area under it (AURC) sums it up; and the *error-detection AUROC* asks whether a
# wrong answer has more doubt than a right one.
#
# Four doubts of one model: the entropy of its single score, the spread and the mutual information over
# dropout passes, and the entropy over *test-time augmentation*, that is, over slightly turned and shifted
# copies. Three of them need ten or thirty passes, and one costs nothing. **Guess** whose curve is lowest.

# %%
torch.manual_seed(1)
with torch.inference_mode():
    single = model(images).sigmoid()[None]
turned = uncertainty.decompose(uncertainty.augmented_passes(model, images, passes=10))
kinds = {
    "single score: entropy": (single[0], uncertainty.entropy(single[0])),
    "dropout: standard deviation": (doubt.mean, doubt.std),
    "dropout: mutual information": (doubt.mean, doubt.mutual_information),
    "augmentation: entropy": (turned.mean, turned.predictive_entropy),
}


def mean_curve(scores, doubts):
    """Risk by coverage, mean over the observations."""
    tables = []
    for label in seen:
        place, truth = hierarchy.labels.index(label), test.truth[label].to_numpy()
        known = ~np.isnan(truth)
        wrong = (scores[:, place].numpy() > 0.5) != (truth == 1)
        curve = uncertainty.risk_coverage(wrong[known], doubts[:, place].numpy()[known])
        tables.append(np.interp(np.linspace(0.05, 1, 96), curve["coverage"], curve["risk"]))
    return np.mean(tables, axis=0)


fig, axis = plots.figure(height=4.8)
found = {name: mean_curve(*pair) for name, pair in kinds.items()}
colours = (plots.BLUE, plots.ORANGE, plots.PINK, plots.GREEN)
for (name, curve), colour in zip(found.items(), colours, strict=True):
    axis.plot(np.linspace(0.05, 1, 96), curve, color=colour, lw=2, label=name)
axis.set(xlabel="coverage: share of the answers that are given", ylabel="risk: share that is wrong")
axis.set_ylim(0, None)
axis.set_title("Withholding doubtful answers lowers the risk, if it is the right doubt", loc="left")
fig.legend(loc="outside lower center", ncols=2)
plots.show(
    fig,
    "Risk against coverage for four measures of doubt, mean over the observations. The two entropies fall "
    "most to the left, and alike; the spread over dropout passes falls less, their mutual information least.",
)

# %%
entropy = found["single score: entropy"]
print("risk at half coverage below half of the risk at full:", bool(entropy[45] < entropy[-1] / 2))

areas = pd.Series({name: curve.mean() for name, curve in found.items()})
below = areas["single score: entropy"] < areas.filter(like="dropout")
print("the free entropy has a smaller area than both doubts by dropout:", bool(below.all()))

# %% [markdown]
# The free one holds its own. The curve of the entropy over ten augmented copies is hardly lower than that of
# a single score, and both doubts by dropout lie higher. That answers the question you kept: the length of the
# bars says less of errors than the score did. The mutual information, the part with the best name, knows
# least of them. Is that the luck of one model?
#
# ## Ensembles, and the whole comparison
#
# A **deep ensemble** asks several models, trained from different seeds. `benchmarks/uncertainty.py` trains
# five of the course's models and compares all of this on the test patients, with intervals. (An interval is
# a bootstrap of patients; differences are to one model's entropy, on the same patients. What one model does,
# with dropout or without, is the mean of what each of the five does alone.)
#
# **Guess** which rows of the tables beat one model's entropy, before you look.

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "uncertainty.json").read_text(encoding="utf-8"))
same = record["phantom"]["generator"] == cohort.generator_version()
print(f"{record['seeds']} models; measured with the present version of the phantom: {same}")

table = pd.DataFrame(record["doubt"])
NAMES = {"predictive_entropy": "entropy", "mutual_information": "mutual information", "std": "standard deviation", "": ""}  # fmt: skip
table["doubt"] = table["doubt"].map(NAMES)


def with_interval(rows, name):
    """A row per method and doubt: the figure, and its difference to one model."""
    return pd.DataFrame(
        {
            name: rows["mean"].map("{:.3f}".format),
            "difference to one model's": rows.apply(
                lambda r: (
                    f"{r['difference_mean']:+.3f} ({r['difference_low']:+.3f} to {r['difference_high']:+.3f})"
                ),
                axis=1,
            ),
        }
    )


for measure, name in {"aurc": "AURC (low is good)", "error_auroc": "error-detection AUROC"}.items():
    chosen = table[table["measure"] == measure].set_index(["method", "doubt"])
    print(with_interval(chosen, name).to_string(), "\n")

# %% [markdown]
# Which of these differences lie beyond their intervals? And how far is the best from a doubt that knows every
# error, and withholds exactly those answers?

# %%
aurc = table[table["measure"] == "aurc"].set_index(["method", "doubt"])
best = table[table["measure"] == "best_aurc"].set_index("method")["mean"]
print(f"AURC if doubt knew every error of one model: {best['one model']:.4f}")
aurc["method, doubt"] = [" ".join(key) for key in aurc.index]
shown = aurc.set_index("method, doubt")["difference_mean"].sort_values()
better = shown[aurc.set_index("method, doubt")["difference_high"] < 0]
worse = shown[aurc.set_index("method, doubt")["difference_low"] > 0]
print("\nbetter than one model's entropy, difference of the AURC:")
print(better.map("{:+.4f}".format).to_string(header=False) if len(better) else "none")
print("\nworse:")
print(worse.map("{:+.4f}".format).to_string(header=False) if len(worse) else "none")

# %% [markdown]
# (Where the line above the first table ends with False, the tables are of an earlier phantom: they compare
# the measures with one another, but not with the cells before them.)
#
# Thirty dropout passes add nothing to the entropy of a single score, and the paper's measure, their
# standard deviation, finds errors *worse* than it. The entropy of an ensemble is better, that of augmented
# copies a little. Mere disagreement, the mutual information, is a poor guide to errors: where all members are
# equally torn, they agree.
#
# Two cautions. An interval may leave out zero, and the difference still be too small to care about: look at
# that of dropout's entropy. And each method has its own errors to find; an ensemble's may be easier to find,
# or harder. So compare freely within a method, and between methods with care.
#
# Is the ensemble also right more often? Are its probabilities better calibrated, as they come, and *rescaled*
# by a temperature for each label (notebook 06)? **Guess** all three.

# %%
for measure, name in {
    "macro_auroc": "macro AUROC, 14 observations",
    "error_rate": "error rate at 0.5",
    "calibration_error": "calibration error",
    "calibration_error_after": "calibration error, rescaled",
}.items():
    chosen = table[table["measure"] == measure].set_index("method")
    print(with_interval(chosen, name).to_string(), "\n")

# %% [markdown]
# The ensemble is right a little more often. Its calibration error is larger, probably because a mean of
# several scores is less extreme than each of them; after rescaling, the interval of the difference holds
# zero.
#
# ## Does doubt grow where it should?
#
# **Subtle findings.** Every finding of the phantom has a severity, and a faint one is hard to see. So there
# should be more doubt about it. Is there? The figure shows Spearman's correlation of severity and doubt
# among the images that show the finding, for an ensemble of five: negative means more doubt about subtle
# ones.

# %%
severity = pd.DataFrame(record["severity"])
severity = severity[severity["part"] == "predictive_entropy"].set_index("observation")
severity = severity.sort_values("mean")
fig = plots.intervals(
    severity["mean"],
    "More doubt about subtle findings of some kinds, less about others",
    "Spearman's correlation of severity and entropy, with 95% interval\n"
    "left of zero: more doubt about subtle ones",
    low=severity["low"],
    high=severity["high"],
    reference=0,
    xlim=(-1, 1),
)
plots.show(
    fig,
    "Correlation of severity and entropy, with interval, for every finding: from clearly negative to clearly "
    "positive.",
)

# %%
more = severity.index[severity["high"] < 0]
less = severity.index[severity["low"] > 0]
print("more doubt about subtle ones:", ", ".join(more) or "none")
print("less doubt about subtle ones:", ", ".join(less) or "none")

# %% [markdown]
# Less doubt about subtle ones? A likely reason: a finding that is too faint for the model is *missed* with
# confidence. Its score is low, and so is its entropy. Doubt peaks in the middle, at what is half seen.
#
# **Causes of doubt.** Four ensembles were trained, of smaller models: on the usual labels; on labels of which
# a fifth of the findings' was flipped (*noisy*); on a tenth of the patients; and on men alone. If names mean
# anything, noise should raise the aleatoric part, and lack of experience the epistemic part.
#
# **Guess** for each of five comparisons which part grows:
#
# 1. the noisy ensemble, beside the usual one;
# 2. the one that read a tenth of the patients, beside the usual one;
# 3. the usual one, on images of another hospital beside its own;
# 4. the usual one, on women beside men;
# 5. the one that learnt from men alone, on women beside men.

# %%
difficulty = pd.DataFrame(record["difficulty"]).set_index(["condition", "set", "part"])["mean"]


def ratio(part, condition, on, other_condition, other):
    return difficulty[condition, on, part] / difficulty[other_condition, other, part]


causes = {
    "noisy labels, beside usual": ("noisy", "usual", "usual", "usual"),
    "a tenth of the data, beside all": ("tenth", "usual", "usual", "usual"),
    "another hospital, beside the own": ("usual", "another hospital", "usual", "usual"),
    "women, beside men: model of both": ("usual", "women", "usual", "men"),
    "women, beside men: model of men": ("men", "women", "men", "men"),
}
grown = pd.DataFrame(
    {
        name: {
            "aleatoric (expected entropy)": ratio("expected_entropy", *cause),
            "epistemic (mutual information)": ratio("mutual_information", *cause),
        }
        for name, cause in causes.items()
    }
).T
fig = plots.intervals(
    grown,
    "Noise raises the aleatoric part; few patients do not raise the epistemic",
    "ratio of the mean doubt of an ensemble of five; 1: as much",
    reference=1,
)
fig.set_size_inches(10.5, 3.8)
plots.show(
    fig,
    "For five causes of doubt, the ratio by which the aleatoric and the epistemic part of an ensemble's "
    "doubt grow. Noise: the aleatoric part far above 1, the epistemic far below. A tenth of the data: only the "
    "aleatoric above 1. Another hospital: both near 1. Women: both above 1, most for models of men.",
)
grown.round(2)

# %%
aleatoric, epistemic = grown.columns
noise, tenth, unseen = (grown.loc[list(causes)[k]] for k in (0, 1, 4))
both = grown.loc[list(causes)[3]]
print(
    f"noise raises the aleatoric part: {noise[aleatoric] > 1.1}; the epistemic: {noise[epistemic] > 1.1}"
)
print(
    f"little data raises the epistemic part: {tenth[epistemic] > 1.1}; the aleatoric: {tenth[aleatoric] > 1.1}"
)
print(
    f"women, to a model of men, raise the epistemic part more than to a model of both: {unseen[epistemic] > both[epistemic] + 0.05}"
)

# %% [markdown]
# The names promise too much. Noise goes where it should. But models that learnt from few patients do not
# disagree more: each of them is less sure by itself, and the doubt shows up as "aleatoric". There is more
# doubt of both kinds about women even for models that learnt from both, and more still for models of men:
# patients of a kind never seen raise both parts. And a second hospital goes unnoticed, perhaps because
# equalised images look alike (notebook 05).
#
# Three cautions, before you quote this. The second hospital's images in this table were of people whom the
# models had learnt from; they are to be measured again with others. A model that reads a tenth of the
# patients for as many epochs also makes a tenth of the steps, so that few patients and little training are
# not told apart. And flipped labels pull all probabilities towards one half, and so towards each other: some
# of the fall of the epistemic part is mere arithmetic.
#
# ## Images that are no frontal radiographs
#
# Nobody stops a program from sending the wrong image. Here are six kinds, one example each. **Guess** which
# of them the model's entropy does not notice.

# %%
grey = data.read_images([track.folder / path for path in rows["path"]], settings.size)
odd = uncertainty.odd_images(grey[:200] / 255)
fig = plots.gallery(
    [made[0] for made in odd.values()],
    list(odd),
    columns=len(odd),
    size=1.9,
    title="What a model of frontal radiographs should not be sure about",
)
for axis in fig.axes:
    axis.title.set_fontsize(12)
plots.show(
    fig,
    "Six odd images: a chest film inverted, one upside down, one on its side, a blank image, noise, and a "
    "landscape drawn by code.",
)

# %% [markdown]
# One more measure joins: the **distance of the features**. Where do training images lie in the space that
# the head's last layer sees? An image far from them (in Mahalanobis's distance) is one the model has no
# experience with.
#
# How well does a measure tell odd images from usual ones? Again an AUROC says it: 1, every odd image has more
# doubt than every usual one; 0.5, not noticed; below that, the model is *surer* of the odd ones.


# %%
def seen_by_model(raw):
    grey = (raw * 255).round().to(torch.uint8)
    return torch.stack([v2.functional.equalize(image) for image in grey]) / 255


def measures(images):
    """One number an image for each measure."""
    torch.manual_seed(0)
    result = mc_dropout(model, images, passes=30)
    with torch.inference_mode():
        alone = uncertainty.entropy(model(images).sigmoid())
    return {
        "entropy": alone.mean(dim=1).numpy(),
        "dropout: mutual information": result.mutual_information.mean(dim=1).numpy(),
        "distance of features": distance.mahalanobis(uncertainty.embed(model, images).numpy()),
    }


learnt = prepared(track.split("train").iloc[:1000])
distance = LedoitWolf().fit(uncertainty.embed(model, learnt).numpy())
usual = measures(images[len(images) // 2 :])
noticed = {}
for kind, made in odd.items():
    values = measures(seen_by_model(made))
    noticed[kind] = {
        name: roc_auc_score([0] * len(usual[name]) + [1] * len(value), [*usual[name], *value])
        for name, value in values.items()
    }
noticed = pd.DataFrame(noticed)
best_by_kind = noticed.idxmax()
print(
    "the distance notices best, at least four of the six kinds:",
    bool((best_by_kind == "distance of features").sum() >= 4),
)
print("entropy is lower for noise than for chests:", bool(noticed.loc["entropy", "noise"] < 0.5))

# %% tags=["nbval-ignore-output"]
noticed.round(2)

# %% [markdown]
# The first row answers the guess, for this model: what stands at 0.5 or lower, its entropy does not notice.
# For the five models of the benchmark, the same is known of more kinds: the phantom's lateral views, the
# second hospital, and, where a folder of them was at hand, real radiographs. **Guess** what nothing notices.

# %%
kinds_found = pd.DataFrame(record["odd"]).pivot_table("auroc", "measure", "kind")
order = [*odd, "lateral view", "another hospital", "real radiographs"]
kinds_found = kinds_found[[kind for kind in order if kind in kinds_found]]
kinds_found = kinds_found.loc[kinds_found.mean(axis=1).sort_values().index]
fig = plots.heatmap(
    kinds_found,
    "An ensemble's disagreement and the distance notice what one model's entropy misses",
    "AUROC of noticing, mean of five models",
    vmin=0,
    vmax=1,
    cmap="RdBu",
    annot_kws={"fontsize": 12},
)
fig.set_size_inches(11, 4.8)
fig.axes[1].yaxis.label.set_size(12)
fig.axes[1].tick_params(labelsize=11)
plots.show(
    fig,
    "AUROC of noticing, by measure in rows and kind of odd image in columns. The mutual information of an "
    "ensemble and the distance of the features are high for all kinds but the other hospital; the entropy of "
    "one model is below 0.5 for blank images and for noise.",
)

# %%
lowest = kinds_found.min(axis=1).sort_values(ascending=False)
print("the kind each measure notices least:")
print(pd.DataFrame({"AUROC": lowest.round(2), "kind": kinds_found.idxmin(axis=1)}).to_string())

of_five = pd.DataFrame(record["odd"]).set_index(["measure", "kind"])
print("\none model's entropy, of the five models:")
print(of_five.loc["one model: entropy"].loc[["noise", "blank"], ["lowest", "highest"]].round(2))

# %% [markdown]
# On average, one model's entropy is *lower* for noise and for a blank image than for a chest: it is surer of
# them, though it has never seen the like. For noise that holds for each of the five; about a blank image they
# differ widely. The disagreement of an ensemble, a poor guide to errors, is good at this; so is the distance
# of the features, which needs one model only. Nothing here notices the second hospital. Different questions,
# different doubts. And whatever the measure, a program should look at its input before it asks the model.
#
# ## Take away
#
# - Dropout on, everything else in evaluation mode. `model.train()` blinds the model to a single image, and
#   leaves it damaged.
# - Judge doubt by what it is for: finding errors, or noticing the wrong image. A number with a good name is
#   not enough.
# - The entropy of a single score is a strong baseline; thirty dropout passes added nothing to it. An ensemble
#   added a little, at the price of five trainings.
# - "Aleatoric" and "epistemic" are names of two terms. Few patients did not raise the second.
# - No doubt is good for everything: entropy finds errors, disagreement and distance find odd images.
#
# **Next**: 10 asks what may be promised all the same.
