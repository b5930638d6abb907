import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import BATCH
from PIL import Image

from cxrlib import data
from cxrlib.data import ChestData, ChestDataset, DataError, load_image, open_track
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS, LabelError

PAPER = paper_hierarchy()

# --- Tables --------------------------------------------------------------------------------


def test_chexpert_table(chexpert_folder):
    track = open_track(chexpert_folder)
    assert track.name == "chexpert"
    assert list(track.table.columns) == [*data.COLUMNS, *OBSERVATIONS]
    assert track.table["split"].value_counts().to_dict() == {"train": 16, "valid": 8, "test": 8}
    first = track.table.iloc[0]
    assert first["path"] == "train/patient00001/study1/view1_frontal.jpg"
    assert (first["patient"], first["study"]) == ("patient00001", "patient00001/study1")
    assert (first["view"], first["sex"], first["age"]) == ("frontal", "F", 31)
    assert (chexpert_folder / first["path"]).is_file()


def test_a_renamed_folder_still_resolves(chexpert_folder):
    renamed = chexpert_folder.with_name("somewhere else")
    chexpert_folder.rename(renamed)
    track = open_track(renamed)
    assert all((renamed / path).is_file() for path in track.table["path"])


def test_test_labels_without_demographics(chexpert_folder):
    path = chexpert_folder / "test.csv"
    table = pd.read_csv(path).drop(columns=["Sex", "Age", "Frontal/Lateral", "AP/PA"])
    table["Path"] = table["Path"].str.removeprefix(f"{chexpert_folder.name}/")
    table.to_csv(chexpert_folder / "test_labels.csv", index=False)
    path.unlink()
    test = open_track(chexpert_folder).split("test")
    assert len(test) == 8
    assert test["age"].isna().all()
    assert (test["path"].str.startswith("test/patient")).all()


def test_a_folder_without_a_test_set_opens(chexpert_folder):
    (chexpert_folder / "test.csv").unlink()
    assert open_track(chexpert_folder).split("test").empty


def test_label_source_and_policy(chexpert_folder):
    report = pd.read_csv(chexpert_folder / "train.csv")
    report["Edema"] = -1.0
    report["Fracture"] = np.nan
    report.to_csv(chexpert_folder / "train.csv", index=False)
    ones = open_track(chexpert_folder, labels="report", uncertain="U-Ones").split("train")
    ignored = open_track(chexpert_folder, labels="report", uncertain="U-Ignore").split("train")
    assert (ones["Edema"] == 1).all()
    assert ignored["Edema"].isna().all()
    assert (ones["Fracture"] == 0).all()
    with pytest.raises(DataError, match="rapport"):
        open_track(chexpert_folder, labels="rapport")


def test_sex_and_age_come_from_train_csv_where_the_labels_lack_them(chexpert_folder):
    labels = pd.read_csv(chexpert_folder / "train_visualCheXbert.csv")
    shuffled = labels.drop(columns=["Sex", "Age"]).sample(frac=1, random_state=0)
    shuffled.to_csv(chexpert_folder / "train_visualCheXbert.csv", index=False)
    train = open_track(chexpert_folder).split("train")
    number = train["patient"].str[-5:].astype(int)
    assert (train["age"] == 30 + number).all()


def test_lateral_views_are_kept_on_request(chexpert_folder):
    frontal = chexpert_folder / "train/patient00001/study1/view1_frontal.jpg"
    shutil.copy(frontal, frontal.with_name("view2_lateral.jpg"))
    for name in ("train.csv", "train_visualCheXbert.csv"):
        table = pd.read_csv(chexpert_folder / name)
        extra = table.iloc[[0]].replace("view1_frontal", "view2_lateral", regex=True)
        pd.concat([table, extra]).to_csv(chexpert_folder / name, index=False)
    assert len(open_track(chexpert_folder).split("train")) == 16
    both = open_track(chexpert_folder, views=("frontal", "lateral")).split("train")
    assert both["view"].value_counts().to_dict() == {"frontal": 16, "lateral": 1}
    with pytest.raises(DataError, match="oblique"):
        open_track(chexpert_folder, views=("oblique",))


