"""Conformal sets and backing off: by hand, against crepes, and over many draws."""

import itertools

import crepes
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from cxrlib.evaluation import EvaluationError
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.uncertainty import (
    above_called,
    conformal_quantile,
    conformal_sets,
    control_risk,
    coverage_law,
    decompose,
    doubt_groups,
    entropy,
    fit_conformal,
    fit_joint,
    highest_wrong,
    is_covered,
    risk_coverage,
    specificity,
    statements,
    tree_control,
    weighted_sets,
)

# --- Conformal prediction -------------------------------------------------------------------------


def drawn(rng, count, labels=("rare", "common"), shares=(0.1, 0.5)):
    """Scores that say something, and truths."""
    truth = pd.DataFrame({n: rng.random(count) < s for n, s in zip(labels, shares, strict=True)})
    scores = 1 / (1 + np.exp(-(2 * truth - 1.5 + rng.normal(size=truth.shape))))
    return scores, truth.astype(float)


def test_conformal_sets_are_those_of_crepes():
    rng = np.random.default_rng(0)
    (fit, known), (scores, _) = drawn(rng, 400), drawn(rng, 300)
    for by_class in (False, True):
        limits = fit_conformal(fit, known, 0.1, by_class)
        sets = conformal_sets(scores, limits)
        for label in fit:
            y, p = known[label].to_numpy().astype(int), fit[label].to_numpy()
            theirs = crepes.ConformalClassifier()
            theirs.fit(np.where(y == 1, 1 - p, p), bins=y if by_class else None)
            q = scores[label].to_numpy()
            strange = np.stack([q, 1 - q], axis=1)
            options = {"confidence": 0.9, "smoothing": False}
            if by_class:
                bins = np.tile([0, 1], (len(q), 1))
                held = np.stack(
                    [
                        theirs.predict_set(strange[:, [k]], bins[:, k], **options)[:, 0]
                        for k in (0, 1)
                    ],
                    axis=1,
                )
            else:
                held = theirs.predict_set(strange, **options)
            names = np.array(["neither", "absent", "present", "unsure"])
            assert (sets[label].to_numpy() == names[(held @ [1, 2]).astype(int)]).all()


def test_coverage_is_as_promised_over_many_draws():
    rng = np.random.default_rng(1)
    held = {False: [], True: []}
    for _ in range(200):
        (fit, known), (scores, truth) = drawn(rng, 150), drawn(rng, 150)
        for by_class in held:
            sets = conformal_sets(scores, fit_conformal(fit, known, 0.2, by_class))
            good = is_covered(sets, truth)["rare"]
            held[by_class].append([good.mean(), good[truth["rare"] == 1].mean()])
    pooled, by_class = (np.nanmean(held[key], axis=0) for key in (False, True))
    assert pooled[0] == pytest.approx(0.8, abs=0.02)
    assert pooled[1] < 0.6, "one promise for all is kept at the expense of the rare"
    assert 0.79 < by_class[1] < 0.87, "at least what is promised, and with few images a little more"


def test_the_law_of_coverage_is_that_of_many_draws():
    rng = np.random.default_rng(4)
    covered, counted = [], []
    for _ in range(4000):
        limit = conformal_quantile(rng.random(32), 0.1)
        covered.append(limit)  # of uniform values, the limit is the share that lies below it
        counted.append((rng.random(50) <= limit).sum())
    law, of_new = coverage_law(32, 0.1), coverage_law(32, 0.1, new=50)
    assert stats.kstest(covered, law.cdf).pvalue > 0.001
    assert np.mean(counted) == pytest.approx(of_new.mean(), abs=0.3)
    assert np.quantile(counted, 0.05) == pytest.approx(of_new.ppf(0.05), abs=1)
    assert law.mean() == pytest.approx(30 / 33)
    with pytest.raises(ValueError, match="count=5: too few"):
        coverage_law(5, 0.1)


