"""Outer parameters: the fields of a sweep file that the sweep varies.

In the file they are written ``{choice: [a, b]}``, ``{int: [low, high]}`` or ``{float: [low, high]}``; the two
ranges take ``log: true`` or ``step: s`` as well, and all three ``when: {model.attention: [ma, ct]}``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from raynas_snn.config.yaml_text import show
from raynas_snn.core.scalars import Scalar
from raynas_snn.core.text import did_you_mean

VARIABLE_SECTIONS = ("model", "search", "retrain")

Condition = tuple[str, tuple[Scalar, ...]]

_LONGEST_CHECKED = 1024  # fields that take only some whole numbers of a range take small ones
_MOST_LEVELS = 1000
_KINDS = ("choice", "int", "float")
_FORMS = "{choice: [a, b]}, {int: [low, high]} or {float: [low, high], log: true}"


@dataclass(frozen=True)
class OuterParameter:
    """One field that the sweep varies.

    Attributes:
        path: The field, ``"model.attention"``, or the option of a component, ``"model.attention.reduction"``.
        kind: ``"choice"``, ``"int"`` or ``"float"``.
        levels: The values of a choice, in the order of the file; the first is the baseline of tables.
        low: Least value of a range.
        high: Greatest value of a range, included.
        log: Whether a range is sampled on a logarithmic scale.
        step: Distance of the values of a range, counted from ``low``; None for every value.
        when: Other outer choices by path, each with the levels that this parameter needs to take part in a proposal.
    """

    path: str
    kind: Literal["choice", "int", "float"]
    levels: tuple[Scalar, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    when: tuple[Condition, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The path as keys of a sweep file: section and field, and the option if it is one of a component."""
        return tuple(self.path.split("."))

    @property
    def bounds(self) -> tuple[Scalar, ...]:
        """All levels of a choice, both ends of a range."""
        return self.levels if self.kind == "choice" else (self.low, self.high)

    @property
    def to_check(self) -> tuple[Scalar, ...]:
        """The values to validate: all of a choice or of a short range of whole numbers, else both bounds."""
        if self.kind != "int" or (self.high - self.low) / (self.step or 1) > _LONGEST_CHECKED:
            return self.bounds
        return tuple(range(int(self.low), int(self.high) + 1, int(self.step or 1)))

    def as_dict(self) -> dict[str, Any]:
        """The parameter as it stands in a sweep file."""
        written: dict[str, Any]
        written = {self.kind: list(self.levels) if self.kind == "choice" else [self.low, self.high]}
        if self.log:
            written["log"] = True
        if self.step is not None:
            written["step"] = self.step
        if self.when:
            written["when"] = {path: list(levels) if len(levels) > 1 else levels[0] for path, levels in self.when}
        return written

    def fit(self, value: Any) -> Scalar | None:
        """Returns a value converted to the parameter's type; None if it is not one of its values."""
        if self.kind == "choice":
            return next((level for level in self.levels if level == value and _same_kind(level, value)), None)
        if not _is_number(value, self.kind) or not self.low <= value <= self.high:
            return None
        if self.step is not None and not leads(self.low, value, self.step):
            return None
        return float(value) if self.kind == "float" else int(value)


def parse_outer(path: str, written: Mapping[str, Any]) -> OuterParameter:
    """Reads an outer parameter from its form in a sweep file.

    Raises:
        ValueError: With the reason, if ``written`` is none of the three forms.
    """
    kinds = [key for key in written if key in _KINDS]
    if len(kinds) != 1:
        raise ValueError(f"must be a plain value, {_FORMS}")
    kind = kinds[0]
    allowed = ("choice", "when") if kind == "choice" else (kind, "log", "step", "when")
    for key in written:
        if key not in allowed:
            raise ValueError(f"{kind} does not go with the key {show(key)}{did_you_mean(key, allowed)}")
    if kind == "choice":
        parameter = OuterParameter(path, "choice", levels=_parse_levels("choice", written[kind]))
    else:
        parameter = _parse_range(path, "int" if kind == "int" else "float", written)
    return replace(parameter, when=_parse_when(written["when"])) if "when" in written else parameter


def cannot_vary() -> str:
    """What to tell about a field that is given as something to vary, and is not in a section that can."""
    return f"cannot be varied; only fields of {', '.join(VARIABLE_SECTIONS)} can"


def _parse_levels(name: str, levels: Any) -> tuple[Scalar, ...]:
    if not isinstance(levels, list) or not levels:
        raise ValueError(f"{name} must be a list of at least one value")
    if len(levels) > _MOST_LEVELS:
        raise ValueError(f"{name} holds {len(levels)} values; at most {_MOST_LEVELS} are allowed, a range has more")
    seen: set[Scalar] = set()
    for level in levels:
        if not isinstance(level, Scalar):
            raise ValueError(f"{name} takes text, numbers, true and false, not {show(level)}")
        if level in seen:
            raise ValueError(f"{name} holds {show(level)} twice")
        seen.add(level)
    return tuple(levels)


def _parse_when(conditions: Any) -> tuple[Condition, ...]:
    """Reads a condition; whether what it names is there only shows with all parameters at hand."""
    if not isinstance(conditions, Mapping) or not conditions:
        raise ValueError("when must name other choices, each with its levels: {model.attention: [ma, ct]}")
    return tuple(
        (path, _parse_levels(f"when {path}", levels if isinstance(levels, list) else [levels]))
        for path, levels in sorted(conditions.items())
    )


def _parse_range(path: str, kind: Literal["int", "float"], written: Mapping[str, Any]) -> OuterParameter:
    ends, log, step = written[kind], written.get("log", False), written.get("step")
    numbers = "whole numbers" if kind == "int" else "numbers"
    if not isinstance(ends, list) or len(ends) != 2 or not all(_is_number(end, kind) for end in ends):
        raise ValueError(f"{kind} must be a list of two {numbers}, [low, high]")
    if kind == "float":
        ends = [float(end) for end in ends]
    low, high = ends
    if not low < high:
        raise ValueError(f"low must be below high in {kind}: [{low}, {high}]")
    if not isinstance(log, bool):
        raise ValueError("log must be true or false")
    if log and low <= 0:
        raise ValueError(f"log needs a low above 0, not {low}")
    if step is not None:
        if log:
            raise ValueError("step does not go with log")
        if not _is_number(step, kind) or step <= 0:
            raise ValueError(f"step must be one of the {numbers} above 0")
        if not leads(low, high, step):
            raise ValueError(f"step {step} does not lead from {low} to {high}")
    return OuterParameter(path, kind, low=low, high=high, log=log, step=step)


def leads(start: float, end: float, step: float) -> bool:
    """Whether two numbers differ by a multiple of the step; in decimal, because 0.3 / 0.1 is not 3 in binary."""
    try:
        return (Decimal(str(end)) - Decimal(str(start))) % Decimal(str(step)) == 0
    except InvalidOperation:  # more steps than a decimal has digits
        return False


def _same_kind(level: Scalar, value: Any) -> bool:
    """In Python true is 1."""
    return isinstance(level, bool) == isinstance(value, bool)


def _is_number(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if kind == "int" else (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False
