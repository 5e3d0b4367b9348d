"""Paired differences: trials at a level compared with baseline trials that agree in all other settings.

Parameters that are conditional (``when``) on the factor need not agree. Otherwise a kernel size that only one kind of
attention has would leave that kind without a partner in the baseline.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from raynas_snn.analysis.statistics import mean
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.run.records import TrialRecord


@dataclass(frozen=True)
class Paired:
    """A mean difference of accuracy, and the number of pairs behind it.

    Attributes:
        difference: A fraction; None without a pair, or if a trial of a pair has no accuracy.
        num_pairs: Trials of the level that have at least one partner in the baseline.
    """

    difference: float | None
    num_pairs: int


def dependents(path: str, parameters: Sequence[OuterParameter]) -> set[str]:
    """Returns the outer parameters whose conditions depend on ``path``, directly or through other parameters."""
    found: set[str] = set()
    waiting = [path]
    while waiting:
        parent = waiting.pop()
        for parameter in parameters:
            if parameter.path not in found and any(parent == condition for condition, _ in parameter.when):
                found.add(parameter.path)
                waiting.append(parameter.path)
    return found - {path}


def paired_difference(members: Sequence[TrialRecord], baseline: Sequence[TrialRecord], free: Collection[str]) -> Paired:
    """Compares finished trials of a level with baseline trials of the same seed and other parameters.

    Args:
        members: Finished trials of the level.
        baseline: Finished trials of the first level.
        free: Outer parameters in which a pair may differ. A trial with several partners is compared with their mean.
    """
    partners: dict[object, list[float | None]] = defaultdict(list)
    for record in baseline:
        partners[_circumstances(record, free)].append(record.metric("accuracy"))
    differences: list[float | None] = []
    for record in members:
        if theirs := partners.get(_circumstances(record, free)):
            mine, expected = record.metric("accuracy"), mean(theirs)
            differences.append(None if mine is None or expected is None else mine - expected)
    return Paired(mean(differences), len(differences))


def _circumstances(record: TrialRecord, free: Collection[str]) -> object:
    return record.seed, frozenset((path, value) for path, value in record.outer.items() if path not in free)
