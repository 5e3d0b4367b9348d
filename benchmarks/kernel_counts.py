"""Kernels and bytes of one step of the supernet on a CUDA device, counted without one.

Run from a checkout: ``python benchmarks/kernel_counts.py``. The step, forward and backward to all weights and alphas,
runs on tensors without data, once with our fused kernels and once with the same in plain torch. A fused kernel counts
as it is launched; any other operation of torch as one kernel, but the backward of a convolution as one for each
gradient. An operation reads its arguments once and writes its results once; partial sums, what caches save, what
convolutions copy to other layouts and what autocast copies of weights are left out. The time is that of moving these
bytes at a given bandwidth: a bound, not a prediction.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import measure
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.snn.kernels import eager, kernels_for
from search_spaces.darts_snn import darts_snn

FUSED = {  # launches on a CUDA device, see raynas_snn/snn/kernels/cuda.py
    "observe": 2,
    "normalise": 1,
    "gradients": 2,
    "input_gradient": 1,
    "fire": 1,
    "fire_backward": 2,
    "mix": 1,
    "mix_backward": 2,
}
CONVOLUTIONS = {"aten::convolution": "convolution", "aten::convolution_backward": "convolution backward"}
NO_KERNEL = ("aten::empty", "aten::new_empty", "aten::empty_like", "aten::_unsafe_view")
NOT_READ = ("aten::copy_", "aten::fill_", "aten::zero_")  # what these write to


class Counts(TorchDispatchMode):
    """Kernels and bytes by kind, of all that runs within it.

    Args:
        each: Whether every other operation is a kind of its own.
    """

    def __init__(self, each: bool) -> None:
        super().__init__()
        self._each = each
        self.kernels: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self._within_fused = False

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: Mapping[str, Any] | None = None
    ) -> Any:
        """Runs an operation and counts it, unless it only looks at its arguments in another way."""
        result = operation(*arguments, **(keywords or {}))
        name: str = operation._schema.name
        if not self._within_fused and not operation.is_view and name not in NO_KERNEL:
            read = _tensors((arguments[1:] if name in NOT_READ else arguments, keywords))
            number = len(_tensors(result)) if name == "aten::convolution_backward" else 1
            self._add(CONVOLUTIONS.get(name, name if self._each else "other"), number, [*read, *_tensors(result)])
        return result

    def fused(self, name: str) -> Callable[..., Any]:
        """A fused kernel, counted in place of the operations it replaces."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            self._within_fused = True
            try:
                result = getattr(eager, name)(*arguments, **keywords)
            finally:
                self._within_fused = False
            written = arguments[0] if name == "mix" else result
            self._add(f"fused {name}", FUSED[name], [*_tensors((arguments, keywords)), *_tensors(written)])
            return result

        return run

    def _add(self, kind: str, launches: int, tensors: Iterable[Tensor]) -> None:
        self.kernels[kind] += launches
        self.bytes[kind] += sum(one.numel() * one.element_size() for one in tensors)


def _tensors(tree: Any) -> list[Tensor]:
    return [one for one in tree_leaves(tree) if isinstance(one, Tensor)]


@contextmanager
def _in_place_of_kernels(counted: SimpleNamespace) -> Iterator[None]:
    """Hands out the counted kernels wherever kernels are asked for."""
    users = [module for module in sys.modules.values() if getattr(module, "kernels_for", None) is kernels_for]
    patches = [mock.patch.object(module, "kernels_for", return_value=counted) for module in users]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def count_step(options: argparse.Namespace, fused: bool) -> Counts:
    """Counts one step."""
    side, candidates = options.image_size, darts_snn().operations
    macro = Macro(
        10, channels=options.channels, layers=options.cells, num_steps=options.num_steps, image_shape=(3, side, side)
    )
    with torch.device("meta"):
        supernet = Supernet(macro, {name: resolve("operations", name) for name in candidates})
        alphas = Alphas(macro.num_nodes, len(candidates))
        labels = torch.empty(options.batch_size, dtype=torch.long)
        images = torch.empty(options.batch_size, 3, side, side, dtype=getattr(torch, options.dtype))
    supernet.to(images.dtype, memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    counts = Counts(options.each)

    def step() -> None:
        with counts:
            F.cross_entropy(supernet(images, alphas())[0].float(), labels).backward()

    if fused:
        with _in_place_of_kernels(SimpleNamespace(**{name: counts.fused(name) for name in FUSED})):
            step()
    else:
        step()
    return counts


def summary(counts: Counts, bandwidth: float) -> dict[str, dict[str, float]]:
    """Kernels, MB and milliseconds by kind and in all."""
    kernels, moved = {**counts.kernels}, {**counts.bytes}
    kernels["all"], moved["all"] = sum(kernels.values()), sum(moved.values())
    return {
        kind: {"kernels": kernels[kind], "megabytes": moved[kind] / 1e6, "milliseconds": moved[kind] / bandwidth / 1e9}
        for kind in sorted(kernels, key=lambda kind: (kind == "all", kind))
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.size_arguments(parser, num_steps=6, batch_size=64)
    parser.add_argument("--cells", type=int, default=6, help="number of cells (6)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of the maps (bfloat16)")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="TB/s, read and written (4.3: an H200's copy)")
    parser.add_argument("--each", action="store_true", help="a line for every other operation")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    results = {
        name: summary(count_step(options, name == "fused"), options.bandwidth) for name in ("fused", "plain torch")
    }
    if options.json:
        settings = {name: value for name, value in vars(options).items() if name != "json"}
        print(json.dumps({**settings, **results}, indent=2))
        return
    print(f"C={options.channels}, {options.cells} cells, T={options.num_steps}, {options.batch_size} images,", end=" ")
    print(f"{options.dtype}, {options.bandwidth} TB/s")
    for name, result in results.items():
        print(f"\n{name:30} {'kernels':>8} {'MB':>9} {'ms':>7}")
        for kind, row in result.items():
            print(f"{kind:30} {row['kernels']:8.0f} {row['megabytes']:9.1f} {row['milliseconds']:7.2f}")


if __name__ == "__main__":
    main()
