"""Training-free search: many random cells, each scored by SAHD as an untrained network (SNASNet)."""

import math
import random
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from raynas_snn.config.schema import TrialConfig
from raynas_snn.nas.cell import MakeOperation
from raynas_snn.nas.genotype import Genotype
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import DerivedNetwork, channels_last
from raynas_snn.nas.sahd import sahd_score
from raynas_snn.nas.sampling import random_genotype
from raynas_snn.space import load_space
from raynas_snn.training.augment import Augmentation
from raynas_snn.training.build import check_kinds_of_cell, generator_for, macro_of, operations_of, seed_of
from raynas_snn.training.data import DeviceImages, search_split
from raynas_snn.training.distributed import World, sum_over_workers
from raynas_snn.training.found import SearchResult
from raynas_snn.training.phase import Phase
from raynas_snn.training.search import SEARCH
from raynas_snn.trial import TrialContext

BATCH_SIZE = 256  # as in the paper's code, and two such batches
NUM_BATCHES = 2
_IMAGES, _CANDIDATES = 0, 1  # what a seed is for


def sahd_search(trial: TrialConfig, context: TrialContext, images: DeviceImages, num_classes: int) -> SearchResult:
    """Scores ``search.sahd_candidates`` random genotypes and keeps the best; of equals the first.

    Every candidate has a seed of its own, so the result depends neither on interruptions nor on the number of
    workers, who share the candidates. The epochs of the search are equal parts of the work.
    """
    config, world = trial.search, World.current()
    operations = operations_of(load_space(trial.space))
    image_shape = (*images.images.shape[1:],)
    check_kinds_of_cell(trial, num_classes, image_shape)
    macro = macro_of(trial, "search", num_classes, image_shape)
    batches = _scoring_batches(trial, context, images)
    formula = config.sahd_formula
    phase = Phase("search", config.epochs, 0, {}, context)

    def epoch(index: int) -> dict[str, Any]:
        count = config.sahd_candidates
        candidates = range(count * index // config.epochs, count * (index + 1) // config.epochs)
        scores = sum_over_workers(  # each worker knows its own: the sum is all of them
            {
                str(number): sahd_score(_network(trial, number, macro, operations, context.device), batches, formula)
                for number in candidates[world.rank :: world.size]
            }
        )
        for number in candidates:
            score = scores[str(number)]
            if not phase.best or score > phase.best["score"]:
                genotype = _genotype(trial, number, macro, operations)
                phase.best = {"score": score, "genotype": genotype.to_dict(), "epoch": index + 1}
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


def _genotype(trial: TrialConfig, number: int, macro: Macro, operations: dict[str, MakeOperation]) -> Genotype:
    draw = random.Random(seed_of(trial.seed, SEARCH, _CANDIDATES, number))
    return random_genotype(macro.num_nodes, list(operations), draw)


def _network(
    trial: TrialConfig, number: int, macro: Macro, operations: dict[str, MakeOperation], device: str
) -> DerivedNetwork:
    """A candidate with fresh random weights, which depend on its number alone."""
    torch.manual_seed(seed_of(trial.seed, SEARCH, _CANDIDATES, number))
    network = DerivedNetwork(macro, _genotype(trial, number, macro, operations), operations, auxiliary=False)
    channels_last(network.to(device))
    return network
