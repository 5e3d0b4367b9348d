"""Networks that are too large are not trained, and not searched for if none is small enough."""

import random
from pathlib import Path

import pytest
import torch

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext, TrialInfeasible
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, count_parameters
from raynas_snn.training.param_budget import count_derived, smallest_genotype
from trials.search_then_retrain import search_then_retrain

TINY = (
    "model.attention=ct",
    "model.channels=4",
    "model.num_nodes=2",
    "retrain.epochs=1",
    "data.num_train=64",
    "data.num_test=40",
)
MACRO = Macro(10, (1, 8, 8), channels=4, layers=3, num_nodes=2)


def operations_named(*names: str) -> dict:
    return {name: resolve("operations", name) for name in names}


def trial(limit: int, *overrides: str) -> TrialConfig:
    return load_sweep(None, (*TINY, f"sweep.max_params={limit}", *overrides)).trial_config(0, 0, {})


def refusal(folder: Path, config: TrialConfig) -> TrialInfeasible:
    """What a trial that trains nothing raises."""
    folder.mkdir()
    rows: list = []
    with pytest.raises(TrialInfeasible) as refused:
        search_then_retrain(config, TrialContext(folder, rows.append))
    assert not rows
    assert not (folder / "checkpoint").exists()
    return refused.value


def test_counts_as_the_network_itself_does():
    operations = operations_named("skip_connect", "sep_conv_3x3", "dil_conv_5x5")
    before = torch.get_rng_state()
    for seed in range(3):
        genotype = random_genotype(2, list(operations), random.Random(seed))
        counted = count_derived(MACRO, genotype, operations)
        assert torch.equal(torch.get_rng_state(), before)
        network = DerivedNetwork(MACRO, genotype, operations, auxiliary=True)
        torch.set_rng_state(before)
        assert counted == count_parameters(network, auxiliary=False)


@pytest.mark.parametrize(
    "names",
    [("none", "skip_connect", "dil_conv_3x3"), ("sep_conv_3x3", "sep_conv_5x5"), ("skip_connect", "max_pool_3x3")],
)
def test_the_smallest_network_is_the_smallest_of_all(names):
    operations = operations_named(*names)
    drawn = {random_genotype(2, names, random.Random(seed)) for seed in range(400)}
    normals, reductions = {one.normal for one in drawn}, {one.reduction for one in drawn}
    assert len(normals) == len(reductions) == 48  # the whole space, as the cells are counted apart
    some = next(iter(drawn))
    base = count_derived(MACRO, some, operations)
    fewest = (
        min(count_derived(MACRO, Genotype(normal, some.reduction), operations) for normal in normals)
        + min(count_derived(MACRO, Genotype(some.normal, reduction), operations) for reduction in reductions)
        - base
    )
    smallest = smallest_genotype(MACRO, operations)
    assert count_derived(MACRO, smallest, operations) == fewest
    assert smallest.normal in normals
    assert smallest.reduction in reductions


def test_nothing_is_searched_where_no_network_is_small_enough(tmp_path):
    error = refusal(tmp_path / "trial", trial(10))
    smallest = error.metrics["params"]
    assert str(error) == f"params {smallest:,} > sweep.max_params 10, even for the smallest network of the space"
    assert not (tmp_path / "trial" / "split.npz").exists()
    assert not (tmp_path / "trial" / "genotype.json").exists()


def test_what_was_found_is_not_trained_if_it_is_too_large(tmp_path):
    smallest = refusal(tmp_path / "smallest", trial(10)).metrics["params"]
    error = refusal(tmp_path / "found", trial(smallest, "search.strategy=random"))
    params = error.metrics["params"]
    assert str(error) == f"params {params:,} > sweep.max_params {smallest:,}"
    assert (tmp_path / "found" / "genotype.json").is_file()
    (tmp_path / "enough").mkdir()
    context = TrialContext(tmp_path / "enough", lambda _: None)
    assert search_then_retrain(trial(params, "search.strategy=random"), context)["params"] == params
