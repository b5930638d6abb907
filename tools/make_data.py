"""Write the phantom cohort to data/phantom, unless it is there."""

import sys
from pathlib import Path

from cxrlib.cohort import CohortError, write_cohort


def main():
    try:
        write_cohort(Path(__file__).resolve().parent.parent / "data" / "phantom")
    except (CohortError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":  # worker processes import this file again
    sys.exit(main())
