"""Where a sweep with a storage (``--storage``) differs: what drivers and workers do so that no disk need be shared."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray.tune import Callback

from raynas_snn.cluster.capacity import Capacity
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.pulse import Pulse
from raynas_snn.cluster.searcher import LedgerSearcher, config_of
from raynas_snn.errors import StorageFault
from raynas_snn.results.claim import ClaimLostError
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.run_mirror import RunMirror
from raynas_snn.results.storage import Storage, patiently, reason
from raynas_snn.results.trial_mirror import TrialMirror

_PATIENCE_SECONDS = 60.0
_STORAGE = "storage"

Report = Callable[[dict[str, Any]], None]


class MirroringSearcher(LedgerSearcher):
    """Gives a trial out when the storage knows of its proposal: no trial's folder is there without."""

    def __init__(
        self, ledger: Ledger, constants: dict[str, Any], capacity: Capacity, pulse: Pulse, mirror: RunMirror
    ) -> None:
        super().__init__(ledger, {**constants, _STORAGE: [mirror.url, mirror.name, mirror.claim]}, capacity, pulse)
        self._mirror = mirror
        self._held: Any = None
        self._held_as = ""  # Tune asks under another name each time

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None if it has to wait, as for a storage that cannot be reached.

        Raises:
            StorageFault: If the sweep has to end.
        """
        self._mirror.check()
        self._pulse.beat()  # also while a proposal is held
        if self._pulse.interruption.has_come:
            return None
        if self._held is None:
            self._held, self._held_as = super().suggest(trial_id), trial_id
        if not self._mirror.try_send():
            return None
        if self._held_as in self._given_out:
            self._given_out = self._given_out - {self._held_as} | {trial_id}
        suggestion, self._held = self._held, None
        if isinstance(suggestion, dict):
            # That of an earlier attempt must not be booked if the one of this attempt cannot be had.
            self._ledger.run.trial(json.loads(suggestion["trial"])["uid"]).result.unlink(missing_ok=True)
        return suggestion


class Fetching(Callback):
    """Brings what an ended trial has found, before it is booked."""

    def __init__(self, mirror: RunMirror) -> None:
        self._mirror = mirror

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; nobody reads that back, so there is nothing in it."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Ends the sweep if it cannot go on; Tune would take what is raised elsewhere for the failure of a trial."""
        self._mirror.check()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Brings the files of a trial that ended by itself or was stopped."""
        self._mirror.check()  # raising here keeps a trial from being booked without its files
        uid = config_of(trial).uid
        try:
            patiently(_PATIENCE_SECONDS, self._mirror.trial(uid).fetch)
        except StorageFault as fault:  # of the disk here
            self._mirror.fail(str(fault))
            self._mirror.check()
        except OSError as error:
            if not self._mirror.run.trial(uid).result.is_file():
                self._mirror.fail(
                    f"cannot read what trial {uid} has found: {reason(error)}; run the same command again"
                )
                self._mirror.check()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Brings the files of a trial whose process died."""
        self.on_trial_complete(iteration, trials, trial, **info)


@contextmanager
def mirrored(config: dict[str, Any], uid: str, report: Report, rank: int = 0, size: int = 1) -> Iterator[Report]:
    """Gives the workers of a trial the same files to go on from, and sends what the first one writes in the body.

    Args:
        config: What the trial's processes are given; without a storage in it nothing happens here.
        uid: Names the trial.
        report: What tells Tune about an epoch.
        rank: This worker's number.
        size: How many workers there are.

    Yields:
        What to call instead of ``report``: it sends first, so that whatever was told is in the storage.
    """
    mirror = _mirror_of(config, uid)
    if mirror is None:
        yield report
        return
    if rank == 0:
        mirror.begin(json.loads(config["trial"]))
    if size > 1:
        from torch import distributed

        distributed.barrier()
        if rank > 0:
            mirror.follow()
        distributed.barrier()  # the first worker writes from here on
    if rank > 0:
        yield report
        return
    try:
        yield lambda row: report(mirror.after_epoch(row))
    except Exception:
        mirror.try_send()
        raise
    mirror.finish()


@contextmanager
def fetched(config: dict[str, Any], uid: str) -> Iterator[None]:
    """For the process that waits for a trial's workers in the body: if they fail, their reason may be elsewhere."""
    mirror = _mirror_of(config, uid)
    if mirror is None:
        yield
        return
    try:
        yield
    except Exception:
        with suppress(OSError):
            mirror.fetch()
        raise


def send_result(config: dict[str, Any], uid: str) -> None:
    """Sends how a trial failed, if there is a storage that can be reached."""
    mirror = _mirror_of(config, uid)
    if mirror is not None:
        with suppress(OSError, ClaimLostError):
            mirror.send_result()


def _mirror_of(config: dict[str, Any], uid: str) -> TrialMirror | None:
    """A trial's copy in the storage, seen from this machine; None without a storage."""
    if _STORAGE not in config:
        return None
    url, name, claim = config[_STORAGE]
    return TrialMirror(Storage(url).folder(name), RunDir(Path(config["run_dir"])), uid, claim)
