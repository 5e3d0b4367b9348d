"""The kernels for CUDA devices in Triton's interpreter, on the CPU: what tests/gpu/test_kernels_on_cuda.py compares."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_the_kernels_for_cuda_devices_compute_what_plain_torch_does():
    pytest.importorskip("triton", minversion="3.7", reason="needs Triton, whose interpreter knows NumPy's scalars")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/gpu/test_kernels_on_cuda.py"]
    # In a process of its own: Triton reads the variable when it is imported, and torch may have done that.
    run = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=400
    )
    assert run.returncode == 0, run.stdout[-5000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
