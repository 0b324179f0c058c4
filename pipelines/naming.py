"""An unknown name → the closest known name, for error messages.

In: a word, and the words that there are. Out: the nearest, or nothing.
"""

import difflib
from collections.abc import Iterable


def closest_match(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that is most like another.

    Args:
        cutoff: how alike it must be, 0 to 1, as difflib measures it.
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean 'coca'?`, or all that are known when none is near: the end of a message."""
    known = list(known)
    near = closest_match(word, known)
    return f"did you mean '{near}'?" if near else f"known are {', '.join(known) or 'none'}"
