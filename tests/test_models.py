import copy
import math
import urllib.error

import pytest
import torch

from cxrlib import models


@pytest.mark.parametrize(("preset", "size"), [("tiny", 96), ("tiny", 128), ("densenet121", 64)])
def test_images_to_logits(preset, size):
    model = models.build(preset, num_labels=21).eval()
    logits = model(torch.rand(2, 1, size, size))
    assert logits.shape == (2, 21)
    assert torch.isfinite(logits).all()


def test_densenet121_is_torchvisions_with_the_papers_head():
    model = models.build("densenet121")
    # torchvision's DenseNet121 has 7,978,856 parameters, 1,025,000 of them in its classifier.
    assert models.count_parameters(model.features) == 7_978_856 - 1_025_000
    conv = 1024 * 512 * 9 + 512
    norm, dense, logits = 2 * 512, 512 * 128 + 128, 128 * 21 + 21
    assert models.count_parameters(model.head) == conv + norm + dense + logits
    assert model.head.dropout.p == 0.5


@pytest.mark.parametrize("head", ["paper", "pointing"])
def test_channels_last_is_an_order_in_memory_that_a_checkpoint_survives(head):
    model = models.build("tiny", head=head).eval()
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    square = [p for p in model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert square[0].is_contiguous(memory_format=torch.channels_last)
    images = torch.rand(3, 1, 96, 96)
    torch.testing.assert_close(model(images), plain(images), rtol=1e-4, atol=1e-5)
    again = models.build("tiny", head=head).eval()
    again.load_state_dict(plain.state_dict())
    assert torch.equal(again(images), model(images))


def test_features_then_head_is_the_whole():
    model = models.build("tiny").eval()
    images = torch.rand(2, 1, 96, 96)
    assert torch.equal(model(images), model.head(model.features(images)))


@pytest.mark.parametrize(("preset", "size", "side"), [("tiny", 96, 12), ("densenet121", 64, 4)])
def test_a_pointing_head_answers_by_its_map(preset, size, side):
    torch.manual_seed(0)
    model = models.build(preset, head="pointing").eval()
    features = model.features(torch.rand(2, 1, size, size))
    assert features.shape[2:] == (side, side)  # twice as fine as with the paper's head
    places = model.head.logits(model.head.norm(model.head.relu(model.head.conv(features))))
    odds = model.head(features).exp()
    torch.testing.assert_close(odds, places.exp().mean(dim=(2, 3)))  # by hand, without tricks
    shares = model.head.shares(features)
    torch.testing.assert_close(shares.sum(dim=(2, 3)), torch.ones(2, 21))
    torch.testing.assert_close(shares, places.exp() / (odds * side * side)[..., None, None])


def test_one_sure_place_raises_a_label_and_odds_of_thousands_do_not_overflow():
    places = torch.full((1, 1, 4, 4), -8.0)
    alike = models.LogMeanExp()(places)
    places[0, 0, 1, 2] = 4.0
    assert alike.item() == pytest.approx(-8.0)
    assert models.LogMeanExp()(places).item() == pytest.approx(4 - math.log(16), abs=1e-3)
    assert models.LogMeanExp()(places + 300).item() == pytest.approx(304 - math.log(16), abs=1e-3)


def test_random_initialisation_follows_the_seed():
    torch.manual_seed(1)
    first = models.build("tiny").state_dict()
    torch.manual_seed(1)
    second = models.build("tiny").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_colour_images_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 3, 96, 96\).*one grey channel"):
        models.build("tiny")(torch.rand(2, 3, 96, 96))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"preset": "resnet"}, "resnet"), ({"head": "neck"}, "neck"),
     ({"weights": "chexpert"}, "chexpert"),
     ({"preset": "tiny", "weights": "imagenet"}, "no ImageNet weights")],
)  # fmt: skip
def test_unknown_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        models.build(**arguments)


def test_unreachable_imagenet_weights_say_what_to_do(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(RuntimeError, match="weights=.random."):
        models.build("densenet121", weights="imagenet")


def test_imagenet_weights_are_loaded_from_the_cache(monkeypatch):
    cached = models.densenet121().state_dict()
    monkeypatch.setattr(models.DenseNet121_Weights, "get_state_dict", lambda *a, **k: dict(cached))
    model = models.build("densenet121", weights="imagenet")
    ours = model.features[0][1].state_dict()
    assert all(torch.equal(ours[name], cached[f"features.{name}"]) for name in ours)
