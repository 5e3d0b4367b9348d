"""Options: what a component declares, and values to try it with."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from raynas_snn.config.component import Component
from raynas_snn.config.schema import COMPONENTS
from raynas_snn.conformance.requirement import require, requiring
from raynas_snn.core import registry
from raynas_snn.core.options import Options

WITH_OPTIONS: dict[str, type[Component]] = {field.model.kind: field.model for field in COMPONENTS}


def check_options(kind: str, name: str) -> None:
    """What stands beside a name in a sweep file has a default that is allowed, and one line that says what it is."""
    declared = registry.options_of(kind, name)
    with requiring(name, "has defaults that its own options allow"):
        declared.model_validate(declared().model_dump())
    for option, field in declared.model_fields.items():
        text = field.description or ""
        require(bool(text) and "\n" not in text, name, f"describes its option {option} in one line")
        beside = WITH_OPTIONS[kind].model_fields
        require(option not in beside, name, f"has no option {option}, which is a field of the section itself")


def options_to_try(kind: str, name: str) -> Iterator[Options]:
    """The options of a component: all defaults, then each option in turn at its bounds or at each of its words."""
    declared = registry.options_of(kind, name)
    yield declared()
    for option, schema in declared.model_json_schema().get("properties", {}).items():
        for value in _values(schema):
            try:
                options = declared.model_validate({option: value})
            except ValidationError:  # a bound that is ruled out otherwise, such as an even kernel
                continue
            if options != declared():
                yield options


def _values(schema: dict[str, Any]) -> list[Any]:
    if schema.get("type") == "boolean":
        return [False, True]
    bounds = [schema[key] for key in ("minimum", "maximum") if key in schema]
    words = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [*bounds, *words, *(value for member in schema.get("anyOf", []) for value in _values(member))]
