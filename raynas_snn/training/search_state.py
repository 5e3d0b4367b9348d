"""What a differentiable search changes, and how one epoch changes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import SearchConfig
from raynas_snn.nas.bilevel import Alphas, StepResult, alpha_step, weight_step
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.network import Supernet
from raynas_snn.nas.unrolled import unrolled_alpha_step
from raynas_snn.training.data import Batch
from raynas_snn.training.distributed import average


@dataclass
class SearchState:
    """Everything that a search must not lose; a checkpoint holds it by these names."""

    supernet: Supernet
    alphas: Alphas
    weight_optimizer: torch.optim.SGD
    alpha_optimizer: torch.optim.Adam
    schedule: CosineAnnealingLR

    @classmethod
    def fresh(cls, supernet: Supernet, alphas: Alphas, config: SearchConfig) -> "SearchState":
        """Optimisers and schedule at their start."""
        weight_optimizer = torch.optim.SGD(
            supernet.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
        )
        alpha_optimizer = torch.optim.Adam(
            alphas.parameters(), config.alpha_lr, (0.5, 0.999), weight_decay=config.alpha_weight_decay
        )
        schedule = CosineAnnealingLR(weight_optimizer, config.epochs, config.lr_min)
        return cls(supernet, alphas, weight_optimizer, alpha_optimizer, schedule)

    def train(
        self,
        distributed: nn.Module,
        train: Iterable[Batch],
        validation: Iterable[Batch] | None,
        drop_path: DropPath | None,
        config: SearchConfig,
    ) -> tuple[list[StepResult], list[StepResult]]:
        """One epoch: at each step first the alphas, then the weights.

        Args:
            distributed: The supernet or its DDP wrapper.
            train: Batches for the weights.
            validation: Batches for the alphas; None lets the alphas rest.
            drop_path: Drops candidates in the steps of the weights.
            config: Of the search.

        Returns:
            The steps of the weights and those of the alphas.
        """
        weight_steps, alpha_steps = [], []
        others: Iterable[Batch | None] = repeat(None) if validation is None else validation
        for batch, other in zip(train, others, strict=False):
            if other is not None:
                alpha_steps.append(self._alpha_step(batch, other, config))
            weight_steps.append(
                weight_step(
                    distributed,
                    self.alphas,
                    self.weight_optimizer,
                    *batch,
                    config.grad_clip,
                    config.auxiliary_weight,
                    drop_path,
                )
            )
        return weight_steps, alpha_steps

    def _alpha_step(self, train: Batch, validation: Batch, config: SearchConfig) -> StepResult:
        supernet, alphas, optimizer, weight = self.supernet, self.alphas, self.alpha_optimizer, config.auxiliary_weight
        if config.unrolled:
            return unrolled_alpha_step(
                supernet, alphas, optimizer, self.weight_optimizer, train, validation, average, weight
            )
        return alpha_step(supernet, alphas, optimizer, *validation, average, weight)
