"""The reading room: one radiograph on the viewer, and all that can be asked about it.

A source, which is the phantom, a track's test images or a file of one's own, puts a ``Case`` on the
viewer. ``Room`` has it read and draws the answers; every control is an attribute, so that a program
can do what a hand does.
"""

import html
from dataclasses import dataclass, field, replace
from functools import cached_property

import ipywidgets as w
import numpy as np
import pandas as pd
import torch

from cxrlib import phantom
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import pictures, told
from cxrlib.reading.files import ReadingError, read_radiograph
from cxrlib.training.fit import make_data
from cxrlib.widgets import HierarchyGraph, Picture, followed_by, show_box

ACCEPTED = ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.dcm,.dicom"
PHANTOM, OWN = "a phantom", "a file of yours"
ALBUM, LIKE = 500, 5  # among so many images so many are shown that are like it


@dataclass(frozen=True)
class Case:
    """A radiograph on the viewer, and what is known of it.

    ``grey`` is what the model sees, uint8 [1, size, size], and ``shown`` the same, finer;
    ``truth`` [L] 1, 0 or NaN, or None; ``places`` {finding: bool [h, w]}, where it is.
    """

    name: str
    grey: torch.Tensor
    shown: torch.Tensor
    notes: list = field(default_factory=list)
    truth: pd.Series | None = None
    places: dict = field(default_factory=dict)


def read_case(reader, name, source, truth=None):
    """A file, by its path or its bytes, as a ``Case``; ``ReadingError`` if it is none."""
    grey, notes = read_radiograph(source, reader.run.settings.size, reader.white)
    shown, _ = read_radiograph(source, pictures.SIDE, reader.white)
    return Case(name, grey, shown, notes, truth)


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


