"""What a sweep is made of: search spaces, strategies, kinds of trial, samplers, schedulers. Small real runs."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from raynas_snn.cluster.driver.schedulers import make_scheduler
from raynas_snn.config import Sweep, load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.conformance.declarations import options_to_try
from raynas_snn.conformance.requirement import require, requiring
from raynas_snn.core.options import Options
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext, TrialRecipe
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.genotype import Genotype, derive
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, Supernet, check_operations
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.samplers import SamplerRequest
from raynas_snn.training.device_images import load_images
from raynas_snn.training.network_setup import num_nodes_of, operations_of
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.strategy import Strategy

_TINY = (
    "model.attention=none",
    "model.channels=4",
    "model.layers=2",
    "search.channels=2",
    "search.layers=2",
    "search.epochs=2",
    "search.batch_size=32",
    "retrain.epochs=2",
    "data.num_train=64",
    "data.num_test=32",
    "sweep.num_seeds=1",
)
_TINY_OPTIONS = {"sahd": "candidates: 4", "evolution": "population: 4, generations: 2"}


def check_space(name: str) -> None:
    """Checks that a search space can be searched, and that derived networks can be trained."""
    with requiring(name, "returns a SearchSpace"):
        space = load_space(name)
    with requiring(name, "has operations that make a supernet"):
        operations = {operation: resolve("operations", operation) for operation in space.operations}
        macro = Macro(3, (1, 8, 8), channels=4, layers=3, num_nodes=space.num_nodes)
        supernet, alphas = Supernet(macro, operations), Alphas(space.num_nodes, len(operations))
        logits, _ = supernet(torch.randn(2, 1, 8, 8), alphas())
        logits.sum().backward()
    require(logits.shape == (2, 3), name, "gives one logit per class while it is searched")
    with requiring(name, "gives a genotype that makes a network"):
        genotype = _cells(space.num_nodes, space.operations)
        logits, _ = DerivedNetwork(macro, genotype, operations)(torch.randn(2, 1, 8, 8))
    require(logits.shape == (2, 3), name, "gives one logit per class")
    with requiring(name, "has defaults that a sweep file may hold"):
        load_sweep(None, [f"space={name}"])


def check_strategy(name: str) -> None:
    """Checks that a strategy finds cells of the trial's space and reports the number of epochs that it declares."""
    strategy = resolve("strategies", name)
    require(isinstance(strategy, Strategy), name, "is a Strategy")
    genotypes = []
    with tempfile.TemporaryDirectory() as folder:
        options = _TINY_OPTIONS | {"fixed": f"genotype: {_some_cells(Path(folder))}"}
        trial = _tiny_trial(f"search.strategy={{name: '{name}', {options.get(name, '')}}}")
        train, _, arrays = load_images(trial.data, "cpu")
        for attempt in ("first", "second"):
            reports: list[Any] = []
            context = TrialContext(Path(folder) / attempt, reports.append)
            context.directory.mkdir()
            with requiring(name, "runs to its end"):
                found = strategy.search(trial, context, train, arrays.num_classes)
            require(isinstance(found, SearchResult), name, f"returns a SearchResult, not {type(found).__name__}")
            genotypes.append(found.genotype)
    _check_reports(reports, strategy.epochs(trial.search), name)
    with requiring(name, "finds cells of the search space"):
        check_operations(found.genotype, operations_of(trial))
    nodes = num_nodes_of(trial)
    require(found.genotype.num_nodes == nodes, name, f"finds cells of {nodes} nodes")
    accuracy = 0.0 if found.accuracy is None else found.accuracy
    require(0 <= accuracy <= 1, name, f"tells an accuracy between 0 and 1, not {accuracy}")
    require(
        genotypes[0] == genotypes[1], name, "finds the same cells from the same seed: every worker runs it by itself"
    )


def check_trial(name: str) -> None:
    """Checks that a kind of trial reports each epoch once and ends with finite numbers."""
    recipe = resolve("trials", name)
    require(isinstance(recipe, TrialRecipe), name, "is a TrialRecipe")
    trial = _tiny_trial(f"trial={name}")
    reports: list[Any] = []
    with tempfile.TemporaryDirectory() as folder, requiring(name, "runs to its end"):
        metrics = recipe.run(trial, TrialContext(Path(folder), reports.append))
    _check_reports(reports, recipe.total_epochs(trial), name)
    require(isinstance(metrics, Mapping), name, f"returns numbers by name, not {type(metrics).__name__}")
    require("accuracy" in metrics, name, "returns an accuracy")
    wrong = [str(key) for key, value in metrics.items() if not _is_finite(value)]
    require(not wrong, name, f"returns finite numbers, not so {', '.join(wrong)}")


def check_sampler(name: str) -> None:
    """Checks a sampler: built from a `SamplerRequest`; the same request and history give the same proposals."""
    make = resolve("samplers", name)

    def proposals(options: Options, num_objectives: int) -> list[dict[str, Any]]:
        directions = [StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
        study = optuna.create_study(directions=directions[:num_objectives])
        for number in range(8):
            sampler = make(SamplerRequest(number, options))
            require(
                isinstance(sampler, BaseSampler), name, f"makes a sampler of Optuna's, not {type(sampler).__name__}"
            )
            study.sampler = sampler
            proposal = study.ask(
                {
                    "decay": optuna.distributions.FloatDistribution(0.1, 0.9),
                    "attention": optuna.distributions.CategoricalDistribution(["none", "ct", "ma"]),
                }
            )
            study.tell(proposal, [proposal.params["decay"], number][:num_objectives])
        return [trial.params for trial in study.get_trials()]

    for options, num_objectives in product(options_to_try("samplers", name), (1, 2)):
        with requiring(name, f"makes proposals for {num_objectives} objectives with {options!r}"):
            first, second = proposals(options, num_objectives), proposals(options, num_objectives)
        require(first == second, name, "makes the same proposals from the same seeds and history")


def check_scheduler(name: str) -> None:
    """A scheduler is made from a `SchedulerRequest`: one of Ray Tune's, or None."""
    with tempfile.TemporaryDirectory() as folder, requiring(name, "makes a scheduler of Ray Tune's, or none"):
        make_scheduler(_tiny_sweep(f"sweep.scheduler={name}"), RunDir(Path(folder)), {})


def _check_reports(reports: list[Any], num_epochs: int, name: str) -> None:
    with requiring(name, "reports each epoch by its number and phase"):
        epochs = [row["epoch"] for row in reports]
        require(epochs == list(range(1, num_epochs + 1)), name, f"reports its {num_epochs} epochs, not {epochs[:20]}")
        require(all(isinstance(row["phase"], str) for row in reports), name, "names the phase in each report")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _tiny_sweep(*overrides: str) -> Sweep:
    return load_sweep(None, [*_TINY, *overrides])


def _tiny_trial(*overrides: str) -> TrialConfig:
    return _tiny_sweep(*overrides).trial_config(0, 0, {})


def _some_cells(folder: Path) -> Path:
    """A file with cells, for strategies that take them from one."""
    path = folder / "cells.json"
    path.write_text(_cells(4, load_space("darts_snn").operations).to_json())
    return path


def _cells(num_nodes: int, operations: Sequence[str]) -> Genotype:
    return derive(Alphas(num_nodes, len(operations))(), operations)
