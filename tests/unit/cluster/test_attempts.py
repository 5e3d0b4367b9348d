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

from raynas_snn.cluster.trial import attempts as attempts_module
from raynas_snn.cluster.trial.attempts import Attempts
from raynas_snn.cluster.trial.reports import ReportToTune
from raynas_snn.config import load_sweep
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialCrash
from raynas_snn.run.run_dir import RunDir

KILLED = WorkerHealthCheckFailedError("", RayActorError(error_msg="The actor died unexpectedly."))


def of_worker(error: Exception) -> WorkerGroupError:
    return WorkerGroupError("a worker failed", {0: error})


@pytest.fixture
def lost_machines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machines that the cluster has lost; one is left, of which nobody waits to hear that it is gone."""
    lost: list[str] = []
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}] * 2 + [{"Alive": False}] * len(lost))
    monkeypatch.setattr(attempts_module, "_NOTICED_SECONDS", 0.0)
    return lost


@pytest.fixture
def reports() -> ReportToTune:
    return ReportToTune()


@pytest.fixture
def attempts(tmp_path: Path, lost_machines: list[str], reports: ReportToTune) -> Attempts:
    """Of a trial that is tried three times."""
    trial = load_sweep(None).example_trial()
    folder = RunDir(tmp_path).trial(trial.uid).create()
    return Attempts(2, trial, folder, reports)


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
def test_what_may_pass_is_tried_as_often_as_the_sweep_says(
    attempts: Attempts, reports: ReportToTune, error: Exception
) -> None:
    assert [attempts.tries_again(error) for _ in range(3)] == [True, True, False]
    first, second = reports.warnings
    assert first.startswith("attempt 1 failed, the next goes on (")
    assert second.startswith("attempt 2 failed")


@pytest.mark.parametrize("error", [of_worker(UserError("search.lr: no")), ControllerError(TypeError("a mistake"))])
def test_what_would_happen_again_is_not_tried(attempts: Attempts, error: Exception) -> None:
    assert attempts.tries_again(error) is False


def test_waiting_for_a_place_is_no_failure(attempts: Attempts, reports: ReportToTune) -> None:
    waiting = ControllerError(WorkerGroupStartupTimeoutError(2))
    assert {attempts.tries_again(waiting) for _ in range(9)} == {True}
    assert not reports.warnings


@pytest.mark.parametrize("error", [of_worker(KILLED), of_worker(NodeDiedError("gone"))])
def test_a_lost_machine_is_not_held_against_the_trial(
    attempts: Attempts, lost_machines: list[str], error: Exception
) -> None:
    for number in range(20):
        lost_machines.append(f"machine {number}")
        assert attempts.tries_again(error) is True


def test_a_lost_machine_may_be_noticed_later(
    attempts: Attempts, lost_machines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [attempts.tries_again(of_worker(KILLED)) for _ in range(2)] == [True, True]
    monkeypatch.setattr(attempts_module, "_NOTICED_SECONDS", 60.0)
    monkeypatch.setattr(attempts_module.time, "sleep", lambda _: lost_machines.append("the other one"))
    assert attempts.tries_again(of_worker(KILLED)) is True
    assert attempts.tries_again(of_worker(TrialCrash("ValueError: no"))) is False  # that was no machine
