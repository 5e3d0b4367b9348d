"""Layers of settings, where each one came from, and how they stack: search space < file < ``--set``.

A layer maps the path of a field, ``("model", "decay")``, to its value as written and to the place it was
written in, so that a message can name the file or the very ``--set`` that holds a mistake.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from raynas_snn.config.schema import SECTIONS
from raynas_snn.config.yaml_text import BrokenYamlError, parse, show
from raynas_snn.errors import UserError
from raynas_snn.outside import read_bytes
from raynas_snn.suggest import did_you_mean

FieldPath = tuple[str, ...]

LARGEST_FILE = 2**20  # bytes; a sweep file holds a few lines
_PLAIN_KEY = re.compile(r"[\w.-]{1,80}")
_ALIASES: dict[FieldPath, FieldPath] = {("model", "tau"): ("model", "decay")}


class Entry(NamedTuple):
    """A value as written, and where: a file name, ``--set model.decay``, ``search space ct_darts``."""

    value: Any
    origin: str


Layer = dict[FieldPath, Entry]


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
    """

    entries: Layer
    source: str

    def values(self) -> dict[str, Any]:
        """The fields as nested dicts, in the shape of a sweep file."""
        nested: dict[str, Any] = {}
        for (*section, key), entry in self.entries.items():
            (nested.setdefault(section[0], {}) if section else nested)[key] = entry.value
        return nested

    def error(self, problems: Sequence[Problem]) -> UserError:
        """The error to raise for at least one problem: it tells the first and counts the others."""
        path, text = problems[0]
        entry = self.entries.get(path)
        rest = {1: "", 2: " (and 1 more problem)"}.get(len(problems), f" (and {len(problems) - 1} more problems)")
        return UserError(f"{_place(entry.origin if entry else self.source, path)}: {text}{rest}")


def stack(layers: Iterable[Layer], source: str) -> Stack:
    """Puts layers on top of each other, the last one uppermost."""
    entries: Layer = {}
    for layer in layers:
        entries |= layer
    return Stack(entries, source)


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
    """Makes a layer of a sweep file's content, or of a fragment of one.

    Raises:
        UserError: If a section is not a mapping, or a field is given under two names.
    """
    return _without_aliases(_flatten(content, origin))


def _flatten(content: Mapping[str, Any], origin: str) -> Layer:
    layer: Layer = {}
    for key, value in content.items():
        if key not in SECTIONS:
            layer[(key,)] = Entry(value, origin)
        elif isinstance(value, Mapping):
            layer |= {(key, field): Entry(item, origin) for field, item in value.items()}
        elif value is not None:  # a section whose lines are all commented out is an empty one
            raise UserError(f"{_place(origin, (key,))}: {show(value)} is not allowed: must be 'key: value' lines")
    return layer


def read_overrides(overrides: Iterable[str]) -> Layer:
    """Makes a layer of the arguments of ``--set``, each ``section.field=value`` with the value in YAML.

    Raises:
        UserError: If one has another form, or they give a field under two names.
    """
    layer: Layer = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.strip().split(".")
        if not equals or len(parts) > 2 or not all(map(str.isprintable, parts)) or not all(parts):
            raise UserError(f"--set {show(override)}: must be section.field=value, such as model.channels=16")
        origin = f"--set {_shown(parts)}"
        try:
            value = parse(text)
        except BrokenYamlError as error:
            raise UserError(f"{origin}: {show(text)} is not YAML: {error}") from None
        layer |= _flatten({parts[0]: value} if len(parts) == 1 else {parts[0]: {parts[1]: value}}, origin)
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
