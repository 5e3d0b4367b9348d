"""Steps that may be captured: what they do where there is no GPU, and how little a warmup leaves behind."""

import contextlib
import copy
import logging

import pytest
import torch
from torch import nn

from raynas_snn.nas.bilevel import descend, losses
from raynas_snn.training.cuda_graph import GraphedStep, obstacle_to_capture
from raynas_snn.training.distributed import World
from raynas_snn.training.optimizers import adam, sgd
from raynas_snn.training.warmup import warmup


def problem(optimizer_of):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).double()
    optimizer = optimizer_of(network.parameters())

    def step(images, labels):
        loss, result = losses((network(images), None), labels, 0.0)
        descend(loss, network, optimizer, grad_clip=0.0)
        return result

    return network, optimizer, step


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(6) % 3


OPTIMIZERS = [
    lambda parameters: sgd(parameters, 0.1, 0.9, 1e-3),
    lambda parameters: sgd(parameters, 0.1, 0.0, 0.0),
    lambda parameters: adam(parameters, 0.1, 1e-3),
]


@pytest.mark.parametrize("optimizer_of", OPTIMIZERS)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_rehearsal_changes_nothing_that_is_trained_later(optimizer_of, steps_before):
    ends = []
    for rehearsed in (False, True):
        network, optimizer, step = problem(optimizer_of)
        for seed in range(steps_before):
            step(*batch(seed))
        places = [tensor.data_ptr() for tensor in network.state_dict().values()]
        if rehearsed:
            with contextlib.suppress(KeyError), warmup([network], optimizer):
                for seed in range(10, 13):
                    step(*batch(seed))
                raise KeyError  # also if it goes wrong
            assert [tensor.data_ptr() for tensor in network.state_dict().values()] == places
            assert all(parameter.grad is None for parameter in network.parameters())
        for seed in range(20, 23):
            step(*batch(seed))
        ends.append(network.state_dict())
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


@pytest.mark.parametrize(
    ("wanted", "device", "world", "reason"),
    [
        (False, "cuda:0", World(), "resources.cuda_graphs is off"),
        (True, "cpu", World(), "there is no GPU"),
        (True, "cuda:0", World(1, 2), "2 workers average their gradients"),
        (True, "cuda:0", World(), None),
    ],
)
def test_what_is_in_the_way_of_a_capture_is_known(wanted, device, world, reason):
    assert obstacle_to_capture(wanted, device, world) == reason


@pytest.mark.parametrize("obstacle", ["there is no GPU", None])
@pytest.mark.skipif(torch.cuda.is_available(), reason="stands for a capture that fails")
def test_a_step_that_cannot_be_captured_runs_as_it_is(caplog, obstacle):
    caplog.set_level(logging.INFO)
    network, _, plain = problem(OPTIMIZERS[0])
    other, other_optimizer, step = problem(OPTIMIZERS[0])
    graphed = GraphedStep("weights", step, [other], other_optimizer, obstacle)
    for seed in range(3):
        expected, result = plain(*batch(seed)), graphed(*batch(seed))
        assert (result.loss, result.correct, result.images) == (expected.loss, expected.correct, expected.images)
    assert not graphed.is_captured
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    (record,) = caplog.records  # once, not at each step
    assert record.levelno == (logging.INFO if obstacle else logging.WARNING)
    assert record.getMessage().startswith("the step of the weights is not captured")
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("optimizer_of", OPTIMIZERS)
def test_a_checkpoint_of_a_gpu_is_read_by_a_cpu(optimizer_of):
    _, optimizer, step = problem(optimizer_of)
    step(*batch(0))
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        group["fused"] = True
    untouched = copy.deepcopy(saved["param_groups"])
    own_form = [group["fused"] for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    assert [group["fused"] for group in optimizer.param_groups] == own_form
    assert saved["param_groups"] == untouched
    assert [type(group["lr"]) for group in optimizer.param_groups] == [float]
    step(*batch(1))
