"""Support devices: tubes, lines, wires, pacemakers, as paths and ellipsoids in the patient."""

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES
from cxrlib.phantom.lesions import Finding, Lesion, grains
from cxrlib.phantom.rays import ellipsoid, smooth_path, thickness, tubes

USUAL = {
    "intensive care": (0, 1, 2, 5),
    "surgery": (4, 3, 1, 5, 7),
    "heart failure": (6, 1, 5, 7),
}
"""Which of ``DEVICES`` a cause brings first; other causes: 1, 5, 3 or 8."""


def _draw_devices(rng):
    return Lesion(
        first=rng.random(), order=rng.random(len(DEVICES)), grain=grains(rng, len(DEVICES))
    )


def _devices(c, severity, lesion):
    """Support Devices: the cause decides which, severity how many and how plainly they show."""
    usual = USUAL.get(c.study.patient.cause, (1, 5, 3, 8))
    first = usual[int(lesion.first * len(usual))]
    order = dict.fromkeys([first, *sorted(usual, key=lambda kind: lesion.order[kind]), 1, 5])
    lies = np.zeros_like(c.s)
    for kind in list(order)[: 1 + round(3.0 * severity)]:
        rng = np.random.Generator(np.random.Philox(key=int(lesion.grain[kind])))
        lies += DEVICES[kind](c, rng)
    c.add((1.3 + 1.9 * severity) * lies)
    return lies


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


SUPPORT_DEVICES = Finding("Support Devices", _draw_devices, paint=_devices)
