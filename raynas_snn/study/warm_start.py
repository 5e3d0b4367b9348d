"""Warm start: reads the finished proposals of another run (``sweep.warm_start``) for the sampler to learn from.

They are read once, when the run directory is created, and kept in its manifest: the other run may change or be deleted.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raynas_snn.analysis.finished_proposals import FinishedProposal, finished_proposals
from raynas_snn.analysis.statistics import mean
from raynas_snn.config import Sweep
from raynas_snn.config.conditions import in_order, is_active
from raynas_snn.core.errors import UserError
from raynas_snn.core.scalars import Scalar, is_finite
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.known_proposals import as_proposed

_KEY = "warm_start"  # of the manifest


@dataclass(frozen=True)
class WarmStartProposal:
    """A finished proposal of another run that this sweep could have made.

    Attributes:
        name: Its name there, ``"p0003"``.
        values: Its values of this sweep's outer parameters, by path.
        metrics: Means over its finished seeds, of the sweep's objectives and of what the sweep limits.
    """

    name: str
    values: Mapping[str, Scalar]
    metrics: Mapping[str, float]


def read_warm_start(sweep: Sweep) -> list[WarmStartProposal]:
    """Returns the usable proposals of the run in ``sweep.warm_start`` by number; none without such a run.

    A proposal is usable if at least one of its seeds finished with all objectives, if its value of each of this sweep's
    outer parameters is one that this sweep allows, and if parameters varied only there have the value fixed here.

    Raises:
        UserError: If there is no run, or none of its proposals is usable.
    """
    source = sweep.config.sweep.warm_start
    if source is None:
        return []
    try:
        run = RunDir.open(Path(source).expanduser())
        there, finished = run.sweep(), finished_proposals(run.records())
    except UserError as error:
        raise UserError(f"{sweep.source}: sweep.warm_start: {error}") from None
    usable = [
        WarmStartProposal(f"p{proposal.number:04d}", values, metrics)
        for proposal in finished
        if (values := _values(sweep, there, proposal)) is not None
        and (metrics := _metrics(sweep, proposal)).keys() >= sweep.config.sweep.objectives.keys()
    ]
    if not usable:
        raise UserError(
            f"{sweep.source}: sweep.warm_start: none of the {len(finished)} finished proposals of {source} fits: "
            f"they need {', '.join(sweep.config.sweep.objectives)}, values of all outer parameters of this sweep, "
            "and this sweep's value of whatever they vary beside"
        )
    return usable


def warm_start_facts(sweep: Sweep) -> dict[str, Any]:
    """The warm start in the form in which a manifest keeps it; raises as `read_warm_start` does."""
    return {_KEY: [asdict(one) for one in found]} if (found := read_warm_start(sweep)) else {}


def saved_warm_start(
    sweep: Sweep, manifest: Mapping[str, Any], before: Callable[[str], Any]
) -> list[WarmStartProposal]:
    """Returns the warm start kept in a run's manifest.

    Args:
        sweep: The sweep, which may be wider than when the run was made.
        manifest: The manifest.
        before: Returns the value of a path that was not varied then, or None.

    Raises:
        UserError: If it is invalid.
    """
    found = []
    try:
        for one in manifest.get(_KEY, []):
            values, metrics = as_proposed(sweep, one["values"], before), one["metrics"]
            if values is None or not all(map(is_finite, (metrics[name] for name in sweep.config.sweep.objectives))):
                raise ValueError
            found.append(WarmStartProposal(str(one["name"]), values, dict(metrics)))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise UserError(f"manifest.json: {_KEY!r} does not hold proposals of this sweep") from None
    return found


def _metrics(sweep: Sweep, proposal: FinishedProposal) -> dict[str, float]:
    """Means over the seeds that know a metric."""
    names = {*sweep.config.sweep.objectives, *sweep.config.sweep.limits}
    known = {
        name: [value for record in proposal.trials if (value := record.metric(name)) is not None] for name in names
    }
    return {name: average for name, values in sorted(known.items()) if (average := mean(values)) is not None}


def _values(sweep: Sweep, there: Sweep, proposal: FinishedProposal) -> dict[str, Scalar] | None:
    """The proposal in the outer parameters of the sweep, None if it is not among those that the sweep can make."""
    values: dict[str, Scalar] = {}
    for parameter in in_order(sweep.outer):
        if is_active(parameter, values):
            value = parameter.fit(proposal.outer.get(parameter.path, there.fixed_value(parameter.path)))
            if value is None:
                return None
            values[parameter.path] = value
    beside = {path: value for path, value in proposal.outer.items() if path not in values}
    return values if all(sweep.value_at(path) == value for path, value in beside.items()) else None
