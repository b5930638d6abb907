"""What a learner has done: a small file of his or her own, which nothing sends anywhere."""

import json
import os
from datetime import date
from pathlib import Path

FILE = Path(os.environ.get("CXR_PROGRESS") or Path(__file__).parents[2] / "progress.json")


def read(file=None):
    """({exercise: day it was done}, what is wrong with the file or ""); {} without one."""
    file = file or FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        done = found["done"]
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in done.items()):
            raise TypeError("done")
        return dict(done), ""
    except FileNotFoundError:
        return {}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (
            {},
            f"{file} cannot be read, so it counts as empty; the next exercise writes it anew.",
        )


def keep(exercise, file=None):
    """Note that an exercise is done. Returns "", or a sentence if that was not possible."""
    file = file or FILE
    done, _ = read(file)
    done.setdefault(exercise.name, date.today().isoformat())
    partial = file.with_name(file.name + ".partial")
    try:
        partial.write_text(json.dumps({"done": done}, indent=1), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        return f" (Your progress was not kept: {error.strerror or error}: {file}.)"
    return ""