def test_joint_limits_cover_an_image_on_all_labels_at_once():
    rng = np.random.default_rng(5)
    labels, shares = [f"label {n}" for n in range(8)], [0.3] * 8
    alone, joint = [], []
    for _ in range(60):
        (fit, known), (scores, truth) = (drawn(rng, 200, labels, shares) for _ in range(2))
        for found, fitted in ((alone, fit_conformal), (joint, fit_joint)):
            held = is_covered(conformal_sets(scores, fitted(fit, known, alpha=0.1)), truth)
            found.append(held.all(axis=1).mean())
    assert np.mean(alone) < 0.6
    assert np.mean(joint) == pytest.approx(0.9, abs=0.015)


def test_equal_weights_are_no_weights():
    rng = np.random.default_rng(8)
    (fit, known), (scores, _) = drawn(rng, 400), drawn(rng, 150)
    for level in (1.0, 7.0):
        found = weighted_sets(fit, known, scores, np.full(400, level), np.full(150, level))
        pd.testing.assert_frame_equal(found, conformal_sets(scores, fit_conformal(fit, known)))


def test_true_weights_keep_a_promise_among_images_of_another_kind():
    """Half of the images are easy, half are hard; among the new ones nine in ten are hard."""
    rng = np.random.default_rng(9)

    def mixed(count, hard):
        kind = rng.random(count) < hard
        truth = (rng.random(count) < 0.4).astype(float)
        signal = np.where(kind, 0.5, 4.0) * (2 * truth - 1) + rng.normal(size=count)
        scores = 1 / (1 + np.exp(-signal))
        return pd.DataFrame({"a": scores}), pd.DataFrame({"a": truth}), np.where(kind, 9.0, 1.0)

    plain, weighted = [], []
    for _ in range(80):
        (fit, known, weights), (scores, truth, own) = mixed(200, 0.5), mixed(300, 0.9)
        sets = weighted_sets(fit, known, scores, weights, own)
        weighted.append(is_covered(sets, truth).mean().item())
        sets = conformal_sets(scores, fit_conformal(fit, known))
        plain.append(is_covered(sets, truth).mean().item())
    assert np.mean(plain) < 0.86
    assert np.mean(weighted) == pytest.approx(0.91, abs=0.015)


def test_an_image_that_counts_for_more_than_all_others_is_promised_nothing():
    scores, truth = pd.DataFrame({"a": [0.2, 0.4]}), pd.DataFrame({"a": [0.0, 1.0]})
    new = pd.DataFrame({"a": [0.0, 1.0]})
    assert (weighted_sets(scores, truth, new, [1, 1], [99, 99]) == "unsure").all(axis=None)
    with pytest.raises(EvaluationError, match="weights: expected numbers above 0"):
        weighted_sets(scores, truth, new, [1, 0], [1, 1])
    with pytest.raises(EvaluationError, match="new_scores: expected the labels of scores"):
        weighted_sets(scores, truth, new.rename(columns={"a": "b"}), [1, 1], [1, 1])


def test_joint_limits_by_hand():
    scores = pd.DataFrame({"a": [0.9, 0.2, 0.6, 0.1], "b": [0.5, 0.1, 0.3, 0.8]})
    truth = pd.DataFrame({"a": [1, 0, 1, np.nan], "b": [1.0, 0, 0, 1]})
    # The strangest truth of each image: .5, .2, .4, and .2 of the one that is known.
    limits = fit_joint(scores, truth, alpha=0.4)
    assert limits.to_numpy() == pytest.approx(np.full((2, 2), 0.4))
    assert (conformal_sets(scores, limits).loc[2] == ["present", "absent"]).all()


