"""One trial's folder and its copy in a storage.

Each attempt at a trial leaves its mark on both. While the marks are the same, nobody else has touched the copy since,
and what lies here is as far or further; if they are not, the copy is the truth.
"""

import json
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from raynas_snn.errors import StorageFault, UserError, writing_to
from raynas_snn.results.claim import confirm
from raynas_snn.results.files import write_json, write_text
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.storage import Storage, is_temporary, patiently, reason, refuse_oversized
from raynas_snn.results.trial_dir import TrialDir
from raynas_snn.trial import EpochRow

_MARK = "attempt.json"
_LARGEST_MARK = 2**14  # bytes
_PATIENCE_SECONDS = 5.0  # after the first epoch that cannot be sent; all workers wait meanwhile
_LAST_PATIENCE_SECONDS = 120.0

_Signature = tuple[int, int, int]


class AttemptLostError(StorageFault):
    """The trial was begun again elsewhere; this driver has nothing more to say about it."""


class TrialMirror:
    """Brings a trial's folder from a storage and back.

    Args:
        storage: The folder of the run there.
        run: The run directory here, which need not exist on a machine that only works for the run.
        uid: Names the trial.
        claim: Of the driver that has given the trial out; None for the driver itself, which looks at it elsewhere.
    """

    def __init__(self, storage: Storage, run: RunDir, uid: str, claim: str | None = None) -> None:
        self._storage = storage
        self._run = run
        self._folder = run.trial(uid)
        self._name = f"trials/{uid}"
        self._claim = claim
        self._mark: bytes | None = None
        self._sent: dict[str, _Signature] = {}
        self._failing = False

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Makes both copies the same as the later of the two, and says that from now on this attempt continues them.

        Args:
            settings: Of the trial; the driver may have written them on another machine.

        Raises:
            ClaimLostError: If the run was taken over by another driver.
            StorageFault: If the storage cannot be reached for minutes, or the disk here does not take what it holds.
        """
        self._for_minutes(lambda: self._begin(settings))

    def adopt(self) -> None:
        """Sends a trial that the storage does not know; raises OSError if the storage cannot be reached."""
        self._take()
        self._send()

    def lacks(self, sizes: Mapping[str, int]) -> bool:
        """Whether there is a file in the copy, and not here, that is needed to know how the trial went.

        Args:
            sizes: Of the files in the copy.
        """
        return not all((self._run.path / name).exists() or self._is_left_out(name) for name in sizes)

    def send_rest(self, sizes: Mapping[str, int]) -> None:
        """Sends what the last attempt could not, if that was here and nobody else has touched the copy since.

        Args:
            sizes: Of the files in the copy.

        Raises:
            OSError: If the storage cannot be reached.
        """
        if all(sizes.get(name) == path.stat().st_size for name, path in self._here()):
            return
        self._mark = self._my_mark()
        if self._mark is not None and self._mark == self._their_mark():
            self._send()  # all of it: checkpoints of one size may differ

    def _begin(self, settings: Mapping[str, Any]) -> None:
        self._check_driver()
        if self._their_mark() not in (None, self._my_mark()):
            self.pull()
        with writing_to(self._folder.path):
            self._folder.result.unlink(missing_ok=True)
        for result in (self._folder.result, self._folder.error):
            self._storage.delete(self._relative(result))
        self._take()
        write_json(self._folder.config, settings)
        self._send()

    def _check_driver(self) -> None:
        if self._claim is not None:
            confirm(self._storage, self._claim)

    def _take(self) -> None:
        """Leaves the mark of this attempt on both copies."""
        text = json.dumps({"attempt": uuid.uuid4().hex, "host": socket.gethostname()})
        self._storage.write(f"{self._name}/{_MARK}", text.encode())
        write_text(self._created().path / _MARK, text)
        self._mark = text.encode()

    def follow(self) -> None:
        """For the other workers, after the first one's `begin`: takes its files unless they are in the same folder."""
        if self._their_mark() != self._my_mark():
            self.pull()

    def pull(self) -> None:
        """Brings everything that is needed to go on."""
        with writing_to(self._created().path):
            (self._folder.path / _MARK).unlink(missing_ok=True)
        there = self._there()
        self._bring({name: there[name] for name in there if not name.endswith(("/result.json", "/error.txt"))})

    def fetch(self) -> None:
        """Brings what is needed to know how the trial is doing: all but the checkpoint.

        Raises:
            OSError: If the storage cannot be reached.
            StorageFault: If the disk here does not take it.
        """
        theirs = self._their_mark()
        if theirs is None or theirs == self._my_mark():
            return
        there = self._there()
        with writing_to(self._created().path):
            for result in (self._folder.result, self._folder.error):
                if self._relative(result) not in there:
                    result.unlink(missing_ok=True)
        self._bring({name: there[name] for name in there if not self._is_of_checkpoint(name)})

    def send_result(self) -> None:
        """Sends how the trial failed, and nothing else.

        Raises:
            ClaimLostError: If the run was taken over by another driver.
            OSError: If the storage cannot be reached.
        """
        self._check_driver()
        for result in (self._folder.error, self._folder.result):
            if result.is_file():
                self._storage.upload(result, self._relative(result))

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

    def _for_minutes(self, action: Callable[[], None]) -> None:
        try:
            patiently(_LAST_PATIENCE_SECONDS, action)
        except OSError as error:
            raise StorageFault(f"cannot use {self._storage}: {reason(error)}; run the same command again") from None

    def _send(self) -> None:
        """Sends files that have changed since they were sent last."""
        if self._their_mark() != self._mark:
            raise AttemptLostError(f"{self._storage}/{self._name}: another attempt at this trial has begun")
        for name, path in self._here():
            signature = _signature(path)
            if signature is None or self._sent.get(name) == signature:
                continue
            source = next((other for other, sent in self._sent.items() if sent == signature), None)
            if source is None:
                self._storage.upload(path, name)
            else:
                self._storage.copy(source, name)  # renamed since, as a checkpoint that becomes the one before
            self._sent[name] = signature

    def _here(self) -> Iterator[tuple[str, Path]]:
        """The files to send: what a checkpoint refers to before it, the curve behind it, the result as the last."""
        folders = (self._folder.path, self._run.tb / self._folder.uid)
        paths = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
        late = (self._folder.curve, self._folder.error, self._folder.result)
        paths.sort(
            key=lambda path: late.index(path) + 2 if path in late else path.is_relative_to(self._folder.checkpoint)
        )
        for path in paths:
            if not is_temporary(path.name) and path != self._folder.path / _MARK:
                yield self._relative(path), path

    def _created(self) -> TrialDir:
        with writing_to(self._folder.path):
            return self._folder.create()

    def _there(self) -> dict[str, int]:
        sizes = {**self._storage.sizes(self._name), **self._storage.sizes(f"tb/{self._folder.uid}")}
        return {name: sizes[name] for name in sorted(sizes) if name != f"{self._name}/{_MARK}"}

    def _bring(self, sizes: Mapping[str, int]) -> None:
        for name, size in sizes.items():
            if not self._is_of_checkpoint(name):
                refuse_oversized(self._storage, name, size)
            for folder in list((self._run.path / name).parents)[: name.count("/")]:
                if folder.is_symlink():
                    raise UserError(f"{folder}: a link; nothing in a run directory may lead out of it")
            self._storage.download(name, self._run.path / name)

    def _is_left_out(self, name: str) -> bool:
        return self._is_of_checkpoint(name) or name == f"{self._name}/{_MARK}"

    def _is_of_checkpoint(self, name: str) -> bool:
        return name.startswith(f"{self._name}/checkpoint/")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._run.path).as_posix()

    def _their_mark(self) -> bytes | None:
        return self._storage.read(f"{self._name}/{_MARK}", _LARGEST_MARK)

    def _my_mark(self) -> bytes | None:
        try:
            return (self._folder.path / _MARK).read_bytes()
        except FileNotFoundError:
            return None


def _signature(path: Path) -> _Signature | None:
    """Changes when a file is replaced or grows, not when it is renamed; None if it is gone."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
