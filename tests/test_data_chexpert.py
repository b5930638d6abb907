import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import BATCH

from cxrlib import data
from cxrlib.data import ChestData, DataError, open_track
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import CHEXPERT_POLICY, OBSERVATIONS, LabelError

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


def test_missing_table_and_missing_column(chexpert_folder):
    (chexpert_folder / "valid.csv").unlink()
    with pytest.raises(LabelError, match=r"valid\.csv: no such file"):
        open_track(chexpert_folder)


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


def test_a_policy_for_each_observation(chexpert_folder):
    report = pd.read_csv(chexpert_folder / "train.csv")
    report[["Edema", "Fracture"]] = -1.0
    report.to_csv(chexpert_folder / "train.csv", index=False)
    train = open_track(chexpert_folder, labels="report", uncertain=CHEXPERT_POLICY).split("train")
    assert (train["Edema"] == 1).all()
    assert (train["Fracture"] == 0).all()


def test_a_patient_written_with_fewer_zeros_is_the_same_person(chexpert_folder):
    table = pd.read_csv(chexpert_folder / "valid.csv")
    table["Path"] = table["Path"].str.replace("patient00009", "patient1")
    table.to_csv(chexpert_folder / "valid.csv", index=False)
    with pytest.raises(DataError, match="patient00001 is in the splits train and valid"):
        open_track(chexpert_folder)


def test_lines_are_counted_with_blank_ones(chexpert_folder):
    path = chexpert_folder / "valid.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace("view1", "scan1")
    path.write_text("\n".join([lines[0], "", "", *lines[1:]]) + "\n")
    with pytest.raises(DataError, match=r"valid\.csv, line 6: the path"):
        open_track(chexpert_folder)
