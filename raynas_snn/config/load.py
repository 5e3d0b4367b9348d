"""Reads a sweep file: layers -> outer parameters and plain values -> models -> checks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from raynas_snn.config.checks import find_problems
from raynas_snn.config.conditions import find_mistakes, with_levels_of_parents
from raynas_snn.config.explain import explain
from raynas_snn.config.layers import Entry, Layer, Problem, Stack, canonical, flatten, read_file, read_overrides, stack
from raynas_snn.config.outer import VARIABLE_SECTIONS, OuterParameter, parse_outer
from raynas_snn.config.schema import SECTIONS, Scalar, SweepConfig
from raynas_snn.config.sweep import Sweep
from raynas_snn.errors import UserError
from raynas_snn.space import load_space


def load_sweep(file: Path | None, overrides: Sequence[str] = (), num_trials: int | None = None) -> Sweep:
    """Reads a sweep file and makes sure that all of it is right.

    Precedence: general defaults < defaults of the search space < file < ``overrides``.

    Args:
        file: The sweep file; None takes the embedded default.
        overrides: Arguments of ``--set``, ``"model.channels=16"``.
        num_trials: Stands in for ``sweep.num_trials`` if given.

    Raises:
        UserError: One line that names file, field, value, and what would be right.
    """
    from_file, source = read_file(file)
    from_command = read_overrides(overrides)
    if num_trials is not None:
        from_command[("sweep", "num_trials")] = Entry(num_trials, "--num-trials")
    written = stack([from_file, from_command], source)
    of_space = _space_defaults(written)
    complete = stack([of_space, from_file, from_command], source)

    values, parameters = _split(complete, of_space)
    try:
        config = SweepConfig.model_validate(values)
    except ValidationError as error:
        raise complete.error(explain(error, SweepConfig, values)) from None
    sweep = Sweep(config, _check_levels(config, parameters, complete), source)
    if problems := find_problems(sweep):
        raise complete.error(problems)
    return sweep


def _space_defaults(written: Stack) -> Layer:
    path = ("space",)
    name = written.entries[path].value if path in written.entries else SweepConfig.model_fields["space"].default
    if not isinstance(name, str):
        return {}  # the schema says what is wrong with it
    try:
        space = load_space(name)
    except UserError as error:
        raise written.error([Problem(path, str(error))]) from error
    return flatten(space.defaults, f"search space {name}")


def _split(complete: Stack, of_space: Layer) -> tuple[dict[str, Any], list[OuterParameter]]:
    """Takes the outer parameters out; in the values, each is replaced by its first level or its low end.

    One with a condition is replaced by what the field has where the condition does not hold: the search space's
    plain value, else nothing, which stands for the schema's default.
    """
    values = complete.values()
    parameters: list[OuterParameter] = []
    problems: list[Problem] = []
    for section, model in SECTIONS.items():
        for field in model.model_fields:
            written = values.get(section, {}).get(field)
            if not isinstance(written, Mapping):
                continue
            if section in VARIABLE_SECTIONS:
                try:
                    parameter = parse_outer(f"{section}.{field}", written)
                except ValueError as error:
                    problems.append(Problem((section, field), str(error)))
                    continue
                parameters.append(replace(parameter, when=tuple((canonical(path), of) for path, of in parameter.when)))
                default = of_space.get((section, field))
                if not parameter.when:
                    values[section][field] = parameter.bounds[0]
                elif default is None or isinstance(default.value, Mapping):
                    del values[section][field]
                else:
                    values[section][field] = default.value
            elif written.keys() & {"choice", "int", "float"}:
                text = f"cannot be varied; only fields of {', '.join(VARIABLE_SECTIONS)} can"
                problems.append(Problem((section, field), text))
    if problems:
        raise complete.error(problems)
    return values, parameters


def _check_levels(
    config: SweepConfig, parameters: Sequence[OuterParameter], complete: Stack
) -> tuple[OuterParameter, ...]:
    """Puts levels and values of ranges through the field's own type and bounds; checks conditions."""
    problems: list[Problem] = []
    checked: list[OuterParameter] = []
    for parameter in parameters:
        section: BaseModel = getattr(config, parameter.section)
        levels: list[Scalar] = []
        for level in parameter.to_check:
            values = {**section.model_dump(), parameter.field: level}
            try:
                # What the field makes of a level stands for it: 1 and 1.0 are the same level of a fraction.
                levels.append(getattr(type(section).model_validate(values), parameter.field))
            except ValidationError as error:
                problems += [
                    Problem((parameter.section, *problem.path), problem.text)
                    for problem in explain(error, type(section), values)
                ]
                if parameter.kind != "choice":  # one value says what is wrong with a range
                    break
        if parameter.kind == "choice":
            checked.append(replace(parameter, levels=tuple(levels)))
        else:
            checked.append(parameter)
    problems += [Problem((wrong.section, wrong.field), text) for wrong, text in find_mistakes(checked)]
    if problems:
        raise complete.error(problems)
    return with_levels_of_parents(checked)
