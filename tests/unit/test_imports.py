"""Imports point one way, and what must answer at once imports neither ray nor torch."""

import ast
import tomllib
from pathlib import Path

import pytest

import raynas_snn

REPOSITORY = Path(__file__).parents[2]
# Of Ray's own, beside all that begins with an underscore: documented nowhere, or promised to nobody.
PRIVATE_TO_RAY = [
    "ray.air",
    "ray.core",
    "ray.experimental",
    "ray.train.v2",
    "ray.tune.execution",
    "ray.tune.experiment",
    "ray.tune.trainable",
]
# Each imports from what stands before it only.
ROOMS = [
    "raynas_snn.core",
    "raynas_snn.config",
    "raynas_snn.interfaces",
    "search_spaces",
    "raynas_snn.snn",
    "raynas_snn.nas",
    "raynas_snn.data",
    "raynas_snn.training",
    "raynas_snn.training.strategies",
    "trials",
    "raynas_snn.run",
    "raynas_snn.analysis",
    "raynas_snn.tables",
    "raynas_snn.study",
    "raynas_snn.remote",
    "raynas_snn.cluster",
    "raynas_snn.cluster.compat",
    "raynas_snn.cluster.runtime",
    "raynas_snn.cluster.trial",
    "raynas_snn.cluster.driver",
    "raynas_snn.conformance",
    "raynas_snn.cli",
    "raynas_snn.status",
    "raynas_snn.report",
    "raynas_snn.sweep",
]
WITHOUT_TORCH = [
    "raynas_snn.core",
    "raynas_snn.config",
    "raynas_snn.interfaces",
    "raynas_snn.run",
    "raynas_snn.analysis",
    "raynas_snn.tables",
    "raynas_snn.study",
    "raynas_snn.remote",
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


def room_of(name: str) -> str | None:
    """The innermost room that a module is in."""
    return max((room for room in ROOMS if is_within(name, room)), key=len, default=None)


def test_rooms_import_downwards_only():
    wrong = []
    for module in sorted(set(SOURCES) - {"raynas_snn"}):
        room = room_of(module)
        assert room is not None, f"{module} is in no room"
        above = ROOMS[ROOMS.index(room) + 1 :]
        wrong += [f"{module} imports {name}" for name in imports_of(module) if room_of(name) in above]
    assert not wrong


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_what_must_answer_at_once_imports_nothing_heavy(room):
    heavy = ["ray", "torch", "torchvision", "raynas_snn.snn", "raynas_snn.nas", "raynas_snn.training"]
    for module in (name for name in SOURCES if is_within(name, room)):
        wrong = {name for name in imports_of(module) for other in heavy if is_within(name, other)}
        assert not wrong, f"{module} imports {wrong}"


def test_the_root_holds_only_the_verbs():
    modules = {file.stem for file in (REPOSITORY / "raynas_snn").glob("*.py")}
    assert modules == {"__init__", "cli", "sweep", "status", "report"}


def test_ray_is_imported_by_the_cluster_package_only():
    users = {module for module in SOURCES if any(is_within(name, "ray") for name in imports_of(module))}
    assert all(is_within(module, "raynas_snn.cluster") for module in users), users


def is_private_to_ray(name: str) -> bool:
    """Whether a module, or what is imported from it, belongs to Ray's insides."""
    is_hidden = any(part.startswith("_") for part in name.split("."))
    return is_within(name, "ray") and (is_hidden or any(is_within(name, package) for package in PRIVATE_TO_RAY))


def test_insides_of_ray_are_imported_by_the_compat_package_only():
    users = {module for module in SOURCES if any(map(is_private_to_ray, imports_of(module)))}
    assert all(is_within(module, "raynas_snn.cluster.compat") for module in users), users
    assert users


def test_nothing_is_mocked_in_production():
    assert not {module for module in SOURCES if any(is_within(name, "unittest") for name in imports_of(module))}


def test_private_attributes_are_used_by_their_own_class_only():
    """Also those without an underscore in which Tune's trials keep what they have counted."""
    counted = {"error_file", "metric_analysis", "metric_n_steps", "num_failures", "run_metadata", "temporary_state"}
    for module in (name for name in SOURCES if is_within(name, "raynas_snn.cluster")):
        if is_within(module, "raynas_snn.cluster.compat"):
            continue
        for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                is_private = node.attr.startswith("_") and not node.attr.endswith("__")
                is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "os")  # os._exit
                assert node.attr not in counted, f"{module}, line {node.lineno}: .{node.attr}"
                assert is_own or not is_private, f"{module}, line {node.lineno}: .{node.attr}"


def test_no_two_modules_and_no_two_test_files_share_a_name():
    for folder in (REPOSITORY / "raynas_snn", REPOSITORY / "tests"):
        names = sorted(file.name for file in folder.rglob("*.py") if file.name not in ("__init__.py", "conftest.py"))
        assert len(set(names)) == len(names), {name for name in names if names.count(name) > 1}


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
