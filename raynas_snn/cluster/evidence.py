"""What the trials' own files say of the proposals, whatever the journal says: ``trials.jsonl`` and ``config.json``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.conditions import active_parameters, in_order, is_active
from raynas_snn.config.schema import Scalar
from raynas_snn.errors import UserError
from raynas_snn.results.planned import setting
from raynas_snn.results.records import TrialRecord, numbers_of
from raynas_snn.results.run_dir import RunDir
from raynas_snn.results.trial_dir import TrialDir


class Evidence:
    """The proposals of a run that were started, as its trials know them.

    Args:
        sweep: What is to be done now; it may be wider than what the trials were made by.
        run: Where they are.
        records: Those that have ended, by uid.

    Attributes:
        before: Values of what is varied now and was not when the run was last started, by path.
        last: The highest number of a proposal that was started, -1 if there is none.
        open_trials: Those that have begun and not ended.

    Raises:
        UserError: If a record is none of this sweep.
    """

    def __init__(self, sweep: Sweep, run: RunDir, records: Mapping[str, TrialRecord]) -> None:
        self._sweep = sweep
        self._records = records
        self._values: dict[int, dict[str, Scalar]] = {}
        self._unreadable: dict[int, UserError] = {}
        self.open_trials: list[str] = []
        config = run.config()
        self.before: dict[str, Scalar] = {
            one.path: value
            for one in sweep.outer
            if isinstance(value := setting(config, one.path), Scalar) and one.fit(value) is not None
        }
        for record in records.values():
            self._take_record(run, record)
        for folder in run.trials():
            if folder.uid not in records and folder.has_begun() and (numbers := numbers_of(folder.uid)):
                self.open_trials.append(folder.uid)
                self._take_config(folder, numbers[0])
        self.last = max((*self._values, *self._unreadable), default=-1)

    def values(self, number: int) -> Mapping[str, Scalar] | None:
        """The outer values of a proposal that was started, None if nothing readable says so."""
        return self._values.get(number)

    def demand(self, number: int) -> None:
        """Raises `UserError` if a proposal was started and the only file that says with which values is garbled."""
        if number not in self._values and number in self._unreadable:
            raise self._unreadable[number]

    def ended(self, number: int) -> Sequence[TrialRecord]:
        """The records of a proposal if all its seeds have ended, else none."""
        found = [self._records.get(f"p{number:04d}-s{one}") for one in range(self._sweep.config.sweep.num_seeds)]
        records = [record for record in found if record is not None]
        return records if len(records) == len(found) else []

    def _take_record(self, run: RunDir, record: TrialRecord) -> None:
        where = f"{run.records_file}: the record of {record.uid}"
        numbers = numbers_of(record.uid)
        if numbers is None or numbers[0] != record.proposal:
            raise UserError(f"{where}: no trial of a sweep, or of another proposal than {record.proposal}")
        values = as_proposed(self._sweep, record.outer, self.before.get)
        if values is None or not is_whole(self._sweep, values):
            raise UserError(f"{where}: this sweep does not make such a proposal: {dict(record.outer)}")
        if self._values.setdefault(record.proposal, values) != values:
            raise UserError(f"{where}: another seed of proposal {record.proposal} has other outer values")

    def _take_config(self, folder: TrialDir, number: int) -> None:
        way_out = "; remove the folder to start this trial anew"
        try:
            config = folder.read_config() or {}
        except UserError as error:
            self._unreadable[number] = UserError(f"{error}{way_out}")
            return
        outer = config.get("outer")
        written = as_proposed(self._sweep, outer if isinstance(outer, dict) else {}, lambda path: setting(config, path))
        if written is None or not is_whole(self._sweep, written):
            self._unreadable[number] = UserError(f"{folder.config}: not a trial of this sweep{way_out}")
        else:
            self._values.setdefault(number, written)


def is_whole(sweep: Sweep, values: Mapping[str, Scalar]) -> bool:
    """Returns whether a proposal has a value of each parameter that takes part in it."""
    return len(values) == len(active_parameters(sweep.outer, values))


def as_proposed(sweep: Sweep, values: Mapping[str, Any], otherwise: Callable[[str], Any]) -> dict[str, Scalar] | None:
    """Returns a proposal in a sweep's own outer parameters, None if the sweep could never make it.

    Args:
        sweep: The sweep.
        values: The proposal, perhaps made by a narrower sweep. What is missing is missing in the result, too.
        otherwise: Gives the value of a path that was not varied then, or None.
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
    fixed = sweep.config.model_dump() if beside else {}
    return proposed if all(setting(fixed, path) == value for path, value in beside.items()) else None
