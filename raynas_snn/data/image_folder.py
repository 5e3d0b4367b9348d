"""The data set ``folder``: the user's own images, one folder per class.

::

    data.root/train/CLASS/**/*.png        with test/, val/ or valid/ beside train/ (the first of these that exists)
    data.root/CLASS/**/*.png              without a split: every fifth image of each class is held out
"""

import os
from collections.abc import Sequence
from pathlib import Path

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.data.decoding import SUFFIXES
from raynas_snn.data.image_files import ImageTree, LabelledFile, image_tree_dataset

HELD_OUT = ("test", "val", "valid")
_LIKE_PARTS = ("train", "training", "test", "testing", "val", "valid", "validation", "dev")
EVERY = 5  # one image of so many is held out where there is no split


def _layout(config: DataConfig) -> ImageTree:
    """Finds classes and images.

    Raises:
        UserError: If this is no folder of classes, or a class has too few images.
    """
    root = config.root_path
    names = _folders(root)
    held_out = next((name for name in HELD_OUT if name in names), None)
    if "train" in names and held_out:
        return _split(root, held_out)
    if "train" in names and _folders(root / "train") and not _own_images(root / "train"):
        raise UserError(
            f"data.root: {str(root)!r} holds train, but no test, val or valid; add one of them, "
            f"or set data.root to {str(root / 'train')!r} to hold out every fifth image"
        )
    if held_out and len(names) == 1:
        raise UserError(f"data.root: {str(root)!r} holds {held_out}, but no train")
    return _unsplit(root, names)


def _split(root: Path, held_out: str) -> ImageTree:
    train, test = _folders(root / "train"), _folders(root / held_out)
    _check_classes(root / "train", train)
    for name in sorted({*train} ^ {*test}):
        there, absent = ("train", held_out) if name in train else (held_out, "train")
        raise UserError(f"data.root: class {name!r} is in {str(root / there)!r}, but not in {str(root / absent)!r}")
    parts = (
        tuple(
            LabelledFile(path, label)
            for label, name in enumerate(train)
            for path in _images_of_class(root / part / name, at_least=1)
        )
        for part in ("train", held_out)
    )
    return ImageTree(root, tuple(train), *parts)


def _unsplit(root: Path, names: list[str]) -> ImageTree:
    alike = [name for name in names if name.lower() in _LIKE_PARTS]
    if len(alike) > 1 and all(_folders(root / name) and not _own_images(root / name) for name in alike):
        raise UserError(f"data.root: {str(root)!r} holds {', '.join(alike)}; name them train and test")
    _check_classes(root, names)
    train: list[LabelledFile] = []
    test: list[LabelledFile] = []
    for label, name in enumerate(names):
        for rank, path in enumerate(_images_of_class(root / name, at_least=EVERY)):
            (test if rank % EVERY == EVERY - 1 else train).append(LabelledFile(path, label))
    return ImageTree(root, tuple(names), tuple(train), tuple(test))


def _check_classes(folder: Path, names: list[str]) -> None:
    if len(names) < 2:
        what = f"holds one class folder only, {names[0]!r}" if names else "holds no class folders"
        raise UserError(f"data.root: {str(folder)!r} {what}; at least two are needed, each with images of its class")


def _images_of_class(folder: Path, at_least: int) -> list[Path]:
    images = sorted(_images_below(folder), key=lambda path: path.relative_to(folder).as_posix())
    if not images:
        raise UserError(f"data.root: no images in {str(folder)!r} (known: {', '.join(sorted(SUFFIXES))})")
    if len(images) < at_least:
        raise UserError(
            f"data.root: {str(folder)!r} holds {len(images)} image{'s' * (len(images) > 1)}; "
            f"every fifth is held out, so at least {at_least} are needed, or folders train and test"
        )
    return images


def _images_below(folder: Path) -> list[Path]:
    """All images in a folder and the folders in it, each folder once however links lead there."""
    images: list[Path] = []
    seen: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        status = here.stat()
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            images += _own_images(here)
            waiting += [here / name for name in reversed(_folders(here))]
    return images


def _own_images(folder: Path) -> list[Path]:
    return [folder / name for name, is_folder in _entries(folder) if not is_folder and _is_image(name)]


def _folders(folder: Path) -> list[str]:
    return [name for name, is_folder in _entries(folder) if is_folder]


def _entries(folder: Path) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, without hidden ones, and whether each is a folder itself."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry.name, _is_folder(entry)) for entry in entries if not entry.name.startswith("."))
    except FileNotFoundError:
        raise UserError(
            f"data.root: {str(folder)!r} is missing; it should hold one folder of images per class"
        ) from None
    except OSError as error:
        raise UserError(f"data.root: {str(folder)!r} cannot be read: {error.strerror}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that go round
        return False


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - called for every file


def _files(config: DataConfig) -> Sequence[Path]:
    tree = _layout(config)
    return [file.path for file in (*tree.train, *tree.test)]


FOLDER = image_tree_dataset(_layout, _files)
