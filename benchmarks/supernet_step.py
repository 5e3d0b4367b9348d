"""One step of the supernet, forward and backward to all weights and alphas: ours against what people use.

Run from a checkout: ``python benchmarks/supernet_step.py``. The four networks hold the same weights, see ``peers.py``,
and take turns; a ratio is the median over rounds of the ratio within a round. Peak memory is that of processes that
run one network alone, everything included (`--no-memory` leaves it out). Random data, no optimiser, no augmentation.
"""

import argparse
import json
import statistics
from collections.abc import Callable

import measure
import torch
import torch.nn.functional as F
from peers import WAYS, PlainSupernet, copy_weights

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet, channels_last
from search_spaces.darts_snn import darts_snn

OURS = "ours"


def build(options: argparse.Namespace, names: list[str]) -> dict[str, Callable[[], None]]:
    """One step of each network named."""
    torch.manual_seed(0)
    device, candidates = options.device, darts_snn().operations
    side = options.image_size
    macro = Macro(
        10, channels=options.channels, layers=options.cells, num_steps=options.num_steps, image_shape=(3, side, side)
    )
    supernet = Supernet(macro, {name: resolve("operations", name) for name in candidates}).to(device)
    supernet.recompute = options.recompute
    alphas = Alphas(macro.num_nodes, len(candidates)).to(device)
    images = torch.randn(options.batch_size, 3, side, side, device=device)
    labels = torch.randint(10, (options.batch_size,), device=device)

    def step_of(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], None]:
        def step() -> None:
            network.zero_grad(set_to_none=True)
            alphas.zero_grad(set_to_none=True)
            F.cross_entropy(network(images, alphas())[0], labels).backward()

        return step

    steps = {}
    for name in names:
        if name == OURS:
            steps[name] = step_of(channels_last(supernet), images.contiguous(memory_format=torch.channels_last))
        else:
            plain = PlainSupernet(macro, name).to(device)
            copy_weights(supernet, plain)
            steps[name] = step_of(plain, images)
    return steps


def main() -> None:
    """Prints a table, or JSON."""
    parser = measure.common_arguments(__doc__, rounds=5)
    measure.size_arguments(parser, batch_size=8)
    parser.add_argument("--cells", type=int, default=6, help="number of cells (6)")
    parser.add_argument("--only", choices=(OURS, *WAYS), help="run one network for a few steps and print its memory")
    parser.add_argument("--recompute", action="store_true", help="ours computes activations again: less memory")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {
        **measure.setting(options.device),
        "num_steps": options.num_steps,
        "channels": options.channels,
        "cells": options.cells,
        "batch_size": options.batch_size,
        "image_size": options.image_size,
        "recompute": options.recompute,
    }
    if options.only:
        step = build(options, [options.only])[options.only]
        before = measure.peak_memory_mb(options.device)
        for _ in range(2):
            step()
        result |= {"peak_memory_mb": measure.peak_memory_mb(options.device), "before_mb": before}
        print(json.dumps(result))
        return

    clock = measure.clock_for(options.device, options.clock)
    times = measure.interleaved(build(options, [OURS, *WAYS]), options.rounds, clock)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result |= {"clock": options.clock if options.device == "cpu" else "wall", "rounds": options.rounds}
    result |= {f"ratio_vs_{name}": ratio for name, ratio in measure.ratios(times, OURS).items()}
    result["milliseconds"] = medians
    if not options.no_memory:
        sizes = ("num_steps", "channels", "cells", "batch_size", "image_size", "device", "threads")
        arguments = ["--recompute"] * options.recompute
        arguments += [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in sizes]
        peaks = {
            name: measure.in_a_process_of_its_own(__file__, f"--only={name}", *arguments)["peak_memory_mb"]
            for name in (OURS, *WAYS)
        }
        result |= {f"peak_memory_ratio_vs_{name}": peaks[OURS] / peaks[name] for name in WAYS}
        result["peak_memory_mb"] = peaks
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['hardware']}, {options.threads} threads, torch {result['torch']}, float32, {result['clock']} time")
    print(f"C={options.channels}, {options.cells} cells, T={options.num_steps}, {options.batch_size} images\n")
    print(f"{'':12} {'ms':>8} {'ours is faster':>15} {'peak MB':>8}")
    for name, milliseconds in medians.items():
        ratio = f"{result[f'ratio_vs_{name}']:.2f}x" if name != OURS else ""
        peak = "" if options.no_memory else f"{result['peak_memory_mb'][name]:8.0f}"
        print(f"{name:12} {milliseconds:8.0f} {ratio:>15} {peak:>8}")


if __name__ == "__main__":
    main()
