"""cxrlib.exercises: every solution passes, every stub and every wrong answer is told what it is."""

import inspect
import json
import linecache
import multiprocessing
import re
import textwrap
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import minutes
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch

from cxrlib import exercises
from cxrlib.exercises import core, done, guesses
from cxrlib.exercises.core import difference, exercise

ALL = exercises.all_exercises()


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setattr(done, "FILE", tmp_path / "progress.json")


def written(source, name, seen="<cell>"):
    """A function as a learner would have written it in a cell that has numpy, pandas and torch."""
    linecache.cache[seen] = (len(source), None, source.splitlines(keepends=True), seen)
    space = {"np": np, "pd": pd, "torch": torch, "__name__": "__main__"}
    exec(compile(source, seen, "exec"), space)
    return space[name]


# --- Every exercise of the course -----------------------------------------------------------------


JUNK = [
    None, "x", "", -7.25, float("nan"), 1j, [], {}, {"a": None}, set(), [[1], [1, 2]], (None, "x"),
    np.zeros((2, 3, 4)), np.array(["x", "y"]), np.array([None, 1]), object(), len, iter([1]),
    torch.ones(3, requires_grad=True), pd.Series([1.5], ["u"]), pd.DataFrame({"u": [1.5]}),
]  # fmt: skip


@pytest.mark.parametrize("one", ALL.values(), ids=ALL)
class TestEach:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_solution_passes_as_the_learner_would_write_it(self, one, seed):
        assert one.verdict(written(one.text(), one.name), seed) is None

    def test_the_stub_is_not_tried_yet(self, one, capsys):
        assert one.verdict(written(one.stub(), one.name)).startswith("Not tried yet")
        exercises.check(written(one.stub(), one.name))
        assert capsys.readouterr().out.startswith("○ Not tried yet")
        assert done.read()[0] == {}

    def test_there_are_three_wrong_answers_and_each_gets_its_own_hint(self, one):
        assert len(one.mistakes) >= 3
        assert len({says for _, says in one.mistakes}) == len(one.mistakes)
        for function, says in one.mistakes:
            for seed in range(3):
                found = one.verdict(function, seed)
                assert found is not None and found.startswith(says), (function.__name__, found)

    def test_it_asks_and_hints_in_full(self, one):
        assert inspect.getdoc(one.solution), "a question"
        assert len(one.hints) == 2 and len(set(one.hints)) == 2
        assert 1 <= one.minutes <= 30
        body = one.text()[len(one.stub()) - len("    ...  # your code\n") :]
        assert body.strip() and body.strip() not in one.stub()

    def test_results_of_any_kind_get_a_sentence(self, one):
        """Never an error of ours. Where every kind of answer is right, there is none to tell."""
        arguments = list(inspect.signature(one.solution).parameters)
        for junk in JUNK:
            space = {"junk": junk}
            exec(f"def {one.name}({', '.join(arguments)}): return junk", space)
            told = one.verdict(space[one.name], 0)
            assert isinstance(told, str) and len(told) > 10, junk

    def test_a_function_that_returns_nothing_or_stops_gets_a_sentence(self, one):
        arguments = ", ".join(inspect.signature(one.solution).parameters)
        nothing = written(f"def {one.name}({arguments}):\n    x = 1\n", one.name)
        assert one.verdict(nothing)
        source = f"def {one.name}({arguments}):\n    return 1 / 0\n"
        told = one.verdict(written(source, one.name, f"<{one.name}>"))
        assert "ZeroDivisionError" in told and "return 1 / 0" in told
        assert "Traceback" not in told and "exercises/" not in told


def test_no_two_exercises_share_a_name():
    """Or one of them would be checked in place of the other."""
    files = sorted(Path(core.__file__).parent.glob("nb*.py"))
    written = sum(path.read_text(encoding="utf-8").count("\n@exercise(") for path in files)
    assert written == len(ALL)


def test_numbers_run_from_one_in_every_notebook():
    by_notebook = {}
    for one in ALL.values():
        by_notebook.setdefault(one.notebook, []).append(one.number)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_notebook.values())


# --- In the notebooks -----------------------------------------------------------------------------

