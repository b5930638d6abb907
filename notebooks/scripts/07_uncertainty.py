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
# # 07 · Uncertainty
#
# A model that says how sure it is can be asked what to do about it: answer, answer less, or not at all.
#
# **You will be able to** use Monte Carlo dropout without breaking the model, tell doubt about the image
# from doubt about the model, judge any measure of doubt by what it is for, notice images that are no chest
# radiographs, promise a coverage and keep it, and let a model back off: "fluid accumulation, kind not
# certain".
#
# **Needs** notebook 04 (its model is found again, or trained) and the words *calibration* and *coherence*
# from 05. **Minutes** 30, of which about three are computing.

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
from IPython.display import display
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from torchvision.transforms import v2

from cxrlib import cohort, configs, data, plots, training, uncertainty, widgets
from cxrlib.evaluation import evaluate, fit_temperatures, read_predictions, rescale
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

predictions = read_predictions(run.folder / "predictions.csv")
valid, test = predictions.split("valid"), predictions.split("test")
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
# In training, dropout switches half of the units of the head off at random. Leave it on when predicting,
# predict several times, and see how much the scores vary: **Monte Carlo dropout** (Gal and Ghahramani
# 2016). The paper makes ten passes.
#
# The obvious way to switch it on is `model.train()`.
#
# **Claim.** That breaks the model, since it switches on something else too. *Batch normalisation* then
# standardises an image by itself, instead of by what it saw in training; and it writes what it sees into
# its memory, so that the damage stays.


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
# ## The right way
#
# Switch on the dropout modules, and nothing else. And since all that comes before the first of them is the
# same in every pass, compute it once: `mc_dropout` repeats only what follows.
#
# **Claim.** The model is left as it was, its mean is as good as the single prediction, and a single image
# is no special case.

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

# %%
number = int(doubt.std[:, [hierarchy.labels.index(name) for name in seen]].mean(dim=1).argmax())
passes = pd.DataFrame(
    uncertainty.dropout_passes(model, images[number][None], 200)[:, 0].numpy(),
    columns=hierarchy.labels,
)
ordered = passes.mean().sort_values(ascending=False).index
fig = plots.intervals(
    passes[ordered].mean(),
    "Two hundred passes over one image: some labels are sure, some are not",
    "score: mean, and where 95% of the passes lie",
    low=passes[ordered].quantile(0.025),
    high=passes[ordered].quantile(0.975),
    xlim=(0, 1),
)
plots.show(
    fig,
    "For one image, the mean score of every label over 200 dropout passes, with the range of 95%.",
)

# %% [markdown]
# ## Two kinds of doubt
#
# Every pass *s* gives a probability, and a probability has an **entropy**, its own doubt: highest at one
# half. Averaged over the passes that is the *expected entropy*. The mean of the probabilities has an
# entropy too, and it is larger: it holds the passes' disagreement as well. The difference is the **mutual
# information**:
#
# $$\underbrace{H\big[\overline{p}\big]}_{\text{all doubt}} =
# \underbrace{\overline{H[p_s]}}_{\text{the image is unclear (aleatoric)}} +
# \underbrace{I}_{\text{the model has not learnt it (epistemic)}}$$
#
# **Claim.** The parts add up, and they are different things.

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
# Do the two parts mean what they say? On the phantom one can ask, because what is unclear and what was never
# learnt is known. That comes below. First: what is doubt *for*?
#
# ## Risk and coverage
#
# Let the model answer only what it is surest of, and count its errors among those: the **risk** at that
# **coverage**. A useful doubt makes the curve fall to the left. The area under it (AURC) sums it up; and
# the *error-detection AUROC* asks whether a wrong answer has more doubt than a right one.
#
# Four doubts of one model: the entropy of its single score, the spread and the mutual information over
# dropout passes, and the entropy over *test-time augmentation*, that is, over slightly turned and shifted
# copies.

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


fig, axis = plots.figure(height=4.2)
found = {name: mean_curve(*pair) for name, pair in kinds.items()}
colours = (plots.BLUE, plots.ORANGE, plots.PINK, plots.GREEN)
for (name, curve), colour in zip(found.items(), colours, strict=True):
    axis.plot(np.linspace(0.05, 1, 96), curve, color=colour, lw=2, label=name)
