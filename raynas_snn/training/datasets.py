"""The data sets: real images as whole uint8 arrays, and whether they are there. Importable without torch."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raynas_snn.config.schema import DataConfig
from raynas_snn.errors import UserError

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        train_images: ``[N, C, H, W]``.
        train_labels: ``[N]``, 0 to ``num_classes - 1``.
        test_images: Held out: never trained on, never used to choose anything.
        test_labels: ``[M]``.
        num_classes: Number of classes.
    """

    train_images: UInt8
    train_labels: Int64
    test_images: UInt8
    test_labels: Int64
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return int(channels), int(height), int(width)


@dataclass(frozen=True)
class Dataset:
    """A named data set.

    Attributes:
        load: Reads it all, from files that are there; raises `UserError` when that fails.
        files: The files it consists of, for the check before a sweep starts and for the checksum.
        missing: What to tell a user whose files are not there, given the folder that was looked in.
        fetch: Downloads the files, if that can be done; raises `UserError` when it fails.
        crop_padding: Recommended pixels of padding for random crops.
        flip: Whether mirrored images are the same class.
        cutout: Recommended side of the square that is cut out; 0 for none.
    """

    load: Callable[[DataConfig], Images]
    files: Callable[[DataConfig], Sequence[Path]]
    missing: str = ""
    fetch: Callable[[DataConfig], None] | None = None
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def check(self, config: DataConfig) -> None:
        """Looks whether the files are there, without reading them.

        Raises:
            UserError: Says which one is not, and how to get it.
        """
        absent = self._absent(config)
        if absent and not (config.download and self.fetch):
            raise UserError(f"data.root: {str(absent[0])!r} is missing; {self.missing}")

    def prepare(self, config: DataConfig) -> None:
        """Downloads what is missing, once and before any trial starts, if the configuration allows it.

        Raises:
            UserError: If that fails, or is not allowed.
        """
        self.check(config)
        if self._absent(config) and self.fetch is not None:
            self.fetch(config)

    def checksum(self, config: DataConfig) -> str:
        """SHA-256 over the contents of the files, to tell later what a run was trained on."""
        digest = hashlib.sha256()
        for path in self.files(config):
            if path.is_file():
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def _absent(self, config: DataConfig) -> list[Path]:
        return [path for path in self.files(config) if not path.is_file()]


def _load_digits(config: DataConfig) -> Images:
    """1,797 real handwritten digits of 8x8 pixels; every fifth image of each class is held out."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    images = np.minimum(bunch.images * 16, 255).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    rank_in_class = np.zeros_like(labels)
    for label in range(10):
        members = labels == label
        rank_in_class[members] = np.arange(members.sum())
    test = rank_in_class % 5 == 4
    return _take(Images(images[~test], labels[~test], images[test], labels[test], 10), config)


def _digits_files(config: DataConfig) -> Sequence[Path]:  # noqa: ARG001 - the set comes with scikit-learn
    from importlib.util import find_spec

    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.origin is not None
    return [Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"]


def _load_cifar10(config: DataConfig) -> Images:
    """60,000 colour images of 32x32 pixels in ten classes (Krizhevsky 2009), through torchvision."""
    from torchvision import datasets

    root = config.root_path
    try:
        parts = [datasets.CIFAR10(root, train=train) for train in (True, False)]
    except Exception as error:  # whatever a damaged pickle raises; torchvision checks md5 sums before it opens one
        raise UserError(f"data.root: CIFAR-10 in {str(root)!r} cannot be read: {error}") from None
    (train_images, train_labels), (test_images, test_labels) = (
        (np.ascontiguousarray(part.data.transpose(0, 3, 1, 2)), np.asarray(part.targets, np.int64)) for part in parts
    )
    return _take(Images(train_images, train_labels, test_images, test_labels, 10), config)


def _fetch_cifar10(config: DataConfig) -> None:
    from torchvision import datasets

    try:
        datasets.CIFAR10(config.root_path, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(f"data.download: CIFAR-10 cannot be fetched to {str(config.root_path)!r}: {error}") from None


def _cifar10_files(config: DataConfig) -> Sequence[Path]:
    folder = config.root_path / "cifar-10-batches-py"
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch", "batches.meta"]
    return [folder / name for name in names]


def _take(images: Images, config: DataConfig) -> Images:
    """The first ``num_train`` and ``num_test`` images; published sets come shuffled."""
    return Images(
        images.train_images[: config.num_train],
        images.train_labels[: config.num_train],
        images.test_images[: config.num_test],
        images.test_labels[: config.num_test],
        images.num_classes,
    )


DIGITS = Dataset(_load_digits, _digits_files, missing="reinstall scikit-learn", crop_padding=1)
CIFAR10 = Dataset(
    _load_cifar10,
    _cifar10_files,
    missing=("set data.root to the folder that holds cifar-10-batches-py, or data.download: true to fetch it there"),
    fetch=_fetch_cifar10,
    crop_padding=4,
    flip=True,
)
