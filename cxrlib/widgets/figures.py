"""Controls over a figure that follows them, and what stands in their place on a page."""

import asyncio
import inspect

import ipywidgets
from IPython.display import display

from cxrlib import plots
from cxrlib.widgets.live import Picture


def explore(draw, alt, **controls):
    """Show a figure that sliders and menus redraw.

    In a live notebook the controls appear with the figure under them. On a static page, and for
    ``pytest --nbval``, the same output is the figure at the controls' first values, with ``alt``
    as its text.

    Parameters
    ----------
    draw : function of the controls' values, returning a matplotlib figure.
    alt : what the first figure shows, in words; live, the controls' values follow.
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


def ask_graph(graph, tell, fig, alt):
    """Show a ``HierarchyGraph``, and below it words about the label that is clicked.

    Parameters
    ----------
    graph : HierarchyGraph
    tell : function of a label, returning HTML.
    fig, alt : the matplotlib figure that stands in its place where nothing is live, and its text.
    """
    words = ipywidgets.HTML(tell(graph.selected))
    graph.observe(lambda change: words.set_trait("value", tell(change["new"])), names="selected")
    box = ipywidgets.VBox([graph, words])
    show_box(box, plots.png(fig, alt), {"image/png": {"alt": alt}})


def show_box(box, instead, metadata=None):
    """Show a widget, and where nothing is live ``instead``: a bundle, {MIME type: content}."""
    view = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    bundle = instead | {"application/vnd.jupyter.widget-view+json": view}
    display(bundle, raw=True, metadata=metadata or {})


def control_box(draw, alt, controls):
    """The controls over an image that follows them: a ``VBox``."""
    picture = Picture()

    def redraw():
        values = {name: control.value for name, control in controls.items()}
        now = ", ".join(f"{name} {value}" for name, value in values.items())
        png = plots.png(draw(**values), alt)["image/png"]
        picture.show(value=png, alt=f"{alt} Now: {now}.")

    changed = followed_by(redraw)
    for control in controls.values():
        control.observe(changed, names="value")
    redraw()
    return ipywidgets.VBox([*controls.values(), picture])


def followed_by(work, seconds=0.02):
    """For ``observe``: does ``work`` so often as it can keep up, and always after the last change.

    A slider that is dragged sends more values than can be drawn; those that came while ``work`` was
    done, and within some milliseconds, are one. Outside a notebook, where no event loop runs,
    ``work`` is done at once.
    """
    waiting = []

    def change(_=None):
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            work()
            return
        if not waiting:
            waiting.append(loop.call_later(seconds, catch_up))

    def catch_up():
        waiting.clear()
        work()

    return change
