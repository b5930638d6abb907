"""Every finding that can be drawn, in one table: what a new one must enter, and nothing else.

Each is drawn from random numbers of its own name, so that a new one leaves all others as they are.
"""

from dataclasses import replace

import numpy as np

from cxrlib.phantom import anatomy as lay
from cxrlib.phantom import lungs, pleura
from cxrlib.phantom.anatomy import SIDES, rng_of
from cxrlib.phantom.devices import SUPPORT_DEVICES
from cxrlib.phantom.lesions import Finding, Lesion
from cxrlib.phantom.rays import ellipsoid, thickness

# --- Heart and mediastinum: findings that only move organs ----------------------------------------


def _enlarge_heart(a, severity, lesion):
    return replace(a, heart=a.heart * (1.06 + 0.34 * severity))


def _whole_heart(c, severity, lesion):
    above = c.y < max(c.a.domes) + 1.5  # below, it is one with what lies under it
    return thickness(c.beam, lay.heart(c.a)) * above


def _draw_width(rng):
    return Lesion(share=((1, 0.25), (0.25, 1), (0.7, 0.7))[rng.integers(3)])


def _widen_mediastinum(a, severity, lesion):
    width = 0.5 + 2.2 * severity
    return replace(a, bulge=tuple(width * share for share in lesion.share))


def _whole_mediastinum(c, severity, lesion):
    # As far as it is widened: from the thorax' upper end to the heart.
    upper = (c.y > c.a.apex) & (c.y < c.a.apex + 0.6 * (max(c.a.domes) - c.a.apex))
    return thickness(c.beam, lay.mediastinum(c.a)) * upper


HEART = Finding("Cardiomegaly", lambda rng: Lesion(), _enlarge_heart, _whole_heart)
MEDIASTINUM = Finding(
    "Enlarged Cardiomediastinum", _draw_width, _widen_mediastinum, _whole_mediastinum
)

# --- What none of the 14 observations names -------------------------------------------------------


def _draw_hernia(rng):
    return Lesion(r=rng.uniform(2.8, 4.2), x=rng.uniform(0.5, 2), up=rng.uniform(0.8, 2))


def _hernia(c, severity, lesion):
    """Part of the stomach behind the heart: a sac with a level of air and fluid."""
    a, r = c.a, lesion.r
    centre = np.array([a.shift + lesion.x, a.domes[1] - lesion.up, -3.0])
    sac = thickness(c.beam, ellipsoid(centre, (r, r, r)))
    inner = thickness(c.beam, ellipsoid(centre, (r - 0.4, r - 0.4, r - 0.4)))
    for side in SIDES:
        c.fill_thickness(side, sac)
    c.add(-0.9 * inner * np.clip((centre[1] - 0.3 - c.y) / 0.3, 0, 1))
    return sac


def _draw_granulomas(rng):
    return Lesion(
        count=int(rng.integers(3, 7)), sides=rng.choice(SIDES, 6), at=rng.random((6, 2)),
        z=rng.uniform(-4, 4, 6), r=rng.uniform(0.35, 0.6, 6),
    )  # fmt: skip


def _granulomas(c, severity, lesion):
    """Old infections, turned to chalk."""
    a, lies = c.a, np.zeros_like(c.s)
    for n in range(lesion.count):
        y = a.apex + 5 + lesion.at[n, 0] * (a.domes[0] - a.apex - 6)
        outer = max(5.0, float(lay.wall_at(a, y)) - 2)
        x, r = lesion.sides[n] * (4.5 + lesion.at[n, 1] * (outer - 4.5)), lesion.r[n]
        lies += thickness(c.beam, ellipsoid((x, y, lesion.z[n]), (r, r, r), 13))
    c.add(2.6 * lies)
    return lies


def _draw_scoliosis(rng):
    return Lesion(bend=float(rng.choice(SIDES) * rng.uniform(1.8, 3.0)))


def _bend_spine(a, severity, lesion):
    return replace(a, spine=lesion.bend)


def _draw_raised(rng):
    return Lesion(side=int(rng.random() < 0.3), rise=rng.uniform(2.8, 4.8))


def _raise_diaphragm(a, severity, lesion):
    domes = tuple(d - lesion.rise * (i == lesion.side) for i, d in enumerate(a.domes))
    return replace(a, domes=domes)


def _inflate(a, severity, lesion):
    domes = tuple(d + 2.8 for d in a.domes)
    return replace(a, domes=domes, flat=2.2, heart=a.heart * 0.8, depth=a.depth * 1.15)


def _emphysema(c, severity, lesion):
    c.air = [1.08 * air for air in c.air]
    return c.air[0] + c.air[1]


OTHERS = (
    Finding("hernia", _draw_hernia, paint=_hernia),
    Finding("granulomas", _draw_granulomas, paint=_granulomas),
    Finding("scoliosis", _draw_scoliosis, _bend_spine),
    Finding("raised diaphragm", _draw_raised, _raise_diaphragm),
    Finding("emphysema", lambda rng: Lesion(), _inflate, _emphysema),
)

REGISTRY = {
    finding.name: finding
    for finding in (
        *OTHERS,
        pleura.PNEUMOTHORAX,  # first: what comes later fills what it leaves of the lung
        MEDIASTINUM,
        HEART,
        lungs.OPACITY,
        lungs.EDEMA,
        lungs.CONSOLIDATION,
        lungs.PNEUMONIA,
        lungs.ATELECTASIS,
        lungs.LESION,
        pleura.SCARS,
        pleura.FRACTURE,
        pleura.EFFUSION,
        SUPPORT_DEVICES,
    )
}
"""Name → finding, in the order in which organs are moved and tissue is painted."""


def lesion_of(study, name):
    """The lesion of a finding: the same in all studies of a patient."""
    return REGISTRY[name].draw(rng_of(study.patient.seed, name))


def anatomy_of(study, drawn):
    """The organs of a study, moved by the findings in ``drawn`` (name → severity)."""
    a = lay.lay_out(study)
    for name, finding in REGISTRY.items():
        if name in drawn and finding.move:
            a = finding.move(a, drawn[name], lesion_of(study, name))
    return a


def paint(c, drawn):
    """Paint the findings in ``drawn`` into a chest; name → cm [H, W] of each along the rays."""
    return {
        name: finding.paint(c, drawn[name], lesion_of(c.study, name))
        for name, finding in REGISTRY.items()
        if name in drawn and finding.paint
    }
