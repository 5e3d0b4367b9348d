"""The benchmarks run, at sizes where their figures mean nothing, and print what they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ("--rounds=1", "--batch-size=2", "--image-size=8", "--channels=4")
SIZES = {"num_steps": 2, "channels": 4, "threads": 1}


def run(script: str, *arguments: str) -> dict:
    command = [sys.executable, str(BENCHMARKS / script), "--json", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


@pytest.mark.parametrize(
    ("script", "arguments", "ratios"),
    [
        (
            "supernet_step.py",
            (*TINY, "--cells=3"),
            ("ratio_vs_loop", "ratio_vs_folded", "ratio_vs_spikingjelly", "peak_memory_ratio_vs_loop"),
        ),
        ("lif.py", TINY, ("ratio_vs_plain_autograd", "ratio_vs_spikingjelly", "times_a_copy")),
    ],
)
def test_prints_ratios_and_sizes(script, arguments, ratios):
    printed = run(script, *arguments)
    assert SIZES.items() <= printed.items()
    assert all(printed[name] > 0 for name in ratios)
    assert {"hardware", "torch", "dtype"} <= printed.keys()


def test_a_derived_network_is_trained_and_tested():
    printed = run("retrain_step.py", *TINY, "--cells=3")
    assert all(
        printed[kind][f"ratio_vs_{way}"] > 0 for kind in ("training", "evaluation") for way in ("loop", "folded")
    )


def test_kernels_are_counted_without_a_device():
    printed = run("kernel_counts.py", *TINY[1:], "--cells=3", "--num-steps=2")
    assert printed["fused"]["all"]["kernels"] < printed["plain torch"]["all"]["kernels"] / 3
