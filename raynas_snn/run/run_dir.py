"""The run directory, the authoritative record of a sweep: its settings, ended trials and running trials.

::

    config.yaml     the sweep file with every default
    manifest.json   versions, hardware, data checksum; every start with its command
    study.journal   the study for optuna-dashboard, an export
    trials.jsonl    one line per ended trial; of several lines with the same uid, the last one counts
    lock            the driver's lease; empty if no driver is running
    trials/<uid>/   one folder per trial
    tb/             TensorBoard event files
    report/         tables
"""

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config.precedence import LARGEST_FILE
from raynas_snn.config.resolved_sweep import Sweep
from raynas_snn.config.saved_settings import recorded_sweep
from raynas_snn.config.yaml_text import BrokenYamlError, dump, parse
from raynas_snn.core.errors import UserError
from raynas_snn.core.files import append_line, read_json, read_lines, read_text, write_json, write_text
from raynas_snn.core.untrusted_files import refuse_links
from raynas_snn.run.holder import Holder
from raynas_snn.run.lease import Lease
from raynas_snn.run.lease_file import LeaseFile
from raynas_snn.run.records import UID, TrialRecord, now
from raynas_snn.run.trial_dir import TrialDir

_CONFIG, _MANIFEST, _LOCK, _RECORDS = "config.yaml", "manifest.json", "lock", "trials.jsonl"
LARGEST_CONFIG = 4 * LARGEST_FILE  # bytes; with all defaults
LARGEST_MANIFEST = 2**28  # bytes; it names each image that was left out
_FOLDERS = ("trials", "tb", "report")  # whose entries are made by name
_LONGEST_NAME = 1000  # that is quoted in full
_OF_OPTUNA = "study.journal.lock"  # which is a link, of a dashboard that writes


