"""The training steps of the derived network: compiled, captured and distributed where requested and possible."""

from collections.abc import Iterable

import torch
from torch import Tensor

from raynas_snn.config.schema import TrialConfig
from raynas_snn.nas.bilevel import Batch, StepResult, descend, losses
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.network import DerivedNetwork
from raynas_snn.training.cuda_graph import GraphedStep, obstacle_to_capture
from raynas_snn.training.distributed import World, distribute
from raynas_snn.training.torch_compile import compile_for_training


class RetrainSteps:
    """The steps of the derived network's weights. Steps with drop path are not captured: each draws new random numbers.

    Args:
        trial: The configuration.
        network: On its device, in training mode.
        optimizer: Optimiser of its weights.
        example: A batch with the shape of training batches, ``[N, C, H, W]``.

    Attributes:
        compile_seconds: Time of compilation; None if the network is not compiled.
    """

    def __init__(
        self, trial: TrialConfig, network: DerivedNetwork, optimizer: torch.optim.Optimizer, example: Tensor
    ) -> None:
        self._config, self._network, self._optimizer = trial.retrain, network, optimizer
        self.compile_seconds: float | None = None
        trained: torch.nn.Module = network
        if trial.retrain.compile:
            trained, self.compile_seconds = compile_for_training(network, example)
        world = World.current()
        self._distributed = distribute(trained, world)
        obstacle = obstacle_to_capture(trial.resources.cuda_graphs, str(example.device), world)
        if trial.retrain.drop_path > 0:
            obstacle = "retrain.drop_path"
        self._graphed = GraphedStep("derived network", self._step, [network], optimizer, obstacle)

    def epoch(self, batches: Iterable[Batch], drop_path: DropPath | None) -> list[StepResult]:
        """One step for each batch."""
        if drop_path is None:
            return [self._graphed(*batch) for batch in batches]
        return [self._step(*batch, drop_path=drop_path) for batch in batches]

    def _step(self, images: Tensor, labels: Tensor, drop_path: DropPath | None = None) -> StepResult:
        loss, result = losses(self._distributed(images, drop_path), labels, self._config.auxiliary_weight)
        descend(loss, self._network, self._optimizer, self._config.grad_clip)
        return result
