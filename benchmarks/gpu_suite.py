"""Everything worth knowing about a GPU in one run of under 8 minutes, without Ray: ``python benchmarks/gpu_suite.py``.

Sections, each of which may fail without losing the others: bandwidth of a plain copy; the LIF neuron against it; a step
of the search (alphas, then weights) by precision, kernels and CUDA graph, with kernels launched and memory; the same
step against what people use; a training step of a derived network; memory with and without recomputing; a real search
of a few epochs. ``--quick`` takes tiny sizes, to see that it runs; on a CPU nothing is captured and nothing counted.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import measure
import torch
from torch import Tensor

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.network import Supernet
from raynas_snn.snn import kernels
from raynas_snn.training.cuda_graph import obstacle_to_capture
from raynas_snn.training.device_images import load_images
from raynas_snn.training.distributed import World
from raynas_snn.training.network_setup import searched_network
from raynas_snn.training.precision import float32_products
from raynas_snn.training.strategies.darts_search import search
from raynas_snn.training.strategies.darts_state import SearchState
from raynas_snn.training.strategies.darts_steps import SearchSteps

HERE = Path(__file__).resolve().parent
NUM_CLASSES = 10


def bandwidth(options: argparse.Namespace) -> dict[str, float]:
    """Gigabytes read and written per second by a copy of a gigabyte (quick: a megabyte)."""
    source = torch.empty(2**20 if options.quick else 2**30, dtype=torch.uint8, device=options.device)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), options, rounds=20)
    return {"copy_gb_per_s": 2 * source.numel() / seconds / 1e9}


def lif(options: argparse.Namespace) -> dict[str, Any]:
    """The neuron alone at the size that it has in the first cells of a search."""
    size = ("--batch-size=4", "--rounds=2") if options.quick else ("--batch-size=64", "--rounds=50")
    return measure.in_a_process_of_its_own(str(HERE / "lif.py"), f"--device={options.device}", *size)


def against_others(options: argparse.Namespace) -> dict[str, Any]:
    """Forward and backward in float32, without a graph: what kernels and sharing bring by themselves."""
    size = ("--batch-size=2", "--rounds=1", "--image-size=8", "--channels=4", "--cells=3", "--no-memory")
    given = size if options.quick else ("--batch-size=64", "--rounds=5")
    return measure.in_a_process_of_its_own(str(HERE / "supernet_step.py"), f"--device={options.device}", *given)


def derived(options: argparse.Namespace) -> dict[str, Any]:
    """A training step and an evaluation of a network with random cells."""
    size = ("--batch-size=2", "--rounds=1", "--image-size=8", "--channels=4", "--cells=3")
    given = size if options.quick else ("--batch-size=64", "--rounds=10", "--channels=64", "--compile")
    return measure.in_a_process_of_its_own(str(HERE / "retrain_step.py"), f"--device={options.device}", *given)


def search_steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Milliseconds of a step of the alphas followed by one of the weights, by variant."""
    rows = []
    for precision in ("float32",) if options.device == "cpu" else ("float32", "tf32", "bfloat16"):
        for plain_kernels in (False, True):
            for graphs in (True, False):
                row = {"precision": precision, "plain_kernels": plain_kernels, "cuda_graph": graphs}
                with only_plain_kernels(plain_kernels):
                    rows.append(row | survive(lambda p=precision, g=graphs: one_variant(options, p, g)))
    return rows


def one_variant(options: argparse.Namespace, precision: str, graphs: bool, **changes: Any) -> dict[str, Any]:
    """Time, memory and launched kernels of one way to take a step."""
    trial = small(options, {"resources.precision": precision, "resources.cuda_graphs": graphs, **changes})
    with float32_products(trial.resources.precision):
        steps, batch = build(trial, options)

        def both() -> None:
            steps.epoch([batch], [batch], None)

        if options.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        both()
        peak = measure.peak_memory_mb(options.device)
        result = {"milliseconds": 1e3 * timed(both, options, rounds=20), "peak_memory_mb": peak}
        if options.device != "cpu" and not graphs:
            result["kernels"] = launched(both)
    return result


def build(trial: TrialConfig, options: argparse.Namespace) -> tuple[SearchSteps, tuple[Tensor, Tensor]]:
    """A search at its start, and a batch of random images."""
    device, side = options.device, 8 if options.quick else 32
    operations = load_space(trial.space).operations
    supernet = searched_network(Supernet, trial, NUM_CLASSES, (3, side, side), device)
    state = SearchState.fresh(supernet, Alphas(supernet.macro.num_nodes, len(operations)).to(device), trial.search)
    obstacle = obstacle_to_capture(trial.resources.cuda_graphs, device, World())
    images = torch.randn(trial.search.batch_size, 3, side, side, device=device)
    labels = torch.randint(NUM_CLASSES, (len(images),), device=device)
    batch = images.contiguous(memory_format=torch.channels_last), labels
    return SearchSteps(state, supernet, trial.search, obstacle), batch


