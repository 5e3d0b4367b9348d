"""How Tune gets its trials: from the ledger, as many as fit."""

from typing import Any

from ray.tune.search import Searcher

from raynas_snn.cluster.capacity import Capacity
from raynas_snn.cluster.ledger import Ledger
from raynas_snn.cluster.pulse import Pulse
from raynas_snn.config.schema import TrialConfig


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Tune, as many at a time as fit on the cluster at that moment.

    It keeps no state: the ledger's files are the truth, not Tune's snapshots.

    Args:
        ledger: What is to run.
        constants: What every trial is given beside its configuration.
        capacity: How many trials fit.
        pulse: Tune asks here even when nothing runs that it could wait for, and then nowhere else.
    """

    def __init__(self, ledger: Ledger, constants: dict[str, Any], capacity: Capacity, pulse: Pulse) -> None:
        super().__init__()
        self._ledger = ledger
        self._constants = constants
        self._capacity = capacity
        self._pulse = pulse
        self._given_out: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher at every snapshot; nobody reads that back, so there is nothing in it."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        """Accepts what Tune proposes; the objectives are the sweep's own."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial; None if it has to wait."""
        self._pulse.beat()
        if self._pulse.interruption.has_come or len(self._given_out) >= self._capacity.trials():
            return None
        trial = self._ledger.next_trial()
        if trial is None:
            return str(Searcher.FINISHED)
        self._given_out.add(trial_id)
        return {"trial": trial.model_dump_json(), **self._constants}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Makes room for another; the callback books the end of a trial, because it knows the reason."""
        self._given_out.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def config_of(trial: Any) -> TrialConfig:
    """The trial that the ledger has given out as one of Tune's."""
    return TrialConfig.model_validate_json(trial.config["trial"])
