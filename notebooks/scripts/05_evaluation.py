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
# # 05 · Evaluation
#
# The paper reports "a mean AUROC of 0.903". A mean of what?
#
# **You will be able to** compute every mean that could be meant, put an honest interval on it, check
# whether probabilities mean what they say, choose a threshold, measure and repair coherence, and
# compare two models fairly.
#
# **Needs** the two models of notebook 04; if they are not there they are trained now, which takes about
# eight minutes. **Minutes** 25, of which one is computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import ipywidgets
import numpy as np
import pandas as pd

from cxrlib import data, plots, training, widgets
from cxrlib.evaluation import (
    at_threshold,
    bootstrap_auroc,
    calibration,
    evaluate,
    reliability,
)
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %%
paper = training.train(
    track, hierarchy, Settings(loss="hbce-step", penalties="data-driven"), name="paper-loss"
)
hinge = training.train(
    track, hierarchy, Settings(loss="hbce-hinge", penalties="data-driven"), name="hinge-loss"
)

# %% [markdown]
# ## Truth and scores: two tables
#
# **Claim.** Everything below needs only two tables of the same shape: what is true, and what the model
# said.

# %%
loaders = training.make_data(track, hierarchy, paper.settings)
test = loaders.dataset("test")
truth = loaders.targets("test").reset_index(drop=True)
patients = track.split("test")["patient"].reset_index(drop=True)
scores = training.predict(paper.model(), test, hierarchy.labels)
hinge_scores = training.predict(hinge.model(), test, hierarchy.labels)
print(truth.shape, scores.shape, f"{patients.nunique()} patients")

# %% [markdown]
# ## AUROC, one label at a time
#
# The **AUROC** of a label is the chance that a random image with it scores above a random image without
# it: 1 is perfect, 0.5 is a coin. It does not depend on how common the label is.
#
# **Claim.** It depends very much on the label, and for rare ones it is known only roughly. The bars are
# 95% intervals from 1,000 resamples of *patients*.

# %%
result = evaluate(truth, scores, groups=patients, resamples=1000)
defined = result.per_label["auroc"].dropna().sort_values(ascending=False)
for note in result.notes:
    print(note)

# %%
with_counts = {
    label: f"{label} ({result.per_label.loc[label, 'positives']})" for label in defined.index
}
fig = plots.intervals(
    defined.rename(with_counts),
    "Some labels are nearly solved, others are not (positives in brackets)",
    "AUROC on the test images, with 95% interval",
    low=result.intervals.loc[defined.index, "low"].rename(with_counts),
    high=result.intervals.loc[defined.index, "high"].rename(with_counts),
    reference=0.5,
    xlim=(min(0.45, defined.min() - 0.05), 1.0),
)
plots.show(
    fig,
    "AUROC with interval for each label, sorted: from labels near 1 down to the hardest ones around "
    "0.8; rarer labels have wider intervals.",
)

# %% [markdown]
# A label whose test images are all of one class has no AUROC at all. It is reported as undefined and
# left out of every mean, with a note, instead of counting as 0, 0.5 or 1.

# %%
without = truth.assign(Fracture=0.0)
evaluate(without, scores).notes

# %% [markdown]
# ## Which mean is "0.903"?
#
# - **macro over 21**: every label counts the same;
# - **macro over the 14 observations**: leave out the groups, which are built from the others;
# - **support-weighted**: every label counts by its positives.
#
# **Claim.** The weighted mean is the highest or close to it, because frequent labels, mostly groups, are
# easy. The published figure is nearest to that kind. Recomputed from the authors' released predictions on the
# 668 CheXpert test images: weighted 0.905, macro over 21 0.882, macro over the 14 0.880.

# %%
NAMES = {
    "weighted_auroc": "weighted by positives, 21 labels",
    "macro_auroc": "macro, 21 labels",
    "macro_auroc_observations": "macro, 14 observations",
}
means = result.summary[list(NAMES)].rename(NAMES)
ends = result.intervals.loc[list(NAMES)].rename(NAMES)
published = pd.Series([0.9047, 0.882, 0.880], index=list(NAMES.values()))

fig = plots.intervals(
    pd.DataFrame({"this model, this track": means, "the paper's predictions, CheXpert": published}),
    "Same predictions, three different 'mean AUROCs'",
    "AUROC (95% interval for this model)",
    low=pd.DataFrame({"this model, this track": ends["low"],
                      "the paper's predictions, CheXpert": published}),
    high=pd.DataFrame({"this model, this track": ends["high"],
                       "the paper's predictions, CheXpert": published}),
)  # fmt: skip
plots.show(
    fig,
    "Three means of the same per-label AUROCs for this model with intervals, and the paper's three "
    "figures: in the paper the weighted mean is the highest by more than two points.",
)

