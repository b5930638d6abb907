import crepes
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from cxrlib import models
from cxrlib.data import Augmentation
from cxrlib.explanations import check_images
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.losses import Conditional
from cxrlib.uncertainty import (
    augmented_passes,
    conformal_quantile,
    conformal_sets,
    control_risk,
    decompose,
    doubt_groups,
    dropout_passes,
    embed,
    entropy,
    fit_conformal,
    highest_wrong,
    is_covered,
    mc_dropout,
    odd_images,
    risk_coverage,
    specificity,
    statements,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = models.build("tiny")
    with torch.no_grad():
        made(torch.rand(16, 1, 64, 64))
    return made.eval()


@pytest.fixture
def images():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def whole_network(model, images, passes):
    """The plain way: the whole network, once a pass, with dropout on."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    with torch.no_grad():
        scores = torch.stack([model(images).sigmoid() for _ in range(passes)])
    model.eval()
    return scores


def test_passes_are_those_of_the_whole_network_in_distribution(model, images):
    torch.manual_seed(0)
    ours = dropout_passes(model, images, 200)
    plain = whole_network(model, images, 200)
    assert ours.shape == plain.shape == (200, 3, 21)
    # 63 two-sample tests: with the same distribution, the smallest p-value is rarely this small.
    p = [
        stats.ks_2samp(ours[:, row, label], plain[:, row, label]).pvalue
        for row in range(3)
        for label in range(21)
    ]
    assert min(p) > 1e-4
    assert 0.3 < sum(p) / len(p) < 0.7, "p-values are uniform where nothing differs"


def test_the_model_is_left_as_it_was(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    mc_dropout(model, images, 5)
    assert all(module.training for module in model.modules())
    model.eval()
    mc_dropout(model, images, 5)
    assert not any(module.training for module in model.modules())
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_single_image_is_no_special_case(model, images):
    # With batch normalisation in training mode, the other images would change an image's scores.
    torch.manual_seed(0)
    together = mc_dropout(model, images, 400).mean[0]
    alone = mc_dropout(model, images[:1], 400).mean[0]
    torch.testing.assert_close(together, alone, atol=0.03, rtol=0)


def test_the_decomposition_by_hand():
    scores = torch.tensor([[[0.5, 1.0, 0.0]], [[0.5, 0.0, 0.0]]])
    result = decompose(scores)
    half = torch.log(torch.tensor(2.0))
    torch.testing.assert_close(result.mean, torch.tensor([[0.5, 0.5, 0.0]]))
    torch.testing.assert_close(result.std, torch.tensor([[0.0, 0.5, 0.0]]))
    torch.testing.assert_close(result.predictive_entropy, torch.tensor([[half, half, 0.0]]))
    torch.testing.assert_close(result.expected_entropy, torch.tensor([[half, 0.0, 0.0]]))
    torch.testing.assert_close(result.mutual_information, torch.tensor([[0.0, half, 0.0]]))
    p = torch.rand(100)
    expected = torch.distributions.Bernoulli(p).entropy()
    torch.testing.assert_close(entropy(p), expected)


def test_a_methods_own_readout_is_used(model, images):
    paper = paper_hierarchy()
    passes = dropout_passes(model, images, 4, readout=Conditional(paper))
    scores = paper.to_table(passes.reshape(-1, 21).numpy())
    assert not paper.incoherent(scores).any()


def test_bad_input_is_named(model, images):
    for passes in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=f"passes={passes}.*at least 1"):
            mc_dropout(model, images, passes)
    with pytest.raises(ValueError, match="no dropout"):
        mc_dropout(models.build("tiny", dropout=0.0), images)
    with pytest.raises(ValueError, match="0 to 1"):
        mc_dropout(model, images * 255)
    with pytest.raises(ValueError, match="one grey channel"):
        mc_dropout(model, images.expand(-1, 3, -1, -1))


def test_augmented_passes_are_seeded_and_differ(model, images):
    one = augmented_passes(model, images, 3, seed=1)
    assert one.shape == (3, 3, 21)
    torch.testing.assert_close(one, augmented_passes(model, images, 3, seed=1))
    assert not torch.equal(one[0], one[1])
    plain = augmented_passes(model, images, 2, augment=Augmentation())
    with torch.no_grad():
        torch.testing.assert_close(plain[0], model(images).sigmoid())
    with pytest.raises(ValueError, match="passes=0"):
        augmented_passes(model, images, 0)


def test_embedding_is_what_the_last_layer_sees(model, images):
    seen = embed(model, images)
    with torch.no_grad():
        torch.testing.assert_close(model.head.logits(seen), model(images))


# --- What is uncertainty for? ---------------------------------------------------------------------


def test_risk_coverage_by_hand():
    table = risk_coverage([True, False, False, True], [0.9, 0.1, 0.2, 0.3])
    assert table["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert table["risk"].tolist() == pytest.approx([0, 0, 1 / 3, 2 / 4])
    ties = risk_coverage([True, False], [0.5, 0.5])
    assert ties["risk"].tolist() == [0.5, 0.5]
    for bad in (([True], [0.1, 0.2]), ([], []), ([True], [np.nan])):
        with pytest.raises(ValueError, match="wrong|doubt"):
            risk_coverage(*bad)


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


def test_specificity_by_hand():
    truth = scored([1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 1])
    said = scored([0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]).astype(bool)
    prevalence = pd.Series([0.1, 0.01, 0.2, 0.5], index=list(SMALL.labels))
    told = specificity(said, truth, SMALL, prevalence).set_index("observation")
    assert told.loc["Edema", "told"] == "Fluid Accumulation"
    assert told.loc["Edema", "information"] == pytest.approx(np.log(0.5) / np.log(0.1))
    assert told.loc["Fracture", ["told", "information"]].tolist() == ["Fracture", 1]
    # Edema was said, wrongly, of an image with Pneumonia: its group was right all the same.
    assert told.loc["Pneumonia", "told"] == "Fluid Accumulation"
    nothing = specificity(said & False, truth, SMALL, prevalence)
    assert (nothing["told"] == "").all()
    assert (nothing["information"] == 0).all()


# --- Odd images -----------------------------------------------------------------------------------


def test_odd_images_are_images(images):
    odd = odd_images(images, seed=1)
    assert len(odd) == 6
    for made in odd.values():
        check_images(made)
        assert made.shape == images.shape
        assert made.dtype == torch.float32
    torch.testing.assert_close(odd["inverted"] + images, torch.ones_like(images))
    assert all(len(image.unique()) == 1 for image in odd["blank"])
    again = odd_images(images, seed=1)
    assert all(torch.equal(odd[kind], again[kind]) for kind in odd)


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


def test_images_and_options_out_of_range_are_named(model, images):
    for call in (mc_dropout, embed, augmented_passes):
        with pytest.raises(ValueError, match=r"expected float32.*images\.float"):
            call(model, images.double())
    with pytest.raises(ValueError, match="passes=1000000.*at most 10,000"):
        mc_dropout(model, images, 10**6)
    for call in (lambda: augmented_passes(model, images, seed=-1), lambda: odd_images(images, -1)):
        with pytest.raises(ValueError, match="seed=-1"):
            call()
    with pytest.raises(ValueError, match="square"):
        odd_images(images[..., :40])


def test_a_finding_that_everybody_has_is_told_when_it_is_named():
    truth = scored([1, 0, 0, 1])
    said = truth.astype(bool) & (truth.columns == "Edema")
    told = specificity(said, truth, SMALL, pd.Series(1.0, index=truth.columns))
    assert told["information"].tolist() == [1]
