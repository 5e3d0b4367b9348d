"""The samplers: who proposes the outer choices. A kind is a function from a request to one of Optuna's samplers.

A sampler is made anew for each proposal, so it must find all that it goes by in the study; Optuna's do. What the
sweep limits (``sweep.max_params``, ...) is told with each trial as Optuna's constraints, which every sampler sees.
"""

from dataclasses import dataclass

from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class NSGA2(NSGAIISampler):
    """Optuna's NSGA-II, for which it makes no difference whether it finds the parents in the study or picks them."""

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
        population_size: Proposals per generation, if the sweep file gives it.
    """

    seed: int
    population_size: int | None = None


def grid_sampler(request: SamplerRequest) -> BaseSampler:
    """Every combination in order: they are queued, and nothing is left to draw."""
    return RandomSampler(request.seed)


def random_sampler(request: SamplerRequest) -> BaseSampler:
    """Independent uniform draws; for honest ablations of large spaces."""
    return RandomSampler(request.seed)


def tpe_sampler(request: SamplerRequest) -> BaseSampler:
    """Tree-structured Parzen estimator, for one objective or several; trials still running are taken for bad ones.

    With several objectives, or for parameters with a condition, each parameter is drawn by itself.
    """
    return TPESampler(seed=request.seed, constant_liar=True)


def nsga2_sampler(request: SamplerRequest) -> BaseSampler:
    """NSGA-II (Deb et al., 2002), for a Pareto front over several objectives.

    Parameters with a condition are drawn at random: a child has what all its possible parents have.
    """
    if request.population_size is None:
        return NSGA2(seed=request.seed)
    return NSGA2(seed=request.seed, population_size=request.population_size)