def test_conformal_limits_by_hand():
    assert conformal_quantile(np.arange(1, 10), 0.1) == 9  # ⌈10 × 0.9⌉ = 9th of nine
    assert conformal_quantile(np.arange(1, 9), 0.1) == np.inf
    assert conformal_quantile([], 0.1) == np.inf
    scores = pd.DataFrame({"a": [0.9, 0.2, 0.8, 0.4]})
    truth = pd.DataFrame({"a": [1.0, 0.0, 1.0, np.nan]})
    limits = fit_conformal(scores, truth, alpha=0.5)
    assert limits.loc[("all", "a")].tolist() == pytest.approx([0.2, 1 - 0.8])
    sets = conformal_sets(pd.DataFrame({"a": [0.85, 0.1, 0.5]}), limits)
    assert sets["a"].tolist() == ["present", "absent", "neither"]
    held = is_covered(sets, pd.DataFrame({"a": [1.0, 1.0, np.nan]}))
    assert held["a"].tolist()[:2] == [1, 0]
    assert np.isnan(held["a"][2])


def test_groups_have_limits_of_their_own():
    rng = np.random.default_rng(2)
    (easy, known), groups = drawn(rng, 400), np.repeat(["young", "old"], 200)
    scores = easy.where(pd.Series(groups == "young"), 0.5, axis=0)
    limits = fit_conformal(scores, known, 0.1, groups=groups)
    alone = fit_conformal(scores[:200], known[:200], 0.1)
    assert limits.loc["young"].equals(alone.loc["all"])
    sets = conformal_sets(scores, limits, groups)
    assert (sets[200:] == "unsure").all(axis=None)
    with pytest.raises(ValueError, match="'child': no limits"):
        conformal_sets(scores, limits, ["child"] * 400)
    with pytest.raises(ValueError, match="groups has 2 entries for 400 rows"):
        fit_conformal(scores, known, 0.1, groups=["a", "b"])


def test_bad_conformal_input_is_named():
    scores, truth = drawn(np.random.default_rng(0), 20)
    for alpha in (0, 1, -0.1):
        with pytest.raises(ValueError, match="alpha="):
            fit_conformal(scores, truth, alpha)
        with pytest.raises(ValueError, match="alpha="):
            control_risk([0.5], ["p"], alpha)
    with pytest.raises(ValueError, match="do not fit"):
        fit_conformal(scores, truth[["rare"]])
    for odd in (np.nan, 1.5):
        with pytest.raises(ValueError, match=f"row 3, label 'common': {odd} is not a prob"):
            fit_conformal(scores.replace(scores.iloc[3, 1], odd), truth)


# --- Backing off ----------------------------------------------------------------------------------


SMALL = Hierarchy(
    ("Edema", "Pneumonia", "Fracture", "Fluid Accumulation"),
    (("Fluid Accumulation", "Edema"), ("Fluid Accumulation", "Pneumonia")),
)


def scored(*rows):
    return pd.DataFrame(list(rows), columns=list(SMALL.labels), dtype=float)


def test_statements_by_hand():
    scores = scored([0.9, 0.1, 0.2, 0.95], [0.4, 0.3, 0.8, 0.7], [0.1, 0.1, 0.1, 0.2])
    said = statements(scores, SMALL, 0.6)
    names = [list(said.columns[row]) for row in said.to_numpy()]
    assert names == [["Edema"], ["Fracture", "Fluid Accumulation"], []]
    assert not statements(scores, SMALL, np.inf).any(axis=None)
    with pytest.raises(ValueError, match="not coherent"):
        statements(scored([0.9, 0.1, 0.2, 0.5]), SMALL, 0.6)


def test_groups_are_doubted_more():
    scores = scored([0.4, 0.3, 0.8, 0.9])
    group = lambda factor: doubt_groups(scores, SMALL, factor)["Fluid Accumulation"][0]  # noqa: E731
    assert group(1) == pytest.approx(0.9)
    assert group(2) == pytest.approx(0.8)
    assert group(100) == pytest.approx(0.4), "never below its children"
    assert group(np.inf) == pytest.approx(0.4)
    silent = statements(doubt_groups(scores, SMALL, np.inf), SMALL, 0.35)
    assert not silent["Fluid Accumulation"][0]
    assert silent["Edema"][0]
    for factor in (0.5, np.nan):
        with pytest.raises(ValueError, match="factor="):
            doubt_groups(scores, SMALL, factor)


