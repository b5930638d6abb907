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
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np


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
        at = ((np.arange(self.size) + 0.5) / self.size - 0.5) * self.field / self.magnify(w)
        return at - self.shift[0], at - self.shift[1]

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

    ``boxy`` solids have rounder corners than an ellipse, as a trunk has.
    """

    y: np.ndarray  # heights of the knots, increasing, cm
    x: np.ndarray  # middle of the ellipse
    z: np.ndarray
    a: np.ndarray  # half-width along x
    b: np.ndarray  # half-depth along z
    boxy: bool = False

    @property
    def middle(self):
        """x and z of its middle."""
        total = self.a.sum() + 1e-6
        return float((self.x * self.a).sum() / total), float((self.z * self.a).sum() / total)


def stack(y, x, z, a, b, boxy=False):
    """A ``Solid`` from knots and from numbers or arrays [K] that go with them."""
    y = np.asarray(y, float)
    if (np.diff(y) <= 0).any():
        raise ValueError(f"knots at heights {y.round(2).tolist()}: expected each below the last.")
    flat = np.zeros(len(y))
    return Solid(y, flat + x, flat + z, flat + a, flat + b, boxy)


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
    middle : [H, W], depth w of that part's middle; None unless ``depths``
    """
    _, depth = beam.turned(*solid.middle)
    s, y = beam.axes(depth)
    rows = slice(*np.searchsorted(y, solid.y[[0, -1]]))
    x, z, a, b = (
        np.interp(y[rows], solid.y, v).astype(np.float32)[:, None]
        for v in (solid.x, solid.z, solid.a, solid.b)
    )
    c, t = np.float32(math.cos(beam.turn)), np.float32(math.sin(beam.turn))
    seen = np.sqrt((a * c) ** 2 + (b * t) ** 2) + np.float32(1e-3)  # half-width as the beam sees it
    across, depth = beam.turned(x, z)
    off = s.astype(np.float32)[None, columns] - across
    q = np.square(off / seen)
    inside = np.maximum(1 - (np.square(q) if solid.boxy else q), 0)
    half = np.zeros((beam.size, off.shape[1]), np.float32)
    half[rows] = (a * b / seen) * np.sqrt(inside)
    if not depths:
        return half, None
    middle = np.zeros_like(half)
    middle[rows] = depth + off * ((b * b - a * a) * (c * t) / (seen * seen))
    return half, middle


def interval(beam, solid, columns=slice(None)):
    """Depths [H, W] at which rays enter and leave a solid; equal where they miss it."""
    half, middle = shape(beam, solid, columns)
    return middle - half, middle + half


def thickness(beam, solid):
    """Length [H, W] of the rays inside a solid, in cm."""
    return 2 * shape(beam, solid, depths=False)[0]


def blocked(near, far, obstacles):
    """How much [H, W] of the interval from ``near`` to ``far`` lies in any of the obstacles.

    Obstacles are (near, far) pairs, swept from the longest to the shortest. What was swept is kept
    as one stretch: where two overlap they count once, and only what a short one covers of the gap
    between two long ones is missed.
    """
    total, low, high = np.zeros_like(near), near, near
    swept = np.zeros(near.shape, bool)
    inside = [(np.maximum(begin, near), np.minimum(end, far)) for begin, end in obstacles]
    for begin, end in sorted(inside, key=lambda pair: -float((pair[1] - pair[0]).max())):
        met = end > begin
        if not met.any():
            continue
        low, high = np.where(swept, low, begin), np.where(swept, high, begin)
        after = np.maximum(end - np.maximum(begin, high), 0)
        before = np.maximum(np.minimum(end, low) - begin, 0)
        total += met * (after + before)
        low = np.where(met, np.minimum(low, begin), low)
        high = np.where(met, np.maximum(high, end), high)
        swept |= met
    return total


def splat(beam, row, col, weights):
    """Drop ``weights`` (cm³ as they appear on the detector) at pixels, each shared by four."""
    size = beam.size
    wide = size + 3  # a margin takes what falls outside the picture
    row, col = np.clip(row, -1, size) + 1, np.clip(col, -1, size) + 1
    r0, c0 = row.astype(np.int64), col.astype(np.int64)
    first, right = r0 * wide + c0, col - c0
    below = weights * (row - r0)
    above = weights - below
    lower_right, upper_right = below * right, above * right
    total = np.bincount(first, above - upper_right, wide * wide)
    total[1:] += np.bincount(first, upper_right, wide * wide)[:-1]
    total[wide:] += np.bincount(first, below - lower_right, wide * wide)[:-wide]
    total[wide + 1 :] += np.bincount(first, lower_right, wide * wide)[: -wide - 1]
    return (total / beam.pixel**2).reshape(wide, wide)[1:-2, 1:-2].astype(np.float32)


