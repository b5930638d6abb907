"""Who is imaged and why: a causal model of patients, in numbers and without a pixel.

A patient comes for a reason (a *cause*: heart failure, trauma, ...). The cause draws findings, each
with a severity; findings imply others as the hierarchy says; the next study of the patient follows
from this one. The truth of every label is known because it was drawn first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

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
        {"Cardiomegaly": 0.62, "Edema": 0.68, "Pleural Effusion": 0.58, "Atelectasis": 0.20}
        | {"Support Devices": 0.50, "Enlarged Cardiomediastinum": 0.08, "Pneumonia": 0.08},
    ),
    "infection": (
        0.14,
        {"Pneumonia": 0.66, "Consolidation": 0.12, "Lung Opacity": 0.30, "Atelectasis": 0.20}
        | {"Pleural Effusion": 0.38, "Support Devices": 0.38, "Edema": 0.10},
    ),
    "trauma": (
        0.10,
        {"Fracture": 0.70, "Pneumothorax": 0.36, "Pleural Effusion": 0.25, "Lung Opacity": 0.20}
        | {"Support Devices": 0.50, "Enlarged Cardiomediastinum": 0.14, "Atelectasis": 0.15}
        | {"Consolidation": 0.16},
    ),
    "cancer": (
        0.10,
        {"Lung Lesion": 0.74, "Pleural Effusion": 0.40, "Enlarged Cardiomediastinum": 0.22}
        | {"Atelectasis": 0.22, "Pleural Other": 0.16, "Support Devices": 0.30, "Pneumonia": 0.14},
    ),
    "intensive care": (
        0.13,
        {"Support Devices": 0.95, "Edema": 0.40, "Pleural Effusion": 0.50, "Atelectasis": 0.38}
        | {"Consolidation": 0.22, "Lung Opacity": 0.28, "Pneumothorax": 0.13, "Cardiomegaly": 0.12}
        | {"Pneumonia": 0.26},
    ),
    "surgery": (
        0.06,
        {"Support Devices": 0.88, "Atelectasis": 0.45, "Pleural Effusion": 0.45}
        | {"Pneumothorax": 0.34, "Enlarged Cardiomediastinum": 0.28, "Cardiomegaly": 0.15},
    ),
    "chronic lung disease": (
        0.08,
        {"Pleural Other": 0.66, "Lung Opacity": 0.30, "Lung Lesion": 0.15, "Pneumothorax": 0.14}
        | {"Support Devices": 0.15, "Fracture": 0.10, "Pneumonia": 0.15},
    ),
    # Nobody, unless a cohort for transfer asks for it: each finding by itself, mostly subtle.
    "survey": (0.0, dict.fromkeys(FINDINGS, 0.08)),
}

FITTED = {
    "up standing": -4.55,  # cm by which the patient is off centre; spread up or down, and sideways
    "up lying": -1.29,
    "up spread": 2.2,
    "side spread": 1.87,
    "heart": 0.45,  # half its width over half the chest's; its spread
    "heart spread": 0.0479,
    "mediastinum": 0.705,  # its width
    "chest": 1,  # width of the chest
    "lungs": 0.983,  # height of the lungs
    "lungs spread": 2.34,
    "breath": 0.898,  # cm by which the diaphragm lies lower standing, and lying
    "breath lying": -0.941,
    "taper": 0.8,  # by how much the chest narrows upwards
    "arms": -0.582,  # middle of the range from −1, hanging, to 1, lifted; half that range
    "arms spread": 0.495,
    "shoulders": 9.92,  # cm that they fall from the neck
    "breasts": 1.1,  # their size
    "soft": 6.99,  # cm of soft tissue that the heaviest have
    "muscle": 2.5,  # cm of muscle in the armpit; its lack at the waist
    "waist": 2.68,
    "white": 0.3,  # where the tone curve ends, above the whitest tissue, as a share of the range
    "sharpening": 0.5,  # the most by which edges are enhanced
}
"""Sizes and habits, fitted to mean and spread of real radiographs, never to a label, within what
``benchmarks/fit_phantom.py`` allows (several ended at a limit). ``sharpening`` is set by hand."""

P_OTHER = 0.21  # of the studies without any of the 13, those that show something else instead
P_STUDIES = (0.50, 0.25, 0.15, 0.10)  # of patients with 1, 2, 3 and 4 studies
CASSETTES = ((1.0, 0.82), (0.82, 1.0), (1.0, 1.0))
"""Sides, as shares of 43 cm: films and plates lie across or stand on end, detectors are square."""
P_CASSETTES = ((0.32, 0.37, 0.31), (0.96, 0.04, 0.0))
"""How often each is used, standing and lying: counted in the sizes of the images fitted to."""
PHOTONS = (1.9e6, 5e6)
"""Counted per cm²: 30,174 fall on a mm² at 1 µGy (beam RQA5, IEC 62220-1), some 2.5 µGy make a
picture, and a detector counts from a quarter to two thirds of them."""

P_LYING = 0.75  # of the studies; whatever the illness, so that technique tells nothing about it
WOMEN = 0.41  # share of the patients, as in CheXpert


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
    depth: float  # half the chest's inner depth, front to back, as a share of `chest`
    curve: float  # scoliosis: how far the spine strays from the midline
    rib_slope: float  # how steeply the ribs fall
    rib_size: float  # half a rib's height
    bones: float  # how much mineral they hold; 1 = usual
    markings: float  # how strongly vessels and fine structure show in the lungs; 1 = usual


@dataclass(frozen=True)
class Study:
    """One visit to the X-ray room: the patient, the findings, and how the pictures are taken."""

    patient: Patient
    number: int  # 1, 2, …
    seed: int  # of the noise
    projection: str  # of the frontal view: "PA" standing, or "AP" lying, from the front
    lateral: bool  # whether a lateral view is taken as well
    inspiration: float  # 0 shallow … 1 deep
    rotation: float  # −1 … 1, the patient turned to the right … left
    tilt: float  # degrees in the image plane
    shift: tuple[float, float]  # cm by which the patient is off centre
    field: float  # cm along the longer side of the detector
    arms: float  # −1 hanging at the sides … 1 lifted out of the picture
    scatter: float  # scattered over direct photons behind 10 cm of tissue on all sides
    photons: float  # mean count per cm² behind the lungs: fewer, noisier
    enhancement: float  # 0 … 1, how much slow changes of brightness are flattened
    sharpening: float  # how much edges are enhanced; 0 not at all
    window: tuple[float, float]  # share of the range cut off below, added above
    gamma: float  # of the tone curve
    border: tuple[float, float, float, float]  # collimated share: left, top, right, bottom
    marker: str  # burnt in: the letter of a side or a space, then a text or nothing
    frame: tuple[float, float]  # grey level outside the collimation, and its tilt in degrees
    cassette: tuple[float, float] = (1.0, 1.0)  # sides across and down, as shares of `field`
    stamp: bool = False  # a square burnt into the lower right: the shortcut of some lessons
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


def draw_patient(rng, women=WOMEN, cause=None):
    """Draw a patient with ``rng`` (a ``numpy.random.Generator``).

    ``women`` is their share; ``cause`` one of ``CAUSES``, drawn by their shares if not given.
    """
    drawn = str(rng.choice(list(CAUSES), p=[share for share, _ in CAUSES.values()]))
    cause = cause or drawn
    sex = "Female" if rng.random() < women else "Male"
    age = int(np.clip(rng.normal(42 if cause == "trauma" else 62, 17), 18, 95))
    habitus = float(np.clip(rng.beta(2, 2.6) + (0.08 if cause == "heart failure" else 0), 0, 1))
    male = sex == "Male"
    return Patient(
        seed=int(rng.integers(2**31)),
        sex=sex,
        age=age,
        cause=cause,
        habitus=habitus,
        chest=FITTED["chest"] * float(rng.normal(14.1 if male else 12.7, 0.75)),
        lungs=FITTED["lungs"] * float(rng.normal(22.6 if male else 21.2, FITTED["lungs spread"])),
        heart=float(rng.normal(FITTED["heart"] + 0.02 * habitus, FITTED["heart spread"])),
        aorta=float(np.clip(rng.normal((age - 30) / 70, 0.22), 0, 1)),
        depth=float(rng.normal(0.64 + 0.06 * (cause == "chronic lung disease"), 0.04)),
        curve=float(rng.normal(0, 0.45)),
        rib_slope=float(rng.normal(1.0, 0.2)),
        rib_size=float(rng.normal(0.60 if male else 0.54, 0.05)),
        bones=float(np.clip(rng.normal(1.1 - 0.005 * max(age - 40, 0), 0.22), 0.5, 1.7)),
        markings=float(np.exp(rng.normal(-0.25, 0.3))),
    )


def draw_study(rng, patient, number, previous=None, hospital=1, dose=1.0):
    """Draw study ``number`` of ``patient``; ``previous``, the study before it, makes it follow.

    ``hospital`` 1 or 2 chooses the look of the pictures; ``dose`` multiplies the photons.
    """
    drawn = _draw_findings(rng, patient) if previous is None else _progress(rng, previous)
    other = "" if previous is None else previous.other
    if not drawn and previous is None and rng.random() < P_OTHER:
        other = str(rng.choice(OTHERS))
    lying = rng.random() < P_LYING
    return Study(
        patient=patient,
        number=number,
        seed=int(rng.integers(2**31)),
        projection="AP" if lying else "PA",
        lateral=bool(not lying and rng.random() < 0.8),
        inspiration=float(
            np.clip(rng.normal(0.5 if lying else 0.75, 0.25 if lying else 0.2), 0, 1)
        ),
        rotation=float(np.clip(rng.normal(0, 0.45 if lying else 0.22), -1, 1)),
        tilt=float(rng.normal(0, 1.6 if lying else 0.6)),
        arms=float(np.clip(_arms(rng, lying), -1, 1)),
        # Standing, a grid holds most of it back; at the bedside there is none.
        scatter=float(rng.uniform(0.6, 1.8) if lying else rng.uniform(0.15, 0.5)),
        **_detector(rng, patient, lying, hospital, dose),
        drawn=drawn,
        other="" if drawn else other,
    )


def _detector(rng, patient, lying, hospital, dose):
    """How the picture is exposed, processed and framed: each hospital has its own ranges."""
    second, f = hospital == 2, FITTED
    up = f["up lying" if lying else "up standing"]
    corner = rng.random()
    marker = "R" if second else "L" if corner < 0.6 else "R" if corner < 0.75 else " "
    if lying and rng.random() < 0.4:
        marker += str(rng.choice(["AP", "PORTABLE"]))
    white = rng.random() < (0.5 if second else 0.06)
    border = rng.uniform(-0.35, 0.04, 4) + (rng.random() < 0.12) * rng.uniform(0, 0.10, 4)
    return {
        "field": float(np.clip(rng.normal(42.2, 0.5), 40, 43.2)),
        "cassette": CASSETTES[rng.choice(3, p=P_CASSETTES[lying])],
        "shift": (float(rng.normal(0, f["side spread"])), float(rng.normal(up, f["up spread"]))),
        "photons": dose * float(np.exp(rng.uniform(*np.log(PHOTONS)))),
        "enhancement": float(rng.uniform(0.6, 1.0) if second else rng.uniform(0, 0.7)),
        "sharpening": f["sharpening"] * float(rng.uniform(1, 1.4) if second else rng.uniform(0, 1)),
        "window": (float(rng.uniform(0.5, 1.05)), float(max(rng.normal(f["white"], 0.12), 0.02))),
        "gamma": float(np.exp(rng.normal(0.55 if second else 0.22, 0.2 if second else 0.24))),
        "border": tuple(float(b) for b in border),
        "frame": (250.0 if white else 4.0, float(rng.normal(0, 0.8))),
        "marker": marker,
    }


def _arms(rng, lying):
    # Standing, some are lifted further.
    middle, half = FITTED["arms"] + 0.35 * (not lying), FITTED["arms spread"] + 0.35 * (not lying)
    return rng.uniform(middle - half, middle + half)


def draw_studies(rng, women=WOMEN, hospital=1, dose=1.0, cause=None):
    """Draw a patient and all their studies: a list of 1 to 4 studies."""
    patient = draw_patient(rng, women, cause)
    studies = [draw_study(rng, patient, 1, None, hospital, dose)]
    for number in range(2, 2 + int(rng.choice(len(P_STUDIES), p=P_STUDIES))):
        studies.append(draw_study(rng, patient, number, studies[-1], hospital, dose))
    return studies


def _draw_severity(rng, cause):
    # One distribution for every finding, and so the knob of the course's difficulty.
    return float(0.15 + 0.85 * rng.beta(*(SUBTLE if cause == "survey" else SEVERITY)))


SEVERITY = (2.6, 1.2)  # of a beta distribution
SUBTLE = (1.2, 2.4)  # in a survey
MEAN_SEVERITY = 0.15 + 0.85 * SEVERITY[0] / sum(SEVERITY)


def _draw_findings(rng, patient):
    _, probabilities = CAUSES[patient.cause]
    present = [name for name, p in probabilities.items() if rng.random() < p]
    return {name: _draw_severity(rng, patient.cause) for name in FINDINGS if name in present}


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
