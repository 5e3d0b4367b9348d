"""Warnings about the validity of the tables, one line each."""

from collections.abc import Iterator, Sequence

from raynas_snn.analysis.ablation import AblationRow
from raynas_snn.config import Sweep
from raynas_snn.core.screen import scalar
from raynas_snn.run.records import TrialRecord

_INDEPENDENT_SAMPLERS = ("grid", "random")
_SKIP_COLLAPSE = 0.5
_MAX_NAMED = 10


def caveats(sweep: Sweep, records: Sequence[TrialRecord], rows: Sequence[AblationRow]) -> list[str]:
    """Returns the warnings of a report, most important first.

    Args:
        sweep: The sweep of the run.
        records: Ended trials, each once.
        rows: The ablation table made from them.
    """
    return [*_sampling(sweep), *_survivors(sweep, records), *_pairs(sweep, rows), *_of_networks(records)]


def network_caveats(sweep: Sweep, records: Sequence[TrialRecord]) -> list[str]:
    """Returns the warnings that concern individual networks."""
    return [*_survivors(sweep, records), *_of_networks(records)]


def adaptive_warning(sweep: Sweep) -> str | None:
    """Returns why an ablation of this sweep is to be read with care, or None."""
    sampler = sweep.config.sweep.sampler.name
    if sampler in _INDEPENDENT_SAMPLERS:
        return None
    return (
        f"The sampler '{sampler}' may choose proposals by earlier results: it tries good regions more often, which "
        "biases means over levels. Use grid or random for an ablation."
    )


def _sampling(sweep: Sweep) -> Iterator[str]:
    if warning := adaptive_warning(sweep):
        yield warning
    if source := sweep.config.sweep.warm_start:
        yield f"The sweep started from the results of {source}: its proposals were chosen by what did well there."


def _survivors(sweep: Sweep, records: Sequence[TrialRecord]) -> Iterator[str]:
    stopped = sum(record.end_reason == "early_stopped" for record in records)
    infeasible = sum(record.end_reason == "infeasible" for record in records)
    if stopped:
        yield (
            f"{stopped} of {len(records)} trials were stopped early by {sweep.config.sweep.scheduler.name}: means are "
            "over survivors, which biases them upwards."
        )
    if infeasible:
        yield (
            f"{infeasible} of {len(records)} trials were infeasible: means are over networks within the limits of "
            "the sweep only."
        )


def _pairs(sweep: Sweep, rows: Sequence[AblationRow]) -> Iterator[str]:
    """One line per factor that has a level of which some finished trials have no partner."""
    if sweep.config.sweep.sampler.name == "grid":
        reason = "their partners have not finished"
    else:
        reason = "random proposals rarely agree in everything else"
    for factor in dict.fromkeys(row.factor for row in rows):
        short = [
            f"{scalar(row.level)}: {row.num_pairs or 'none'} of {row.n}"
            for row in rows
            if row.factor == factor and row.num_pairs is not None and row.num_pairs < row.n
        ]
        if short:
            yield (
                f"Differences of {factor} rest on few pairs of trials ({'; '.join(short)}): {reason}; compare means "
                "with their intervals."
            )


def _of_networks(records: Sequence[TrialRecord]) -> Iterator[str]:
    """Networks that have gone wrong in a known way, by name."""
    finished = [record for record in records if record.end_reason == "finished"]
    collapsed = [record.uid for record in finished if (record.metric("skip_share") or 0.0) >= _SKIP_COLLAPSE]
    if collapsed:
        yield (
            f"{len(collapsed)} of {len(finished)} networks have normal cells made of skip connections by half or more: "
            f"{_named(collapsed)}."
        )
    dead = [record.uid for record in finished if record.metric("num_answers") == 1]
    if dead:
        yield (
            f"{len(dead)} of {len(finished)} networks give all test images the same answer, so they have learned "
            f"nothing (a lower retrain.lr may help): {_named(dead)}."
        )


def _named(uids: Sequence[str]) -> str:
    more = f" and {len(uids) - _MAX_NAMED} more" if len(uids) > _MAX_NAMED else ""
    return ", ".join(uids[:_MAX_NAMED]) + more
