"""The report of a run: its tables, what to doubt about them, and the files they are kept in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raynas_snn.config.outer import OuterParameter
from raynas_snn.errors import UserError
from raynas_snn.outside import refuse_links
from raynas_snn.results import ablation_table, networks_table, pareto_table
from raynas_snn.results.analysis import AblationRow, ablation
from raynas_snn.results.caveats import caveats, network_caveats
from raynas_snn.results.files import write_text
from raynas_snn.results.networks import Network, networks
from raynas_snn.results.pareto import Point, objectives_of, pareto_front
from raynas_snn.results.planned import outer_parameters
from raynas_snn.results.run_dir import RunDir


@dataclass(frozen=True)
class Report:
    """What a run has to say.

    Attributes:
        parameters: What the sweep varies.
        rows: The ablation table.
        networks: One row for each proposal with a finished trial.
        pareto: The Pareto front; None if the sweep has one objective.
        warnings: What to know before believing the numbers, one line each.
        files: Where each table lies.
    """

    parameters: Sequence[OuterParameter]
    rows: Sequence[AblationRow]
    networks: Sequence[Network]
    pareto: Sequence[Point] | None
    warnings: Sequence[str]
    files: Mapping[str, Path]


def write_report(run: RunDir) -> Report:
    """Makes the tables of a run, writes them to its folder ``report``, and returns them.

    Raises:
        UserError: If the run is garbled or the folder cannot be written.
    """
    config, records = run.config(), run.records()
    parameters = outer_parameters(config)
    rows = ablation(records, parameters)
    all_networks = networks(records, config, lambda uid: run.trial(uid).read_config() or {})
    front = pareto_front(records, config, run) if len(objectives_of(config)) > 1 else None
    warnings, doubts = caveats(config, records, rows), network_caveats(config, records)

    texts = {
        "csv": ("ablation.csv", ablation_table.to_csv(rows)),
        "markdown": ("ablation.md", ablation_table.to_markdown(rows, config, parameters, warnings)),
        "latex": ("ablation.tex", ablation_table.to_latex(rows, config, warnings)),
        "networks_csv": ("networks.csv", networks_table.to_csv(all_networks, parameters)),
        "networks_markdown": ("networks.md", networks_table.to_markdown(all_networks, config, doubts)),
        "networks_latex": ("networks.tex", networks_table.to_latex(all_networks, config, doubts)),
    }
    again: dict[str, str] = {}
    if front is not None:
        again = pareto_table.to_sweep_files(front, config, run)
        texts["pareto_csv"] = ("pareto.csv", pareto_table.to_csv(front, config, parameters))
        texts["pareto_markdown"] = ("pareto.md", pareto_table.to_markdown(front, config, parameters, run, doubts))
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
    return Report(parameters, rows, all_networks, front, warnings, files)
