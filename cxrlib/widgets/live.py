"""The two controls that ipywidgets lacks: a picture with a text, and a hierarchy to click on.

What the browser does stands in ``picture.js`` and ``graph.js``, a screen each; ``anywidget`` brings
them there without a build or a download.
"""

from pathlib import Path

import anywidget
import traitlets

from cxrlib import plots

HERE = Path(__file__).parent


class Picture(anywidget.AnyWidget):
    """A PNG that can be exchanged, and what it shows in words.

    ``value`` are the PNG's bytes, b"" for no picture; ``alt`` its text, for those who cannot see
    it; ``wide`` the widest it is drawn, in pixels, 0 for its own width.
    """

    _esm = (HERE / "picture.js").read_text(encoding="utf-8")
    value = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    wide = traitlets.Int().tag(sync=True)

    def show(self, png, alt):
        """Another picture, and its text with it, in one message."""
        with self.hold_sync():
            self.value, self.alt = png, alt


class HierarchyGraph(anywidget.AnyWidget):
    """A hierarchy whose labels are clicked, or reached with Tab and chosen with Enter.

    Parameters
    ----------
    hierarchy : Hierarchy, drawn from left to right as by ``plots.draw_hierarchy``.
    selected : the label that is chosen at first.

    Attributes
    ----------
    selected : the label that is chosen; its ancestors' and descendants' edges are in colour.
    shares : {label: 0 … 1}, how dark its box is; white if not named.
    texts : {label: a few letters}, beside its name.
    notes : {label: a line}, below its name.
    marks : {label: why}, labels with a thick frame; the reason is read aloud and shown on hovering.
    """

    _esm = (HERE / "graph.js").read_text(encoding="utf-8")
    boxes = traitlets.Dict().tag(sync=True)
    edges = traitlets.List().tag(sync=True)
    never_both = traitlets.List().tag(sync=True)
    selected = traitlets.Unicode().tag(sync=True)
    shares = traitlets.Dict().tag(sync=True)
    texts = traitlets.Dict().tag(sync=True)
    notes = traitlets.Dict().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)

    def __init__(self, hierarchy, selected=None, **options):
        self._labels = hierarchy.labels
        super().__init__(
            boxes={
                label: [float(x), float(y)] for label, (x, y) in plots.layout(hierarchy).items()
            },
            edges=[list(edge) for edge in hierarchy.edges],
            never_both=[list(pair) for pair in hierarchy.never_both],
            selected=selected or hierarchy.labels[0],
            **options,
        )

    @traitlets.validate("selected")
    def _is_a_label(self, proposal):
        if proposal["value"] not in self._labels:
            raise traitlets.TraitError(
                f"{proposal['value']!r} is no label of this hierarchy: {', '.join(self._labels)}."
            )
        return proposal["value"]

    def show(self, **parts):
        """New ``shares``, ``texts``, ``notes`` or ``marks``, in one message."""
        with self.hold_sync():
            for name, value in parts.items():
                setattr(self, name, value)
