"""Sweeps on a Ray of two nodes while drivers, trials' processes and a node are killed at random; then the books.

Run from a checkout: ``python benchmarks/soak.py --minutes 20``. Two sweeps share the cluster: one of many instant
trials that keep account of every epoch they begin, one of a few real ones on images. Drivers are killed by SIGKILL and
started again with the same command. When the time is up the sweeps are left to end, and it is checked that every
planned trial ended exactly once, that no epoch was begun again that had a checkpoint, and that nothing is left in the
study, in the process table and on the cluster.

The exit code is 1 if anything was lost, doubled or left behind.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measure
import psutil
from ray_nodes import TRIAL, WORKER, Cluster, with_token, without_ray
from soak_books import check_books

TRIALS = Path(__file__).with_name("soak_trials.py")  # a trial's process finds it beside the sweep, as users' files
MEAN_PAUSE = 12.0  # seconds between two kills; a driver takes about ten to start
NODE_AWAY = 5.0  # seconds until a lost node is replaced
CPUS = 2  # of each node, whatever the machine has
LONGEST_END = 1800.0  # seconds that the sweeps are given to end when nobody kills any more

KILLS = {"driver": 20, "worker": 20, "node": 5}  # at least, if there is time

COUNT_GROUPS = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="error")
groups = ray.util.placement_group_table().values()
print(sum(group["state"] != "REMOVED" for group in groups))
"""

COMMON: dict[str, Any] = {"sweep.max_failures": 1000, "model.attention": "none"}
INSTANT = COMMON | {
    "trial": "soak_trials:COUNTED",
    "model.decay": {"float": [0.1, 0.9]},
    "sweep.sampler": "random",
    "sweep.num_seeds": 1,
}
REAL = COMMON | {
    "model.decay": {"choice": [0.2, 0.3]},
    "model.channels": 8,
    "search.epochs": 1,
    "retrain.epochs": 6,
    "data.num_train": 640,
    "sweep.num_seeds": 2,
}


class Driver:
    """One sweep, whose driver is started again whenever it has been killed.

    Attributes:
        run: Its run directory.
        num_kills: How often its driver was killed.
        is_starting: Whether no trial was started yet since the last start.
        seconds_to_continue: For each start after a kill, until the first trial was started again.
    """

    def __init__(self, run: Path, settings: dict[str, Any], cluster: Cluster, environment: dict[str, str]) -> None:
        overrides = [f"--set={path}={json.dumps(value)}" for path, value in settings.items()]
        self.run = run
        self.num_kills = 0
        self.seconds_to_continue: list[float] = []
        verb = [sys.executable, "-m", "raynas_snn.sweep"]
        self._command = [*verb, "--address", cluster.address, "--run-dir", run.name, *overrides]
        self._environment = environment
        self._log = run.with_suffix(".log")
        self._log.touch()
        self.process = self._start()

    def kill(self) -> None:
        """Kills the driver and gives the same command again."""
        self.process.kill()
        self.process.wait()
        self.num_kills += 1
        self.process = self._start()

    def look(self) -> bool:
        """Notes when the sweep goes on; returns whether it has ended. One that ended badly is an error at once."""
        if self.is_starting and " started " in self._log.read_text()[self._read :]:
            self.is_starting = False
            if self.num_kills:
                self.seconds_to_continue.append(time.monotonic() - self._started)
        code = self.process.poll()
        if code not in (None, 0):
            raise SystemExit(f"{self.run.name} ended with exit code {code}: {self._log}")
        return code == 0

    def _start(self) -> subprocess.Popen[bytes]:
        self._started, self._read, self.is_starting = time.monotonic(), self._log.stat().st_size, True
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=self.run.parent, env=self._environment, stdout=log, stderr=log)


def kill_something(
    choose: random.Random, kills: Counter[str], cluster: Cluster, drivers: Sequence[Driver]
) -> str | None:
    """Kills a driver, a process of a trial or a node, what is most wanting the likeliest.

    Returns:
        Which; None if there was nothing to kill.
    """
    (kind,) = choose.choices(list(KILLS), [max(KILLS[kind] - kills[kind], 1) for kind in KILLS])
    if kind == "driver":
        alive = [driver for driver in drivers if driver.process.poll() is None]
        if not alive:
            return None
        choose.choice(alive).kill()
    elif kind == "worker":
        processes = cluster.find(TRIAL, WORKER)
        if not processes:
            return None
        try:
            choose.choice(processes).kill()
        except psutil.NoSuchProcess:
            return None
    else:
        cluster.nodes[-1].kill()
        time.sleep(NODE_AWAY)
        cluster.add(num_cpus=CPUS)
    return kind


def held_groups(cluster: Cluster, environment: dict[str, str]) -> int:
    """How many placement groups hold resources of the cluster or wait for them."""
    command = [sys.executable, "-c", COUNT_GROUPS, cluster.address]
    counted = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return int(counted.stdout)


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs everything in a folder and returns what was found."""
    shutil.copy(TRIALS, folder)
    choose, kills = random.Random(options.seed), Counter[str]()
    environment = with_token(without_ray(), folder)
    cluster = Cluster(environment, num_cpus=CPUS)
    try:
        cluster.add(num_cpus=CPUS)
        sizes = {"instant": (options.trials, 1), "real": (2, 2)}
        drivers = [
            Driver(folder / "instant", INSTANT | {"sweep.num_trials": options.trials}, cluster, environment),
            Driver(folder / "real", REAL, cluster, environment),
        ]
        begun = time.monotonic()
        next_kill = begun + 30
        while True:
            ended = [driver.look() for driver in drivers]
            if all(ended):
                break
            now = time.monotonic()
            if now - begun > options.minutes * 60 + LONGEST_END:
                raise SystemExit(f"the sweeps do not end: {folder}")
            if next_kill < now < begun + options.minutes * 60:
                kind = kill_something(choose, kills, cluster, drivers)
                if kind is not None:
                    kills[kind] += 1
                    print(f"{now - begun:6.0f} s  {kind} killed", file=sys.stderr)
                next_kill = time.monotonic() + choose.expovariate(1 / MEAN_PAUSE)
            time.sleep(0.2)
        seconds = time.monotonic() - begun
        time.sleep(10)  # what watches over placement groups looks every few seconds
        processes = len(cluster.find(TRIAL, WORKER))
        left = {"placement_groups": held_groups(cluster, environment), "processes": processes}
    finally:
        cluster.stop()
    books = {name: check_books(folder / name, *size) for name, size in sizes.items()}
    continued = [seconds for driver in drivers for seconds in driver.seconds_to_continue]
    return {
        **measure.setting("cpu"),
        "minutes": round(seconds / 60, 1),
        "seed": options.seed,
        "kills": {kind: kills[kind] for kind in KILLS},
        "seconds_to_continue": {"median": statistics.median(continued or [0]), "longest": max(continued, default=0)},
        "left": left,
        "balanced": not any(left.values()) and all(book.balanced for book in books.values()),
        "books": {name: asdict(book) for name, book in books.items()},
    }


def main() -> None:
    """Prints what was found; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15, help="how long things are killed (15)")
    parser.add_argument("--trials", type=int, default=300, help="instant trials (300)")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    found = soak(options, folder)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name, value in found.items():
            print(f"{name:<20} {value}")
    if not found["balanced"]:
        sys.exit(f"something is amiss: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
