"""Outer shapes: whatever the sweep file allows is built, trained a step, derived, and trained again."""

import pytest
import torch
import torch.nn.functional as F

from raynas_snn.config import load_sweep
from raynas_snn.core.errors import UserError
from raynas_snn.core.registry import options_of, resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.genotype import Edge, Genotype, derive
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, Supernet
from raynas_snn.nas.operations import FactorizedReduce
from raynas_snn.snn.attention_options import CTOptions
from raynas_snn.snn.energy import Activity, ActivityMeter
from raynas_snn.training.network_setup import macro_of
from search_spaces.darts_snn import darts_snn

OPERATIONS = {name: resolve("operations", name) for name in darts_snn().operations}
FEW = {name: OPERATIONS[name] for name in ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")}

# layers, reductions, num_nodes, stem_stride, image side, attention, its settings, scope, time steps
SHAPES = [
    (2, None, 2, 1, 1, "none", {}, "every_cell", 1),
    (2, (), 3, 8, 3, "temporal", {}, "last_cell", 2),
    (3, (0,), 3, 2, 7, "temporal", {"reduction": 1}, "every_cell", 3),
    (3, (1, 2), 2, 1, 5, "channel", {"reduction": 1}, "every_cell", 2),
    (4, (0, 1, 2, 3), 2, 1, 4, "spatial", {"spatial_kernel": 3}, "every_cell", 2),
    (4, (0, 1, 2, 3), 2, 8, 37, "ct", {"window": "causal", "time_kernel": 5}, "every_cell", 2),
    (3, (2,), 6, 4, 33, "ct", {"window": "per_step", "channel_kernel": 9}, "last_cell", 2),
    (5, None, 3, 1, 9, "ma", {"fold_time": True}, "every_cell", 2),
    (20, None, 2, 2, 11, "ma", {}, "last_cell", 1),
]


def train_a_step(network: torch.nn.Module, *inputs: object) -> None:
    logits, auxiliary_logits = network(*inputs)
    labels = torch.arange(len(logits)) % 3
    (F.cross_entropy(logits, labels) + F.cross_entropy(auxiliary_logits, labels)).backward()
    without = [name for name, weight in network.named_parameters() if weight.grad is None]
    assert not without  # or several workers could not train it
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_outer_shape_is_searched_derived_and_trained(shape):
    layers, reductions, num_nodes, stem_stride, side, attention, settings, scope, num_steps = shape
    macro = Macro(
        3,
        (1, side, side + 1),
        channels=2,
        layers=layers,
        reductions=reductions,
        stem_stride=stem_stride,
        num_steps=num_steps,
        num_nodes=num_nodes,
        attention=resolve("attentions", attention),
        attention_options=options_of("attentions", attention)(**settings),
        attention_scope=scope,
    )
    torch.manual_seed(0)
    operations = FEW if layers > 3 else OPERATIONS
    supernet, alphas = Supernet(macro, operations, auxiliary=True), Alphas(num_nodes, len(operations))
    images = torch.randn(3, 1, side, side + 1)
    with torch.no_grad():
        mixture = alphas()
    train_a_step(supernet, images, mixture)
    genotype = derive(mixture, list(operations))
    network = DerivedNetwork(macro, genotype, operations)
    train_a_step(network, images)
    network.eval()
    with torch.no_grad(), ActivityMeter(network) as meter:
        logits, auxiliary_logits = network(images)
    assert logits.shape == (3, 3)
    assert auxiliary_logits is None
    assert Activity.from_totals(meter.totals()).energy_uj > 0


def test_resolution_and_width_follow_the_reductions():
    macro = Macro(3, channels=4, layers=5, reductions=(0, 1, 4))
    assert [plan.channels for plan in macro.cells()] == [8, 16, 16, 16, 32]
    assert [plan.reduction_before for plan in macro.cells()] == [False, True, True, False, False]
    assert macro.auxiliary_index == 4
    assert Macro(3, layers=9, reductions=()).auxiliary_index == 6


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 5)])
def test_a_factorised_reduction_reads_even_and_odd_pixels_and_nothing_beyond_the_border(size):
    reduce = FactorizedReduce(1, 2).double().eval()
    for conv in (reduce.even, reduce.odd):
        torch.nn.init.ones_(conv.weight)
    spikes = torch.rand(1, 1, *size, dtype=torch.float64)
    height, width = (side + side % 2 for side in size)
    padded = torch.zeros(height, width, dtype=torch.float64)
    padded[: size[0], : size[1]] = spikes[0, 0]
    expected = torch.stack([padded[::2, ::2], padded[1::2, 1::2]]) / (1 + reduce.norm.eps) ** 0.5
    torch.testing.assert_close(reduce(spikes)[0], expected)


def test_a_reduction_that_is_no_cell_is_named():
    with pytest.raises(UserError, match="there is no cell 3; 3 layers are the cells 0 to 2"):
        Macro(3, layers=3, reductions=(1, 3))


def test_a_genotype_of_another_size_is_refused():
    node = (Edge("max_pool_3x3", 0), Edge("max_pool_3x3", 1))
    with pytest.raises(UserError, match=r"2 nodes per cell, but model.num_nodes is 4"):
        DerivedNetwork(Macro(3, num_nodes=4), Genotype((node,) * 2, (node,) * 2), OPERATIONS)


def shape_of(*overrides: str) -> tuple[Macro, Macro]:
    """Of the supernet and of the derived network."""
    trial = load_sweep(None, ("model.attention=none", *overrides)).trial_config(0, 0, {})
    return macro_of(trial, "search", 3, (3, 16, 16)), macro_of(trial, "retrain", 3, (3, 16, 16))


def test_the_sweep_file_reaches_both_networks():
    search, retrain = shape_of(
        "model.layers=6",
        "model.reductions=[1, 4]",
        "model.num_nodes=3",
        "model.stem_stride=4",
        "search.layers=4",
        "search.reductions=[3]",
        "model.attention=ct",
        "model.attention.window=causal",
        "model.attention.time_kernel=5",
        "search.attention_scope=last_cell",
        "retrain.attention_scope=every_cell",
    )
    assert (search.layers, search.reduction_cells, search.attention_scope) == (4, (3,), "last_cell")
    assert (retrain.layers, retrain.reduction_cells, retrain.attention_scope) == (6, (1, 4), "every_cell")
    for macro in (search, retrain):
        assert (macro.num_nodes, macro.stem_stride) == (3, 4)
        assert macro.attention_options == CTOptions(window="causal", time_kernel=5)


def test_a_batch_that_cannot_be_normalised_is_refused():
    two_alone = ("search.batch_size=2", "resources.num_workers=2")
    shape_of(*two_alone, "model.num_steps=2")
    with pytest.raises(UserError, match=r"search.batch_size: 2 images for 2 workers at model.num_steps 1"):
        shape_of(*two_alone, "model.num_steps=1")


def test_reductions_of_the_model_hold_for_a_supernet_of_the_same_depth_only():
    same, _ = shape_of("model.layers=6", "search.layers=6", "model.reductions=[0]")
    other, _ = shape_of("model.layers=6", "search.layers=3", "model.reductions=[0]")
    neither, _ = shape_of("model.layers=6", "search.layers=6", "model.reductions=[]")
    assert (same.reduction_cells, other.reduction_cells, neither.reduction_cells) == ((0,), (1, 2), ())
