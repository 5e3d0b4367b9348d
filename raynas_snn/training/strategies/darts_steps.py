"""The steps of a differentiable search, and one epoch of them."""

from collections.abc import Iterable
from itertools import repeat

from torch import Tensor, nn

from raynas_snn.config.schema import SearchConfig
from raynas_snn.nas.bilevel import Batch, StepResult, alpha_step, weight_step
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.unrolled import unrolled_alpha_step
from raynas_snn.training.cuda_graph import GraphedStep
from raynas_snn.training.distributed import average
from raynas_snn.training.strategies.darts_state import SearchState


class SearchSteps:
    """The steps of the alphas and of the weights, captured as CUDA graphs where possible.

    Second-order steps are not captured, nor are steps with drop path, which draw new random numbers each time.

    Args:
        state: The state that the steps change.
        distributed: The supernet or its DDP wrapper.
        config: Settings of the search.
        obstacle: Why no step can be captured; None if no reason is known.
    """

    def __init__(self, state: SearchState, distributed: nn.Module, config: SearchConfig, obstacle: str | None) -> None:
        self._state, self._distributed, self._config = state, distributed, config
        networks = (state.supernet, state.alphas)
        of_alphas = "search.unrolled" if config.unrolled else obstacle
        of_weights = "search.drop_path" if config.drop_path > 0 else obstacle
        self._alphas = GraphedStep("alphas", self._step_alphas, networks, state.alpha_optimizer, of_alphas)
        self._weights = GraphedStep(
            "weights", self._step_weights, networks, state.weight_optimizer, of_weights, self._alphas
        )

    def epoch(
        self, train: Iterable[Batch], validation: Iterable[Batch] | None, drop_path: DropPath | None
    ) -> tuple[list[StepResult], list[StepResult]]:
        """One epoch: at each step first the alphas, then the weights.

        Args:
            train: Batches for the weights.
            validation: Batches for the alphas; None leaves the alphas unchanged.
            drop_path: Drops candidates in the steps of the weights.

        Returns:
            The results of the weight steps and of the alpha steps.
        """
        weight_steps, alpha_steps = [], []
        others: Iterable[Batch | None] = repeat(None) if validation is None else validation
        for batch, other in zip(train, others, strict=False):
            if other is not None:
                alpha_steps.append(self._unrolled(batch, other) if self._config.unrolled else self._alphas(*other))
            weight_steps.append(
                self._weights(*batch) if drop_path is None else self._step_weights(*batch, drop_path=drop_path)
            )
        return weight_steps, alpha_steps

    def _step_alphas(self, images: Tensor, labels: Tensor) -> StepResult:
        state, weight = self._state, self._config.auxiliary_weight
        return alpha_step(state.supernet, state.alphas, state.alpha_optimizer, images, labels, average, weight)

    def _step_weights(self, images: Tensor, labels: Tensor, drop_path: DropPath | None = None) -> StepResult:
        return weight_step(
            self._distributed,
            self._state.alphas,
            self._state.weight_optimizer,
            images,
            labels,
            self._config.grad_clip,
            self._config.auxiliary_weight,
            drop_path,
        )

    def _unrolled(self, train: Batch, validation: Batch) -> StepResult:
        state = self._state
        return unrolled_alpha_step(
            state.supernet,
            state.alphas,
            state.alpha_optimizer,
            state.weight_optimizer,
            train,
            validation,
            average,
            self._config.auxiliary_weight,
        )
