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
# # 12 · On real radiographs
#
# Everything so far was learnt and tested on phantoms. What is it worth on people?
#
# **You will be able to** check a download before anything is trained on it, run the paper's experiment on
# CheXpert with one GPU or several, say what changes between synthetic and real radiographs, test a model
# on images of a kind it has never seen, decide with a fair baseline whether pretraining helped, and
# leave a model card behind.
#
# **Needs** notebook 06 for the words *AUROC* and *interval*. The two experiments here are read from
# stored results, so no real radiograph is needed; with a folder of them, the first one is also done
# live. **Minutes** 25, of which less than one is computing (live, the first time, one more training
# on the phantom).

# %%
# Which radiographs? Empty: what CXR_DATA names, or else the phantom (made now if it is not there).
DATA = ""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
from IPython.display import Markdown

from cxrlib import cohort, configs, data, plots, training
from cxrlib.card import model_card
from cxrlib.check import check_folder
from cxrlib.evaluation import evaluate_models
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import NIH_TO_CHEXPERT, NIH_UNLABELLED, OBSERVATIONS
from cxrlib.training import Settings

hierarchy = paper_hierarchy()
track = data.open_track(DATA or None)
track

# %% [markdown]
# ## From download to result
#
# `data/README.md` tells how to get NIH ChestX-ray14 (free, no registration) and CheXpert (registration with
# Stanford), and how their folders look in every variant. A download of hundreds of gigabytes is rarely
# complete at first.
#
# **Claim.** What is there, what is missing and what will be used can be known before any training. In a
# terminal: `python -m cxrlib check FOLDER`.

# %% tags=["nbval-ignore-output"]
report = check_folder(track.folder)
print(str(report).replace(str(track.folder), track.folder.name))

# %%
print("problems:", len(report.problems))

# %% [markdown]
# Then the paper's experiment is one line, with `configs/paper.yaml` (notebook 05 shows it field by
# field). The second and third lines are its variants; what was interrupted goes on when the line is given
# again.
#
# ```
# python -m cxrlib fit --config configs/paper.yaml --data.folder /data/CheXpert-v1.0-small
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --settings.penalties data-driven
# python -m cxrlib fit --config configs/paper.yaml --data.folder ... --settings.method max-constraint
# ```
#
# With several GPUs, `--trainer.devices 8 --trainer.strategy ddp --settings.batch_size 2` keeps to the
# paper's 16 images a step; larger batches are faster and another experiment. On NIH, the same file
# with `--data.folder /data/nih` trains on NIH's labels.
#
# **What to expect.** On CheXpert's 668 test images, the authors' released predictions have a macro AUROC
# over the 14 observations of 0.880 (0.856 to 0.900), and 0.905 weighted over 21 labels. An AUROC within that
# interval reproduces the paper; one far above it is a reason to look for leakage. This course has not
# run the paper's configuration on CheXpert: the data may not be redistributed, and every figure on
# CheXpert here is cited.

# %%
config = configs.read_config("paper")
print("the paper's settings:", config.settings.method, config.settings.preset, config.settings.size)
print("a step of eight GPUs:", 8 * replace(config.settings, batch_size=2).batch_size, "images")

# %% [markdown]
# ## What is different
#
# NIH ChestX-ray14 is a large collection that anyone may download: `data/README.md` tells how to get it
# and how the folder must look. Its use is unrestricted; the provider to acknowledge is the NIH Clinical
# Center, and the paper to cite is Wang et al., CVPR 2017.
#
# **Claim.** Besides the pictures, three things differ from the phantom. The *names* are others: some
# have no counterpart in CheXpert. Some observations were *never looked for*: they are missing there,
# not negative. And the *truth* is unknown: NIH's labels were read out of reports by a program, with
# errors that nobody can count on this track. A model that is right where the label is wrong loses
# AUROC for it.

# %%
names = pd.Series(NIH_TO_CHEXPERT, name="CheXpert")
print("NIH names without a counterpart:  ", ", ".join(names.index[names.isna()]))
print("observations that NIH never labels:", ", ".join(NIH_UNLABELLED))

