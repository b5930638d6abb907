"""Small tables, folders and models that several test files share."""

import importlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cxrlib import models
from cxrlib.data import BATCHES, open_track
from cxrlib.hierarchy import paper_hierarchy
from cxrlib.labels import OBSERVATIONS
from cxrlib.training import Settings

PAPER = paper_hierarchy()
QUICK = Settings(size=32, epochs=2, batch_size=8)


@pytest.fixture(autouse=True, scope="session")
def _cache(tmp_path_factory):
    """Images that tests decode are kept with the tests' own files, also by processes they start."""
    os.environ["CXR_CACHE"] = str(tmp_path_factory.mktemp("cache"))


CHEXPERT_HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS)


def write_image(path, seed=0, size=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_chexpert(folder, seed=0, patients=None):
    """A folder in CheXpert's layout: noise for images, random labels. Returns its tables."""
    patients = patients or {"train": 8, "valid": 4, "test": 4}
    rng = np.random.default_rng(seed)
    tables, number = {}, 0
    for split, count in patients.items():
        rows = []
        for _ in range(count):
            number += 1
            for study in (1, 2):
                inside = f"{split}/patient{number:05d}/study{study}/view1_frontal.jpg"
                write_image(folder / inside, seed=number * 10 + study)
                codes = rng.integers(0, 2, 14).astype(float).astype(str)
                sex, age = ("Male", "Female")[number % 2], str(30 + number)
                rows.append([f"{folder.name}/{inside}", sex, age, "Frontal", "AP", *codes])
        tables[split] = pd.DataFrame(rows, columns=list(CHEXPERT_HEADER))
        tables[split].to_csv(folder / f"{split}.csv", index=False)
    tables["train"].to_csv(folder / "train_visualCheXbert.csv", index=False)
    return tables


@pytest.fixture
def chexpert_folder(tmp_path):
    folder = tmp_path / "CheXpert-v1.0-small"
    folder.mkdir()
    write_chexpert(folder)
    return folder


BATCH = dict(enumerate(BATCHES, start=1))


@pytest.fixture
def batches_folder(chexpert_folder):
    """The same images in the four folders that the full download unzips to."""
    folder = chexpert_folder.with_name("chexpert")
    first = folder / BATCH[1]
    shutil.copytree(chexpert_folder / "valid", first / "valid")
    shutil.copytree(chexpert_folder / "test", folder / "test")
    for number, patients in {2: (1, 2), 3: (3, 4, 5), 4: (6, 7, 8)}.items():
        place = folder / BATCH[number] / ("train" if number == 4 else "")
        for patient in patients:
            name = f"patient{patient:05d}"
            shutil.copytree(chexpert_folder / "train" / name, place / name)
    for name in ("train", "valid", "test", "train_visualCheXbert"):
        table = pd.read_csv(chexpert_folder / f"{name}.csv")
        table["Path"] = table["Path"].str.replace("CheXpert-v1.0-small/", "CheXpert-v1.0/")
        if name == "test":
            table = table[["Path", *OBSERVATIONS]]
            table["Path"] = table["Path"].str.removeprefix("CheXpert-v1.0/")
            name = "test_labels"
        table.to_csv((folder if "_" in name else first) / f"{name}.csv", index=False)
    return folder


@pytest.fixture
def track(chexpert_folder):
    return open_track(chexpert_folder)


def same_weights(a, b):
    """Whether two models agree in every bit of every weight and buffer."""
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


NIH_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)


@pytest.fixture
def nih_folder(tmp_path):
    """A folder in NIH's layout: 40 patients, one or two images each, and one box."""
    folder = tmp_path / "nih"
    names = ("No Finding", "Effusion", "Effusion|Mass", "Hernia", "Infiltration|Edema")
    lines = [NIH_HEADER]
    for patient in range(1, 41):
        for follow_up in range(1 + patient % 2):
            name = f"{patient:08d}_{follow_up:03d}.png"
            write_image(folder / "images" / name, seed=patient)
            finding = names[(patient + follow_up) % len(names)]
            view = "AP" if patient % 3 else "PA"
            lines.append(f"{name},{finding},{follow_up},{patient},57,F,{view},2500,2048,0.1,0.1")
    (folder / "Data_Entry_2017_v2020.csv").write_text("\n".join(lines) + "\n")
    (folder / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
        "00000001_000.png,Infiltrate,512.0,256.0,128.0,64.0,,,\n"
    )
    return folder


LABELS = ["Edema", "Fracture", "Cardiac"]


def random_tables(rows=200, seed=0, ties=False, unknown=0.0):
    """Truth and scores of LABELS, to evaluate."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, 3)) < 0.3).astype(float)
    scores = np.clip(truth * 0.2 + rng.random((rows, 3)) * 0.8, 0, 1)
    if ties:
        scores = scores.round(1)
    truth[rng.random(truth.shape) < unknown] = np.nan
    return pd.DataFrame(truth, columns=LABELS), pd.DataFrame(scores, columns=LABELS)


def untrained(head):
    torch.manual_seed(0)
    made = models.build("tiny", head=head)
    with torch.no_grad():
        made(torch.rand(16, 1, 64, 64))  # batch normalisation has seen something
    return made.eval()


@pytest.fixture(scope="module")
def model():
    return untrained("paper")


@pytest.fixture(scope="module")
def pointing():
    return untrained("pointing")


@pytest.fixture
def images():
    return torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(1))


BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def maps(monkeypatch):
    """benchmarks/explanations.py."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("explanations")


@pytest.fixture
def heads(monkeypatch):
    """benchmarks/heads.py."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("heads")
