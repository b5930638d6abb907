"""Where the organs of one study lie: one body in three dimensions, in cm, for any view.

``lay_out`` turns a patient, a technique and the findings drawn into the numbers of an ``Anatomy``;
the functions below it turn these numbers into solids and paths. Coordinates are those of ``rays``.
"""

import zlib
from dataclasses import dataclass

import numpy as np

from cxrlib.phantom.patients import FITTED
from cxrlib.phantom.rays import smooth_path, stack

SIDES = (-1, 1)
"""The patient's right and left, as signs of x; the order of everything that comes in pairs."""


@dataclass(frozen=True)
class Anatomy:
    """The organs of one study, in cm."""

    chest: float  # half-width between the ribs' inner sides, at the base
    depth: float  # half the inner depth, front to back, at the base
    apex: float  # y of the lungs' upper end
    domes: tuple[float, float]  # y of the right and left diaphragm at its highest
    flat: float  # height of a dome over its sulcus
    spine: float  # sideways amplitude of the spine
    shift: float  # x by which the mediastinum is pushed or pulled
    heart: float  # half-width of the heart
    vessels: tuple[float, float]  # width of the great vessels to the right and left; 1 = usual
    bulge: tuple[float, float]  # widening of the mediastinum to the right and left
    knob: float  # radius of the aortic arch
    soft: float  # soft tissue outside the ribs
    arms: float  # −1 hanging at the sides … 1 lifted
    breaks: tuple = ()  # fractures: (rib or "clavicle", side, share of its length, step, callus)


def rng_of(seed, purpose):
    """The random numbers that belong to a patient's or a study's ``seed`` and a named purpose."""
    key = (seed << 32) + zlib.crc32(purpose.encode())
    return np.random.Generator(np.random.Philox(key=key))


def lay_out(study):
    """Lay out the organs of ``study``; findings move them later, in ``findings.anatomy_of``."""
    p, lying = study.patient, study.projection == "AP"
    rng = rng_of(p.seed, "organs")
    breath = (study.inspiration - 0.75) * 4.5 + FITTED["breath lying" if lying else "breath"]
    dome = p.lungs / 2 - 1.2 + breath - 1.6 * p.habitus + rng.normal(0, 0.4)
    return Anatomy(
        chest=p.chest * (1 + 0.03 * study.inspiration),
        depth=p.chest * p.depth * (1 + 0.04 * study.inspiration),
        apex=-p.lungs / 2 - 1.2,
        domes=(dome, dome + rng.normal(1.4, 0.6)),
        flat=rng.uniform(4.2, 6.2),
        spine=p.curve,
        shift=0.0,
        heart=p.chest * p.heart * (1.06 if lying else 1.0) * (1.06 - 0.08 * study.inspiration),
        vessels=tuple(rng.uniform(0.85, 1.15, 2) * (1.14 if lying else 1.0) + 0.12 * p.habitus),
        bulge=(0.0, 0.0),
        knob=(1.35 + 0.5 * p.aorta) * (1.0 if p.sex == "Male" else 0.93),
        soft=0.9 + FITTED["soft"] * p.habitus**1.3,
        arms=study.arms,
    )


# --- Solids ---------------------------------------------------------------------------------------

# The cavity of the chest by its height t, 0 at the apex and 1 at the base of an average lung.
HEIGHT = 24.0
_T = np.array([0.0, 0.02, 0.05, 0.1, 0.18, 0.3, 0.5, 0.75, 1.0, 1.25, 1.6])
_WIDE = np.array([0.40, 0.51, 0.57, 0.63, 0.70, 0.79, 0.90, 0.98, 1.01, 1.0, 0.97])
_DEEP = np.array([0.0, 0.16, 0.28, 0.42, 0.62, 0.84, 0.98, 1.02, 1.0, 0.96, 0.9])
_FORE = np.array([-3.2, -3.0, -2.7, -2.3, -1.6, -0.9, -0.2, 0.0, 0.0, 0.0, 0.0])


def spine_at(a, y):
    """x of the spine's middle at heights ``y``."""
    return a.spine * np.sin((np.asarray(y) + 6) / 7.5)


def wall_at(a, y):
    """Half-width of the chest's cavity at heights ``y``."""
    return a.chest * np.interp((np.asarray(y) - a.apex) / HEIGHT, _T, _WIDE) ** FITTED["taper"]


def depth_at(a, y):
    """Half-depth of the chest's cavity at heights ``y``, and the z of its middle."""
    t = (np.asarray(y) - a.apex) / HEIGHT
    return a.depth * np.interp(t, _T, _DEEP), np.interp(t, _T, _FORE)


