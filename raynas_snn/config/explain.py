"""What pydantic finds wrong, in words: the value, what would be right, and the nearest right word."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from raynas_snn.config.component import Component
from raynas_snn.config.precedence import FieldPath, Problem
from raynas_snn.config.yaml_text import show
from raynas_snn.core.text import did_you_mean

_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
}


def explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any]) -> list[Problem]:
    """Returns one problem per field that is wrong.

    Args:
        error: What validating ``values`` against ``model`` raised.
        model: The model.
        values: The values that were validated.
    """
    problems: dict[FieldPath, str] = {}  # pydantic reports every member of a union; the first stands for all
    for details in error.errors(include_url=False):
        owner, path = _locate(model, details["loc"])
        if path not in problems:
            problems[path] = _explain_field(owner, path, _value_at(values, path), dict(details))
    return [Problem(path, text) for path, text in problems.items()]


def unknown_key(key: str, known: Sequence[str], what: str = "unknown key") -> str:
    """What to tell about a key that should not be there: the nearest that may, else all."""
    return f"{what}{did_you_mean(key, known) or '; known: ' + (', '.join(known) or 'none')}"


def describe(owner: type[BaseModel], field: str) -> str:
    """What a field takes, in words."""
    return _describe(_schemas(owner)[field])


def _explain_field(owner: type[BaseModel], path: FieldPath, value: Any, details: dict[str, Any]) -> str:
    if not path:  # what must hold between fields
        return str(details.get("ctx", {}).get("error", details["msg"]))
    field = path[-1]
    if details["type"] == "extra_forbidden":
        return unknown_key(field, list(owner.model_fields))
    if details["type"] == "missing":
        return "is missing"
    if details["type"] == "value_error":
        return f"{show(value)} is not allowed: {details['ctx']['error']}"
    if details["type"] == "model_type":
        is_component = issubclass(owner, Component) and len(path) > 1
        wanted = "a name, or {name: a, option: value}" if is_component else "a section of fields"
        return f"{show(value)} is not allowed: must be {wanted}"
    schema = _schemas(owner)[field]
    word = details["input"]
    texts = [known for known in _words(schema) if isinstance(known, str)]
    hint = did_you_mean(word, texts) if isinstance(word, str) else ""
    return f"{show(value)} is not allowed: must be {_describe(schema)}{hint}"


@functools.cache
def _schemas(owner: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of each field; making them takes milliseconds, and thousands of values may be wrong."""
    schemas: dict[str, Any] = owner.model_json_schema()["properties"]
    return schemas


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[type[BaseModel], FieldPath]:
    """The model that owns the field at a location, and the field's path.

    A location goes on where the field ends: into members of unions and keys of dicts.
    """
    path: list[str] = []
    for part in map(str, location):
        path.append(part)
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        model = annotation
    return model, tuple(path)


def _value_at(values: Mapping[str, Any], path: FieldPath) -> Any:
    value: Any = values
    for key in path:
        value = value.get(key)
    return value


def _describe(schema: Mapping[str, Any]) -> str:
    """A field's JSON schema in words: ``a whole number between 1 and 64 or null``."""
    if "anyOf" in schema:
        return " or ".join(_describe(member) for member in schema["anyOf"])
    if schema.get("type") == "array":
        return f"a list of {_describe(schema.get('items', {}))}"
    if schema.get("type") == "object":
        keys = schema.get("propertyNames", {"type": "string"})
        mapping = "a non-empty mapping" if schema.get("minProperties") else "a mapping"
        values = schema.get("additionalProperties")
        return f"{mapping} of {_describe(keys)} to {_describe(values if isinstance(values, dict) else {})}"
    if words := _words(schema):
        return " or ".join(show(word) for word in words)
    return _NOUNS.get(schema.get("type", ""), "anything") + _describe_bounds(schema)


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" between {schema['minimum']} and {schema['maximum']}"
    words = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "at most",
    }
    bounds = [f" {word} {schema[key]}" for key, word in words.items() if key in schema]
    return " and".join(bounds)


def _words(schema: Mapping[str, Any]) -> list[Any]:
    """The words, or numbers, that alone have a meaning somewhere in a field."""
    parts = [
        *schema.get("anyOf", []),
        *(
            schema[key]
            for key in ("items", "propertyNames", "additionalProperties")
            if isinstance(schema.get(key), dict)
        ),
    ]
    own = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return [*own, *(word for part in parts for word in _words(part))]
