"""Whether a trial whose workers failed is tried again, by the workers' own process.

Ray's policy counts too little and too much: workers that die whenever they start are tried for ever without a word,
other faults of a start are never tried again, and machines that come and go are held against the trial.
"""

import time

import ray
from ray.exceptions import RayError
from ray.train import ControllerError
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError, WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.failure_handling import FailureDecision, FailurePolicy
from ray.train.v2.api.config import FailureConfig

from raynas_snn.cluster import gcs
from raynas_snn.cluster.last_words import hear_last_words
from raynas_snn.cluster.reasons import failures_of, fault_of_storage, hopeless, is_death, reason_of
from raynas_snn.cluster.reports import ReportToTune
from raynas_snn.config.schema import TrialConfig
from raynas_snn.results.trial_dir import TrialDir

_NOTICED_SECONDS = 40.0  # until the cluster knows of a machine that has lost its power


class Attempts(FailurePolicy):
    """Tries again `max_failures` times, and once more for each machine that the cluster has lost since.

    What would only happen again is not tried, and waiting for a place on the cluster is no failure.

    Args:
        failure_config: How often.
        trial: The trial.
        folder: Its folder.
        reports: Warns of failed attempts.
    """

    def __init__(
        self, failure_config: FailureConfig, trial: TrialConfig, folder: TrialDir, reports: ReportToTune
    ) -> None:
        super().__init__(failure_config)
        self._trial = trial
        self._folder = folder
        self._reports = reports
        self._num_failed = 0
        self._lost_before = gcs.num_lost_nodes()

    def make_decision(self, training_failed_error: Exception) -> FailureDecision:
        """Decides, and has the next report warn of an attempt that failed."""
        if _waits(training_failed_error):
            return FailureDecision.RETRY
        if hopeless(training_failed_error) or fault_of_storage(training_failed_error, self._folder.path):
            return FailureDecision.RAISE
        if isinstance(training_failed_error, ControllerError) and not _may_pass(training_failed_error):
            return FailureDecision.RAISE
        self._num_failed += 1
        if self._used_up() and not (is_death(training_failed_error) and self._machine_is_missed()):
            return FailureDecision.RAISE
        words = hear_last_words(self._folder)
        reason = reason_of(training_failed_error, words, self._trial.resources.heartbeat_seconds)
        self._reports.warnings.append(f"attempt {self._num_failed} failed, the next goes on ({reason})")
        return FailureDecision.RETRY

    def _used_up(self) -> bool:
        lost = gcs.num_lost_nodes() - self._lost_before
        return self._num_failed > self.failure_config.max_failures + lost

    def _machine_is_missed(self) -> bool:
        """Whether a death turns out to be that of a machine; waits until the cluster would know, if it has several."""
        deadline = time.monotonic() + (_NOTICED_SECONDS if len(ray.nodes()) > 1 else 0.0)
        while self._used_up() and time.monotonic() < deadline:
            time.sleep(1.0)
        return not self._used_up()


def _waits(error: Exception) -> bool:
    return isinstance(error, ControllerError) and isinstance(error.controller_failure, WorkerGroupStartupTimeoutError)


def _may_pass(error: ControllerError) -> bool:
    """Whether what stopped a start is a fault of processes or machines, which may be gone the next time."""
    return all(isinstance(failure, RayError | WorkerGroupStartupFailedError) for failure in failures_of(error))
