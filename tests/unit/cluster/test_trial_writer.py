"""The curve of a trial over several attempts."""

import itertools
import os
from pathlib import Path

import pytest
from event_files import shown_by_tensorboard

from raynas_snn.cluster.trial.trial_writer import TrialWriter
from raynas_snn.run.trial_dir import TrialDir


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt is a process of its own, with an event file of its own."""
    numbers = itertools.count(1)
    monkeypatch.setattr(os, "getpid", lambda: next(numbers))


def write(folder: TrialDir, epochs: range, accuracy: float) -> None:
    """One attempt."""
    writer = TrialWriter(folder, folder.path / "tb")
    for epoch in epochs:
        writer.epoch({"epoch": epoch, "phase": "search", "accuracy": accuracy, "warning": ""})
    writer.close()


def test_each_epoch_is_there_once_and_repeated_ones_are_those_of_the_last_attempt(tmp_path: Path) -> None:
    folder = TrialDir(tmp_path / "p0000-s0").create()
    write(folder, range(1, 6), 0.1)
    write(folder, range(5, 8), 0.2)  # goes on from the checkpoint of epoch 5, which it reports again
    assert [row["accuracy"] for row in folder.read_curve()] == [0.1] * 5 + [0.2] * 2
    write(folder, range(4, 7), 0.3)  # two checkpoints were lost
    assert [(row["epoch"], row["accuracy"]) for row in folder.read_curve()] == [
        *((epoch, 0.1) for epoch in (1, 2, 3)),
        *((epoch, 0.3) for epoch in (4, 5, 6)),
    ]
    assert shown_by_tensorboard(folder.path / "tb") == {
        "search/accuracy": pytest.approx({1: 0.1, 2: 0.1, 3: 0.1, 4: 0.3, 5: 0.3, 6: 0.3})
    }
    write(folder, range(1, 2), 0.4)
    assert folder.last_epoch() == 1
    assert shown_by_tensorboard(folder.path / "tb") == {"search/accuracy": {1: pytest.approx(0.4)}}
