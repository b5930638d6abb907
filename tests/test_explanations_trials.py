"""What maps are worth: by hand, at chance, and in benchmarks/."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from cxrlib import data, phantom
from cxrlib.cohort import study_of, write_cohort
from cxrlib.explanations import (
    best_threshold,
    blind_map,
    covered,
    deletion_insertion,
    explain,
    find_masks,
    localisation,
    randomised,
    rank_correlation,
    smooth_fields,
)
from cxrlib.hierarchy import paper_hierarchy

LABELS = paper_hierarchy().labels


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
    # Four pixels are the mask's. The four highest of the map are all of its first row: two are in.
    assert row["rank"] == 2 / 4
    assert row["mass"] == pytest.approx(1.9 / 2.9)
    perfect = localisation(mask.astype(float), mask).iloc[0]
    assert perfect[["hit", "iou", "auprc", "rank", "mass"]].tolist() == [1] * 5
    nothing = localisation(np.zeros((1, 4, 4)), mask).iloc[0]
    assert nothing[["hit", "iou", "auprc", "rank", "mass"]].tolist() == [1 / 4, 0, 1 / 4, 1 / 4, 0]


def test_ties_at_the_last_rank_count_in_part():
    mask = np.zeros((1, 2, 4), dtype=bool)
    mask[0, 0, :3] = True
    tied = np.array([[[0.9, 0.5, 0.1, 0.5], [0.5, 0.5, 0.0, 0.0]]])
    # One of three is sure and inside; the other two are drawn from four, of which one is inside.
    assert localisation(tied, mask)["rank"].item() == pytest.approx((1 + 2 * 1 / 4) / 3)


def test_smooth_fields_are_smooth_differ_and_are_at_chance():
    fields = smooth_fields(40, 48, seed=1)
    assert fields.shape == (40, 48, 48)
    assert (fields.min(axis=(1, 2)) == 0).all()
    assert (fields.max(axis=(1, 2)) == 1).all()
    np.testing.assert_array_equal(fields, smooth_fields(40, 48, seed=1))
    assert (smooth_fields(40, 48, seed=2) != fields).any(axis=(1, 2)).all()
    steps = np.abs(np.diff(fields, axis=2)).mean()
    assert steps < 0.1 * np.abs(fields[..., :24] - fields[..., 24:]).mean()
    apart = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairwise(fields)]
    assert abs(np.mean(apart)) < 0.1
    for bad in ({"count": 0}, {"size": 0}, {"width": 1.5}):
        with pytest.raises(ValueError, match="expected"):
            smooth_fields(**{"count": 1, "size": 8} | bad)


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


# --- Where the findings are -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "draw"), [("changes", phantom.masks), ("lesions", phantom.lesions)]
)
def test_masks_of_a_phantom_are_those_it_was_drawn_with(tmp_path, kind, draw):
    write_cohort(
        tmp_path / "c", {"train": 6, "valid": 1, "test": 1}, 32, processes=1, progress=False
    )
    track = data.open_track(tmp_path / "c")
    paths = list(track.split("train")["path"])
    found = find_masks(track, paths, 32, kind)
    paper = paper_hierarchy()
    for row, path in enumerate(paths):
        known = draw(study_of(track.folder, path), 32)
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


def test_a_pointing_head_forgets_too(pointing):
    stages = [stage for stage, _ in randomised(pointing)]
    assert stages == ["logits", "conv", "block 3", "block 2", "block 1", "stem"]


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


def test_a_wide_image_can_be_deleted(model):
    wide = torch.rand(1, 1, 32, 200)
    lost, _ = deletion_insertion(model, wide, np.zeros((1, 32, 200)), "Edema", steps=1)
    assert lost.shape == (1, 2)


# --- Bad arguments --------------------------------------------------------------------------------


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


def test_masks_of_unknown_images_or_sizes_are_refused(nih_folder):
    track = data.open_track(nih_folder)
    with pytest.raises(ValueError, match="'elsewhere.png' is no image"):
        find_masks(track, ["elsewhere.png"], 32)
    with pytest.raises(ValueError, match="size=0"):
        find_masks(track, [], 0)
    with pytest.raises(ValueError, match="'boxes'.*changes, lesions"):
        find_masks(track, [], 32, "boxes")


# --- The benchmark --------------------------------------------------------------------------------


def test_labels_are_shuffled_in_training_only(maps, chexpert_folder):
    track = maps.data.open_track(chexpert_folder)
    mixed = maps.shuffled(track)
    for split in ("valid", "test"):
        pd.testing.assert_frame_equal(mixed.split(split), track.split(split))
    before, after = (t.split("train")[maps.SEEN].to_numpy() for t in (track, mixed))
    assert (before != after).any()
    assert sorted(map(tuple, before)) == sorted(map(tuple, after))


def test_letters_are_found_and_painted_over(maps):
    grey = np.full((96, 96), 90, dtype=np.uint8)
    grey[5:12, 80:83] = 250  # a stroke near the border
    grey[40:50, 40:43] = 250  # a clip in the middle: no letter
    grey[:, :8] = 255  # a bright margin: too large
    marks = maps.burnt_in(grey)
    assert marks[5:12, 80:83].all()
    assert not marks[40:50, 40:43].any()
    assert not marks[:, :6].any()
    image = torch.from_numpy(grey)[None, None]
    painted = maps.paint_over(image, marks[None])
    assert (painted[0, 0][torch.from_numpy(marks)] == 90).all()
    assert torch.equal(
        painted[0, 0][~torch.from_numpy(marks)], image[0, 0][~torch.from_numpy(marks)]
    )


def test_likeness_leaves_out_what_is_constant(maps):
    rng = np.random.default_rng(0)
    own = rng.random((4, 6, 6))
    turned = own.copy()
    turned[1] = 1 - own[1]
    turned[2] = 0.5
    found = maps.likeness(own, turned)
    assert found["correlation"] == pytest.approx((1 - 1 + 1) / 3)
    assert found["absolute"] == pytest.approx(1)
    assert np.isnan(maps.likeness(own, np.zeros_like(own))["correlation"])


def test_the_spread_of_a_map_is_its_entropy(maps):
    even, point, two = np.ones((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    point[0, 0] = two[0, 0] = two[3, 3] = 1.0
    spread = maps.spread(np.stack([even, point, two, np.zeros((4, 4))]))
    np.testing.assert_allclose(spread[:3], [1, 0, np.log(2) / np.log(16)], atol=1e-9)
    assert np.isnan(spread[3])


def test_boxes_are_summarised_by_patient(maps):
    about = {"way": "a", "learnt": "x", "label": "Edema", "guess": "map", "chance": 0.1}
    rows = [
        {"seed": seed, "patient": f"p{n % 6}", "path": f"{n}", "hit": float(n % 2), "auprc": n / 12}
        | about
        for n in range(12)
        for seed in (0, 1)
    ]
    (row,) = maps.summarise(rows)
    assert (row["images"], row["patients"]) == (12, 6)
    assert row["hit"] == 0.5
    assert row["auprc"] == pytest.approx(np.arange(12).mean() / 12)
    # An odd patient has hits alone and an even one none: the interval is that of six coins.
    assert row["hit_low"] == pytest.approx(1 / 6, abs=0.06)
    assert row["hit_high"] == pytest.approx(5 / 6, abs=0.06)
    assert maps.summarise([{**r, "patient": "p0"} for r in rows]) == []


def test_the_map_of_another_patient_is_of_another_patient(heads):
    people = np.array(["a", "a", "b", "a", "c"])
    order = heads.of_another(people)
    assert (people[order] != people).all()
    assert order == [2, 2, 3, 4, 0]
    assert heads.of_another(np.array(["a", "a"])) == [0, 1]


def test_a_stranger_is_absent_and_no_kin(heads):
    assert not {"Edema", "Pneumonia", "Consolidation"} & set(heads.strangers("Pneumonia", "Edema"))
    truth = pd.DataFrame(0.0, range(200), heads.FINDINGS)
    truth["Fracture"] = 1.0
    maps = np.arange(21.0)[None, :, None, None] * np.ones((200, 1, 2, 2))
    found, there = heads.of_others(["Edema"], truth, maps)
    drawn = {heads.LABELS[int(k)] for k in found[:, 0, 0]}
    assert there.all()
    assert drawn == set(heads.strangers("Edema")) - {"Fracture"}  # by lot: each comes at times
    everything = pd.DataFrame(1.0, range(3), heads.FINDINGS)
    assert not heads.of_others(["Edema"], everything, maps[:3])[1].any()


def test_the_edge_is_a_twelfth_of_the_side_whatever_the_grid(heads):
    for side in (6, 12):
        tops = torch.eye(side * side).view(-1, 1, side, side)
        large = torch.nn.functional.interpolate(tops, (96, 96), mode="bilinear")[:, 0].numpy()
        rim = 1 - (side - 2) ** 2 / side**2
        assert heads.at_edge(large) == pytest.approx(rim)
    inner = np.zeros((1, 96, 96))
    inner[0, 8, 50] = 1
    assert heads.at_edge(inner) == 0


def test_fine_tuned_models_have_not_seen_the_patients_they_are_scored_on(maps, monkeypatch):
    people = [f"nih{n:05d}" for n in range(40)]
    table = pd.DataFrame({"patient": people, "path": people, "split": "test"})
    learnt = {}

    def train(track, hierarchy, settings, name, start):
        learnt[name] = track.table
        return start

    monkeypatch.setattr(maps.training, "train", train)
    folder = maps.Path("sample")
    track = maps.data.Track("nih", folder, table, pd.DataFrame(), {})
    run = type("Run", (), {"settings": maps.settings_of("pointing"), "model": lambda self: self})()
    for side in (0, 1):
        maps.fine_tuned(run, track, side)
        seen = learnt[f"boxes-sample-{side}"]
        assert {maps.half(person) for person in seen["patient"]} == {side}
        assert set(seen["split"]) == {"train", "valid"}


def test_gains_are_differences_of_means_over_findings(heads):
    """Two findings of unequal number count alike; the same patients are drawn for both ways."""
    rng = np.random.default_rng(0)
    rows = []
    for label, count, hit in (("Edema", 30, 0.5), ("Fracture", 8, 0.1)):
        for n in range(count):
            luck = rng.normal()
            about = {"guess": "map", "mask": "lesions", "label": label, "patient": f"p{n // 2}"}
            for way, add in (("theirs", 0.0), ("ours", 0.25), ("mixed", (n // 2) % 2)):
                value = hit + luck + add
                rows.append(about | {"way": way, "hit": value, "auprc": value / 2})
    table = pd.DataFrame(rows)

    def gained(way):
        return heads.gains(table, [((way, "map"), ("theirs", "map"))], resamples=400)

    hit, auprc = gained("ours")  # luck varies much, the paired difference never
    assert (hit["difference"], hit["low"], hit["high"]) == pytest.approx((0.25, 0.25, 0.25))
    assert auprc["difference"] == pytest.approx(0.125)
    hit, _ = gained("mixed")
    # Of 15 and 4 patients, 7 and 2 are better by 1. Both findings' patients overlap.
    assert hit["difference"] == pytest.approx((14 / 30 + 4 / 8) / 2)
    draws = rng.multinomial(15, np.full(15, 1 / 15), 4000)
    means = [(draws[:, 1:n:2].sum(axis=1) / draws[:, :n].sum(axis=1).clip(1)) for n in (15, 4)]
    expected = np.quantile(np.mean(means, axis=0), [0.025, 0.975])
    assert [hit["low"], hit["high"]] == pytest.approx(expected, abs=0.06)


def test_the_edge_of_chance_counts_places_and_not_pixels(heads):
    # By pixels it would be 31% whatever the grid. Enlarging lowers what is inside a little.
    for side in (6, 12):
        at_rim = 1 - (side - 2) ** 2 / side**2
        assert at_rim - 0.02 < heads.edge_of_chance(side, 96) < at_rim + 0.1


def test_an_order_from_the_middle_of_a_mask_outwards(maps):
    mask = np.zeros((1, 9, 9), dtype=bool)
    mask[0, 2:7, 2:7] = True
    order = maps.outwards(mask)[0]
    assert order.argmax() == 4 * 9 + 4
    assert order[mask[0]].min() > order[~mask[0]].max()
    assert order[1, 4] > order[0, 4] > order[0, 0]  # nearest first


def test_gains_on_boxes_are_paired_by_image(maps):
    rng = np.random.default_rng(0)
    rows = []
    for n in range(40):
        hard = rng.random()
        about = {"label": "Edema", "path": f"{n}", "patient": f"p{n % 20}", "chance": 0.1}
        guesses = {
            ("Grad-CAM", "phantoms only", "map"): hard + 0.1,
            ("Grad-CAM", "phantoms only", "another patient"): hard,
            ("usual place", "other boxes", "map"): hard + 0.3,
            ("usual place", "phantoms only", "map"): hard - 0.1,
        }
        rows += [
            about | {"way": way, "learnt": learnt, "guess": guess, "hit": x, "auprc": x / 2}
            for (way, learnt, guess), x in guesses.items()
        ]
    gains = pd.DataFrame(maps.box_gains(rows)).set_index(["than", "measure"])
    hits = gains.xs("hit", level="measure")["difference"]
    expected = {
        "another patient": 0.1,
        "usual place, other boxes": -0.2,
        "usual place, phantoms only": 0.2,
    }
    assert hits.to_dict() == pytest.approx(expected)
    # What makes an image hard moves both: paired, the interval has no width.
    assert (gains["high"] - gains["low"]).abs().max() < 1e-9
