"""The ablation: the effect of each level of each outer parameter on accuracy, spikes and cost.

Means cover finished trials only; failed, early-stopped and infeasible trials are counted. A mean is given only if every
finished trial of the level has the metric, so it never covers fewer trials than ``n``.
"""

import bisect
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from raynas_snn.analysis.pairing import dependents, paired_difference
from raynas_snn.analysis.statistics import half_width, mean
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.core.scalars import Scalar
from raynas_snn.run.records import EndReason, TrialRecord

MAX_BINS = 4


@dataclass(frozen=True)
class AblationRow:
    """One level of one factor. None stands for an unknown number.

    Attributes:
        factor: Path of the outer parameter, ``"model.attention"``.
        level: Its value; of a range, one of up to four bins.
        n: Finished trials at this level. A conditional parameter has a level only where it is active.
        accuracy_mean: Mean test accuracy, a fraction.
        accuracy_ci95: Half width of the 95 % t interval of the mean, from two trials on.
        delta_vs_baseline: Mean difference of accuracy to the first level, over the pairs of finished trials
            that agree in the seed and in all other outer parameters but those conditional on the factor.
            0 for the first level, None for bins.
        params: Mean number of parameters.
        params_with_auxiliary: The same with the auxiliary classifier.
        spikes: Mean spikes per image, summed over the time steps.
        sops: Mean synaptic operations per image.
        energy_uj: Mean energy per image in microjoule.
        seconds: Mean time per trial.
        num_early_stopped: Trials at this level that were stopped early.
        num_failed: Trials at this level that failed.
        num_infeasible: Trials at this level whose network was over a limit of the sweep.
        num_pairs: Trials behind ``delta_vs_baseline``; None for the first level and for bins.
    """

    factor: str
    level: Scalar
    n: int
    accuracy_mean: float | None
    accuracy_ci95: float | None
    delta_vs_baseline: float | None
    params: float | None
    params_with_auxiliary: float | None
    spikes: float | None
    sops: float | None
    energy_uj: float | None
    seconds: float | None
    num_early_stopped: int
    num_failed: int
    num_infeasible: int
    num_pairs: int | None


def ablation(records: Sequence[TrialRecord], parameters: Sequence[OuterParameter]) -> list[AblationRow]:
    """Returns the rows of the ablation table, factor by factor, levels in the order of the sweep file.

    Args:
        records: Ended trials, each once.
        parameters: What the sweep varies; without any, there is one row with factor and level ``"all"``.
    """
    if not parameters:
        return [_row("all", "all", records)]
    rows: list[AblationRow] = []
    for parameter in parameters:
        if parameter.kind == "choice":
            rows += _choice_rows(records, parameter, {parameter.path, *dependents(parameter.path, parameters)})
        else:
            rows += _bin_rows(records, parameter)
    return rows


def _choice_rows(records: Sequence[TrialRecord], parameter: OuterParameter, free: set[str]) -> Iterator[AblationRow]:
    by_level = {
        level: [record for record in records if record.outer.get(parameter.path) == level] for level in parameter.levels
    }
    baseline = _finished(by_level[parameter.levels[0]])
    for level, members in by_level.items():
        if level == parameter.levels[0]:
            yield _row(parameter.path, level, members, 0.0 if baseline else None)
        else:
            paired = paired_difference(_finished(members), baseline, free)
            yield _row(parameter.path, level, members, paired.difference, paired.num_pairs)


def _bin_rows(records: Sequence[TrialRecord], parameter: OuterParameter) -> Iterator[AblationRow]:
    values = [value for record in records if isinstance(value := record.outer.get(parameter.path), int | float)]
    distinct = sorted(set(values))
    if len(distinct) > MAX_BINS:
        inner_edges = statistics.quantiles(values, n=MAX_BINS, method="inclusive")
    else:
        inner_edges = [float(value) for value in distinct[1:]]
    bins: dict[int, list[TrialRecord]] = defaultdict(list)
    for record in records:
        value = record.outer.get(parameter.path)
        if isinstance(value, int | float):
            bins[bisect.bisect_right(inner_edges, value)].append(record)
    for _, members in sorted(bins.items()):
        inside = [value for record in members if isinstance(value := record.outer[parameter.path], int | float)]
        low, high = min(inside), max(inside)
        level: Scalar = low if low == high else f"{low:.4g} to {high:.4g}"
        yield _row(parameter.path, level, members)


def _row(
    factor: str,
    level: Scalar,
    members: Sequence[TrialRecord],
    delta: float | None = None,
    num_pairs: int | None = None,
) -> AblationRow:
    finished = _finished(members)

    def mean_of(metric: str) -> float | None:
        return mean([record.metric(metric) for record in finished])

    def count(reason: EndReason) -> int:
        return sum(record.end_reason == reason for record in members)

    return AblationRow(
        factor=factor,
        level=level,
        n=len(finished),
        accuracy_mean=mean_of("accuracy"),
        accuracy_ci95=half_width([record.metric("accuracy") for record in finished]),
        delta_vs_baseline=delta,
        params=mean_of("params"),
        params_with_auxiliary=mean_of("params_with_auxiliary"),
        spikes=mean_of("spikes"),
        sops=mean_of("sops"),
        energy_uj=mean_of("energy_uj"),
        seconds=mean([record.seconds for record in finished]),
        num_early_stopped=count("early_stopped"),
        num_failed=count("failed"),
        num_infeasible=count("infeasible"),
        num_pairs=num_pairs,
    )


def _finished(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [record for record in records if record.end_reason == "finished"]