NOTEBOOKS = sorted(Path(__file__).resolve().parent.parent.glob("notebooks/*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_its_exercises_as_their_solutions_ask(path):
    """Word for word, in order, with what they need; with and without an answer nbval passes."""
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    held = [cell for cell in cells if "exercises.check(" in cell.source]
    own = [one for one in ALL.values() if one.notebook == path.stem.split("_")[0]]
    assert [cell.source for cell in held] == [one.cell() for one in own]
    assert len(own) >= (2 if path.stem.startswith("00") else 3)
    for cell in held:
        assert "nbval-ignore-output" in cell.metadata.get("tags", [])
        assert cell.outputs[0]["text"].startswith("○ Not tried yet")
    above = "\n".join(cell.source for cell in cells[: cells.index(held[0])])
    for needed in ("import numpy as np", "import pandas as pd", "import torch", "exercises"):
        assert needed in above


def test_what_00_shows_is_nobodys_own_progress():
    cells = nbformat.read(NOTEBOOKS[0], as_version=4).cells
    (shown,) = [cell.outputs for cell in cells if cell.source == "exercises.progress()"]
    table = shown[0]["data"]["text/html"]
    done = re.findall(r"<th>\d\d\w?</th>\s*<td>(\d+)</td>", table)
    assert len(done) == len(NOTEBOOKS) and set(done) == {"0"}


# --- The machinery --------------------------------------------------------------------------------


@exercise("99", 1, "Twice", minutes=1, hints=("Add it.", "x + x"))
def twice(x):
    """Twice x.

    x: an array."""
    # Two of them.
    return x + x


@twice.inputs
def _draw(rng):
    yield (rng.normal(size=3),)
    yield (rng.normal(size=5),)


@twice.mistake("That is the square.")
def _square(x):
    return x * x


def test_a_stub_is_head_and_docstring_alone():
    assert twice.stub() == textwrap.dedent(
        '''\
        def twice(x):
            """Twice x.

            x: an array."""
            ...  # your code
        '''
    )
    assert twice.text().startswith("def twice(x):") and "return x + x" in twice.text()
    assert twice.cell().splitlines()[0] == "# Exercise 99.1: Twice (1 minute)"


def test_verdicts_name_what_differs():
    assert twice.verdict(lambda x: 2 * x) is None
    assert twice.verdict(3) == "Expected the function twice, got 3."
    assert "Expected the arguments (x), got (y)" in twice.verdict(lambda y: y)
    assert twice.verdict(_square).startswith("That is the square.\nYours gives")
    assert "The input: x = [" in twice.verdict(lambda x: x * 3)
    assert "returns nothing" in twice.verdict(lambda x: print(end=""))
    assert "shape [3], got [2]" in twice.verdict(lambda x: (2 * x)[:2])
    assert "Expected an array of the shape [3], got a str" in twice.verdict(lambda x: "2x")


@exercise("99", 2, "A list that is sorted?", minutes=1, hints=("Sort.", "sorted(x)"))
def in_order(x):
    """The numbers of a list in order; the list itself stays as it is."""
    return sorted(x)


@in_order.inputs
def _draw_lists(rng):
    yield (list(rng.permutation(5)),)


@in_order.behaviour
def _leaves_it(answer, x):
    before = list(x)
    answer(x)
    return None if x == before else "You changed the list that you were given."


def test_behaviour_is_tried_after_the_result_was_compared():
    assert in_order.verdict(sorted) is not None, "its argument is not called x"
    assert in_order.verdict(lambda x: sorted(x)) is None
    assert in_order.verdict(lambda x: x.sort() or x) == "You changed the list that you were given."
    assert in_order.verdict(lambda x: list(x)[::-1]).startswith("Yours gives")


def test_a_title_that_asks_gets_no_full_stop(monkeypatch, capsys):
    monkeypatch.setattr(core, "find", lambda answer: in_order)
    exercises.check(lambda x: sorted(x))
    assert capsys.readouterr().out == "✓ Right: A list that is sorted?\n"


def test_the_gradient_that_is_not_there_is_explained():
    def step(x):
        """Where nothing leads back to x."""
        return (torch.tensor(x) > 0).float().sum().backward()

    assert "no way back" in twice.verdict(step)


def test_inputs_are_new_at_every_check_and_safe_from_the_learner():
    seen = []

    def spoils(x):
        seen.append(x.copy())
        result = x + x
        x[:] = 0
        return result

    assert twice.verdict(spoils) is None and twice.verdict(spoils) is None
    assert not np.array_equal(seen[0], seen[2])


@pytest.mark.parametrize(
    ("mine", "right", "told"),
    [
        (0.1 + 0.2, 0.3, None),
        (torch.tensor(0.5), 0.5, None),
        ([0.5, 1], np.array([0.5, 1.0]), None),
        (np.nan, np.nan, None),
        (1, np.nan, "Yours gives 1, expected nan."),
        ("a", "b", "Yours gives 'a', expected 'b'."),
        (1, True, None),
        ({"a": 1}, {"a": 1, "b": 2}, "Expected the keys"),
        ({"a": 1}, {"a": 2}, "At 'a': Yours gives 1, expected 2."),
        ({"x"}, {"x", "y"}, "Yours gives"),
        (pd.Series([1], ["b"]), pd.Series([1], ["a"]), "Expected the index"),
        (pd.Series([1.5, 2]), pd.Series([1, 2]), "Yours gives 1.5 at [0], expected 1 (1 of 2"),
        ([1, 2], 3.0, "Expected one number, got a list of 2."),
        (["x"], {"x"}, "Expected a set, such as {'x'}, got a list of 1."),
        ((np.ones(2), np.zeros(2)), (np.ones(2), np.zeros(2)), None),
        (
            (np.ones(2), np.ones(2)),
            (np.ones(2), np.zeros(2)),
            "In part 1: Yours gives 1 at [0], exp",
        ),
        (
            (np.ones(2), np.ones(3)),
            (np.ones(2), np.ones(2)),
            "In part 1: Expected the shape [2], got",
        ),
        ([torch.ones(2, requires_grad=True)] * 2, (np.ones(2), np.ones(2)), None),
        ([np.ones(2)], (np.ones(2), np.zeros(2)), "Expected a tuple of 2, got a list of 1."),
        (np.array([True, False]), True, "Expected a bool, got an array of the shape [2]."),
        (pd.Series([1]), None, "Expected nothing (None), got a Series."),
        ([[1], [1, 2]], True, "Expected a bool, got a list of 2."),
        (1 + 2j, 1.0, "Expected a float, got a complex."),
        ("0.5", 0.5, "Expected a float, got a str."),
        (np.ones((2, 3)), np.ones((3, 2)), "Expected the shape [3, 2], got [2, 3]."),
    ],
)
def test_differences(mine, right, told):
    found = difference(mine, right)
    assert found is None if told is None else told in (found or "")


def test_hints_get_plainer_and_stay(capsys):
    core._told_hints.clear()
    name = next(iter(ALL))
    for _ in range(3):
        exercises.hint(name)
    first, second, third = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("Hint 1 of 2, there is one more: ")
    assert second == third and second.startswith("Hint 2 of 2: ")


def test_solution_shows_the_source(capsys):
    name = next(iter(ALL))
    exercises.solution(name)
    assert capsys.readouterr().out.startswith(f"def {name}(")


def test_unknown_names_say_which_there_are(capsys):
    def nonsense(x):
        return x

    exercises.check(nonsense)
    assert "No exercise is called 'nonsense'. There are: " in capsys.readouterr().out
    for call in (exercises.hint, exercises.solution):
        call("nonsense")
        assert "No exercise is called 'nonsense'. There are: " in capsys.readouterr().out


@pytest.mark.parametrize("result", [3, [1], {}, np.ones(2), None, pd.Series([1.0])])
def test_a_result_in_place_of_the_function_gets_a_sentence(result, capsys):
    exercises.check(result)
    assert "the function itself, without brackets" in capsys.readouterr().out


def test_a_function_is_called_once_an_input():
    calls = []
    assert twice.verdict(lambda x: calls.append(1) or x * x).startswith("That is the square.")
    assert len(calls) == 2


def test_what_is_done_is_kept_and_shown(capsys):
    one = next(iter(ALL.values()))
    before = exercises.progress()
    exercises.check(one.solution)
    assert (
        capsys.readouterr().out == f"✓ Right: {one.title}{'' if one.title.endswith('?') else '.'}\n"
    )
    after = exercises.progress()
    assert after.loc[one.notebook, "done"] == 1 and before.loc[one.notebook, "done"] == 0
    left = before["minutes left"] - after["minutes left"]
    assert left[one.notebook] == one.minutes
    assert before.loc[one.notebook, "next"] == f"{one.notebook}.{one.number} {one.title}"
    assert after.loc[one.notebook, "next"] != before.loc[one.notebook, "next"]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"done": 3}', '{"done": {"a": 1}}', "\xff", '{"guesses": {"a": "b"}}'],
)
def test_a_corrupt_file_costs_a_sentence(content, capsys):
    done.FILE.write_text(content, encoding="latin-1")
    table = exercises.progress()
    assert table["done"].sum() == 0
    assert "is not a record of progress, so it counts as empty" in capsys.readouterr().out
    exercises.check(next(iter(ALL.values())).solution)
    assert "it is progress.json.unreadable now" in capsys.readouterr().out
    assert len(json.loads(done.FILE.read_text())["done"]) == 1
    kept = done.FILE.with_name("progress.json.unreadable")
    assert kept.read_text(encoding="latin-1") == content, "nothing that was written is lost"


