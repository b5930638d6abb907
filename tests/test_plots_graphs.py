"""cxrlib.plots.graphs: every label in its place."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from cxrlib import plots
from cxrlib.hierarchy import Hierarchy, paper_hierarchy

PAPER = paper_hierarchy()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(fig):
    return {text.get_text() for axis in fig.axes for text in axis.texts}


def test_the_layout_puts_parents_left_of_children_and_boxes_apart():
    places = plots.layout(PAPER)
    assert set(places) == set(PAPER.labels)
    assert all(places[parent][0] < places[child][0] for parent, child in PAPER.edges)
    for column in {x for x, _ in places.values()}:
        rows = sorted(y for x, y in places.values() if x == column)
        assert np.diff(rows).min(initial=1) > 0.8


def test_groups_over_the_same_children_do_not_share_a_place():
    edges = [(parent, child) for parent in "AB" for child in "CD"]
    places = plots.layout(Hierarchy(list("ABCD"), edges))
    assert len(set(places.values())) == 4


def test_no_edge_runs_behind_a_box():
    places = plots.layout(PAPER)
    for parent, child in PAPER.edges:
        (x0, _), (x1, y1) = places[parent], places[child]
        between = [y for x, y in places.values() if x0 < x < x1]
        assert all(abs(y - y1) > 0.4 for y in between), (parent, child)


def test_the_hierarchy_shows_every_label_and_its_value():
    values = pd.Series(0.25, index=PAPER.labels)
    values["Fracture"] = np.nan
    shown = texts(plots.draw_hierarchy(PAPER, values, title="t"))
    assert "Edema  0.25" in shown
    assert "Fracture" in shown  # unknown: no number
    assert len(shown) == 21


def test_a_hierarchy_without_edges_is_drawn():
    assert texts(plots.draw_hierarchy(Hierarchy(["A", "B"], []))) == {"A", "B"}


def test_exclusions_are_drawn_and_named():
    labels, edges = ["No Finding", "Abnormal", "Edema"], [("Abnormal", "Edema")]
    count = {}
    for pairs in ((), [("No Finding", "Abnormal")]):
        fig = plots.draw_hierarchy(Hierarchy(labels, edges, never_both=pairs), label="share")
        kinds = [type(patch).__name__ for patch in fig.axes[0].patches]
        count[len(pairs)] = kinds.count("FancyArrowPatch")
        assert ("share; dashed: never both" in texts(fig)) == bool(pairs)
    assert count == {0: 0, 1: 1}


def test_whole_numbers_have_no_decimals():
    shown = texts(plots.draw_hierarchy(PAPER, pd.Series(1.0, index=PAPER.labels)))
    assert "Edema  1" in shown and "Missing Lung\nTissue  1" in shown


def test_an_outline_repeats_a_label_under_each_parent():
    fig = plots.outline(PAPER, "t", columns=2, highlight=[("Cardiac", "Cardiomegaly")])
    twice = [text for text in fig.axes[0].texts if text.get_text() == "Cardiomegaly"]
    assert [text.get_color() for text in twice].count(plots.RED) == 1
    assert len(twice) == 2 and all(text.get_style() == "italic" for text in twice)
    assert len({(text.get_position()) for text in fig.axes[0].texts}) == len(fig.axes[0].texts)
    assert texts(fig) == set(PAPER.labels)


@pytest.mark.parametrize(
    ("colour", "ink"),
    [
        ((1, 1, 1), "black"),
        ((0, 0, 0), "white"),
        ((0.5, 0.5, 0.5), "black"),
        ((0, 0, 0.6), "white"),
    ],
)
def test_ink_is_what_contrasts_more(colour, ink):
    """By hand: mid-grey has a luminance of 0.21, so black has 5.3 to 1 on it, and white 4.0."""
    assert plots.ink_on(colour) == ink
