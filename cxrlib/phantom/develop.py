"""From tissue to grey levels, and the masks of what is to be seen.

The beam is weakened by what it meets, scatter is added, photons are counted, and the console turns
the signal into a picture: window, tone curve, collimation, markers.
"""

import copy
import functools
import math
from itertools import pairwise

import numpy as np
from scipy import ndimage

from cxrlib.phantom.anatomy import rng_of
from cxrlib.phantom.chest import healthy_chest, make_beam
from cxrlib.phantom.findings import anatomy_of, paint
from cxrlib.phantom.patients import FINDINGS, IMPLIES

VIEWS = ("frontal", "lateral")


def expose(study, size=128, view="frontal", drawn=None, healthy=None):
    """What the beam meets, as a ``Chest`` whose ``water()`` is cm of tissue along each ray.

    Parameters
    ----------
    drawn : finding → severity, in place of the study's own; ``{}`` draws the chest without any.
    healthy : the same view of the same study without findings, if at hand.
    """
    drawn = study.drawn if drawn is None else drawn
    other = {study.other: 1.0} if study.other else {}
    a = anatomy_of(study, other | drawn)
    if healthy is not None and a == healthy.a:
        c = copy.copy(healthy)  # layers are replaced, never changed in place
    else:
        c = healthy_chest(study, a, make_beam(study, size, view), healthy)
        c.lesions = paint(c, other)
    c.lesions = c.lesions | paint(c, drawn)
    return c


MU = 0.19
"""Linear attenuation of water, per cm, at the energies of chest radiography."""

SPREAD = 6.0
"""How far scattered photons stray, in cm: the standard deviation of where they arrive."""


def _blur(image, width):
    """A Gaussian blur, ``width`` pixels wide to a tenth; for these sizes, matrices are quickest."""
    kernel = _kernel(len(image), round(float(width), 1))
    return kernel @ image @ kernel.T


@functools.lru_cache(256)
def _kernel(size, width):
    at = np.arange(size)
    weights = np.exp(-0.5 * ((at[:, None] - at) / width) ** 2)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.where(weights < 1e-9, 0, weights).astype(np.float32)  # denormal numbers are slow


def scattered(study, healthy):
    """Scattered photons [H, W], as a share of those that would arrive without a patient.

    They come from all around, and the more of them, the thicker the tissue there. Of all photons
    that arrive they are, standing, with a grid, a fifth behind the lungs and six of ten behind the
    mediastinum; lying, half and eight of ten. In patients it was more than half behind the
    mediastinum with a 12:1 grid, and nine of ten without (Niklason, Sorenson & Nelson 1981).
    """
    spread = SPREAD * len(healthy) / study.field
    return study.scatter * _blur(np.exp(-MU * healthy) * healthy / 10, spread)


def develop(study, water, healthy, view="frontal", noise=True):
    """Grey levels 0 … 255 (float32 [H, W]; air dark, bone white) of what the beam meets.

    Parameters
    ----------
    water : cm [H, W], see ``expose``.
    healthy : the same chest without findings; it sets scatter, window and contrast.
    noise : whether photons are counted; without, the picture that infinitely many would give.
    """
    cm = len(water) / study.field  # in pixels
    scatter = scattered(study, healthy)
    healthy, arriving = (np.exp(-MU * w) + scatter for w in (healthy, water))
    arriving = _blur(arriving, 0.05 * cm + 0.3)
    if noise:  # the detector blurs by half a millimetre, less than a pixel: it is white
        grain = rng_of(study.seed, f"noise {view}").standard_normal(water.shape, dtype=np.float32)
        photons = study.photons / cm**2 / math.exp(-MU * 12)  # on a pixel, without a patient
        arriving = arriving + grain * np.sqrt(arriving / photons)
    signal, usual = -np.log(np.maximum(arriving, 1e-6)), -np.log(healthy)
    sample = usual[::2, ::2]  # a quarter of the pixels settles the window as well
    low, high = np.percentile(sample[sample > 0.4], [4, 99.5]).tolist()
    low, high = study.window[0] * low, high + study.window[1] * (high - low)
    slow = _blur(usual, 3.0 * cm)
    signal = signal + study.sharpening * (signal - _blur(signal, 0.4 * cm))
    value = (signal - low - 0.5 * study.enhancement * (slow - slow.mean())) / (high - low)
    tone = 0.96 * SHOULDER**study.gamma
    return _frame(study, 255 * tone[(4095 * np.clip(value, 0, 1)).astype(np.int32)], view)


