"""Data sets."""

from raynas_snn.config.schema import DataConfig
from raynas_snn.conformance.promise import promise, promised
from raynas_snn.errors import UserError
from raynas_snn.training.data import load_images


def check_dataset(name: str, config: DataConfig | None = None) -> None:
    """A data set says in one line what is missing, or gives images that a network can be trained on.

    Args:
        name: Its name.
        config: Where its files lie; without it, a data set that has none must say so.
    """
    config = (config or DataConfig(root="no/such/folder")).model_copy(update={"name": name})
    with promised(name, "raises nothing but UserError"):
        try:
            train, test, arrays = load_images(config, "cpu")
        except UserError as error:
            promise("\n" not in str(error), name, "tells in one line what is wrong with its files")
            return
    promise(len(train) == len(arrays.train_labels) and len(test) == len(arrays.test_labels), name, "labels all images")
    promise(arrays.num_classes >= 2, name, "has at least two classes")
