"""The curve of a trial over several attempts."""

from pathlib import Path

from raynas_snn.cluster.trial_writer import TrialWriter
from raynas_snn.results.trial_dir import TrialDir


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
    write(folder, range(1, 2), 0.4)
    assert folder.last_epoch() == 1
    assert len(list((folder.path / "tb").glob("events.out.tfevents.*"))) >= 1
