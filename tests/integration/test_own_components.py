"""A sweep whose every component is the user's own, each with an option: found by import path, on real Ray."""

import json

import pytest
from sweeper import Sweeper

pytestmark = pytest.mark.ray

PARTS = '''
"""An attention, a neuron, a surrogate, a strategy, a data set, a sampler and a scheduler of one's own."""


import numpy as np
import torch
from optuna.samplers import RandomSampler
from pydantic import Field
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from torch import nn

from raynas_snn import Images, Options, with_options
from raynas_snn.snn.neuron import LIF
from raynas_snn.training.strategies.baseline_strategies import random_cells
from raynas_snn.training.strategy import Strategy


class GateOptions(Options):
    sharpness: float = Field(1.0, gt=0, le=10, description="Slope of the gate.")


class Gate(nn.Module):
    options = GateOptions

    def __init__(self, channels, num_steps, options):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, 1), options.sharpness))

    def forward(self, x):
        return x * torch.sigmoid(self.weight * x.mean(dim=(2, 3), keepdim=True))


class TiredOptions(Options):
    fatigue: float = Field(0.0, ge=0, le=1, description="How much weaker currents arrive.")


class Tired(LIF):
    options = TiredOptions

    def forward(self, x):
        return super().forward(x * (1 - self.settings.options.fatigue))


class TriangleOptions(Options):
    half_width: float = Field(1.0, gt=0.01, le=10, description="Where the slope is 0.")


class Triangle:
    options = TriangleOptions

    def __init__(self, options):
        self.half = options.half_width

    def derivative(self, x):
        return (1 - x.abs() / self.half).clamp_min(0) / self.half

    def primitive(self, x):
        x = (x / self.half).clamp(-1, 1)
        return 0.5 + x - 0.5 * x * x.abs()


class LuckyOptions(Options):
    throws: int = Field(1, ge=1, le=9, description="Epochs that do nothing but count.")


def search(trial, context, images, num_classes):
    throws = trial.search.strategy.options_as(LuckyOptions).throws
    for epoch in range(1, throws + 1):
        context.report({"epoch": epoch, "phase": "search", "accuracy": 0.0})
    return random_cells(trial, context, images, num_classes)


LUCKY = Strategy(search, lambda config: config.strategy.options_as(LuckyOptions).throws, LuckyOptions)


class StripesOptions(Options):
    width: int = Field(2, ge=1, le=4, description="Of a stripe, in pixels.")


@with_options(StripesOptions)
def stripes(config):
    draw = np.random.default_rng(0)
    labels = np.arange(96) % 2
    rows = np.arange(8) // config.options_as(StripesOptions).width % 2
    images = np.where(labels[:, None, None] == 0, rows[:, None], rows[None, :]) * np.uint8(200)
    images = (images[:, None] + draw.integers(0, 50, (96, 1, 8, 8))).astype(np.uint8)
    return Images(images[:64], labels[:64], images[64:], labels[64:], 2)


class TwiceOptions(Options):
    offset: int = Field(0, ge=0, le=100, description="Added to the seed.")


@with_options(TwiceOptions)
def sampler(request):
    return RandomSampler(request.seed + request.options.offset)


class PatienceOptions(Options):
    epochs: int = Field(2, ge=1, le=100, description="The epoch at which every trial but the first is stopped.")


class Impatient(FIFOScheduler):
    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.first = epochs, None

    def on_trial_result(self, controller, trial, result):
        self.first = self.first or trial.trial_id
        over = trial.trial_id != self.first and result.get("epoch", 0) >= self.epochs
        return TrialScheduler.STOP if over else TrialScheduler.CONTINUE


@with_options(PatienceOptions)
def scheduler(request):
    assert request.sweep.config.name == "digits-attention"
    return Impatient(request.options.epochs)
'''

SETTINGS = {
    "space": "darts_snn",
    "data": {"name": "own_parts:stripes", "width": 1},
    "model.attention": {"choice": ["own_parts:Gate", "none"], "sharpness": {"choice": [2.0, 3.0]}},
    "model.neuron": {"name": "own_parts:Tired", "fatigue": 0.1},
    "model.surrogate": {"name": "own_parts:Triangle", "half_width": {"choice": [1, 2]}},
    "model.channels": 4,
    "model.layers": 2,
    "search.strategy": {"name": "own_parts:LUCKY", "throws": 2},
    "retrain": {"epochs": 2, "batch_size": 16, "lr": 0.05},
    "sweep": {
        "sampler": {"name": "own_parts:sampler", "offset": 1},
        "scheduler": {"name": "own_parts:scheduler", "epochs": 3},
        "num_trials": 3,
        "num_seeds": 1,
        "points": [
            {"model.attention": "own_parts:Gate", "model.attention.sharpness": 3, "model.surrogate.half_width": 2}
        ],
    },
    "resources.max_concurrent": 1,
}


@pytest.fixture
def sweeper(sweeper: Sweeper) -> Sweeper:
    (sweeper.folder / "own_parts.py").write_text(PARTS)
    return sweeper


def test_every_component_may_be_ones_own_and_have_options(sweeper: Sweeper) -> None:
    ended = sweeper.run("--run-dir", "run", settings=SETTINGS)
    assert ended.code == 0, ended.err
    first, *others = sorted(sweeper.records(), key=lambda record: record["uid"])
    assert (first["end_reason"], first["epochs"]) == ("finished", 4)
    assert first["outer"] == {
        "model.attention": "own_parts:Gate",
        "model.attention.sharpness": 3.0,
        "model.surrogate.half_width": 2.0,
    }
    assert [(record["end_reason"], record["epochs"]) for record in others] == [("early_stopped", 3)] * 2
    trial = json.loads((sweeper.folder / "run/trials/p0000-s0/config.json").read_text())
    assert trial["model"]["attention"] == {"name": "own_parts:Gate", "sharpness": 3.0}
    assert trial["model"]["neuron"] == {"name": "own_parts:Tired", "fatigue": 0.1}
    assert trial["search"]["strategy"] == {"name": "own_parts:LUCKY", "throws": 2}
    assert (trial["data"]["name"], trial["data"]["width"]) == ("own_parts:stripes", 1)

    again = sweeper.run("--run-dir", "run", settings=SETTINGS)
    assert again.code == 0, again.err
    assert "Nothing to do" in again.out
