"""The healthy chest as the beam meets it: maps of tissue and air, pixel by pixel.

Attenuation is counted in *cm of water that would absorb as much*, so that tissues simply add up
along the ray, and air is tissue taken away (Beer and Lambert). Findings change these maps; see
``findings``.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES, Anatomy, rng_of
from cxrlib.phantom.patients import Study
from cxrlib.phantom.rays import (
    Beam,
    blocked,
    ellipsoid,
    interval,
    smooth_path,
    splat,
    stack,
    texture,
    thickness,
    tubes,
)

LUNG = {"PA": 0.16, "AP": 0.21}
"""Density of the lung, in g/cm³: the rest of it is air, more of it standing than lying. In CT at
full inspiration the lungs lie at −820 to −870 HU, with the vessels, which are drawn apart here."""


@dataclass
class Chest:
    """Maps [H, W] of what the beam meets, float32, in cm of water where nothing else is said.

    What comes in pairs is for the right and the left lung. Layers are replaced, never changed in
    place, so that a copy may share them.
    """

    a: Anatomy
    study: Study
    beam: Beam
    s: np.ndarray = None  # cm across the picture, at the patient's middle
    y: np.ndarray = None  # cm downwards
    body: np.ndarray = None  # soft tissue, as if the chest held no air
    obstacles: list = field(default_factory=list)  # intervals of what keeps lung out
    air: list = None  # cm of the ray inside the right and the left lung
    clear: list = None  # share of that not filled by tissue or fluid, 0 … 1
    vessels: np.ndarray = None  # lung vessels
    bone: np.ndarray = None
    firm: np.ndarray = None  # the part of it that does not break here
    added: float | np.ndarray = 0.0  # anything else in the way
    lesions: dict = field(default_factory=dict)  # finding → cm of it along the ray

    def columns(self, side):
        """The part of the picture in which a lung can lie: one half of it from the front."""
        if self.lateral:
            return slice(None)
        middle = int(np.searchsorted(self.s[0], 0.5 * self.a.shift + 0.4 * self.study.rotation))
        return slice(None, middle) if side < 0 else slice(middle, None)

    def rows(self):
        """The part of the picture in which a lung can lie: from the apex to below the sulci."""
        ends = self.a.apex - 1.5, max(self.a.domes) + 1.3 * self.a.flat
        return slice(*np.searchsorted(self.y[:, 0], ends))

    @property
    def lateral(self):
        return abs(self.beam.turn) > 1

    def room(self, solid, side):
        """cm [H, W] of the ray inside a solid, on one side of the body, less the obstacles."""
        columns, rows = self.columns(side), self.rows()
        near, far = (edge[rows] for edge in interval(self.beam, solid, columns))
        if self.lateral:  # depth is x there
            near, far = (near, np.minimum(far, 0)) if side < 0 else (np.maximum(near, 0), far)
            far = np.maximum(far, near)
        others = [(a[rows, columns], b[rows, columns]) for a, b in self.obstacles]
        total = np.zeros_like(self.s)
        total[rows, columns] = far - near - blocked(near, far, others)
        return total

    def fill(self, side, share):
        """Displace ``share`` (0 … 1) of the air that is left in a lung: cm [H, W] of it."""
        k, share = int(side > 0), np.clip(share, 0, 1)
        filled = share * self.air[k] * self.clear[k]
        self.clear = _with(self.clear, k, self.clear[k] * (1 - share))
        return filled

    def fill_thickness(self, side, cm, density=1.0):
        """Fill ``cm`` [H, W] of the ray's way through a lung, as far as there is any."""
        air = self.air[int(side > 0)]
        return self.fill(side, density * np.minimum(cm, air) / np.maximum(air, 1e-3))

    def shrink(self, side, cm):
        """Leave ``cm`` [H, W] of the ray's way inside a lung."""
        self.air = _with(self.air, int(side > 0), cm)

    def add(self, water):
        """Put ``water`` (cm; negative for gas) in the way."""
        self.added = self.added + water

    def aerated(self):
        """0 … 1: whether there is lung to be seen at all."""
        open_air = self.air[0] * self.clear[0] + self.air[1] * self.clear[1]
        return np.minimum(open_air / 5, 1)

    def water(self):
        """All tissue along each ray, in cm of water."""
        air = self.air[0] * self.clear[0] + self.air[1] * self.clear[1]
        seen = np.minimum(air / 9, 1)  # few of the vessels lie before or behind the heart
        gas = (1 - LUNG[self.study.projection]) * air
        total = self.body + self.vessels * seen - gas + self.bone + self.added
        return np.maximum(total, 0).astype(np.float32)


