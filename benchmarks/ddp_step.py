"""What training one supernet on two workers costs: the time of a step of the alphas and one of the weights.

Run from a checkout: ``python benchmarks/ddp_step.py``. One worker takes the whole batch, then two workers take half of
it each, joined by gloo and without Ray. What averaging costs is measured within the same processes: steps that average
gradients alternate with steps that do all the same but send nothing.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from raynas_snn.config import load_sweep
from raynas_snn.config.search_space import load_space
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import alpha_step, weight_step
from raynas_snn.nas.network import Supernet, count_parameters
from raynas_snn.training.distributed import World, average, distribute
from raynas_snn.training.network_setup import searched_network
from raynas_snn.training.optimizers import adam, sgd

NUM_CLASSES = 10


def keep(tensors: Sequence[Tensor]) -> None:
    """Stands for an average that sends nothing."""


def train(rank: int, size: int, options: argparse.Namespace, folder: str) -> None:
    """One worker: steps of both kinds in turn; the first worker writes ``workers-SIZE.json``.

    The file holds ``seconds`` (median of a step that averages), ``silent_seconds`` (of one that does not) and
    ``parameters``.
    """
    torch.set_num_threads(options.threads)
    if size > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/join-{size}", rank=rank, world_size=size)
    world = World.current()
    overrides = [
        "model.attention=ma",
        f"search.channels={options.channels}",
        f"search.layers={options.layers}",
        f"resources.num_workers={size}",
        f"search.batch_size={options.batch_size}",
        f"model.layers={options.layers}",
    ]
    trial = load_sweep(None, overrides).trial_config(0, 0, {})
    shape = (3, options.image_size, options.image_size)
    supernet = searched_network(Supernet, trial, NUM_CLASSES, shape, "cpu")
    alphas = Alphas(supernet.macro.num_nodes, len(load_space(trial.space).operations))
    distributed = distribute(supernet, world)
    optimizer = sgd(supernet.parameters(), trial.search.lr, trial.search.momentum, trial.search.weight_decay)
    alpha_optimizer = adam(alphas.parameters(), trial.search.alpha_lr, trial.search.alpha_weight_decay)
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size)[world.share(options.batch_size)]
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(NUM_CLASSES, (options.batch_size,))[world.share(options.batch_size)]
    sending = True

    def send(_: object, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        if sending:
            return allreduce_hook(dist.group.WORLD, bucket)
        kept: torch.futures.Future[Tensor] = torch.futures.Future()
        kept.set_result(bucket.buffer())
        return kept

    if size > 1:
        distributed.register_comm_hook(None, send)

    def step() -> float:
        if size > 1:
            dist.barrier()
        begun = time.perf_counter()
        alpha_step(supernet, alphas, alpha_optimizer, images, labels, average if sending else keep)
        weight_step(distributed, alphas, optimizer, images, labels, trial.search.grad_clip)
        return time.perf_counter() - begun

    step()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * options.steps):
        sending = number % 2 == 0
        seconds[sending].append(step())
    if rank == 0:
        medians = {
            "seconds": statistics.median(seconds[True]),
            "silent_seconds": statistics.median(seconds[False]),
            "parameters": count_parameters(supernet),
        }
        Path(folder, f"workers-{size}.json").write_text(json.dumps(medians))
    if size > 1:
        dist.destroy_process_group()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measures one worker and two, and says on what."""
    measured: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size, name in ((1, "one worker"), (2, "two workers")):
            mp.spawn(train, (size, options, folder), nprocs=size)
            measured[name] = json.loads(Path(folder, f"workers-{size}.json").read_text())
    two = measured["two workers"]
    return {
        **measured,
        "speed_up": measured["one worker"]["seconds"] / two["seconds"],
        "share_of_averaging": 1 - two["silent_seconds"] / two["seconds"],
        "settings": vars(options),
        "torch": torch.__version__,
        "hardware": f"{processor()}, {len(os.sched_getaffinity(0))} usable cores",
    }


def processor() -> str:
    """What the machine calls its processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown processor")


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10, help="steps of each kind (10)")
    parser.add_argument("--threads", type=int, default=1, help="threads per worker (1)")
    parser.add_argument("--batch-size", type=int, default=32, help="images per step of all workers (32)")
    parser.add_argument("--channels", type=int, default=8, help="width of the supernet (8)")
    parser.add_argument("--layers", type=int, default=3, help="cells of the supernet (3)")
    parser.add_argument("--image-size", type=int, default=16, help="side of the images (16)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    measured = measure(options)
    if options.json:
        print(json.dumps(measured, indent=2))
        return
    print(f"torch {measured['torch']}, {measured['hardware']}, {options.threads} threads per worker")
    for name in ("one worker", "two workers"):
        print(f"{name}: {measured[name]['seconds']:.3f} s per step of {options.batch_size} images")
    print(f"two workers are {measured['speed_up']:.2f} times as fast as one")
    print(f"averaging takes {measured['share_of_averaging']:.1%} of a step of two workers")


if __name__ == "__main__":
    main()
