"""What is said of trials while a sweep runs, and the end of its time."""

import io
import signal
import sys
import time

import pytest
from rich.console import Console

from raynas_snn.cluster.display import LineDisplay, LiveDisplay, end_line, summary_line
from raynas_snn.cluster.interruption import Interruption
from raynas_snn.cluster.progress import SweepProgress, TrialProgress
from raynas_snn.config import load_sweep
from raynas_snn.results.records import TrialRecord


def ended(reason: str, error: str | None = None) -> TrialRecord:
    metrics = {"accuracy": 0.5, "spikes": 1200.0} if error is None else {}
    return TrialRecord("p0001-s0", 1, 0, {}, reason, 4, 60.0, metrics, error)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (ended("finished"), "p0001-s0  finished  accuracy 50.00 %, 1.2k spikes, 1m 00s"),
        (ended("early_stopped"), "p0001-s0  stopped early  after epoch 4, accuracy 50.00 %, 1.2k spikes"),
        (
            ended("infeasible", "params 9 > sweep.max_params 8"),
            "p0001-s0  over the limit  params 9 > sweep.max_params 8",
        ),
        (ended("failed", "no memory"), "p0001-s0  FAILED    no memory"),
    ],
)
def test_each_end_is_told_in_its_own_words(record, line):
    assert end_line(record) == line


def test_the_summary_counts_each_end():
    progress = SweepProgress(num_trials=9)
    for reason in ("finished", "failed", "early_stopped", "early_stopped", "infeasible"):
        progress.end(ended(reason))
    assert summary_line(progress).startswith(
        "5 of 9 trials ended (1 failed, 2 stopped early, 1 over the limit), 0 running, about "
    )
    assert summary_line(SweepProgress(num_trials=9)) == "0 of 9 trials ended, 0 running"


def test_a_warning_is_news_once():
    trial = TrialProgress(load_sweep(None).example_trial(), total_epochs=9)
    rows = [{"epoch": epoch, "phase": "search", "warning": text} for epoch, text in enumerate(["", "a", "a", "b", "a"])]
    assert [trial.update(row) for row in rows] == [None, "a", None, "b", None]


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_a_warning_has_a_line_of_its_own(kind):
    out = io.StringIO()
    trial = TrialProgress(load_sweep(None).example_trial(), total_epochs=9)
    with kind(SweepProgress(num_trials=1), Console(file=out, width=200, force_terminal=kind is LiveDisplay)) as display:
        display.warned(trial, "cell 2 fires\nno more")
    assert "p0000-s0  warning   cell 2 fires no more" in out.getvalue()


def test_the_deadline_interrupts_and_is_known_to_have_passed():
    interruption = Interruption(0.05 / 3600)
    with pytest.raises(KeyboardInterrupt), interruption.by_time():
        time.sleep(10)
    assert interruption.time_is_up
    with pytest.raises(KeyboardInterrupt), interruption.by_time():  # counted from when it was made
        time.sleep(10)


def test_a_deadline_that_is_far_off_leaves_no_trace():
    before = signal.getsignal(signal.SIGALRM)
    for hours in (None, 1.0):
        interruption = Interruption(hours)
        with interruption.by_time():
            pass
        assert not interruption.time_is_up
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_was_swallowed_comes_again(number, monkeypatch):
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", lambda lost: swallowed.append(lost.exc_type))

    class Swallows:
        def __del__(self):
            signal.raise_signal(number)
            time.sleep(0.01)

    interruption = Interruption()
    interruption.check()
    with interruption.by_signals():
        Swallows()
    assert swallowed == [KeyboardInterrupt]
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
