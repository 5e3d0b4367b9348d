"""Captures a training step as one CUDA graph, so that its thousands of small kernels are launched at once.

The graph runs the same kernels in the same order as the plain step. A step that cannot be captured runs as it is, only
more slowly.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from raynas_snn.nas.bilevel import StepResult
from raynas_snn.training.distributed import World
from raynas_snn.training.warmup import warmup

Step = Callable[[Tensor, Tensor], StepResult]  # images [N, C, H, W], labels [N]

WARM_UP_STEPS = 3  # libraries allocate and choose their kernels in the first ones; those do not count

_LOG = logging.getLogger(__name__)


def obstacle_to_capture(wanted: bool, device: str, world: World) -> str | None:
    """Why no step can be captured, or None."""
    if not wanted:
        return "resources.cuda_graphs is off"
    if torch.device(device).type != "cuda":
        return "there is no GPU"
    if world.size > 1:
        return f"{world.size} workers average their gradients"
    return None


class GraphedStep:
    """A step that is captured at its first call if possible, and otherwise runs as it is.

    Args:
        name: Name of the step, for the log.
        step: A whole step: forward, backward and optimiser. All calls have the same shapes, nothing in it is random,
            and the host does not ask for the device's results.
        networks: All modules that the step changes, apart from the optimiser's state.
        optimizer: The optimiser of the step. Its learning rate may change between calls.
        obstacle: Why the step cannot be captured, if that is known beforehand.
        beside: A step that alternates with this one; both graphs share a memory pool.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        networks: Sequence[nn.Module],
        optimizer: Optimizer,
        obstacle: str | None = None,
        beside: "GraphedStep | None" = None,
    ) -> None:
        self._name, self._step, self._networks, self._optimizer = name, step, networks, optimizer
        self._beside = beside
        self._graph: _Graph | None = None
        self._possible = obstacle is None
        if obstacle is not None:
            _LOG.info("the step of the %s is not captured: %s", name, obstacle)

    @property
    def is_captured(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def __call__(self, images: Tensor, labels: Tensor) -> StepResult:
        """One step on ``images [N, C, H, W]`` with ``labels [N]``."""
        if self._possible and self._graph is None:
            self._capture(images, labels)
        if self._graph is None or images.shape != self._graph.images.shape:
            return self._step(images, labels)
        return self._graph.replay(images, labels)

    def _capture(self, images: Tensor, labels: Tensor) -> None:
        beside = None if self._beside is None else self._beside._graph
        try:
            with warmup(self._networks, self._optimizer):
                _warm_up(self._step, images, labels)
            self._graph = _Graph(self._step, self._optimizer, images, labels, beside)
        except Exception as error:  # whatever a network of the user's own does that no graph can hold
            self._possible = False
            reason = str(error).partition("\n")[0] or type(error).__name__
            _LOG.warning("the step of the %s is not captured, which takes longer: %s", self._name, reason)


class _Graph:
    """A captured step with the memory that it reads and writes.

    Attributes:
        images: Where it reads them.
    """

    def __init__(
        self, step: Step, optimizer: Optimizer, images: Tensor, labels: Tensor, beside: "_Graph | None"
    ) -> None:
        self.images, self._labels = images.clone(), labels.clone()
        self._optimizer = optimizer
        self._rates = [torch.tensor(group["lr"], device=images.device) for group in optimizer.param_groups]
        self._graph = torch.cuda.CUDAGraph()
        pool = None if beside is None else beside._graph.pool()
        with self._rates_on_device(), torch.cuda.graph(self._graph, pool=pool):
            self._result = step(self.images, self._labels)

    def replay(self, images: Tensor, labels: Tensor) -> StepResult:
        """The step on another batch. Its results are copied: the next replay writes to the same place."""
        self.images.copy_(images)
        self._labels.copy_(labels)
        for rate, group in zip(self._rates, self._optimizer.param_groups, strict=True):
            rate.fill_(group["lr"])
        self._graph.replay()
        return StepResult(self._result.loss.clone(), self._result.correct.clone(), self._result.images)

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Lets the optimiser look its learning rate up on the device; it is a number again for schedule and file."""
        groups = self._optimizer.param_groups
        before: list[dict[str, Any]] = [
            {name: group[name] for name in ("lr", "capturable") if name in group} for group in groups
        ]
        for group, rate in zip(groups, self._rates, strict=True):
            group["lr"] = rate
            if "capturable" in group:
                group["capturable"] = True
        try:
            yield
        finally:
            for group, values in zip(groups, before, strict=True):
                group.update(values)


def _warm_up(step: Step, images: Tensor, labels: Tensor) -> None:
    """Some steps on a stream of their own; the last refuses to wait for the device, as a graph would.

    A capture that fails half-way would leave torch's own random numbers unusable.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_STEPS - 1):
                step(images, labels)
            with _no_waiting():
                step(images, labels)
    finally:
        torch.cuda.current_stream().wait_stream(stream)


@contextmanager
def _no_waiting() -> Iterator[None]:
    """Raises RuntimeError where the host would wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():  # that not every way of waiting is found
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
