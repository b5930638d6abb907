"""cxrlib.widgets.figures: a figure that follows its controls, and one that stands in its place."""

import asyncio

import ipywidgets
import pytest
from conftest import PAPER

from cxrlib import plots, widgets
from cxrlib.widgets import figures


def make_draw(calls):
    def draw(height, colour):
        calls.append((height, colour))
        fig, axis = plots.figure(width=2, height=2)
        axis.bar([0], [height], color=colour)
        return fig

    return draw


def controls():
    return {
        "height": ipywidgets.FloatSlider(1.0, min=0, max=2),
        "colour": ipywidgets.Dropdown(options=["red", "blue"]),
    }


def test_moving_a_control_redraws_the_picture():
    calls, given = [], controls()
    box = figures.control_box(make_draw(calls), "alt", given)
    picture = box.children[-1]
    before = picture.value
    assert calls == [(1.0, "red")]
    given["height"].value = 2.0
    given["colour"].value = "blue"
    assert calls[1:] == [(2.0, "red"), (2.0, "blue")]
    assert picture.value != before
    assert picture.alt == "alt Now: height 2.0, colour blue.", "the text follows too"
    assert box.children[:-1] == tuple(given.values())


def test_the_output_is_a_picture_a_text_and_the_live_controls(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda *args, **kwargs: shown.append((args, kwargs)))
    widgets.explore(make_draw([]), "a red bar of height one", **controls())
    (bundle,), options = shown[0]
    assert set(bundle) == {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == "[figure] a red bar of height one"
    assert options["metadata"]["image/png"]["alt"] == "a red bar of height one"


def test_a_control_for_every_argument():
    with pytest.raises(TypeError, match="colour"):
        widgets.explore(make_draw([]), "alt", height=controls()["height"])
    with pytest.raises(TypeError, match="width"):
        widgets.explore(make_draw([]), "alt", width=controls()["height"], **controls())


def test_a_slider_that_is_dragged_is_drawn_once_when_it_rests():
    async def drag():
        calls = []
        given = controls()
        figures.control_box(make_draw(calls), "alt", given)
        for height in (0.1, 0.2, 0.3, 0.4):
            given["height"].value = height
        assert len(calls) == 1, "nothing is drawn while values arrive"
        await asyncio.sleep(0.3)
        assert calls[1:] == [(0.4, "red")]
        given["height"].value = 0.5
        await asyncio.sleep(0.3)
        assert calls[2:] == [(0.5, "red")], "and again after that"

    asyncio.run(drag())


def test_words_follow_the_label_that_is_clicked(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "show_box", lambda *parts: shown.append(parts))
    graph = widgets.HierarchyGraph(PAPER, "Edema")
    widgets.ask_graph(graph, "<b>{}</b>".format, plots.figure()[0], "the hierarchy")
    box, instead, about = shown[0]
    assert box.children[0] is graph and box.children[1].value == "<b>Edema</b>"
    graph.selected = "Opacity"
    assert box.children[1].value == "<b>Opacity</b>"
    assert instead["text/plain"] == "[figure] the hierarchy"
    assert about["image/png"]["alt"] == "the hierarchy"
