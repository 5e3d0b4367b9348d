"""The second phase of a trial: trains the derived network from scratch, then tests it on held-out images."""

import gc
from typing import Any

from torch.optim.lr_scheduler import CosineAnnealingLR

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import Metrics, TrialContext
from raynas_snn.nas.collapse import skip_share
from raynas_snn.nas.network import count_parameters
from raynas_snn.training.device_images import DeviceImages, augmentation_for
from raynas_snn.training.distributed import World, average_buffers
from raynas_snn.training.epoch_loop import RETRAIN_PHASE, EpochLoop
from raynas_snn.training.evaluate import epoch_means, evaluate
from raynas_snn.training.network_setup import derived_network, drop_path_for
from raynas_snn.training.optimizers import sgd
from raynas_snn.training.retrain_steps import RetrainSteps
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.seeds import RETRAIN, generator_for
from raynas_snn.training.strategy import search_epochs

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

    Nothing is selected on the test images: each epoch's test accuracy is reported, and the last one is the result.

    Returns:
        ``accuracy`` (share), ``num_answers`` (how many classes are answered), ``search_accuracy``, ``params``,
        ``params_with_auxiliary``, ``spikes`` (per image, summed over time steps), ``firing_rate``, both also by part
        of the network (``spikes/cells.0``), ``sops``, ``macs``, ``energy_uj`` (all per image), ``skip_share`` (of the
        normal cell's edges), ``seconds``, and ``compile_seconds``, not included in them, if the network was compiled.
    """
    gc.collect()  # the supernet and its graphs hold on to each other, and to much of a GPU's memory
    config, device, world = trial.retrain, context.device, World.current()
    network = derived_network(found.genotype, trial, num_classes, train.image_shape, device)
    optimizer = sgd(network.parameters(), config.lr, config.momentum, config.weight_decay)
    schedule = CosineAnnealingLR(optimizer, config.epochs, config.lr_min)
    augmentation = augmentation_for(trial.data)
    phase = EpochLoop(
        RETRAIN_PHASE,
        config.epochs,
        search_epochs(trial),
        {"network": network, "optimizer": optimizer, "schedule": schedule},
        context,
        carried=found.to_dict(),
    )
    steps = RetrainSteps(trial, network, optimizer, train.example_batch(config.batch_size, world))

    def epoch(index: int) -> dict[str, Any]:
        lr = schedule.get_last_lr()[0]
        generator = generator_for(device, trial.seed, RETRAIN, index)
        batches = train.training_batches(config.batch_size, augmentation, generator, world)
        results = steps.epoch(batches, drop_path_for(trial, "retrain", index, device))
        schedule.step()
        average_buffers(network)
        evaluation = evaluate(network, images=test, synapses=False)
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
    result = evaluate(network, images=test, synapses=True)
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
