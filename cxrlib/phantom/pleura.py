"""Findings around the lungs: air, fluid, scars and blood between lung and chest wall; fractures."""

from dataclasses import replace

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom.anatomy import SIDES
from cxrlib.phantom.lesions import (
    Finding,
    Lesion,
    cloud,
    grains,
    push_out,
    shrunk,
    site,
    spots,
    struck,
)
from cxrlib.phantom.rays import ellipsoid, stack, texture, thickness, widened


def _draw_pneumothorax(rng):
    return Lesion(sides=struck(rng, 0.04), taper=rng.uniform(0.3, 0.75, 2))


def _push_away(a, severity, lesion):
    # Only a large pneumothorax is under tension, and then it pushes the heart to the other side.
    side, tension = lesion.sides[0], max(0.0, severity - 0.6) / 0.4
    domes = tuple(d + 1.6 * tension * (i == (side > 0)) for i, d in enumerate(a.domes))
    return replace(a, domes=domes, shift=a.shift - side * 2.2 * tension)


def _pneumothorax(c, severity, lesion):
    """Air between lung and chest wall: the lung draws back to its root, and shows its edge.

    The lung is smaller from here on: what is painted later fills what is left of it, and never the
    air beside it.
    """
    lies = np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        kept, k = _drawn_back(c, severity, side, lesion.taper[n]), int(side > 0)
        now = np.minimum(c.room(kept, side), c.air[k])
        freed = c.air[k] - now
        left = now / np.maximum(c.air[k], 1e-3)
        # The skin of the lung, met edge-on, is a thin white line.
        skin = np.maximum(now - c.room(widened(kept, -0.09), side), 0)
        skin = np.minimum(skin, 0.7) * np.clip(freed / 0.5, 0, 1)
        c.add((0.5 + 0.4 * severity) * skin - freed)
        c.shrink(side, now)
        c.fill(side, 0.10 * severity * left)
        middle = 0.5 * c.a.shift * side
        on_side = np.ones_like(c.s) if c.lateral else c.s * side > middle
        c.vessels = c.vessels * np.where(on_side * (freed > 0.05), left, 1)
        lies += freed * (left < 0.5)  # before and behind the lung nobody sees it
    return lies


def _drawn_back(c, severity, side, taper):
    """What is left of a lung, as a solid."""
    a, whole = c.a, lay.lung(c.a, side)
    t = np.clip((whole.y - a.apex) / (a.domes[int(side > 0)] - a.apex), 0, 1)
    gap = (0.15 + 2.6 * severity**1.4) * (1 - taper * t)
    below = np.interp(whole.y - (0.2 + 1.8 * severity) * (1 - t), whole.y, whole.a, left=0)
    wide = np.maximum(np.minimum(whole.a, below) - gap, 0)
    deep = np.maximum(whole.b - 0.5 * gap, 0)
    return stack(whole.y, whole.x - side * 0.15 * gap, whole.z, wide, deep, boxy=True)


def _draw_effusion(rng):
    return Lesion(
        sides=struck(rng, 0.45), share=(1.0, rng.uniform(0.35, 1)), veil=rng.random(2) < 0.35
    )


def _effusion(c, severity, lesion):
    """Fluid around the lung, climbing along the wall as a meniscus; lying, it may be a veil."""
    a, lies = c.a, np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        k, amount = int(side > 0), severity * lesion.share[n]
        if c.study.projection == "AP" and lesion.veil[n]:
            t = np.clip((c.y - a.apex) / (a.domes[k] - a.apex), 0, 1)
            lies += c.fill_thickness(side, (0.3 + 6.2 * amount) * (0.35 + 0.65 * t))
        level = a.domes[k] + 0.75 * a.flat - 8.6 * amount**2.2 - 0.2
        y = np.arange(a.apex, 24, 0.5)
        depth, thin = y - level, 0.25 + 0.35 * amount
        wall = thin * np.exp(np.minimum(depth, 0) / 1.1)
        film = np.where(depth < 0, wall, thin + 1.15 * depth.clip(0))
        film = np.where(depth < -4.5, 0, film)
        # Less of it towards the mediastinum: the lung that is left keeps to the middle.
        left = shrunk(lay.lung(a, side), y, side, film, (0.25, 1.0, 0.9))
        lies += push_out(c, side, left, 0.98)
    return lies