class Room:
    """The reading room of a ``Reader``; ``show()`` puts it into a notebook.

    Parameters
    ----------
    reader : Reader
    tracks : {name: Track}, whose test images can be chosen.
        Images like the one on the viewer are looked for among the first one's
        validation images, none of which was learnt from.
    hits : {label: share} of images on whose finding the map of this label is highest, if it was
        measured (notebook 08); it is told beside the map.
    risk : the accepted risk at first.
    """

    def __init__(self, reader, tracks=(), hits=None, risk=0.1):
        self.reader, self.tracks = reader, dict(tracks)
        self.hits = {} if hits is None else dict(hits)
        self.hierarchy = reader.run.hierarchy
        self.case = self.reading = None
        self._make_sources()
        self.threshold = _slider("threshold", 0.5, 0.02, 0.98)
        self.risk = _slider("risk", risk, 0.02, 0.5)
        self.graph = HierarchyGraph(self.hierarchy, "Pleural Effusion")
        self.film, self.map, self.alike = Picture(), Picture(), Picture(wide=LIKE * 128)
        self.report, self.about, self.caption, self.problem = (w.HTML() for _ in range(4))
        self._watch()
        self.box = self._lay_out()
        self.open()

    # --- What is on the viewer ----------------------------------------------------------------

    def _make_sources(self):
        self.source = w.ToggleButtons(options=[PHANTOM, *self.tracks, OWN])
        self.patient = w.IntSlider(1, min=0, max=200, description="patient")
        self.view = w.Dropdown(options=phantom.VIEWS, description="view")
        start = {"Pleural Effusion": 0.7}
        self.severity = {
            name: w.FloatSlider(
                start.get(name, 0), min=0, max=1, step=0.05, readout_format=".2f",
                description=name, style={"description_width": "11.5em"},
                layout={"width": "27em", "max_width": "100%"},
            )
            for name in phantom.FINDINGS
        }  # fmt: skip
        self.number = w.IntSlider(0, min=0, max=0, description="image")
        self.upload = w.FileUpload(accept=ACCEPTED, multiple=False, description="choose a file")
        self._uploaded = None
        self.tests = {name: track.split("test") for name, track in self.tracks.items()}

    def open(self):
        """Put what the controls name on the viewer, and have it read."""
        source = self.source.value
        self.controls.children = [self._panels[PHANTOM if source == PHANTOM else
                                  OWN if source == OWN else "track"]]  # fmt: skip
        self.problem.value = ""
        try:
            case = self._chosen(source)
        except ReadingError as error:
            case = None
            self.problem.value = f"<p><b>{html.escape(str(error))}</b></p>"
        self.case = case
        self.body.layout.display = None if case else "none"
        if case:
            self.read()

    def _chosen(self, source):
        if source == PHANTOM:
            severity = {name: control.value for name, control in self.severity.items()}
            return phantom_case(self.reader, self.patient.value, severity, self.view.value)
        if source == OWN:
            if self._uploaded is None:
                raise ReadingError("No file was chosen yet: PNG, JPEG, TIFF, BMP or DICOM.")
            name, content = self._uploaded
            try:
                return read_case(self.reader, name, content)
            except ReadingError as error:
                raise ReadingError(f"{name}: {error}") from error
        track, rows = self.tracks[source], self.tests[source]
        self.number.max = len(rows) - 1
        row = rows.iloc[[self.number.value]]
        truth = self.hierarchy.derive(row[list(OBSERVATIONS)]).iloc[0]
        path = track.folder / row["path"].iloc[0]
        return read_case(self.reader, f"{source}: {row['path'].iloc[0]}", path, truth)

    def _take(self, change):
        for file in change["new"]:
            self._uploaded = file["name"], bytes(file["content"])
            self.open()

    # --- What is said of it -------------------------------------------------------------------

    def read(self):
        """Read what is on the viewer, at the accepted risk."""
        if self.case:
            self.reading = self.reader.read(self.case.grey[None], [0], self.risk.value)
            self._nearest = self._find_nearest()
            self.report.value = told.report(self.case, self.reading, self.risk.value)
            self.draw()

    def draw(self):
        """Draw the answers about the label that is chosen."""
        if not self.case:
            return
        case, label, threshold = self.case, self.graph.selected, self.threshold.value
        self.graph.show(**told.boxes(self.reading, threshold))
        heat = self.reader.maps(case.grey[None], [label])[0, 0].numpy()
        place = case.places.get(label)
        film = pictures.film(case.shown, outline=place)
        self.film.show(pictures.as_png(film), told.film(case, label))
        film = pictures.film(case.shown, heat)
        self.map.show(pictures.as_png(film), told.where(case, label, heat))
        self.about.value = told.about(
            self.hierarchy, self.reading, case, label, threshold, self.hits.get(label)
        )
        self._draw_nearest(label)

    @cached_property
    def _album(self):
        """Images among which to look: (grey levels, features, truth, patients)."""
        if not self.tracks:
            return None
        track = next(iter(self.tracks.values()))
        rows = track.split("valid")[:ALBUM]
        truth = self.hierarchy.derive(rows[list(OBSERVATIONS)]).reset_index(drop=True)
        dataset = make_data(track, self.hierarchy, self.reader.run.settings).dataset("valid")
        grey = dataset.fetch(torch.arange(len(rows)))[0]
        features = np.concatenate([self.reader.embed(part) for part in grey.split(128)])
        return grey, features, truth, rows["patient"].to_numpy()

    def _find_nearest(self):
        if self._album is None:
            return []
        _, features, _, patients = self._album
        away = np.linalg.norm(features - self.reading.features, axis=1)
        order = np.argsort(away)
        _, first = np.unique(patients[order], return_index=True)  # each patient once
        return order[np.sort(first)[:LIKE]]

    def _draw_nearest(self, label):
        if not len(self._nearest):
            return
        grey, _, truth, _ = self._album
        has = truth.loc[self._nearest, label] == 1
        films = [pictures.film(grey[k], side=120) for k in self._nearest]
        self.caption.value = told.like_it(label, has)
        row = pictures.as_png(pictures.framed(films, has))
        self.alike.show(row, told.plain(self.caption.value))

    # --- How it stands in a notebook ----------------------------------------------------------

    def _watch(self):
        opened, read = followed_by(self.open), followed_by(self.read)
        for control in (self.source, self.patient, self.view, self.number, *self.severity.values()):
            control.observe(opened, names="value")
        self.upload.observe(self._take, names="value")
        self.risk.observe(read, names="value")
        drawn = followed_by(self.draw)
        self.threshold.observe(drawn, names="value")
        self.graph.observe(drawn, names="selected")

    def _lay_out(self):
        row = {"flex_flow": "row wrap", "grid_gap": "0.4em 1.2em"}
        severities = w.Box(list(self.severity.values()), layout=row)
        self._panels = {
            PHANTOM: w.VBox([w.Box([self.patient, self.view], layout=row), severities]),
            "track": self.number,
            OWN: self.upload,
        }
        self.controls = w.Box()
        films = w.Box([self.film, self.map, self.report], layout=row)
        self.report.layout = {"flex": "1 1 18em", "min_width": "16em"}
        self.body = w.VBox(
            [
                films,
                w.Box([self.threshold, self.risk], layout=row),
                self.graph,
                self.about,
                self.caption,
                self.alike,
            ]
        )
        return w.VBox([self.source, self.controls, self.problem, self.body])

    def still(self):
        """The room as one picture, for pages on which nothing is live: a PNG, and its text."""
        return told.still(self)

    def show(self):
        """The room in a notebook; on a page its first picture."""
        png, alt = self.still()
        bundle = {"image/png": png, "text/plain": f"[figure] {alt}"}
        show_box(self.box, bundle, {"image/png": {"alt": alt}})


def _slider(name, value, low, high):
    return w.FloatSlider(value, min=low, max=high, step=0.02, description=name)
