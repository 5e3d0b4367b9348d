"""`Images`: a data set in memory as uint8 arrays with labels; validates them and takes subsets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raynas_snn.core.errors import UserError

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

_SUBSET_SEED = 0  # the same images in all trials, whatever their seeds


@dataclass(frozen=True)
class Images:
    """A data set in memory.

    Attributes:
        train_images: ``[N, C, H, W]``.
        train_labels: ``[N]``, 0 to ``num_classes - 1``.
        test_images: ``[M, C, H, W]``. Held out: never trained on, never used to choose anything.
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

    def checked(self, name: str) -> "Images":
        """Returns the same images as arrays that torch can take over: contiguous, writable, labels of 64 bits.

        Args:
            name: Of the data set, for messages.

        Raises:
            UserError: Names the invalid field.
        """
        where = f"data set '{name}'"
        if not _is_whole(self.num_classes) or self.num_classes < 2:
            raise UserError(f"{where}: num_classes must be a whole number from 2, not {self.num_classes!r}")
        fields: Mapping[str, Any] = vars(self)
        for part, fewest in (("train", 2), ("test", 1)):
            images, labels = fields[f"{part}_images"], fields[f"{part}_labels"]
            _check_images(f"{where}: {part}_images", images, fewest)
            _check_labels(f"{where}: {part}_labels", labels, len(images), self.num_classes)
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            train, test = (images.shape[1:] for images in (self.train_images, self.test_images))
            raise UserError(f"{where}: test_images must have the shape of train_images, {train}, not {test}")
        return Images(
            np.require(self.train_images, requirements=["C", "W"]),
            np.require(self.train_labels, np.int64, ["C", "W"]),
            np.require(self.test_images, requirements=["C", "W"]),
            np.require(self.test_labels, np.int64, ["C", "W"]),
            int(self.num_classes),
        )

    def first(self, num_train: int | None, num_test: int | None) -> "Images":
        """The first ``num_train`` and ``num_test`` images: for published data sets, which are shuffled."""
        return Images(
            self.train_images[:num_train],
            self.train_labels[:num_train],
            self.test_images[:num_test],
            self.test_labels[:num_test],
            self.num_classes,
        )

    def spread(self, num_train: int | None, num_test: int | None) -> "Images":
        """At most ``num_train`` and ``num_test`` images, spread evenly over the classes; see `spread_subset`."""
        train, test = (
            slice(None) if number is None or len(labels) <= number else spread_subset(labels, number)
            for labels, number in ((self.train_labels, num_train), (self.test_labels, num_test))
        )
        return Images(
            self.train_images[train],
            self.train_labels[train],
            self.test_images[test],
            self.test_labels[test],
            self.num_classes,
        )


def spread_subset(labels: Int64, number: int) -> Int64:
    """Picks ``number`` random examples, spread evenly over the classes, and returns their indices in order.

    The choice depends on the labels alone, and a smaller subset is part of a larger one. For data sets sorted by class,
    whose first examples all belong to one class (our choice).
    """
    order = np.random.default_rng(_SUBSET_SEED).permutation(len(labels))
    rounds = rank_in_class(labels[order])
    return np.sort(order[np.argsort(rounds, kind="stable")[:number]])


def rank_in_class(labels: Int64) -> Int64:
    """For each example, the number of earlier examples of the same class."""
    by_class = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[by_class], return_index=True, return_counts=True)
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - np.repeat(first, sizes)
    return ranks


def _check_images(where: str, images: Any, fewest: int) -> None:
    if not isinstance(images, np.ndarray):
        raise UserError(f"{where} must be a numpy array, not {type(images).__name__}")
    if images.dtype != np.uint8:
        raise UserError(f"{where} must be uint8, not {images.dtype}")
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise UserError(f"{where} must have the shape [N, C, H, W], not {list(images.shape)}")
    if len(images) < fewest:
        raise UserError(f"{where} must hold at least {fewest} image{'s' * (fewest > 1)}, not {len(images)}")


def _check_labels(where: str, labels: Any, number: int, num_classes: int) -> None:
    if not isinstance(labels, np.ndarray):
        raise UserError(f"{where} must be a numpy array, not {type(labels).__name__}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{where} must be whole numbers, not {labels.dtype}")
    if labels.shape != (number,):
        raise UserError(f"{where} must have the shape [{number}], one label per image, not {list(labels.shape)}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise UserError(f"{where} must be 0 to {num_classes - 1}, but go from {lowest} to {highest}")


def _is_whole(number: Any) -> bool:
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)
