"""Steps of alphas and weights: what counts as the loss."""

import copy

import pytest
import torch

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import alpha_step, weight_step
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet

NAMES = ("none", "skip_connect", "sep_conv_3x3")


@pytest.mark.parametrize("which", ["alphas", "weights"])
def test_the_auxiliary_loss_moves_what_learns_and_is_not_reported(which):
    torch.manual_seed(0)
    macro = Macro(3, (1, 4, 4), channels=2, layers=3, num_nodes=2)
    start = Supernet(macro, {name: resolve("operations", name) for name in NAMES}, auxiliary=True).double()
    images, labels = torch.randn(6, 1, 4, 4, dtype=torch.float64), torch.arange(6) % 3
    results, learned = [], []
    for weight in (0.0, 0.4, 0.8):
        supernet, alphas = copy.deepcopy(start), Alphas(2, 3, torch.Generator().manual_seed(1)).double()
        if which == "alphas":
            optimizer = torch.optim.SGD(alphas.parameters(), 1.0)
            results.append(alpha_step(supernet, alphas, optimizer, images, labels, list, weight))
            learned.append(torch.cat([table.detach() for table in alphas.parameters()]))
        else:
            optimizer = torch.optim.SGD(supernet.parameters(), 1.0)
            results.append(weight_step(supernet, alphas, optimizer, images, labels, 0.0, weight))
            learned.append(supernet.stem.conv.weight.detach())
    assert len({float(result.loss) for result in results}) == 1
    assert not torch.equal(learned[0], learned[1])
    torch.testing.assert_close(learned[2] - learned[1], learned[1] - learned[0])  # in proportion to its weight
