"""One trial's folder, here and in a storage.

Each attempt at a trial leaves its mark in both. While the marks are equal, nobody else has begun an attempt since the
last one here, and what lies here is at least as far; if they are not, what the storage holds takes its place.
"""

import json
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from raynas_snn.core.errors import StorageFault, UserError, writing_to
from raynas_snn.core.files import write_json, write_text
from raynas_snn.interfaces.trial import EpochRow
from raynas_snn.remote.storage import Storage, is_temporary, patiently, reason, refuse_oversized
from raynas_snn.remote.storage_lease import StorageLease
from raynas_snn.run.lease import confirm
from raynas_snn.run.run_dir import RunDir
from raynas_snn.run.trial_dir import TrialDir

_MARK = "attempt.json"
_LARGEST_MARK = 2**14  # bytes
_PATIENCE_SECONDS = 5.0  # after the first epoch that cannot be sent; all workers wait meanwhile
_LAST_PATIENCE_SECONDS = 120.0

_Signature = tuple[int, int, int]


class AttemptLostError(StorageFault):
    """The trial was begun again elsewhere; this driver has nothing more to say about it."""


class TrialCopy:
    """Downloads and uploads a trial's folder.

    Args:
        storage: The folder of the run there.
        run: The run directory here, which need not exist on a machine that only works for the run.
        uid: Names the trial.
        lease: Of the driver that has given the trial out; None for the driver itself, which confirms its lease.
    """

    def __init__(self, storage: Storage, run: RunDir, uid: str, lease: str | None = None) -> None:
        self._storage = storage
        self._run = run
        self._folder = run.trial(uid)
        self._name = f"trials/{uid}"
        self._lease = lease
        self._mark = json.dumps({"attempt": uuid.uuid4().hex, "host": socket.gethostname()}).encode()
        self._sent: dict[str, _Signature] = {}
        self._failing = False

    # What the trial's processes do

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Begins an attempt, from what lies here or from what the storage holds.

        Args:
            settings: Of the trial; the driver may have written them on another machine.

        Raises:
            LeaseLostError: If the run was taken over by another driver.
            StorageFault: If the storage cannot be reached for minutes, or the disk here does not take what it holds.
        """
        self._for_minutes(lambda: self._begin(settings))

    def follow(self) -> None:
        """For the other workers, after the first one's `begin`: takes its files unless they are in the same folder."""
        if self._their_mark() != self._my_mark():
            self._replace()

    def after_epoch(self, row: EpochRow) -> dict[str, Any]:
        """Sends what is new; returns the row, with a warning if the storage cannot be reached: the next may succeed.

        Raises:
            AttemptLostError: If the trial was begun again elsewhere.
        """
        try:
            patiently(0 if self._failing else _PATIENCE_SECONDS, self._send)
        except OSError as error:
            self._failing = True
            warning = f"not yet sent to {self._storage}: {reason(error)}"
            return {**row, "warning": f"{row['warning']}; {warning}" if row.get("warning") else warning}
        self._failing = False
        return dict(row)

    def finish(self) -> None:
        """Sends everything, the result last.

        Raises:
            AttemptLostError: If the trial was begun again elsewhere.
            StorageFault: If the storage cannot be reached for minutes.
        """
        self._for_minutes(self._send)

    def try_send(self) -> None:
        """Sends what is new if that is possible."""
        with suppress(OSError, AttemptLostError):
            self._send()

    def send_failure(self) -> None:
        """Sends how the trial failed, and nothing else.

        Raises:
            LeaseLostError: If the run was taken over by another driver.
            OSError: If the storage cannot be reached.
        """
        self._confirm_lease()
        for path in (self._folder.error, self._folder.result):
            if path.is_file():
                self._storage.upload(path, self._relative(path))

    # What the driver does; raises OSError if the storage cannot be reached, StorageFault if the disk here is full

    def announce(self) -> None:
        """Has the storage know the settings of a trial that is about to be begun."""
        with writing_to(self._folder.path):
            self._folder.result.unlink(missing_ok=True)  # that of an earlier attempt must not be booked
        self._upload(self._folder.config)

    def upload(self) -> None:
        """Sends a trial that the storage does not know, checkpoints and all."""
        self._leave_mark()
        self._send()

    def refresh(self, sizes: Mapping[str, int], has_ended: bool) -> None:
        """Makes what lies here what the storage holds, but for checkpoints and for a trial that is further here.

        Args:
            sizes: Of the trial's files in the storage.
            has_ended: Whether the trial is in the books as ended.
        """
        if has_ended:
            if any(self._size_here(name) != size for name, size in self._but_checkpoints(sizes).items()):
                self._download(self._but_checkpoints(sizes))
            return
        with writing_to(self._folder.path):
            for path in (self._folder.config, self._folder.error, self._folder.result):
                if self._relative(path) not in sizes:
                    path.unlink(missing_ok=True)  # counts when the storage has it
        if sizes:
            self.fetch()

    def fetch(self) -> None:
        """Downloads what is needed to know how the trial is doing, unless it is done here: all but the checkpoint."""
        theirs = self._their_mark()
        if theirs is not None and theirs == self._my_mark():
            return
        there = self._there()
        with writing_to(self._created().path):
            for path in (self._folder.error, self._folder.result):
                if self._relative(path) not in there:
                    path.unlink(missing_ok=True)
        self._download(self._but_checkpoints(there))

    def _begin(self, settings: Mapping[str, Any]) -> None:
        self._confirm_lease()
        if self._their_mark() not in (self._my_mark(), self._mark):
            self._replace()
        results = (self._folder.error, self._folder.result)
        with writing_to(self._folder.path):
            for path in results:
                path.unlink(missing_ok=True)
        for path in results:
            self._storage.delete(self._relative(path))
        self._leave_mark()
        write_json(self._folder.config, settings)
        self._send()

    def _confirm_lease(self) -> None:
        if self._lease is not None:
            confirm(StorageLease(self._storage), self._lease)

    def _leave_mark(self) -> None:
        self._storage.write(f"{self._name}/{_MARK}", self._mark)
        write_text(self._created().path / _MARK, self._mark.decode())

    def _for_minutes(self, action: Callable[[], None]) -> None:
        try:
            patiently(_LAST_PATIENCE_SECONDS, action)
        except OSError as error:
            raise StorageFault(f"cannot use {self._storage}: {reason(error)}; run the same command again") from None

    def _send(self) -> None:
        """Sends files that have changed since they were sent last."""
        if self._my_mark() != self._mark:  # what lies here now began later than what the storage has
            raise AttemptLostError(f"{self._folder.path}: was removed or replaced while the trial ran")
        if self._their_mark() != self._mark:
            raise AttemptLostError(f"{self._storage}/{self._name}: another attempt at this trial has begun")
        for path in self._here():
            self._upload(path)

    def _upload(self, path: Path) -> None:
        name, signature = self._relative(path), signature_of(path)
        if signature is None or self._sent.get(name) == signature:
            return
        source = next((other for other, sent in self._sent.items() if sent == signature), None)
        if source is None:
            self._storage.upload(path, name)
        else:
            self._storage.copy(source, name)  # renamed since, as a checkpoint that becomes the one before
        self._sent[name] = signature

    def _here(self) -> Iterator[Path]:
        """The files to send: what a checkpoint refers to before it, the curve behind it, the result as the last."""
        folders = (self._folder.path, self._run.tb / self._folder.uid)
        paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        late = (self._folder.curve, self._folder.error, self._folder.result)
        paths.sort(
            key=lambda path: late.index(path) + 2 if path in late else path.is_relative_to(self._folder.checkpoint)
        )
        for path in paths:
            if not is_temporary(path.name) and path != self._folder.path / _MARK:
                yield path

    def _replace(self) -> None:
        """Has what the storage holds take the place of what lies here: all that is needed to go on."""
        there = self._there()
        with writing_to(self._created().path):
            (self._folder.path / _MARK).unlink(missing_ok=True)  # first: whoever dies from here on begins again
            for path in self._here():
                if self._relative(path) not in there:
                    self._refuse_links_above(path)
                    path.unlink(missing_ok=True)
        self._download(there)

    def _but_checkpoints(self, sizes: Mapping[str, int]) -> dict[str, int]:
        left_out = f"{self._name}/checkpoint/", f"{self._name}/{_MARK}"
        return {name: size for name, size in sizes.items() if not name.startswith(left_out)}

    def _download(self, sizes: Mapping[str, int]) -> None:
        for name, size in self._but_checkpoints(sizes).items():
            refuse_oversized(self._storage, name, size)
        for name in sizes:
            self._refuse_links_above(self._run.path / name)
            self._storage.download(name, self._run.path / name)

    def _refuse_links_above(self, path: Path) -> None:
        for folder in list(path.parents)[: len(path.relative_to(self._run.path).parts) - 1]:
            if folder.is_symlink():
                raise UserError(f"{folder}: a link; nothing in a run directory may lead out of it")

    def _created(self) -> TrialDir:
        with writing_to(self._folder.path):
            return self._folder.create()

    def _there(self) -> dict[str, int]:
        sizes = {**self._storage.sizes(self._name), **self._storage.sizes(f"tb/{self._folder.uid}")}
        return {name: size for name, size in sizes.items() if name != f"{self._name}/{_MARK}"}

    def _size_here(self, name: str) -> int | None:
        signature = signature_of(self._run.path / name)
        return None if signature is None else signature[-1]

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._run.path).as_posix()

    def _their_mark(self) -> bytes | None:
        return self._storage.read(f"{self._name}/{_MARK}", _LARGEST_MARK)

    def _my_mark(self) -> bytes | None:
        try:
            return (self._folder.path / _MARK).read_bytes()
        except FileNotFoundError:
            return None


def signature_of(path: Path) -> _Signature | None:
    """Changes when a file is replaced or grows, not when it is renamed; None if it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
