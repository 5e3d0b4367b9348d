"""What another run has found that a sweep may learn from (``sweep.warm_start``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.conditions import in_order, is_active
from raynas_snn.config.schema import Scalar
from raynas_snn.errors import UserError
from raynas_snn.results.planned import setting
from raynas_snn.results.proposals import Proposal, finished_proposals
from raynas_snn.results.run_dir import RunDir


@dataclass(frozen=True)
class Lesson:
    """A finished proposal of another run that this sweep could have made.

    Attributes:
        name: Its name there, ``"p0003"``.
        values: Its values of this sweep's outer parameters, by path.
        found: The proposal.
    """

    name: str
    values: Mapping[str, Scalar]
    found: Proposal


def read_lessons(sweep: Sweep) -> list[Lesson]:
    """Returns what the run in ``sweep.warm_start`` has to teach, by number of the proposal; nothing if there is none.

    A proposal teaches something if at least one of its seeds finished with all objectives, each of the sweep's outer
    parameters has one of its own values there, and what only the other run varies has the value that it has here.

    Raises:
        UserError: If there is no run, or none of its proposals can be used.
    """
    source = sweep.config.sweep.warm_start
    if source is None:
        return []
    try:
        run = RunDir.open(Path(source).expanduser())
        config, finished = run.config(), finished_proposals(run.records())
    except UserError as error:
        raise UserError(f"{sweep.source}: sweep.warm_start: {error}") from None
    lessons = [
        Lesson(f"p{proposal.number:04d}", values, proposal)
        for proposal in finished
        if (values := _values(sweep, config, proposal)) is not None
        and all(proposal.mean(name) is not None for name in sweep.config.sweep.objectives)
    ]
    if not lessons:
        raise UserError(
            f"{sweep.source}: sweep.warm_start: none of the {len(finished)} finished proposals of {source} fits: "
            f"they need {', '.join(sweep.config.sweep.objectives)}, values of all outer parameters of this sweep, "
            "and this sweep's value of whatever they vary beside"
        )
    return lessons


def _values(sweep: Sweep, config: Mapping[str, Any], proposal: Proposal) -> dict[str, Scalar] | None:
    """The proposal in the outer parameters of the sweep, None if it is not among those that the sweep can make."""
    values: dict[str, Scalar] = {}
    for parameter in in_order(sweep.outer):
        if is_active(parameter, values):
            value = parameter.fit(proposal.outer.get(parameter.path, setting(config, parameter.path)))
            if value is None:
                return None
            values[parameter.path] = value
    beside = {path: value for path, value in proposal.outer.items() if path not in values}
    return values if all(setting(sweep.config.model_dump(), path) == value for path, value in beside.items()) else None
