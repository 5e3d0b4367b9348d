"""The outcome of a proposal in Optuna's terms: objectives, constraint violations, intermediate values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState

from raynas_snn.config import Sweep
from raynas_snn.run.records import TrialRecord
from raynas_snn.study.warm_start import WarmStartProposal


@dataclass(frozen=True)
class Outcome:
    """How a proposal ended, in Optuna's terms; the defaults describe one that has not ended.

    Attributes:
        state: A proposal without a finished seed is pruned if a seed was stopped or over a limit, else failed.
        values: Objectives, means over the finished seeds; for a pruned proposal, the last reported values.
        constraints: The relative excess over each limit, negative below it.
        user_attrs: How each seed ended, by uid.
        intermediate_values: Values reported by stopped seeds, by epoch.
    """

    state: TrialState = TrialState.RUNNING
    values: Sequence[float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    intermediate_values: Mapping[int, float] = field(default_factory=dict)

    def set_on(self, study: optuna.Study, trial_id: int) -> None:
        """Ends a running trial of a study with this outcome."""
        storage, trial = study._storage, optuna.Trial(study, trial_id)
        for name, value in self.user_attrs.items():
            trial.set_user_attr(name, value)
        for name, violation in self.constraints.items():
            trial.set_constraint(name, violation)
        for step, reached in self.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, reached)
        storage.set_trial_state_values(trial_id, self.state, self.values)


def outcome_of(sweep: Sweep, records: Sequence[TrialRecord]) -> Outcome:
    """Returns the outcome of a proposal.

    Args:
        sweep: The sweep.
        records: Its trials, all of which have ended.
    """
    finished = [record for record in records if record.end_reason == "finished"]
    cut_short = [record for record in records if record.end_reason in ("early_stopped", "infeasible")]
    constraints = violations(sweep, _means(finished or cut_short))
    ends = {
        record.uid: {"end_reason": record.end_reason, "epochs": record.epochs, "error": record.error}
        for record in records
    }
    if finished:
        means = _means(finished)
        return Outcome(TrialState.COMPLETE, [means[name] for name in sweep.config.sweep.objectives], constraints, ends)
    if cut_short:
        reached = _reached(sweep, cut_short)
        return Outcome(TrialState.PRUNED, list(reached.values()) or None, constraints, ends, reached)
    return Outcome(TrialState.FAIL, None, constraints, ends)


def outcome_of_earlier(sweep: Sweep, earlier: WarmStartProposal) -> Outcome:
    """The outcome of a proposal of another run, by this sweep's objectives and limits."""
    values = [earlier.metrics[name] for name in sweep.config.sweep.objectives]
    return Outcome(TrialState.COMPLETE, values, violations(sweep, earlier.metrics), {"warm_start": earlier.name})


def violations(sweep: Sweep, metrics: Mapping[str, float]) -> dict[str, float]:
    """The relative excess of a proposal over each limit, negative below it; known metrics only."""
    limits = sweep.config.sweep.limits
    return {name: metrics[name] / limit - 1 for name, limit in limits.items() if name in metrics}


def _reached(sweep: Sweep, records: Sequence[TrialRecord]) -> dict[int, float]:
    """What stopped trials had reached, at the last epoch; Optuna keeps such values for a single objective only."""
    objective, *others = sweep.config.sweep.objectives
    known = [record for record in records if objective in record.metrics]
    return {} if others or not known else {max(record.epochs for record in known): _means(known)[objective]}


def _means(records: Sequence[TrialRecord]) -> dict[str, float]:
    """Means of all metrics, each over the trials that know it."""
    names = {name for record in records for name in record.metrics}
    known = {name: [value for one in records if (value := one.metric(name)) is not None] for name in names}
    return {name: sum(values) / len(values) for name, values in known.items() if values}
