import pytest
import torch
from scipy import stats
from torch import nn

from cxrlib import models
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.losses import Conditional
from cxrlib.uncertainty import decompose, dropout_passes, entropy, mc_dropout


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
