"""What is proposed, finished and missing: the one place that decides which trial runs next.

Two files are kept in step: Optuna's journal holds the proposals (`raynas_snn.cluster.proposals`), ``trials.jsonl``
the ended trials (one line per proposal and seed). A proposal that Optuna still calls running is taken up again at
the next start, under the same uid; nothing is asked twice, nothing is left running.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from raynas_snn.cluster.evidence import Evidence
from raynas_snn.cluster.proposals import Asked, Proposals
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import writing_to
from raynas_snn.results.planned import num_beyond
from raynas_snn.results.records import EndReason, TrialRecord
from raynas_snn.results.run_dir import RunDir


class Ledger:
    """The books of one run, open while its lock is held.

    Args:
        sweep: What is to be done; it may be wider than when the run was last started.
        run: Where it is recorded.

    Attributes:
        records: The trials that have ended, by uid.
        notes: What a user should know of how the books were found, one line each.

    Raises:
        UserError: If a file of the run is garbled, or belongs to another sweep.
    """

    def __init__(self, sweep: Sweep, run: RunDir) -> None:
        self.sweep = sweep
        self.run = run
        self.records = {record.uid: record for record in run.records()}
        evidence = Evidence(sweep, run, self.records)
        with writing_to(run.journal):
            self._proposals = Proposals(sweep, run.journal, evidence)
        self.notes = self._notes(evidence)
        self._waiting: deque[TrialConfig] = deque()
        self._made: Counter[object] = Counter()  # how often each point of the outer space was proposed
        proposals = self._proposals.asked()
        self._complete_records(proposals)
        for proposal in proposals:
            self._take_up(proposal)
        self._adopt_results()

    @property
    def num_trials(self) -> int:
        """Proposals times seeds that the sweep asks for, and what has ended beyond them."""
        return self.sweep.num_proposals() * self.sweep.config.sweep.num_seeds + self._num_beyond(self.records)

    @property
    def num_missing(self) -> int:
        """Trials that are neither ended nor given out."""
        unasked = max(0, self.sweep.num_proposals() - self._proposals.num_asked)
        return len(self._waiting) + unasked * self.sweep.config.sweep.num_seeds

    @property
    def num_lessons(self) -> int:
        """Proposals of another run that this one learns from."""
        return self._proposals.num_lessons

    def next_trial(self) -> TrialConfig | None:
        """The next trial to run: a further seed of an open proposal, or the first of a new one."""
        if not self._waiting and self._proposals.num_asked < self.sweep.num_proposals():
            with writing_to(self.run.journal):
                self._take_up(self._proposals.ask())
        return self._waiting.popleft() if self._waiting else None

    def _adopt_results(self) -> None:
        """Books trials that had finished when an earlier driver died before it could note it."""
        for trial in list(self._waiting):
            result = self.run.trial(trial.uid).read_result()
            if result is not None and "error" not in result:
                self._waiting.remove(trial)
                self.finish(trial, result)

    def finish(self, trial: TrialConfig, result: Mapping[str, Any]) -> TrialRecord:
        """Books a trial that ran to its end; an objective that is not a finite number makes it a failed one.

        Args:
            trial: What ran.
            result: Its ``result.json``: ``epochs`` and ``metrics``, with ``infeasible`` if its network was over a
                limit before it was trained, or ``epochs`` and ``error``.
        """
        metrics = {
            key: math.nan if value is None else float(value)  # files hold null for what is not finite
            for key, value in result.get("metrics", {}).items()
        }
        epochs, error = int(result["epochs"]), result.get("error")
        if "infeasible" in result:
            return self.book(trial, "infeasible", epochs, metrics, str(result["infeasible"]))
        for objective in self.sweep.config.sweep.objectives:
            if error is None and not math.isfinite(metrics.get(objective, math.nan)):
                error = f"the objective {objective!r} is {metrics.get(objective, 'missing')}"
        return self.book(trial, "finished" if error is None else "failed", epochs, metrics, error)

    def book(
        self,
        trial: TrialConfig,
        end_reason: EndReason,
        epochs: int,
        metrics: Mapping[str, float],
        error: str | None = None,
    ) -> TrialRecord:
        """Records how a trial ended, and tells Optuna when it was the last of its proposal."""
        record = TrialRecord(
            uid=trial.uid,
            proposal=trial.proposal,
            seed=trial.seed,
            outer=dict(trial.outer),
            end_reason=end_reason,
            epochs=epochs,
            seconds=float(metrics.get("seconds", 0.0)),
            metrics={key: value for key, value in metrics.items() if key != "seconds" and math.isfinite(value)},
            error=error,
        )
        self.run.append(record)
        self.records[record.uid] = record
        self._tell_if_complete(trial.proposal)
        return record

    def _notes(self, evidence: Evidence) -> list[str]:
        notes = []
        if found := self._proposals.num_found:
            notes.append(
                f"{self.run.journal.name} was missing or incomplete: {found} proposals rebuilt from the trials"
            )
        ended, left = self._num_beyond(self.records), self._num_beyond(evidence.open_trials)
        if ended or left:
            notes.append(
                f"fewer trials are asked for than before: {ended} beyond them have ended and stay in the tables, "
                f"{left} beyond them have begun and are left as they are"
            )
        return notes

    def _num_beyond(self, uids: Iterable[str]) -> int:
        return num_beyond(uids, self.sweep.num_proposals(), self.sweep.config.sweep.num_seeds)

    def _complete_records(self, proposals: Sequence[Asked]) -> None:
        """Writes records again that were made when fewer parameters were varied."""
        for record in list(self.records.values()):
            values = proposals[record.proposal].values
            if record.outer != values:
                self.records[record.uid] = replace(record, outer=dict(values))
                self.run.append(self.records[record.uid])

    def _take_up(self, proposal: Asked) -> None:
        """Queues the seeds of a proposal that have not ended; to be called in the order of the proposals."""
        point = frozenset(proposal.values.items())
        times_before = self._made[point]
        self._made[point] += 1
        for repeat in range(self.sweep.config.sweep.num_seeds):
            trial = self.sweep.trial_config(proposal.number, repeat, proposal.values, times_before)
            if trial.uid not in self.records and proposal.number < self.sweep.num_proposals():
                self._waiting.append(trial)
        self._tell_if_complete(proposal.number)

    def _tell_if_complete(self, number: int) -> None:
        repeats = range(self.sweep.config.sweep.num_seeds)
        records = [self.records.get(f"p{number:04d}-s{repeat}") for repeat in repeats]
        ended = [record for record in records if record is not None]
        if len(ended) == len(records):
            with writing_to(self.run.journal):
                self._proposals.tell(number, ended)
