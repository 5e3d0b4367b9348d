"""What a sweep is made of: search spaces, strategies, kinds of trial, samplers. Small real runs on real images."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import torch

from raynas_snn.cluster.samplers import SamplerRequest
from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.conformance.promise import promise, promised
from raynas_snn.nas.bilevel import Alphas
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.genotype import Genotype, derive
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, Supernet, check_operations
from raynas_snn.registry import resolve
from raynas_snn.space import load_space
from raynas_snn.training.build import macro_of, operations_of
from raynas_snn.training.data import load_images
from raynas_snn.training.strategy import Strategy
from raynas_snn.trial import TrialContext, TrialRecipe

_TINY = (
    "model.attention=none",
    "model.channels=4",
    "model.layers=2",
    "search.channels=2",
    "search.layers=2",
    "search.epochs=2",
    "search.batch_size=32",
    "search.sahd_candidates=4",
    "search.evolution_population=4",
    "search.evolution_generations=2",
    "retrain.epochs=2",
    "data.num_train=64",
    "data.num_test=32",
    "sweep.num_seeds=1",
)


def check_space(name: str) -> None:
    """A search space can be searched, derived from, and trained."""
    with promised(name, "returns a SearchSpace"):
        space = load_space(name)
    with promised(name, "has operations that make a supernet"):
        operations = operations_of(space)
        macro = Macro(3, (1, 8, 8), channels=4, layers=3, num_nodes=space.num_nodes)
        supernet, alphas = Supernet(macro, operations), Alphas(space.num_nodes, len(operations))
        logits, _ = supernet(torch.randn(2, 1, 8, 8), *alphas())
        logits.sum().backward()
    with promised(name, "gives a genotype that makes a network"):
        genotype = _cells(space.num_nodes, operations)
        logits, _ = DerivedNetwork(macro, genotype, operations)(torch.randn(2, 1, 8, 8))
    promise(logits.shape == (2, 3), name, "gives one logit per class")


def check_strategy(name: str) -> None:
    """A strategy finds cells of the trial's space, and reports as many epochs as it says."""
    strategy = resolve("strategies", name)
    promise(isinstance(strategy, Strategy), name, "is a Strategy")
    with tempfile.TemporaryDirectory() as folder:
        trial = _tiny_trial(f"search.strategy={name}", f"search.genotype={_some_cells(Path(folder))}")
        train, _, arrays = load_images(trial.data, "cpu")
        reports: list[Mapping[str, Any]] = []
        with promised(name, "runs to its end"):
            found = strategy.search(trial, TrialContext(Path(folder), reports.append), train, arrays.num_classes)
    epochs = [int(row["epoch"]) for row in reports]
    promise(epochs == list(range(1, strategy.epochs(trial.search) + 1)), name, f"reports its epochs, not {epochs}")
    with promised(name, "finds cells of the search space"):
        check_operations(found.genotype, operations_of(load_space(trial.space)))
    nodes = macro_of(trial, "search", arrays.num_classes, arrays.shape).num_nodes
    promise(found.genotype.num_nodes == nodes, name, f"finds cells of {nodes} nodes")


def check_trial(name: str) -> None:
    """A kind of trial reports each epoch once and ends with finite numbers."""
    recipe = resolve("trials", name)
    promise(isinstance(recipe, TrialRecipe), name, "is a TrialRecipe")
    trial = _tiny_trial(f"trial={name}")
    reports: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, promised(name, "runs to its end"):
        metrics = recipe.run(trial, TrialContext(Path(folder), reports.append))
    epochs = [int(row["epoch"]) for row in reports]
    promise(epochs == list(range(1, recipe.total_epochs(trial) + 1)), name, f"reports its epochs, not {epochs}")
    promise(all("phase" in row for row in reports), name, "names the phase in each report")
    with promised(name, "returns finite numbers by name"):
        promise("accuracy" in metrics, name, "returns an accuracy")
        promise(all(math.isfinite(value) for value in metrics.values()), name, "returns finite numbers")


def check_sampler(name: str) -> None:
    """A sampler is made from a `SamplerRequest`, and the same request and history give the same proposals."""
    make = resolve("samplers", name)

    def proposals() -> list[dict[str, Any]]:
        study = optuna.create_study(directions=["maximize", "minimize"])
        for number in range(8):
            study.sampler = make(SamplerRequest(number, 4))
            proposal = study.ask(
                {
                    "decay": optuna.distributions.FloatDistribution(0.1, 0.9),
                    "attention": optuna.distributions.CategoricalDistribution(["none", "ct", "ma"]),
                }
            )
            study.tell(proposal, [proposal.params["decay"], number])
        return [trial.params for trial in study.get_trials()]

    with promised(name, "makes proposals for several objectives"):
        first, second = proposals(), proposals()
    promise(first == second, name, "makes the same proposals from the same seeds and history")


def _tiny_trial(*overrides: str) -> TrialConfig:
    return load_sweep(None, [*_TINY, *overrides]).trial_config(0, 0, {})


def _some_cells(folder: Path) -> Path:
    """A file with cells, for strategies that take them from one."""
    path = folder / "cells.json"
    path.write_text(_cells(4, operations_of(load_space("darts_snn"))).to_json())
    return path


def _cells(num_nodes: int, operations: Mapping[str, MakeOperation]) -> Genotype:
    normal, reduction = Alphas(num_nodes, len(operations))()
    return derive(normal, reduction, list(operations))
