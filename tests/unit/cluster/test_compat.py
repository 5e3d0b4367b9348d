"""What keeps Ray's insides in one place, and other releases of Ray out."""

import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from ray_nodes import without_ray

from raynas_snn import cluster
from raynas_snn.cluster import compat
from raynas_snn.cluster.compat import supported_ray
from raynas_snn.core.errors import UserError

REPOSITORY = Path(__file__).parents[3]


def modules_of(package: ModuleType) -> list[ModuleType]:
    names = [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [importlib.import_module(name) for name in names]


def install_ray(version: str, folder: Path) -> None:
    """A Ray that says so if it is imported."""
    files = {
        f"ray-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\n",
        "ray/__init__.py": "raise SystemExit('Ray is imported')",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("version", ["2.58.0", "2.59.1", "2.60.0rc1"])
def test_a_ray_that_was_tried_is_taken(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_ray(version, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    supported_ray.check_ray_version()


@pytest.mark.parametrize("version", ["1.13.0", "2.57.1", "2.61.0", "3.0.0.dev0", "unknown"])
def test_another_ray_is_refused(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_ray(version, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        UserError, match=f"^Ray {version} is installed; raynas_snn works with 2.58 to 2.60: pip install"
    ):
        supported_ray.check_ray_version()


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--dry-run", "--json"], ["--storage", "store"]])
def test_a_sweep_with_another_ray_ends_in_one_line(more: list[str], tmp_path: Path) -> None:
    install_ray("2.40.0", tmp_path / "packages")
    folder = tmp_path / "here"
    folder.mkdir()
    paths = [str(tmp_path / "packages"), str(REPOSITORY)]
    done = subprocess.run(
        [sys.executable, "-m", "raynas_snn.sweep", "--run-dir", "run", *more],
        cwd=folder,
        env=without_ray() | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done
    assert done.stderr == (
        "error: Ray 2.40.0 is installed; raynas_snn works with 2.58 to 2.60: "
        "pip install 'ray[default,train,tune]>=2.58,<2.61'\n"
    )
    assert not done.stdout
    assert not list(folder.iterdir())


def test_the_range_is_that_of_the_distribution() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert supported_ray.REQUIREMENT in project["dependencies"]


def test_each_need_of_rays_insides_says_what_is_missing_and_why() -> None:
    silent = [
        f"{module.__name__}.{name}"
        for module in modules_of(compat)
        for name, thing in vars(module).items()
        if inspect.isfunction(thing) or inspect.isclass(thing)
        if thing.__module__ == module.__name__
        and not name.startswith("_")
        and not hasattr(thing, "__dataclass_fields__")
        if "Missing in Ray: " not in (thing.__doc__ or "") or "Without it: " not in (thing.__doc__ or "")
    ]
    assert not silent


def test_subclasses_of_rays_classes_touch_nothing_private_of_theirs() -> None:
    for module in modules_of(cluster):
        if module.__name__.startswith(compat.__name__):
            continue
        for kind in (thing for _, thing in inspect.getmembers(module, inspect.isclass)):
            if kind.__module__ == module.__name__:
                of_ray = [base for base in kind.__mro__ if base.__module__.startswith("ray.")]
                shared = private_names(kind) & set().union(*map(private_names, of_ray))
                assert not shared, f"{kind}: {shared}"


def private_names(kind: type) -> set[str]:
    """Attributes with an underscore that a class defines, or that its methods use."""
    names = set(vars(kind))
    for method in vars(kind).values():
        if isinstance(method, FunctionType):
            names |= set(method.__code__.co_names)
    return {name for name in names if name.startswith("_") and not name.endswith("__") and name != "_abc_impl"}