axis.set(xlabel="coverage: share of the answers that are given", ylabel="risk: share that is wrong")
axis.set_ylim(0, None)
axis.set_title("Withholding doubtful answers lowers the risk", loc="left")
axis.legend(loc="upper left")
plots.show(
    fig,
    "Risk against coverage for four measures of doubt, mean over the observations; all fall to the left.",
)

# %%
entropy = found["single score: entropy"]
print("risk at half coverage below half of the risk at full:", bool(entropy[47] < entropy[-1] / 2))

# %% [markdown]
# ## Ensembles, and the whole comparison
#
# A **deep ensemble** asks several models, trained from different seeds. `benchmarks/uncertainty.py` trains
# five of the course's models and compares all of this on the test patients, with intervals. (An interval is a
# bootstrap of patients; differences are to one model's entropy, on the same patients.)

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
# **Claim.** Thirty dropout passes add nothing to the entropy of a single score, and the paper's measure,
# their standard deviation, finds errors *worse* than it. The entropy of an ensemble is better, and the ensemble
# is also right more often. Mere disagreement, the mutual information, is a poor guide to errors: where all
# members are equally torn, they agree.

# %%
for measure, name in {
    "macro_auroc": "macro AUROC, 14 observations",
    "error_rate": "error rate at 0.5",
    "calibration_error": "calibration error",
    "calibration_error_after": "calibration error, rescaled",
}.items():
    chosen = table[table["measure"] == measure].set_index("method")
    print(with_interval(chosen, name).to_string(), "\n")

# %%
aurc = table[table["measure"] == "aurc"].set_index(["method", "doubt"])
best = table[table["measure"] == "best_aurc"].set_index("method")["mean"]
print(f"AURC if doubt knew every error of one model: {best['one model']:.4f}")
better = [" ".join(key) for key, row in aurc.iterrows() if row["difference_high"] < 0]
worse = [" ".join(key) for key, row in aurc.iterrows() if row["difference_low"] > 0]
print("better than one model's entropy:", "; ".join(better) or "none")
print("worse:                          ", "; ".join(worse) or "none")

# %% [markdown]
# ## Does doubt grow where it should?
#
# **Subtle findings.** Every finding of the phantom has a severity. Spearman's correlation of severity and
# doubt among the images that show the finding, for an ensemble of five: negative means that there is more
# doubt about subtle ones.

# %%
severity = pd.DataFrame(record["severity"])
severity = severity[severity["part"] == "predictive_entropy"].set_index("observation")
severity = severity.sort_values("mean")
fig = plots.intervals(
    severity["mean"],
    "More doubt about subtle findings of some kinds, less of others",
    "Spearman's correlation of severity and entropy, 95% interval",
    low=severity["low"],
    high=severity["high"],
    reference=0,
    xlim=(-1, 1),
)
plots.show(fig, "Correlation of severity and entropy, with interval, for every finding.")

# %%
more = severity.index[severity["high"] < 0]
less = severity.index[severity["low"] > 0]
print("more doubt about subtle ones:", ", ".join(more) or "none")
print("less doubt about subtle ones:", ", ".join(less) or "none")

# %% [markdown]
# Less doubt about subtle ones? That is what happens where a finding is too faint for the model: it is confidently
# *missed*, its score is low, and so is its entropy. Doubt peaks in the middle, at what is half seen.
#
# **Causes of doubt.** Four ensembles were trained: on the usual labels; on labels of which a fifth was
# flipped (*noisy*); on a tenth of the patients; and on men alone. If names mean anything, noise should
# raise the aleatoric part, and lack of experience the epistemic part.

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
    "Noise raises the aleatoric part; little data does not raise the epistemic",
    "ratio of the mean doubt of an ensemble of five",
    reference=1,
)
plots.show(
    fig,
    "For five causes of doubt, the ratio by which the aleatoric and the epistemic part of an ensemble's "
    "doubt grow.",
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
# The names promise too much. Noise goes where it should. But models that learnt from little data do not
# disagree more: each of them is less sure by itself, and the doubt shows up as "aleatoric". Patients of a kind never seen raise both parts. And a second hospital goes unnoticed,
# perhaps because equalised images look alike (notebook 04).
#
# ## Images that are no frontal radiographs
#
# Nobody stops a program from sending the wrong image. Which measure notices?

# %%
grey = data.read_images([track.folder / path for path in rows["path"]], settings.size)
odd = uncertainty.odd_images(grey[:200] / 255)
fig = plots.gallery(
    [made[0] for made in odd.values()],
    list(odd),
    columns=len(odd),
    size=1.7,
    title="What a model of frontal radiographs should not be sure about",
)
plots.show(
    fig, "Six odd images: inverted, upside down, on its side, blank, noise, and a landscape."
)

# %% [markdown]
# One more measure joins: the **distance of the features**. Where do training images lie in the space that
# the head's last layer sees? An image far from them (in Mahalanobis's distance) is one the model has no
# experience with.


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
    "the distance notices best, of",
    len(best_by_kind),
    "kinds:",
    bool((best_by_kind == "distance of features").sum() >= 4),
)

