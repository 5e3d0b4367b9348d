"""The steps of the bilevel search: alphas on one half of the training set, weights on the other (MA-DARTS Alg. 1)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.network import Supernet

Batch = tuple[Tensor, Tensor]  # images [N, C, H, W], labels [N]


@dataclass
class StepResult:
    """Statistics of a step, as tensors to avoid synchronisation: summed loss, number of correct answers, of images."""

    loss: Tensor
    correct: Tensor
    images: int


def losses(outputs: tuple[Tensor, Tensor | None], labels: Tensor, auxiliary_weight: float) -> tuple[Tensor, StepResult]:
    """Cross entropy of a network's answers.

    Args:
        outputs: Logits ``[N, classes]``, and those of the auxiliary classifier if there is one.
        labels: ``[N]``.
        auxiliary_weight: Weight of the auxiliary classifier's loss.

    Returns:
        The loss to descend on, and the step's statistics, which do not include the auxiliary classifier.
    """
    logits, auxiliary_logits = outputs
    loss = F.cross_entropy(logits, labels)
    result = StepResult(loss.detach() * len(labels), (logits.argmax(dim=1) == labels).sum(), len(labels))
    if auxiliary_logits is None:
        return loss, result
    return loss + auxiliary_weight * F.cross_entropy(auxiliary_logits, labels), result


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
    loss, result = losses(supernet(images, alphas()), labels, auxiliary_weight)
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    average(gradients)
    follow(gradients, parameters, optimizer)
    return result


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
        mixture = alphas()
    loss, result = losses(supernet(images, mixture, drop_path), labels, auxiliary_weight)
    descend(loss, supernet, optimizer, grad_clip)
    return result


def follow(gradients: Iterable[Tensor], parameters: Iterable[Tensor], optimizer: torch.optim.Optimizer) -> None:
    """One step of an optimiser along given gradients."""
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
