"""What goes wrong by a user's hand, said in a few lines."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A user's mistake. Its text is all that the user sees: what, got, allowed, next step."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to `name`, or None if none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not known, with those that are and the nearest."""
    known = list(known)
    guess = nearest(name, known)
    hint = f"; did you mean {guess!r}?" if guess else ""
    return InputError(f"unknown {what} {name!r}; known: {', '.join(known)}{hint}")
