"""Deaths that Tune does not know or counts twice: its own controller and its own trials, actors that never lived."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial

from raynas_snn.cluster.tune_deaths import counted_once


def test_a_process_killed_for_memory_has_died() -> None:
    told: list[Exception] = []
    manager = RayActorManager.__new__(RayActorManager)  # one without resources, for which Ray would be started
    manager._failed_actor_ids = set()
    actor = TrackedActor(1)
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda _, error: told.append(error))
    error = OutOfMemoryError("Task was killed due to the node running low on memory.")
    with pytest.raises(RuntimeError, match="unexpected exception"):
        manager._actor_task_failed(tracked_actor_task=task, exception=error)
    manager._cleanup_actor = lambda **_: None
    with counted_once():
        manager._actor_task_failed(tracked_actor_task=task, exception=error)
    (said,) = told
    assert isinstance(said, RayActorError)
    assert "running low on memory" in str(said)


def test_one_death_is_one_failure() -> None:
    failures: list[Any] = []
    trial = Trial("fake", stub=True)
    controller = SimpleNamespace(
        RAISE=TuneController.RAISE,
        _fail_fast=False,
        _print_trial_errors=False,
        _resetting_trials={trial},
        _process_trial_failure=lambda _, exception: failures.append(exception),
    )
    deaths = [RayActorError(error_msg="once"), RayActorError(error_msg="again")]
    with counted_once():
        for death in deaths:
            TuneController._trial_task_failure(controller, trial, exception=death)
            TuneController._trial_task_failure(controller, trial, exception=death)  # as Tune does
    assert failures == deaths
    assert not controller._resetting_trials  # or it would wait for the dead process