@pytest.mark.parametrize("bad", ["../../etc/x.jpg", "/etc/patient1/study1/view1_frontal.jpg",
                                 "CheXpert/train/../../patient1/study1/view1_frontal.jpg",
                                 "c:\\patient1\\study1\\view1_frontal.jpg"])  # fmt: skip
def test_a_path_that_leaves_the_folder_names_the_line(chexpert_folder, bad):
    table = pd.read_csv(chexpert_folder / "valid.csv")
    table.loc[2, "Path"] = bad
    table.to_csv(chexpert_folder / "valid.csv", index=False)
    with pytest.raises(DataError, match=r"valid\.csv, line 4.*leaves the data folder"):
        open_track(chexpert_folder)


def test_a_path_of_another_form_names_the_line(chexpert_folder):
    table = pd.read_csv(chexpert_folder / "valid.csv")
    table.loc[0, "Path"] = "CheXpert-v1.0-small/valid/scan.jpg"
    table.to_csv(chexpert_folder / "valid.csv", index=False)
    with pytest.raises(DataError, match=r"valid\.csv, line 2.*scan\.jpg"):
        open_track(chexpert_folder)


def test_a_patient_in_two_splits_is_named(chexpert_folder):
    table = pd.read_csv(chexpert_folder / "valid.csv")
    table["Path"] = table["Path"].str.replace("patient00009", "patient00001")
    table.to_csv(chexpert_folder / "valid.csv", index=False)
    with pytest.raises(DataError, match="patient00001 is in the splits train and valid"):
        open_track(chexpert_folder)


def test_a_folder_that_is_no_track(tmp_path):
    with pytest.raises(DataError, match="make data"):
        open_track(tmp_path)


def test_missing_table_and_missing_column(chexpert_folder):
    (chexpert_folder / "valid.csv").unlink()
    with pytest.raises(LabelError, match=r"valid\.csv: no such file"):
        open_track(chexpert_folder)


def test_cxr_data_chooses_the_folder(nih_folder, monkeypatch):
    monkeypatch.setenv("CXR_DATA", str(nih_folder))
    assert open_track().name == "nih"
    monkeypatch.delenv("CXR_DATA")
    assert data.data_folder() == data.DEFAULT_FOLDER


def test_without_a_folder_the_phantom_is_made_and_read(chexpert_folder, monkeypatch):
    made = []
    (chexpert_folder / "cohort.json").write_text("{}")
    monkeypatch.delenv("CXR_DATA", raising=False)
    monkeypatch.setattr(data, "DEFAULT_FOLDER", chexpert_folder)
    monkeypatch.setattr(data.cohort, "write_cohort", made.append)
    assert open_track().name == "phantom"
    assert made == [chexpert_folder]
    monkeypatch.setattr(data, "DEFAULT_FOLDER", chexpert_folder.parent)
    assert open_track(chexpert_folder).name == "phantom"
    assert len(made) == 1, "a folder that was asked for is only read"


def test_the_demographics_are_found_whatever_the_first_folder_is_called(chexpert_folder):
    path = chexpert_folder / "train_visualCheXbert.csv"
    labels = pd.read_csv(path).drop(columns=["Sex", "Age"])
    labels["Path"] = labels["Path"].str.replace("CheXpert-v1.0-small", "CheXpert-v1.0")
    labels.to_csv(path, index=False)
    assert open_track(chexpert_folder).split("train")["age"].notna().all()


def test_an_image_of_another_split_names_the_line(chexpert_folder):
    path = chexpert_folder / "train_visualCheXbert.csv"
    valid = pd.read_csv(chexpert_folder / "valid.csv").iloc[:1]
    pd.concat([pd.read_csv(path), valid]).to_csv(path, index=False)
    with pytest.raises(DataError, match="train_visualCheXbert.csv, line 18: .*split 'valid' in a"):
        open_track(chexpert_folder)


