"""Collects the provenance of a run: versions, code, hardware, data. For reproducing it and explaining differences."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.interfaces.dataset import find_dataset

PACKAGES = ("raynas-snn", "ray", "torch", "torchvision", "optuna", "numpy", "pillow", "scikit-learn", "pydantic")
LONGEST_DIFF = 200_000  # characters


def build_manifest(sweep: Sweep, nodes: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Collects the manifest at the start of a run.

    Args:
        sweep: The sweep.
        nodes: The resources of the cluster's nodes.
    """
    config = sweep.config
    dataset = find_dataset(config.data.name)
    repeats = range(config.sweep.num_seeds)
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "meaning": sweep.meaning_hash(),
        "seeds": [config.sweep.seed + repeat for repeat in repeats],
        "data": {
            "name": config.data.name,
            "sha256": dataset.checksum(config.data),
            "skipped": [asdict(file) for file in dataset.skipped(config.data)],
        },
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "host": platform.node(),
        "cpus": os.cpu_count(),
        "nodes": [dict(node) for node in nodes],
        "git": _git_state(),
    }


def command_line() -> str:
    """The command line of this process, quoted for a shell."""
    program = sys.argv[0]
    if program.endswith(".py"):  # started as python -m package.verb
        spec = getattr(sys.modules.get("__main__"), "__spec__", None)
        program = f"python -m {spec.name}" if spec is not None else f"python {shlex.quote(program)}"
        return " ".join([program, *map(shlex.quote, sys.argv[1:])])
    return " ".join(map(shlex.quote, [os.path.basename(program), *sys.argv[1:]]))  # noqa: PTH119


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Commit and uncommitted changes of the folder the sweep was started in; None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git("diff", "HEAD") or ""
    return {"commit": commit.strip(), "diff": diff[:LONGEST_DIFF], "diff_truncated": len(diff) > LONGEST_DIFF}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
