"""SGD and Adam in the fastest implementation for the device; checkpoints do not depend on the implementation."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

_FORM = ("foreach", "fused", "capturable")  # how an optimiser computes, not what


def sgd(parameters: Iterable[Tensor], learning_rate: float, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """Momentum SGD for weights."""
    parameters = list(parameters)
    optimizer = torch.optim.SGD(
        parameters, learning_rate, momentum, weight_decay=weight_decay, fused=_fused(parameters)
    )
    optimizer.register_load_state_dict_pre_hook(_keep_form)
    return optimizer


def adam(parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> torch.optim.Adam:
    """Adam for alphas, with the moments of DARTS."""
    parameters = list(parameters)
    optimizer = torch.optim.Adam(
        parameters, learning_rate, (0.5, 0.999), weight_decay=weight_decay, fused=_fused(parameters)
    )
    optimizer.register_load_state_dict_pre_hook(_keep_form)
    return optimizer


def _fused(parameters: list[Tensor]) -> bool | None:
    """One kernel for all parameters on a GPU; on a CPU torch's own choice."""
    return True if parameters[0].is_cuda else None


def _keep_form(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Lets a state that was saved on another kind of device be computed with as suits this one."""
    groups = [
        saved | {name: own[name] for name in _FORM if name in own}
        for saved, own in zip(state["param_groups"], optimizer.param_groups, strict=True)
    ]
    return state | {"param_groups": groups}
