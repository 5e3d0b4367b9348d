"""Instant learning curves, for trying the orchestration: same files, same reports, nothing learned."""

import math
import random

from raynas_snn.config.schema import TrialConfig
from raynas_snn.interfaces.trial import Metrics, TrialContext, TrialRecipe
from raynas_snn.training.strategy import search_epochs


def fake(trial: TrialConfig, context: TrialContext) -> Metrics:
    """Reports a curve that depends on the outer choices and the seed alone."""
    draw = random.Random(f"{sorted(trial.outer.items())} {trial.seed}")
    ceiling, speed = draw.uniform(0.6, 0.95), draw.uniform(0.3, 1.0)
    spikes = draw.uniform(1e4, 1e5) * trial.model.num_steps
    accuracy = 0.0
    for epoch in range(1, _total_epochs(trial) + 1):
        accuracy = ceiling * (1 - math.exp(-speed * epoch))
        phase = "search" if epoch <= search_epochs(trial) else "retrain"
        context.report({"epoch": epoch, "phase": phase, "accuracy": accuracy, "spikes": spikes})
    params = 1000.0 * trial.model.channels
    return {
        "accuracy": accuracy,
        "search_accuracy": accuracy,
        "params": params,
        "params_with_auxiliary": params + 500,
        "spikes": spikes,
        "firing_rate": 0.1,
        "sops": 10 * spikes,
        "energy_uj": 9e-6 * spikes,
        "seconds": 0.0,
    }


def _total_epochs(trial: TrialConfig) -> int:
    return search_epochs(trial) + trial.retrain.epochs


RECIPE = TrialRecipe(run=fake, total_epochs=_total_epochs, uses_workers=False)
