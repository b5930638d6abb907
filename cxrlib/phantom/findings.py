"""Findings as changes of what the beam meets: functions of the chest, the severity, a generator.

Severity runs from 0, hardly to be seen, to 1, gross; it decides size and density alike. Findings
that only move organs stand in ``anatomy.GEOMETRY``.
"""

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES, sides
from cxrlib.phantom.chest import LUNG
from cxrlib.phantom.rays import (
    ellipsoid,
    smooth_path,
    stack,
    texture,
    thickness,
    tubes,
    widened,
)


def site(c, rng, side, low, high, core=0.0):
    """A point [3] in a lung, between the shares ``low`` and ``high`` of its height.

    ``core`` 0 … 1 keeps it away from the chest wall.
    """
    a = c.a
    base = a.domes[int(side > 0)]
    y = a.apex + rng.uniform(low, high) * (base - a.apex)
    outer = max(5.5, float(lay.wall_at(a, y)) * (1 - 0.3 * core) - 1.8)
    x = rng.uniform(4.2, outer)
    deep, z = lay.depth_at(a, y)
    return np.array([side * x, y, float(z) + rng.uniform(-0.65, 0.5) * float(deep)])


def cloud(c, rng, centre, radii, rough=0.3, soft=0.5):
    """cm [H, W] of a cloud along the ray: an ellipsoid with an uneven outline and soft edges."""
    edge = (1 - _radial(c, centre, radii) + rough * texture(c.beam, rng, 0.45 * min(radii))) / soft
    return 2 * _depth_radius(c, radii) * np.clip(edge, 0, 1)


def _radial(c, centre, radii):
    """Distance [H, W] of a ray from an ellipsoid's middle: 1 on the outline that the beam sees."""
    s0, w0 = c.beam.turned(centre[0], centre[2])
    m = c.beam.magnify(w0) / c.beam.magnify(0.0)
    across = np.hypot(radii[0] * np.cos(c.beam.turn), radii[2] * np.sin(c.beam.turn))
    # Coordinates at the patient's middle, moved to the depth of the ellipsoid.
    s = (c.s + c.beam.shift[0]) / m - c.beam.shift[0]
    y = (c.y + c.beam.shift[1]) / m - c.beam.shift[1]
    return np.hypot((s - s0) / across, (y - centre[1]) / radii[1])


def _depth_radius(c, radii):
    return np.hypot(radii[2] * np.cos(c.beam.turn), radii[0] * np.sin(c.beam.turn))


def shrunk(lung, y, side, film, share):
    """A lung [K] cm thinner all around by ``film``, at heights ``y``.

    ``share`` says how much of the film lies to the middle, to the side and to front and back.
    """
    x, z, a, b = (np.interp(y, lung.y, v) for v in (lung.x, lung.z, lung.a, lung.b))
    middle, out, deep = share
    a, b = np.maximum(a - out * film, 0), np.maximum(b - deep * film, 0)
    return stack(y, x - middle * side * film, z, a, b, boxy=True)


# --- Lungs ----------------------------------------------------------------------------------------


def hazy_opacity(c, severity, rng):
    """Lung Opacity without a name: a haze through which vessels still show."""
    for side in sides(rng, 0.35):
        size = rng.uniform(2.6, 3.6) + 2.4 * severity
        place = site(c, rng, side, 0.2, 0.85, core=0.4)
        cm = cloud(c, rng, place, (size, 1.2 * size, size), rough=0.25, soft=0.8)
        c.fill_thickness(side, cm, 0.22 + 0.40 * severity)


def nodules(c, severity, rng):
    """Lung Lesion: one or several round masses, lobed, and now and then with a cave."""
    count = int(rng.choice([1, 2, 3, 6], p=[0.40, 0.2, 0.2, 0.2]))
    hollow = rng.random() < 0.12
    for k in range(count):
        side = sides(rng, 0)[0]
        r = (1.05 + 2.1 * severity) * (1 if k == 0 else rng.uniform(0.5, 0.9))
        place = site(c, rng, side, 0.15, 0.92, core=0.2)
        flat = rng.uniform(0.85, 1.2)
        q = _radial(c, place, (r * flat, r / flat, r)) + 0.09 * texture(c.beam, rng, 0.6 * r)
        ball = 2 * r * np.sqrt(np.clip(1 - q * q, 0, 1))
        if hollow and r > 1.3:
            ball = ball - 1.3 * r * np.sqrt(np.clip(1 - (q / 0.6) ** 2, 0, 1))
        inside = np.minimum(c.air[int(side > 0)] / 3, 1)
        c.add((0.95 + 0.5 * severity) * ball * inside)


