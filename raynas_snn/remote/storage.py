"""A folder that all machines reach: on a disk, NFS, S3, Google Cloud Storage, whatever pyarrow knows, and so Ray.

A file appears there whole or not at all: object stores work like that; elsewhere it is written under another name.
"""

import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from raynas_snn.core.errors import UserError, storage_fault, writing_to
from raynas_snn.core.files import LARGEST_RECORDS, sync
from raynas_snn.core.untrusted_files import LARGEST_TEXT, UnfitFileError, size_in_words

_Result = TypeVar("_Result")

_SECRET = re.compile(r"key|secret|token|password|^sig$", re.IGNORECASE)  # names of what must not stand in a URL
_SCHEME = re.compile(r"\w+:")
_AMAZON = re.compile(r"AWS Error (?P<kind>\w+) during \w+ operation: (?P<text>.*?)(?: \(Request ID: .*\))?$")
_OBJECT_STORES = ("s3", "gcs", "abfs")
_GOOGLE_SECONDS = 20  # pyarrow would try for 15 minutes
_S3_ATTEMPTS = 3  # pyarrow would try 11 times, for 100 s if a server does not answer
ANSWER_SECONDS = 30.0
_LONGEST_PAUSE = 8.0
_LONGEST_REASON = 400  # letters; pyarrow lists all places where it has looked for Hadoop


