"""Has Tune count each death of a trial's process, once.

Left to itself (Ray 2.60) it

- ends with a traceback when the cause has a name of its own, as that of a process that was killed for memory;
- counts the death of a process that is about to be used for another trial twice, and so calls that trial failed; if
  it is allowed to go on, it waits for the dead process without end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution.tune_controller import TuneController


@contextmanager
def counted_once() -> Iterator[None]:
    """Mends that inside; Tune's own methods do the work."""
    tell, fail = RayActorManager._actor_task_failed, TuneController._trial_task_failure
    latest: dict[str, Exception] = {}  # what each trial's process has died of

    def tell_by_its_kind(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        tell(manager, tracked_actor_task, exception)

    def fail_once(controller: Any, trial: Any, exception: Exception) -> None:
        if latest.get(trial.trial_id) is exception:
            return
        latest[trial.trial_id] = exception
        controller._resetting_trials.discard(trial)
        fail(controller, trial, exception)

    with (
        patch.object(RayActorManager, "_actor_task_failed", tell_by_its_kind),
        patch.object(TuneController, "_trial_task_failure", fail_once),
    ):
        yield
