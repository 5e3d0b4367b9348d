"""Polls from Tune's hooks for the end of the sweep and for trials that do not fit on the cluster at the moment."""

import contextlib
import time
from collections.abc import Callable

from ray.exceptions import RayError

from raynas_snn.cluster.driver.display import Display
from raynas_snn.cluster.driver.interruption import Interruption
from raynas_snn.cluster.driver.progress import SweepProgress
from raynas_snn.cluster.runtime.capacity import Capacity

PATIENCE_SECONDS = 5.0
AGAIN_SECONDS = 300.0
_NO_NODE = "no node for any trial"


class Poll:
    """Ends the sweep on request, and reports what trials wait for. Called several times a second.

    Args:
        interruption: Whether the sweep is to end.
        capacity: The resources of the cluster and of a trial.
        clean: Removes orphaned placement groups from the cluster; called every few seconds while trials wait.
        progress: The state that the display shows.
        display: The display.
        confirm: Raises if this driver has lost the lease.
    """

    def __init__(
        self,
        interruption: Interruption,
        capacity: Capacity,
        clean: Callable[[], object],
        progress: SweepProgress,
        display: Display,
        confirm: Callable[[], object],
    ) -> None:
        self.interruption = interruption
        self._capacity = capacity
        self._clean = clean
        self._progress = progress
        self._display = display
        self._confirm = confirm
        self._said_at = float("-inf")
        self._cleaned_at = float("-inf")
        self._since: dict[str, float] = {}  # when each placement group was first seen without a place

    def __call__(self) -> None:
        """Does all checks; raises KeyboardInterrupt if the sweep is to end now."""
        self._confirm()
        if (news := self.interruption.news()) is not None:
            self._display.said(news)
        self._look_for_waiting_trials()
        self.interruption.check()

    def _look_for_waiting_trials(self) -> None:
        now = time.monotonic()
        unplaced = set(self._capacity.cluster.unplaced)
        if self._capacity.trials() == 0:
            unplaced.add(_NO_NODE)
        self._since = {key: self._since.get(key, now) for key in unplaced}
        if not any(now - since >= PATIENCE_SECONDS for since in self._since.values()):
            self._progress.waiting = None
            return
        if now >= self._cleaned_at + PATIENCE_SECONDS:
            self._cleaned_at = now
            with contextlib.suppress(RayError):  # a head that is busy; it is asked again
                self._clean()
        self._progress.waiting = f"waiting for {self._capacity.wanting()}"
        if now >= self._said_at + AGAIN_SECONDS:
            self._said_at = now
            self._display.waits(self._progress.waiting)
