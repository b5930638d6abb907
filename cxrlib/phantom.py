"""The phantom: synthetic frontal chest radiographs whose truth is known exactly.

Nothing here is a photograph. A patient is a handful of numbers in centimetres, a finding is a
change of those numbers or of what the beam meets, and a radiograph is what Beer and Lambert say
is left of the beam:

    draw_patient, draw_study   →  who, which findings, how the picture is taken   (no pixels)
    anatomy                    →  where the organs lie, in cm                     (no pixels)
    expose                     →  cm of water-equivalent tissue, pixel by pixel
    develop                    →  photons, noise, window, grey levels: the uint8 image

Coordinates are in cm: x to the patient's left (right in the image), y downwards, the origin in
the middle of the chest. Attenuation is counted in *cm of water that would absorb as much*, so
that tissues simply add up, and air is tissue taken away.

Two simplifications serve teaching. Scatter, window and contrast are computed from the same
patient's chest without findings, so that a finding changes pixels only where it lies and its
mask is exact. And a finding's place belongs to the patient, so that studies of one patient show
the same lesion grow or fade.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from scipy import ndimage

from cxrlib.labels import OBSERVATIONS

FINDINGS = OBSERVATIONS[1:]
"""The 13 observations that can be drawn: all but No Finding."""

IMPLIES = {
    "Cardiomegaly": "Enlarged Cardiomediastinum",
    "Pneumonia": "Consolidation",
    "Consolidation": "Lung Opacity",
    "Edema": "Lung Opacity",
    "Atelectasis": "Lung Opacity",
    "Lung Lesion": "Lung Opacity",
}
"""Who shows the key shows the value: the edges between observations that the truth obeys."""

OTHERS = ("hernia", "granulomas", "scoliosis", "raised diaphragm", "emphysema")
"""Abnormalities outside the 14. A study with one of these and nothing else has no label at all."""

# What a cause brings: its share of patients, then the probability of each finding drawn with it.
CAUSES = {
    "none": (0.22, {"Support Devices": 0.14, "Fracture": 0.02, "Pleural Other": 0.02}),
    "heart failure": (
        0.17,
        {"Cardiomegaly": 0.62, "Edema": 0.70, "Pleural Effusion": 0.60, "Atelectasis": 0.18}
        | {"Support Devices": 0.50, "Enlarged Cardiomediastinum": 0.08},
    ),
    "infection": (
        0.14,
        {"Pneumonia": 0.55, "Consolidation": 0.12, "Lung Opacity": 0.30, "Atelectasis": 0.20}
        | {"Pleural Effusion": 0.35, "Support Devices": 0.35, "Edema": 0.06},
    ),
    "trauma": (
        0.10,
        {"Fracture": 0.68, "Pneumothorax": 0.36, "Pleural Effusion": 0.25, "Lung Opacity": 0.25}
        | {"Support Devices": 0.50, "Enlarged Cardiomediastinum": 0.14, "Atelectasis": 0.15},
    ),
    "cancer": (
        0.10,
        {"Lung Lesion": 0.72, "Pleural Effusion": 0.40, "Enlarged Cardiomediastinum": 0.22}
        | {"Atelectasis": 0.22, "Pleural Other": 0.16, "Support Devices": 0.30},
    ),
    "intensive care": (
        0.13,
        {"Support Devices": 0.95, "Edema": 0.40, "Pleural Effusion": 0.50, "Atelectasis": 0.38}
        | {"Consolidation": 0.26, "Lung Opacity": 0.28, "Pneumothorax": 0.13, "Cardiomegaly": 0.12},
    ),
    "surgery": (
        0.06,
        {"Support Devices": 0.88, "Atelectasis": 0.45, "Pleural Effusion": 0.45}
        | {"Pneumothorax": 0.34, "Enlarged Cardiomediastinum": 0.28, "Cardiomegaly": 0.15},
    ),
    "chronic lung disease": (
        0.08,
        {"Pleural Other": 0.62, "Lung Opacity": 0.30, "Lung Lesion": 0.15, "Pneumothorax": 0.14}
        | {"Support Devices": 0.15, "Fracture": 0.10},
    ),
}

P_OTHER = 0.21  # of the studies without any of the 13, those that show something else instead
P_STUDIES = (0.50, 0.25, 0.15, 0.10)  # of patients with 1, 2, 3 and 4 studies

# --- A patient and a study: numbers, no pixels ----------------------------------------------------


@dataclass(frozen=True)
class Patient:
    """What stays the same from study to study. Lengths in cm."""

    seed: int  # fixes what has no number of its own: the vessels' course, a finding's place
    sex: str  # "Female" or "Male"
    age: int  # years
    cause: str  # why the patient is imaged: a key of CAUSES
    habitus: float  # 0 thin … 1 obese
    chest: float  # half the width between the ribs' inner sides
    lungs: float  # height from apex to dome in full inspiration
    heart: float  # half the heart's width, as a share of `chest`
    aorta: float  # 0 hidden … 1 unfolded
    curve: float  # scoliosis: how far the spine strays from the midline
    rib_slope: float  # how steeply the ribs fall
    rib_size: float  # half a rib's height


@dataclass(frozen=True)
class Study:
    """One frontal radiograph: the patient, the findings, and how the picture is taken."""

    patient: Patient
    number: int  # 1, 2, …
    seed: int  # of the noise
    projection: str  # "PA" standing, "AP" lying or sitting: larger heart, higher diaphragm
    inspiration: float  # 0 shallow … 1 deep
    rotation: float  # −1 … 1, the patient turned to the right … left
    tilt: float  # degrees in the image plane
    shift: tuple[float, float]  # cm by which the patient is off centre
    field: float  # cm of patient across the image
    arms: float  # −1 hanging at the sides … 1 lifted out of the picture
    scatter: float  # scattered over direct photons
    photons: float  # mean count behind the lungs: fewer, noisier
    enhancement: float  # 0 … 1, how much slow changes of brightness are flattened
    window: tuple[float, float]  # share of the range cut off below, added above
    gamma: float  # of the tone curve
    border: tuple[float, float, float, float]  # collimated share: left, top, right, bottom
    marker: str  # burnt-in letter(s), may be empty
    drawn: Mapping[str, float] = field(default_factory=dict, hash=False)  # finding → severity
    other: str = ""  # one of OTHERS, or empty

    def __post_init__(self):
        for name, severity in self.drawn.items():
            if name not in FINDINGS or not 0 < severity <= 1:
                raise ValueError(
                    f"drawn={{{name!r}: {severity!r}}}: expected a severity above 0, at most 1, "
                    f"for some of {', '.join(FINDINGS)}."
                )
        if self.other and self.other not in OTHERS:
            raise ValueError(f"other={self.other!r}: expected one of {', '.join(OTHERS)}, or ''.")

    @property
    def severity(self):
        """Severity in (0, 1] of every finding present, the implied ones included."""
        severity = {}
        for name, value in self.drawn.items():
            while name:
                severity[name] = max(severity.get(name, 0.0), value)
                name = IMPLIES.get(name)
        return {name: severity[name] for name in FINDINGS if name in severity}

    @property
    def truth(self):
        """1 or 0 for each of the 14 observations."""
        present = self.severity
        normal = not self.other and not set(present) - {"Support Devices"}
        return {"No Finding": int(normal)} | {name: int(name in present) for name in FINDINGS}


def draw_patient(rng):
    """Draw a patient with ``rng`` (a ``numpy.random.Generator``)."""
    cause = str(rng.choice(list(CAUSES), p=[share for share, _ in CAUSES.values()]))
    sex = str(rng.choice(["Female", "Male"], p=[0.41, 0.59]))
    age = int(np.clip(rng.normal(42 if cause == "trauma" else 62, 17), 18, 95))
    habitus = float(np.clip(rng.beta(2, 2.6) + (0.08 if cause == "heart failure" else 0), 0, 1))
    male = sex == "Male"
    return Patient(
        seed=int(rng.integers(2**31)),
        sex=sex,
        age=age,
        cause=cause,
        habitus=habitus,
        chest=float(rng.normal(14.1 if male else 12.7, 0.75)),
        lungs=float(rng.normal(26.0 if male else 23.5, 1.5)),
        heart=float(rng.normal(0.435 + 0.02 * habitus, 0.024)),
        aorta=float(np.clip(rng.normal((age - 30) / 70, 0.22), 0, 1)),
        curve=float(rng.normal(0, 0.35)),
        rib_slope=float(rng.normal(1.0, 0.16)),
        rib_size=float(rng.normal(0.52 if male else 0.46, 0.05)),
    )


def draw_study(rng, patient, number, previous=None):
    """Draw study ``number`` of ``patient``; ``previous``, the study before it, makes it follow."""
    drawn = _draw_findings(rng, patient) if previous is None else _progress(rng, previous)
    other = "" if previous is None else previous.other
    if not drawn and previous is None and rng.random() < P_OTHER:
        other = str(rng.choice(OTHERS))
    illness = sum(drawn.values())
    lying = rng.random() < 1 / (1 + math.exp(1.2 - 1.3 * illness))
    corner = rng.random()
    return Study(
        patient=patient,
        number=number,
        seed=int(rng.integers(2**31)),
        projection="AP" if lying else "PA",
        inspiration=float(np.clip(rng.normal(0.45 if lying else 0.75, 0.2), 0, 1)),
        rotation=float(np.clip(rng.normal(0, 0.45 if lying else 0.25), -1, 1)),
        tilt=float(rng.normal(0, 2.5 if lying else 1.2)),
        shift=(float(rng.normal(0, 0.7)), float(rng.normal(-0.9, 1.1))),
        field=float(np.clip(rng.normal(35.5 + 3.5 * patient.habitus, 2.0), 31, 43)),
        arms=float(rng.uniform(-1, 0.3) if lying else rng.uniform(-0.3, 1)),
        scatter=float(rng.uniform(0.1, 0.4) + 0.35 * patient.habitus + 0.15 * lying),
        photons=float(np.exp(rng.uniform(np.log(3000), np.log(40000)))),
        enhancement=float(rng.uniform(0, 0.7)),
        window=(float(rng.uniform(0.25, 0.85)), float(rng.uniform(-0.05, 0.3))),
        gamma=float(np.exp(rng.normal(0.38, 0.22))),
        border=tuple(float(b) for b in rng.uniform(-0.15, 0.06, 4)),
        marker=("L" if corner < 0.6 else "R" if corner < 0.75 else "")
        + "AP" * (corner < 0.2 and lying),
        drawn=drawn,
        other="" if drawn else other,
    )


def draw_studies(rng):
    """Draw a patient and all their studies: a list of 1 to 4 studies."""
    patient = draw_patient(rng)
    studies = [draw_study(rng, patient, 1)]
    for number in range(2, 2 + int(rng.choice(len(P_STUDIES), p=P_STUDIES))):
        studies.append(draw_study(rng, patient, number, previous=studies[-1]))
    return studies


def _draw_severity(rng):
    # One distribution for every finding: most are moderate, few are gross.
    return float(0.15 + 0.85 * rng.beta(2.0, 1.6))


def _draw_findings(rng, patient):
    _, probabilities = CAUSES[patient.cause]
    present = [name for name, p in probabilities.items() if rng.random() < p]
    return {name: _draw_severity(rng) for name in FINDINGS if name in present}


def _progress(rng, previous):
    """The next study's findings: each may heal, fade or grow; now and then one is new."""
    drawn = {}
    for name, severity in previous.drawn.items():
        if rng.random() > 0.12:
            drawn[name] = float(np.clip(severity * np.exp(rng.normal(0, 0.3)), 0.15, 1))
    for name, severity in _draw_findings(rng, previous.patient).items():
        if rng.random() < 0.2 and not previous.other:
            drawn.setdefault(name, severity)
    return {name: drawn[name] for name in FINDINGS if name in drawn}


