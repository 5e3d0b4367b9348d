"""Reads and writes files so that a crash at any moment loses or corrupts nothing.

A whole file is written to a temporary file next to it, which then replaces it: readers see the old text or the new one.
A line is appended by one write. A line without its newline is incomplete: readers ignore it, and the next append
removes it.
"""

import contextlib
import fcntl
import json
import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raynas_snn.core.errors import UserError, writing_to
from raynas_snn.core.untrusted_files import LARGEST_TEXT, open_regular, parse_json, read_bytes, size_in_words

LARGEST_RECORDS = 2**29  # bytes of a file of lines; a record takes less than a thousand
LONGEST_LINE = 2**20
_BLOCK = 4096


def write_text(path: Path, text: str) -> None:
    """Atomically replaces the content of ``path`` by ``text`` (UTF-8), and waits until it is on disk.

    Raises:
        StorageFault: If the write fails; ``path`` is unchanged.
        OSError: If the folder is missing.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with writing_to(path):
        try:
            with temporary.open("xb") as file:
                file.write(_encode(text))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync(path.parent)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Atomically replaces the content of ``path`` by indented JSON; numbers that are not finite become null."""
    write_text(path, json.dumps(plain(data), indent=2) + "\n")


def append_line(path: Path, line: str) -> None:
    """Appends ``line``, which must contain no newline, and waits until it is on disk; creates the file if needed.

    Appends of several processes to one file wait for each other.

    Raises:
        StorageFault: If the line cannot be written completely; the file is unchanged.
        OSError: If the folder is missing.
    """
    with writing_to(path):
        _append(path, _encode(line + "\n"))


def read_text(path: Path, at_most: int = LARGEST_TEXT) -> str | None:
    """Returns the text of a file, or None if there is no such file.

    Raises:
        UserError: If it cannot be read, holds more than ``at_most`` bytes, or is not UTF-8.
    """
    try:
        return read_bytes(path, at_most).decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def read_lines(path: Path, at_most: int | None = None) -> list[str]:
    """Returns the complete lines of a file: without an incomplete last line, none for a missing file.

    Args:
        path: The file.
        at_most: How many lines to read, from the first; None for all.

    Raises:
        UserError: If the file cannot be read or is not UTF-8.
    """
    lines: list[bytes] = []
    try:
        with open_regular(path, LARGEST_RECORDS) as file:
            while (at_most is None or len(lines) < at_most) and (line := file.readline(LONGEST_LINE + 1)):
                if len(line) > LONGEST_LINE:
                    raise UserError(f"{path}, line {len(lines) + 1}: longer than {size_in_words(LONGEST_LINE)}")
                lines.append(line)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    texts: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.endswith(b"\n"):  # checked before decoding: an incomplete line may end within a character
            try:
                texts.append(line[:-1].decode())
            except UnicodeDecodeError:
                raise UserError(f"{path}, line {number}: not UTF-8 text") from None
    return texts


def read_json(path: Path, at_most: int = LARGEST_TEXT) -> dict[str, Any] | None:
    """Returns the JSON object in a file, or None if there is no such file.

    Raises:
        UserError: If the file cannot be read, holds more than ``at_most`` bytes, or is anything else.
    """
    text = read_text(path, at_most)
    if text is None:
        return None
    try:
        data = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a JSON object")
    return data


def plain(value: Any) -> Any:
    """Returns ``value`` in a form that JSON allows: numbers that are not finite become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _append(path: Path, data: bytes) -> None:
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = _end_of_last_line(descriptor)
        if end != os.fstat(descriptor).st_size:
            os.ftruncate(descriptor, end)
        try:
            while data:  # after a short write, the next one raises the reason
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)  # a network disk may report only now that it is full
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync(path.parent)


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


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
