"""Text helpers: "did you mean" suggestions, and escaping of untrusted text for terminals."""

import difflib
from collections.abc import Iterable

# Matching is quadratic in the length of the word, and longer words are not misspelled names.
_LONGEST_WORD = 80


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns ``"; did you mean 'x'?"`` with the nearest of the known words, or ``""`` if none is near."""
    matches = difflib.get_close_matches(word[:_LONGEST_WORD], list(known), n=1, cutoff=0.5)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def visible(text: str) -> str:
    """Returns ``text`` on one line, with control, invisible and bidirectional characters escaped.

    A malicious file name could otherwise move the cursor or hide the text after it.
    """
    line = " ".join(text.splitlines())
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in line
    )
