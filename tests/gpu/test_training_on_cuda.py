"""What a GPU adds to training changes nothing but its time: CUDA graphs, precision, compiling, several workers."""

import logging
import math
from itertools import islice
from pathlib import Path

import pytest
import torch
from gloo import SUPPORT, run_two_workers
from torch import nn

from raynas_snn.config import load_sweep
from raynas_snn.config.schema import SearchConfig, TrialConfig
from raynas_snn.core.registry import resolve
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.nas.alphas import Alphas
from raynas_snn.nas.macro import Macro
from raynas_snn.nas.network import Supernet, channels_last
from raynas_snn.training.augment import Augmentation
from raynas_snn.training.checkpoint import checkpoint_path, read_checkpoint
from raynas_snn.training.cuda_graph import _no_waiting
from raynas_snn.training.device_images import DeviceImages
from raynas_snn.training.distributed import World
from raynas_snn.training.strategies.darts_state import SearchState
from raynas_snn.training.strategies.darts_steps import SearchSteps
from trials.search_then_retrain import search_then_retrain

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3")
SMALL = (
    "model.attention=ma",
    "model.channels=4",
    "model.layers=3",
    "model.num_nodes=2",
    "search.channels=4",
    "search.epochs=2",
    "search.lr=0.1",
    "retrain.lr=0.05",
    "retrain.epochs=2",
    "data.num_train=256",
    "data.num_test=64",
)


class Waiting(nn.Module):
    """A module that asks for a result of the device at each step."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scales by a number that went through the host."""
        return x * float(x.detach().abs().max() > -1)


def search_steps(config: SearchConfig, obstacle: str | None, dtype: torch.dtype = torch.float64):
    """The same search at its start, each time."""
    torch.manual_seed(0)
    macro = Macro(3, (1, 8, 8), channels=2, layers=3, num_nodes=2)
    supernet = Supernet(macro, {name: resolve("operations", name) for name in NAMES}, config.auxiliary)
    channels_last(supernet.to("cuda", dtype))
    state = SearchState.fresh(supernet, Alphas(2, len(NAMES)).to("cuda", dtype), config)
    return state, SearchSteps(state, supernet, config, obstacle)


def batches(seed: int, number: int = 5):
    generator = torch.Generator("cuda").manual_seed(seed)
    for _ in range(number):
        images = torch.randn(8, 1, 8, 8, generator=generator, device="cuda", dtype=torch.float64)
        labels = torch.randint(3, (8,), generator=generator, device="cuda")
        yield images.contiguous(memory_format=torch.channels_last), labels


def two_epochs(state: SearchState, steps: SearchSteps):
    """Trains with another learning rate in the second; returns what was seen and what has become of all tensors."""
    seen = []
    for epoch in range(2):
        for results in steps.epoch(batches(2 * epoch), batches(2 * epoch + 1), None):
            seen += [torch.stack((result.loss, result.correct.double())) for result in results]
        state.schedule.step()
    networks = (state.supernet, state.alphas)
    ends = {f"{type(net).__name__}.{name}": value for net in networks for name, value in net.state_dict().items()}
    for optimizer in (state.weight_optimizer, state.alpha_optimizer):
        for index, memory in optimizer.state_dict()["state"].items():
            ends |= {f"{type(optimizer).__name__}.{index}.{name}": value for name, value in memory.items()}
    return torch.stack(seen), ends


def assert_same_training(one, other) -> None:
    torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-9)
    assert one[1].keys() == other[1].keys()
    for name, value in one[1].items():
        torch.testing.assert_close(other[1][name], value, rtol=0, atol=1e-9, msg=name)


# Learning rates that a float32 holds exactly: a graph reads them from one.
EXACT = {"lr": 0.125, "lr_min": 0.0625, "alpha_lr": 0.0625, "epochs": 2}


@pytest.mark.parametrize(
    "settings",
    [{}, {"auxiliary": True}, {"grad_clip": 0.0}, {"grad_clip": 0.01}, {"momentum": 0.0}, {"unrolled": True}],
    ids=str,
)
def test_captured_steps_are_the_plain_steps(settings):
    config = SearchConfig(**{**EXACT, **settings})
    plain = two_epochs(*search_steps(config, "for comparison"))
    state, steps = search_steps(config, None)
    captured = two_epochs(state, steps)
    assert steps._weights.is_captured
    assert steps._alphas.is_captured == (not config.unrolled)
    assert_same_training(plain, captured)
    for optimizer in (state.weight_optimizer, state.alpha_optimizer):  # as a checkpoint holds it
        (group,) = optimizer.state_dict()["param_groups"]
        assert isinstance(group["lr"], float)
        assert not group.get("capturable")


