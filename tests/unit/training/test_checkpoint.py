"""Checkpoints that were damaged, interrupted, or made by somebody else."""

import errno
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from gloo import SUPPORT, run_two_workers

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.training.checkpoint import (
    DamagedCheckpointError,
    checkpoint_path,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from trials.search_then_retrain import search_then_retrain

SMALL = (
    "model.attention=ma",
    "model.channels=2",
    "model.layers=3",
    "model.num_nodes=2",
    "search.channels=2",
    "search.epochs=2",
    "retrain.epochs=2",
    "data.num_train=48",
    "data.num_test=32",
)


def state(epoch: int, **others: object) -> dict:
    """All that a checkpoint must hold, with little in it."""
    return {
        "phase": "search",
        "epoch": epoch,
        "members": {"network": {"weight": torch.full((300,), float(epoch))}},
        "random": {},
        "best": {},
        "seconds": 0.5,
        "ended": False,
        "row": {"epoch": epoch},
        "carried": {"names": ["a", "b"], "none": None},
        **others,
    }


def trial_context(folder: Path, rows: list | None = None) -> TrialContext:
    return TrialContext(folder, lambda row: rows.append(dict(row)) if rows is not None else None)


def flip(path: Path, position: int) -> None:
    """Changes one byte."""
    content = bytearray(path.read_bytes())
    content[position] ^= 0x55
    path.write_bytes(content)


def test_a_checkpoint_reads_back_and_keeps_the_one_before(tmp_path):
    context = trial_context(tmp_path)
    path = checkpoint_path(tmp_path)
    assert load_checkpoint(context) is None
    for epoch in (1, 2, 3):
        save_checkpoint(path, state(epoch))
        assert load_checkpoint(context)["epoch"] == epoch
    loaded = load_checkpoint(context)
    assert torch.equal(loaded.pop("members")["network"]["weight"], torch.full((300,), 3.0))
    assert loaded == {key: value for key, value in state(3).items() if key != "members"}
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["before.pt", "last.pt"]
    assert read_checkpoint(path.with_name("before.pt"))["epoch"] == 2
    assert context.warnings == []


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path):
    code = f"""
import torch
from pathlib import Path
from raynas_snn.training.checkpoint import checkpoint_path, save_checkpoint
from test_checkpoint import state
epoch = 0
while True:
    epoch += 1
    whole = state(epoch, members=torch.full((300_000,), float(epoch)))
    save_checkpoint(checkpoint_path(Path({str(tmp_path)!r})), whole)
"""
    context = trial_context(tmp_path)
    reached = 0
    for delay in (0.21, 0.13, 0.17):
        process = subprocess.Popen(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        )
        try:
            while not checkpoint_path(tmp_path).exists():
                assert process.poll() is None
                time.sleep(0.05)
            time.sleep(delay)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        saved = load_checkpoint(context)
        assert saved["members"].eq(saved["epoch"]).all()
        reached = max(reached, saved["epoch"])
    save_checkpoint(checkpoint_path(tmp_path), state(1))
    assert len(list(tmp_path.rglob("*.tmp"))) == 0  # what the dead had left
    assert context.warnings == []
    assert reached > 1


def test_the_moment_between_the_two_renames_loses_one_epoch_at_most(tmp_path):
    path = checkpoint_path(tmp_path)
    for epoch in (1, 2):
        save_checkpoint(path, state(epoch))
    path.replace(path.with_name("before.pt"))  # as a process leaves it that is killed there
    assert load_checkpoint(trial_context(tmp_path))["epoch"] == 2


def test_a_changed_byte_anywhere_is_noticed_or_changes_nothing(tmp_path):
    path = checkpoint_path(tmp_path)
    save_checkpoint(path, state(7))
    size, weights, noticed = path.stat().st_size, torch.full((300,), 7.0), 0
    whole = path.read_bytes()
    for position in range(0, size, 3):
        flip(path, position)
        try:
            loaded = read_checkpoint(path)
        except (DamagedCheckpointError, UserError):
            noticed += 1
        else:
            assert torch.equal(loaded["members"]["network"]["weight"], weights), position
            assert loaded["epoch"] == 7
        path.write_bytes(whole)
    assert noticed > size / 3 / 2


