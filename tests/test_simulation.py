"""Simulated features for real labels: what is simulated, learnt and measured."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, cohen_kappa_score, roc_auc_score

from cxrlib import simulation
from cxrlib.hierarchy import Hierarchy, paper_hierarchy
from cxrlib.simulation import METHODS, Together, learn, rank_measures

TREE = Hierarchy(
    ["Abnormal", "Opacity", "Edema", "Pneumonia", "Fracture"],
    [
        ("Abnormal", "Opacity"),
        ("Abnormal", "Fracture"),
        ("Opacity", "Edema"),
        ("Opacity", "Pneumonia"),
    ],
)


def some_labels(count=4000, seed=0):
    leaves = np.random.default_rng(seed).random((count, 5)) < [0.02, 0.05, 0.1, 0.1, 0.1]
    return simulation.close(leaves, TREE)


def test_closed_labels_are_those_of_the_hierarchy():
    labels = np.eye(5)
    expected = TREE.to_array(TREE.close(TREE.to_table(labels)))
    np.testing.assert_array_equal(simulation.close(labels, TREE), expected)


def test_a_poor_reader_agrees_as_was_asked_be_a_label_rare_or_frequent():
    truth = simulation.close(
        np.random.default_rng(1).random((200_000, 5)) < [0, 0.001, 0.6, 0.02, 0.1], TREE
    )
    read = simulation.misread(truth, TREE, kappa=0.4, seed=5)
    for leaf in ("Edema", "Pneumonia", "Fracture"):
        n = TREE.labels.index(leaf)
        assert cohen_kappa_score(truth[:, n], read[:, n]) == pytest.approx(0.4, abs=0.015)
        assert read[:, n].mean() == pytest.approx(truth[:, n].mean(), abs=0.005)
    np.testing.assert_array_equal(simulation.close(read, TREE), read)
    np.testing.assert_array_equal(simulation.misread(truth, TREE, kappa=1.0), truth)


def test_a_label_with_children_is_misread_on_its_own_where_it_stands_alone():
    alone = np.tile([1.0, 1, 0, 0, 0], (20_000, 1))
    alone[10_000:] = [0, 0, 0, 0, 0]
    read = simulation.misread(alone, TREE, kappa=0.4)
    assert read[:10_000, 1].mean() == pytest.approx(0.4 + 0.6 * 0.5, abs=0.02)
    assert read[10_000:, 1].mean() == pytest.approx(0.6 * 0.5, abs=0.02)
    assert (read[:, 2:] == 0).all(), "what nobody has is never called"


def test_parents_are_left_out_where_a_child_implies_them():
    truth = some_labels()
    none, every = (simulation.omit_parents(truth, TREE, share) for share in (0.0, 1.0))
    np.testing.assert_array_equal(none, truth)
    np.testing.assert_array_equal(simulation.close(every, TREE), truth)
    edema = np.array([[1.0, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    named = simulation.omit_parents(edema, TREE, 1.0)
    np.testing.assert_array_equal(named, [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    some = simulation.omit_parents(truth, TREE, 0.38, seed=5)
    could = simulation.implied(truth, TREE).any(axis=1)
    broken = TREE.incoherent(TREE.to_table(some))
    assert broken[could].mean() == pytest.approx(0.38, abs=0.05)
    assert not broken[~could].any()


def test_siblings_share_as_much_of_their_signs_as_was_asked():
    for shared in (0.0, 0.5, 1.0):
        made = simulation.signs(TREE, strength=2.0, shared=shared, width=4000)
        lengths = np.linalg.norm(made, axis=1)
        np.testing.assert_allclose(lengths, 2.0, rtol=0.05)
        edema, pneumonia = made[2], made[3]
        assert edema @ pneumonia / 4 == pytest.approx(shared, abs=0.06)


def test_a_sign_can_be_told_as_well_as_its_length_says():
    labels = np.zeros((20_000, 5))
    labels[:10_000, 4] = labels[:10_000, 0] = 1
    made = simulation.signs(TREE, strength=1.5, shared=0.3)
    x = simulation.features(labels, made, TREE)
    auroc = roc_auc_score(labels[:, 4], x @ made[4])
    length = np.linalg.norm(made[4])
    assert length == pytest.approx(1.5, abs=0.15)
    assert auroc == pytest.approx(stats.norm.cdf(length / np.sqrt(2)), abs=0.01)


def test_measures_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 4)) < [0.5, 0.1, 0.02, 0]).astype(float)
    scores = rng.random((300, 4)) + 0.3 * truth
    auroc, precision = rank_measures(truth, scores)
    for n in range(3):
        assert auroc[n] == pytest.approx(roc_auc_score(truth[:, n], scores[:, n]))
        assert precision[n] == pytest.approx(average_precision_score(truth[:, n], scores[:, n]))
    assert np.isnan([auroc[3], precision[3]]).all()


def some_data(replicates=2, count=256, width=16, strength=1.5, seed=0):
    """Features and labels [R, N, ·] that replicates do not share."""
    made = simulation.signs(TREE, strength, width=width)
    labels = [some_labels(count, seed + r) for r in range(replicates)]
    x = [simulation.features(y, made, TREE, seed=seed + r) for r, y in enumerate(labels)]
    return np.stack(x), np.stack(labels)


@pytest.mark.parametrize("word", METHODS)
def test_a_replicate_learns_what_it_would_learn_alone(word):
    train, valid = some_data(), some_data(seed=10)
    kept = learn(word, TREE, train, valid, ridges=(10.0,), weights=(1.0,))(valid[0])
    for n in range(2):
        own = [tuple(part[n : n + 1] for part in pair) for pair in (train, valid)]
        alone = learn(word, TREE, *own, ridges=(10.0,), weights=(1.0,))(valid[0][n : n + 1])
        far = np.abs(kept[n] - alone[0])
        assert far.mean() < 0.03
        if word != "max-constraint":  # not convex: where it ends depends on the way, a little
            assert far.max() < 0.01


def test_flat_is_the_ridge_of_scikit_learn():
    """Penalised logistic regression, label by label, by another solver."""
    (x, y), valid = some_data(count=400), some_data(seed=10)
    ours = learn("flat", TREE, (x, y), valid, ridges=(10.0,))
    for n in range(len(x)):
        for label in range(5):
            theirs = LogisticRegression(C=1 / 10.0, tol=1e-8, max_iter=1000)
            theirs.fit(x[n], y[n, :, label])
            scores = theirs.predict_proba(valid[0][n])[:, 1]
            np.testing.assert_allclose(ours(valid[0])[n, :, label], scores, atol=2e-3)


def test_conditional_is_that_ridge_on_the_images_with_the_parents():
    (x, y), valid = some_data(count=400), some_data(seed=10)
    ours = learn("conditional", TREE, (x, y), valid, ridges=(10.0,))
    asked = y[0, :, 1] == 1  # Edema is asked where Opacity is
    theirs = LogisticRegression(C=1 / 10.0, tol=1e-8, max_iter=1000)
    theirs.fit(x[0][asked], y[0, asked, 2])
    above = ours(valid[0])[0, :, 1]
    scores = theirs.predict_proba(valid[0][0])[:, 1] * above
    np.testing.assert_allclose(ours(valid[0])[0, :, 2], scores, atol=2e-3)


def test_first_rates_by_hand():
    targets = torch.tensor([[[1.0, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    everywhere = torch.ones_like(targets)
    usual = torch.tensor([2.5, 1.5, 0.5, 0.5, 0.5]) / 4
    flat = simulation.first_rates(targets, everywhere)[0]
    torch.testing.assert_close(flat, (torch.tensor([2.0, 1, 0, 0, 0]) + usual) / 4)
    asked = simulation.are_asked(targets, TREE)
    # Opacity is asked where Abnormal is, on two images; its children on one; Fracture on two.
    assert asked[0].sum(dim=0).tolist() == [3, 2, 1, 1, 2]
    found = simulation.first_rates(targets, asked)[0]
    expected = (torch.tensor([2.0, 1, 0, 0, 0]) + usual) / torch.tensor([4.0, 3, 2, 2, 3])
    torch.testing.assert_close(found, expected)


def test_what_is_best_on_validation_data_is_kept():
    train, valid = some_data(count=100), some_data(count=100, seed=10)
    kept = learn("hinge", TREE, train, valid)
    scores, truth = kept(valid[0]), valid[1]
    by_hand = np.mean([
        average_precision_score(truth[r, :, n], scores[r, :, n])
        for r in range(2)
        for n in range(5)
    ])  # fmt: skip
    assert kept.average_precision(valid) == pytest.approx(by_hand)
    tried = {
        (ridge, weight): learn("hinge", TREE, train, valid, weights=(weight,), ridges=(ridge,))
        for ridge in simulation.RIDGES["linear"]
        for weight in simulation.WEIGHTS
    }
    found = {pair: one.average_precision(valid) for pair, one in tried.items()}
    assert found[kept.ridge, kept.weight] == pytest.approx(max(found.values()), abs=2e-3)


def test_hmlc_lowers_the_entropy_of_its_products():
    """On the images it learns from, the second stage is better than the first by what it asks."""
    train = some_data(count=300)
    entropy = []
    for word in ("conditional", "hmlc"):
        scores = learn(word, TREE, train, train, ridges=(1.0,))(train[0]).astype(float)
        entropy.append(-np.where(train[1] == 1, np.log(scores), np.log1p(-scores)).mean())
    assert entropy[1] < entropy[0]


@pytest.mark.parametrize("model", simulation.MODELS)
@pytest.mark.parametrize("word", METHODS)
def test_every_method_learns(word, model):
    made = {"count": 600, "width": 24, "strength": 2.5}
    train, valid, (x, labels) = (some_data(**made, seed=seed) for seed in (0, 10, 20))
    scores = learn(word, TREE, train, valid, model, ridges=(30.0, 10.0))(x)
    assert scores.shape == labels.shape
    for truth, one in zip(labels, scores, strict=True):
        assert np.nanmean(rank_measures(truth, one)[0]) > 0.8
        broken = TREE.incoherent(TREE.to_table(one)).mean()
        assert (broken == 0) == (word in ("max-constraint", "conditional", "hmlc"))


def test_a_heavy_penalty_makes_scores_coherent():
    train, valid = some_data(), some_data(seed=10)
    broken = [
        np.mean([
            TREE.incoherent(TREE.to_table(one)).mean()
            for one in learn("hinge", TREE, train, valid, weights=(weight,))(valid[0])
        ])
        for weight in (0.0, 100.0)
    ]  # fmt: skip
    assert broken[1] < broken[0] / 3


def test_a_penalty_without_weight_is_flat():
    """The same objective, digit for digit; and the same scores, as near as 32 bits can find it."""
    (x, y), valid = some_data(), some_data(seed=10)
    logits, targets = torch.randn(256, 5, requires_grad=True), torch.as_tensor(y[0])
    flat = learn("flat", TREE, (x, y), valid, ridges=(10.0,))(valid[0])
    for word in simulation.PENALISED:
        values = [
            simulation.make_method(name, TREE, weight=0.0)[0](logits, targets)
            for name in ("flat", word)
        ]
        gradients = [torch.autograd.grad(value, logits)[0] for value in values]
        assert values[0] == values[1]
        torch.testing.assert_close(*gradients, rtol=0, atol=0)
        scores = learn(word, TREE, (x, y), valid, weights=(0.0,), ridges=(10.0,))(valid[0])
        np.testing.assert_allclose(scores, flat, atol=1e-3)


@pytest.mark.parametrize("word", ["flat", "conditional"])
def test_a_rare_label_is_called_rare_however_it_is_held_back(word):
    """Features of pure noise: all that can be learnt is how frequent each label is."""
    labels = some_labels(2000)[None]
    x = np.random.default_rng(7).standard_normal((1, 2000, 16)).astype(np.float32)
    scores = learn(word, TREE, (x, labels), (x, labels), ridges=(1e5,))(x)
    np.testing.assert_allclose(scores.mean(axis=(0, 1)), labels.mean(axis=(0, 1)), atol=0.01)


def test_one_seed_for_two_purposes_does_not_make_them_alike():
    made = simulation.signs(TREE, width=128, seed=0)
    x = simulation.features(np.zeros((5, 5)), made, TREE, seed=0)
    assert np.abs(np.corrcoef(made, x)[:5, 5:]).max() < 0.4


def test_methods_are_read_as_in_the_course():
    """The losses and readouts are the course's own, not others of the same name."""
    paper = paper_hierarchy()
    loss, readout = simulation.make_method("hinge", paper, weight=3.0)
    assert (loss.form, loss.weight) == ("hinge", 3.0)
    assert set(loss.penalties.tolist()) == {0.5}
    assert isinstance(readout, torch.nn.Sigmoid)
    assert type(simulation.make_method("hmlc", paper)[0]).__name__ == "TwoStageLoss"


