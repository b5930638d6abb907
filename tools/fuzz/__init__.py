"""A campaign of bad inputs: see ``__main__.py`` and ``harness.py``."""
