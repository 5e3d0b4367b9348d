"""The data set ``folder``: a user's own images, with everything that happens to folders of images."""

import os
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_trees import cut_off, write_image, write_split
from properties import examples

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import find_dataset
from raynas_snn.interfaces.images import Images
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.run.provenance import build_manifest
from raynas_snn.training.device_images import load_images
from trials.search_then_retrain import search_then_retrain

FOLDER = find_dataset("folder")


def config(root, **settings) -> DataConfig:
    return DataConfig(name="folder", root=str(root), **settings)


def read(root, **settings) -> Images:
    FOLDER.check(config(root, **settings))
    return FOLDER.read(config(root, **settings))


def refusal(root, **settings) -> str:
    """What the user is told before anything is started."""
    with pytest.raises(UserError) as refused:
        FOLDER.prepare(config(root, **settings))
    return str(refused.value)


@pytest.mark.parametrize("held_out", ["test", "val", "valid"])
def test_train_and_held_out_folders(tmp_path, held_out):
    images = read(write_split(tmp_path, held_out=held_out))
    assert images.train_images.shape == (18, 3, 13, 19)
    assert images.test_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.num_classes == 3
    for label in range(3):  # each label belongs to the shade of its class
        assert images.train_images[images.train_labels == label].mean() == pytest.approx(40 + 80 * label, abs=5)
    assert np.shares_memory(images.train_images.base, images.test_images.base)


def test_test_is_held_out_where_there_is_val_too(tmp_path):
    write_split(write_split(tmp_path, test=2), test=3, held_out="val")
    assert len(read(tmp_path).test_labels) == 6


def test_without_a_split_every_fifth_image_is_held_out(tmp_path):
    for name, number in (("train", 11), ("boat", 5)):  # "train" is a class here: it holds images itself
        for index in range(number):
            write_image(tmp_path / name / f"{index:02}.png", shade=10 * index + 30)
    images = read(tmp_path)
    assert np.bincount(images.train_labels).tolist() == [4, 9]
    assert np.bincount(images.test_labels).tolist() == [1, 2]
    assert images.test_images.mean(axis=(1, 2, 3)) == pytest.approx([70, 70, 120], abs=5)


def test_odd_names_deep_folders_links_and_other_files(tmp_path):
    root = write_split(tmp_path / "root", train=2, test=1)
    write_image(root / "train" / "bee" / "süß 蜂.PNG")
    write_image(root / "train" / "bee" / "deep" / "er" / "x.JPeG")
    write_image(tmp_path / "elsewhere" / "far.png")
    (root / "train" / "bee" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "train" / "bee" / "deep" / "round").symlink_to(root / "train" / "bee")
    for ignored in (".hidden.png", "._bee.jpg", "notes.txt", "Thumbs.db", "png"):
        (root / "train" / "bee" / ignored).write_text("no image")
    write_image(root / "train" / ".cache" / "x.png")
    images = read(root)
    assert np.bincount(images.train_labels).tolist() == [2, 5, 2]
    assert FOLDER.prepare(config(root)) == []


def test_a_name_that_is_no_text_is_told(tmp_path):
    write_split(tmp_path)
    name = os.fsencode(tmp_path / "train" / "bee") + b"/\xff\n.png"
    try:
        with open(name, "wb") as file:  # noqa: PTH123 - a path of bytes
            file.write(b"text")
    except OSError:
        pytest.skip("this file system takes text only")
    (line,) = FOLDER.prepare(config(tmp_path))
    assert line == r"data: 'train/bee/\udcff\n.png' is left out: not an image in a known format"
    assert len(FOLDER.checksum(config(tmp_path))) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "test").rename(root / "tset"), "holds train, but no test, val or valid; add one of them"),
        (lambda root: (root / "train").rename(root / ".train"), "holds test, but no train"),
        (lambda root: (root / "test" / "ant").rename(root / "test" / "aunt"), "class 'ant' is in "),
        (lambda root: (root / "train" / "ant").rename(root / ".ant"), "class 'ant' is in "),
        (lambda root: root.rename(root.parent / "away"), "is missing; it should hold one folder of images per class"),
    ],
)
def test_folders_that_do_not_fit(tmp_path, change, message):
    change(write_split(tmp_path / "root"))
    assert message in refusal(tmp_path / "root")


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "validation")])
def test_folders_that_are_surely_no_classes_are_told(tmp_path, names):
    for name in names:
        for label in ("cat", "dog"):
            for number in range(6):
                write_image(tmp_path / name / label / f"{number}.png")
    assert "name them train and test" in refusal(tmp_path)


