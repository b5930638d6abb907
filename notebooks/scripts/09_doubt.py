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
# **You will be able to** use Monte Carlo dropout without breaking the model, judge any measure of doubt by
# what it is for and by who pays for it, know what the names *aleatoric* and *epistemic* are worth, and stop images
# that are no frontal radiographs.
#
# **Needs** the words *AUROC*, *interval* and *calibration* of notebook 06, and the model with the paper's
# loss of notebook 05; if it is not there it is trained now, which takes four to eight minutes.
# **Minutes** 40, and 21 for the exercises. About two are computing.

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from copy import deepcopy
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import torch
from sklearn.covariance import LedoitWolf
from torchvision.transforms import v2

from cxrlib import cohort, configs, data, exercises, plots, training, uncertainty, widgets
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
# ## Dropout when predicting
#
# In training, dropout switches units off at random: each of those that the network's last layer sees, with a
# chance of one half. Leave it on when predicting, predict several times, and see how much the scores vary:
# **Monte Carlo dropout** (Gal and Ghahramani 2016). The paper that this course follows makes ten passes.
#
# The obvious way to switch it on is `model.train()`. What else does that switch on? **Guess** what becomes
# of the AUROC when one image at a time is predicted so; and whether `model.eval()` brings the old model
# back.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.1")


# %%
def auroc(scores, few):
    """Macro AUROC, the mean over the observations, on the first ``few`` test images."""
    table = pd.DataFrame(np.asarray(scores), columns=hierarchy.labels)
    return evaluate(test.truth.iloc[:few], table).summary["macro_auroc_observations"]


few = min(300, len(images))
copy = deepcopy(model)
with torch.inference_mode():
    usual = copy(images[:few]).sigmoid()
    copy.train()
    naive = torch.cat([copy(image[None]).sigmoid() for image in images[:few]])

reached = {"model.eval()": auroc(usual, few), "model.train(), one by one": auroc(naive, few)}
before = dict(model.named_buffers())
changed = sum(not torch.equal(value, before[name]) for name, value in copy.named_buffers())
lost = reached["model.eval()"] - reached["model.train(), one by one"]
print("more than 0.1 of AUROC is lost:", bool(lost > 0.1))
print("numbers kept beside the weights (buffers), changed for good:", changed, "of", len(before))

# %% tags=["nbval-ignore-output"]
pd.Series(reached, name="macro AUROC").round(3).to_frame()

# %% [markdown]
# *Batch normalisation* went on as well. It standardised each image by itself, instead of by what it saw in
# training, and wrote that into its memory, so `model.eval()` does not bring the old model back.
#
# But why is nothing left? Look at what the last layer sees of an image: the mean over the map, right after the
# normalisation, 512 numbers. **Guess**: how far apart are they for two different patients, in training mode?

# %% tags=["nbval-ignore-output"]
exercises.guess("09.2")

# %%
blind = deepcopy(model).train()
upto_mean = torch.nn.Sequential(blind.features, *list(blind.head)[:5])  # to the mean over the map
with torch.inference_mode():
    pooled = torch.cat([upto_mean(image[None]) for image in images[:20]])
shift = blind.head.norm.bias
print("twenty images differ by at most 0.0001:", bool((pooled - pooled[0]).abs().max() < 1e-4))
print("all are the normalisation's own shift: ", bool((pooled - shift).abs().max() < 1e-4))

# %% [markdown]
# None, but for rounding. A map standardised by itself has the mean zero, whatever it shows; then its scale γ and its
# shift β, which are weights, are applied, and the mean is β. The model is blind: all that differs from image to image is
# which units were dropped. That is this network's doing, mean after normalisation; others are only harmed. A batch
# of a hundred would have hidden it.
#
# So switch on the dropout modules, and nothing else. And since all that comes before the first of them is the
# same in every pass, compute it once: `mc_dropout` repeats only what follows. **Guess**: is the mean of thirty passes
# better than the single prediction?

# %% tags=["nbval-ignore-output"]
exercises.guess("09.3")

