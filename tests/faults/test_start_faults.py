"""A private Ray that does not start at once, or not at all."""

import json
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from sweeper import Sweeper

pytestmark = pytest.mark.ray

# The first port is taken between its choice and the start of Ray.
UNLUCKY = """
import sys
from raynas_snn.cluster.runtime import private_ray as private
from raynas_snn.sweep import main

free_port = private._free_port
ports = [int(sys.argv.pop(1))]
private._free_port = lambda: ports.pop() if ports else free_port()
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.long
def test_a_port_that_was_taken_in_between_is_not_the_end(sweeper: Sweeper) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"trial": "fake", "sweep.num_seeds": 1}
        _, _, _, *arguments = sweeper.command("--json", "--run-dir", "run", settings=settings)
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", UNLUCKY, port, *arguments],
            cwd=sweeper.folder,
            env=sweeper.environment,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_finished"] == 3


def test_a_ray_that_cannot_start_is_one_line_and_writes_nothing(sweeper: Sweeper) -> None:
    sweeper.login["RAY_TMPDIR"] = str(sweeper.folder / ("x" * 100))  # names of sockets are short
    ended = sweeper.run("--run-dir", "run", settings={"trial": "fake"})
    assert ended.code == 1
    assert ended.err.startswith("error: Ray does not start on this machine: ")
    assert len(ended.err.splitlines()) == 1
    assert not (sweeper.folder / "run").exists()
