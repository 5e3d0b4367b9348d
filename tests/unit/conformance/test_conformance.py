"""Every registered thing keeps the promises of its kind, the examples' included; and broken ones are found out."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from image_trees import write_image, write_split
from torch import nn

from raynas_snn.config.search_space import SearchSpace
from raynas_snn.conformance import ConformanceError, check
from raynas_snn.core import registry
from raynas_snn.core.errors import UserError
from raynas_snn.interfaces.dataset import Dataset
from raynas_snn.interfaces.images import Images
from raynas_snn.interfaces.trial import TrialRecipe
from raynas_snn.nas.operations import Operation
from raynas_snn.snn.neuron import LIF, Neuron
from raynas_snn.snn.surrogate import Sigmoid
from raynas_snn.training.strategies.built_in import RANDOM
from raynas_snn.training.strategy import Strategy
from trials import fake

EXAMPLE = Path(__file__).parents[3] / "examples" / "custom_op"


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in registry.KINDS for name in registry.BUILT_INS[kind]]
)
def test_built_in(kind, name):
    check(kind, name)


@pytest.mark.parametrize(
    ("kind", "name"), [("operations", "factorized_conv:FactorizedConv"), ("spaces", "factorized_conv:space")]
)
def test_example(kind, name, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLE)
    check(kind, name)
    del sys.modules["factorized_conv"]


def space_of_import_paths() -> SearchSpace:
    return SearchSpace("paths", "operations by import path", ("none", "raynas_snn.nas.operations:SepConv3x3"), 2)


def test_operations_may_be_import_paths():
    check("spaces", f"{__name__}:space_of_import_paths")


# Blocks of a network


class Forgetful(Operation):
    """Ignores the scale."""

    def __init__(self, channels, stride, make_neuron, searching):
        super().__init__(channels, stride, make_neuron, searching)
        self.conv = nn.Conv2d(channels, channels, 1, stride)

    def forward(self, x, scale=None):
        return self.conv(x)


class Convolution(Forgetful):
    def forward(self, x, scale=None):
        return self.conv(x) * (1 if scale is None else scale)


class Strideless(Convolution):
    def __init__(self, channels, stride, make_neuron, searching):
        super().__init__(channels, 1, make_neuron, searching)


class Subtracting(Convolution):
    def add_to(self, total, x, scale):
        return total - self(x, scale)


class Blocked(Convolution):
    def forward(self, x, scale=None):
        return super().forward(x.detach(), scale)


class Idle(Convolution):
    """Has a weight that it does not use."""

    def __init__(self, channels, stride, make_neuron, searching):
        super().__init__(channels, stride, make_neuron, searching)
        self.unused = nn.Parameter(torch.zeros(1))


class Relative(Convolution):
    """Looks at the other images of a batch."""

    def forward(self, x, scale=None):
        return super().forward(x - x.mean(), scale)


class Gate(nn.Module):
    def __init__(self, channels, num_steps, settings):
        super().__init__()


class Gossip(Gate):
    """Attention that looks at the other images of a batch."""

    def forward(self, x):
        return x * torch.sigmoid(x.mean())


class Narrowing(Gate):
    def forward(self, x):
        return x[:, :1]


class Amplifying(Gate):
    def forward(self, x):
        return 2 * x


class Talkative(Gate):
    def forward(self, x):
        return x, "and more"


class Lopsided(Sigmoid):
    def derivative(self, x):
        return 2 * super().derivative(x)


class Step(Sigmoid):
    """Has no gradient."""

    def derivative(self, x):
        return torch.zeros_like(x)

    def primitive(self, x):
        return torch.heaviside(x, torch.tensor(0.5, dtype=x.dtype))


class Graded(Neuron):
    def forward(self, x):
        return x.sigmoid()


class Backwards(LIF):
    """Knows the last step first."""

    def forward(self, x):
        return super().forward(x.unflatten(0, (self.num_steps, -1)).flip(0).flatten(0, 1))


class Mute(LIF):
    def forward(self, x):
        return x * 0


class Deaf(LIF):
    def forward(self, x):
        return (x > 0.5).double()


# Data sets

OTHER = itertools.count(100)  # another number each time

STRIPES = np.repeat(np.arange(40, dtype=np.uint8), 9).reshape(40, 1, 3, 3)
LABELS = np.arange(40) % 2


def split(train, test, labels=LABELS):
    return Images(STRIPES[train], labels[train], STRIPES[test], labels[test], 2)


FIRST, LAST = slice(0, 30), slice(30, 40)


def stripes(config):
    return split(FIRST, LAST)


def raising(config):
    raise ValueError("two\nlines")


def silent(config):
    return 5


def unlabelled(config):
    return split(FIRST, LAST, LABELS + 1)


def shifting(config):
    return replace(split(FIRST, LAST), train_images=STRIPES[FIRST] + np.uint8(next(OTHER)))


def seen_before(config):
    return split(FIRST, slice(5, 15))


def one_class(config):
    return split(slice(0, 30, 2), LAST)


def fractions(config):
    return replace(split(FIRST, LAST), train_images=STRIPES[FIRST] / 255)


FLAT = Dataset(lambda _: replace(split(FIRST, LAST), test_images=STRIPES[LAST, :, :2]))
CUT_OUT = Dataset(stripes, crop_padding=-3)
LOST = Dataset(stripes, files=lambda config: [config.root_path / "nowhere"])
HERE = Dataset(stripes, files=lambda _: [Path("here")])


def elsewhere(config):
    raise UserError("plug in the camera")


ELSEWHERE = Dataset(stripes, files=elsewhere)

# What a sweep is made of


def unknown_operations():
    return SearchSpace("unknown", "has an operation that is nowhere", ("skip_connect", "conv_9x9"))


def impossible_defaults():
    return SearchSpace("x", "has a default that no sweep file may hold", ("skip_connect",), 2, {"model": {"v_th": -1}})


def found(trial, context, images, num_classes, **changes):
    return replace(RANDOM.search(trial, context, images, num_classes), **changes)


def other_cells(trial, context, images, num_classes):
    return found(trial.model_copy(update={"seed": next(OTHER)}), context, images, num_classes)


NONSENSE = Strategy(lambda *_: 5, lambda _: 0)
UNREPORTED = Strategy(RANDOM.search, lambda _: 1)
BOASTING = Strategy(lambda *given: found(*given, accuracy=98.5), lambda _: 0)
MOODY = Strategy(other_cells, lambda _: 0)


def trial_that_returns(metrics):
    def run(trial, context):
        fake.fake(trial, context)
        return metrics

    return TrialRecipe(run, fake.RECIPE.total_epochs)


NO_NUMBERS = trial_that_returns({"accuracy": "high", "params": True})
NO_METRICS = trial_that_returns(5)
NO_ACCURACY = trial_that_returns({"params": 3})
NAN = trial_that_returns({"accuracy": float("nan")})
UNHEARD = TrialRecipe(lambda *_: {"accuracy": 0.5}, lambda _: 2)
NAMELESS = TrialRecipe(lambda _, context: context.report({"epoch": 1}) or {"accuracy": 0.5}, lambda _: 1)


def no_sampler(request):
    return "random"


def unseeded(request):
    return optuna.samplers.RandomSampler()


def single_objective(request):
    return optuna.samplers.CmaEsSampler(seed=request.seed)


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("operations", "Forgetful", "multiplies its output by the scale"),
        ("operations", "Strideless", "gives .* at stride 2"),
        ("operations", "Subtracting", "adds to a sum what it gives alone"),
        ("operations", "Blocked", "has a gradient for its input"),
        ("operations", "Idle", "has a gradient for its weight unused"),
        ("operations", "Relative", "treats each image by itself"),
        ("operations", "Gossip", "can be built"),
        ("attentions", "Gossip", "treats each image by itself"),
        ("attentions", "Narrowing", "keeps the shape"),
        ("attentions", "Amplifying", "multiplies by gates between 0 and 1"),
        ("attentions", "Talkative", "keeps the shape"),
        ("surrogates", "Lopsided", "has the derivative of its primitive"),
        ("surrogates", "Step", "rises by its derivative, not by a step"),
        ("surrogates", "Gossip", "can be built"),
        ("neurons", "Gossip", "can be built"),
        ("neurons", "Graded", "fires 0 or 1"),
        ("neurons", "Backwards", "does not know what comes in later steps"),
        ("neurons", "Mute", "fires at a high current"),
        ("neurons", "Deaf", "has a gradient"),
        ("datasets", "raising", "gives images .*, but: .*ValueError: two lines"),
        ("datasets", "silent", "must return raynas_snn.Images, not int"),
        ("datasets", "unlabelled", "train_labels must be 0 to 1, but go from 1 to 2"),
        ("datasets", "fractions", "train_images must be uint8, not float64"),
        ("datasets", "FLAT", "test_images must have the shape of train_images"),
        ("datasets", "shifting", "gives the same images each time"),
        ("datasets", "seen_before", "holds its test images out"),
        ("datasets", "one_class", r"has training images of each class that is tested; it has none of \[1\]"),
        ("datasets", "CUT_OUT", "recommends an augmentation that its images allow"),
        ("datasets", "LOST", "says how to get its files"),
        ("datasets", "HERE", "names its files by absolute paths"),
        ("datasets", "ELSEWHERE", "says what is wrong with data.root, not: plug in the camera"),
        ("datasets", "EXAMPLE", "is a data set, but: .*must be a Dataset or a function"),
        ("spaces", "unknown_operations", "unknown operation 'conv_9x9'"),
        ("spaces", "impossible_defaults", "has defaults that a sweep file may hold, but: .*v_th"),
        ("spaces", "stripes", "returns a SearchSpace"),
        ("strategies", "EXAMPLE", "is a Strategy"),
        ("strategies", "NONSENSE", "returns a SearchResult, not int"),
        ("strategies", "UNREPORTED", r"reports its 1 epochs, not \[\]"),
        ("strategies", "BOASTING", "tells an accuracy between 0 and 1, not 98.5"),
        ("strategies", "MOODY", "finds the same cells from the same seed"),
        ("trials", "EXAMPLE", "is a TrialRecipe"),
        ("trials", "NO_NUMBERS", "returns finite numbers, not so accuracy, params"),
        ("trials", "NO_METRICS", "returns numbers by name, not int"),
        ("trials", "NO_ACCURACY", "returns an accuracy"),
        ("trials", "NAN", "returns finite numbers, not so accuracy"),
        ("trials", "UNHEARD", r"reports its 2 epochs, not \[\]"),
        ("trials", "NAMELESS", "reports each epoch by its number and phase, but: KeyError: 'phase'"),
        ("samplers", "no_sampler", "makes a sampler of Optuna's, not str"),
        ("samplers", "unseeded", "makes the same proposals from the same seeds"),
        ("samplers", "single_objective", "makes proposals for"),
    ],
)
def test_a_broken_promise_is_told(kind, name, message):
    with pytest.raises(ConformanceError, match=message) as caught:
        check(kind, f"{__name__}:{name}")
    assert "\n" not in str(caught.value)


def test_a_data_set_of_ones_own_keeps_its_promises():
    check("datasets", f"{__name__}:stripes")


def test_files_that_are_there_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_split(tmp_path / "data", train=3, test=2)
    write_image(tmp_path / "data" / "test" / "ant" / "other.png", shade=200)
    check("datasets", "folder")
    write_image(tmp_path / "data" / "test" / "ant" / "large.png", size=(64, 64))
    with pytest.raises(ConformanceError, match=r"folder: gives images .*, but: data\.root: .* to one size"):
        check("datasets", "folder")