# %%
torch.manual_seed(0)
doubt = mc_dropout(model, images, passes=30)
intact = all(torch.equal(value, before[name]) for name, value in model.named_buffers())
alone = mc_dropout(model, images[:1], passes=2000).mean
together = mc_dropout(model, images[:8], passes=2000).mean[:1]
gained = auroc(doubt.mean[:few], few) - reached["model.eval()"]
print("buffers untouched:", intact)
print("one image alone or in a batch, within 0.05:", bool((alone - together).abs().max() < 0.05))
print("AUROC of the mean and of one prediction, within 0.02:", bool(abs(gained) < 0.02))

# %% tags=["nbval-ignore-output"]
print(f"gained by thirty passes: {gained:+.3f}")

# %% [markdown]
# As good as one, no better: here dropout comes last, so the mean *logit* of the passes is that of the single
# prediction. But the passes were made for the sake of their spread. Take the test image over which
# they differ most. **Guess** where the spread is large: at high scores, at low ones, or in between?

# %% tags=["nbval-ignore-output"]
exercises.guess("09.4")

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
    "score of one image, chosen for its spread\n(mean of 200 passes, and where 95% of them lie)",
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
# Much of that is arithmetic: logits that vary by *s* make a score *p* vary by about *p*(1 − *p*)·*s*, most at one half.
# So does the length of a bar say more than the score did? Keep that question.
#
# ## Two terms with names
#
# Every pass *s* gives a probability *pₛ*, and a probability has an **entropy** *H*, its own doubt: none at 0
# and at 1, highest at one half, where it is log 2, about 0.693: $-p \log p - (1 - p) \log(1 - p)$. Averaged over the passes that is the
# *expected entropy*. The mean of the probabilities has an entropy too, and it is never smaller: it holds the
# passes' disagreement as well. The difference is the **mutual information** *I*: how much one would learn of an answer
# by being told which pass gave it.
#
# $$\underbrace{H\big[\overline{p}\big]}_{\text{all doubt}} =
# \underbrace{\overline{H[p_s]}}_{\text{each pass is torn: called aleatoric}} +
# \underbrace{I}_{\text{the passes differ: called epistemic}}$$
#
# The names are a hope: that the first part is doubt about the *image*, which is unclear, and the second about the
# *model*, which has not learnt enough. **Guess** before you run the cell. Of two passes over an image, both may say 0.5; or
# one may say 0.02 and the other 0.98. Which image holds more doubt in all, and of which kind is it?

# %% tags=["nbval-ignore-output"]
exercises.guess("09.5")

# %%
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
# As much doubt in the second row as in the first. But the first holds only the part called aleatoric, and the second
# mostly the other. In the third, the passes agree on an answer that is nearly certain: little doubt of
# either kind.
#
# ## What is doubt for?
#
# For finding errors, first of all. Above a score of 0.5 the model answers "present", and otherwise "absent": one *answer*
# a label and image. Of each label let it give only those it is surest of, and count the errors among them: the
# **risk** at that **coverage**. A useful doubt makes the curve fall to the left. In one number: the *error-detection
# AUROC* asks whether a wrong answer has more doubt than a right one.
#
# To compare doubts, hold the answers fixed: each is asked about the errors of one and the same predictor, the single
# prediction. (Were each to judge its own answers, one that answers badly could look good, for its errors may be easy to
# find.)
#
# Four doubts: the entropy of the single score; the spread, and the mutual information, over thirty dropout passes; and
# the entropy over ten slightly turned and shifted copies of the image (*test-time augmentation*). **Guess** whose
# curve is lowest.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.6")

# %%
torch.manual_seed(1)
with torch.inference_mode():
    scores = model(images).sigmoid()
turned = uncertainty.decompose(uncertainty.augmented_passes(model, images, passes=10))
doubts = {
    "the score's entropy": uncertainty.entropy(scores),
    "augmentation: entropy": turned.predictive_entropy,
    "dropout: standard deviation": doubt.std,
    "dropout: mutual information": doubt.mutual_information,
}
coverage = np.linspace(0.05, 1, 96)


