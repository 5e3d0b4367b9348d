"""The method of the paper, step by step: search the cells, derive, train the derived network, test it."""

from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.files import write_text
from raynas_snn.interfaces.trial import Metrics, TrialContext, TrialRecipe
from raynas_snn.training.strategy import load_strategy, search_epochs


def search_then_retrain(trial: TrialConfig, context: TrialContext) -> Metrics:
    """Runs one trial on every worker alike, or goes on where its checkpoint stopped.

    Raises:
        TrialInfeasible: If the network has more parameters than the sweep allows; it is not trained then, and not
            even searched for if no network of the space is small enough.
    """
    from raynas_snn.training.device_images import load_images
    from raynas_snn.training.distributed import World
    from raynas_snn.training.param_budget import check_found, check_smallest
    from raynas_snn.training.precision import float32_products
    from raynas_snn.training.retrain import retrain
    from raynas_snn.training.search_result import finished_search

    train, test, arrays = load_images(trial.data, context.device)
    num_classes, image_shape = arrays.num_classes, arrays.shape
    del arrays  # the images are on the device now
    check_smallest(trial, num_classes, image_shape)
    search = load_strategy(trial.search.strategy.name).search
    with float32_products(trial.resources.precision):
        found = finished_search(context) or search(trial, context, train, num_classes)
        if World.current().rank == 0:
            write_text(context.directory / "genotype.json", found.genotype.to_json())
        check_found(trial, found.genotype, num_classes, image_shape)
        return retrain(trial, context, found, train, test, num_classes)


RECIPE = TrialRecipe(
    run=search_then_retrain,
    total_epochs=lambda trial: search_epochs(trial) + trial.retrain.epochs,
)
