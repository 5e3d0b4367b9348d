"""Reads a sweep file: layers -> options of components -> outer parameters and plain values -> models -> checks."""

from collections.abc import Sequence
from pathlib import Path

from raynas_snn.config.build import build_sweep
from raynas_snn.config.checks import find_problems
from raynas_snn.config.component_options import complete_options
from raynas_snn.config.precedence import (
    Layer,
    Problem,
    Stack,
    WrittenValue,
    flatten,
    read_file,
    read_overrides,
    stack,
)
from raynas_snn.config.resolved_sweep import Sweep
from raynas_snn.config.schema import SweepConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.core.errors import UserError


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
        from_command[("sweep", "num_trials")] = WrittenValue(num_trials, "--num-trials")
    written = stack([from_file, from_command], source)
    of_space = _space_defaults(written)
    complete = complete_options(stack([of_space, from_file, from_command], source))
    sweep = build_sweep(complete, of_space)
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
