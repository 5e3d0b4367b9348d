"""How `cuda` divides maps among Triton programs: tiles, grids and kernel arguments."""

import math
import os
import shutil
from functools import cache
from typing import Any, NamedTuple

import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]
from torch import Tensor

from raynas_snn.snn.kernels import device_fire
from raynas_snn.snn.kernels.normalisation import Normalisation
from raynas_snn.snn.surrogate import ATan, Dspike, Rectangular, Sigmoid, Surrogate

COMPUTE = {  # what maps of a type are computed in
    torch.bfloat16: torch.float32,
    torch.float16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}
IN_TRITON = {torch.float32: tl.float32, torch.float64: tl.float64}
WIDEST = 64  # channels of a tile
PARTS = 1024  # partial sums at most: several for each multiprocessor, and few beside the map itself
FINISH = {"WIDTH": 8, "AT_ONCE": 512}  # channels, and partial sums, that the last addition works on at a time
OLDEST = (8, 0)  # compute capability: the first with bfloat16


def usable(x: Tensor) -> bool:
    """Whether the kernels can work on ``x``."""
    return x.dtype in COMPUTE and _device_usable(x.device)


@cache
def _device_usable(device: torch.device) -> bool:
    """Whether Triton serves this device; it needs a C compiler for the code that launches kernels."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and torch.cuda.get_device_capability(device) >= OLDEST


def shape_of(surrogate: Surrogate) -> tuple[int, float, float] | None:
    """How the kernels compute a surrogate's derivative: its kind, sharpness and height; None if they cannot.

    Rectangular: ``height`` within ``sharpness`` of the threshold. ATan: ``height / (1 + (sharpness x)^2)``. Sigmoid and
    Dspike: ``height e / (1 + e)^2`` with ``e = exp(-sharpness |x|)``, which is ``height s (1 - s)`` for the logistic
    function ``s`` and ``height / 4 (1 - tanh^2)`` at half the sharpness.
    """
    if type(surrogate) not in (Rectangular, Dspike, ATan, Sigmoid):  # a class derived from them may differ
        return None
    match surrogate:
        case Rectangular():
            return device_fire.RECTANGULAR.value, surrogate.width / 2, 1 / surrogate.width
        case Dspike():
            b = surrogate.temperature
            return device_fire.DSPIKE.value, 2 * b, 2 * b / math.tanh(b / 2)
        case ATan():
            return device_fire.ATAN.value, math.pi / 2 * surrogate.alpha, surrogate.alpha / 2
        case Sigmoid():
            return device_fire.SIGMOID.value, surrogate.slope, surrogate.slope
    return None


class Tiles(NamedTuple):
    """How a map is divided: ``grid`` programs with ``each`` so many tiles of ``height`` rows by ``width`` channels."""

    grid: tuple[int, int]
    each: int
    height: int
    width: int
    channels: int
    compute: Any

    @classmethod
    def of(cls, x: Tensor, rows: int, channels: int, num_steps: int = 1, one_each: bool = False) -> "Tiles":
        """For programs that keep ``num_steps`` numbers of each place, and have one tile each or sum over several."""
        width = triton.next_power_of_2(min(channels, WIDEST))
        if channels % width and channels % (WIDEST // 2) == 0:
            width = WIDEST // 2
        height = max(1, block_of(x, num_steps) // width)
        across, down = triton.cdiv(channels, width), triton.cdiv(rows, height)
        each, parts = (1, down) if one_each else shares(down, max(1, PARTS // across))
        return cls((parts, across), each, height, width, channels, arithmetic(x))

    def shape(self) -> dict[str, Any]:
        """What all kernels over tiles are compiled for."""
        return {"CHANNELS": self.channels, "HEIGHT": self.height, "WIDTH": self.width, "COMPUTE": self.compute}

    def partial_sums(self, x: Tensor) -> Tensor:
        """Room for two sums of every channel from each program."""
        return x.new_empty(self.grid[0], 2, self.channels, dtype=COMPUTE[x.dtype])


def block_of(x: Tensor, num_steps: int = 1) -> int:
    """How many numbers of a step a program holds at a time: as many as registers allow, and float64 takes two."""
    return (2048 if num_steps == 1 else 1024 if num_steps <= 8 else 512) // (x.dtype.itemsize // 4 or 1)


def shares(tiles: int, most: int) -> tuple[int, int]:
    """Divides tiles evenly among at most so many programs: tiles of each, and how many of them there are."""
    each = max(1, triton.cdiv(tiles, most))
    return each, triton.cdiv(tiles, each)


def finishers(channels: int) -> tuple[int]:
    """The grid of the programs that add up partial sums of so many channels."""
    return (triton.cdiv(channels, FINISH["WIDTH"]),)


def norm_arguments(norm: Normalisation | None) -> dict[str, Any]:
    """A normalisation as the kernels take it; None is the identity."""
    if norm is None:
        return {"mean": None, "variance": None, "weight": None, "bias": None, "eps": 0.0, "PER_CHANNEL": False}
    per_channel = norm.weight is not None and norm.weight.dim() > 0
    return {
        "mean": norm.mean,
        "variance": norm.variance,
        "weight": norm.weight,
        "bias": norm.bias,
        "eps": float(norm.eps),
        "PER_CHANNEL": per_channel,
    }


def arithmetic(x: Tensor) -> Any:
    """The type that a map is computed in, as the kernels are compiled for it."""
    return IN_TRITON[COMPUTE[x.dtype]]


def launch(like: Tensor, kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
    """Starts a kernel where the tensors are, whatever the current device is."""
    with torch.cuda.device_of(like):
        kernel[grid](*arguments, **constants)
