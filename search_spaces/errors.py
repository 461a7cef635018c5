"""What goes wrong by a user's hand, said in a few lines."""

import difflib
from collections.abc import Iterable, Sequence

_MOST_LISTED = 20


class InputError(ValueError):
    """A user's mistake. Its text is all that the user sees: what, got, allowed, next step.

    `keys` lead from where the mistake is reported to the key that holds it, where a file is being read.
    """

    def __init__(self, message: str, keys: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name nearest to `name`, or None if none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is not known, with those that are (of many, the near ones)."""
    known = list(known)
    guess = nearest(name, known)
    hint = f"; did you mean {guess!r}?" if guess else ""
    listed = ", ".join(known)
    if len(known) > _MOST_LISTED:
        near = difflib.get_close_matches(name, known, n=8, cutoff=0.0)
        listed = f"{', '.join(near)} and {len(known) - len(near)} more"
    return InputError(f"unknown {what} {name!r}; known: {listed}{hint}")
