"""Mean, standard deviation and confidence interval over trials."""

import math
import statistics
from collections.abc import Sequence

_LARGEST = 1e100  # squares of larger numbers have no sum


def mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean; None if there is no value or if any is missing."""
    known = _all_known(values)
    return math.fsum(known) / len(known) if known else None


def standard_deviation(values: Sequence[float | None]) -> float | None:
    """Returns the sample standard deviation (n - 1); None below two values or if any is missing."""
    known = _all_known(values)
    return statistics.stdev(known) if len(known) > 1 else None


def half_width(values: Sequence[float | None]) -> float | None:
    """Returns the half width of the 95 % interval of the mean by Student's t, n - 1 degrees of freedom.

    Each value counts as one independent observation; None below two values or if any is missing.
    """
    deviation = standard_deviation(values)
    if deviation is None:
        return None
    from scipy.special import stdtrit  # 0.4 s, and the status verb has no use for it

    return float(stdtrit(len(values) - 1, 0.975)) * deviation / math.sqrt(len(values))


def _all_known(values: Sequence[float | None]) -> list[float]:
    known = [value for value in values if value is not None and abs(value) <= _LARGEST]
    return known if len(known) == len(values) else []
