"""cxrlib.reading.told: every sentence of the room says what the tables say."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PAPER

from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import Reading, told
from cxrlib.reading.room import Case

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


def case(truth=None):
    film = torch.zeros((1, 8, 8), dtype=torch.uint8)
    if truth is not None:
        table = pd.DataFrame([dict.fromkeys(OBSERVATIONS, 0) | truth])
        truth = PAPER.derive(table[list(OBSERVATIONS)].astype(float)).iloc[0]
    return Case("film <1>.png", film, film, ["It is a lateral view."], truth)


def test_the_report_names_image_gate_statements_and_truth():
    words = told.plain(told.report(case({"Edema": 1, "Fracture": 1}), reading(), 0.1)).splitlines()
    words = [line.strip() for line in words]
    assert words[0] == "film <1>.png" and words[1] == "It is a lateral view."
    assert "0.50 of the gate's limit" in words[2]
    assert "Said : Edema (0.80)." in words
    assert "True: Edema, Fracture." in words
    assert "Scored above a parent, which was raised: Edema." in words
    assert words[-1] == told.NOT_FOR_CLINICAL_USE
    assert "&lt;1&gt;" in told.report(case(), reading(), 0.1), "a name is no markup"
    assert "True" not in told.report(case(), reading(), 0.1), "what is not known is not told"


def test_a_refused_image_gets_no_statement():
    refused = reading(distance=pd.Series(1.2, [0]), said=reading().said & False)
    words = told.plain(told.report(case(), refused, 0.1))
    assert "Not like the images it knows" in words and "1.20 times the limit" in words
    assert "Said" not in words
    assert not told.boxes(refused, 0.5)["marks"]
    assert told.boxes(refused, 0.5)["notes"]["Edema"] == "0.75–0.90"


def test_the_boxes_have_score_interval_and_state():
    boxes = told.boxes(reading(), 0.5)
    assert boxes["texts"]["Edema"] == "0.80" and boxes["notes"]["Edema"] == "0.75–0.90, said"
    assert boxes["notes"]["Fracture"] == "0.05–0.20, ruled out"
    assert boxes["shares"]["Edema"] == 0.8 and boxes["shares"]["Fracture"] == 0
    assert boxes["marks"] == {"Edema": "said"}
    assert told.boxes(reading(), 0.85)["shares"]["Edema"] == 0, "below the threshold"


def test_about_a_label():
    words = told.plain(told.about(PAPER, reading(), case({"Edema": 1}), "Edema", 0.5, hit=0.62))
    assert "Edema 0.80" in words and "75% to 90% have it" in words and "It is said." in words
    assert "True: present." in words
    assert "above it: Fluid Accumulation 0.80; below it: none" in words
    assert "raised to its score" in words and "in 62% (notebook 08)" in words
    assert "notebook 08" not in told.about(PAPER, reading(), case(), "Edema", 0.5)
    group = told.plain(told.about(PAPER, reading(), case({"Edema": 1}), "Opacity", 0.5))
    assert "A group's map" in group and "Fluid Accumulation 0.80" in group


def test_the_threshold_is_counted_against_the_truth():
    def counted(truth, threshold):
        words = told.plain(told.about(PAPER, reading(), case(truth), "Edema", threshold))
        return words.rpartition("At this threshold ")[2]

    # Edema, Fluid Accumulation, Opacity, Abnormal are called; with Fracture two more are true.
    assert counted({"Edema": 1}, 0.5).startswith(
        "4 of 21 labels would be called present: 0 wrongly"
    )
    assert counted({"Edema": 1, "Fracture": 1}, 0.5).endswith("0 wrongly, with 2 missed.")
    assert counted({"Fracture": 1}, 0.5).endswith("3 wrongly, with 2 missed.")
    assert counted(None, 0.9) == "0 of 21 labels would be called present."


def test_the_text_of_a_map_says_where_it_is_highest():
    heat = np.zeros((12, 12))
    heat[10, 1] = 1
    assert "lower third, left" in told.where(case(), "Edema", heat)
    assert "upper third, right" in told.where(case(), "Edema", heat[::-1, ::-1])


@pytest.mark.parametrize(("has", "count"), [([True, False, True], "2"), ([False], "0")])
def test_images_like_it_are_counted(has, count):
    words = told.plain(told.like_it("Edema", pd.Series(has)))
    assert (
        f"{len(has)} validation patients, of whom {count}, in an orange frame, have Edema" in words
    )
