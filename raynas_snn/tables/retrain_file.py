"""Makes a sweep file that retrains a network: its cells, with the settings of the trial that found them."""

from pathlib import Path

from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.config.yaml_text import dump

_OF_THE_TRIAL = ("space", "trial", "data", "model", "search", "retrain", "resources")
_LONGEST_NAME = 90  # of at most 100 characters


def retrain_sweep_file(sweep: Sweep, trial: TrialConfig, genotype: Path) -> str:
    """Returns a sweep file without outer parameters.

    Args:
        sweep: The sweep of the run.
        trial: The settings of the trial.
        genotype: The file with its cells.
    """
    settings, found = sweep.config.sweep.model_dump(), trial.model_dump()
    again = {name: found[name] for name in _OF_THE_TRIAL}
    again["search"]["strategy"] = {"name": "fixed", "genotype": str(genotype.absolute())}
    repeats = {name: settings[name] for name in ("seed", "num_seeds", "objectives")}
    name = f"{sweep.config.name[:_LONGEST_NAME]}-p{trial.proposal:04d}"
    return dump({"name": name, **again, "sweep": {"sampler": "grid", **repeats}})
