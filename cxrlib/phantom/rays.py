"""Rays through simple solids: how much of each a beam meets, in closed form.

Patient coordinates are in cm: x to the patient's left, y downwards, z to the front; the origin in
the middle of the chest. A ``Beam`` turns the patient about y and looks along the depth ``w``, which
grows towards the detector; ``s`` runs across the picture. A source at a finite distance magnifies
what lies far from the detector, so the heart is larger from the front (AP) than from the back (PA).

Three kinds of things are cast:

    Solid    a stack of ellipses: lungs, heart, trunk. A ray meets it in one interval of depths,
             so that unions and differences of solids are exact.
    tubes    paths with a radius: ribs, vessels, catheters. Any tube weighs what its volume says.
    texture  a smooth random field, for what is too fine to be drawn.

One simplification: a solid is magnified as its middle is.

Loops over pixels and points are written out and compiled (numba), in one fixed order on one thread:
the same numbers come out on any number of cores.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from numba import njit


def compiled(loop):
    """A function of loops, compiled when it is first called and kept in a cache on disk."""
    try:
        return njit(cache=True)(loop)
    except RuntimeError:  # no folder for a cache may be written: compiled in every process
        return njit(loop)


@dataclass(frozen=True)
class Beam:
    """How rays cross the patient, from a point source to a flat detector."""

    size: int  # pixels along each side of the detector
    field: float  # cm along each side of the detector
    shift: tuple[float, float]  # cm by which the patient is off centre: across, down
    turn: float  # radians about y; 0: s = x, w = z
    facing: int  # 1: the detector lies at large w, −1: at small w
    source: float  # cm from source to detector
    detector: float  # cm from the patient's axis to the detector

    @property
    def pixel(self):
        """Side of a pixel, in cm on the detector."""
        return self.field / self.size

    def turned(self, x, z):
        """Across and depth (s, w) of patient coordinates."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        return x * c + z * s, z * c - x * s

    def magnify(self, w):
        """By how much things at depth ``w`` are enlarged."""
        return self.source / (self.source - self.detector + self.facing * w)

    def axes(self, w=0.0):
        """Coordinates s [W] and y [H] in cm, at depth ``w``, of the pixels' centres."""
        at = self.centres / self.magnify(w)
        return at - self.shift[0], at - self.shift[1]

    @functools.cached_property
    def centres(self):
        """Coordinates [size] in cm of the pixels' centres, on the detector."""
        return ((np.arange(self.size) + 0.5) / self.size - 0.5) * self.field

    def project(self, points):
        """Rows and columns (fractional) and the magnification of ``points`` [..., 3] in cm."""
        s, w = self.turned(points[..., 0], points[..., 2])
        enlarged = self.magnify(w)
        col = ((s + self.shift[0]) * enlarged / self.field + 0.5) * self.size - 0.5
        row = ((points[..., 1] + self.shift[1]) * enlarged / self.field + 0.5) * self.size - 0.5
        return row, col, enlarged


@dataclass(frozen=True)
class Solid:
    """A stack of ellipses along y. All arrays [K]; between the knots they are interpolated.

    ``boxy`` solids have fuller corners than an ellipse, as a trunk has; ``soft`` ones run out
    thinly to the sides, as a bundle of vessels does.
    """

    y: np.ndarray  # heights of the knots, increasing, cm
    x: np.ndarray  # middle of the ellipse
    z: np.ndarray
    a: np.ndarray  # half-width along x
    b: np.ndarray  # half-depth along z
    boxy: bool = False
    soft: bool = False

    @property
    def middle(self):
        """x and z of its middle."""
        total = self.a.sum() + 1e-6
        return float(self.x @ self.a / total), float(self.z @ self.a / total)


def stack(y, x, z, a, b, boxy=False, soft=False):
    """A ``Solid`` from knots and from numbers or arrays [K] that go with them."""
    y = np.asarray(y, float)
    if not (y[1:] > y[:-1]).all():
        raise ValueError(f"knots at heights {y.round(2).tolist()}: expected each below the last.")
    flat = np.zeros(len(y))
    return Solid(y, flat + x, flat + z, flat + a, flat + b, boxy, soft)


def ellipsoid(centre, radii, knots=33):
    """An ellipsoid with its axes along x, y and z, as a ``Solid``."""
    turn = np.linspace(-np.pi / 2, np.pi / 2, knots)
    y, ring = centre[1] + radii[1] * np.sin(turn), np.cos(turn)
    return stack(y, centre[0], centre[2], radii[0] * ring, radii[2] * ring)


