"""The samplers: who proposes the outer choices. A kind is a function from a seed to one of Optuna's samplers."""

from optuna.samplers import BaseSampler, RandomSampler, TPESampler


def grid_sampler(seed: int) -> BaseSampler:
    """Every combination in order: the ledger queues them, and nothing is left to draw."""
    return RandomSampler(seed)


def random_sampler(seed: int) -> BaseSampler:
    """Independent uniform draws; for honest ablations of large spaces."""
    return RandomSampler(seed)


def tpe_sampler(seed: int) -> BaseSampler:
    """Tree-structured Parzen estimator, for hunting; trials that are still running are taken for bad ones."""
    return TPESampler(seed=seed, constant_liar=True)