def test_a_file_that_cannot_be_read_is_not_written(monkeypatch, capsys):
    one, other = list(ALL.values())[:2]
    done.keep(one)
    before = done.FILE.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "EIO")))
        exercises.check(other.solution)
        assert "progress was not kept: EIO" in capsys.readouterr().out
        assert "cannot be read (EIO)" in done.read()[1]
    assert done.FILE.read_bytes() == before


def test_what_a_later_version_keeps_stays():
    done.FILE.write_text('{"done": {}, "rooms": [1]}')
    done.keep(next(iter(ALL.values())))
    found = json.loads(done.FILE.read_text())
    assert found["rooms"] == [1] and len(found["done"]) == 1


def _keep_twenty(place):
    file, number = place
    for n in range(20):
        assert done.keep_guess(f"{number}.{n}", "a half", file) == ""


def test_notebooks_side_by_side_lose_nothing(tmp_path):
    file = tmp_path / "progress.json"
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_keep_twenty, [(file, number) for number in range(4)]))
    found, trouble = done.read_all(file)
    assert len(found["guesses"]) == 80 and trouble == ""


def test_a_guess_is_kept_shown_again_and_marked(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "cxrlib.widgets.figures.display", lambda bundle, **how: shown.append(bundle)
    )
    exercises.guess("09.1")
    assert shown[-1]["text/plain"] == "Your guess 09.1: …"
    assert "application/vnd.jupyter.widget-view+json" in shown[-1]
    exercises.surprises("09")
    assert shown[-1]["text/plain"] == "No guesses of notebook 09 are kept yet."

    field = guesses.guess_field("09.1").children[1]
    field.value = "a half"
    assert done.read_all()[0]["guesses"] == {"09.1": {"said": "a half", "surprised": None}}
    guesses.guess_field("10.1").children[1].value = "never"
    exercises.guess("09.1")
    assert shown[-1]["text/plain"] == "Your guess 09.1: a half"

    box = guesses.surprise_box({"09.1": {"said": "a half", "surprised": None}})
    guesses.guess_field("09.1").children[1].value = "a third"
    box.children[0].children[1].value = True
    exercises.surprises("09")
    assert shown[-1]["text/plain"] == "09.1: a third, a surprise", "the words are the last ones"
    exercises.check(next(iter(ALL.values())).solution)
    assert set(done.read_all()[0]["guesses"]) == {"09.1", "10.1"}, "kept beside what is done"


