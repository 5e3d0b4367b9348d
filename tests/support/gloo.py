"""Trials on two gloo workers, each a process of its own."""

import subprocess
import sys
from pathlib import Path

SUPPORT = Path(__file__).parent


def run_two_workers(script: Path, *arguments: str) -> None:
    """Starts ``script RANK 2 ARGUMENTS...`` for both ranks, and waits until both have ended well."""
    workers = [
        subprocess.Popen([sys.executable, str(script), str(rank), "2", *arguments], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, err = worker.communicate(timeout=240)
        assert worker.returncode == 0, err
