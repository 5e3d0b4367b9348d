"""Second-order steps of the alphas: the gradient through one real step of SGD, and nothing else touched."""

import copy

import pytest
import torch
import torch.nn.functional as F

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import losses, weight_step
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.nas.unrolled import Lookahead, unrolled_alpha_step
from raynas_snn.snn.neuron import NeuronSettings
from raynas_snn.snn.surrogate import Sigmoid

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
XI = 0.5


def build(auxiliary: bool = False) -> tuple[Supernet, Alphas]:
    torch.manual_seed(0)
    neuron = NeuronSettings(surrogate=Sigmoid(), smooth=True)  # finite differences mean nothing through a step
    macro = Macro(3, (1, 4, 4), channels=2, layers=3, num_nodes=2, neuron=neuron)
    supernet = Supernet(macro, {name: resolve("operations", name) for name in NAMES}, auxiliary).double()
    alphas = Alphas(2, len(NAMES)).double()
    for table in alphas.parameters():
        torch.nn.init.normal_(table)
    return supernet, alphas


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3


TRAIN, VALIDATION = batch(1), batch(2)
HALVES = (slice(0, 3), slice(3, 6))


def loss_one_step_later(supernet, alphas, optimizer, auxiliary_weight) -> torch.Tensor:
    """The validation loss after a step of torch's own SGD on a copy of everything."""
    later = copy.deepcopy(supernet)
    sgd = torch.optim.SGD(later.parameters(), 0.1)
    sgd.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    def loss(images, labels):
        return losses(later(images, alphas()), labels, auxiliary_weight)[0]

    loss(*TRAIN).backward()
    sgd.step()
    return loss(*VALIDATION)


@pytest.mark.parametrize(
    ("settings", "auxiliary"),
    [({}, False), ({"momentum": 0.9, "weight_decay": 0.05}, False), ({"momentum": 0.9, "weight_decay": 0.05}, True)],
    ids=["sgd", "momentum-and-decay", "auxiliary"],
)
def test_equals_finite_differences_through_a_step_of_sgd(settings, auxiliary):
    supernet, alphas = build(auxiliary)
    optimizer = torch.optim.SGD(supernet.parameters(), XI, **settings)
    for seed in (5, 6):  # so that there is momentum
        weight_step(supernet, alphas, optimizer, *batch(seed), grad_clip=0.0, auxiliary_weight=0.4)
    lookahead = Lookahead(supernet, alphas, optimizer, list, 0.4, radius=1e-4)
    gradients, _ = lookahead.gradients(TRAIN, VALIDATION)
    tables, step = list(alphas.parameters()), 1e-6
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        directions = [torch.randn(table.shape, generator=generator, dtype=torch.float64) for table in tables]
        losses = []
        for sign in (1, -2, 1):
            with torch.no_grad():
                for table, direction in zip(tables, directions, strict=True):
                    table += sign * step * direction
            losses.append(loss_one_step_later(supernet, alphas, optimizer, 0.4).item())
        expected = (losses[0] - losses[1]) / (2 * step)
        ours = sum((g * d).sum().item() for g, d in zip(gradients, directions, strict=True))
        assert ours == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_is_more_than_the_first_order_gradient_one_step_ahead():
    supernet, alphas = build()
    optimizer = torch.optim.SGD(supernet.parameters(), XI)
    gradients, result = Lookahead(supernet, alphas, optimizer, list).gradients(TRAIN, VALIDATION)
    ahead = copy.deepcopy(supernet)
    weight_step(ahead, alphas, torch.optim.SGD(ahead.parameters(), XI), *TRAIN, grad_clip=0.0)
    loss = F.cross_entropy(ahead(VALIDATION[0], alphas())[0], VALIDATION[1])
    assert float(result.loss) / 6 == pytest.approx(loss.item())
    first_terms = torch.autograd.grad(loss, list(alphas.parameters()))
    for first_term, gradient in zip(first_terms, gradients, strict=True):
        assert (first_term - gradient).abs().max() > 0.01 * gradient.abs().max()


def test_moves_the_alphas_alone():
    supernet, alphas = build()
    weight_optimizer = torch.optim.SGD(supernet.parameters(), XI, 0.9, weight_decay=0.01)
    weight_step(supernet, alphas, weight_optimizer, *TRAIN, grad_clip=5.0)
    supernet.zero_grad(set_to_none=True)
    network = copy.deepcopy(supernet.state_dict())  # weights and running statistics
    sgd = copy.deepcopy(weight_optimizer.state_dict())
    before = copy.deepcopy(alphas.state_dict())
    alpha_optimizer = torch.optim.Adam(alphas.parameters(), 0.1)
    result = unrolled_alpha_step(supernet, alphas, alpha_optimizer, weight_optimizer, TRAIN, VALIDATION, average=list)
    assert all(not torch.equal(table, before[name]) for name, table in alphas.state_dict().items())
    torch.testing.assert_close(supernet.state_dict(), network, rtol=0, atol=0)
    torch.testing.assert_close(weight_optimizer.state_dict()["state"], sgd["state"], rtol=0, atol=0)
    assert all(weight.grad is None for weight in supernet.parameters())
    assert result.images == 6
    assert float(result.loss) > 0


def test_two_workers_with_half_the_images_each_average_every_stage():
    """What is averaged at each stage is the gradient of the mean loss; in evaluation mode nothing else is shared."""
    supernet, alphas = build()
    supernet.eval()
    optimizer = torch.optim.SGD(supernet.parameters(), XI)
    whole, _ = Lookahead(supernet, alphas, optimizer, list).gradients(TRAIN, VALIDATION)
    halves = [tuple((images[part], labels[part]) for images, labels in (TRAIN, VALIDATION)) for part in HALVES]
    recorded: list[list[torch.Tensor]] = []
    for stage in range(3):  # a worker goes on with what the workers before it averaged
        stages: list[list[torch.Tensor]] = []
        for train, validation in halves:
            seen: list[list[torch.Tensor]] = []

            def average(tensors, seen=seen):
                mine = [tensor.clone() for tensor in tensors]
                if len(seen) < len(recorded):
                    for tensor, mean in zip(tensors, recorded[len(seen)], strict=True):
                        tensor.copy_(mean)
                seen.append(mine)

            Lookahead(supernet, alphas, optimizer, average).gradients(train, validation)
            stages.append(seen[stage])
        recorded.append([(a + b) / 2 for a, b in zip(*stages, strict=True)])
    direct, implicit = recorded[1][:2], recorded[2]
    combined = [first - XI * second for first, second in zip(direct, implicit, strict=True)]
    torch.testing.assert_close(combined, whole, rtol=1e-9, atol=1e-12)
