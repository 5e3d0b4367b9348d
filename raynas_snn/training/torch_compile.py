"""Compiles the derived network for training; the original network stays available for tests and checkpoints."""

import logging
import time
import warnings
from typing import cast

import torch
from torch import Tensor, nn

from raynas_snn.training.warmup import warmup

_LOG = logging.getLogger(__name__)


def compile_for_training(network: nn.Module, images: Tensor) -> tuple[nn.Module, float]:
    """Compiles the forward and backward pass in training mode.

    Args:
        network: In training mode; returns logits and those of an auxiliary head or None.
        images: A batch with the shape of training batches; its values do not matter.

    Returns:
        A compiled module that shares its weights with the network, and the seconds that compiling took; the network
        itself and 0 if there is no compiler.
    """
    begun = time.monotonic()
    try:
        with warmup([network]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            compiled = cast(nn.Module, torch.compile(network))
            logits, auxiliary_logits = compiled(images)
            (logits.sum() if auxiliary_logits is None else logits.sum() + auxiliary_logits.sum()).backward()
        if images.is_cuda:
            torch.cuda.synchronize(images.device)
    except Exception as error:  # no compiler, or one that gives up
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        _LOG.warning("retrain.compile: training goes on uncompiled: %s", reason)
        return network, 0.0
    seconds = time.monotonic() - begun
    _LOG.info("compiled in %.1f s", seconds)
    return compiled, seconds
