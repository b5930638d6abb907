"""cxrlib.plots.canvas: a figure is whole, small to store, and has its text."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrlib import plots


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_png_is_a_picture_with_its_text_and_the_figure_is_closed():
    fig, _ = plots.figure()
    bundle = plots.png(fig, "what it shows")
    assert Image.open(io.BytesIO(bundle["image/png"])).format == "PNG"
    assert bundle["text/plain"] == "[figure] what it shows"
    assert not plt.fignum_exists(fig.number)


def test_the_style_is_not_left_behind():
    before = dict(plt.rcParams)
    plots.bars(pd.DataFrame({"a": [1.0]}), "t", "x")
    assert dict(plt.rcParams) == before


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
