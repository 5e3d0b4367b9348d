"""Checks that the components named in a sweep file are of the right kind, before anything is started or written."""

from optuna.samplers import BaseSampler

from raynas_snn.cluster.driver.schedulers import make_scheduler
from raynas_snn.cluster.trial.trainable import recipe_of
from raynas_snn.config import Sweep
from raynas_snn.config.component import absolute
from raynas_snn.core.errors import UserError
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.sampling import sampler_for
from raynas_snn.training.strategies.baseline_strategies import read_genotype
from raynas_snn.training.strategy import load_strategy


def check_components(sweep: Sweep, run: RunDir) -> None:
    """Imports and looks at the kind of trial, the strategies, the sampler, the scheduler, and files with cells.

    Args:
        sweep: The sweep.
        run: Its run directory, which need not be there yet.

    Raises:
        UserError: Names the first that cannot be used.
    """
    recipe_of(sweep.config.trial)
    for name in sweep.values_of("search.strategy"):
        load_strategy(name)
    if "fixed" in sweep.values_of("search.strategy"):
        for written in sweep.values_of("search.strategy.genotype"):
            read_genotype(absolute(written))
    make_scheduler(sweep, run, {})
    name = sweep.config.sweep.sampler.name
    try:
        sampler = sampler_for(sweep, 0)
    except Exception as error:
        raise UserError(f"sweep.sampler: {name!r} makes no sampler: {type(error).__name__}: {error}") from error
    if not isinstance(sampler, BaseSampler):
        raise UserError(f"sweep.sampler: {name!r} makes no sampler of Optuna's, but {type(sampler).__name__}")
