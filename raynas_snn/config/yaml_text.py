"""Reads and writes YAML by the core schema of YAML 1.2.

PyYAML implements YAML 1.1, where ``1e-3`` is text, ``no`` is false and ``010`` is eight, and it accepts duplicate keys.
Here numbers have their usual notation, only ``true`` and ``false`` are booleans, keys are unique and are text, and
aliases are refused, because a few hundred bytes of them can expand to gigabytes.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

_DEEPEST = 16
_MOST_VALUES = 100_000  # which take seconds to read; 10,000 points of four parameters hold fewer
_MOST_KEYS = 1000  # of one mapping; there are fewer fields than that
_TAG = "tag:yaml.org,2002:"
_IMPLICIT = [
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
]


class BrokenYamlError(ValueError):
    """Text that is not YAML, or YAML that a sweep file may not contain; the message has line and column."""


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._num_values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not supported", problem_mark=self.get_mark())
        if self._depth > _DEEPEST:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=self.get_mark())
        if self._num_values > _MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {_MOST_VALUES:,} values", problem_mark=self.get_mark())
        self._num_values += 1
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes whatever a reader of YAML 1.1 or 1.2 could take for something other than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    return dumper.represent_sequence(_TAG + "seq", data, flow_style=True)


def _represent_text(dumper: yaml.SafeDumper, data: str) -> yaml.Node:
    # Only double quotes keep rare line breaks such as U+0085 as they are.
    return dumper.represent_scalar(_TAG + "str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)
_Loader.yaml_implicit_resolvers = {}  # those of YAML 1.1
for _name, _pattern, _first in _IMPLICIT:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), list(_first))


def _read_int(text: str) -> int:
    if len(text) > 40:  # Python refuses to print far longer ones, and no field takes them
        raise ValueError
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text, 10)


def _read_float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _read_bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _read_str(text: str) -> str:
    text.encode()  # an escape may stand for half a character, which no other program would take
    return text


_SCALARS: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda _: None,
    _TAG + "bool": _read_bool,
    _TAG + "int": _read_int,
    _TAG + "float": _read_float,
    _TAG + "str": _read_str,
}


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
        return _mapping(node)
    if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
        return [_value(child) for child in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
        try:
            return _SCALARS[node.tag](node.value)
        except (ValueError, KeyError):
            problem = f"cannot read {show(node.value)} as a value"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None
    raise yaml.MarkedYAMLError(problem=f"the tag {show(node.tag)} is not supported", problem_mark=node.start_mark)


def _mapping(node: yaml.MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if len(node.value) > _MOST_KEYS:
        raise yaml.MarkedYAMLError(problem=f"more than {_MOST_KEYS} keys", problem_mark=node.start_mark)
    for key_node, value_node in node.value:
        key, problem = _value(key_node), ""
        if not isinstance(key, str):
            problem = f"the key {show(key)} is not text"
        elif key in values:
            problem = f"the key {show(key)} stands here a second time"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
        values[key] = _value(value_node)
    return values


def parse(text: str) -> Any:
    """Returns the one document in ``text`` as plain dicts, lists, text, numbers, bools and None.

    Raises:
        BrokenYamlError: With line, column and reason.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        return None if node is None else _value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise BrokenYamlError(f"{where}{', '.join(filter(None, [error.context, error.problem]))}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BrokenYamlError(f"line {line}: a character that YAML does not allow") from None
    except (ValueError, OverflowError) as error:  # an escape or a version beyond what PyYAML foresaw
        raise BrokenYamlError(f"not YAML: {error}") from None


def dump(data: Any) -> str:
    """Returns ``data`` as block YAML in the order of its keys, lists on one line; ``parse`` gives it back."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def show(value: Any) -> str:
    """Returns a value on one line and of bounded length, for messages."""
    text = _inline(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _inline_key(key: str) -> str:
    return key if key.isidentifier() else repr(key[:80])


def _inline(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_inline_key(key)}: {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, str):
        return repr(value[:80])
    return repr(value)
