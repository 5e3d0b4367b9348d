"""The strategy ``darts``: trains the supernet and its alphas, keeps the cells of the best epoch (MA-DARTS Alg. 1)."""

from collections.abc import Iterator
from typing import Any

import torch

from raynas_snn.config.schema import SearchConfig, TrialConfig
from raynas_snn.config.search_space import load_space
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.bilevel import Batch
from raynas_snn.nas.collapse import collapse_warning, skip_share
from raynas_snn.nas.genotype import derive
from raynas_snn.nas.network import Supernet
from raynas_snn.training.cuda_graph import obstacle_to_capture
from raynas_snn.training.device_images import DeviceImages, augmentation_for, search_split
from raynas_snn.training.distributed import World, average_buffers, distribute
from raynas_snn.training.epoch_loop import EpochLoop
from raynas_snn.training.evaluate import epoch_means, evaluate
from raynas_snn.training.network_setup import drop_path_for, searched_network
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.seeds import SEARCH, generator_for
from raynas_snn.training.strategies.darts_state import SearchState
from raynas_snn.training.strategies.darts_steps import SearchSteps


def search(trial: TrialConfig, context: TrialContext, images: DeviceImages, num_classes: int) -> SearchResult:
    """Searches the cells on the training images, one half for the weights, the other for the alphas.

    Runs on every worker alike; resumes from the checkpoint in the trial's folder if there is one. Cells are chosen by
    the supernet's accuracy on the alphas' half, among the epochs after the warm-up.

    Raises:
        UserError: If the warm-up leaves no epoch to search in.
    """
    config, device, world = trial.search, context.device, World.current()
    check_warmup(config)
    operations = load_space(trial.space).operations
    supernet = searched_network(Supernet, trial, num_classes, images.image_shape, device)
    state = SearchState.fresh(supernet, Alphas(supernet.macro.num_nodes, len(operations)).to(device), config)
    alphas, schedule = state.alphas, state.schedule
    halves = [images.subset(indices) for indices in search_split(len(images), trial.seed, context.directory, world)]
    augmentation = augmentation_for(trial.data)
    phase = EpochLoop("search", config.epochs, 0, vars(state), context)
    obstacle = obstacle_to_capture(trial.resources.cuda_graphs, device, world)
    steps = SearchSteps(state, distribute(supernet, world), config, obstacle)
    has_normal_cells = any(not plan.reduction for plan in supernet.macro.cells())

    def batches(index: int, stream: int) -> Iterator[Batch]:
        generator = generator_for(device, trial.seed, SEARCH, index, stream)
        return halves[stream].training_batches(config.batch_size, augmentation, generator, world)

    def epoch(index: int) -> dict[str, Any]:
        lr = schedule.get_last_lr()[0]
        drop_path = drop_path_for(trial, "search", index, device)
        warming_up = index < config.warmup_epochs
        validation = None if warming_up else batches(index, 1)
        weight_steps, alpha_steps = steps.epoch(batches(index, 0), validation, drop_path)
        schedule.step()
        average_buffers(supernet)
        with torch.no_grad():
            mixture = alphas()
        evaluation = evaluate(supernet, mixture, images=halves[1], synapses=False)
        genotype = derive(mixture, operations)
        share, limit = skip_share(genotype.normal), config.stop_skip_share
        judged = has_normal_cells and not warming_up  # else the normal alphas have learned nothing
        phase.ended = judged and limit is not None and share >= limit
        better = evaluation.accuracy > phase.best.get("accuracy", -1.0)
        if not warming_up and (not phase.best if phase.ended else better):
            phase.best = {"genotype": genotype.to_dict(), "accuracy": evaluation.accuracy, "epoch": index + 1}
        train_loss, train_accuracy = epoch_means(weight_steps)
        entropy_normal, entropy_reduction = alphas.entropy()
        return {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            **({} if warming_up else {"alpha_loss": epoch_means(alpha_steps)[0]}),
            "accuracy": evaluation.accuracy,
            "spikes": evaluation.activity.spikes,
            "firing_rate": evaluation.activity.firing_rate,
            "alpha_entropy_normal": entropy_normal,
            "alpha_entropy_reduction": entropy_reduction,
            "skip_share_normal": share,
            "skip_share_reduction": skip_share(genotype.reduction),
            "lr": lr,
            "warning": collapse_warning(share) if judged else "",
        }

    phase.run(epoch)
    return SearchResult.from_dict({**phase.best, "seconds": phase.seconds})


def check_warmup(config: SearchConfig) -> None:
    """Checks that the warm-up leaves an epoch in which alphas are trained.

    Raises:
        UserError: If it does not.
    """
    if config.warmup_epochs >= config.epochs:
        raise UserError(
            f"search.warmup_epochs: {config.warmup_epochs} leaves none of the {config.epochs} search.epochs to alpha; "
            f"at most {config.epochs - 1}"
        )
