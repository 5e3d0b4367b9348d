"""The result of a search, which every strategy passes on to the retraining."""

from dataclasses import dataclass
from typing import Any

from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.genotype import Genotype
from raynas_snn.training.checkpoint import load_checkpoint
from raynas_snn.training.epoch_loop import RETRAIN_PHASE


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        genotype: The cells.
        accuracy: The accuracy by which they were chosen, on the validation half; None if the strategy trained
            nothing.
        epoch: The epoch they come from, 1-based; 0 if the strategy has no epochs.
        seconds: Time of all epochs.
    """

    genotype: Genotype
    accuracy: float | None
    epoch: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {**vars(self), "genotype": self.genotype.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "SearchResult":
        """Reads `to_dict` back.

        Raises:
            UserError: If it is not what `to_dict` returns.
        """
        try:
            found = cls(**{**data, "genotype": Genotype.from_dict(data["genotype"])})
        except (KeyError, TypeError):
            raise UserError("the checkpoint does not hold what a search has found") from None
        accuracy = 0.0 if found.accuracy is None else found.accuracy
        if not all(isinstance(number, int | float) for number in (accuracy, found.epoch, found.seconds)):
            raise UserError("the checkpoint does not hold what a search has found")
        return found


def finished_search(context: TrialContext) -> SearchResult | None:
    """The search result of an earlier attempt that had begun to train the derived network; None without one."""
    saved = load_checkpoint(context)
    if saved is None or saved["phase"] != RETRAIN_PHASE:
        return None
    return SearchResult.from_dict(saved["carried"])