def _with(pair, k, value):
    return [value, pair[1]] if k == 0 else [pair[0], value]


def make_beam(study, size, view="frontal"):
    """The beam of a study's frontal or lateral view."""
    half = study.patient.chest * study.patient.depth + 3 + 3 * study.patient.habitus
    if view == "lateral":
        # The patient's left side lies against the detector, and the face looks to the left.
        turn = -math.pi / 2 + math.radians(4) * study.rotation
        shift = (1.0 + 0.5 * study.shift[0], study.shift[1])
        return Beam(size, 0.9 * study.field, shift, turn, 1, 183.0, study.patient.chest + 6)
    turn = math.radians(9) * study.rotation
    lying = study.projection == "AP"
    source = 105.0 if lying else 183.0
    return Beam(size, study.field, study.shift, turn, -1 if lying else 1, source, half + 1)


def healthy_chest(study, a, beam, base=None):
    """The chest of anatomy ``a`` before any finding fills, thins or crosses it.

    ``base``, the same study's chest without findings, lends the layers that are the same.
    """
    c = Chest(a, study, beam)
    s, y = beam.axes()
    c.s, c.y = (v.astype(np.float32) for v in np.meshgrid(s, y))
    c.body = _body(c) if base is None else base.body
    _lungs(c)
    c.vessels = _vessels(c) if base is None else base.vessels
    c.firm = _spine(c) + _sternum(c) if base is None else base.firm
    c.bone = base.bone if base and base.a.breaks == a.breaks else c.firm + _ribs(c) + _girdle(c)
    _gut(c)
    return c


def _body(c):
    a, p = c.a, c.study.patient
    near, far = interval(c.beam, lay.trunk(a))
    trunk, girdle = far - near, thickness(c.beam, lay.shoulders(a, c.lateral))
    body = _smooth_max(trunk, girdle)
    for side in SIDES:
        body = np.maximum(body, thickness(c.beam, lay.arm(a, side, c.lateral)))
    for centre, radii in lay.breasts(a, p):
        begin, end = interval(c.beam, ellipsoid(centre, radii))
        outside = (end - begin) - np.clip(np.minimum(end, far) - np.maximum(begin, near), 0, None)
        body = body + 0.95 * outside**2 / (outside + 1.5)  # fat runs out softly, without an edge
    return body


def _smooth_max(one, two, softness=2.5):
    """The larger of two maps, rounded where they meet within ``softness`` cm."""
    near = np.clip(1 - np.abs(one - two) / (2 * softness), 0, 1) * ((one > 0) | (two > 0))
    return np.maximum(one, two) + 0.5 * softness * near * near


def _lungs(c):
    a, beam = c.a, c.beam
    between = (lay.spine(a), lay.aorta(a), lay.mediastinum(a), lay.heart(a), lay.pads(a))
    domes = tuple(lay.dome(a, side) for side in SIDES)
    c.obstacles = [interval(beam, solid) for solid in between + domes]
    c.air = [c.room(lay.lung(a, side), side) for side in SIDES]
    c.clear = [np.ones_like(c.s)] * 2
    # Gas in the windpipe and the two main bronchi.
    m, z = 0.6 * a.shift, -1.2 - 0.1 * a.depth
    airway = [[[m * 0.6, -24, z + 1.5], [m, -3.6, z]]]
    airway += [[[m, -3.8, z], [m - 1.25, -1.4, z]], [[m, -3.8, z], [m + 2.9, 0.2, z]]]
    wide = (0.9 if c.study.patient.sex == "Male" else 0.76) * c.study.patient.rib_size / 0.57
    c.add(-0.95 * tubes(beam, airway, [[wide, wide], [0.68, 0.6], [0.6, 0.5]]))


