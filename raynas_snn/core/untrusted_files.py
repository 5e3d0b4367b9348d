"""Opens untrusted files safely and parses JSON strictly.

Opening never blocks on a pipe or reads a device endlessly, and no more bytes are read than a valid file can have.
"""

import errno
import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from raynas_snn.core.errors import UserError

LARGEST_TEXT = 2**24  # bytes of a file that is read as a whole, unless its reader says otherwise


class UnfitFileError(OSError):
    """The path is not a regular file, or the file is too large to be valid."""


def open_regular(path: Path, at_most: int) -> BufferedReader:
    """Opens a file for reading without blocking, as opening a pipe would.

    Args:
        path: The file, or a link to it.
        at_most: Maximum size in bytes.

    Raises:
        OSError: If there is none, or it cannot be opened; `UnfitFileError` if it is no regular file or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except ValueError:
        raise UnfitFileError(errno.EINVAL, "no file can have this name") from None
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device that is gone
            raise UnfitFileError(error.errno, "not a regular file") from None
        raise
    status = os.fstat(descriptor)
    reason = ""
    if stat.S_ISDIR(status.st_mode):
        reason = os.strerror(errno.EISDIR)
    elif not stat.S_ISREG(status.st_mode):
        reason = "not a regular file"
    elif status.st_size > at_most:
        reason = f"larger than {size_in_words(at_most)}"
    if reason:
        os.close(descriptor)
        raise UnfitFileError(errno.EINVAL, reason)
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, at_most: int = LARGEST_TEXT) -> bytes:
    """Returns the content of a file; raises as `open_regular` does."""
    with open_regular(path, at_most) as file:
        # Not simply all that is allowed: Python sets aside what it is asked to read. Files in /proc have no size.
        contents = file.read((os.fstat(file.fileno()).st_size or at_most) + 1)
    if len(contents) > at_most:
        raise UnfitFileError(errno.EFBIG, f"larger than {size_in_words(at_most)}")
    return contents


def refuse_links(folder: Path, but: str = "") -> None:
    """Checks that a folder contains no links: writing through a link could change files anywhere.

    Args:
        folder: The folder, which need not exist; the path to it may contain links.
        but: Name of an entry that is not checked.

    Raises:
        UserError: Names an entry that is neither a regular file nor a folder, or a folder without read permission.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name != but and not entry.is_file(follow_symlinks=False):
                    if entry.is_symlink():
                        raise UserError(f"{entry.path}: a link; nothing in a run directory may lead out of it")
                    if not entry.is_dir(follow_symlinks=False):
                        raise UserError(f"{entry.path}: neither a file nor a folder; remove it")
                    if not os.access(entry.path, os.R_OK | os.X_OK, effective_ids=True):
                        raise UserError(f"{entry.path}: {os.strerror(errno.EACCES)}")
    except (FileNotFoundError, NotADirectoryError):
        return
    except ValueError:
        raise UserError(f"{folder}: no folder can have this name") from None
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from None


def parse_json(text: str) -> Any:
    """Parses strict JSON: no duplicate keys, no NaN.

    Raises:
        ValueError: With the reason.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_key_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:80]!r} stands there twice")
            seen.add(key)
    return data


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def size_in_words(number: int) -> str:
    """A bound on a size, ``16 MiB``."""
    return f"{number >> 20} MiB" if number >= 2**20 else f"{number >> 10} KiB"