def edema(c, severity, rng):
    """Fluid in the lungs: wings around the hila, wide vessels, Kerley's lines, a fissure."""
    a, beam = c.a, c.beam
    base = np.clip((c.y - a.apex) / (max(a.domes) - a.apex), 0, 1)
    patchy = 1 + 0.30 * severity * texture(beam, rng, 1.5) + 0.15 * texture(beam, rng, 3.5)
    for side in SIDES:
        lean = rng.uniform(0.75, 1.2)
        radii = (7.0, 8.5, 7.5)
        q = _radial(c, np.array([side * 5.2 + a.shift, 1.0, -0.5]), radii)
        wings = np.exp(-1.1 * q * q)
        share = (0.03 + 0.52 * severity) * lean * (0.22 + 0.18 * base + 0.60 * wings)
        c.fill(side, np.clip(share * patchy, 0, 0.95))
    c.vessels = c.vessels * (1 + 0.55 * severity)
    # Cuffs around the vessels blur them.
    blurred = texture(beam, rng, 0.8)
    c.vessels = c.vessels + 0.45 * severity * np.abs(blurred) * c.aerated()
    _kerley_lines(c, severity, rng)
    if rng.random() < 0.3 + 0.4 * severity:
        _fissure(c, 0.25 + 0.5 * severity, rng)


def _kerley_lines(c, severity, rng):
    # Fluid in the septa between lobules: sheets, short and level, at the edge of the bases.
    a, lines = c.a, []
    for side in SIDES:
        for k in range(7):
            y = a.domes[int(side > 0)] - 0.5 - 1.0 * k + rng.normal(0, 0.15)
            outer = float(lay.wall_at(a, y)) - 0.3
            for z in np.linspace(-2.5, 2.5, 5):
                lines.append(
                    [[side * outer, y, z], [side * (outer - rng.uniform(1.2, 2.2)), y + 0.25, z]]
                )
    c.add(2.4 * severity * tubes(c.beam, lines, 0.10) * c.aerated())


def _fissure(c, cm, rng):
    # The horizontal fissure of the right lung, thick with fluid.
    a, y = c.a, rng.uniform(-0.5, 1.5)
    outer = float(lay.wall_at(a, y)) - 0.4
    sheet = [
        [
            [-4.5 + a.shift, y + 0.4, z],
            [-0.6 * outer, y - 0.2, z],
            [-outer, y + rng.normal(0, 0.4), z],
        ]
        for z in np.linspace(-0.3 * a.depth, 0.75 * a.depth, 9)
    ]
    c.add(2.5 * cm * tubes(c.beam, sheet, 0.16) * c.aerated())


def consolidation(c, severity, rng):
    """Aspiration, bleeding, ARDS: dense and even, in the dependent parts, often on both sides."""
    for side in sides(rng, 0.6):
        size = rng.uniform(2.8, 4.2) + 4.0 * severity * rng.uniform(0.6, 1.2)
        place = site(c, rng, side, 0.62, 0.92, core=0.7)
        place[2] -= 0.2 * c.a.depth  # towards the back, where fluid runs when lying
        cm = cloud(c, rng, place, (1.1 * size, size, size), rough=0.22, soft=0.55)
        c.fill_thickness(side, cm * (0.5 + 0.8 * severity), 0.55 + 0.40 * severity)


def pneumonia(c, severity, rng):
    """Infection, in one of its three shapes: a lobe, many patches in both lungs, or a mesh."""
    kind = rng.choice(3, p=[0.45, 0.35, 0.20])
    (_lobar, _patchy, _interstitial)[kind](c, severity, rng)