def test_the_truth_of_a_phantom_is_one_table_for_all_splits(chexpert_folder):
    tables = [pd.read_csv(chexpert_folder / f"{split}.csv") for split in data.SPLITS]
    truth = pd.concat(tables[::-1]).drop(columns=["Sex", "Age"])
    truth.to_csv(chexpert_folder / "truth.csv", index=False)
    from_truth = open_track(chexpert_folder, labels="truth").split("train")
    assert len(from_truth) == 16
    assert from_truth["age"].notna().all()


def test_an_image_listed_under_two_first_folders_is_refused(chexpert_folder):
    table = pd.read_csv(chexpert_folder / "valid.csv")
    table.loc[3, "Path"] = table["Path"][0].replace("-small", "")
    table.to_csv(chexpert_folder / "valid.csv", index=False)
    with pytest.raises(LabelError, match=r"valid\.csv, line 5: .*second time"):
        open_track(chexpert_folder)


def test_missing_label_source_names_those_that_are_there(chexpert_folder):
    (chexpert_folder / "train_visualCheXbert.csv").unlink()
    with pytest.raises(DataError, match=r"no labels 'visualchexbert'.*labels=\.\.\.\): report\."):
        open_track(chexpert_folder)
    assert len(open_track(chexpert_folder, labels="report").split("train")) == 16


def test_the_folder_above_says_which_one_was_meant(chexpert_folder):
    with pytest.raises(DataError, match="Did you mean .*CheXpert-v1.0-small"):
        open_track(chexpert_folder.parent)
    with pytest.raises(DataError, match="no such folder"):
        open_track(chexpert_folder / "nowhere")


# --- The full CheXpert: one folder, or batches ---------------------------------------------


def test_the_full_size_folder(chexpert_folder):
    folder = chexpert_folder.rename(chexpert_folder.with_name("CheXpert-v1.0"))
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace("CheXpert-v1.0-small/", "CheXpert-v1.0/"))
    track = open_track(folder)
    assert track.name == "chexpert"
    assert all((folder / path).is_file() for path in track.table["path"])


def test_batches_resolve_to_the_real_files(chexpert_folder, batches_folder):
    track = open_track(batches_folder)
    assert track.name == "chexpert"
    assert all((batches_folder / path).is_file() for path in track.table["path"])
    homes = track.table["path"].str.split("/").str[0]
    assert homes.value_counts().to_dict() == dict(zip([*data.BATCHES, "test"], [8, 4, 6, 6, 8],
                                                      strict=True))  # fmt: skip
    loaders = ChestData(track, PAPER, size=32)
    assert [len(loaders.dataset(split)) for split in data.SPLITS] == [16, 8, 8]


def test_patients_directly_in_a_batch_or_in_a_folder_of_it(batches_folder):
    before = open_track(batches_folder).table
    for batch, split in data.BATCHES.items():
        place, inner = batches_folder / batch, batches_folder / batch / split
        patients = list(inner.glob("patient*")) or list(place.glob("patient*"))
        to = place if patients[0].parent == inner else inner
        to.mkdir(exist_ok=True)
        for patient in patients:
            patient.rename(to / patient.name)
    after = open_track(batches_folder).table
    assert all((batches_folder / path).is_file() for path in after["path"])
    assert (after["path"] != before["path"]).sum() == 24  # all but the test images
    pd.testing.assert_frame_equal(after.drop(columns="path"), before.drop(columns="path"))


@pytest.mark.parametrize("name", ["CheXpert-v1.0", None])
def test_batches_unzipped_into_one_more_folder(batches_folder, name):
    for batch in data.BATCHES:
        place = batches_folder / batch
        place.rename(batches_folder / "aside")
        place.mkdir()
        (batches_folder / "aside").rename(place / (name or batch))
    table = open_track(batches_folder).table
    assert len(table) == 32
    assert all((batches_folder / path).is_file() for path in table["path"])