def lung(a, side):
    """What one lung fills if nothing else lies there: a round apex, below it half the chest.

    Behind and before the diaphragm it ends in a narrow gap, which closes some way below the dome.
    """
    closes = a.domes[int(side > 0)] + a.flat * np.array([0.7, 0.9, 1.0, 1.05, 1.1])
    y = np.union1d(a.apex + HEIGHT * np.array([*_T[:6], 0.4, *_T[6:]]), closes)
    y = y[y <= closes[-1]]
    t = (y - a.apex) / HEIGHT
    off = wall_at(a, a.apex) * np.clip(1 - t / 0.4, 0, 1) ** 2
    deep, z = depth_at(a, y)
    wide = np.maximum(wall_at(a, y) - off, 0.0)
    deep = deep * np.sqrt(np.interp(y, closes[[0, -1]], [1, 0]))
    return stack(y, side * off + 0.5 * spine_at(a, y), z, wide, np.maximum(deep, 0.05), boxy=True)


def dome(a, side):
    """The diaphragm's dome and all below it, as far as it reaches into a half of the chest."""
    top = a.domes[int(side > 0)]
    d = np.array([0.0, 0.04, 0.12, 0.25, 0.45, 0.7, 1.0, 1.4, 2.2, 6.0])
    ring = np.minimum(d, 1) ** 0.6
    grow = 1 + 0.25 * np.maximum(d - 1, 0)
    y = top + a.flat * d
    x = side * (0.46 if side < 0 else 0.50) * a.chest * np.where(d > 1, 0.8, 1)
    return stack(y, x, 1.2, 0.54 * a.chest * ring * grow, 0.96 * a.depth * ring * grow)


def mediastinum(a):
    """Great vessels, windpipe and gullet, between the lungs and in front of the spine."""
    right, left = np.array(a.vessels) * FITTED["mediastinum"]
    base = max(a.domes)
    # From the apex to the diaphragm by shares of the way, since people are not equally tall.
    y = a.apex + (base - a.apex) * np.array([0.14, 0.23, 0.35, 0.46, 0.6, 0.76, 0.95])
    y = np.array([a.apex - 4, a.apex, *y, base + 2, base + 6, 40])
    wide_r = np.array([3.0, 2.8, 2.7, 2.9, 3.2, 3.4, 3.3, 2.6, 2.4, 3.5, 6, 9]) * right
    wide_l = np.array([3.0, 2.7, 2.7, 3.3, 3.5, 3.3, 3.6, 2.6, 2.4, 3.5, 6, 9]) * left
    wide_r = wide_r + a.bulge[0] * np.array([0.1, 0.3, 0.8, 1, 1, 0.9, 0.5, 0, 0, 0, 0, 0])
    wide_l = wide_l + a.bulge[1] * np.array([0.1, 0.3, 0.8, 1, 1, 0.9, 0.5, 0, 0, 0, 0, 0])
    deep, z = depth_at(a, y)
    x = (wide_l - wide_r) / 2 + 0.7 * a.shift + 0.3 * spine_at(a, y)
    fills = np.array([0.9, 0.9, 0.85, 0.75, 0.75, 0.75, 0.75, 0.75, 0.8, 1.1, 1.3, 1.3])
    return stack(y, x, z - 0.3, 1.3 * (wide_l + wide_r) / 2, fills * deep + 0.6, soft=True)


def heart(a):
    """The heart, tilted to the left and to the front, by its outline at each height."""
    base, h = max(a.domes) + 0.5, a.heart  # one that is enlarged grows in width more than upwards
    share = np.array([-0.1, 0.0, 0.12, 0.3, 0.5, 0.7, 0.85, 1.0, 1.15, 1.5])
    y = base - (3.4 + 1.15 * h) * (1 - share)
    right = h * np.array([0.0, 0.28, 0.38, 0.50, 0.59, 0.63, 0.62, 0.56, 0.5, 0.3])
    left = h * np.array([0.0, 0.42, 0.54, 0.73, 1.02, 1.27, 1.39, 1.39, 1.3, 0.9])
    deep = h * np.array([0.0, 0.64, 0.7, 0.75, 0.78, 0.75, 0.72, 0.68, 0.64, 0.56])
    z = a.depth * 0.22 + h * np.array([-0.3, -0.3, -0.25, -0.18, -0.1, 0.0, 0.08, 0.12, 0.12, 0.1])
    return stack(y, (left - right) / 2 + a.shift, z, (left + right) / 2, deep)


