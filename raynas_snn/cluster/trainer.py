"""Ray Train for one trial, without the processes that a trial inside Tune has no use for.

Train runs its controller in an actor of its own, which tells Tune about each epoch through a queue actor. Inside a
trial's process there is a thread that only waits for them, so the controller runs there: two processes less, each
of which imports Ray Train and torch for seconds. What guards the workers' resources against the sudden end of this
process serves all trials that run in it, one after the other.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ray.exceptions import RayError
from ray.train.v2._internal.callbacks import BackendSetupCallback, DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.torch.torch_trainer import TorchTrainer

from raynas_snn.cluster.attempts import Attempts
from raynas_snn.cluster.hung_workers import EndHungWorkers
from raynas_snn.cluster.reports import ReportToTune
from raynas_snn.config.schema import TrialConfig
from raynas_snn.results.trial_dir import TrialDir


def run_on_workers(
    worker: Callable[[dict[str, Any]], None], config: dict[str, Any], trial: TrialConfig, folder: TrialDir
) -> None:
    """Runs one trial on its workers to the end.

    Args:
        worker: What each of them runs.
        config: What it is given.
        trial: Names the run and says what a worker takes.
        folder: The trial's folder.

    Raises:
        ray.train.TrainingFailedError: If the last attempt failed, too, or further ones would.
    """
    resources = trial.resources
    bundle = {"CPU": float(resources.cpus_per_worker)}
    if resources.gpus_per_worker > 0:
        bundle["GPU"] = float(resources.gpus_per_worker)
    os.environ["RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"] = str(resources.heartbeat_seconds)
    reports, failures = ReportToTune(), FailureConfig(max_failures=config["max_failures"])
    TrialTrainer(
        Attempts(failures, trial, folder, reports),
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
            callbacks=[reports],
            failure_config=failures,
        ),
    ).fit()


class TrialTrainer(TorchTrainer):
    """A `TorchTrainer` that is controlled from the process that calls ``fit``, an actor of Tune's.

    Args:
        attempts: Decides what becomes of a trial that failed.
        arguments: As for a `TorchTrainer`.
        settings: Likewise.
    """

    def __init__(self, attempts: Attempts, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._attempts = attempts

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        controller = TrainController(**{**arguments, "failure_policy": self._attempts})
        asyncio.run(controller.run())
        return controller.get_result()

    def _create_default_callbacks(self) -> list[Any]:
        # Images lie on the devices already: without Ray Data nobody needs the actor that hands out its shards.
        replaced = (DatasetsCallback, PlacementGroupCleanerCallback)
        others = [
            _Backend(self.backend_config) if isinstance(callback, BackendSetupCallback) else callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, replaced)
        ]
        return [EndHungWorkers(), *others, _GUARD]


class _Backend(BackendSetupCallback):
    """The process group of the workers. Ending it with a worker that was killed for memory is not another failure."""

    def before_execution_group_shutdown(self, execution_group: Any) -> None:
        with suppress(RayError):
            super().before_execution_group_shutdown(execution_group)


class _LastingGuard(PlacementGroupCleanerCallback):
    """Frees the workers' resources if this process dies; the actor that does it lives as long as the process."""

    def after_controller_start(self, train_run_context: Any) -> None:
        if self._cleaner is None:
            super().after_controller_start(train_run_context)

    async def before_controller_shutdown(self) -> None:
        """Nothing: a placement group that was removed in the normal way is not missed."""


_GUARD = _LastingGuard()