# %% tags=["nbval-ignore-output"]
pd.DataFrame({"mean": means, **ends}).round(3)

# %% [markdown]
# (Two tracks cannot be compared by their AUROC: other images, other difficulty. Compare the *gaps*
# between the three means.)
#
# ## Intervals: draw patients, not images
#
# **Claim.** Images of one patient resemble each other, so they hold less information than as many
# images of different people. Resampling images as if they were independent makes the interval too
# narrow. How much depends on how alike they are.

# %%
naive = evaluate(truth, scores, groups=None, resamples=1000)
widths = pd.DataFrame(
    {
        name: r.intervals.loc[list(NAMES), "high"] - r.intervals.loc[list(NAMES), "low"]
        for name, r in {"by patient": result, "by image": naive}.items()
    }
).rename(NAMES)
fig = plots.bars(
    widths, "How wide the interval is depends on what is resampled", "width of the 95% interval",
    height=2.8, percent=False,
)  # fmt: skip
plots.show(
    fig,
    "Bars of interval width for the three means, by patient and by image.",
)

# %% [markdown]
# ## Do the probabilities mean what they say?
#
# **Claim.** AUROC looks only at the order of scores. A model can order well and still say 0.9 where 0.6
# would be right. A reliability diagram puts the share of images that do have the finding over the
# predicted probability: on the diagonal, 0.6 means six in ten.

# %%
frequent = truth[list(OBSERVATIONS)].sum().sort_values(ascending=False).index[:6]
fig, axes = plots.figure(2, 3, 9, 6, sharex=True, sharey=True)
for axis, label in zip(axes.flat, frequent, strict=True):
    points = reliability(truth[label], scores[label])
    axis.plot([0, 1], [0, 1], color=plots.GREY, ls="--", lw=1)
    axis.plot(points["score"], points["positive"], "o-", color=plots.BLUE)
    axis.set_title(label, fontsize=11)
axes[1, 1].set_xlabel("predicted probability")
axes[0, 0].set_ylabel("share that is positive")
fig.suptitle(
    "Probabilities, checked: on the dashed line they mean what they say", x=0.01, ha="left"
)
plots.show(
    fig,
    "Reliability diagrams of the six most frequent observations: points of predicted probability "
    "against observed share, with the diagonal for comparison.",
)

# %% tags=["nbval-ignore-output"]
ece = calibration(truth, scores, bins=15)[list(OBSERVATIONS)].dropna().sort_values()
print(
    f"expected calibration error, mean over observations: {ece.mean():.3f}; worst: {ece.index[-1]}"
)

# %% [markdown]
# The paper's own predictions have a mean expected calibration error of 0.110 over the 14 observations,
# and 0.235 on Consolidation (recomputed; 15 bins, as here).
#
# ## Thresholds
#
# **Claim.** There is no right threshold, only a trade: what you no longer miss, you pay for in false
# alarms. Move it.


# %%
def draw_threshold(threshold, label):
    table = at_threshold(truth, scores, threshold).loc[label]
    fig, (left, right) = plots.figure(1, 2, 9, 3.2, width_ratios=[1.6, 1])
    bins = np.linspace(0, 1, 31)
    for value, name, colour in ((0, "without", plots.SKY), (1, "with", plots.ORANGE)):
        chosen = scores.loc[truth[label] == value, label]
        left.hist(chosen, bins, color=colour, alpha=0.7, label=f"{name} ({len(chosen)})")
    left.axvline(threshold, color=plots.RED, lw=2)
    left.set(xlabel="score", ylabel="images")
    left.set_title(label, loc="left")
    left.legend()
    right.barh(table.index[::-1], table[::-1], color=plots.BLUE)
    right.set(xlim=(0, 1))
    right.set_title(f"at {threshold:.2f}", loc="left")
    return fig


choices = list(defined.index[defined.index.isin(OBSERVATIONS)])
widgets.explore(
    draw_threshold,
    "Left, histograms of scores for images with and without the label, and the threshold as a "
    "line; right, bars for sensitivity, specificity, precision and F1 at that threshold.",
    threshold=ipywidgets.FloatSlider(0.5, min=0.02, max=0.98, step=0.02, description="threshold"),
    label=ipywidgets.Dropdown(options=choices, value=sorted(choices)[0], description="label"),
)

# %% [markdown]
# ## Coherence
#
# **Claim.** Hard contradictions are rare, soft ones are common, and the hinge removes most of them. (In
# the paper's predictions: hard in 1.9% of images, soft in 76%.)