# %% tags=["nbval-ignore-output"]
noticed.round(2)

# %% [markdown]
# Over five models, and more kinds. 0.5 means: not noticed; below: *surer* than of a real radiograph.

# %%
kinds_found = pd.DataFrame(record["odd"]).pivot_table("auroc", "measure", "kind")
order = [*odd, "lateral view", "another hospital", "real radiographs"]
kinds_found = kinds_found[[kind for kind in order if kind in kinds_found]]
fig = plots.heatmap(
    kinds_found,
    "Who notices odd images?",
    "AUROC, mean of five models",
    vmin=0,
    vmax=1,
    cmap="RdBu",
)
plots.show(fig, "AUROC of noticing, by measure in rows and kind of odd image in columns.")

# %%
lowest = kinds_found.min(axis=1).sort_values(ascending=False)
print("the kind each measure notices least:")
print(pd.DataFrame({"AUROC": lowest.round(2), "kind": kinds_found.idxmin(axis=1)}).to_string())

# %% [markdown]
# One model's entropy is *lower* for noise and for a blank image than for a chest: it is surest of what it has
# never seen. The disagreement of an ensemble, a poor guide to errors, is good at this; so is the distance of
# the features, which needs one model only. Different questions, different doubts. And whatever the measure, a
# program should look at its input before it asks the model.
#
# ## Conformal prediction: a promise that is kept
#
# A score of 0.7 promises nothing. **Conformal prediction** turns scores into sets: *present*, *absent*, or
# *unsure* when both are possible. Choose how often the set may miss the truth, say 10%. Take images with
# known truth that the model was not trained on; see how strange the truth looks to the model there; and
# allow as much strangeness as covers 90% of them. Then a new image is covered with 90%, **whatever the
# model is worth**: a poor one is unsure more often.
#
# (The theorem is about images that could change places, so strictly about one image a patient. Here patients
# have several, all on one side of a split.)
#
# **Claim.** The promise holds, label by label, over many splits. But one promise for all is cheap to keep: for a
# rare label, by missing the sick. It must be made for the sick and the healthy each.

