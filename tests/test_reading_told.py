"""cxrlib.reading.told: every sentence of the room says what the tables say."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PAPER

from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import Reading, told
from cxrlib.reading.cases import Case

LABELS = list(PAPER.labels)


def reading(**changes):
    """Edema and what is above it at 0.8 and said, all else 0.1."""
    table = pd.DataFrame(0.1, index=[0], columns=LABELS)
    above = ["Edema", *PAPER.ancestors("Edema")]
    table.loc[0, above] = 0.8
    nothing = pd.DataFrame(False, index=[0], columns=LABELS)
    parts = {
        "scores": table,
        "sets": pd.DataFrame("absent", index=[0], columns=LABELS),
        "said": nothing.assign(Edema=True),
        "distance": pd.Series(0.5, [0]),
        "mended": nothing.assign(Edema=True),
        "low": table - 0.05,
        "high": table + 0.1,
        "risk": 0.1,
    }
    return Reading(**(parts | changes))


def case(truth=None, **changes):
    film = torch.zeros((1, 8, 8), dtype=torch.uint8)
    if truth is not None:
        table = pd.DataFrame([dict.fromkeys(OBSERVATIONS, 0) | truth])
        truth = PAPER.derive(table[list(OBSERVATIONS)].astype(float)).iloc[0]
    return Case("film <1>.png", film, film, ["It is a lateral view."], truth, **changes)


def test_the_report_names_image_gate_statements_and_truth():
    words = told.plain(told.report(case({"Edema": 1, "Fracture": 1}), reading())).splitlines()
    words = [line.strip() for line in words]
    assert words[0] == "film <1>.png" and words[1] == "It is a lateral view."
    assert words[2] == "Passes the gate (0.50 of its limit)."
    assert "Said: Edema (0.80)." in words
    assert "True: Edema, Fracture." in words
    assert "Scored above a parent, which was raised to it: Edema." in words
    assert words[-1] == told.NOT_FOR_CLINICAL_USE
    assert "&lt;1&gt;" in told.report(case(), reading()), "a name is no markup"
    assert "True" not in told.report(case(), reading()), "what is not known is not told"


def test_what_labels_say_is_not_called_true_and_what_nobody_knows_is_named():
    labelled = case({"Edema": 1, "Fracture": np.nan}, known_as="Labelled")
    words = told.plain(told.report(labelled, reading()))
    assert "Labelled: Edema. Not known: Fracture." in words and "True" not in words
    nothing = case(dict.fromkeys(OBSERVATIONS, np.nan), known_as="Labelled")
    assert "Labelled: none of what is known. Not known: No Finding," in told.plain(
        told.report(nothing, reading())
    )
    words = told.plain(told.about(PAPER, reading(), labelled, "Fracture", 0.5))
    assert "Labelled: not known." in words
    assert words.endswith("0 wrongly, with 0 missed, among the 19 that are known.")


def test_of_a_refused_image_nothing_is_told_that_was_found_on_others():
    refused = reading(distance=pd.Series(1.2, [0]), said=reading().said & False)
    words = told.plain(told.report(case(), refused))
    assert "Stopped by the gate" in words and "1.20 times the limit" in words
    assert "Said" not in words and "raised" not in words
    boxes = told.boxes(refused, 0.5)
    assert not boxes["marks"] and not boxes["notes"] and not any(boxes["shares"].values())
    assert boxes["texts"]["Edema"] == "0.80"
    words = told.plain(told.about(PAPER, refused, case(), "Edema", 0.5, hit=0.6))
    assert "Edema 0.80" in words and "refused" in words
    assert "%" not in words and "threshold" not in words


def test_the_boxes_have_score_interval_and_state():
    boxes = told.boxes(reading(), 0.5)
    assert boxes["texts"]["Edema"] == "0.80" and boxes["notes"]["Edema"] == "75–90%, said"
    assert boxes["notes"]["Fracture"] == "5–20%, ruled out"
    assert boxes["shares"]["Edema"] == 0.8 and boxes["shares"]["Fracture"] == 0
    assert boxes["marks"] == {"Edema": "said"}
    assert told.boxes(reading(), 0.85)["shares"]["Edema"] == 0, "below the threshold"
    unsure = reading(sets=reading().sets.replace("absent", "present"))
    assert told.boxes(unsure, 0.5)["notes"]["Fracture"] == "5–20%", "no claim"


def test_about_a_label():
    words = told.plain(told.about(PAPER, reading(), case({"Edema": 1}), "Edema", 0.5, hit=0.62))
    assert "Edema 0.80." in words and "such a score 75–90% have it (90% interval)." in words
    assert "It is said." in words and "True: present." in words
    assert "Above it: Fluid Accumulation 0.80; below it: none." in words
    assert "highest on it in 62% (08)" in words
    assert "(08)" not in told.about(PAPER, reading(), case(), "Edema", 0.5)
    assert "(08)" not in told.about(PAPER, reading(), case(), "Fracture", 0.5, hit=0.62), "not blue"
    absent = told.plain(told.about(PAPER, reading(), case(), "Fracture", 0.5))
    assert "It is ruled out: of those who have it, one in ten scores as low." in absent
    assert "Of validation images" in absent
    of_phantoms = reading(origin="Track 'phantom'")
    assert "validation phantoms" in told.about(PAPER, of_phantoms, case(), "Edema", 0.5)
    group = told.plain(told.about(PAPER, reading(), case({"Edema": 1}), "Opacity", 0.5))
    assert "A group's map" in group and "Fluid Accumulation 0.80" in group
    outlined = case(places={"Edema": np.ones((8, 8), bool)})
    assert "outline" in told.about(PAPER, reading(), outlined, "Edema", 0.5)
    assert "outline" not in told.about(PAPER, reading(), outlined, "Opacity", 0.5)


def test_where_no_label_tells_there_is_no_interval():
    unknown = reading(low=reading().low * np.nan, high=reading().high * np.nan)
    notes = told.boxes(unknown, 0.5)["notes"]
    assert notes["Edema"] == "said" and notes["Fracture"] == "ruled out"
    words = told.plain(told.about(PAPER, unknown, case(), "Edema", 0.5))
    assert "not known: no label tells" in words and "nan" not in words


def test_the_threshold_is_counted_against_the_truth():
    def counted(truth, threshold):
        words = told.plain(told.about(PAPER, reading(), case(truth), "Edema", threshold))
        return words.rpartition("At a threshold of ")[2]

    # Edema, Fluid Accumulation, Opacity, Abnormal are blue; with Fracture two more are true.
    assert counted({"Edema": 1}, 0.5) == "0.50 4 of 21 labels are blue: 0 wrongly, with 0 missed."
    assert counted({"Edema": 1, "Fracture": 1}, 0.5).endswith("0 wrongly, with 2 missed.")
    assert counted({"Fracture": 1}, 0.5).endswith("3 wrongly, with 2 missed.")
    assert counted(None, 0.9) == "0.90 0 of 21 labels are blue."


def test_the_text_of_a_map_says_where_it_is_highest():
    heat = np.zeros((12, 12))
    heat[10, 1] = 1
    assert "the picture's lower third, left" in told.where(case(), "Edema", heat)
    assert "upper third, right" in told.where(case(), "Edema", heat[::-1, ::-1])


@pytest.mark.parametrize(("has", "count"), [([1, 0, 1], "2"), ([0], "0"), ([np.nan, 1], "1")])
def test_images_like_it_are_counted(has, count):
    words = told.plain(told.like_it("Edema", pd.Series(has)))
    assert f"{len(has)} validation patients, of whom {count}, in an orange frame" in words
