"""Writes the report of a run: its tables and the warnings about them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raynas_snn.analysis.ablation import AblationRow, ablation
from raynas_snn.analysis.networks import Network, networks
from raynas_snn.analysis.pareto import ParetoPoint, pareto_front
from raynas_snn.config import Sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.core.errors import UserError
from raynas_snn.core.files import write_text
from raynas_snn.core.untrusted_files import refuse_links
from raynas_snn.run.run_dir import RunDir
from raynas_snn.tables import ablation_table, networks_table, pareto_table
from raynas_snn.tables.caveats import caveats, network_caveats


@dataclass(frozen=True)
class Report:
    """The report of a run.

    Attributes:
        sweep: The sweep of the run.
        rows: The ablation table.
        networks: One row for each proposal with a finished trial.
        pareto: The Pareto front; None if the sweep has one objective.
        warnings: Warnings about the validity of the numbers, one line each.
        files: The path of each table.
    """

    sweep: Sweep
    rows: Sequence[AblationRow]
    networks: Sequence[Network]
    pareto: Sequence[ParetoPoint] | None
    warnings: Sequence[str]
    files: Mapping[str, Path]


def write_report(run: RunDir) -> Report:
    """Makes the tables of a run, writes them to its folder ``report``, and returns them.

    Raises:
        UserError: If the run is invalid or the folder cannot be written.
    """
    sweep, records = run.sweep(), run.records()

    @functools.cache
    def trial_of(uid: str) -> TrialConfig | None:
        return run.trial(uid).read_trial()

    rows = ablation(records, sweep.outer)
    all_networks = networks(records, sweep, trial_of)
    front = pareto_front(records, sweep, run) if len(sweep.config.sweep.objectives) > 1 else None
    warnings, doubts = caveats(sweep, records, rows), network_caveats(sweep, records)

    texts = {
        "csv": ("ablation.csv", ablation_table.to_csv(rows)),
        "markdown": ("ablation.md", ablation_table.to_markdown(rows, sweep, warnings)),
        "latex": ("ablation.tex", ablation_table.to_latex(rows, sweep, warnings)),
        "networks_csv": ("networks.csv", networks_table.to_csv(all_networks, sweep)),
        "networks_markdown": ("networks.md", networks_table.to_markdown(all_networks, sweep, doubts)),
        "networks_latex": ("networks.tex", networks_table.to_latex(all_networks, sweep, doubts)),
    }
    again: dict[str, str] = {}
    if front is not None:
        again = pareto_table.to_sweep_files(front, sweep, run, trial_of)
        texts["pareto_csv"] = ("pareto.csv", pareto_table.to_csv(front, sweep))
        texts["pareto_markdown"] = ("pareto.md", pareto_table.to_markdown(front, sweep, run, doubts))
    again_folder = run.report / pareto_table.FOLDER
    for folder in (run.report, again_folder):
        refuse_links(folder)
    try:
        (again_folder if again else run.report).mkdir(parents=True, exist_ok=True)
        for name, text in texts.values():
            write_text(run.report / name, text)
        for name, text in again.items():
            write_text(again_folder / name, text)
        for left in again_folder.glob("p*.yaml"):
            if left.name not in again:  # of a point that is on the front no longer
                left.unlink()
    except OSError as error:
        raise UserError(f"{run.report}: cannot write the report: {error.strerror}") from None
    files = {key: run.report / name for key, (name, _) in texts.items()}
    return Report(sweep, rows, all_networks, front, warnings, files)
