"""What bfloat16 touches, and what it leaves alone."""

import contextlib
import copy
import math

import pytest
import torch
from torch import nn

from raynas_snn.config import load_sweep
from raynas_snn.config.search_space import SearchSpace
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import alpha_step, weight_step
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.training.checkpoint import checkpoint_path, read_checkpoint
from raynas_snn.training.optimizers import adam, sgd
from raynas_snn.training.precision import float32_products
from trials.search_then_retrain import search_then_retrain

NAMES = ("none", "max_pool_3x3", "skip_connect")
TINY = (
    f"space={__name__}:small_space",
    "model.attention=ma",
    "model.channels=2",
    "model.layers=3",
    "search.epochs=1",
    "retrain.epochs=2",
    "data.num_train=64",
    "data.num_test=32",
)


def small_space() -> SearchSpace:
    """Candidates that are quick in bfloat16 on any CPU; named by its import path above."""
    return SearchSpace("small_space", "skips and pools", NAMES, num_nodes=2)


def run(folder, *overrides):
    rows = []
    config = load_sweep(None, (*TINY, *overrides)).trial_config(0, 0, {})
    return search_then_retrain(config, TrialContext(folder, lambda row: rows.append(dict(row)))), rows


def dtypes(state) -> set[torch.dtype]:
    """Of all tensors, however deep."""
    if isinstance(state, torch.Tensor):
        return {state.dtype}
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return set().union(*map(dtypes, parts))


def test_a_trial_in_bfloat16_learns_and_remembers_in_float32(tmp_path):
    (tmp_path / "other").mkdir()
    metrics, rows = run(tmp_path, "resources.precision=bfloat16")
    assert all(math.isfinite(row["train_loss"]) for row in rows)
    assert rows[-1]["train_loss"] < rows[-2]["train_loss"]
    assert metrics["spikes"] > 0
    members = read_checkpoint(checkpoint_path(tmp_path))["members"]
    assert dtypes(members) == {torch.float32, torch.int64}  # int64: how many batches BatchNorm has seen
    assert [row["train_loss"] for row in rows] != [row["train_loss"] for row in run(tmp_path / "other")[1]]


def test_steps_in_bfloat16_compute_in_it_and_keep_everything_in_float32():
    torch.manual_seed(0)
    macro = Macro(3, (1, 8, 8), channels=2, layers=3, num_nodes=2)
    supernet = Supernet(macro, {name: resolve("operations", name) for name in NAMES}, auxiliary=True)
    alphas = Alphas(2, len(NAMES))
    supernet.precision = "bfloat16"
    outputs, mixtures = set(), set()
    for module in supernet.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: outputs.add(output.dtype))
    supernet.register_forward_pre_hook(lambda _, inputs: mixtures.update(x.dtype for x in inputs[1]))
    optimizers = adam(alphas.parameters(), 0.1, 0.0), sgd(supernet.parameters(), 0.1, 0.9, 0.0)
    images, labels = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    before = [parameter.detach().clone() for parameter in (*alphas.parameters(), *supernet.parameters())]
    results = [
        alpha_step(supernet, alphas, optimizers[0], images, labels, list, 0.4),
        weight_step(supernet, alphas, optimizers[1], images, labels, 5.0, 0.4),
    ]
    assert outputs == {torch.bfloat16}
    assert mixtures == {torch.float32}
    assert [result.loss.dtype for result in results] == [torch.float32] * 2
    assert dtypes([optimizer.state_dict() for optimizer in optimizers]) == {torch.float32}
    assert dtypes([alphas.state_dict(), supernet.state_dict()]) == {torch.float32, torch.int64}
    after = (*alphas.parameters(), *supernet.parameters())
    assert {parameter.grad.dtype for parameter in after} == {torch.float32}
    assert not all(torch.equal(old, new) for old, new in zip(before[:2], after[:2], strict=True))
    assert not all(torch.equal(old, new) for old, new in zip(before[2:], after[2:], strict=True))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_copy_computes_with_weights_of_its_own_in_the_same_precision(precision):
    torch.manual_seed(0)
    operations = {name: resolve("operations", name) for name in NAMES}
    supernet, alphas = Supernet(Macro(3, (1, 8, 8), channels=2, layers=3, num_nodes=2), operations), Alphas(2, 3)
    supernet.precision = precision
    copied, images = copy.deepcopy(supernet), torch.randn(4, 1, 8, 8)
    expected = supernet(images, alphas())[0]
    with torch.no_grad():
        supernet.classifier.weight.zero_()
    assert torch.equal(copied(images, alphas())[0], expected)
    assert not torch.equal(supernet(images, alphas())[0], expected)
    copied.precision = "float32"
    assert torch.equal(copied(images, alphas())[0], expected) == (precision != "bfloat16")


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_tf32_is_used_if_and_only_if_it_is_asked_for(precision, allowed):
    def now():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before = now()
    with contextlib.suppress(KeyError), float32_products(precision):
        assert now() == (allowed, allowed)
        raise KeyError  # also if it goes wrong
    assert now() == before
