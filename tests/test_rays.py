"""Rays through solids, against slow plain references."""

import math

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlib.phantom import rays
from cxrlib.phantom.rays import Beam, blocked, ellipsoid, interval, stack, texture, thickness, tubes


def beam(turn=0.0, source=1e7, facing=1, size=64, field=40.0, shift=(0.0, 0.0)):
    return Beam(size, field, shift, turn, facing, source, 12.0)


def march(view, inside, reach=30.0, steps=6001):
    """Length [H, W] of each ray inside a solid, point by point along the ray (parallel beam)."""
    s, y = view.axes()
    w = np.linspace(-reach, reach, steps)
    c, t = math.cos(view.turn), math.sin(view.turn)
    total = np.zeros((len(y), len(s)))
    for col, across in enumerate(s):
        x, z = across * c - w * t, across * t + w * c
        for row, height in enumerate(y):
            total[row, col] = inside(x, height, z).sum() * (w[1] - w[0])
    return total


@pytest.mark.parametrize("degrees", [0, 25, -70, 90])
def test_an_ellipsoid_is_as_thick_as_marching_along_the_ray_says(degrees):
    view = beam(math.radians(degrees), size=24)
    centre, (a, b, c) = (2.0, -1.0, 3.0), (7.0, 5.0, 3.0)

    def inside(x, y, z):
        return ((x - 2) / a) ** 2 + ((y + 1) / b) ** 2 + ((z - 3) / c) ** 2 < 1

    solid = ellipsoid(centre, (a, b, c), knots=401)
    assert np.abs(thickness(view, solid) - march(view, inside)).max() < 0.08


@pytest.mark.parametrize("degrees", [0, 30])
def test_an_interval_says_where_the_ray_enters_and_leaves(degrees):
    view = beam(math.radians(degrees), size=32)
    column = stack([-9.0, 9.0], 1.0, -2.0, 6.0, 2.5)
    near, far = interval(view, column)
    s, y = view.axes()
    w = np.linspace(-20, 20, 20001)
    row = int(np.argmin(np.abs(y)))
    for col in range(32):
        c, t = math.cos(view.turn), math.sin(view.turn)
        x, z = s[col] * c - w * t, s[col] * t + w * c
        met = w[((x - 1) / 6) ** 2 + ((z + 2) / 2.5) ** 2 < 1]
        if len(met):
            assert near[row, col] == pytest.approx(met[0], abs=0.02)
            assert far[row, col] == pytest.approx(met[-1], abs=0.02)
        else:
            assert near[row, col] == far[row, col]
    assert (far - near)[np.abs(y) > 9.5].max() == 0