# %% [markdown]
# `Lung Opacity` is a case of its own. NIH's *Infiltration* is narrower, so the target is 1 with an
# infiltration, 0 where the radiograph is normal, and unknown where something else was found.
#
# ## The stored results
#
# Two benchmarks, `benchmarks/zero_shot.py` and `benchmarks/pretraining.py`, did what takes minutes. They
# left their figures with a record of how they were made. Before reading a stored result, check whether
# it belongs to what is here now.

# %%
RESULTS = training.RUNS.parent / "results"
zero = json.loads((RESULTS / "zero_shot.json").read_text(encoding="utf-8"))
pretraining = json.loads((RESULTS / "pretraining.json").read_text(encoding="utf-8"))

made = pd.DataFrame(
    {
        name: {
            "real images": result["real"]["images"],
            "real patients": result["real"]["patients"],
            "phantom images": result["phantom"]["images"],
            "phantom drawn by version": result["phantom"]["generator"],
            "torch": result["versions"]["torch"],
        }
        for name, result in {"zero shot": zero, "pretraining": pretraining}.items()
    }
)
made

# %%
present = cohort.generator_version()
for name, version in made.loc["phantom drawn by version"].items():
    if version == present:
        print(f"{name}: measured with the present version of the phantom")
    else:
        print(
            f"{name}: measured with version {version} of the phantom; the present one, {present},"
        )
        print("  may give other figures. Running the benchmark again would tell.")

# %% [markdown]
# ## Does it know anything about people?
#
# The model has seen phantoms only. It scores every real image of the folder, and since none was trained
# on, all of them are test images (**zero-shot**).
#
# **Claim.** Whether something was learnt that carries over is decided label by label, against 0.5: what
# a coin would get. An interval that lies above 0.5 says yes; one that holds 0.5 says that these patients
# cannot tell; one below 0.5 says that the model has learnt the opposite of what NIH calls by that name.

# %%
rows = pd.DataFrame(zero["rows"]).set_index("label")
rows["name"] = [f"{label} ({row.positives})" for label, row in rows.iterrows()]
seven = rows[rows["kind"] == "seven"].sort_values("mean", ascending=False)
also = rows[rows["kind"] == "also"].sort_values("mean", ascending=False)


def draw_labels(table, title):
    """AUROC with its interval by label, beside a coin's."""
    table = table.set_index("name")
    ends = (min(0.45, table["low"].min() - 0.03), max(0.8, table["high"].max() + 0.03))
    return plots.intervals(
        table["mean"], title, "AUROC on real radiographs, with 95% interval",
        low=table["low"], high=table["high"], reference=0.5, xlim=ends,
    )  # fmt: skip


mean = pd.DataFrame([zero["mean"] | {"name": f"mean of the {len(seven)}"}])
above = int((seven["low"] > 0.5).sum())
fig = draw_labels(
    pd.concat([seven, mean]),
    f"Trained on phantoms only: {above} of {len(seven)} intervals above a coin (positives)",
)
plots.show(
    fig,
    "AUROC with 95% interval on real radiographs for each label that NIH and the phantom share, and "
    "their mean, beside a dashed line at 0.5.",
)

# %%
for title, table in {"shared labels": seven, "others that NIH defines": also}.items():
    print(title)
    for label, row in table.iterrows():
        verdict = "above" if row.low > 0.5 else "below" if row.high < 0.5 else "around"
        print(f"  {label:17} {row['mean']:.2f} ({row.low:.2f} to {row.high:.2f})  {verdict} a coin")

# %% [markdown]
# The others are listed apart because their names mean different things in the two worlds, or because
# they have few positives: read their intervals before their means.
#
# The interval resamples patients for fixed models. How much the *model* matters is another question, and
# its answer is the spread over training seeds. As standard deviations the two can be compared:

