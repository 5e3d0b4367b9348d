"""How Tune gets its trials: from the ledger, one at a time."""

from typing import Any

from ray.tune.search import Searcher

from raynas_snn.cluster.ledger import Ledger
from raynas_snn.config.schema import TrialConfig


class LedgerSearcher(Searcher):
    """Hands the ledger's trials to Tune. It keeps no state: the ledger's files are the truth, not Tune's snapshots."""

    def __init__(self, ledger: Ledger, constants: dict[str, Any]) -> None:
        super().__init__()
        self._ledger = ledger
        self._constants = constants

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher at every snapshot; nobody reads that back, so there is nothing in it."""
        return {}

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        """Accepts what Tune proposes; the objectives are the sweep's own."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial."""
        trial = self._ledger.next_trial()
        if trial is None:
            return str(Searcher.FINISHED)
        return {"trial": trial.model_dump_json(), **self._constants}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the callback books the end of a trial, because it knows the reason."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def config_of(trial: Any) -> TrialConfig:
    """The trial that the ledger has given out as one of Tune's."""
    return TrialConfig.model_validate_json(trial.config["trial"])
