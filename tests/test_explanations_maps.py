"""Maps: by hand, of every method and of finer layers, and what cannot be explained."""

import numpy as np
import pytest
import torch
from pytorch_grad_cam import EigenCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from cxrlib import models
from cxrlib.explanations import METHODS, deletion_insertion, explain, features_of
from cxrlib.hierarchy import paper_hierarchy

LABELS = paper_hierarchy().labels


def by_hand(model, image, label):
    """Grad-CAM through the whole network for one image and label, by its two equations."""
    kept = {}
    hook = model.head.relu.register_forward_hook(lambda m, i, o: kept.update(maps=o))
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


def test_a_pointing_map_says_how_much_of_the_odds_a_place_holds(pointing, images):
    maps = explain(pointing, images, ["Edema", "Fracture"], method="pointing")
    assert maps.features.shape == (3, 2, 8, 8)
    assert maps.features.amax(dim=(2, 3)).eq(1).all() and maps.features.min() > 0
    head, place = pointing.head, LABELS.index("Edema")
    with torch.no_grad():
        odds = head.places(pointing.features(images))[:, place].exp()
    torch.testing.assert_close(maps.features[:, 0], odds / odds.amax(dim=(1, 2), keepdim=True))
    # The other methods ask the same head by its gradient; the hand's Grad-CAM agrees there as well.
    cam = explain(pointing, images, ["Edema"])
    torch.testing.assert_close(
        cam.features[0, 0], by_hand(pointing, images[0], "Edema"), atol=1e-5, rtol=0
    )


def test_pointing_needs_a_head_that_points(model, pointing, images):
    with pytest.raises(ValueError, match="expected a model with head='pointing'"):
        explain(model, images, method="pointing")
    with pytest.raises(ValueError, match="finer=0"):
        explain(pointing, images, method="pointing", finer=1)


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
    assert not model.head.relu._forward_hooks
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


# --- Finer maps -----------------------------------------------------------------------------------


def test_a_finer_layer_gives_finer_maps(model, images):
    for finer, side in ((1, 8), (2, 16)):
        maps = explain(model, images, ["Edema", "Fracture"], method="layercam", finer=finer)
        assert maps.features.shape == (3, 2, side, side)
    for finer in (3, -1, True, 1.5):
        with pytest.raises(ValueError, match=f"finer={finer}.*0 to 2"):
            explain(model, images, finer=finer)


def test_layercam_of_a_finer_layer_equals_one_written_by_hand(model, images):
    """After the transition's ReLU: of a dense block itself, LayerCAM would take negative maps."""
    kept, relu = {}, model.features[0].transition2.relu
    hook = relu.register_forward_hook(lambda m, i, o: kept.update(maps=o))
    logit = model(images[:1])[0, LABELS.index("Edema")]
    hook.remove()
    (slope,) = torch.autograd.grad(logit, kept["maps"])
    assert (kept["maps"] >= 0).all()
    cam = (slope.relu() * kept["maps"]).sum(dim=1)[0].detach()
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    found = explain(model, images[:1], ["Edema"], method="layercam", finer=1).features[0, 0]
    torch.testing.assert_close(found, cam, atol=1e-5, rtol=0)


def test_the_other_preset_can_be_explained_finely():
    torch.manual_seed(0)
    maps = explain(models.build("densenet121"), torch.rand(1, 1, 64, 64), ["Edema"], finer=1)
    assert maps.features.shape == (1, 1, 4, 4)


# --- Bad arguments --------------------------------------------------------------------------------


def test_images_of_another_precision_are_refused(model, images):
    maps = np.zeros((3, 64, 64))
    for odd in (images.double(), images.half()):
        for call in (
            lambda x: explain(model, x),
            lambda x: deletion_insertion(model, x, maps, "Edema"),
        ):
            with pytest.raises(ValueError, match=r"expected float32.*images\.float"):
                call(odd)


def test_eigencam_is_computed_once_and_large_maps_are_refused(model, images):
    maps = explain(model, images, method="eigencam")
    assert maps.features.shape == (3, 21, 4, 4)
    assert (maps.features == maps.features[:, :1]).all()
    with pytest.raises(ValueError, match="Eigen-CAM.*64 × 64"):
        explain(model, torch.rand(1, 1, 512, 512), ["Edema"], method="eigencam", finer=2)


def test_eigencam_rises_where_the_features_are_strong(model, images):
    """The sign of a principal component is an accident; the map by hand is the same with either."""
    with torch.no_grad():
        features = model.head.relu(model.head.conv(model.features(images)))
    found = explain(model, images, ["Edema"], method="eigencam").features[:, 0].flatten(1)
    plain = EigenCAM(model, [model.head.relu])(images, [ClassifierOutputTarget(0)] * len(images))
    small = adaptive_avg_pool2d(torch.from_numpy(plain)[:, None], 4)[:, 0].flatten(1)
    turned = [np.corrcoef(a, b)[0, 1] < 0 for a, b in zip(small, found, strict=True)]
    assert any(turned)  # pytorch-grad-cam's own sign is another for some of them
    for one, cam in zip(features, found, strict=True):
        flat = one.flatten(1).T.double()
        flat = flat - flat.mean(dim=0)
        energy = (one.double() ** 2).sum(dim=0).flatten()
        first = flat @ torch.linalg.svd(flat, full_matrices=False).Vh[0]
        first = first * torch.sign(first @ (energy - energy.mean()))
        first = first.clamp(min=0)
        torch.testing.assert_close(cam.double(), first / first.max(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "pointing"])
def test_features_at_hand_give_the_same_maps(model, pointing, images, method):
    network = (pointing if method == "pointing" else model).train()
    features = features_of(network, images)
    assert network.training and not features.requires_grad
    again = explain(network, images, method=method, features=features)
    torch.testing.assert_close(again.images, explain(network, images, method=method).images)
    # They are what is explained: those of other images give other maps.
    other = explain(network, images, method=method, features=features.flip(0))
    assert not torch.allclose(other.images, again.images)


def test_features_that_do_not_go_with_the_images_are_named(model, images):
    features = features_of(model, images)
    with pytest.raises(ValueError, match="features_of"):
        explain(model, images[:1], features=features)
    with pytest.raises(ValueError, match="features_of"):
        explain(model, images, features=features[0])
    with pytest.raises(ValueError, match="finer=0"):
        explain(model, images, features=features, finer=1)
