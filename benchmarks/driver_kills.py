"""Kills the driver of a sweep at random moments and checks that no proposal was lost, doubled or changed.

Run from a checkout: ``python benchmarks/driver_kills.py --sampler tpe --kills 50``. The trials are made up and take
half a second each. Each driver is killed by SIGKILL, some while they start, and started again with the same command;
after the last kill the sweep is left to end. If optuna-dashboard is installed, it has to show the study.

The exit code is 1 if anything is amiss.
"""

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import measure
from ray_nodes import without_ray

RECIPE = """
import time
from raynas_snn.interfaces.trial import TrialRecipe
from trials.fake import RECIPE

def slow(trial, context):
    time.sleep(0.5)
    return RECIPE.run(trial, context)

SLOW = TrialRecipe(slow, RECIPE.total_epochs, uses_workers=False)
"""
SETTINGS: dict[str, Any] = {
    "trial": "slow_trial:SLOW",
    "search.epochs": 1,
    "retrain.epochs": 2,
    "model.attention": {"choice": ["none", "ct", "ma"]},
    "model.decay": {"float": [0.1, 0.9]},
    "model.channels": {"int": [8, 32]},
    "sweep.objectives": {"accuracy": "maximize", "spikes": "minimize"},
    "sweep.num_seeds": 1,
}
STARTING = 8.0  # seconds that a driver takes until its first trial
RUNNING = 5.0  # seconds of running trials in which it is killed
SHARE_KILLED_AT_START = 0.3


def start(folder: Path, settings: dict[str, Any]) -> subprocess.Popen[str]:
    overrides = [f"--set={path}={json.dumps(value)}" for path, value in settings.items()]
    command = [sys.executable, "-m", "raynas_snn.sweep", "--run-dir", "run", *overrides]
    return subprocess.Popen(
        command, cwd=folder, env=without_ray(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def kill_at_random(process: subprocess.Popen[str], choose: random.Random) -> None:
    """Kills a driver while it starts or while its trials run."""
    if choose.random() > SHARE_KILLED_AT_START:
        assert process.stdout is not None
        for line in process.stdout:
            if " started " in line:
                break
        time.sleep(choose.uniform(0, RUNNING))
    else:
        time.sleep(choose.uniform(0, STARTING))
    process.kill()
    process.communicate()


def proposals(run: Path) -> dict[str, Any]:
    """The outer values of each trial that has begun, by uid."""
    return {
        path.parent.name: json.loads(path.read_text())["outer"] for path in sorted(run.glob("trials/*/config.json"))
    }


def shown_by_dashboard(journal: Path) -> int | None:
    """How many trials a running optuna-dashboard shows; None if it is not installed."""
    program = Path(sys.executable).with_name("optuna-dashboard")
    if not program.exists():
        return None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([program, journal, "--port", str(port)], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                with urlopen(f"http://127.0.0.1:{port}/api/studies/0?after=0") as answer:
                    return len(json.load(answer)["trials"])
            except URLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
    finally:
        server.terminate()
        server.wait()


def check(folder: Path, num_trials: int, before: dict[str, Any]) -> list[str]:
    """Goes through what the run has written; returns what is amiss."""
    run = folder / "run"
    records = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
    times = Counter(record["uid"] for record in records)
    planned = {f"p{number:04d}-s0" for number in range(num_trials)}
    amiss = [f"lost: {uid}" for uid in sorted(planned - times.keys())]
    amiss += [f"doubled: {uid}" for uid in times if times[uid] > 1 or uid not in planned]
    amiss += [f"failed: {record['uid']}" for record in records if record["end_reason"] != "finished"]
    after = proposals(run)
    amiss += [f"changed: {uid}" for uid, outer in before.items() if after.get(uid) != outer]
    shown = shown_by_dashboard(run / "study.journal")
    if shown not in (None, num_trials):
        amiss.append(f"optuna-dashboard shows {shown} trials")
    return amiss


def main() -> None:
    """Prints what was found; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sampler", default="tpe", help="tpe, nsga2, random (tpe)")
    parser.add_argument("--kills", type=int, default=50, help="how often a driver is killed (50)")
    parser.add_argument("--trials", type=int, default=400, help="trials of the sweep (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    options = parser.parse_args()
    folder, choose = Path(tempfile.mkdtemp(prefix="driver-kills-")), random.Random(options.seed)
    (folder / "slow_trial.py").write_text(RECIPE)
    settings = SETTINGS | {"sweep.sampler": options.sampler, "sweep.num_trials": options.trials}
    before: dict[str, Any] = {}
    ended_at_kill: list[int] = []
    changed: list[str] = []
    for _ in range(options.kills):
        kill_at_random(start(folder, settings), choose)
        now = proposals(folder / "run")
        changed += [uid for uid, outer in before.items() if now.get(uid) != outer]
        before = now
        records = folder / "run" / "trials.jsonl"
        ended_at_kill.append(len(records.read_text().splitlines()) if records.exists() else 0)
    last = start(folder, settings)
    output, _ = last.communicate()
    amiss = check(folder, options.trials, before) + [f"changed: {uid}" for uid in changed]
    found = {
        **measure.setting("cpu"),
        "sampler": options.sampler,
        "kills": options.kills,
        "exit_code": last.returncode,
        "trials": options.trials,
        "ended_at_kills": ended_at_kill,
        "shown_by_dashboard": shown_by_dashboard(folder / "run" / "study.journal"),
        "amiss": amiss,
    }
    print(json.dumps(found))
    if amiss or last.returncode != 0:
        sys.exit(f"something is amiss: {folder}\n{output[-2000:]}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
