"""Tune counts each death of a trial's process, once."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution.tune_controller import TuneController


@contextmanager
def deaths_of_any_kind() -> Iterator[None]:
    """In the body, a trial's process that Ray killed for memory has died for Tune like any other.

    Missing in Ray: Tune takes the death of an actor for one only if it has no name of its own, such as
    `ray.exceptions.OutOfMemoryError`; there is no hook before it does.
    Without it: the sweep ends with a traceback when Ray's memory monitor kills a trial's own process.
    """
    original = RayActorManager._actor_task_failed

    def task_failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        original(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = task_failed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = original  # type: ignore[method-assign]


@contextmanager
def deaths_counted_once() -> Iterator[None]:
    """In the body, the death of a process that is about to be used for another trial is one failure of that trial.

    Missing in Ray: Tune counts it for the actor and for the task that would have prepared it; there is no hook between.
    Without it: that trial is called failed, though it never ran; where more failures are allowed, Tune waits for the
    dead process without end.
    """
    original = TuneController._trial_task_failure
    latest: dict[str, Exception] = {}  # what each trial's process has died of

    def trial_failed(controller: Any, trial: Any, exception: Exception) -> None:
        if latest.get(trial.trial_id) is exception:
            return
        latest[trial.trial_id] = exception
        controller._resetting_trials.discard(trial)
        original(controller, trial, exception)

    TuneController._trial_task_failure = trial_failed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        TuneController._trial_task_failure = original  # type: ignore[method-assign]
