"""Reads the started proposals of a run from the trials' own files: ``trials.jsonl`` and ``config.json``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.conditions import active_parameters, in_order, is_active
from raynas_snn.core.errors import UserError
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import TrialRecord, numbers_of
from raynas_snn.run.run_dir import RunDir
from raynas_snn.run.trial_dir import TrialDir


@dataclass(frozen=True)
class KnownProposal:
    """A proposal that was started.

    Attributes:
        values: Its values of the active outer parameters, by path.
        sampling: Data that the sampler has stored with it, see `TrialConfig.sampling`.
    """

    values: Mapping[str, Scalar]
    sampling: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class KnownProposals:
    """All proposals that were started, by number.

    Args:
        sweep: The current sweep; it may be wider than the one that made the trials.
        run: The run directory.
        records: The ended trials, by uid.

    Attributes:
        open_trials: Trials that have started and not ended.
        before: Earlier values of parameters that were fixed when the run was last started and are varied now, by path.
        num_begun: One more than the highest number of a started proposal.

    Raises:
        UserError: If a record does not belong to this sweep.
    """

    def __init__(self, sweep: Sweep, run: RunDir, records: Mapping[str, TrialRecord]) -> None:
        self._sweep = sweep
        self._known: dict[int, KnownProposal] = {}
        self._unreadable: dict[int, UserError] = {}
        self.open_trials: list[str] = []
        saved = run.sweep()
        self.before: dict[str, Scalar] = {
            one.path: value
            for one in sweep.outer
            if isinstance(value := saved.fixed_value(one.path), Scalar) and one.fit(value) is not None
        }
        for record in records.values():
            self._take_record(run, record, self.before.get)
        for folder in run.trials():
            if (numbers := numbers_of(folder.uid)) and folder.has_begun():
                if folder.uid not in records:
                    self.open_trials.append(folder.uid)
                self._take_config(folder, numbers[0])
        self.num_begun = max((*self._known, *self._unreadable), default=-1) + 1

    def get(self, number: int) -> KnownProposal | None:
        """A started proposal, None if no file records it.

        Raises:
            UserError: If it was started, and the only file with its values is invalid.
        """
        if number not in self._known and number in self._unreadable:
            raise self._unreadable[number]
        return self._known.get(number)

    def points(self) -> set[frozenset[tuple[str, Scalar]]]:
        """The values of all started proposals."""
        return {frozenset(known.values.items()) for known in self._known.values()}

    def _take_record(self, run: RunDir, record: TrialRecord, before: Callable[[str], Any]) -> None:
        where = f"{run.records_file}: the record of {record.uid}"
        numbers = numbers_of(record.uid)
        if numbers is None or numbers[0] != record.proposal:
            raise UserError(f"{where}: no trial of a sweep, or of another proposal than {record.proposal}")
        values = as_proposed(self._sweep, record.outer, before)
        if values is None or not is_whole(self._sweep, values):
            raise UserError(f"{where}: this sweep does not make such a proposal: {dict(record.outer)}")
        if self._known.setdefault(record.proposal, KnownProposal(values)).values != values:
            raise UserError(f"{where}: another seed of proposal {record.proposal} has other outer values")

    def _take_config(self, folder: TrialDir, number: int) -> None:
        way_out = "; remove the folder to start this trial anew"
        try:
            trial = folder.read_trial()
        except UserError as error:
            self._unreadable[number] = UserError(f"{error}{way_out}")
            return
        values = None if trial is None else as_proposed(self._sweep, trial.outer, trial.value_at)
        if trial is None or values is None or not is_whole(self._sweep, values):
            self._unreadable[number] = UserError(f"{folder.config}: not a trial of this sweep{way_out}")
            return
        known = self._known.get(number)
        if known is None or (known.values == values and not known.sampling):
            self._known[number] = KnownProposal(values, trial.sampling)


def is_whole(sweep: Sweep, values: Mapping[str, Scalar]) -> bool:
    """Returns whether a proposal has a value for each of its active parameters."""
    return len(values) == len(active_parameters(sweep.outer, values))


def as_proposed(sweep: Sweep, values: Mapping[str, Any], otherwise: Callable[[str], Any]) -> dict[str, Scalar] | None:
    """Converts a proposal to a sweep's outer parameters; None if the sweep could never make it.

    Args:
        sweep: The sweep.
        values: The proposal, possibly made by a narrower sweep. Missing values are missing in the result, too.
        otherwise: Returns the value of a path that was not varied then, or None.
    """
    proposed: dict[str, Scalar] = {}
    for parameter in in_order(sweep.outer):
        written = values.get(parameter.path, otherwise(parameter.path))
        if is_active(parameter, proposed) and written is not None:
            fitting = parameter.fit(written)
            if fitting is None:
                return None
            proposed[parameter.path] = fitting
    beside = {path: value for path, value in values.items() if path not in proposed}
    return proposed if all(sweep.value_at(path) == value for path, value in beside.items()) else None
