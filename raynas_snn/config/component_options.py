"""Puts the options of all components in place: looked up, checked, complete.

Whatever is beside the name of a component must be an option of one of the kinds that the sweep may choose, and fit
each of those that have it. An option that no kind has is a mistake, unless it comes from a lower layer than the name:
it belonged to another kind, and falls away. An option that varies takes part in a proposal only where the chosen kind
has it; this is written down as its ``when``, so that afterwards a sweep can be read without knowing its components.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from raynas_snn.config.explain import explain, unknown_key
from raynas_snn.config.precedence import FieldPath, Layer, Problem, Stack, WrittenValue, canonical
from raynas_snn.config.schema import COMPONENTS, SECTIONS, ComponentField
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS, Condition, OuterParameter, cannot_vary, parse_outer
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options
from raynas_snn.core.scalars import Scalar

_FORMS = "a name, {name: a, option: value} or {choice: [a, b], option: value}"


def complete_options(stack: Stack) -> Stack:
    """Returns the same settings with every option of every kind that is named, each as its component holds it.

    Of an option that several kinds have with different defaults, and that nobody has set, nothing is written.

    Raises:
        UserError: One line that names file, field, value, and what would be right.
    """
    entries, problems = dict(stack.entries), []
    for field in COMPONENTS:
        named = _Named(field, stack)
        entries = {path: entry for path, entry in entries.items() if path not in named.written} | named.complete
        problems += named.problems
    if problems:
        raise stack.error(problems)
    return replace(stack, entries=entries)


class _Named:
    """One component of a sweep file, or several to choose from.

    Attributes:
        written: The options as they are written.
        complete: What is to be in their place, with the name.
        problems: What is wrong with it.
    """

    def __init__(self, field: ComponentField, stack: Stack) -> None:
        self.field = field
        self.problems: list[Problem] = []
        self.complete: Layer = {}
        self.written = {
            path: entry
            for path, entry in stack.entries.items()
            if path[:-1] == field.path and path != field.name_path and not self._is_beside(path[-1])
        }
        default = SECTIONS[field.name_path[0]].model_fields[field.name_path[1]].get_default()
        head = stack.entries.get(field.name_path, WrittenValue(getattr(default, "name", default), stack.source))
        self._height = stack.heights.get(field.name_path, -1)
        self._heights = stack.heights
        self._choice: OuterParameter | None = None
        try:
            names = self._names(head.value)
            self._declared = {name: self._options_of(name) for name in names}
        except (ValueError, UserError) as error:
            self.problems.append(Problem(field.name_path, str(error)))
            return
        self.complete[field.name_path] = head
        self._read_plain()
        for path, entry in self.written.items():
            if isinstance(entry.value, Mapping):
                self._read_varied(path, entry)
        self._fill_in(head.origin)

    def _is_beside(self, name: str) -> bool:
        """Whether it is no option, but another field of the section that is the component."""
        return len(self.field.path) == 1 and name in self.field.model.model_fields

    def _names(self, head: Any) -> list[str]:
        """The kinds that there are to choose from; raises `ValueError` if the component is not given rightly."""
        if isinstance(head, str):
            return [head]
        if not isinstance(head, Mapping) or head.keys() >= {"name", "choice"} or "choice" not in head:
            raise ValueError(f"must be {_FORMS}")
        path = ".".join(self.field.name_path)
        if self.field.path[0] not in VARIABLE_SECTIONS:
            raise ValueError(cannot_vary())
        self._choice = parse_outer(path, head)
        for level in self._choice.levels:
            if not isinstance(level, str):
                raise ValueError(f"choice holds {level!r}, which is no name")
        return [level for level in self._choice.levels if isinstance(level, str)]

    def _options_of(self, name: str) -> type[Options]:
        registry.check(self.field.model.kind, name)
        declared = registry.options_of(self.field.model.kind, name)
        for option in declared.model_fields:
            if self._is_beside(option):
                raise ValueError(f"'{name}': its option {option!r} must have another name, which is a field of data")
        return declared

    def _holders(self, path: FieldPath) -> list[str]:
        """The kinds that have an option."""
        return [name for name, declared in self._declared.items() if path[-1] in declared.model_fields]

    def _read_plain(self) -> None:
        """Checks what is not varied, all options of a kind together."""
        plain = {path[-1]: entry.value for path, entry in self.written.items() if not isinstance(entry.value, Mapping)}
        for declared in self._declared.values():
            values = {option: value for option, value in plain.items() if option in declared.model_fields}
            for option, value in self._validated(declared, values).items():
                path = (*self.field.path, option)
                if option in plain:
                    self.complete[path] = self.written[path]._replace(value=value)
        for path in self.written:
            if not self._holders(path) and self._heights.get(path, 0) >= self._height:
                known = dict.fromkeys(option for one in self._declared.values() for option in one.model_fields)
                beside = self.field.model.model_fields if len(self.field.path) == 1 else ()
                what = f"unknown option of {' and '.join(self._declared)}"
                self.problems.append(Problem(path, unknown_key(path[-1], [*beside, *known], what)))

    def _validated(self, declared: type[Options], values: Mapping[str, Any]) -> dict[str, Any]:
        """The options with all defaults; nothing if there is something wrong with them."""
        try:
            return declared.model_validate(dict(values)).model_dump()
        except ValidationError as error:
            known = {problem.path for problem in self.problems}
            found = [
                Problem((*self.field.path, *path) if path else self.field.name_path, text)
                for path, text in explain(error, declared, values)
            ]
            self.problems += [problem for problem in found if problem.path not in known]  # alike in several kinds
            return {}

    def _read_varied(self, path: FieldPath, entry: WrittenValue) -> None:
        """Checks every level with every kind that has the option, and adds the condition that this entails."""
        holders = self._holders(path)
        if not holders:
            return
        try:
            if path[0] not in VARIABLE_SECTIONS:
                raise ValueError(cannot_vary())
            parameter = parse_outer(".".join(path), entry.value)
            parameter = replace(parameter, when=self._conditions(parameter, holders))
        except ValueError as error:
            self.problems.append(Problem(path, str(error)))
            return
        levels: list[Scalar] = []
        for level in parameter.to_check:
            before = len(self.problems)
            made = [self._validated(self._declared[name], {path[-1]: level}) for name in holders]
            if len(self.problems) > before:
                return
            levels.append(made[0][path[-1]])  # 1 and 1.0 are the same level of a fraction
        if parameter.kind == "choice":
            parameter = replace(parameter, levels=tuple(levels))
        self.complete[path] = entry._replace(value=parameter.as_dict())

    def _conditions(self, parameter: OuterParameter, holders: list[str]) -> tuple[Condition, ...]:
        """The conditions of an option: those that are written, and that the chosen kind has it."""
        own = ".".join(self.field.path)
        when = {canonical(path): levels for path, levels in parameter.when}
        if self._choice is None:
            return tuple(when.items())
        for name in when.get(own, ()):
            if name in self._declared and name not in holders:
                raise ValueError(f"when: {name!r} has no option {parameter.path.rpartition('.')[2]!r}")
        if own not in when and (len(holders) < len(self._declared) or self._choice.when):
            when[own] = tuple(holders)
        return tuple(sorted(when.items()))

    def _fill_in(self, origin: str) -> None:
        """Adds defaults, where all kinds that have an option agree in it."""
        complete = {self.field.name_path: self.complete[self.field.name_path]}
        for option in dict.fromkeys(name for declared in self._declared.values() for name in declared.model_fields):
            path = (*self.field.path, option)
            fields = [self._declared[name].model_fields[option] for name in self._holders(path)]
            default, *others = (field.get_default(call_default_factory=True) for field in fields)
            if path in self.complete:
                complete[path] = self.complete[path]
            elif all(other == default for other in others):
                complete[path] = WrittenValue(default, origin)
        self.complete = complete  # in the order of the declarations: shuffling the lines of a file changes nothing
