"""A resolved sweep file that a run directory holds, perhaps of another version, perhaps garbled.

Plug-ins that it names need not be installed, and what this version does not know is left alone; but whatever it knows
has a value that can be worked with.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from raynas_snn.config.conditions import find_mistakes
from raynas_snn.config.explain import explain
from raynas_snn.config.outer import VARIABLE_SECTIONS, OuterParameter, parse_outer
from raynas_snn.config.schema import SECTIONS, SweepConfig
from raynas_snn.config.yaml_text import show


def check_recorded(content: Mapping[str, Any]) -> None:
    """Looks at every field of the schema that is there.

    Raises:
        ValueError: Names the first field that is not what it should be.
    """
    values: dict[str, Any] = {"name": "unnamed"}
    parameters: list[OuterParameter] = []
    for key, value in content.items():
        if key not in SECTIONS:
            if key in SweepConfig.model_fields:
                values[key] = value
        elif not isinstance(value, Mapping):
            raise ValueError(f"{key}: {show(value)} is not allowed: must be 'key: value' lines")
        else:
            values[key] = _plain_fields(key, value, parameters)
    for parameter, text in find_mistakes(parameters):
        raise ValueError(f"{parameter.path}: {text}")
    try:
        SweepConfig.model_validate(values)
    except ValidationError as error:
        path, text = explain(error, SweepConfig, values)[0]
        raise ValueError(f"{'.'.join(path)}: {text}") from None


def _plain_fields(section: str, content: Mapping[str, Any], parameters: list[OuterParameter]) -> dict[str, Any]:
    """The known fields of a section with one value; those that vary are read, and added to ``parameters``."""
    plain: dict[str, Any] = {}
    for field, value in content.items():
        if section in VARIABLE_SECTIONS and isinstance(value, Mapping):
            try:
                parameters.append(parse_outer(f"{section}.{field}", value))
            except ValueError as error:
                raise ValueError(f"{section}.{field}: {error}") from None
        elif field in SECTIONS[section].model_fields:
            plain[field] = value
    return plain
