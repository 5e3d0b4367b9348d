"""Brings a journal in line with the sweep and with what the trials' own files say.

A journal that is gone or has lost its end is completed from the trials' files; one that was made by a narrower sweep
gets the choices and ranges of the wider one. Either way a new journal takes the place of the old at once, with all that
was in it: Optuna itself accepts no other levels of a choice within a study.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from raynas_snn.cluster.evidence import Evidence, as_proposed, is_whole
from raynas_snn.cluster.journal import Draft, garbled
from raynas_snn.cluster.study import distribution_of, draw, sampler_for, trial_of
from raynas_snn.cluster.telling import tell
from raynas_snn.config import Sweep
from raynas_snn.config.conditions import combinations, count_combinations
from raynas_snn.config.schema import Scalar
from raynas_snn.errors import UserError

_MOST_PROPOSALS = 100_000  # see SweepSettings.num_trials

Point = dict[str, Scalar]


class Mending:
    """What a journal should hold, compared with what it holds.

    Args:
        study: The study of the journal, its lessons complete.
        num_lessons: Trials in front that are lessons of another run.
        sweep: What is to be done.
        evidence: What the trials' files say.
        journal: The file, for messages.

    Attributes:
        num_found: Proposals that the trials know and the journal did not.

    Raises:
        UserError: If journal and trials contradict each other, or the journal belongs to another sweep.
    """

    def __init__(self, study: optuna.Study, num_lessons: int, sweep: Sweep, evidence: Evidence, journal: Path) -> None:
        self._study, self._sweep, self._evidence, self._journal = study, sweep, evidence, journal
        self._distributions = {parameter.path: distribution_of(parameter) for parameter in sweep.outer}
        self._trials = study.get_trials(deepcopy=False)
        own = self._trials[num_lessons:]
        begun = [number for number, trial in enumerate(own) if trial.state != TrialState.WAITING]
        num_begun = max([evidence.last, *begun], default=-1) + 1
        self._check_numbers(num_begun)
        self._lessons = [self._lesson(trial) for trial in self._trials[:num_lessons]]
        # For each proposal that was asked for: the trial to keep, or what is known of the one to ask for again.
        self._begun: list[FrozenTrial | Point] = [
            self._proposal(number, own[number] if number < len(own) else None) for number in range(num_begun)
        ]
        self._waiting = [kept for trial in own[num_begun:] if (kept := self._queued(trial)) is not None]
        self.num_found = sum(
            evidence.values(number) is not None
            for number, entry in enumerate(self._begun)
            if not isinstance(entry, FrozenTrial)
        )
        if sweep.config.sweep.sampler == "grid":
            self._spread_over_grid()

    @property
    def is_needed(self) -> bool:
        """Whether the journal is not as it should be."""
        entries: list[FrozenTrial | Point] = [*self._lessons, *self._begun, *self._waiting]
        return len(entries) != len(self._trials) or any(
            entry is not trial for entry, trial in zip(entries, self._trials, strict=True)
        )

    def write(self) -> None:
        """Replaces the journal by one as it should be."""
        study = self._study
        draft = Draft(
            study.directions,
            study.user_attrs,
            study._storage.get_study_system_attrs(study._study_id),  # the parents of nsga2's generations
        )
        for lesson in self._lessons:
            draft.study.add_trial(lesson)
        for number, entry in enumerate(self._begun):
            if isinstance(entry, FrozenTrial):
                draft.study.add_trial(entry)
            else:
                if entry:
                    draft.study.enqueue_trial(dict(entry))
                draft.study.sampler = sampler_for(self._sweep, number)
                draw(draft.study, self._sweep)
            asked = trial_of(draft.study, len(self._lessons) + number)
            if asked.state == TrialState.RUNNING and (records := self._evidence.ended(number)):
                tell(draft.study, self._sweep, asked, records)
        for trial in self._waiting:
            draft.study.add_trial(trial)
        draft.replace(self._journal)

    def _check_numbers(self, num_begun: int) -> None:
        grid = self._sweep.config.sweep.sampler == "grid"
        most = count_combinations(self._sweep.outer) if grid else _MOST_PROPOSALS
        if num_begun > most:
            raise UserError(
                f"{self._journal.parent}: its journal or its trials know of a proposal {num_begun - 1}, and this sweep "
                f"makes {most} at most; it is a run of another sweep, choose another --run-dir"
            )

    def _lesson(self, trial: FrozenTrial) -> FrozenTrial:
        """A lesson in the parameters of the sweep; what is none of their values is left out."""
        values = as_proposed(self._sweep, trial.params, self._evidence.before.get)
        return self._with(trial, values or {})

    def _proposal(self, number: int, trial: FrozenTrial | None) -> FrozenTrial | Point:
        """The trial of a proposal that was asked for, or the values to ask for it with."""
        known = self._evidence.values(number)
        if trial is None or trial.state == TrialState.WAITING:
            self._evidence.demand(number)
            return dict(known or (trial and self._given(trial)) or self._point(number))
        values = as_proposed(self._sweep, trial.params, self._evidence.before.get)
        given = self._given(trial)
        if values is None or given is None:
            self._evidence.demand(number)
            if trial.state == TrialState.RUNNING and known is None:  # nobody has started it
                return dict(given or {})
            raise garbled(self._journal, f"its proposal {number} is none of this sweep: {trial.params}")
        if any(values.get(path, value) != value for path, value in given.items()):
            raise garbled(self._journal, f"its proposal {number} is {trial.params}, and {given} was asked for")
        if known is not None and not values.items() <= known.items():
            raise garbled(
                self._journal, f"its proposal {number} is {values}, and its trials were made by {dict(known)}"
            )
        if not is_whole(self._sweep, values):
            self._evidence.demand(number)
            if trial.state != TrialState.RUNNING:
                raise garbled(self._journal, f"its proposal {number} has ended without values of all parameters")
            if known is not None:
                return dict(known)
        return self._with(trial, values)

    def _queued(self, trial: FrozenTrial) -> FrozenTrial | None:
        """A proposal that is queued, None if it is none of this sweep's."""
        given = self._given(trial)
        if given is None or trial.params:
            return None
        return self._with(trial, {}, given)

    def _given(self, trial: FrozenTrial) -> Point | None:
        """The values that a proposal was queued with; None if they are none of this sweep's."""
        if "fixed_params" not in trial.system_attrs:
            return {}
        return as_proposed(self._sweep, trial.system_attrs["fixed_params"], self._evidence.before.get)

    def _point(self, number: int) -> Point:
        """What ``sweep.points`` says of a proposal."""
        points = [] if self._sweep.config.sweep.sampler == "grid" else self._sweep.points()
        return points[number] if number < len(points) else {}

    def _point_of(self, entry: FrozenTrial | Point) -> Point:
        return {**(self._given(entry) or {}), **entry.params} if isinstance(entry, FrozenTrial) else entry

    def _spread_over_grid(self) -> None:
        """Gives each proposal of a grid a point of its own; one that nobody has started makes way."""
        there: set[object] = set()
        homeless: list[int] = []
        started = {
            number
            for number, entry in enumerate(self._begun)
            if isinstance(entry, FrozenTrial) or self._evidence.values(number) is not None
        }
        for number in sorted(range(len(self._begun)), key=lambda number: number not in started):
            point = self._point_of(self._begun[number])
            if frozenset(point.items()) not in there and is_whole(self._sweep, point):
                there.add(frozenset(point.items()))
            elif number in started:
                raise garbled(self._journal, f"its proposal {number} is none of a grid, or was made before: {point}")
            else:
                homeless.append(number)
        free = (point for point in combinations(self._sweep.outer) if frozenset(point.items()) not in there)
        for number, point in zip(homeless, free, strict=False):
            self._begun[number] = point
            there.add(frozenset(point.items()))
        waiting, self._waiting = self._waiting, []
        for trial in waiting:
            point = self._point_of(trial)
            if frozenset(point.items()) not in there and is_whole(self._sweep, point):
                self._waiting.append(trial)
                there.add(frozenset(point.items()))

    def _with(
        self, trial: FrozenTrial, values: Mapping[str, Scalar], given: Mapping[str, Scalar] | None = None
    ) -> FrozenTrial:
        """The trial itself if it has these values and the sweep's distributions, else a copy that has."""
        distributions = {path: self._distributions[path] for path in values}
        fixed = trial.system_attrs.get("fixed_params", {}) if given is None else given
        if (trial.params, trial.distributions, trial.system_attrs.get("fixed_params", {})) == (
            values,
            distributions,
            fixed,
        ):
            return trial
        changed = copy.copy(trial)
        changed.params, changed.distributions = dict(values), distributions
        if "fixed_params" in trial.system_attrs:
            changed.system_attrs = {**trial.system_attrs, "fixed_params": dict(fixed)}
        return changed
