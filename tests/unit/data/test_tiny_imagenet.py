"""The data set ``tiny_imagenet``, in the layout in which it is published."""

from pathlib import Path

import numpy as np
import pytest
from image_trees import cut_off, write_image
from PIL import Image

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import find_dataset

TINY = find_dataset("tiny_imagenet")
IDS = ("n03444034", "n01443537", "n02124075")  # not sorted, as in the published list


@pytest.fixture
def root(tmp_path) -> Path:
    """Three classes, four training and two validation images each."""
    folder = tmp_path / "tiny-imagenet-200"
    lines = []
    for label, name in enumerate(sorted(IDS)):
        for index in range(4):
            write_image(folder / "train" / name / "images" / f"{name}_{index}.JPEG", 40 + 80 * label, (64, 64))
        (folder / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t10\t63\t58\n")
        for index in range(2):
            write_image(folder / "val" / "images" / f"val_{2 - label + 3 * index}.JPEG", 40 + 80 * label, (64, 64))
            lines.append(f"val_{2 - label + 3 * index}.JPEG\t{name}\t0\t32\t44\t62\n")
    write_image(folder / "test" / "images" / "test_0.JPEG", 99, (64, 64))
    (folder / "val" / "val_annotations.txt").write_text("".join(sorted(lines)))
    (folder / "wnids.txt").write_text("\n".join(IDS) + "\n")
    (folder / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\n")
    grey = folder / "train" / IDS[0] / "images" / f"{IDS[0]}_0.JPEG"
    Image.open(grey).convert("L").save(grey)
    return tmp_path


def config(root: Path, **settings) -> DataConfig:
    return DataConfig(name="tiny_imagenet", root=str(root), **settings)


def test_training_and_validation_images_with_their_labels(root):
    assert TINY.prepare(config(root)) == []
    images = TINY.read(config(root))
    assert images.train_images.shape == (12, 3, 64, 64)
    assert images.test_images.shape == (6, 3, 64, 64)
    assert images.num_classes == 3
    for pixels, labels in ((images.train_images, images.train_labels), (images.test_images, images.test_labels)):
        assert pixels.mean(axis=(1, 2, 3)) == pytest.approx(40 + 80 * labels, abs=6)
    assert len(set(images.test_labels[:3])) == 3  # as listed, not sorted by class


def test_a_part_holds_all_classes(root):
    images = TINY.read(config(root, num_train=6, num_test=3))
    assert np.bincount(images.train_labels).tolist() == [2, 2, 2]
    assert np.bincount(images.test_labels).tolist() == [1, 1, 1]


def test_images_may_be_scaled_and_grey(root):
    assert TINY.read(config(root, image_size=32, grayscale=True)).shape == (1, 32, 32)


def test_a_damaged_image_is_left_out(root):
    cut_off(root / "tiny-imagenet-200" / "val" / "images" / "val_3.JPEG")
    (line,) = TINY.prepare(config(root))
    assert line.startswith("data: 'tiny-imagenet-200/val/images/val_3.JPEG' is left out: image file is truncated")
    assert len(TINY.read(config(root)).test_labels) == 5


def test_missing_data_says_where_to_get_it(tmp_path):
    for download in (False, True):
        with pytest.raises(UserError, match=r"wnids.txt' is missing; download http.*zip, unpack it, and set data.root"):
            TINY.check(config(tmp_path, download=download))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("wnids.txt", "n01443537\n", r"wnids.txt' lists 1 classes"),
        (
            "wnids.txt",
            "\n".join((*IDS, "n09999999")),
            r"n09999999/images' cannot be read: No such file or directory; d",
        ),
        ("val/val_annotations.txt", "val_0.JPEG\tn1\t0\n", "val_annotations.txt', line 1: expected a file and one of"),
        ("val/val_annotations.txt", "val_0.JPEG\n", "line 1: expected a file and one of the classes"),
        ("val/val_annotations.txt", f"../x.JPEG\t{IDS[0]}\n", "line 1: expected a file and one of the classes"),
        ("val/val_annotations.txt", f"val_9.JPEG\t{IDS[0]}\n", "names no image of class 'n01443537'"),
        ("wnids.txt", "n" * 4000 + "\n", r"wnids.txt' lists .n{80}., which cannot be the name of a class$"),
        ("wnids.txt", "\udcff", "wnids.txt' is not text"),
    ],
)
def test_lists_that_do_not_fit(root, file, content, message):
    (root / "tiny-imagenet-200" / file).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=message):
        TINY.check(config(root))


def test_an_image_that_is_listed_must_be_there(root):
    (root / "tiny-imagenet-200" / "val" / "images" / "val_0.JPEG").unlink()
    with pytest.raises(UserError, match=r"val_0.JPEG' is missing; download"):
        TINY.check(config(root))


def test_the_checksum_covers_labels_and_images(root):
    sums = [TINY.checksum(config(root))]
    (root / "tiny-imagenet-200" / "wnids.txt").write_text("\n".join(sorted(IDS)))
    sums.append(TINY.checksum(config(root)))
    write_image(root / "tiny-imagenet-200" / "val" / "images" / "val_0.JPEG", 7, (64, 64))
    sums.append(TINY.checksum(config(root)))
    assert len(set(sums)) == 3