def mean_curve(doubts):
    """Risk of the single prediction by coverage, mean over the observations."""
    found = []
    for label in seen:
        place, truth = hierarchy.labels.index(label), test.truth[label].to_numpy()
        known = ~np.isnan(truth)
        wrong = (scores[:, place].numpy() > 0.5) != (truth == 1)
        curve = uncertainty.risk_coverage(wrong[known], doubts[:, place].numpy()[known])
        found.append(np.interp(coverage, curve["coverage"], curve["risk"]))
    return np.mean(found, axis=0)


curves = {name: mean_curve(values) for name, values in doubts.items()}

# %%
fig, axis = plots.figure(height=4.6)
styles = ((plots.BLUE, "-"), (plots.GREEN, "--"), (plots.ORANGE, "-"), (plots.PINK, "-."))
for (name, curve), (colour, style) in zip(curves.items(), styles, strict=True):
    axis.plot(coverage, curve, style, color=colour, lw=2, label=name)
axis.set(xlabel="coverage: share of the answers that are given", ylabel="risk: share that is wrong")
axis.set_ylim(0, None)
axis.set_title("The score itself finds errors better than dropout passes do", loc="left")
fig.legend(loc="outside lower center", ncols=2)
plots.show(
    fig,
    "Risk against coverage for four measures of doubt, mean over the observations. The two entropies fall "
    "most to the left, and alike; the spread over dropout passes falls less, their mutual information least.",
)

# %%
areas = pd.Series({name: curve.mean() for name, curve in curves.items()})
own = curves["the score's entropy"]
print("risk at half coverage below half of the risk at full:", bool(own[45] < own[-1] / 2))
below = areas["the score's entropy"] < areas.filter(like="dropout")
print("area under the curve: the score's entropy below both of dropout:", bool(below.all()))

# %% [markdown]
# Answer less, err less. Move the coverage, and see for one label what is withheld: its answers stand in twenty groups of equal size, the surest at the left.


# %%
def answers_at(coverage, label, by):
    """How often the answers about one label are wrong, in order of their doubt; withheld in grey."""
    place, truth = hierarchy.labels.index(label), test.truth[label].to_numpy()
    known = ~np.isnan(truth)
    wrong = (scores[:, place].numpy()[known] > 0.5) != (truth[known] == 1)
    wrong = wrong[np.argsort(doubts[by][:, place].numpy()[known], kind="stable")]
    given = round(coverage * len(wrong))
    groups = [part.mean() for part in np.array_split(wrong, 20)]
    middles = (np.arange(20) + 0.5) / 20
    fig, axis = plots.figure(height=4.2)
    colours = [plots.BLUE if middle < coverage else "#bbbbbb" for middle in middles]
    axis.bar(middles, groups, width=0.045, color=colours)
    axis.axvline(coverage, color=plots.RED, lw=2)
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.set_xlabel(f"answers, from the surest to the most doubtful by {by}")
    axis.set_ylabel("share that is wrong")
    title = f"{label}: of {given} answers that are given {wrong[:given].sum()} are wrong, "
    title += f"of {len(wrong) - given} withheld {wrong[given:].sum()}"
    axis.set_title(title, loc="left", fontsize=12)
    return fig


widgets.explore(
    answers_at,
    "Bars for twenty groups of answers about one label, from the surest to the most doubtful: the share that is wrong, next to none at "
    "the left and highest at the right, where the fifth that is withheld is grey.",
    coverage=ipywidgets.FloatSlider(0.8, min=0.05, max=1, step=0.05, description="coverage"),
    label=ipywidgets.Dropdown(
        options=seen, value="Pneumonia" if "Pneumonia" in seen else seen[0], description="label"
    ),
    by=ipywidgets.Dropdown(options=list(doubts), description="doubt"),
)

# %% [markdown]
# The one that costs nothing holds its own: ten augmented copies are hardly better, and both doubts by dropout are
# worse. That answers the question you kept: the length of the bars says less of errors than the score did. Is
# that the luck of one model?
#
# ## Second opinions
#
# A **deep ensemble** asks several models, trained from different seeds. `benchmarks/uncertainty.py` trains five of the
# course's models and asks every doubt about the same errors: those of one model's single prediction, each of the five in
# turn. *The other models* are the four who did not give the answer. An interval holds the luck of patients and of seeds.
#
# **Guess** which of these doubts finds a model's errors better than the model's own entropy.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.7")

