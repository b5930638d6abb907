"""The package's commands.

python -m cxrlib check FOLDER                          what a data folder holds and lacks
python -m cxrlib fit --config configs/workshop.yaml    train; --help lists every field
python -m cxrlib evaluate predictions.csv              AUROC and more of a table of predictions
python -m cxrlib read IMAGE_OR_FOLDER                  what the course's model says of radiographs
python -m cxrlib card RUN                              a model card of a finished run
"""

import os
import sys


def main(arguments):
    """Run the command that the first argument names."""
    name, *rest = arguments or ["--help"]
    if name == "check":
        from cxrlib import check

        return check.main(rest)
    if name == "evaluate":
        from cxrlib import evaluation

        return evaluation.main(rest)
    if name == "read":
        from cxrlib.reading import command

        return command.main(rest)
    if name == "card":
        from cxrlib import card

        return card.main(rest)
    if name == "fit":
        from cxrlib import configs

        return configs.main(rest)
    print(__doc__)
    return 0 if name in ("-h", "--help") else f"unknown command {name!r}: see above."


def run():
    """Run the command line's; quiet where nobody reads to the end, as with ``| head``."""
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141  # as a shell says it of a program that SIGPIPE has ended
    sys.exit(code)


if __name__ == "__main__":
    run()