# %%
both = {"step (the paper's loss)": scores, "hinge": hinge_scores}
shares = pd.DataFrame(
    {
        name: {
            "soft: a child above its parent": hierarchy.incoherent(table).mean(),
            "hard: at the threshold 0.5": hierarchy.incoherent(table, threshold=0.5).mean(),
        }
        for name, table in both.items()
    }
).T
fig = plots.bars(
    shares, "The hinge makes predictions coherent", "share of test images with a contradiction",
    height=2.6,
)  # fmt: skip
plots.show(
    fig,
    "Share of test images with soft and hard contradictions for the step-trained and the "
    "hinge-trained model; the hinge's are much lower.",
)

# %%
soft = shares["soft: a child above its parent"]
print("soft contradictions, hinge below step:", bool(soft["hinge"] < soft.iloc[0]))
broken = hierarchy.violations(scores)["soft"]
print("edges broken by the step-trained model on some image:", bool((broken > 0).sum() > 5))

# %% [markdown]
# ## Repairing it after the fact
#
# **Claim.** Any model's scores can be made coherent without training: raise parents to their highest
# descendant, or lower children to their lowest ancestor. It costs little or nothing in AUROC.

# %%
repairs = {"as predicted": scores} | {
    f"repaired by {how}": hierarchy.make_coherent(scores, how=how) for how in ("max", "min")
}
print(
    {name: float(hierarchy.incoherent(table).mean()) for name, table in list(repairs.items())[1:]}
)

# %%
costs = pd.DataFrame(
    {name: evaluate(truth, table).summary[list(NAMES)].rename(NAMES) for name, table in repairs.items()}
)  # fmt: skip
lowest = costs.min(axis=None)
fig = plots.intervals(
    costs, "Coherence by repair costs next to nothing", "AUROC", xlim=(lowest - 0.02, costs.max(axis=None) + 0.02)
)  # fmt: skip
plots.show(
    fig,
    "The three mean AUROCs as predicted, repaired by max and repaired by min: nearly the same.",
)

# %%
change = costs.sub(costs["as predicted"], axis=0).drop(columns="as predicted")
print("largest change of any mean is below 0.02:", bool(change.abs().max(axis=None) < 0.02))

# %% [markdown]
# The repair trusts every score. Where a label was never known in training (on NIH, Fracture or Support
# Devices), the model's score for it is arbitrary, and "max" carries it up to the groups: there the cost
# is larger.
#
# ## Comparing two models honestly
#
# **Claim.** Two intervals that overlap do not mean "no difference": both models are judged on the same
# patients, and what makes those patients easy or hard helps or hurts both. Resample the patients
# once, score both models on the same resample, and look at the *difference*.

# %%
observations = [name for name in OBSERVATIONS if name in defined.index]
draws = {
    name: bootstrap_auroc(truth[observations], table[observations], patients, resamples=1000, seed=1)
    for name, table in both.items()
}  # fmt: skip
step_draws, hinge_draws = draws.values()
difference = (hinge_draws - step_draws).mean(axis=1)
low, high = difference.quantile([0.025, 0.975])
separate = [table.mean(axis=1).quantile([0.025, 0.975]).tolist() for table in draws.values()]

# %%
fig, axis = plots.figure(height=2.6)
rows = {"hinge − step, paired": (difference.mean(), low, high)}
axis.hlines(0, low, high, color=plots.BLUE, lw=5, alpha=0.6)
axis.plot(difference.mean(), 0, "o", color=plots.BLUE, ms=10)
axis.axvline(0, color=plots.GREY, ls="--")
axis.set(yticks=[], ylim=(-1, 1), xlabel="difference in macro AUROC over the observations")
bound = 1.3 * max(abs(low), abs(high))
axis.set_xlim(-bound, bound)
axis.set_title("Hinge minus step: the interval of the difference, on the same patients", loc="left")
plots.show(
    fig,
    "The difference in macro AUROC between the hinge-trained and the step-trained model with its 95% "
    "interval, beside zero.",
)

# %% tags=["nbval-ignore-output"]
print(f"hinge − step: {difference.mean():+.4f}, 95% interval {low:+.4f} to {high:+.4f}")

# %%
paired_width = high - low
unpaired_width = np.hypot(*(end - start for start, end in separate))
print(
    "the paired interval is narrower than two separate ones imply:",
    bool(paired_width < unpaired_width),
)

# %% [markdown]
# One training run each says something about these two models, not about the two losses: another seed
# gives other weights. A comparison of losses needs several seeds of each.
#
# ## Take away
#
# - "Mean AUROC" needs three words more: macro or weighted, over which labels, with what interval.
# - Resample patients. Report undefined labels as undefined.
# - AUROC says nothing about calibration, thresholds or coherence; measure them.
# - Compare models on the same patients, by the difference.
