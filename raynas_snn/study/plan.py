"""The plan of a sweep, made before anything is started or written: which trials will run, and in which directory."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raynas_snn.config import Sweep
from raynas_snn.config.component import Component
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.search_parameter import OuterParameter
from raynas_snn.config.superset import compare
from raynas_snn.config.yaml_text import show
from raynas_snn.core.errors import UserError
from raynas_snn.core.registry import resolve
from raynas_snn.core.text import visible
from raynas_snn.run.run_dir import RunDir
from raynas_snn.study.warm_start import read_warm_start

_FACT_COLUMN = 18
_MOST_DIFFERENCES = 12  # between two sweeps, to name in one line
_MOST_FOREIGN = 3  # fields of another version, to name in one line
_MOST_SIBLINGS = 20  # runs to look at for one that a sweep could continue


@dataclass(frozen=True)
class Plan:
    """The plan of a sweep.

    Attributes:
        sweep: The sweep.
        run_dir: The run directory.
        continues: Whether the run directory holds earlier work on the same sweep.
        num_ended: Number of trials that have ended there.
        num_warm_start: Number of proposals of another run that a new run will learn from.
        notes: How the sweep relates to earlier work, one line each: how it is wider, or which run it could continue.
        storage: URL of the storage that keeps the run, or None.
    """

    sweep: Sweep
    run_dir: Path
    continues: bool = False
    num_ended: int = 0
    num_warm_start: int = 0
    notes: Sequence[str] = ()
    storage: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The plan for programs."""
        config = self.sweep.config
        return {
            "name": config.name,
            "source": self.sweep.source,
            "space": config.space,
            "trial": config.trial,
            "data": config.data.name,
            "outer": {parameter.path: parameter.as_dict() for parameter in self.sweep.outer},
            "sampler": config.sweep.sampler.name,
            "num_proposals": self.sweep.num_proposals(),
            "num_seeds": config.sweep.num_seeds,
            "num_trials": self.sweep.num_trials(),
            "epochs": {"search": self._search_epochs(), "retrain": self.sweep.values_of("retrain.epochs")},
            "scheduler": config.sweep.scheduler.name,
            "limits": config.sweep.limits,
            "points": self.sweep.points(),
            "warm_start": config.sweep.warm_start,
            "resources": config.resources.model_dump(),
            "run_dir": str(self.run_dir),
            "storage": self.storage,
            "continues": self.continues,
            "num_ended": self.num_ended,
            "notes": list(self.notes),
        }

    def text(self) -> str:
        """The plan for people, one line per fact."""
        config, resources = self.sweep.config, self.sweep.config.resources
        outer = [f"{parameter.path}: {_levels(parameter)}" for parameter in self.sweep.outer]
        search, retrain = self._search_epochs(), self.sweep.values_of("retrain.epochs")
        cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
        num_proposals = self.sweep.num_proposals()
        state = f"continues, {self.num_ended} of its trials have ended" if self.continues else "new"
        facts = {
            "sweep": f"{config.name} ({self.sweep.source})",
            "search space": config.space,
            "kind of trial": config.trial,
            "data": config.data.name,
            "varied": "\n".join(outer) or "nothing",
            "sampler": _with_options(config.sweep.sampler),
            **self._extras(),
            "trials": f"{self.sweep.num_trials()} = {num_proposals} proposals x {config.sweep.num_seeds} seeds",
            "epochs per trial": f"{_span(search)} search + {_span(retrain)} retrain",
            "workers per trial": f"{resources.num_workers}, each with {cpus} CPU and {gpus:g} GPU",
            "trials at a time": resources.max_concurrent,
            "run directory": "\n".join([f"{self.run_dir} ({state})", *self.notes]),
            **({} if self.storage is None else {"storage": self.storage}),
        }
        lines = []
        for name, fact in facts.items():
            first, *others = str(fact).splitlines()
            lines += [f"{name:<{_FACT_COLUMN}}{first}", *(" " * _FACT_COLUMN + other for other in others)]
        return "\n".join(map(visible, lines))

    def _search_epochs(self) -> tuple[int, ...]:
        """The fewest and the most epochs that the search of a trial can have; strategies count them differently."""

        def epochs(trial: TrialConfig) -> int:
            return int(resolve("strategies", trial.search.strategy.name).epochs(trial.search))

        return tuple(sorted({-self.sweep.greatest(lambda trial: -epochs(trial)), self.sweep.greatest(epochs)}))

    def _extras(self) -> dict[str, str]:
        """What a sweep need not have."""
        settings, extras = self.sweep.config.sweep, {}
        if settings.scheduler.name != "none":
            extras["scheduler"] = _with_options(settings.scheduler)
        if limits := settings.limits:
            extras["limits"] = ", ".join(f"{name} <= {limit:,}" for name, limit in limits.items())
        if settings.points:
            extras["points"] = "\n".join(show(point) for point in self.sweep.points())
        if settings.warm_start is not None:
            proposals = f"{self.num_warm_start} proposals of " if not self.continues else ""
            extras["learns from"] = f"{proposals}{settings.warm_start}"
        return extras