def _lobar(c, severity, rng):
    # A focus in one lobe, cut off straight at a fissure, its bronchi left dark.
    for side in sides(rng, 0.2):
        size = rng.uniform(2.4, 3.6) + 4.0 * severity * rng.uniform(0.5, 1.2)
        place = site(c, rng, side, 0.22, 0.85, core=0.5)
        cm = cloud(c, rng, place, (size, 1.05 * size, size), rough=0.34, soft=0.6)
        for _ in range(3):
            near, small = place + rng.normal(0, 0.8 * size, 3), 0.5 * size
            cm = np.maximum(cm, cloud(c, rng, near, (small, small, small), rough=0.4, soft=0.8))
        if rng.random() < 0.35:  # a fissure stops it, above or below
            slope, away = rng.normal(0, 0.12), rng.choice(SIDES) * 0.45 * size
            line = place[1] + away + slope * (c.s - place[0] * (not c.lateral))
            cm = cm * np.clip(-np.sign(away) * (c.y - line) / 1.0 + 0.5, 0, 1)
        # Air bronchograms.
        root = np.array([side * 2.6 + c.a.shift, -1.2, -1.0])
        ends = place + rng.normal(0, 0.5 * size, (5, 3))
        bends = (root + ends) / 2 + rng.normal(0, 0.6, (5, 3))
        bronchi = [
            smooth_path([root, bend, end], 10) for bend, end in zip(bends, ends, strict=True)
        ]
        dark = 2.2 * tubes(c.beam, bronchi, np.linspace(0.30, 0.12, 10))
        cm = np.maximum(cm - dark * (cm > 1), 0)
        c.fill_thickness(side, cm * (0.6 + 0.6 * severity), 0.55 + 0.40 * severity)


def _patchy(c, severity, rng):
    # Bronchopneumonia: patches around the airways of both lungs, more of them in one.
    worse = sides(rng, 0)[0]
    for side in SIDES:
        total = np.zeros_like(c.s)
        for _ in range(3 + round((5 if side == worse else 2) * severity)):
            r = rng.uniform(1.3, 2.4) + 1.6 * severity
            place = site(c, rng, side, 0.25, 0.95, core=0.6)
            total = total + cloud(c, rng, place, (r, r, r), rough=0.45, soft=0.9)
        c.fill_thickness(side, total, 0.30 + 0.40 * severity)


def _interstitial(c, severity, rng):
    # Viral and other pneumonias: a haze and a mesh of thick septa, in both lungs.
    mesh = np.abs(texture(c.beam, rng, 0.45)) + 0.5 * np.abs(texture(c.beam, rng, 0.8))
    base = np.clip((c.y - c.a.apex) / (max(c.a.domes) - c.a.apex), 0, 1)
    patchy = np.clip(0.6 + 0.5 * texture(c.beam, rng, 3.5), 0, 1.6)
    for side in SIDES:
        share = (0.05 + 0.22 * severity) * (0.4 + 0.6 * base) * patchy
        c.fill(side, share * rng.uniform(0.7, 1.3))
    c.add((0.35 + 0.9 * severity) * mesh * patchy * c.aerated())


def atelectasis(c, severity, rng):
    """Lung without air: plates over the diaphragm, or a lobe folded up behind the heart."""
    side = sides(rng, 0)[0]  # the first draw, as for the raised dome: the same side
    a, base = c.a, c.a.domes[int(side > 0)]
    if rng.random() < 0.6:
        plates = []
        for k in range(1 + round(2.2 * severity)):
            x, y = side * rng.uniform(5.0, 8.5), base - rng.uniform(0.6, 1.8) - 1.6 * k
            half, slope = rng.uniform(1.8, 3.4), rng.normal(0, 0.3)
            z0, bow = rng.uniform(-4, 1), rng.normal(0, 0.3)
            for z in z0 + np.linspace(-1.6, 1.6, 6):
                ends = [
                    [x - half, y - slope * half, z],
                    [x, y + bow, z],
                    [x + half, y + slope * half, z],
                ]
                plates.append(smooth_path(ends, 8))
        taper = np.sin(np.linspace(0.35, np.pi - 0.35, 8))
        sheet = tubes(c.beam, plates, (0.18 + 0.12 * severity) * taper)
        c.add((1.2 + 1.2 * severity) * np.minimum(sheet, 2.4) * c.aerated())
        radii = (3.0 + severity, 1.6 + 1.6 * severity, 3.0)
        cm = cloud(c, rng, np.array([side * 5.0, base - 0.3, -3.0]), radii, rough=0.2, soft=0.7)
        c.fill_thickness(side, cm, 0.45 + 0.40 * severity)
    else:
        # The lower lobe falls behind the heart: a wedge from the hilum down to the spine.
        tip, low = np.array([side * 2.4, 0.5, -2.5]), base + 3.0
        wide = 2.2 + 3.2 * severity
        share = np.clip((c.y - tip[1]) / (low - tip[1]), 0, 1)
        away = (c.s * side - 1.0) if not c.lateral else np.abs(c.s - 0.62 * a.depth) + wide - 4.0
        edge = np.clip((0.8 + wide * share - away) / 0.7 + 0.5, 0, 1) * (share > 0)
        cm = 7.0 * edge * np.minimum(1, 3 * share)
        c.fill_thickness(side, cm, 0.45 + 0.5 * severity)


