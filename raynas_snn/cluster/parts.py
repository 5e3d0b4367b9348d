"""Whether what a sweep file names is of the right kind; told before anything is started or written."""

from optuna.samplers import BaseSampler

from raynas_snn.cluster.study import sampler_for
from raynas_snn.cluster.trainable import recipe_of
from raynas_snn.config import Sweep
from raynas_snn.config.sweep import genotype_file
from raynas_snn.errors import UserError
from raynas_snn.training.strategies import load_strategy
from raynas_snn.training.unsearched import read_genotype


def check_parts(sweep: Sweep) -> None:
    """Imports and looks at the kind of trial, the strategies, the sampler, and files with cells.

    Raises:
        UserError: Says which of them will not do.
    """
    recipe_of(sweep.config.trial)
    for name in sweep.values_of("search.strategy"):
        load_strategy(name)
    for written in sweep.values_of("search.genotype"):
        if written is not None:
            read_genotype(genotype_file(written))
    name = sweep.config.sweep.sampler
    try:
        sampler = sampler_for(sweep, 0)
    except Exception as error:
        raise UserError(f"sweep.sampler: {name!r} makes no sampler: {type(error).__name__}: {error}") from error
    if not isinstance(sampler, BaseSampler):
        raise UserError(f"sweep.sampler: {name!r} makes no sampler of Optuna's, but {type(sampler).__name__}")
