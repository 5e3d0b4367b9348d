"""The Pareto front: finished proposals that no other one beats in all objectives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raynas_snn.results.planned import setting
from raynas_snn.results.proposals import Proposal, finished_proposals, keeps_limits, limits_of
from raynas_snn.results.records import Scalar, TrialRecord
from raynas_snn.results.run_dir import RunDir


@dataclass(frozen=True)
class Point:
    """A proposal on the front.

    Attributes:
        proposal: Its number.
        trials: Its finished trials, by seed.
        objectives: Mean of each objective over them.
        outer: Its values of the outer parameters by path.
        genotype: The cells of the first finished trial, relative to the run directory; None if there are none.
    """

    proposal: int
    trials: Sequence[str]
    objectives: Mapping[str, float]
    outer: Mapping[str, Scalar]
    genotype: str | None


def objectives_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the direction of each objective of a resolved sweep file."""
    return dict(setting(config, "sweep.objectives") or {"accuracy": "maximize"})


def pareto_front(records: Sequence[TrialRecord], config: Mapping[str, Any], run: RunDir) -> list[Point]:
    """Returns the front by all objectives of a sweep, best by the first objective first.

    Proposals that lack an objective or are over a limit of the sweep (``max_params``, ...) do not take part.
    Means are over the finished seeds.

    Args:
        records: Ended trials, each once.
        config: The resolved sweep file.
        run: Where their cells are.
    """
    objectives, limits = objectives_of(config), limits_of(config)
    candidates: list[tuple[tuple[float, ...], Proposal]] = []
    for proposal in finished_proposals(records):
        values = [proposal.mean(name) for name in objectives]
        costs = [
            -value if direction == "maximize" else value
            for value, direction in zip(values, objectives.values(), strict=True)
            if value is not None
        ]
        if len(costs) == len(values) and keeps_limits(proposal.mean, limits):
            candidates.append((tuple(costs), proposal))
    return [_point(proposal, list(objectives), run) for proposal in _not_dominated(candidates)]


def _not_dominated(candidates: Sequence[tuple[tuple[float, ...], Proposal]]) -> list[Proposal]:
    front: list[tuple[tuple[float, ...], Proposal]] = []
    # In this order, whoever dominates comes before whom it dominates.
    for costs, proposal in sorted(candidates, key=lambda pair: pair[0]):
        beaten = any(
            other != costs and all(theirs <= mine for theirs, mine in zip(other, costs, strict=True))
            for other, _ in front
        )
        if not beaten:
            front.append((costs, proposal))
    return [proposal for _, proposal in front]


def _point(proposal: Proposal, objectives: Sequence[str], run: RunDir) -> Point:
    genotype = run.trial(proposal.trials[0].uid).genotype
    return Point(
        proposal=proposal.number,
        trials=[record.uid for record in proposal.trials],
        objectives={name: value for name in objectives if (value := proposal.mean(name)) is not None},
        outer=dict(proposal.outer),
        genotype=str(genotype.relative_to(run.path)) if genotype.is_file() else None,
    )
