from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PAPER

from cxrlib.data import AUGMENTATIONS, ChestData, ChestDataset, DataError, equalize, load_image
from cxrlib.data.batches import NOTHING, Share
from cxrlib.labels import OBSERVATIONS


def test_missing_image_is_named_before_training(chexpert_folder, track):
    gone = chexpert_folder / "valid/patient00009/study1/view1_frontal.jpg"
    gone.unlink()
    with pytest.raises(DataError, match=r"1 of 8 images are missing.*patient00009/study1"):
        ChestData(track, PAPER, size=32).dataset("valid")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_truncated_image_is_named(chexpert_folder, track, content):
    path = chexpert_folder / "train/patient00003/study2/view1_frontal.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if content is None else content)
    with pytest.raises(DataError, match=r"patient00003/study2/view1_frontal\.jpg.*get it again"):
        ChestData(track, PAPER, size=32).dataset("train")


def test_empty_table():
    with pytest.raises(DataError, match="empty"):
        ChestDataset(pd.DataFrame({"path": []}), ".", pd.DataFrame(), size=32)


def test_a_row_name_twice_would_mix_up_targets(track):
    table = pd.concat([track.table.iloc[:3]] * 2)
    targets = PAPER.derive(table[list(OBSERVATIONS)])
    with pytest.raises(DataError, match="row name twice"):
        ChestDataset(table, track.folder, targets, 32)


def test_batches_are_grey_levels_targets_in_the_hierarchys_order_and_numbers(track):
    loaders = ChestData(track, PAPER, size=32, batch_size=4)
    grey, targets, items = next(iter(loaders.val_dataloader()))
    assert (grey.shape, grey.dtype) == ((4, 1, 32, 32), torch.uint8)
    assert items.tolist() == [0, 1, 2, 3]
    valid = track.split("valid")
    expected = PAPER.derive(valid[list(OBSERVATIONS)])
    np.testing.assert_array_equal(targets.numpy(), PAPER.to_array(expected)[:4])
    for image, path in zip(grey, valid["path"], strict=False):
        assert torch.equal(image, load_image(track.folder / path, 32))


def test_an_item_is_what_a_model_sees(track):
    for even in (False, True):
        dataset = ChestData(track, PAPER, size=32, equalize=even).dataset("valid")
        image, target = dataset[-1]
        grey = load_image(track.folder / track.split("valid")["path"].iloc[-1], 32)
        assert torch.equal(image, (equalize(grey[None])[0] if even else grey) / 255)
        assert target.shape == (21,)
    with pytest.raises(IndexError):
        dataset[8]
    assert len(list(dataset)) == 8


def test_only_what_is_to_be_augmented_is(track):
    plain = ChestData(track, PAPER, size=32)
    strong = ChestData(track, PAPER, size=32, augment=AUGMENTATIONS["strong"])
    flips = {"augment": AUGMENTATIONS["published"], "augment_valid": True}
    published = ChestData(track, PAPER, size=32, **flips)
    for split, changed in (("train", (strong, published)), ("valid", (published,))):
        grey, _, items = plain.dataset(split).fetch(range(4))
        as_it_is = plain.prepare(grey, items, 0, split)
        for loaders in (strong, published):
            seen = loaders.prepare(grey, items, 0, split)
            assert torch.equal(seen, as_it_is) == (loaders not in changed)
            other_epoch = loaders.prepare(grey, items, 1, split)
            assert torch.equal(seen, other_epoch) == (loaders not in changed)


def test_training_images_are_small_in_the_small_epochs_alone(track):
    plain, growing = (ChestData(track, PAPER, size=48, small_epochs=n) for n in (0, 2))
    grey, _, items = plain.dataset("train").fetch(range(4))
    for epoch, split, size in ((0, "train", 32), (1, "train", 32), (2, "train", 48)):
        assert growing.prepare(grey, items, epoch, split).shape == (4, 1, size, size)
    assert torch.equal(growing.prepare(grey, items, 2), plain.prepare(grey, items, 2))
    assert growing.prepare(grey, items, 0, "valid").shape[-1] == 48
    small, large = growing.prepare(grey, items, 0), plain.prepare(grey, items, 0)
    # 2 small pixels stand for 3: by the mean of all of them the images are as bright as before.
    assert torch.allclose(small.mean((1, 2, 3)), large.mean((1, 2, 3)), atol=0.01)
    chequered = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    chequered[..., ::2] = 255
    stripes = growing.prepare(chequered.expand(4, -1, -1, -1).contiguous(), items, 0)
    assert stripes.std() < 0.3  # of 0.5: what is too fine for the small image is not aliased


@pytest.mark.parametrize("workers", [0, 2])
def test_the_order_of_training_follows_seed_and_epoch(track, workers):
    def numbers(seed, epoch=0):
        loaders = ChestData(track, PAPER, size=32, batch_size=8, seed=seed, workers=workers)
        loaders.first_epoch = epoch
        return [batch[2].tolist() for batch in loaders.train_dataloader()]

    assert numbers(1) == numbers(1)
    assert numbers(1) != numbers(2)
    assert numbers(1, epoch=3) != numbers(1)
    assert sorted(np.concatenate(numbers(1))) == list(range(16)), "each image once"


def in_process(rank, count, track, **options):
    data_module = ChestData(track, PAPER, size=32, **options)
    data_module.trainer = SimpleNamespace(world_size=count, global_rank=rank)
    return data_module


@pytest.mark.parametrize("batch_size", [2, 3, 4, 8, 16])
def test_what_processes_see_together_is_what_one_sees(track, batch_size):
    """Step by step, the uneven last step included, which is dropped or kept alike."""
    one = in_process(0, 1, track, batch_size=2 * batch_size).train_dataloader()
    two = [in_process(rank, 2, track, batch_size=batch_size).train_dataloader() for rank in (0, 1)]
    together = [sorted(a[2].tolist() + b[2].tolist()) for a, b in zip(*two, strict=True)]
    assert together == [sorted(batch[2].tolist()) for batch in one]
    assert together


def test_a_step_with_fewer_images_than_a_batch_for_each_process(track):
    loader = in_process(1, 2, track, batch_size=1000).train_dataloader()
    assert [len(batch[0]) for batch in loader] == [8]


def test_more_processes_than_images(track):
    with pytest.raises(DataError, match="16 train images for 17 processes"):
        in_process(0, 17, track).train_dataloader()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_validation_images_are_dealt_out_once(track, count):
    seen, steps = [], set()
    for rank in range(count):
        batches = list(in_process(rank, count, track, batch_size=2).val_dataloader())
        steps.add(len(batches))
        for _, targets, items in batches:
            filled = items == NOTHING
            assert targets[filled].isnan().all(), "what fills up a share is known to be nothing"
            seen += items[~filled].tolist()
    assert sorted(seen) == list(range(8))
    assert len(steps) == 1, "all processes take as many steps, or they would wait for each other"


def test_shares_are_even():
    assert [list(Share(5, 2, rank)) for rank in (0, 1)] == [[0, 2, 4], [1, 3, NOTHING]]