def tubes(beam, paths, radii, bore=0.0, marrow=0.0, weight=1.0):
    """Length [H, W] of the rays inside tubes, in cm.

    Parameters
    ----------
    paths : [N, n, 3] cm, N tubes of n points each.
    radii : cm, broadcast to [N, n], so a tube may taper.
    bore, marrow : radius of the bore as a share of ``radii``, and the density in it; 0, empty.
    weight : factor broadcast to [N, n - 1], by which parts weigh more or less than the others.
    """
    paths = np.asarray(paths, float)
    radii = np.broadcast_to(radii, paths.shape[:2])
    row, col, enlarged = beam.project(paths)
    thick = radii * enlarged
    # Every stretch between two points of a path is cut into steps of about a pixel.
    drow, dcol = np.diff(row, axis=1).ravel(), np.diff(col, axis=1).ravel()
    length = np.hypot(drow, dcol)
    steps = np.ceil(np.maximum(length / 0.9, 1)).astype(int)
    k = np.repeat(np.arange(len(steps)), steps)
    f = (np.arange(len(k)) - np.repeat(np.cumsum(steps) - steps, steps) + 0.5) / steps[k]
    solid_length = np.sqrt((np.diff(paths, axis=1) ** 2).sum(-1)) * weight * enlarged[:, :-1]
    begin = thick[:, :-1].ravel()
    radius = begin[k] + f * np.diff(thick, axis=1).ravel()[k]
    # As it appears: longer and wider by the magnification, but no thicker along the ray.
    area = radius**2 / enlarged[:, :-1].ravel()[k]
    volume = (solid_length.ravel() / steps)[k] * area * (np.pi * (1 - (1 - marrow) * bore**2))
    row, col = row[:, :-1].ravel()[k] + f * drow[k], col[:, :-1].ravel()[k] + f * dcol[k]
    across = int(np.clip(np.ceil(radius.max() / beam.pixel * 2.4), 2, 64))
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    chord = np.sqrt(1 - offset**2) - (1 - marrow) * np.sqrt(np.maximum(bore**2 - offset**2, 0))
    away = np.outer(radius / beam.pixel / (length[k] + 1e-9), offset)
    rows, cols = row[:, None] - dcol[k, None] * away, col[:, None] + drow[k, None] * away
    return splat(beam, rows.ravel(), cols.ravel(), np.outer(volume, chord / chord.sum()).ravel())


def smooth_path(points, count=24):
    """A Bézier curve [count, ...] from the first to the last of the control ``points`` [n, ...]."""
    return np.tensordot(_bernstein(len(points) - 1, count), np.asarray(points, float), axes=(0, 0))


@functools.cache
def _bernstein(n, count):
    t = np.linspace(0, 1, count)
    return np.array([math.comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)])


REACH = 27.0  # cm on each side of the middle where textures are defined


def texture(beam, key, scale):
    """A smooth random field [H, W] of mean 0 and variance 1, whose bumps are ``scale`` cm wide.

    ``key`` is the whole number that decides it; beam and scale only decide how it is seen.
    """
    rng = np.random.Generator(np.random.Philox(key=int(key)))
    knots = np.arange(-REACH, REACH + scale, scale)
    heights = rng.standard_normal((len(knots), len(knots)), dtype=np.float32)
    s, y = beam.axes()
    return spread(y, knots, scale) @ heights @ spread(s, knots, scale).T


def spread(at, knots, scale):
    """Weights [N, K] of bumps at the knots, for a sum of unit variance at every point."""
    near = np.clip(np.abs(at[:, None] - knots) / (1.6 * scale), 0, 1)
    weights = ((1 - near**2) ** 2).astype(np.float32)
    return weights / np.sqrt((weights**2).sum(axis=1, keepdims=True) + 1e-9)


def widened(solid, by):
    """A solid with every ellipse larger (or, below 0, smaller) by ``by`` cm, a number or [K]."""
    return replace(solid, a=np.maximum(solid.a + by, 0), b=np.maximum(solid.b + by, 0))
