"""What an exercise is, and how an answer is checked, hinted at and solved."""

import ast
import copy
import importlib
import inspect
import pkgutil
import re
import textwrap
import traceback
from dataclasses import dataclass, field
from types import FunctionType

import numpy as np
import pandas as pd
import torch

from cxrlib.exercises.done import keep

TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


@dataclass
class Exercise:
    """A question whose answer is a function, checked by what it does.

    The *solution* is the source: its name, signature and docstring are what the learner is given,
    its body what the learner writes. Modules ``nb00`` … ``nb12`` hold the exercises of a notebook::

        @exercise("04", 1, "The penalty of one edge", minutes=5, hints=("…", "…"))
        def edge_penalty(parents, children):
            \"\"\"What is asked, with shapes, values and an example.\"\"\"
            return children.mean() / parents.mean()

        @edge_penalty.inputs
        def draw(rng):
            for count in (5, 50):
                yield rng.integers(0, 2, count), rng.integers(0, 2, count)

        @edge_penalty.mistake("Turned over: …")
        def upside_down(parents, children):
            return parents.mean() / children.mean()
    """

    solution: FunctionType
    notebook: str
    number: int
    title: str
    minutes: int
    hints: tuple
    draw: FunctionType | None = None
    judge: FunctionType | None = None
    trial: FunctionType | None = None
    mistakes: list = field(default_factory=list)

    @property
    def name(self):
        return self.solution.__name__

    def inputs(self, draw):
        """``draw(rng)`` yields tuples of arguments; each check draws new ones."""
        self.draw = draw
        return draw

    def judged_by(self, judge):
        """``judge(answer, *arguments)`` says in a sentence what is wrong, or None.

        Without one an answer is right where it returns what the solution returns. With one, any
        answer is right that has the property.
        """
        self.judge = judge
        return judge

    def behaviour(self, trial):
        """``trial(answer, *arguments)`` is given the learner's function itself, to call it as often
        as it likes, and says in a sentence what is wrong with it, or None. It comes after the
        comparison with the solution, or the judge.
        """
        self.trial = trial
        return trial

    def mistake(self, says):
        """A typical wrong answer; who gives it is told ``says``."""

        def register(function):
            self.mistakes.append((function, says))
            return function

        return register

    def stub(self):
        """The solution with an empty body: what the learner starts from."""
        source = textwrap.dedent(inspect.getsource(self.solution))
        lines = _from_def(source).splitlines(keepends=True)
        body = lines[_end_of_docstring(self.solution, lines) :]
        head = "".join(lines[: len(lines) - len(body)])
        return f"{head}    ...  # your code\n"

    def cell(self, solved=False):
        """The notebook's cell: title, stub or solution, check, and the way to help."""
        return (
            f"# Exercise {self.notebook}.{self.number}: {self.title} ({_minutes(self.minutes)})\n"
            f"{self.text() if solved else self.stub()}\n\nexercises.check({self.name})\n"
            f'# exercises.hint("{self.name}")\n# exercises.solution("{self.name}")'
        )

    def text(self):
        """The solution's source, without its decorator."""
        source = textwrap.dedent(inspect.getsource(self.solution))
        return _from_def(source).rstrip() + "\n"

    def verdict(self, answer, seed=None):
        """None if ``answer`` is right; else a sentence on what is wrong, or not yet done."""
        if not callable(answer):
            return f"Expected the function {self.name}, got {_short(answer)}."
        if is_untouched(answer):
            return f"Not tried yet: {_minutes(self.minutes)}. Write your code where the dots are."
        wanted = list(inspect.signature(self.solution).parameters)
        try:
            given = list(inspect.signature(answer).parameters)
        except (TypeError, ValueError):
            given = wanted
        if given != wanted:
            return f"Expected the arguments ({', '.join(wanted)}), got ({', '.join(given)})."
        cases = list(self.draw(np.random.default_rng(seed)))
        results = [_called(answer, case) for case in cases]
        found = [self._one(answer, *of, case) for of, case in zip(results, cases, strict=True)]
        wrong = [message for message in found if message]
        if not wrong:
            return None
        for function, says in self.mistakes:
            if _alike(results, [_called(function, case) for case in cases]):
                return f"{says}\n{wrong[0]}"
        return wrong[0]

    def _one(self, answer, result, stopped, arguments):
        """What is wrong with an answer to one input, in a sentence; or None."""
        if stopped:
            return stopped
        try:
            if self.judge is None:
                wrong = self.compare(result, arguments)
            else:
                wrong = self.judge(result, *copy.deepcopy(arguments))
        except Exception:
            right = self.solution(*copy.deepcopy(arguments))
            return f"Expected {_kind(right)}, as the text above asks, got {_kind(result)}: " + (
                f"{_short(result)}."
            )
        if wrong or self.trial is None:
            return wrong
        try:
            return self.trial(answer, *copy.deepcopy(arguments))
        except Exception as error:
            return _told(error, answer)

    def compare(self, result, arguments):
        """What differs from the solution's answer to the same input, in a sentence; or None."""
        right = self.solution(*copy.deepcopy(arguments))
        if result is None and right is not None:
            return "Your function returns nothing: end it with `return` and your result."
        if differs := difference(result, right):
            return f"{differs}\nThe input: {_arguments(self.solution, arguments)}."
        return None


