"""The cluster examples, run as their users run them: nodes, jobs and batch scripts are real processes on loopback.

What cannot be here is stood in for by as little as possible: `srun` and `scontrol` by a few lines of shell, KubeRay by
a schema.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
import yaml
from ports import free_port, port_is_free
from ray.autoscaler._private.util import prepare_config, validate_config
from rayjob_schema import RAY_JOB
from sweeper import Ended, Sweeper, finish, interrupt, wait_until

from raynas_snn.config import load_sweep
from raynas_snn.sweep import make_parser

REPOSITORY = Path(__file__).parents[2]
CLUSTER = REPOSITORY / "examples" / "cluster"
SCRIPTS = ["job_submit.sh", "slurm.sbatch"]
BIN = Path(sys.executable).parent

# The first proposal ends at once; the others wait as long as there is a file "pause" beside the run directory.
RECIPE = """
import time
from pathlib import Path
import ray
import raynas_snn
from raynas_snn.interfaces.trial import TrialRecipe


def run(trial, context):
    shared = context.directory.parents[2]
    carried = Path(raynas_snn.__file__).parents[1]
    (context.directory / "carried").write_text(repr([str(path) for path in carried.rglob("*")]))
    (context.directory / "node").write_text(ray.get_runtime_context().get_node_id())
    for epoch in (1, 2, 3):
        while epoch == 2 and trial.proposal > 0 and (shared / "pause").exists():
            time.sleep(0.05)
        context.report({"epoch": epoch, "phase": "search", "accuracy": 0.5, "spikes": 1.0})
    return {"accuracy": 0.5, "spikes": 1.0, "params": 10.0, "seconds": 1.0}