# %%
RESULTS = training.RUNS.parent / "results"
record = json.loads((RESULTS / "uncertainty.json").read_text(encoding="utf-8"))
same = record["phantom"]["generator"] == cohort.generator_version()
print(f"{record['seeds']} models; measured with the present version of the phantom: {same}")

table = pd.DataFrame(record["doubt"]).set_index(["measure", "doubt"])
FAMILIES = ("dropout", "augmentation", "the other models", "all models")
KINDS = ("entropy", "mutual information", "standard deviation")
names = [f"{family}: {kind}" for kind in KINDS for family in FAMILIES]
detected = table.loc["error_auroc"].loc[names]
fig = plots.intervals(
    detected["difference_mean"],
    "Ensembles' entropies win; every disagreement loses",
    f"error-detection AUROC, less that of its own entropy ({table.loc[('error_auroc', 'its entropy'), 'mean']:.3f})",
    low=detected["difference_low"],
    high=detected["difference_high"],
    reference=0,
)
plots.show(
    fig,
    "For every kind of doubt, the difference of its error-detection AUROC to that of the model's own entropy, with "
    "interval: entropies at zero or above, mutual information and standard deviation below.",
)

# %%
risk = table.loc["risk at 80%"]
for name in ("its entropy", "all models: entropy"):
    print(
        f"with the most doubtful fifth of each label withheld, by {name}: {risk.loc[name, 'mean']:.1%} of the answers are wrong"
    )

# %% [markdown]
# An ensemble's entropy finds them better, by 0.02 of AUROC, whether or not it holds the model itself; that of augmented
# copies by a hair, that of dropout passes not at all. All that measures *disagreement* is worse. The paper's measure, the
# standard deviation over dropout passes, loses 0.08; mutual information more: it is zero where every pass says 0.5, and
# such an answer is wrong half of the time.
#
# With the most doubtful fifth withheld, 6.3% of the one model's answers are wrong instead of 7.0%. (Below, each is asked about
# its own answers, so the ensemble's are a little better still.)
#
# And whose answers are withheld? **Guess**: with the most doubtful fifth of each label withheld, how many of the
# images *with* a finding get no answer about it, and how many of those without? And of the findings that do get an
# answer, how many are missed? (*No Finding* is left out here: to miss that is no miss.)

# %% tags=["nbval-ignore-output"]
exercises.guess("09.8")

# %%
sides = pd.DataFrame(record["sides"]).set_index(["measure", "predictor"])
for measure, rows_of in sides.groupby(level="measure", sort=False):
    told = [
        f"{predictor} {r['mean']:.1%} ({r['low']:.1%} to {r['high']:.1%})"
        for (_, predictor), r in rows_of.iterrows()
    ]
    print(f"{measure:34} {'; '.join(told)}")

# %% [markdown]
# Withholding works by falling silent about the sick: half of the images with a finding get no answer about it, of those
# without one in seven. And of the findings that do get an answer, two in three are missed, as before. An error was a
# miss or a false alarm, counted alike, and "absent" is usually right: the model misses two findings in three at 0.5, and is wrong about one
# answer in nine all the same. A threshold for each label (06) comes before any doubt; 10 makes promises to both sides.
#
# ## Are an ensemble's own probabilities better?
#
# Does a mean of models make fewer errors? Are its probabilities better calibrated, as they come, and *rescaled* by a
# temperature for each label (notebook 06)? **Guess** all three.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.9")

# %%
MEASURES = {
    "macro_auroc": "macro AUROC",
    "error_rate": "error rate at 0.5",
    "calibration_error": "calibration error",
    "calibration_error_after": "calibration error, rescaled",
}
predictors = pd.DataFrame(record["predictors"]).set_index(["measure", "predictor"])
for measure, name in MEASURES.items():
    one, r = predictors.loc[(measure, "one model")], predictors.loc[(measure, "ensemble")]
    ends = (
        f"{r['difference_mean']:+.3f} ({r['difference_low']:+.3f} to {r['difference_high']:+.3f})"
    )
    print(f"{name:28} one model {one['mean']:.3f}, ensemble {r['mean']:.3f}: {ends}")

