"""Bad input, by the thousand: does the package answer rightly, or refuse and say why?

    python tools/fuzz [--count N] [--seed S] [--target NAME] [--number N]

Input ``number`` of a target follows from the seed, the target's name and the number alone, so that
every line of the report can be made again. ``harness.py`` says what the outcomes mean, and how to
add a target. The exit status is 1 where anything is raw, silent or hanging.
"""

import argparse
import sys
import time
from pathlib import Path

if not __package__:  # run as a folder: the modules beside this one are found as fuzz.tables, ...
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from fuzz import calls, images, runs, tables, yaml_files  # noqa: F401 (they enter their targets)
from fuzz.harness import OUTCOMES, TARGETS, campaign


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python tools/fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, help="inputs of each target; by default a full run's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--number", type=int, help="only this input, to see one again")
    parser.add_argument("--examples", type=int, default=5, help="of each bad outcome, to print")
    options = parser.parse_args(arguments)
    heads = ("tried", *OUTCOMES, "seconds")
    print(f"{'target':<20}" + "".join(f"{name:>8}" for name in heads), flush=True)
    found = {}
    for name in [options.target] if options.target else TARGETS:
        started = time.perf_counter()
        numbers = range(TARGETS[name][1] if options.count is None else options.count)
        numbers = numbers if options.number is None else [options.number]
        tally, found[name] = campaign(name, options.seed, numbers)
        seconds = round(time.perf_counter() - started)
        cells = (tally.total(), *(tally[outcome] for outcome in OUTCOMES), seconds)
        print(f"{name:<20}" + "".join(f"{cell:>8}" for cell in cells), flush=True)
    for name, examples in found.items():
        for outcome, some in examples.items():
            print(f"\n{name}, {outcome}:")
            for number, what, message in some[: options.examples]:
                print(f"  --target {name} --seed {options.seed} --number {number} [{what}]")
                print(f"      {message[:300]!r}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
