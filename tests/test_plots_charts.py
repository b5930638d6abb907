"""cxrlib.plots.charts: what is drawn is what was given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cxrlib import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_bars_and_intervals_draw_what_they_are_given():
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4]}, index=["x", "y"])
    drawn = {round(float(p.get_width()), 3) for p in plots.bars(table, "t", "x").axes[0].patches}
    assert drawn == {0.1, 0.2, 0.3, 0.4}
    fig = plots.intervals(table["a"], "t", "x", low=table["a"] - 0.05, high=table["a"] + 0.05)
    dots = fig.axes[0].lines[0]
    assert sorted(dots.get_xdata()) == [0.1, 0.2]
    segments = fig.axes[0].collections[0].get_segments()
    assert sorted(s[0][0] for s in segments) == pytest.approx([0.05, 0.15])


def test_bars_without_a_colour_are_refused():
    table = pd.DataFrame([[1, 2, 3, 4, 5]], columns=list("abcde"))
    with pytest.raises(ValueError, match="5 columns, but only 4 colours"):
        plots.bars(table, "title", "x")


def test_a_long_legend_and_title_fit():
    names = [f"a rather long name of column {n}" for n in range(4)]
    table = pd.DataFrame(0.5, index=["Enlarged Cardiomediastinum"] * 3, columns=names)
    fig = plots.intervals(
        table, "A title of some seventy letters over labels that need a lot of room", "x"
    )
    assert plots.overhang(fig) < 0.03


def hinge(parent, child):
    """The penalty of a child above its parent, and its slopes."""
    above = (child > parent).astype(float)
    return above * (child - parent), -above, above


def test_every_other_chart_draws_its_titles_and_is_whole():
    runs = {"a run": pd.DataFrame({"train_loss": [0.6, 0.5], "val_loss": [0.6, 0.55],
                                   "val_auroc": [0.7, 0.8]}, index=[1, 2])}  # fmt: skip
    flat = lambda parent, child: (0 * parent, 0 * parent, 0 * parent)  # noqa: E731
    surfaces = plots.loss_surface(["hinge", "flat"], [hinge, flat], "Surfaces")
    figures = {
        "Surfaces": surfaces,
        "A table": plots.heatmap(pd.DataFrame(np.eye(3)), "A table", "share"),
        "Curves": plots.curves(runs, "Curves"),
    }
    for title, fig in figures.items():
        assert fig.get_suptitle() == title and plots.overhang(fig) < 0.03
    assert [axis.get_title() for axis in surfaces.axes[:2]] == ["hinge", "flat"]
    assert "no arrows: no gradient" in [text.get_text() for text in surfaces.axes[1].texts]
