import re

import numpy as np
import pandas as pd
import pytest

from cxrlib import labels
from cxrlib.labels import (
    CHEXPERT_POLICY,
    LabelError,
    apply_policy,
    nih_targets,
    read_chexpert,
    read_csv,
    read_nih,
)


def one_label(*codes):
    return pd.DataFrame({"Edema": codes}, dtype=float)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("U-Ones", [1, 0, 1, 0]), ("U-Zeros", [1, 0, 0, 0]), ("U-Ignore", [1, 0, np.nan, 0])],
)
def test_policies_by_hand(policy, expected):
    targets = apply_policy(one_label(1, 0, -1, np.nan), policy)
    np.testing.assert_array_equal(targets["Edema"], expected)


def test_blank_can_stay_unknown():
    targets = apply_policy(one_label(1, 0, -1, np.nan), "U-Ones", blank=np.nan)
    np.testing.assert_array_equal(targets["Edema"], [1, 0, 1, np.nan])


def test_soft_policy_draws_in_the_range_and_only_for_uncertain():
    targets = apply_policy(one_label(*[-1] * 2000, 1, 0), "U-Soft", soft=(0.55, 0.85), seed=3)
    drawn = targets["Edema"][:2000]
    assert drawn.between(0.55, 0.85).all()
    assert drawn.mean() == pytest.approx(0.7, abs=0.01)
    assert targets["Edema"][2000:].tolist() == [1, 0]
    again = apply_policy(one_label(*[-1] * 2000, 1, 0), "U-Soft", soft=(0.55, 0.85), seed=3)
    pd.testing.assert_frame_equal(targets, again)


def test_soft_policy_with_one_value():
    assert apply_policy(one_label(-1), "U-Soft", soft=0.6)["Edema"].tolist() == [0.6]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"uncertain": "U-Maybe"}, "U-Maybe"), ({"blank": 1}, "blank"),
     ({"uncertain": "U-Soft", "soft": (0.9, 0.2)}, "soft")],
)  # fmt: skip
def test_policy_refuses_what_it_does_not_know(arguments, named):
    with pytest.raises(LabelError, match=named):
        apply_policy(one_label(1), **arguments)


def test_the_policy_does_not_change_its_input():
    codes = one_label(-1, np.nan)
    apply_policy(codes, "U-Ones")
    np.testing.assert_array_equal(codes["Edema"], [-1, np.nan])


# --- CheXpert files ------------------------------------------------------------------------


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_chexpert_columns_are_found_by_name(tmp_path):
    # The labeler's own order swaps Lung Lesion and Lung Opacity.
    names = list(labels.OBSERVATIONS)
    names[3], names[4] = names[4], names[3]
    codes = ["" for _ in names]
    codes[names.index("Lung Lesion")] = "-1.0"
    codes[names.index("Lung Opacity")] = "1"
    path = write(tmp_path / "t.csv", "Path," + ",".join(names), "a/b.jpg," + ",".join(codes))
    table = read_chexpert(path)
    assert table["Lung Lesion"].item() == -1
    assert table["Lung Opacity"].item() == 1
    assert np.isnan(table["Edema"].item())


def test_unknown_value_names_file_line_and_label(tmp_path):
    header = "Path," + ",".join(labels.OBSERVATIONS)
    good, bad = ["0.0"] * 14, ["0.0"] * 14
    bad[5] = "2"
    path = write(tmp_path / "t.csv", header, "a.jpg," + ",".join(good), "b.jpg," + ",".join(bad))
    with pytest.raises(LabelError, match=r"t\.csv, line 3, column 'Edema'.*'2'"):
        read_chexpert(path)


def test_a_word_where_a_code_should_be(tmp_path):
    values = ["yes", *["0.0"] * 13]
    path = write(
        tmp_path / "t.csv", "Path," + ",".join(labels.OBSERVATIONS), "a.jpg," + ",".join(values)
    )
    with pytest.raises(LabelError, match="line 2, column 'No Finding'.*'yes'"):
        read_chexpert(path)


def test_missing_column_names_it_and_the_file(tmp_path):
    header = "Path," + ",".join(n for n in labels.OBSERVATIONS if n != "Fracture")
    path = write(tmp_path / "t.csv", header, "a.jpg" + ",0" * 13)
    with pytest.raises(LabelError, match=r"t\.csv: no column 'Fracture'"):
        read_chexpert(path)


def test_empty_table(tmp_path):
    path = write(tmp_path / "t.csv", "Path," + ",".join(labels.OBSERVATIONS))
    with pytest.raises(LabelError, match="no rows"):
        read_chexpert(path)
    (tmp_path / "nothing.csv").write_text("")
    with pytest.raises(LabelError, match=r"nothing\.csv"):
        read_chexpert(tmp_path / "nothing.csv")


def test_no_such_file(tmp_path):
    with pytest.raises(LabelError, match="no such file"):
        read_chexpert(tmp_path / "train.csv")


def test_an_image_listed_twice_names_both_lines(tmp_path):
    row = "a.jpg" + ",0" * 14
    path = write(tmp_path / "t.csv", "Path," + ",".join(labels.OBSERVATIONS), row, row)
    with pytest.raises(LabelError, match=r"t\.csv, line 3: 'a\.jpg'.*line 2"):
        read_chexpert(path)


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path):
    path = tmp_path / "t.csv"
    text = "Path," + ",".join(labels.OBSERVATIONS) + "\r\na.jpg" + ",1" * 14 + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert (read_chexpert(path)[list(labels.OBSERVATIONS)] == 1).all(axis=None)


