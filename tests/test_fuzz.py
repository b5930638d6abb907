"""tools/fuzz: a small campaign with its exact seeds, and whether it finds what is planted."""

import functools
import json
import time

import pytest
from fuzz import __main__, harness

from cxrlib.labels import read_csv

SLICE = dict.fromkeys(harness.TARGETS, 60)  # how many inputs of each; the seed is 0
SLICE |= {"read_config": 20, "checkpoint": 20, "record": 20, "resume": 3}


@pytest.mark.parametrize("target", SLICE)
def test_bad_input_is_answered_rightly_or_refused_clearly(target):
    tally, bad = harness.campaign(target, 0, range(SLICE[target]))
    assert not bad, f"python tools/fuzz --target {target}: {json.dumps(bad, indent=1)}"
    assert tally["clear"], "nothing was refused"
    assert tally["right"] or target == "resume", "nothing was accepted"


def test_what_is_planted_is_found(tmp_path, monkeypatch):
    """Each of the five outcomes; a refusal counts as clear only where it names the right thing."""
    monkeypatch.setattr(harness, "LIMIT", 0.2)
    refused, case = functools.partial(read_csv, tmp_path / "none.csv"), harness.Case
    planted = {
        "right": [case("", lambda: 1), case("", lambda: 1, verdict="accept")],
        "clear": [case("", refused, r"none\.csv"), case("", refused, verdict="refuse")],
        "raw": [
            case("", lambda: json.loads("{")),  # a ValueError, but a library's
            case("", refused, r"other\.csv"),
            case("", lambda: exit(2)),
            case("", lambda: read_csv(None)),
        ],
        "silent": [
            case("", lambda: 1, wrong=lambda answer: "2 was expected"),
            case("", lambda: 1, verdict="refuse"),
            case("", refused, r"none\.csv", verdict="accept"),
        ],
        "hang": [case("", lambda: time.sleep(60))],
    }
    assert planted.keys() == set(harness.OUTCOMES)
    for outcome, cases in planted.items():
        assert [harness.classify(case)[0] for case in cases] == [outcome] * len(cases)


def test_a_planted_error_is_reported_with_how_to_see_it_again(monkeypatch, capsys):
    def target(rng, place):
        return harness.Case("odd", lambda: int("x") if rng.integers(2) else 1)

    monkeypatch.setitem(harness.TARGETS, "planted", (target, 20))
    assert __main__.main(["--target", "planted"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "--number" in line)
    assert __main__.main(line.split("[")[0].split()) == 1
    assert "invalid literal" in capsys.readouterr().out
