"""How the cells are searched: alphas on one half of the training set, weights on the other (MA-DARTS Alg. 1)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.network import Supernet


class Alphas(nn.Module):
    """Architecture parameters: a logit per edge and candidate, one table per kind of cell, shared by all its cells."""

    def __init__(self, num_nodes: int, num_operations: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        num_edges = num_nodes * (num_nodes + 3) // 2
        shape = (num_edges, num_operations)
        self.normal = nn.Parameter(1e-3 * torch.randn(shape, generator=generator))
        self.reduction = nn.Parameter(1e-3 * torch.randn(shape, generator=generator))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Weights of the candidates, ``softmax`` over each edge (eq. 12): normal, reduction."""
        return self.normal.softmax(dim=1), self.reduction.softmax(dim=1)

    @torch.no_grad()
    def entropy(self) -> tuple[float, float]:
        """Mean entropy over edges as a share of its maximum: 1 = undecided, 0 = one candidate per edge."""
        entropies = [-(p * p.clamp_min(1e-12).log()).sum(dim=1).mean() for p in self()]
        most = math.log(self.normal.shape[1])
        return float(entropies[0]) / most, float(entropies[1]) / most


@dataclass
class StepResult:
    """What a step saw, as tensors so that nothing waits for the device: summed loss, correct answers, images."""

    loss: Tensor
    correct: Tensor
    images: int

    @classmethod
    def of(cls, loss: Tensor, logits: Tensor, labels: Tensor) -> "StepResult":
        """From a mean loss and the logits ``[N, classes]`` of one batch."""
        return cls(loss.detach() * len(labels), (logits.argmax(dim=1) == labels).sum(), len(labels))


def alpha_step(
    supernet: Supernet,
    alphas: Alphas,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    average: Callable[[Sequence[Tensor]], None],
    auxiliary_weight: float = 0.0,
) -> StepResult:
    """One first-order step of the alphas on a batch of the validation half; the weights stay as they are.

    Args:
        supernet: The network itself, not its DDP wrapper: only the alphas' gradients are wanted.
        alphas: Architecture parameters.
        optimizer: Of the alphas.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        average: Averages the gradients over the workers in place.
        auxiliary_weight: Weight of the auxiliary classifier's loss, if the supernet has one.
    """
    parameters = list(alphas.parameters())
    logits, auxiliary_logits = supernet(images, *alphas())
    loss = F.cross_entropy(logits, labels)
    total = with_auxiliary(loss, auxiliary_logits, labels, auxiliary_weight)
    gradients = torch.autograd.grad(total, parameters, materialize_grads=True)
    average(gradients)
    follow(gradients, parameters, optimizer)
    return StepResult.of(loss, logits, labels)


def weight_step(
    supernet: nn.Module,
    alphas: Alphas,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    grad_clip: float,
    auxiliary_weight: float = 0.0,
    drop_path: DropPath | None = None,
) -> StepResult:
    """One step of the weights on a batch of the training half; the alphas stay as they are.

    Args:
        supernet: The network or its DDP wrapper, which averages the gradients over the workers.
        alphas: Architecture parameters.
        optimizer: Of the weights.
        images: ``[N, C, H, W]``.
        labels: ``[N]``.
        grad_clip: Largest norm of the gradient; 0 for no bound.
        auxiliary_weight: Weight of the auxiliary classifier's loss, if the supernet has one.
        drop_path: Drops candidates at random. Steps of the alphas drop none: they compare the candidates.
    """
    with torch.no_grad():
        normal, reduction = alphas()
    logits, auxiliary_logits = supernet(images, normal, reduction, drop_path)
    loss = F.cross_entropy(logits, labels)
    descend(with_auxiliary(loss, auxiliary_logits, labels, auxiliary_weight), supernet, optimizer, grad_clip)
    return StepResult.of(loss, logits, labels)


def with_auxiliary(loss: Tensor, auxiliary_logits: Tensor | None, labels: Tensor, weight: float) -> Tensor:
    """Adds the weighted loss of the auxiliary classifier, if there is one."""
    return loss if auxiliary_logits is None else loss + weight * F.cross_entropy(auxiliary_logits, labels)


def follow(gradients: Iterable[Tensor], parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
    """One step of an optimiser along gradients that were computed apart."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


def descend(loss: Tensor, network: nn.Module, optimizer: torch.optim.Optimizer, grad_clip: float) -> None:
    """Backward pass, bound on the gradient's norm (0 for none), step."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if grad_clip > 0:
        nn.utils.clip_grad_norm_(network.parameters(), grad_clip)
    optimizer.step()
