"""Fair timing: cases take turns within a process, and are compared pair by pair."""

import argparse
import contextlib
import ctypes
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Case = Callable[[], Any]


def interleaved(cases: Mapping[str, Case], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Milliseconds of each case in each round; every round runs all cases once, after one round that does not count.

    What a case has freed goes back to the system before the next one, else all of them together might not fit.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(rounds + 1):
        for name, case in cases.items():
            begun = clock()
            case()
            if round_:
                times[name].append((clock() - begun) * 1e3)
            give_memory_back()
    return times


def give_memory_back() -> None:
    """Where the C library can be told to (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def ratios(times: Mapping[str, Sequence[float]], ours: str) -> dict[str, float]:
    """How many times as long as ours every other case takes: the median over rounds of the ratio within a round."""
    return {
        name: statistics.median(one / mine for one, mine in zip(theirs, times[ours], strict=True))
        for name, theirs in times.items()
        if name != ours
    }


def clock_for(device: str, name: str) -> Callable[[], float]:
    """Seconds by the wall (after the device has finished), or of CPU time of this process."""
    if device == "cpu":
        return time.perf_counter if name == "wall" else time.process_time

    def finished() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return finished


def peak_memory_mb(device: str) -> float:
    """Most memory this process has held: resident on a CPU, allocated by torch on a GPU."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would give a child what its parent has held before it
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def in_a_process_of_its_own(script: str, *arguments: str) -> dict[str, Any]:
    """Runs a benchmark with ``--json`` and reads what it prints; for peaks of memory."""
    command = [sys.executable, script, "--json", *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(printed)
    return result


def hardware(device: str) -> str:
    """The device in words."""
    if device != "cpu":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def setting(device: str) -> dict[str, Any]:
    """What every result is printed with."""
    return {
        "hardware": hardware(device),
        "device": device,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "dtype": "float32",
    }


def common_arguments(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all timing scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch on the CPU (1)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds that count ({rounds})")
    parser.add_argument(
        "--clock", choices=("cpu", "wall"), default="cpu", help="CPU time, fit for one thread, or wall time (cpu)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def size_arguments(parser: argparse.ArgumentParser, num_steps: int = 2, batch_size: int = 16) -> None:
    """The options for the sizes of a batch and of what it passes through."""
    parser.add_argument("--num-steps", type=int, default=num_steps, help=f"time steps T ({num_steps})")
    parser.add_argument("--channels", type=int, default=16, help="width, of the first cell if there are several (16)")
    parser.add_argument("--batch-size", type=int, default=batch_size, help=f"images ({batch_size})")
    parser.add_argument("--image-size", type=int, default=32, help="side of the images or maps in pixels (32)")
