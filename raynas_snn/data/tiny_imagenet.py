"""The data set ``tiny_imagenet``: 200 classes of 64x64 images from ImageNet (Le & Yang 2015), as it is published.

The published test images have no labels, so the labelled validation images are the held-out ones, as in the papers.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.untrusted_files import read_bytes
from raynas_snn.data.image_files import ImageTree, LabelledFile, image_tree_dataset

FOLDER_NAME = "tiny-imagenet-200"
_FILE = re.compile(r"\w[\w.-]{0,200}")
_LONGEST_NAME = 80  # of a class
MISSING = (
    "download http://cs231n.stanford.edu/tiny-imagenet-200.zip, unpack it, and set data.root to the folder that holds "
    f"{FOLDER_NAME}"
)


def _layout(config: DataConfig) -> ImageTree:
    """Finds classes and images.

    Raises:
        UserError: If a list is invalid, or a folder is missing.
    """
    root = config.root_path / FOLDER_NAME
    ids, annotations = _lists(config)
    classes = tuple(sorted({line.strip() for line in _lines(ids) if line.strip()}))
    for name in classes:
        if not name.isalnum() or len(name) > _LONGEST_NAME:
            shown = name[:_LONGEST_NAME]
            raise UserError(f"data.root: {str(ids)!r} lists {shown!r}, which cannot be the name of a class")
    if len(classes) < 2:
        raise UserError(f"data.root: {str(ids)!r} lists {len(classes)} classes; {MISSING}")
    labels = {name: label for label, name in enumerate(classes)}
    train = [
        LabelledFile(path, labels[name])
        for name in classes
        for path in _training_images(root / "train" / name / "images")
    ]
    test = []
    for number, line in enumerate(_lines(annotations), start=1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels or not _FILE.fullmatch(fields[0]):
            raise UserError(f"data.root: {str(annotations)!r}, line {number}: expected a file and one of the classes")
        test.append(LabelledFile(root / "val" / "images" / fields[0], labels[fields[1]]))
    if unseen := set(labels.values()) - {file.label for file in test}:
        raise UserError(f"data.root: {str(annotations)!r} names no image of class {classes[min(unseen)]!r}")
    return ImageTree(config.root_path, classes, tuple(train), tuple(test))


def _training_images(folder: Path) -> list[Path]:
    try:
        images = sorted(path for path in folder.iterdir() if path.suffix == ".JPEG" and path.name[0] != ".")
    except OSError as error:
        raise UserError(f"data.root: {str(folder)!r} cannot be read: {error.strerror}; {MISSING}") from None
    if not images:
        raise UserError(f"data.root: {str(folder)!r} holds no images; {MISSING}")
    return images


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path).decode().splitlines()
    except OSError as error:
        raise UserError(f"data.root: {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"data.root: {str(path)!r} is not text") from None


def _lists(config: DataConfig) -> tuple[Path, Path]:
    root = config.root_path / FOLDER_NAME
    return root / "wnids.txt", root / "val" / "val_annotations.txt"


def _files(config: DataConfig) -> Sequence[Path]:
    lists = _lists(config)
    if not all(path.is_file() for path in lists):
        return lists
    tree = _layout(config)
    return [*lists, *(file.path for file in (*tree.train, *tree.test))]


TINY_IMAGENET = image_tree_dataset(_layout, _files, missing=MISSING, crop_padding=8, flip=True)
