"""Exercises that check themselves.

>>> from cxrlib import exercises
>>> exercises.check(my_function)          # doctest: +SKIP
>>> exercises.hint("my_function")         # doctest: +SKIP
>>> exercises.solution("my_function")     # doctest: +SKIP
"""

from cxrlib.exercises.core import all_exercises, check, find, hint, solution
from cxrlib.exercises.overview import progress

__all__ = ["all_exercises", "check", "find", "hint", "progress", "solution"]
