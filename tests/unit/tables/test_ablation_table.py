"""Tables: fractions for programs, percent for people, a blank for what cannot be told."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from sweeps import sweep_of

from raynas_snn.analysis.ablation import AblationRow
from raynas_snn.core import screen
from raynas_snn.core.errors import UserError
from raynas_snn.run.records import TrialRecord
from raynas_snn.run.run_dir import RunDir
from raynas_snn.snn.energy import PICOJOULE_PER_MAC, PICOJOULE_PER_SOP
from raynas_snn.tables.ablation_table import to_csv, to_latex, to_markdown, to_terminal
from raynas_snn.tables.caveats import adaptive_warning, caveats
from raynas_snn.tables.report_files import write_report

SWEEP = sweep_of(name="mine", data={"name": "my|data"}, model={"attention": {"choice": ["none", "a|b"]}})
BASELINE = AblationRow(
    factor="model.attention",
    level="none",
    n=3,
    accuracy_mean=0.91234567890123,
    accuracy_ci95=0.0123,
    delta_vs_baseline=0.0,
    params=1_234_567.0,
    params_with_auxiliary=2_345_678.0,
    spikes=45_678.9,
    sops=9.87e7,
    energy_uj=12.345,
    seconds=245.0,
    num_early_stopped=0,
    num_failed=1,
    num_infeasible=4,
    num_pairs=None,
)
EMPTY = AblationRow("model.attention", "a|b", 0, None, None, None, None, None, None, None, None, None, 2, 0, 0, 0)


def test_csv_has_the_agreed_columns_in_full_precision() -> None:
    header, first, second = csv.reader(io.StringIO(to_csv([BASELINE, EMPTY])))
    assert " ".join(header) == (
        "factor level n accuracy_mean accuracy_ci95 delta_vs_baseline params params_with_auxiliary spikes sops "
        "energy_uj seconds num_early_stopped num_failed num_infeasible num_pairs"
    )
    assert float(first[3]) == BASELINE.accuracy_mean
    assert second == ["model.attention", "a|b", "0", *[""] * 9, "2", "0", "0", "0"]


def test_csv_writes_truth_values_as_the_sweep_file_does() -> None:
    assert to_csv([replace(BASELINE, level=True)]).splitlines()[1].startswith("model.attention,true,3,")


def test_markdown_is_a_whole_table_in_percent() -> None:
    text = to_markdown([BASELINE, EMPTY], SWEEP)
    header, line, first, second = [row for row in text.splitlines() if row.startswith("|")]
    assert "| 91.23 ± 1.23 | +0.00 | - | 1.23M | 2.35M | 45.7k | 98.7M | 12.3 | 4m 05s | 0 | 1 | 4 |" in first
    assert second == "| attention | a\\|b | 0 | - | - | 0 | - | - | - | - | - | - | 2 | 0 | 0 |"
    assert len({row.replace("\\|", "").count("|") for row in (header, line, first, second)}) == 1
    assert "# mine: ablation\n\nData set: my\\|data." in text


def test_markdown_states_how_the_numbers_came_about() -> None:
    text = to_markdown([BASELINE], SWEEP)
    assert "95 % interval by Student's t" in text
    assert f"{PICOJOULE_PER_MAC} pJ per MAC" in text
    assert f"{PICOJOULE_PER_SOP} pJ per AC" in text
    for words in (
        "45 nm",
        "memory traffic is not part of it",
        "per test image, summed over all time steps",
        "Every trial counts as one observation",
    ):
        assert words in text


@pytest.mark.parametrize(("sampler", "warns"), [("grid", False), ("random", False), ("tpe", True), ("my:own", True)])
def test_an_adaptive_sampler_is_warned_of(sampler: str, warns: bool) -> None:
    sweep = sweep_of(sampler=sampler)
    assert (adaptive_warning(sweep) is not None) == warns
    assert ("**Warning.**" in to_markdown([BASELINE], sweep, caveats(sweep, [], [BASELINE]))) == warns


def test_markup_of_the_user_stays_text() -> None:
    row = replace(BASELINE, level="<b>[red]&\\|\nx")
    assert "| &lt;b>\\[red\\]&amp;\\\\\\| x |" in to_markdown([row], SWEEP)
    assert "[red]" in printed([row], width=200)


def printed(rows: list[AblationRow], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(to_terminal(rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_table_fits_80_columns() -> None:
    lines = printed([BASELINE, EMPTY], width=80).splitlines()
    assert len(lines) == 3
    assert " ".join(lines[1].split()) == "attention none 3 91.23 ± 1.23 +0.00 1.23M 45.7k 12.3 4m 05s 5"
    assert lines[0].endswith("left out")  # stopped early, over a limit or failed
    assert " ".join(lines[2].split()) == "a|b 0 - - - - - - 2"  # the name of a factor stands once


def test_a_narrow_terminal_breaks_names_not_numbers() -> None:
    text = printed([replace(BASELINE, level="a_very_long_level_of_this_factor")], width=80)
    assert "91.23 ± 1.23" in text
    assert "…" not in text


def test_factors_that_end_alike_keep_their_whole_names() -> None:
    assert screen.short_names(["search.epochs", "retrain.epochs", "model.decay"]) == {
        "search.epochs": "search.epochs",
        "retrain.epochs": "retrain.epochs",
        "model.decay": "decay",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.00123, "0.00123"), (12.345, "12.3"), (99.96, "100"), (999.4, "999"), (999.6, "1k"), (1234, "1.23k"),
     (45_678, "45.7k"), (999_600, "1M"), (1.5e9, "1.5G"), (-1234, "-1.23k")],
)  # fmt: skip
def test_short_numbers(value: float, text: str) -> None:
    assert screen.short_number(value) == text


def test_percent_and_duration() -> None:
    assert screen.percent(0.5) == "50.00"
    assert screen.percent(-1e-9, sign=True) == "+0.00"
    assert screen.percent(-0.0123, sign=True) == "-1.23"
    assert [screen.duration(s) for s in (0, 59.96, 3599.9, 3661)] == ["0.0s", "1m 00s", "1h 00m", "1h 01m"]


def test_one_line_takes_the_telling_one() -> None:
    assert screen.one_line('Traceback (most recent call last):\n  File "x"\nValueError: bad\n') == "ValueError: bad"
    assert screen.one_line("\nout of memory\ndetails") == "out of memory"
    assert screen.one_line("\x1b[31mred\x1b[0m") == "[31mred[0m"
    assert screen.one_line("") == ""


def test_a_report_is_written_from_the_files_of_the_run(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", SWEEP.resolved(), {})
    for seed, accuracy in enumerate((0.5, 0.7)):
        outer = {"model.attention": "none"}
        run.append(TrialRecord(f"p0000-s{seed}", 0, seed, outer, "finished", 1, 1.0, {"accuracy": accuracy}))
    report = write_report(run)
    assert [(row.level, row.n) for row in report.rows] == [("none", 2), ("a|b", 0)]
    assert report.files["csv"].read_text() == to_csv(report.rows)
    assert report.files["markdown"].read_text() == to_markdown(report.rows, SWEEP)
    assert report.files["latex"].read_text() == to_latex(report.rows, SWEEP)
    assert sorted(report.files.values()) == sorted(run.report.iterdir())
    assert report.pareto is None
    assert write_report(run) == report


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", SWEEP.resolved(), {})
    run.report.write_text("a file in the way")
    with pytest.raises(UserError, match="cannot write the report"):
        write_report(run)