# --- Anatomy: where the organs lie, in cm ---------------------------------------------------------


@dataclass(frozen=True)
class Anatomy:
    """The organs of one study, in cm. Geometry only: any view could be taken of it."""

    chest: float  # half-width between the ribs' inner sides
    apex: float  # y of the lungs' upper end
    domes: tuple[float, float]  # y of the right and left diaphragm at its highest
    flat: float  # height of a dome over its sulcus
    base: float  # y on which the heart rests
    middle: float  # x by which rotation moves the mediastinum off the spine
    spine: float  # sideways amplitude of the spine
    heart: float  # half-width of the heart
    vessels: float  # width of the great vessels over the heart, 1 = usual
    bulge: tuple[float, float]  # widening of the mediastinum to the right and left
    knob: float  # radius of the aortic arch
    soft: float  # soft tissue outside the ribs
    depth: float  # front to back
    breaks: tuple = ()  # fractures: (rib, side, distance from the spine, step, callus)


def anatomy(study, drawn=None):
    """Lay out the organs of ``study`` with the findings ``drawn`` (default: its own)."""
    p, lying = study.patient, study.projection == "AP"
    drawn = study.drawn if drawn is None else drawn
    rng = _rng(p.seed, 0)
    breath = (study.inspiration - 0.75) * 4.0 - 1.6 * lying - 1.2 * p.habitus
    dome = p.lungs / 2 - 1.5 + breath + rng.normal(0, 0.4)
    domes = [dome, dome + rng.normal(0.9, 0.45)]
    a = Anatomy(
        chest=p.chest * (1 + 0.02 * study.inspiration),
        apex=-p.lungs / 2 - 1.2,
        domes=tuple(domes),
        flat=rng.uniform(3.6, 5.4),
        base=max(domes),
        middle=1.1 * study.rotation,
        spine=p.curve,
        heart=p.chest * p.heart * (1.11 if lying else 1.0) * (1.05 - 0.07 * study.inspiration),
        vessels=rng.uniform(0.88, 1.12) * (1.12 if lying else 1.0) + 0.1 * p.habitus,
        bulge=(0.0, 0.0),
        knob=1.3 + 0.8 * p.aorta,
        soft=1.0 + 4.2 * p.habitus**1.3,
        depth=(19 if p.sex == "Male" else 17) + 9 * p.habitus,
    )
    a = _other_geometry(a, study.other, _rng(p.seed, 1))
    for name, change in GEOMETRY.items():
        if name in drawn:
            a = change(a, drawn[name], _finding_rng(study, name))
    return a


def _other_geometry(a, other, rng):
    if other == "scoliosis":
        return replace(a, spine=float(rng.choice([-1, 1]) * rng.uniform(1.6, 2.8)))
    if other == "raised diaphragm":
        side, rise = int(rng.random() < 0.3), rng.uniform(2.5, 4.5)
        return replace(a, domes=tuple(d - rise * (i == side) for i, d in enumerate(a.domes)))
    if other == "emphysema":
        return replace(a, domes=(a.domes[0] + 2.6, a.domes[1] + 2.6), flat=0.9, heart=a.heart * 0.8)
    return a


