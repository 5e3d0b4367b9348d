"""Trials that fail: real exceptions, signals and memory in real train workers; what the user sees and what is kept."""

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from sweeper import Ended, Sweeper

pytestmark = [pytest.mark.ray, pytest.mark.long]

FAULTY = """
import ctypes
import mmap
import os
import signal
import psutil
import torch
import torch.distributed as dist
from raynas_snn.training.epoch_loop import EpochLoop
from raynas_snn.interfaces.trial import TrialFailure, TrialRecipe
from trials.search_then_retrain import search_then_retrain

METRICS = {"accuracy": 0.5, "params": 1, "spikes": 1.0}


class Counter:
    \"\"\"What the phase below must not lose.\"\"\"

    def __init__(self):
        self.total = 0

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


def first_time(context, what):
    marker = context.directory / what
    fresh = not marker.exists()
    marker.touch()
    return fresh


def count(context):
    with (context.directory / "attempts").open("a") as file:
        file.write("x")


def stop(context, pid):
    (context.directory / f"stopped {pid}").touch()
    os.kill(pid, signal.SIGSTOP)


def own_process_of_the_trial():
    siblings = psutil.Process(os.getppid()).children()
    (pid,) = [child.pid for child in siblings if "ImplicitFunc" in " ".join(child.cmdline())]
    return pid


def exception(trial, context, epoch):
    raise RuntimeError("two lines\\nof reason")


def hopeless(trial, context, epoch):
    raise TrialFailure("a lower search.lr may help")


def aborted(trial, context, epoch):
    os.abort()


def reads_where_nothing_is(trial, context, epoch):
    ctypes.string_at(0)


def reads_behind_the_end_of_a_file(trial, context, epoch):
    with (context.directory / "cut").open("wb+") as file:
        file.truncate(mmap.PAGESIZE)
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        mapped[0]


def killed_once(trial, context, epoch):
    if epoch == 2 and first_time(context, "killed"):
        os.kill(os.getpid(), signal.SIGKILL)


def no_memory(trial, context, epoch):
    torch.empty(2**45)


def hung_once(trial, context, epoch):
    if epoch == 2 and first_time(context, "stopping"):
        stop(context, os.getpid())


def damaged_once(trial, context, epoch):
    if epoch == 2 and first_time(context, "damaged"):
        last = context.directory / "checkpoint" / "last.pt"
        last.write_bytes(last.read_bytes()[:-100])
        os.kill(os.getpid(), signal.SIGKILL)


FAULTS = {
    2: exception, 3: hopeless, 4: aborted, 5: killed_once, 6: no_memory, 7: hung_once, 9: damaged_once,
    10: reads_where_nothing_is, 11: reads_behind_the_end_of_a_file,
}


def faulty(trial, context):
    count(context)
    steps = trial.model.num_steps
    if steps == 8:
        absurd = trial.search.model_copy(update={"lr": 1e30})
        return search_then_retrain(trial.model_copy(update={"search": absurd}), context)
    counter = Counter()

    def epoch(index):
        FAULTS.get(steps, lambda *_: None)(trial, context, index)
        counter.total += index
        return {"accuracy": counter.total / 100}

    EpochLoop("search", 4, 0, {"counter": counter}, context).run(epoch)
    return METRICS | {"accuracy": counter.total / 100}


def together(trial, context):
    rank = dist.get_rank()
    if rank == 0:
        count(context)

    def epoch(index):
        if index == 1 and rank == 1:
            if trial.model.num_steps == 2:
                raise TrialFailure("a lower search.lr may help")
            if first_time(context, "stopping"):
                stop(context, os.getpid() if trial.model.num_steps == 1 else own_process_of_the_trial())
        sum_of_ranks = torch.tensor(float(rank))
        dist.all_reduce(sum_of_ranks)
        return {"accuracy": float(sum_of_ranks) / 2}

    EpochLoop("search", 3, 0, {}, context).run(epoch)
    return METRICS


FAULTY = TrialRecipe(run=faulty, total_epochs=lambda trial: 4)
TOGETHER = TrialRecipe(run=together, total_epochs=lambda trial: 3)
"""

SETTINGS: dict[str, Any] = {
    "model.attention": "none",
    "sweep.num_seeds": 1,
    "sweep.max_failures": 1,
    "search.epochs": 4,
    "resources.heartbeat_seconds": 10,
    "data.num_train": 64,
    "data.num_test": 32,
    "model.channels": 4,
    "model.layers": 3,
    "model.num_nodes": 2,
}


