"""A radiograph on the viewer: a file, or a phantom whose findings one chooses."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from cxrlib import phantom
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import pictures
from cxrlib.reading.files import ReadingError, read_radiograph


@dataclass(frozen=True)
class Case:
    """A radiograph on the viewer, and what is known of it.

    ``grey`` is what the model sees, uint8 [1, size, size], and ``shown`` the same, finer;
    ``truth`` [L] 1, 0 or NaN, or None; ``known_as``, whether that is so ("True") or what labels
    say ("Labelled"); ``places`` {label: bool [h, w]}, where it is.
    """

    name: str
    grey: torch.Tensor
    shown: torch.Tensor
    notes: list = field(default_factory=list)
    truth: pd.Series | None = None
    known_as: str = "True"
    places: dict = field(default_factory=dict)


def read_case(reader, name, source, white=None, **known):
    """A file, by its path or its bytes, as a ``Case``; a ``ReadingError`` has its ``name``.

    ``white`` is the grey level of white where a file of more than 8 bits does not say it.
    """
    try:
        grey, notes = read_radiograph(source, reader.run.settings.size, white)
        shown, _ = read_radiograph(source, pictures.SIDE, white)
    except ReadingError as error:
        raise ReadingError(f"{name}: {error}") from error
    notes = [note.replace("(--white)", "(above)") for note in notes]
    return Case(name, grey, shown, notes, **known)


def phantom_case(reader, number, severity, view="frontal"):
    """A phantom patient with these findings, {finding: severity}, 0 being none: a ``Case``."""
    patient = phantom.draw_patient(np.random.default_rng(number))
    study = phantom.draw_study(np.random.default_rng(number), patient, 1)
    drawn = {name: how for name, how in severity.items() if how > 0}
    study = replace(study, drawn=drawn, other="", lateral=view == "lateral")
    size, hierarchy = reader.run.settings.size, reader.run.hierarchy
    places = phantom.lesions(study, pictures.SIDE, view)
    for label in hierarchy.labels:  # a group is where its children are
        if below := [places[name] for name in hierarchy.descendants(label) if name in places]:
            places[label] = np.any([*below, places.get(label, below[0])], axis=0)
    return Case(
        f"Phantom patient {number}: {patient.sex.lower()}, {patient.age}, {view}",
        *(torch.from_numpy(phantom.render(study, s, view))[None] for s in (size, pictures.SIDE)),
        truth=hierarchy.derive(pd.DataFrame([study.truth])[sorted(OBSERVATIONS)]).iloc[0],
        places=places,
    )