def _rng(seed, *keys):
    return np.random.default_rng([seed, *keys])


def _finding_rng(study, name):
    return _rng(study.patient.seed, 100 + FINDINGS.index(name))


def _sides(rng, both):
    """Sides struck: −1 the patient's right, +1 the left; both with probability ``both``."""
    return (-1, 1) if rng.random() < both else (int(rng.choice([-1, 1])),)


# Findings that move organs: functions of the anatomy, the severity and a generator.


def _enlarge_heart(a, severity, rng):
    return replace(a, heart=a.heart * (1.05 + 0.31 * severity))


def _widen_mediastinum(a, severity, rng):
    width = 0.5 + 2.4 * severity
    right, left = [(1, 0.25), (0.25, 1), (0.7, 0.7)][rng.integers(3)]
    return replace(a, bulge=(width * right, width * left))


def _lose_volume(a, severity, rng):
    side = _sides(rng, 0)[0]
    rise = 0.4 + 2.0 * severity
    return replace(a, domes=tuple(d - rise * (i == (side > 0)) for i, d in enumerate(a.domes)))


def _break_ribs(a, severity, rng):
    side = _sides(rng, 0)[0]
    first = int(rng.integers(2, 5))
    breaks = []
    for rib in range(first, first + 3 + round(3 * severity)):
        step = float(rng.choice([-1, 1])) * (0.5 + 0.9 * severity)
        breaks.append((rib, side, rng.uniform(0.55, 0.9), step, 1.5 + 2.8 * severity))
    return replace(a, breaks=tuple(breaks))


GEOMETRY = {
    "Enlarged Cardiomediastinum": _widen_mediastinum,
    "Cardiomegaly": _enlarge_heart,
    "Atelectasis": _lose_volume,
    "Fracture": _break_ribs,
}

# --- Exposure: what the beam meets, pixel by pixel ------------------------------------------------


@dataclass
class Chest:
    """Maps [H, W] of what the beam meets, in patient coordinates. Float32, cm of water."""

    a: Anatomy
    study: Study
    x: np.ndarray  # cm
    y: np.ndarray  # cm
    pixel: float  # cm
    side: np.ndarray = None  # −1 right, +1 left of the mediastinum's middle
    wall: np.ndarray = None  # distance inwards from the chest wall or the apex
    floor: np.ndarray = None  # distance upwards from the diaphragm
    body: np.ndarray = None  # soft tissue, as if the chest held no air
    air: np.ndarray = None  # air in the lungs, taken away from `body`
    clear: np.ndarray = None  # share of that air not displaced by tissue or fluid, 0 … 1
    vessels: np.ndarray = None  # lung vessels
    bone: np.ndarray = None
    added: float | np.ndarray = 0.0  # anything else in the way
    unmoved: tuple = ()  # layers that are the same with and without findings

    def inside(self, distance, softness=0.0):
        """1 where ``distance`` (cm) is positive, 0 where negative, over ``softness`` cm between."""
        return np.clip(distance / max(softness, self.pixel) + 0.5, 0, 1)

    def fill(self, share):
        """Displace ``share`` (0 … 1) of the air that is left."""
        self.clear = self.clear * (1 - np.clip(share, 0, 1))

    def water(self):
        """All tissue along each ray, in cm of water."""
        aerated = np.minimum(self.air / 6, 1) * self.clear
        lungs = self.vessels * aerated - 0.8 * self.air * self.clear
        return np.maximum(self.body + lungs + self.bone + self.added, 0).astype(np.float32)


def _wall_at(a, y):
    """Half-width of the chest cavity at height y: narrow at the apex, widest near the base."""
    t = np.clip((y - a.apex) / 23, 0, 1)
    return a.chest * np.sqrt(np.clip(1 - (1 - t) ** 2, 1e-4, 1)) ** 0.9 * (1 - 0.04 * t)


def _spine_at(a, y):
    return a.spine * np.sin((y + 6) / 7.5)


def _ellipse(x, y, rx, ry, angle=0.0):
    """1 at the middle of an ellipse, 0 on its outline, negative outside."""
    c, s = math.cos(angle), math.sin(angle)
    u, v = (x * c + y * s) / rx, (y * c - x * s) / ry
    return 1 - np.sqrt(u * u + v * v)


def _texture(c, rng, scale, waves=10):
    """A smooth random field of mean 0 and variance 1 whose bumps are about ``scale`` cm wide."""
    total = np.zeros_like(c.x)
    for angle, stretch, phase in rng.uniform([0, 0.35, 0], [np.pi, 2.0, 2 * np.pi], (waves, 3)):
        k = np.float32(np.pi / scale * stretch)
        total += np.cos(k * math.cos(angle) * c.x + k * math.sin(angle) * c.y + np.float32(phase))
    return total * np.float32(math.sqrt(2 / waves))


def _splat(c, points, weights):
    """Drop ``weights`` (cm³ of water) at ``points`` [N, 2] (cm), each shared by four pixels."""
    size = c.x.shape[0]
    wide = size + 3  # a margin takes what falls outside the picture
    row, col = (np.clip(at, -1, size) + 1 for at in _to_pixels(c.study, size, points))
    r0, c0 = row.astype(int), col.astype(int)
    first, down, right = r0 * wide + c0, row - r0, col - c0
    total = np.zeros(wide * wide)
    for dr, dc in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = weights * (down if dr else 1 - down) * (right if dc else 1 - right)
        total += np.bincount(first + (dr * wide + dc), share, wide * wide)
    return (total / c.pixel**2).reshape(wide, wide)[1:-2, 1:-2].astype(np.float32)


def _tubes(c, paths, radii):
    """Thickness (cm) [H, W] of solid tubes.

    Parameters
    ----------
    paths : [N, n, 2] cm, N tubes of n points each.
    radii : cm, broadcast to [N, n], so a tube may taper.
    """
    paths = np.asarray(paths, float)
    radii = np.broadcast_to(radii, paths.shape[:2])
    lengths = np.hypot(*np.moveaxis(np.diff(paths, axis=1), 2, 0))
    finer = int(np.ceil(lengths.max() / (0.6 * c.pixel)))
    t = np.arange((paths.shape[1] - 1) * finer) / finer
    k, f = t.astype(int), (t % 1)[:, None]
    line = paths[:, k] * (1 - f) + paths[:, k + 1] * f
    radius = radii[:, k] * (1 - f[:, 0]) + radii[:, k + 1] * f[:, 0]
    step = lengths[:, k] / finer
    normal = (paths[:, k + 1] - paths[:, k])[..., ::-1] * [-1, 1] / (lengths[:, k, None] + 1e-9)
    across = int(np.clip(radius.max() / c.pixel * 4, 2, 12))
    offset = (np.arange(across) + 0.5) / across * 2 - 1
    points = line[..., None, :] + normal[..., None, :] * (offset * radius[..., None])[..., None]
    chord = np.sqrt(1 - offset**2)
    chord *= np.pi / chord.sum()  # the tube's volume is right however few the samples
    weights = chord * (radius**2 * step)[..., None]
    return _splat(c, points.reshape(-1, 2), weights.ravel())


def _smooth_path(points, count=24):
    """A Bézier curve [count, ...] from the first to the last of the control ``points`` [n, ...]."""
    t, n = np.linspace(0, 1, count), len(points) - 1
    weights = [math.comb(n, k) * t**k * (1 - t) ** (n - k) for k in range(n + 1)]
    return np.tensordot(weights, np.asarray(points, float), axes=(0, 0))


