"""cxrlib.plots.films: scales, outlines and arrows."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from cxrlib import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_gallery_scales_by_type_and_outlines_masks():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 2:5] = True
    images = [np.full((8, 8), 128, dtype=np.uint8), np.full((1, 8, 8), 0.5, dtype=np.float32)]
    fig = plots.gallery(images, ["a", "b"], columns=2, masks=[mask, None])
    grey, fraction = (axis.images[0] for axis in fig.axes[:2])
    assert grey.get_clim() == (0, 255)
    assert fraction.get_clim() == (0, 1)
    assert [bool(axis.collections) for axis in fig.axes[:2]] == [True, False]


def test_names_point_at_their_places_and_never_lie_over_each_other():
    """Six places in one corner: their names are a line apart, and their arrows end at them."""
    places = {f"place {n}": (90.0 + n, 10.0 + n) for n in range(6)}
    fig = plots.pointed(np.zeros((100, 100)), places, {"right": (5.0, 80.0)}, "Places")
    texts = {text.get_text(): text for text in fig.axes[0].texts}
    for name, (row, column) in places.items():
        assert texts[name].xy == (column, row) and texts[name].get_horizontalalignment() == "right"
    heights = np.array([texts[name].xyann[1] for name in places])
    assert (np.diff(heights) >= 8.4).all() and heights.max() <= 98
    assert texts["right"].xyann[0] > 100 and texts["right"].xyann[1] == 5
