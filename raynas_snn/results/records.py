"""The record of a trial that has ended: one line of ``trials.jsonl``."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from raynas_snn.results.files import plain

Scalar = str | int | float | bool
EndReason = Literal["finished", "failed", "early_stopped", "infeasible"]

_TYPES: dict[str, Any] = {
    "uid": str,
    "proposal": int,
    "seed": int,
    "outer": dict,
    "end_reason": str,
    "epochs": int,
    "seconds": int | float,
    "metrics": dict,
    "error": str | None,
    "ended_at": str,
}


def now() -> str:
    """The present time in UTC, ``2026-01-31T12:00:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class TrialRecord:
    """How one trial ended.

    Attributes:
        uid: Name of the trial in its run directory.
        proposal: Number of the proposal, from 0.
        seed: The seed that the trial ran with.
        outer: Values of the outer parameters by path, ``{"model.attention": "ma"}``.
        end_reason: ``"finished"``, ``"failed"``, ``"early_stopped"`` (by a scheduler) or ``"infeasible"`` (over a
            limit of the sweep, as was known before it was trained).
        epochs: Epochs done, over all phases.
        seconds: Time spent on the trial, in seconds.
        metrics: Final numbers; accuracies are fractions, spikes, SOPs and energy (microjoule) are per image.
        error: Why a failed trial failed.
        ended_at: When it ended, ISO 8601 in UTC.
    """

    uid: str
    proposal: int
    seed: int
    outer: Mapping[str, Scalar]
    end_reason: EndReason
    epochs: int
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    ended_at: str = field(default_factory=now)

    def metric(self, name: str) -> float | None:
        """A final number, or None if it is missing or not finite."""
        value = self.metrics.get(name)
        return value if value is not None and math.isfinite(value) else None

    def to_line(self) -> str:
        """The record as one line of JSON, without newline; a metric that is not finite is written as null."""
        return json.dumps(plain(asdict(self)))

    @classmethod
    def from_line(cls, line: str) -> "TrialRecord":
        """Reads ``to_line`` back; metrics that are null are left out, unknown keys are ignored.

        Raises:
            ValueError: With the reason, if the line is no such record.
        """
        data = json.loads(line)
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        for name, kind in _TYPES.items():
            if name not in data:
                raise ValueError(f"'{name}' is missing")
            if not isinstance(data[name], kind) or (kind is int and isinstance(data[name], bool)):
                raise ValueError(f"'{name}' has the wrong type")
        if data["end_reason"] not in get_args(EndReason):
            raise ValueError(f"'end_reason' must be one of {', '.join(get_args(EndReason))}")
        if not all(isinstance(value, Scalar) for value in data["outer"].values()):
            raise ValueError("'outer' must hold plain values")
        metrics = {name: value for name, value in data["metrics"].items() if value is not None}
        if not all(isinstance(value, int | float) for value in metrics.values()):
            raise ValueError("'metrics' must hold numbers")
        return cls(**{name: data[name] for name in _TYPES} | {"metrics": metrics})