def _grid(study, size):
    """Patient coordinates x, y [H, W] in cm of every pixel's centre."""
    axis = ((np.arange(size) + 0.5) / size - 0.5) * study.field
    u, v = np.meshgrid(axis - study.shift[0], axis - study.shift[1])
    c, s = math.cos(math.radians(study.tilt)), math.sin(math.radians(study.tilt))
    return (c * u + s * v).astype(np.float32), (c * v - s * u).astype(np.float32)


def _to_pixels(study, size, points):
    """The inverse of ``_grid``: rows and columns (fractional) of ``points`` [N, 2] in cm."""
    c, s = math.cos(math.radians(study.tilt)), math.sin(math.radians(study.tilt))
    u = c * points[:, 0] - s * points[:, 1] + study.shift[0]
    v = s * points[:, 0] + c * points[:, 1] + study.shift[1]
    return (v / study.field + 0.5) * size - 0.5, (u / study.field + 0.5) * size - 0.5


# The healthy chest, layer by layer.


def _body(c):
    a, ax, arms = c.a, np.abs(c.x), c.study.arms
    half = a.chest + 2.4 + a.soft * (0.7 + 0.3 * np.clip(c.y / 12, 0, 1))
    torso = (a.depth + 0.12 * np.clip(c.y, 0, 12)) * np.sqrt(np.clip(1 - (ax / half) ** 4, 0, 1))
    neck = 13.0 * np.sqrt(np.clip(1 - (c.x / (5.8 + 0.4 * a.soft)) ** 2, 0, 1))
    # Trapezius and shoulder: the outline slopes down from the neck and rounds off over the arm.
    out = np.clip(ax - 4.5, 0, 30)
    top = a.apex - 3.0 - 0.5 * a.soft + 0.30 * out + 0.02 * np.clip(out - 11, 0, 9) ** 2
    below = np.clip((c.y - top) / 6.0, 0, 1)
    girdle = (13.0 + 0.5 * a.soft) * np.sqrt(below)
    # Arms hang into the picture, or are lifted out of it and leave the armpit's hollow.
    armpit = 2.0 - 4.0 * arms + 0.7 * (ax - a.chest - a.soft)
    girdle = girdle * c.inside(armpit - c.y, 4.0)
    arm_x = a.chest + 6.2 + 0.9 * a.soft + 1.5 * arms + 0.10 * (c.y + 8)
    arm = 9.0 * np.sqrt(np.clip(1 - ((ax - arm_x) / (4.0 + 0.5 * a.soft)) ** 2, 0, 1))
    arm = arm * np.sqrt(np.clip((c.y + 9) / 6, 0, 1)) * (arms < 0.3)
    torso = torso * np.sqrt(below)
    return _smooth_max(_smooth_max(torso, neck), np.maximum(girdle, arm)) + _breasts(c)


def _smooth_max(one, two, softness=2.5):
    """The larger of two maps, rounded where they meet within ``softness`` cm."""
    near = np.clip(1 - np.abs(one - two) / (2 * softness), 0, 1) * ((one > 0) | (two > 0))
    return np.maximum(one, two) + 0.5 * softness * near * near


def _breasts(c):
    p, a = c.study.patient, c.a
    rng = _rng(p.seed, 2)
    size = rng.uniform(0.75, 1.15) * (0.8 + 0.6 * p.habitus)
    if p.sex == "Male":
        size *= 0.5 if p.habitus > 0.5 else 0.0
    total = np.zeros_like(c.x)
    if not size:
        return total
    for side in (-1, 1):
        cx, cy = side * a.chest * rng.uniform(0.58, 0.68), rng.uniform(3.2, 5.2) + 2.2 * p.habitus
        u, v = (c.x - cx) / (6.2 * size), (c.y - cy) / (5.6 * size)
        # Crisp at the fold below, thinning out above and beside it.
        thick = np.clip(1 - u * u - np.where(v > 0, v, 0.6 * v) ** 2, 0, 1)
        total += 4.2 * size * (thick + np.clip(2 * v, 0, 1) * (np.sqrt(thick) - thick))
    return total


def _lungs(c):
    a = c.a
    spine = _spine_at(a, c.y)
    x = c.x - 0.4 * spine - 0.25 * a.middle
    c.side, ax = np.sign(x), np.abs(x)
    width = _wall_at(a, c.y)
    top = a.apex + 0.11 * np.clip(4.8 - ax, 0, 5) ** 2
    c.wall = np.minimum(width - ax, (c.y - top) * 0.9)
    dome = np.where(x < 0, *np.float32(a.domes))
    reach = (ax - 0.45 * a.chest) / (0.57 * a.chest)
    sulcus = dome + a.flat * (1 - np.sqrt(np.clip(1 - reach**2, 0.05, 1)))
    c.floor = sulcus - c.y
    lung = c.inside(c.wall, 0.5) * c.inside(c.floor, 0.4)
    # Behind the dome the lung reaches farther down than its outline: a trace of air below it.
    lung = lung + 0.10 * c.inside(c.wall, 0.8) * c.inside(c.floor + 2.2, 3.5) * (c.floor < 0)
    deep = np.sqrt(np.clip(1 - (ax / (width + 0.3)) ** 2, 0.0, 1))
    thin = 0.45 + 0.55 * np.clip((c.y - a.apex) / 9, 0, 1)
    more = 1.12 if c.study.other == "emphysema" else 1.0
    c.air = (0.40 * a.depth + 5.4) * more * (0.35 + 0.65 * deep) * thin * lung
    c.clear = np.ones_like(c.x)


def _mediastinum(c):
    """Heart and great vessels, by the x of their right and left outline at each height."""
    a = c.a
    rng = _rng(c.study.patient.seed, 3)
    x = c.x - a.middle * (0.6 + 0.03 * c.y)
    v, h, base = a.vessels, a.heart, a.base
    wide_r, wide_l = rng.uniform(0.85, 1.15, 2) * v
    right = [
        (a.apex - 2, 1.9),
        (-7, 2.3 * wide_r + 0.8 * a.bulge[0]),
        (-3, 2.5 * wide_r + a.bulge[0]),
        (0.5, 2.7 * wide_r + 0.35 * a.bulge[0]),
        (base - 0.75 * h, 0.58 * h),
        (base - 0.25 * h, 0.56 * h),
        (base + 2, 0.40 * h),
    ]
    left = [
        (a.apex - 2, 1.7),
        (-8, 2.2 * wide_l + 0.7 * a.bulge[1]),
        (-5.6, 1.9 * wide_l + 0.8 * a.knob + a.bulge[1]),
        (-3.2, 2.1 * wide_l + 0.4 * a.knob + a.bulge[1]),
        (-0.6, 2.6 * wide_l + 0.5 + 0.35 * a.bulge[1]),
        (base - 0.95 * h, 0.70 * h),
        (base - 0.40 * h, 1.24 * h),
        (base - 0.05 * h, 1.42 * h),
        (base + 2, 1.30 * h),
    ]
    depth = np.minimum(_outline(c, left) - x, _outline(c, right) + x)
    # Crisp where the heart borders on lung, blurred above, where vessels recede from the beam.
    blurred = np.clip((-3 - c.y) / 6, 0, 1)
    edge = np.clip((depth - 0.1) / (0.45 + 1.3 * blurred) + 0.5, 0, 1)
    c.fill((0.62 - 0.14 * blurred + 0.26 * np.clip(depth / 4, 0, 1)) * edge)
    aorta = np.exp(-(((x - 1.9 * v - 0.3) / 0.35) ** 2)) * c.inside(c.y + 4, 1.0)
    c.fill(0.22 * aorta)
    # Gas in the windpipe and the two main bronchi.
    airway = [[[a.middle * 0.8, -20], [a.middle, -2.2]]]
    airway += [[[a.middle, -2.4], [a.middle - 2.6, 0.2]], [[a.middle, -2.4], [a.middle + 3.2, 0.0]]]
    c.added = c.added - 1.1 * _tubes(c, airway, [[0.85], [0.55], [0.5]])


