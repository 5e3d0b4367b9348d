"""What is proposed, finished and missing: the one place that decides which trial runs next.

Two files are kept in step: Optuna's journal holds the proposals (one Optuna trial each), ``trials.jsonl`` the ended
trials (one line per proposal and seed). A proposal that Optuna still calls running is taken up again at the next
start, under the same uid; nothing is asked twice, nothing is left running.
"""

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from raynas_snn.config import Sweep
from raynas_snn.config.outer import OuterParameter
from raynas_snn.config.schema import TrialConfig
from raynas_snn.registry import resolve
from raynas_snn.results.records import EndReason, TrialRecord
from raynas_snn.results.run_dir import RunDir

STUDY_NAME = "sweep"
ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Ledger:
    """The books of one run, open while its lock is held.

    Args:
        sweep: What is to be done.
        run: Where it is recorded.
    """

    def __init__(self, sweep: Sweep, run: RunDir) -> None:
        self.sweep = sweep
        self.run = run
        self.records = {record.uid: record for record in run.records()}
        self._study = open_study(sweep, run.journal)
        self._waiting: deque[TrialConfig] = deque()
        self._queue_grid()
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state != TrialState.WAITING:
                self._take_up(trial)
        self._adopt_results()

    @property
    def num_trials(self) -> int:
        """Proposals times seeds that the sweep asks for."""
        return self.sweep.num_proposals() * self.sweep.config.sweep.num_seeds

    @property
    def num_missing(self) -> int:
        """Trials that are neither ended nor given out."""
        unasked = max(0, self.sweep.num_proposals() - self._num_asked())
        return len(self._waiting) + unasked * self.sweep.config.sweep.num_seeds

    def next_trial(self) -> TrialConfig | None:
        """The next trial to run: a further seed of an open proposal, or the first of a new one."""
        if not self._waiting and self._num_asked() < self.sweep.num_proposals():
            self._study.sampler = _sampler(self.sweep, self._num_asked())
            asked = self._study.ask(distributions_of(self.sweep.outer))
            self._take_up(self._study.get_trials(deepcopy=False)[asked.number])
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
            result: Its ``result.json``: ``metrics``, ``epochs``, or ``error``.
        """
        metrics = {
            key: math.nan if value is None else float(value)  # files hold null for what is not finite
            for key, value in result.get("metrics", {}).items()
        }
        error = result.get("error")
        for objective in self.sweep.config.sweep.objectives:
            if error is None and not math.isfinite(metrics.get(objective, math.nan)):
                error = f"the objective {objective!r} is {metrics.get(objective, 'missing')}"
        return self.book(trial, "finished" if error is None else "failed", int(result["epochs"]), metrics, error)

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

    def _num_asked(self) -> int:
        return len(self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, *ENDED)))

    def _queue_grid(self) -> None:
        if self.sweep.config.sweep.sampler == "grid":
            for values in self.sweep.grid()[len(self._study.get_trials(deepcopy=False)) :]:
                self._study.enqueue_trial(values)

    def _take_up(self, proposal: FrozenTrial) -> None:
        """Queues the seeds of a proposal that have not ended."""
        if proposal.state == TrialState.RUNNING and len(proposal.params) < len(self.sweep.outer):
            self._finish_asking(proposal)
            proposal = self._study.get_trials(deepcopy=False)[proposal.number]
        for repeat in range(self.sweep.config.sweep.num_seeds):
            trial = self.sweep.trial_config(proposal.number, repeat, proposal.params)
            if trial.uid not in self.records:
                self._waiting.append(trial)
        self._tell_if_complete(proposal.number)

    def _finish_asking(self, proposal: FrozenTrial) -> None:
        """Sets the parameters that were still missing when an earlier driver was killed, as it would have done.

        The proposal is drawn again as a whole, from the same seed and history, in a study that is thrown away.
        """
        again = optuna.create_study(directions=self._study.directions, sampler=_sampler(self.sweep, proposal.number))
        again.add_trials(self._study.get_trials()[: proposal.number])
        if "fixed_params" in proposal.system_attrs:  # a point of the grid
            again.enqueue_trial(proposal.system_attrs["fixed_params"])
        drawn = again.ask(distributions_of(self.sweep.outer))
        for name, distribution in distributions_of(self.sweep.outer).items():
            if name not in proposal.params:
                value = distribution.to_internal_repr(drawn.params[name])
                self._study._storage.set_trial_param(proposal._trial_id, name, value, distribution)

    def _tell_if_complete(self, number: int) -> None:
        """Gives Optuna the mean over the seeds that finished, or a failure if none did; once."""
        proposal = self._study.get_trials(deepcopy=False)[number]
        repeats = range(self.sweep.config.sweep.num_seeds)
        records = [self.records.get(f"p{number:04d}-s{repeat}") for repeat in repeats]
        ended = [record for record in records if record is not None]
        if proposal.state in ENDED or len(ended) < len(records):
            return
        for record in ended:
            how = {"end_reason": record.end_reason, "epochs": record.epochs, "error": record.error}
            self._study._storage.set_trial_user_attr(proposal._trial_id, record.uid, how)
        finished = [record for record in ended if record.end_reason == "finished"]
        if not finished:
            self._study.tell(number, state=TrialState.FAIL)
            return
        objectives = self.sweep.config.sweep.objectives
        values = [sum(record.metrics[key] for record in finished) / len(finished) for key in objectives]
        self._study.tell(number, values)


def open_study(sweep: Sweep, journal: Path) -> optuna.Study:
    """Opens or creates the study in a run directory whose lock is held by this process.

    A driver that was killed may have left a lock of the journal and half a line behind; both are cleared.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.is_file():
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with journal.open("r+b") as file:
                file.truncate(whole)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=STUDY_NAME,
        directions=list(sweep.config.sweep.objectives.values()),
        load_if_exists=True,
    )


def distributions_of(parameters: tuple[OuterParameter, ...]) -> dict[str, BaseDistribution]:
    """Optuna's form of the outer parameters."""
    return {parameter.path: _distribution(parameter) for parameter in parameters}


def _distribution(parameter: OuterParameter) -> BaseDistribution:
    if parameter.kind == "choice":
        return CategoricalDistribution(parameter.levels)
    low, high, step = parameter.low, parameter.high, parameter.step
    assert low is not None
    assert high is not None
    if parameter.kind == "int":
        return IntDistribution(int(low), int(high), parameter.log, 1 if step is None else int(step))
    return FloatDistribution(float(low), float(high), parameter.log, step)


def _sampler(sweep: Sweep, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for one proposal, seeded by its number: a run that was interrupted proposes the same."""
    make: Any = resolve("samplers", sweep.config.sweep.sampler)
    sampler: optuna.samplers.BaseSampler = make(hash_seed(sweep.config.sweep.seed, number))
    return sampler


def hash_seed(seed: int, number: int) -> int:
    """A 32-bit seed of its own for each proposal."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint32)[0])
