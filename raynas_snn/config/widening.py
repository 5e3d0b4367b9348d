"""A change of mind that keeps what was done: a sweep that may propose all that another one may, and more."""

from collections.abc import Mapping
from typing import Any

from raynas_snn.config.outer import VARIABLE_SECTIONS, OuterParameter, leads, parse_outer
from raynas_snn.config.sweep import difference, meaning


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Returns what keeps a sweep from continuing the run of another, and in what it is the wider of the two.

    It is wider where a choice has further levels, a range lies further apart, or a fixed value became one of several.
    Conditions must be the same.

    Args:
        old: The resolved sweep of the run.
        new: The resolved sweep that is to continue it.

    Returns:
        Two lists of lines as `difference` has them.
    """
    refused: list[str] = []
    wider: list[str] = []
    for line in difference(meaning(old), meaning(new)):
        path = line.split(":")[0]
        (wider if _is_wider(path, _value(old, path), _value(new, path)) else refused).append(line)
    return refused, wider


def _value(resolved: Mapping[str, Any], path: str) -> Any:
    section, _, field = path.partition(".")
    values = resolved.get(section)
    return values.get(field) if isinstance(values, Mapping) else None


def _is_wider(path: str, old: Any, new: Any) -> bool:
    if path.partition(".")[0] not in VARIABLE_SECTIONS or not isinstance(new, Mapping):
        return False
    after = parse_outer(path, new)
    if not isinstance(old, Mapping):
        return not after.when and after.fit(old) is not None
    try:
        before = parse_outer(path, old)
    except ValueError:
        return False
    return _conditions(before) == _conditions(after) and _holds(after, before)


def _holds(after: OuterParameter, before: OuterParameter) -> bool:
    """Whether every value of one parameter is a value of another."""
    if after.kind != before.kind or after.log != before.log or any(after.fit(end) is None for end in before.bounds):
        return False
    step = before.step or (1 if before.kind == "int" else None)
    return after.step is None or (step is not None and leads(0, step, after.step))


def _conditions(parameter: OuterParameter) -> dict[str, frozenset[Any]]:
    """The order of levels has no meaning in a condition."""
    return {path: frozenset(levels) for path, levels in parameter.when}
