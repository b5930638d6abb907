from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from cxrlib import data, models, phantom
from cxrlib.cohort import study_of, write_cohort
from cxrlib.explanations import (
    METHODS,
    best_threshold,
    blind_map,
    covered,
    deletion_insertion,
    explain,
    find_masks,
    localisation,
    randomised,
    rank_correlation,
)
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


def test_a_finer_layer_gives_finer_maps(model, images):
    for finer, side in ((1, 8), (2, 16)):
        maps = explain(model, images, ["Edema", "Fracture"], method="layercam", finer=finer)
        assert maps.features.shape == (3, 2, side, side)
    for finer in (3, -1, True, 1.5):
        with pytest.raises(ValueError, match=f"finer={finer}.*0 to 2"):
            explain(model, images, finer=finer)


def test_layercam_of_a_finer_layer_equals_one_written_by_hand(model, images):
    block = model.features[0].denseblock2
    kept = {}
    hook = block.register_forward_hook(lambda m, i, o: kept.update(maps=o))
    logit = model(images[:1])[0, LABELS.index("Edema")]
    hook.remove()
    (slope,) = torch.autograd.grad(logit, kept["maps"])
    cam = (slope.relu() * kept["maps"]).sum(dim=1)[0].relu().detach()
    cam = (cam - cam.min()) / (cam.max() - cam.min())
    found = explain(model, images[:1], ["Edema"], method="layercam", finer=1).features[0, 0]
    torch.testing.assert_close(found, cam, atol=1e-5, rtol=0)


def test_the_other_preset_can_be_explained_finely():
    torch.manual_seed(0)
    maps = explain(models.build("densenet121"), torch.rand(1, 1, 64, 64), ["Edema"], finer=1)
    assert maps.features.shape == (1, 1, 4, 4)


# --- Where the findings are -----------------------------------------------------------------------


def test_masks_of_a_phantom_are_those_it_was_drawn_with(tmp_path):
    write_cohort(
        tmp_path / "c", {"train": 6, "valid": 1, "test": 1}, 32, processes=1, progress=False
    )
    track = data.open_track(tmp_path / "c")
    paths = list(track.split("train")["path"])
    found = find_masks(track, paths, 32)
    paper = paper_hierarchy()
    for row, path in enumerate(paths):
        known = phantom.masks(study_of(track.folder, path), 32)
        for label in set(LABELS) - {"Uncertain", "No Finding"}:
            below = [known[n] for n in (label, *paper.descendants(label)) if n in known]
            expected = np.any(below, axis=0) if below else np.zeros((32, 32), dtype=bool)
            rows, masks = found.get(label, (np.array([]), None))
            if expected.any():
                assert (masks[list(rows).index(row)] == expected).all()
            else:
                assert row not in rows


def test_masks_of_nih_are_its_boxes(nih_folder):
    track = data.open_track(nih_folder)
    track.boxes.loc[0, "observation"] = "Pneumonia"
    paths = list(track.table["path"])
    rows, masks = find_masks(track, paths, 64)["Pneumonia"]
    assert [paths[row] for row in rows] == ["images/00000001_000.png"]
    expected = np.zeros((64, 64), dtype=bool)
    expected[16:20, 32:40] = True
    assert (masks[0] == expected).all()
    assert set(find_masks(track, paths, 64)) == {
        "Pneumonia", "Consolidation", "Fluid Accumulation", "Opacity", "Abnormal"
    }  # fmt: skip


def test_where_chexperts_findings_are_is_not_known(chexpert_folder):
    with pytest.raises(ValueError, match="'chexpert'.*not known"):
        find_masks(data.open_track(chexpert_folder), [], 32)


# --- Does the map depend on the model? ------------------------------------------------------------


def test_more_and_more_is_forgotten(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stages, changed = [], []
    for stage, copy in randomised(model, seed=1):
        stages.append(stage)
        values = copy.state_dict().items()
        changed.append({name for name, value in values if not torch.equal(value, before[name])})
    assert stages == ["logits", "dense", "conv", "block 3", "block 2", "block 1", "stem"]
    assert changed[0] == {"head.logits.weight", "head.logits.bias"}
    assert all(one < more for one, more in pairwise(changed))
    weights = {name for name, _ in model.named_parameters() if name.endswith("weight")}
    # Batch normalisation starts at one and zero, so a weight of one may be drawn anew as it was.
    moved = {name for name in weights if before[name].ndim > 1}
    assert moved <= changed[-1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_rank_correlation_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, 3, 4, 5)).round(1), rng.random((2, 3, 4, 5)).round(1)
    found = rank_correlation(one, other)
    assert found.shape == (2, 3)
    expected = stats.spearmanr(one[1, 2].ravel(), other[1, 2].ravel()).statistic
    assert found[1, 2] == pytest.approx(expected)
    assert (rank_correlation(one, np.ones_like(one)) == 0).all()
    assert rank_correlation(one, -one) == pytest.approx(-1)
    with pytest.raises(ValueError, match="the same"):
        rank_correlation(one, other[0])


# --- Deletion, insertion, covering ----------------------------------------------------------------