def _outline(c, points):
    """A smooth curve x(y) through ``points`` (y, x), which need not be in order, at every pixel."""
    y, x = np.array(sorted(points)).T
    fine = np.linspace(y[0] - 3, y[-1] + 3, 128)
    smooth = np.convolve(np.interp(fine, y, x), SMOOTHING, mode="same")
    return np.interp(c.y, fine[6:-6], smooth[6:-6]).astype(np.float32)


SMOOTHING = np.hanning(13)[1:-1] / np.hanning(13).sum()


def _gut(c):
    a, rng = c.a, _rng(c.study.seed, 4)
    if rng.random() < 0.6:
        y = a.domes[1] + rng.uniform(2.0, 3.2)
        r = rng.uniform(0.9, 2.6)
        gas = _ellipse(c.x - rng.uniform(4.5, 7.5), c.y - y, 1.3 * r, 0.8 * r)
        c.added = c.added - rng.uniform(2, 4.5) * np.sqrt(np.clip(gas, 0, 1))
    if rng.random() < 0.6:
        loops = np.clip(_texture(c, rng, 2.2) - 0.9, 0, 1.2) * c.inside(-c.floor - 3.5, 3)
        c.added = c.added - 1.2 * loops


def _spine(c):
    a, rng = c.a, _rng(c.study.patient.seed, 5)
    x, step = c.x - _spine_at(a, c.y), 2.35
    phase = np.mod(c.y + rng.uniform(0, step), step) / step
    disc = np.exp(-(((phase - 0.5) / 0.12) ** 2))
    body = c.inside(1.6 + 0.02 * (c.y + 12) - np.abs(x), 0.9) * (1.2 - 0.55 * disc)
    pedicles = np.exp(-(((np.abs(x) - 1.0) / 0.3) ** 2) - ((phase - 0.12) / 0.13) ** 2)
    spinous = np.exp(-((x / 0.28) ** 2) - ((phase - 0.8) / 0.14) ** 2)
    return body + 0.4 * (pedicles + spinous)


def _ribs(c):
    """Ten pairs of ribs. A rib is a tilted ring: its back half is seen above, its front below."""
    p, a = c.study.patient, c.a
    rng = _rng(p.seed, 6)
    x_all = c.x - 0.5 * _spine_at(a, c.y)
    highest, lowest = c.y.min(axis=1), c.y.max(axis=1)
    pitch = (p.lungs + 1.5) / 10.6 * rng.uniform(0.94, 1.05)
    total = np.zeros_like(c.x)
    for i in range(10):
        start = a.apex - 0.6 + pitch * i + rng.normal(0, 0.12)
        fall = (2.8 + 0.62 * min(i, 6)) * p.rib_slope
        drop = (1.5 + 0.42 * i) * p.rib_slope
        right, left = rng.normal(0, 0.25, 2).tolist()
        radius = p.rib_size * rng.uniform(0.88, 1.1)
        cartilage = rng.uniform(0.42, 0.52)
        width = float(_wall_at(a, start + fall + 0.7)) + 0.35
        # Only the rows that this rib can cross.
        rows = (lowest > start - 3) & (highest < start + fall + drop + 4)
        x, y = x_all[rows], c.y[rows]
        ax, side = np.abs(x), np.sign(x)
        s = np.minimum(ax / width, 0.9999)
        q = np.sqrt(1 - s * s)
        turn = s / np.maximum(q, 0.2)
        ends = c.inside(width - ax, 0.3)

        lean = (left + right) / 2 + side * ((left - right) / 2 + 0.3 * c.study.rotation)
        shift, dense = _broken(s, side, width, [b for b in a.breaks if b[0] == i])
        back = start + (fall + lean) * (0.35 * s * s + 0.65 * (1 - q)) - 0.35 * np.sin(3 * s)
        steep = (fall * (0.7 * s + 0.65 * turn) / width) ** 2
        bone = dense * _rib(c, y - back - shift, steep, radius) * c.inside(ax - 1.6, 0.8)
        if i:
            # The front half lies farther down, is fainter, and gives way to cartilage.
            front = start + fall + drop * q + 0.9 * (1 - s) * i**0.5
            rib = _rib(c, y - front, (drop * turn / width) ** 2, 1.1 * radius)
            bone += 0.6 * rib * c.inside(s - cartilage, 0.25)
        total[rows] += bone * ends
    return total


def _rib(c, offset, steep, radius):
    """Thickness of a rib, a tube with a dense rim, whose centre line runs ``offset`` cm above."""
    d = np.abs(offset) / np.sqrt(1 + steep)
    rim = np.clip(1 - np.abs(d - radius + 0.12) / max(0.2, 0.8 * c.pixel), 0, 1)
    return 0.62 * c.inside(radius - d, 0.25) + 0.40 * rim


def _broken(s, side, width, breaks):
    """How the ``breaks`` of a rib shift its far fragment (cm), and scale its density."""
    shift, dense = 0.0, 1.0
    for _, where, at, step, callus in breaks:
        beyond = (s - at) * width
        here = side == where
        shift = shift + here * (beyond > 0) * step * np.exp(-np.maximum(beyond, 0) / 2.5)
        bump, gap = np.exp(-((beyond / 1.0) ** 2)), np.exp(-((beyond / 0.22) ** 2))
        dense = dense + here * (callus * bump - (1 + callus) * gap)
    return shift, np.maximum(dense, 0)


def _girdle_bones(c):
    """Collarbones, shoulder blades and upper arms."""
    a, rng = c.a, _rng(c.study.patient.seed, 7)
    lying = c.study.projection == "AP"
    high = a.apex + rng.uniform(4.4, 6.0) - 1.2 * lying
    clavicles, bones = [], np.zeros_like(c.x)
    for side in (-1, 1):
        inner = [side * 1.6 + 1.4 * a.middle, high]
        rise = rng.uniform(3.2, 4.6) - 0.9 * lying
        middle = [[side * 6, high + 0.3], [side * (a.chest - 3), high - 1.1 * rise]]
        clavicles.append(_smooth_path([inner, *middle, [side * (a.chest + 3.0), high - rise]]))
        # Arms forward turn the shoulder blades off the lungs; lying down they stay on them.
        inner_x = a.chest * (0.72 if lying else 0.98) + 0.25 * (c.y - a.apex)
        x, y = side * c.x, c.y - a.apex - 2.2
        blade = np.minimum(np.minimum(x - inner_x, y), inner_x + 7 - 0.55 * y - x)
        rim = np.clip(1 - np.abs(blade - 0.15) / 0.4, 0, 1)
        bones += 0.45 * c.inside(blade, 0.5) + 0.45 * rim
        head = _ellipse(x - a.chest - 4.6, y - 1.0, 2.3, 2.5)
        bones += 1.4 * np.clip(1.5 * head, 0, 1)
        shaft = np.abs(x - a.chest - 5.6 - 0.1 * y - (1 + c.study.arms))
        bones += 1.2 * c.inside(1.1 - shaft, 0.4) * c.inside(y - 3, 2) * (c.study.arms < 0.55)
    return bones + 1.05 * _tubes(c, clavicles, rng.uniform(0.5, 0.65))


