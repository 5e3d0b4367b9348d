"""Groups the finished trials of a run by proposal (one point of the outer space), and checks the sweep's limits."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from raynas_snn.analysis.statistics import mean
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import TrialRecord


@dataclass(frozen=True)
class FinishedProposal:
    """A proposal with at least one finished seed; later proposals with the same values are part of it.

    Attributes:
        number: Its number, from 0.
        outer: Its values of the outer parameters by path.
        trials: The finished trials by seed; repeated proposals have other seeds.
    """

    number: int
    outer: Mapping[str, Scalar]
    trials: Sequence[TrialRecord]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the finished trials; None if one lacks it."""
        return mean([record.metric(metric) for record in self.trials])


def finished_proposals(records: Sequence[TrialRecord]) -> list[FinishedProposal]:
    """Returns the proposals with a finished trial, by number."""
    finished: dict[object, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.end_reason == "finished":
            finished[frozenset(record.outer.items())].append(record)
    proposals = [
        FinishedProposal(
            min(record.proposal for record in trials),
            trials[0].outer,
            sorted(trials, key=lambda record: (record.seed, record.uid)),
        )
        for trials in finished.values()
    ]
    return sorted(proposals, key=lambda proposal: proposal.number)


def keeps_limits(metric: Callable[[str], float | None], limits: Mapping[str, float]) -> bool:
    """Whether all known metrics are within the sweep's limits."""
    return all((value := metric(name)) is None or value <= limit for name, limit in limits.items())
