"""The phantom: synthetic chest radiographs whose truth is known exactly.

Nothing here is a photograph. A patient is a handful of numbers, an organ a solid in centimetres, a
finding a change of those, and a radiograph is what Beer and Lambert say is left of the beam:

    patients   draw_studies   →  who, why, which findings, how the pictures are taken
    anatomy    lay_out        →  one body in three dimensions, in cm
    rays       Beam           →  how much of each solid a ray meets, from any side
    chest      healthy_chest  →  cm of tissue along each ray
    findings   REGISTRY       →  what moves organs, or fills, thins or crosses the lungs
    develop    render         →  photons, noise, window, grey levels: the uint8 image
               masks, lesions →  what each finding changes, and where it is

Two simplifications serve teaching. Scatter, window and contrast are computed from the same
patient's chest without findings, so that a finding changes pixels only where it lies and its
mask is exact. And a finding's place belongs to the patient, so that studies of one patient show
the same lesion grow or fade.
"""

from cxrlib.phantom.develop import VIEWS, VISIBLE, check_size, expose, lesions, masks, render
from cxrlib.phantom.patients import (
    CAUSES,
    FINDINGS,
    IMPLIES,
    OTHERS,
    Patient,
    Study,
    draw_patient,
    draw_studies,
    draw_study,
)

__all__ = [
    "CAUSES",
    "FINDINGS",
    "IMPLIES",
    "OTHERS",
    "VIEWS",
    "VISIBLE",
    "Patient",
    "Study",
    "check_size",
    "draw_patient",
    "draw_studies",
    "draw_study",
    "expose",
    "lesions",
    "masks",
    "render",
]
