"""From a trial's configuration to networks, operations and seeds."""

from typing import Any, Literal

import numpy as np
import torch

from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.drop_path import DropPath, drop_probability
from raynas_snn.nas.macro import Macro
from raynas_snn.registry import resolve
from raynas_snn.snn.attention import AttentionSettings
from raynas_snn.snn.neuron import NeuronSettings
from raynas_snn.space import SearchSpace, load_space
from raynas_snn.training.distributed import World

Phase = Literal["search", "retrain"]

DROP_PATH = 2  # stream of random numbers within an epoch; 0 and 1 shuffle and augment images


def operations_of(space: SearchSpace) -> dict[str, MakeOperation]:
    """The candidates of a search space, by name, in the order of the alphas' columns."""
    operations: dict[str, Any] = {name: resolve("operations", name) for name in space.operations}
    return operations


def macro_of(trial: TrialConfig, phase: Phase, num_classes: int, image_shape: tuple[int, int, int]) -> Macro:
    """The outer shape of the supernet (``search``) or of the derived network (``retrain``).

    Raises:
        UserError: If a reduction is said to be where there is no cell, or a batch is too small to be normalised.
    """
    model, search = trial.model, trial.search
    check_batch(trial, phase)
    attention: Any = resolve("attentions", model.attention)
    neuron_kind: Any = resolve("neurons", model.neuron)
    surrogate: Any = resolve("surrogates", model.surrogate)
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
        num_nodes=model.num_nodes or load_space(trial.space).num_nodes,
        attention=attention,
        attention_settings=AttentionSettings(
            reduction=model.attention_reduction,
            spatial_kernel=model.attention_spatial_kernel,
            channel_kernel=model.attention_channel_kernel,
            time_kernel=model.attention_time_kernel,
            window=model.attention_window,
            fold_time=model.attention_fold_time,
        ),
        attention_scope=search.attention_scope if searching else trial.retrain.attention_scope,
        neuron=NeuronSettings(model.decay, model.v_th, surrogate(), model.detach_reset),
        neuron_kind=neuron_kind,
    )


def check_batch(trial: TrialConfig, phase: Phase) -> None:
    """Makes sure that BatchNorm has something to average on maps of one pixel: two images or two time steps.

    Raises:
        UserError: If it has not.
    """
    batch_size = trial.search.batch_size if phase == "search" else trial.retrain.batch_size
    if batch_size // trial.resources.num_workers * trial.model.num_steps < 2:
        raise UserError(
            f"{phase}.batch_size: {batch_size} images for {trial.resources.num_workers} workers at model.num_steps 1 "
            "leave BatchNorm a single value; two images per worker would do"
        )


def check_kinds_of_cell(trial: TrialConfig, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Makes sure that every kind of cell that will be derived is searched.

    Raises:
        UserError: If it is not: its alphas would never learn anything.
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


def seed_of(seed: int, *purpose: int) -> int:
    """A seed for a purpose (phase, epoch, stream) from the trial's seed; zeros at the end of a purpose do not count."""
    state = np.random.SeedSequence([seed, *purpose]).generate_state(2, np.uint32)
    return int(state[0]) << 31 ^ int(state[1])


def generator_for(device: str, seed: int, *purpose: int) -> torch.Generator:
    """Random numbers that depend on the seed and the purpose alone, so that any epoch can be repeated."""
    return torch.Generator(device).manual_seed(seed_of(seed, *purpose))


def drop_path_for(trial: TrialConfig, phase: Phase, epoch: int, device: str, purpose: int) -> DropPath | None:
    """What drops paths in an epoch (from 0) of a phase, with random numbers of its own for every worker.

    Args:
        trial: The configuration.
        phase: Whose ``drop_path`` is meant.
        epoch: From 0.
        device: Of the network.
        purpose: The phase's purpose of random numbers, see `seed_of`.

    Returns:
        None if nothing is dropped in this epoch.
    """
    section = trial.search if phase == "search" else trial.retrain
    probability = drop_probability(section.drop_path, epoch, section.epochs)
    if probability == 0:
        return None
    rank = World.current().rank
    return DropPath(
        probability, trial.model.num_steps, generator_for(device, trial.seed, purpose, epoch, DROP_PATH, rank)
    )