class Storage:
    """A folder on one of pyarrow's file systems. Paths below it are relative, with slashes.

    Nothing is asked of the file system before the first use. All methods raise OSError if it fails, after seconds.

    Args:
        url: ``s3://bucket/folder``, ``gs://bucket/folder``, ``file:///folder`` or a path; options of the file system
            behind a question mark. Credentials come from the environment, as for other programs.

    Attributes:
        url: The same; a relative path has become absolute.

    Raises:
        UserError: If it is neither, or there are credentials in it, which would end up in logs.
    """

    def __init__(self, url: str) -> None:
        try:
            _check_url(url)
            self.url = url if "://" in url else str(Path(url).expanduser().absolute())
        except (ValueError, RuntimeError) as error:  # brackets in a host, a user who is not known
            raise UserError(f"--storage: {url[:200]!r} is no URL and no path: {error}") from None
        self._below = ""

    def folder(self, name: str) -> "Storage":
        """A folder in this one, which need not exist."""
        inner = Storage(self.url)
        inner._below = f"{self._below}/{name}"
        return inner

    def __str__(self) -> str:
        """What to show: the URL without the options of the file system."""
        return (self.url.partition("?")[0] if "://" in self.url else self.url).rstrip("/") + self._below

    @property
    def local_path(self) -> Path | None:
        """The folder as this machine's programs know it, without links; None if it is not in a file system of its."""
        if "://" not in self.url:
            folder = self.url
        elif urlsplit(self.url).scheme == "file":
            folder = unquote(urlsplit(self.url).path)
        else:
            return None
        return Path(os.path.realpath(folder.rstrip("/") + self._below))

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The file system and the folder on it."""
        from pyarrow import ArrowException
        from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem

        url = self.url
        if url.startswith(("gs:", "gcs:")) and "retry_limit_seconds" not in url:
            url += f"{'&' if '?' in url else '?'}retry_limit_seconds={_GOOGLE_SECONDS}"
        try:
            system, folder = FileSystem.from_uri(url)
        except (ArrowException, ImportError, ValueError) as error:  # not OSError: that may be over in a while
            raise self._unusable(error) from None
        if isinstance(system, S3FileSystem):
            _, (options,) = system.__reduce__()
            strategy = AwsStandardS3RetryStrategy(max_attempts=_S3_ATTEMPTS)
            # Delayed opening: one request for a small file rather than three.
            changed = {"proxy_options": None, "retry_strategy": strategy, "allow_delayed_open": True}
            system = S3FileSystem(**{**options, **changed})
        return system, folder.rstrip("/") + self._below

    def _at(self, path: str) -> str:
        return f"{self._place[1]}/{path}" if path else self._place[1]

    def read(self, path: str, at_most: int = LARGEST_TEXT) -> bytes | None:
        """Returns a file's content, None if there is no such file; refuses one of more than so many bytes."""
        try:
            with self._place[0].open_input_stream(self._at(path), compression=None) as stream:
                data = bytes(stream.read(at_most + 1))
        except FileNotFoundError:
            return None
        if len(data) > at_most:
            raise UnfitFileError(f"{self}/{path}: larger than {size_in_words(at_most)}")
        return data

    def write(self, path: str, data: bytes) -> None:
        """Makes or replaces a file."""
        self._put(path, lambda target: _write(self._place[0], target, data))

    def upload(self, source: Path, path: str) -> None:
        """Makes or replaces a file by a local one."""
        self._put(path, lambda target: _copy(_local(), str(source), self._place[0], target))

    def copy(self, path: str, to: str) -> None:
        """Makes or replaces a file by another one that is there, without sending it over the network."""
        self._put(to, lambda target: self._place[0].copy_file(self._at(path), target))

    def download(self, path: str, target: Path) -> None:
        """Makes or replaces a local file, with the folders above it, by one from here.

        Raises:
            StorageFault: If the disk here does not take it.
            OSError: If the file cannot be had.
        """
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        with writing_to(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _copy(self._place[0], self._at(path), _local(), str(temporary))
            with writing_to(target):
                temporary.replace(target)
        except OSError as error:
            fault = storage_fault(error, target)  # a disk that is only read from is not full
            raise fault or error from None
        finally:
            temporary.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        """Deletes a file, if there is one."""
        from pyarrow.fs import FileType

        system = self._place[0]
        if system.get_file_info(self._at(path)).type == FileType.File:
            system.delete_file(self._at(path))

    def sizes(self, folder: str = "", recursive: bool = True) -> dict[str, int]:
        """Returns the paths of all files in a folder, each with its size in bytes; unfinished ones do not count."""
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._at(folder), allow_not_found=True, recursive=recursive)
        infos = self._place[0].get_file_info(selector)
        skip = len(self._at("")) + 1
        try:
            sizes = {info.path[skip:]: int(info.size) for info in infos if info.type == FileType.File}
        except UnicodeDecodeError:
            raise UnfitFileError(f"{self}: holds a file whose name is not UTF-8; delete it") from None
        for name in sizes:
            if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/")):  # object stores take any name
                raise UnfitFileError(f"{self}: holds {name[:200]!r}, which cannot be the name of a file; delete it")
        return {name: size for name, size in sizes.items() if not is_temporary(name.rpartition("/")[2])}

    def check(self) -> None:
        """Writes, reads and deletes a small file.

        Raises:
            UserError: If any of it fails, or takes longer than half a minute.
        """
        name, content = f"check-{uuid.uuid4().hex}", b"may be deleted"

        def try_all() -> None:
            self.write(name, content)
            if self.read(name) != content:
                raise OSError("what was written there cannot be read back")
            self.delete(name)

        with self.explained():
            within(ANSWER_SECONDS, try_all)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raises `UserError` with one line where the file system fails in the body."""
        from pyarrow import ArrowException

        try:
            yield
        except (OSError, ArrowException, ImportError, ValueError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> UserError:
        return UserError(f"--storage: cannot use {self}: {reason(error)}")

    def _put(self, path: str, make: Callable[[str], None]) -> None:
        system, target = self._place[0], self._at(path)
        if system.type_name in _OBJECT_STORES:
            make(target)
            return
        folder, _, name = target.rpartition("/")
        system.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        try:
            make(temporary)
            if system.type_name == "local":
                sync(Path(temporary))
            system.move(temporary, target)
        except BaseException:
            if system.get_file_info(temporary).is_file:
                system.delete_file(temporary)
            raise


def patiently(seconds: float, action: Callable[[], _Result]) -> _Result:
    """Returns what ``action`` returns; tries again for some time if it raises OSError, and raises the last one."""
    deadline, pause = time.monotonic() + seconds, 0.5
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def within(seconds: float, action: Callable[[], _Result]) -> _Result:
    """Returns what ``action`` returns; raises OSError if it takes longer, as for ever on an NFS server that is gone."""
    results: list[_Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise OSError(f"no answer within {seconds:g} s")
    return results[0]


def is_temporary(name: str) -> bool:
    """Whether a file of this name is no part of a copy: hidden, a lock, or not whole yet."""
    return name.startswith(".") or name.endswith((".tmp", ".lock"))


def refuse_oversized(storage: Storage, name: str, size: int) -> None:
    """Raises `UnfitFileError` if a file is larger than any that is not a checkpoint can be."""
    if size > LARGEST_RECORDS:
        raise UnfitFileError(f"{storage}/{name}: larger than {size_in_words(LARGEST_RECORDS)}")


def reason(error: Exception) -> str:
    """Why a file system failed, in one line that is not too long to be read."""
    text = " ".join(str(error).split())
    amazon = _AMAZON.search(text)
    if amazon:
        text = f"{amazon['kind']}: {amazon['text']}"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def _check_url(url: str) -> None:
    if not url or "\0" in unquote(url):
        raise UserError("--storage: no URL and no path; write s3://BUCKET/FOLDER or /FOLDER")
    if "://" not in url:
        if _SCHEME.match(url):
            raise UserError(f"--storage: {url!r} is no URL and no path; write s3://BUCKET/FOLDER or /FOLDER")
        return
    parts = urlsplit(url)
    has_user = parts.scheme == "s3" and parts.username is not None
    names = [
        name for name, value in parse_qsl(parts.query, keep_blank_values=True) if _SECRET.search(name) or "@" in value
    ]
    if parts.password is not None or has_user or names:
        raise UserError(
            "--storage: no credentials in the URL, which is shown and noted; give them in the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ...)"
        )


def _local() -> Any:
    from pyarrow.fs import LocalFileSystem

    return LocalFileSystem()


def _write(system: Any, path: str, data: bytes) -> None:
    with system.open_output_stream(path, compression=None) as stream:
        stream.write(data)


def _copy(source: Any, path: str, destination: Any, target: str) -> None:
    from pyarrow.fs import copy_files

    copy_files(path, target, source_filesystem=source, destination_filesystem=destination)
