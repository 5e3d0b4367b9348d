"""What Optuna is told of a proposal: its objectives, how far it is from the sweep's limits, where it was stopped."""

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from raynas_snn.config import Sweep
from raynas_snn.results.means import mean
from raynas_snn.results.proposals import limits_of
from raynas_snn.results.records import TrialRecord


def tell(study: optuna.Study, sweep: Sweep, proposal: FrozenTrial, records: Sequence[TrialRecord]) -> None:
    """Ends a proposal in the study; may be done again if it was interrupted half-way.

    Optuna learns the mean over the seeds that finished. If none did, a proposal that was over a limit or stopped
    early is a pruned one, any other a failure.

    Args:
        study: The study.
        sweep: The sweep.
        proposal: The proposal, which is still running there.
        records: Its trials, all of which have ended.
    """
    for record in records:
        how = {"end_reason": record.end_reason, "epochs": record.epochs, "error": record.error}
        study._storage.set_trial_user_attr(proposal._trial_id, record.uid, how)
    finished = [record for record in records if record.end_reason == "finished"]
    cut_short = [record for record in records if record.end_reason in ("early_stopped", "infeasible")]
    trial = optuna.Trial(study, proposal._trial_id)
    for name, violation in violations(sweep, finished or cut_short).items():
        if name not in trial.constraints:
            trial.set_constraint(name, violation)
    if finished:
        study.tell(proposal.number, objectives_of(sweep, finished))
    elif cut_short:
        _set_last_value(study, sweep, proposal, cut_short)
        study.tell(proposal.number, state=TrialState.PRUNED)
    else:
        study.tell(proposal.number, state=TrialState.FAIL)


def objectives_of(sweep: Sweep, records: Sequence[TrialRecord]) -> list[float]:
    """Means of the sweep's objectives over trials that finished, in the order of the sweep."""
    return [_mean(name, records) for name in sweep.config.sweep.objectives]


def violations(sweep: Sweep, records: Sequence[TrialRecord]) -> dict[str, float]:
    """By what share of each limit the trials are over it on average, negative below it; only what is known."""
    shares: dict[str, float] = {}
    for name, limit in limits_of(sweep.config.model_dump()).items():
        known = mean([value for record in records if (value := record.metric(name)) is not None])
        if known is not None:
            shares[name] = known / limit - 1
    return shares


def _set_last_value(study: optuna.Study, sweep: Sweep, proposal: FrozenTrial, records: Sequence[TrialRecord]) -> None:
    """Notes what stopped trials had reached; Optuna keeps such values for a single objective only."""
    objective, *others = sweep.config.sweep.objectives
    reached = [record for record in records if objective in record.metrics]
    if reached and not others:
        step = max(record.epochs for record in reached)
        study._storage.set_trial_intermediate_value(proposal._trial_id, step, _mean(objective, reached))


def _mean(metric: str, records: Sequence[TrialRecord]) -> float:
    return sum(record.metrics[metric] for record in records) / len(records)