def exercise(notebook, number, title, minutes, hints):
    """Make an ``Exercise`` of its solution. ``hints``: two, the second one nearly there."""

    def make(solution):
        return Exercise(solution, notebook, number, title, minutes, tuple(hints))

    return make


def all_exercises():
    """{name: Exercise} of the whole course, in its order."""
    package = importlib.import_module("cxrlib.exercises")
    found = []
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        if module.startswith("nb"):
            of = vars(importlib.import_module(f"cxrlib.exercises.{module}")).values()
            found += sorted((e for e in of if isinstance(e, Exercise)), key=lambda e: e.number)
    return {one.name: one for one in found}


def find(name):
    """The exercise of this name; a ``KeyError`` that says which there are."""
    known = all_exercises()
    name = getattr(name, "__name__", name)
    if name not in known:
        raise KeyError(f"No exercise is called {name!r}. There are: {', '.join(known)}.")
    return known[name]


# --- What a learner calls -------------------------------------------------------------------------


def check(answer):
    """Check a function under its own name, on inputs drawn for this check, and say what differs."""
    if not callable(answer) and not isinstance(answer, str):
        print("Give check the function itself, without brackets: exercises.check(name).")
        return
    if (one := _found(answer)) is None:
        return
    wrong = one.verdict(answer)
    if wrong is None:
        end = "" if one.title.endswith("?") else "."
        print(f"✓ Right: {one.title}{end}{keep(one)}")
    else:
        sign = "○" if is_untouched(answer) else "✗"
        print(f"{sign} {wrong}")


_told_hints = {}


def hint(name):
    """A hint; called again, a plainer one."""
    if (one := _found(name)) is None:
        return
    level = min(_told_hints.get(one.name, 0), len(one.hints) - 1)
    _told_hints[one.name] = level + 1
    more = ", there is one more" if level + 1 < len(one.hints) else ""
    print(f"Hint {level + 1} of {len(one.hints)}{more}: {one.hints[level]}")


def solution(name):
    """Show the solution."""
    if (one := _found(name)) is not None:
        print(one.text())


def _found(name):
    """The exercise of this name; or None, and it is told which there are."""
    try:
        return find(name)
    except KeyError as error:
        print(error.args[0])
        return None


# --- Comparing ------------------------------------------------------------------------------------


def is_untouched(function):
    """Whether a function's body is empty but for its docstring."""
    code = getattr(function, "__code__", None)

    def empty():
        """Nothing."""

    if code is None or code.co_code != empty.__code__.co_code:
        return False
    return all(constant in (None, ..., function.__doc__) for constant in code.co_consts)


