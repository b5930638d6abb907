"""What ipywidgets lacks: a picture with a text, words that are not kept, a hierarchy to click on.

What the browser does stands in ``picture.js``, ``words.js`` and ``graph.js``, a screen each;
``anywidget`` brings them there without a build or a download.
"""

from pathlib import Path

import anywidget
import traitlets

from cxrlib import plots

HERE = Path(__file__).parent


class Live(anywidget.AnyWidget):
    """A widget whose parts are shown together, and kept with the notebook or not.

    JupyterLab writes the state of widgets into the notebook's file when it is saved. What is
    private is sent to the browser as a message, and never becomes state; ``now`` has what is shown,
    in Python.
    """

    _parts = ()

    @property
    def now(self):
        """{name: value} of what is shown, private or not."""
        return {name: getattr(self, name) for name in self._parts} | self._private

    def show(self, private=False, **parts):
        """Show other ``parts``, by name, in one message; if they are private, all parts are."""
        if private:
            shown = {name: parts.get(name, self.now[name]) for name in self._parts}
            self._private = shown
            with self.hold_sync():
                for name in self._parts:
                    setattr(self, name, self.traits()[name].default())
            buffers = {name: v for name, v in shown.items() if isinstance(v, bytes)}
            words = {name: v for name, v in shown.items() if name not in buffers}
            self.send({"show": words, "buffers": list(buffers)}, list(buffers.values()))
            return
        if self._private:
            parts, self._private = self._private | parts, {}
            self.send({"show": {}, "buffers": []})
        with self.hold_sync():
            for name, value in parts.items():
                setattr(self, name, value)

    def __init__(self, **options):
        self._private = {}
        super().__init__(**options)


class Picture(Live):
    """A PNG that can be exchanged, and what it shows in words.

    ``value`` are the PNG's bytes, b"" for no picture; ``alt`` its text, for those who cannot see
    it; ``wide`` its width in pixels, 0 for its own.
    """

    _esm = (HERE / "picture.js").read_text(encoding="utf-8")
    _parts = ("value", "alt")
    value = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    wide = traitlets.Int().tag(sync=True)


class Words(Live):
    """Some HTML, ``value``, as ``ipywidgets.HTML`` shows it; but it can be private."""

    _esm = (HERE / "words.js").read_text(encoding="utf-8")
    _parts = ("value",)
    value = traitlets.Unicode().tag(sync=True)


class HierarchyGraph(Live):
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
    _parts = ("shares", "texts", "notes", "marks")
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