def _vessels(c):
    """Arteries and veins: trees from each hilum, every branch thinner than the last."""
    a, rng = c.a, _rng(c.study.patient.seed, 8)
    side = np.repeat([-1.0, 1.0], 8)
    angle = np.tile(np.linspace(-1.3, 1.4, 8), 2) + rng.normal(0, 0.12, 16)
    height = 1.9 * angle - 0.4 * side + rng.normal(0, 0.3, 16)
    start = np.stack([side * 2.2 + a.middle, height], 1)
    length, radius = rng.uniform(2.6, 4.2, 16), rng.uniform(0.30, 0.44, 16)
    total = np.zeros_like(c.x)
    for _ in range(4):
        heading = np.stack([side * np.cos(angle), np.sin(angle)], 1) * length[:, None]
        bend = heading[:, ::-1] * [-1, 1] * rng.normal(0, 0.2, (len(angle), 1))
        end = start + heading
        curve = _smooth_path([start, (start + end) / 2 + bend, end], 6)
        total += _tubes(c, np.moveaxis(curve, 0, 1), radius[:, None] * np.linspace(1, 0.75, 6))
        fork = rng.uniform(0.15, 0.6, (2, len(angle))) * [[-1], [1]]
        angle = np.concatenate(angle + fork)
        length = np.tile(length, 2) * rng.uniform(0.6, 0.9, len(angle))
        side, start, radius = np.tile(side, 2), np.tile(end, (2, 1)), np.tile(radius * 0.72, 2)
    for where in (-1, 1):
        x, y = c.x - where * 3.2 - a.middle, c.y + 0.4 * where - 0.6
        total += 1.1 * np.exp(-((x / 1.2) ** 2) - (y / 2.2) ** 2)
    # Branches too fine to follow make the lungs uneven.
    return 2.3 * total + 0.3 * _texture(c, rng, 1.2)


# Findings that change what the beam meets: functions of the chest, the severity, a generator.


def _blob(c, rng, centre, radii, rough=0.3):
    """A region with an irregular, soft outline: 1 inside, 0 outside."""
    d = _ellipse(c.x - centre[0], c.y - centre[1], *radii, rng.uniform(-0.5, 0.5))
    return np.clip((d + rough * 0.5 * _texture(c, rng, 0.7 * min(radii))) / 0.45 + 0.3, 0, 1)


def _site(c, rng, side, low, high):
    """A point in a lung, between the shares ``low`` and ``high`` of its height."""
    dome = c.a.domes[int(side > 0)]
    y = c.a.apex + rng.uniform(low, high) * (dome - c.a.apex)
    x = rng.uniform(4.5, max(5.5, float(_wall_at(c.a, y)) - 2.0))
    return side * x, y


def _hazy_opacity(c, severity, rng):
    for side in _sides(rng, 0.35):
        centre, size = _site(c, rng, side, 0.2, 0.85), rng.uniform(2.6, 3.4) + 2.2 * severity
        c.fill((0.10 + 0.38 * severity) * _blob(c, rng, centre, (size, size * 1.2)))


def _nodules(c, severity, rng):
    count = int(rng.choice([1, 2, 3, 5]))
    for k in range(count):
        side = _sides(rng, 0)[0]
        x, y = _site(c, rng, side, 0.2, 0.9)
        r = (0.8 + 1.7 * severity) * (1 if k == 0 else rng.uniform(0.5, 0.9))
        d = np.hypot(c.x - x, c.y - y) / r + 0.10 * _texture(c, rng, 0.8 * r)
        ball = np.sqrt(np.clip(1 - d * d, 0, 1)) * np.minimum(c.air / 5, 1)
        c.added = c.added + 3.0 * r**0.7 * ball


def _edema(c, severity, rng):
    ax = np.abs(c.x - c.a.middle)
    wings = np.exp(-(((ax - 4.6) / 4.2) ** 2) - ((c.y - 1.5) / 6.5) ** 2)
    patchy = 1 + 0.22 * _texture(c, rng, 1.6) * math.sqrt(severity)
    c.fill((0.02 + 0.33 * severity) * (0.25 + 0.75 * wings) * patchy)
    c.vessels = c.vessels * (1 + 0.4 * severity)
    # Kerley B lines: fluid in the septa, short and level, at the edge of the bases.
    lines = np.clip(np.cos(2 * np.pi * c.y / 1.1 + rng.uniform(0, 6)), 0, 1) ** 3
    near = c.inside(2.2 - c.wall, 1.0) * c.inside(c.y - 3, 3)
    c.added = c.added + 0.7 * severity * lines * near * (c.wall > 0) * (c.floor > 0)


def _consolidation(c, severity, rng):
    # Aspiration, bleeding, ARDS: even, dependent, often on both sides.
    for side in _sides(rng, 0.6):
        x, y = _site(c, rng, side, 0.62, 0.9)
        size = rng.uniform(3.0, 3.8) + 2.4 * severity
        c.fill((0.18 + 0.68 * severity) * _blob(c, rng, (0.85 * x, y), (1.15 * size, size), 0.15))


def _pneumonia(c, severity, rng):
    # A patchy focus, with the bronchi left dark in it.
    for side in _sides(rng, 0.2):
        x, y = _site(c, rng, side, 0.25, 0.85)
        size = rng.uniform(2.4, 3.2) + 2.0 * severity
        patches = np.clip(0.9 + 0.14 * _texture(c, rng, 1.6), 0.5, 1.2)
        root = np.array([side * 2.6, 0.0])
        ends = np.array([x, y]) + rng.normal(0, 0.45 * size, (4, 2))
        bends = (root + ends) / 2 + rng.normal(0, 0.5, (4, 2))
        bronchi = _tubes(c, np.stack([np.broadcast_to(root, (4, 2)), bends, ends], 1), 0.22)
        share = (0.20 + 0.62 * severity) * patches * _blob(c, rng, (x, y), (size, size), 0.5)
        c.fill(share * (1 - np.clip(bronchi, 0, 0.5)))


def _atelectasis(c, severity, rng):
    side = _sides(rng, 0)[0]  # the first draw, as for the raised dome: the same side
    dome = c.a.domes[int(side > 0)]
    bands = []
    for k in range(1 + round(2.5 * severity)):
        x, y = side * rng.uniform(5.5, 8.5), dome - rng.uniform(0.8, 2.0) - 1.5 * k
        half, slope = rng.uniform(2.0, 3.4), rng.normal(0, 0.25)
        ends = [
            [x - half, y - slope * half],
            [x, y + rng.normal(0, 0.3)],
            [x + half, y + slope * half],
        ]
        bands.append(_smooth_path(ends, 12))
    plates = _tubes(c, bands, 0.22 + 0.18 * severity) * np.minimum(c.air / 5, 1) * c.clear
    c.added = c.added + (2.0 + 2.2 * severity) * plates
    wedge = _blob(c, rng, (side * 4.2, dome - 0.5), (3.2 + 1.5 * severity, 2.2 + 2 * severity), 0.2)
    c.fill((0.14 + 0.60 * severity) * wedge)


