"""Data sets of image files: reads a list of labelled files into arrays; unreadable files are skipped and named."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.data.decoding import UnreadableImageError, decode
from raynas_snn.data.image_file_options import ImageFileOptions
from raynas_snn.interfaces.dataset import Dataset, SkippedFile
from raynas_snn.interfaces.images import Images, Int64, UInt8, spread_subset

THREADS = 4
BLOCK = 4 * THREADS  # images decoded ahead; a bound on memory, for images may be large


class LabelledFile(NamedTuple):
    """An image file and its class."""

    path: Path
    label: int


@dataclass(frozen=True)
class ImageTree:
    """Image files in folders, not read yet.

    Attributes:
        root: Their common folder; names in messages are relative to it.
        classes: Names of the classes, in the order of the labels.
        train: Files to train on, at least one per class.
        test: Held-out files, at least one per class.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[LabelledFile, ...]
    test: tuple[LabelledFile, ...]

    def chosen(self, config: DataConfig) -> "ImageTree":
        """At most ``num_train`` and ``num_test`` files, evenly over the classes; only these are ever read."""
        return replace(self, train=_spread(self.train, config.num_train), test=_spread(self.test, config.num_test))

    def name_of(self, path: Path) -> str:
        """The name of a file for messages."""
        return path.relative_to(self.root).as_posix()


Layout = Callable[[DataConfig], ImageTree]


def image_tree_dataset(layout: Layout, files: Callable[[DataConfig], Sequence[Path]], **facts: Any) -> Dataset:
    """A data set whose images lie in folders.

    Args:
        layout: Finds the files and their classes; raises `UserError` if the folders are not as they should be.
        files: As in `Dataset`.
        facts: Further fields of the `Dataset`.
    """
    return Dataset(partial(_load, layout), files, skipped=partial(_skipped, layout), options=ImageFileOptions, **facts)


def _load(layout: Layout, config: DataConfig) -> Images:
    """Reads all images into one array, of which the training and the test images are parts: nothing is held twice."""
    tree, options = layout(config).chosen(config), config.options_as(ImageFileOptions)
    number = len(tree.train) + len(tree.test)
    pixels: UInt8 | None = None
    kept: list[int] = []
    skipped: list[tuple[LabelledFile, str]] = []
    for index, (file, image) in enumerate(_decoded(tree, options)):
        if isinstance(image, str):
            skipped.append((file, image))
            continue
        if pixels is None:
            pixels = np.empty((number, *image.shape), np.uint8)
        pixels[len(kept)] = image
        kept.append(index)
    _check_skipped(tree, skipped, options)
    assert pixels is not None
    labels: Int64 = np.asarray([file.label for file in (*tree.train, *tree.test)], np.int64)[kept]
    num_train = sum(index < len(tree.train) for index in kept)
    test = slice(num_train, len(kept))
    return Images(pixels[:num_train], labels[:num_train], pixels[test], labels[test], len(tree.classes))


def _skipped(layout: Layout, config: DataConfig) -> Sequence[SkippedFile]:
    tree = layout(config).chosen(config)
    options = config.options_as(ImageFileOptions)
    return _skipped_of(tree, options, tuple(_state(file.path) for file in (*tree.train, *tree.test)))


@lru_cache(maxsize=1)  # asked for by the check before the sweep, and by its manifest
def _skipped_of(tree: ImageTree, options: ImageFileOptions, states: tuple[object, ...]) -> Sequence[SkippedFile]:  # noqa: ARG001
    """Decodes everything and keeps nothing; ``states`` tells changed files apart."""
    skipped = [(file, image) for file, image in _decoded(tree, options) if isinstance(image, str)]
    _check_skipped(tree, skipped, options)
    return [SkippedFile(tree.name_of(file.path), reason) for file, reason in skipped]


def _decoded(tree: ImageTree, options: ImageFileOptions) -> Iterator[tuple[LabelledFile, UInt8 | str]]:
    """All files in order, each with its pixels ``[C, H, W]`` or with the reason why it has none.

    Raises:
        UserError: If two images differ in size.
    """
    files = (*tree.train, *tree.test)
    first: tuple[str, str] | None = None
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), BLOCK):
            block = files[start : start + BLOCK]
            with warnings.catch_warnings():  # around the threads: filters are global
                warnings.simplefilter("ignore")  # what Pillow warns of, it has read, or `decode` refuses
                images = list(pool.map(partial(_attempt, options), block))
            for file, image in zip(block, images, strict=True):
                if not isinstance(image, str):
                    here = tree.name_of(file.path), f"{image.shape[2]}x{image.shape[1]}"
                    first = first or here
                    if here[1] != first[1]:
                        raise UserError(
                            f"data.root: {first[0]!r} has {first[1]} pixels and {here[0]!r} has {here[1]}; "
                            "set data.image_size to bring all to one size"
                        )
                yield file, image


def _attempt(options: ImageFileOptions, file: LabelledFile) -> UInt8 | str:
    try:
        return decode(file.path, options.image_size, options.grayscale)
    except UnreadableImageError as error:
        return str(error)


def _check_skipped(tree: ImageTree, skipped: Sequence[tuple[LabelledFile, str]], options: ImageFileOptions) -> None:
    """Makes sure that files may be left out, and that something of each class is left."""
    if skipped and options.corrupt == "error":
        (path, _), reason = skipped[0]
        others = f" (and {len(skipped) - 1} other{'s' * (len(skipped) > 2)})" if len(skipped) > 1 else ""
        raise UserError(
            f"data.root: {tree.name_of(path)!r}{others} cannot be read: {reason}; "
            "mend or remove what is damaged, or leave it out with data.corrupt: skip"
        )
    reasons = dict(skipped)
    for part, files in (("training", tree.train), ("test", tree.test)):
        left = {file.label for file in files if file not in reasons}
        for file in files:
            if file.label not in left:
                raise UserError(
                    f"data.root: no {part} image of class {tree.classes[file.label]!r} can be read; "
                    f"{tree.name_of(file.path)!r}: {reasons[file]}"
                )


def _spread(files: tuple[LabelledFile, ...], number: int | None) -> tuple[LabelledFile, ...]:
    if number is None or len(files) <= number:
        return files
    labels = np.asarray([file.label for file in files], np.int64)
    return tuple(files[index] for index in spread_subset(labels, number))


def _state(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