# %%
by_seed = pd.DataFrame(rows["auroc"].tolist(), index=rows.index)
doubt = pd.DataFrame(
    {
        "which model (over seeds)": by_seed.std(axis=1),
        "which patients (interval / 3.92)": (rows["high"] - rows["low"]) / 3.92,
    }
).loc[[*seven.index, *also.index]]
fig = plots.bars(doubt, "Two sources of doubt", "standard deviation of the AUROC", percent=False)
plots.show(
    fig,
    "Bars by label: the standard deviation of the AUROC over training seeds beside that over "
    "resampled patients.",
)

# %%
patients_more = int((doubt.iloc[:, 1] > doubt.iloc[:, 0]).sum())
print(
    f"{len(by_seed.columns)} seeds; the patients matter more on {patients_more} of {len(rows)} labels"
)

# %% [markdown]
# **Claim.** Who is *not* ill matters as much as who is. A part of a collection is rarely a random part:
# where every image either shows one finding or is normal, that finding is told from normal radiographs
# only, which is easier than telling it from all the others. (`Lung Opacity` is such a label on NIH by
# its definition.) Which labels are, in the stored folder?

# %%
normal = rows.loc["No Finding", "positives"]
easier = [label for label, row in rows.drop("No Finding").iterrows() if row.negatives == normal]
print("told from normal radiographs only:", ", ".join(easier) or "none")

# %% [markdown]
# ## Does pretraining on phantoms help?
#
# Zero-shot is not the use one would make of phantoms. The other one: **pretrain** on as many phantoms as
# you like, then **fine-tune** on the few real radiographs you have. `training.train(..., start=run)`
# starts from the weights of another run.
#
# **Claim.** Such a comparison is only as good as its baseline. Everything but the weights at the start
# must be equal: the same patients for training, validation and test, the same learning rates to choose
# from, the same number of steps. A baseline that was stopped early makes any pretraining look good.

# %%
setup = pretraining["settings"]
print("findings in the mean:", ", ".join(pretraining["labels"]))
print("random splits by patient:", setup["splits"])
print("share of the patients that is tested:", setup["test_share"])
print("learning rates to choose from, on validation:", setup["learning_rates"])
print("steps of every training, about:", setup["steps"], "of", setup["batch_size"], "images")

# %%
summary = pd.DataFrame(pretraining["summary"]).set_index("patients")
table = pd.DataFrame(pretraining["rows"]).sort_values("valid_auroc", ascending=False, kind="stable")
chosen = table.groupby(["patients", "arm", "split"])["macro"].first()  # the best on validation
untuned = np.mean([row["macro"] for row in pretraining["zero_shot"]])

colours = {"scratch": plots.ORANGE, "pretrained": plots.BLUE}
fig, (left, right) = plots.figure(1, 2, 10, 4.2)
place = np.arange(len(summary))
for (arm, colour), shift in zip(colours.items(), (-0.06, 0.06), strict=True):
    left.plot(place + shift, summary[arm], "o-", color=colour, label=arm)
    for x, count in zip(place + shift, summary.index, strict=True):
        one = chosen[count, arm]
        left.plot([x] * len(one), one, ".", color=colour, alpha=0.45)
left.axhline(untuned, color=plots.GREY, ls=":", label="pretrained, not fine-tuned")
left.set(ylabel="macro AUROC, test patients")
right.errorbar(
    place, summary["difference"], fmt="o", color=plots.BLUE, capsize=4, lw=2,
    yerr=[summary["difference"] - summary["low"], summary["high"] - summary["difference"]],
)  # fmt: skip
right.axhline(0, color=plots.GREY, ls="--", lw=1)
right.set(ylabel="pretrained − scratch, 95% interval")
for axis in (left, right):
    axis.set_xticks(place, summary.index)
    axis.set(xlabel="real patients to learn from", xlim=(-0.4, len(place) - 0.6))
