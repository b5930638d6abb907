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
# training, and wrote that into its memory, so `model.eval()` does not bring the old model back.
#
# But why is nothing left? Look at what the last layer sees of an image: the mean over the map, right after the
# normalisation, 512 numbers. **Guess**: how far apart are they for two different patients, in training mode?

# %%
blind = deepcopy(model).train()
upto_pool = torch.nn.Sequential(
    blind.features, *list(blind.head)[:5]
)  # conv, relu, norm, pool, flatten
with torch.inference_mode():
    pooled = torch.cat([upto_pool(image[None]) for image in images[:20]])
print("twenty images differ by at most 0.0001:", bool((pooled - pooled[0]).abs().max() < 1e-4))
beta = blind.head.norm.bias
print("each is the normalisation's β, within 0.0001:", bool((pooled - beta).abs().max() < 1e-4))

# %% [markdown]
# None, but for rounding. A map standardised by itself has the mean zero, whatever it shows; then its scale γ and its
# shift β, which are weights, are applied, and the mean is β. The model is blind: all that differs from image to image is
# which units were dropped. That is this head's doing, mean after normalisation; other networks are only harmed. A batch
# of a hundred would have hidden it.
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
# To compare doubts, hold the answers fixed: each is asked about the errors of one and the same predictor, the single
# prediction. (Were each to judge its own answers, one that answers badly could look good, for its errors may be easy to
# find.)
#
# Four doubts: the entropy of the single score; the spread and the mutual information over dropout passes; and
# the entropy over *test-time augmentation*, that is, over slightly turned and shifted copies. Three of them need ten or
# thirty passes, and one costs nothing. **Guess** whose curve is lowest.

# %%
torch.manual_seed(1)
with torch.inference_mode():
    single = model(images).sigmoid()[None]
turned = uncertainty.decompose(uncertainty.augmented_passes(model, images, passes=10))
kinds = {
    "single score: entropy": uncertainty.entropy(single[0]),
    "dropout: standard deviation": doubt.std,
    "dropout: mutual information": doubt.mutual_information,
    "augmentation: entropy": turned.predictive_entropy,
}


def mean_curve(doubts, scores=single[0]):
    """Risk of the single prediction by coverage, mean over the observations."""
    tables = []
    for label in seen:
        place, truth = hierarchy.labels.index(label), test.truth[label].to_numpy()
        known = ~np.isnan(truth)
        wrong = (scores[:, place].numpy() > 0.5) != (truth == 1)
        curve = uncertainty.risk_coverage(wrong[known], doubts[:, place].numpy()[known])
        tables.append(np.interp(np.linspace(0.05, 1, 96), curve["coverage"], curve["risk"]))
    return np.mean(tables, axis=0)


fig, axis = plots.figure(height=4.8)
found = {name: mean_curve(values) for name, values in kinds.items()}
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
# A **deep ensemble** asks several models, trained from different seeds. `benchmarks/uncertainty.py` trains five of the
# course's models and asks every doubt about the same errors: those of one model's single prediction, each of the five in
# turn. *The other models* are the four who did not give the answer; *all* is the five. Intervals are a bootstrap of
# patients, in which one model at a time is left out.
#
# **Guess** which of these doubts finds a model's errors better than the model's own entropy.

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "uncertainty.json").read_text(encoding="utf-8"))
same = record["phantom"]["generator"] == cohort.generator_version()
print(f"{record['seeds']} models; measured with the present version of the phantom: {same}")

table = pd.DataFrame(record["doubt"]).set_index(["measure", "doubt"])
usual = table.xs("its entropy", level="doubt")["mean"]
print("its entropy:", ", ".join(f"{name} {value:.3f}" for name, value in usual.items()))
perfect = table.loc[("aurc", "knows every error"), "mean"]
print(f"AURC of a doubt that knows every error: {perfect:.3f}")

detected = (
    table.loc["error_auroc"].drop("its entropy").sort_values("difference_mean", ascending=False)
)
fig = plots.intervals(
    detected["difference_mean"],
    "What finds the errors of one model better than its own entropy?",
    "difference of error-detection AUROC, with 95% interval",
    low=detected["difference_low"],
    high=detected["difference_high"],
    reference=0,
)
plots.show(
    fig,
    "For every kind of doubt, the difference of its error-detection AUROC to that of the model's own entropy, with "
    "interval.",
)

