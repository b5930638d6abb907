"""The reading room: one radiograph on the viewer, and all that can be asked about it.

A source, which is the phantom, a track's test images or a file of one's own, puts a ``Case`` on the
viewer. ``Room`` has it read and draws the answers; every control is an attribute, so that a program
can do what a hand does.
"""

import html
from functools import cached_property

import ipywidgets as w
import numpy as np
import torch

from cxrlib import phantom
from cxrlib.labels import OBSERVATIONS
from cxrlib.reading import pictures, told
from cxrlib.reading.cases import phantom_case, read_case
from cxrlib.reading.files import ReadingError, is_otherwise
from cxrlib.training.fit import make_data
from cxrlib.widgets import HierarchyGraph, Picture, Words, followed_by, show_box

ACCEPTED = ".png,.jpg,.jpeg,.tif,.tiff,.bmp,.dcm,.dicom"
PHANTOM, OWN = "a phantom", "a file of yours"
ALBUM, LIKE = 500, 5  # among so many images so many are shown that are like it


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
    risk : the accepted risk at first, 0.01 … 0.5.

    Raises
    ------
    ValueError
        A risk beyond that, or a track called like another source.
    """

    def __init__(self, reader, tracks=(), hits=None, risk=0.1):
        self.reader, self.tracks = reader, dict(tracks)
        self.hits = {} if hits is None else dict(hits)
        self.hierarchy = reader.run.hierarchy
        if not 0.01 <= risk <= 0.5:
            raise ValueError(f"risk={risk}: expected a share from 0.01 to 0.5.")
        if taken := {PHANTOM, OWN} & set(self.tracks):
            raise ValueError(f"{min(taken)!r} is the room's own name for a source: name it else.")
        self.case = self.reading = None
        self._make_sources()
        self.threshold = _slider("threshold", 0.5, 0.02, 0.98)
        self.risk = _slider("risk", risk, 0.01, 0.5)
        labels = self.hierarchy.labels
        first = "Pleural Effusion" if "Pleural Effusion" in labels else labels[0]
        self.graph = HierarchyGraph(self.hierarchy, first)
        self.film, self.map, self.alike = Picture(), Picture(), Picture(wide=LIKE * 128)
        self.report, self.about, self.caption, self.problem = (Words() for _ in range(4))
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
        usual = [
            ("what the file can hold", None),
            *[(str(2**n - 1), 2**n - 1) for n in (10, 12, 14)],
        ]
        self.white = w.Dropdown(options=usual, description="white is")
        self._uploaded = None
        self.tests = {name: track.split("test") for name, track in self.tracks.items()}

    def open(self):
        """Put what the controls name on the viewer, and have it read."""
        source = self.source.value
        kind = source if source in (PHANTOM, OWN) else "track"
        self.controls.children = [self._panels[kind]]
        self._shown(lambda: self._read(self._chosen(source)))

    def _chosen(self, source):
        if source == PHANTOM:
            severity = {name: control.value for name, control in self.severity.items()}
            return phantom_case(self.reader, self.patient.value, severity, self.view.value)
        if source == OWN:
            if self._uploaded is None:
                raise ReadingError("No file was chosen yet: PNG, JPEG, TIFF, BMP or DICOM.")
            return read_case(self.reader, *self._uploaded, self.white.value or self.reader.white)
        track, rows = self.tracks[source], self.tests[source]
        if not len(rows):
            raise ReadingError(f"{source}: this track has no test images.")
        self.number.max = len(rows) - 1
        row = rows.iloc[[self.number.value]]
        path = row["path"].iloc[0]
        return read_case(
            self.reader,
            f"{source}: {path}",
            track.folder / path,
            self.reader.white,
            truth=self.hierarchy.derive(row[list(OBSERVATIONS)]).iloc[0],
            known_as="True" if track.name == "phantom" else "Labelled",
        )

    def _take(self, change):
        for file in change["new"]:
            self._uploaded = file["name"], bytes(file["content"])
            self.upload.value = ()  # or it would be saved with the notebook
            self.problem.show(value=told.paragraphs(["Reading …"]))
            if self.source.value == OWN:
                self.open()
            else:
                self.source.value = OWN

    def _shown(self, work):
        """Do what changes the viewer. If it fails, nothing of an earlier image stays on it."""
        try:
            work()
            self.problem.show(value="")
            self.body.layout.display = None
        except Exception as error:  # in a notebook nobody else would see it
            self.case = self.reading = None
            self.body.layout.display = "none"
            said = str(error) if isinstance(error, ReadingError) else f"Not read: {error!r}."
            words = told.paragraphs([f"<b>{html.escape(said)}</b>"])
            self.problem.show(value=words, private=self.source.value != PHANTOM)

    # --- What is said of it -------------------------------------------------------------------

    def read(self):
        """Read what is on the viewer anew, at the accepted risk."""
        if self.case:
            self._shown(lambda: self._read(self.case))

    def draw(self):
        """Draw the answers about the label that is chosen anew."""
        if self.case:
            self._shown(self._draw)

    def _read(self, case):
        otherwise = [is_otherwise(case.notes)]
        self.reading = self.reader.read(case.grey[None], [0], self.risk.value, otherwise)
        self.case = case
        self._nearest = self._find_nearest()
        self.report.show(value=told.report(case, self.reading), private=self._is_private)
        self._draw()

    def _draw(self):
        case, label, threshold = self.case, self.graph.selected, self.threshold.value
        private = self._is_private
        self.graph.show(**told.boxes(self.reading, threshold), private=private)
        film = pictures.as_png(pictures.film(case.shown, outline=case.places.get(label)))
        self.film.show(value=film, alt=told.film(case, label), private=private)
        heat = self.reader.maps(case.grey[None], [label])[0, 0].numpy()
        film = pictures.as_png(pictures.film(case.shown, heat))
        self.map.show(value=film, alt=told.where(case, label, heat), private=private)
        hit = self.hits.get(label)
        words = told.about(self.hierarchy, self.reading, case, label, threshold, hit)
        self.about.show(value=words, private=private)
        self._draw_nearest(label)

    @cached_property
    def _album(self):
        """Images among which to look: (grey levels, features, truth, patients)."""
        track = next(iter(self.tracks.values()), None)
        if track is None or not len(rows := track.split("valid")[:ALBUM]):
            return None
        truth = self.hierarchy.derive(rows[list(OBSERVATIONS)]).reset_index(drop=True)
        dataset = make_data(track, self.hierarchy, self.reader.run.settings).dataset("valid")
        grey = dataset.fetch(torch.arange(len(rows)))[0]
        features = np.concatenate([self.reader.embed(part) for part in grey.split(128)])
        return grey, features, truth, rows["patient"].to_numpy()

    def _find_nearest(self):
        if self._album is None:
            return np.array([], dtype=int)
        _, features, _, patients = self._album
        away = np.linalg.norm(features - self.reading.features, axis=1)
        order = np.argsort(away)
        _, first = np.unique(patients[order], return_index=True)  # each patient once
        return order[np.sort(first)[:LIKE]]

    def _draw_nearest(self, label):
        if not len(self._nearest):
            self.caption.show(value="")
            self.alike.show(value=b"", alt="")
            return
        grey, _, truth, _ = self._album
        has = truth.loc[self._nearest, label]
        films = [pictures.film(grey[k], side=120) for k in self._nearest]
        words, row = told.like_it(label, has), pictures.framed(films, has == 1)
        self.caption.show(value=words, private=True)
        self.alike.show(value=pictures.as_png(row), alt=told.plain(words), private=True)

    @property
    def _is_private(self):
        """Whether what is shown must not be saved with the notebook: all but phantoms."""
        return self.source.value != PHANTOM

    # --- How it stands in a notebook ----------------------------------------------------------

    def _watch(self):
        opened, read = followed_by(self.open), followed_by(self.read)
        own = (self.source, self.patient, self.view, self.number, self.white)
        for control in (*own, *self.severity.values()):
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
            OWN: w.Box([self.upload, self.white], layout=row),
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
        """The room as one picture, for pages on which nothing is live: a PNG, and its text.

        A picture of anything but a phantom would be saved with the notebook: b"" and a sentence.
        """
        if self.case is None:
            return b"", told.plain(self.problem.now["value"])
        if self._is_private:
            return b"", f"Here stands, in a live notebook, {self.source.value}."
        return told.still(self)

    def show(self):
        """The room in a notebook; on a page what ``still`` says."""
        png, words = self.still()
        if not png:
            show_box(self.box, {"text/plain": words})
            return
        bundle = {"image/png": png, "text/plain": f"[figure] {words}"}
        show_box(self.box, bundle, {"image/png": {"alt": words}})


def _slider(name, value, low, high):
    return w.FloatSlider(value, min=low, max=high, step=0.01, description=name)
