"""The state of a differentiable search: supernet, alphas, their optimisers and schedule."""

from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import SearchConfig
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.network import Supernet
from raynas_snn.training.optimizers import adam, sgd


@dataclass
class SearchState:
    """The state of a search; a checkpoint holds it under these names."""

    supernet: Supernet
    alphas: Alphas
    weight_optimizer: torch.optim.SGD
    alpha_optimizer: torch.optim.Adam
    schedule: CosineAnnealingLR

    @classmethod
    def fresh(cls, supernet: Supernet, alphas: Alphas, config: SearchConfig) -> "SearchState":
        """The initial state, with new optimisers and schedule."""
        weight_optimizer = sgd(supernet.parameters(), config.lr, config.momentum, config.weight_decay)
        alpha_optimizer = adam(alphas.parameters(), config.alpha_lr, config.alpha_weight_decay)
        schedule = CosineAnnealingLR(weight_optimizer, config.epochs, config.lr_min)
        return cls(supernet, alphas, weight_optimizer, alpha_optimizer, schedule)
