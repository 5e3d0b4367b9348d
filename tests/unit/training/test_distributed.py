"""How workers speak to each other: as little as possible, with the results of one alone."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import alpha_step, weight_step
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.training.distributed import World, average, distribute

NAMES = ("none", "skip_connect", "max_pool_3x3")


@pytest.fixture
def alone_in_a_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/join", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def supernet_and_alphas() -> tuple[Supernet, Alphas]:
    torch.manual_seed(0)
    macro = Macro(3, (1, 4, 4), channels=2, layers=3, num_nodes=2)
    operations = {name: resolve("operations", name) for name in NAMES}
    return Supernet(macro, operations, auxiliary=True).double(), Alphas(2, len(NAMES)).double()


def batch():
    return torch.randn(6, 1, 4, 4, dtype=torch.float64), torch.arange(6) % 3


def test_a_step_of_the_alphas_sends_one_message(monkeypatch):
    messages = []
    monkeypatch.setattr(World, "current", classmethod(lambda cls: cls(0, 2)))
    monkeypatch.setattr(dist, "all_reduce", messages.append)
    supernet, alphas = supernet_and_alphas()
    start = copy.deepcopy(alphas)
    alpha_step(supernet, alphas, torch.optim.SGD(alphas.parameters(), 1.0), *batch(), average)
    assert [message.numel() for message in messages] == [sum(table.numel() for table in alphas.parameters())]
    gradients = torch.cat([table.grad.flatten() for table in alphas.parameters()])
    assert torch.equal(gradients, messages[0])  # the sum over both, halved in place
    moved = [old - table.grad for old, table in zip(start.parameters(), alphas.parameters(), strict=True)]
    assert all(torch.equal(table, new) for table, new in zip(alphas.parameters(), moved, strict=True))


def test_ddp_takes_the_steps_of_the_plain_network_and_searches_for_nothing(alone_in_a_group):
    start, alphas = supernet_and_alphas()
    ends = []
    batches = [batch() for _ in range(3)]
    for world in (World(), World(0, 2)):  # a group of one stands for two
        supernet = copy.deepcopy(start)
        trained = distribute(supernet, world)
        optimizer = torch.optim.SGD(supernet.parameters(), 0.1, 0.9)
        for images, labels in batches:
            weight_step(trained, alphas, optimizer, images, labels, 5.0, 0.4)
        ends.append(supernet.state_dict())
    assert isinstance(trained, DistributedDataParallel)
    assert trained.static_graph
    assert trained.gradient_as_bucket_view
    assert not trained.find_unused_parameters
    for name, tensor in ends[0].items():
        torch.testing.assert_close(ends[1][name], tensor, rtol=0, atol=1e-12)


def test_alone_there_is_nothing_to_distribute():
    network = torch.nn.Linear(2, 2)
    assert distribute(network, World()) is network
