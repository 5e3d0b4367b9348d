"""Why an attempt failed, in one line, out of what Ray says of it."""

from collections.abc import Sequence
from pathlib import Path

from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)

from raynas_snn.cluster.last_words import how_it_died
from raynas_snn.cluster.sayings import HOPELESS, KNOWN, is_of_others, said_by
from raynas_snn.errors import StorageFault, storage_fault

_DEATHS = (
    RayActorError,
    NodeDiedError,
    WorkerGroupStartupFailedError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)


def failures_of(error: BaseException) -> list[BaseException]:
    """What failed, the reason first: the exceptions of a trial's workers, or what stopped Train itself."""
    if isinstance(error, WorkerGroupError):
        return sorted(error.worker_failures.values(), key=_rank)
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return [error]


def hopeless(error: BaseException) -> Exception | None:
    """The failure that would happen again in each attempt, or None."""
    return next((failure for failure in failures_of(error) if isinstance(failure, HOPELESS)), None)


def fault_of_storage(error: BaseException, where: Path | str) -> StorageFault | None:
    """What an attempt's failure says of the disk, or None."""
    faults = (storage_fault(failure, where) for failure in failures_of(error))
    return next((fault for fault in faults if fault is not None), None)


def reason_of(error: BaseException, words: str, heartbeat_seconds: float) -> str:
    """One line about a failed attempt.

    Args:
        error: What `fit` raised, or what the trial raised itself.
        words: What the processes that died have left, see `last_words`.
        heartbeat_seconds: How long a worker may be silent.
    """
    failure = failures_of(error)[0]
    if isinstance(failure, WorkerHealthCheckTimeoutError):
        return f"a train worker has not answered for {heartbeat_seconds:g} s (resources.heartbeat_seconds)"
    if isinstance(failure, WorkerHealthCheckFailedError):
        return _death(failure.health_check_failure, words)
    if isinstance(failure, RayError):
        return _death(failure, words)
    return said_by(failure)


def is_death(error: BaseException) -> bool:
    """Whether an attempt failed because a process went away, its machine perhaps with it, and said nothing."""
    return isinstance(failures_of(error)[0], _DEATHS)


def _death(error: BaseException, words: str) -> str:
    if isinstance(error, NodeDiedError) or "node has died" in str(error):
        return "the machine of a train worker is gone"
    if isinstance(error, RayActorError | OutOfMemoryError):
        return f"a train worker {how_it_died(words, str(error))}"
    return said_by(error)


def _rank(failure: BaseException) -> int:
    """Reasons before their consequences."""
    order: Sequence[bool] = (
        storage_fault(failure, "") is not None,
        isinstance(failure, KNOWN),
        not isinstance(failure, WorkerHealthCheckFailedError | WorkerHealthCheckTimeoutError)
        and not is_of_others(failure),
        not is_of_others(failure),
    )
    return order.index(True) if True in order else len(order)
