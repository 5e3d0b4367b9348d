"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) through torchvision: 60,000 colour images of 32x32 pixels each."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.untrusted_files import open_regular
from raynas_snn.interfaces.dataset import Dataset
from raynas_snn.interfaces.images import Images

LARGEST_FILE = 2**28  # bytes; the largest has 155 MB


def _cifar(num_classes: int, folder: str, names: Sequence[str]) -> Dataset:
    return Dataset(
        partial(_load, num_classes, files := partial(_files, folder, tuple(names))),
        files,
        missing=f"set data.root to the folder that holds {folder}, or data.download: true to fetch it there",
        fetch=partial(_fetch, num_classes),
        crop_padding=4,
        flip=True,
    )


def _load(num_classes: int, files: Callable[[DataConfig], Sequence[Path]], config: DataConfig) -> Images:
    root = config.root_path
    try:
        for path in files(config):
            open_regular(path, LARGEST_FILE).close()
        parts = [_torchvision_class(num_classes)(root, train=train) for train in (True, False)]
    except Exception as error:  # whatever a damaged pickle raises; torchvision checks md5 sums before it opens one
        raise UserError(f"data.root: CIFAR-{num_classes} in {str(root)!r} cannot be read: {error}") from None
    (train_images, train_labels), (test_images, test_labels) = (
        (np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets, np.int64)) for part in parts
    )
    images = Images(train_images, train_labels, test_images, test_labels, num_classes)
    return images.first(config.num_train, config.num_test)


def _fetch(num_classes: int, config: DataConfig) -> None:
    root = config.root_path
    try:
        _torchvision_class(num_classes)(root, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(f"data.download: CIFAR-{num_classes} cannot be fetched to {str(root)!r}: {error}") from None


def _files(folder: str, names: Sequence[str], config: DataConfig) -> Sequence[Path]:
    return [config.root_path / folder / name for name in names]


def _torchvision_class(num_classes: int) -> Any:
    from torchvision import datasets  # takes seconds

    return {10: datasets.CIFAR10, 100: datasets.CIFAR100}[num_classes]


CIFAR10 = _cifar(10, "cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"])
CIFAR100 = _cifar(100, "cifar-100-python", ["train", "test", "meta"])
