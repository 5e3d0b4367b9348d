"""How exactly convolutions and matrix products are computed; all else stays in float32.

With bfloat16, alphas and their softmax, weights, running statistics, losses and optimisers are float32 still: autocast
converts what a product reads, and nothing that lasts.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from raynas_snn.config.schema import Precision


@contextmanager
def float32_products(precision: Precision) -> Iterator[None]:
    """Lets a GPU round the inputs of float32 products to TensorFloat32 inside, or not; forward and backward.

    Torch would do so for convolutions without being asked.
    """
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    _allow_tf32(precision == "tf32", precision == "tf32")
    try:
        yield
    finally:
        _allow_tf32(*before)


def _allow_tf32(in_matmul: bool, in_convolutions: bool) -> None:
    with warnings.catch_warnings():  # some versions of torch advertise newer names, which others cannot mix with these
        warnings.simplefilter("ignore")
        torch.backends.cuda.matmul.allow_tf32 = in_matmul
        torch.backends.cudnn.allow_tf32 = in_convolutions


def use_precision(network: nn.Module, precision: Precision) -> None:
    """Makes a network run under autocast wherever it is called from: DDP, torch.compile, a step, an evaluation.

    Args:
        network: On its device; returns logits ``[N, classes]`` and those of an auxiliary head or None, in float32
            whatever the precision.
        precision: Only ``bfloat16`` changes anything here.
    """
    if precision != "bfloat16":
        return
    forward, device_type = network.forward, next(network.parameters()).device.type

    @wraps(forward)
    def forward_in_bfloat16(*inputs: Any) -> tuple[Tensor, Tensor | None]:
        with torch.autocast(device_type, torch.bfloat16):
            logits, auxiliary_logits = forward(*inputs)
        return logits.float(), None if auxiliary_logits is None else auxiliary_logits.float()

    network.forward = forward_in_bfloat16
