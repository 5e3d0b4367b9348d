"""Imports point one way, and what must answer at once imports neither ray nor torch."""

import ast
import tomllib
from pathlib import Path

import pytest

import raynas_snn

REPOSITORY = Path(__file__).parents[2]
LAYERS = [
    "raynas_snn.snn",
    "raynas_snn.nas",
    "raynas_snn.training",
    "trials",
    "raynas_snn.cluster",
    "raynas_snn.conformance",
    "raynas_snn.sweep",
]
SOURCES = {
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): file
    for package in ("raynas_snn", "search_spaces", "trials")
    for file in sorted((REPOSITORY / package).rglob("*.py"))
}


def imports_of(module: str) -> set[str]:
    """Everything that a module imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_import_downwards_only(layer):
    above = LAYERS[LAYERS.index(layer) + 1 :]
    for module in filter(lambda name: is_within(name, layer), SOURCES):
        wrong = {name for name in imports_of(module) for other in above if is_within(name, other)}
        assert not wrong, f"{module} imports {wrong}"


def test_what_is_in_no_layer_uses_none_and_nothing_heavy():
    # The root exports lazily, from everywhere.
    aside = [name for name in SOURCES if name != "raynas_snn" and not any(is_within(name, one) for one in LAYERS)]
    assert {"raynas_snn.config.load", "raynas_snn.registry", "raynas_snn.results.run_dir"} <= set(aside)
    for module in aside:
        wrong = {
            name
            for name in imports_of(module)
            for other in [*LAYERS, "ray", "torch", "torchvision"]
            if is_within(name, other)
        }
        assert not wrong, f"{module} imports {wrong}"


def test_ray_is_imported_by_the_cluster_package_only():
    users = {module for module in SOURCES if any(is_within(name, "ray") for name in imports_of(module))}
    assert all(is_within(module, "raynas_snn.cluster") for module in users), users


def test_the_package_never_imports_its_verbs():
    verbs = {"raynas_snn.sweep", "raynas_snn.status", "raynas_snn.report"}
    assert not verbs & imports_of("raynas_snn")


def test_exports_are_where_they_are_said_to_be():
    for name in raynas_snn.__all__:
        assert getattr(raynas_snn, name) is not None
    assert set(dir(raynas_snn)) == set(raynas_snn.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = raynas_snn.nothing


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert raynas_snn.__version__ == project["version"]