def test_a_label_hardly_seen_follows_its_parents():
    given = np.zeros((10, 5), dtype=np.float32)
    given[:6] = [1, 1, 1, 0, 0]  # Edema is seen; Pneumonia and Fracture never
    scores = np.array([[0.8, 0.6, 0.3, 0.9, 0.9], [0.2, 0.1, 0.05, 0.0, 0.5]])
    expected = scores.copy()
    # Never seen, on ten images: 0.5 / 11 of all; and six images have the parent.
    expected[:, 3] = scores[:, 1] * 0.5 / 11 / 7
    expected[:, 4] = scores[:, 0] * 0.5 / 11 / 7
    np.testing.assert_allclose(simulation.ask_the_parent(scores, given, TREE), expected)
    two = Hierarchy(["A", "B", "C"], [("A", "C"), ("B", "C")])
    both = simulation.ask_the_parent(np.array([[0.9, 0.4, 0.0]]), np.zeros((3, 3), "f4"), two)
    assert both[0, 2] == pytest.approx(0.4 * 0.5 / 4)


def test_a_score_times_those_above_it():
    scores = np.array([[0.8, 0.5, 0.3, 0.9, 0.5]])
    product = simulation.times_ancestors(scores, TREE)
    below = np.sqrt(0.8 * 0.5)
    expected = [[0.8, 0.5 * 0.8, 0.3 * below, 0.9 * below, 0.5 * 0.8]]
    np.testing.assert_allclose(product, expected)


def test_bad_input_is_named():
    labels = some_labels(64)
    with pytest.raises(ValueError, match="'step'.*flat"):
        simulation.make_method("step", TREE)
    with pytest.raises(ValueError, match="kappa=-1"):
        simulation.misread(labels, TREE, -1)
    with pytest.raises(ValueError, match="share=2"):
        simulation.omit_parents(labels, TREE, 2)
    with pytest.raises(ValueError, match="shared=1.5"):
        simulation.signs(TREE, shared=1.5)
    with pytest.raises(ValueError, match="'forest'.*linear"):
        Together(4, torch.full((1, 5), 0.5), "forest")
