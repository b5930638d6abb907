"""cxrlib.reading.report: sentences by hand."""

from dataclasses import replace

import pandas as pd
from conftest import PAPER

from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import Reading


def test_a_report_by_hand():
    labels = list(PAPER.labels)
    scores = pd.DataFrame(0.1, index=["a", "b"], columns=labels)
    scores.loc["a", ["Edema", "Opacity"]] = 0.91, 0.8
    sets = pd.DataFrame("unsure", index=["a", "b"], columns=labels)
    sets.loc["a", ["Fracture", "Cardiac", "No Finding"]] = "absent"
    said = pd.DataFrame(False, index=["a", "b"], columns=labels)
    said.loc["a", ["Edema", "Opacity"]] = True
    distance, none = pd.Series([0.5, 0.7], ["a", "b"]), said & False
    reading = Reading(scores, sets, said, distance, none, scores, scores, risk=0.2)
    named, group, absent, promise = reading.report("a")
    assert named == "Said: Edema (0.91)."
    assert group == "Said, kind not certain: Opacity (0.80)."
    assert absent.startswith("Ruled out (each ") and absent.endswith(" have it): Fracture.")
    assert "at most 20% say anything wrong after “Said”" in promise
    of_phantoms = replace(reading, origin="Track 'phantom': 3 train", risk=0.004).report("a")
    assert (
        "0.4%" in of_phantoms[-2] and "of a real radiograph nothing is promised" in of_phantoms[-1]
    )
    assert "does not make it a normal chest" in reading.report("b")[0]
    assert set(OBSERVATIONS) < set(labels)
    by_its_words = replace(reading, otherwise=pd.Series([True, False], ["a", "b"]))
    assert by_its_words.refused.tolist() == [True, False]
    (only,) = by_its_words.report("a")
    assert "by its own words the file is no frontal chest radiograph" in only
    assert replace(reading, origin="Track 'nih': 3 train, 4 valid").track == "nih"
