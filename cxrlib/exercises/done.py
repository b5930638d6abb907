"""What a learner has done and guessed: a small file of his or her own, which nothing sends away."""

import json
import os
from datetime import date
from pathlib import Path

FILE = Path(os.environ.get("CXR_PROGRESS") or Path(__file__).parents[2] / "progress.json")


def read_all(file=None):
    """({"done": {exercise: day}, "guesses": {number: {"said", "surprised"}}}, a sentence or "")."""
    file, empty = file or FILE, {"done": {}, "guesses": {}}
    try:
        found = empty | json.loads(file.read_text(encoding="utf-8"))
        _check(found)
        return {name: dict(found[name]) for name in empty}, ""
    except FileNotFoundError:
        return empty, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return empty, f"{file} cannot be read, so it counts as empty; it will be written anew."


def _check(found):
    for day in found["done"].values():
        date.fromisoformat(day)
    for guess in found["guesses"].values():
        if not isinstance(guess["said"], str) or guess["surprised"] not in (True, False, None):
            raise TypeError("guesses")


def read(file=None):
    """({exercise: day it was done}, what is wrong with the file or "")."""
    found, trouble = read_all(file)
    return found["done"], trouble


def keep(exercise, file=None):
    """Note that an exercise is done. Returns "", or a sentence if that was not possible."""
    found, _ = read_all(file)
    found["done"].setdefault(exercise.name, date.today().isoformat())
    return _write(found, file or FILE)


def keep_guess(number, said, surprised=None, file=None):
    """Note a guess, or that it surprised. Returns "", or a sentence if that was not possible."""
    found, _ = read_all(file)
    found["guesses"][number] = {"said": said, "surprised": surprised}
    return _write(found, file or FILE)


def _write(found, file):
    partial = file.with_name(file.name + ".partial")
    try:
        partial.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        return f" (Your progress was not kept: {error.strerror or error}: {file}.)"
    return ""
