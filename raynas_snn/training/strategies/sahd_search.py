"""Training-free search: scores many random cells as untrained networks by SAHD and keeps the best (SNASNet)."""

import math
import random
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.genotype_operations import random_genotype
from raynas_snn.nas.sahd import sahd_score
from raynas_snn.training.augment import Augmentation
from raynas_snn.training.device_images import DeviceImages, search_split
from raynas_snn.training.distributed import World, sum_over_workers
from raynas_snn.training.epoch_loop import EpochLoop
from raynas_snn.training.network_setup import check_kinds_of_cell, macro_of, operations_of, untrained_network
from raynas_snn.training.search_result import SearchResult
from raynas_snn.training.seeds import SEARCH, generator_for, seed_of
from raynas_snn.training.strategies.strategy_options import SahdOptions

BATCH_SIZE = 256  # as in the paper's code, and two such batches
NUM_BATCHES = 2
_IMAGES, _CANDIDATES = 0, 1  # what a seed is for


def sahd_search(trial: TrialConfig, context: TrialContext, images: DeviceImages, num_classes: int) -> SearchResult:
    """Scores ``candidates`` random genotypes and keeps the best; of equals the first.

    Every candidate has its own seed, so the result depends neither on interruptions nor on the number of workers,
    which share the candidates. Each epoch of the search scores an equal part of them.
    """
    config, world = trial.search, World.current()
    check_kinds_of_cell(trial, num_classes, images.image_shape)
    macro, operations = macro_of(trial, "search", num_classes, images.image_shape), operations_of(trial)
    batches = _scoring_batches(trial, context, images)
    options = config.strategy.options_as(SahdOptions)
    phase = EpochLoop("search", config.epochs, 0, {}, context)

    def genotype(number: int) -> Genotype:
        draw = random.Random(seed_of(trial.seed, SEARCH, _CANDIDATES, number))
        return random_genotype(macro.num_nodes, list(operations), draw)

    def score(number: int) -> float:
        seed = seed_of(trial.seed, SEARCH, _CANDIDATES, number)
        network = untrained_network(genotype(number), macro, operations, seed, context.device)
        return sahd_score(network, batches, options.formula)

    def epoch(index: int) -> dict[str, Any]:
        count = options.candidates
        candidates = range(count * index // config.epochs, count * (index + 1) // config.epochs)
        own = {str(number): score(number) for number in candidates[world.rank :: world.size]}
        scores = sum_over_workers(own)  # each candidate has a score on one worker: the sums are all scores
        for number in candidates:
            if not phase.best or scores[str(number)] > phase.best["score"]:
                cells = genotype(number).to_dict()
                phase.best = {"score": scores[str(number)], "genotype": cells, "epoch": index + 1}
        best = phase.best.get("score", -math.inf)
        return {"sahd_score": best} if math.isfinite(best) else {}

    phase.run(epoch)
    best = phase.best
    return SearchResult(Genotype.from_dict(best["genotype"]), None, best["epoch"], phase.seconds)


def _scoring_batches(trial: TrialConfig, context: TrialContext, images: DeviceImages) -> list[Tensor]:
    """Two batches of 256 images of the half that other strategies train on, or that half in two; not augmented.

    An image that is in a batch twice is left out: no network could tell it from itself.
    """
    half, _ = search_split(len(images), trial.seed, context.directory, World.current())
    generator = generator_for(context.device, trial.seed, SEARCH, _IMAGES)
    size = max(1, min(BATCH_SIZE, len(half) // NUM_BATCHES))
    batches = images.subset(half).training_batches(size, Augmentation(0, False, 0), generator, World())
    return [
        batch.unique(dim=0).contiguous(memory_format=torch.channels_last) for batch, _ in islice(batches, NUM_BATCHES)
    ]
