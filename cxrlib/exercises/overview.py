"""What is done of the course, what comes next, and how long the rest takes."""

import pandas as pd

from cxrlib.exercises.core import all_exercises
from cxrlib.exercises.done import read


def progress(file=None):
    """DataFrame by notebook: exercises ``done`` and ``of`` how many, ``minutes left``, ``next``."""
    done, trouble = read(file)
    if trouble:
        print(trouble)
    rows = {}
    for one in all_exercises().values():
        row = rows.setdefault(one.notebook, {"done": 0, "of": 0, "minutes left": 0, "next": ""})
        row["of"] += 1
        if one.name in done:
            row["done"] += 1
        else:
            row["minutes left"] += one.minutes
            row["next"] = row["next"] or f"{one.notebook}.{one.number} {one.title}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("notebook")
