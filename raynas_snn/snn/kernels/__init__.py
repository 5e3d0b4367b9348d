"""Fused kernels for the loops over whole feature maps in which a spiking network spends most of its time.

`eager` defines each kernel in plain torch and runs on every device and type. `native` implements the same functions for
the CPU, `cuda` for CUDA devices. Callers get the right module from `kernels_for` and define the gradients.
"""

import importlib
import os
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from raynas_snn.snn.kernels import eager, native

DISABLED = os.environ.get("RAYNAS_SNN_KERNELS") == "eager"


def kernels_for(x: Tensor) -> ModuleType:
    """The fastest kernels for maps like ``x``; ``RAYNAS_SNN_KERNELS=eager`` in the environment asks for plain torch."""
    if DISABLED or torch.compiler.is_compiling() or x.numel() == 0:  # a compiler fuses plain torch by itself
        return eager
    if x.is_cuda:
        cuda = _cuda()
        return cuda if cuda is not None and cuda.usable(x) else eager
    return native if native.usable(x) else eager


@cache
def _cuda() -> ModuleType | None:
    """The kernels for CUDA devices; imported when first used, because they need Triton, which takes its time."""
    try:
        return importlib.import_module("raynas_snn.snn.kernels.cuda")
    except ImportError:
        return None