# %% [markdown]
# An ensemble gains 0.017 of AUROC, and one error in thirty. That is the same gain as above, seen twice: a score that orders
# images better also knows better where it may be wrong. Its probabilities are calibrated *worse* as they come: one
# model is too timid already, and a mean of several is more so. Temperatures mend most of that, for both, and leave
# the ensemble a little behind.
#
# ## Are subtle findings doubted?
#
# Every finding of the phantom has a severity, and a faint one is hard to see. Sort the images that
# show a finding into thirds, subtle, middling and marked. **Guess** how the ensemble's entropy goes from the subtle third
# to the marked one; and its score.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.10")

# %%
rows_of = pd.DataFrame(record["severity"])
severity = rows_of.pivot_table("mean", ["measure", "observation"], "of")
marked = severity.loc["score", "marked"]
THIRDS = ["absent", "subtle", "middling", "marked"]
fig, axes = plots.figure(1, 2, 11, 5.2)
for axis, measure in zip(axes, ("score", "entropy"), strict=True):
    for label, curve in severity.loc[measure, THIRDS].iterrows():
        colour = plots.ORANGE if marked[label] < 0.2 else plots.GREY
        axis.plot(range(4), curve, "o:", color=colour)
        axis.plot(range(1, 4), curve.iloc[1:], "-", color=colour)
    axis.set_xticks(range(4), THIRDS)
    axis.set_title(f"{measure}, mean of the images", fontsize=12, loc="left")
    axis.set_ylim(0, 0.86 if measure == "score" else 0.76)
axes[1].axhline(np.log(2), color="black", lw=1, ls=":")
axes[1].annotate(
    "the most there is", (0, np.log(2)), xytext=(0, 4), textcoords="offset points", fontsize=12
)
fig.suptitle(
    "Subtle findings are doubted; what was hardly learnt (orange) is doubted little, marked or subtle",
    x=0.01,
    ha="left",
)
plots.show(
    fig,
    "For each of thirteen findings, the mean score and the mean entropy of images without it, and with a subtle, "
    "middling and marked one. Ten score higher the more marked they are, with much entropy; three score low at any severity, with little.",
)

# %%
print(
    "hardly learnt, marked ones score below 0.2:", ", ".join(marked.index[marked < 0.2]) or "none"
)
r = sides.loc[("misses that are withheld", "ensemble")]
print(
    f"of the findings missed, among the most doubtful fifth: {r['mean']:.0%} ({r['low']:.0%} to {r['high']:.0%})"
)

# %% [markdown]
# The fainter a finding, the lower its score. Its doubt does not vanish, though: entropy is highest at one half, and most subtle
# findings score between a quarter and two thirds. It falls towards the marked third where scores pass one half, as for effusions, and rises
# where they climb towards it, as for pneumothoraces. Six in ten of all misses are among the most doubtful fifth.
# The exception are the findings in orange, which score about 0.1 whether subtle or marked: rare ones that the model has hardly
# learnt, with AUROCs of 0.7 to 0.76, and it doubts them little. Doubt tells where a model wavers, not what it has hardly learnt.
#
# ## What raises which part?
#
# Seven ensembles of five were trained, of smaller models. If names mean anything, wrong labels should raise the
# aleatoric part, and lack of experience the epistemic one. Causes are told apart here: a tenth of the patients for
# *as many steps*, so that each is read ten times as often; all patients for an *eighth of the steps*; and a tenth of both. The *second
# hospital* is the same people seen by other machines. And some models never saw a *woman*: do they err more about
# women, beside men, than models that saw both?
#
# Beside the two parts stand the errors, and a disagreement that does not know how extreme scores are: one minus the
# *rank correlation* of two members, who put the images in an order. **Guess**, for few patients and for few steps,
# which of the four rise.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.11")

