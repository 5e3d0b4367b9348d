"""Data sets by name: the user's own functions, and what they may get wrong."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from closed import closed

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import Dataset, find_dataset
from raynas_snn.run.provenance import build_manifest
from raynas_snn.training.device_images import load_images

SOURCE = '''
import numpy as np
from raynas_snn.interfaces.dataset import Dataset
from raynas_snn.interfaces.images import Images

CALLS = []

def stripes(config):
    """Two classes, sorted, of 3x7 pixels."""
    CALLS.append(config)
    labels = np.repeat([0, 1], 20)
    images = np.zeros((40, 2, 3, 7), np.uint8)
    images[20:, :, ::2] = 200
    return Images(images, labels, images[::4], labels[::4], 2)

whole = Dataset(stripes, crop_padding=3, cutout=2)
something = 5

class Loader:
    pass

def two_arguments(config, more):
    pass

def without(config):
    return None

def wrong(config):
    images = stripes(config)
    return Images(images.train_images, images.train_labels + 1, images.test_images, images.test_labels, 2)

def broken(config):
    raise ValueError("two\\nlines")

def explaining(config):
    from raynas_snn.core.errors import UserError
    raise UserError("plug in the camera")
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "users_own_data.py").write_text(SOURCE)
    yield "users_own_data"
    sys.modules.pop("users_own_data", None)


def config(name: str, **settings) -> DataConfig:
    return DataConfig(name=f"users_own_data:{name}", **settings)


@pytest.mark.parametrize("name", ["stripes", "whole"])
def test_a_function_and_a_whole_set_of_ones_own(package, name):
    assert find_dataset(f"{package}:{name}").prepare(config(name)) == []
    train, test, arrays = load_images(config(name), "cpu")
    assert (len(train), len(test), arrays.num_classes, arrays.shape) == (40, 10, 2, (2, 3, 7))


def test_a_part_of_ones_own_set_holds_all_classes(package):
    _, _, arrays = load_images(config("stripes", num_train=6, num_test=4), "cpu")
    assert np.bincount(arrays.train_labels).tolist() == [3, 3]
    assert np.bincount(arrays.test_labels).tolist() == [2, 2]


def test_the_checksum_leaves_out_what_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    file = Path("folder") / "file"
    file.parent.mkdir()
    files = Dataset(lambda _: None, files=lambda _: [file])
    os.mkfifo(file)
    of_a_pipe = files.checksum(config("stripes"))
    file.unlink()
    file.write_text("contents")
    of_a_file = files.checksum(config("stripes"))
    with closed(file.parent):
        assert files.checksum(config("stripes")) == of_a_pipe != of_a_file


def test_the_checksum_of_a_function_is_that_of_its_images(package):
    stripes = find_dataset(f"{package}:stripes")
    assert stripes.checksum(config("stripes")) == stripes.checksum(config("stripes"))
    assert stripes.checksum(config("stripes")) != stripes.checksum(config("stripes", num_train=5))


def test_a_look_whether_data_is_there_calls_nothing(package):
    find_dataset(f"{package}:stripes").check(config("stripes"))
    assert sys.modules[package].CALLS == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("something", "must be a Dataset or a function DataConfig -> Images, not int"),
        ("Loader", "must be a Dataset or a function DataConfig -> Images, not the class Loader"),
        ("two_arguments", "must take one argument, the DataConfig"),
        ("without", "must return raynas_snn.Images, not None"),
        ("wrong", "train_labels must be 0 to 1, but go from 1 to 2"),
        ("broken", "ValueError: two lines"),
    ],
)
def test_what_is_wrong_shows_before_the_sweep_starts_in_one_line(package, name, message):
    with pytest.raises(UserError) as refused:
        find_dataset(f"{package}:{name}").prepare(config(name))
    assert str(refused.value) == f"data set 'users_own_data:{name}': {message}"


def test_a_function_may_explain_itself(package):
    with pytest.raises(UserError, match=r"^plug in the camera$"):
        find_dataset(f"{package}:explaining").prepare(config("explaining"))


def test_the_built_in_sets_are_found():
    assert all(isinstance(find_dataset(name), Dataset) for name in ("digits", "cifar100", "folder", "tiny_imagenet"))


def test_the_manifest_says_what_was_trained_on(package):
    manifest = build_manifest(load_sweep(None, (f"data.name={package}:stripes",)), [])["data"]
    checksum = find_dataset(f"{package}:stripes").checksum(config("stripes"))
    assert manifest == {"name": f"{package}:stripes", "sha256": checksum, "skipped": []}