# %%
shown = table.loc[["risk at 80%", "aurc"]].drop("knows every error", level="doubt")
for measure, rows_of in shown.groupby(level="measure"):
    rows_of = rows_of.droplevel("measure").drop("its entropy").sort_values("difference_mean")
    better = rows_of[rows_of["difference_high"] < 0]
    worse = rows_of[rows_of["difference_low"] > 0]
    print(f"{measure}: its entropy {usual[measure]:.4f}")
    for word, some in (("lower", better), ("higher", worse)):
        told = "; ".join(f"{n} {d:+.4f}" for n, d in some["difference_mean"].items())
        print(f"  {word}: {told or 'none'}")

# %% [markdown]
# An ensemble's entropy finds them better, by 0.02 of AUROC, whether or not it holds the model itself; that of augmented
# copies hardly, that of dropout passes not at all. All that measures *disagreement* is worse. The paper's measure, the
# standard deviation over dropout passes, loses 0.08; mutual information more: where all passes are equally torn, they
# agree. And logits differ most where they are largest, where an answer is sure.
#
# What is it worth? With the most doubtful fifth withheld, 7.0% of the answers are wrong by the model's own entropy, and
# 6.3% by an ensemble's.
#
# So much for finding errors. Does a mean of passes, or of models, make fewer of them? Are its probabilities better
# calibrated, as they come, and *rescaled* by a temperature for each label (notebook 06)? **Guess** all three.

# %%
MEASURES = {
    "macro_auroc": "macro AUROC, 14 observations",
    "macro_ap": "macro AP",
    "error_rate": "error rate at 0.5",
    "calibration_error": "calibration error",
    "calibration_error_after": "calibration error, rescaled",
}
predictors = pd.DataFrame(record["predictors"]).set_index(["measure", "predictor"])
for measure, name in MEASURES.items():
    print(name)
    for predictor, r in predictors.loc[measure].iterrows():
        ends = f"{r['difference_mean']:+.3f} ({r['difference_low']:+.3f} to {r['difference_high']:+.3f})"
        print(f"  {predictor:13} {r['mean']:.3f}  {ends if predictor != 'one model' else ''}")

# %% [markdown]
# An ensemble gains 0.017 of AUROC, 0.032 of AP, and one error in thirty; augmented copies a little; dropout nothing. The
# ensemble's probabilities are calibrated *worse*, and rescaled a little worse still: a mean of several scores is less
# extreme than each of them.
#
# ## Does doubt grow where it should?
#
# **Subtle findings.** Every finding of the phantom has a severity, and a faint one is hard to see. Sort the images that
# show a finding into thirds, subtle, middling and marked. **Guess** how the ensemble's entropy goes from the subtle third
# to the marked one; and its score.

# %%
rows_of = pd.DataFrame(record["severity"])
severity = rows_of.pivot_table("mean", ["measure", "observation"], "of")
subtle = severity.loc["score", "subtle"]
THIRDS = ["absent", "subtle", "middling", "marked"]
fig, axes = plots.figure(1, 2, 11, 5.2)
for axis, measure in zip(axes, ("score", "entropy"), strict=True):
    for label, curve in severity.loc[measure, THIRDS].iterrows():
        colour = plots.ORANGE if subtle[label] < 0.2 else plots.GREY
        axis.plot(range(4), curve, "o:", color=colour)
        axis.plot(range(1, 4), curve.iloc[1:], "-", color=colour)
    axis.set_xticks(range(4), THIRDS)
    axis.set_title(f"{measure}, mean of the images", fontsize=12, loc="left")
    axis.set_ylim(0, None)
fig.suptitle(
    "A subtle finding is missed with little doubt (orange: score below 0.2)", x=0.01, ha="left"
)
plots.show(
    fig,
    "For each of thirteen findings, the mean score and the mean entropy of images without it, and with a subtle, "
    "middling and marked one.",
)

# %%
correlation = rows_of[rows_of["of"] == "Spearman"].set_index(["measure", "observation"])
of_entropy = correlation.loc["entropy"]
more, less = (of_entropy.index[of_entropy["high"] < 0], of_entropy.index[of_entropy["low"] > 0])
print("more doubt about subtle ones:", ", ".join(more) or "none")
print("less doubt about subtle ones:", ", ".join(less) or "none")
print("subtle ones score below 0.2:", ", ".join(subtle.index[subtle < 0.2]) or "none")

