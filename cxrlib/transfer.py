"""From phantoms to real radiographs: a model adapted without labels, and what to compare it with.

Half of the patients of a collection are for **choosing** (anything: statistics, a cue, a setting),
the other half for **reporting**: the figures are theirs alone. Which patient is which is fixed, see
``reporting``.
"""

import hashlib
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cxrlib.data.augment import equalize
from cxrlib.evaluation import EvaluationError, checks, mean_interval
from cxrlib.evaluation.auroc import weighted_auroc

# --- Who is for choosing, who for reporting -------------------------------------------------------

HALVES = Path(__file__).parent / "data" / "nih_reporting.txt"
DIGITS = 12


@cache
def _listed():
    """Digits → whether for reporting, of the patients whose half is written down."""
    lines = HALVES.read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {digits: half == "reporting" for digits, half in pairs}


def reporting(patients):
    """Which images [N] are of patients for reporting; the others are for choosing: bool [N].

    ``patients`` are names such as "nih00013". Those of two samples of NIH ChestX-ray14, to the
    choosing half of which the phantom was fitted, are listed in ``data/nih_reporting.txt``, by the
    first twelve hexadecimal digits of their name's SHA-256. Anybody else is for reporting if the
    number that these digits make is odd: half of all people, whichever part of a collection is at
    hand.
    """
    half = {}
    for patient in pd.unique(pd.Series(patients, dtype=object)):
        digits = hashlib.sha256(str(patient).encode()).hexdigest()[:DIGITS]
        half[patient] = _listed().get(digits, int(digits, 16) % 2 == 1)
    return np.array([half[patient] for patient in patients], dtype=bool)


# --- A model adapted, several models joined -------------------------------------------------------


