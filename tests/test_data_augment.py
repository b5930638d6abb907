import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from cxrlib.data import AUGMENTATIONS, Augmentation, draw, equalize, to_float
from cxrlib.data.augment import DRAWS, places_in


def half():
    """Draws that change nothing: the middle of every range."""
    return torch.full((1, DRAWS), 0.5)


def test_draws_depend_on_seed_epoch_and_image_alone():
    together = draw(1, 2, [7, 3, 5])
    assert torch.equal(draw(1, 2, [3])[0], together[1])
    assert together.shape == (3, DRAWS)
    assert ((together >= 0) & (together < 1)).all()
    for other in (draw(0, 2, [7]), draw(1, 3, [7]), draw(1, 2, [8])):
        assert not torch.equal(other[0], together[0])
    many = draw(0, 0, range(4000))
    assert (many.mean(dim=0) - 0.5).abs().max() < 0.02, "uniform"
    assert np.abs(np.corrcoef(many.numpy().T) - np.eye(DRAWS)).max() < 0.07, "independent"


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_image_is_changed_alike_in_any_batch(name):
    images = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8)
    draws = draw(0, 0, range(5))
    whole = AUGMENTATIONS[name](images, draws)
    for i in range(5):
        one = AUGMENTATIONS[name](images[i : i + 1], draws[i : i + 1])
        torch.testing.assert_close(one[0], whole[i], rtol=0, atol=1e-5)
    assert whole.dtype == torch.float32
    assert 0 <= whole.min() <= whole.max() <= 1


def test_nothing_is_the_paper_pixels_by_255():
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(Augmentation()(images, draw(0, 0, [0, 1])), images / 255)
    assert torch.equal(to_float(images), images / 255)


def test_turns_shifts_and_zooms_are_torchvisions():
    """One image, one turn, shift and zoom, against the library's own affine transformation."""
    y, x = np.mgrid[:64, :64] / 64
    image = torch.from_numpy((0.5 + 0.4 * np.sin(7 * x + 3 * y)).astype(np.float32))[None, None]
    draws = half()
    draws[0, 0], draws[0, 1], draws[0, 2], draws[0, 3] = 0.9, 0.8, 0.75, 0.4
    ours = Augmentation(degrees=10, shift=0.125, zoom=0.2)(image, draws)
    angle, zoom, right, down = 10 * 0.8, 1 + 0.2 * 0.6, 0.125 * 0.5 * 64, 0.125 * -0.2 * 64
    # Ours says where a pixel comes from, so the picture turns and moves the other way; it is turned
    # and shrunk about its centre first and then moved, in the coordinates of the source.
    theirs = v2.functional.affine(
        v2.functional.affine(image, 0.0, [-right, -down], 1.0, [0.0, 0.0],
                             interpolation=v2.InterpolationMode.BILINEAR),
        angle, [0, 0], zoom, [0.0, 0.0], interpolation=v2.InterpolationMode.BILINEAR,
    )  # fmt: skip
    inner = slice(16, 48)
    difference = (ours - theirs)[..., inner, inner].abs()
    assert difference.max() < 0.03


def test_places_are_those_of_torchs_affine_grid():
    matrices = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.affine_grid(matrices, (3, 1, 20, 30), align_corners=False)
    torch.testing.assert_close(places_in(matrices, 20, 30), expected, rtol=0, atol=1e-5)


def test_brightness_and_contrast_are_torchvisions():
    image = torch.rand(1, 1, 32, 32) * 0.4 + 0.3
    draws = half()
    draws[0, 4], draws[0, 5] = 0.9, 0.25
    ours = Augmentation(brightness=0.2, contrast=0.1)(image, draws)
    mean = image.mean()
    contrasted = (image - mean) * 1.08 + mean
    torch.testing.assert_close(ours, v2.functional.adjust_brightness(contrasted, 0.9))


def test_erasing_greys_out_a_rectangle():
    white = torch.full((200, 1, 64, 64), 255, dtype=torch.uint8)
    draws = draw(0, 0, range(200))
    erased = Augmentation(erase=1.0)(white, draws) == 0.5
    share = erased.float().mean(dim=(1, 2, 3))
    assert 0.01 < share.min() < share.max() < 0.15
    for mask in erased[:20, 0]:
        rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
        assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    some = (Augmentation(erase=0.5)(white, draws) == 0.5).any(dim=(1, 2, 3)).float().mean()
    assert 0.35 < some < 0.65


def test_a_chest_is_never_turned_upside_down_or_around_unless_asked():
    image = torch.zeros(50, 1, 64, 64, dtype=torch.uint8)
    image[:, :, :20, :20] = 255  # only the top left corner is bright
    draws = draw(0, 0, range(50))
    corner = AUGMENTATIONS["chest"](image, draws)[:, 0, :32, :32].mean(dim=(1, 2))
    for part in (slice(32, None), slice(None, 32)):
        right = AUGMENTATIONS["chest"](image, draws)[:, 0, part, 32:].mean(dim=(1, 2))
        assert (corner > right).all()
    flipped = AUGMENTATIONS["published"](image, draws)
    where = [flipped[:, 0, rows, columns].mean(dim=(1, 2)) > 0.2
             for rows in (slice(0, 32), slice(32, 64))
             for columns in (slice(0, 32), slice(32, 64))]  # fmt: skip
    counts = torch.stack(where).sum(dim=1)
    assert counts.sum() == 50, "every image in one corner"
    assert (counts > 4).all(), "and all four corners occur"


def test_equalised_grey_levels_are_ranks():
    # Whatever the tone curve, an image becomes the same: grey levels by their rank alone.
    levels = np.linspace(0, 1, 128 * 128).reshape(128, 128)
    tones = np.stack([levels, levels**1.5, 0.3 + 0.4 * levels])[:, None]
    grey = torch.from_numpy((255 * tones).astype(np.uint8))
    for image in to_float(equalize(grey)):
        difference = (image - torch.tensor(levels, dtype=torch.float32)).abs()
        assert difference.max() < 0.12
        assert difference.mean() < 0.03
    assert torch.equal(equalize(grey)[1], v2.functional.equalize(grey[1])), "image by image"
