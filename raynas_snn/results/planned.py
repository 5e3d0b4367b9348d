"""What a run is going to do, read from its resolved sweep file alone.

Plain dicts suffice here: tables can be made where the plug-ins that the sweep names are not installed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from raynas_snn.config.conditions import count_combinations
from raynas_snn.config.outer import VARIABLE_SECTIONS, OuterParameter, parse_outer
from raynas_snn.errors import UserError
from raynas_snn.results.records import numbers_of


def setting(config: Mapping[str, Any], path: str) -> Any:
    """Returns a field of a resolved sweep file by its dotted path, None if it is not there."""
    value: Any = config
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def outer_parameters(config: Mapping[str, Any]) -> list[OuterParameter]:
    """Returns what a resolved sweep file varies, in the order of the file.

    Raises:
        UserError: If a field is neither a plain value nor an outer parameter.
    """
    parameters = []
    for section in VARIABLE_SECTIONS:
        for field, value in (setting(config, section) or {}).items():
            if isinstance(value, Mapping):
                path = f"{section}.{field}"
                try:
                    parameters.append(parse_outer(path, value))
                except ValueError as error:
                    raise UserError(f"{path}: {error}") from None
    return parameters


def num_proposals(config: Mapping[str, Any]) -> int:
    """Returns how many proposals a resolved sweep file asks for."""
    limit: int | None = setting(config, "sweep.num_trials")
    if setting(config, "sweep.sampler") == "grid":
        size = count_combinations(outer_parameters(config))
        limit = size if limit is None else min(size, limit)
    return limit or 0


def num_seeds(config: Mapping[str, Any]) -> int:
    """Returns how often a resolved sweep file asks for each proposal."""
    return int(setting(config, "sweep.num_seeds") or 1)


def num_trials(config: Mapping[str, Any]) -> int:
    """Returns how many trials a resolved sweep file asks for: proposals x seeds."""
    return num_proposals(config) * num_seeds(config)


def num_beyond(uids: Iterable[str], num_proposals: int, num_seeds: int) -> int:
    """Counts the trials that are not among those asked for now: fewer may be than when they were begun."""
    numbers = [found for uid in uids if (found := numbers_of(uid))]
    return sum(proposal >= num_proposals or repeat >= num_seeds for proposal, repeat in numbers)


def first_objective(config: Mapping[str, Any]) -> tuple[str, bool]:
    """Returns the metric by which the best trial is told, and whether more of it is better."""
    objectives: Mapping[str, str] = setting(config, "sweep.objectives") or {"accuracy": "maximize"}
    name, direction = next(iter(objectives.items()))
    return name, direction == "maximize"
