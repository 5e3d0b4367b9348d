"""Which failed attempts at a trial are followed by another. Ray's own exceptions, no cluster."""

from pathlib import Path

import pytest
import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2.api.config import FailureConfig

from raynas_snn.cluster import attempts, gcs
from raynas_snn.cluster.attempts import Attempts
from raynas_snn.cluster.reports import ReportToTune
from raynas_snn.config import load_sweep
from raynas_snn.errors import UserError
from raynas_snn.results.run_dir import RunDir
from raynas_snn.trial import TrialCrash

RETRY, RAISE = FailureDecision.RETRY, FailureDecision.RAISE
KILLED = WorkerHealthCheckFailedError("", RayActorError(error_msg="The actor died unexpectedly."))


def of_worker(error: Exception) -> WorkerGroupError:
    return WorkerGroupError("a worker failed", {0: error})


@pytest.fixture
def lost_machines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machines that the cluster has lost; it has two at first."""
    lost: list[str] = []
    monkeypatch.setattr(gcs, "num_lost_nodes", lambda: len(lost))
    monkeypatch.setattr(ray, "nodes", lambda: ["here", "there"])
    monkeypatch.setattr(attempts, "_NOTICED_SECONDS", 0.0)
    return lost


@pytest.fixture
def policy(tmp_path: Path, lost_machines: list[str]) -> Attempts:
    """Of a trial that is tried three times."""
    trial = load_sweep(None).example_trial()
    folder = RunDir(tmp_path).trial(trial.uid).create()
    return Attempts(FailureConfig(max_failures=2), trial, folder, ReportToTune())


@pytest.mark.parametrize(
    "error",
    [
        of_worker(KILLED),
        of_worker(TrialCrash("ValueError: no")),
        of_worker(OutOfMemoryError("running low on memory")),
        ControllerError(WorkerGroupStartupFailedError("workers died while they started")),
        ControllerError(RayActorError(error_msg="died in init_process_group")),
    ],
)
def test_what_may_pass_is_tried_as_often_as_the_sweep_says(policy: Attempts, error: Exception) -> None:
    assert [policy.make_decision(error) for _ in range(3)] == [RETRY, RETRY, RAISE]
    first, second = policy._reports.warnings
    assert first.startswith("attempt 1 failed, the next goes on (")
    assert second.startswith("attempt 2 failed")


@pytest.mark.parametrize("error", [of_worker(UserError("search.lr: no")), ControllerError(TypeError("a mistake"))])
def test_what_would_happen_again_is_not_tried(policy: Attempts, error: Exception) -> None:
    assert policy.make_decision(error) == RAISE


def test_waiting_for_a_place_is_no_failure(policy: Attempts) -> None:
    waiting = ControllerError(WorkerGroupStartupTimeoutError(2))
    assert {policy.make_decision(waiting) for _ in range(9)} == {RETRY}
    assert not policy._reports.warnings


@pytest.mark.parametrize("error", [of_worker(KILLED), of_worker(NodeDiedError("gone"))])
def test_a_lost_machine_is_not_held_against_the_trial(
    policy: Attempts, lost_machines: list[str], error: Exception
) -> None:
    for number in range(20):
        lost_machines.append(f"machine {number}")
        assert policy.make_decision(error) == RETRY


def test_a_lost_machine_may_be_noticed_later(
    policy: Attempts, lost_machines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [policy.make_decision(of_worker(KILLED)) for _ in range(2)] == [RETRY, RETRY]
    monkeypatch.setattr(attempts, "_NOTICED_SECONDS", 60.0)
    monkeypatch.setattr(attempts.time, "sleep", lambda _: lost_machines.append("the other one"))
    assert policy.make_decision(of_worker(KILLED)) == RETRY
    assert policy.make_decision(of_worker(TrialCrash("ValueError: no"))) == RAISE  # that was no machine
