"""Exports the study to ``study.journal`` for optuna-dashboard, in Optuna's own format. The file is never read back.

It is rewritten at each start of a driver, so a missing, damaged or outdated one does no harm.
"""

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend, JournalFileBackend
from optuna.trial import FrozenTrial

from raynas_snn.core.errors import UserError, writing_to
from raynas_snn.study.outcomes import Outcome

STUDY_NAME = "sweep"


class JournalExport:
    """Keeps ``study.journal`` in step with a study.

    Args:
        path: The file, which is replaced.
        study: The study to export.

    Raises:
        UserError: If the path is a folder.
        StorageFault: If the disk cannot be written; the methods raise it too.
    """

    def __init__(self, path: Path, study: optuna.Study) -> None:
        self._path = path
        operations = _InMemory()
        copy = optuna.create_study(
            storage=JournalStorage(operations), study_name=STUDY_NAME, directions=study.directions
        )
        copy.add_trials(study.get_trials(deepcopy=False))
        scratch = path.with_name(f".{path.name}.tmp")
        if path.is_dir():
            raise UserError(f"{path}: not a file, but in its place; remove it")
        with writing_to(path):
            scratch.unlink(missing_ok=True)
            _backend(scratch).append_logs(operations.logs)
            scratch.replace(path)
            storage = JournalStorage(_backend(path))
        self._study = optuna.load_study(study_name=STUDY_NAME, storage=storage)

    def asked(self, trial: FrozenTrial) -> None:
        """Adds a new proposal."""
        with writing_to(self._path):
            self._study.add_trial(trial)

    def told(self, number: int, outcome: Outcome) -> None:
        """Adds the outcome of the proposal that is trial ``number`` of the study."""
        trial_id = self._study._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        with writing_to(self._path):
            outcome.set_on(self._study, trial_id)


class _InMemory(BaseJournalBackend):
    """Operations that are written at once when all of them are known."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs


class _NoLock:
    """The run directory's own lock keeps other drivers out, and readers need none."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _backend(path: Path) -> JournalFileBackend:
    return JournalFileBackend(str(path), _NoLock())  # type: ignore[arg-type] # Optuna does not export the base class
