"""Images in memory: what is accepted, and smaller parts of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.images import Images, rank_in_class, spread_subset


def images(**changes) -> Images:
    good = Images(np.zeros((6, 3, 4, 5), np.uint8), np.arange(6) % 3, np.zeros((3, 3, 4, 5), np.uint8), np.arange(3), 3)
    return replace(good, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": np.zeros((6, 3, 4, 5))}, "train_images must be uint8, not float64"),
        ({"test_images": torch.zeros(3, 3, 4, 5)}, "test_images must be a numpy array, not Tensor"),
        (
            {"train_images": np.zeros((6, 4, 5), np.uint8)},
            r"train_images must have the shape \[N, C, H, W\], not \[6, ",
        ),
        ({"train_images": np.zeros((6, 3, 0, 5), np.uint8)}, r"train_images must have the shape"),
        ({"train_images": np.zeros((1, 3, 4, 5), np.uint8)}, "train_images must hold at least 2 images, not 1"),
        ({"test_images": np.zeros((0, 3, 4, 5), np.uint8)}, "test_images must hold at least 1 image, not 0"),
        ({"test_images": np.zeros((3, 1, 4, 5), np.uint8)}, r"test_images must have the shape of train_images, \(3, "),
        ({"train_labels": [0, 1, 2, 0, 1, 2]}, "train_labels must be a numpy array, not list"),
        ({"train_labels": np.zeros(6)}, "train_labels must be whole numbers, not float64"),
        ({"train_labels": np.arange(5) % 3}, r"train_labels must have the shape \[6\], one label per image, not \[5\]"),
        ({"test_labels": np.arange(3)[:, None]}, r"test_labels must have the shape \[3\]"),
        ({"test_labels": np.arange(1, 4)}, "test_labels must be 0 to 2, but go from 1 to 3"),
        ({"train_labels": np.arange(-1, 5) % 3 - 1}, "train_labels must be 0 to 2, but go from -1 to 1"),
        ({"num_classes": 1}, "num_classes must be a whole number from 2, not 1"),
        ({"num_classes": 3.0}, "num_classes must be a whole number from 2, not 3.0"),
    ],
)
def test_a_message_names_the_set_and_the_field(changes, message):
    with pytest.raises(UserError, match=rf"^data set 'mine': {message}"):
        images(**changes).checked("mine")


def test_what_is_accepted_can_be_taken_over_by_torch():
    """Reversed, read-only and 8-bit arrays are what loaders give; torch warns of them or refuses them."""
    read_only = np.frombuffer(bytes(3 * 3 * 4 * 5), np.uint8).reshape(3, 3, 4, 5)
    odd = images(train_images=np.zeros((6, 4, 5, 3), np.uint8).transpose(0, 3, 1, 2)[::-1], test_images=read_only)
    checked = replace(odd, train_labels=odd.train_labels.astype(np.uint8), num_classes=np.int64(3)).checked("mine")
    for array in (checked.train_images, checked.train_labels, checked.test_images, checked.test_labels):
        torch.from_numpy(array)
    assert checked.train_labels.dtype == np.int64
    assert checked.num_classes == 3


def test_good_images_are_not_copied():
    given_images = images()
    assert given_images.checked("mine").spread(None, 3).train_images.base is given_images.train_images


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_a_subset_is_even_and_part_of_a_larger_one(labels, data):
    labels = np.asarray(labels)
    number = data.draw(st.integers(1, len(labels)))
    chosen = spread_subset(labels, number)
    assert len(chosen) == number == len(set(chosen))
    assert (np.diff(chosen) > 0).all()
    counts, available = np.bincount(labels[chosen], minlength=5), np.bincount(labels, minlength=5)
    assert all(count >= counts.max() - 1 or count == most for count, most in zip(counts, available, strict=True))
    assert set(chosen) <= set(spread_subset(labels, min(number + 1, len(labels))))


def test_a_subset_is_not_the_beginning_of_each_class():
    labels = np.repeat(np.arange(3), 100)
    chosen = spread_subset(labels, 30)
    assert np.array_equal(chosen, spread_subset(labels, 30))
    assert (chosen % 100).max() > 50


def test_ranks_count_within_a_class():
    assert rank_in_class(np.array([3, 0, 3, 3, 0])).tolist() == [0, 0, 1, 2, 1]
