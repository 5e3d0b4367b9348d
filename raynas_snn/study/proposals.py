"""Makes the proposals of a run, from an in-memory study that is derived from the trials' files at each start.

The study begins with finished proposals of another run (``sweep.warm_start``); the sampler learns from them, and they
are never run. A proposal is recorded by the ``config.json`` of its first trial. One without it is made again with the
same values, because its number determines the sampler's seed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import create_trial

from raynas_snn.config import Sweep
from raynas_snn.config.conditions import combinations, count_combinations
from raynas_snn.core.errors import UserError
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import TrialRecord
from raynas_snn.study.journal_export import JournalExport
from raynas_snn.study.known_proposals import KnownProposal, KnownProposals
from raynas_snn.study.outcomes import Outcome, outcome_of, outcome_of_earlier
from raynas_snn.study.samplers import FIRST_GENERATION
from raynas_snn.study.sampling import distribution_of, draw, trial_of
from raynas_snn.study.warm_start import WarmStartProposal

_MOST_PROPOSALS = 100_000  # see SweepSettings.num_trials
_GIVEN = "fixed_params"  # Optuna's note of values that were given; they are known anyway


@dataclass(frozen=True)
class Proposal:
    """A proposal that was made.

    Attributes:
        number: Its number, from 0.
        values: Its values of the active outer parameters, by path.
        sampling: Data that the sampler has stored with it, see `TrialConfig.sampling`.
    """

    number: int
    values: Mapping[str, Scalar]
    sampling: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Proposals:
    """The proposals of one run, used while its lease is held.

    Args:
        sweep: The sweep.
        known: The proposals that were started.
        ended: The records of a proposal by number, if all its seeds have ended; else none.
        warm_start: Proposals of another run to learn from.
        journal: Where the study is exported to.

    Attributes:
        made: All proposals so far, by number.

    Raises:
        UserError: If the trials do not belong to this sweep.
        StorageFault: If the export cannot be written to the disk.
    """

    def __init__(
        self,
        sweep: Sweep,
        known: KnownProposals,
        ended: Callable[[int], Sequence[TrialRecord]],
        warm_start: Sequence[WarmStartProposal],
        journal: Path,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._sweep = sweep
        _check_number(sweep, known.num_begun, journal.parent)
        self._study = optuna.create_study(directions=list(sweep.config.sweep.objectives.values()))
        self._num_before = len(warm_start)
        for earlier in warm_start:
            self._add(earlier.values, outcome_of_earlier(sweep, earlier), dict(FIRST_GENERATION))
        is_grid, taken = sweep.config.sweep.sampler.name == "grid", known.points()
        self._points = [] if is_grid else sweep.points()
        grid = combinations(sweep.outer) if is_grid else iter(())  # which may be too large to go through
        self._free = (point for point in grid if frozenset(point.items()) not in taken)
        self.made: list[Proposal] = []
        for number in range(known.num_begun):
            one, records = known.get(number), ended(number)
            self.made.append(
                self._draw()
                if one is None
                else self._restore(one, outcome_of(sweep, records) if records else Outcome())
            )
        self._export = JournalExport(journal, self._study)

    def make(self) -> Proposal:
        """Makes the next proposal, with the given values, if any."""
        self.made.append(self._draw())
        self._export.asked(trial_of(self._study, self._num_before + self.made[-1].number))
        return self.made[-1]

    def end(self, number: int, records: Sequence[TrialRecord]) -> None:
        """Adds the outcome of a proposal to the study, once.

        Args:
            number: The proposal.
            records: Its trials, all of which have ended.
        """
        trial = trial_of(self._study, self._num_before + number)
        if not trial.state.is_finished():
            outcome = outcome_of(self._sweep, records)
            outcome.set_on(self._study, trial._trial_id)
            self._export.told(trial.number, outcome)

    def _draw(self) -> Proposal:
        number = len(self.made)
        if given := self._points[number] if number < len(self._points) else next(self._free, {}):
            self._study.enqueue_trial(dict(given))
        before = dict(self._study_notes())
        trial = draw(self._study, self._sweep, number)
        sampling = {
            "trial": {name: value for name, value in trial.system_attrs.items() if name != _GIVEN},
            "study": {name: value for name, value in self._study_notes().items() if name not in before},
        }
        return Proposal(number, trial.params, {kind: notes for kind, notes in sampling.items() if notes})

    def _restore(self, known: KnownProposal, outcome: Outcome) -> Proposal:
        self._add(known.values, outcome, dict(known.sampling.get("trial", {})))
        for name, value in known.sampling.get("study", {}).items():
            self._study._storage.set_study_system_attr(self._study._study_id, name, value)
        return Proposal(len(self.made), known.values, known.sampling)

    def _add(self, values: Mapping[str, Scalar], outcome: Outcome, notes: dict[str, Any]) -> None:
        trial = create_trial(
            state=outcome.state,
            values=outcome.values,
            params=dict(values),
            distributions={one.path: distribution_of(one) for one in self._sweep.outer if one.path in values},
            user_attrs=dict(outcome.user_attrs),
            system_attrs=notes,
            intermediate_values=dict(outcome.intermediate_values),
            constraints=dict(outcome.constraints),
        )
        self._study.add_trial(trial)

    def _study_notes(self) -> dict[str, Any]:
        return self._study._storage.get_study_system_attrs(self._study._study_id)


def _check_number(sweep: Sweep, num_begun: int, run_dir: Path) -> None:
    grid = sweep.config.sweep.sampler.name == "grid"
    most = count_combinations(sweep.outer) if grid else _MOST_PROPOSALS
    if num_begun > most:
        raise UserError(
            f"{run_dir}: its trials know of a proposal {num_begun - 1}, and this sweep makes {most} at most; "
            "it is a run of another sweep, choose another --run-dir"
        )