# %%
PARTS = {
    "expected_entropy": "expected entropy\n“aleatoric”",
    "mutual_information": "mutual information\n“epistemic”",
    "rank_disagreement": "disagreement\nof ranks",
    "errors": "errors\nof the mean",
}
causes = pd.DataFrame(record["causes"])
causes = causes[causes["cause"] != "a tenth of the patients, each its own"]
causes["cause"] = causes["cause"].str.replace(", the same", "")
order = list(dict.fromkeys(causes["cause"]))
wide = {
    end: causes.pivot_table(end, "cause", "part").loc[order, list(PARTS)]
    for end in ("mean", "low", "high")
}

# %%
fig, axes = plots.figure(1, 4, 11, 4.4, sharey=True, sharex=True)
place = np.arange(len(order))
for axis, (part, words) in zip(axes, PARTS.items(), strict=True):
    low, mean, high = (wide[end][part] for end in ("low", "mean", "high"))
    beyond = np.where((low > 1) | (high < 1), plots.ORANGE, plots.GREY)
    axis.axvline(1, color="black", lw=1)
    axis.hlines(place, low, high, color=beyond, lw=3)
    axis.scatter(mean, place, color=beyond, zorder=3)
    for y, value in zip(place, mean, strict=True):
        axis.annotate(f"{value:.2f}" if value < 10 else f"{value:.0f}", (value, y), xytext=(0, 7),
                      textcoords="offset points", ha="center", fontsize=12)  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks([0.3, 1, 3, 10], ["0.3", "1", "3", "10"])
    axis.minorticks_off()
    axis.set_yticks(place, order, fontsize=12)
    axis.set_title(words, fontsize=12, loc="left")
axes[0].set_ylim(len(order) - 0.5, -0.8)
axes[0].set_xlim(0.15, 25)
fig.supxlabel("with the cause, beside without: ratio, 95% interval (orange: beyond 1)", fontsize=12)
fig.suptitle(
    "Every cause of errors moves the members' orders apart; the named parts rise and fall",
    x=0.01,
    ha="left",
)
plots.show(
    fig,
    "For six causes, the ratios by which the expected entropy, the mutual information, the disagreement of ranks and the "
    "errors of an ensemble grow.",
)

# %% [markdown]
# *Flipped labels* raise the aleatoric part by half, as the name says, and the errors; the epistemic part falls to a third. Much of that is
# arithmetic: who learns from labels of which a fifth are flipped sees 0.2 + 0.6 *p* where *p* was, less extreme scores, which differ less.
#
# *Few patients*, read ten times as often, raise the epistemic part about twelvefold, as the name says, and lower the aleatoric one to a quarter:
# models that know their few patients by heart are sure of everything, each of something else. *Few steps* lower the epistemic
# part to a third, while the errors rise as much. With a tenth of both, little is left of either effect.
#
# Look at the third panel. Members disagree more about the *order* of images with every cause of errors. Mutual information falls in two of these cases
# because scores are less extreme there. It measures two things at once, and its name is that of one.
#
# *The second hospital* hardly raises the errors. Models that never saw a *woman* make 7% more errors about women, beside men, than
# models that saw both; it may also be none, says the interval. Their doubt about them rises by a fiftieth: nobody would notice by doubt.
#
# (Intervals are for one ratio each. Of 24, one would be beyond 1 by luck.)
#
# ## A gate for images that are no frontal radiographs
#
# Nobody stops a program from sending the wrong image. Here are six kinds, one example each.

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
# One more measure joins: the **distance of the features**. Where do training images lie in the space of 512 numbers that
# the last layer sees? Fit a normal distribution to them (its covariance by Ledoit and Wolf's estimate, which is steady where
# numbers are many); an image far from it, in units of its spread (*Mahalanobis's distance*), is one the model has no
# experience with. A *gate* refuses what is further away than 95% of the validation images.
#
# **Guess** which of the six the gate lets through; and a gate by the model's entropy instead.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.12")


# %%
def seen_by_model(raw):
    levels = (raw * 255).round().to(torch.uint8)
    return torch.stack([v2.functional.equalize(image) for image in levels]) / 255


def entropy(images):
    with torch.inference_mode():
        return uncertainty.entropy(model(images).sigmoid()).mean(dim=1).numpy()


