"""Conditions: outer parameters that are part of a proposal only if other choices have certain levels.

A parameter whose condition does not hold is absent from the proposal, and its field keeps the value that it would have
if the sweep file did not mention it. A proposal is therefore built parents first, and no two proposals differ only in
parameters without effect.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.config.yaml_text import show
from raynas_snn.core.errors import UserError
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.text import did_you_mean

_MOST_CASES = 10_000


def in_order(parameters: Sequence[OuterParameter]) -> list[OuterParameter]:
    """Returns the parameters with parents before children, otherwise in the given order; omits those in a cycle."""
    ordered: list[OuterParameter] = []
    waiting = list(parameters)
    placed: set[str] = set()
    while ready := [one for one in waiting if all(path in placed for path, _ in one.when)]:
        ordered.append(ready[0])
        placed.add(ready[0].path)
        waiting.remove(ready[0])
    return ordered


def is_active(parameter: OuterParameter, values: Mapping[str, Scalar]) -> bool:
    """Whether a parameter takes part in a proposal.

    Args:
        parameter: The parameter.
        values: The proposal, at least the values of its parents; inactive parents are absent.
    """
    return all(path in values and values[path] in levels for path, levels in parameter.when)


def active_parameters(parameters: Sequence[OuterParameter], values: Mapping[str, Scalar]) -> list[OuterParameter]:
    """Returns the parameters that take part in a proposal with these values, parents first."""
    active: list[OuterParameter] = []
    taken: dict[str, Scalar] = {}
    for parameter in in_order(parameters):
        if is_active(parameter, taken):
            active.append(parameter)
            if parameter.path in values:
                taken[parameter.path] = values[parameter.path]
    return active


def combinations(parameters: Sequence[OuterParameter]) -> Iterator[dict[str, Scalar]]:
    """Yields every combination of levels of the choices once, the last parameter changing fastest."""
    yield from _extend(in_order(parameters), {})


def _extend(parameters: Sequence[OuterParameter], values: dict[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    if not parameters:
        yield values
    elif is_active(parameters[0], values):
        for level in parameters[0].levels:
            yield from _extend(parameters[1:], {**values, parameters[0].path: level})
    else:
        yield from _extend(parameters[1:], values)


def count_combinations(parameters: Sequence[OuterParameter]) -> int:
    """Counts the combinations without enumerating them.

    All that matters of the levels chosen so far is which later parameters they exclude. Partial combinations that
    exclude the same parameters are therefore counted together, and children come right after their parents.

    Raises:
        UserError: If the conditions are too complex for this to end in reasonable time.
    """
    counts: Counter[frozenset[str]] = Counter([frozenset()])  # by the later parameters that are shut out
    for parameter in _children_first(parameters):
        children = {one.path: dict(one.when)[parameter.path] for one in parameters if parameter.path in dict(one.when)}
        closed = Counter(
            frozenset(path for path, levels in children.items() if level not in levels) for level in parameter.levels
        )
        following: Counter[frozenset[str]] = Counter()
        for shut_out, count in counts.items():
            if parameter.path in shut_out:
                following[(shut_out - {parameter.path}).union(children)] += count
            else:
                for more, number in closed.items():
                    following[shut_out | more] += count * number
        counts = following
        if len(counts) > _MOST_CASES:
            raise UserError(f"{parameter.path}: too many conditions depend on each other; leave some of them out")
    return sum(counts.values())


def _children_first(parameters: Sequence[OuterParameter]) -> list[OuterParameter]:
    """The parameters in an order with parents before children, in which children wait as little as possible."""
    ordered: list[OuterParameter] = []
    waiting = in_order(parameters)
    while waiting:
        placed = {one.path for one in ordered}
        ready = [one for one in waiting if all(path in placed for path, _ in one.when)]
        ordered.append(max(ready, key=lambda one: len(one.when)))
        waiting.remove(ordered[-1])
    return ordered


def find_mistakes(parameters: Sequence[OuterParameter]) -> list[tuple[OuterParameter, str]]:
    """Returns the mistakes in conditions, each with its parameter."""
    known = {parameter.path: parameter for parameter in parameters}
    mistakes = [
        (one, text) for one in parameters for path, levels in one.when if (text := _wrong(one, path, levels, known))
    ]
    if mistakes:
        return mistakes
    placed = {parameter.path for parameter in in_order(parameters)}
    circle = [parameter for parameter in parameters if parameter.path not in placed]
    paths = ", ".join(parameter.path for parameter in circle)
    return [(parameter, f"when goes round in a circle: {paths}") for parameter in circle[:1]]


def _wrong(parameter: OuterParameter, path: str, levels: Sequence[Scalar], known: Mapping[str, OuterParameter]) -> str:
    choices = [other.path for other in known.values() if other.kind == "choice" and other is not parameter]
    if path == parameter.path:
        return "when: a parameter cannot depend on itself"
    if path not in choices:
        what = "varied, but not by a choice" if path in known else "not varied by this sweep"
        return f"when: {show(path)} is {what}{'' if path in known else did_you_mean(path, choices)}"
    for level in levels:
        if level not in known[path].levels:
            texts = [text for text in known[path].levels if isinstance(text, str)]
            hint = did_you_mean(level, texts) if isinstance(level, str) else ""
            return f"when: {show(level)} is not a level of {path}{hint or f' (levels: {show(known[path].levels)})'}"
    return ""


def with_levels_of_parents(parameters: Sequence[OuterParameter]) -> tuple[OuterParameter, ...]:
    """Converts the levels in conditions to those of the parents: 1 and 1.0 are the same level of a float field."""
    known = {parameter.path: parameter for parameter in parameters}
    return tuple(
        replace(
            parameter,
            when=tuple(
                (path, tuple(own for own in known[path].levels if own in levels)) for path, levels in parameter.when
            ),
        )
        for parameter in parameters
    )
