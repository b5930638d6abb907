"""What a name may be, and how a message lists many of them."""

from collections.abc import Iterable


class HierarchyError(ValueError):
    """A hierarchy, or a table that should fit one, is not valid; the message names the label."""


def few(names, joint=", "):
    """Names for a message, which must not fill the screen."""
    names = list(names)
    return joint.join(names[:30]) + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def names_of(names, what):
    """``names`` as a tuple of str, if that is what they are."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise HierarchyError(f"{what}: expected a list of labels, not {names!r}.")
    names = tuple(names)
    for name in names:
        if not (isinstance(name, str) and name.strip() and name.isprintable()):
            raise HierarchyError(
                f"{what}: {name!r} is not a name. Expected printable text; in YAML, quote "
                "words such as yes, no and null, numbers and dates."
            )
    return tuple(map(str, names))


def no_duplicates(names, kind):
    seen = set()
    for name in names:
        if name in seen:
            raise HierarchyError(f"duplicate {kind} {name!r}: each may appear once.")
        seen.add(name)
