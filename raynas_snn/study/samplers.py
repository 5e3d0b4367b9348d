"""The samplers, which propose values of the outer parameters. A kind maps a `SamplerRequest` to an Optuna sampler.

A sampler is created for each proposal, so all its state must be in the study, as it is for Optuna's samplers. The
sweep's limits (``sweep.max_params``, ...) are stored in the study as Optuna constraints, which every sampler can read.
"""

from dataclasses import dataclass

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from raynas_snn.core.options import Options, with_options
from raynas_snn.study.sampler_options import NSGA2Options


class NSGA2(NSGAIISampler):
    """Optuna's NSGA-II with a fixed order of parents, so that an interruption does not change the proposals."""

    def get_parent_population(self, study: Study, generation: int) -> list[FrozenTrial]:
        """The parents of a generation, always in the order of their numbers."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


FIRST_GENERATION = {NSGA2._get_generation_key(): 0}
"""What marks a trial in the study as a possible parent for nsga2 although nsga2 did not propose it."""


@dataclass(frozen=True)
class SamplerRequest:
    """What a sampler is made from.

    Attributes:
        seed: Seed for one proposal.
        options: Those that the sampler declares.
    """

    seed: int
    options: Options = Options()


def grid_sampler(request: SamplerRequest) -> BaseSampler:
    """Every combination in order: all are enqueued, so the sampler draws nothing."""
    return RandomSampler(request.seed)


def random_sampler(request: SamplerRequest) -> BaseSampler:
    """Independent uniform draws; for honest ablations of large spaces."""
    return RandomSampler(request.seed)


def tpe_sampler(request: SamplerRequest) -> BaseSampler:
    """Tree-structured Parzen estimator, for one objective or several; running trials count as bad ones.

    With several objectives, or for parameters with a condition, each parameter is drawn independently.
    """
    return TPESampler(seed=request.seed, constant_liar=True)


@with_options(NSGA2Options)
def nsga2_sampler(request: SamplerRequest) -> BaseSampler:
    """NSGA-II (Deb et al., 2002), for a Pareto front over several objectives.

    Parameters with a condition are drawn at random: a child inherits only parameters that all possible parents have.
    """
    assert isinstance(request.options, NSGA2Options)
    return NSGA2(seed=request.seed, population_size=request.options.population_size)
