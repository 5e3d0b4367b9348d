"""Builds a sweep from settings as they are written: outer parameters and plain values, each in its type.

The same for a file whose components have been looked up and for one that a run directory holds: nothing is looked up
in the registry here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from raynas_snn.config.conditions import find_mistakes, with_levels_of_parents
from raynas_snn.config.explain import explain
from raynas_snn.config.precedence import FieldPath, Layer, Problem, Stack, canonical
from raynas_snn.config.resolved_sweep import Sweep
from raynas_snn.config.schema import COMPONENT_FIELDS, SECTIONS, SweepConfig
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS, OuterParameter, cannot_vary, parse_outer
from raynas_snn.core.options import RESERVED
from raynas_snn.core.scalars import Scalar


def build_sweep(complete: Stack, of_space: Layer, foreign: Sequence[OuterParameter] = ()) -> Sweep:
    """Turns settings as they are written into typed ones: what is fixed, and what varies.

    What must hold between fields is not looked at.

    Args:
        complete: All settings, the options of components among them.
        of_space: The defaults of the search space, for fields whose condition does not hold.
        foreign: Further outer parameters, of fields that this version does not know.

    Raises:
        UserError: One line that names file, field, value, and what would be right.
    """
    split = _Split(complete.values(), of_space)
    if split.problems:
        raise complete.error(split.problems)
    try:
        config = SweepConfig.model_validate(split.values)
    except ValidationError as error:
        raise complete.error(explain(error, SweepConfig, split.values)) from None
    outer = _check_levels(config, split.parameters, foreign, complete)
    return Sweep(config, outer, complete.source, beside=split.beside)


class _Split:
    """Takes the outer parameters out; in the values, each is replaced by its first level or its low end.

    One with a condition is replaced by what the field has where the condition does not hold: the search space's
    plain value, else nothing, which stands for the default.

    Attributes:
        values: The plain values, nested as in a sweep file.
        parameters: The outer parameters.
        beside: The plain options of each component that is a choice, by its path.
        problems: What is no outer parameter, though it is written like one.
    """

    def __init__(self, values: dict[str, Any], of_space: Layer) -> None:
        self.values = values
        self.parameters: list[OuterParameter] = []
        self.beside: dict[str, dict[str, Any]] = {}
        self.problems: list[Problem] = []
        self._of_space = of_space
        for section, model in SECTIONS.items():
            for field in model.model_fields:
                written = values.get(section, {}).get(field)
                if isinstance(written, Mapping) and (section, field) in COMPONENT_FIELDS:
                    self._split_component((section, field), written)
                elif isinstance(written, Mapping):
                    self._split_field(values[section], (section, field), written)

    def _split_component(self, path: FieldPath, written: Mapping[str, Any]) -> None:
        section, field = path
        head = {key: value for key, value in written.items() if key in RESERVED}
        options = {key: value for key, value in written.items() if key not in RESERVED}
        if not head and options:
            head = {"name": SECTIONS[section].model_fields[field].get_default().name}
        place = len(self.parameters)
        for option, value in list(options.items()):
            if isinstance(value, Mapping):
                self._split_field(options, (*path, option), value)
        if "name" in head:
            self.values[section][field] = {**head, **options}
            return
        self._split_field(self.values[section], path, head)
        if self.problems:
            return
        self.parameters.insert(place, self.parameters.pop())  # the choice before its options
        choice = self.parameters[place]
        self.beside[choice.path] = options
        if choice.when:
            there = {key[-1]: entry.value for key, entry in self._of_space.items() if key[:-1] == path}
            options = {key: value for key, value in there.items() if not isinstance(value, Mapping)}
        if name := self.values[section].pop(field, None):
            self.values[section][field] = {**options, "name": name}

    def _split_field(self, fields: dict[str, Any], path: FieldPath, written: Mapping[str, Any]) -> None:
        """Reads what varies, and puts a plain value in its place."""
        if path[0] not in VARIABLE_SECTIONS:
            if written.keys() & {"choice", "int", "float"}:
                self.problems.append(Problem(path, cannot_vary()))
            return
        try:
            parameter = parse_outer(".".join(path), written)
        except ValueError as error:
            self.problems.append(Problem(path, str(error)))
            return
        parameter = replace(parameter, when=tuple((canonical(other), levels) for other, levels in parameter.when))
        self.parameters.append(parameter)
        default = self._of_space.get(path)
        if not parameter.when:
            fields[path[-1]] = parameter.bounds[0]
        elif default is None or isinstance(default.value, Mapping):
            del fields[path[-1]]
        else:
            fields[path[-1]] = default.value


def _check_levels(
    config: SweepConfig, parameters: Sequence[OuterParameter], foreign: Sequence[OuterParameter], complete: Stack
) -> tuple[OuterParameter, ...]:
    """Puts levels and values of ranges through the field's own type and bounds; checks conditions."""
    problems: list[Problem] = []
    checked: list[OuterParameter] = []
    for parameter in parameters:
        if len(parameter.keys) > 2 or parameter.keys in COMPONENT_FIELDS:  # names and options are not the schema's
            checked.append(parameter)
            continue
        section: BaseModel = getattr(config, parameter.keys[0])
        levels: list[Scalar] = []
        for level in parameter.to_check:
            values = {**section.model_dump(), parameter.keys[1]: level}
            try:
                # What the field makes of a level stands for it: 1 and 1.0 are the same level of a fraction.
                levels.append(getattr(type(section).model_validate(values), parameter.keys[1]))
            except ValidationError as error:
                problems += [
                    Problem((parameter.keys[0], *problem.path), problem.text)
                    for problem in explain(error, type(section), values)
                ]
                if parameter.kind != "choice":  # one value says what is wrong with a range
                    break
        if parameter.kind == "choice":
            checked.append(replace(parameter, levels=tuple(levels)))
        else:
            checked.append(parameter)
    checked += foreign
    problems += [Problem(wrong.keys, text) for wrong, text in find_mistakes(checked)]
    if problems:
        raise complete.error(problems)
    return with_levels_of_parents(checked)