# --- NIH -----------------------------------------------------------------------------------


def test_nih_mapping_by_hand():
    findings = pd.Series(
        ["No Finding", "Effusion|Mass", "Hernia", "Infiltration|Nodule", "Pleural_Thickening"]
    )
    targets = nih_targets(findings)
    assert targets["No Finding"].tolist() == [1, 0, 0, 0, 0]
    assert targets["Pleural Effusion"].tolist() == [0, 1, 0, 0, 0]
    assert targets["Lung Lesion"].tolist() == [0, 1, 0, 1, 0]
    assert targets["Pleural Other"].tolist() == [0, 0, 0, 0, 1]
    # Infiltration says opacity, a normal radiograph says none, anything else leaves it open.
    np.testing.assert_array_equal(targets["Lung Opacity"], [0, np.nan, np.nan, 1, np.nan])
    assert targets[list(labels.NIH_UNLABELLED)].isna().all(axis=None)


def test_every_nih_target_is_an_observation():
    mapped = {name for name in labels.NIH_TO_CHEXPERT.values() if name}
    assert mapped | set(labels.NIH_UNLABELLED) == set(labels.OBSERVATIONS)


def test_nih_unknown_finding_names_line(nih_folder):
    path = nih_folder / "Data_Entry_2017_v2020.csv"
    path.write_text(path.read_text().replace("Hernia", "Herniation", 1))
    with pytest.raises(LabelError, match=r"Data_Entry_2017_v2020\.csv, line \d+.*'Herniation'"):
        read_nih(path)


@pytest.mark.parametrize(
    ("odd", "named"),
    [("", "no finding is named"), ("|", "no finding is named"),
     ("No Finding|Effusion", "'No Finding|Effusion' names 'No Finding' and another")],
)  # fmt: skip
def test_nih_findings_that_say_nothing_or_contradict_themselves(odd, named):
    with pytest.raises(LabelError, match=f"entries.csv, line 3: {re.escape(named)}"):
        nih_targets(pd.Series(["No Finding", odd, "Hernia"]), source="entries.csv")


def test_nih_header_with_commas_in_names_is_read_right(nih_folder):
    table = read_nih(nih_folder / "Data_Entry_2017_v2020.csv")
    assert table["Image Index"].str.endswith(".png").all()
    assert set(table["View Position"]) == {"AP", "PA"}


@pytest.mark.parametrize("row", ["a.jpg,1,0,1,1", "a.jpg,1"])
def test_a_row_that_is_too_long_or_too_short_is_named(tmp_path, row):
    path = tmp_path / "train.csv"
    path.write_text(f"Path,Edema,Fracture,Pneumonia\nb.jpg,1,0,1\n{row}\n")
    with pytest.raises(LabelError, match=r"train\.csv, line 3: \d fields, but the header has 4"):
        read_csv(path)


@pytest.mark.parametrize("bad", [2, -2, np.inf, 0.5, "yes"])
def test_a_value_that_is_no_code_names_row_and_label(bad):
    codes = pd.DataFrame({"Edema": [1, bad]}, index=["first", "second"])
    with pytest.raises(LabelError, match="row 'second', label 'Edema'"):
        apply_policy(codes)


def test_a_policy_for_each_observation():
    codes = pd.DataFrame(-1.0, index=[0], columns=["Edema", "Fracture", "Pneumonia"])
    rules = {"Edema": "U-Ones", "Fracture": "U-Ignore"}
    np.testing.assert_array_equal(apply_policy(codes, rules).iloc[0], [1, np.nan, 0])
    rules["default"] = "U-Soft"
    assert 0.55 <= apply_policy(codes, rules)["Pneumonia"].item() <= 0.85
    assert apply_policy(codes, CHEXPERT_POLICY).iloc[0].tolist() == [1, 0, 0]
    for wrong in ({"Edama": "U-Ones"}, {"Edema": "U-Maybe"}, {"default": "U-Two"}):
        with pytest.raises(LabelError, match="Edama|U-Maybe|U-Two"):
            apply_policy(codes, wrong)


def test_lines_count_blank_lines_and_line_breaks_in_quotes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('Path,Edema\n\n"a\nb",1\n\nc,0\n')
    assert [labels.line_of(row, path) for row in (0, 1)] == [3, 6]
    assert labels.line_of(0) == 2
    path.write_text(path.read_text() + "d\n")
    with pytest.raises(LabelError, match="line 7: 1 fields"):
        read_csv(path)


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"Path,Edema,Edema\na,1,0\n", "two columns are called 'Edema'"),
     (b"Path,Edema\na\0,1\n", "line 2: .*NUL"),
     (b"Path,Edema\n\xff,1\n", "not a readable CSV"),
     (b"Path,Edema\n" + b"a" * 200_000 + b",1\n", "line 2: .*field larger"),
     (b'Path,Edema\n"a,1\n', "line 2: .*quotation")],
)  # fmt: skip
def test_a_damaged_table_is_named(tmp_path, content, named):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=rf"t\.csv.*{named}"):
        read_csv(path)