def difference(mine, right):
    """What differs between a learner's result and the right one, in a sentence; or None."""
    if isinstance(right, dict):
        if not isinstance(mine, dict):
            return f"Expected a dict, got {_kind(mine)}."
        if set(mine) != set(right):
            return f"Expected the keys {_short(set(right))}, got {_short(set(mine))}."
        parts = ((key, difference(mine[key], right[key])) for key in right)
        return next((f"At {key!r}: {told}" for key, told in parts if told), None)
    if isinstance(right, pd.DataFrame | pd.Series) and isinstance(mine, type(right)):
        for name in ("index", "columns"):
            ours, theirs = (list(getattr(table, name, [])) for table in (right, mine))
            if ours != theirs:
                return f"Expected the {name} {_short(ours)}, got {_short(theirs)}."
    if isinstance(right, list | tuple) and not all(map(_is_scalar, right)):
        if _is_scalar(mine) or len(mine) != len(right):
            return f"Expected {_kind(right)}, got {_kind(mine)}."
        parts = ((n, difference(*pair)) for n, pair in enumerate(zip(mine, right, strict=True)))
        return next((f"In part {n}: {told}" for n, told in parts if told), None)
    if isinstance(right, set | frozenset) and not isinstance(mine, set | frozenset):
        return f"Expected a set, such as {_short(right or set('ab'))}, got {_kind(mine)}."
    if isinstance(right, str | set | frozenset | bool | np.bool_) or right is None:
        if not _is_scalar(mine):
            return f"Expected {_kind(right)}, got {_kind(mine)}."
        same = isinstance(mine, str) == isinstance(right, str) and mine == right
        return None if same else f"Yours gives {_short(mine)}, expected {_short(right)}."
    try:
        ours, theirs = _as_array(right), _as_array(mine)
    except (TypeError, ValueError, RuntimeError):
        return f"Expected {_kind(right)}, got {_kind(mine)}."
    if ours.dtype.kind in "biuf" and theirs.dtype.kind not in "biuf":
        return f"Expected {_kind(right)}, got {_kind(mine)}."
    if ours.ndim == 0 != theirs.ndim:
        return f"Expected one number, got {_kind(mine)}."
    if ours.shape != theirs.shape:
        return f"Expected the shape {list(ours.shape)}, got {list(theirs.shape)}."
    if ours.dtype.kind not in "biuf":
        same = ours == theirs
    else:
        same = np.isclose(theirs.astype(float), ours.astype(float), equal_nan=True, **TOLERANCE)
    if np.all(same):
        return None
    where = np.unravel_index(np.argmin(same), ours.shape) if ours.shape else ()
    at = f" at {list(map(int, where))}" if ours.size > 1 else ""
    many = f" ({int((~same).sum())} of {ours.size} differ)" if ours.size > 1 else ""
    return f"Yours gives {_short(theirs[where])}{at}, expected {_short(ours[where])}{many}."


def _is_scalar(value):
    """Whether a value is one number or word, in whatever wrapping."""
    return not isinstance(value, list | tuple) and getattr(value, "ndim", 0) == 0


def _as_array(value):
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, list | tuple):
        value = [v.item() if isinstance(v, torch.Tensor) and v.ndim == 0 else v for v in value]
    found = np.asarray(value)
    if found.dtype == object and found.ndim == 0:
        raise TypeError("no number")
    return found


def _called(answer, arguments):
    """(what a function returns, "") or, where it stops, (None, a sentence)."""
    try:
        return answer(*copy.deepcopy(arguments)), ""
    except Exception as error:
        return None, _told(error, answer)


def _alike(ours, theirs):
    """Whether two functions answered all inputs alike; each is a list of what ``_called`` says."""
    for (mine, stopped), (other, never) in zip(ours, theirs, strict=True):
        if stopped or never or (mine is None) != (other is None) or difference(mine, other):
            return False
    return True


# --- Telling --------------------------------------------------------------------------------------


def _told(error, answer):
    """A learner's own error: what, and in which line; never a traceback of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    own = [frame for frame in frames if frame.filename == file and frame.line]
    where = f", at `{own[-1].line}`" if own else ""
    told = f"Your code stops with {type(error).__name__}{where}: {error}"
    if "does not require grad" in str(error):
        told += "\nPyTorch finds no way back to the inputs. What does that say of the gradient?"
    return told


def _minutes(count):
    return "1 minute" if count == 1 else f"{count} minutes"


def _kind(value):
    if isinstance(value, torch.Tensor | np.ndarray):
        name = "a tensor" if isinstance(value, torch.Tensor) else "an array"
        return f"{name} of the shape {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "nothing (None)" if value is None else f"a {type(value).__name__}"


def _short(value, width=120):
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.size > 12:
            return f"an array of the shape {list(value.shape)}"
        text = np.array2string(value, precision=4, separator=", ").replace("\n", "")
    elif isinstance(value, pd.DataFrame | pd.Series):
        text = f"a {type(value).__name__} of the shape {list(value.shape)}"
    elif isinstance(value, float):
        text = f"{value:.5g}"
    else:
        text = repr(value)
    return text if len(text) <= width else text[: width - 1] + "…"


def _arguments(solution, arguments):
    names = inspect.signature(solution).parameters
    return ", ".join(f"{n} = {_short(v)}" for n, v in zip(names, arguments, strict=True))


def _from_def(source):
    return source[re.search(r"(?m)^def ", source).start() :]


def _end_of_docstring(function, lines):
    """How many of a function's source lines are its head: def, and docstring."""
    (tree,) = ast.parse("".join(lines)).body
    first = tree.body[0]
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        raise ValueError(f"{function.__name__}: an exercise needs a docstring that asks.")
    return first.end_lineno