# --- Pleura ---------------------------------------------------------------------------------------


def pneumothorax(c, severity, rng):
    """Air between lung and chest wall: the lung draws back to its root, and shows its edge."""
    for side in sides(rng, 0.04):
        a, k = c.a, int(side > 0)
        whole = lay.lung(a, side)
        t = np.clip((whole.y - a.apex) / (a.domes[k] - a.apex), 0, 1)
        gap = (0.8 + 4.4 * severity) * (1 - rng.uniform(0.3, 0.75) * t)
        below = np.interp(whole.y - (0.8 + 2.5 * severity) * (1 - t), whole.y, whole.a, left=0)
        wide = np.minimum(whole.a, below) - gap
        kept = stack(
            whole.y, whole.x - side * 0.15 * gap, whole.z,
            np.maximum(wide, 0), np.maximum(whole.b - 0.5 * gap, 0), boxy=True,
        )  # fmt: skip
        now = c.room(kept, side)
        freed = np.maximum(c.air[k] - now, 0)
        left = np.clip(now / np.maximum(c.air[k], 1e-3), 0, 1)
        # The skin of the lung, met edge-on, is a thin white line.
        skin = np.maximum(now - c.room(widened(kept, -0.09), side), 0)
        skin = np.minimum(skin, 0.9) * np.clip(freed / 0.5, 0, 1)
        c.fill(side, 0.10 * severity * left)
        on_side = (c.s * side > 0.5 * a.shift * side) if not c.lateral else np.ones_like(c.s)
        c.vessels = c.vessels * np.where(on_side * (freed > 0.05), left, 1)
        c.add(-LUNG * freed * c.clear[k] + (0.7 + 0.4 * severity) * skin)


def effusion(c, severity, rng):
    """Fluid around the lung, climbing along the wall as a meniscus; lying, it may be a veil."""
    struck = sides(rng, 0.45)
    a = c.a
    for n, side in enumerate(struck):
        k = int(side > 0)
        amount = severity * (1 if n == 0 else rng.uniform(0.35, 1))
        if c.study.projection == "AP" and rng.random() < 0.35:
            t = np.clip((c.y - a.apex) / (a.domes[k] - a.apex), 0, 1)
            c.fill_thickness(side, (0.3 + 6.2 * amount) * (0.35 + 0.65 * t))
        whole = lay.lung(a, side)
        level = a.domes[k] + 0.75 * a.flat - 9.0 * amount**1.9 - 0.2
        y = np.arange(a.apex, 24, 0.5)
        depth, thin = y - level, 0.25 + 0.35 * amount
        film = np.where(
            depth < 0, thin * np.exp(np.minimum(depth, 0) / 1.1), thin + 1.15 * depth.clip(0)
        )
        film = np.where(depth < -4.5, 0, film)
        # Less of it towards the mediastinum: the lung that is left keeps to the middle.
        left = shrunk(whole, y, side, film, (0.25, 1.0, 0.9))
        gone = np.maximum(c.air[k] - c.room(left, side), 0)
        c.fill(side, 0.98 * gone / np.maximum(c.air[k], 1e-3))


def pleural_other(c, severity, rng):
    """Thickening along the wall or a cap on the apex, with chalky plaques."""
    for side in sides(rng, 0.4):
        a, k = c.a, int(side > 0)
        whole = lay.lung(a, side)
        apical = rng.random() < 0.3
        middle = a.apex + (1.0 if apical else rng.uniform(8, 17))
        long = rng.uniform(3.5, 5.0) + 3.0 * severity
        wide = 0.55 + 1.5 * severity
        y = np.arange(a.apex - 1, 22, 0.4)
        lens = wide * np.sqrt(np.clip(1 - ((y - middle) / long) ** 2, 0, 1))
        lens = lens * (1 + 0.25 * np.convolve(rng.normal(0, 1, len(y)), np.ones(5) / 5, "same"))
        left = shrunk(whole, y, side, lens, (0.5, 0.5, 0.12))
        gone = np.maximum(c.air[k] - c.room(left, side), 0)
        c.fill(side, 0.9 * gone / np.maximum(c.air[k], 1e-3))
        c.add((0.2 + 0.5 * severity) * np.minimum(gone, 2.5))  # denser than water: fibre, calcium
        place = site(c, rng, side, 0.4, 0.85)
        spot = cloud(c, rng, place, (2.4, 1.5, 1.5), rough=0.3, soft=0.6) / 3
        chalk = np.clip(texture(c.beam, rng, 0.6) - 0.4, 0, 1) * spot
        c.add((0.9 + 2.2 * severity) * chalk * np.minimum(c.air[k] / 3, 1))