def pads(a):
    """Fat beside the heart and what lies under it: they close the gaps over the diaphragm."""
    h = a.heart
    y = max(a.domes) + 0.5 + np.array([-0.75 * h, -0.4 * h, 0.0, 1.2, 3.0, 7.0])
    left = h * np.array([0.0, 1.05, 1.38, 1.52, 1.75, 2.1])
    right = h * np.array([0.0, 0.40, 0.62, 0.82, 1.1, 1.5])
    deep = h * np.array([0.0, 0.5, 0.62, 0.7, 0.75, 0.8])
    return stack(y, (left - right) / 2 + a.shift, 0.3 * a.depth, (left + right) / 2, deep)


def aorta(a):
    """The arch's knob and the descending aorta, left of the spine."""
    y0, r = -5.6, a.knob
    top = np.array([-1, -0.85, -0.5, 0, 0.5, 1.0]) * r + y0
    y = np.array([*top, y0 + 4, y0 + 9, 40])
    x = 2.05 + 0.5 * a.shift + 0.3 * spine_at(a, y) + np.array([0] * 5 + [-0.1, -0.3, -0.5, -1.0])
    rho = r * np.array([0, 0.53, 0.87, 1.0, 0.95, 0.9, 0.82, 0.74, 0.65])
    z = np.array([0, 0, 0, -0.5, -1.5, -2.5, -3.4, -3.8, -4.0]) - 0.12 * a.depth
    return stack(y, x, z, rho, np.array([3.6, 3.6, 3.2, 2.8, 2, 1.4, 1.3, 1.2, 1.2]) * r / 1.6)


VERTEBRA = 2.2  # cm from one vertebra to the next


def spine(a, phase=0.0):
    """The vertebral bodies, with the discs between them as their waists."""
    y = np.arange(a.apex - 9, 34, VERTEBRA / 6)
    deep, z = depth_at(a, y)
    waist = 1 - 0.10 * np.cos(2 * np.pi * (y - phase) / VERTEBRA)
    size = (1.22 + 0.022 * (y + 14)) * a.chest / 14
    return stack(y, spine_at(a, y), z - deep + 0.4, size * waist, size * waist * 0.95)


def trunk(a):
    """Chest, belly and neck, without shoulders and arms."""
    y = np.array([*(a.apex + np.array([-16, -9, -5, -2.5, 1, 5, 11, 19, 25])), 40])
    # Broad where the muscles of back and armpit lie, narrower at the waist.
    muscle = FITTED["muscle"] * np.array([0, 0, 0, 0, 0.3, 1.0, 0.8, 0.1, 0, 0])
    waist = FITTED["waist"] * np.array([0, 0, 0, 0, 0, 0, 0, 0, 0.7, 1.0])
    wall = wall_at(a, y) + 1.9 + muscle - waist
    wall = wall + a.soft * np.array([0.3, 0.3, 0.3, 0.3, 0.6, 0.9, 0.9, 0.9, 0.95, 1.0])
    neck = 5.0 + 0.5 * a.soft + np.array([0.8, 0, 0.3, 1.6, *[0] * 6])
    wide = np.where(y < a.apex - 1, neck, wall)
    deep, z = depth_at(a, y)
    deep = np.maximum(deep + 1.6 + 0.6 * a.soft, 5.6 + 0.4 * a.soft)
    return stack(y, 0.3 * spine_at(a, y), z + 0.4, wide, deep, boxy=True)


def shoulders(a, raised=False):
    """From the neck's slope over the collarbones to the folds of the armpits.

    They are narrower where the arms are ``raised``, for the lateral view.
    """
    lift = np.clip(a.arms, -1, 1)
    armpit = a.apex + 10.5 - 2.5 * lift
    top = a.apex - 1.4 - 0.4 * a.soft
    # Their slope, from the neck to where they are widest, then down to the armpits.
    slope = top + FITTED["shoulders"] * np.array([0, 0.27, 0.6, 1])
    armpit = max(armpit, slope[-1] + 3)
    y = np.array([top - 2, *slope, armpit - 2.5, armpit, armpit + 4])
    wide = np.array([5.0, 6.8, 11.5, 17.5, 22.0, 23.0, 20.5, 13.0]) + 0.7 * a.soft
    deep = np.array([3.0, 6.5, 8.0, 9.0, 9.6, 9.2, 7.5, 3.0]) + 0.4 * a.soft
    return stack(y, 0.0, -1.8, (0.55 if raised else 1.0) * wide, deep)


