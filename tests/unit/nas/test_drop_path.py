"""Drop path: whole paths of whole images, never identities, never in evaluation."""

import pytest
import torch

from raynas_snn.core.registry import resolve
from raynas_snn.nas.alphas import Mixture
from raynas_snn.nas.cell import DerivedCell
from raynas_snn.nas.drop_path import DropPath, drop_probability
from raynas_snn.nas.genotype import Edge
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet
from raynas_snn.nas.search_cell import SearchCell

STEPS = 3
NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")
OPERATIONS = {name: resolve("operations", name) for name in NAMES}


def drop_path(probability: float, seed: int = 0) -> DropPath:
    return DropPath(probability, STEPS, torch.Generator().manual_seed(seed))


def test_an_image_loses_a_path_at_all_its_steps_or_at_none():
    path = torch.rand(STEPS * 200, 2, 3, 3) + 0.5
    dropped = drop_path(0.25)(path).unflatten(0, (STEPS, 200))
    lost = (dropped == 0).flatten(2).all(dim=2)
    assert torch.equal(lost.any(dim=0), lost.all(dim=0))
    kept = ~lost[0]
    assert 0.6 < kept.float().mean() < 0.9
    torch.testing.assert_close(dropped[:, kept], path.unflatten(0, (STEPS, 200))[:, kept] / 0.75)


def test_the_expectation_stays():
    dropped = drop_path(0.9)(torch.ones(STEPS * 100_000, 1, 1, 1))
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.04)  # four standard deviations


def test_the_probability_rises_to_what_was_asked_for():
    assert [drop_probability(0.2, epoch, 5) for epoch in range(5)] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert drop_probability(0.2, 0, 1) == 0.2


def inputs(plan, num_images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (STEPS * num_images, plan.channels_previous, 4, 4)
    return [torch.randint(2, shape, generator=generator).double() for _ in range(2)]


def cells(reduction: bool):
    macro = Macro(3, (1, 4, 4), channels=4, layers=3, num_nodes=2, num_steps=STEPS, reductions=(0,) * reduction)
    return macro, next(macro.cells())


@pytest.mark.parametrize("reduction", [False, True])
def test_a_derived_cell_keeps_its_identities_only(reduction):
    """Just short of certainty every droppable path is dropped; the skips of a reduction cell are convolutions."""
    macro, plan = cells(reduction)
    nodes = ((Edge("skip_connect", 0), Edge("sep_conv_3x3", 1)), (Edge("max_pool_3x3", 0), Edge("skip_connect", 2)))
    torch.manual_seed(0)
    cell = DerivedCell(plan, macro, nodes, OPERATIONS).double().eval()
    before_previous, previous = inputs(plan, 2)
    features = cell(before_previous, previous, drop_path(1 - 1e-12))
    first, second = features.chunk(2, dim=1)
    identity = torch.zeros_like(first) if reduction else cell.preprocess_0(before_previous)
    torch.testing.assert_close(first, identity)
    torch.testing.assert_close(second, first)


def test_a_search_cell_drops_candidates_with_weights_of_their_own_only():
    macro, plan = cells(reduction=False)
    torch.manual_seed(0)
    cell = SearchCell(plan, macro, OPERATIONS).double().eval()
    weights = torch.rand(5, len(NAMES), dtype=torch.float64)
    before_previous, previous = inputs(plan, 2)
    without_convolutions = weights.clone()
    without_convolutions[:, 3:] = 0
    torch.testing.assert_close(
        cell(before_previous, previous, weights, drop_path(1 - 1e-12)),
        cell(before_previous, previous, without_convolutions),
    )


def test_nothing_is_dropped_in_evaluation_and_no_random_number_drawn():
    torch.manual_seed(0)
    macro = Macro(3, (1, 4, 4), channels=2, layers=3, num_nodes=2, num_steps=STEPS)
    supernet = Supernet(macro, OPERATIONS)
    images, mixture = torch.randn(4, 1, 4, 4), Mixture(*torch.full((2, 5, len(NAMES)), 0.2))
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    dropping = DropPath(0.9, STEPS, generator)
    with torch.no_grad():
        supernet.eval()
        assert torch.equal(supernet(images, mixture, dropping)[0], supernet(images, mixture)[0])
        assert torch.equal(generator.get_state(), before)
        supernet.train()
        supernet(images, mixture, dropping)
    assert not torch.equal(generator.get_state(), before)
