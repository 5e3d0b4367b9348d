"""Conformance check of data sets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from raynas_snn.config.schema import DataConfig
from raynas_snn.conformance.requirement import require, requiring
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import Dataset, find_dataset
from raynas_snn.interfaces.images import Images, UInt8
from raynas_snn.training.device_images import augmentation_for, load_images
from raynas_snn.training.distributed import World
from raynas_snn.training.seeds import generator_for


def check_dataset(name: str) -> None:
    """Checks that a data set gives images that a network can be trained on, or says how to get its missing files.

    Files are looked for in the default ``data.root``. If they are missing, only the message to the user is checked.
    """
    with requiring(name, "is a data set"):
        dataset = find_dataset(name)
    config = DataConfig(name=name)
    if not _has_files(dataset, config):
        return
    with requiring(name, "gives images that a network can be trained on"):
        dataset.prepare(config)
        train, _, images = load_images(config, "cpu")
    _check_held_out(images, name)
    again = vars(dataset.read(config))
    same = all(np.array_equal(part, again[field]) for field, part in vars(images).items())
    require(same, name, "gives the same images each time: every worker reads them by itself")
    with requiring(name, "recommends an augmentation that its images allow"):
        next(train.training_batches(8, augmentation_for(config), generator_for("cpu", 0), World()))


def _has_files(dataset: Dataset, config: DataConfig) -> bool:
    name = config.name
    with requiring(name, "names its files"):
        try:
            files = dataset.files(config)
        except UserError as error:  # it has to read some of them to know the others
            require("data.root" in str(error), name, f"says what is wrong with data.root, not: {error}")
            return False
    absolute = isinstance(files, Sequence) and all(isinstance(file, Path) and file.is_absolute() for file in files)
    require(absolute, name, "names its files by absolute paths: workers run in folders of their own")
    if all(file.exists() for file in files):
        return True
    require(bool(dataset.missing), name, "says how to get its files (Dataset.missing)")
    return False


def _check_held_out(images: Images, name: str) -> None:
    unknown = set(images.test_labels.tolist()) - set(images.train_labels.tolist())
    require(
        not unknown, name, f"has training images of each class that is tested; it has none of {sorted(unknown)[:5]}"
    )
    held_out = _contents(images.test_images) - _contents(images.train_images)
    require(bool(held_out), name, "holds its test images out; all of them are among the training images")


def _contents(images: UInt8) -> set[bytes]:
    return {image.tobytes() for image in images}