@pytest.mark.parametrize("damage", ["empty", "truncated", "zeroed", "flipped"])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(tmp_path, damage):
    path, context = checkpoint_path(tmp_path), trial_context(tmp_path)
    for epoch in (1, 2):
        save_checkpoint(path, state(epoch))
    size = path.stat().st_size
    if damage == "flipped":
        flip(path, size // 2)
    else:
        path.write_bytes(b"\0" * size if damage == "zeroed" else path.read_bytes()[: 0 if damage == "empty" else 900])
    damaged = path.read_bytes()
    assert load_checkpoint(context)["epoch"] == 1
    (warning,) = context.warnings
    assert warning.startswith(f"{path} is damaged (")
    assert warning.endswith(") and kept as last.pt.damaged; going on from epoch 1, the checkpoint before")
    assert "\n" not in warning
    assert path.with_name("last.pt.damaged").read_bytes() == damaged
    assert load_checkpoint(context)["epoch"] == 1
    assert len(context.warnings) == 1


def test_a_file_server_that_is_away_for_a_moment_has_damaged_nothing(tmp_path, monkeypatch):
    save_checkpoint(checkpoint_path(tmp_path), state(1))

    def away(*_):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(zipfile.ZipFile, "testzip", away)
    with pytest.raises(OSError, match="Stale"):
        load_checkpoint(trial_context(tmp_path))
    monkeypatch.undo()
    assert load_checkpoint(trial_context(tmp_path))["epoch"] == 1


def test_a_checkpoint_of_somebody_else_is_one_line_and_stays(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = checkpoint_path(tmp_path)
    path.parent.mkdir()
    for content in ({"epoch": Trap()}, {"weights": torch.ones(3)}, [1, 2]):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"last.pt: not a checkpoint of a trial"):
            load_checkpoint(trial_context(tmp_path))
        assert path.exists()
    assert not (tmp_path / "sprung").exists()


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class InterruptedTrialError(Exception):
    """Stands for a process that dies."""


def small_trial(*overrides: str) -> TrialConfig:
    return load_sweep(None, (*SMALL, *overrides)).trial_config(0, 0, {})


def run(folder: Path, config: TrialConfig, stop_after: int | None = None) -> list[dict]:
    folder.mkdir(exist_ok=True)
    rows: list[dict] = []

    def report(row) -> None:
        rows.append({key: value for key, value in row.items() if key != "seconds"})
        if row["epoch"] == stop_after:
            raise InterruptedTrialError

    search_then_retrain(config, TrialContext(folder, report))
    return rows


def without_warnings(rows: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "warning"} for row in rows]


@pytest.fixture(scope="module")
def whole_rows(tmp_path_factory) -> list[dict]:
    torch.set_num_threads(1)
    return run(tmp_path_factory.mktemp("whole") / "trial", small_trial())


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("stop_after", "damaged", "first", "words"),
    [
        (3, ("last.pt",), 2, "going on from epoch 2, the checkpoint before"),  # of the phase before
        (2, ("last.pt", "before.pt"), 1, "starting this trial again from its first epoch"),
    ],
)
def test_a_trial_goes_on_from_the_checkpoint_before_and_ends_the_same(
    tmp_path, whole_rows, stop_after, damaged, first, words
):
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", small_trial(), stop_after)
    for name in damaged:
        flip(checkpoint_path(tmp_path / "trial").with_name(name), 2000)
    torch.manual_seed(99)
    rows = run(tmp_path / "trial", small_trial())
    assert [row["epoch"] for row in rows] == list(range(first, 5))
    assert without_warnings(rows) == without_warnings(whole_rows[first - 1 :])
    assert words in rows[0]["warning"]
    assert not any("damaged" in row["warning"] for row in rows[1:])
    kept = {path.name for path in (tmp_path / "trial").rglob("*.damaged")}
    assert kept == {f"{name}.damaged" for name in damaged}


def test_a_checkpoint_of_another_network_is_one_line_with_a_way_out(tmp_path):
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", small_trial(), 1)
    with pytest.raises(UserError, match=r"last.pt: does not fit this trial's supernet \(.*delete .*/checkpoint"):
        run(tmp_path / "trial", small_trial("search.channels=4"))


@pytest.mark.usefixtures("one_thread")
def test_several_workers_go_on_from_the_same_checkpoint(tmp_path):
    folder = tmp_path / "trial"
    with pytest.raises(InterruptedTrialError):
        run(folder, small_trial(), 3)
    flip(checkpoint_path(folder), 2000)
    script = SUPPORT / "gloo_worker.py"
    run_two_workers(script, str(tmp_path / "rendezvous"), small_trial().model_dump_json(), str(folder))
    reported = [sorted(int(path.stem[-1]) for path in folder.glob(f"rank{rank}-epoch*.pt")) for rank in range(2)]
    assert reported == [[2, 3, 4], [2, 3, 4]]
    assert (checkpoint_path(folder).parent / "last.pt.damaged").exists()