def memory(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Peak memory at 8 cells, T=6, 64 images."""
    large = {} if options.quick else {"search.layers": 8, "model.num_steps": 6}
    return [
        {"recompute": recompute}
        | survive(lambda r=recompute: one_variant(options, "float32", False, **large, **{"search.recompute": r}))
        for recompute in (False, True)
    ]


def real_search(options: argparse.Namespace) -> dict[str, Any]:
    """A search of a few epochs on real images: CIFAR-10 where ``--data-root`` is given, else digits."""
    changes: dict[str, Any] = {"search.epochs": 1 if options.quick else 3}
    if options.data_root:
        changes |= {"data.name": "cifar10", "data.root": options.data_root}
    precision = "float32" if options.device == "cpu" else "bfloat16"
    trial = small(options, {**changes, "resources.precision": precision, "search.lr": 0.025})
    images, _, arrays = load_images(trial.data, options.device)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, float32_products(trial.resources.precision):
        begun = time.perf_counter()
        found = search(
            trial, TrialContext(Path(folder), lambda row: rows.append(dict(row)), options.device), images, 10
        )
        seconds = time.perf_counter() - begun
    return {
        "data": trial.data.name,
        "images": len(arrays.train_images),
        "precision": trial.resources.precision,
        "batch_size": trial.search.batch_size,
        "seconds": seconds,
        "seconds_of_epochs": [row["seconds"] for row in rows],
        "accuracy": [row["accuracy"] for row in rows],
        "search_accuracy": found.accuracy,
    }


def small(options: argparse.Namespace, changes: dict[str, Any]) -> TrialConfig:
    """The trial that is measured: C=16, 6 cells, 64 images, T=2, no attention; tiny if it must be quick."""
    sizes = (4, 3, 8) if options.quick else (16, 6, 64)
    settings = dict(zip(("search.channels", "search.layers", "search.batch_size"), sizes, strict=True))
    settings |= {"model.attention": "none", "model.layers": 6, "model.num_steps": 2, "search.epochs": 40}
    return load_sweep(None, [f"{k}={json.dumps(v)}" for k, v in (settings | changes).items()]).trial_config(0, 0, {})


@contextmanager
def only_plain_kernels(wanted: bool):
    """Plain torch instead of fused kernels."""
    before = kernels.DISABLED
    kernels.DISABLED = before or wanted
    try:
        yield
    finally:
        kernels.DISABLED = before


def launched(run: Callable[[], None]) -> int:
    """Kernels that the device runs."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        run()
        torch.cuda.synchronize()
    return sum(event.count for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA)


def timed(run: Callable[[], Any], options: argparse.Namespace, rounds: int) -> float:
    """Median seconds, after three runs that do not count."""
    clock = measure.clock_for(options.device, "wall")
    for _ in range(1 if options.quick else 3):
        run()
    seconds = []
    for _ in range(1 if options.quick else rounds):
        begun = clock()
        run()
        seconds.append(clock() - begun)
    return statistics.median(seconds)


def survive(section: Callable[[], Any]) -> Any:
    """What a section finds, or what stopped it."""
    try:
        return section()
    except Exception as error:  # the next sections still have something to say
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}".partition("\n")[0]}


def main() -> None:
    """Prints a JSON object, and says on stderr what it is at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu (cuda)")
    parser.add_argument("--data-root", help="folder of CIFAR-10 for the real search")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--out", type=Path, help="also write what is known so far to this file, section by section")
    parser.add_argument("--json", action="store_true", help="accepted for likeness; the output is JSON anyway")
    options = parser.parse_args()
    sections = (bandwidth, lif, search_steps, against_others, derived, memory, real_search)
    result: dict[str, Any] = {**measure.setting(options.device), "quick": options.quick}
    begun = time.perf_counter()
    for section in sections:
        print(f"{time.perf_counter() - begun:6.1f} s  {section.__name__}", file=sys.stderr, flush=True)
        result[section.__name__] = survive(lambda section=section: section(options))
        if options.out:
            options.out.write_text(json.dumps(result, indent=2))
    result["seconds"] = time.perf_counter() - begun
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
