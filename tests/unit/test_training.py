"""Whole trials without Ray: interrupted anywhere, on several workers, with bad settings."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import TrialConfig
from raynas_snn.errors import UserError
from raynas_snn.training.checkpoint import load_checkpoint, save_checkpoint
from raynas_snn.training.phase import checkpoint_path
from raynas_snn.trial import TrialContext, TrialFailure
from trials.search_then_retrain import search_then_retrain

TINY = (
    "model.attention=ma",
    "model.channels=4",
    "search.channels=4",
    "search.epochs=2",
    "search.batch_size=32",
    "retrain.epochs=3",
    "data.num_train=160",
    "data.num_test=80",
)
EPOCHS = 5


def trial(*overrides: str) -> TrialConfig:
    return load_sweep(None, (*TINY, *overrides)).trial_config(0, 0, {})


class InterruptedTrialError(Exception):
    """Stands for a process that dies."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(folder: Path, config: TrialConfig, stop_after: int | None = None) -> tuple[dict, list[dict]]:
    folder.mkdir(exist_ok=True)
    rows: list[dict] = []

    def report(row) -> None:
        rows.append(dict(row))
        if row["epoch"] == stop_after:
            raise InterruptedTrialError

    return search_then_retrain(config, TrialContext(folder, report)), rows


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[dict, list[dict], Path]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trial")
    return *run(folder, trial()), folder


def without_time(numbers: dict) -> dict:
    return {key: value for key, value in numbers.items() if key != "seconds"}


def test_a_trial_reports_each_epoch_and_returns_the_documented_numbers(uninterrupted):
    metrics, rows, folder = uninterrupted
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert [row["phase"] for row in rows] == ["search"] * 2 + ["retrain"] * 3
    assert metrics["accuracy"] == rows[-1]["accuracy"]
    assert metrics["search_accuracy"] == max(row["accuracy"] for row in rows[:2])
    assert {"params", "params_with_auxiliary", "spikes", "firing_rate", "sops", "macs", "energy_uj"} < set(metrics)
    assert metrics["spikes"] == rows[-1]["spikes"]
    assert (folder / "genotype.json").is_file()


@pytest.mark.parametrize("stop_after", range(1, EPOCHS + 1))
def test_a_trial_interrupted_after_any_epoch_ends_bit_identical(tmp_path, uninterrupted, stop_after):
    metrics, rows, folder = uninterrupted
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", trial(), stop_after)
    torch.manual_seed(99)  # a new process has other random numbers
    continued, more_rows = run(tmp_path / "trial", trial())
    assert without_time(continued) == without_time(metrics)
    assert [without_time(row) for row in more_rows] == [without_time(row) for row in rows[stop_after - 1 :]]
    ours, theirs = (load_checkpoint(checkpoint_path(path)) for path in (tmp_path / "trial", folder))
    assert ours["carried"]["genotype"] == theirs["carried"]["genotype"]
    for name, tensor in theirs["members"]["network"].items():
        assert torch.equal(ours["members"]["network"][name], tensor), name


def test_other_seeds_are_other_trials(tmp_path, uninterrupted):
    other = load_sweep(None, TINY).trial_config(0, 1, {})
    assert without_time(run(tmp_path / "trial", other)[0]) != without_time(uninterrupted[0])


def test_two_gloo_workers_are_identical_after_every_epoch(tmp_path):
    script = Path(__file__).with_name("gloo_worker.py")
    arguments = ["2", str(tmp_path / "rendezvous"), trial().model_dump_json(), str(tmp_path)]
    workers = [
        subprocess.Popen([sys.executable, str(script), str(rank), *arguments], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in workers:
        _, err = worker.communicate(timeout=240)
        assert worker.returncode == 0, err
    for epoch in range(1, EPOCHS + 1):
        first, second = (torch.load(tmp_path / f"rank{rank}-epoch{epoch}.pt", weights_only=True) for rank in range(2))
        assert ({"Supernet", "Alphas"} if epoch <= 2 else {"DerivedNetwork"}) <= set(first)
        for kind, state in first.items():  # weights, alphas and running statistics
            for name, tensor in state.items():
                assert torch.equal(tensor, second[kind][name]), (epoch, kind, name)
    metrics = [torch.load(tmp_path / f"rank{rank}-metrics.pt", weights_only=True) for rank in range(2)]
    assert without_time(metrics[0]) == without_time(metrics[1])


def test_ray_is_not_needed(tmp_path):
    code = f"""
import sys
sys.modules["ray"] = None
from pathlib import Path
from raynas_snn import TrialContext, load_sweep
from trials.search_then_retrain import search_then_retrain
trial = load_sweep(None, {(*TINY, "search.epochs=1", "retrain.epochs=1")!r}).trial_config(0, 0, {{}})
print(search_then_retrain(trial, TrialContext(Path({str(tmp_path)!r}), lambda row: None))["accuracy"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) <= 1


def test_a_loss_that_is_not_finite_ends_the_trial_with_advice(tmp_path):
    config = trial("search.lr=10", "search.grad_clip=0", "search.momentum=0.99", "search.epochs=9")
    broken = config.model_copy(update={"search": config.search.model_copy(update={"lr": 1e30})})
    with pytest.raises(
        TrialFailure, match=r"the loss is nan in epoch \d of search; a lower search.lr or a search.grad"
    ):
        run(tmp_path / "trial", broken)


def test_a_checkpoint_reads_back(tmp_path):
    state = {"epoch": 3, "tensor": torch.arange(4.0), "nested": {"names": ["a", "b"], "none": None, "rate": 0.5}}
    save_checkpoint(tmp_path / "deep" / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "deep" / "last.pt")
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert loaded == state
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["last.pt"]
    assert load_checkpoint(tmp_path / "nothing.pt") is None


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    torch.save({"epoch": Trap()}, tmp_path / "last.pt")
    with pytest.raises(UserError, match="the checkpoint is damaged"):
        load_checkpoint(tmp_path / "last.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 10, 500])
def test_a_damaged_checkpoint_is_one_line(tmp_path, keep):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"tensor": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match="delete it to start this phase again") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path):
    code = f"""
import torch
from pathlib import Path
from raynas_snn.training.checkpoint import save_checkpoint
epoch = 0
while True:
    epoch += 1
    state = {{"epoch": epoch, "tensor": torch.full((300_000,), float(epoch))}}
    save_checkpoint(Path({str(tmp_path)!r}) / "last.pt", state)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not (tmp_path / "last.pt").exists():
            time.sleep(0.05)
        for delay in (0.21, 0.13, 0.17):
            time.sleep(delay)
            state = load_checkpoint(tmp_path / "last.pt")
            assert state["tensor"].eq(state["epoch"]).all()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["tensor"].eq(state["epoch"]).all()
