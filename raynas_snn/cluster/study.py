"""Optuna's side of a sweep: the study in the run directory, the distributions, the sampler of each proposal."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from raynas_snn.cluster.journal import STUDY_NAME, garbled, open_journal
from raynas_snn.cluster.samplers import SamplerRequest
from raynas_snn.config import Sweep
from raynas_snn.config.conditions import in_order, is_active
from raynas_snn.config.outer import OuterParameter
from raynas_snn.config.schema import Scalar
from raynas_snn.registry import resolve


def open_study(sweep: Sweep, journal: Path) -> optuna.Study:
    """Opens or creates the study in a run directory whose lock is held by this process.

    Raises:
        UserError: If the journal is garbled, or that of another study; it is left as it is.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage, directions = open_journal(journal), list(sweep.config.sweep.objectives.values())
    if not storage.get_all_studies():
        return optuna.create_study(storage=storage, study_name=STUDY_NAME, directions=directions)
    study = optuna.load_study(storage=storage, study_name=STUDY_NAME)
    found = [direction.name.lower() for direction in study.directions]
    if found != directions:
        raise garbled(journal, f"the study of another sweep: it is to {' and '.join(found)}")
    return study


def sampler_for(sweep: Sweep, proposal: int) -> optuna.samplers.BaseSampler:
    """The sampler for one proposal, seeded by its number: a run that was interrupted proposes the same."""
    make: Any = resolve("samplers", sweep.config.sweep.sampler)
    seed = int(np.random.SeedSequence([sweep.config.sweep.seed, proposal]).generate_state(1, np.uint32)[0])
    sampler: optuna.samplers.BaseSampler = make(SamplerRequest(seed, sweep.config.sweep.population_size))
    return sampler


def draw(study: optuna.Study, sweep: Sweep) -> optuna.trial.FrozenTrial:
    """Asks the study's sampler for a proposal: parents first, then what their levels let take part."""
    trial = study.ask()
    # A proposal whose values are all given is a member of its generation, too; this is where nsga2 notes it.
    _ = trial.relative_params
    values: dict[str, Scalar] = {}
    for parameter in in_order(sweep.outer):
        if is_active(parameter, values):
            values[parameter.path] = _suggest(trial, parameter)
    return trial_of(study, trial.number)


def trial_of(study: optuna.Study, number: int) -> optuna.trial.FrozenTrial:
    """The trial of a number, as it stands; a list of all trials takes the longer to make the more there are."""
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
    """Optuna's form of an outer parameter."""
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.levels)
    low, high, step = parameter.low, parameter.high, parameter.step
    if parameter.kind == "int":
        return IntDistribution(int(low), int(high), parameter.log, 1 if step is None else int(step))
    return FloatDistribution(float(low), float(high), parameter.log, step)