def shape(beam, solid, columns=slice(None), depths=True):
    """How rays meet a solid.

    Returns
    -------
    half : [H, W], half the length of the ray inside the solid, in cm; 0 where it misses
    middle : [H, W], depth w of that part's middle, 0 where it misses; None unless ``depths``
    """
    _, depth = beam.turned(*solid.middle)
    s, y = beam.axes(depth)
    s, turn = s[columns], (math.cos(beam.turn), math.sin(beam.turn))
    half = np.zeros((len(y), len(s)), np.float32)
    middle = np.zeros_like(half if depths else half[:0])
    ends = solid.y, solid.x, solid.z, solid.a, solid.b
    _meet(half, middle, s, y, turn, *ends, solid.boxy, solid.soft)
    return half, middle if depths else None


@compiled
def _meet(half, middle, s, y, turn, knots, x, z, a, b, boxy, soft):
    # Row by row the ellipse between two knots, and only the columns that it covers.
    k, (cos, sin) = 0, turn
    for row in range(np.searchsorted(y, knots[0]), np.searchsorted(y, knots[-1])):
        while y[row] >= knots[k + 1]:
            k += 1
        f = (y[row] - knots[k]) / (knots[k + 1] - knots[k])
        wide, deep = a[k] + f * (a[k + 1] - a[k]), b[k] + f * (b[k + 1] - b[k])
        x0, z0 = x[k] + f * (x[k + 1] - x[k]), z[k] + f * (z[k + 1] - z[k])
        across, depth = x0 * cos + z0 * sin, z0 * cos - x0 * sin
        seen = math.sqrt((wide * cos) ** 2 + (deep * sin) ** 2) + 1e-3  # half-width seen
        longest, lean = wide * deep / seen, (deep**2 - wide**2) * cos * sin / seen**2
        first, last = np.searchsorted(s, across - seen), np.searchsorted(s, across + seen)
        for col in range(first, last):
            q = ((s[col] - across) * (1 / seen)) ** 2
            rest = max(1 - (q * q if boxy else q), 0.0)
            half[row, col] = longest * (rest if soft else math.sqrt(rest))
        if len(middle):
            for col in range(first, last):
                middle[row, col] = depth + (s[col] - across) * lean


def interval(beam, solid, columns=slice(None)):
    """Depths [H, W] at which rays enter and leave a solid; equal where they miss it."""
    half, middle = shape(beam, solid, columns)
    return middle - half, middle + half


def thickness(beam, solid):
    """Length [H, W] of the rays inside a solid, in cm."""
    return 2 * shape(beam, solid, depths=False)[0]


def blocked(near, far, obstacles):
    """How much [H, W] of the interval from ``near`` to ``far`` lies in any of the obstacles.

    Obstacles are (near, far) pairs; where they overlap they count once.
    """
    near, far = (np.ascontiguousarray(edge, np.float32) for edge in (near, far))
    return _union(near, far, np.array(obstacles, np.float32).reshape(-1, 2, *near.shape))


@compiled
def _union(near, far, obstacles):
    total = np.zeros_like(near)
    for row in range(near.shape[0]):
        for col in range(near.shape[1]):
            at, end = near[row, col], far[row, col]
            while at < end:  # go to the end of what lies here, or else to where the next begins
                reach, onwards = at, end
                for k in range(len(obstacles)):
                    if obstacles[k, 0, row, col] <= at:
                        reach = max(reach, obstacles[k, 1, row, col])
                    else:
                        onwards = min(onwards, obstacles[k, 0, row, col])
                total[row, col] += min(reach, end) - at
                at = reach if reach > at else onwards
    return total


def splat(beam, row, col, weights):
    """Drop ``weights`` (cm³ as they appear on the detector) at pixels, each shared by four."""
    total = np.zeros((beam.size + 2, beam.size + 2))
    _drop_all(total, row, col, weights / beam.pixel**2)
    return total[1:-1, 1:-1].astype(np.float32)


@compiled
def _drop_all(total, row, col, weights):
    for k in range(len(row)):
        _drop(total, row[k], col[k], weights[k])


@compiled
def _drop(total, row, col, weight):
    # A margin of one pixel around ``total`` takes what lies half outside the picture.
    if -1 < row < len(total) - 2 and -1 < col < len(total) - 2:
        r, c = int(row + 1), int(col + 1)
        below, right = weight * (row + 1 - r), col + 1 - c
        above = weight - below
        total[r, c] += above * (1 - right)
        total[r, c + 1] += above * right
        total[r + 1, c] += below * (1 - right)
        total[r + 1, c + 1] += below * right


