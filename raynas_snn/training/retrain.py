"""The second phase: train the derived network from scratch, then test it on held-out images."""

import gc
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import TrialConfig
from raynas_snn.nas.collapse import skip_share
from raynas_snn.nas.network import DerivedNetwork, channels_last, check_operations, count_parameters
from raynas_snn.space import load_space
from raynas_snn.training.build import drop_path_for, generator_for, macro_of, operations_of, seed_of
from raynas_snn.training.data import DeviceImages, augmentation_for
from raynas_snn.training.distributed import World, average_buffers
from raynas_snn.training.evaluate import EVALUATION_BATCH, Evaluation, epoch_means, evaluate
from raynas_snn.training.found import SearchResult
from raynas_snn.training.optimizers import sgd
from raynas_snn.training.phase import RETRAIN_PHASE, Phase
from raynas_snn.training.precision import use_precision
from raynas_snn.training.retrain_steps import RetrainSteps
from raynas_snn.training.strategies import search_epochs
from raynas_snn.trial import Metrics, TrialContext

RETRAIN = 1  # purpose of a seed, see build.seed_of
SAME_ANSWER = "the network gives all test images the same answer; a lower retrain.lr may help"


def retrain(
    trial: TrialConfig,
    context: TrialContext,
    found: SearchResult,
    train: DeviceImages,
    test: DeviceImages,
    num_classes: int,
) -> Metrics:
    """Trains the derived network on the whole training set and tests it.

    The test images choose nothing: every epoch's accuracy on them is reported, the last one's is the result.

    Returns:
        ``accuracy`` (share), ``num_answers`` (how many classes are answered), ``search_accuracy``, ``params``,
        ``params_with_auxiliary``, ``spikes`` (per image, summed over time steps), ``firing_rate``, both also by part
        of the network (``spikes/cells.0``), ``sops``, ``macs``, ``energy_uj`` (all per image), ``skip_share`` (of the
        normal cell's edges), ``seconds``, and ``compile_seconds`` apart from them if there was something to compile.
    """
    gc.collect()  # the supernet and its graphs hold on to each other, and to much of a GPU's memory
    config, device, world = trial.retrain, context.device, World.current()
    operations = operations_of(load_space(trial.space))
    check_operations(found.genotype, operations)
    image_shape = (*train.images.shape[1:],)
    torch.manual_seed(seed_of(trial.seed, RETRAIN))
    macro = macro_of(trial, "retrain", num_classes, image_shape)
    network = DerivedNetwork(macro, found.genotype, operations, config.auxiliary)
    channels_last(network.to(device))
    network.recompute = config.recompute
    use_precision(network, trial.resources.precision)
    optimizer = sgd(network.parameters(), config.lr, config.momentum, config.weight_decay)
    schedule = CosineAnnealingLR(optimizer, config.epochs, config.lr_min)
    augmentation = augmentation_for(trial.data)
    phase = Phase(
        RETRAIN_PHASE,
        config.epochs,
        search_epochs(trial),
        {"network": network, "optimizer": optimizer, "schedule": schedule},
        context,
        carried=found.to_dict(),
    )
    steps = RetrainSteps(trial, network, optimizer, train.example_batch(config.batch_size, world))

    def test_network(synapses: bool) -> Evaluation:
        return evaluate(network, lambda batch: network(batch)[0], test, EVALUATION_BATCH, synapses)

    def epoch(index: int) -> dict[str, Any]:
        lr = schedule.get_last_lr()[0]
        generator = generator_for(device, trial.seed, RETRAIN, index)
        batches = train.training_batches(config.batch_size, augmentation, generator, world)
        results = steps.epoch(batches, drop_path_for(trial, "retrain", index, device, RETRAIN))
        schedule.step()
        average_buffers(network)
        evaluation = test_network(synapses=False)
        train_loss, train_accuracy = epoch_means(results)
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "accuracy": evaluation.accuracy,
            "spikes": evaluation.activity.spikes,
            "firing_rate": evaluation.activity.firing_rate,
            "lr": lr,
            "warning": SAME_ANSWER if evaluation.num_answers == 1 else "",
        }

    phase.run(epoch)
    result = test_network(synapses=True)
    activity = result.activity
    return {
        "accuracy": result.accuracy,
        "num_answers": result.num_answers,
        **({} if found.accuracy is None else {"search_accuracy": found.accuracy}),
        "params": count_parameters(network, auxiliary=False),
        "params_with_auxiliary": count_parameters(network),
        "spikes": activity.spikes,
        "firing_rate": activity.firing_rate,
        "sops": activity.sops,
        "macs": activity.macs,
        "energy_uj": activity.energy_uj,
        "skip_share": skip_share(found.genotype.normal),
        "seconds": found.seconds + phase.seconds,
        **({} if steps.compile_seconds is None else {"compile_seconds": steps.compile_seconds}),
        **{f"spikes/{part}": spikes for part, spikes in activity.spikes_per_cell.items()},
        **{f"firing_rate/{part}": rate for part, rate in activity.firing_rate_per_cell.items()},
    }
