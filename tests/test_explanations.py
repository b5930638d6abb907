import numpy as np
import pytest
import torch
from torch import nn

from cxrlib import models
from cxrlib.explanations import METHODS, explain
from cxrlib.hierarchy import paper_hierarchy

LABELS = paper_hierarchy().labels


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = models.build("tiny")
    with torch.no_grad():
        made(torch.rand(16, 1, 64, 64))  # batch normalisation has seen something
    return made.eval()


@pytest.fixture
def images():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def by_hand(model, image, label):
    """Grad-CAM through the whole network for one image and label, by its two equations."""
    kept = {}
    hook = model.head.conv.register_forward_hook(lambda m, i, o: kept.update(maps=o))
    logit = model(image[None])[0, LABELS.index(label)]
    hook.remove()
    (gradient,) = torch.autograd.grad(logit, kept["maps"])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    cam = (weights * kept["maps"]).sum(dim=1)[0].relu().detach()
    cam = cam - cam.min()
    return cam / cam.max().clamp(min=1e-12)


def test_gradcam_equals_one_written_by_hand(model, images):
    maps = explain(model, images)
    assert maps.features.shape == (3, 21, 4, 4)
    assert maps.images.shape == (3, 21, 64, 64)
    for row, image in enumerate(images):
        for label in ("Edema", "Fracture", "Abnormal"):
            found = maps.features[row, LABELS.index(label)]
            torch.testing.assert_close(found, by_hand(model, image, label), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_maps_go_from_0_to_1_and_some_labels_are_some_of_all(model, images, method):
    maps = explain(model, images, method=method)
    assert maps.images.min() >= 0
    assert maps.images.max() <= 1 + 1e-6
    some = explain(model, images, labels=["Fracture", "Edema"], method=method)
    assert some.labels == ("Fracture", "Edema")
    torch.testing.assert_close(some["Edema"], maps["Edema"])
    torch.testing.assert_close(some["Fracture"], maps["Fracture"])
    different = not torch.allclose(maps["Edema"], maps["Cardiac"])
    assert different == (method != "eigencam")


def test_an_image_is_explained_alike_alone_and_in_a_batch(model, images):
    together = explain(model, images)
    alone = torch.cat([explain(model, image[None]).features for image in images])
    torch.testing.assert_close(together.features, alone, atol=1e-5, rtol=0)


def test_explaining_leaves_the_model_as_it_was(model, images):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    explain(model, images)
    assert all(module.training for module in model.modules())
    model.eval()
    explain(model, images)
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.head.conv._forward_hooks
    with torch.inference_mode():
        explain(model, images.clone())


def test_bad_input_is_named(model, images):
    for arguments, message in (
        ({"method": "gradkam"}, "unknown method 'gradkam': choose one of gradcam"),
        ({"labels": ["Oedema"]}, "unknown label.*Oedema"),
        ({"labels": []}, "choose from Atelectasis"),
        ({"names": ["Edema"]}, "1 names for a model with 21 outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            explain(model, images, **arguments)
    for odd, message in (
        (images[0], r"shape \(1, 64, 64\): expected \[B, 1, H, W\]"),
        (images.expand(-1, 3, -1, -1), "one grey channel"),
        (images * 255, "expected 0 to 1"),
        (images - 1, "expected 0 to 1"),
        (torch.full_like(images, float("nan")), "expected 0 to 1"),
        ((images * 255).byte(), "expected float"),
        (images[:0], "at least 1"),
        (images[..., :8, :8], "32 × 32"),
        (np.zeros((1, 1, 64, 64)), "expected"),
    ):
        with pytest.raises(ValueError, match=message):
            explain(model, odd)


def test_other_names(images):
    torch.manual_seed(0)
    two = models.build("tiny", num_labels=2)
    assert isinstance(two.head.logits, nn.Linear)
    assert explain(two, images, names=["cat", "dog"]).labels == ("cat", "dog")
