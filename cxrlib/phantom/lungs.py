"""Findings of the lungs: what fills them, folds them up or grows in them.

Severity runs from 0, hardly to be seen, to 1, gross; it decides size and density alike.
"""

from dataclasses import replace

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES
from cxrlib.phantom.lesions import (
    Finding,
    Lesion,
    bumps,
    cloud,
    grains,
    radial,
    site,
    spots,
    struck,
)
from cxrlib.phantom.rays import smooth_path, texture, tubes


def _draw_haze(rng):
    return Lesion(
        sides=struck(rng, 0.35), size=rng.uniform(2.6, 3.6, 2), at=spots(rng, 2),
        grain=grains(rng, 2),
    )  # fmt: skip


def _haze(c, severity, lesion):
    """Lung Opacity without a name: a haze through which vessels still show."""
    lies = np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        size = lesion.size[n] + 2.4 * severity
        place = site(c, side, lesion.at[n], 0.2, 0.85, core=0.4)
        cm = cloud(c, lesion.grain[n], place, (size, 1.2 * size, size), rough=0.25, soft=0.8)
        lies += c.fill_thickness(side, cm, 0.22 + 0.40 * severity)
    return lies


def _draw_nodules(rng):
    return Lesion(
        count=int(rng.choice([1, 2, 3, 6], p=[0.40, 0.2, 0.2, 0.2])),
        hollow=rng.random() < 0.12,
        sides=rng.choice(SIDES, 6),
        size=np.append(1.0, rng.uniform(0.4, 0.8, 5)),
        flat=rng.uniform(0.85, 1.2, 6),
        at=spots(rng, 6),
        grain=grains(rng, 6),
    )


def _nodules(c, severity, lesion):
    """Lung Lesion: one or several round masses, lobed, and now and then with a cave."""
    lies = np.zeros_like(c.s)
    for n in range(lesion.count):
        side, flat = lesion.sides[n], lesion.flat[n]
        r = (1.1 + 2.2 * severity) * lesion.size[n]
        place = site(c, side, lesion.at[n], 0.15, 0.92, core=0.2)
        uneven = 0.06 * bumps(c, lesion.grain[n], place, r, 0.9)
        uneven = uneven + 0.05 * bumps(c, lesion.grain[n], place, r, 0.3)
        q = radial(c, place, (r * flat, r / flat, r)) + uneven
        ball = 2 * r * np.sqrt(np.clip(1 - q * q, 0, 1))
        if lesion.hollow and r > 1.3:
            ball = ball - 1.3 * r * np.sqrt(np.clip(1 - (q / 0.6) ** 2, 0, 1))
        ball = ball * np.minimum(c.air[int(side > 0)] / 3, 1)
        c.add((0.80 + 0.25 * severity) * ball)
        lies += ball
    return lies


def _draw_edema(rng):
    return Lesion(
        lean=rng.uniform(0.75, 1.2, 2),
        grain=grains(rng, 3),
        septa=rng.normal(0, 0.15, (2, 7)),
        reach=rng.uniform(1.2, 2.2, (2, 7, 5)),
        fissure=rng.random(),
        height=rng.uniform(-0.5, 1.5),
        wavy=rng.normal(0, 0.4, 9),
    )


