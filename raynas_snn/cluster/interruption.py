"""What ends a sweep before it is done: Ctrl-C, SIGTERM as batch systems send it, the end of the time it was given."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AT_ONCE = 1e-3  # seconds; a timer of zero would never ring


class Interruption:
    """Raises KeyboardInterrupt in the main thread when the sweep is to end, and remembers it.

    Python raises in whatever runs at that moment. If that is a destructor or a callback of compiled code, the exception
    is printed and lost; whoever calls `check` now and then raises it again.

    Args:
        hours: After how many hours to stop; None for never.
        begun: From when to count them, by `time.monotonic`; None from now.
    """

    def __init__(self, hours: float | None = None, begun: float | None = None) -> None:
        self.hours = hours
        self.has_come = False
        self.time_is_up = False
        self._begun = time.monotonic() if begun is None else begun

    def check(self) -> None:
        """Raises KeyboardInterrupt if the sweep is to end."""
        if self.has_come:
            raise KeyboardInterrupt

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """Listens to SIGINT and SIGTERM in the body."""

        def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.has_come = True
            raise KeyboardInterrupt

        numbers = (signal.SIGINT, signal.SIGTERM)
        previous = [signal.signal(number, interrupt) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def by_time(self) -> Iterator[None]:
        """Looks at the clock in the body."""
        if self.hours is None:
            yield
            return

        def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.has_come = self.time_is_up = True
            raise KeyboardInterrupt

        previous = signal.signal(signal.SIGALRM, ring)
        left = self.hours * 3600 - (time.monotonic() - self._begun)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
