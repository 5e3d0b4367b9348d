"""Reading and writing that survives a crash at any instant.

A whole file is written to a temporary file next to it, which then takes its place: readers see the old text
or the new one. A line is appended by one write; a line without its newline is torn, is ignored by readers, and
is cut off by the next append.
"""

import fcntl
import itertools
import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raynas_snn.errors import UserError

_BLOCK = 4096


def write_text(path: Path, text: str) -> None:
    """Replaces ``path`` by ``text`` (UTF-8), all or nothing, and waits until it is on disk.

    Raises:
        OSError: If the folder is missing or cannot be written; ``path`` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(_encode(text))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Replaces ``path`` by indented JSON, all or nothing; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(data), indent=2) + "\n")


def append_line(path: Path, line: str) -> None:
    """Appends ``line``, which must hold no newline, and waits until it is on disk; makes the file if needed.

    Appends of several processes to one file wait for each other.

    Raises:
        OSError: If the line could not be written in full; the file is as it was before.
    """
    data = _encode(line + "\n")
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = _end_of_last_line(descriptor)
        if end != os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        if os.write(descriptor, data) != len(data):
            os.ftruncate(descriptor, end)
            raise OSError(f"{path}: no room for another line")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        _sync_folder(path.parent)


def read_text(path: Path) -> str | None:
    """Returns the text of a file, or None if there is no such file.

    Raises:
        UserError: If the file cannot be read or is not UTF-8.
    """
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def read_lines(path: Path, at_most: int | None = None) -> list[str]:
    """Returns the whole lines of a file; a torn last line and a missing file do not count.

    Args:
        path: The file.
        at_most: How many lines to read, from the first; None for all.

    Raises:
        UserError: If the file cannot be read or is not UTF-8.
    """
    try:
        with path.open("rb") as file:
            lines = list(itertools.islice(file, at_most))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    try:
        # Left out before decoding: a torn line may end within a character.
        return [line[:-1].decode() for line in lines if line.endswith(b"\n")]
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def read_json(path: Path) -> dict[str, Any] | None:
    """Returns the JSON object in a file, or None if there is no such file.

    Raises:
        UserError: If the file cannot be read or holds anything else.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a JSON object")
    return data


def plain(value: Any) -> Any:
    """Returns ``value`` as JSON may hold it: numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _encode(text: str) -> bytes:
    # Error messages may quote file names that are not text.
    return text.encode(errors="backslashreplace")


def _end_of_last_line(descriptor: int) -> int:
    position = os.fstat(descriptor).st_size
    while position > 0:
        start = max(0, position - _BLOCK)
        newline = os.pread(descriptor, position - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        position = start
    return 0


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
