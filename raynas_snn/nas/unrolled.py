"""Second-order steps of the alphas, which look one step of the weights ahead (DARTS section 2.3, eq. 7-8).

The alphas descend on ``L_val(w', alpha)`` with ``w' = w - xi * (momentum + grad_w L_train(w, alpha) + decay * w)``,
the step that SGD would take. By the chain rule the gradient is

    grad_alpha L_val(w', alpha)  -  xi * d2 L_train(w, alpha) / (d alpha d w) * grad_w' L_val(w', alpha)

and the product with the mixed second derivative is a central difference of first derivatives (eq. 8):
``(grad_alpha L_train(w + eps v, alpha) - grad_alpha L_train(w - eps v, alpha)) / (2 eps)``, ``v = grad_w' L_val``,
``eps = 0.01 / |v|``. MA-DARTS does not say whether its search is first or second order.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from raynas_snn.nas.alphas import Alphas, Mixture
from raynas_snn.nas.bilevel import Batch, StepResult, follow, losses
from raynas_snn.nas.network import Supernet

Average = Callable[[Sequence[Tensor]], None]

RADIUS = 0.01  # DARTS


def unrolled_alpha_step(
    supernet: Supernet,
    alphas: Alphas,
    optimizer: torch.optim.Optimizer,
    weight_optimizer: torch.optim.SGD,
    train: Batch,
    validation: Batch,
    average: Average,
    auxiliary_weight: float = 0.0,
) -> StepResult:
    """One second-order step of the alphas; weights, running statistics and the weights' optimiser stay as they are.

    It takes four forward and backward passes; a first-order step takes one.

    Args:
        supernet: The network itself, not its DDP wrapper.
        alphas: Architecture parameters.
        optimizer: Of the alphas.
        weight_optimizer: Optimiser of the weights; its next step defines the lookahead.
        train: Batch of the training half that this step will take.
        validation: Batch of the validation half.
        average: Averages gradients over the workers in place.
        auxiliary_weight: Weight of the auxiliary classifier's loss, if the supernet has one.

    Returns:
        The statistics of the network one step ahead on the validation batch.
    """
    lookahead = Lookahead(supernet, alphas, weight_optimizer, average, auxiliary_weight)
    gradients, result = lookahead.gradients(train, validation)
    follow(gradients, alphas.parameters(), optimizer)
    return result


class Lookahead:
    """The gradient of the validation loss one step ahead with respect to the alphas.

    Attributes:
        radius: How far the weights are moved for the central difference, as a norm.
    """

    def __init__(
        self,
        supernet: Supernet,
        alphas: Alphas,
        weight_optimizer: torch.optim.SGD,
        average: Average,
        auxiliary_weight: float = 0.0,
        radius: float = RADIUS,
    ) -> None:
        self._gradient, self._alphas, self._optimizer = _Gradient(supernet, auxiliary_weight), alphas, weight_optimizer
        self._average = average
        self._names, self._weights = zip(*self._gradient.named_parameters(), strict=True)
        # written to, then lost
        self._buffers = {name: buffer.clone() for name, buffer in self._gradient.named_buffers()}
        self.radius = radius

    def gradients(self, train: Batch, validation: Batch) -> tuple[list[Tensor], StepResult]:
        """Returns one gradient for each table of alphas, averaged over the workers."""
        tables = list(self._alphas.parameters())
        ahead = [weight.requires_grad_() for weight in self._one_step_ahead(train)]
        gradients, result = self._gradients(ahead, validation, [*tables, *ahead])
        self._average(gradients)
        direct, v = gradients[: len(tables)], gradients[len(tables) :]
        eps = self.radius / torch.linalg.vector_norm(torch.cat([one.flatten() for one in v])).clamp_min(1e-12)
        sides = []
        for sign in (1, -1):
            moved = [w.detach() + sign * eps * one for w, one in zip(self._weights, v, strict=True)]
            sides.append(self._gradients(moved, train, tables)[0])
        implicit = [(plus - minus) / (2 * eps) for plus, minus in zip(*sides, strict=True)]
        self._average(implicit)
        xi = self._optimizer.param_groups[0]["lr"]
        return [first - xi * second for first, second in zip(direct, implicit, strict=True)], result

    def _one_step_ahead(self, train: Batch) -> list[Tensor]:
        """The weights that SGD would step to, without a bound on the gradient (as in DARTS)."""
        settings = self._optimizer.param_groups[0]
        weights = list(self._weights)
        gradients, _ = self._gradients(weights, train, weights)
        self._average(gradients)
        ahead = []
        for weight, gradient in zip(weights, gradients, strict=True):
            step = gradient + settings["weight_decay"] * weight.detach()
            buffer = self._optimizer.state[weight].get("momentum_buffer") if weight in self._optimizer.state else None
            if buffer is not None:
                step = step + settings["momentum"] * buffer
            ahead.append(weight.detach() - settings["lr"] * step)
        return ahead

    def _gradients(
        self, weights: Sequence[Tensor], batch: Batch, inputs: Sequence[Tensor]
    ) -> tuple[list[Tensor], StepResult]:
        """Gradients of the loss, as a function of weights that are not the supernet's own."""
        with torch.set_grad_enabled(inputs is not weights):
            mixture = self._alphas()
        state = {**self._buffers, **dict(zip(self._names, weights, strict=True))}
        gradients, result = torch.func.functional_call(self._gradient, state, (batch, mixture, inputs))
        return gradients, result


class _Gradient(nn.Module):
    """The gradients of a supernet's loss as a module, so that ``functional_call`` puts other weights into it.

    They are in place during the backward pass too, where activations may be computed again.
    """

    def __init__(self, supernet: Supernet, auxiliary_weight: float) -> None:
        super().__init__()
        self.supernet, self.auxiliary_weight = supernet, auxiliary_weight

    def forward(self, batch: Batch, mixture: Mixture, inputs: Sequence[Tensor]) -> tuple[list[Tensor], StepResult]:
        """Gradients of the loss, auxiliary classifier included, with respect to ``inputs``."""
        images, labels = batch
        loss, result = losses(self.supernet(images, mixture), labels, self.auxiliary_weight)
        return list(torch.autograd.grad(loss, list(inputs), materialize_grads=True)), result