def _edema(c, severity, lesion):
    """Fluid in the lungs: wings around the hila, wide vessels, Kerley's lines, a fissure."""
    a, beam = c.a, c.beam
    base = np.clip((c.y - a.apex) / (max(a.domes) - a.apex), 0, 1)
    patchy = 1 + 0.30 * severity * texture(beam, lesion.grain[0], 1.5)
    patchy = patchy + 0.15 * texture(beam, lesion.grain[1], 3.5)
    lies = np.zeros_like(c.s)
    for n, side in enumerate(SIDES):
        q = radial(c, np.array([side * 5.2 + a.shift, 1.0, -0.5]), (7.0, 8.5, 7.5))
        wings = np.exp(-1.1 * q * q)
        share = (0.03 + 0.52 * severity) * lesion.lean[n] * (0.22 + 0.18 * base + 0.60 * wings)
        lies += c.fill(side, np.clip(share * patchy, 0, 0.95))
    c.vessels = c.vessels * (1 + 0.55 * severity)
    # Cuffs around the vessels blur them.
    blurred = texture(beam, lesion.grain[2], 0.8)
    c.vessels = c.vessels + 0.45 * severity * np.abs(blurred) * c.aerated()
    lines = 2.4 * severity * tubes(beam, _kerley_lines(a, lesion), 0.10) * c.aerated()
    c.add(lines)
    if lesion.fissure < 0.3 + 0.4 * severity:
        sheet = tubes(beam, _fissure(a, lesion), 0.16) * c.aerated()
        c.add(2.5 * (0.25 + 0.5 * severity) * sheet)
        lies += sheet
    return lies + lines


def _kerley_lines(a, lesion):
    # Fluid in the septa between lobules: sheets, short and level, at the edge of the bases.
    lines = []
    for n, side in enumerate(SIDES):
        for k in range(7):
            y = a.domes[int(side > 0)] - 0.5 - 1.0 * k + lesion.septa[n, k]
            outer = float(lay.wall_at(a, y)) - 0.3
            for z, reach in zip(np.linspace(-2.5, 2.5, 5), lesion.reach[n, k], strict=True):
                lines.append([[side * outer, y, z], [side * (outer - reach), y + 0.25, z]])
    return lines


def _fissure(a, lesion):
    # The horizontal fissure of the right lung, thick with fluid.
    y = lesion.height
    outer = float(lay.wall_at(a, y)) - 0.4
    depths = np.linspace(-0.3 * a.depth, 0.75 * a.depth, 9)
    return [
        [[-4.5 + a.shift, y + 0.4, z], [-0.6 * outer, y - 0.2, z], [-outer, y + wave, z]]
        for z, wave in zip(depths, lesion.wavy, strict=True)
    ]


def _draw_consolidation(rng):
    return Lesion(
        sides=struck(rng, 0.6), size=rng.uniform(2.8, 4.2, 2), grow=rng.uniform(0.6, 1.2, 2),
        at=spots(rng, 2), grain=grains(rng, 2),
    )  # fmt: skip


def _consolidation(c, severity, lesion):
    """Aspiration, bleeding, ARDS: dense and even, in the dependent parts, often on both sides."""
    lies = np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        size = lesion.size[n] + 4.0 * severity * lesion.grow[n]
        place = site(c, side, lesion.at[n], 0.62, 0.92, core=0.7)
        place[2] -= 0.2 * c.a.depth  # towards the back, where fluid runs when lying
        cm = cloud(c, lesion.grain[n], place, (1.1 * size, size, size), rough=0.22, soft=0.55)
        lies += c.fill_thickness(side, cm * (0.5 + 0.8 * severity), 0.55 + 0.40 * severity)
    return lies


def _draw_pneumonia(rng):
    kind = int(rng.choice(3, p=[0.45, 0.35, 0.20]))
    return Lesion(kind=kind, **(_draw_lobar, _draw_patchy, _draw_mesh)[kind](rng))


def _pneumonia(c, severity, lesion):
    """Infection, in one of its three shapes: a lobe, many patches in both lungs, or a mesh."""
    return (_lobar, _patchy, _mesh)[lesion.kind](c, severity, lesion)


def _draw_lobar(rng):
    return {
        "sides": struck(rng, 0.2),
        "size": rng.uniform(2.4, 3.6, 2),
        "grow": rng.uniform(0.5, 1.2, 2),
        "at": spots(rng, 2),
        "grain": grains(rng, 2, 4),
        "near": rng.normal(0, 0.8, (2, 3, 3)),
        "cut": rng.random(2) < 0.35,  # whether a fissure stops it, above or below
        "slope": rng.normal(0, 0.12, 2),
        "beyond": rng.choice(SIDES, 2),
        "ends": rng.normal(0, 0.5, (2, 5, 3)),
        "bends": rng.normal(0, 0.6, (2, 5, 3)),
    }


