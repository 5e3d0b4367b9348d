"""Who stops hopeless trials early. A kind is a function from a request to one of Ray Tune's schedulers, or to None.

A scheduler sees every epoch that a trial reports, with ``epoch`` (from 1, over all phases), ``phase``, and whatever the
phase measures; an epoch may lack the metric that it goes by. It lives as long as the driver: what it should know of
earlier starts is in the records and in the learning curves of the run directory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import TrialScheduler

from raynas_snn.config import Sweep
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options
from raynas_snn.core.registry import resolve
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir


@dataclass(frozen=True)
class SchedulerRequest:
    """What a scheduler is made from.

    Attributes:
        sweep: The sweep.
        run: Its run directory; it need not be there yet if there are no records.
        records: The trials that have ended, by uid.
        options: Those that the scheduler declares.
    """

    sweep: Sweep
    run: RunDir
    records: Mapping[str, TrialRecord]
    options: Options = Options()


def none(request: SchedulerRequest) -> None:
    """Nobody stops a trial."""


def make_scheduler(sweep: Sweep, run: RunDir, records: Mapping[str, TrialRecord]) -> TrialScheduler | None:
    """Returns the scheduler that a sweep asks for, None if nobody is to stop trials.

    Args:
        sweep: The sweep.
        run: Its run directory.
        records: The trials that have ended, by uid.

    Raises:
        UserError: If what is named makes no scheduler, or none for this sweep.
    """
    named = sweep.config.sweep.scheduler
    make: Any = resolve(named.kind, named.name)
    try:
        scheduler = make(SchedulerRequest(sweep, run, records, named.options))
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"sweep.scheduler: {named.name!r} makes no scheduler: {type(error).__name__}: {error}"
        ) from error
    if not (scheduler is None or isinstance(scheduler, TrialScheduler)):
        raise UserError(
            f"sweep.scheduler: {named.name!r} makes no scheduler of Ray Tune's, but {type(scheduler).__name__}"
        )
    return scheduler
