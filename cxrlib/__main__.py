"""The package's commands.

python -m cxrlib check FOLDER                          what a data folder holds and lacks
python -m cxrlib fit --config configs/workshop.yaml    train; --help lists every field
python -m cxrlib evaluate predictions.csv              AUROC and more of a table of predictions
python -m cxrlib read IMAGE_OR_FOLDER                  what the course's model says of radiographs
python -m cxrlib card RUN                              a model card of a finished run
"""

import signal
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
    """Run the command line's; quiet where nobody reads to the end, as with ``| head``.

    (A training goes on without a reader: there a closed pipe is an error like any other.)
    """
    if hasattr(signal, "SIGPIPE") and sys.argv[1:2] != ["fit"]:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
