"""Every registered thing keeps the promises of its kind, the examples' included; and broken ones are found out."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from raynas_snn import registry
from raynas_snn.conformance import ConformanceError, check
from raynas_snn.nas.operations import Operation
from raynas_snn.snn.surrogate import Sigmoid
from raynas_snn.space import SearchSpace

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_op"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in registry.KINDS for name in registry.BUILT_INS[kind]]
)
def test_built_in(kind, name):
    check(kind, name)


@pytest.mark.parametrize(
    ("kind", "name"), [("operations", "factorized_conv:FactorizedConv"), ("spaces", "factorized_conv:space")]
)
def test_example(kind, name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    check(kind, name)
    del sys.modules["factorized_conv"]


def space_of_import_paths() -> SearchSpace:
    return SearchSpace("paths", "operations by import path", ("none", "raynas_snn.nas.operations:SepConv3x3"), 2)


def test_operations_may_be_import_paths():
    check("spaces", f"{__name__}:space_of_import_paths")


class Forgetful(Operation):
    """Ignores the scale."""

    def __init__(self, channels, stride, make_neuron, searching):
        super().__init__(channels, stride, make_neuron, searching)
        self.conv = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x, scale=None):
        return self.conv(x)


class Strideless(Forgetful):
    def __init__(self, channels, stride, make_neuron, searching):
        super().__init__(channels, 1, make_neuron, searching)

    def forward(self, x, scale=None):
        return self.conv(x) * (1 if scale is None else scale)


class Gossip(nn.Module):
    """Attention that looks at the other images of a batch."""

    def __init__(self, channels, num_steps, settings):
        super().__init__()

    def forward(self, x):
        return x * torch.sigmoid(x.mean())


class Lopsided(Sigmoid):
    def derivative(self, x):
        return 2 * super().derivative(x)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("operations", "Forgetful", "multiplies its output by the scale"),
        ("operations", "Strideless", "gives .* at stride 2"),
        ("operations", "Gossip", "can be built"),
        ("attentions", "Gossip", "treats each image by itself"),
        ("surrogates", "Lopsided", "has the derivative of its primitive"),
        ("neurons", "Gossip", "can be built"),
        ("strategies", "EXAMPLE", "is a Strategy"),
        ("trials", "EXAMPLE", "is a TrialRecipe"),
    ],
)
def test_a_broken_promise_is_told(kind, name, message):
    with pytest.raises(ConformanceError, match=message) as caught:
        check(kind, f"{__name__}:{name}")
    assert "\n" not in str(caught.value)