def _vessels(c):
    a, rng = c.a, rng_of(c.study.patient.seed, "lung texture")
    lying = c.study.projection == "AP"
    levels = lay.vessels(a, c.study.patient.seed)
    total = np.zeros_like(c.s)
    for some in (levels[:1], levels[1:]):  # thick and thin ones need a different fineness
        paths, radii = (np.concatenate(parts) for parts in zip(*some, strict=True))
        total += tubes(c.beam, paths, radii)
    # The hila: the first stretch of the lung arteries, the left one higher than the right.
    hila = [
        smooth_path([[side * 2.6, top, -0.8], [side * 4.2, top + 0.5, -1.0],
                     [side * 4.9, top + 3.8, -1.4]], 8)
        for side, top in ((-1, -0.9), (1, -1.8))
    ]  # fmt: skip
    total = total + 1.2 * tubes(c.beam, hila, rng.uniform(0.7, 0.95) * np.linspace(1, 0.55, 8))
    # Branches too fine to follow make the lungs uneven.
    grains = rng.integers(2**62, size=2)
    fine = 0.26 * texture(c.beam, grains[0], 0.5) + 0.30 * texture(c.beam, grains[1], 1.3)
    return c.study.patient.markings * ((1.1 + 0.3 * lying) * total + fine)


def _ribs(c):
    paths, radii, weights = lay.ribs(c.a, c.study.patient)
    # With a dense rind, which is brightest along its edges; half as thick as they are high.
    bone = tubes(c.beam, paths, radii, bore=0.8, marrow=0.25, weight=weights)
    return 1.15 * c.study.patient.bones * bone


def _spine(c):
    a, beam = c.a, c.beam
    rng = rng_of(c.study.patient.seed, "spine")
    phase = rng.uniform(0, lay.VERTEBRA)
    solid = lay.spine(a, phase)
    half = 0.5 * thickness(beam, solid)
    _, y = beam.axes(float(solid.z.mean()))
    disc = np.cos(np.pi * (y - phase) / lay.VERTEBRA) ** 8
    bone = 2 * half * (0.28 - 0.15 * disc[:, None]).astype(np.float32)
    # Pedicles and spinous processes; from the side, these and the facets fade into each other.
    at = np.arange(a.apex - 5, 20, lay.VERTEBRA) + phase % lay.VERTEBRA - 0.9
    deep, z = lay.depth_at(a, at)
    x = lay.spine_at(a, at)
    knobs = np.concatenate([np.stack([x + side * 1.15, at, z - deep - 1.2], 1) for side in SIDES])
    ends = np.stack([x, at + 1.0, z - deep - 3.0], 1)
    reach = np.array([[0, 0.3, 0.6], [0, 0.6, -0.6]])
    stubs = [np.stack([p - r, p + r], 1) for p, r in zip((knobs, ends), reach, strict=True)]
    stubs = np.concatenate(stubs)
    return c.study.patient.bones * (bone + 0.4 * tubes(beam, stubs, 0.36))


def _sternum(c):
    a = c.a
    y = np.array([a.apex + 4.5, a.apex + 5.5, a.apex + 9, a.apex + 21, a.apex + 23])
    deep, z = lay.depth_at(a, y)
    front = np.maximum(z + deep, 0.62 * a.depth) + 0.5
    plate = stack(y, 0.1 * c.a.shift, front, [1.0, 2.6, 1.7, 1.7, 0.8], 0.55)
    return 0.42 * thickness(c.beam, plate)


