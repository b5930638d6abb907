"""How long a notebook takes: estimated from what it holds, for its first lines and for plans.

    python tools/minutes.py              a table of all notebooks
    python tools/minutes.py 08           the sections of one

A reader takes 200 words of prose in a minute, looks at 40 lines of code in one, at a picture or
table for half a minute, and thinks a minute about a guess. Exercises take what they say. What is
computed depends on the machine, and is not in here. Sections whose title begins with "Further" can
wait, and are counted apart.
"""

import math
import re
import sys
from pathlib import Path

import nbformat
import pandas as pd

from cxrlib.exercises import all_exercises

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
PER_MINUTE = {"words": 200, "lines of code": 40, "pictures": 2, "guesses": 1}
ASKS = re.compile(r"\*\*(?:Guess|guess|Say|Write down)\*\*")


def contents(notebook):
    """{section: {what there is to take in: how much}}; exercises and fields left out."""
    found, section = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for part in re.split(r"(?m)^(?=## )", cell.source):
                if part.startswith("## "):
                    section = part.partition("\n")[0][3:]
                of = found.setdefault(section, dict.fromkeys(PER_MINUTE, 0))
                of["words"] += len(part.split())
                of["guesses"] += len(ASKS.findall(part))
        elif not re.search(r"^exercises\.\w+\(", cell.source, re.MULTILINE):
            of = found.setdefault(section, dict.fromkeys(PER_MINUTE, 0))
            of["lines of code"] += len(cell.source.splitlines())
            of["pictures"] += sum(output.output_type != "stream" for output in cell.outputs)
    return found


def minutes_of(found):
    """Minutes for reading, looking and guessing; not rounded."""
    return sum(found[name] / per for name, per in PER_MINUTE.items())


def reading(notebook):
    """(minutes, and those of sections called further), each rounded up to five."""
    sections = contents(notebook).items()
    further = sum(minutes_of(of) for name, of in sections if name.startswith("Further"))
    rest = sum(minutes_of(of) for name, of in sections) - further
    return tuple(5 * math.ceil(part / 5) for part in (rest, further))


def exercises_of(number):
    """Minutes that the exercises of a notebook say they take."""
    return sum(one.minutes for one in all_exercises().values() if one.notebook == number)


def table():
    """DataFrame of all notebooks: what they hold, and how long it takes."""
    rows = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        row = pd.DataFrame(contents(notebook)).sum(axis=1).to_dict()
        row["reading"], row["further"] = reading(notebook)
        rows[path.stem] = row | {"exercises": exercises_of(path.stem.split("_")[0])}
    return pd.DataFrame(rows).T


if __name__ == "__main__":
    for number in sys.argv[1:]:
        paths = list(NOTEBOOKS.glob(f"{number}_*.ipynb"))
        if len(paths) != 1:
            sys.exit(f"No notebook's number is {number}; they run from 00 to 12, with 06b.")
        of = contents(nbformat.read(paths[0], as_version=4))
        print(pd.DataFrame(of).T.assign(minutes=pd.Series(of).map(minutes_of)).round(1).to_string())
    if not sys.argv[1:]:
        print(table().to_string())
