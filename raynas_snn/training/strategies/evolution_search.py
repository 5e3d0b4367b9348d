"""Evolution with shared weights: trains a single-path supernet, then evolves genotypes on it (AutoSNN, SPOS).

AutoSNN searches the blocks of a chain; here its two stages search the cells of this package (our adaptation).
"""

import random
from collections.abc import Sequence
from itertools import islice
from typing import Any

from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.evolution import Evolution, Individual, spike_aware_fitness
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.single_path import SinglePathNetwork, path_step, recalibrate
from raynas_snn.training.checkpoint import load_checkpoint
from raynas_snn.training.device_images import DeviceImages, augmentation_for, search_split
from raynas_snn.training.distributed import World, average, average_buffers
from raynas_snn.training.epoch_loop import EpochLoop, Stateful
from raynas_snn.training.evaluate import epoch_means, evaluate
from raynas_snn.training.network_setup import searched_network
from raynas_snn.training.optimizers import sgd
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.seeds import SEARCH, generator_for, seed_of
from raynas_snn.training.strategies.strategy_options import EvolutionOptions

EVOLVE_PHASE = "evolve"
RECALIBRATION_BATCHES = 8  # our choice: enough for the mean of a few hundred images
_BATCHES, _PATHS, _RECALIBRATION, _CHILDREN = range(4)  # what a seed is for


def evolution_search(trial: TrialConfig, context: TrialContext, images: DeviceImages, num_classes: int) -> SearchResult:
    """Trains the shared weights for ``search.epochs``, then evolves for ``generations``.

    Both stages resume from the checkpoint in the trial's folder; that of the second holds the supernet too.

    Returns:
        The fittest genotype of all generations, with its accuracy on the validation half with shared weights.
    """
    operations = load_space(trial.space).operations
    network = searched_network(SinglePathNetwork, trial, num_classes, images.image_shape, context.device)
    split = search_split(len(images), trial.seed, context.directory, World.current())
    weights_half, validation_half = (images.subset(indices) for indices in split)
    seconds, begun = 0.0, (load_checkpoint(context, "cpu") or {}).get("phase")
    if begun != EVOLVE_PHASE:
        seconds = _train_supernet(trial, context, network, operations, weights_half)
    options = trial.search.strategy.options_as(EvolutionOptions)
    evolution = Evolution(network.macro.num_nodes, operations, options.population, options.mutation)
    return _evolve(trial, context, network, evolution, weights_half, validation_half, seconds)


def _train_supernet(
    trial: TrialConfig,
    context: TrialContext,
    network: SinglePathNetwork,
    operations: Sequence[str],
    images: DeviceImages,
) -> float:
    """Stage 1: each batch trains one uniformly random path. Returns the seconds that its epochs took."""
    config, world = trial.search, World.current()
    optimizer = sgd(network.parameters(), config.lr, config.momentum, config.weight_decay)
    schedule = CosineAnnealingLR(optimizer, config.epochs, config.lr_min)
    augmentation = augmentation_for(trial.data)
    members: dict[str, Stateful] = {"supernet": network, "weight_optimizer": optimizer, "schedule": schedule}
    phase = EpochLoop("search", config.epochs, 0, members, context)

    def epoch(index: int) -> dict[str, Any]:
        lr = schedule.get_last_lr()[0]
        generator = generator_for(context.device, trial.seed, SEARCH, _BATCHES, index)
        draw = random.Random(seed_of(trial.seed, SEARCH, _PATHS, index))  # alike on all workers
        steps = [
            path_step(
                network,
                random_genotype(network.macro.num_nodes, operations, draw),
                optimizer,
                batch,
                labels,
                average,
                config.grad_clip,
                config.auxiliary_weight,
            )
            for batch, labels in images.training_batches(config.batch_size, augmentation, generator, world)
        ]
        schedule.step()
        average_buffers(network)
        train_loss, train_accuracy = epoch_means(steps)
        return {"train_loss": train_loss, "train_accuracy": train_accuracy, "lr": lr}

    phase.run(epoch)
    return phase.seconds


def _evolve(
    trial: TrialConfig,
    context: TrialContext,
    network: SinglePathNetwork,
    evolution: Evolution,
    weights_half: DeviceImages,
    validation_half: DeviceImages,
    seconds: float,
) -> SearchResult:
    """Stage 2: an epoch is a generation, of which only genotypes not seen before are measured."""
    config, options = trial.search, trial.search.strategy.options_as(EvolutionOptions)
    batches = _recalibration_batches(trial, context, weights_half)
    members: dict[str, Stateful] = {"supernet": network, "evolution": evolution}
    phase = EpochLoop(EVOLVE_PHASE, options.generations, config.epochs, members, context, seconds=seconds)

    def epoch(index: int) -> dict[str, Any]:
        draw = random.Random(seed_of(trial.seed, SEARCH, _CHILDREN, index))
        children = list(evolution.generation(draw))
        evolution.individuals += [_measure(network, child, batches, validation_half, options) for child in children]
        fittest = evolution.fittest
        if not phase.best or fittest.fitness > phase.best["fitness"]:
            phase.best = {"fitness": fittest.fitness, "epoch": config.epochs + index + 1}
        return {"accuracy": fittest.accuracy, "spikes": fittest.spikes, "fitness": fittest.fitness}

    phase.run(epoch)
    fittest = evolution.fittest
    return SearchResult(fittest.genotype, fittest.accuracy, phase.best["epoch"], phase.seconds)


def _measure(
    network: SinglePathNetwork,
    genotype: Genotype,
    batches: list[Tensor],
    images: DeviceImages,
    options: EvolutionOptions,
) -> Individual:
    """Accuracy and spikes of a path with the shared weights, after BatchNorm has been recalibrated for it."""
    recalibrate(network, genotype, batches)
    average_buffers(network)
    evaluation = evaluate(network, genotype, images=images, synapses=False)
    accuracy, spikes = evaluation.accuracy, evaluation.activity.spikes
    fitness = spike_aware_fitness(accuracy, spikes, options.spike_exponent, options.spike_reference)
    return Individual(genotype, fitness, accuracy, spikes)


def _recalibration_batches(trial: TrialConfig, context: TrialContext, images: DeviceImages) -> list[Tensor]:
    """This worker's share of a few training batches, the same for all genotypes."""
    generator = generator_for(context.device, trial.seed, SEARCH, _RECALIBRATION)
    batches = images.training_batches(trial.search.batch_size, augmentation_for(trial.data), generator, World.current())
    return [batch for batch, _ in islice(batches, RECALIBRATION_BATCHES)]