def test_a_report_is_wrong_exactly_where_the_threshold_is_not_above_the_highest_wrong_score():
    rng = np.random.default_rng(0)
    paper = paper_hierarchy()
    scores = paper.make_coherent(pd.DataFrame(rng.random((60, 21)), columns=paper.labels))
    truth = paper.derive(pd.DataFrame(rng.integers(0, 2, (60, 14)), columns=OBSERVATIONS) * 1.0)
    closed = paper.close(truth)
    highest = highest_wrong(scores, truth, paper)
    for threshold in (0.5, 0.8, 0.95, 0.99):
        said = statements(scores, paper, threshold)
        assert not said["Uncertain"].any()
        wrong = (said & (closed == 0)).any(axis=1)
        assert (wrong == (highest >= threshold)).all()


def test_the_risk_is_controlled():
    rng = np.random.default_rng(3)
    for alpha in (0.05, 0.2):
        risks = []
        for _ in range(300):
            # Patients with several images, alike among themselves.
            highest = np.repeat(rng.random(200), 3) + 0.1 * rng.random(600)
            patients = np.repeat(np.arange(200), 3)
            fitting = patients < 100
            threshold = control_risk(highest[fitting], patients[fitting], alpha)
            risks.append((highest[~fitting] >= threshold).mean())
        assert alpha - 0.02 < np.mean(risks) < alpha + 0.005


def test_the_threshold_is_the_lowest_that_may_be_promised():
    highest, patients = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]), np.arange(9)
    # With nine patients and a risk of 0.3, (2 wrong + 1) / 10 may be promised and no more.
    threshold = control_risk(highest, patients, 0.3)
    assert (highest >= threshold).sum() == 2
    assert control_risk(highest, patients, 0.05) == np.inf
    assert control_risk(np.full(9, -np.inf), patients, 0.3) <= 0
    # Two images of one patient count as half a patient each.
    threshold = control_risk([0.9, 0.8, 0.1, 0.1], ["a", "a", "b", "c"], 0.5)
    assert 0.1 < threshold <= 0.8


PAPER = paper_hierarchy()


def some_patients(seed, patients=150):
    """Scores, truth and patients of two images each, on the paper's hierarchy."""
    rng = np.random.default_rng(seed)
    findings = np.repeat(rng.random((patients, 14)) < 0.15, 2, axis=0)
    truth = PAPER.derive(pd.DataFrame(findings * 1.0, columns=list(OBSERVATIONS)))
    alike, own = rng.normal(size=(patients, 21)), rng.normal(size=(2 * patients, 21))
    noise = np.repeat(alike, 2, axis=0) + 0.3 * own
    scores = 1 / (1 + np.exp(2 - 3.5 * truth - noise))
    return PAPER.make_coherent(scores), truth, pd.Series(np.repeat(np.arange(patients), 2))


def test_errors_are_controlled_over_the_graph():
    risks, said_something = [], []
    for seed in range(40):
        calibration, (new, true, _) = some_patients(seed), some_patients(900 + seed)
        said = tree_control(*calibration, new, PAPER, alpha=0.2)
        risks.append((said & (PAPER.close(true) == 0)).any(axis=1).mean())
        said_something.append(said.any(axis=1).mean())
    assert np.mean(risks) < 0.2 + 0.01
    assert np.mean(said_something) > 0.3