SHORT = TrialRecipe(run=run, total_epochs=lambda trial: 3, uses_workers=False)
"""
SWEEP = """
name: short
trial: recipes:SHORT
model: {attention: none, num_steps: {choice: [1, 2, 3, 4]}}
sweep: {num_seeds: 1}
"""
UIDS = [f"p{number:04d}-s0" for number in range(4)]


@pytest.fixture
def shared(tmp_path: Path) -> Sweeper:
    """A folder that all machines see, with a checkout in it, a sweep of the user's own, and a home directory."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("raynas_snn", "search_spaces", "trials", "examples"):
        shutil.copytree(REPOSITORY / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", ".rayignore"):
        shutil.copy(REPOSITORY / name, checkout / name)
    (checkout / "recipes.py").write_text(RECIPE)
    (checkout / "my_sweep.yaml").write_text(SWEEP)
    (checkout / "runs").mkdir()
    (checkout / "runs" / "old").touch()
    (tmp_path / "pause").touch()
    (tmp_path / "home").mkdir()
    login = {
        "HOME": str(tmp_path / "home"),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": "",
        "SWEEP": "my_sweep.yaml",
        "RUN_DIR": str(tmp_path / "run"),
        "RAY_AUTH_MODE": "token",
    }
    return Sweeper(tmp_path, login)


def launch(shared: Sweeper, *command: str) -> subprocess.Popen[str]:
    """Starts a command in the checkout."""
    return subprocess.Popen(
        command,
        cwd=shared.folder / "checkout",
        env=shared.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(shared: Sweeper, *command: str) -> Ended:
    return finish(launch(shared, *command))


def status(shared: Sweeper) -> Any:
    """What somebody who follows the sweep sees."""
    return run(shared, "python", "-m", "raynas_snn.status", shared.login["RUN_DIR"], "--json").json


def end_processes_of(folder: Path) -> None:
    """Whatever still works in a folder of Ray's."""
    for process in psutil.process_iter():
        try:
            if any(str(folder) in argument for argument in process.cmdline()):
                process.kill()
        except psutil.Error:
            continue
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nodes(shared: Sweeper) -> Iterator[str]:
    """Two nodes with one CPU each and a token, started as the launcher starts them; yields the head's dashboard."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # names of sockets must be short
    port, dashboard = free_port(), free_port()
    token = run(shared, "ray", "get-auth-token", "--generate")
    assert token.code == 0, token.out
    logs = {role: shared.folder / f"{role}.log" for role in ("head", "worker")}
    started = []
    try:
        for role, log in logs.items():
            # On one machine they need ports of their own, and folders: each unpacks what a job sends.
            own = f"--block --num-cpus=1 --temp-dir={folder}/{role} --dashboard-agent-listen-port={free_port()}"
            command = f"export RAY_HEAD_IP=127.0.0.1; {start_command(role, port, dashboard)} {own}"
            with log.open("w") as output:
                started.append(
                    subprocess.Popen(
                        ["bash", "-c", command],
                        cwd=shared.folder,
                        env=shared.environment,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )
            wait_until(lambda: not port_is_free(port), started[-1])
        for role, process in zip(logs, started, strict=True):
            wait_until(lambda role=role: "--block" in logs[role].read_text(), process)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=60)
        end_processes_of(folder)


def start_command(role: str, port: int, dashboard: int) -> str:
    """The launcher's own, but with ports that are free and without an autoscaler, which would log in elsewhere."""
    launcher = yaml.safe_load((CLUSTER / "cluster_launcher.yaml").read_text())
    (command,) = (line for line in launcher[f"{role}_start_ray_commands"] if "ray start" in line)
    command = command.replace("--port=6379", f"--port={port} --dashboard-port={dashboard}").replace(":6379", f":{port}")
    command = re.sub(r" --autoscaling-config=\S+", "", command).replace("~/raynas/bin:", "")
    return command.replace("; ray start", "; exec ray start")


@pytest.mark.ray
@pytest.mark.long
def test_a_job_outlives_its_driver_by_the_same_command(shared: Sweeper, nodes: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{nodes}/api/jobs/", timeout=10)
    shared.login["RAY_API_SERVER_ADDRESS"] = nodes
    submit = str(CLUSTER / "job_submit.sh")

    first = launch(shared, submit)
    wait_until(lambda: len(shared.records()) == 1, first)
    rival = launch(shared, submit)
    followed = status(shared)
    assert followed["counts"]["finished"] == 1
    rival = finish(rival)
    assert rival.code == 1
    assert "another driver is at work here" in rival.out
    wait_until(lambda: all(shared.curve(uid) for uid in UIDS[1:3]), first)
    trials = shared.folder / "run" / "trials"
    assert len({(trials / uid / "node").read_text() for uid in UIDS[1:3]}) == 2  # one CPU on each node
    os.kill(followed["driver"]["pid"], signal.SIGKILL)
    assert finish(first).code == 1
    before = shared.records()
    assert [record["uid"] for record in before] == UIDS[:1]

    (shared.folder / "pause").unlink()
    again = run(shared, submit, "--set", "sweep.max_failures=1")
    assert again.code == 0, again.out
    assert shared.records()[:1] == before
    assert sorted(record["uid"] for record in shared.records()) == UIDS
    assert {record["end_reason"] for record in shared.records()} == {"finished"}
    for uid in UIDS:
        assert [row[0] for row in shared.curve(uid)] == ["1", "2", "3"]
    for uid in UIDS:  # what was sent ran, not what is installed here; and no more was sent than a job needs
        carried = (trials / uid / "carried").read_text()
        assert re.search(r"/working_dir_files/[^/]+/my_sweep.yaml'", carried)
        assert "/runs/old" not in carried


SRUN = """#!/usr/bin/env bash
# Runs the command once per node, all of them here, and passes on that it is to end.
while [[ $1 == --* ]]; do shift; done
set -m # SLURM signals every process of a task: here each task is a process group
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do SLURM_NODEID=$node "$@" & tasks+=("-$!"); done
trap 'kill -- "${tasks[@]}"; wait' TERM
code=0
for task in "${tasks[@]}"; do wait "${task#-}" || code=$?; done
exit "$code"
"""
SRUN_WITHOUT_A_NODE = """#!/usr/bin/env bash
# Once Ray has been started a node is down, and of what comes after it nothing is run.
if [[ "$*" == *" rm "* ]]; then echo "srun: error: required node not available" >&2 && exit 1; fi
exec "${0%/*}/srun-of-all" "$@"
"""
SCONTROL = """#!/usr/bin/env bash
echo "$@" >>"$SCONTROL_LOG"
"""


@pytest.fixture
def slurm(shared: Sweeper) -> Iterator[Sweeper]:
    """What SLURM gives a job of two nodes with one CPU each."""
    tools = shared.folder / "tools"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        write_tool(shared, name, text)
    job = next(number for number in range(os.getpid(), os.getpid() + 100) if port_is_free(20000 + number % 10000))
    shared.login.update(
        PATH=f"{tools}:{shared.login['PATH']}",
        SCONTROL_LOG=str(shared.folder / "scontrol.log"),
        SLURM_JOB_ID=str(job),
        SLURM_JOB_NUM_NODES="2",
        SLURM_CPUS_PER_TASK="1",
        HEAD_IP="127.0.0.1",
    )
    yield shared
    end_processes_of(Path(f"/tmp/ray-{job}"))


@pytest.fixture
def bare_slurm(slurm: Sweeper) -> Sweeper:
    """The same with neither Ray nor a sweep."""
    for name, text in (("ray", RAY), ("python", PYTHON)):
        write_tool(slurm, name, text)
    return slurm


def write_tool(slurm: Sweeper, name: str, text: str) -> Path:
    tool = slurm.folder / "tools" / name
    tool.write_text(text)
    tool.chmod(0o755)
    return tool


@pytest.mark.ray
@pytest.mark.long
def test_a_batch_job_is_queued_again_when_its_time_is_up(slurm: Sweeper) -> None:
    script = str(CLUSTER / "slurm.sbatch")
    log = slurm.folder / "scontrol.log"
    folder = Path(f"/tmp/ray-{slurm.login['SLURM_JOB_ID']}")

    first = launch(slurm, "bash", script)
    wait_until(lambda: len(slurm.records()) == 1, first)
    ended = interrupt(first, signal.SIGUSR1)
    assert ended.code == 130, ended.out
    assert "To continue: python -m raynas_snn.sweep my_sweep.yaml" in ended.out
    assert "4 trials to run, 2 at a time" in ended.out
    assert log.read_text() == f"requeue {slurm.login['SLURM_JOB_ID']}\n"
    assert not folder.exists()
    token = slurm.folder / "home" / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o077 == 0


RAY = """#!/usr/bin/env bash
if [[ $1 == start ]]; then exec sleep 60; fi
"""
PYTHON = """#!/usr/bin/env bash
# A sweep that lasts until it is told to end, or is done at once; and what waits for nodes, which does not.
if [[ $1 == -m && $LASTS ]]; then
  trap 'kill $!; exit 130' TERM
  sleep 60 &>/dev/null &
  sleep 0.5
  touch begun
  wait
fi
if [[ $1 == -m ]]; then exit "$CODE"; fi
"""


@pytest.mark.parametrize(
    ("number", "code", "requeued"),
    [(None, 0, False), (None, 3, False), (signal.SIGTERM, 130, False), (signal.SIGUSR1, 130, True)],
)
def test_a_batch_job_ends_as_its_sweep_does(
    bare_slurm: Sweeper, number: signal.Signals | None, code: int, requeued: bool
) -> None:
    assert batch_job(bare_slurm, number, code).code == code
    assert (bare_slurm.folder / "scontrol.log").exists() == requeued


def batch_job(slurm: Sweeper, number: signal.Signals | None, code: int) -> Ended:
    """A job that is sent a signal while its sweep is at work, or whose sweep is done at once."""
    slurm.login.update(CODE=str(code), LASTS="" if number is None else "yes")
    process = launch(slurm, "bash", str(CLUSTER / "slurm.sbatch"))
    if number is not None:
        wait_until((slurm.folder / "checkout" / "begun").exists, process)
        process.send_signal(number)
    return finish(process)


def test_a_batch_job_with_a_node_down_is_queued_again(bare_slurm: Sweeper) -> None:
    srun = bare_slurm.folder / "tools" / "srun"
    srun.rename(srun.with_name("srun-of-all"))
    write_tool(bare_slurm, "srun", SRUN_WITHOUT_A_NODE)
    assert batch_job(bare_slurm, signal.SIGUSR1, 130).code == 130
    assert (bare_slurm.folder / "scontrol.log").read_text() == f"requeue {bare_slurm.login['SLURM_JOB_ID']}\n"


def test_a_batch_job_that_cannot_be_queued_again_ends_as_its_sweep_does(bare_slurm: Sweeper) -> None:
    write_tool(bare_slurm, "scontrol", "#!/bin/sh\necho no such thing >&2\nexit 1\n")
    ended = batch_job(bare_slurm, signal.SIGUSR1, 130)
    assert (ended.code, ended.out.splitlines()[-1]) == (130, "no such thing")


def test_a_batch_job_without_a_token_says_why(bare_slurm: Sweeper) -> None:
    write_tool(bare_slurm, "ray", "#!/bin/sh\necho secret\necho no token >&2\nexit 7\n")
    ended = batch_job(bare_slurm, None, 0)
    assert (ended.code, ended.out) == (7, "no token\n")


def test_the_folder_of_a_batch_job_is_its_own(bare_slurm: Sweeper) -> None:
    folder = Path(f"/tmp/ray-{bare_slurm.login['SLURM_JOB_ID']}")
    write_tool(bare_slurm, "ray", RAY.replace("start ]]; then", f"start ]]; then stat -c %a {folder} >>modes;"))
    assert batch_job(bare_slurm, signal.SIGTERM, 130).code == 130
    assert set((bare_slurm.folder / "checkout" / "modes").read_text().split()) == {"700"}
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["a link", "of another user"])
def test_a_batch_job_refuses_a_folder_that_another_user_has_made(bare_slurm: Sweeper, kind: str) -> None:
    folder = Path(f"/tmp/ray-{bare_slurm.login['SLURM_JOB_ID']}")
    if kind == "a link":
        folder.symlink_to(bare_slurm.folder)
    elif os.geteuid() != 0:
        pytest.skip("only root may give a folder away")
    else:
        folder.mkdir()
        os.chown(folder, 65534, 65534)
    try:
        ended = batch_job(bare_slurm, None, 0)
        assert ended.code == 1
        assert set(ended.out.splitlines()) == {f"{socket.gethostname()}: {folder} is not ours"}
        assert folder.exists()
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def test_run_directories_that_would_be_lost_are_refused(shared: Sweeper) -> None:
    shared.login["RUN_DIR"] = "runs/mine"
    ended = run(shared, str(CLUSTER / "job_submit.sh"))
    assert (ended.code, ended.out) == (2, "error: RUN_DIR: must be an absolute path, not 'runs/mine'\n")
    del shared.login["RUN_DIR"]
    for script in SCRIPTS:
        ended = run(shared, "bash", str(CLUSTER / script))
        assert ended.code == 1
        assert ended.out.endswith(
            "set RUN_DIR to the run directory, on a file system that all "
            f"{'nodes' if script.endswith('sbatch') else 'machines of the cluster'} share\n"
        )


def test_the_scripts_are_sound() -> None:
    subprocess.run([BIN / "shellcheck", *SCRIPTS], cwd=CLUSTER, check=True)


def test_the_kubernetes_manifest_keeps_its_schema_and_hangs_together() -> None:
    claim, job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text())
    jsonschema.validate(job, RAY_JOB)
    spec = job["spec"]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        (container,), (volume,) = pod["containers"], pod["volumes"]
        (mount,) = container["volumeMounts"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert mount["name"] == volume["name"]
        assert f"--run-dir {mount['mountPath']}/" in spec["entrypoint"]
        job_waits = int(yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"])
        pod_waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert job_waits < pod_waits < pod["terminationGracePeriodSeconds"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    command = spec["entrypoint"].split()
    assert command[:3] == ["python", "-m", "raynas_snn.sweep"]
    make_parser().parse_args(command[3:])


def test_the_launcher_file_is_one_that_ray_takes() -> None:
    """Both the file and its variant for AWS, in comments; with an empty provider, no machine is asked."""
    text = (CLUSTER / "cluster_launcher.yaml").read_text()
    config = yaml.safe_load(text)
    (commented,) = re.findall(r"# On AWS.*\n((?:#   .*\n)+)", text)
    variant = yaml.safe_load(re.sub("^#   ", "", commented, flags=re.MULTILINE))
    for wanted, nodes in ((config, 2), (config | variant, 4)):
        prepared = prepare_config(wanted)
        validate_config(prepared)
        counts = [kind["min_workers"] for kind in prepared["available_node_types"].values()]
        assert sum(counts) == nodes


DOCUMENT = (REPOSITORY / "docs" / "cluster.md").read_text()
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]
# Run above, by the fixtures too, with addresses of here.
DONE_HERE = {
    "export RUN_DIR=/shared/runs/mine SWEEP=my_sweep.yaml",
    "examples/cluster/job_submit.sh",
    "python -m raynas_snn.status $RUN_DIR",
    "ray get-auth-token --generate",
    "ray get-auth-token",
    "RAY_AUTH_MODE=token ray start --head --port=6379",
    "RAY_AUTH_MODE=token ray start --address=HEAD:6379",
}
NOT_HERE = ("kubectl", "sbatch", "scancel", "ssh", "tensorboard")


def test_the_page_shows_what_works() -> None:
    sweeps = [command for command in COMMANDS if command.startswith("python -m raynas_snn.sweep")]
    others = {command for command in COMMANDS if command.split()[0] not in NOT_HERE} - set(sweeps)
    assert others == DONE_HERE
    for command in sweeps:
        options = make_parser().parse_args(command.split()[3:])
        load_sweep(None, options.overrides)
    for target in re.findall(r"\]\((?!http)([^)#]+)", DOCUMENT):
        assert (REPOSITORY / "docs" / target).exists(), target
    for path in re.findall(r"examples/[\w/.]+\w", DOCUMENT):
        assert (REPOSITORY / path).exists(), path
    _, job = yaml.safe_load_all((CLUSTER / "rayjob.yaml").read_text())
    assert f"job/{job['metadata']['name']}" in DOCUMENT
    assert f"service/{job['metadata']['name']}-head-svc" in DOCUMENT
    assert f"rayproject/ray:{job['spec']['rayClusterSpec']['rayVersion']}-" in DOCUMENT
