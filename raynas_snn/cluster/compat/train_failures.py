"""What Ray Train says of a failed attempt, and who decides whether there is another."""

from collections.abc import Callable

from ray.train import ControllerError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2.api.config import FailureConfig


class RetryPolicy(FailurePolicy):
    """Has a function of ours decide whether a failed attempt is followed by another.

    Missing in Ray: ``FailureConfig`` knows a number, and it counts too little and too much.
    Without it: workers that die whenever they start are tried for ever in silence, other faults of a start are never
    tried again, and machines that come and go are held against the trial.

    Args:
        tries_again: Is given the error that ended an attempt.
    """

    def __init__(self, tries_again: Callable[[Exception], bool]) -> None:
        super().__init__(FailureConfig())
        self._tries_again = tries_again

    def make_decision(self, training_failed_error: Exception) -> FailureDecision:
        """Translates the answer."""
        return FailureDecision.RETRY if self._tries_again(training_failed_error) else FailureDecision.RAISE


def waits_for_place(error: Exception) -> bool:
    """Whether an attempt has only not found a place for its workers in time.

    Missing in Ray: a public name of this exception.
    Without it: a trial that waits for others' work is called failed when Train has waited for long enough.
    """
    return isinstance(error, ControllerError) and isinstance(error.controller_failure, WorkerGroupStartupTimeoutError)


def died_at_start(failure: BaseException) -> bool:
    """Whether workers died while they started.

    Missing in Ray: a public name of this exception.
    Without it: a machine that is lost at that moment costs a trial.
    """
    return isinstance(failure, WorkerGroupStartupFailedError)


def was_silent(failure: BaseException | None) -> bool:
    """Whether a worker has not answered for too long.

    Missing in Ray: a public name of this exception.
    Without it: a worker that hangs cannot be told from one that failed, nor be killed before it is waited for.
    """
    return isinstance(failure, WorkerHealthCheckTimeoutError)


def death_behind(failure: BaseException) -> BaseException | None:
    """What a worker died of that could not be asked any more; None if the failure is another one.

    Missing in Ray: a public name of this exception.
    Without it: the reason of a failed trial is a page of Ray's in place of a line.
    """
    return failure.health_check_failure if isinstance(failure, WorkerHealthCheckFailedError) else None
