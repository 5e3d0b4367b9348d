"""Images on the training device, batches made from them there, and the split of the training set for a search."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.untrusted_files import read_bytes
from raynas_snn.interfaces.dataset import find_dataset
from raynas_snn.interfaces.images import Images, Int64, UInt8
from raynas_snn.nas.bilevel import Batch
from raynas_snn.training.augment import Augmentation, Draws, augment, cut_out
from raynas_snn.training.distributed import World

Float64 = npt.NDArray[np.float64]

PIXELS_AT_ONCE = 2**21  # bounds the memory that counting them takes


class DeviceImages:
    """Images and labels on the device as uint8, converted to batches there.

    Args:
        images: ``[N, C, H, W]`` uint8.
        labels: ``[N]``.
        mean: Per channel, in 0..1, of the training set.
        std: Likewise.
    """

    def __init__(self, images: Tensor, labels: Tensor, mean: Tensor, std: Tensor) -> None:
        self.images, self.labels = images, labels
        self._mean, self._std = mean, std

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (*self.images.shape[1:],)

    def subset(self, indices: Int64) -> "DeviceImages":
        """The images at ``indices``, copied."""
        chosen = torch.from_numpy(indices).to(self.images.device)
        return DeviceImages(self.images[chosen], self.labels[chosen], self._mean, self._std)

    def training_batches(
        self, batch_size: int, augmentation: Augmentation, generator: torch.Generator, world: World
    ) -> Iterator[Batch]:
        """One epoch of shuffled, augmented batches; every worker gets its share of each.

        All workers draw the same random numbers for the whole batch, so the batches do not depend on the number of
        workers. An incomplete last batch is left out, unless it is the only one.

        Args:
            batch_size: Images per step of all workers together.
            augmentation: Augmentation of the images.
            generator: Random number generator on the same device.
            world: This worker's rank.

        Yields:
            Images ``[N / workers, C, H, W]`` float, normalised, channels last; labels ``[N / workers]``.
        """
        batch_size = min(batch_size, len(self))
        order = torch.randperm(len(self), generator=generator, device=generator.device)
        share = world.share(batch_size)
        for first in range(0, len(self) - batch_size + 1, batch_size):
            draws = Draws.draw(batch_size, augmentation, (*self.images.shape[2:],), generator)[share]
            chosen = order[first : first + batch_size][share]
            images = self._normalise(augment(self.images[chosen], augmentation, draws))
            yield cut_out(images, augmentation, draws), self.labels[chosen]

    def evaluation_batches(self, batch_size: int, world: World) -> Iterator[Batch]:
        """All images in order, each on exactly one worker; shapes as in `training_batches`."""
        images, labels = self.images[world.rank :: world.size], self.labels[world.rank :: world.size]
        for first in range(0, len(images), batch_size):
            yield self._normalise(images[first : first + batch_size]), labels[first : first + batch_size]

    def example_batch(self, batch_size: int, world: World) -> Tensor:
        """This worker's share of the first images: a batch with the shape of training batches."""
        return self._normalise(self.images[world.share(min(batch_size, len(self)))])

    def num_batches(self, batch_size: int) -> int:
        """Steps per epoch of training."""
        return len(self) // min(batch_size, len(self))

    def _normalise(self, images: Tensor) -> Tensor:
        scaled = (images.float() / 255 - self._mean) / self._std
        return scaled.contiguous(memory_format=torch.channels_last)


def load_images(config: DataConfig, device: str) -> tuple[DeviceImages, DeviceImages, Images]:
    """Loads a data set and moves it to the device: training images, test images, and the arrays themselves.

    Raises:
        UserError: If its files are missing or damaged.
    """
    arrays = find_dataset(config.name).read(config)
    mean, std = channel_statistics(arrays.train_images)
    statistics = [
        torch.tensor(statistic.reshape(1, -1, 1, 1) / 255, dtype=torch.float32, device=device)
        for statistic in (mean, std)
    ]
    train, test = (
        DeviceImages(torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), *statistics)
        for images, labels in (
            (arrays.train_images, arrays.train_labels),
            (arrays.test_images, arrays.test_labels),
        )
    )
    return train, test, arrays


def channel_statistics(images: UInt8) -> tuple[Float64, Float64]:
    """Mean and standard deviation of each channel of ``images [N, C, H, W]``, in 0..255, without a large copy."""
    number, channels, height, width = images.shape
    counts = np.zeros((channels, 256), np.int64)
    step = max(1, PIXELS_AT_ONCE // (height * width))
    for first in range(0, number, step):
        for channel in range(channels):
            counts[channel] += np.bincount(images[first : first + step, channel].ravel(), minlength=256)
    values = np.arange(256)
    mean, square = (counts @ power / counts.sum(axis=1) for power in (values, values**2))
    return mean, np.sqrt(np.maximum(square - mean**2, 1e-6))


def augmentation_for(config: DataConfig) -> Augmentation:
    """The augmentation set in the configuration; unset fields take the data set's recommendation."""
    recommended = find_dataset(config.name)
    return Augmentation(
        recommended.crop_padding if config.crop_padding is None else config.crop_padding,
        recommended.flip if config.flip is None else config.flip,
        recommended.cutout if config.cutout is None else config.cutout,
    )


def search_split(number: int, seed: int, directory: Path, world: World) -> tuple[Int64, Int64]:
    """Halves the training set for the search: indices for the weights, indices for the alphas.

    Drawn from the seed once and saved as ``split.npz`` in the trial's folder; later attempts read it back.

    Raises:
        UserError: If that file is invalid, or belongs to another training set.
    """
    path = directory / "split.npz"
    if os.path.lexists(path):
        return _read_split(path, number)
    order = np.random.default_rng(seed).permutation(number)
    weights, alphas = np.sort(order[: number // 2]), np.sort(order[number // 2 :])
    if world.rank == 0:
        scratch = path.with_suffix(".tmp.npz")
        np.savez_compressed(scratch, weights=weights, alphas=alphas)
        scratch.replace(path)
    return weights, alphas


def _read_split(path: Path, number: int) -> tuple[Int64, Int64]:
    try:
        contents = io.BytesIO(read_bytes(path))
        if sum(entry.file_size for entry in zipfile.ZipFile(contents).infolist()) > 16 * number + 4096:
            raise ValueError
        with np.load(contents, allow_pickle=False) as saved:
            weights, alphas = saved["weights"], saved["alphas"]
        if not np.array_equal(np.sort(np.concatenate([weights, alphas])), np.arange(number)):
            raise ValueError
    except Exception:  # numpy, zipfile and zlib raise half a dozen kinds for a damaged file
        raise UserError(f"{path}: no split of {number} images; delete it, and the seed draws it again") from None
    return weights.astype(np.int64), alphas.astype(np.int64)
