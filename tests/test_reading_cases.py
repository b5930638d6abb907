"""cxrlib.reading.cases: what stands on the viewer is what was asked for."""

import pytest
import torch
from test_reading_reader import place, reader  # noqa: F401

from cxrlib import phantom
from cxrlib.reading import ReadingError
from cxrlib.reading.cases import phantom_case, read_case


def test_a_phantom_is_the_study_that_the_controls_name(reader):  # noqa: F811
    case = phantom_case(reader, 3, {"Pneumonia": 0.8, "Edema": 0.0})
    present = set(case.truth.index[case.truth == 1])
    assert {"Pneumonia", "Consolidation", "Fluid Accumulation", "Abnormal"} <= present
    assert "Edema" not in present
    assert case.grey.shape == (1, 32, 32) and case.grey.dtype == torch.uint8
    assert case.shown.shape == (1, 300, 300)
    assert (case.places["Opacity"] >= case.places["Pneumonia"]).all(), "a group holds its children"
    healthy = phantom_case(reader, 3, dict.fromkeys(phantom.FINDINGS, 0.0))
    assert healthy.truth["No Finding"] == 1 and not healthy.places
    side = phantom_case(reader, 3, {}, "lateral")
    assert (side.shown != healthy.shown).any()


def test_what_is_wrong_with_a_file_is_told_with_its_name(reader):  # noqa: F811
    with pytest.raises(ReadingError, match=r"^mine\.png: a PDF"):
        read_case(reader, "mine.png", b"%PDF-1.7")
