"""On a CUDA device: the same neurons, and a whole trial. Skipped where there is none."""

import pytest
import torch

from raynas_snn.config import load_sweep
from raynas_snn.interfaces.trial import TrialContext
from raynas_snn.snn.neuron import LIF, NeuronSettings
from trials.search_then_retrain import search_then_retrain

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_neurons_fire_as_on_the_cpu():
    x = torch.randn(6, 4, 5, 5, dtype=torch.float64)
    results = []
    for device in ("cpu", "cuda"):
        currents = x.to(device).requires_grad_()
        spikes = LIF(3, NeuronSettings())(currents)
        (gradient,) = torch.autograd.grad((spikes * x.to(device)).sum(), currents)
        results.append((spikes.detach().cpu(), gradient.cpu()))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)


def test_a_whole_trial_learns_digits(tmp_path):
    sweep = load_sweep(None, ("model.attention=ma", "search.epochs=1", "retrain.epochs=12"))
    context = TrialContext(tmp_path, print, "cuda:0")
    assert search_then_retrain(sweep.trial_config(0, 0, {}), context)["accuracy"] > 0.8


@pytest.mark.parametrize(
    "overrides",
    [
        ("search.strategy={name: sahd, candidates: 4}",),
        ("search.strategy={name: evolution, population: 4, generations: 2}",),
        ("search.unrolled=true", "search.auxiliary=true", "search.drop_path=0.2", "retrain.drop_path=0.2"),
        ("model.attention=temporal", "model.stem_stride=2"),
        ("model.attention={name: ct, window: causal}", "model.num_nodes=3"),
        ("model.attention={name: ma, fold_time: true}", "model.num_steps=3"),
    ],
    ids=str,
)
def test_every_option_runs_there(tmp_path, overrides):
    small = ("model.attention=ma", "model.channels=4", "search.channels=4", "retrain.epochs=1", "data.num_train=128")
    context = TrialContext(tmp_path, lambda _: None, "cuda:0")
    metrics = search_then_retrain(load_sweep(None, (*small, *overrides)).trial_config(0, 0, {}), context)
    assert metrics["spikes"] > 0
