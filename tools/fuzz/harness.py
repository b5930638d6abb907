"""One bad input: is it answered rightly, or refused with a reason? And the list of targets.

right   an answer that the case's oracle accepts
clear   one of cxrlib's own ``raise`` statements, of a ``ValueError`` or ``OSError``, whose message
        names the file, label or argument that was spoilt
raw     any other error
silent  an answer that is wrong, or to what should have been refused; or a refusal of what is valid
hang    neither, for ``LIMIT`` seconds

To add a target, write in the file of its kind

    @target(1000)  # inputs in a full campaign
    def read_something(rng, place):
        path = place / "something.csv"
        what = spoil(path, rng)  # make something valid, and spoil it
        return Case(what, lambda: cxr("labels").read_something(path), "something.csv", wrong)

``rng`` decides everything, ``place`` is an empty folder, and ``cxr`` imports when it is called. A
new file of targets is imported in ``__main__.py``, and a slice of every target is a test.
"""

import contextlib
import importlib
import io
import linecache
import re
import shutil
import signal
import tempfile
import traceback
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 10.0
OUTCOMES = ("right", "clear", "raw", "silent", "hang")
NAN, INF = float("nan"), float("inf")
TARGETS = {}  # name: (function, inputs in a full campaign)


def target(count):
    def enter(function):
        TARGETS[function.__name__] = function, count
        return function

    return enter


class Hang(BaseException):
    """Rung by the alarm; no ``except Exception`` of the package's may swallow it."""


class Refuse(Exception):
    """An oracle says that the input must be refused; its text is a pattern for the message."""


class Silent(Exception):
    """A call has seen something that no answer or error would show."""


@dataclass(frozen=True)
class Case:
    """``what`` was spoilt, the ``call``, a pattern that an error must match (``names``), ``wrong``,
    which says what is wrong with an answer, and whether to "accept", "refuse" or do "either".
    ``wrong`` may raise ``Refuse`` as well."""

    what: str
    call: Callable
    names: str = ""
    wrong: Callable = lambda answer: None
    verdict: str = "either"


def judged(what, call, oracle, same, names=""):
    """The case of an input for which ``oracle()`` gives the answer, or raises ``Refuse``."""
    try:
        want = oracle()
    except Refuse as reason:
        return Case(what, call, f"{names}.*(?:{reason})", verdict="refuse")
    return Case(what, call, names, lambda got: same(got, want), "accept")


def classify(case):
    """(outcome, message) of one case."""

    def ring(*_):
        raise Hang

    before, quiet = signal.signal(signal.SIGALRM, ring), io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(quiet),
            contextlib.redirect_stdout(quiet),
            warnings.catch_warnings(action="ignore"),
        ):
            signal.setitimer(signal.ITIMER_REAL, LIMIT)
            answer = case.call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            complaint = case.wrong(answer)
    except Hang:
        return "hang", f"no answer in {LIMIT:g} s"
    except (Silent, Refuse) as error:
        return "silent", f"{type(error).__name__}: {error}"
    except (Exception, SystemExit) as error:
        return _judge(error, case)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if case.verdict == "refuse":
        return "silent", f"accepted; an error was expected that matches {case.names!r}"
    return ("silent", complaint) if complaint else ("right", "")


def _judge(error, case):
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno).strip()
    message = f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}: {error}"
    own = (ROOT / "cxrlib") in Path(frame.filename).parents and line.startswith("raise ")
    if not own or not isinstance(error, ValueError | OSError):
        return "raw", message
    if not re.search(case.names, str(error), re.DOTALL | re.IGNORECASE):
        return "raw", f"does not name {case.names!r}: {message}"
    if case.verdict == "accept":
        return "silent", f"refused what is valid: {message}"
    return "clear", ""


def make(name, seed, number, place):
    """Input ``number`` of a target: the same whatever else was tried."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return TARGETS[name][0](np.random.default_rng([seed, zlib.crc32(name.encode()), number]), place)


def campaign(name, seed, numbers):
    """(tally of outcomes, examples of the bad ones) of some inputs of a target."""
    tally, examples = Counter(), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            case = make(name, seed, number, Path(folder) / "case")
            outcome, message = classify(case)
            tally[outcome] += 1
            if outcome not in ("right", "clear"):
                examples[outcome].append((number, case.what, message))
    return tally, examples


# --- What all kinds of targets share -------------------------------------------------------------


def cxr(name):
    """A module of the package, imported when it is needed."""
    return importlib.import_module(f"cxrlib.{name}")


def pick(rng, options):
    return options[int(rng.integers(len(options)))]


def _flipped(data, rng):
    if not data:
        return data
    place = int(rng.integers(len(data)))
    return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]


BYTES = {  # what can happen to any file
    "as it is": lambda data, rng: data,
    "a bit flipped": _flipped,
    "truncated": lambda data, rng: data[: int(rng.integers(len(data) + 1))],
    "empty": lambda data, rng: b"",
    "byte order mark": lambda data, rng: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data, rng: data.decode("utf-8", "replace").encode("utf-16"),
    "Latin-1": lambda data, rng: data.replace(b"e", b"\xe9"),
    "CR line ends": lambda data, rng: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "blank lines": lambda data, rng: data.replace(b"\n", b"\n\n", int(rng.integers(1, 5))),
    "NUL at the end": lambda data, rng: data + b"\0",
    "noise": lambda data, rng: rng.bytes(200),
    "a block of zeros": lambda data, rng: data[: len(data) // 2] + bytes(40) + data[-20:],
}


def spoil(path, rng, kinds=(), read=None, write=None):
    """Spoil a file as bytes, or what ``read`` finds in it by one of ``kinds``; returns how."""
    what = pick(rng, (*kinds, *BYTES))
    if what in BYTES:
        path.write_bytes(BYTES[what](path.read_bytes(), rng))
    else:
        content = read(path)
        kinds[what](content, rng)
        write(path, content)
    return what