def _lobar(c, severity, lesion):
    # A focus in one lobe, cut off straight at a fissure, its bronchi left dark.
    lies = np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        size, grain = lesion.size[n] + 4.0 * severity * lesion.grow[n], lesion.grain[n]
        place = site(c, side, lesion.at[n], 0.22, 0.85, core=0.5)
        cm = cloud(c, grain[0], place, (size, 1.05 * size, size), rough=0.34, soft=0.6)
        for k, away in enumerate(lesion.near[n] * size):
            small = cloud(c, grain[k + 1], place + away, (0.5 * size,) * 3, rough=0.4, soft=0.8)
            cm = np.maximum(cm, small)
        if lesion.cut[n]:
            line = lesion.slope[n] * (c.s - place[0] * (not c.lateral))
            line = place[1] + lesion.beyond[n] * 0.45 * size + line
            cm = cm * np.clip(lesion.beyond[n] * (line - c.y) + 0.5, 0, 1)
        dark = 2.2 * tubes(c.beam, _bronchi(c, place, size, lesion, n), np.linspace(0.30, 0.12, 10))
        cm = np.maximum(cm - dark * (cm > 1), 0)
        lies += c.fill_thickness(side, cm * (0.6 + 0.6 * severity), 0.55 + 0.40 * severity)
    return lies


def _bronchi(c, place, size, lesion, n):
    # They stay full of air, and show as dark branches (air bronchograms).
    root = np.array([lesion.sides[n] * 2.6 + c.a.shift, -1.2, -1.0])
    ends = place + size * lesion.ends[n]
    bends = (root + ends) / 2 + lesion.bends[n]
    return [smooth_path([root, bend, end], 10) for bend, end in zip(bends, ends, strict=True)]


def _draw_patchy(rng):
    return {
        "worse": int(rng.choice(SIDES)), "size": rng.uniform(1.3, 2.4, (2, 8)),
        "at": spots(rng, 2, 8), "grain": grains(rng, 2, 8),
    }  # fmt: skip


def _patchy(c, severity, lesion):
    # Bronchopneumonia: patches around the airways of both lungs, more of them in one.
    lies = np.zeros_like(c.s)
    for n, side in enumerate(SIDES):
        cm = np.zeros_like(c.s)
        for k in range(3 + round((5 if side == lesion.worse else 2) * severity)):
            r = lesion.size[n, k] + 1.6 * severity
            place = site(c, side, lesion.at[n, k], 0.25, 0.95, core=0.6)
            cm += cloud(c, lesion.grain[n, k], place, (r, r, r), rough=0.45, soft=0.9)
        lies += c.fill_thickness(side, cm, 0.30 + 0.40 * severity)
    return lies


def _draw_mesh(rng):
    return {"grain": grains(rng, 3), "lean": rng.uniform(0.7, 1.3, 2)}


def _mesh(c, severity, lesion):
    # Viral and other pneumonias: a haze and a mesh of thick septa, in both lungs.
    fine, coarse, wide = lesion.grain
    # Where a random field passes through zero, lines run, and close to a net.
    nets = (np.exp(-4 * texture(c.beam, *net) ** 2) for net in ((fine, 0.4), (coarse, 0.75)))
    mesh = 0.95 * sum(nets)
    base = np.clip((c.y - c.a.apex) / (max(c.a.domes) - c.a.apex), 0, 1)
    patchy = np.clip(0.6 + 0.5 * texture(c.beam, wide, 3.5), 0, 1.6)
    lies = np.zeros_like(c.s)
    for n, side in enumerate(SIDES):
        share = (0.05 + 0.22 * severity) * (0.4 + 0.6 * base) * patchy
        lies += c.fill(side, share * lesion.lean[n])
    mesh = (0.35 + 0.9 * severity) * mesh * patchy * c.aerated()
    c.add(mesh)
    return lies + mesh


