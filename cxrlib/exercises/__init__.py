"""Exercises that check themselves, and guesses that are kept.

>>> from cxrlib import exercises
>>> exercises.guess("09.3")               # doctest: +SKIP
>>> exercises.check(my_function)          # doctest: +SKIP
>>> exercises.hint("my_function")         # doctest: +SKIP
>>> exercises.solution("my_function")     # doctest: +SKIP
"""

from cxrlib.exercises.core import all_exercises, check, find, hint, solution
from cxrlib.exercises.films import quiz_film
from cxrlib.exercises.guesses import guess, surprises
from cxrlib.exercises.overview import progress

__all__ = [
    "all_exercises",
    "check",
    "find",
    "guess",
    "hint",
    "progress",
    "quiz_film",
    "solution",
    "surprises",
]
