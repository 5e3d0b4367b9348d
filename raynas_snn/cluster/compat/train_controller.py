"""Ray Train's controller in the process of the trial, and callbacks of Train's that fit there.

Train runs its controller in an actor of its own, which tells Tune about each epoch through a queue actor. Inside a
trial's process there is a thread that only waits for them, so the controller runs there: two processes less, each
of which imports Ray Train and torch for seconds.
"""

import asyncio
from contextlib import suppress
from typing import Any

from ray.exceptions import RayError
from ray.train.v2._internal.callbacks import BackendSetupCallback, DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2.torch.torch_trainer import TorchTrainer

from raynas_snn.cluster.compat.train_failures import RetryPolicy
from raynas_snn.cluster.compat.unanswered_workers import KillUnansweredWorkers


class InProcessTrainer(TorchTrainer):
    """A `TorchTrainer` that is controlled from the process that calls ``fit``, an actor of Tune's.

    Missing in Ray: a choice of where the controller runs, of its failure policy, and of its callbacks.
    Without it: an empty trial takes 12 s in place of 3 (docs/architecture.md), and Ray decides what is tried again.

    Args:
        policy: Decides whether a failed attempt is followed by another.
        killer: Ends workers that hang.
        arguments: As for a `TorchTrainer`.
        settings: Likewise.
    """

    def __init__(self, policy: RetryPolicy, killer: KillUnansweredWorkers, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._policy = policy
        self._killer = killer

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        controller = TrainController(**{**arguments, "failure_policy": self._policy})
        asyncio.run(controller.run())
        return controller.get_result()

    def _create_default_callbacks(self) -> list[Any]:
        # Images lie on the devices already: without Ray Data nobody needs the actor that hands out its shards.
        replaced = (DatasetsCallback, PlacementGroupCleanerCallback)
        others = [
            LenientBackendSetup(self.backend_config) if isinstance(callback, BackendSetupCallback) else callback
            for callback in super()._create_default_callbacks()
            if not isinstance(callback, replaced)
        ]
        return [self._killer, *others, _CLEANER]


class LenientBackendSetup(BackendSetupCallback):
    """The process group of the workers; one of them being dead is no failure when the group is ended.

    Missing in Ray: Train takes deaths for granted there, but not those that have a name of their own.
    Without it: a worker that Ray killed for memory makes the end of its group fail, too, which Train takes for a fault
    of its controller.
    """

    def before_execution_group_shutdown(self, execution_group: Any) -> None:
        """Ends what can be ended."""
        with suppress(RayError):
            super().before_execution_group_shutdown(execution_group)


class LastingPlacementGroupCleaner(PlacementGroupCleanerCallback):
    """Frees the workers' resources if this process dies, for all trials that run in it, one after the other.

    Missing in Ray: a cleaner that outlives one ``fit``.
    Without it: each trial starts an actor more and waits for its end, about a second.
    """

    def after_controller_start(self, train_run_context: Any) -> None:
        """Starts the actor that does it, once."""
        if self._cleaner is None:
            super().after_controller_start(train_run_context)

    async def before_controller_shutdown(self) -> None:
        """Nothing: a placement group that was removed in the normal way is not missed."""


_CLEANER = LastingPlacementGroupCleaner()
