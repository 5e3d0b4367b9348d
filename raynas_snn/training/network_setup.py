"""Builds the networks of a trial from its configuration: shape, seed, device, memory format, precision."""

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import torch

from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.core.errors import UserError
from raynas_snn.core.registry import resolve
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.drop_path import DropPath, drop_probability
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import CellNetwork, DerivedNetwork, Supernet, channels_last, check_operations
from raynas_snn.nas.single_path import SinglePathNetwork
from raynas_snn.snn.neuron import NeuronSettings
from raynas_snn.training.distributed import World
from raynas_snn.training.seeds import RETRAIN, SEARCH, generator_for, seed_of

AnyNetwork = TypeVar("AnyNetwork", bound=CellNetwork)
Searched = TypeVar("Searched", Supernet, SinglePathNetwork)
Phase = Literal["search", "retrain"]

DROP_PATH = 2  # stream of random numbers within an epoch; 0 and 1 shuffle and augment images


def operations_of(trial: TrialConfig) -> dict[str, MakeOperation]:
    """The candidates of a trial's search space, by name, in the order of the alphas' columns."""
    return {name: resolve("operations", name) for name in load_space(trial.space).operations}


def num_nodes_of(trial: TrialConfig) -> int:
    """Nodes per cell: the model's, or else the search space's."""
    return trial.model.num_nodes or load_space(trial.space).num_nodes


def macro_of(trial: TrialConfig, phase: Phase, num_classes: int, image_shape: tuple[int, int, int]) -> Macro:
    """The outer shape of the supernet (``search``) or of the derived network (``retrain``).

    Raises:
        UserError: If a reduction is said to be where there is no cell, or a batch is too small to be normalised.
    """
    model, search = trial.model, trial.search
    check_batch(trial, phase)
    attention: Any = resolve("attentions", model.attention.name)
    neuron_kind: Any = resolve("neurons", model.neuron.name)
    surrogate: Any = resolve("surrogates", model.surrogate.name)
    searching = phase == "search"
    layers = search.layers or model.layers if searching else model.layers
    reductions = model.reductions if layers == model.layers else None
    if searching and search.reductions is not None:
        reductions = search.reductions
    return Macro(
        num_classes=num_classes,
        image_shape=image_shape,
        channels=search.channels or model.channels if searching else model.channels,
        layers=layers,
        reductions=None if reductions is None else tuple(reductions),
        stem_stride=model.stem_stride or stem_stride_for(*image_shape[1:]),
        num_steps=model.num_steps,
        num_nodes=num_nodes_of(trial),
        attention=attention,
        attention_options=model.attention.options,
        attention_scope=search.attention_scope if searching else trial.retrain.attention_scope,
        neuron=NeuronSettings(
            model.decay,
            model.v_th,
            surrogate(model.surrogate.options),
            model.detach_reset,
            options=model.neuron.options,
        ),
        neuron_kind=neuron_kind,
    )


def check_batch(trial: TrialConfig, phase: Phase) -> None:
    """Checks that BatchNorm has at least two values on maps of one pixel: two images or two time steps.

    Raises:
        UserError: If it has only one.
    """
    batch_size = trial.search.batch_size if phase == "search" else trial.retrain.batch_size
    if batch_size // trial.resources.num_workers * trial.model.num_steps < 2:
        raise UserError(
            f"{phase}.batch_size: {batch_size} images for {trial.resources.num_workers} workers at model.num_steps 1 "
            "leave BatchNorm a single value; two images per worker would do"
        )


def check_kinds_of_cell(trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Checks that every kind of cell of the derived network is in the supernet.

    Raises:
        UserError: If one is not: its alphas would never be trained.
    """
    phases: tuple[Phase, Phase] = ("search", "retrain")
    searched, derived = (
        {plan.reduction for plan in macro_of(trial, phase, num_classes, image_shape).cells()} for phase in phases
    )
    if missing := derived - searched:
        kind = "halving" if True in missing else "normal"
        raise UserError(
            f"search.layers, search.reductions: the supernet has no {kind} cell, but the derived network has; "
            "let both have the same kinds"
        )


def stem_stride_for(height: int, width: int) -> int:
    """The least down-sampling, at most 8, that brings the shorter side below 64 pixels: 1 for CIFAR, 2 for 64x64."""
    return next((stride for stride in (1, 2, 4) if min(height, width) / stride < 64), 8)


def searched_network(
    kind: type[Searched], trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int], device: str
) -> Searched:
    """A fresh network that holds all candidates of the trial's space; the trial's seed decides its weights.

    Args:
        kind: `Supernet` or `SinglePathNetwork`.
        trial: The configuration.
        num_classes: Size of the answer.
        image_shape: Channels, height, width.
        device: Where it goes.

    Raises:
        UserError: As `macro_of` and `check_kinds_of_cell` do.
    """
    check_kinds_of_cell(trial, num_classes, image_shape)
    macro, operations = macro_of(trial, "search", num_classes, image_shape), operations_of(trial)
    torch.manual_seed(seed_of(trial.seed, SEARCH))
    network = _place(kind(macro, operations, trial.search.auxiliary), device)
    network.recompute, network.precision = trial.search.recompute, trial.resources.precision
    return network


def derived_network(
    genotype: Genotype, trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int], device: str
) -> DerivedNetwork:
    """The freshly initialised derived network of a trial; the trial's seed determines its weights.

    Raises:
        UserError: As `macro_of` does, and if the genotype holds what the trial's space or model does not.
    """
    operations = operations_of(trial)
    check_operations(genotype, operations)
    macro = macro_of(trial, "retrain", num_classes, image_shape)
    torch.manual_seed(seed_of(trial.seed, RETRAIN))
    network = _place(DerivedNetwork(macro, genotype, operations, trial.retrain.auxiliary), device)
    network.recompute, network.precision = trial.retrain.recompute, trial.resources.precision
    return network


def untrained_network(
    genotype: Genotype, macro: Macro, operations: Mapping[str, MakeOperation], seed: int, device: str
) -> DerivedNetwork:
    """A freshly initialised network for scoring without training: in float32 and without an auxiliary head."""
    torch.manual_seed(seed)
    return _place(DerivedNetwork(macro, genotype, operations, auxiliary=False), device)


def drop_path_for(trial: TrialConfig, phase: Phase, epoch: int, device: str) -> DropPath | None:
    """The drop path of an epoch (from 0) of a phase, with separate random numbers for every worker.

    Args:
        trial: The configuration.
        phase: The phase, whose ``drop_path`` applies.
        epoch: From 0.
        device: Of the network.

    Returns:
        None if nothing is dropped in this epoch.
    """
    section = trial.search if phase == "search" else trial.retrain
    probability = drop_probability(section.drop_path, epoch, section.epochs)
    if probability == 0:
        return None
    purpose = SEARCH if phase == "search" else RETRAIN
    generator = generator_for(device, trial.seed, purpose, epoch, DROP_PATH, World.current().rank)
    return DropPath(probability, trial.model.num_steps, generator)


def _place(network: AnyNetwork, device: str) -> AnyNetwork:
    """Moves a network to its device, weights in the memory format of its images."""
    channels_last(network.to(device))
    return network
