"""The end of the time that a sweep was given: from then on it behaves as if interrupted by Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AT_ONCE = 1e-3  # seconds; a timer of zero would never ring


class Deadline:
    """The end of the time.

    Args:
        hours: After how many hours to stop; None for never.
        begun: From when to count, by `time.monotonic`; None from now.
    """

    def __init__(self, hours: float | None, begun: float | None = None) -> None:
        self.hours = hours
        self.is_past = False  # Ray may turn what the timer raises into a KeyboardInterrupt of its own
        self._started = time.monotonic() if begun is None else begun

    @contextmanager
    def enforced(self) -> Iterator[None]:
        """Raises KeyboardInterrupt in the body when the time is up. For the main thread alone."""
        if self.hours is None:
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.is_past = True
            raise KeyboardInterrupt

        previous = signal.signal(signal.SIGALRM, ring)
        left = self.hours * 3600 - (time.monotonic() - self._started)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
