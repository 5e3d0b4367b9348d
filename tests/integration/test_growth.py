"""What a trial costs does not depend on how many went before it: bytes and open files, which no other load disturbs."""

import contextlib
from dataclasses import dataclass

import psutil
import pytest
from sweeper import Sweeper, finish, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.long]

NUM_TRIALS = 120  # some more than are looked at: in the end the driver writes other things
EARLY, LATE = (5, 20), (65, 80)  # numbers of ended trials between which the costs of a trial are taken


@dataclass(frozen=True)
class Usage:
    """What the sweep has used up to a moment; open files are those of the driver and of the trials' processes."""

    num_ended: int
    bytes_read: int
    bytes_written: int
    open_files: int


def usage(driver: psutil.Process, num_ended: int) -> Usage:
    files = driver.num_fds()
    for child in driver.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # Ray's idle processes come and go
            if child.name().startswith("ray::ImplicitFunc"):
                files += child.num_fds()
    counters = driver.io_counters()
    return Usage(num_ended, counters.read_chars, counters.write_chars, files)


@pytest.fixture(scope="module")
def usages(shared_sweeper: Sweeper) -> dict[int, Usage]:
    records = shared_sweeper.folder / "run" / "trials.jsonl"

    def num_ended() -> int:
        return records.read_bytes().count(b"\n") if records.exists() else 0

    settings = {
        "trial": "fake",
        "model.decay": {"float": [0.1, 0.9]},
        "sweep.sampler": "random",
        "sweep.num_trials": NUM_TRIALS,
        "sweep.num_seeds": 1,
        "resources.max_concurrent": 2,
    }
    # Whatever Tune may save in between, it is to save at every opportunity.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0")
        process = shared_sweeper.start("--run-dir", "run", settings=settings)
    taken = {}
    for number in (*EARLY, *LATE):
        wait_until(lambda number=number: num_ended() >= number, process)
        taken[number] = usage(psutil.Process(process.pid), num_ended())
    ended = finish(process)
    assert ended.code == 0, ended.err
    assert len(shared_sweeper.records()) == NUM_TRIALS
    return taken


@pytest.mark.parametrize("what", ["bytes_read", "bytes_written"])
def test_the_driver_reads_and_writes_as_much_for_a_late_trial_as_for_an_early_one(
    usages: dict[int, Usage], what: str
) -> None:
    early, late = (
        (getattr(usages[end], what) - getattr(usages[begin], what)) / (usages[end].num_ended - usages[begin].num_ended)
        for begin, end in (EARLY, LATE)
    )
    assert late < 1.5 * early


def test_ended_trials_leave_no_open_files_behind(usages: dict[int, Usage]) -> None:
    assert usages[LATE[-1]].open_files < usages[EARLY[0]].open_files + 10
