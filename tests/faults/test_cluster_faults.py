"""What dies or is missing on a cluster that others use, too: real heads, nodes, trials, drivers, killed by SIGKILL."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from clusters import Listener, check_ended, cluster, kill_hard, wait_for, with_pause
from ray_nodes import TRIAL, WORKER, Cluster
from recipes import PAUSE
from sweeper import Sweeper

pytestmark = [pytest.mark.ray, pytest.mark.long]

SETTINGS = {
    "trial": "recipes:WORKERS",
    "model.attention": {"choice": ["none", "ct", "ma"]},
    "sweep.num_seeds": 1,
    "resources.cpus_per_worker": 2,
}
# Holds one CPU by a placement group; that of a job with our mark outlives it, as after a kill in an unlucky moment.
HOLDER = """
import sys
import ray
from ray.job_config import JobConfig
from ray.util.placement_group import placement_group

ours, address = sys.argv[1] == "ours", sys.argv[2]
metadata = {"raynas_snn": "/somewhere/else"} if ours else {}
ray.init(address=address, log_to_driver=False, job_config=JobConfig(metadata=metadata))
group = placement_group([{"CPU": 1}], lifetime="detached" if ours else None)
ray.get(group.ready())
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sweeper(sweeper: Sweeper) -> Sweeper:
    return with_pause(sweeper, 1)


@pytest.fixture
def ray(sweeper: Sweeper) -> Iterator[Cluster]:
    with cluster(sweeper, num_cpus=2) as made:
        yield made


def hold(sweeper: Sweeper, whose: str, address: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, whose, address],
        env=sweeper.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_whatever_dies_on_a_shared_cluster_the_same_command_ends_the_sweep(sweeper: Sweeper, ray: Cluster) -> None:
    def start() -> Listener:
        return Listener(sweeper.start("--address", ray.address, "--run-dir", "run", settings=SETTINGS))

    def epochs(number: int) -> int:
        return len(sweeper.curve(f"p{number:04d}-s0"))

    # Somebody else's work is waited for; what a dead driver of ours has left is removed.
    kill_hard(hold(sweeper, "ours", ray.address))
    other = hold(sweeper, "others", ray.address)
    driver = start()
    driver.wait_for("removed 1 placement group that killed drivers had left on this Ray")
    driver.wait_for("waiting for 1 worker with 2 CPU and 0 GPU; free now: 1 CPU, 0 GPU of 2 CPU, 0 GPU on 1 node")
    assert epochs(0) == 0
    kill_hard(other)
    wait_for(lambda: epochs(0) >= 2)

    # The driver is killed; the same command goes on.
    driver.process.kill()
    driver.finish()
    before = epochs(0)
    begun = time.monotonic()
    driver = start()
    wait_for(lambda: epochs(0) > before + 1, 300)
    print(f"continued after {time.monotonic() - begun:.1f} s")

    # A node is added: used at once. What runs on it dies with it and waits for the other one.
    node = ray.add(num_cpus=2)
    wait_for(lambda: epochs(1) >= 2, 300)
    node.kill()
    driver.wait_for("waiting for 1 worker with 2 CPU and 0 GPU; free now: 0 CPU, 0 GPU of ")

    # A trial's own process and a worker are killed.
    for name in (TRIAL, WORKER):
        reached = sum(map(epochs, range(3)))
        ray.nodes[0].kill(name)
        wait_for(lambda reached=reached: sum(map(epochs, range(3))) > reached + 3, 300)

    # The head is killed; the same sweep ends on another Ray.
    ray.nodes[0].kill("gcs_server")
    ended = driver.finish()
    assert ended.code == 1, ended
    assert ended.out.splitlines()[-1].startswith(f"The Ray at {ray.address} is gone. To continue: python -m raynas_snn")
    assert not ended.err
    assert not sweeper.records()

    (sweeper.folder / PAUSE).unlink()
    ended = sweeper.run("--run-dir", "run", settings=SETTINGS)
    assert ended.code == 0, ended
    check_ended(sweeper, 3)
