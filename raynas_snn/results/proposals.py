"""Proposals: the trials of one point of the outer space, and whether it keeps within the sweep's limits."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raynas_snn.results.means import mean
from raynas_snn.results.planned import setting
from raynas_snn.results.records import Scalar, TrialRecord

_LIMITED = {"max_params": "params", "max_spikes": "spikes", "max_energy_uj": "energy_uj"}


@dataclass(frozen=True)
class Proposal:
    """A proposal of which at least one seed has finished, together with later ones of the same values.

    Attributes:
        number: Its number, from 0.
        outer: Its values of the outer parameters by path.
        trials: The finished trials by seed; proposals that are made again have other seeds.
    """

    number: int
    outer: Mapping[str, Scalar]
    trials: Sequence[TrialRecord]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the finished trials; None if one lacks it."""
        return mean([record.metric(metric) for record in self.trials])


def finished_proposals(records: Sequence[TrialRecord]) -> list[Proposal]:
    """Returns the proposals with a finished trial, by number."""
    finished: dict[object, list[TrialRecord]] = defaultdict(list)
    for record in records:
        if record.end_reason == "finished":
            finished[frozenset(record.outer.items())].append(record)
    proposals = [
        Proposal(
            min(record.proposal for record in trials),
            trials[0].outer,
            sorted(trials, key=lambda record: (record.seed, record.uid)),
        )
        for trials in finished.values()
    ]
    return sorted(proposals, key=lambda proposal: proposal.number)


def limits_of(config: Mapping[str, Any]) -> dict[str, float]:
    """Returns the greatest allowed value of each metric that the sweep limits."""
    limits = {metric: setting(config, f"sweep.{field}") for field, metric in _LIMITED.items()}
    return {metric: limit for metric, limit in limits.items() if limit is not None}


def keeps_limits(metric: Callable[[str], float | None], limits: Mapping[str, float]) -> bool:
    """Whether no metric is known to be over its limit."""
    return all((value := metric(name)) is None or value <= limit for name, limit in limits.items())
