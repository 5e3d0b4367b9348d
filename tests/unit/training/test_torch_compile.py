"""The derived network compiled for training, and what happens without a compiler."""

import logging
import random
from functools import partial

import pytest
import torch

from raynas_snn.config import load_sweep
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, channels_last
from raynas_snn.training.torch_compile import compile_for_training
from trials.search_then_retrain import search_then_retrain

NAMES = ("skip_connect", "max_pool_3x3")
TINY = (
    "search.strategy=random",
    "model.attention=ma",
    "model.channels=2",
    "model.layers=3",
    "retrain.epochs=1",
    "data.num_train=64",
    "data.num_test=32",
)


def derived_network() -> DerivedNetwork:
    torch.manual_seed(0)
    macro = Macro(3, (1, 8, 8), channels=2, layers=2, num_nodes=2)
    genotype = random_genotype(2, list(NAMES), random.Random(0))
    network = DerivedNetwork(macro, genotype, {name: resolve("operations", name) for name in NAMES}, auxiliary=True)
    channels_last(network.double())
    return network


@pytest.mark.filterwarnings("ignore")  # of torch about itself
def test_a_compiled_network_is_the_same_function_of_the_same_weights(monkeypatch):
    # Everything of the compiler but the machine code, which would take minutes to make.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    network, images = derived_network(), torch.randn(4, 1, 8, 8, dtype=torch.float64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compiled, seconds = compile_for_training(network, torch.zeros_like(images))
    assert compiled is not network
    assert seconds > 0
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    gradients = []
    for function in (network, compiled):
        network.load_state_dict(before)
        logits, auxiliary_logits = function(images)
        network.zero_grad()
        (logits.square().sum() + auxiliary_logits.square().sum()).backward()
        gradients.append([logits, auxiliary_logits, *(parameter.grad for parameter in network.parameters())])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_without_a_compiler_a_trial_goes_on_as_it_is(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)

    def no_compiler(network):
        raise RuntimeError("no C++ compiler was found\nin any of these places")

    monkeypatch.setattr(torch, "compile", no_compiler)
    ends = {}
    for wanted in (False, True):
        config = load_sweep(None, (*TINY, f"retrain.compile={str(wanted).lower()}")).trial_config(0, 0, {})
        folder = tmp_path / str(wanted)
        folder.mkdir()
        ends[wanted] = search_then_retrain(config, TrialContext(folder, lambda _: None))
        del ends[wanted]["seconds"]
    assert ends[True] == {**ends[False], "compile_seconds": 0.0}
    assert [record.getMessage() for record in caplog.records] == [
        "retrain.compile: training goes on uncompiled: no C++ compiler was found"
    ]
