"""What a learner has done and guessed: a small file of his or her own, which nothing sends away."""

import json
import os
from datetime import date
from pathlib import Path

from filelock import FileLock

FILE = Path(os.environ.get("CXR_PROGRESS") or Path(__file__).parents[2] / "progress.json")
FILE = FILE.expanduser()


def read_all(file=None):
    """({"done": {exercise: day}, "guesses": {number: {"said", "surprised"}}}, a sentence or "")."""
    file = file or FILE
    try:
        return _read(file), ""
    except OSError as error:
        return _empty(), f"{file} cannot be read ({error.strerror or error}): nothing is shown."
    except ValueError:
        return _empty(), f"{file} is not a record of progress, so it counts as empty."


def _empty():
    return {"done": {}, "guesses": {}}


def _read(file):
    """All that the file holds. Raises OSError, and ValueError for what is no record."""
    try:
        found = _empty() | json.loads(file.read_text(encoding="utf-8"))
        for day in found["done"].values():
            date.fromisoformat(day)
        for guess in found["guesses"].values():
            if not isinstance(guess["said"], str) or guess["surprised"] not in (True, False, None):
                raise ValueError("guesses")
    except FileNotFoundError:
        return _empty()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from error
    return found


def read(file=None):
    """({exercise: day it was done}, what is wrong with the file or "")."""
    found, trouble = read_all(file)
    return found["done"], trouble


def keep(exercise, file=None):
    """Note that an exercise is done. Returns "", or a sentence to be told."""
    return _change(
        lambda found: found["done"].setdefault(exercise.name, date.today().isoformat()), file
    )


def keep_guess(number, said, file=None):
    """Note what was guessed. Returns "", or a sentence to be told."""
    return _change(lambda found: _guess(found, number).update(said=said), file)


def mark_guess(number, surprised, file=None):
    """Note whether what came was a surprise (None: not looked at). Returns "", or a sentence."""
    return _change(lambda found: _guess(found, number).update(surprised=surprised), file)


def _guess(found, number):
    return found["guesses"].setdefault(number, {"said": "", "surprised": None})


def _change(change, file):
    """Read, change and write the file, while no other notebook does.

    What is no record is kept beside it, as ``….unreadable``; a file that cannot be read stays.
    """
    file, told = file or FILE, ""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{file}.lock", timeout=5):
            try:
                found = _read(file)
            except ValueError:
                found, kept = _empty(), file.with_name(f"{file.name}.unreadable")
                file.replace(kept)
                told = f" ({file} was not a record of progress: it is {kept.name} now.)"
            change(found)
            partial.write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
            partial.replace(file)
    except OSError as error:
        return (
            f" (Your progress was not kept: {error.strerror or error}: {file}. "
            "Another file can be named in CXR_PROGRESS.)"
        )
    return told