# %% [markdown]
# More doubt about subtle ones holds for some findings, less for others. The left panel tells why. The fainter a finding,
# the lower its score; and entropy is highest at one half. Where subtle ones still score about one half, they are nearer to it
# than marked ones, and doubted more. Where they score far below, they are further from it, and doubted *less*. The three in
# orange are hardly told from nothing, subtle or marked. What is missed, is missed with little doubt.
#
# **Causes of doubt.** Seven ensembles of five were trained, of smaller models. If names mean anything, wrong labels should
# raise the aleatoric part, and lack of experience the epistemic part. But models that read fewer patients as many times
# also take fewer steps, so the two are told apart here: a tenth of the patients *for as many steps*; all patients for an
# eighth of the steps; and a tenth of both. With a tenth, each model of an ensemble may have a tenth of its own, or all the
# same one. The *second hospital* is the same people seen by other machines. And some models never saw a woman.
#
# The parts are arithmetic on probabilities, and shrink when all probabilities move towards one half, as they do with
# flipped labels. So look also at how far the members' *logits* are apart, which knows no one half. And at what all of this
# is for: do the errors rise?
#
# **Guess**, for each cause, which of the four rise.

# %%
PARTS = {
    "expected_entropy": "aleatoric (expected entropy)",
    "mutual_information": "epistemic (mutual information)",
    "logit_spread": "spread of logits (of the members)",
    "errors": "errors (at 0.5)",
}
causes = pd.DataFrame(record["causes"])
order = list(dict.fromkeys(causes["cause"]))
wide = {
    end: causes.pivot_table(end, "cause", "part").loc[order, list(PARTS)]
    for end in ("mean", "low", "high")
}
fig, axes = plots.figure(1, 4, 11, 4.6, sharey=True)
for axis, (part, words) in zip(axes, PARTS.items(), strict=True):
    place = np.arange(len(order))
    low, mean, high = (wide[end][part] for end in ("low", "mean", "high"))
    beyond = np.where((low > 1) | (high < 1), plots.ORANGE, plots.GREY)
    axis.axvline(1, color="black", lw=1)
    axis.hlines(place, low, high, color=beyond, lw=3)
    axis.scatter(mean, place, color=beyond, zorder=3)
    axis.set_xscale("log")
    ticks = [0.3, 1, 3, 10] if high.max() > 3 else [0.5, 1, 2]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()
    axis.set_yticks(place, order, fontsize=11)
    axis.set_title(words.replace(" (", "\n("), fontsize=11, loc="left")
axes[0].invert_yaxis()
fig.supxlabel(
    "with the cause, beside without: ratio of the means, 95% interval (orange: beyond 1)",
    fontsize=12,
)
plots.show(
    fig,
    "For eight causes, the ratios by which the aleatoric part, the epistemic part, the spread of the logits and the "
    "errors of an ensemble grow.",
)
wide["mean"].rename(columns=PARTS).round(2)

# %%
rises = wide["low"] > 1
for part, words in PARTS.items():
    print(f"{words} rises with: {'; '.join(rises.index[rises[part]]) or 'nothing'}")

# %% [markdown]
# *Flipped labels* raise the aleatoric part, as the name says, and the errors. The epistemic part falls to a third; the
# logits' spread to a half, so that is not all arithmetic.
#
# *Few patients*, for as many steps, raise the epistemic part eighteenfold, as the name says; and nearly as much if all
# members read the same ones. So they do not disagree about who was read, but about what to make of so few. *Few steps*
# lower it to a third, while the errors rise by a third. And with a tenth of both, the two nearly cancel. (This course
# once measured only the last, and concluded that few patients do not raise epistemic doubt. That was wrong.) The
# aleatoric part goes down in one case and up in the other: how sure a model has become after so many rounds depends on
# which of them was best on the validation images.
#
# *The second hospital* raises disagreement a little, errors hardly. And models that never saw a *woman* err no more
# about women than could be luck, and doubt no more: there is nothing to notice.
#
# So the names say what some causes do. They do not say what went wrong: the same measure that rises eighteenfold with one
# cause of errors falls to a third with another.
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
# them, though it has never seen the like. For a blank image that holds for each of the five; about noise they
# differ widely. The disagreement of an ensemble, a poor guide to errors, is good at this; so is the distance
# of the features, which needs one model only. The second hospital nothing here notices well. Different questions,
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
# - Compare doubts on the same answers. Compare causes one at a time: few patients and few steps are two.
# - "Aleatoric" and "epistemic" are names of two terms. Few patients raised the second, few steps lowered it, and both
#   cost as many errors.
# - No doubt is good for everything: entropy finds errors, disagreement and distance find odd images.
# - On Monday: withhold by the entropy of an ensemble, if you can afford one, or else by the score alone; put a gate of its
#   own before the model; and look at what it misses with little doubt.
#
# **Next**: 10 asks what may be promised all the same.
