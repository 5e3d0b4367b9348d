"""The record of a trial that has ended: one line of ``trials.jsonl``."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from raynas_snn.core.files import plain
from raynas_snn.core.scalars import Scalar, is_finite, is_scalar
from raynas_snn.core.untrusted_files import parse_json

EndReason = Literal["finished", "failed", "early_stopped", "infeasible"]

UID = re.compile(r"[A-Za-z0-9_-]{1,100}")  # names a folder

_NUMBERED = re.compile(r"p(\d{4,6})-s(\d{1,4})")  # as sweeps name their trials
_LARGEST_COUNT = 2**53
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


def numbers_of(uid: str) -> tuple[int, int] | None:
    """Returns proposal and repeat of a trial from its uid; None if the uid has another form."""
    found = _NUMBERED.fullmatch(uid)
    return (int(found[1]), int(found[2])) if found else None


def num_beyond(uids: Iterable[str], num_proposals: int, num_seeds: int) -> int:
    """Counts the trials beyond those that the sweep asks for, which may have been more when they started."""
    numbers = [found for uid in uids if (found := numbers_of(uid))]
    return sum(proposal >= num_proposals or repeat >= num_seeds for proposal, repeat in numbers)


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
        data = parse_json(line)
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        for name, kind in _TYPES.items():
            if name not in data:
                raise ValueError(f"'{name}' is missing")
            if not isinstance(data[name], kind) or (kind is int and isinstance(data[name], bool)):
                raise ValueError(f"'{name}' has the wrong type")
            if kind is int and not 0 <= data[name] <= _LARGEST_COUNT:
                raise ValueError(f"'{name}' is out of bounds")
        if not UID.fullmatch(data["uid"]):
            raise ValueError("'uid' cannot be the name of a trial")
        if data["end_reason"] not in get_args(EndReason):
            raise ValueError(f"'end_reason' must be one of {', '.join(get_args(EndReason))}")
        if not all(is_scalar(value) for value in data["outer"].values()):
            raise ValueError("'outer' must hold plain values")
        metrics = {name: value for name, value in data["metrics"].items() if value is not None}
        if not all(is_finite(value) for value in (data["seconds"], *metrics.values())):
            raise ValueError("'metrics' and 'seconds' must hold numbers")
        return cls(**{name: data[name] for name in _TYPES} | {"metrics": metrics})
