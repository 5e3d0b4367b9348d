"""The search phase: train the supernet and its alphas, keep the cells of the best epoch (MA-DARTS Alg. 1)."""

from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import TrialConfig
from raynas_snn.nas.bilevel import Alphas, alpha_step, weight_step
from raynas_snn.nas.genotype import derive
from raynas_snn.nas.network import Supernet, channels_last
from raynas_snn.space import load_space
from raynas_snn.training.build import generator_for, macro_of, operations_of, seed_of
from raynas_snn.training.data import DeviceImages, augmentation_for, search_split
from raynas_snn.training.distributed import World, average, average_buffers, distribute
from raynas_snn.training.evaluate import EVALUATION_BATCH, epoch_means, evaluate
from raynas_snn.training.found import SearchResult
from raynas_snn.training.phase import Phase
from raynas_snn.trial import TrialContext

SEARCH = 0  # purpose of a seed, see build.seed_of


def search(trial: TrialConfig, context: TrialContext, images: DeviceImages, num_classes: int) -> SearchResult:
    """Searches the cells on the training images, one half for the weights, the other for the alphas.

    Runs on every worker alike; goes on from the checkpoint in the trial's folder if there is one.
    """
    config, device, world = trial.search, context.device, World.current()
    space = load_space(trial.space)
    operations = operations_of(space)
    image_shape = (*images.images.shape[1:],)
    torch.manual_seed(seed_of(trial.seed, SEARCH))
    macro = macro_of(trial, "search", num_classes, image_shape)
    supernet = Supernet(macro, operations, config.auxiliary)
    channels_last(supernet.to(device))
    alphas = Alphas(macro.num_nodes, len(operations)).to(device)
    weight_optimizer = torch.optim.SGD(
        supernet.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
    )
    alpha_optimizer = torch.optim.Adam(
        alphas.parameters(), config.alpha_lr, (0.5, 0.999), weight_decay=config.alpha_weight_decay
    )
    schedule = CosineAnnealingLR(weight_optimizer, config.epochs, config.lr_min)
    weights_half, alphas_half = (
        images.subset(indices) for indices in search_split(len(images), trial.seed, context.directory, world)
    )
    augmentation = augmentation_for(trial.data)
    phase = Phase(
        "search",
        config.epochs,
        0,
        {
            "supernet": supernet,
            "alphas": alphas,
            "weight_optimizer": weight_optimizer,
            "alpha_optimizer": alpha_optimizer,
            "schedule": schedule,
        },
        context,
    )
    distributed = distribute(supernet, world)

    def epoch(index: int) -> dict[str, Any]:
        lr = schedule.get_last_lr()[0]
        streams = (
            half.training_batches(
                config.batch_size,
                augmentation,
                generator_for(device, trial.seed, SEARCH, index, stream),
                world,
            )
            for stream, half in enumerate((weights_half, alphas_half))
        )
        weight_steps, alpha_steps = [], []
        for (train_images, train_labels), (val_images, val_labels) in zip(*streams, strict=False):
            alpha_steps.append(alpha_step(supernet, alphas, alpha_optimizer, val_images, val_labels, average))
            weight_steps.append(
                weight_step(distributed, alphas, weight_optimizer, train_images, train_labels, config.grad_clip)
            )
        schedule.step()
        average_buffers(supernet)
        with torch.no_grad():
            normal, reduction = alphas()
        evaluation = evaluate(
            supernet,
            lambda batch: supernet(batch, normal, reduction)[0],
            alphas_half,
            EVALUATION_BATCH,
            synapses=False,
        )
        if evaluation.accuracy > phase.best.get("accuracy", -1.0):
            genotype = derive(normal, reduction, list(operations))
            phase.best = {
                "genotype": genotype.to_dict(),
                "accuracy": evaluation.accuracy,
                "epoch": index + 1,
            }
        train_loss, train_accuracy = epoch_means(weight_steps)
        entropy_normal, entropy_reduction = alphas.entropy()
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "alpha_loss": epoch_means(alpha_steps)[0],
            "accuracy": evaluation.accuracy,
            "spikes": evaluation.activity.spikes,
            "firing_rate": evaluation.activity.firing_rate,
            "alpha_entropy_normal": entropy_normal,
            "alpha_entropy_reduction": entropy_reduction,
            "lr": lr,
        }

    phase.run(epoch)
    return SearchResult.from_dict({**phase.best, "seconds": phase.seconds})