learnt = uncertainty.embed(model, prepared(track.split("train").iloc[:1000])).numpy()
normal = LedoitWolf().fit(learnt)
gates = {
    "distance of the features": lambda images: normal.mahalanobis(uncertainty.embed(model, images).numpy()),
    "entropy of the scores": entropy,
}  # fmt: skip
usual = prepared(track.split("valid"))
refused = {}
for name, gate in gates.items():
    limit = np.quantile(gate(usual), 0.95)
    refused[name] = {kind: (gate(seen_by_model(made)) > limit).mean() for kind, made in odd.items()}
    refused[name]["usual test images"] = (gate(images) > limit).mean()
refused = pd.DataFrame(refused)
print(
    "by distance, most of the blank, noise and photographs are refused:",
    bool((refused.loc[["blank", "noise", "photograph"], "distance of the features"] > 0.5).all()),
)
print(
    "by entropy, noise and blank images are let through:",
    bool((refused.loc[["noise", "blank"], "entropy of the scores"] < 0.5).all()),
)

# %% tags=["nbval-ignore-output"]
refused.round(2)

# %% [markdown]
# A blank image or noise looks like nothing the model has seen, and yet its scores are as sure as any.
# For five models the same is known of more kinds: the phantom's lateral views, the second hospital, and, where a folder
# of them was at hand, real radiographs; and of more measures. **Guess** what nothing notices.

# %% tags=["nbval-ignore-output"]
exercises.guess("09.13")

# %%
asked = pd.DataFrame(record["odd"])
order = [*odd, "lateral view", "another hospital", "real radiographs"]
noticed = asked.pivot_table("noticed", "measure", "kind")
noticed = noticed[[kind for kind in order if kind in noticed]]
noticed = noticed.loc[noticed.mean(axis=1).sort_values().index]
fig = plots.heatmap(
    noticed,
    "By distance a gate stops what looks like nothing; half of the lateral views pass",
    "share refused, mean of five models",
    vmin=0,
    vmax=1,
    cmap="Blues",
    annot_kws={"fontsize": 12},
)
fig.set_size_inches(11, 4.8)
fig.axes[1].yaxis.label.set_size(12)
fig.axes[1].tick_params(labelsize=12)
plots.show(
    fig,
    "Share of odd images that a limit refuses which 95% of usual images pass, by measure in rows and kind of odd image "
    "in columns.",
)

# %% [markdown]
# The distance of the features stops blank images, noise and landscapes; so does an ensemble's disagreement, a poor guide to
# errors. Of lateral views, the likeliest wrong image, the distance stops half, and entropy none: it is *lower* for them than for
# frontal ones. Images on their side mostly pass, and so do the second hospital's, of which it refuses 11%, and real
# radiographs (15%, and 33% by an ensemble's disagreement), where usual ones have 5%. Different questions, different doubts.
# And whatever the measure, a program should look at the file first: its modality and its view are written there.

# %% [markdown]
# ## Your turn
#
# Write your code where the dots are, and run the cell: it checks what your function does, on new numbers each time. Take
# the # from a last line to be given a hint (twice: the second one is plainer), or to see one solution.


# %% tags=["nbval-ignore-output"]
# Exercise 09.1: Is this Monte Carlo dropout? (4 minutes)
def what_is_wrong(modules):
    """What is wrong with a model's modes, if its passes are to be Monte Carlo dropout.

    modules: a list of pairs (kind, training), one for each module in the model: a string, and True
    in training mode, False in evaluation mode. The first pair is the whole model's own; its flag
    says nothing of the modules inside. The kinds: "Sequential", "Conv2d", "ReLU", "BatchNorm2d",
    "Dropout". Convolutions, ReLUs and containers do the same in both modes.
    Returns a set of what is wrong. It holds "normalisation is on" if any batch normalisation is in
    training mode, be it one of several, and "dropout is off" if no dropout is: one of several is
    enough, and a model that has none at all has none on. Nothing wrong: the empty set, `set()`.
    With [("Sequential", True), ("BatchNorm2d", True), ("Dropout", True)], as after `model.train()`,
    it is {"normalisation is on"}.
    """
    ...  # your code


