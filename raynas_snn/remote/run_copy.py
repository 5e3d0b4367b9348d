"""A run in a storage (``--storage``), of which the run directory here is a cache.

The storage is the truth. A driver takes the lease there, and what the storage holds replaces what lies here. Then each
trial's processes send the trial's files (`raynas_snn.remote.trial_copy`), and the driver sends the books: a trial's
files are there before the books say that it has ended.
"""

import os
import shlex
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from raynas_snn.core.errors import StorageFault, UserError, writing_to
from raynas_snn.core.periodic import periodically
from raynas_snn.remote.storage import (
    ANSWER_SECONDS,
    Storage,
    is_temporary,
    patiently,
    reason,
    refuse_oversized,
    within,
)
from raynas_snn.remote.storage_lease import StorageLease
from raynas_snn.remote.trial_copy import TrialCopy, signature_of
from raynas_snn.run.lease import Lease, LeaseLostError
from raynas_snn.run.records import UID
from raynas_snn.run.run_dir import LARGEST_MANIFEST, RunDir

_Plan = TypeVar("_Plan")

_RECORDS, _CONFIG, _MANIFEST = "trials.jsonl", "config.yaml", "manifest.json"
_BOOKS = (_RECORDS, _CONFIG, _MANIFEST)  # sent and downloaded in this order: the last one makes it a run
_STAYS = ("lock", "ray.log")
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_BOOK_SECONDS = 600.0  # for the largest book on a slow line