@pytest.mark.parametrize("table", ["train_visualCheXbert.csv", "test_labels.csv"])
def test_tables_beside_the_batches_or_in_the_first(batches_folder, table):
    first = batches_folder / BATCH[1]
    if (batches_folder / table).is_file():
        (batches_folder / table).rename(first / table)
    else:
        (first / table).rename(batches_folder / table)
    assert len(open_track(batches_folder).table) == 32


def test_a_missing_batch_is_named(batches_folder):
    shutil.rmtree(batches_folder / BATCH[3])
    with pytest.raises(DataError, match=r"6 of 16 train images.*patient00003.*batch 3 \(train 2\)"):
        open_track(batches_folder)
    (batches_folder / BATCH[3]).mkdir()
    with pytest.raises(DataError, match=r"empty: 'CheXpert-v1.0 batch 3 \(train 2\)'\. Unzip"):
        open_track(batches_folder)


def test_a_batch_that_no_row_needs_may_be_missing(batches_folder):
    shutil.rmtree(batches_folder / BATCH[4])
    for path in batches_folder.rglob("train*.csv"):
        table = pd.read_csv(path)
        table[table["Path"].str.contains("patient0000[1-5]")].to_csv(path, index=False)
    assert len(open_track(batches_folder).split("train")) == 10


def test_a_patient_in_no_batch_is_named(batches_folder):
    shutil.rmtree(next(batches_folder.rglob("patient00004")))
    with pytest.raises(DataError, match="2 of 16 train images.*patient00004.*unzipped to its end"):
        open_track(batches_folder)


def test_the_first_batch_missing_or_given_alone(batches_folder):
    with pytest.raises(DataError, match=f"one batch of four.*{batches_folder}$"):
        open_track(batches_folder / BATCH[1])
    shutil.rmtree(batches_folder / BATCH[1])
    with pytest.raises(DataError, match="batch 1 .*is missing, or has no train.csv"):
        open_track(batches_folder)


def test_batches_moved_into_one_train_folder(batches_folder):
    (batches_folder / "train").mkdir()
    for patient in batches_folder.glob("*train*/**/patient*"):
        patient.rename(batches_folder / "train" / patient.name)
    table = open_track(batches_folder).table
    assert all((batches_folder / path).is_file() for path in table["path"])


def test_unknown_split(chexpert_folder):
    with pytest.raises(DataError, match="validation"):
        open_track(chexpert_folder).split("validation")


# --- NIH -----------------------------------------------------------------------------------


def test_nih_table_is_split_by_patient(nih_folder):
    track = open_track(nih_folder)
    assert track.name == "nih"
    assert len(track.table) == 60
    per_patient = track.table.groupby("patient")["split"].nunique()
    assert (per_patient == 1).all()
    assert set(track.table["split"]) == {"train", "valid", "test"}
    again = open_track(nih_folder)
    pd.testing.assert_frame_equal(track.table, again.table)


def test_nih_official_lists_are_followed(nih_folder):
    (nih_folder / "test_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    table = open_track(nih_folder).table
    test = table[table["split"] == "test"]
    assert set(test["path"]) == {"images/00000001_000.png", "images/00000001_001.png"}
    assert (table["split"] == "valid").any()


@pytest.mark.parametrize("place", ["images_001/images", "images_001"])
def test_nih_images_in_numbered_folders(nih_folder, place):
    parts = nih_folder / place
    parts.parent.mkdir(exist_ok=True)
    (nih_folder / "images").rename(parts)
    table = open_track(nih_folder).table
    assert all((nih_folder / path).is_file() for path in table["path"])


def test_nih_boxes_are_fractions(nih_folder):
    box = open_track(nih_folder).boxes.iloc[0]
    assert box["observation"] == "Lung Opacity"
    assert box["path"] == "images/00000001_000.png"
    assert box[["x", "y", "width", "height"]].tolist() == [0.5, 0.25, 0.125, 0.0625]


def test_nih_box_that_is_no_number(nih_folder):
    path = nih_folder / "BBox_List_2017.csv"
    path.write_text(path.read_text().replace("512.0", "wide"))
    with pytest.raises(LabelError, match=r"BBox_List_2017\.csv, line 2"):
        open_track(nih_folder)


def test_nih_path_leaving_the_folder(nih_folder):
    path = nih_folder / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("00000001_000.png", "../00000001_000.png"))
    with pytest.raises(DataError, match="line 2.*leaves the data folder"):
        open_track(nih_folder)


