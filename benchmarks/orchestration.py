"""What the orchestration adds to a trial: empty trials through Ray Train, and instant ``fake`` ones at scale.

Run from a checkout: ``python benchmarks/orchestration.py``. Each figure comes from a real sweep in a process of its
own. A trial's cost is the time between the ends of trials that run one after the other, so it holds everything: Tune,
Train, process starts, imports, process groups, polling, files. ``first`` holds the start of Ray as well. With
``--compare DIR`` another checkout of the project is measured alternately with this one.

``fake`` trials also show what grows with their number: ``first_tenth`` and ``last_tenth`` are seconds per trial,
``cpu_first_tenth`` and ``cpu_last_tenth`` the driver's part of them (which other load disturbs less), ``rss_tenth``
and ``rss_end`` the memory of the driver (MB) after the first tenth and after the last trial, ``status`` and ``report``
the seconds that these verbs take in the end. ``--fake-trials 1000`` is what a large sweep has.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from ray_nodes import without_ray

HERE = Path(__file__).resolve().parent
# Not `python -m`: the checkout to measure is the one on PYTHONPATH, wherever the package was installed from.
VERB = "import sys; from raynas_snn.{} import main; sys.exit(main(sys.argv[1:]))"
FEWEST_TO_GROW = 20  # trials that a sweep has at least for its first and last tenth to be told


class End(NamedTuple):
    """The end of a trial: the time, and what the driver has used by then."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def measure(checkout: Path, settings: dict[str, Any], num_trials: int) -> dict[str, float]:
    """Runs one sweep of ``num_trials`` trials and times the ends of its trials.

    Returns:
        ``per_trial``: median seconds between ends; ``first``: seconds from the start of the command to the first end;
        ``total``: seconds of the whole command; from 20 trials on, also what `growth` returns, and the seconds of
        ``status`` and ``report``.
    """
    settings = {
        "sweep.num_trials": num_trials,
        "sweep.sampler": "random",
        "model.decay": {"float": [0.1, 0.9]},
        "sweep.num_seeds": 1,
        **settings,
    }
    overrides = [f"--set={path}={json.dumps(value)}" for path, value in settings.items()]
    path = os.pathsep.join([str(checkout), str(HERE)])
    environment = without_ray() | {"PYTHONPATH": path}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        process = _start("sweep", "--run-dir", "run", *overrides, cwd=folder, env=environment)
        ends = _watch(process, Path(folder, "run", "trials.jsonl"))
        measured = {
            "per_trial": statistics.median(later.seconds - earlier.seconds for earlier, later in pairwise(ends)),
            "first": ends[0].seconds - begun,
            "total": time.monotonic() - begun,
        }
        if num_trials >= FEWEST_TO_GROW:
            measured |= growth(ends)
            for verb in ("status", "report"):
                begun = time.monotonic()
                _check(_start(verb, "run", cwd=folder, env=environment))
                measured[verb] = time.monotonic() - begun
    return measured


def growth(ends: list[End]) -> dict[str, float]:
    """Compares the first tenth of the trials with the last: means per trial, and the memory after both."""
    tenth = len(ends) // 10
    first, last = (ends[0], ends[tenth]), (ends[-1 - tenth], ends[-1])
    return {
        "first_tenth": (first[1].seconds - first[0].seconds) / tenth,
        "last_tenth": (last[1].seconds - last[0].seconds) / tenth,
        "cpu_first_tenth": (first[1].cpu_seconds - first[0].cpu_seconds) / tenth,
        "cpu_last_tenth": (last[1].cpu_seconds - last[0].cpu_seconds) / tenth,
        "rss_tenth": first[1].megabytes,
        "rss_end": last[1].megabytes,
    }


def _start(verb: str, *arguments: str, cwd: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", VERB.format(verb), *arguments],
        cwd=cwd,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _watch(process: subprocess.Popen[str], records: Path) -> list[End]:
    """Waits for a sweep; returns the ends of its trials in their order."""
    driver, read = psutil.Process(process.pid), 0
    ends: list[End] = []
    while process.poll() is None:
        if records.exists() and records.stat().st_size > read:
            with records.open("rb") as file:
                file.seek(read)
                new = file.read()
            read += len(new)
            cpu, memory = driver.cpu_times(), driver.memory_info()
            end = End(time.monotonic(), cpu.user + cpu.system, memory.rss / 2**20)
            ends += [end] * new.count(b"\n")
        time.sleep(0.01)
    _check(process)
    return ends


def _check(process: subprocess.Popen[str]) -> None:
    """Waits for a command, which must end well."""
    error = process.communicate()[1]
    if process.returncode != 0:
        raise SystemExit(f"a command ended with exit code {process.returncode}: {error}")


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help="empty trials per sweep (5; 0 for none)")
    parser.add_argument("--fake-trials", type=int, default=100, help="fake trials per sweep (100; 0 for none)")
    parser.add_argument("--rounds", type=int, default=1, help="repeats, checkouts alternating (1)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="workers of an empty trial (1 2)")
    parser.add_argument("--compare", type=Path, action="append", default=[], help="another checkout of the project")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    cases: dict[str, tuple[dict[str, Any], int]] = {}
    for number in options.workers if options.trials else []:
        cases[f"empty trial, {number} worker{'s' * (number > 1)}"] = (
            {
                "trial": "empty_trial:RECIPE",
                "resources.num_workers": number,
                "resources.max_concurrent": 1,
            },
            options.trials,
        )
    if options.fake_trials:
        cases[f"fake trial of {options.fake_trials}"] = (
            {"trial": "fake", "resources.max_concurrent": 2, "search.epochs": 1, "retrain.epochs": 9},
            options.fake_trials,
        )
    checkouts = [*options.compare, HERE.parent]
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(options.rounds):
        for case, (settings, num_trials) in cases.items():
            for checkout in checkouts:
                measured = measure(checkout.resolve(), settings, num_trials)
                results.setdefault(case, {}).setdefault(str(checkout), []).append(measured)
                if not options.json:
                    figures = "  ".join(f"{name} {value:.3f}" for name, value in measured.items())
                    print(f"{case:28} {checkout.name:20} {figures}", flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
