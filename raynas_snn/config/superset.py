"""Compares two sweeps: may the new one continue the old one's run, that is, propose everything it could and more?"""

from typing import Any

from pydantic.fields import FieldInfo

from raynas_snn.config.resolved_sweep import Sweep, difference, meaning
from raynas_snn.config.schema import COMPONENT_FIELDS
from raynas_snn.config.search_parameter import OuterParameter, leads
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError


def compare(old: Sweep, new: Sweep) -> tuple[list[str], list[str]]:
    """Returns the differences that prevent a sweep from continuing another's run, and those in which it is wider.

    It is wider where a choice has further levels, a range lies further apart, or a fixed value became one of several.
    Conditions must be the same for everything that the old sweep could propose; options of further kinds of a component
    come along with these.

    Args:
        old: The sweep of the run.
        new: The sweep that is to continue it.

    Returns:
        Two lists of lines in the form of `difference`.
    """
    refused: list[str] = []
    wider: list[str] = []
    for line in difference(meaning(old.resolved()), meaning(new.resolved())):
        path = line.split(":")[0]
        if not _comes_along(path, old, new):
            (wider if _is_wider(path, old, new) else refused).append(line)
    return refused, wider


def _comes_along(path: str, old: Sweep, new: Sweep) -> bool:
    """Whether it is an option that came or went with a kind of its component, or is what it was by default."""
    before, after = _holders(path, old), _holders(path, new)
    if before is None or after is None:
        return False
    if not before or not after:
        return True
    is_new = _parameter(path, old) is None and old.value_at(path) is None
    return (
        is_new and _parameter(path, new) is None and all(one.default == new.value_at(path) for one in before.values())
    )


def _holders(path: str, sweep: Sweep) -> dict[str, FieldInfo] | None:
    """The kinds of a component that have an option, with its declaration; None if it is none, or one is not there."""
    component, _, option = path.rpartition(".")
    if (model := COMPONENT_FIELDS.get(tuple(component.split(".")))) is None:
        return None
    try:
        fields = {name: registry.options_of(model.kind, name).model_fields for name in sweep.values_of(component)}
    except UserError:
        return None
    return {name: declared[option] for name, declared in fields.items() if option in declared}


def _is_wider(path: str, old: Sweep, new: Sweep) -> bool:
    before, after = _parameter(path, old), _parameter(path, new)
    if after is None:
        return False
    if before is not None:
        return _conditions(before, old) == _conditions(after, old) and _holds(after, before)
    # A field has its default where a condition does not hold; an option is not there where no kind has it.
    conditions, component = dict(after.when), path.rpartition(".")[0]
    if (holders := _holders(path, old)) is not None and holders.keys() <= set(conditions.get(component, ())):
        del conditions[component]
    return not conditions and after.fit(old.value_at(path)) is not None


def _parameter(path: str, sweep: Sweep) -> OuterParameter | None:
    return next((one for one in sweep.outer if one.path == path), None)


def _holds(after: OuterParameter, before: OuterParameter) -> bool:
    """Whether every value of one parameter is a value of another."""
    if after.kind != before.kind or after.log != before.log or any(after.fit(end) is None for end in before.bounds):
        return False
    step = before.step or (1 if before.kind == "int" else None)
    return after.step is None or (step is not None and leads(0, step, after.step))


def _conditions(parameter: OuterParameter, old: Sweep) -> dict[str, frozenset[Any]]:
    """What a condition comes to among the proposals of a sweep; the order of levels has no meaning."""
    conditions = {}
    for path, levels in parameter.when:
        parent, values = _parameter(path, old), frozenset(old.values_of(path))
        if not values.issubset(levels) or (parent is not None and parent.when):
            conditions[path] = values.intersection(levels)
    return conditions