# %%
ALPHA, SPLITS = 0.1, 200
patients = test.about["patient"].to_numpy()
scores_seen, truth_seen = test.scores[seen], test.truth[seen]
rng = np.random.default_rng(0)
names = pd.unique(patients)
halves = [np.isin(patients, rng.permutation(names)[: len(names) // 2]) for _ in range(SPLITS)]


def coverage(by_class):
    """Mean coverage over the splits, of all images and of those with and without the label."""
    found = []
    for half in halves:
        limits = uncertainty.fit_conformal(scores_seen[half], truth_seen[half], ALPHA, by_class)
        sets = uncertainty.conformal_sets(scores_seen[~half], limits)
        rest = truth_seen[~half]
        held = uncertainty.is_covered(sets, rest)
        unsure = sets.eq("unsure").mean()
        found.append(
            pd.DataFrame(
                {
                    "all": held.mean(),
                    "present": held.where(rest == 1).mean(),
                    "absent": held.where(rest == 0).mean(),
                    "unsure": unsure,
                }
            )
        )
    return pd.concat(found, keys=range(SPLITS), names=["split", "label"])


pooled, by_class = coverage(False), coverage(True)

# %%
means = {name: table.groupby("label").mean() for name, table in {"pooled": pooled, "by_class": by_class}.items()}  # fmt: skip
fig = plots.intervals(
    pd.DataFrame(
        {
            "one promise: all images": means["pooled"]["all"],
            "one promise: with the finding": means["pooled"]["present"],
            "a promise each: with the finding": means["by_class"]["present"],
        }
    ),
    "One promise for all is kept at the expense of the sick",
    f"coverage, mean of {SPLITS} splits; promised: {1 - ALPHA:.0%}",
    reference=1 - ALPHA,
    xlim=(0, 1.02),
)
plots.show(
    fig,
    "Coverage by observation: of all images with one promise, near 90%; of images with the finding under "
    "the same promise, often far lower; with a promise for each class, near 90% again.",
)

# %%
print(
    "one promise, worst label, all images, at least 0.88:",
    bool(means["pooled"]["all"].min() > 0.88),
)
print(
    "one promise, worst label, the sick, below 0.7:     ",
    bool(means["pooled"]["present"].min() < 0.7),
)
print(
    "a promise each, worst label, the sick, at least 0.86:",
    bool(means["by_class"]["present"].min() > 0.86),
)

# %% tags=["nbval-ignore-output"]
spread = by_class.reset_index().pivot_table("present", "label", "split")
shown = pd.DataFrame(
    {
        "positives": truth_seen.sum().astype(int),
        "one promise, all": means["pooled"]["all"],
        "one promise, the sick": means["pooled"]["present"],
        "a promise each, the sick": means["by_class"]["present"],
        "the healthy": means["by_class"]["absent"],
        "5% of splits below": spread.quantile(0.05, axis=1),
        "unsure": means["by_class"]["unsure"],
    }
)
shown.round(2)

# %% [markdown]
# Over many splits the promise is kept; a single split of so few sick images may miss it by much (the column
# *5% of splits below*): a promise is as good as its calibration images are many. And it is paid for: where
# the model is poor, it is unsure about many images.
#
# Groups of patients can be given the same promise each, by fitting the limits in each:

# %%
sex = rows["sex"].to_numpy()


def coverage_by_sex(groups):
    """Mean coverage within each sex, with limits for all or for each of ``groups``."""
    found = []
    for half in halves[:100]:
        fitting, rest = (None, None) if groups is None else (groups[half], groups[~half])
        limits = uncertainty.fit_conformal(
            scores_seen[half], truth_seen[half], ALPHA, groups=fitting
        )
        sets = uncertainty.conformal_sets(scores_seen[~half], limits, rest)
        held = uncertainty.is_covered(sets, truth_seen[~half]).mean(axis=1)
        found.append(held.groupby(sex[~half]).mean())
    return pd.DataFrame(found).mean()


if len(set(sex)) == 2 and len(images) > 500:
    within = pd.DataFrame(
        {"limits for all": coverage_by_sex(None), "limits for each sex": coverage_by_sex(sex)}
    ).T
    promised = (within.loc["limits for each sex"] - (1 - ALPHA)).abs().max() < 0.03
    print("each sex within 0.03 of the promise, limits for each:", bool(promised))
else:
    print("Too few images of this track for limits of their own.")

# %% tags=["nbval-ignore-output"]
if len(set(sex)) == 2 and len(images) > 500:
    display(within.round(3))

# %% [markdown]
# ## Backing off: say less, and be right
#
# Where doctors are not sure, they seldom fall silent. They say what they can stand for: "some fluid in
# the lung, I cannot tell which kind". That is what a hierarchy is for.
#
# **The rule.** Make the scores coherent, so that a group is never below its children. Choose a threshold. Say
# the *deepest* labels above it: Edema if it reaches the threshold; else Fluid Accumulation, if that does;
# else Opacity; else nothing.
#
# **The promise.** Choose the risk you accept: say, at most 10% of a patient's reports may hold *any* wrong
# statement. A report is wrong exactly when its highest-scoring untrue label reaches the threshold. So the
# patients with known truth tell how high the threshold must be, by *conformal risk control*
# (Angelopoulos and others 2022): again whatever the model is worth.
#
# **One refinement.** Groups are said more easily than findings, and each wrong one costs as much. So a group
# is doubted `factor` times as much, chosen on the validation images. With an infinite factor, groups are
# never said for themselves: that is plain abstention, a finding or nothing.

# %%
temperatures = fit_temperatures(valid.truth, valid.scores)
calm_valid, calm_test = (rescale(part.scores, temperatures) for part in (valid, test))
prevalence = hierarchy.derive(track.split("train")[sorted(OBSERVATIONS)]).mean().clip(0.001, 0.999)


def report(scores, truth, patients, fitting, risk):
    """Statements on the images that are not used for fitting, and the threshold."""
    highest = uncertainty.highest_wrong(scores, truth, hierarchy)
    threshold = uncertainty.control_risk(highest[fitting], patients[fitting], risk)
    said = uncertainty.statements(scores[~fitting], hierarchy, threshold)
    return said, threshold, highest[~fitting] >= threshold


def told_on_validation(factor):
    """How much is told of the validation images at a risk of 10%."""
    scores = uncertainty.doubt_groups(calm_valid, hierarchy, factor)
    highest = uncertainty.highest_wrong(scores, valid.truth, hierarchy)
    threshold = uncertainty.control_risk(highest, valid.about["patient"], 0.1)
    said = uncertainty.statements(scores, hierarchy, threshold)
    told = uncertainty.specificity(said, valid.truth, hierarchy, prevalence)
    return told["information"].mean()


factor = max((1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0), key=told_on_validation)
policies = {"silence": np.inf, "backing off": factor}
doubted = {name: uncertainty.doubt_groups(calm_test, hierarchy, f) for name, f in policies.items()}

# %%
half = halves[0]
said, threshold, wrong = report(doubted["backing off"], test.truth, patients, half, 0.1)
where = np.flatnonzero(~half)


def in_words(row):
    """The statements of one report."""
    parts = [
        label if label in OBSERVATIONS else f"{label}, kind not certain"
        for label in said.columns[said.iloc[row]]
    ]
    return "; ".join(parts) or "nothing certain"


vague = said[["Fluid Accumulation", "Missing Lung Tissue", "Opacity", "Cardiac"]].any(axis=1)
chosen = np.flatnonzero(vague)[:4]
titles = []
for row in chosen:
    present = [name for name in sorted(OBSERVATIONS) if test.truth[name].iloc[where[row]] == 1]
    titles.append("\n".join(["said:", *in_words(row).split("; "), "true:", *present[:6]]))
if len(chosen):
    fig = plots.gallery(
        [images[where[row]] for row in chosen],
        titles,
        columns=len(chosen),
        size=2.6,
        title="Reports that back off, at a risk of 10%",
    )
    plots.show(fig, "Four radiographs with what is said about them and what is true.")

# %% [markdown]
# **Claim.** The promise is kept; and at the same risk, backing off leaves fewer findings unmentioned than
# silence does.


# %%
def fates(name, risk, halves):
    """What becomes of the true findings, and the measured risk: mean over splits."""
    rows = []
    for half in halves:
        said, _, wrong = report(doubted[name], test.truth, patients, half, risk)
        told = uncertainty.specificity(said, test.truth[~half], hierarchy, prevalence)
        exact = told["told"] == told["observation"]
        by_patient = pd.Series(wrong).groupby(patients[~half]).mean()
        rows.append(
            {
                "named": exact.mean(),
                "its group is said": (~exact & (told["told"] != "")).mean(),
                "not mentioned": (told["told"] == "").mean(),
                "measured risk": by_patient.mean(),
            }
        )
    return pd.DataFrame(rows).mean()


risks = (0.05, 0.1, 0.2)
table = pd.DataFrame(
    {
        (f"{risk:.0%} accepted", name): fates(name, risk, halves[:40])
        for risk in risks
        for name in policies
    }
).T

# %%
kept = table["measured risk"] - np.repeat(risks, 2)
print("the measured risk is within 0.03 of the accepted one:", bool(kept.abs().max() < 0.03))
unsaid = {name: table["not mentioned"].xs(name, level=1) for name in policies}
fewer = unsaid["backing off"] < unsaid["silence"]
print("fewer findings unmentioned, at a risk of 5%:", bool(fewer["5% accepted"]))

# %%
fig, axis = plots.figure(height=3.9)
left = np.zeros(len(table))
names_of_rows = [f"{risk}: {name}" for risk, name in table.index]
for column, colour in zip(
    ("named", "its group is said", "not mentioned"), (plots.BLUE, plots.SKY, "#dddddd"), strict=True
):
    axis.barh(names_of_rows[::-1], table[column][::-1], left=left, color=colour, label=column)
    for y, (start, width) in enumerate(zip(left, table[column][::-1], strict=True)):
        ink = "white" if colour == plots.BLUE else "black"
        axis.text(start + width / 2, y, f"{width:.0%}", ha="center", va="center", color=ink)
    left = left + table[column][::-1].to_numpy()
axis.set(xlim=(0, 1), xlabel="share of the true findings of the test images")
axis.set_title("At the same risk, backing off leaves less unsaid", loc="left")
fig.legend(loc="outside lower right", ncols=3)
plots.show(
    fig,
    "For three accepted risks, with silence and with backing off: the shares of true findings that are "
    "named, whose group is said, and that are not mentioned.",
)

# %% [markdown]
# A group may also be said with silence: who says Edema has said Fluid Accumulation, and who says Support
# Devices has said Abnormal.
#
# ## Risk and depth, five models
#
# **Claim.** Backing off pays where little risk is accepted. *Information* counts a finding that is named as 1, and one
# whose group is said as less, by how common the group is (the ratio of their −log prevalences).

# %%
backoff = pd.DataFrame(record["backoff"]).set_index(["measure", "policy", "risk"])[
    ["mean", "low", "high"]
]
fig, axes = plots.figure(1, 2, 11, 4.2)
for axis, (measure, title) in zip(
    axes,
    {"nothing": "true findings left unmentioned", "information": "information told"}.items(),
    strict=True,
):
    for policy, colour in {"silence": plots.ORANGE, "backing off": plots.BLUE}.items():
        curve = backoff.loc[measure, policy]
        axis.plot(curve.index, curve["mean"], "o-", color=colour, label=policy)
        axis.fill_between(curve.index, curve["low"], curve["high"], color=colour, alpha=0.15)
    axis.set(xlabel="accepted risk: reports with a wrong statement", ylabel="share")
    axis.set_title(title, loc="left")
axes[0].legend()
plots.show(
    fig,
    "Against the accepted risk: the share of true findings not mentioned, and the information told, with "
    "silence and with backing off; the bands hold 95% of the splits.",
)

# %%
lines = backoff.xs("difference", level="policy")
text = lines.apply(lambda r: f"{r['mean']:+.3f} ({r['low']:+.3f} to {r['high']:+.3f})", axis=1)
print("backing off − silence, mean and range of 95% of the splits:")
print(pd.DataFrame({name: text[name] for name in ("named", "nothing", "information")}).to_string())
risk_kept = backoff.loc["measured_risk", "backing off"]["mean"]
print(
    "\nmeasured risk of backing off:", {risk: round(value, 3) for risk, value in risk_kept.items()}
)

# %% [markdown]
# Read the intervals: fewer findings go unmentioned at every risk, and beyond the spread of the splits. It is paid
# for with a few findings that are no longer named, and the information told is about the same: a little more
# on average, but no interval leaves out zero. Backing off does not tell more; it leaves less untold.
#
# ## Choose the risk yourself

# %%
curve_half = halves[0]


def draw_report(risk, number):
    """The tree of findings for one image at an accepted risk; what is said is highlighted."""
    said, threshold, _ = report(doubted["backing off"], test.truth, patients, curve_half, risk)
    row = number % len(said)
    values = doubted["backing off"][~curve_half].iloc[row]
    words = ", ".join(said.columns[said.iloc[row]]) or "nothing certain"
    return plots.draw_hierarchy(
        hierarchy,
        values,
        title=f"threshold {threshold:.2f}; said: {words}",
        marked=tuple(said.columns[said.iloc[row]]),
        label="score, groups doubted",
    )


widgets.explore(
    draw_report,
    "The hierarchy with the scores of one image; the labels that are said at the chosen risk are marked.",
    risk=ipywidgets.FloatSlider(0.1, min=0.02, max=0.5, step=0.02, description="risk"),
    number=ipywidgets.IntSlider(
        int(chosen[0]) if len(chosen) else 0, min=0, max=int((~half).sum()) - 1, description="image"
    ),
)

# %% [markdown]
# ## Take away
#
# - Dropout on, everything else in evaluation mode. `model.train()` on a single image ruins it.
# - Judge doubt by what it is for: finding errors, keeping promises, noticing the wrong image. A number with a
#   good name is not enough.
# - The entropy of a single score is a strong baseline; thirty dropout passes added nothing to it.
# - No doubt is good for everything: entropy finds errors, disagreement finds odd images.
# - Conformal methods promise coverage for any model. Make the promise to the sick and to the healthy each.
# - A hierarchy lets a model say less and be right. The promise holds for the patients it was made with:
#   for another hospital it must be made again.