def _draw_scars(rng):
    return Lesion(
        sides=struck(rng, 0.4),
        apical=rng.random(2) < 0.3,
        middle=rng.uniform(8, 17, 2),
        long=rng.uniform(3.5, 5.0, 2),
        uneven=rng.normal(0, 1, (2, 120)),
        at=spots(rng, 2),
        grain=grains(rng, 2, 2),
    )


def _scars(c, severity, lesion):
    """Pleural Other: thickening along the wall or a cap on the apex, with chalky plaques."""
    a, lies = c.a, np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        middle = a.apex + (1.0 if lesion.apical[n] else lesion.middle[n])
        long, wide = lesion.long[n] + 3.0 * severity, 0.55 + 1.5 * severity
        y = np.arange(a.apex - 1, 22, 0.4)
        lens = wide * np.sqrt(np.clip(1 - ((y - middle) / long) ** 2, 0, 1))
        rough = np.convolve(lesion.uneven[n, : len(y)], np.ones(5) / 5, "same")
        left = shrunk(lay.lung(a, side), y, side, lens * (1 + 0.25 * rough), (0.5, 0.5, 0.04))
        gone = push_out(c, side, left, 0.9)
        c.add((0.2 + 0.5 * severity) * np.minimum(gone, 2.5))  # denser than water: fibre, calcium
        place = site(c, side, lesion.at[n], 0.4, 0.85)
        spot = cloud(c, lesion.grain[n, 0], place, (2.4, 1.5, 1.5), rough=0.3, soft=0.6) / 3
        chalk = np.clip(texture(c.beam, lesion.grain[n, 1], 0.6) - 0.4, 0, 1) * spot
        chalk = chalk * np.minimum(c.air[int(side > 0)] / 3, 1)
        c.add((0.9 + 2.2 * severity) * chalk)
        lies += gone + chalk
    return lies


RIBS = 6
"""The most ribs of one side that break."""


def _draw_fracture(rng):
    return Lesion(
        sides=struck(rng, 0.15),
        first=rng.integers(2, 6, 2),
        at=rng.uniform(0.35, 0.6, 2)[:, None] + rng.normal(0, 0.05, (2, RIBS)),
        step=rng.choice(SIDES, (2, RIBS)) * rng.uniform(0.8, 1.2, (2, RIBS)),
        clavicle=np.where(rng.random(2) < 0.4, rng.uniform(0.45, 0.6, 2), 0.0),  # 0: whole
        bleeds=rng.uniform(-1, 1, 2),
    )


def _break_bones(a, severity, lesion):
    breaks = []
    for n, side in enumerate(lesion.sides):
        for k in range(3 + round((RIBS - 3) * severity)):
            step = lesion.step[n, k] * (0.9 + 1.3 * severity)
            rib = int(lesion.first[n]) + k
            breaks.append((rib, side, lesion.at[n, k], step, 1.2 + 2.2 * severity))
        if lesion.clavicle[n]:
            breaks.append(("clavicle", side, lesion.clavicle[n], 0.5 + 1.2 * severity, 0.5))
    return replace(a, breaks=tuple(breaks))


def _haematoma(c, severity, lesion):
    """Fracture: blood between the broken ribs and the lung, a lens along the chest wall.

    The breaks themselves, drawn with the bones, are part of where it lies.
    """
    a, lies = c.a, np.zeros_like(c.s)
    for n, side in enumerate(lesion.sides):
        y = np.arange(a.apex, 22, 0.4)
        middle = a.apex + 4.0 + 2.2 * lesion.first[n] + lesion.bleeds[n]
        long, wide = 3.4 + 3.2 * severity, 0.8 + 2.0 * severity
        lens = wide * np.sqrt(np.clip(1 - ((y - middle) / long) ** 2, 0, 1))
        left = shrunk(lay.lung(a, side), y, side, lens, (0.5, 0.5, 0.0))
        lies += push_out(c, side, left, 0.9)
    for point in lay.broken(a, c.study, c.lateral):
        lies += thickness(c.beam, ellipsoid(point, (1.1, 1.1, 1.1), 9))
    return lies


PNEUMOTHORAX = Finding("Pneumothorax", _draw_pneumothorax, _push_away, _pneumothorax)
EFFUSION = Finding("Pleural Effusion", _draw_effusion, paint=_effusion)
SCARS = Finding("Pleural Other", _draw_scars, paint=_scars)
FRACTURE = Finding("Fracture", _draw_fracture, _break_bones, _haematoma)
