"""What is looked at again and again while Tune runs, from wherever Tune lets us."""

from raynas_snn.cluster.display import Display
from raynas_snn.cluster.interruption import Interruption
from raynas_snn.cluster.progress import SweepProgress
from raynas_snn.cluster.waiting import Waiting


class Pulse:
    """Ends the sweep when that was asked for, and says what trials wait for.

    Args:
        interruption: Knows whether the sweep is to end.
        waiting: Knows whether trials wait for resources.
        progress: What the display shows.
        display: Where to say so.
    """

    def __init__(self, interruption: Interruption, waiting: Waiting, progress: SweepProgress, display: Display) -> None:
        self.interruption = interruption
        self._waiting = waiting
        self._progress = progress
        self._display = display

    def beat(self) -> None:
        """Looks; raises KeyboardInterrupt if the sweep is to end now."""
        if (news := self.interruption.news()) is not None:
            self._display.said(news)
        if (news := self._waiting.look()) is not None:
            self._display.waits(news)
        self._progress.waiting = self._waiting.text
        self.interruption.check()
