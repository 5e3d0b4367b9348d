"""The kernels for the CPU: one short C file, compiled once per machine with the available compiler.

``CC`` names the compiler, else ``cc`` is used. The result is cached in the user's cache folder, keyed by source,
compiler and processor. Without a compiler the eager kernels are used, see `raynas_snn.snn.kernels`.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TypeGuard

import torch
from torch import Tensor

from raynas_snn.snn.kernels import eager
from raynas_snn.snn.kernels.layout import alike, rows_of
from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics
from raynas_snn.snn.surrogate import ATan, Rectangular, Surrogate

SOURCE = Path(__file__).with_name("native.c")
SUM_ROWS = 512  # rows per partial sum, as in the source
MIX_CHUNK = 2048  # numbers per partial sum of `mix_backward`, as in the source
LARGEST_KERNEL = 5  # taps of a row, whose sums are kept in registers
IMAGE_PARTS = 8  # partial sums of a kernel's gradient
MOST_STEPS = 256  # their potentials are kept on a thread's stack
TYPES = {torch.float32: "float", torch.float64: "double"}
# Apple's compiler has no OpenMP, and some compilers do not know the processor.
SETS_OF_FLAGS: tuple[list[str], ...] = (["-fopenmp", "-march=native"], ["-march=native"], [])


def usable(x: Tensor) -> bool:
    """Whether the kernels can work on ``x``."""
    return x.device.type == "cpu" and x.dtype in TYPES and library(x.dtype) is not None


@cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The compiled kernels for a type of numbers; None where they cannot be compiled or loaded."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_compiled(compiler, TYPES[dtype])))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: the user has no home folder
        logging.getLogger(__name__).info("the kernels for the CPU cannot be used: %s", error)
        return None


def _compiled(compiler: str, real: str) -> Path:
    """The library's file, compiled if it is not there yet."""
    key = hashlib.sha256(SOURCE.read_bytes())
    for part in (real, compiler, str(Path(compiler).stat().st_mtime_ns), _processor()):
        key.update(part.encode())
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raynas_snn"
    path = cache_folder / f"kernels-{real}-{key.hexdigest()[:16]}.so"
    cache_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    about = cache_folder.stat()
    if about.st_uid != os.getuid() or about.st_mode & 0o022:  # what lies there will be run
        raise OSError(f"others may write to {cache_folder}")
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=cache_folder) as scratch:
        built = Path(scratch, "kernels.so")
        command = [compiler, "-O3", "-fopenmp-simd", "-shared", "-fPIC", f"-DREAL={real}", str(SOURCE), "-lm"]
        for flags in SETS_OF_FLAGS:
            result = subprocess.run([*command, *flags, "-o", str(built)], capture_output=True, text=True, timeout=120)
            if result.returncode == 0:
                built.replace(path)  # at once: others may be looking
                return path
    raise OSError(result.stderr.strip()[-500:])


