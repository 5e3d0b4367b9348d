"""On a CUDA device: the same neurons, and a whole trial. Skipped where there is none."""

import pytest
import torch

from raynas_snn.config import load_sweep
from raynas_snn.snn.neuron import LIF, NeuronSettings
from raynas_snn.trial import TrialContext
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
