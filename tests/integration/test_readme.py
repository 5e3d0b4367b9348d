"""What the README shows is true: its commands are run, its files are there, its sweep file is valid.

The default sweep is also killed in the middle and started again with the same command, as the README promises: by
`make soak`.
"""

import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from sweeper import Ended, Sweeper, finish, interrupt, wait_until

from raynas_snn.config import load_sweep

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
(TOUR,) = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for line in TOUR.splitlines()]

# Each of these is run by a test below, in the README's order.
DEFAULT, LISTING, PRINT_CONFIG, DRY_RUN, OWN, STATUS, REPORT = (
    command for command in COMMANDS if command.startswith("python") and "--address" not in command
)


def launch(sweeper: Sweeper, command: str) -> subprocess.Popen[str]:
    return sweeper.launch([sys.executable, *shlex.split(command)[1:]])


def run(sweeper: Sweeper, command: str) -> Ended:
    return finish(launch(sweeper, command))


@pytest.mark.ray
def test_the_default_sweep_starts_and_says_how_to_continue(sweeper: Sweeper) -> None:
    """The start of its first trial only; `make soak` sees it to its end."""
    process = launch(sweeper, DEFAULT)
    runs = sweeper.folder / "runs"
    wait_until(lambda: bool(list(runs.glob("*/trials/p0000-s0/config.json"))), process)
    ended = interrupt(process, signal.SIGINT)
    assert ended.code == 130, ended.err
    assert "6 trials to run" in ended.out
    assert f"To continue: {DEFAULT}" in ended.out


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(1800)  # two sweeps, each with a limit of its own
def test_the_default_sweep_survives_a_sigkill_and_ends_with_a_table(sweeper: Sweeper) -> None:
    process = launch(sweeper, DEFAULT)
    runs = sweeper.folder / "runs"
    wait_until(lambda: len(list(runs.glob("*/trials.jsonl"))) == 1, process)
    name = f"runs/{next(runs.iterdir()).name}"
    wait_until(lambda: len(sweeper.records(name)) >= 2 and len(sweeper.curve("p0001-s0", name)) >= 2, process)
    interrupt(process, signal.SIGKILL)
    ended_before, curve_before = sweeper.records(name), sweeper.curve("p0001-s0", name)

    again = run(sweeper, DEFAULT)
    assert again.code == 0, again.err
    assert "attention" in again.out
    assert f"written: {name}/report/ablation.csv" in again.out
    records = sweeper.records(name)
    assert records[: len(ended_before)] == ended_before  # finished trials are not run again
    assert sorted(record["uid"] for record in records) == [f"p{p:04d}-s{s}" for p in range(3) for s in range(2)]
    curve = sweeper.curve("p0001-s0", name)
    assert [int(row[0]) for row in curve] == list(range(1, 8))  # each epoch once
    assert curve[: len(curve_before)] == curve_before  # no epoch was trained twice
    assert min(record["metrics"]["accuracy"] for record in records) > 0.9  # chance is 0.1

    third = run(sweeper, DEFAULT)
    assert third.code == 0
    assert "Nothing to do: all 6 trials have ended." in third.out
    assert sweeper.records(name) == records


@pytest.mark.ray
def test_the_tour(sweeper: Sweeper) -> None:
    listing = run(sweeper, LISTING)
    assert [line.split()[0] for line in listing.out.splitlines() if not line.startswith(" ")] == [
        "none",
        "temporal",
        "channel",
        "spatial",
        "ct",
        "ma",
    ]
    command, _, file = PRINT_CONFIG.partition(" > ")
    printed = run(sweeper, command)
    edited = yaml.safe_load(printed.out) | {"trial": "fake"}  # the tour says: edit it
    (sweeper.folder / file).write_text(yaml.safe_dump(edited))
    dry = run(sweeper, DRY_RUN)
    assert "6 = 3 proposals x 2 seeds" in dry.out
    assert [path.name for path in sweeper.folder.iterdir()] == [file]
    own = run(sweeper, OWN)
    assert own.code == 0, own.err
    status = run(sweeper, STATUS)
    assert status.code == 0, status.err
    assert "6" in status.out
    report = run(sweeper, REPORT)
    assert report.code == 0, report.err
    assert (sweeper.folder / "runs/mine/report/ablation.md").is_file()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    for target in re.findall(r"^    make (\w+)", README, re.MULTILINE):
        subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_extra_that_is_named_exists() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\.\[(\w+)\]", README)
    assert extras
    assert set(extras) <= set(project["optional-dependencies"])


def test_the_sweep_file_that_is_shown_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    outer = [parameter.path for parameter in load_sweep(file).outer]
    assert outer == [
        "model.attention",
        "model.attention.reduction",
        "model.num_steps",
        "model.decay",
        "search.strategy",
    ]


def test_every_file_and_link_that_is_named_is_there() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        file, _, heading = target.partition("#")
        assert (REPOSITORY / file).exists(), target
        assert not heading or f"\n## {heading}\n" in (REPOSITORY / file).read_text().lower(), target
    (tree,) = re.findall(r"## What lies where\n\n((?:    .*\n)+)", README)
    for line in tree.splitlines():
        inside = REPOSITORY / "raynas_snn" if line.startswith(" " * 6) else REPOSITORY
        for name in re.match(r"((?:[\w/.]+ )*[\w/.]+)", line.strip()).group(1).split("  ")[0].split():
            assert (inside / name).exists(), name
