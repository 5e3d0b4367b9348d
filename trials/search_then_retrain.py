"""The method of the paper, step by step: search the cells, derive, train the derived network, test it."""

from raynas_snn.config.schema import TrialConfig
from raynas_snn.training.strategies import load_strategy, search_epochs
from raynas_snn.trial import Metrics, TrialContext, TrialRecipe


def search_then_retrain(trial: TrialConfig, context: TrialContext) -> Metrics:
    """Runs one trial on every worker alike, or goes on where its checkpoint stopped."""
    from raynas_snn.training.data import load_images
    from raynas_snn.training.distributed import World
    from raynas_snn.training.found import finished_search
    from raynas_snn.training.retrain import retrain

    train, test, arrays = load_images(trial.data, context.device)
    search = load_strategy(trial.search.strategy).search
    found = finished_search(context) or search(trial, context, train, arrays.num_classes)
    if World.current().rank == 0:
        (context.directory / "genotype.json").write_text(found.genotype.to_json())
    return retrain(trial, context, found, train, test, arrays.num_classes)


RECIPE = TrialRecipe(
    run=search_then_retrain,
    total_epochs=lambda trial: search_epochs(trial) + trial.retrain.epochs,
)