SHOULDER = 1 - (1 - np.linspace(0, 1, 4096, dtype=np.float32)) ** 1.7
"""The tone curve of film: a long shoulder, where soft tissue and bone come close to white."""

LETTERS = {
    "L": ([[0, 0], [0, 2], [1, 2]],),
    "R": ([[0, 2], [0, 0], [1, 0.2], [1, 0.9], [0, 1]], [[0.3, 1], [1, 2]]),
    "A": ([[0, 2], [0.5, 0], [1, 2]], [[0.2, 1.3], [0.8, 1.3]]),
    "P": ([[0, 2], [0, 0], [1, 0.2], [1, 0.9], [0, 1.1]],),
    "O": ([[0, 0], [1, 0], [1, 2], [0, 2], [0, 0]],),
    "T": ([[0, 0], [1, 0]], [[0.5, 0], [0.5, 2]]),
    "B": ([[0, 0], [0, 2], [1, 1.8], [1, 1.1], [0, 1]], [[0, 0], [0.9, 0.2], [0.9, 0.9]]),
    "E": ([[1, 0], [0, 0], [0, 2], [1, 2]], [[0, 1], [0.8, 1]]),
}
"""Strokes of the burnt-in letters, in a box one wide and two high."""


def _frame(study, image, view):
    """Turn and collimate ``image`` and burn in the markers, as the console does at the end."""
    size, rng = image.shape[0], rng_of(study.seed, "frame")
    image = _on_cassette(study, image, view)
    ink = np.zeros_like(image)
    left, top, right, _ = (max(b, 0) for b in study.border)
    x, y = left + rng.uniform(0.05, 0.14), top + rng.uniform(0.05, 0.16)
    x = 0.93 + left - right - x if study.marker.startswith("L") else x
    if view == "frontal":
        _write(ink, study.marker[:1], x, y, rng.uniform(0.011, 0.019))
        _write(
            ink,
            study.marker[1:],
            left + rng.uniform(0.05, 0.5),
            top + rng.uniform(0.02, 0.08),
            0.009,
        )
    image = image + (245 - image) * np.clip(ink, 0, 1)
    if max(study.border) > 0:
        image = _collimate(study, image)
    if study.stamp:  # last: it is never under a shutter
        corner, side = round(0.88 * size), max(4, round(0.05 * size))
        for value, rim in ((4, 1), (245, 0)):  # white in black: it shows on any ground
            image[corner - rim : corner + side + rim, corner - rim : corner + side + rim] = value
    return image


def _on_cassette(study, image, view):
    """What lies on the cassette, turned, and squeezed into a square, as collections do."""
    tilt, middle = np.radians(study.tilt), (len(image) - 1) / 2
    across, down = study.cassette if view == "frontal" else LATERAL_CASSETTE
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) * [down, across]
    offset = middle - turn @ [middle, middle]
    return ndimage.affine_transform(image, turn, offset, order=1, mode="nearest")


LATERAL_CASSETTE = (0.82, 1.0)  # it stands on end


def _collimate(study, image):
    size, (shade, skew) = image.shape[0], study.frame
    middle = (size - 1) / 2
    left, top, right, bottom = (size * max(b, 0) for b in study.border)
    slope = np.tan(np.radians(skew)) * (np.arange(size) - middle)
    along, down = np.arange(size)[None, :] - slope[:, None], np.arange(size)[:, None] + slope
    inside = np.minimum(along - left, size - 1 - right - along)
    inside = np.minimum(inside, np.minimum(down - top, size - 1 - bottom - down))
    soft = np.clip(0.5 + inside * 100 / size, 0, 1)  # the shutters' penumbra
    return shade + soft * (image - shade)


def _write(ink, text, x, y, width):
    """Burn ``text`` into the map ``ink``; its place and a letter's width are shares of the side."""
    for k, letter in enumerate(text):
        for stroke in LETTERS.get(letter, ()):
            corner = np.array([x + 1.6 * k * width, y])
            _stroke(ink, (np.array(stroke) * width + corner) * len(ink))


