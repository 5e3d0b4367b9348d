"""The ledger of a run: which trials are proposed, ended and missing. Decides which trial runs next.

The trials' own files are authoritative: ``trials/<uid>/config.json``, written before a trial is started, its
``result.json``, and ``trials.jsonl`` with one line per ended trial. Proposals and the sampler's history are derived
from these files at each start. A trial that was started and has not ended is restarted under the same uid.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import writing_to
from raynas_snn.core.files import write_json
from raynas_snn.run.records import EndReason, TrialRecord, num_beyond
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.known_proposals import KnownProposals
from raynas_snn.study.proposals import Proposal, Proposals
from raynas_snn.study.warm_start import saved_warm_start


class Ledger:
    """The ledger of one run, used while its lease is held.

    Args:
        sweep: The sweep; it may be wider than when the run was last started.
        run: The run directory.

    Attributes:
        records: The trials that have ended, by uid.
        notes: Messages to the user about the state of the run, one line each.
        num_warm_start: Number of proposals of another run that this one learns from.

    Raises:
        UserError: If a file of the run is invalid, or belongs to another sweep.
    """

    def __init__(self, sweep: Sweep, run: RunDir) -> None:
        self.sweep = sweep
        self.run = run
        self.records = {record.uid: record for record in run.records()}
        known = KnownProposals(sweep, run, self.records)
        warm_start = saved_warm_start(sweep, run.manifest(), known.before.get)
        self.num_warm_start = len(warm_start)
        self._proposals = Proposals(sweep, known, self._ended, warm_start, run.journal)
        self.notes = self._notes(known)
        self._waiting: deque[TrialConfig] = deque()
        self._times_made: Counter[object] = Counter()  # how often each point of the outer space was proposed
        self._complete_records()
        for proposal in self._proposals.made:
            self._queue(proposal)
        self._adopt_results()

    @property
    def num_trials(self) -> int:
        """Number of trials that the sweep asks for, plus ended trials beyond these."""
        return self.sweep.num_trials() + self._num_beyond(self.records)

    @property
    def num_missing(self) -> int:
        """Number of trials that are neither ended nor running."""
        to_make = max(0, self.sweep.num_proposals() - len(self._proposals.made))
        return len(self._waiting) + to_make * self.sweep.config.sweep.num_seeds

    def next_trial(self) -> TrialConfig | None:
        """The next trial to run: a further seed of an open proposal, or the first of a new one.

        Its settings are in its folder when this returns, so that no later start makes another proposal of this number.

        Raises:
            StorageFault: If the disk cannot be written.
            UserError: If the trial's folder cannot be used, or the sampler fails.
        """
        if not self._waiting and len(self._proposals.made) < self.sweep.num_proposals():
            self._queue(self._proposals.make())
        if not self._waiting:
            return None
        trial = self._waiting.popleft()
        folder = self.run.trial(trial.uid)
        with writing_to(folder.path):
            write_json(folder.create().config, trial.model_dump())
        return trial

    def _adopt_results(self) -> None:
        """Books trials that had finished when an earlier driver died before it could note it."""
        for trial in list(self._waiting):
            result = self.run.trial(trial.uid).read_result()
            if result is not None and "error" not in result:
                self._waiting.remove(trial)
                self.finish(trial, result)

    def finish(self, trial: TrialConfig, result: Mapping[str, Any]) -> TrialRecord:
        """Records a trial that ran to its end; it counts as failed if an objective is not a finite number.

        Args:
            trial: The trial.
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
        """Records how a trial ended, and updates the study if it was the last one of its proposal."""
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
        if ended := self._ended(trial.proposal):
            self._proposals.end(trial.proposal, ended)
        return record

    def _ended(self, number: int) -> list[TrialRecord]:
        """The records of a proposal if all its seeds have ended, else none."""
        repeats = range(self.sweep.config.sweep.num_seeds)
        ended = [record for repeat in repeats if (record := self.records.get(f"p{number:04d}-s{repeat}"))]
        return ended if len(ended) == len(repeats) else []

    def _notes(self, known: KnownProposals) -> list[str]:
        ended, left = self._num_beyond(self.records), self._num_beyond(known.open_trials)
        if not ended and not left:
            return []
        return [
            f"fewer trials are asked for than before: {ended} beyond them have ended and stay in the tables, "
            f"{left} beyond them have begun and are left as they are"
        ]

    def _num_beyond(self, uids: Iterable[str]) -> int:
        return num_beyond(uids, self.sweep.num_proposals(), self.sweep.config.sweep.num_seeds)

    def _complete_records(self) -> None:
        """Writes records again that were made when fewer parameters were varied."""
        for record in list(self.records.values()):
            values = self._proposals.made[record.proposal].values
            if record.outer != values:
                self.records[record.uid] = replace(record, outer=dict(values))
                self.run.append(self.records[record.uid])

    def _queue(self, proposal: Proposal) -> None:
        """Queues the seeds of a proposal that have not ended; to be called in the order of the proposals."""
        point = frozenset(proposal.values.items())
        times_before = self._times_made[point]
        self._times_made[point] += 1
        if proposal.number >= self.sweep.num_proposals():
            return
        for repeat in range(self.sweep.config.sweep.num_seeds):
            trial = self.sweep.trial_config(proposal.number, repeat, proposal.values, times_before)
            if trial.uid not in self.records:
                self._waiting.append(trial.model_copy(update={"sampling": proposal.sampling}))
