"""Sweeps that keep a copy in a storage: on a real S3 server, with machines that lose everything else."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from ports import free_port
from s3_server import S3Server, s3_server
from sweeper import TINY, Sweeper, interrupt, wait_until

from raynas_snn.remote.storage import Storage

RECIPE = """
import time
from pathlib import Path
from raynas_snn.interfaces.trial import TrialRecipe

WAITS = {"p0001-s0": "gate 1", "p0002-s0": "never"}


def steps(trial, context):
    for epoch in range(1, 9):
        while epoch == 4 and trial.uid in WAITS and not Path("GATES", WAITS[trial.uid]).exists():
            time.sleep(0.1)
        context.report({"epoch": epoch, "phase": "search", "accuracy": 0.5, "spikes": 1.0})
    return {"accuracy": 0.5, "spikes": 1.0, "params": 1.0}


STEPS = TrialRecipe(run=steps, total_epochs=lambda trial: 8, uses_workers=False)
"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    before = dict(os.environ)
    with s3_server() as server:
        yield server
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Sweeper]]:
    """Two machines that share nothing: each has a folder, and a place for Ray's own files."""
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need a short path
        found.append(Sweeper(tmp_path / name, {"RAY_TMPDIR": temporary}))
    yield found
    for machine in found:
        shutil.rmtree(machine.login["RAY_TMPDIR"], ignore_errors=True)


@contextmanager
def two_nodes(one: Sweeper, other: Sweeper, hidden: Path) -> Iterator[str]:
    """The address of a Ray with two nodes of one CPU each; the second sees an empty file system at ``hidden``."""
    mount = f"mount -t tmpfs tmpfs {hidden}"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted here")
    token = hidden.parent / "token"
    token.write_text("0123456789abcdef" * 4)
    for machine in (one, other):
        machine.login.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
    port = free_port()
    ray = f"{Path(sys.executable).with_name('ray')} start --num-cpus=1 --num-gpus=0 --disable-usage-stats --block"
    nodes = []
    for machine, command in (
        (one, f"exec {ray} --head --port={port} --dashboard-port=0"),
        (other, f"{mount} && exec {ray} --address=127.0.0.1:{port}"),
    ):
        node = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", command],
            env=machine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        nodes.append(node)
        assert node.stdout is not None
        assert any("--block" in line for line in node.stdout)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait(timeout=60)
            assert node.stdout is not None
            node.stdout.close()


def wipe(machine: Sweeper) -> None:
    for path in machine.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(machine.login["RAY_TMPDIR"], ignore_errors=True)


def lines_of(storage: Storage, path: str) -> list[str]:
    return (storage.read(path) or b"").decode().splitlines()


@pytest.mark.ray
@pytest.mark.long
def test_a_sweep_survives_its_machine_and_a_cut_off_storage(machines: list[Sweeper], s3: S3Server) -> None:
    one, other = machines
    url = s3.url("runs")
    there = Storage(url).folder("run")
    settings = TINY | {
        "data.num_train": 320,
        "model.attention": {"choice": ["none", "ct"]},
        "resources.max_concurrent": 1,
    }
    arguments = ("--run-dir", "run", "--storage", url)
    process = one.start(*arguments, settings=settings)
    wait_until(lambda: len(lines_of(there, "trials/p0000-s0/curve.csv")) > 1, process)
    s3.cut()
    wait_until(lambda: len(one.curve("p0000-s0")) > 2, process)  # training goes on
    s3.connect()
    wait_until(lambda: len(lines_of(there, "trials/p0001-s0/curve.csv")) > 2, process)
    wait_until(lambda: len(lines_of(there, "trials.jsonl")) == 1, process)
    others = psutil.Process(process.pid).children(recursive=True)
    died = interrupt(process, signal.SIGKILL)
    for other_process in others:
        with suppress(psutil.NoSuchProcess):
            other_process.kill()
    assert f"not yet sent to {there}: NETWORK_CONNECTION" in died.out
    record = lines_of(there, "trials.jsonl")[0]
    begun = lines_of(there, "trials/p0001-s0/curve.csv")[1:]
    wipe(one)

    ended = other.run("--json", *arguments, settings=settings)
    assert ended.code == 0, ended.err
    assert "takes over from process" in ended.err
    assert "continues, 1 of 2 trials have ended: 1 trials to run" in ended.err
    assert ended.json["num_run"] == 1
    assert (other.folder / "run" / "trials.jsonl").read_text().splitlines()[0] == record
    for uid in ("p0000-s0", "p0001-s0"):
        assert [int(row[0]) for row in other.curve(uid)] == [1, 2, 3, 4, 5]
    again = (other.folder / "run" / "trials" / "p0001-s0" / "curve.csv").read_text().splitlines()[1:]
    assert again[: len(begun)] == begun  # seconds, too: these epochs were not run again
    assert {row["level"]: row["n"] for row in ended.json["rows"]} == {"none": 1, "ct": 1}
    for name in ("study.journal", "trials.jsonl", "config.yaml", "manifest.json", "report/ablation.csv"):
        assert there.read(name) == (other.folder / "run" / name).read_bytes()
    assert there.read("driver.json") is None