exercises.check(what_is_wrong)
# exercises.hint("what_is_wrong")
# exercises.solution("what_is_wrong")


# %% tags=["nbval-ignore-output"]
# Exercise 09.2: All doubt, and its two parts (6 minutes)
def two_parts(passes):
    """All doubt about each image, and the two parts that it is the sum of.

    passes: an array [S, N], the probability of a finding by each of S passes for each of N images,
    strictly between 0 and 1.
    The entropy of a probability p is that of “present or not”: −p·log p − (1 − p)·log(1 − p), with
    the natural logarithm.
    Returns three arrays [N]: all doubt, which is the entropy of the passes' mean; the expected
    entropy, called aleatoric; and the mutual information, called epistemic.
    With passes [[0.5, 0.02], [0.5, 0.98]], two passes over two images, they are about
    [0.693, 0.693], [0.693, 0.098] and [0, 0.595].
    """
    ...  # your code


exercises.check(two_parts)
# exercises.hint("two_parts")
# exercises.solution("two_parts")


# %% tags=["nbval-ignore-output"]
# Exercise 09.3: Risk at a coverage (4 minutes)
def risk_at(wrong, doubt, coverage):
    """The share of wrong answers among those that are given, when the most doubtful are withheld.

    wrong: an array [N], 1 where an answer is wrong, else 0.
    doubt: an array [N], how doubtful each answer is; no two are equal.
    coverage: the share of the answers that are given, above 0; coverage · N is a whole number.
    Returns a number. With wrong [0, 1, 0, 1], doubt [0.1, 0.2, 0.5, 0.6] and a coverage of 0.5 it
    is 0.5: of the two answers that are given, one is wrong.
    """
    ...  # your code


exercises.check(risk_at)
# exercises.hint("risk_at")
# exercises.solution("risk_at")


# %% tags=["nbval-ignore-output"]
# Exercise 09.4: Whose answers are withheld? (7 minutes)
def who_pays(truth, score, withheld):
    """What withholding answers means for those with a finding and for those without.

    truth: an array [N], 1 for images with the finding (the sick), 0 for those without (the
    healthy). score: an array [N], the model's; above 0.5 it answers “present”, else “absent”.
    withheld: an array [N] of True and False; where True, no answer is given.
    Returns three shares: of the sick, how many get no answer; of the healthy, how many get none;
    and of the sick who do get an answer, how many are told “absent”. Some of the sick do get one.
    With truth [1, 1, 1, 0, 0], score [0.6, 0.2, 0.9, 0.1, 0.4] and only the first withheld, they
    are 1/3, 0 and 1/2.
    """
    ...  # your code


exercises.check(who_pays)
# exercises.hint("who_pays")
# exercises.solution("who_pays")

# %% [markdown]
# And your guesses: mark those that surprised you. They are what you have learnt here.

# %% tags=["nbval-ignore-output"]
exercises.surprises("09")

# %% [markdown]
# ## Take away
#
# - Dropout on, everything else in evaluation mode. `model.train()` blinds this model to a single image, and
#   leaves it damaged.
# - Judge doubt by what it is for, and ask at whose expense it works. The entropy of a score is a strong baseline;
#   ten or thirty passes added nothing to it, an ensemble a little.
# - "Aleatoric" and "epistemic" are names of two terms, and both know how extreme scores are. Compare causes one at a time.
#
# **On Monday**
#
# - *Before anything*: the sensitivity of each label at your threshold. A label that is never answered "present" has no
#   doubt worth having: choose its threshold (06), or do not answer it.
# - *Withhold* by the score; with an ensemble, answer with its mean and withhold by that mean's entropy. Choose the limit on
#   your own validation patients, and report how many with and without the finding are withheld, and how many of the
#   answered are missed.
# - *Gate*: look at the file first, its modality and view; then the distance of the features, at a limit that 95% of your
#   usual images pass. Try it with twenty lateral views. Do not leave that to the entropy.
# - No doubt here notices a new scanner or an unseen group. Check the errors on a labelled sample of your own, by group.
#
# **Next**: 10 asks what may be promised all the same.