class Faults:
    """A sweep that ended, and its trials by number of steps."""

    def __init__(self, sweeper: Sweeper, recipe: str, steps: list[int], **more: Any) -> None:
        (sweeper.folder / "faulty.py").write_text(FAULTY)
        settings = SETTINGS | {"trial": f"faulty:{recipe}", "model.num_steps": {"choice": steps}} | more
        self.ended: Ended = sweeper.run("--run-dir", "run", settings=settings)
        assert self.ended.code == 3, self.ended.err
        self._sweeper = sweeper
        self.records = {record["outer"]["model.num_steps"]: record for record in sweeper.records()}
        assert sorted(self.records) == steps

    def folder(self, steps: int) -> Path:
        return self._sweeper.folder / "run" / "trials" / self.records[steps]["uid"]

    def attempts(self, steps: int) -> int:
        return len((self.folder(steps) / "attempts").read_text())

    def epochs(self, steps: int) -> list[int]:
        return [int(row[0]) for row in self._sweeper.curve(self.records[steps]["uid"])]

    def accuracy(self, steps: int) -> float:
        return json.loads((self.folder(steps) / "result.json").read_text())["metrics"]["accuracy"]

    def warnings(self, steps: int) -> list[str]:
        start = f"{self.records[steps]['uid']}  warning   "
        return [line.removeprefix(start) for line in self.ended.out.splitlines() if line.startswith(start)]

    def is_gone(self, steps: int) -> bool:
        """Whether the processes that stopped themselves were ended, too."""
        pids = [int(path.name.split()[1]) for path in self.folder(steps).glob("stopped *")]
        assert pids
        return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture(scope="module")
def faults(shared_sweeper: Sweeper) -> Faults:
    return Faults(shared_sweeper, "FAULTY", list(range(1, 12)))


def test_what_fails_each_time_is_recorded_with_its_reason(faults: Faults) -> None:
    reasons = {
        2: "RuntimeError: two lines of reason",
        3: "a lower search.lr may help",
        4: "a train worker crashed in native code: Fatal Python error: Aborted",
        6: "out of memory on the CPU in epoch 1 of search: a smaller search.batch_size, search.recompute=true or fewer",
        8: "the loss is nan in epoch ",
        10: "a train worker crashed in native code: Fatal Python error: Segmentation fault",
        11: "a train worker crashed in native code: Fatal Python error: Bus error",
    }
    for steps, reason in reasons.items():
        assert faults.records[steps]["end_reason"] == "failed"
        assert faults.records[steps]["error"].startswith(reason), faults.records[steps]["error"]
        assert "\n" not in faults.records[steps]["error"]
        assert f"{faults.records[steps]['uid']}  FAILED    {reason}" in faults.ended.out
    details = (faults.folder(4) / "error.txt").read_text()
    assert "Fatal Python error: Aborted" in details
    assert "in aborted" in details  # the line of Python that crashed
    assert 'raise RuntimeError("two lines' in (faults.folder(2) / "error.txt").read_text()


def test_what_may_go_well_is_tried_again_and_what_cannot_is_not(faults: Faults) -> None:
    attempts = {steps: faults.attempts(steps) for steps in faults.records}
    assert attempts == {1: 1, 2: 2, 3: 1, 4: 2, 5: 2, 6: 2, 7: 2, 8: 1, 9: 2, 10: 2, 11: 2}
    assert faults.warnings(3) == faults.warnings(8) == faults.warnings(1) == []


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (5, "a train worker was killed (SIGKILL) or ended itself without a word; if the system had no memory left"),
        (7, "a train worker has not answered for 10 s (resources.heartbeat_seconds)"),
    ],
)
def test_a_worker_that_was_killed_or_hung_goes_on_from_its_checkpoint(faults: Faults, steps: int, reason: str) -> None:
    assert faults.records[steps]["end_reason"] == "finished"
    assert faults.accuracy(steps) == faults.accuracy(1)
    assert faults.epochs(steps) == [1, 2, 3, 4]
    (warning,) = faults.warnings(steps)
    assert warning.startswith(f"attempt 1 failed, the next goes on ({reason}")
    assert not list(faults.folder(steps).glob(".fatal-*"))
    assert not (faults.folder(steps) / "error.txt").exists()


def test_a_damaged_checkpoint_costs_an_epoch_and_is_spoken_of(faults: Faults) -> None:
    assert faults.accuracy(9) == faults.accuracy(1)
    assert faults.epochs(9) == [1, 2, 3, 4]
    (warning,) = faults.warnings(9)
    last = faults.folder(9) / "checkpoint" / "last.pt"
    assert f"{last} is damaged (" in warning
    assert "kept as last.pt.damaged; going on from epoch 1, the checkpoint before" in warning
    assert last.with_name("last.pt.damaged").exists()


def test_a_stopped_worker_is_not_left_behind(faults: Faults) -> None:
    assert faults.is_gone(7)


def test_processes_of_a_trial_live_and_die_together(sweeper: Sweeper) -> None:
    faults = Faults(sweeper, "TOGETHER", [1, 2, 3], **{"resources.num_workers": 2})
    assert faults.records[1]["end_reason"] == "finished"
    assert faults.epochs(1) == [1, 2, 3]
    assert faults.attempts(1) == 2
    assert faults.warnings(1) == [
        "attempt 1 failed, the next goes on (a train worker has not answered for 10 s (resources.heartbeat_seconds))"
    ]
    assert faults.is_gone(1)
    assert faults.records[2]["error"] == "a lower search.lr may help"
    assert faults.attempts(2) == 1
    # Their trial's own process takes both along.
    assert faults.records[3]["end_reason"] == "finished"
    assert faults.epochs(3) == [1, 2, 3]
    assert faults.attempts(3) == 2
    assert faults.warnings(3) == [
        "its process has sent no heartbeat for 10 s and was killed; the trial goes on from its checkpoint"
    ]
    assert faults.is_gone(3)