def test_what_is_shown_over_a_graph_by_hand():
    # Nine patients with nothing, and nine with a group of which nothing below is true: their scores
    # of all labels are .0 to .8.
    calibration = scored(*[[0.1 * n] * 4 for n in [*range(9), *range(9)]])
    known = calibration * 0
    known.loc[9:, "Fluid Accumulation"] = 1
    new = scored([0.95, 0.2, 0.5, 0.95], [0.75, 0.2, 0.9, 0.95], [0.95, 0.1, 0.2, 0.45])
    said = tree_control(calibration, known, np.arange(18), new, SMALL, alpha=0.3)
    # The group's p: of .95 1/10, of .45 5/10 (.5 to .8 are as high); Edema's and Pneumonia's, of
    # .95 1/10, of .75 2/10. Fracture's, of all: of .9 1/19, of .5 7/19. The levels: a third of .3
    # for a leaf, two thirds for the group.
    names = [list(said.columns[row]) for row in said.to_numpy()]
    assert names == [["Edema"], ["Fracture", "Fluid Accumulation"], []]


def test_climbing_starts_from_what_is_called():
    scores = scored([0.4, 0.45, 0.2, 0.95], [0.7, 0.1, 0.6, 0.9], [0.1, 0.1, 0.6, 0.7])
    climbing = above_called(scores, SMALL)
    assert (climbing.loc[0] == 0).all(), "no observation is called, so nothing is climbed from"
    assert climbing.loc[1].tolist() == [0.7, 0.0, 0.6, 0.9]
    assert climbing.loc[2].tolist() == [0.0, 0.0, 0.6, 0.0]
    said = statements(climbing, SMALL, 0.8)
    assert list(said.columns[said.loc[1]]) == ["Fluid Accumulation"]
    rng = np.random.default_rng(0)
    coherent = PAPER.make_coherent(pd.DataFrame(rng.random((50, 21)), columns=PAPER.labels))
    assert not PAPER.incoherent(above_called(coherent, PAPER)).any()


def test_specificity_by_hand():
    truth = scored([1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1])
    said = scored([0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]).astype(bool)
    prevalence = pd.Series([0.1, 0.01, 0.2, 0.5], index=list(SMALL.labels))
    told = specificity(said, truth, SMALL, prevalence).set_index("observation")
    assert told.loc["Edema", "told"] == "Fluid Accumulation"
    assert told.loc["Edema", "information"] == pytest.approx(np.log(0.5) / np.log(0.1))
    assert told.loc["Fracture", ["told", "information"]].tolist() == ["Fracture", 1]
    # Edema was said, wrongly, of an image with Pneumonia: that mentions no pneumonia.
    assert told.loc["Pneumonia", "told"] == ""
    nothing = specificity(said & False, truth, SMALL, prevalence)
    assert (nothing["told"] == "").all()
    assert (nothing["information"] == 0).all()


def test_a_group_of_everything_tells_nothing():
    findings = {name: float(name in ("Pneumothorax", "Support Devices")) for name in OBSERVATIONS}
    truth = PAPER.derive(pd.DataFrame([findings] * 3))
    said = pd.DataFrame(False, index=truth.index, columns=truth.columns)
    said.loc[0, "Abnormal"] = said.loc[1, "Support Devices"] = True
    said.loc[2, "Missing Lung Tissue"] = True
    told = specificity(said, truth, PAPER, pd.Series(0.2, index=truth.columns))
    told = told.pivot_table("told", "image", "observation", aggfunc="first")
    assert told["Pneumothorax"].tolist() == ["", "", "Missing Lung Tissue"]
    assert told["Support Devices"].tolist() == ["", "Support Devices", ""]
    healthy = PAPER.derive(pd.DataFrame([{n: float(n == "No Finding") for n in OBSERVATIONS}]))
    nothing = pd.DataFrame(False, index=[0], columns=healthy.columns)
    assert specificity(nothing, healthy, PAPER, truth.mean()).empty


def test_what_is_implied_by_name_is_told():
    truth = PAPER.close(
        PAPER.derive(pd.DataFrame([{n: float(n == "Pneumonia") for n in OBSERVATIONS}]))
    )
    said = pd.DataFrame(False, index=[0], columns=truth.columns)
    said["Pneumonia"] = True
    told = specificity(said, truth, PAPER, pd.Series(0.2, index=truth.columns))
    assert told.set_index("observation")["told"].to_dict() == {
        name: name for name in ("Consolidation", "Pneumonia", "Lung Opacity") if truth[name][0] == 1
    }


