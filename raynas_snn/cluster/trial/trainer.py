"""Configures Ray Train for one trial: number of workers, their resources and arguments, the target of their reports."""

import os
from collections.abc import Callable
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig

from raynas_snn.cluster.compat.train_controller import InProcessTrainer
from raynas_snn.cluster.compat.train_failures import RetryPolicy
from raynas_snn.cluster.compat.unanswered_workers import KillUnansweredWorkers
from raynas_snn.cluster.runtime.processes import kill_on_node
from raynas_snn.cluster.trial.attempts import Attempts
from raynas_snn.cluster.trial.reports import ReportToTune
from raynas_snn.config.schema import TrialConfig
from raynas_snn.run.trial_dir import TrialDir


def run_on_workers(
    worker: Callable[[dict[str, Any]], None], config: dict[str, Any], trial: TrialConfig, folder: TrialDir
) -> None:
    """Runs one trial on its workers to the end.

    Args:
        worker: The function that each of them runs.
        config: Its argument.
        trial: Defines the name of the Train run and the resources of a worker.
        folder: The trial's folder.

    Raises:
        ray.train.TrainingFailedError: If the last attempt failed, or a failure that would repeat itself occurred.
    """
    resources = trial.resources
    bundle = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker > 0:
        bundle["GPU"] = float(resources.gpus_per_worker)
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(resources.heartbeat_seconds)
    reports = ReportToTune()
    callbacks: list[Any] = [reports]  # Ray's types are those of an earlier Ray Train
    attempts = Attempts(config["max_failures"], trial, folder, reports)
    InProcessTrainer(
        RetryPolicy(attempts.tries_again),
        KillUnansweredWorkers(kill_on_node),
        worker,
        train_loop_config=config,
        scaling_config=ScalingConfig(
            num_workers=resources.num_workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker=bundle,
        ),
        run_config=RunConfig(
            name=trial.uid,
            storage_path=config["scratch"],
            callbacks=callbacks,
            failure_config=FailureConfig(max_failures=config["max_failures"]),  # for the dashboard; see the policy
        ),
    ).fit()
