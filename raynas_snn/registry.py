"""Name -> thing, for everything that a sweep file names.

A name is a built-in one, an entry point of the group ``raynas_snn.<kind>`` of an installed package, or an
import path ``package.module:attribute``. Names travel to the workers and are looked up there; things stay.
Checking and listing names imports none of the targets, so both are instant.
"""

import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raynas_snn.errors import UserError
from raynas_snn.suggest import did_you_mean

_IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_LONGEST = 200  # characters of an import path


@dataclass(frozen=True)
class Entry:
    """A built-in thing.

    Attributes:
        target: Where it is, ``"package.module:attribute"``.
        description: One line for ``--list``.
    """

    target: str
    description: str


_ATTENTION = "raynas_snn.snn.attention:"
_OPERATION = "raynas_snn.nas.operations:"
_SURROGATE = "raynas_snn.snn.surrogate:"
_SAMPLER = "raynas_snn.cluster.samplers:"
_STRATEGY = "raynas_snn.training.strategies:"
_TORCHVISION = "raynas_snn.training.torchvision_sets:"

BUILT_INS: dict[str, dict[str, Entry]] = {
    "attentions": {
        "none": Entry(_ATTENTION + "NoAttention", "no attention: the DARTS baseline"),
        "temporal": Entry(_ATTENTION + "TemporalAttention", "a gate per time step"),
        "channel": Entry(_ATTENTION + "ChannelAttention", "a gate per channel at each step: the first half of ma"),
        "spatial": Entry(_ATTENTION + "SpatialAttention", "a gate per pixel at each step: the second half of ma"),
        "ct": Entry(_ATTENTION + "ChannelTemporalAttention", "channel-temporal gate in the manner of ECA (CT-DARTS)"),
        "ma": Entry(
            _ATTENTION + "MultiDimensionalAttention",
            "channel-temporal, then spatial gate in the manner of CBAM (MA-DARTS)",
        ),
    },
    "operations": {
        "none": Entry(_OPERATION + "Zero", "no connection"),
        "max_pool_3x3": Entry(_OPERATION + "MaxPool3x3", "3x3 max pooling"),
        "avg_pool_3x3": Entry(_OPERATION + "AvgPool3x3", "3x3 average pooling"),
        "skip_connect": Entry(_OPERATION + "SkipConnect", "identity; a factorised reduction where the stride is 2"),
        "sep_conv_3x3": Entry(_OPERATION + "SepConv3x3", "3x3 separable convolution, spiking, applied twice"),
        "sep_conv_5x5": Entry(_OPERATION + "SepConv5x5", "5x5 separable convolution, spiking, applied twice"),
        "dil_conv_3x3": Entry(_OPERATION + "DilConv3x3", "3x3 separable convolution with dilation 2, spiking"),
        "dil_conv_5x5": Entry(_OPERATION + "DilConv5x5", "5x5 separable convolution with dilation 2, spiking"),
    },
    "neurons": {
        "lif": Entry(
            "raynas_snn.snn.neuron:LIF",
            "u[t] = decay * u[t-1] * (1 - o[t-1]) + x[t], o[t] = u[t] > v_th; "
            "SpikingJelly's tau is 1 / (1 - decay), with decay_input=False and v_reset=0",
        ),
    },
    "surrogates": {
        "rectangular": Entry(_SURROGATE + "Rectangular", "a window around the threshold (STBP)"),
        "dspike": Entry(_SURROGATE + "Dspike", "a tanh of adjustable temperature (Dspike, SpikeDHS)"),
        "atan": Entry(_SURROGATE + "ATan", "the arc tangent"),
        "sigmoid": Entry(_SURROGATE + "Sigmoid", "the logistic function"),
    },
    "datasets": {
        "digits": Entry("raynas_snn.training.digits:DIGITS", "8x8 handwritten digits; comes with scikit-learn"),
        "cifar10": Entry(_TORCHVISION + "CIFAR10", "32x32 colour images of 10 classes; data.root names the folder"),
        "cifar100": Entry(_TORCHVISION + "CIFAR100", "32x32 colour images of 100 classes; data.root names the folder"),
        "tiny_imagenet": Entry(
            "raynas_snn.training.tiny_imagenet:TINY_IMAGENET",
            "64x64 colour images of 200 classes, in data.root/tiny-imagenet-200",
        ),
        "folder": Entry(
            "raynas_snn.training.image_folder:FOLDER",
            "your own images: data.root/train/CLASS/* and data.root/test/CLASS/*, or data.root/CLASS/*",
        ),
    },
    "spaces": {
        "darts_snn": Entry("search_spaces.darts_snn:darts_snn", "the DARTS cell with LIF neurons, no attention"),
        "ct_darts": Entry("search_spaces.ct_darts:ct_darts", "darts_snn with channel-temporal attention"),
        "ma_darts": Entry("search_spaces.ma_darts:ma_darts", "darts_snn with multi-dimensional attention"),
        "attention_ablation": Entry(
            "search_spaces.attention_ablation:attention_ablation",
            "darts_snn with none, ct and ma side by side",
        ),
    },
    "strategies": {
        "darts": Entry(_STRATEGY + "DARTS", "bilevel gradient descent on a supernet of all candidates (MA-DARTS)"),
        "random": Entry(_STRATEGY + "RANDOM", "a random genotype of the space: the baseline, nothing is searched"),
        "sahd": Entry(_STRATEGY + "SAHD", "the best of many random genotypes by a training-free score (SNASNet)"),
        "evolution": Entry(
            _STRATEGY + "EVOLUTION", "single-path supernet, then spike-aware evolution of genotypes (AutoSNN)"
        ),
        "fixed": Entry(_STRATEGY + "FIXED", "the genotype in the file search.genotype, retrained"),
    },
    "trials": {
        "search_then_retrain": Entry(
            "trials.search_then_retrain:RECIPE", "search, derive, retrain from scratch, evaluate on test data"
        ),
        "fake": Entry("trials.fake:RECIPE", "instant made-up curves, for trying out a sweep"),
    },
    "samplers": {
        "grid": Entry(_SAMPLER + "grid_sampler", "every combination of the choices, in order"),
        "random": Entry(_SAMPLER + "random_sampler", "independent random proposals"),
        "tpe": Entry(
            _SAMPLER + "tpe_sampler",
            "adaptive, tree-structured Parzen estimator; for hunting, not for tables",
        ),
        "nsga2": Entry(
            _SAMPLER + "nsga2_sampler",
            "adaptive, genetic (NSGA-II); for the Pareto front of several objectives, not for tables",
        ),
    },
}
KINDS = tuple(BUILT_INS)

