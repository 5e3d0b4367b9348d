"""What there is to say of the options of a component, for ``--list``."""

from typing import Any

from raynas_snn.config.explain import describe
from raynas_snn.core import registry


def described_options(kind: str, name: str) -> list[dict[str, Any]]:
    """Returns name, what it takes, default and description of each option.

    Raises:
        UserError: If the component cannot be imported, or its declaration is wrong.
    """
    declared = registry.options_of(kind, name)
    return [
        {
            "name": option,
            "takes": describe(declared, option),
            "default": field.get_default(call_default_factory=True),
            "description": field.description,
        }
        for option, field in declared.model_fields.items()
    ]
