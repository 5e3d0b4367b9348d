"""Where a reader is attacked, and by what."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


@dataclass(frozen=True)
class Place:
    """Where a reader is attacked.

    Attributes:
        folder: Holds what it reads; empty at first.
        outside: A folder that nothing may reach.
    """

    folder: Path
    outside: Path


Call = Callable[[], object]
Attack = Callable[[Random, Place], Call]  # lays out malformed input, and returns the call that reads it