@dataclass(frozen=True)
class RunDir:
    """A run directory; made by ``create``, found again by ``open``.

    Attributes:
        path: Where it is.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, config: Mapping[str, Any], manifest: Mapping[str, Any]) -> "RunDir":
        """Makes the run directory of a new sweep, with the folders above it.

        Args:
            path: A folder that does not exist, is empty, or holds what a killed ``create`` has left.
            config: The resolved sweep file.
            manifest: Everything else that is needed to repeat the run.

        Raises:
            UserError: If the folder holds a run or anything else, or cannot be made.
        """
        cls.check_free(path)
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            with run.lock():
                cls.check_free(path)  # another driver may have been faster
                write_json(path / _MANIFEST, {"starts": [], **manifest})
                run.write_config(config)  # last, because it is what makes the folder a run
        except OSError as error:
            raise UserError(f"{path}: cannot make a run directory here: {error.strerror}") from None
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Returns the run in ``path``.

        Raises:
            UserError: If there is none, or it contains links.
        """
        if not _exists(path):
            raise UserError(f"{path}: no such directory")
        if not path.is_dir():
            raise UserError(f"{path}: not a directory")
        if not cls.is_run(path):
            raise UserError(f"{path}: not a run directory: it holds no {_CONFIG} with a {_MANIFEST}")
        run = cls(path)
        run.refuse_links()
        return run

    def refuse_links(self) -> None:
        """Raises `UserError` if the directory contains links."""
        refuse_links(self.path, but=_OF_OPTUNA)
        for name in _FOLDERS:
            refuse_links(self.path / name)

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether ``path`` is a run directory; raises `UserError` if the path is invalid or cannot be read."""
        try:
            return path.exists() and (path / _CONFIG).is_file() and (path / _MANIFEST).is_file()
        except OSError as error:
            raise _out_of_reach(path, error) from None

    @classmethod
    def check_free(cls, path: Path) -> None:
        """Checks that a new run may be created in ``path``; writes nothing.

        Raises:
            UserError: If it holds a run or anything else, or is on a disk that is read-only.
        """
        if _exists(path) and not path.is_dir():
            raise UserError(f"{path}: not a directory")
        if cls.is_run(path):
            raise UserError(f"{path}: holds a run already")
        try:
            names = [entry.name for entry in path.iterdir()] if path.exists() else []
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if any(not _left_by_create(name) for name in names):
            raise UserError(f"{path}: holds something that is not a run; choose another directory")
        there = next((folder for folder in (path, *path.parents) if folder.is_dir()), None)
        if there is not None and os.statvfs(there).f_flag & os.ST_RDONLY:
            raise UserError(f"{path}: cannot make a run directory here: {os.strerror(errno.EROFS)}")
        refuse_links(path)

    @property
    def journal(self) -> Path:
        """The study as optuna-dashboard reads it; an export."""
        return self.path / "study.journal"

    @property
    def records_file(self) -> Path:
        """One line per ended trial."""
        return self.path / _RECORDS

    @property
    def tb(self) -> Path:
        """Folder of the TensorBoard event files."""
        return self.path / "tb"

    @property
    def report(self) -> Path:
        """Folder of the tables."""
        return self.path / "report"

    def sweep(self) -> Sweep:
        """The sweep of the run, read from its resolved file; raises `UserError` if that is invalid."""
        path = self.path / _CONFIG
        try:
            content = parse(read_text(path, LARGEST_CONFIG) or "")
        except BrokenYamlError as error:
            raise UserError(f"{path}: {error}") from None
        return recorded_sweep(content, str(path))

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replaces the resolved sweep file, as when the number of trials grows."""
        write_text(self.path / _CONFIG, dump(dict(config)))

    def manifest(self) -> dict[str, Any]:
        """Everything else that is needed to repeat the run; raises `UserError` if it is invalid."""
        path = self.path / _MANIFEST
        manifest = read_json(path, LARGEST_MANIFEST) or {}
        starts = manifest.get("starts", [])
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise UserError(f"{path}: 'starts' must be a list of objects")
        return manifest

    def note_start(self, command: str, **facts: Any) -> None:
        """Adds a start to the list ``starts`` of the manifest. Only for the holder of the lease.

        Args:
            command: The command that continues the run.
            facts: Further facts about this start.
        """
        manifest = self.manifest()
        starts = [*manifest.get("starts", []), {"command": command, "started_at": now(), **facts}]
        write_json(self.path / _MANIFEST, {**manifest, "starts": starts})

    def lock(self, say: Callable[[str], None] = lambda _: None) -> AbstractContextManager[Lease]:
        """Holds the lease of the run, see `raynas_snn.run.lease.Lease.held`.

        Args:
            say: Shows one line.

        Raises:
            UserError: Names the driver that already works on the run.
        """
        return Lease(LeaseFile(self.path / _LOCK)).held(say)

    def holder(self) -> Holder | None:
        """The driver that works on the run now, or None."""
        return LeaseFile(self.path / _LOCK).holder()

    def records(self) -> list[TrialRecord]:
        """Returns the trials that have ended, each once, in the order in which they ended.

        A trial that was run again has several lines; the last one counts. An incomplete last line is ignored.

        Raises:
            UserError: Names the file and the line that is not a record.
        """
        path = self.records_file
        records: dict[str, TrialRecord] = {}
        for number, line in enumerate(read_lines(path), start=1):
            try:
                record = TrialRecord.from_line(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not the record of a trial: {error}") from None
            records.pop(record.uid, None)
            records[record.uid] = record
        return list(records.values())

    def append(self, record: TrialRecord) -> None:
        """Adds the record of an ended trial by one write, and waits until it is on disk."""
        append_line(self.records_file, record.to_line())

    def trial(self, uid: str) -> TrialDir:
        """Returns the folder of a trial, which need not exist.

        Raises:
            UserError: If the uid is not made of letters, digits, ``_`` and ``-``.
        """
        if not UID.fullmatch(uid):
            raise UserError(f"'{uid}' cannot be the uid of a trial: only letters, digits, '_' and '-' are allowed")
        return TrialDir(self.path / "trials" / uid)

    def trials(self) -> list[TrialDir]:
        """Returns the folders of all trials that have one, by uid."""
        folder = self.path / "trials"
        if not folder.is_dir():
            return []
        return [TrialDir(path) for path in sorted(folder.iterdir()) if path.is_dir() and UID.fullmatch(path.name)]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _out_of_reach(path, error) from None


def _out_of_reach(path: Path, error: OSError) -> UserError:
    """The error for a name that is too long, of which a part will do, or a folder that is closed to us."""
    name = str(path)
    return UserError(f"{name if len(name) <= _LONGEST_NAME else name[:80] + '...'}: {error.strerror}")


def _left_by_create(name: str) -> bool:
    return name in (_MANIFEST, _LOCK) or (name.startswith((f".{_MANIFEST}.", f".{_CONFIG}.")) and name.endswith(".tmp"))
