"""What must be true of a run directory after everything that happened to its sweep."""

import csv
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from soak_trials import ACCOUNT

from raynas_snn.study.journal_export import STUDY_NAME


@dataclass
class Books:
    """The result of a check.

    Attributes:
        num_trials: Trials that were planned.
        lost: Trials that have no record.
        doubled: Trials with several records, or several lines for an epoch.
        failed: Trials recorded as failed.
        left_running: Proposals that the study still calls running or waiting.
        epochs_begun: Epochs begun by trials that keep account.
        epochs_repeated: Those begun more than once: the ones in flight when something was killed.
        epochs_lost: Epochs begun again although their checkpoint was there.
    """

    num_trials: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_running: int = 0
    epochs_begun: int = 0
    epochs_repeated: int = 0
    epochs_lost: int = 0

    @property
    def balanced(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.doubled or self.failed or self.left_running or self.epochs_lost)


def check_books(run: Path, num_proposals: int, num_seeds: int) -> Books:
    """Goes through all that a run has written."""
    planned = [f"p{proposal:04d}-s{seed}" for proposal in range(num_proposals) for seed in range(num_seeds)]
    records = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    times = Counter(record["uid"] for record in records)
    books = Books(len(planned))
    books.lost = [uid for uid in planned if uid not in times]
    books.doubled = [uid for uid in times if times[uid] > 1 or uid not in planned]
    books.failed = [f"{record['uid']}: {record['error']}" for record in records if record["end_reason"] == "failed"]
    storage = JournalStorage(JournalFileBackend(str(run / "study.journal")))
    states = Counter(trial.state for trial in optuna.load_study(study_name=STUDY_NAME, storage=storage).get_trials())
    books.left_running = states[TrialState.RUNNING] + states[TrialState.WAITING]
    for uid in planned:
        folder = run / "trials" / uid
        with (folder / "curve.csv").open() as file:
            epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
        if epochs != list(range(1, len(epochs) + 1)):
            books.doubled.append(f"{uid}: epochs {epochs}")
        if (folder / ACCOUNT).exists():
            _count_epochs((folder / ACCOUNT).read_text().splitlines(), books)
    return books


def _count_epochs(lines: list[str], books: Books) -> None:
    begun: set[str] = set()
    ended: set[str] = set()
    for line in lines:
        what, epoch = line.split()
        if what == "end":
            ended.add(epoch)
            continue
        books.epochs_begun += 1
        books.epochs_repeated += epoch in begun
        books.epochs_lost += epoch in ended
        begun.add(epoch)
