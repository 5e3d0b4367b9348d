"""Reads the settings recorded in a run directory, which may come from another version or be damaged.

Plug-ins that they name need not be installed. Fields that this version does not know are ignored; all known fields are
validated.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from raynas_snn.config.build import build_sweep
from raynas_snn.config.component import Component
from raynas_snn.config.explain import explain
from raynas_snn.config.precedence import Layer, Stack, flatten
from raynas_snn.config.resolved_sweep import Sweep
from raynas_snn.config.schema import SECTIONS, SweepConfig, TrialConfig, sections_of
from raynas_snn.config.search_parameter import VARIABLE_SECTIONS, OuterParameter, parse_outer
from raynas_snn.core.errors import UserError


def recorded_sweep(content: Any, source: str) -> Sweep:
    """Returns the sweep recorded in a run's resolved sweep file.

    In ``config``, a field whose condition does not hold has the schema's default; the search space's default for it is
    in the settings of the trials.

    Args:
        content: The file, parsed.
        source: Its name, for messages.

    Raises:
        UserError: One line that names file, field, value, and what would be right.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{source}: expected the settings of a sweep")
    known: Layer = {}
    foreign: list[OuterParameter] = []
    unknown: dict[tuple[str, ...], Any] = {}
    for path, written in flatten(content, source).items():
        if _is_known(*path):
            known[path] = written
        elif parameter := _outer_parameter(path, written.value):
            foreign.append(parameter)
        else:
            unknown[path] = written.value
    return replace(build_sweep(Stack(known, source), {}, foreign), unknown=unknown)


def _is_known(key: str, field: str | None = None, *_: str) -> bool:
    """Whether this version has such a field; what options a component has, only the component knows."""
    if field is None:
        return key in SweepConfig.model_fields
    return field in SECTIONS[key].model_fields or issubclass(SECTIONS[key], Component)


def _outer_parameter(path: tuple[str, ...], value: Any) -> OuterParameter | None:
    """What another version varies in a field of its own."""
    if path[0] not in VARIABLE_SECTIONS or not isinstance(value, Mapping):
        return None
    try:
        return parse_outer(".".join(path), value)
    except ValueError:
        return None


def recorded_trial(content: Mapping[str, Any], source: str) -> TrialConfig:
    """Returns the settings recorded in a trial's folder, without fields that this version does not know.

    Args:
        content: The file, parsed.
        source: Its name, for messages.

    Raises:
        UserError: One line that names file, field, value, and what would be right.
    """
    values = {name: value for name, value in content.items() if name in TrialConfig.model_fields}
    for name, section in sections_of(TrialConfig).items():
        if isinstance(written := values.get(name), Mapping) and not issubclass(section, Component):
            values[name] = {field: value for field, value in written.items() if field in section.model_fields}
    try:
        return TrialConfig.model_validate(values)
    except ValidationError as error:
        raise Stack({}, source).error(explain(error, TrialConfig, values)) from None
