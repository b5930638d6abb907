"""tools/minutes.py, and whether notebooks and plans say what it finds."""

import re
from pathlib import Path

import minutes
import nbformat
import pytest

from cxrlib.exercises import all_exercises

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))


def stated(path):
    """(minutes of reading, of exercises) in a notebook's first cell."""
    words = " ".join(nbformat.read(path, as_version=4).cells[0].source.split())
    found = re.search(r"\*\*Minutes\*\* (\d+), and (\d+) for the exercises", words)
    assert found, f"{path.stem}: its first cell should state its minutes"
    return int(found[1]), int(found[2])


def test_contents_by_hand():
    v4 = nbformat.v4
    code = v4.new_code_cell(
        "a = 1\na", outputs=[v4.new_output("execute_result", {"text/plain": "1"})]
    )
    exercise = v4.new_code_cell("def f():\n    ...\n\n\nexercises.check(f)")
    prose = v4.new_markdown_cell(
        "# One\n\n**Guess** " + "word " * 197 + "\n\n## Further: more\n\nEnd."
    )
    notebook = v4.new_notebook(cells=[prose, code, exercise])
    nothing = dict.fromkeys(minutes.PER_MINUTE, 0)
    assert minutes.contents(notebook) == {
        "": nothing | {"words": 200, "guesses": 1},
        "Further: more": nothing | {"words": 4, "lines of code": 2, "pictures": 1},
    }
    assert minutes.minutes_of(minutes.contents(notebook)[""]) == 2
    assert minutes.reading(notebook) == (5, 5)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_states_its_minutes(path):
    """Within five of what it holds; more than 45 only where it says that it takes two sittings."""
    reading, exercises = stated(path)
    notebook = nbformat.read(path, as_version=4)
    words = " ".join(notebook.cells[0].source.split())
    more = re.search(r"called \*further\* takes? (\d+) more", words)
    found, further = minutes.reading(notebook)
    assert abs(reading - found) <= 5
    assert abs(int(more[1] if more else 0) - further) <= 5 and bool(more) == bool(further)
    assert exercises == minutes.exercises_of(path.stem.split("_")[0])
    assert reading <= 45 or "two sittings" in words


def plans():
    """{title: (rows of (minutes, notebook, what), the sum it states)} of docs/teaching.md."""
    text = (ROOT / "docs" / "teaching.md").read_text(encoding="utf-8")
    found = {}
    for part in text.split("\n### ")[1:]:
        rows = re.findall(r"^\| (\d+) \| (\S+) \| (.*?) ?\|$", part, re.MULTILINE)
        if rows:
            total = int(re.search(r"^(\d+) minutes[.:]", part, re.MULTILINE)[1])
            found[part.splitlines()[0]] = (rows, total)
    return found


@pytest.mark.parametrize("title", plans())
def test_a_plan_adds_up_from_the_notebooks(title):
    rows, total = plans()[title]
    assert sum(int(row[0]) for row in rows) == total
    assert len(plans()) >= 3
    reading = {path.stem.split("_")[0]: stated(path)[0] for path in NOTEBOOKS}
    by_number = {(one.notebook, str(one.number)): one for one in all_exercises().values()}
    since_break = 0
    for length, notebook, what in rows:
        since_break = 0 if notebook == "break" else since_break + int(length)
        assert since_break <= 105, "nobody sits longer without a break"
        if notebook in reading:
            words = what.split(", ")
            parts = [
                reading[notebook] if w == "read" else by_number[notebook, w].minutes for w in words
            ]
            assert int(length) == sum(parts), (notebook, what)
        else:
            assert notebook in ("break", "talk"), notebook


def test_the_kit_speaks_of_every_notebook():
    text = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    parts = {part.split(" ")[0]: part for part in text.split("\n## ")[1:]}
    assert list(parts) == [path.stem.split("_")[0] for path in NOTEBOOKS]
    for part in parts.values():
        for word in ("Objective", "Misconception", "Question", "Board"):
            assert f"**{word}.**" in part