def _stroke(ink, path):
    """Draw a polyline ([n, 2] pixels, x before y) one pixel wide into the map ``ink``."""
    (x0, y0), (x1, y1) = np.clip([path.min(0) - 2, path.max(0) + 3], 0, len(ink)).astype(int)
    rows, cols = np.mgrid[y0:y1, x0:x1]
    for (px, py), (qx, qy) in pairwise(path):
        dx, dy = qx - px, qy - py
        t = np.clip(((cols - px) * dx + (rows - py) * dy) / (dx * dx + dy * dy), 0, 1)
        near = 1.2 - np.hypot(cols - px - t * dx, rows - py - t * dy)
        ink[y0:y1, x0:x1] = np.maximum(ink[y0:y1, x0:x1], near)


def render(study, size=128, view="frontal", without=None):
    """The radiograph of ``study``: uint8 [H, W], air dark, bone white.

    Parameters
    ----------
    size : pixels per side, at least 32.
    view : "frontal", or "lateral": the patient's left side against the detector, facing left.
    without : a finding to leave out, with everything that implies it; all else, noise included,
        stays the same. A finding that is absent leaves the picture as it is.
    """
    _check(size, view)
    healthy = expose(study, size, view, {})
    drawn = study.drawn if without is None else _leave_out(study, without)
    chest = expose(study, size, view, drawn, healthy)
    image = develop(study, chest.water(), healthy.water(), view)
    return np.round(image).astype(np.uint8)


def masks(study, size=128, view="frontal"):
    """What each finding of ``study`` *changes*: name → bool [H, W], present findings only.

    A mask holds the pixels whose noise-free grey level the finding changes by more than
    ``VISIBLE`` levels, and one pixel around them, displaced organs included. A finding's mask
    contains those of the findings that imply it.
    """
    _check(size, view)
    healthy = expose(study, size, view, {})

    def picture(drawn):
        water = expose(study, size, view, drawn, healthy).water()
        return develop(study, water, healthy.water(), view, noise=False)

    full, found = picture(study.drawn), {}
    for name in study.severity:
        change = np.abs(full - picture(_leave_out(study, name)))
        found[name] = ndimage.binary_dilation(change > VISIBLE)
    return _with_implied(found)


def lesions(study, size=128, view="frontal"):
    """Where each finding of ``study`` *is*: name → bool [H, W], as a radiologist would outline it.

    The air of a pneumothorax, the fluid of an effusion, the whole of an enlarged heart: wherever a
    ray meets more than ``LEAST`` cm of it, seen or not. Abnormalities that none of the 14
    observations names are among them. A finding contains those that imply it.
    """
    _check(size, view)
    maps = expose(study, size, view).lesions
    found = {name: np.zeros((size, size), bool) for name in study.severity}
    for name, cm in maps.items():
        found[name] = _on_cassette(study, cm.astype(np.float32), view) > LEAST
    return _with_implied(found)


def _with_implied(found):
    for name in reversed(FINDINGS):  # there, every finding comes after those that imply it
        for child, parent in IMPLIES.items():
            if parent == name and child in found:
                found[name] = found[name] | found[child]
    return found


LEAST = 0.3
"""cm of a lesion along a ray that count as its place."""

VISIBLE = 4.0
"""Grey levels (of 255) by which a pixel must change to belong to a finding's mask."""


def _leave_out(study, name):
    """The findings drawn in ``study``, less ``name`` and all that imply it."""
    if name not in FINDINGS:
        raise ValueError(f"unknown finding {name!r}: expected one of {', '.join(FINDINGS)}.")
    gone = {name}
    for _ in IMPLIES:
        gone |= {child for child, parent in IMPLIES.items() if parent in gone}
    return {finding: s for finding, s in study.drawn.items() if finding not in gone}


def check_size(size):
    """Raise ``ValueError`` unless ``size`` is a whole number of pixels, at least 32."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 32:
        raise ValueError(f"size={size!r}: expected a whole number of pixels, at least 32.")


def _check(size, view):
    check_size(size)
    if view not in VIEWS:
        raise ValueError(f"view={view!r}: expected one of {', '.join(VIEWS)}.")
