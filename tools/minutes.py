"""How long a notebook takes: estimated from what it holds, for its first lines and for plans.

    python tools/minutes.py          a table of all notebooks

A reader takes 200 words of prose in a minute, looks at 40 lines of code in one, at a picture or
table for half a minute, and thinks half a minute about a guess. Exercises take what they say. What
is computed depends on the machine, and is not in here.
"""

import math
import re
from pathlib import Path

import nbformat
import pandas as pd

from cxrlib.exercises import all_exercises

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PER_MINUTE = {"words": 200, "lines of code": 40, "pictures": 2, "guesses": 2}
ASKS = re.compile(r"\*\*(?:Guess|guess|Say|Write down|Before)\b")


def contents(notebook):
    """{what there is to take in: how much} of a notebook with outputs, exercises left out."""
    prose = " ".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    code = [cell for cell in code if "exercises.check(" not in cell.source]
    shown = [o for cell in code for o in cell.outputs if o.output_type != "stream"]
    return {
        "words": len(prose.split()),
        "lines of code": sum(len(cell.source.splitlines()) for cell in code),
        "pictures": len(shown),
        "guesses": len(ASKS.findall(prose)),
    }


def reading(notebook):
    """Minutes for reading, looking and guessing, rounded up to five."""
    found = contents(notebook)
    minutes = sum(found[name] / per for name, per in PER_MINUTE.items())
    return 5 * math.ceil(minutes / 5)


def exercises_of(number):
    """Minutes that the exercises of a notebook say they take."""
    return sum(one.minutes for one in all_exercises().values() if one.notebook == number)


def table():
    """DataFrame of all notebooks: what they hold, and minutes for ``reading`` and ``exercises``."""
    rows = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        minutes = {"reading": reading(notebook), "exercises": exercises_of(path.stem.split("_")[0])}
        rows[path.stem] = contents(notebook) | minutes
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    print(table().to_string())