def _pneumothorax(c, severity, rng):
    for side in _sides(rng, 0.04):
        share = np.clip((c.y - c.a.apex) / (c.a.domes[0] - c.a.apex), 0, 1)
        gap = (0.9 + 4.8 * severity) * (1 - rng.uniform(0.3, 0.75) * share)
        here = (c.side == side) * c.inside(c.wall, 0.3) * c.inside(c.floor, 0.4)
        outside = here * c.inside(gap - c.wall)
        pleura = here * np.clip(1 - np.abs(c.wall - gap) / max(0.22, c.pixel), 0, 1) * c.clear
        c.vessels = c.vessels * (1 - outside)
        c.fill(0.35 * max(0.0, severity - 0.3) * here * (1 - outside))
        c.air = c.air * (1 + 0.18 * outside)
        c.clear = c.clear + 0.6 * outside * (1 - c.clear) * (np.abs(c.x) > 4)
        c.added = c.added + 0.9 * pleura


def _effusion(c, severity, rng):
    struck = _sides(rng, 0.42)
    for side in struck:
        amount = severity * (1 if len(struck) == 1 else rng.uniform(0.5, 1))
        sulcus = c.a.domes[int(side > 0)] + 0.55 * c.a.flat
        level = sulcus + 0.9 - 11.5 * amount**1.5
        # The meniscus: fluid climbs along the chest wall, and thins out upwards.
        climb = (1.2 + 2.4 * amount) * np.exp(-np.maximum(c.wall, 0) / (1.0 + 1.6 * amount))
        depth = c.y - level + climb
        layer = np.clip(depth / (1.6 + 2.4 * amount), 0, 1)
        c.fill(0.97 * layer * (2 - layer) * (c.side == side))


def _pleural_other(c, severity, rng):
    # Thickening along the wall or a cap on the apex, with chalky plaques.
    for side in _sides(rng, 0.45):
        apical = rng.random() < 0.3
        middle = c.a.apex + (1.5 if apical else rng.uniform(7, 16))
        long, wide = rng.uniform(4.0, 5.5) + 3 * severity, 0.8 + 1.6 * severity
        lens = wide * np.sqrt(np.clip(1 - ((c.y - middle) / long) ** 2, 0, 1))
        lens = lens * (1 + 0.15 * _texture(c, rng, 3.0))
        band = (c.side == side) * c.inside(lens - c.wall, 0.3) * c.inside(c.wall + 0.3, 0.3)
        band = band * c.inside(np.abs(c.x) - 4.0, 2.0)
        c.added = c.added + (2.8 + 3.4 * severity) * band * c.inside(c.floor, 0.5)
        x, y = _site(c, rng, side, 0.4, 0.8)
        chalk = np.clip(_texture(c, rng, 0.9) - 0.5, 0, 1) * _blob(c, rng, (x, y), (2.2, 1.5))
        c.added = c.added + (1.2 + 2.4 * severity) * chalk * np.minimum(c.air / 5, 1)


def _devices(c, severity, rng):
    usual = {"intensive care": (0, 1, 2, 5), "surgery": (4, 3, 1, 5), "heart failure": (6, 1, 5)}
    first = usual.get(c.study.patient.cause, (1, 5, 3))
    order = dict.fromkeys([int(rng.choice(first)), *rng.permutation(first).tolist(), 1, 5])
    for kind in list(order)[: 1 + round(3.0 * severity)]:
        c.added = c.added + (1.2 + 1.6 * severity) * DEVICES[kind](c, rng)


def _endotracheal_tube(c, rng):
    m = c.a.middle
    return 2.2 * _tubes(c, [[[m + 0.4, -22], [m, -10], [m, rng.uniform(-6.5, -3.5)]]], 0.28)


def _central_line(c, rng):
    side, m = int(rng.choice([-1, 1])), c.a.middle
    path = [[side * 9, c.a.apex + 1], [side * 4, c.a.apex + 1.5], [m - 2, -9], [m - 2, 0]]
    return 4.5 * _tubes(c, [_smooth_path([*path, [m - 1.8, rng.uniform(0, 4)]])], 0.16)


def _feeding_tube(c, rng):
    m = c.a.middle
    path = [[m, -22], [m + 0.3, -8], [m + 0.2, 4], [m + 1, c.a.domes[1] + 1], [m + 6, 17]]
    return 4.0 * _tubes(c, [_smooth_path(path)], 0.17)


def _chest_tube(c, rng):
    side = int(rng.choice([-1, 1]))
    path = [[side * (c.a.chest + 5), 8], [side * c.a.chest, 5], [side * 8, -2], [side * 6, -9]]
    curve = _smooth_path(path)
    return 1.6 * _tubes(c, [curve], 0.34) + 3 * _tubes(c, [curve], 0.12)


def _sternal_wires(c, rng):
    turn, m = np.linspace(0, 2 * np.pi, 14), 0.5 * c.a.middle
    loops = [
        np.stack([m + 0.8 * np.cos(turn) + rng.normal(0, 0.1), y + 0.45 * np.sin(turn)], 1)
        for y in np.arange(-7.5, 6, 2.6)
    ]
    return 16 * _tubes(c, loops, 0.10)


def _electrodes(c, rng):
    total = np.zeros_like(c.x)
    for x, y in ((-9, -8), (9, -8), (10, 6)):
        x, y = x + rng.normal(0, 1.5), y + rng.normal(0, 1.5)
        bend = [x + rng.normal(0, 5), y + 6]
        total += 6 * _tubes(c, [_smooth_path([[x, y], bend, [x + rng.normal(0, 6), 24]])], 0.11)
        total += 2.5 * c.inside(0.55 - np.hypot(c.x - x, c.y - y))
    return total


def _pacemaker(c, rng):
    side, m = int(rng.choice([-1, 1], p=[0.2, 0.8])), c.a.middle
    x, y = side * rng.uniform(8.5, 10.5), c.a.apex + rng.uniform(5, 6.5)
    case = np.clip(4 * _ellipse(c.x - x, c.y - y, 2.3, 1.9, rng.uniform(-0.4, 0.4)), 0, 1)
    end = [m + 0.45 * c.a.heart + 1.5, max(c.a.domes) - 1.8]
    lead = [[x, y], [side * 3, c.a.apex + 2], [m - 3, -5], [m - 2.5, 4], end]
    return 7 * case + 7 * _tubes(c, [_smooth_path(lead)], 0.13)


DEVICES = (
    _endotracheal_tube,
    _central_line,
    _feeding_tube,
    _chest_tube,
    _sternal_wires,
    _electrodes,
    _pacemaker,
)

PAINT = {
    "Lung Opacity": _hazy_opacity,
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Lung Lesion": _nodules,
    "Pneumothorax": _pneumothorax,
    "Pleural Other": _pleural_other,
    "Pleural Effusion": _effusion,
    "Support Devices": _devices,
}


def _paint_other(c, rng):
    if c.study.other == "hernia":
        y, r = c.a.domes[1] - rng.uniform(0.5, 2), rng.uniform(2.2, 3.6)
        sac = _ellipse(c.x - c.a.middle - rng.uniform(0.5, 2), c.y - y, r, r)
        c.fill(0.8 * c.inside(sac * r, 0.4))
        gas = c.inside(sac * r - 0.4, 0.4) * c.inside(y - 0.3 - c.y, 0.2)
        c.added = c.added - 2.5 * gas + 1.0 * c.inside(sac * r, 0.4)
    if c.study.other == "granulomas":
        for _ in range(rng.integers(2, 6)):
            x, y = _site(c, rng, int(rng.choice([-1, 1])), 0.15, 0.8)
            c.added = c.added + 2.6 * c.inside(rng.uniform(0.3, 0.5) - np.hypot(c.x - x, c.y - y))


