"""What is said of trials while a sweep runs."""

import io

import pytest
from rich.console import Console

from raynas_snn.cluster.driver.display import LineDisplay, LiveDisplay, end_line, summary_line
from raynas_snn.cluster.driver.progress import SweepProgress, TrialProgress
from raynas_snn.config import load_sweep
from raynas_snn.run.records import TrialRecord


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


@pytest.mark.parametrize("kind", [LineDisplay, LiveDisplay])
def test_what_trials_wait_for_has_a_line_or_a_place_in_the_table(kind):
    out = io.StringIO()
    progress = SweepProgress(num_trials=1, waiting="waiting for 1 worker")
    with kind(progress, Console(file=out, width=200, force_terminal=kind is LiveDisplay)) as display:
        display.waits("waiting for 1 worker")
        display.said("Interrupted")
    assert "waiting for 1 worker" in out.getvalue()
    assert out.getvalue().count("Interrupted") == 1
