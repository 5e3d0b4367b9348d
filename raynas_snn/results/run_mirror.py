"""A run directory and its copy in a storage, which is what machines share (``--storage``).

Each machine works in a directory of its own. Trials send their folders themselves (`raynas_snn.results.trial_mirror`);
the driver sends the books, in an order that keeps the copy whole at any instant: what a trial has found, then the
journal, then the records, which name nothing that the journal does not know.
"""

import os
import shlex
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from raynas_snn.errors import StorageFault, UserError, writing_to
from raynas_snn.results.claim import BEAT_SECONDS, Claim, ClaimLostError
from raynas_snn.results.copies import Copy, is_later
from raynas_snn.results.records import UID
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.storage import (
    ANSWER_SECONDS,
    Storage,
    is_temporary,
    patiently,
    reason,
    refuse_oversized,
    within,
)
from raynas_snn.results.trial_mirror import TrialMirror

_Plan = TypeVar("_Plan")

_JOURNAL, _RECORDS, _CONFIG, _MANIFEST = "study.journal", "trials.jsonl", "config.yaml", "manifest.json"
_LAST = (_JOURNAL, _RECORDS, _CONFIG, _MANIFEST)  # in this order; the manifest says which copy is the later one
_STAYS = ("lock", "ray.log")
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
_BOOK_SECONDS = 600.0  # for the largest book on a slow line