def arm(a, side, raised):
    """An arm, from the shoulder down or, ``raised`` for the lateral view, up."""
    x, y, z, radius = side * (a.chest + 5.4), a.apex + 2.4, -2.2, 4.6 + 0.6 * a.soft
    out = side * (1.4 + 6.3 * (a.arms + 1))
    if raised:
        y, out = y - 16, -side * 2.0
    down = np.array([0.0, 0.05, 0.5, 1.0, 1.05])
    length = 16.0 if raised else 34.0 - 7 * (a.arms + 1)
    wide = radius * np.hypot(1, out / length) * np.array([0.5, 0.85, 1.0, 0.9, 0.0])
    x = x + (out * (1 - down) if raised else out * down)
    return stack(y + length * down, x, z + 2 * down, wide, np.minimum(wide, radius))


def breasts(a, patient):
    """Two ellipsoids' worth of numbers: centre and radii for each, or none."""
    rng = rng_of(patient.seed, "breasts")
    size = FITTED["breasts"] * rng.uniform(0.7, 1.2) * (0.75 + 0.6 * patient.habitus)
    if patient.sex == "Male":
        size *= 0.55 if patient.habitus > 0.5 else 0.0
    if not size:
        return []
    deep, z = depth_at(a, 4.0)
    found = []
    for side in SIDES:
        x, y = (
            side * a.chest * rng.uniform(0.54, 0.66),
            rng.uniform(2.6, 5.0) + 2.4 * patient.habitus,
        )
        front = float(z + deep) + 0.9 + 0.65 * a.soft
        found.append(((x, y, front), (6.2 * size, 5.4 * size, 2.7 * size)))
    return found


# --- Paths ----------------------------------------------------------------------------------------


def ribs(a, patient):
    """Paths [24, n, 3] of the ribs from the spine forwards, their radii [24, n] and weights.

    Rib and side of row ``k`` are ``k // 2 + 1`` and ``SIDES[k % 2]``.
    """
    rng = rng_of(patient.seed, "ribs")
    rib, side = np.repeat(np.arange(12), 2)[:, None], np.tile(SIDES, 12)[:, None]
    along = np.linspace(0, 1, 36)
    pitch = (patient.lungs + 2.0) / 10.8 * rng.uniform(0.95, 1.05)
    head = a.apex - 0.9 + pitch * rib + np.repeat(rng.normal(0, 0.1, 12), 2)[:, None]
    last = np.radians([112, 128, 138, 142, 144, 145, 144, 136, 124, 112, 84, 62])[rib]
    phi = 0.16 + (last - 0.16) * along
    fall = (3.0 + 0.60 * np.minimum(rib, 6)) * patient.rib_slope  # to the side of the chest
    drop = (4.2 + 0.50 * np.minimum(rib, 7)) * patient.rib_slope  # from there to the front
    fall = fall + rng.normal(0, 0.25, (24, 1))
    y = head + fall * (1 - np.cos(phi)) * np.clip(phi, 0, 1)
    y = y + drop * np.clip(-np.cos(phi), 0, 1) ** 1.2
    wall = np.maximum(wall_at(a, y) + 0.45, 4.6 + 0.9 * rib)
    deep, z = depth_at(a, y)
    deep = np.maximum(deep + 0.4, 3.2 + 0.4 * rib)
    x = side * wall * np.sin(phi) ** 0.8 + 0.5 * spine_at(a, y)
    paths = np.stack([x, y, z - deep * np.cos(phi)], 2)
    radii = patient.rib_size * rng.uniform(0.9, 1.1, (24, 1)) * (1.08 - 0.2 * along)
    weights = (1.0 - 0.25 * along[1:]) * np.where(rib == 0, 0.62, np.where(rib > 7, 0.6, 1.0))
    weights = weights * np.clip((1 - along[1:]) / 0.15, 0, 1)  # in front they turn to gristle
    for bone, side_struck, at, step, callus in a.breaks:
        if bone != "clavicle" and bone <= 12:
            k = 2 * (bone - 1) + int(side_struck > 0)
            break_path(paths[k], radii[k], weights[k], at, step, callus)
    return paths, radii, weights


def break_path(path, radii, weights, at, step, callus):
    """Break a bone in place: a gap, the far fragment moved by ``step`` cm, callus around it."""
    k = int(at * (len(path) - 1))
    beyond = np.arange(len(path) - k)
    path[k:, 1] += step * np.exp(-beyond / 10)
    path[k:, :] -= (path[k] - path[k - 1]) * 0.8 * np.exp(-beyond / 6)[:, None]  # overriding ends
    weights[k - 1] = 0
    near = np.exp(-(((np.arange(len(weights)) - k + 0.5) / 1.3) ** 2))
    weights *= 1 + callus * near
    radii *= 1 + 0.2 * callus * np.exp(-(((np.arange(len(path)) - k) / 1.5) ** 2))


