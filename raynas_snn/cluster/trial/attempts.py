"""Decides whether a trial whose workers failed is retried. Runs in the trial's own process.

Ray's failure policy does not fit: it retries workers that die during their start forever and without a message, never
retries other faults of a start, and counts lost machines against the trial.
"""

import time

import ray
from ray.exceptions import RayError
from ray.train import ControllerError

from raynas_snn.cluster.compat.train_failures import died_at_start, waits_for_place
from raynas_snn.cluster.trial.crash_stacks import take_crash_stacks
from raynas_snn.cluster.trial.failure_reasons import failures_of, fault_of_storage, hopeless, is_death, reason_of
from raynas_snn.cluster.trial.reports import ReportToTune
from raynas_snn.config.schema import TrialConfig
from raynas_snn.run.trial_dir import TrialDir

_NOTICED_SECONDS = 40.0  # until the cluster detects a machine without power


class Attempts:
    """Allows `max_failures` retries, and one more for each machine that the cluster has lost since.

    Failures that would repeat themselves are not retried, and waiting for resources is not a failure.

    Args:
        max_failures: The number of retries.
        trial: The trial.
        folder: Its folder.
        reports: Reports warnings about failed attempts.
    """

    def __init__(self, max_failures: int, trial: TrialConfig, folder: TrialDir, reports: ReportToTune) -> None:
        self._max_failures = max_failures
        self._trial = trial
        self._folder = folder
        self._reports = reports
        self._num_failed = 0
        self._lost_before = _num_lost_machines()

    def tries_again(self, error: Exception) -> bool:
        """Whether the attempt that ended with this error is retried; if so, the next report has a warning."""
        if waits_for_place(error):
            return True
        if hopeless(error) or fault_of_storage(error, self._folder.path):
            return False
        if isinstance(error, ControllerError) and not _may_pass(error):
            return False
        self._num_failed += 1
        if self._used_up() and not (is_death(error) and self._machine_is_missed()):
            return False
        stacks = take_crash_stacks(self._folder)
        reason = reason_of(error, stacks, self._trial.resources.heartbeat_seconds)
        self._reports.warnings.append(f"attempt {self._num_failed} failed, the next goes on ({reason})")
        return True

    def _used_up(self) -> bool:
        lost = _num_lost_machines() - self._lost_before
        return self._num_failed > self._max_failures + lost

    def _machine_is_missed(self) -> bool:
        """Whether a death turns out to be that of a machine; waits until the cluster would know, if it has several."""
        deadline = time.monotonic() + (_NOTICED_SECONDS if len(ray.nodes()) > 1 else 0.0)
        while self._used_up() and time.monotonic() < deadline:
            time.sleep(1.0)
        return not self._used_up()


def _num_lost_machines() -> int:
    """How many machines have left the cluster since it began."""
    return sum(not node["Alive"] for node in ray.nodes())


def _may_pass(error: ControllerError) -> bool:
    """Whether what stopped a start is a fault of processes or machines, which may be gone the next time."""
    return all(isinstance(failure, RayError) or died_at_start(failure) for failure in failures_of(error))
