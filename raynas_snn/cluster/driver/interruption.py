"""Stops a sweep early: Ctrl-C, SIGTERM from a batch system, a closed terminal, the time limit, the loss of Ray."""

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

# For the epochs in progress. SLURM and Kubernetes kill 30 s after their signal; the rest is for ending Ray.
GRACE_SECONDS = 20.0
_SAME_GESTURE = 0.3  # seconds; terminals, `timeout` and shells send a signal to a process and to its group
_AT_ONCE = 1e-3  # seconds; a timer of zero would be disabled

Cause = Literal["signal", "time", "ray"]


class Interruption:
    """Raises KeyboardInterrupt in the main thread when the sweep is to end, and stores the cause.

    While trials run, the first signal or the time limit lets each of them finish and report one more epoch. A
    checkpoint is saved before its epoch is reported, so no finished work is lost. A second signal ends the sweep now.

    Python raises the exception in whatever code runs at that moment. In a destructor or a callback of compiled code it
    is printed and lost; the next call of `check` raises it again.

    Args:
        hours: After how many hours to stop; None for never.
        begun: From when to count them, by `time.monotonic`; None from now.
        grace: How many seconds the epochs in progress get.

    Attributes:
        cause: Why the sweep is to end; None while it is not.
    """

    def __init__(self, hours: float | None = None, begun: float | None = None, grace: float = GRACE_SECONDS) -> None:
        self.hours = hours
        self.grace = grace
        self.cause: Cause | None = None
        self._begun = time.monotonic() if begun is None else begun
        self._came_at = 0.0
        self._awaited: set[str] = set()  # trials that have not reported since
        self._in_flight: Callable[[], Collection[str]] = tuple
        self._announced = False
        self._over = False

    @property
    def has_come(self) -> bool:
        """Whether the sweep is to end, so that no new trial is started."""
        return self.cause is not None

    @property
    def reason(self) -> str:
        """The cause in words."""
        return f"Time is up after {self.hours:g} h" if self.cause == "time" else "Interrupted"

    def news(self) -> str | None:
        """The message that a grace period has begun; returned once."""
        if not self._awaited or self._announced:
            return None
        self._announced = True
        return f"{self.reason}: up to {self.grace:g} s for the epochs in flight; Ctrl-C again to stop at once"

    def reported(self, uid: str) -> None:
        """Records that a trial has reported an epoch or has ended."""
        self._awaited.discard(uid)

    def check(self) -> None:
        """Raises KeyboardInterrupt if the sweep is to end now."""
        if self.cause is not None and (not self._awaited or time.monotonic() > self._came_at + self.grace):
            self._stop()

    def ray_is_gone(self) -> None:
        """Ends the sweep at once; may be called from other threads."""
        self.cause = "ray"
        self._awaited.clear()
        main = threading.main_thread().ident
        if main is not None and not self._over:
            signal.pthread_kill(main, signal.SIGALRM)

    @contextmanager
    def by_signals(self) -> Iterator[None]:
        """Handles SIGINT, SIGTERM, SIGHUP and the timer in the body."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
        previous = [signal.getsignal(number) or signal.SIG_DFL for number in numbers]
        self.listen()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in zip(numbers, previous, strict=True):
                signal.signal(number, handler)

    def listen(self) -> None:
        """Sets the signal handlers, also if other code has replaced them."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)
        signal.signal(signal.SIGHUP, self._hang_up)
        signal.signal(signal.SIGALRM, self._ring)

    @contextmanager
    def graceful(self, in_flight: Callable[[], Collection[str]]) -> Iterator[None]:
        """Checks the time limit in the body, and lets trials report once more.

        Args:
            in_flight: Names the trials that run now.
        """
        self._in_flight = in_flight
        if self.hours is not None:
            left = self.hours * 3600 - (time.monotonic() - self._begun)
            signal.setitimer(signal.ITIMER_REAL, max(left, _AT_ONCE))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._in_flight = tuple

    def close(self) -> None:
        """Ignores all further signals: the sweep is already ending, in bounded time."""
        self._over = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.cause is None:
            self._come("signal")
        elif time.monotonic() - self._came_at > _SAME_GESTURE:
            self._stop()

    def _hang_up(self, number: int, frame: FrameType | None) -> None:
        """The terminal is gone; its shell may say so a second time, which asks for no more haste."""
        if self.cause is None:
            self._come("signal")

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self.cause is None:
            self._come("time")
        else:
            self._stop()

    def _come(self, cause: Cause) -> None:
        if self._over:
            return
        self.cause, self._came_at = cause, time.monotonic()
        self._awaited = set(self._in_flight())
        if self._awaited:
            signal.setitimer(signal.ITIMER_REAL, self.grace)
        else:
            self._stop()

    def _stop(self) -> None:
        self._awaited.clear()
        if not self._over:
            raise KeyboardInterrupt
