"""A component as settings hold it: its name, and its options beside it.

In a file it is the name alone, or ``{name: ma, reduction: 4}``. The options are plain values, so that settings travel
as JSON; they become the class that the component declares where they are asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from raynas_snn.core import registry
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options, names_a_file

Declared = TypeVar("Declared", bound=Options)


class Component(BaseModel):
    """Something of the registry, by name, with its options; those that are not given have their defaults.

    Attributes:
        kind: Its kind in the registry.
        name: Its name there.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    kind: ClassVar[str]
    name: str

    @model_validator(mode="before")
    @classmethod
    def _read(cls, written: Any) -> Any:
        return {"name": written} if isinstance(written, str) else written

    @model_serializer(mode="wrap")
    def _write(self, handler: SerializerFunctionWrapHandler) -> Any:
        written = handler(self)
        return self.name if written.keys() == {"name"} else written

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options that are given, as plain values."""
        return self.model_extra or {}

    @property
    def options(self) -> Options:
        """All options, as the class that the component declares.

        Raises:
            UserError: If the component cannot be imported, or does not take what is given.
        """
        try:
            return registry.options_of(self.kind, self.name).model_validate(dict(self.settings))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{registry.singular(self.kind)} '{self.name}': {where}: {first['msg']}") from None

    def options_as(self, declared: type[Declared]) -> Declared:
        """All options, for code that knows which class the component declares.

        Raises:
            TypeError: If the component declares another.
        """
        options = self.options
        if not isinstance(options, declared):
            raise TypeError(f"{self.name!r} declares {type(options).__name__}, not {declared.__name__}")
        return options

    @classmethod
    def chosen(cls, name: str, settings: Mapping[str, Any]) -> Self:
        """A component with those of the settings that it has."""
        known = registry.options_of(cls.kind, name).model_fields
        return cls.model_validate({**{key: value for key, value in settings.items() if key in known}, "name": name})

    def completed(self) -> Self:
        """The same with every option, and with files named by absolute paths."""
        options = self.options
        settings = options.model_dump()
        for name, field in type(options).model_fields.items():
            if names_a_file(field) and settings[name] is not None:
                settings[name] = str(absolute(settings[name]))
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_validate({**fields, **settings})


def absolute(written: str) -> Path:
    """A file that a sweep file names, seen from anywhere on this machine."""
    return Path(written).expanduser().absolute()


class NamedAttention(Component):
    """An attention, such as ``ma``."""

    kind: ClassVar[str] = "attentions"


class NamedNeuron(Component):
    """A neuron model, such as ``lif``."""

    kind: ClassVar[str] = "neurons"


class NamedSurrogate(Component):
    """A surrogate, such as ``atan``."""

    kind: ClassVar[str] = "surrogates"


class NamedStrategy(Component):
    """A search strategy, such as ``darts``."""

    kind: ClassVar[str] = "strategies"


class NamedSampler(Component):
    """A sampler, such as ``tpe``."""

    kind: ClassVar[str] = "samplers"


class NamedScheduler(Component):
    """A scheduler, such as ``asha``."""

    kind: ClassVar[str] = "schedulers"
