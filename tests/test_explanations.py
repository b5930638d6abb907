import numpy as np
import pytest
import torch
from torch import nn

from cxrlib import models
from cxrlib.explanations import METHODS, best_threshold, blind_map, explain, localisation
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


# --- Does the map lie on the finding? -------------------------------------------------------------


def test_localisation_by_hand():
    mask = np.zeros((1, 4, 4), dtype=bool)
    mask[0, :2, :2] = True
    good = np.zeros((1, 4, 4))
    good[0, 0, :4] = [1.0, 0.9, 0.8, 0.2]
    row = localisation(good, mask, threshold=0.5).iloc[0]
    assert row["hit"] == 1
    assert row["iou"] == pytest.approx(2 / 5)  # two of four, and one beside it
    assert row["chance"] == 4 / 16
    # Two of the mask's pixels come first; the other two tie with the rest of the image at 0.
    assert row["auprc"] == pytest.approx((1 + 1) / 4 + 2 / 4 * 4 / 16)
    perfect = localisation(mask.astype(float), mask).iloc[0]
    assert perfect[["hit", "iou", "auprc"]].tolist() == [1, 1, 1]
    nothing = localisation(np.zeros((1, 4, 4)), mask).iloc[0]
    assert nothing[["hit", "iou", "auprc"]].tolist() == [4 / 16, 0, 4 / 16]


def test_a_random_map_is_at_chance():
    rng = np.random.default_rng(0)
    masks = np.zeros((300, 16, 16), dtype=bool)
    masks[:, 3:9, 4:10] = True
    table = localisation(rng.random(masks.shape), masks)
    assert table["hit"].mean() == pytest.approx(table["chance"].mean(), abs=0.06)
    assert table["auprc"].mean() == pytest.approx(table["chance"].mean(), abs=0.03)


def test_the_best_threshold_is_the_best():
    rng = np.random.default_rng(1)
    masks = rng.random((20, 8, 8)) < 0.3
    maps = np.where(masks, 0.4 + 0.6 * rng.random(masks.shape), 0.5 * rng.random(masks.shape))
    chosen = best_threshold(maps, masks)
    means = {t: localisation(maps, masks, t)["iou"].mean() for t in (0.1, 0.3, 0.6, 0.9)}
    assert localisation(maps, masks, chosen)["iou"].mean() >= max(means.values())
    assert 0.3 < chosen < 0.6


def test_the_blind_map_is_the_mean():
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 0], maps[1, 0, 0], maps[1, 1, 1] = 1, 1, 1
    np.testing.assert_allclose(blind_map(maps), [[1, 0], [0, 0.5]])
    assert (blind_map(np.ones((2, 2, 2))) == 0).all()


def test_bad_masks_are_named():
    maps, masks = np.zeros((2, 4, 4)), np.ones((2, 4, 4), dtype=bool)
    for odd, message in (
        (masks[:1], r"\(2, 4, 4\) and masks \(1, 4, 4\)"),
        (masks.astype(float), "expected bool"),
        (masks & (np.arange(2) == 0)[:, None, None], "mask 1 is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            localisation(maps, odd)
