"""What a finding is, and the shapes from which the findings of lungs and pleura are made.

A patient's finding is drawn *once*, as a ``Lesion``: its sides, its places, its grain, as many of
each as the worst severity can need. Severity then decides how much of that there is, never where:
studies of one patient show the same lesion grow or fade, and a second lesion is found again as the
first is. Organs are moved, and tissue is painted, from the same ``Lesion``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES
from cxrlib.phantom.rays import relief, stack


class Lesion(SimpleNamespace):
    """All that chance decides of one finding of one patient; the fields are the finding's own."""

    def __setattr__(self, name, value):
        raise AttributeError(f"{name}: a lesion is drawn once and does not change.")


@dataclass(frozen=True)
class Finding:
    """One finding: how it is drawn, how it moves organs, and what it puts in the beam's way.

    ``paint`` returns the cm [H, W] of the lesion that a ray meets (fluid, air that should not be
    there, a device), which is where a radiologist would outline it.
    """

    name: str
    draw: Callable  # rng → Lesion
    move: Callable | None = None  # (anatomy, severity, lesion) → Anatomy
    paint: Callable | None = None  # (chest, severity, lesion) → cm [H, W]


def struck(rng, both):
    """The sides struck, as signs of x: both of them with probability ``both``."""
    first = int(rng.choice(SIDES))
    return (first, -first) if rng.random() < both else (first,)


def grains(rng, *shape):
    """Keys of textures, an array of whole numbers."""
    return rng.integers(2**62, size=shape)


def spots(rng, *shape):
    """Places in a lung, each as three shares (0 … 1): of its height, its width and its depth."""
    return rng.random((*shape, 3))


def site(c, side, spot, low, high, core=0.0):
    """The point [3] of a ``spot`` in a lung, between the shares ``low`` and ``high`` of its height.

    ``core`` 0 … 1 keeps it away from the chest wall.
    """
    a = c.a
    base = a.domes[int(side > 0)]
    y = a.apex + (low + (high - low) * spot[0]) * (base - a.apex)
    outer = max(5.5, float(lay.wall_at(a, y)) * (1 - 0.3 * core) - 1.8)
    deep, z = lay.depth_at(a, y)
    x, fore = 4.2 + (outer - 4.2) * spot[1], -0.65 + 1.15 * spot[2]
    return np.array([side * x, y, float(z) + fore * float(deep)])


def cloud(c, grain, centre, radii, rough=0.3, soft=0.5):
    """cm [H, W] of a cloud along the ray: an ellipsoid with an uneven outline and soft edges."""
    uneven = rough * bumps(c, grain, centre, min(radii))
    edge = (1 - radial(c, centre, radii) + uneven) / soft
    deep = np.hypot(radii[2] * np.cos(c.beam.turn), radii[0] * np.sin(c.beam.turn))
    return 2 * deep * np.clip(edge, 0, 1)


def bumps(c, grain, centre, radius, scale=0.45):
    """A smooth random field [H, W] that grows with its lesion, with bumps of ``scale`` radii."""
    rng = np.random.Generator(np.random.Philox(key=int(grain)))
    heights = rng.standard_normal((17, 17), dtype=np.float32)
    s0, _ = c.beam.turned(centre[0], centre[2])
    across, down = (c.s[0] - s0) / radius, (c.y[:, 0] - centre[1]) / radius
    return relief(down, across, heights, -8 * scale, scale)


def radial(c, centre, radii):
    """Distance [H, W] of a ray from an ellipsoid's middle: 1 on the outline that the beam sees."""
    s0, w0 = c.beam.turned(centre[0], centre[2])
    m = c.beam.magnify(w0) / c.beam.magnify(0.0)
    across = np.hypot(radii[0] * np.cos(c.beam.turn), radii[2] * np.sin(c.beam.turn))
    # Coordinates at the patient's middle, moved to the depth of the ellipsoid.
    s = (c.s[:1] + c.beam.shift[0]) / m - c.beam.shift[0]
    y = (c.y[:, :1] + c.beam.shift[1]) / m - c.beam.shift[1]
    s, y = (s - s0) / float(across), (y - centre[1]) / radii[1]
    return np.sqrt(s * s + y * y)


def shrunk(lung, y, side, film, share):
    """A lung [K] cm thinner all around by ``film``, at heights ``y``.

    ``share`` says how much of the film lies to the middle, to the side and to front and back.
    """
    knots = np.union1d(lung.y, y)  # both, so that it stays as it is where there is no film
    film = np.interp(knots, y, film, left=0, right=0)
    x, z, a, b = (np.interp(knots, lung.y, v) for v in (lung.x, lung.z, lung.a, lung.b))
    middle, out, deep = share
    a, b = np.maximum(a - out * film, 0), np.maximum(b - deep * film, 0)
    return stack(knots, x - middle * side * film, z, a, b, boxy=True)


def push_out(c, side, left, density):
    """Fill what lies between a lung and what is ``left`` of it (a solid): cm [H, W] of that."""
    k = int(side > 0)
    gone = np.maximum(c.air[k] - c.room(left, side), 0)
    c.fill(side, density * gone / np.maximum(c.air[k], 1e-3))
    return gone
