"""One training step of a derived network, forward and backward: ours against what people use, and evaluation alone.

Run from a checkout: ``python benchmarks/retrain_step.py``. The networks hold the same weights and cells (drawn at
random from the search space, by ``--seed``) and take turns; a ratio is the median over rounds of the ratio within a
round. ``--compile`` adds ours behind ``torch.compile`` and says how long compiling took.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

import measure
import torch
import torch.nn.functional as F
from peers import WAYS, PlainDerivedNetwork, copy_weights

from raynas_snn.core.registry import resolve
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, channels_last, count_parameters
from search_spaces.darts_snn import darts_snn

OURS = "ours"


def build(options: argparse.Namespace) -> tuple[dict[str, torch.nn.Module], torch.Tensor, torch.Tensor]:
    """The networks by name, and a batch."""
    torch.manual_seed(0)
    side, device = options.image_size, options.device
    macro = Macro(
        10, channels=options.channels, layers=options.cells, num_steps=options.num_steps, image_shape=(3, side, side)
    )
    candidates = darts_snn().operations
    genotype = random_genotype(macro.num_nodes, candidates, random.Random(options.seed))
    operations = {name: resolve("operations", name) for name in candidates}
    ours = DerivedNetwork(macro, genotype, operations, auxiliary=False).to(device)
    networks: dict[str, torch.nn.Module] = {OURS: channels_last(ours)}
    for way in WAYS:
        networks[way] = PlainDerivedNetwork(macro, way, genotype).to(device)
        copy_weights(ours, networks[way])
    images = torch.randn(options.batch_size, 3, side, side, device=device)
    return networks, images, torch.randint(10, (options.batch_size,), device=device)


def training_step(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """Forward and backward, without an optimiser."""

    def step() -> None:
        network.zero_grad(set_to_none=True)
        F.cross_entropy(network(images)[0], labels).backward()

    return step


def evaluation(network: torch.nn.Module, images: torch.Tensor) -> Callable[[], None]:
    """Forward alone, nothing kept for a gradient."""

    def run() -> None:
        network.eval()
        with torch.no_grad():
            network(images)
        network.train()

    return run


def main() -> None:
    """Prints a table, or JSON."""
    parser = measure.common_arguments(__doc__, rounds=5)
    measure.size_arguments(parser)
    parser.add_argument("--cells", type=int, default=6, help="number of cells (6)")
    parser.add_argument("--seed", type=int, default=0, help="of the cells (0)")
    parser.add_argument("--compile", action="store_true", help="ours behind torch.compile, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    networks, images, labels = build(options)
    laid_out = images.contiguous(memory_format=torch.channels_last)
    given = {name: laid_out if name == OURS else images for name in networks}
    training = {name: training_step(network, given[name], labels) for name, network in networks.items()}
    result = {
        **measure.setting(options.device),
        **{name: getattr(options, name) for name in ("num_steps", "channels", "cells", "batch_size", "rounds", "seed")},
        "clock": options.clock if options.device == "cpu" else "wall",
        "params": count_parameters(networks[OURS]),
    }
    if options.compile:
        training["compiled"] = training_step(torch.compile(networks[OURS]), laid_out, labels)
        begun = time.perf_counter()
        training["compiled"]()
        result["compile_seconds"] = time.perf_counter() - begun
    clock = measure.clock_for(options.device, options.clock)
    for kind, cases in (
        ("training", training),
        ("evaluation", {name: evaluation(network, given[name]) for name, network in networks.items()}),
    ):
        times = measure.interleaved(cases, options.rounds, clock)
        result[kind] = {
            "milliseconds": {name: statistics.median(values) for name, values in times.items()},
            **{f"ratio_vs_{name}": ratio for name, ratio in measure.ratios(times, OURS).items()},
        }
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['hardware']}, {options.threads} threads, torch {result['torch']}, {result['clock']} time")
    print(f"C={options.channels}, {options.cells} cells, T={options.num_steps}, {options.batch_size} images", end="")
    print(f", {result['params']:,} parameters")
    if options.compile:
        print(f"compiling took {result['compile_seconds']:.0f} s")
    for kind in ("training", "evaluation"):
        print(f"\n{kind:14} {'ms':>8} {'times ours':>11}")
        for name, milliseconds in result[kind]["milliseconds"].items():
            print(f"{name:14} {milliseconds:8.0f} {result[kind].get(f'ratio_vs_{name}', 1.0):11.2f}")


if __name__ == "__main__":
    main()
