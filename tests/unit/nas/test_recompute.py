"""Computing activations again: the same loss, gradients and running statistics, with less kept in between."""

import pytest
import torch
import torch.nn.functional as F

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.drop_path import DropPath
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.snn.attention import MultiDimensionalAttention
from search_spaces.darts_snn import darts_snn


def step(recompute: bool, drop: bool, num_steps: int) -> tuple[list[torch.Tensor], int]:
    """Results of one step, and how many bytes were kept for its backward pass."""
    torch.manual_seed(0)
    operations = {name: resolve("operations", name) for name in darts_snn().operations}
    macro = Macro(5, (1, 9, 9), 4, 3, num_steps=num_steps, attention=MultiDimensionalAttention)
    supernet, alphas = Supernet(macro, operations, auxiliary=True).double(), Alphas(4, len(operations)).double()
    supernet.recompute = recompute
    generator = torch.Generator().manual_seed(1)
    drop_path = DropPath(0.3, num_steps, generator) if drop else None
    weights = {p.untyped_storage().data_ptr() for p in supernet.parameters()}
    kept: dict[int, int] = {}  # by address

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        logits, auxiliary = supernet(torch.randn(3, 1, 9, 9, dtype=torch.float64), alphas(), drop_path)
        loss = F.cross_entropy(logits + auxiliary, torch.tensor([0, 1, 2]))
    loss.backward()
    gradients = [p.grad for p in (*supernet.parameters(), *alphas.parameters())]
    maps = sum(size for address, size in kept.items() if address not in weights)
    return [loss.detach(), *gradients, *supernet.buffers(), generator.get_state()], maps


@pytest.mark.parametrize(("num_steps", "drop"), [(1, False), (2, True), (6, True)])
def test_computing_again_changes_nothing_but_memory(num_steps, drop):
    expected, kept = step(False, drop, num_steps)
    results, kept_less = step(True, drop, num_steps)
    assert all(torch.equal(*pair) for pair in zip(results, expected, strict=True))
    assert kept_less < kept / 4