def expose(study, size=128, drawn=None, healthy=None):
    """What the beam meets, as a ``Chest`` whose ``water()`` is cm of tissue along each ray.

    Parameters
    ----------
    drawn : finding → severity, in place of the study's own; ``{}`` draws the chest without any.
    healthy : the same study's chest without findings, if at hand, for what stays the same.
    """
    drawn = study.drawn if drawn is None else drawn
    a = anatomy(study, drawn)
    if healthy is not None and a == healthy.a:
        c = copy.copy(healthy)  # layers are replaced, never changed in place
    else:
        c = Chest(a, study, *_grid(study, size), study.field / size)
        _lungs(c)
        _mediastinum(c)
        _gut(c)
        c.unmoved = _unmoved(c) if healthy is None else healthy.unmoved
        c.body, c.vessels, bones = c.unmoved
        c.bone = bones + 1.9 * _ribs(c)
        _paint_other(c, _rng(study.patient.seed, 9))
    for name, paint in PAINT.items():
        if name in drawn:
            paint(c, drawn[name], _finding_rng(study, name))
    return c


def _unmoved(c):
    """Layers that no finding moves: body, vessels, bones other than ribs."""
    return _body(c), _vessels(c), 1.1 * _spine(c) + 1.6 * _girdle_bones(c)


# --- Development: from tissue to grey levels ------------------------------------------------------


MU = 0.19
"""Linear attenuation of water, per cm, at the energies of chest radiography."""


def _blur(image, radius):
    # Two running means are close to a Gaussian, at a cost that does not grow with the radius.
    size = max(3, 2 * round(radius) + 1)
    twice = ndimage.uniform_filter(image, size, mode="nearest")
    return ndimage.uniform_filter(twice, size, mode="nearest")


def develop(study, water, healthy, noise=True):
    """Grey levels 0 … 255 (float32 [H, W]; air dark, bone white) of what the beam meets.

    Parameters
    ----------
    water : cm [H, W], see ``expose``.
    healthy : the same chest without findings; it sets scatter, window and contrast.
    noise : whether photons are counted; without, the picture that infinitely many would give.
    """
    size = water.shape[0]
    scatter = study.scatter * _blur(np.exp(-MU * healthy), 2.5 * size / study.field)
    healthy, arriving = (np.exp(-MU * w) + scatter for w in (healthy, water))
    sharpness = 0.05 * size / study.field + 0.25
    arriving = ndimage.gaussian_filter(arriving, sharpness, truncate=3)
    if noise:
        grain = _rng(study.seed, 0).standard_normal(water.shape, dtype=np.float32)
        photons = study.photons / np.exp(-MU * 12)
        arriving = arriving + grain * np.sqrt(arriving / photons)
    signal, usual = -np.log(np.maximum(arriving, 1e-5)), -np.log(healthy)
    sample = usual[::2, ::2]  # a quarter of the pixels settles the window as well
    low, high = np.percentile(sample[sample > 0.4], [4, 99.5])
    low, high = study.window[0] * low, high + study.window[1] * (high - low)
    slow = _blur(usual, 3.0 * size / study.field)
    flatten = 0.5 * study.enhancement
    value = (signal - low - flatten * (slow - slow.mean())) / (high - low)
    # The tone curve of film: a long shoulder, where soft tissue and bone come close to white.
    tone = 0.96 * (1 - (1 - np.clip(value, 0, 1)) ** 1.7) ** study.gamma
    return _frame(study, 255 * tone)


LETTERS = {
    "L": ([[0, 0], [0, 2], [1, 2]],),
    "R": ([[0, 2], [0, 0], [1, 0.2], [1, 0.9], [0, 1]], [[0.3, 1], [1, 2]]),
    "A": ([[0, 2], [0.5, 0], [1, 2]], [[0.2, 1.3], [0.8, 1.3]]),
    "P": ([[0, 2], [0, 0], [1, 0.2], [1, 0.9], [0, 1.1]],),
}
"""Strokes of the burnt-in markers, in a box one wide and two high."""


def _frame(study, image):
    """Collimate ``image`` and burn in the marker, as the console does after the exposure."""
    size, rng = image.shape[0], _rng(study.seed, 1)
    left, top, right, bottom = (round(max(b, 0) * size) for b in study.border)
    shade = 250.0 if rng.random() < 0.15 else 4.0
    if study.marker:
        x, y = rng.uniform(0.06, 0.14), rng.uniform(0.07, 0.16)
        x = 0.94 - x if study.marker[0] == "L" else x
        ink = np.zeros_like(image)
        for k, letter in enumerate(study.marker):
            # The side's letter, and below it the projection.
            corner = [x + 0.035 * max(0, k - 1), y + 0.06 * (k > 0)]
            for stroke in LETTERS[letter]:
                _stroke(ink, (np.array(stroke) * 0.022 + corner) * size)
        image = image + (245 - image) * np.clip(ink, 0, 1)
    inner = np.zeros((size, size), bool)
    inner[top : size - bottom, left : size - right] = True
    return np.where(inner, image, shade)


def _stroke(ink, path):
    """Draw a polyline ([n, 2] pixels, x before y) one pixel wide into the map ``ink``."""
    (x0, y0), (x1, y1) = np.clip([path.min(0) - 2, path.max(0) + 3], 0, len(ink)).astype(int)
    rows, cols = np.mgrid[y0:y1, x0:x1]
    for (px, py), (qx, qy) in pairwise(path):
        dx, dy = qx - px, qy - py
        t = np.clip(((cols - px) * dx + (rows - py) * dy) / (dx * dx + dy * dy), 0, 1)
        near = 1.2 - np.hypot(cols - px - t * dx, rows - py - t * dy)
        ink[y0:y1, x0:x1] = np.maximum(ink[y0:y1, x0:x1], near)


def render(study, size=128, without=None):
    """The radiograph of ``study``: uint8 [H, W], air dark, bone white.

    Parameters
    ----------
    size : pixels per side, at least 32.
    without : a finding to leave out, with everything that implies it; all else, noise included,
        stays the same. A finding that is absent leaves the picture as it is.
    """
    check_size(size)
    healthy = expose(study, size, {})
    drawn = study.drawn if without is None else _leave_out(study, without)
    image = develop(study, expose(study, size, drawn, healthy).water(), healthy.water())
    return np.round(image).astype(np.uint8)


def masks(study, size=128):
    """Where each finding of ``study`` shows: name → bool [H, W], present findings only.

    A mask holds the pixels whose noise-free grey level the finding changes by more than
    ``VISIBLE`` levels, and one pixel around them. A finding's mask contains those of the
    findings that imply it.
    """
    check_size(size)
    healthy = expose(study, size, {})

    def picture(drawn):
        water = expose(study, size, drawn, healthy).water()
        return develop(study, water, healthy.water(), noise=False)

    full, found = picture(study.drawn), {}
    for name in study.severity:
        change = np.abs(full - picture(_leave_out(study, name)))
        found[name] = ndimage.binary_dilation(change > VISIBLE)
    for name in reversed(FINDINGS):  # there, every finding comes after those that imply it
        for child, parent in IMPLIES.items():
            if parent == name and child in found:
                found[name] = found[name] | found[child]
    return found


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