class RunCopy:
    """One run in a storage.

    Args:
        url: What ``--storage`` says; the run's folder there has the name of the run directory.
        run_dir: The run directory.

    Attributes:
        run: The run directory.
        url: The storage, in which the run has a folder.
        name: The name of that folder.
        storage: That folder.
        say: Shows one line.

    Raises:
        UserError: If the URL is none, holds credentials, or leads to the run directory itself.
    """

    def __init__(self, url: str, run_dir: Path) -> None:
        base = Storage(url)
        self.run = RunDir(run_dir)
        self.url = base.url
        self.name = os.path.basename(os.path.abspath(run_dir))  # noqa: PTH100, PTH119 (also of "." and "..")
        self.storage = base.folder(self.name)
        with base.explained():
            within(ANSWER_SECONDS, partial(_refuse_overlap, self.storage, run_dir))
        self.say: Callable[[str], None] = print
        self._sent: dict[Path, object] = {}
        self._sending = threading.Lock()
        self._failing = False

    def plan(self, make: Callable[[Path], _Plan]) -> _Plan:
        """Returns what ``make`` makes of the storage's books, or of the run directory if the storage holds no run."""
        with tempfile.TemporaryDirectory(prefix="raynas-snn-") as folder:
            with self.storage.explained():
                is_there = self._is_there()
                if is_there:
                    self._bring_books(Path(folder))
            if not is_there:
                return make(self.run.path)
            try:
                return make(Path(folder))
            except UserError as error:
                raise UserError(str(error).replace(folder, str(self.storage))) from None

    @contextmanager
    def connected(self) -> Iterator["RunCopy"]:
        """Keeps other drivers out in the body, and sends what changes; before it, brings what the storage holds.

        Raises:
            UserError: If the storage cannot be used, another driver is at work on the run, or what lies here is no
                copy of it.
            StorageFault: If the disk here does not take what the storage holds, another driver has taken over, or the
                storage cannot be reached at the end.
        """
        self.run.refuse_links()  # what is brought would go where they lead
        self.storage.check()
        with ExitStack() as stack:
            with self.storage.explained():
                self._lease = stack.enter_context(Lease(StorageLease(self.storage)).held(self.say))
                with self.run.lock() if RunDir.is_run(self.run.path) else nullcontext():
                    if self._is_there():
                        self._bring()
                    elif RunDir.is_run(self.run.path):
                        self._send_everything()
                self._lease.confirm()  # that may have taken long
            try:
                with periodically(_LOOK_SECONDS, self.try_send, "storage"):
                    yield self
            except BaseException:
                self.try_send()
                raise
            try:
                patiently(_PATIENCE_SECONDS, self._send_all)
            except OSError as error:
                raise StorageFault(
                    f"cannot write to {self.storage}: {reason(error)}; run the same command again"
                ) from None

    @property
    def address(self) -> list[str]:
        """What the processes of trials need to know."""
        return [self.url, self.name, self._lease.id]

    def begin(self) -> None:
        """Sends the books of this start; to be called before a trial may send anything.

        Raises:
            UserError: If the storage cannot be used, or another driver has taken over.
        """
        with self.storage.explained():
            self._send_books()

    def check(self) -> None:
        """Raises `LeaseLostError` if another driver has taken over."""
        self._lease.check()

    def try_send(self, anyway: bool = False) -> bool:
        """Sends the books now if that is possible, and says whether it was; never when another has taken over.

        Args:
            anyway: Whether to ask the storage even if there is nothing to send.
        """
        try:
            if anyway:
                self._lease.confirm()
            self._send_books()
        except LeaseLostError:
            return False
        except OSError as error:
            if not self._failing:
                self.say(f"warning: cannot write to {self.storage}, trying on: {reason(error)}")
            self._failing = True
            return False
        if self._failing:
            self.say(f"{self.storage} answers again")
        self._failing = False
        return True

    def announce(self, uid: str) -> None:
        """Has the storage know of a trial before its processes send anything; they do it if it cannot be reached."""
        with suppress(OSError):
            self._lease.confirm()
            self.trial(uid).announce()

    def bring_result(self, uid: str) -> None:
        """Brings what an ended trial has found, before it is booked.

        Raises:
            StorageFault: If that cannot be had, or another driver has taken over.
        """
        self.check()
        try:
            patiently(_PATIENCE_SECONDS, self.trial(uid).fetch)
        except OSError as error:
            if not self.run.trial(uid).result.is_file():
                raise StorageFault(
                    f"cannot read what trial {uid} has found: {reason(error)}; run the same command again"
                ) from None

    def send_failure(self, uid: str) -> None:
        """Sends what the driver has written of a trial whose process died, if the storage can be reached."""
        with suppress(OSError, LeaseLostError):
            self._lease.confirm()
            self.trial(uid).send_failure()

    def trial(self, uid: str) -> TrialCopy:
        """The copy of one trial's folder."""
        return TrialCopy(self.storage, self.run, uid)

    def _is_there(self) -> bool:
        """Whether the storage holds the run; raises `UserError` if something else lies here."""
        self._sizes = within(ANSWER_SECONDS, partial(self.storage.sizes, recursive=False))
        if not {_CONFIG, _MANIFEST} <= self._sizes.keys():
            return False
        if not RunDir.is_run(self.run.path):
            if not _names_in(self.run.path) <= {*_BOOKS, "lock"}:  # more than a download that was cut off has left
                RunDir.check_free(self.run.path)
            return True
        starts = self.run.manifest().get("starts") or [{}]
        is_cache = _without_options(starts[-1].get("storage")) == _without_options(self.url)
        manifest = partial(self.storage.read, _MANIFEST, LARGEST_MANIFEST)
        if not is_cache and within(_BOOK_SECONDS, manifest) != _whole_lines(self.run.path / _MANIFEST):
            raise UserError(
                f"{self.run.path}: holds a run that was not kept in {self.storage}; "
                f"move it away to go on with what is in {self.storage}"
            )
        return True

    def _bring_books(self, folder: Path) -> None:
        for name in _BOOKS:
            if name in self._sizes:
                refuse_oversized(self.storage, name, self._sizes[name])
                within(_BOOK_SECONDS, partial(self.storage.download, name, folder / name))

    def _bring(self) -> None:
        """Replaces the books and the trials' files here, but for checkpoints, which go where a trial goes on."""
        with writing_to(self.run.path):
            self.run.journal.unlink(missing_ok=True)  # is made anew
            if _RECORDS not in self._sizes:
                self.run.records_file.unlink(missing_ok=True)
        self._bring_books(self.run.path)
        ended = {record.uid for record in self.run.records()}
        there: dict[str, dict[str, int]] = {folder.uid: {} for folder in self.run.trials()}
        for name, size in {**self.storage.sizes("trials"), **self.storage.sizes("tb")}.items():
            folder, uid, *inside = name.split("/")
            if inside and UID.fullmatch(uid) and (folder == "trials" or uid in there):
                there.setdefault(uid, {})[name] = size
        for uid, sizes in sorted(there.items()):
            self.check()
            self.trial(uid).refresh(sizes, uid in ended)

    def _send_everything(self) -> None:
        """Sends a run that had no storage."""
        for folder in self.run.trials():
            self.check()
            self.trial(folder.uid).upload()
        self._send_all()

    def _send_all(self) -> None:
        """Sends whatever of the driver's the storage lacks, the books last; nothing if there is no run."""
        if RunDir.is_run(self.run.path):
            for path in [*sorted(self.run.path.iterdir()), *sorted(self.run.report.rglob("*"))]:
                if path.is_file() and path.name not in (*_BOOKS, *_STAYS) and not is_temporary(path.name):
                    self._send(path, signature_of(path), path.read_bytes())
            self._send_books()

    def _send_books(self) -> None:
        with self._sending:
            paths = [self.run.path / name for name in _BOOKS]
            # Read the other way round: a sweep that is widened writes the records before the settings.
            books = [(path, signature_of(path), _whole_lines(path)) for path in reversed(paths)]
            for path, signature, data in reversed(books):
                self._send(path, signature, data)

    def _send(self, path: Path, signature: object, data: bytes | None) -> None:
        if data is not None and self._sent.get(path) != signature:
            self._lease.confirm()
            self.storage.write(path.relative_to(self.run.path).as_posix(), data)
            self._sent[path] = signature


def refuse_without_storage(run_dir: Path) -> None:
    """Raises `UserError` if a run was started with a storage: what others have done for it may be there only."""
    starts = RunDir(run_dir).manifest().get("starts", []) if RunDir.is_run(run_dir) else []
    url = starts[-1].get("storage") if starts else None
    if url is not None:
        known = f" {shlex.quote(url)}" if isinstance(url, str) else ""  # anybody may have written it
        raise UserError(f"{run_dir}: is kept in a storage; give --storage{known} as before")


def _refuse_overlap(storage: Storage, run_dir: Path) -> None:
    """Raises `UserError` if a run and its copy would be written into each other."""
    there, here = storage.local_path, Path(os.path.realpath(run_dir))
    if there is not None and (there.is_relative_to(here) or here.is_relative_to(there)):
        raise UserError(
            f"--storage: the copy would be in {there}, which is not apart from the run directory {here}; "
            "choose another folder"
        )


def _without_options(url: object) -> str:
    return str(url).partition("?")[0].rstrip("/")


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not is_temporary(path.name)} if folder.is_dir() else set()


def _whole_lines(path: Path) -> bytes | None:
    """A file without a last line that is still being written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data[: data.rfind(b"\n") + 1]