@pytest.mark.ray
@pytest.mark.long
def test_a_storage_on_a_disk_keeps_rivals_out_and_may_be_gone_for_a_while(machines: list[Sweeper]) -> None:
    one, other = machines
    store = other.folder.parent / "store"
    there = Storage(store.as_uri()).folder("run")
    for machine in machines:
        (machine.folder / "steps.py").write_text(RECIPE.replace("GATES", str(store.parent)))
    arguments = ("--run-dir", "run", "--storage", store.as_uri())
    settings = {"trial": "steps:STEPS", "sweep.num_seeds": 1, "resources.max_concurrent": 1}
    process = one.start(*arguments, settings=settings)
    wait_until(lambda: len(lines_of(there, "trials.jsonl")) == 1, process)
    rival = other.run(*arguments, settings=settings)
    assert rival.code == 2
    assert f"{there}: another driver is at work here: process {process.pid} on " in rival.err
    assert not (other.folder / "run").exists()
    store.rename(store.with_name("away"))
    store.write_text("no folder")
    (store.parent / "gate 1").touch()
    wait_until(lambda: len(one.curve("p0001-s0")) > 5, process)  # the trial goes on
    store.unlink()
    store.with_name("away").rename(store)
    wait_until(lambda: len(lines_of(there, "trials.jsonl")) == 2, process)
    ended = interrupt(process, signal.SIGTERM)
    assert ended.code == 130, ended.err
    assert f"not yet sent to {there}: " in ended.out
    assert f"--storage {store.as_uri()}" in ended.out.splitlines()[-1]
    kept, run = store / "run", one.folder / "run"
    visible = (path.relative_to(run) for path in run.rglob("[!.]*") if path.is_file())
    names = set(visible) - {Path("lock"), Path("ray.log")}
    assert {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()} == names
    ended_trials = [name for name in names if "p0002-s0" not in name.parts]
    assert all((kept / name).read_bytes() == (run / name).read_bytes() for name in ended_trials)
    assert [int(row[0]) for row in one.curve("p0001-s0")] == list(range(1, 9))


@pytest.mark.ray
@pytest.mark.long
def test_the_workers_of_a_trial_need_no_common_disk(machines: list[Sweeper], tmp_path: Path) -> None:
    one, other = machines
    runs = one.folder / "runs"  # empty, and another one, where the other node looks at it
    runs.mkdir()
    store = tmp_path / "store"
    arguments = ("--run-dir", "runs/mine", "--storage", str(store))
    settings = TINY | {"model.attention": "none", "data.num_train": 320, "resources.num_workers": 2}
    with two_nodes(one, other, runs) as address:
        process = one.start("--address", address, *arguments, settings=settings)
        there = Storage(str(store)).folder("mine")
        wait_until(lambda: len(lines_of(there, "trials/p0000-s0/curve.csv")) > 2, process)
        assert interrupt(process, signal.SIGTERM).code == 130
        begun = lines_of(there, "trials/p0000-s0/curve.csv")
        shutil.rmtree(runs / "mine")
        ended = one.run("--address", address, *arguments, settings=settings)
        assert ended.code == 0, ended.err
    curve = (runs / "mine" / "trials" / "p0000-s0" / "curve.csv").read_text().splitlines()
    assert curve[: len(begun)] == begun
    assert [int(row[0]) for row in one.curve("p0000-s0", "runs/mine")] == [1, 2, 3, 4, 5]


def test_what_is_wrong_with_a_storage_is_one_line_before_ray_starts(machines: list[Sweeper], s3: S3Server) -> None:
    one, _ = machines
    nobody = f"s3://bucket/runs?endpoint_override=127.0.0.1:{free_port()}&scheme=http"
    for url, message in (
        (s3.url("runs", bucket="missing"), "cannot use s3://missing/runs/run: NO_SUCH_BUCKET"),
        (nobody, "cannot use s3://bucket/runs/run: NETWORK_CONNECTION"),
        ("s3://id:secret@bucket/runs", "no credentials in the URL"),
    ):
        ended = one.run("--run-dir", "run", "--storage", url, settings={"trial": "fake"})
        assert ended.code == 2
        assert f"error: --storage: {message}" in ended.err
        assert len(ended.err.splitlines()) == 1
        assert not list(one.folder.iterdir())
        assert not list(Path(one.login["RAY_TMPDIR"]).iterdir())
