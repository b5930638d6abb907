"""Guesses: made before a cell is run, kept, and looked back upon at the notebook's end."""

from functools import partial

import ipywidgets

from cxrlib import widgets
from cxrlib.exercises.done import keep_guess, mark_guess, read_all


def guess(number):
    """A field for what you guess; it is kept when you press Enter or go on.

    number : the notebook's and the guess's own, such as "09.3".

    On a page, where nothing is live, the guess that was kept, if any.
    """
    kept = read_all()[0]["guesses"].get(number, {"said": ""})
    words = f"Your guess {number}: {kept['said'] or '…'}"
    widgets.show_box(guess_field(number, kept["said"]), {"text/plain": words})


def guess_field(number, said=""):
    """The field alone: an ipywidgets ``HBox`` of a text and what became of it."""
    field = ipywidgets.Text(
        said, placeholder="a number, a name, a few words", continuous_update=False
    )
    told = ipywidgets.Label("")

    def keep(change):
        trouble = keep_guess(number, change["new"])
        told.value = trouble.strip() or "Kept. Now run the next cell."

    field.observe(keep, names="value")
    return ipywidgets.HBox([ipywidgets.Label(f"Your guess {number}:"), field, told])


def surprises(notebook):
    """What you guessed in a notebook, each to be marked: as you thought, or a surprise.

    On a page, where nothing is live, the list.
    """
    kept, trouble = read_all()
    own = {n: g for n, g in kept["guesses"].items() if n.split(".")[0] == notebook and g["said"]}
    words = {True: ", a surprise", False: ", as thought", None: ""}
    lines = [f"{n}: {g['said']}{words[g['surprised']]}" for n, g in own.items()]
    text = trouble or "\n".join(lines) or f"No guesses of notebook {notebook} are kept yet."
    box = surprise_box(own) if own else ipywidgets.Label(text)
    widgets.show_box(box, {"text/plain": text})


def surprise_box(guesses):
    """A row for each guess, {number: {"said", "surprised"}}: an ipywidgets ``VBox``."""
    rows = []
    for number, kept in guesses.items():
        mark = ipywidgets.ToggleButtons(
            options=[("not looked at", None), ("as I thought", False), ("a surprise", True)],
            value=kept["surprised"],
        )
        told = ipywidgets.Label("")
        mark.observe(partial(_mark, number, told), names="value")
        rows.append(ipywidgets.VBox([ipywidgets.Label(f"{number}: {kept['said']}"), mark, told]))
    return ipywidgets.VBox(rows)


def _mark(number, told, change):
    told.value = mark_guess(number, change["new"]).strip()