def test_a_step_that_waits_for_the_device_runs_as_it_is(caplog):
    config = SearchConfig(**EXACT)
    ends = []
    for obstacle in ("for comparison", None):
        state, steps = search_steps(config, obstacle)
        state.supernet.stem.norm = nn.Sequential(state.supernet.stem.norm, Waiting())
        ends.append(two_epochs(state, steps))
    assert_same_training(*ends)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2  # alphas and weights, once each
    assert not steps._weights.is_captured
    assert torch.rand(1, device="cuda").isfinite()  # torch's own random numbers still work


@pytest.mark.parametrize("obstacle", ["for comparison", None])
def test_an_epoch_never_waits_for_the_device(obstacle):
    config = SearchConfig(**EXACT)
    _, steps = search_steps(config, obstacle, torch.float32)
    images = torch.randint(256, (96, 1, 8, 8), dtype=torch.uint8, device="cuda")
    statistics = (torch.full((1, 1, 1, 1), value, device="cuda") for value in (0.5, 0.25))
    data = DeviceImages(images, torch.arange(96, device="cuda") % 3, *statistics)
    augmentation = Augmentation(crop_padding=1, flip=True, cutout=2)
    halves = [
        data.training_batches(8, augmentation, torch.Generator("cuda").manual_seed(seed), World()) for seed in range(2)
    ]
    steps.epoch(islice(halves[0], 2), islice(halves[1], 2), None)  # kernels are chosen, graphs captured
    torch.cuda.synchronize()
    with _no_waiting():
        weight_steps, alpha_steps = steps.epoch(*halves, None)
    assert len(weight_steps) == len(alpha_steps) == 10


def trial(*overrides: str) -> TrialConfig:
    return load_sweep(None, (*SMALL, *overrides)).trial_config(0, 0, {})


class InterruptedTrialError(Exception):
    """Stands for a process that dies."""


def run(folder: Path, config: TrialConfig, device: str = "cuda:0", stop_after: int | None = None):
    folder.mkdir(exist_ok=True)
    rows = []

    def report(row) -> None:
        rows.append(dict(row))
        if row["epoch"] == stop_after:
            raise InterruptedTrialError

    return search_then_retrain(config, TrialContext(folder, report, device)), rows


@pytest.mark.parametrize("stop_after", [1, 3])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (("cuda:0", "true"), ("cuda:0", "false")),
        (("cuda:0", "false"), ("cuda:0", "true")),
        (("cuda:0", "true"), ("cpu", "true")),
        (("cpu", "true"), ("cuda:0", "true")),
    ],
)
def test_a_trial_goes_on_captured_or_not_and_on_another_device(tmp_path, first, then, stop_after):
    with pytest.raises(InterruptedTrialError):
        run(tmp_path / "trial", trial(f"resources.cuda_graphs={first[1]}"), first[0], stop_after)
    metrics, rows = run(tmp_path / "trial", trial(f"resources.cuda_graphs={then[1]}"), then[0])
    assert [row["epoch"] for row in rows] == list(range(stop_after, 5))
    assert all(math.isfinite(row["train_loss"]) for row in rows)
    assert metrics["spikes"] > 0


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_trial_learns_with_less_precision(tmp_path, precision):
    options = ("retrain.epochs=12", "model.channels=16", "data.num_train=null", f"resources.precision={precision}")
    metrics, _ = run(tmp_path, trial(*options))
    assert metrics["accuracy"] > 0.7
    tensors = list(read_checkpoint(checkpoint_path(tmp_path))["members"]["network"].values())
    assert {tensor.dtype for tensor in tensors} == {torch.float32, torch.int64}


def test_a_compiled_trial_learns_and_states_the_time_of_compiling(tmp_path):
    options = ("search.strategy=random", "retrain.compile=true", "retrain.epochs=12", "data.num_train=null")
    metrics, _ = run(tmp_path, trial(*options, "model.channels=8"))
    assert metrics["accuracy"] > 0.6
    assert metrics["compile_seconds"] > 0
    assert not any("_orig_mod" in name for name in read_checkpoint(checkpoint_path(tmp_path))["members"]["network"])


def test_two_workers_on_one_gpu_stay_identical(tmp_path):
    script = SUPPORT / "gloo_worker.py"
    run_two_workers(script, str(tmp_path / "join"), trial().model_dump_json(), str(tmp_path), "cuda:0")
    for epoch in range(1, 5):
        first, second = (torch.load(tmp_path / f"rank{rank}-epoch{epoch}.pt", weights_only=True) for rank in range(2))
        for kind, state in first.items():
            for name, tensor in state.items():
                assert torch.equal(tensor, second[kind][name]), (epoch, kind, name)
