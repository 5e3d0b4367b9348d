"""What the orchestration adds to a trial: empty trials through Ray Train, and instant ``fake`` ones at scale.

Run from a checkout: ``python benchmarks/orchestration.py``. Each figure comes from a real sweep in a process of its
own. A trial's cost is the time between the ends of trials that run one after the other, so it holds everything: Tune,
Train, process starts, imports, process groups, polling, files. ``first`` holds the start of Ray as well. With
``--compare DIR`` another checkout of the project is measured alternately with this one.
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
from typing import Any

HERE = Path(__file__).resolve().parent
# Not `python -m`: the checkout to measure is the one on PYTHONPATH, wherever the package was installed from.
SWEEP = "import sys; from raynas_snn.sweep import main; sys.exit(main(sys.argv[1:]))"


def measure(checkout: Path, settings: dict[str, Any], num_trials: int) -> dict[str, float]:
    """Runs one sweep of ``num_trials`` trials and times the ends of its trials.

    Returns:
        ``per_trial``: median seconds between ends; ``first``: seconds from the start of the command to the first end;
        ``total``: seconds of the whole command.
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
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
        "PYTHONPATH": path
    }
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder, "run", "trials.jsonl")
        begun = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-c", SWEEP, "--run-dir", "run", *overrides],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        ends: list[float] = []
        while process.poll() is None:
            lines = records.read_bytes().count(b"\n") if records.exists() else 0
            ends += [time.monotonic()] * (lines - len(ends))
            time.sleep(0.01)
        total = time.monotonic() - begun
        if process.returncode != 0:
            raise SystemExit(f"the sweep ended with exit code {process.returncode}: {process.communicate()[1]}")
    gaps = [later - earlier for earlier, later in pairwise(ends)]
    return {"per_trial": statistics.median(gaps), "first": ends[0] - begun, "total": total}


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5, help="empty trials per sweep (5)")
    parser.add_argument("--fake-trials", type=int, default=100, help="fake trials per sweep (100; 0 for none)")
    parser.add_argument("--rounds", type=int, default=1, help="repeats, checkouts alternating (1)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="workers of an empty trial (1 2)")
    parser.add_argument("--compare", type=Path, action="append", default=[], help="another checkout of the project")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()

    cases: dict[str, tuple[dict[str, Any], int]] = {
        f"empty trial, {number} worker{'s' * (number > 1)}": (
            {
                "trial": "empty_trial:RECIPE",
                "resources.num_workers": number,
                "resources.max_concurrent": 1,
            },
            options.trials,
        )
        for number in options.workers
    }
    if options.fake_trials:
        cases[f"fake trial of {options.fake_trials}"] = (
            {"trial": "fake", "resources.max_concurrent": 2},
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
                    seconds = "  ".join(f"{name} {value:6.2f} s" for name, value in measured.items())
                    print(f"{case:28} {checkout.name:20} {seconds}", flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
