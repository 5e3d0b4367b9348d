"""Prints the lower bounds of what the package builds upon, as exact requirements for pip; for ``make test-oldest``."""

import re
import tomllib
from pathlib import Path

PACKAGES = ("optuna", "pydantic", "ray", "torch", "torchvision")  # torchvision fits one torch only


def oldest_versions(dependencies: list[str]) -> list[str]:
    """``ray[default]==2.58`` for ``ray[default]>=2.58,<2.61``."""
    found = {}
    for dependency in dependencies:
        match = re.match(r"([\w-]+)(\[[^]]*\])?>=([\d.]+)", dependency)
        if match is not None and match[1] in PACKAGES:
            found[match[1]] = f"{match[1]}{match[2] or ''}=={match[3]}"
    return [found[package] for package in PACKAGES]


if __name__ == "__main__":
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    print(*oldest_versions(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]))
