"""cxrlib.reading.pictures: a film as colours, with a map and an outline where they belong."""

import io

import numpy as np
from PIL import Image

from cxrlib.reading import pictures

GREY = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (60, 1))


def test_a_film_alone_is_the_film():
    drawn = pictures.film(GREY, side=60)
    assert drawn.shape == (60, 60, 3) and (drawn == GREY[:, :, None]).all()
    assert (pictures.film(GREY[None], side=60) == drawn).all(), "[1, H, W] too"
    assert pictures.film(GREY, side=120).shape == (120, 120, 3)


def test_a_map_colours_where_it_is_high_and_only_there():
    heat = np.zeros((12, 12))
    heat[3:6, 8:11] = 1
    drawn, plain = pictures.film(GREY, heat, side=60), pictures.film(GREY, side=60)
    changed = (drawn != plain).any(axis=2)
    assert changed[22, 47] and not changed[:, :30].any() and not changed[40:].any()
    red, _, blue = drawn[22, 47].astype(int)
    assert red > blue + 50, "warm"


def test_an_outline_runs_round_the_place():
    place = np.zeros((60, 60), bool)
    place[20:40, 20:40] = True
    drawn, plain = pictures.film(GREY, outline=place, side=60), pictures.film(GREY, side=60)
    changed = (drawn != plain).any(axis=2)
    assert changed[20:22, 20:40].all() and not changed[25:35, 25:35].any()
    assert not changed[:18].any() and not changed[:, 42:].any()
    assert (pictures.film(GREY, outline=place & False, side=60) == plain).all()


def test_marked_pictures_have_a_frame_in_colour():
    film = pictures.film(GREY, side=60)
    row = pictures.framed([film, film], [True, False], width=4)
    assert row.shape == (68, 136, 3)
    assert (row[0, 68:] == 255).all() and not (row[0, :68] == 255).all(axis=1).any()
    assert (row[4:64, 4:64] == film).all() and (row[4:64, 72:132] == film).all()


def test_a_png_is_the_picture():
    film = pictures.film(GREY, side=60)
    assert (np.asarray(Image.open(io.BytesIO(pictures.as_png(film)))) == film).all()
