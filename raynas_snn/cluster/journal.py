"""Optuna's journal as a file of ours: read once and checked line by line, then only appended to.

The format is Optuna's own. The lock of the run directory keeps other drivers away, so the journal needs none. What a
driver that was killed, or a full disk, has left of a last line does not count, and the next append cuts it off;
anything else that is no journal is refused and left as it is.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from raynas_snn.errors import UserError
from raynas_snn.outside import UnfitFileError, read_bytes
from raynas_snn.results.files import append_line, write_text

STUDY_NAME = "sweep"

_LARGEST = 2**30  # bytes; a proposal takes a few thousand
_BEGINNING = b'{"op_code":'
_PRINTABLE = re.compile(rb"[ -~]*")  # Optuna escapes whatever is not ASCII
_CREATE_STUDY, _CREATE_TRIAL = 0, 4  # of Optuna's operations


class Journal(BaseJournalBackend):
    """A journal file for the one storage that reads it and appends to it.

    Args:
        path: The file; one that is not there is made by the first append.

    Raises:
        UserError: If it cannot be read, or ends in anything but whole lines and the beginning of one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0  # the one that is being read
        content = _read(path)
        *self._lines, torn = content.split(b"\n")
        if not (_PRINTABLE.fullmatch(torn) and torn[: len(_BEGINNING)] == _BEGINNING[: len(torn)]):
            raise garbled(path, "not a line of a journal", len(self._lines) + 1)
        self._fresh: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yields the operations that were not read before: first those of the file, then those appended since."""
        num_trials = 0
        lines, self._lines = self._lines, []
        for self.line, line in enumerate(lines, start=1):
            operation = json.loads(line)
            # Optuna passes over what belongs to no study or trial; here it means that lines are missing.
            if self.line == 1 and operation["op_code"] != _CREATE_STUDY:
                raise ValueError("no study")
            if operation.get("study_id", 0) != 0 or not 0 <= operation.get("trial_id", 0) < max(1, num_trials):
                raise ValueError("no such study or trial")
            num_trials += operation["op_code"] == _CREATE_TRIAL
            yield operation
        fresh, self._fresh = self._fresh, []
        yield from fresh

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Appends operations and waits until they are on disk; one that fails leaves the file as it was."""
        for log in logs:
            append_line(self.path, json.dumps(log, separators=(",", ":")))
            self._fresh.append(log)


class _InMemory(BaseJournalBackend):
    """Operations that are kept until all of them are known."""

    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += logs


class Draft:
    """A study that is to take the place of a journal: nothing is written before it is whole.

    Args:
        directions: Those of the sweep's objectives.
        attributes: The study's user attributes.
        system_attributes: Its system attributes.

    Attributes:
        study: The study, without trials at first.
    """

    def __init__(
        self, directions: list[StudyDirection], attributes: Mapping[str, Any], system_attributes: Mapping[str, Any]
    ) -> None:
        self._operations = _InMemory()
        storage = JournalStorage(self._operations)
        self.study = optuna.create_study(storage=storage, study_name=STUDY_NAME, directions=directions)
        for name, value in attributes.items():
            self.study.set_user_attr(name, value)
        for name, value in system_attributes.items():
            storage.set_study_system_attr(self.study._study_id, name, value)

    def replace(self, path: Path) -> None:
        """Makes it the journal in ``path``, all or nothing."""
        write_text(path, "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in self._operations.logs))


def open_journal(path: Path) -> JournalStorage:
    """Returns what a journal holds, checked.

    Args:
        path: The file; it is changed by the first operation that is added.

    Raises:
        UserError: Names the file and the first line that is wrong, and the way out.
    """
    journal = Journal(path)
    try:
        storage = JournalStorage(journal)
    except (ValueError, RecursionError) as error:
        what = "not JSON" if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError) else ""
        raise garbled(path, what or "not an operation that Optuna knows", journal.line) from None
    except Exception:  # Optuna takes operations as they come, and stumbles in as many ways as there are wrong ones
        raise garbled(path, "not an operation that Optuna knows", journal.line) from None
    studies = storage.get_all_studies()
    if [study.study_name for study in studies] not in ([], [STUDY_NAME]):
        raise garbled(path, "holds another study")
    for study in studies:
        for trial in storage.get_all_trials(study._study_id, deepcopy=False):
            if not _is_sound(trial, len(study.directions)):
                raise garbled(path, f"its trial {trial.number} is not one that Optuna could have written")
    return storage


def garbled(path: Path, what: str, line: int | None = None) -> UserError:
    """The error for a journal that cannot be gone on with: what is wrong, where, and the way out."""
    where = path if line is None else f"{path}, line {line}"
    return UserError(
        f"{where}: {what}; move it away and run the same command: the proposals are then rebuilt from trials.jsonl "
        "and the folder trials"
    )


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path, _LARGEST)
    except FileNotFoundError:
        return b""
    except UnfitFileError as error:
        raise garbled(path, str(error.strerror)) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _is_sound(trial: optuna.trial.FrozenTrial, num_objectives: int) -> bool:
    """Whether a trial is in itself as Optuna makes them."""
    try:
        trial._validate()
        fixed = trial.system_attrs.get("fixed_params", {})
        return (
            isinstance(trial.user_attrs, dict)
            and isinstance(fixed, dict)
            and (trial.state != TrialState.COMPLETE or len(trial.values) == num_objectives)
            and all(isinstance(value, int | float) for value in trial.values or [])
        )
    except Exception:
        return False