def test_a_finding_that_everybody_has_is_told_when_it_is_named():
    truth = scored([1, 0, 0, 1])
    said = truth.astype(bool) & (truth.columns == "Edema")
    told = specificity(said, truth, SMALL, pd.Series(1.0, index=truth.columns))
    assert told["information"].tolist() == [1]


# --- Bad arguments --------------------------------------------------------------------------------


def test_rows_go_by_their_index_everywhere():
    truth = scored([1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1])
    scores = truth * 0.5 + 0.2
    turned, groups = truth.iloc[::-1], pd.Series(["a", "b", "a"])
    limits = fit_conformal(scores, truth)
    sets, said = conformal_sets(scores, limits), statements(scores, SMALL, 0.5)
    highest = pd.Series(highest_wrong(scores, truth, SMALL))
    for call in (
        lambda: fit_conformal(scores, turned),
        lambda: fit_conformal(scores, truth, groups=groups.iloc[::-1]),
        lambda: conformal_sets(scores, limits, groups.iloc[::-1]),
        lambda: is_covered(sets, turned),
        lambda: highest_wrong(scores, turned, SMALL),
        lambda: specificity(said, turned, SMALL, truth.mean()),
        lambda: control_risk(highest, groups.iloc[::-1], 0.5),
        lambda: risk_coverage(highest > 0, highest.iloc[::-1]),
    ):
        with pytest.raises(ValueError, match="different row indexes.*reset_index"):
            call()
    # Arrays carry no index, and are taken by position.
    by_array = fit_conformal(scores, truth, groups=groups.to_numpy())
    pd.testing.assert_frame_equal(fit_conformal(scores, truth, groups=groups), by_array)


