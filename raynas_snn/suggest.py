"""The nearest right word for a wrong one, as the tail of an error message."""

import difflib
from collections.abc import Iterable

# Matching is quadratic in the length of the word, and nobody misspells a longer one.
_LONGEST_WORD = 80


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` with the nearest of the known words, or ``""`` if none is near."""
    matches = difflib.get_close_matches(word[:_LONGEST_WORD], list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""