def clavicles(a, study, raised=False):
    """Paths [2, n, 3] of the collarbones, their radii and weights.

    Where the arms are ``raised``, for the lateral view, they point up and back.
    """
    rng = rng_of(study.patient.seed, "collarbones")
    lying = study.projection == "AP"
    inner_y = a.apex + rng.uniform(3.4, 4.8) - 1.0 * lying
    rise = rng.uniform(3.0, 5.8) - 1.0 * lying + 0.8 * a.arms + 4.0 * raised
    front, back = 0.45 * a.depth, 0.27 * a.depth + 5.0 * raised
    paths = []
    for side in SIDES:
        tip = [side * (a.chest + 1.5), inner_y - rise, -back]
        points = [[side * 1.7, inner_y, front], [side * 6.5, inner_y + 0.6, front + 1.5]]
        points += [[side * (a.chest - 4), inner_y - 1.1 * rise, -0.3 * front], tip]
        paths.append(smooth_path(points, 30))
    paths = np.array(paths)
    # Thick where they meet the breastbone, flat and broad at the shoulder.
    along = np.linspace(0, 1, 30)
    thick = (1 + 0.3 * (2 * along - 1) ** 2) * np.clip(0.5 + 8 * (1 - along), 0, 1)
    radii = rng.uniform(0.55, 0.7) * np.tile(thick, (2, 1))
    weights = np.ones((2, 29))
    for bone, side, at, step, callus in a.breaks:
        if bone == "clavicle":
            k = int(side > 0)
            break_path(paths[k], radii[k], weights[k], at, step, callus)
    return paths, radii, weights


def broken(a, study, raised=False):
    """Where bones are broken: points [N, 3]."""
    bars, collarbones = ribs(a, study.patient)[0], clavicles(a, study, raised)[0]
    points = []
    for bone, side, at, _, _ in a.breaks:
        if bone == "clavicle" or bone <= 12:
            k = int(side > 0)
            path = collarbones[k] if bone == "clavicle" else bars[2 * (bone - 1) + k]
            points.append(path[int(at * (len(path) - 1))])
    return np.array(points).reshape(-1, 3)


def vessels(a, seed):
    """Arteries and veins as trees: for each level, paths [N, n, 3] and radii [N, n]."""
    rng = rng_of(seed, "vessels")
    trunks = 9
    side = np.repeat([-1.0, 1.0], trunks)
    # Which way a trunk leaves the hilum, in the picture's plane, and how far to front or back.
    angle = np.tile(np.linspace(-1.35, 1.5, trunks), 2) + rng.normal(0, 0.13, 2 * trunks)
    fore = rng.uniform(-0.55, 0.55, 2 * trunks)
    x = side * rng.uniform(2.6, 3.4, 2 * trunks)
    start = np.stack([x, 1.5 * angle - 0.35 * side - 0.5, rng.normal(-0.6, 0.6, 2 * trunks)], 1)
    length = rng.uniform(2.4, 4.4, 2 * trunks) * (1 + 0.25 * np.sin(angle).clip(0))
    radius = rng.uniform(0.24, 0.42, 2 * trunks) * (1 + 0.25 * np.sin(angle))
    levels = []
    for level in range(4):
        out = np.cos(fore)
        way = np.stack([side * np.cos(angle) * out, np.sin(angle) * out, np.sin(fore)], 1)
        end = start + way * length[:, None]
        bend = rng.normal(0, 0.16, start.shape) * length[:, None]
        curve = smooth_path([start, (start + end) / 2 + bend, end], 4)
        levels.append((np.moveaxis(curve, 0, 1), radius[:, None] * np.linspace(1, 0.78, 4)))
        kept = rng.random(len(side)) < (1.0 if level < 2 else 0.8)
        grown = (side, angle, fore, end, length, radius)
        side, angle, fore, end, length, radius = (v[kept] for v in grown)
        fork = rng.uniform(0.12, 0.62, (2, len(angle))) * [[-1], [1]]
        angle = np.concatenate(angle + fork)
        fore = np.tile(fore, 2) + rng.normal(0, 0.35, len(angle))
        length = np.tile(length, 2) * rng.uniform(0.55, 0.9, len(angle))
        side, start = np.tile(side, 2), np.tile(end, (2, 1))
        radius = np.tile(radius, 2) * rng.uniform(0.6, 0.82, len(angle))
    return levels