def tubes(beam, paths, radii, bore=0.0, marrow=0.0, weight=1.0):
    """Length [H, W] of the rays inside tubes, in cm.

    Parameters
    ----------
    paths : [N, n, 3] cm, N tubes of n points each.
    radii : cm, broadcast to [N, n], so a tube may taper.
    bore, marrow : radius of the bore as a share of ``radii``, and the density in it; 0, empty.
    weight : factor broadcast to [N, n - 1], by which parts weigh more or less than the others.
    """
    paths = np.ascontiguousarray(paths, float)
    row, col, enlarged = beam.project(paths)
    radius = enlarged * radii / beam.pixel  # of the shadow, in pixels
    # As it appears: longer and wider by the magnification, but no thicker along the ray.
    length = np.sqrt(np.square(paths[:, 1:] - paths[:, :-1]).sum(-1)) * weight
    across = min(max(math.ceil(2.4 * radius.max()), 2), 64)
    total = np.zeros((beam.size + 2, beam.size + 2))
    _sweep(total, row, col, radius, length, *_chords(across, bore, marrow))
    return total[1:-1, 1:-1].astype(np.float32)


@functools.cache
def _chords(count, bore, marrow):
    """Distances (−1 … 1) of a tube's slices from its middle, and their shares of its volume."""
    away = (np.arange(count) + 0.5) / count * 2 - 1
    chord = np.sqrt(1 - away**2) - (1 - marrow) * np.sqrt(np.maximum(bore**2 - away**2, 0))
    return away, chord / chord.sum() * (np.pi * (1 - (1 - marrow) * bore**2))


@compiled
def _sweep(total, row, col, radius, length, away, share):
    # Every stretch between two points of a path is cut into steps of about a pixel.
    for n in range(row.shape[0]):
        for k in range(row.shape[1] - 1):
            drow, dcol = row[n, k + 1] - row[n, k], col[n, k + 1] - col[n, k]
            seen = math.sqrt(drow * drow + dcol * dcol)
            steps = math.ceil(max(seen / 0.9, 1.0))
            for step in range(steps):
                f = (step + 0.5) / steps
                r, c = row[n, k] + f * drow, col[n, k] + f * dcol
                wide = radius[n, k] + f * (radius[n, k + 1] - radius[n, k])
                volume, out = length[n, k] / steps * wide * wide, wide / (seen + 1e-9)
                for i in range(len(away)):
                    aside = out * away[i]
                    _drop(total, r - dcol * aside, c + drow * aside, volume * share[i])


def smooth_path(points, count=24):
    """A Bézier curve [count, ...] from the first to the last of the control ``points`` [n, ...]."""
    return np.einsum("kt,k...->t...", _bernstein(len(points) - 1, count), np.asarray(points, float))


@functools.cache
def _bernstein(n, count):
    t = np.linspace(0, 1, count)
    return np.array([math.comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)])


REACH = 24.0  # cm on each side of the middle where textures are defined
BUMP = 1.6  # distances between knots that a bump reaches


def texture(beam, key, scale):
    """A smooth random field [H, W] of mean 0 and variance 1, whose bumps are ``scale`` cm wide.

    ``key`` is the whole number that decides it; beam and scale only decide how it is seen.
    """
    rng = np.random.Generator(np.random.Philox(key=int(key)))
    knots = np.arange(-REACH, REACH + scale, scale)
    heights = rng.standard_normal((len(knots), len(knots)), dtype=np.float32)
    s, y = beam.axes()
    return relief(y, s, heights, -REACH, scale)


def relief(y, s, heights, begin, scale):
    """Bumps on a grid of knots at ``begin``, ``begin + scale``, …, seen at heights y and across s.

    ``heights`` [K, L] of variance 1 give a field [H, W] of variance 1 at every point.
    """
    columns = _blend(np.ascontiguousarray(heights.T, np.float32), (s - begin) / scale)
    return _blend(np.ascontiguousarray(columns.T), (y - begin) / scale)


@compiled
def _blend(values, places):
    """Rows of ``values`` [K, L] blended at fractional ``places`` [N] among them: [N, L]."""
    blended = np.zeros((len(places), values.shape[1]), np.float32)
    for n in range(len(places)):
        place, squares = places[n], 1e-9
        first, last = math.ceil(place - BUMP), math.floor(place + BUMP)
        for k in range(max(first, 0), min(last + 1, len(values))):
            weight = (1 - ((place - k) / BUMP) ** 2) ** 2
            squares += weight**2
            for col in range(values.shape[1]):
                blended[n, col] += np.float32(weight) * values[k, col]
        for col in range(values.shape[1]):
            blended[n, col] *= np.float32(1 / math.sqrt(squares))
    return blended


def widened(solid, by):
    """A solid with every ellipse larger (or, below 0, smaller) by ``by`` cm, a number or [K]."""
    return replace(solid, a=np.maximum(solid.a + by, 0), b=np.maximum(solid.b + by, 0))
