"""SIGKILL for each of the processes that a sweep consists of, one after the other; `make soak` goes further."""

import psutil
import pytest
from clusters import Listener, check_ended, wait_for, with_pause
from ray_nodes import TRIAL, WORKER, find
from recipes import PAUSE
from sweeper import Sweeper

pytestmark = pytest.mark.ray


def test_a_killed_worker_trial_and_driver_cost_no_epoch(sweeper: Sweeper) -> None:
    with_pause(sweeper, 0.2)
    settings = {"trial": "recipes:WORKERS", "model.attention": "none", "sweep.num_seeds": 1}

    def epochs() -> list[list[str]]:
        return sweeper.curve("p0000-s0")

    driver = Listener(sweeper.start("--run-dir", "run", settings=settings))
    wait_for(lambda: len(epochs()) >= 2, 120)
    for name in (WORKER, TRIAL):
        (victim,) = find(driver.process.pid, name)
        victim.kill()
        reached = len(epochs())
        wait_for(lambda reached=reached: len(epochs()) > reached + 1, 120)
        assert not victim.is_running()
    others = find(driver.process.pid, WORKER) + find(driver.process.pid, TRIAL)
    driver.process.kill()
    driver.finish()
    psutil.wait_procs(others, 60)  # Ray ends them a moment later, in which they may do another epoch
    before = epochs()
    assert not sweeper.records()
    assert "warning   attempt 1 failed, the next goes on (a train worker was killed" in "".join(driver.said)

    (sweeper.folder / PAUSE).unlink()
    ended = sweeper.run("--run-dir", "run", settings=settings)
    assert ended.code == 0, ended.err
    assert "continues, 0 of 1 trials have ended: 1 trials to run" in ended.out
    check_ended(sweeper, 1)
    assert epochs()[: len(before)] == before  # none of them was run again
