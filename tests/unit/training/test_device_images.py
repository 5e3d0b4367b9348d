"""Data on the device: sets, splits, batches, augmentation."""

import numpy as np
import pytest
import torch

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import find_dataset
from raynas_snn.training.augment import Augmentation, Draws, augment, cut_out
from raynas_snn.training.device_images import augmentation_for, channel_statistics, load_images, search_split
from raynas_snn.training.distributed import World

ALL = Augmentation(crop_padding=2, flip=True, cutout=3)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_digits_are_real_and_every_fifth_of_a_class_is_held_out():
    _, _, arrays = load_images(DataConfig(), "cpu")
    assert arrays.train_images.shape == (1442, 1, 8, 8)
    assert arrays.test_images.shape == (355, 1, 8, 8)
    assert arrays.train_images.dtype == np.uint8
    shares = np.bincount(arrays.test_labels) / (np.bincount(arrays.train_labels) + np.bincount(arrays.test_labels))
    assert np.allclose(shares, 0.2, atol=0.01)


def test_fewer_images_are_the_first_ones():
    _, _, whole = load_images(DataConfig(), "cpu")
    train, test, part = load_images(DataConfig(num_train=50, num_test=9), "cpu")
    assert (len(train), len(test)) == (50, 9)
    assert np.array_equal(part.train_images, whole.train_images[:50])
    assert np.array_equal(part.test_labels, whole.test_labels[:9])


def test_batches_are_normalised_by_the_training_set():
    train, test, _ = load_images(DataConfig(), "cpu")
    (images, _), *_ = list(train.evaluation_batches(10_000, World()))
    assert images.mean().item() == pytest.approx(0, abs=1e-4)
    assert images.std().item() == pytest.approx(1, abs=1e-3)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert sum(len(labels) for _, labels in test.evaluation_batches(100, World())) == len(test)


def test_an_epoch_shows_every_image_once_in_another_order():
    train, _, _ = load_images(DataConfig(num_train=96), "cpu")
    epochs = [
        torch.cat([images for images, _ in train.training_batches(32, Augmentation(), generator(seed), World())])
        for seed in (0, 1)
    ]
    (original, _), *_ = list(train.evaluation_batches(96, World()))
    for epoch in epochs:
        assert sorted(epoch.flatten(1).sum(1).tolist()) == pytest.approx(sorted(original.flatten(1).sum(1).tolist()))
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("size", [2, 4])
def test_workers_share_what_one_worker_would_see(size):
    train, test, _ = load_images(DataConfig(num_train=100, num_test=50), "cpu")
    whole = list(train.training_batches(16, ALL, generator(), World()))
    shares = [list(train.training_batches(16, ALL, generator(), World(rank, size))) for rank in range(size)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for index in range(2):
            assert torch.equal(batch[index], torch.cat([part[index] for part in parts]))
    tested = [len(labels) for rank in range(size) for _, labels in test.evaluation_batches(8, World(rank, size))]
    assert sum(tested) == 50


def test_augmentation_equals_one_image_at_a_time():
    images = torch.randint(256, (20, 3, 9, 7), dtype=torch.uint8)
    draws = Draws.draw(20, ALL, (9, 7), generator())
    result = cut_out(augment(images, ALL, draws).float(), ALL, draws)
    for n, image in enumerate(images):
        padded = torch.nn.functional.pad(image, (2, 2, 2, 2))
        y, x = draws.offsets[n].tolist()
        crop = padded[:, y : y + 9, x : x + 7].float()
        if draws.mirrored[n]:
            crop = crop.flip(2)
        row, column = draws.centres[n].tolist()
        crop[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = 0
        assert torch.equal(result[n], crop), n
    assert 0 < draws.mirrored.float().mean() < 1


def test_the_set_recommends_and_the_user_decides():
    assert augmentation_for(DataConfig(name="cifar10")) == Augmentation(4, True, 0)
    assert augmentation_for(DataConfig(name="cifar100")) == Augmentation(4, True, 0)
    assert augmentation_for(DataConfig(name="tiny_imagenet")) == Augmentation(8, True, 0)
    assert augmentation_for(DataConfig(name="folder")) == Augmentation(0, False, 0)
    assert augmentation_for(DataConfig()) == Augmentation(1, False, 0)
    assert augmentation_for(DataConfig(flip=True, cutout=2, crop_padding=0)) == Augmentation(0, True, 2)


def test_the_halves_of_the_search_are_seeded_saved_and_read_back(tmp_path):
    weights, alphas = search_split(101, 7, tmp_path, World())
    assert sorted([*weights, *alphas]) == list(range(101))
    assert abs(len(weights) - len(alphas)) == 1
    again = search_split(101, 8, tmp_path, World())  # what was saved counts, whatever the seed
    assert all(np.array_equal(a, b) for a, b in zip((weights, alphas), again, strict=True))
    other = search_split(101, 8, tmp_path / "..", World(rank=1))  # only the first worker saves
    assert not np.array_equal(other[0], weights)
    assert not (tmp_path.parent / "split.npz").exists()


@pytest.mark.parametrize("shape", [(70, 3, 300, 200), (3, 1, 5, 4)])
def test_statistics_are_those_of_all_pixels_at_once(shape):
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    images[:, 0] //= 3
    mean, std = channel_statistics(images)
    assert mean == pytest.approx(images.mean(axis=(0, 2, 3), dtype=np.float64), rel=1e-9)
    assert std == pytest.approx(images.std(axis=(0, 2, 3), dtype=np.float64), rel=1e-9)


def test_statistics_of_one_colour_can_be_divided_by():
    _, std = channel_statistics(np.full((4, 3, 2, 2), 255, np.uint8))
    assert (std > 0).all()


CIFARS = [("cifar10", "cifar-10-batches-py/data_batch_1"), ("cifar100", "cifar-100-python/train")]


@pytest.mark.parametrize(("name", "first"), CIFARS)
def test_missing_data_says_how_to_get_it(tmp_path, name, first):
    config = DataConfig(name=name, root=str(tmp_path))
    with pytest.raises(UserError, match=rf"{first}' is missing; set data.root .* or data.download: true"):
        find_dataset(name).check(config)
    find_dataset(name).check(DataConfig(name=name, root=str(tmp_path), download=True))


def place(config: DataConfig, content: bytes) -> None:
    for path in find_dataset(config.name).files(config):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


@pytest.mark.parametrize(("name", "first"), CIFARS)
def test_damaged_data_is_one_line(tmp_path, name, first):
    config = DataConfig(name=name, root=str(tmp_path))
    place(config, b"not a batch")
    find_dataset(name).check(config)
    with pytest.raises(UserError, match=f"CIFAR-{name[5:]} in .* cannot be read"):
        find_dataset(name).read(config)


def test_the_checksum_tells_contents_apart(tmp_path):
    config = DataConfig(name="cifar10", root=str(tmp_path))
    sums = []
    for content in (b"one", b"two", b"one"):
        place(config, content)
        sums.append(find_dataset("cifar10").checksum(config))
    assert sums[0] == sums[2] != sums[1]