def _girdle(c):
    """Collarbones, shoulder blades and upper arms."""
    a, beam, rng = c.a, c.beam, rng_of(c.study.patient.seed, "shoulder blades")
    paths, radii, weights = lay.clavicles(a, c.study, c.lateral)
    bones = 1.9 * tubes(beam, paths, radii, bore=0.7, marrow=0.4, weight=weights)
    lying = c.study.projection == "AP"
    edges, shafts, blades = [], [], []
    for side in SIDES:
        # Arms rolled forward turn the shoulder blades off the lungs; lying down they stay on them.
        inner = a.chest * (0.66 if lying else 0.86) + 0.7 * a.arms + rng.normal(0, 0.3)
        top, low = a.apex + 1.0, a.apex + 14.0
        socket = np.array([side * (a.chest + 4.0), a.apex + 2.4, -3.0])
        ridge = np.array([side * inner, top + 2.0, -0.75 * a.depth])
        tip = np.array([side * (inner + 1.6), low, -0.85 * a.depth])
        corner = np.array([side * (inner + 0.4), top, -0.6 * a.depth])
        edges += [
            smooth_path([corner, ridge, tip], 12),
            smooth_path([tip, (tip + socket) / 2 - [0, -0.6, 0.5], socket], 12),
            smooth_path([ridge, (ridge + socket) / 2 - [0, 1.2, 1], socket - [0, 1.6, 0]], 12),
        ]
        blades.append((tip, corner, socket))
        head = socket + np.array([side * 1.6, 0.0, 0.8])
        bones = bones + 0.6 * thickness(beam, ellipsoid(head, (2.3, 2.4, 2.2), 17))
        arm = lay.arm(a, side, c.lateral)
        shafts.append(np.stack([arm.x, arm.y, arm.z], 1)[1:-1])
    radii = np.tile([0.3, 0.45, 0.5], 2)[:, None]
    bones = bones + _blades(beam, *np.moveaxis(np.array(blades), 1, 0))
    return bones + 0.9 * tubes(beam, edges, radii) + 1.1 * tubes(beam, shafts, 1.15, bore=0.55)


def _blades(beam, tip, corner, socket):
    """Shoulder blades between their edges: thin triangles of bone, as points. Corners [2, 3]."""
    n = max(16, round(26 * beam.size / 128))
    v, u = (np.mgrid[:n, :n].reshape(2, -1, 1, 1) + 0.5) / n
    points = tip + v * (corner - tip) + u * (1 - v) * (socket - tip)
    area = 0.5 * np.linalg.norm(np.cross(corner - tip, socket - tip), axis=-1)
    row, col, enlarged = beam.project(points)
    share = ((1 - v) / (1 - v).sum())[:, 0]
    return splat(beam, row.ravel(), col.ravel(), (0.7 * area * share * enlarged**2).ravel())


def _gut(c):
    """The stomach's bubble, with a level where the patient stands, and gas in the bowel."""
    a, rng = c.a, rng_of(c.study.seed, "gut")
    erect = c.study.projection == "PA"
    if rng.random() < 0.5:
        r = rng.uniform(1.0, 2.8)
        centre = (rng.uniform(4.0, 7.5), a.domes[1] + 1.6 + 0.8 * r, rng.uniform(-2, 3))
        gas = thickness(c.beam, ellipsoid(centre, (1.35 * r, 0.85 * r, 1.3 * r), 25))
        if erect:
            gas = gas * np.clip((centre[1] + 0.3 * r - c.y) / 0.3 + 0.5, 0, 1)
        c.add(-0.6 * gas)
    if rng.random() < 0.4:
        loops = np.clip(texture(c.beam, rng.integers(2**62), 1.7) - 0.8, 0, 1.2)
        below = np.clip((c.y - max(a.domes) - 4) / 3, 0, 1)
        c.add(-1.3 * loops * below * (c.body > 8))
