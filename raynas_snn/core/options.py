"""What a component declares: the options that a sweep file gives beside its name.

::

    class GateOptions(Options):
        sharpness: float = Field(1.0, gt=0, le=10, description="Slope of the gate.")

    class MyGate(nn.Module):
        options = GateOptions      # what may stand beside the name: {name: my_package.gates:MyGate, sharpness: 2}

        def __init__(self, channels: int, num_steps: int, options: GateOptions) -> None: ...

Every option has a type, bounds if it is a number, a default and one line of description. A component that is a
function (a sampler, a scheduler, a data set) declares its options with `with_options`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.fields import FieldInfo

RESERVED = ("name", "choice", "int", "float", "when")
"""What a sweep file says of the component itself, so that no option can be called so."""

_LONGEST_PATH = 4095  # characters that Linux takes
Function = TypeVar("Function", bound=Callable[..., Any])


class Options(BaseModel):
    """The options of a component; this class itself has none. Derive a class from it with one field per option."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def with_options(declared: type[Options]) -> Callable[[Function], Function]:
    """Declares the options of a component that is a function."""

    def declare(function: Function) -> Function:
        function.options = declared  # type: ignore[attr-defined] # as a class has them
        return function

    return declare


def find_mistake(declared: object) -> str | None:
    """Returns what is wrong with the attribute ``options`` of a component, None if it is right."""
    if not isinstance(declared, type) or not issubclass(declared, Options):
        return f"its 'options' must be a class derived from raynas_snn.Options, not {declared!r:.80}"
    for name, field in declared.model_fields.items():
        if field.is_required():
            return f"its option {name!r} has no default"
        if name in RESERVED:
            return f"its option {name!r} must have another name: a sweep file says something else by it"
    return None


def _possible(value: str) -> str:
    if "\0" in value or len(value) > _LONGEST_PATH:
        raise ValueError("no file can have this name")
    try:
        Path(value).expanduser()
    except RuntimeError:
        raise ValueError("there is no user of this name") from None
    return value


_IS_FILE_NAME = AfterValidator(_possible)
FileName = Annotated[str, _IS_FILE_NAME]
"""A path, relative to where the sweep is started; workers run elsewhere and are given it as an absolute one."""


def names_a_file(field: FieldInfo) -> bool:
    """Whether a field is a `FileName`, or that or null."""
    members = [member for member in get_args(field.annotation) if member == FileName]
    return _IS_FILE_NAME in field.metadata or bool(members)