class RunMirror:
    """The copy of one run. As a context: keeps other drivers out, makes both copies the same, sends what changes.

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
        self._sent: dict[str, bytes] = {}
        self._sending = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        self._lost = False
        self._fault: str | None = None

    def plan(self, make: Callable[[Path], _Plan]) -> _Plan:
        """Returns what ``make`` makes of the later copy: of the run directory, or of one with the storage's books."""
        with self._books() as there:
            if not self._is_later(there):
                return make(self.run.path)
            try:
                return make(there.path)
            except UserError as error:
                raise UserError(str(error).replace(str(there.path), str(self.storage))) from None

    def __enter__(self) -> "RunMirror":
        """Makes both copies the same.

        Raises:
            UserError: If the storage cannot be used, or another driver is at work on the run.
            StorageFault: If the disk here does not take what the storage holds, or another driver has taken over.
        """
        self.storage.check()
        with self.storage.explained():
            self._claim = Claim(self.storage, self.say)
        self._claim.keep(self._lose, BEAT_SECONDS)
        try:
            self._settle()
            with self.storage.explained():
                self._claim.confirm()  # that may have taken long
        except BaseException:
            with suppress(OSError):
                self._claim.release()
            raise
        self._thread = threading.Thread(target=self._work, name="storage", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            if not self._lost:
                patiently(_PATIENCE_SECONDS if kind is None else 0, self._send_all)
                self._claim.release()
        except ClaimLostError as error:
            self._lose(error)
        except OSError as error:
            if kind is None:
                raise StorageFault(
                    f"cannot write to {self.storage}: {reason(error)}; everything is in {self.run.path}, and the same "
                    "command sends it"
                ) from None
        finally:
            self._claim.stop()
        if self._lost and kind is None:
            self.check()

    @property
    def claim(self) -> str:
        """Names this start of the driver."""
        return str(self._claim.facts["claim"])

    @property
    def facts(self) -> dict[str, Any]:
        """What the run notes of this start."""
        return {"storage": self.url, **self._claim.facts}

    def begin(self) -> None:
        """Sends the books of this start; to be called before a trial may send anything.

        Raises:
            UserError: If the storage cannot be used, or another driver has taken over.
        """
        with self.storage.explained():
            self._send_all()

    def trial(self, uid: str) -> TrialMirror:
        """The copy of one trial's folder."""
        return TrialMirror(self.storage, self.run, uid)

    def check(self) -> None:
        """Raises `StorageFault` if the sweep has to end: another driver has taken it over, or the storage failed it."""
        if self._fault is not None:
            raise StorageFault(self._fault)

    def fail(self, reason: str) -> None:
        """Ends the sweep at its next `check`."""
        self._fault = reason

    def try_send(self) -> bool:
        """Sends the books now if that is possible, and says whether it was; never when another has taken over."""
        if self._lost:
            return False
        try:
            self._send_books()
        except ClaimLostError as error:
            self._lose(error)
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

    def _work(self) -> None:
        """What the thread does: sends what has changed."""
        while not self._stop.wait(_LOOK_SECONDS) and not self._lost:
            self.try_send()

    def _lose(self, error: ClaimLostError) -> None:
        self._lost, self._fault = True, str(error)

    def _send_all(self) -> None:
        """Sends whatever the copy lacks; nothing if there is no run yet."""
        if RunDir.is_run(self.run.path):
            self._send(sorted(path for path in self.run.path.iterdir() if path.name not in _LAST))
            self._send(sorted(self.run.report.rglob("*")))
            self._send_books()

    def _send_books(self) -> None:
        with self._sending:
            # Read the other way round: this journal knows what these records name.
            books = [(name, _whole_lines(self.run.path / name)) for name in reversed(_LAST)]
            for name, data in reversed(books):
                self._send_bytes(name, data)

    def _send(self, paths: list[Path]) -> None:
        for path in paths:
            if path.is_file() and path.name not in _STAYS and not is_temporary(path.name):
                self._send_bytes(path.relative_to(self.run.path).as_posix(), path.read_bytes())

    def _send_bytes(self, name: str, data: bytes | None) -> None:
        if data is None:
            return
        digest = sha256(data).digest()
        if self._sent.get(name) != digest:
            self._claim.confirm()
            self.storage.write(name, data)
            self._sent[name] = digest

    def _settle(self) -> None:
        """Makes the copies the same: books and results of trials; checkpoints go where a trial goes on."""
        self.run.refuse_links()  # what is brought would go where they lead
        with ExitStack() as stack:
            if RunDir.is_run(self.run.path):
                stack.enter_context(self.run.lock())
            there = stack.enter_context(self._books())
            if self._is_later(there):
                with writing_to(self.run.path):
                    self._bring(there)
            if RunDir.is_run(self.run.path):
                self._exchange_trials()

    def _bring(self, there: RunDir) -> None:
        """Replaces the books here; the manifest last, which makes them a run, and the later one."""
        self.run.path.mkdir(parents=True, exist_ok=True)
        for name in sorted(_names_in(there.path), key=_LAST.index):
            temporary = self.run.path / f".{name}.{uuid.uuid4().hex}.tmp"
            try:
                with (there.path / name).open("rb") as source, temporary.open("xb") as target:
                    shutil.copyfileobj(source, target)
                temporary.replace(self.run.path / name)
            finally:
                temporary.unlink(missing_ok=True)

    def _exchange_trials(self) -> None:
        ended = {record.uid for record in self.run.records()}
        there: dict[str, dict[str, int]] = {}
        with self.storage.explained():
            for name, size in {**self.storage.sizes("trials"), **self.storage.sizes("tb")}.items():
                folder, uid, *inside = name.split("/")
                if inside and UID.fullmatch(uid) and (folder == "trials" or uid in there):
                    there.setdefault(uid, {})[name] = size
        for uid in sorted({folder.uid for folder in self.run.trials()} | there.keys()):
            self.check()
            with self.storage.explained():
                self._exchange(self.trial(uid), there.get(uid), uid in ended)

    @staticmethod
    def _exchange(mirror: TrialMirror, sizes: Mapping[str, int] | None, has_ended: bool) -> None:
        if sizes is None:
            mirror.adopt()
            return
        if not has_ended or mirror.lacks(sizes):
            mirror.fetch()
        mirror.send_rest(sizes)

    @contextmanager
    def _books(self) -> Iterator[RunDir]:
        """A temporary folder with the books from the storage."""
        with tempfile.TemporaryDirectory(prefix="raynas-snn-") as folder:
            with self.storage.explained():
                sizes = within(ANSWER_SECONDS, partial(self.storage.sizes, recursive=False))
                for name in _LAST:
                    if name in sizes:
                        refuse_oversized(self.storage, name, sizes[name])
                        within(_BOOK_SECONDS, partial(self.storage.download, name, Path(folder) / name))
            yield RunDir(Path(folder))

    def _is_later(self, there: RunDir) -> bool:
        if not RunDir.is_run(there.path):
            return False
        if RunDir.is_run(self.run.path):
            return is_later(Copy.of(there), Copy.of(self.run), str(self.storage), str(self.run.path))
        if not _names_in(self.run.path) <= {*_names_in(there.path), "lock"}:  # more than a killed `_bring` has left
            RunDir.check_free(self.run.path)
        return True


def refuse_without_storage(run_dir: Path) -> None:
    """Raises `UserError` if a run was started with a storage: what others have done for it may be there only."""
    starts = RunDir(run_dir).manifest().get("starts", []) if RunDir.is_run(run_dir) else []
    url = starts[-1].get("storage") if starts else None
    if url is not None:
        known = f" {shlex.quote(url)}" if isinstance(url, str) else ""  # anybody may have written it
        raise UserError(f"{run_dir}: keeps a copy in a storage; give --storage{known} as before")


def _refuse_overlap(storage: Storage, run_dir: Path) -> None:
    """Raises `UserError` if a run and its copy would be written into each other."""
    there, here = storage.local_path, Path(os.path.realpath(run_dir))
    if there is not None and (there.is_relative_to(here) or here.is_relative_to(there)):
        raise UserError(
            f"--storage: the copy would be in {there}, which is not apart from the run directory {here}; "
            "choose another folder"
        )


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not is_temporary(path.name)} if folder.is_dir() else set()


def _whole_lines(path: Path) -> bytes | None:
    """A file without a last line that is still being written."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return data[: data.rfind(b"\n") + 1]