@torch.no_grad()
def adapt_batchnorm(model, images, batch_size=64):
    """A copy of a model whose batch normalisation expects what unlabelled images show.

    Each such layer subtracts a mean and divides by a spread that it has seen in training. Seen
    anew, on images of the place where the model is to work, they take out what all of these have in
    common and training images had not. No weight changes and no label is needed: AdaBN (Li et al.
    2016, arXiv 1603.04779).

    Parameters
    ----------
    model : any module with batch normalisation; it stays as it was.
    images : float [N, 1, H, W], as the model is to see them. Neighbours, which may be of one
        patient, come into different batches.
    batch_size : the batches are of about this size, and count alike (``momentum=None``).
    """
    adapted = deepcopy(model).eval()
    norms = [layer for layer in adapted.modules() if isinstance(layer, _BatchNorm)]
    if not norms or not len(images):
        raise ValueError(f"{len(norms)} batch normalisations, {len(images)} images: none to adapt.")
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None  # the plain mean over the batches
    batches = -(-len(images) // batch_size)
    for first in range(batches):
        adapted(images[first::batches])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return adapted.eval()


def rank_mean(scores):
    """Several models' scores as one: the mean of their ranks, by label.

    Ranks count alike where one model is bolder than another, as probabilities would not.

    Parameters
    ----------
    scores : list of DataFrames [N, L] with the same rows and columns, one for each model.

    Returns
    -------
    DataFrame [N, L] from 0 (lowest for every model) to 1 (highest); ties share their mean rank.

    Examples
    --------
    >>> first = pd.DataFrame({"Edema": [0.1, 0.2, 0.9]})
    >>> second = pd.DataFrame({"Edema": [0.3, 0.3, 0.4]})
    >>> rank_mean([first, second])["Edema"].tolist()
    [0.125, 0.375, 1.0]
    """
    if not isinstance(scores, list | tuple) or not scores:
        got = "an empty list" if isinstance(scores, list | tuple) else type(scores).__name__
        raise EvaluationError(f"scores: expected a DataFrame for each model in a list, not {got}.")
    for table in scores:
        checks.same_table(scores[0], table, "scores")
    ranks = [(table.rank() - 1) / max(len(table) - 1, 1) for table in scores]
    return sum(ranks) / len(ranks)


# --- What it must beat: cues without any learning -------------------------------------------------

LUNGS = (0.22, 0.67, 0.18, 0.42), (0.22, 0.67, 0.58, 0.82)
"""Where the lungs usually are: top, bottom, left and right, as shares of the image's sides."""


def trivial_scores(images, projection=None):
    """What can be said of a radiograph without looking for anything: a DataFrame [N, cues].

    Parameters
    ----------
    images : uint8 [N, 1, H, W], not equalised.
    projection : "AP", "PA" or None for each image, [N]; None if nobody knows any. The rows of a
        Series name those of the result.

    Returns
    -------
    DataFrame with ``image is AP`` (1, 0, or a half where it is not known), ``mean grey`` and
    ``spread of grey`` (standard deviation) of the image, and ``mean grey of the lungs``: of the two
    boxes ``LUNGS`` after the image was equalised. Grey is 0 … 1.
    """
    grey = images.float()[:, 0] / 255
    cues = {
        "mean grey": grey.mean(dim=(1, 2)),
        "spread of grey": grey.std(dim=(1, 2)),
        "mean grey of the lungs": _in_boxes(equalize(images).float()[:, 0] / 255, LUNGS),
    }
    cues = {name: values.numpy().astype(float) for name, values in cues.items()}
    named = isinstance(projection, pd.Series)  # a list's ``index`` is a method
    if projection is not None:
        known = pd.Series(projection, dtype=object).map({"AP": 1.0, "PA": 0.0})
        cues = {"image is AP": known.fillna(0.5).to_numpy()} | cues
    return pd.DataFrame(cues, index=projection.index if named else None)


def _in_boxes(images, boxes):
    """Mean of images [N, H, W] over the pixels of some boxes of the same size: [N]."""
    high, wide = images.shape[1:]
    parts = [
        images[
            :, round(top * high) : round(bottom * high), round(left * wide) : round(right * wide)
        ]
        for top, bottom, left, right in boxes
    ]
    return torch.stack([part.mean(dim=(1, 2)) for part in parts]).mean(dim=0)


def best_cues(truth, cues, stratum=None):
    """For each label the cue that tells most, and in which direction.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN.
    cues : DataFrame [N, C], see ``trivial_scores``.
    stratum : Series [N]; with it, what a cue tells within a stratum, see ``stratified_auroc``.

    Returns
    -------
    DataFrame with a row for each label: ``cue``; ``sign``, 1 if a high value means the finding and
    −1 if a low one does; and ``auroc``, at least 0.5. It flatters: use other patients to report.
    """
    rows = {}
    for label in truth:
        aurocs = pd.Series(
            {
                cue: auroc(truth[label], cues[cue])
                if stratum is None
                else stratified_auroc(truth[label], cues[cue], stratum)
                for cue in cues
            }
        )
        if aurocs.isna().any():
            where = "" if stratum is None else " in every stratum"
            raise EvaluationError(f"{label}: one class only{where}, so no cue can be chosen.")
        cue = (aurocs - 0.5).abs().idxmax()
        sign = 1 if aurocs[cue] >= 0.5 else -1
        rows[label] = {"cue": cue, "sign": sign, "auroc": max(aurocs[cue], 1 - aurocs[cue])}
    return pd.DataFrame.from_dict(rows, orient="index")


def cue_scores(cues, chosen):
    """The chosen cues as a model's scores: from [N, C], by ``best_cues``, to [N, L]."""
    return pd.DataFrame({label: row.sign * cues[row.cue] for label, row in chosen.iterrows()})


# --- Looking closer -------------------------------------------------------------------------------


def auroc(target, score):
    """AUROC of one label, NaN if there is one class only: Series [N] of 0, 1, NaN; Series [N]."""
    return float(weighted_auroc(target, score, np.ones((1, len(target))))[0])


def stratified_auroc(target, score, stratum, weights=None):
    """How often a positive scores above a negative *of the same stratum*, such as AP with AP.

    What the stratum itself gives away, for instance that ill people are X-rayed in bed, counts for
    nothing. Each pair counts alike, so a stratum with many pairs counts more.

    Parameters
    ----------
    target : Series [N] of 0, 1, NaN.
    score : Series [N]; ties count half.
    stratum : Series [N]; rows without one are left out.
    weights : how often each row counts, [R, N], see ``evaluation.patient_weights``; once each by
        default.

    Returns
    -------
    A number; with ``weights``, an array [R]. NaN where no stratum has both classes.
    """
    counts = np.ones((1, len(target))) if weights is None else weights
    wins = pairs = 0
    for value in pd.unique(stratum.dropna()):
        here = (stratum == value).to_numpy()
        inside = counts[:, here]
        positive, negative = (inside @ (target[here] == y).to_numpy(dtype=float) for y in (1, 0))
        share = weighted_auroc(target[here], score[here], inside)
        wins = wins + np.nan_to_num(share) * positive * negative
        pairs = pairs + positive * negative
    pairs = np.broadcast_to(pairs, len(counts))
    found = np.divide(wins, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)
    return float(found[0]) if weights is None else found


def aurocs_of_heads(truth, scores):
    """What *every* output of a model says of every label: DataFrame [L, H] of AUROCs.

    Parameters
    ----------
    truth : DataFrame [N, L] of 0, 1, NaN.
    scores : DataFrame [N, H] of the model's outputs, the L labels among them.
    """
    return pd.DataFrame(
        {head: [auroc(truth[label], scores[head]) for label in truth] for head in scores},
        index=truth.columns,
    )


def rank_of_own_head(aurocs):
    """At which place the output that bears a label's name stands: Series [L] of 1 … H.

    1, if no other output tells the label better; NaN, if its own AUROC is not known. ``aurocs``:
    see ``aurocs_of_heads``.
    """
    own = pd.Series({label: aurocs.loc[label, label] for label in aurocs.index})
    return (1 + aurocs.gt(own, axis=0).sum(axis=1)).where(own.notna())


# --- Few splits of the same patients --------------------------------------------------------------


def corrected_interval(differences, tested, learnt, level=0.95):
    """The mean of differences over random splits, with an interval that knows they overlap.

    Splits of the same patients share most of them, so their differences are alike, and a plain
    t-interval (``evaluation.mean_interval``) is too narrow. Nadeau and Bengio (2003, Machine
    Learning 52) put 1/k + tested/learnt in place of 1/k before the variance: tests of two splits
    share tested/(tested + learnt) of their patients.

    Parameters
    ----------
    differences : [k], one for each split.
    tested, learnt : how many patients a split puts aside for testing, and how many are left. If a
        model learns from some of these only, it is still the number of all of them that says how
        far tests overlap.
    level : of the interval.

    Returns
    -------
    (mean, low, high); with one split there is no interval: low and high are NaN.
    """
    checks.number("tested", tested, 1)
    checks.number("learnt", learnt, 1)
    values = checks.numbers(differences, "differences")
    mean, low, high = mean_interval(values, level)
    wider = float(np.sqrt(1 + len(values) * tested / learnt))
    return mean, mean - wider * (mean - low), mean + wider * (high - mean)
