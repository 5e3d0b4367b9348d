"""What a differentiable search changes."""

from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import SearchConfig
from raynas_snn.nas.bilevel import Alphas
from raynas_snn.nas.network import Supernet
from raynas_snn.training.optimizers import adam, sgd


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
        weight_optimizer = sgd(supernet.parameters(), config.lr, config.momentum, config.weight_decay)
        alpha_optimizer = adam(alphas.parameters(), config.alpha_lr, config.alpha_weight_decay)
        schedule = CosineAnnealingLR(weight_optimizer, config.epochs, config.lr_min)
        return cls(supernet, alphas, weight_optimizer, alpha_optimizer, schedule)
