"""Controls for a live notebook, with a figure in their place wherever nothing is live."""

import inspect

import ipywidgets
from IPython.display import display

from cxrlib import plots


def explore(draw, alt, **controls):
    """Show a figure that sliders and menus redraw.

    In a live notebook the controls appear with the figure under them. On a static page, and for
    ``pytest --nbval``, the same output is the figure at the controls' first values, with ``alt``
    as its text.

    Parameters
    ----------
    draw : function of the controls' values, returning a matplotlib figure.
    alt : what the first figure shows, in words.
    controls : an ipywidgets widget for every argument of ``draw``, by name.

    Raises
    ------
    TypeError
        An argument of ``draw`` without a control, or the other way round.
    """
    wanted = set(inspect.signature(draw).parameters)
    if wanted != set(controls):
        odd = min(wanted ^ set(controls))
        raise TypeError(f"{odd!r} is not both an argument of {draw.__name__}() and a control.")
    first = {name: control.value for name, control in controls.items()}
    box = control_box(draw, alt, controls)
    show_box(box, plots.png(draw(**first), alt), {"image/png": {"alt": alt}})


def show_box(box, instead, metadata=None):
    """Show a widget, and where nothing is live ``instead``: a bundle, {MIME type: content}."""
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = instead | {"application/vnd.jupyter.widget-view+json": view}
    display(bundle, raw=True, metadata=metadata or {})


def control_box(draw, alt, controls):
    """The controls over an image that follows them: a ``VBox``."""
    picture = ipywidgets.Image(format="png")

    def redraw(_=None):
        values = {name: control.value for name, control in controls.items()}
        picture.value = plots.png(draw(**values), alt)["image/png"]

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])
