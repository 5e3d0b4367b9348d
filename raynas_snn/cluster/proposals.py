"""The proposals of a run, kept in Optuna's journal: one Optuna trial each, numbered from 0 in the order of asking.

In front of them in the journal stand the lessons of another run (``sweep.warm_start``), which the sampler learns
from and nobody runs. What is known beforehand (the grid, ``sweep.points``) is queued, all of it before the first
is asked for, so that a driver may be killed at any time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from raynas_snn.cluster.evidence import Evidence
from raynas_snn.cluster.journal import garbled
from raynas_snn.cluster.mending import Mending
from raynas_snn.cluster.samplers import FIRST_GENERATION
from raynas_snn.cluster.study import distribution_of, draw, open_study, sampler_for, trial_of
from raynas_snn.cluster.telling import objectives_of, tell, violations
from raynas_snn.config import Sweep
from raynas_snn.config.conditions import active_parameters
from raynas_snn.config.schema import Scalar
from raynas_snn.earlier import Lesson, read_lessons
from raynas_snn.results.records import TrialRecord

_LESSON = "warm_start"  # a trial's attribute: the lesson's name; the study's, once all are there: the run's path
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Asked:
    """A proposal that was asked for.

    Attributes:
        number: Its number, from 0.
        values: Its values of the outer parameters that take part, by path.
    """

    number: int
    values: Mapping[str, Scalar]


class Proposals:
    """The proposals of one run, open while its lock is held.

    Args:
        sweep: What is to be done.
        journal: Optuna's journal file.
        evidence: What the trials' own files say of the proposals.

    Attributes:
        num_lessons: Proposals of another run that this one learns from.
        num_asked: Proposals asked for so far.
        num_found: Proposals that the journal had lost, and that the trials' files have brought back.

    Raises:
        UserError: If the journal is garbled or another sweep's, or if there is nothing to learn where
            ``sweep.warm_start`` points to.
    """

    def __init__(self, sweep: Sweep, journal: Path, evidence: Evidence) -> None:
        self._sweep = sweep
        self._study = open_study(sweep, journal)
        self._learn(journal)
        self.num_lessons = sum(_LESSON in trial.user_attrs for trial in self._trials())
        mending = Mending(self._study, self.num_lessons, sweep, evidence, journal)
        self.num_found = mending.num_found
        if mending.is_needed:
            mending.write()
            self._study = open_study(sweep, journal)
        for values in self._known_beforehand():
            self._study.enqueue_trial(dict(values))
        begun = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING, *_ENDED))
        self.num_asked = len(begun) - self.num_lessons

    def asked(self) -> list[Asked]:
        """All proposals asked for so far, in order; one that a killed driver left unfinished is finished first."""
        trials = self._trials()[self.num_lessons :]
        return [self._whole(trial) for trial in trials if trial.state != TrialState.WAITING]

    def ask(self) -> Asked:
        """Makes the next proposal: the first that is queued, else a new one."""
        number = self.num_asked
        self._study.sampler = sampler_for(self._sweep, number)
        drawn = draw(self._study, self._sweep)
        self.num_asked += 1
        return Asked(number, drawn.params)

    def tell(self, number: int, records: Sequence[TrialRecord]) -> None:
        """Tells Optuna what became of a proposal, once.

        Args:
            number: The proposal.
            records: Its trials, all of which have ended.
        """
        proposal = trial_of(self._study, self.num_lessons + number)
        if proposal.state not in _ENDED:
            tell(self._study, self._sweep, proposal, records)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _known_beforehand(self) -> Sequence[Mapping[str, Scalar]]:
        """What is still to be queued."""
        own = self._trials()[self.num_lessons :]
        if self._sweep.config.sweep.sampler != "grid":
            return self._sweep.points()[len(own) :]
        return self._sweep.grid([{**trial.system_attrs.get("fixed_params", {}), **trial.params} for trial in own])

    def _learn(self, journal: Path) -> None:
        """Puts the lessons of another run in front; they are read once and then belong to this run."""
        source = self._sweep.config.sweep.warm_start
        if source is None or _LESSON in self._study.user_attrs:
            return
        there = {trial.user_attrs.get(_LESSON) for trial in self._trials()}
        if None in there:  # it was written by a sweep that had nothing to learn
            raise garbled(journal, f"has proposals in front of what is to be learned from {source}")
        for lesson in read_lessons(self._sweep):
            if lesson.name not in there:
                self._study.add_trial(self._told(lesson))
        self._study.set_user_attr(_LESSON, source)

    def _told(self, lesson: Lesson) -> FrozenTrial:
        """A lesson as a finished trial of this study."""
        return create_trial(
            values=objectives_of(self._sweep, lesson.found.trials),
            params=dict(lesson.values),
            distributions={one.path: distribution_of(one) for one in self._sweep.outer if one.path in lesson.values},
            user_attrs={_LESSON: lesson.name},
            system_attrs=dict(FIRST_GENERATION),
            constraints=violations(self._sweep, lesson.found.trials),
        )

    def _whole(self, trial: FrozenTrial) -> Asked:
        """Sets the parameters that were still missing when an earlier driver was killed, as it would have done."""
        number = trial.number - self.num_lessons
        missing = {one.path for one in active_parameters(self._sweep.outer, trial.params)} - trial.params.keys()
        if missing and trial.state == TrialState.RUNNING:
            fixed = trial.system_attrs.get("fixed_params", {})
            drawn = self._draw_again(trial, number, fixed)
            if not trial.params.items() <= drawn.params.items():  # others have ended since
                drawn = self._draw_again(trial, number, {**fixed, **trial.params})
            for key, value in drawn.system_attrs.items():
                if key not in trial.system_attrs:
                    self._study._storage.set_trial_system_attr(trial._trial_id, key, value)
            for name, value in drawn.params.items():
                if name not in trial.params:
                    distribution = drawn.distributions[name]
                    internal = distribution.to_internal_repr(value)
                    self._study._storage.set_trial_param(trial._trial_id, name, internal, distribution)
            trial = trial_of(self._study, trial.number)
        return Asked(number, trial.params)

    def _draw_again(self, trial: FrozenTrial, number: int, fixed: Mapping[str, Scalar]) -> FrozenTrial:
        """Draws a proposal as a whole, from the same seed and history, in a study that is thrown away."""
        again = optuna.create_study(directions=self._study.directions, sampler=sampler_for(self._sweep, number))
        again.add_trials(self._study.get_trials()[: trial.number])
        for key, value in self._study._storage.get_study_system_attrs(self._study._study_id).items():
            again._storage.set_study_system_attr(again._study_id, key, value)  # the parents of nsga2's generations
        if fixed:
            again.enqueue_trial(dict(fixed))
        return draw(again, self._sweep)
