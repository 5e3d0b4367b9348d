"""Scalar values: what an outer parameter, a metric or a cell of a learning curve can be."""

import sys

Scalar = str | int | float | bool


def is_finite(value: object) -> bool:
    """Whether a value is a number that a float can hold."""
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def is_scalar(value: object) -> bool:
    """Whether a value is one that an outer parameter can have."""
    return isinstance(value, str) or is_finite(value)
