import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

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


def test_gallery_scales_by_type_and_outlines_masks():
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:5, 2:5] = True
    images = [np.full((8, 8), 128, dtype=np.uint8), np.full((1, 8, 8), 0.5, dtype=np.float32)]
    fig = plots.gallery(images, ["a", "b"], columns=2, masks=[mask, None])
    grey, fraction = (axis.images[0] for axis in fig.axes[:2])
    assert grey.get_clim() == (0, 255)
    assert fraction.get_clim() == (0, 1)
    assert [bool(axis.collections) for axis in fig.axes[:2]] == [True, False]


def test_png_is_a_picture_with_its_text_and_the_figure_is_closed():
    fig, _ = plots.figure()
    bundle = plots.png(fig, "what it shows")
    assert Image.open(io.BytesIO(bundle["image/png"])).format == "PNG"
    assert bundle["text/plain"] == "[figure] what it shows"
    assert not plt.fignum_exists(fig.number)


def test_bars_and_intervals_draw_what_they_are_given():
    table = pd.DataFrame({"a": [0.1, 0.2], "b": [0.3, 0.4]}, index=["x", "y"])
    drawn = {round(float(p.get_width()), 3) for p in plots.bars(table, "t", "x").axes[0].patches}
    assert drawn == {0.1, 0.2, 0.3, 0.4}
    fig = plots.intervals(table["a"], "t", "x", low=table["a"] - 0.05, high=table["a"] + 0.05)
    dots = fig.axes[0].lines[0]
    assert sorted(dots.get_xdata()) == [0.1, 0.2]
    segments = fig.axes[0].collections[0].get_segments()
    assert sorted(s[0][0] for s in segments) == pytest.approx([0.05, 0.15])


def test_the_style_is_not_left_behind():
    before = dict(plt.rcParams)
    plots.bars(pd.DataFrame({"a": [1.0]}), "t", "x")
    assert dict(plt.rcParams) == before


def test_bars_without_a_colour_are_refused():
    table = pd.DataFrame([[1, 2, 3, 4, 5]], columns=list("abcde"))
    with pytest.raises(ValueError, match="5 columns, but only 4 colours"):
        plots.bars(table, "title", "x")


def test_a_stored_picture_keeps_64_levels_black_white_and_its_colours():
    fig, axis = plots.figure(width=4, height=3)
    axis.imshow(np.arange(256, dtype=np.uint8).repeat(8).reshape(32, 64), cmap="gray")
    fig.savefig(before := io.BytesIO(), format="png", facecolor="white")
    stored = Image.open(io.BytesIO(plots.png(fig, "x")["image/png"]))
    stored = np.asarray(stored.convert("RGB"), int)
    drawn = np.asarray(Image.open(before).convert("RGB"), int)
    assert stored.shape == drawn.shape
    assert np.abs(stored - drawn).max() <= 2
    assert {0, 255} <= set(np.unique(stored)) and len(np.unique(stored)) <= 64


def test_few_colours_are_stored_as_a_palette_and_many_as_they_are():
    for image, mode in (
        (np.arange(64).reshape(8, 8), "P"),
        (np.random.default_rng(0).random((40, 40, 3)), "RGB"),
    ):
        fig, axis = plots.figure(width=3, height=3)
        axis.imshow(image, cmap="gray")
        axis.axis("off")
        stored = Image.open(io.BytesIO(plots.png(fig, "x")["image/png"]))
        assert stored.mode == mode


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


def test_what_is_cut_off_is_measured_and_refused_when_notebooks_are_written(monkeypatch):
    whole, cut = (plots.figure(width=4, height=2)[0] for _ in range(2))
    whole.suptitle("short", x=0.01, ha="left")
    cut.suptitle("much too long a title for a picture of four inches, by far", x=0.01, ha="left")
    assert plots.overhang(whole) == 0
    assert plots.overhang(cut) > 0.5
    shown = []
    monkeypatch.delenv("CXR_AUTHOR", raising=False)
    monkeypatch.setattr("IPython.display.display", lambda *args, **how: shown.append(args))
    plots.show(cut, "a long title")
    monkeypatch.setenv("CXR_AUTHOR", "1")
    plots.show(whole, "a short title")
    with pytest.raises(ValueError, match="'a long title' is cut off by"):
        plots.show(cut, "a long title")
    assert len(shown) == 2


def test_a_long_legend_and_title_fit():
    names = [f"a rather long name of column {n}" for n in range(4)]
    table = pd.DataFrame(0.5, index=["Enlarged Cardiomediastinum"] * 3, columns=names)
    fig = plots.intervals(
        table, "A title of some seventy letters over labels that need a lot of room", "x"
    )
    assert plots.overhang(fig) < 0.03


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