def haematoma(c, severity, rng):
    """Fracture: blood between the broken ribs and the lung, a lens along the chest wall."""
    for side in sides(rng, 0.15):  # the first draws, as for the bones: the same place
        rib, _ = int(rng.integers(2, 6)), rng.uniform()
        y = np.arange(c.a.apex, 22, 0.4)
        middle = c.a.apex + 4.0 + 2.2 * rib + rng.uniform(-1, 2)
        long, wide = 2.5 + 2.5 * severity, 0.4 + 1.3 * severity
        lens = wide * np.sqrt(np.clip(1 - ((y - middle) / long) ** 2, 0, 1))
        left = shrunk(lay.lung(c.a, side), y, side, lens, (0.5, 0.5, 0.15))
        k = int(side > 0)
        gone = np.maximum(c.air[k] - c.room(left, side), 0)
        c.fill(side, 0.9 * gone / np.maximum(c.air[k], 1e-3))


# --- Devices --------------------------------------------------------------------------------------


def devices(c, severity, rng):
    """Support Devices: the cause decides which, severity how many and how plainly they show."""
    usual = {
        "intensive care": (0, 1, 2, 5),
        "surgery": (4, 3, 1, 5, 7),
        "heart failure": (6, 1, 5, 7),
    }
    first = usual.get(c.study.patient.cause, (1, 5, 3, 8))
    order = dict.fromkeys([int(rng.choice(first)), *rng.permutation(first).tolist(), 1, 5])
    for kind in list(order)[: 1 + round(3.0 * severity)]:
        c.add((1.3 + 1.9 * severity) * DEVICES[kind](c, rng))


def endotracheal_tube(c, rng):
    m, end = 0.6 * c.a.shift, rng.uniform(-7.0, -4.6)
    path = [[[m * 0.5 + 0.2, -24, 0.0], [m, -12, -1.4], [m, end, -1.8]]]
    return 1.7 * tubes(c.beam, path, 0.34, bore=0.6) + 2.0 * tubes(c.beam, path, 0.09)


def central_line(c, rng):
    side, m, front = int(rng.choice(SIDES)), 0.8 * c.a.shift, 0.3 * c.a.depth
    neck = [[side * 3.2, -22, 0], [side * 3.0, c.a.apex - 1, 0]]
    arm = [
        [side * 15, c.a.apex + 3, 2],
        [side * 9, c.a.apex + 1.5, front],
        [side * 4, c.a.apex + 2, front],
    ]
    start = neck if rng.random() < 0.5 else arm
    path = [*start, [m - 2.2, -8, 0.5], [m - 2.4, -2, 0.5], [m - 2.2, rng.uniform(0, 4), 1.0]]
    return 3.6 * tubes(c.beam, [smooth_path(path)], 0.15)


def feeding_tube(c, rng):
    m, base = 0.6 * c.a.shift, c.a.domes[1]
    path = [[m, -24, -1], [m + 0.3, -8, -3], [m + 0.3, 3, -3.5], [m + 1.2, base + 1, -2]]
    return 3.2 * tubes(c.beam, [smooth_path([*path, [m + 7, base + 6, 2]])], 0.16)


def chest_tube(c, rng):
    side, a = int(rng.choice(SIDES)), c.a
    back = rng.uniform(-5, 4)
    path = [[side * (a.chest + 7), 10, 0], [side * (a.chest + 1), 6, 0], [side * 9, -1, back]]
    curve = smooth_path([*path, [side * 6, -8, back]])
    return 1.5 * tubes(c.beam, [curve], 0.40, bore=0.6) + 2.6 * tubes(c.beam, [curve], 0.11)


