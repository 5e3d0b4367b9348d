"""Extracts from Ray's errors, in one line, why an attempt failed."""

from collections.abc import Sequence
from pathlib import Path

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayError
from ray.train import ControllerError, WorkerGroupError

from raynas_snn.cluster.compat.death_messages import is_of_lost_node
from raynas_snn.cluster.compat.train_failures import death_behind, died_at_start, was_silent
from raynas_snn.cluster.trial.crash_stacks import describe_death
from raynas_snn.cluster.trial.exception_text import HOPELESS, KNOWN, exception_text, is_about_another_worker
from raynas_snn.core.errors import StorageFault, storage_fault


def failures_of(error: BaseException) -> list[BaseException]:
    """The failures of an attempt, root cause first: exceptions of the trial's workers, or an error of Train itself."""
    if isinstance(error, WorkerGroupError):
        return sorted(error.worker_failures.values(), key=_rank)
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return [error]


def hopeless(error: BaseException) -> Exception | None:
    """A failure that would repeat in every attempt, or None."""
    return next((failure for failure in failures_of(error) if isinstance(failure, HOPELESS)), None)


def fault_of_storage(error: BaseException, where: Path | str) -> StorageFault | None:
    """The disk fault behind an attempt's failure, or None."""
    faults = (storage_fault(failure, where) for failure in failures_of(error))
    return next((fault for fault in faults if fault is not None), None)


def reason_of(error: BaseException, stacks: str, heartbeat_seconds: float) -> str:
    """One line about a failed attempt.

    Args:
        error: The exception of `fit` or of the trial itself.
        stacks: The crash stacks of the processes that died, see `take_crash_stacks`.
        heartbeat_seconds: How long a worker may fail to answer.
    """
    failure = failures_of(error)[0]
    if was_silent(failure):
        return f"a train worker has not answered for {heartbeat_seconds:g} s (resources.heartbeat_seconds)"
    if isinstance(failure, RayError) or death_behind(failure) is not None:
        return _death(death_behind(failure) or failure, stacks)
    return exception_text(failure)


def is_death(error: BaseException) -> bool:
    """Whether an attempt failed because a process, or its whole machine, disappeared without an exception."""
    failure = failures_of(error)[0]
    return isinstance(failure, RayActorError | NodeDiedError) or died_at_start(failure) or _is_of_health_check(failure)


def _is_of_health_check(failure: BaseException) -> bool:
    return was_silent(failure) or death_behind(failure) is not None


def _death(error: BaseException, stacks: str) -> str:
    if isinstance(error, NodeDiedError) or is_of_lost_node(str(error)):
        return "the machine of a train worker is gone"
    if isinstance(error, RayActorError | OutOfMemoryError):
        return f"a train worker {describe_death(stacks, str(error))}"
    return exception_text(error)


def _rank(failure: BaseException) -> int:
    """Reasons before their consequences."""
    order: Sequence[bool] = (
        storage_fault(failure, "") is not None,
        isinstance(failure, KNOWN),
        not _is_of_health_check(failure) and not is_about_another_worker(failure),
        not is_about_another_worker(failure),
    )
    return order.index(True) if True in order else len(order)
