"""Layers of settings with the source of each value; precedence: search space < file < ``--set``.

A layer maps the path of a field, ``("model", "decay")``, to its value as written and to the place it was
written in, so that a message can name the file or the very ``--set`` that holds a mistake. An option of a component
is a field of its own, ``("model", "attention", "reduction")``, however it was written; so a layer may name a component
and leave the options that a lower one gives, or give options to what a lower one names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from raynas_snn.config.schema import COMPONENT_FIELDS, SECTIONS
from raynas_snn.config.yaml_text import BrokenYamlError, parse, show
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import RESERVED
from raynas_snn.core.text import did_you_mean
from raynas_snn.core.untrusted_files import read_bytes

FieldPath = tuple[str, ...]

LARGEST_FILE = 2**20  # bytes; a sweep file holds a few lines
_PLAIN_KEY = re.compile(r"[\w.-]{1,80}")
_ALIASES: dict[FieldPath, FieldPath] = {("model", "tau"): ("model", "decay")}


class WrittenValue(NamedTuple):
    """A value as written, and where: a file name, ``--set model.decay``, ``search space ct_darts``."""

    value: Any
    origin: str


Layer = dict[FieldPath, WrittenValue]


class Problem(NamedTuple):
    """What is wrong with one field."""

    path: FieldPath
    text: str


@dataclass(frozen=True)
class Stack:
    """All layers put together.

    Attributes:
        entries: The uppermost entry of every field that was written anywhere.
        source: Name of the sweep file.
        heights: The number of the layer that each comes from, counted from below.
    """

    entries: Layer
    source: str
    heights: Mapping[FieldPath, int] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """The fields as nested dicts, in the shape of a sweep file."""
        nested: dict[str, Any] = {}
        with_options = {path[:2] for path in self.entries if len(path) > 2}
        for path in sorted(self.entries, key=len):  # a component before its options
            *above, key = path
            value = self.entries[path].value
            inside = nested
            for name in above:
                inside = inside.setdefault(name, {})
            if path in with_options:
                inside[key] = dict(value) if isinstance(value, Mapping) else {"name": value}
            else:
                inside[key] = value
        return nested

    def error(self, problems: Sequence[Problem]) -> UserError:
        """The error to raise for at least one problem: it names the first and counts the others."""
        path, text = problems[0]
        entry = self.entries.get(path)
        rest = {1: "", 2: " (and 1 more problem)"}.get(len(problems), f" (and {len(problems) - 1} more problems)")
        return UserError(f"{_place(entry.origin if entry else self.source, path)}: {text}{rest}")


def stack(layers: Iterable[Layer], source: str) -> Stack:
    """Stacks layers; later ones override earlier ones."""
    entries: Layer = {}
    heights: dict[FieldPath, int] = {}
    for height, layer in enumerate(layers):
        entries |= layer
        heights |= dict.fromkeys(layer, height)
    return Stack(entries, source, heights)


def read_file(file: Path | None) -> tuple[Layer, str]:
    """Reads a sweep file, or the embedded default for None; returns it with its name.

    Raises:
        UserError: If it cannot be read, is no YAML, or its top level is not made of known sections.
    """
    if file is None:
        text = resources.files("raynas_snn.config").joinpath("default_sweep.yaml").read_text(encoding="utf-8")
        name = "embedded default_sweep.yaml"
    else:
        text, name = _read_text(file), str(file)
    try:
        content = parse(text)
    except BrokenYamlError as error:
        raise UserError(f"{name}: {error}") from None
    if content is None:
        raise UserError(f"{name}: is empty; a sweep file begins with 'name: my-sweep'")
    if not isinstance(content, dict):
        raise UserError(f"{name}: must be made of 'key: value' lines, not {show(content)}")
    return flatten(content, name), name


def flatten(content: Mapping[str, Any], origin: str) -> Layer:
    """Converts the content of a sweep file, or a fragment of one, to a layer.

    Raises:
        UserError: If a section is not a mapping, or a field is given under two names.
    """
    return _without_aliases(_flatten(content, origin))


def _flatten(content: Mapping[str, Any], origin: str) -> Layer:
    layer: Layer = {}
    for key, value in content.items():
        if key not in SECTIONS:
            layer[(key,)] = WrittenValue(value, origin)
        elif isinstance(value, Mapping):
            for name, item in value.items():
                layer |= _flatten_field((key, name), item, origin)
        elif value is not None:  # a section whose lines are all commented out is an empty one
            raise UserError(f"{_place(origin, (key,))}: {show(value)} is not allowed: must be 'key: value' lines")
    return layer


def _flatten_field(path: FieldPath, value: Any, origin: str) -> Layer:
    """One entry; of a component given as a mapping, one for the name or the choice and one for each option."""
    if path not in COMPONENT_FIELDS or not isinstance(value, Mapping) or not value:
        return {path: WrittenValue(value, origin)}
    layer: Layer = {}
    if head := {key: item for key, item in value.items() if key in RESERVED}:
        layer[path] = WrittenValue(head["name"] if head.keys() == {"name"} else head, origin)
    options = {(*path, key): WrittenValue(item, origin) for key, item in value.items() if key not in RESERVED}
    return layer | options


def read_overrides(overrides: Iterable[str]) -> Layer:
    """Converts the arguments of ``--set``, each ``section.field=value`` with the value in YAML, to a layer.

    Raises:
        UserError: If an argument has another form, or a field is given under two names.
    """
    layer: Layer = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        is_option = len(parts) == 3 and tuple(parts[:2]) in COMPONENT_FIELDS
        if not equals or not (len(parts) <= 2 or is_option) or not all(map(str.isprintable, parts)) or not all(parts):
            raise UserError(f"--set {show(override)}: must be section.field=value, such as model.channels=16")
        origin = f"--set {_shown(parts)}"
        try:
            value = parse(text)
        except BrokenYamlError as error:
            raise UserError(f"{origin}: {show(text)} is not YAML: {error}") from None
        for name in reversed(parts):
            value = {name: value}
        layer |= _flatten(value, origin)
    return _without_aliases(layer)


def canonical(path: str) -> str:
    """The name of a field that another dotted path may be an alias of: ``model.tau`` is ``model.decay``."""
    parts = tuple(path.split("."))
    return ".".join(_ALIASES.get(parts, parts))


def _without_aliases(layer: Layer) -> Layer:
    for alias, path in _ALIASES.items():
        if alias in layer:
            if path in layer:
                place = _place(layer[alias].origin, alias)
                raise UserError(f"{place}: is another name of {_shown(path)}, which is given too; keep one of them")
            layer[path] = layer.pop(alias)
    return layer


def _read_text(file: Path) -> str:
    try:
        content = read_bytes(file, LARGEST_FILE)
    except FileNotFoundError:
        others = [path.name for path in file.parent.glob("*.y*ml")] if file.parent.is_dir() else []
        raise UserError(f"{file}: there is no such file{did_you_mean(file.name, others)}") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{file}: line {line}: is not text in UTF-8") from None


def _place(origin: str, path: FieldPath) -> str:
    """``FILE: model.decay``, or ``--set model.decay`` alone, which names the field already."""
    shown = _shown(path)
    return origin if origin.endswith(f" {shown}") else f"{origin}: {shown}"


def _shown(path: Iterable[str]) -> str:
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else show(key) for key in path)