fig.legend(loc="outside lower left", ncols=3)
above = int((summary["low"] > 0).sum())
fig.suptitle(
    f"Pretrained − scratch: interval above zero at {above} of {len(summary)} numbers of patients",
    x=0.01, ha="left", fontsize=13,
)  # fmt: skip
plots.show(
    fig,
    "Left, macro AUROC against the number of real patients for training from scratch and from "
    "pretrained weights, a small dot per split; right, the paired difference with its interval.",
)

# %%
for count, row in summary.iterrows():
    verdict = "helps" if row.low > 0 else "harms" if row.high < 0 else "not decided"
    print(
        f"n = {count:3}: {row.scratch:.3f} from scratch, {row.pretrained:.3f} pretrained, difference "
        f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f}): {verdict}"
    )
print(f"the pretrained model without a single real radiograph: {untuned:.3f}")

# %% [markdown]
# Dots of one colour over one number differ by the *split*: other patients tested, other patients learnt
# from. That spread is why the difference is taken split by split, and its interval over the splits. The
# splits share patients, so they are not quite independent, and the interval is somewhat too narrow.
#
# Is the gain worth it? Ask how many more real patients would have brought as much: find the height of a
# blue dot on the orange line.

# %%
for count, row in summary.iterrows():
    enough = summary.index[summary["scratch"] >= row.pretrained]
    reached = f"first reached with {enough[0]}" if len(enough) else "not reached"
    print(f"n = {count:3}, pretrained: {row.pretrained:.3f}; from scratch {reached}")

# %% [markdown]
# ## Live: your folder
#
# If the radiographs chosen above are NIH's, a model trained on phantoms scores them now. (The first
# time it is trained, which takes some minutes.)

# %%
if track.name == "nih":
    used = {name: zero["settings"][name] for name in ("preset", "size", "epochs", "augment")}
    many = data.DEFAULT_FOLDER.with_name("phantom-many")
    phantom = data.open_track(
        cohort.write_cohort(many, **zero["settings"]["cohort"]), labels="truth"
    )
    run = training.train(phantom, hierarchy, Settings(**used, seed=0), name="phantom-seed0")
    defined = [name for name in OBSERVATIONS if set(track.table[name].dropna()) == {0, 1}]
    live = evaluate_models(
        track.table[defined], [training.score(run, track)[defined]], track.table["patient"],
    ).drop(index="mean")  # fmt: skip
    positives = (track.table[defined] == 1).sum()
    live["name"] = [f"{label} ({positives[label]})" for label in live.index]
    fig = draw_labels(
        live.sort_values("mean", ascending=False),
        f"One model trained on phantoms, on {len(track.table):,} images of this folder (positives)",
    )
    plots.show(fig, "AUROC with interval by label for the chosen folder, beside a line at 0.5.")
else:
    print(
        f"The track is {track.name!r}: set DATA to a folder of NIH ChestX-ray14 to score it here."
    )

# %% [markdown]
# ## A model card
#
# **Claim.** Whoever meets a model later should not have to ask what it is. A run's folder holds enough to
# say what it was made from, how good it is and what it is not for: `python -m cxrlib card FOLDER`.
#
# A small model, trained on the radiographs chosen above (some seconds, the first time), and its card:

# %%
quick = replace(configs.read_config("workshop").settings, size=48, epochs=3, augment="none")
run = training.train(track, hierarchy, quick, name="card")
card = model_card(run.folder, resamples=200)
print(*[line for line in card.splitlines() if line.startswith("## ")], sep="\n")

# %% tags=["nbval-ignore-output"]
Markdown(card)

# %% [markdown]
# The table of predictions beside it needs nothing else to be evaluated, by us or by anybody:
# `python -m cxrlib evaluate predictions.csv`. It takes the authors' published file as well.
#
# ## Take away
#
# - Check a folder before training on it.
# - On other data, labels mean other things: check names, gaps and how they were made first.
# - Zero-shot is judged label by label, against a coin, with an interval over patients.
# - Pretraining is judged against a baseline that got everything else alike, by paired differences.
# - A stored result is worth what its record says: which data, which version, which settings.