def _draw_atelectasis(rng):
    return Lesion(
        side=int(rng.choice(SIDES)),
        plates=rng.random() < 0.6,
        x=rng.uniform(5.0, 8.5, 3),
        up=rng.uniform(0.6, 1.8, 3) + 1.6 * np.arange(3),
        half=rng.uniform(2.2, 4.4, 3),
        slope=rng.normal(0, 0.3, 3),
        z=rng.uniform(-4, 1, 3),
        bow=rng.normal(0, 0.8, 3),
        grain=int(grains(rng)),
    )


def _lose_volume(a, severity, lesion):
    rise, side = 0.5 + 2.4 * severity, lesion.side
    domes = tuple(d - rise * (i == (side > 0)) for i, d in enumerate(a.domes))
    return replace(a, domes=domes, shift=a.shift + side * 2.4 * max(0.0, severity - 0.4))


def _atelectasis(c, severity, lesion):
    """Lung without air: plates over the diaphragm, or a lobe folded up behind the heart."""
    side = lesion.side
    base = c.a.domes[int(side > 0)]
    if not lesion.plates:
        return c.fill_thickness(side, _folded_lobe(c, severity, side, base), 0.45 + 0.5 * severity)
    taper = np.sin(np.linspace(0.35, np.pi - 0.35, 8)) ** 0.4
    paths = _plates(lesion, base, 1 + round(2.2 * severity))
    sheet = np.minimum(tubes(c.beam, paths, (0.11 + 0.12 * severity) * taper), 1.6) * c.aerated()
    c.add((1.1 + 0.9 * severity) * sheet)
    radii = (3.0 + severity, 1.6 + 1.6 * severity, 3.0)
    place = np.array([side * 5.0, base - 0.3, -3.0])
    cm = cloud(c, lesion.grain, place, radii, rough=0.2, soft=0.7)
    return sheet + c.fill_thickness(side, cm, 0.45 + 0.40 * severity)


def _plates(lesion, base, count):
    paths = []
    for k in range(count):
        x, y, half = lesion.side * lesion.x[k], base - lesion.up[k], lesion.half[k]
        fall = lesion.slope[k] * half
        for n, z in enumerate(np.linspace(-1.6, 1.6, 6)):  # not quite edge-on
            up, z = y + 0.12 * n, z + lesion.z[k]
            ends = [[x - half, up - fall, z], [x, up + lesion.bow[k], z], [x + half, up + fall, z]]
            paths.append(smooth_path(ends, 8))
    return paths


def _folded_lobe(c, severity, side, base):
    # The lower lobe falls behind the heart: a wedge from the hilum down to the spine.
    top, low, wide = 0.5, base + 3.0, 2.2 + 3.2 * severity
    share = np.clip((c.y - top) / (low - top), 0, 1)
    behind = np.abs(c.s - 0.62 * c.a.depth) + wide - 4.0
    away = behind if c.lateral else c.s * side - 1.0
    edge = np.clip((0.8 + wide * share - away) / 0.7 + 0.5, 0, 1) * (share > 0)
    return 7.0 * edge * np.minimum(1, 3 * share)


OPACITY = Finding("Lung Opacity", _draw_haze, paint=_haze)
EDEMA = Finding("Edema", _draw_edema, paint=_edema)
CONSOLIDATION = Finding("Consolidation", _draw_consolidation, paint=_consolidation)
PNEUMONIA = Finding("Pneumonia", _draw_pneumonia, paint=_pneumonia)
ATELECTASIS = Finding("Atelectasis", _draw_atelectasis, _lose_volume, _atelectasis)
LESION = Finding("Lung Lesion", _draw_nodules, paint=_nodules)
