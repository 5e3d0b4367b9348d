"""Draws one proposal with an Optuna sampler: distributions, the sampler's seed, conditions."""

from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from raynas_snn.config import Sweep
from raynas_snn.config.conditions import in_order, is_active
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.core.errors import UserError
from raynas_snn.core.registry import resolve
from raynas_snn.core.scalars import Scalar
from raynas_snn.study.samplers import SamplerRequest


def sampler_for(sweep: Sweep, proposal: int) -> optuna.samplers.BaseSampler:
    """The sampler for one proposal, seeded by its number: a run that was interrupted proposes the same."""
    make: Any = resolve("samplers", sweep.config.sweep.sampler.name)
    seed = int(np.random.SeedSequence([sweep.config.sweep.seed, proposal]).generate_state(1, np.uint32)[0])
    sampler: optuna.samplers.BaseSampler = make(SamplerRequest(seed, sweep.config.sweep.sampler.options))
    return sampler


def draw(study: optuna.Study, sweep: Sweep, proposal: int) -> FrozenTrial:
    """Draws a proposal: parents first, then the parameters that their levels activate.

    Args:
        study: All earlier proposals; the new one is added to it.
        sweep: The sweep.
        proposal: Its number, which decides the sampler's seed.

    Raises:
        UserError: If the sampler fails.
    """
    study.sampler = sampler_for(sweep, proposal)
    try:
        trial = study.ask()
        # A proposal whose values are all given is a member of its generation, too; this is where nsga2 notes it.
        _ = trial.relative_params
        values: dict[str, Scalar] = {}
        for parameter in in_order(sweep.outer):
            if is_active(parameter, values):
                values[parameter.path] = _suggest(trial, parameter)
    except Exception as error:  # of a user's own sampler, or of what its files were changed to
        name = sweep.config.sweep.sampler.name
        raise UserError(
            f"sweep.sampler: {name!r} fails at proposal {proposal}: {type(error).__name__}: {error}"
        ) from error
    return trial_of(study, trial.number)


def trial_of(study: optuna.Study, number: int) -> FrozenTrial:
    """The current state of the trial with a number; listing all trials instead would take time that grows with them."""
    trial_id = study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
    return study._storage.get_trial(trial_id)


def _suggest(trial: optuna.Trial, parameter: OuterParameter) -> Scalar:
    match distribution_of(parameter):
        case CategoricalDistribution() as choice:
            return cast("Scalar", trial.suggest_categorical(parameter.path, choice.choices))
        case IntDistribution() as whole:
            return trial.suggest_int(parameter.path, whole.low, whole.high, step=whole.step, log=whole.log)
        case FloatDistribution() as real:
            return trial.suggest_float(parameter.path, real.low, real.high, step=real.step, log=real.log)
        case other:
            raise TypeError(other)


def distribution_of(parameter: OuterParameter) -> BaseDistribution:
    """Optuna's distribution of an outer parameter."""
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.levels)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.kind == "int":
        return IntDistribution(int(low), int(high), parameter.log, 1 if step is None else int(step))
    return FloatDistribution(float(low), float(high), parameter.log, step)