# --- Images --------------------------------------------------------------------------------


def test_load_image_levels_and_shape(tmp_path):
    pixels = np.full((30, 20), 200, dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = load_image(tmp_path / "a.png", 16)
    assert image.shape == (1, 16, 16)
    assert image.dtype == torch.uint8
    assert (image == 200).all()


def test_sixteen_bits_and_colour_give_the_same_grey_levels(tmp_path):
    levels = np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32)
    Image.fromarray(levels).save(tmp_path / "8.png")
    Image.fromarray(levels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    Image.fromarray(np.stack([levels] * 4, axis=-1), "RGBA").save(tmp_path / "rgba.png")
    expected = load_image(tmp_path / "8.png", 32)
    assert torch.equal(load_image(tmp_path / "16.png", 32), expected)
    assert torch.equal(load_image(tmp_path / "rgba.png", 32), expected)


@pytest.mark.parametrize("white", [255, 4095, 65535])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_white_is_white_in_images_of_8_12_and_16_bits(tmp_path, white, kind):
    levels = np.array([[0, white // 3], [white * 2 // 3, white]], dtype=kind)
    Image.fromarray(levels).save(tmp_path / "deep.tif")
    assert load_image(tmp_path / "deep.tif", 2).flatten().tolist() == [0, 85, 170, 255]


def test_a_black_image_of_sixteen_bits_is_black(tmp_path):
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(tmp_path / "black.png")
    assert (load_image(tmp_path / "black.png", 4) == 0).all()


@pytest.mark.parametrize(
    "pixels", [np.array([[0.0, 1.0]], np.float32), np.array([[0, 65536], [-1, 0]], np.int32)]
)
def test_grey_levels_without_a_known_white_are_refused(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "deep.tif")
    with pytest.raises(DataError, match=r"deep\.tif: grey levels from .* to .*save it as PNG"):
        load_image(tmp_path / "deep.tif", 8)


def test_missing_image_is_named_before_training(chexpert_folder):
    gone = chexpert_folder / "valid/patient00009/study1/view1_frontal.jpg"
    gone.unlink()
    loaders = ChestData(open_track(chexpert_folder), PAPER, size=32)
    with pytest.raises(DataError, match="1 of 8 images are missing.*patient00009/study1"):
        loaders.dataset("valid")
    with pytest.raises(DataError, match="no such image"):
        load_image(gone, 32)


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_truncated_image_is_named(chexpert_folder, content):
    path = chexpert_folder / "train/patient00003/study2/view1_frontal.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 3] if content is None else content)
    loaders = ChestData(open_track(chexpert_folder), PAPER, size=32)
    with pytest.raises(DataError, match=r"patient00003/study2/view1_frontal\.jpg.*truncated"):
        loaders.dataset("train")


def test_empty_table():
    with pytest.raises(DataError, match="empty"):
        ChestDataset(pd.DataFrame({"path": []}), ".", pd.DataFrame(), size=32)


def test_items_are_images_and_targets_in_the_hierarchys_order(chexpert_folder):
    track = open_track(chexpert_folder)
    loaders = ChestData(track, PAPER, size=32, batch_size=4)
    images, targets = next(iter(loaders.val_dataloader()))
    assert images.shape == (4, 1, 32, 32)
    assert images.dtype == targets.dtype == torch.float32
    assert 0 <= images.min() <= images.max() <= 1
    expected = PAPER.derive(track.split("valid")[list(OBSERVATIONS)])
    np.testing.assert_array_equal(targets.numpy(), PAPER.to_array(expected)[:4])


def test_memory_and_disk_give_the_same(chexpert_folder):
    track = open_track(chexpert_folder)
    kept = ChestData(track, PAPER, size=32).dataset("valid")
    read = ChestData(track, PAPER, size=32, in_memory=False).dataset("valid")
    for (a, b), (c, d) in zip(kept, read, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)


def test_equalised_grey_levels_are_ranks(tmp_path):
    # Whatever the tone curve, an image becomes the same: grey levels by their rank alone.
    levels = np.linspace(0, 1, 128 * 128).reshape(128, 128)
    for name, tone in (("plain", levels), ("dark", levels**1.5), ("flat", 0.3 + 0.4 * levels)):
        Image.fromarray((255 * tone).astype(np.uint8)).save(tmp_path / f"{name}.png")
    table = pd.DataFrame({"path": ["plain.png", "dark.png", "flat.png"]})
    targets = pd.DataFrame({"Edema": [0.0, 1.0, 1.0]})
    for in_memory in (True, False):
        options = {"equalize": True, "in_memory": in_memory}
        dataset = ChestDataset(table, tmp_path, targets, 128, **options)
        images = [dataset[item][0] for item in range(3)]
        for image in images:
            assert (image - torch.tensor(levels, dtype=torch.float32)).abs().max() < 0.12
            assert (image - torch.tensor(levels, dtype=torch.float32)).abs().mean() < 0.03
    as_they_are = ChestDataset(table, tmp_path, targets, 128)[1][0]
    assert (as_they_are - torch.tensor(levels, dtype=torch.float32)).abs().max() > 0.1


def test_the_order_of_training_follows_the_seed(chexpert_folder):
    track = open_track(chexpert_folder)

    def first_targets(seed):
        loaders = ChestData(track, PAPER, size=32, batch_size=8, seed=seed)
        return next(iter(loaders.train_dataloader()))[1]

    assert torch.equal(first_targets(1), first_targets(1))
    assert not torch.equal(first_targets(1), first_targets(2))


def test_processes_share_the_training_images(chexpert_folder):
    parts = []
    for rank in (0, 1):
        data_module = ChestData(open_track(chexpert_folder), PAPER, size=32, batch_size=4)
        data_module.trainer = SimpleNamespace(world_size=2, global_rank=rank)
        sampler = data_module.train_dataloader().sampler
        sampler.set_epoch(3)
        parts.append(list(sampler))
    assert [len(part) for part in parts] == [8, 8]
    assert sorted(parts[0] + parts[1]) == list(range(16)), "each image once, in one of the two"


def test_erasing_greys_out_a_rectangle():
    white = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    still = {"degrees": 0.0, "shift": 0.0, "zoom": 0.0, "brightness": 0.0, "contrast": 0.0}
    assert (data.train_transforms(**still)(white) == 1).all()
    erased = data.train_transforms(**still, erase=1.0)(white)
    assert 0.01 < (erased == 0.5).float().mean() < 0.2
    assert ((erased == 0.5) | (erased == 1)).all()


def test_augmentation_never_turns_a_chest_upside_down_or_around():
    image = torch.zeros(1, 64, 64, dtype=torch.uint8)
    image[:, :20, :20] = 255  # only the top left corner is bright
    augment = data.train_transforms()
    torch.manual_seed(0)
    for _ in range(50):
        out = augment(image)
        corner = out[0, :32, :32].mean()
        assert corner > out[0, 32:].mean()
        assert corner > out[0, :32, 32:].mean()
        assert 0 <= out.min() <= out.max() <= 1
