"""Our networks against the same ones as people usually write them: outputs and every gradient, in float64."""

import random

import pytest
import torch
import torch.nn.functional as F
from peers import PlainDerivedNetwork, PlainNetwork, PlainSupernet, copy_weights, name_here

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import CellNetwork, DerivedNetwork, Supernet, channels_last
from raynas_snn.snn import kernels
from raynas_snn.snn.normalise import BatchNorm
from search_spaces.darts_snn import darts_snn

OPERATIONS = {name: resolve("operations", name) for name in darts_snn().operations}
ATTENTIONS = ("none", "temporal", "channel", "spatial", "ct", "ma")


def macro_for(num_steps: int, size: int, attention: str) -> Macro:
    return Macro(5, (3, size, size + 1), 4, 3, num_steps=num_steps, attention=resolve("attentions", attention))


def compare_supernets(way: str, training: bool, num_steps: int, size: int, attention: str) -> None:
    torch.manual_seed(num_steps)
    macro = macro_for(num_steps, size, attention)
    alphas = Alphas(4, len(OPERATIONS)).double()
    for table in alphas.parameters():
        torch.nn.init.normal_(table)
    compare(Supernet(macro, OPERATIONS), PlainSupernet(macro, way), alphas, training)


def compare(ours: CellNetwork, plain: PlainNetwork, alphas: Alphas | None, training: bool) -> None:
    channels_last(ours.double())
    images = 2 * torch.randn(3, *ours.macro.image_shape, dtype=torch.float64)
    for module in ours.modules():  # running statistics of these images: no network of dead neurons in evaluation
        if isinstance(module, BatchNorm):
            module.momentum = 1.0
    ours(images, *([] if alphas is None else [alphas()]))
    copy_weights(ours, plain.double())
    results = []
    for network in (ours.train(training), plain.train(training)):
        inputs = {"images": images.clone().requires_grad_()}
        inputs |= {} if alphas is None else dict(alphas.named_parameters())
        inputs |= {name_here(name): weight for name, weight in network.named_parameters()}
        logits, _ = network(inputs["images"], *([] if alphas is None else [alphas()]))
        gradients = torch.autograd.grad(F.cross_entropy(logits, torch.tensor([0, 3, 4])), list(inputs.values()))
        results.append(dict(zip(inputs, gradients, strict=True)) | {"logits": logits})
    silent = [name for name, gradient in results[0].items() if not gradient.any()]
    assert all("attention" in name for name in silent)  # a hidden layer of one unit may be off
    torch.testing.assert_close(results[0], results[1], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_equals_the_plain_network_folded_in_time(num_steps, size, training):
    compare_supernets("folded", training, num_steps, size, "none")


@pytest.mark.parametrize("attention", ATTENTIONS[1:])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_equals_the_plain_network_with_attention(attention, training):
    compare_supernets("folded", training, 2, 9, attention)


def test_equals_the_plain_network_without_compiled_kernels(monkeypatch):
    monkeypatch.setattr(kernels, "DISABLED", True)
    compare_supernets("folded", True, 2, 9, "ma")


@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_equals_a_loop_over_time_in_evaluation(num_steps):
    """In training it is another function: BatchNorm by step."""
    compare_supernets("loop", False, num_steps, 9, "none")


@pytest.mark.filterwarnings("ignore")  # those of its own dependencies
@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_equals_spikingjelly(num_steps):
    compare_supernets("spikingjelly", True, num_steps, 9, "none")


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_a_derived_network_equals_the_plain_one(num_steps, training):
    torch.manual_seed(num_steps)
    macro, genotype = macro_for(num_steps, 9, "ma"), random_genotype(4, list(OPERATIONS), random.Random(num_steps))
    ours = DerivedNetwork(macro, genotype, OPERATIONS, auxiliary=False)
    compare(ours, PlainDerivedNetwork(macro, "folded", genotype), None, training)
