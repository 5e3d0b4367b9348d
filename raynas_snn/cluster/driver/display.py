"""The display of a running sweep: a live table on a terminal, a few plain lines everywhere else."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from raynas_snn.cluster.driver.progress import SweepProgress, TrialProgress
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.screen import duration, make_table, percent, short_names, short_number, short_scalar
from raynas_snn.core.text import visible
from raynas_snn.run.records import EndReason, TrialRecord

_OTHER_ENDS: tuple[tuple[EndReason, str], ...] = (
    ("failed", "failed"),
    ("early_stopped", "stopped early"),
    ("infeasible", "over the limit"),
)
QUIET_SECONDS = 30.0  # without a terminal, minimum time between a trial's lines within a phase


class Display(Protocol):
    """Shows the events of a sweep."""

    def __enter__(self) -> "Display": ...

    def __exit__(self, *details: object) -> None: ...

    def started(self, trial: TrialProgress) -> None:
        """A trial started or resumed."""

    def epoch(self, trial: TrialProgress) -> None:
        """A trial finished an epoch."""

    def warned(self, trial: TrialProgress, warning: str) -> None:
        """A trial warned of something for the first time."""

    def ended(self, record: TrialRecord) -> None:
        """A trial ended, successfully or not."""

    def said(self, line: str) -> None:
        """A message about the sweep as a whole."""

    def waits(self, line: str) -> None:
        """Trials are waiting for resources, as the sweep's progress also says."""


def display_for(progress: SweepProgress, console: Console) -> Display:
    """The live table on a terminal, else plain lines."""
    return LiveDisplay(progress, console) if console.is_terminal else LineDisplay(progress, console)


class LiveDisplay:
    """A table of the running trials, below one line for each ended trial."""

    def __init__(self, progress: SweepProgress, console: Console) -> None:
        self._progress = progress
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._live.stop()

    def started(self, trial: TrialProgress) -> None:
        """The table shows it at its next refresh."""

    def epoch(self, trial: TrialProgress) -> None:
        """Likewise."""

    def warned(self, trial: TrialProgress, warning: str) -> None:
        """Leaves a line above the table."""
        self._live.console.print(Text(visible(warning_line(trial, warning))))

    def ended(self, record: TrialRecord) -> None:
        """Likewise."""
        self._live.console.print(Text(end_line(record)))

    def said(self, line: str) -> None:
        """Likewise."""
        self._live.console.print(Text(line))

    def waits(self, line: str) -> None:
        """The last line of the table shows it."""

    def _render(self) -> Group:
        numbers = ("epoch", "accuracy", "spikes", "time left")
        table = make_table(("trial", "outer choices", "phase", *numbers), numbers)
        for trial in list(self._progress.running.values()):
            table.add_row(
                trial.trial.uid,
                outer_label(trial.trial),
                trial.phase,
                f"{trial.epoch}/{trial.total_epochs}",
                _accuracy(trial.row),
                _spikes(trial.row),
                _time(trial.seconds_left),
            )
        waiting = f"; {self._progress.waiting}" if self._progress.waiting else ""
        return Group(table, Text(f"{summary_line(self._progress)}{waiting}", style="dim"))


class LineDisplay:
    """One line when a trial starts, enters a phase or ends, and occasionally in between."""

    def __init__(self, progress: SweepProgress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._spoken: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> "LineDisplay":
        return self

    def __exit__(self, *details: object) -> None:
        return

    def started(self, trial: TrialProgress) -> None:
        """Prints the trial and its outer parameters."""
        self._spoken[trial.trial.uid] = ("", time.monotonic())
        self._print(f"{trial.trial.uid}  started   {outer_label(trial.trial)}")

    def epoch(self, trial: TrialProgress) -> None:
        """Prints the trial's progress, unless it was printed recently."""
        phase = str(trial.row["phase"])
        spoken_phase, spoken_at = self._spoken.get(trial.trial.uid, ("", 0.0))
        if phase == spoken_phase and time.monotonic() - spoken_at < QUIET_SECONDS:
            return
        self._spoken[trial.trial.uid] = (phase, time.monotonic())
        self._print(
            f"{trial.trial.uid}  {trial.phase:<14}  accuracy {_accuracy(trial.row)}, "
            f"{_spikes(trial.row)} spikes, {_time(trial.seconds_left)} left"
        )

    def warned(self, trial: TrialProgress, warning: str) -> None:
        """Says so."""
        self._print(warning_line(trial, warning))

    def ended(self, record: TrialRecord) -> None:
        """Prints how the trial ended and the progress of the sweep."""
        self._spoken.pop(record.uid, None)
        self._print(end_line(record))
        self._print(summary_line(self._progress))

    def said(self, line: str) -> None:
        """Says so."""
        self._print(line)

    def waits(self, line: str) -> None:
        """Likewise."""
        self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def warning_line(trial: TrialProgress, warning: str) -> str:
    """``p0001-s0  warning   the network fires no more``."""
    return f"{trial.trial.uid}  warning   {' '.join(warning.split())}"


def end_line(record: TrialRecord) -> str:
    """``p0001-s0  finished  accuracy 98.31 %, 12,345 spikes, 1 min 05 s``."""
    if record.end_reason == "failed":
        return f"{record.uid}  FAILED    {record.error}"
    if record.end_reason == "infeasible":
        return f"{record.uid}  over the limit  {record.error}"
    reached = f"accuracy {_accuracy(record.metrics)}, {_spikes(record.metrics)} spikes"
    if record.end_reason == "early_stopped":
        return f"{record.uid}  stopped early  after epoch {record.epochs}, {reached}"
    return f"{record.uid}  finished  {reached}, {duration(record.seconds)}"


def summary_line(progress: SweepProgress) -> str:
    """``4 of 6 trials ended (1 failed), 2 running, about 1 min 10 s left``."""
    others = ", ".join(f"{progress.ended[reason]} {words}" for reason, words in _OTHER_ENDS if progress.ended[reason])
    left = f", about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
    return (
        f"{progress.num_ended} of {progress.num_trials} trials ended{f' ({others})' if others else ''}, "
        f"{len(progress.running)} running{left}"
    )


def outer_label(trial: TrialConfig) -> str:
    """The outer parameters and the seed in short: ``attention=ct num_steps=2 seed=0``."""
    names = short_names(list(trial.outer))
    choices = [f"{names[path]}={short_scalar(value)}" for path, value in trial.outer.items()]
    return " ".join([*choices, f"seed={trial.seed}"])


def _accuracy(numbers: Mapping[str, Any]) -> str:
    return f"{percent(numbers['accuracy'])} %" if "accuracy" in numbers else "-"


def _spikes(numbers: Mapping[str, Any]) -> str:
    return short_number(numbers["spikes"]) if "spikes" in numbers else "-"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