def test_bad_values_and_options_are_named():
    truth = scored([1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1])
    scores = truth * 0.5 + 0.2
    limits = fit_conformal(scores, truth)
    sets, said = conformal_sets(scores, limits), statements(scores, SMALL, 0.5)
    shares = pd.Series(0.5, index=truth.columns)
    for call, message in (
        (lambda: fit_conformal(scores, truth * 2), "truth, row 0, label 'Edema': 2 is not 0, 1"),
        (lambda: fit_conformal(scores, truth * 0.5), "0.5 is not 0, 1 or NaN"),
        (lambda: fit_conformal(scores[:0], truth[:0]), "empty"),
        (lambda: fit_conformal(scores, truth, alpha="0.1"), "alpha='0.1'"),
        (lambda: fit_conformal(scores, truth, groups=["a", None, "b"]), "groups, row 1: no value"),
        (lambda: fit_conformal(scores.astype(str) + "%", truth), "label 'Edema': expected numbers"),
        (lambda: conformal_sets(scores, limits.drop(("all", "Edema"))), "no limits.*'Edema'"),
        (lambda: conformal_quantile([0.1, np.nan], 0.1), "without NaN"),
        (lambda: conformal_quantile([0.1], 1), "alpha=1"),
        (lambda: is_covered(sets.replace("unsure", "?"), truth), "sets: expected neither"),
        (lambda: is_covered(sets, truth * 2), "2 is not 0, 1"),
        (lambda: highest_wrong(scores, truth * 2, SMALL), "2 is not 0, 1"),
        (lambda: statements(scores, SMALL, np.nan), "threshold=nan"),
        (lambda: statements(scores * np.nan, SMALL, 0.5), "nan is not a probability"),
        (lambda: doubt_groups(scores, SMALL, "2"), "factor='2'"),
        (lambda: control_risk([0.5, np.nan], ["a", "b"], 0.5), "without NaN"),
        (lambda: control_risk([0.5, 0.6], ["a", None], 0.5), "patients, row 1: no value"),
        (lambda: control_risk([0.5, 0.6], ["a"], 0.5), "patients has 1 entries for 2 rows"),
        (lambda: control_risk([], [], 0.5), "at least 1"),
        (lambda: specificity(said, truth, SMALL, shares * np.nan), "prevalence of 'Edema'=nan"),
        (lambda: specificity(said, truth, SMALL, shares * 4), "prevalence of 'Edema'=2.0"),
        (lambda: specificity(said, truth, SMALL, shares[1:]), "no prevalence for 'Edema'"),
        (lambda: risk_coverage([2.0], [0.1]), "wrong outside 0 to 1"),
        (lambda: entropy(torch.tensor([1.5])), "probabilities, 0 to 1"),
        (lambda: decompose(torch.full((2, 1, 1), torch.nan)), "probabilities, 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_control_over_the_graph_keeps_its_promise_on_a_chain():
    """Images that lack a label but have its parents look like it, and are what it is wrong about.

    With p-values from all images without the label the chance of an error is 0.25 here, not 0.1.
    """
    names = ["Opacity", "Fluid Accumulation", "Consolidation", "Pneumonia"]
    chain = Hierarchy(names, list(itertools.pairwise(names)))
    rng, wrong = np.random.default_rng(3), []

    def made(count):
        depth = rng.integers(0, 5, count)
        look = {n: np.select([depth > k, depth == k], [0.95, 0.96 * rng.random(count)], 0.0)
                for k, n in enumerate(names)}  # fmt: skip
        truth = {n: (depth > k) * 1.0 for k, n in enumerate(names)}
        return pd.DataFrame(look), pd.DataFrame(truth)

    for _ in range(40):
        (scores, known), (new, truth) = made(400), made(300)
        said = tree_control(scores, known, np.arange(400), new, chain, 0.1)
        wrong.append((said & (truth == 0)).any(axis=1).mean())
    assert np.mean(wrong) <= 0.105
    assert np.mean(wrong) > 0.04, "and it is used, not wasted"


def test_a_graph_over_which_alpha_cannot_be_divided_is_refused():
    """Each half of a diamond would have all of it: with both wrong, two times as many errors."""
    names = ["Abnormal", "Opacity", "Cardiac", "Cardiomegaly"]
    edges = [(names[0], names[1]), (names[0], names[2]), (names[1], names[3]), (names[2], names[3])]
    scores = pd.DataFrame(0.5, index=range(3), columns=names)
    arguments = scores, scores.round(), np.arange(3), scores
    with pytest.raises(ValueError, match="Opacity and Cardiac both lie above Cardiomegaly"):
        tree_control(*arguments, Hierarchy(names, edges), 0.1)
    nested = Hierarchy(names, [*edges, ("Opacity", "Cardiac")])
    assert not tree_control(*arguments, nested, 0.1).to_numpy().any()


def test_p_values_of_control_over_the_graph_count_patients():
    """By hand: ten patients without, one with nine alike images that would count as nine."""
    two = Hierarchy(["Abnormal", "Fracture"], [("Abnormal", "Fracture")])
    high = [0.9] * 9 + [0.1] * 9
    scores = pd.DataFrame({"Abnormal": high, "Fracture": 0.0})
    known = pd.DataFrame(0.0, index=range(18), columns=two.labels)
    patients = np.array([0] * 9 + list(range(1, 10)))
    new = pd.DataFrame({"Abnormal": [0.95, 0.5], "Fracture": [0.0, 0.0]})
    # Of 10 patients none is above 0.95 and one is above 0.5: p = 1/11 and 2/11.
    for alpha, shown in ((0.09, [0, 0]), (0.1, [1, 0]), (0.19, [1, 1])):
        said = tree_control(scores, known, patients, new, two, alpha)
        assert said["Abnormal"].tolist() == [bool(one) for one in shown]
