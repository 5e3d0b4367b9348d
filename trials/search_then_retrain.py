"""The method of the paper, step by step: search the cells, derive, train the derived network, test it."""

from raynas_snn.config.schema import TrialConfig
from raynas_snn.trial import Metrics, TrialContext, TrialRecipe


def search_then_retrain(trial: TrialConfig, context: TrialContext) -> Metrics:
    """Runs one trial on every worker alike, or goes on where its checkpoint stopped."""
    from raynas_snn.training.data import load_images
    from raynas_snn.training.distributed import World
    from raynas_snn.training.retrain import retrain
    from raynas_snn.training.search import finished_search, search

    train, test, arrays = load_images(trial.data, context.device)
    found = finished_search(context) or search(trial, context, train, arrays.num_classes)
    if World.current().rank == 0:
        (context.directory / "genotype.json").write_text(found.genotype.to_json())
    return retrain(trial, context, found, train, test, arrays.num_classes)


RECIPE = TrialRecipe(
    run=search_then_retrain,
    total_epochs=lambda trial: trial.search.epochs + trial.retrain.epochs,
)