def test_too_few_classes_or_images(tmp_path):
    assert "holds no class folders; at least two are needed" in refusal(tmp_path)
    write_image(tmp_path / "only" / "0.png")
    assert "holds one class folder only, 'only'" in refusal(tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no images in " in refusal(tmp_path)
    for index in range(4):
        write_image(tmp_path / "empty" / f"{index}.png")
    assert "empty' holds 4 images; every fifth is held out, so at least 5 are needed" in refusal(tmp_path)
    (tmp_path / "file").write_text("")
    assert "file' cannot be read: Not a directory" in refusal(tmp_path / "file")


def test_images_of_different_sizes_need_one(tmp_path):
    write_image(write_split(tmp_path) / "train" / "bee" / "large.png", size=(40, 30))
    message = refusal(tmp_path)
    assert "'train/ant/000.png' has 19x13 pixels and 'train/bee/large.png' has 40x30" in message
    assert "set data.image_size" in message
    with pytest.raises(UserError, match=r"set data\.image_size"):
        read(tmp_path)
    assert read(tmp_path, image_size=11).train_images.shape == (19, 3, 11, 11)
    assert read(tmp_path, image_size=24, grayscale=True).shape == (1, 24, 24)


def test_damaged_images_are_left_out_by_name(tmp_path):
    write_split(tmp_path)
    clean = read(tmp_path)
    write_image(tmp_path / "train" / "ant" / "photo.jpeg")
    cut_off(tmp_path / "train" / "ant" / "photo.jpeg")
    (tmp_path / "train" / "bee" / "empty.png").write_bytes(b"")
    (tmp_path / "train" / "cat" / "text.png").write_text("this is no image")
    (tmp_path / "test" / "ant" / "gone.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "test" / "ant" / "pipe.png")
    lines = FOLDER.prepare(config(tmp_path))
    assert [line.split(" is left out: ")[0] for line in lines] == [
        "data: 'train/ant/photo.jpeg'",
        "data: 'train/bee/empty.png'",
        "data: 'train/cat/text.png'",
        "data: 'test/ant/gone.png'",
        "data: 'test/ant/pipe.png'",
    ]
    images = read(tmp_path)
    assert np.array_equal(images.train_images, clean.train_images)
    assert np.array_equal(images.train_labels, clean.train_labels)
    assert np.array_equal(images.test_images, clean.test_images)
    sweep = load_sweep(None, ("data.name=folder", f"data.root={tmp_path}"))
    skipped = build_manifest(sweep, [])["data"]["skipped"]
    assert [one["file"] for one in skipped] == [line.split("'")[1] for line in lines]
    assert skipped[1]["reason"] == "the file is empty"

    message = refusal(tmp_path, corrupt="error")
    assert message.startswith("data.root: 'train/ant/photo.jpeg' (and 4 others) cannot be read: image file is trunc")
    with pytest.raises(UserError, match="and 4 others"):
        read(tmp_path, corrupt="error")


def test_what_is_repaired_is_no_longer_left_out(tmp_path):
    bad = write_split(tmp_path) / "train" / "ant" / "000.png"
    whole = bad.read_bytes()
    cut_off(bad)
    assert len(FOLDER.prepare(config(tmp_path))) == 1
    bad.write_bytes(whole)
    assert FOLDER.prepare(config(tmp_path)) == []


def test_many_damaged_images_are_counted(tmp_path):
    write_split(tmp_path)
    for index in range(23):
        (tmp_path / "train" / "ant" / f"bad{index:02}.png").write_bytes(b"bad")
    lines = FOLDER.prepare(config(tmp_path))
    assert len(lines) == 21
    assert lines[-1] == "data: 3 more are left out; manifest.json lists them all"


@pytest.mark.parametrize(("part", "said"), [("train", "training"), ("test", "test")])
def test_a_class_without_a_readable_image_is_an_error(tmp_path, part, said):
    for path in (write_split(tmp_path, train=3, test=2) / part / "bee").iterdir():
        path.write_bytes(b"")
    message = f"data.root: no {said} image of class 'bee' can be read; '{part}/bee/000.png': the file is empty"
    assert refusal(tmp_path) == message
    with pytest.raises(UserError, match=r"no .* image of class 'bee' can be read"):
        read(tmp_path)


def test_fewer_images_are_spread_over_the_classes(tmp_path):
    write_split(tmp_path, train=8, test=3)
    images = read(tmp_path, num_train=7, num_test=3)
    assert sorted(np.bincount(images.train_labels)) == [2, 2, 3]
    assert images.test_labels.tolist() == [0, 1, 2]
    again = read(tmp_path, num_train=7, num_test=3)
    assert np.array_equal(images.train_images, again.train_images)


def test_loading_holds_no_image_twice(tmp_path):
    for index in range(120):
        write_image(tmp_path / f"class{index % 2}" / f"{index:03}.png", size=(128, 128))
    tracemalloc.start()
    try:
        images = read(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * (images.train_images.nbytes + images.test_images.nbytes)


def test_the_checksum_covers_names_and_contents(tmp_path):
    write_split(tmp_path)
    sums = [FOLDER.checksum(config(tmp_path))]
    first = tmp_path / "train" / "ant" / "000.png"
    first.rename(first.with_name("renamed.png"))
    sums.append(FOLDER.checksum(config(tmp_path)))
    write_image(first.with_name("renamed.png"), shade=200)
    sums.append(FOLDER.checksum(config(tmp_path)))
    assert len(set(sums)) == 3
    (tmp_path / "notes.txt").write_text("not a part of it")
    assert FOLDER.checksum(config(tmp_path)) == sums[-1]
    other = write_split(tmp_path / "copy")
    assert FOLDER.checksum(config(other)) == sums[0]  # wherever it lies


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    return write_split(tmp_path_factory.mktemp("images"), train=1, test=1)


@examples(25)
@given(st.binary(max_size=300))
def test_whatever_a_file_holds_only_this_file_is_left_out(three_classes, content):
    (three_classes / "train" / "ant" / "any.png").write_bytes(content)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        lines = FOLDER.prepare(config(three_classes))
    assert len(lines) == 1
    assert not heard


def test_a_trial_on_three_classes_of_odd_size(tmp_path):
    write_split(tmp_path / "images", train=8, test=4)
    overrides = (
        "data.name=folder",
        f"data.root={tmp_path / 'images'}",
        "model.attention=ma",
        "model.channels=4",
        "search.channels=4",
        "search.epochs=1",
        "search.batch_size=6",
        "retrain.epochs=1",
        "retrain.batch_size=6",
    )
    trial = load_sweep(None, overrides).trial_config(0, 0, {})
    _, _, arrays = load_images(trial.data, "cpu")
    assert arrays.shape == (3, 13, 19)
    metrics = search_then_retrain(trial, TrialContext(tmp_path, lambda _: None))
    assert metrics["accuracy"] * 12 == pytest.approx(round(metrics["accuracy"] * 12))
    assert metrics["params"] > 0