class Bright(nn.Module):
    """A model whose only logit is the brightness of the upper left corner, steeply."""

    def forward(self, images):
        return 20 * images[:, 0, :16, :16].mean(dim=(1, 2))[:, None] - 15


def test_deletion_and_insertion_follow_the_map():
    images = torch.zeros(2, 1, 64, 64)
    images[:, :, :16, :16] = 1.0
    right, wrong = np.zeros((2, 64, 64)), np.zeros((2, 64, 64))
    right[:, :16, :16], wrong[:, 48:, 48:] = 1, 1
    lost, gained = deletion_insertion(Bright(), images, right, "it", steps=16, names=["it"])
    assert lost.shape == gained.shape == (2, 17)
    assert lost[:, 0] == pytest.approx(gained[:, -1])
    assert lost[:, -1] == pytest.approx(gained[:, 0])
    # The corner is a sixteenth of the image: the first step removes all of it, or brings it back.
    assert lost[:, 1] == pytest.approx(lost[:, -1])
    assert gained[:, 1] == pytest.approx(gained[:, -1])
    late, _ = deletion_insertion(Bright(), images, wrong, "it", steps=16, names=["it"])
    assert (late[:, 1] > lost[:, 1] + 0.3).all()
    with pytest.raises(ValueError, match=r"expected \[B, H, W\]"):
        deletion_insertion(Bright(), images, right[:1], "it", names=["it"])


def test_covered_by_hand():
    child = np.array([[[1.0, 0.5], [0.0, 0.5]]])
    assert covered(child, child) == pytest.approx(1)
    assert covered(np.array([[[0.5, 1.0], [1.0, 0.0]]]), child) == pytest.approx((0.5 + 0.5) / 2)
    assert np.isnan(covered(child, np.zeros((1, 2, 2))))


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


def test_maps_that_are_none_are_named():
    maps, masks = np.full((2, 4, 4), 0.5), np.ones((2, 4, 4), dtype=bool)
    broken = maps.copy()
    broken[1, 2, 3] = np.nan
    for call in (
        lambda m: localisation(m, masks),
        lambda m: best_threshold(m, masks),
        lambda m: covered(m, maps),
        lambda m: covered(maps, m),
        lambda m: rank_correlation(m, maps),
        blind_map,
    ):
        for odd in (broken, broken * np.inf, maps[:0], np.full((2, 4, 4), "a"), maps[0, 0]):
            with pytest.raises(ValueError, match="maps"):
                call(odd)
    for call in (localisation, best_threshold):
        with pytest.raises(ValueError, match="from 0 to 1"):
            call(maps * 255, masks)
    with pytest.raises(ValueError, match="the same"):
        covered(maps, maps[:1])


def test_options_out_of_range_are_named(model, images):
    maps, masks = np.full((3, 64, 64), 0.5), np.ones((3, 64, 64), dtype=bool)
    steps = lambda n: deletion_insertion(model, images, maps, "Edema", steps=n)  # noqa: E731
    for call, message in (
        (lambda: steps(0), "steps=0"),
        (lambda: steps(10**5), "steps=100000.*at most 1,000"),
        (lambda: steps(1.5), "steps=1.5"),
        (lambda: deletion_insertion(model, images, maps * np.nan, "Edema"), "NaN"),
        (lambda: deletion_insertion(model, images, maps, "Oedema"), "unknown label.*Oedema"),
        (lambda: deletion_insertion(model, images, maps, "a", names=["a"]), "1 names.*21 outputs"),
        (lambda: explain(model, images)["Oedema"], "unknown label.*Oedema"),
        (lambda: explain(model, images, names=["a"] * 21), "or two"),
        (lambda: explain(model, images, method=["gradcam"]), "unknown method"),
        (lambda: localisation(maps, masks, np.nan), "threshold=nan"),
        (lambda: best_threshold(maps, masks, [0.5, np.nan]), "threshold=nan"),
        (lambda: best_threshold(maps, masks, []), "at least one threshold"),
        (lambda: next(randomised(model, seed=-1)), "seed=-1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_eigencam_is_computed_once_and_large_maps_are_refused(model, images):
    maps = explain(model, images, method="eigencam")
    assert maps.features.shape == (3, 21, 4, 4)
    assert (maps.features == maps.features[:, :1]).all()
    with pytest.raises(ValueError, match="Eigen-CAM.*64 × 64"):
        explain(model, torch.rand(1, 1, 512, 512), ["Edema"], method="eigencam", finer=2)


def test_a_wide_image_can_be_deleted(model):
    wide = torch.rand(1, 1, 32, 200)
    lost, _ = deletion_insertion(model, wide, np.zeros((1, 32, 200)), "Edema", steps=1)
    assert lost.shape == (1, 2)


def test_masks_of_unknown_images_or_sizes_are_refused(nih_folder):
    track = data.open_track(nih_folder)
    with pytest.raises(ValueError, match="'elsewhere.png' is no image"):
        find_masks(track, ["elsewhere.png"], 32)
    with pytest.raises(ValueError, match="size=0"):
        find_masks(track, [], 0)