def _processor() -> str:
    """What a library compiled for this very processor must not be used without: home folders are shared."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return platform.processor() + platform.machine()


def observe(x: Tensor, running: RunningStatistics) -> tuple[Tensor, Tensor]:
    """See `eager.observe`."""
    x, (rows, channels) = rows_of(x)
    mean, variance = x.new_empty(2, channels)
    _call(x, "observe", x, _partial_sums(rows, channels), mean, variance, rows, channels)
    running.remember(mean, variance, rows)
    return mean, variance


def normalise(x: Tensor, norm: Normalisation, total: Tensor | None = None) -> Tensor:
    """See `eager.normalise`."""
    if total is not None and total.dtype != x.dtype:
        return eager.normalise(x, norm, total)
    x, (rows, channels) = rows_of(x)
    out = torch.empty_like(x) if total is None else rows_of(total)[0]
    _call(x, "normalise", total if total is None else out, x, out, _Norm.of(norm, x.dtype), rows, channels)
    return out if total is None or out is total else total.copy_(out)


def gradients(grad: Tensor, x: Tensor, norm: Normalisation) -> tuple[Tensor, Tensor]:
    """See `eager.gradients`."""
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    grad_weight, grad_bias = x.new_empty(2, channels)
    partial = _partial_sums(rows, channels)
    _call(x, "sum_gradients", grad, x, _Norm.of(norm, x.dtype), partial, grad_weight, grad_bias, rows, channels)
    return grad_weight, grad_bias


def input_gradient(
    grad: Tensor, x: Tensor, norm: Normalisation, grad_weight: Tensor, grad_bias: Tensor, overwrite: bool
) -> Tensor:
    """See `eager.input_gradient`."""
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    out = grad if overwrite else torch.empty_like(x)
    _call(
        x,
        "input_gradient",
        grad,
        x,
        out,
        _Norm.of(norm, x.dtype),
        grad_weight,
        grad_bias,
        _Int(norm.of_batch),
        rows,
        channels,
    )
    return out


def fire(x: Tensor, norm: Normalisation | None, num_steps: int, decay: float, v_th: float) -> Tensor:
    """See `eager.fire`."""
    x, (rows, channels) = rows_of(x)
    spikes = torch.empty_like(x)
    _call(
        x, "fire", x, spikes, _Norm.of(norm, x.dtype), num_steps, rows // num_steps, channels, float(decay), float(v_th)
    )
    return spikes


def fire_backward(
    grad: Tensor,
    x: Tensor,
    norm: Normalisation | None,
    num_steps: int,
    decay: float,
    v_th: float,
    detach_reset: bool,
    surrogate: Surrogate,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """See `eager.fire_backward`, which other surrogates (also derived ones) and longer times are left to."""
    if not _is_known(surrogate) or num_steps > MOST_STEPS:
        return eager.fire_backward(grad, x, norm, num_steps, decay, v_th, detach_reset, surrogate)
    kind, parameter = (1, surrogate.alpha) if isinstance(surrogate, ATan) else (0, surrogate.width)
    (grad, (rows, channels)), (x, _) = rows_of(grad), rows_of(x)
    grad_in, (grad_weight, grad_bias) = torch.empty_like(x), x.new_empty(2, channels)
    maps = (
        x,
        grad,
        grad_in,
        _Norm.of(norm, x.dtype),
        _partial_sums(rows // num_steps, channels),
        grad_weight,
        grad_bias,
    )
    sizes = (num_steps, rows // num_steps, channels)
    settings = (float(decay), float(v_th), _Int(detach_reset), _Int(kind), float(parameter))
    _call(x, "fire_backward", *maps, *sizes, *settings)
    return (grad_in, None, None) if norm is None else (grad_in, grad_weight, grad_bias)


def mix(totals: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> None:
    """See `eager.mix`."""
    if len({one.dtype for one in (*totals, *maps)}) > 1:
        eager.mix(totals, maps, weights)
        return
    laid_out, maps = alike(totals), alike(maps)
    weights = weights.to(maps[0].dtype).contiguous()
    _call(weights, "mix", _pointers(laid_out), _pointers(maps), weights, *weights.shape, maps[0].numel())
    for total, out in zip(totals, laid_out, strict=True):
        if out is not total:
            total.copy_(out)


def mix_backward(grads: Sequence[Tensor], maps: Sequence[Tensor], weights: Tensor) -> tuple[list[Tensor], Tensor]:
    """See `eager.mix_backward`."""
    grads, maps = alike(grads), alike(maps)
    grad_maps = [torch.empty_like(one) for one in maps]
    alphas, number = weights.to(maps[0].dtype).contiguous(), grads[0].numel()
    partial = torch.empty((number + MIX_CHUNK - 1) // MIX_CHUNK, *weights.shape, dtype=torch.float64)
    sizes = (*weights.shape, number)
    pointers = (_pointers(grads), _pointers(maps), alphas, _pointers(grad_maps))
    _call(alphas, "mix_backward", *pointers, partial, *sizes)
    return grad_maps, partial[0].to(weights.dtype)


def depthwise_weight_gradient(grad: Tensor, x: Tensor, kernel_size: int, stride: int, dilation: int) -> Tensor:
    """See `eager.depthwise_weight_gradient`, which larger kernels are left to."""
    if kernel_size > LARGEST_KERNEL:
        return eager.depthwise_weight_gradient(grad, x, kernel_size, stride, dilation)
    (grad, _), (x, (_, channels)) = rows_of(grad), rows_of(x)
    parts = min(len(x), IMAGE_PARTS)
    sums = torch.zeros(parts, kernel_size, kernel_size, channels, dtype=torch.float64)
    padding = dilation * (kernel_size - 1) // 2
    geometry = (*x.shape[2:], *grad.shape[2:], kernel_size, stride, padding, dilation)
    _call(x, "depthwise_weight_gradient", x, grad, sums, len(x), parts, channels, *geometry)
    return sums.sum(0).permute(2, 0, 1).unsqueeze(1).to(x.dtype)


def _is_known(surrogate: Surrogate) -> TypeGuard[Rectangular | ATan]:
    """Whether the source has its derivative; a class derived from these may have another."""
    return type(surrogate) in (Rectangular, ATan)


def _partial_sums(rows: int, channels: int) -> Tensor:
    return torch.empty((rows + SUM_ROWS - 1) // SUM_ROWS, 2, channels, dtype=torch.float64)


class _Norm(ctypes.Structure):
    """``norm_t`` of the source; keeps the tensors alive that it points to."""

    _fields_ = (
        ("mean", ctypes.c_void_p),
        ("variance", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("weight_stride", ctypes.c_int64),
        ("eps", ctypes.c_double),
    )

    @classmethod
    def of(cls, norm: Normalisation | None, dtype: torch.dtype) -> "_Norm":
        """Points to the tensors of a normalisation; to none for the identity."""
        if norm is None:
            return cls()
        fields = (norm.mean, norm.variance, norm.weight, norm.bias)
        tensors = [None if one is None else one.to(dtype).contiguous() for one in fields]
        stride = 0 if norm.weight is None or norm.weight.dim() == 0 else 1
        pointing = cls(*(None if one is None else one.data_ptr() for one in tensors), stride, norm.eps)
        pointing.tensors = tensors
        return pointing


_Int = ctypes.c_int


def _pointers(maps: Sequence[Tensor]) -> object:
    return (ctypes.c_void_p * len(maps))(*(one.data_ptr() for one in maps))


def _call(like: Tensor, name: str, *arguments: object) -> None:
    """Calls a kernel: tensors go as pointers, integers as int64, floats as double, the number of threads last."""
    function = getattr(library(like.dtype), name)
    function(*map(_argument, arguments), ctypes.c_int(torch.get_num_threads()))


def _argument(value: object) -> object:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, int):
        return ctypes.c_int64(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.byref(value) if isinstance(value, _Norm) else value
