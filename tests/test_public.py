"""The tables of real labels. Expected figures are those of the collections' own papers, or counted
in the files by another way."""

import gzip
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from cxrlib import public
from cxrlib.evaluation import agreement, reader_agreement
from cxrlib.hierarchy import paper_hierarchy, read_hierarchy
from cxrlib.labels import OBSERVATIONS, apply_policy
from cxrlib.penalties import data_driven_penalties
from cxrlib.public import PublicTableError


def test_the_tables_are_read_without_the_package():
    public.adjudicated_labels()
    assert public.WHEEL not in sys.modules


def test_chexpert_is_the_published_table():
    table = public.chexpert_labels()
    assert table["patient"].nunique() == 64_540
    assert (table["view"] == "frontal").sum() == 191_027
    # Counts of codes per image, of the file itself.
    counts = table["Pleural Effusion"].value_counts()
    assert counts.to_dict() == {1.0: 86_187, 0.0: 35_396, -1.0: 11_628}
    first = table.iloc[0]
    assert first["path"] == "train/patient00001/study1/view1_frontal.jpg"
    assert (first["study"], first["sex"], first["age"]) == ("patient00001/study1", "F", 68)
    assert table["age"].notna().all()


def test_the_papers_penalties_come_out_of_the_real_table():
    """0.737, 0.882 and 0.976, where uncertain counts as absent; all others are 1."""
    hierarchy = paper_hierarchy()
    codes = public.chexpert_labels()[list(OBSERVATIONS)]
    labels = hierarchy.derive(apply_policy(codes, "U-Zeros"))
    assert len(labels) == 223_414
    penalties = data_driven_penalties(hierarchy, labels)
    assert penalties[penalties < 0.9999].round(3).to_dict() == {
        ("Consolidation", "Pneumonia"): 0.976,
        ("Enlarged Cardiomediastinum", "Cardiomegaly"): 0.882,
        ("Abnormal", "Other"): 0.737,
    }
    hard = hierarchy.violations(labels)["hard"]
    assert hard[hard > 0].to_dict() == {
        ("Consolidation", "Pneumonia"): 5025,
        ("Enlarged Cardiomediastinum", "Cardiomegaly"): 25_099,
        ("Abnormal", "Other"): 8808,
    }


def test_nih_is_the_published_table():
    table = public.nih_labels()
    assert table["patient"].nunique() == 30_805
    assert (table["findings"] == "No Finding").sum() == 60_361
    assert table["Pneumothorax"].sum() == table["findings"].str.contains("Pneumothorax").sum()
    lesions = table["findings"].str.contains("Mass|Nodule")
    assert table["Lung Lesion"].sum() == lesions.sum()
    assert table[["Fracture", "Support Devices"]].isna().all(axis=None)


def test_adjudicated_labels_and_what_the_program_found():
    table = public.adjudicated_labels()
    names = ["Pneumothorax", "Nodule or mass", "Airspace opacity"]
    found = table[[f"{name}, report" for name in names]].set_axis(names, axis=1)
    rates = agreement(table[names], found, table["patient"], resamples=20)
    assert rates["positives"].tolist() == [238, 605, 2166]
    assert rates["sensitivity"].round(2).tolist() == [0.46, 0.42, 0.58]
    assert rates["precision"].round(2).tolist() == [0.46, 0.56, 0.70]
    assert rates["kappa"].round(2).tolist() == [0.43, 0.41, 0.34]
    assert table["Fracture, report"].isna().all()


def test_three_readers_of_every_image():
    readings = public.reader_labels()
    assert readings.groupby(level="image").size().eq(3).all()
    assert readings.index.get_level_values("reader").nunique() == 17
    kappas = reader_agreement(readings, resamples=5)["kappa"].round(2)
    assert kappas[["Consolidation", "Lung Opacity", "Pleural Effusion"]].tolist() == [
        0.36,
        0.41,
        0.7,
    ]
    assert kappas["No Finding"] == 1


def test_padchest_and_its_hierarchy():
    table, hierarchy = public.padchest_labels(), read_hierarchy("padchest")
    assert len(table) == 160_758
    assert table["by"].value_counts().to_dict() == {"network": 121_705, "physician": 39_053}
    assert (len(hierarchy.labels), len(hierarchy.edges)) == (194, 208)
    assert table["normal"].sum() == 50_616
    have = [label for label in hierarchy.labels if label in table]
    labels = hierarchy.derive(table[have].astype(float))
    assert set(hierarchy.labels) - set(have) == {"differential diagnosis", "radiological finding"}
    assert hierarchy.incoherent(labels, 0.5).mean() == pytest.approx(0.3835, abs=5e-5)


def test_a_table_belongs_to_who_asked_for_it():
    mine = public.adjudicated_labels()
    mine["set"] = "mine"
    mine.loc[0, "patient"] = "mine"
    again = public.adjudicated_labels()
    assert set(again["set"]) == {"val", "test"}
    assert again.loc[0, "patient"] != "mine"


def test_without_the_wheel_there_is_one_sentence(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(PublicTableError, match=r"^the tables of real labels.*pip install \S+$"):
        public.find_file("chexpert_train.csv.gz")
    monkeypatch.setattr(metadata, "files", lambda name: [])
    with pytest.raises(PublicTableError, match=r"chexpert_train\.csv\.gz: not in the installed"):
        public.find_file("chexpert_train.csv.gz")


HEADER = (
    b"Image Index,Patient ID,Set Id,Finding Labels,Fracture,Pneumothorax,Nodule or mass,"
    b"Airspace opacity\n"
)
TABLES = {  # what: (the file, what is said of it)
    "a column lacks": (gzip.compress(b"Image Index,Set Id\na,test\n"), "Patient ID"),
    "no gzip": (b"no gzip", "not a readable table"),
    "cut short": (gzip.compress(HEADER)[:-9], "not a readable table"),
    "damaged": (gzip.compress(HEADER)[:12] + b"\xff" * 200, "not a readable table"),
    "rows lack": (
        gzip.compress(HEADER + b"a,1,test,Mass,NO,NO,YES,NO\n"),
        "1 rows, where torchxrayvision 1.5.7 has 4,376",
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_another_table_is_refused(tmp_path, monkeypatch, what):
    content, message = TABLES[what]
    path = tmp_path / "google2019_nih-chest-xray-labels.csv.gz"
    path.write_bytes(content)
    file = SimpleNamespace(name=path.name, locate=lambda: path)
    monkeypatch.setattr(metadata, "files", lambda name: [file])
    with pytest.raises(PublicTableError, match=f"{path.name}.*{message}"):
        public.adjudicated_labels.__wrapped__()