_SINGULAR = {"datasets": "data set", "strategies": "strategy", "spaces": "search space", "trials": "kind of trial"}


def resolve(kind: str, name: str) -> Any:
    """Imports and returns the thing of a kind that goes by a name.

    Raises:
        UserError: If the name is unknown, or what it stands for cannot be imported.
    """
    check(kind, name)
    target, _ = _find(kind, name)
    module_name, _, attributes = target.partition(":")
    try:
        thing = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script without a guard may end the process that imports it
        reason = _hidden_by(module_name) or f"{type(error).__name__}: {error}"
        raise UserError(f"{_singular(kind)} '{name}': cannot import {module_name}: {reason}") from error
    for attribute in attributes.split("."):
        try:
            thing = getattr(thing, attribute)
        except AttributeError:
            hint = did_you_mean(attribute, (known for known in dir(thing) if not known.startswith("_")))
            raise UserError(f"{_singular(kind)} '{name}': {module_name} has no '{attributes}'{hint}") from None
    return thing


def check(kind: str, name: str) -> None:
    """Makes sure that a name is known, without importing what it stands for.

    Of an import path, the module is looked for; whether it holds the attribute shows when it is imported.

    Raises:
        UserError: If it is not, with the nearest known name.
    """
    target, origin = _find(kind, name)
    module_name = target.partition(":")[0]
    if origin == "import path" and not _module_exists(module_name):
        raise UserError(f"{_singular(kind)} '{name}': there is no module {module_name} on the import path")


def listing(kind: str) -> list[tuple[str, str, str]]:
    """Returns name, description and origin of everything of a kind that has a name of its own.

    Raises:
        UserError: If there is no such kind.
    """
    if kind not in BUILT_INS:
        raise UserError(f"unknown kind {kind[:80]!r}{did_you_mean(kind, KINDS)} (known: {', '.join(KINDS)})")
    built_ins = [(name, entry.description, "built in") for name, entry in BUILT_INS[kind].items()]
    others = [
        (point.name, point.value, point.dist.name if point.dist else "entry point")
        for point in _entry_points(kind)
        if point.name not in BUILT_INS[kind]
    ]
    return built_ins + sorted(others)


def _find(kind: str, name: str) -> tuple[str, str]:
    """Target and origin of a name."""
    if name in BUILT_INS[kind]:
        return BUILT_INS[kind][name].target, "built in"
    if len(name) <= _LONGEST and _IMPORT_PATH.fullmatch(name):
        return name, "import path"
    for point in _entry_points(kind):
        if point.name == name:
            return point.value, "entry point"
    known = [known_name for known_name, _, _ in listing(kind)]
    raise UserError(f"unknown {_singular(kind)} {name[:80]!r}{did_you_mean(name, known)} (known: {', '.join(known)})")


def _entry_points(kind: str) -> Iterable[importlib.metadata.EntryPoint]:
    return importlib.metadata.entry_points(group=f"raynas_snn.{kind}")


def _singular(kind: str) -> str:
    return _SINGULAR.get(kind, kind.removesuffix("s"))


def _module_exists(name: str) -> bool:
    """Whether a module can be found; unlike ``importlib.util.find_spec``, imports none of its parents."""
    if name in sys.modules:
        return True
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # what has no spec is no package, such as __main__
        return False
    for depth in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return False
        full_name = ".".join([top, *rest[: depth + 1]])
        spec = importlib.machinery.PathFinder.find_spec(full_name, spec.submodule_search_locations)
    return spec is not None


def _hidden_by(module_name: str) -> str | None:
    """Says so if another package of the same general name stands before one of ours on the import path."""
    package = module_name.split(".")[0]
    if package not in ("search_spaces", "trials"):
        return None
    ours = Path(__file__).parents[1] / package
    spec = importlib.util.find_spec(package)
    places = list((spec and spec.submodule_search_locations) or [])
    if not places or ours.resolve() in [Path(place).resolve() for place in places]:
        return None
    return f"'{package}' is another package, {places[0]}, which hides {ours}"
