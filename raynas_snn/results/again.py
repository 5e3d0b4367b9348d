"""A sweep file that trains a network again: its cells, with the settings of the trial that found them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raynas_snn.config.yaml_text import dump
from raynas_snn.errors import UserError
from raynas_snn.results.planned import setting

_OF_THE_TRIAL = ("space", "trial", "data", "model", "search", "retrain", "resources")
_LONGEST_NAME = 90  # of at most 100 characters


def retraining_file(config: Mapping[str, Any], settings: Mapping[str, Any], genotype: Path) -> str:
    """Returns a sweep file without outer parameters.

    Args:
        config: The resolved sweep file of the run.
        settings: The settings of the trial, from its folder.
        genotype: The file with its cells.

    Raises:
        UserError: If the settings are not those of a whole trial.
    """
    for missing in {*_OF_THE_TRIAL, "proposal"} - settings.keys():
        raise UserError(f"{genotype.parent}: the settings of the trial lack {missing!r}")
    again = {name: settings[name] for name in _OF_THE_TRIAL}
    again["search"] = {**again["search"], "strategy": "fixed", "genotype": str(genotype.absolute())}
    sweep = {name: setting(config, f"sweep.{name}") for name in ("seed", "num_seeds", "objectives")}
    name = f"{str(setting(config, 'name'))[:_LONGEST_NAME]}-p{settings['proposal']:04d}"
    return dump({"name": name, **again, "sweep": {"sampler": "grid", **sweep}})
