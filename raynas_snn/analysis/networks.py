"""The networks of a sweep, one row per proposal, as in the MA-DARTS paper (arXiv 2411.00902, Table 3)."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from raynas_snn.analysis.finished_proposals import FinishedProposal, finished_proposals, keeps_limits
from raynas_snn.analysis.statistics import standard_deviation
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.screen import short_names, short_scalar
from raynas_snn.run.records import TrialRecord

# In columns of their own, or part of the name.
_STRATEGY, _ATTENTION, _CHANNELS, _STEPS = (
    "search.strategy",
    "model.attention",
    "model.channels",
    "model.num_steps",
)
_NAMED = (_STRATEGY, _ATTENTION, _CHANNELS, _STEPS)

_ATTENTIONS = {"none": "", "ct": "CT-", "ma": "MA-", "temporal": "T-", "channel": "C-", "spatial": "S-"}
STRATEGIES = {
    "darts": "DARTS",
    "random": "Random",
    "sahd": "SNASNet-SAHD",
    "evolution": "AutoSNN-Evolution",
    "fixed": "Fixed",
}


@dataclass(frozen=True)
class Network:
    """A proposal with at least one finished trial; numbers are means over these, None if unknown.

    Attributes:
        network: Name after the paper, with what the sweep varies beyond the other columns, ``MA-DARTS (decay 0.5)``.
        accuracy_mean: Mean test accuracy, a fraction.
        accuracy_std: Sample standard deviation of it, from two seeds on.
        num_seeds: Finished trials.
        channels: C, width of the derived network.
        num_steps: T.
        params: Parameters without the auxiliary classifier.
        params_with_auxiliary: Parameters with it, as the paper counts.
        spikes: Spikes per image, summed over the time steps.
        energy_uj: Energy per image in microjoule.
        dataset: Data set.
        proposal: Number of the proposal.
        within_limits: Whether it keeps the limits of the sweep.
        is_best: Whether it has the best accuracy of its group, see `networks`.
        outer: Its values of the outer parameters by path.
    """

    network: str
    accuracy_mean: float | None
    accuracy_std: float | None
    num_seeds: int
    channels: Scalar | None
    num_steps: Scalar | None
    params: float | None
    params_with_auxiliary: float | None
    spikes: float | None
    energy_uj: float | None
    dataset: str
    proposal: int
    within_limits: bool
    is_best: bool
    outer: Mapping[str, Scalar]


def networks(
    records: Sequence[TrialRecord],
    sweep: Sweep,
    trial_of: Callable[[str], TrialConfig | None] = lambda _: None,
) -> list[Network]:
    """Returns the networks by strategy, attention, width, steps and the rest, in the order of the sweep file.

    The best is chosen among networks of the same strategy, attention and width. If these groups hold one network each,
    it is chosen among those of the same width, or among all. Networks over a limit of the sweep are excluded.

    Args:
        records: Ended trials, each once.
        sweep: The sweep of the run.
        trial_of: Returns the settings of a trial by uid; used for fields whose condition does not hold in a proposal.
    """
    order = {path: index for index, path in enumerate(_NAMED)}
    ranked = sorted(sweep.outer, key=lambda parameter: order.get(parameter.path, len(order)))
    proposals = sorted(
        finished_proposals(records), key=lambda one: [_rank(one.outer, parameter) for parameter in ranked]
    )
    return _mark_best([_network(proposal, sweep, trial_of) for proposal in proposals])


def _rank(outer: Mapping[str, Scalar], parameter: OuterParameter) -> float:
    """Place of a proposal in the order of one parameter; first where it plays no part."""
    value = outer.get(parameter.path)
    if value in parameter.levels:
        return parameter.levels.index(value)
    return float(value) if isinstance(value, int | float) else -1.0


def _network(proposal: FinishedProposal, sweep: Sweep, trial_of: Callable[[str], TrialConfig | None]) -> Network:
    varied = [parameter.path for parameter in sweep.outer]
    values: dict[str, Scalar | None] = {}
    for path in _NAMED:
        if path in proposal.outer:
            values[path] = proposal.outer[path]
        else:
            settings = trial_of(proposal.trials[0].uid) if path in varied else sweep.config
            values[path] = None if settings is None else settings.value_at(path)
    names = short_names(varied)
    rest = [
        f"{names[path]} {short_scalar(proposal.outer[path])}"
        for path in varied
        if path not in _NAMED and path in proposal.outer
    ]
    return Network(
        network=_name(values) + (f" ({', '.join(rest)})" if rest else ""),
        accuracy_mean=proposal.mean("accuracy"),
        accuracy_std=standard_deviation([record.metric("accuracy") for record in proposal.trials]),
        num_seeds=len(proposal.trials),
        channels=values[_CHANNELS],
        num_steps=values[_STEPS],
        params=proposal.mean("params"),
        params_with_auxiliary=proposal.mean("params_with_auxiliary"),
        spikes=proposal.mean("spikes"),
        energy_uj=proposal.mean("energy_uj"),
        dataset=sweep.config.data.name,
        proposal=proposal.number,
        within_limits=keeps_limits(proposal.mean, sweep.config.sweep.limits),
        is_best=False,
        outer=dict(proposal.outer),
    )


def _name(values: Mapping[str, Scalar | None]) -> str:
    strategy, attention = str(values[_STRATEGY] or "darts"), str(values[_ATTENTION] or "none")
    return _ATTENTIONS.get(attention, f"{attention}-") + STRATEGIES.get(strategy, strategy)


def _mark_best(unmarked: list[Network]) -> list[Network]:
    keys: list[Callable[[Network], object]] = [
        lambda one: (one.outer.get(_STRATEGY), one.outer.get(_ATTENTION), one.channels),
        lambda one: one.channels,
        lambda _: None,
    ]
    for key in keys:
        groups: dict[object, list[float]] = defaultdict(list)
        for one in unmarked:
            if one.within_limits and one.accuracy_mean is not None:
                groups[key(one)].append(one.accuracy_mean)
        best = {group: max(accuracies) for group, accuracies in groups.items() if len(accuracies) > 1}
        if best:
            return [
                replace(one, is_best=one.within_limits and one.accuracy_mean == best.get(key(one), math.nan))
                for one in unmarked
            ]
    return unmarked
