"""Measures of doubt, and what they are good for."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from cxrlib import models
from cxrlib.data import Augmentation
from cxrlib.explanations import check_images, features_of
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.losses import Conditional
from cxrlib.uncertainty import (
    augmented_passes,
    decompose,
    dropout_passes,
    embed,
    entropy,
    mc_dropout,
    odd_images,
    risk_coverage,
)


def whole_network(model, images, passes):
    """The plain way: the whole network, once a pass, with dropout on."""
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.train()
    with torch.no_grad():
        scores = torch.stack([model(images).sigmoid() for _ in range(passes)])
    model.eval()
    return scores


@pytest.mark.parametrize("head", ["model", "pointing"])
def test_passes_are_those_of_the_whole_network_in_distribution(head, images, request):
    torch.manual_seed(0)
    net = request.getfixturevalue(head)
    ours = dropout_passes(net, images, 200)
    plain = whole_network(net, images, 200)
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


def test_features_at_hand_give_the_same_doubt(model, images):
    features = features_of(model, images)
    torch.manual_seed(0)
    anew = mc_dropout(model, images, 20)
    torch.manual_seed(0)
    torch.testing.assert_close(mc_dropout(model, images, 20, features=features).mean, anew.mean)
    with pytest.raises(ValueError, match="features_of"):
        mc_dropout(model, images[:1], 20, features=features)
