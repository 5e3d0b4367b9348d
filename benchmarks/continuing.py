"""How soon a sweep goes on after its driver was killed, on a Ray that has survived the driver.

Run from a checkout: ``python benchmarks/continuing.py --kills 6``. One sweep of real trials has a Ray for itself. Its
driver is killed by SIGKILL at random moments and started again with the same command. Measured is the time from that
command until a trial is started again: imports, joining Ray, reading the books, removing what the dead driver held,
starting the process of a trial. ``benchmarks/soak.py`` does the same with another sweep and other faults beside it.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import measure
from ray_nodes import Cluster, with_token, without_ray
from soak import REAL, Driver

LONGEST_START = 300.0  # seconds
ENDLESS = {"retrain.epochs": 500}  # the sweep must not end before its driver has been killed often enough


def main() -> None:
    """Prints the seconds, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=6, help="how often the driver is killed (6)")
    parser.add_argument("--seed", type=int, default=0, help="of when it is killed (0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        environment = with_token(without_ray(), Path(folder))
        cluster = Cluster(environment, num_cpus=os.cpu_count() or 1)
        driver = Driver(Path(folder, "run"), REAL | ENDLESS, cluster, environment)
        try:
            for _ in range(options.kills):
                await_trial(driver)
                time.sleep(choose.uniform(1, 20))
                driver.kill()
            await_trial(driver)
        finally:
            driver.process.kill()
            driver.process.wait()
            cluster.stop()
    seconds = driver.seconds_to_continue
    if options.json:
        print(json.dumps({**measure.setting("cpu"), "seconds": seconds}, indent=2))
    else:
        print(
            f"{measure.hardware('cpu')}\nmedian {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s",
            seconds,
        )


def await_trial(driver: Driver) -> None:
    """Waits until the driver has started a trial."""
    deadline = time.monotonic() + LONGEST_START
    while driver.is_starting:
        driver.look()
        if time.monotonic() > deadline:
            sys.exit(f"no trial was started within {LONGEST_START:g} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