def test_what_is_far_from_the_detector_is_magnified():
    behind, before = (ellipsoid((0, 0, z), (5, 5, 1)) for z in (-8, 8))

    def width(view, solid):
        return (thickness(view, solid)[view.size // 2] > 0).sum() * view.pixel

    facing_front = beam(source=180.0, size=400)  # PA: the detector before the chest
    facing_back = beam(source=100.0, size=400, facing=-1)  # AP: behind it
    # Similar triangles: source over the distance from the source.
    assert width(facing_front, before) == pytest.approx(10 * 180 / (180 - 12 + 8), rel=0.03)
    assert width(facing_front, behind) == pytest.approx(10 * 180 / (180 - 12 - 8), rel=0.03)
    assert width(facing_back, before) == pytest.approx(10 * 100 / (100 - 12 - 8), rel=0.03)
    assert width(facing_back, before) / width(facing_back, behind) > 1.15


def test_points_and_solids_land_on_the_same_pixels():
    view = beam(turn=0.2, source=150.0, size=200, shift=(1.5, -2.0))
    centre = np.array([4.0, -3.0, 6.0])
    map_ = thickness(view, ellipsoid(centre, (1, 1, 1)))
    rows, cols = np.mgrid[:200, :200]
    row, col, _ = view.project(centre)
    assert (rows * map_).sum() / map_.sum() == pytest.approx(row, abs=0.6)
    assert (cols * map_).sum() / map_.sum() == pytest.approx(col, abs=0.6)


def covered(pairs):
    """Length of [−5, 5] inside any of the intervals, by counting points."""
    fine = np.linspace(-5, 5, 20001)
    inside = [(fine > a) & (fine < b) for a, b in pairs]
    return np.any([*inside, np.zeros(len(fine), bool)], axis=0).mean() * 10


def as_maps(pairs):
    return [(np.full((1, 1), a), np.full((1, 1), b)) for a, b in pairs]


NEAR, FAR = np.full((1, 1), -5.0), np.full((1, 1), 5.0)
intervals = st.tuples(st.floats(-9, 9), st.floats(0, 9)).map(lambda pair: (pair[0], sum(pair)))


@given(st.lists(intervals, max_size=7))
@settings(deadline=None)
def test_what_is_blocked_is_the_union_of_the_obstacles(pairs):
    assert float(blocked(NEAR, FAR, as_maps(pairs))[0, 0]) == pytest.approx(
        covered(pairs), abs=5e-3
    )


def test_blocked_takes_parts_of_maps():
    near, far, *edges = np.sort(np.random.default_rng(0).normal(0, 9, (6, 9, 9)), axis=0)
    obstacles = list(zip(edges[:2], edges[2:], strict=True))
    part = slice(2, 5), slice(4, None)
    parts = blocked(near[part], far[part], [(a[part], b[part]) for a, b in obstacles])
    assert parts.dtype == np.float32
    assert np.array_equal(parts, blocked(near, far, obstacles)[part])


@given(st.lists(intervals, min_size=1, max_size=4), st.floats(-5, 5))
@settings(deadline=None)
def test_a_solid_that_the_ray_misses_blocks_nothing(pairs, place):
    missed = [(np.full((1, 2), place), np.array([[place, place + 20.0]]))]
    others = [(np.full((1, 2), a), np.full((1, 2), b)) for a, b in pairs]
    near, far = np.full((1, 2), -5.0), np.full((1, 2), 5.0)
    with_it = blocked(near, far, missed + others)[0, 0]
    assert with_it == pytest.approx(blocked(near, far, others)[0, 0], abs=1e-6)


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("turn", [0.0, 1.2])
def test_a_tube_weighs_what_its_volume_says(size, turn):
    view = beam(turn, size=size)
    path, radius = np.array([[-5.0, -6.0, -2.0], [2.0, 1.0, 3.0], [4.0, 6.0, 0.0]]), 0.5
    volume = np.pi * radius**2 * np.linalg.norm(np.diff(path, axis=0), axis=1).sum()
    weigh = lambda **k: tubes(view, [path], radius, **k).sum() * view.pixel**2  # noqa: E731
    assert weigh() == pytest.approx(volume, rel=0.03)
    assert weigh(bore=0.6) == pytest.approx(volume * (1 - 0.36), rel=0.03)
    assert weigh(bore=0.6, marrow=0.5) == pytest.approx(volume * (1 - 0.18), rel=0.03)
    assert weigh(weight=2.0) == pytest.approx(2 * volume, rel=0.03)
    assert tubes(view, [path + 90.0], radius).max() == 0


def test_a_tube_is_as_thick_as_its_diameter():
    view = beam(size=400)
    tube = tubes(view, [[[0.0, -10.0, 0.0], [0.0, 10.0, 0.0]]], 1.0)
    middle = tube[180:220].mean(axis=0)
    assert middle.max() == pytest.approx(2.0, rel=0.06)
    assert (middle > 0.2).sum() * view.pixel == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize(("source", "facing"), [(183.0, 1), (105.0, -1)])
def test_a_tube_is_as_thick_as_the_same_cylinder_as_a_solid(source, facing):
    """Magnified by a near source both are wider, and neither is thicker along the ray."""
    view = beam(source=source, facing=facing, size=400)
    for z in (-8.0, 8.0):
        tube = tubes(view, [[[0.0, -10.0, z], [0.0, 10.0, z]]], 1.0)[180:220].mean(axis=0)
        solid = thickness(view, stack([-10.0, 10.0], 0.0, z, 1.0, 1.0))[180:220].mean(axis=0)
        assert tube.sum() == pytest.approx(solid.sum(), rel=0.02)
        assert tube.max() == pytest.approx(solid.max(), rel=0.1)


@pytest.mark.parametrize("y", [[0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
def test_knots_out_of_order_are_refused(y):
    with pytest.raises(ValueError, match="each below the last"):
        stack(y, 0.0, 0.0, 1.0, 1.0)


def test_what_falls_outside_the_picture_is_dropped():
    view = beam(size=16)
    row, col = np.array([7.5, -40.0, 15.5, 200.0]), np.array([7.5, 3.0, 3.0, 8.0])
    total = rays.splat(view, row, col, np.ones(4))
    assert total.sum() * view.pixel**2 == pytest.approx(1 + 0.5)


def test_textures_are_standard_and_do_not_depend_on_the_pixels():
    many = [texture(beam(size=64), k, 2.0) for k in range(40)]
    assert np.mean(many) == pytest.approx(0, abs=0.05)
    assert np.std(many) == pytest.approx(1, abs=0.05)
    coarse, fine = (texture(beam(size=n), 3, 3.0) for n in (64, 128))
    assert np.corrcoef(coarse.ravel(), fine[::2, ::2].ravel())[0, 1] > 0.97


def test_a_relief_is_the_sum_of_all_its_bumps():
    heights = np.random.default_rng(2).normal(size=(9, 6))
    y, s, begin, scale = np.linspace(-7, 9, 23), np.linspace(-4, 6, 31), -3.0, 0.9

    def bumps(at, count):  # weights [N, K], far knots included
        away = np.abs(at[:, None] - begin - scale * np.arange(count)) / (1.6 * scale)
        weights = np.where(away < 1, (1 - away**2) ** 2, 0)
        return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True) + 1e-9)

    slow = bumps(y, 9) @ heights @ bumps(s, 6).T
    assert np.allclose(rays.relief(y, s, heights, begin, scale), slow, atol=1e-5)


def test_loops_are_compiled_where_no_cache_can_be_written(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "ZipCacheLocator")
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit(cache=True)(lambda x: x + 1)
    assert rays.compiled(lambda x: x + 1)(1) == 2


def test_a_smooth_path_starts_and_ends_where_it_should():
    path = rays.smooth_path([[0, 0, 0], [9, 9, 9], [4, 2, 1]], 11)
    assert path.shape == (11, 3)
    assert np.allclose(path[0], 0) and np.allclose(path[-1], [4, 2, 1])