def sternal_wires(c, rng):
    turn, m = np.linspace(0, 2 * np.pi, 14), 0.2 * c.a.shift
    loops = []
    for y in np.arange(-7.5, 6, 2.5):
        _, z = lay.depth_at(c.a, y)
        front = max(float(z) + float(lay.depth_at(c.a, y)[0]), 0.62 * c.a.depth) + 0.5
        tilt = rng.normal(0, 0.25)
        loops.append(np.stack([m + 0.9 * np.cos(turn) + rng.normal(0, 0.1),
                               y + 0.4 * np.sin(turn) + tilt * np.cos(turn),
                               front + 0.6 * np.sin(turn)], 1))  # fmt: skip
    return 12 * tubes(c.beam, loops, 0.09)


def electrodes(c, rng):
    total = np.zeros_like(c.s)
    front = c.a.depth + 2.0 + 0.6 * c.a.soft
    for x, y in rng.permutation([(-9, -8), (9, -8), (10, 6), (-8, 8)])[: rng.integers(2, 5)]:
        x, y = x + rng.normal(0, 2.0), y + rng.normal(0, 2.0)
        bend = [x + rng.normal(0, 5), y + 6, front]
        wire = [[x, y, 0.8 * front], bend, [x + rng.normal(0, 7), 26, front]]
        total += 3.5 * tubes(c.beam, [smooth_path(wire)], 0.12)
        total += 3.0 * thickness(c.beam, ellipsoid((x, y, 0.8 * front), (0.5, 0.5, 0.35), 13))
    return total


def pacemaker(c, rng):
    side, m, a = int(rng.choice(SIDES, p=[0.2, 0.8])), c.a.shift, c.a
    x, y, z = side * rng.uniform(8.5, 10.5), a.apex + rng.uniform(4.5, 6.5), 0.62 * a.depth + 1.5
    case = 1.3 * thickness(c.beam, ellipsoid((x, y, z), (2.3, 2.0, 0.9), 25))
    tip = [m + 0.5 * a.heart + 2.0, max(a.domes) - 1.6, 0.5 * a.depth]
    path = [[x, y, z], [side * 4, a.apex + 1, 2], [m - 2.6, -7, 0.5], [m - 2.8, 3, 0.8], tip]
    return 4.0 * np.clip(case, 0, 1) + 6 * tubes(c.beam, [smooth_path(path)], 0.13)


def valve(c, rng):
    # A ring in the heart.
    turn = np.linspace(0, 2 * np.pi, 25)
    x, y, z = c.a.shift + rng.uniform(0, 3), max(c.a.domes) - rng.uniform(5, 7.5), 0.25 * c.a.depth
    r, tilt = rng.uniform(1.1, 1.5), rng.uniform(0.3, 1.2)
    ring = np.stack([x + r * np.cos(turn), y + r * np.sin(turn) * np.cos(tilt),
                     z + r * np.sin(turn) * np.sin(tilt)], 1)  # fmt: skip
    return 7 * tubes(c.beam, [ring], 0.16)


def port(c, rng):
    side, m, a = int(rng.choice(SIDES)), c.a.shift, c.a
    x, y, z = side * rng.uniform(7, 9), a.apex + rng.uniform(5.5, 7.5), 0.7 * a.depth + 1.5
    chamber = np.clip(1.5 * thickness(c.beam, ellipsoid((x, y, z), (1.1, 1.1, 0.7), 17)), 0, 1)
    path = [[x, y, z], [side * 5, a.apex + 0.5, 2], [m - 2.2, -8, 0.5], [m - 2.4, 1, 0.8]]
    return 3.0 * chamber + 3.6 * tubes(c.beam, [smooth_path(path)], 0.14)


DEVICES = (
    endotracheal_tube,
    central_line,
    feeding_tube,
    chest_tube,
    sternal_wires,
    electrodes,
    pacemaker,
    valve,
    port,
)

PAINT = {
    "Lung Opacity": hazy_opacity,
    "Edema": edema,
    "Consolidation": consolidation,
    "Pneumonia": pneumonia,
    "Atelectasis": atelectasis,
    "Lung Lesion": nodules,
    "Pneumothorax": pneumothorax,
    "Pleural Other": pleural_other,
    "Fracture": haematoma,
    "Pleural Effusion": effusion,
    "Support Devices": devices,
}
"""The findings that change what the beam meets, in the order in which they are painted."""
