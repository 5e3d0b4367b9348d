"""Tune searcher that takes the next trial from the ledger, as many at a time as fit on the cluster."""

from typing import Any

from ray.tune.search import Searcher

from raynas_snn.cluster.driver.poll import Poll
from raynas_snn.cluster.runtime.capacity import Capacity
from raynas_snn.config.schema import TrialConfig
from raynas_snn.remote.run_copy import RunCopy
from raynas_snn.study.ledger import Ledger


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Tune, as many at a time as fit on the cluster at that moment.

    It keeps no state of its own: the ledger's files are authoritative, not Tune's snapshots.

    Args:
        ledger: Supplies the trials.
        constants: Arguments of every trial beside its configuration.
        capacity: How many trials fit.
        poll: Called at each request, because this is the only hook that Tune calls while no trial runs.
        copy: The run in a storage, to which a trial's settings are uploaded before it starts; None without one.
    """

    def __init__(
        self, ledger: Ledger, constants: dict[str, Any], capacity: Capacity, poll: Poll, copy: RunCopy | None
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._constants = constants
        self._capacity = capacity
        self._poll = poll
        self._copy = copy
        self._given_out: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Returns an empty state: Tune pickles its searcher at every snapshot, but the pickle is never read."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        """Accepts and ignores Tune's metric and mode; the sweep defines its own objectives."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None if it has to wait."""
        self._poll()
        if self._poll.interruption.has_come or len(self._given_out) >= self._capacity.trials():
            return None
        if self._copy is not None and not self._copy.try_send(anyway=True):
            return None
        trial = self._ledger.next_trial()
        if trial is None:
            return str(Searcher.FINISHED)
        if self._copy is not None:
            self._copy.announce(trial.uid)
        self._given_out.add(trial_id)
        return {"trial": trial.model_dump_json(), **self._constants}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Frees the trial's place; the callback records how it ended, because it knows the reason."""
        self._given_out.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def config_of(trial: Any) -> TrialConfig:
    """Returns the settings of the ledger's trial that a Tune trial runs."""
    return TrialConfig.model_validate_json(trial.config["trial"])