def test_a_guess_that_cannot_be_kept_says_so(tmp_path, monkeypatch):
    (tmp_path / "no").touch()
    monkeypatch.setattr(done, "FILE", tmp_path / "no" / "folder.json")
    box = guesses.guess_field("09.1")
    box.children[1].value = "a half"
    assert "progress was not kept" in box.children[2].value


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_question_has_a_field_for_the_guess(path):
    """Right below it, or below the picture that it asks about; numbered; the end looks back."""
    number = path.stem.split("_")[0]
    cells = nbformat.read(path, as_version=4).cells
    prose = [n for n, cell in enumerate(cells) if n > 0 and cell.cell_type == "markdown"]
    asked = [n for n in prose if minutes.ASKS.search(cells[n].source)
             and "## The course" not in cells[n].source]  # fmt: skip
    for count, place in enumerate(asked, start=1):
        field = cells[place + 1]
        if any("image/png" in output.get("data", {}) for output in field.get("outputs", [])):
            field = cells[place + 2]
        assert field.source == f'exercises.guess("{number}.{count}")', cells[place].source
        assert "nbval-ignore-output" in field.metadata.get("tags", [])
    assert len(asked) >= 1
    sources = [cell.source for cell in cells]
    assert sum('exercises.guess("' in source for source in sources) == len(asked)
    assert sources.count(f'exercises.surprises("{number}")') == 1


def test_a_file_that_cannot_be_written_costs_a_sentence(tmp_path, monkeypatch, capsys):
    (tmp_path / "no").touch()
    monkeypatch.setattr(done, "FILE", tmp_path / "no" / "such" / "folder.json")
    exercises.check(next(iter(ALL.values())).solution)
    assert "✓ Right" in (said := capsys.readouterr().out) and "progress was not kept" in said
