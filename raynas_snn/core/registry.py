"""Name -> thing, for everything that a sweep file names.

A name is a built-in one, an entry point of the group ``raynas_snn.<kind>`` of an installed package, or an
import path ``package.module:attribute``. Names travel to the workers and are looked up there; things stay.
Checking and listing names imports none of the targets, so both are instant.
"""

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from raynas_snn.core.built_ins import BUILT_INS
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options, find_mistake
from raynas_snn.core.text import did_you_mean

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_LONGEST = 200  # characters of an import path


KINDS = tuple(BUILT_INS)

_SINGULAR = {"datasets": "data set", "strategies": "strategy", "spaces": "search space", "trials": "kind of trial"}


def resolve(kind: str, name: str) -> Any:
    """Imports and returns the thing of a kind that goes by a name.

    Raises:
        UserError: If the name is unknown, or what it stands for cannot be imported.
    """
    check(kind, name)
    return _import(kind, name, _find(kind, name)[0])


def options_of(kind: str, name: str) -> type[Options]:
    """Returns the options that a component declares; `Options` itself, which has none, if it declares nothing.

    Those of built-in components are declared apart from them, and come without torch or ray. What a user's own
    declares is its attribute ``options``, so it is imported.

    Raises:
        UserError: If the name is unknown, what it stands for cannot be imported, or its declaration is wrong.
    """
    if name in BUILT_INS[kind]:
        where = BUILT_INS[kind][name].options
        declared: Any = _import(kind, name, where) if where else Options
    else:
        declared = getattr(resolve(kind, name), "options", Options)
    if mistake := find_mistake(declared):
        raise UserError(f"{singular(kind)} '{name}': {mistake}")
    options: type[Options] = declared
    return options


def _import(kind: str, name: str, target: str) -> Any:
    module_name, _, attributes = target.partition(":")
    try:
        thing = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script without a guard may end the process that imports it
        reason = _hidden_by(module_name) or f"{type(error).__name__}: {error}"
        raise UserError(f"{singular(kind)} '{name}': cannot import {module_name}: {reason}") from error
    for attribute in attributes.split("."):
        try:
            thing = getattr(thing, attribute)
        except AttributeError:
            hint = did_you_mean(attribute, (known for known in dir(thing) if not known.startswith("_")))
            raise UserError(f"{singular(kind)} '{name}': {module_name} has no '{attributes}'{hint}") from None
    return thing


def check(kind: str, name: str) -> None:
    """Makes sure that a name is known, without importing what it stands for.

    Of an import path, the module is looked for; whether it holds the attribute shows when it is imported.

    Raises:
        UserError: If it is not, with the nearest known name.
    """
    target, origin = _find(kind, name)
    module_name = target.partition(":")[0]
    if origin == "import path" and not _module_exists(module_name):
        raise UserError(f"{singular(kind)} '{name}': there is no module {module_name} on the import path")


def listing(kind: str) -> list[tuple[str, str, str]]:
    """Returns name, description and origin of everything of a kind that has a name of its own.

    Raises:
        UserError: If there is no such kind.
    """
    if kind not in BUILT_INS:
        raise UserError(f"unknown kind {kind[:80]!r}{did_you_mean(kind, KINDS)} (known: {', '.join(KINDS)})")
    built_ins = [(name, entry.description, "built in") for name, entry in BUILT_INS[kind].items()]
    others = [
        (point.name, point.value, point.dist.name if point.dist else "entry point")
        for point in _entry_points(kind)
        if point.name not in BUILT_INS[kind]
    ]
    return built_ins + sorted(others)


def _find(kind: str, name: str) -> tuple[str, str]:
    """Target and origin of a name."""
    if name in BUILT_INS[kind]:
        return BUILT_INS[kind][name].target, "built in"
    if len(name) <= _LONGEST and _IMPORT_PATH.fullmatch(name):
        return name, "import path"
    for point in _entry_points(kind):
        if point.name == name:
            return point.value, "entry point"
    known = [known_name for known_name, _, _ in listing(kind)]
    raise UserError(f"unknown {singular(kind)} {name[:80]!r}{did_you_mean(name, known)} (known: {', '.join(known)})")


def _entry_points(kind: str) -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=f"raynas_snn.{kind}")


def singular(kind: str) -> str:
    """What one of a kind is called in messages."""
    return _SINGULAR.get(kind, kind.removesuffix("s"))


def _module_exists(name: str) -> bool:
    """Whether a module can be found; unlike ``importlib.util.find_spec``, imports none of its parents."""
    if name in sys.modules:
        return True
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # what has no spec is no package, such as __main__
        return False
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return False
        full_name = ".".join([top, *rest[: depth + 1]])
        spec = importlib.machinery.PathFinder.find_spec(full_name, spec.submodule_search_locations)
    return spec is not None


def _hidden_by(module_name: str) -> str | None:
    """Says so if another package of the same general name stands before one of ours on the import path."""
    package = module_name.split(".")[0]
    if package not in ("search_spaces", "trials"):
        return None
    ours = Path(__file__).parents[2] / package
    spec = importlib.util.find_spec(package)
    places = list((spec and spec.submodule_search_locations) or [])
    if not places or ours.resolve() in [Path(place).resolve() for place in places]:
        return None
    return f"'{package}' is another package, {places[0]}, which hides {ours}"
