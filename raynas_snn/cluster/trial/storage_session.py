"""Downloads a trial's files from the storage (``--storage``) at the start, and uploads what its processes write."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from raynas_snn.remote.storage import Storage
from raynas_snn.remote.trial_copy import TrialCopy
from raynas_snn.run.lease import LeaseLostError
from raynas_snn.run.run_dir import RunDir

STORAGE = "storage"  # in what the trial's processes are given

SendRow = Callable[[dict[str, Any]], None]


@contextmanager
def stored(config: dict[str, Any], uid: str, report: SendRow, rank: int = 0, size: int = 1) -> Iterator[SendRow]:
    """Gives all workers of a trial the same files to resume from, and uploads what the first one writes in the body.

    Args:
        config: The arguments of the trial's processes; without a storage in it, this does nothing.
        uid: Uid of the trial.
        report: Reports an epoch to Tune.
        rank: Rank of this worker.
        size: Number of workers.

    Yields:
        A replacement for ``report`` that uploads first, so every reported epoch is in the storage.
    """
    copy = _copy_of(config, uid)
    if copy is None:
        yield report
        return
    if rank == 0:
        copy.begin(json.loads(config["trial"]))
    if size > 1:
        from torch import distributed

        distributed.barrier()
        if rank > 0:
            copy.follow()
        distributed.barrier()  # the first worker writes from here on
    if rank > 0:
        yield report
        return
    try:
        yield lambda row: report(copy.after_epoch(row))
    except Exception:
        copy.try_send()
        raise
    copy.finish()


@contextmanager
def fetched(config: dict[str, Any], uid: str) -> Iterator[None]:
    """For the process that waits for a trial's workers: if they fail, downloads the files that say why."""
    try:
        yield
    except Exception:
        if (copy := _copy_of(config, uid)) is not None:
            with suppress(OSError):
                copy.fetch()
        raise


def send_failure(config: dict[str, Any], uid: str) -> None:
    """Uploads the files that say why a trial failed, if there is a storage and it can be reached."""
    if (copy := _copy_of(config, uid)) is not None:
        with suppress(OSError, LeaseLostError):
            copy.send_failure()


def _copy_of(config: dict[str, Any], uid: str) -> TrialCopy | None:
    """A trial's copy in the storage, seen from this machine; None without a storage."""
    if STORAGE not in config:
        return None
    url, name, lease = config[STORAGE]
    return TrialCopy(Storage(url).folder(name), RunDir(Path(config["run_dir"])), uid, lease)
