"""The Pareto front: finished proposals that no other proposal dominates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raynas_snn.analysis.finished_proposals import FinishedProposal, finished_proposals, keeps_limits
from raynas_snn.config import Sweep
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir


@dataclass(frozen=True)
class ParetoPoint:
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


def pareto_front(records: Sequence[TrialRecord], sweep: Sweep, run: RunDir) -> list[ParetoPoint]:
    """Returns the front by all objectives of a sweep, best by the first objective first.

    Proposals that lack an objective or are over a limit of the sweep (``max_params``, ...) are excluded.
    Means are over the finished seeds.

    Args:
        records: Ended trials, each once.
        sweep: The sweep of the run.
        run: Where their cells are.
    """
    objectives, limits = sweep.config.sweep.objectives, sweep.config.sweep.limits
    candidates: list[tuple[tuple[float, ...], FinishedProposal]] = []
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


def _not_dominated(candidates: Sequence[tuple[tuple[float, ...], FinishedProposal]]) -> list[FinishedProposal]:
    front: list[tuple[tuple[float, ...], FinishedProposal]] = []
    # In this order, a proposal comes before those that it dominates.
    for costs, proposal in sorted(candidates, key=lambda pair: pair[0]):
        beaten = any(
            other != costs and all(theirs <= mine for theirs, mine in zip(other, costs, strict=True))
            for other, _ in front
        )
        if not beaten:
            front.append((costs, proposal))
    return [proposal for _, proposal in front]


def _point(proposal: FinishedProposal, objectives: Sequence[str], run: RunDir) -> ParetoPoint:
    genotype = run.trial(proposal.trials[0].uid).genotype
    return ParetoPoint(
        proposal=proposal.number,
        trials=[record.uid for record in proposal.trials],
        objectives={name: value for name in objectives if (value := proposal.mean(name)) is not None},
        outer=dict(proposal.outer),
        genotype=str(genotype.relative_to(run.path)) if genotype.is_file() else None,
    )