def default_run_dir(sweep: Sweep) -> Path:
    """The default run directory; the same sweep always has the same one, so it finds its earlier work."""
    return Path("runs") / f"{sweep.config.name}-{sweep.meaning_hash()}"


def make_plan(sweep: Sweep, run_dir: Path, resume: str) -> Plan:
    """Makes the plan from the run directory; writes nothing.

    Args:
        sweep: The sweep.
        run_dir: Its run directory.
        resume: ``"auto"`` starts or continues, ``"must"`` only continues, ``"never"`` only starts.

    Raises:
        UserError: If the directory holds something else, another sweep, or not what ``resume`` asks for.
    """
    if not RunDir.is_run(run_dir):
        RunDir.check_free(run_dir)
        hints = _narrower_runs(sweep, run_dir)
        if resume == "must":
            what = "holds no run to continue, and --resume must does not start one"
            raise UserError("; ".join([f"{run_dir}: {what}", *hints]))
        return Plan(sweep, run_dir, num_warm_start=len(read_warm_start(sweep)), notes=hints)
    if resume == "never":
        raise UserError(f"{run_dir}: holds a run already, and --resume never does not continue it")
    run = RunDir.open(run_dir)
    there = run.sweep()
    if there.foreign:
        fields = [*there.foreign[:_MOST_FOREIGN], *("..." for _ in there.foreign[_MOST_FOREIGN:][:1])]
        raise UserError(
            f"{run_dir}: was made by an earlier version ({', '.join(fields)}): finish it with that version, "
            "or choose another --run-dir"
        )
    refused, wider = compare(there, sweep)
    if refused:
        more = [f"and {len(refused) - _MOST_DIFFERENCES} more"] if len(refused) > _MOST_DIFFERENCES else []
        differences = "; ".join([*refused[:_MOST_DIFFERENCES], *more])
        raise UserError(f"{run_dir}: holds a run of another sweep: {differences}; choose another --run-dir")
    return Plan(
        sweep, run_dir, continues=True, num_ended=len(run.records()), notes=[f"wider: {line}" for line in wider]
    )


def _narrower_runs(sweep: Sweep, run_dir: Path) -> list[str]:
    """Hints at runs of the same name that this sweep could continue, if it is not told where to go."""
    if run_dir != default_run_dir(sweep):
        return []
    siblings = []
    for path in run_dir.parent.glob(f"{sweep.config.name}-*"):
        with contextlib.suppress(UserError, OSError):  # closed to us, or gone in the meantime
            if RunDir.is_run(path):
                siblings.append((path.stat().st_mtime, path))
    hints = []
    for _, path in sorted(siblings, reverse=True)[:_MOST_SIBLINGS]:
        with contextlib.suppress(UserError):  # an invalid other run does not concern this one
            if not compare(RunDir(path).sweep(), sweep)[0]:
                hints.append(f"hint: --run-dir {path} continues a run that this sweep widens")
    return hints[:1]


def _levels(parameter: OuterParameter) -> str:
    if parameter.kind == "choice":
        text = ", ".join(map(str, parameter.levels))
    else:
        text = show(replace(parameter, when=()).as_dict())
    conditions = [f"{path} is {' or '.join(map(str, levels))}" for path, levels in parameter.when]
    return f"{text} (when {' and '.join(conditions)})" if conditions else text


def _with_options(component: Component) -> str:
    options = ", ".join(f"{name} {show(value)}" for name, value in component.settings.items())
    return f"{component.name} ({options})" if options else component.name


def _span(values: tuple[Any, ...]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
