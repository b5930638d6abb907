import ipywidgets
import pytest

from cxrlib import plots, widgets


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
    box = widgets.control_box(make_draw(calls), "alt", given)
    picture = box.children[-1]
    before = picture.value
    assert calls == [(1.0, "red")]
    given["height"].value = 2.0
    given["colour"].value = "blue"
    assert calls[1:] == [(2.0, "red"), (2.0, "blue")]
    assert picture.value != before
    assert box.children[:-1] == tuple(given.values())


def test_the_output_is_a_picture_a_text_and_the_live_controls(monkeypatch):
    shown = []
    monkeypatch.setattr(widgets, "display", lambda *args, **kwargs: shown.append((args, kwargs)))
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
