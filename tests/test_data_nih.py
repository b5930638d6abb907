import pandas as pd
import pytest

from cxrlib.check import check_folder
from cxrlib.data import DataError, open_track
from cxrlib.labels import LabelError


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


RSNA = "Image Index,x,y,width,height,Target\n"


def test_rsna_boxes_are_opacities_and_an_image_without_one_has_none(nih_folder):
    (nih_folder / "RSNA_boxes.csv").write_text(
        f"{RSNA}00000002_000.png,,,,,0\n00000003_000.png,256.0,512,128,64.0,1\n"
        "00000003_000.png,0,0,1024,1024,1\n99999999_000.png,1,1,1,1,1\n"
    )
    boxes = open_track(nih_folder).boxes
    assert (boxes["observation"] == "Lung Opacity").all()
    of_rsna = boxes[boxes["path"] == "images/00000003_000.png"][["x", "y", "width", "height"]]
    assert of_rsna.to_numpy().tolist() == [[0.25, 0.5, 0.125, 0.0625], [0, 0, 1, 1]]
    assert set(boxes["path"]) == {"images/00000001_000.png", "images/00000003_000.png"}
    (nih_folder / "BBox_List_2017.csv").unlink()
    assert len(open_track(nih_folder).boxes) == 2


@pytest.mark.parametrize("row", [",,,,1", "1,1,1,1,2", "1,1,0,1,1", "1000,1,50,1,1", "a,1,1,1,1"])
def test_rsna_boxes_that_are_none(nih_folder, row):
    (nih_folder / "RSNA_boxes.csv").write_text(f"{RSNA}00000001_000.png,{row}\n")
    with pytest.raises(LabelError, match=r"RSNA_boxes\.csv, line 2: .*Expected Target 0"):
        open_track(nih_folder)


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


LISTED = "00000001_000.png\n00000001_001.png\n"


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"99999999_000.png", LISTED.replace(".png", "").encode(),
     LISTED.replace("0000000", "images/0000000").encode(), b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_test_list_that_matches_nothing_is_refused(nih_folder, content):
    (nih_folder / "test_list.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"test_list\.txt: "):
        open_track(nih_folder)
    assert "test_list.txt: " in check_folder(nih_folder).problems[0]


def test_a_byte_order_mark_in_the_test_list_is_harmless(nih_folder):
    (nih_folder / "test_list.txt").write_bytes(b"\xef\xbb\xbf" + LISTED.encode())
    assert len(open_track(nih_folder).split("test")) == 2


HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


@pytest.mark.parametrize(
    ("content", "named"),
    [(HEADER.replace("[x,y", "[y,x"), "no column 'Bbox"),
     ("Image Index,Finding Label,Bbox [x\na.png,Mass,1\n", "no column 'y'"),
     *[(f"{HEADER}00000001_000.png,{box},,,\n", "line 2: ")
       for box in ("Mass,inf,1,1,1", "Mass,1,-1,1,1", "Mass,1000,1,50,1", "Mass,1,1,0,1",
                   "Mess,1,1,1,1", "Mass|Edema,1,1,1,1", "Mass,,1,1,1")]],
)  # fmt: skip
def test_boxes_that_are_none(nih_folder, content, named):
    if "\na" not in content and "\n0" not in content:
        content += "00000001_000.png,Mass,1,2,3,4,,,\n"
    (nih_folder / "BBox_List_2017.csv").write_text(content)
    with pytest.raises(LabelError, match=rf"BBox_List_2017\.csv.*{named}"):
        open_track(nih_folder)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.png", "c:x.png"])
def test_an_image_index_that_is_no_file_name(nih_folder, name):
    path = nih_folder / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("00000001_000.png", name))
    with pytest.raises(DataError, match="line 2.*Expected a file name"):
        open_track(nih_folder)


def test_one_person_in_three_spellings(nih_folder):
    path = nih_folder / "Data_Entry_2017_v2020.csv"
    text = path.read_text().replace("_001.png,Effusion,1,1,", "_001.png,Effusion,1,1.0,")
    text = text.replace(",0,3,", ",0, 3,")
    path.write_text(text)
    assert open_track(nih_folder).table["patient"].nunique() == 40
    path.write_text(text.replace(",0,5,", ",0,5x,"))
    with pytest.raises(DataError, match="Patient ID '5x'"):
        open_track(nih_folder)


def test_how_an_image_was_taken(nih_folder):
    path = nih_folder / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace(",F,AP,", ",F, ap ,", 1).replace(",F,PA,", ",F,,", 1))
    table = open_track(nih_folder).table
    assert table["projection"].iloc[0] == "AP"
    number = table["patient"].str[3:].astype(int)
    unknown = table["projection"].isna()
    assert number[unknown].tolist() == [3]
    expected = number.map(lambda n: "AP" if n % 3 else "PA")
    assert (table["projection"] == expected)[~unknown].all()
