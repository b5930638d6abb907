"""Simulated features for real labels: what is simulated, learnt and measured."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

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


def test_a_poor_labeler_is_as_poor_as_was_asked():
    truth = some_labels(100_000)
    noisy = simulation.miss_and_invent(truth, TREE, sensitivity=0.46, precision=0.6, seed=5)
    for leaf in ("Edema", "Pneumonia", "Fracture"):
        n = TREE.labels.index(leaf)
        found, called = noisy[truth[:, n] == 1, n].mean(), truth[noisy[:, n] == 1, n].mean()
        assert found == pytest.approx(0.46, abs=0.02)
        assert called == pytest.approx(0.6, abs=0.02)
    assert not TREE.incoherent(TREE.to_table(noisy)).any()
    alone = (truth[:, 1] == 1) & (truth[:, 2] == 0) & (truth[:, 3] == 0)
    unaided = alone & (noisy[:, 2] == 0) & (noisy[:, 3] == 0)
    assert noisy[unaided, 1].mean() == pytest.approx(0.46, abs=0.03)
    perfect = simulation.miss_and_invent(truth, TREE, 1.0, 1.0)
    np.testing.assert_array_equal(perfect, truth)


def test_parents_are_dropped_where_a_child_implies_them():
    truth = some_labels()
    none, every = (simulation.drop_parents(truth, TREE, share) for share in (0.0, 1.0))
    np.testing.assert_array_equal(none, truth)
    np.testing.assert_array_equal(simulation.close(every, TREE), truth)
    edema = TREE.to_table(np.array([[1.0, 1, 1, 0, 0], [1, 1, 0, 0, 0]]))
    dropped = simulation.drop_parents(edema, TREE, 1.0)
    np.testing.assert_array_equal(dropped, [[0, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    some = simulation.drop_parents(truth, TREE, 0.38, seed=5)
    broken = TREE.incoherent(TREE.to_table(some))[truth.sum(axis=1) > 1]
    assert broken.mean() == pytest.approx(0.38, abs=0.03)


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


def test_replicates_do_not_learn_from_each_other():
    """Two replicates at once end where each of them does alone."""
    labels = np.stack([some_labels(256, seed) for seed in (1, 2)])
    made = simulation.signs(TREE, width=16)
    x = np.stack([simulation.features(y, made, TREE, seed=3) for y in labels])
    both = learn("flat", TREE, (x, labels), (x, labels), steps=40)(x)
    net = Together(2, 16, 5)
    alone = Together(1, 16, 5)
    for ours, all_ in zip(alone.parameters(), net.parameters(), strict=True):
        ours.data = all_.data[:1].clone()
    first = learn("flat", TREE, (x[:1], labels[:1]), (x[:1], labels[:1]), steps=40)(x[:1])
    # The same data in the same order from other first weights: convex, so nearly the same end.
    assert np.corrcoef(first.ravel(), both[:1].ravel())[0, 1] > 0.95
    twice = learn("flat", TREE, (x[[0, 0]], labels[[0, 0]]), (x[[0, 0]], labels[[0, 0]]), steps=40)
    other = learn("flat", TREE, (x, labels), (x, labels), steps=40)
    kept = [net.model.weights[0][0].detach() for net in (twice, other)]
    torch.testing.assert_close(*kept)


@pytest.mark.parametrize("model", simulation.MODELS)
@pytest.mark.parametrize("word", METHODS)
def test_every_method_learns(word, model):
    labels = np.stack([some_labels(600, seed) for seed in (1, 2)])
    made = simulation.signs(TREE, strength=2.5, width=24)
    x = np.stack([simulation.features(y, made, TREE, seed=n) for n, y in enumerate(labels)])
    scores = learn(word, TREE, (x, labels), (x, labels), model, steps=100)(x)
    assert scores.shape == labels.shape
    for truth, one in zip(labels, scores, strict=True):
        assert np.nanmean(rank_measures(truth, one)[0]) > 0.8
        broken = TREE.incoherent(TREE.to_table(one)).mean()
        assert broken == 0 if word in ("max-constraint", "conditional", "hmlc") else broken >= 0


@pytest.mark.parametrize("word", ["flat", "conditional"])
def test_a_rare_label_is_called_rare_however_strong_the_decay(word, monkeypatch):
    """Features of pure noise: all that can be learnt is how frequent each label is."""
    monkeypatch.setattr(simulation, "DECAYS", (30.0,))
    labels = some_labels(2000)[None]
    x = np.random.default_rng(7).standard_normal((1, 2000, 16)).astype(np.float32)
    scores = learn(word, TREE, (x, labels), (x, labels), steps=100)(x)
    np.testing.assert_allclose(scores.mean(axis=(0, 1)), labels.mean(axis=(0, 1)), atol=0.02)


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


def test_bad_input_is_named():
    labels = some_labels(64)
    with pytest.raises(ValueError, match="'step'.*flat"):
        simulation.make_method("step", TREE)
    with pytest.raises(ValueError, match="precision=0"):
        simulation.miss_and_invent(labels, TREE, 0.5, 0)
    with pytest.raises(ValueError, match="share=2"):
        simulation.drop_parents(labels, TREE, 2)
    with pytest.raises(ValueError, match="shared=1.5"):
        simulation.signs(TREE, shared=1.5)
    with pytest.raises(ValueError, match="steps=7"):
        learn("flat", TREE, (labels[None], labels[None]), (labels[None], labels[None]), steps=7)
    with pytest.raises(ValueError, match="'forest'.*linear"):
        Together(1, 4, 5, "forest")
