"""Where things lie: in the checkout; for an installed package, below the folder one works in."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent
HOME = _CHECKOUT if (_CHECKOUT / "notebooks" / "scripts").is_dir() else Path.cwd()

PHANTOM = HOME / "data" / "phantom"
RUNS = HOME / "runs"
RESULTS = HOME / "results"
CONFIGS = HOME / "configs" if HOME == _CHECKOUT else _PACKAGE / "experiments"
"""One YAML file per experiment; an installed package carries them as ``cxrlib/experiments``."""
HIERARCHIES = HOME / "hierarchies" if HOME == _CHECKOUT else _PACKAGE / "hierarchies"
"""One YAML file per hierarchy."""


def cache():
    """Where decoded images are kept: ``CXR_CACHE``, or ``data/cache``. It may be deleted."""
    return Path(os.environ.get("CXR_CACHE") or HOME / "data" / "cache").expanduser().absolute()
