"""`Dataset`: how a data set is loaded, which files it consists of, and whether they exist.

A user's own is a name in the sweep file, ``data.name: package.module:function``, where the function takes a
`DataConfig` and returns `Images`; or it is a whole `Dataset`. Options of its own stand beside the name, and are in
``config.options``. Importable without torch.
"""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from raynas_snn.config.schema import DataConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.options import Options
from raynas_snn.core.registry import resolve
from raynas_snn.core.untrusted_files import open_regular
from raynas_snn.interfaces.images import Images

MOST_WARNINGS = 20
T = TypeVar("T")


@dataclass(frozen=True)
class SkippedFile:
    """A file that is left out because it cannot be read.

    Attributes:
        file: Its name, relative to the data set's folder.
        reason: Why it cannot be read.
    """

    file: str
    reason: str


def _nothing(config: DataConfig) -> Sequence[Any]:  # noqa: ARG001 - takes what a data set's functions are given
    return ()


@dataclass(frozen=True)
class Dataset:
    """A data set.

    Attributes:
        load: Reads the images from existing files; raises `UserError` when that fails.
        files: The files it consists of, for the check before a sweep starts and for the checksum; none if it is
            made in memory.
        missing: What to tell a user whose files are not there.
        fetch: Downloads the files, if that can be done; raises `UserError` when it fails.
        skipped: Finds the files that ``load`` leaves out; raises `UserError` if it cannot do without them.
        options: What a sweep file may give beside its name.
        crop_padding: Recommended pixels of padding for random crops.
        flip: Whether mirrored images are the same class.
        cutout: Recommended side of the square that is cut out; 0 for none.
    """

    load: Callable[[DataConfig], Images]
    files: Callable[[DataConfig], Sequence[Path]] = _nothing
    missing: str = ""
    fetch: Callable[[DataConfig], None] | None = None
    skipped: Callable[[DataConfig], Sequence[SkippedFile]] = _nothing
    options: type[Options] = Options
    crop_padding: int = 0
    flip: bool = False
    cutout: int = 0

    def read(self, config: DataConfig) -> Images:
        """Loads and validates at most ``num_train`` and ``num_test`` images.

        Raises:
            UserError: If they cannot be loaded, or do not have the form that `Images` requires.
        """
        images = _call(self.load, config)
        if not isinstance(images, Images):
            raise UserError(f"data set '{config.name}': must return raynas_snn.Images, not {_kind(images)}")
        return images.checked(config.name).spread(config.num_train, config.num_test)

    def check(self, config: DataConfig) -> None:
        """Checks that the files exist, without reading them.

        Raises:
            UserError: Says which one is not, and how to get it.
        """
        absent = self._absent(config)
        if absent and not (config.download and self.fetch):
            raise UserError(f"data.root: {str(absent[0])!r} is missing; {self.missing}")

    def prepare(self, config: DataConfig) -> list[str]:
        """Downloads missing files and finds unreadable ones, once, before any trial starts.

        Returns:
            One line for each skipped file, 20 at most, and a line for the rest.

        Raises:
            UserError: If a file is missing and may not be downloaded, or the data set cannot be used.
        """
        self.check(config)
        if self.fetch is not None and self._absent(config):
            _call(self.fetch, config)
        if not _call(self.files, config):
            self.read(config)  # nothing but a function: what is wrong with it shows here
        skipped = _call(self.skipped, config)
        lines = [f"data: {one.file!r} is left out: {one.reason}" for one in skipped[:MOST_WARNINGS]]
        if len(skipped) > MOST_WARNINGS:
            lines.append(f"data: {len(skipped) - MOST_WARNINGS} more are left out; manifest.json lists them all")
        return lines

    def checksum(self, config: DataConfig) -> str:
        """SHA-256 over names and contents of the files, recorded with a run.

        For a data set without files, it covers the images and labels.
        """
        digest = hashlib.sha256()
        files = _call(self.files, config)
        for path in files:
            name = path.relative_to(config.root_path) if path.is_relative_to(config.root_path) else Path(path.name)
            digest.update(os.fsencode(name.as_posix()) + b"\0" + _contents_digest(path))
        if not files:
            images = self.read(config)
            for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
                digest.update(f"{array.shape}".encode())
                digest.update(array.data)
        return digest.hexdigest()

    def _absent(self, config: DataConfig) -> list[Path]:
        # A link to nowhere is there, and damaged.
        return [path for path in _call(self.files, config) if not os.path.lexists(path)]


def find_dataset(name: str) -> Dataset:
    """Returns the data set with a name; a bare function is wrapped in a `Dataset`.

    Raises:
        UserError: If there is none, or it is neither a `Dataset` nor a function of one `DataConfig`.
    """
    found = resolve("datasets", name)
    if isinstance(found, Dataset):
        return found
    if not callable(found) or isinstance(found, type):
        kind = f"the class {found.__name__}" if isinstance(found, type) else _kind(found)
        raise UserError(f"data set '{name}': must be a Dataset or a function DataConfig -> Images, not {kind}")
    try:
        inspect.signature(found).bind(None)
    except TypeError:
        raise UserError(f"data set '{name}': must take one argument, the DataConfig") from None
    except ValueError:
        pass  # a function written in C says nothing about its arguments
    return Dataset(found, options=getattr(found, "options", Options))


def _call(function: Callable[[DataConfig], T], config: DataConfig) -> T:
    """Calls a function that may be the user's own; what it raises becomes one line."""
    try:
        return function(config)
    except UserError:
        raise
    except Exception as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"data set '{config.name}': {message}") from error


def _contents_digest(path: Path) -> bytes:
    try:
        with open_regular(path, at_most=sys.maxsize) as file:  # a part at a time, so it may be of any size
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:  # a file that cannot be read is a file that is left out
        return b""


def _kind(thing: object) -> str:
    return "None" if thing is None else f"{type(thing).__name__}"
