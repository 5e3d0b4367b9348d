"""What a sweep is going to do and where, worked out before anything is started or written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.config import Sweep, difference, meaning
from raynas_snn.config.yaml_text import show
from raynas_snn.errors import UserError
from raynas_snn.results.run_dir import RunDir


@dataclass(frozen=True)
class Plan:
    """What a sweep is going to do.

    Attributes:
        sweep: The sweep.
        run_dir: Where it keeps everything.
        continues: Whether the run directory holds earlier work on the same sweep.
        num_ended: Trials that have ended there.
    """

    sweep: Sweep
    run_dir: Path
    continues: bool = False
    num_ended: int = 0

    @property
    def num_trials(self) -> int:
        """Trials of the whole sweep."""
        return self.sweep.num_proposals() * self.sweep.config.sweep.num_seeds

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
            "sampler": config.sweep.sampler,
            "num_proposals": self.sweep.num_proposals(),
            "num_seeds": config.sweep.num_seeds,
            "num_trials": self.num_trials,
            "epochs": {phase: self.sweep.values_of(f"{phase}.epochs") for phase in ("search", "retrain")},
            "resources": config.resources.model_dump(),
            "run_dir": str(self.run_dir),
            "continues": self.continues,
            "num_ended": self.num_ended,
        }

    def text(self) -> str:
        """The plan for people, one line per fact."""
        config, resources = self.sweep.config, self.sweep.config.resources
        outer = [f"{parameter.path}: {_levels(parameter.as_dict())}" for parameter in self.sweep.outer]
        epochs = [f"{_span(self.sweep.values_of(f'{phase}.epochs'))} {phase}" for phase in ("search", "retrain")]
        cpus, gpus = resources.cpus_per_worker, resources.gpus_per_worker
        num_proposals = self.sweep.num_proposals()
        state = f"continues, {self.num_ended} of its trials have ended" if self.continues else "new"
        facts = {
            "sweep": f"{config.name} ({self.sweep.source})",
            "search space": config.space,
            "kind of trial": config.trial,
            "data": config.data.name,
            "varied": ("\n" + " " * 18).join(outer) or "nothing",
            "sampler": config.sweep.sampler,
            "trials": f"{self.num_trials} = {num_proposals} proposals x {config.sweep.num_seeds} seeds",
            "epochs per trial": " + ".join(epochs),
            "workers per trial": f"{resources.num_workers}, each with {cpus} CPU and {gpus:g} GPU",
            "trials at a time": resources.max_concurrent,
            "run directory": f"{self.run_dir} ({state})",
        }
        return "\n".join(f"{name:<18}{fact}" for name, fact in facts.items())


def default_run_dir(sweep: Sweep) -> Path:
    """Where a sweep goes if it is not told: the same sweep finds its own earlier work again."""
    return Path("runs") / f"{sweep.config.name}-{sweep.meaning_hash()}"


def make_plan(sweep: Sweep, run_dir: Path, resume: str) -> Plan:
    """Looks at the run directory, writes nothing.

    Args:
        sweep: The sweep.
        run_dir: Where it is to run.
        resume: ``"auto"`` starts or continues, ``"must"`` only continues, ``"never"`` only starts.

    Raises:
        UserError: If the directory holds something else, another sweep, or not what ``resume`` asks for.
    """
    if not RunDir.is_run(run_dir):
        RunDir.check_free(run_dir)
        if resume == "must":
            raise UserError(f"{run_dir}: holds no run to continue, and --resume must does not start one")
        return Plan(sweep, run_dir)
    if resume == "never":
        raise UserError(f"{run_dir}: holds a run already, and --resume never does not continue it")
    run = RunDir.open(run_dir)
    lines = difference(meaning(run.config()), meaning(sweep.resolved()))
    if lines:
        raise UserError(f"{run_dir}: holds a run of another sweep: {'; '.join(lines)}; choose another --run-dir")
    return Plan(sweep, run_dir, continues=True, num_ended=len(run.records()))


def _levels(written: dict[str, Any]) -> str:
    if "choice" in written:
        return ", ".join(str(level) for level in written["choice"])
    return show(written)


def _span(values: tuple[Any, ...]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
