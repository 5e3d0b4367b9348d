"""Conformance checks of operations, attention, neurons and surrogates, in float64, where rounding flips no spike."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from raynas_snn.conformance.declarations import options_to_try
from raynas_snn.conformance.requirement import require, requiring
from raynas_snn.core.registry import resolve
from raynas_snn.nas.operations import Operation
from raynas_snn.snn.neuron import LIF, Neuron, NeuronSettings
from raynas_snn.snn.normalise import BatchNorm

_STEPS, _IMAGES, _CHANNELS = 2, 3, 6
_SIZES = ((8, 8), (7, 5))


def check_operation(name: str) -> None:
    """Checks an operation: built as ``kind(channels, stride, make_neuron, searching)``, maps a source of any size."""
    kind = resolve("operations", name)
    for stride in (1, 2):
        for searching in (True, False):
            with requiring(name, f"can be built with stride {stride}, searching={searching}"):
                operation = _build(lambda: kind(_CHANNELS, stride, _make_lif, searching))  # noqa: B023 - built at once
            require(isinstance(operation, Operation), name, "is an Operation")
            require(
                not (operation.per_source and list(operation.parameters())),
                name,
                "has no weights if it is shared by all edges of a source (per_source)",
            )
            for size in _SIZES:
                x = _features(size, binary=operation.reads_spikes)
                with requiring(name, f"maps {size[0]}x{size[1]} maps at stride {stride}"):
                    out = operation(x)
                shape = (*x.shape[:2], *(-(-side // stride) for side in size))
                require(out.shape == shape, name, f"gives {shape} for {tuple(x.shape)} at stride {stride}")
                require(bool(out.isfinite().all()), name, "gives finite numbers")
                if searching:
                    scale = torch.tensor(0.3, dtype=torch.float64)
                    close = torch.allclose(operation(x, scale), 0.3 * operation(x), atol=1e-9)
                    require(close, name, "multiplies its output by the scale")
                    total = operation.add_to(torch.ones_like(out), x, scale)
                    close = torch.allclose(total, 1 + 0.3 * operation(x), atol=1e-9)
                    require(close, name, "adds to a sum what it gives alone (add_to)")
            x = _features((8, 8), binary=operation.reads_spikes)
            _check_gradients(operation, x, name)
            _check_images_apart(operation.eval(), x, _STEPS, name)


def check_attention(name: str) -> None:
    """Attention is built as ``kind(channels, num_steps, options)`` and gates each image by itself."""
    kind = resolve("attentions", name)
    for options, num_steps in product(options_to_try("attentions", name), (1, _STEPS)):
        with requiring(name, f"can be built for {num_steps} steps with {options!r}"):
            attention = _build(lambda: kind(_CHANNELS, num_steps, options))  # noqa: B023 - built at once
        x = _features((7, 5), num_steps=num_steps)
        with requiring(name, "maps real values"):
            out = attention(x)
        require(isinstance(out, Tensor) and out.shape == x.shape, name, "keeps the shape")
        share = out / x
        require(bool(((share >= 0) & (share <= 1)).all()), name, "multiplies by gates between 0 and 1")
        _check_images_apart(attention, x, num_steps, name)
        _check_gradients(attention, x, name)


def check_neuron(name: str) -> None:
    """Checks a neuron: built as ``kind(num_steps, settings)``, emits 0 or 1, keeps no state between inputs."""
    kind = resolve("neurons", name)
    for options, num_steps in product(options_to_try("neurons", name), (1, _STEPS)):
        with requiring(name, f"can be built for {num_steps} steps with {options!r}"):
            neuron = _build(lambda: kind(num_steps, NeuronSettings(options=options)))  # noqa: B023 - built at once
        require(isinstance(neuron, Neuron), name, "is a Neuron, which is what is counted")
        x = _features((7, 5), num_steps=num_steps)
        with requiring(name, "integrates currents"):
            spikes = neuron(x)
        require(isinstance(spikes, Tensor) and spikes.shape == x.shape, name, "keeps the shape")
        require(bool(((spikes == 0) | (spikes == 1)).all()), name, "fires 0 or 1")
        require(torch.equal(neuron(x), spikes), name, "gives the same spikes for the same input again")
        driven = torch.full_like(x, 100.0)
        require(
            bool(neuron(driven).any() and not neuron(-driven).any()),
            name,
            "fires at a high current and not at a negative one",
        )
        later = torch.cat([x[:_IMAGES], -x[_IMAGES:]])
        require(torch.equal(neuron(later)[:_IMAGES], spikes[:_IMAGES]), name, "does not know what comes in later steps")
        if neuron.normalises:
            norm = BatchNorm(_CHANNELS).double()
            require(torch.equal(neuron(x, norm), neuron(norm(x))), name, "applies the BatchNorm that it is given")
        _check_images_apart(neuron, x, num_steps, name)
        _check_gradients(neuron, x, name)


def check_surrogate(name: str) -> None:
    """A surrogate is built as ``kind(options)``; its derivative is that of its primitive, a step from 0 to 1."""
    kind: Any = resolve("surrogates", name)
    for options in options_to_try("surrogates", name):
        with requiring(name, f"can be built with {options!r}"):
            surrogate: Any = kind(options)
        x = torch.linspace(-3, 3, 1202, dtype=torch.float64)  # an even number: no point lies on the threshold
        slope, step = surrogate.derivative(x), 1e-5
        difference = (surrogate.primitive(x + step) - surrogate.primitive(x - step)) / (2 * step)
        require(slope.shape == x.shape and bool((slope >= 0).all()), name, "has a derivative that is never negative")
        off = (slope - difference).abs() > 1e-4 * (1 + slope.abs())
        require(int(off.sum()) <= 4, name, "has the derivative of its primitive")  # a few points may lie on an edge
        ends = surrogate.primitive(x[[0, -1]])
        require(
            bool((torch.trapezoid(slope, x) - ends.diff()).abs() < 0.02), name, "rises by its derivative, not by a step"
        )
        far = surrogate.primitive(torch.tensor([-1e5, 0.0, 1e5], dtype=torch.float64))
        expected = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        require(torch.allclose(far, expected, atol=0.01), name, "rises from 0 over 1/2 at the threshold to 1")


def _build(make: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    return make().double()


def _make_lif() -> nn.Module:
    return LIF(_STEPS, NeuronSettings())


def _features(size: tuple[int, int], num_steps: int = _STEPS, binary: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((num_steps * _IMAGES, _CHANNELS, *size), generator=generator, dtype=torch.float64)
    return (x > 0).double() if binary else x


def _check_gradients(module: nn.Module, x: Tensor, name: str) -> None:
    """What is learned through the module: by its weights, and by whatever stands before it."""
    x = x.clone().requires_grad_()
    module.zero_grad()
    out = module(x)
    if not out.any():  # no connection at all
        return
    require(out.requires_grad, name, "has a gradient")
    (out * _features((out.shape[2], out.shape[3]), len(out) // _IMAGES)).sum().backward()
    gradients = {"its input": x.grad, **{f"its weight {key}": one.grad for key, one in module.named_parameters()}}
    for key, gradient in gradients.items():
        require(gradient is not None, name, f"has a gradient for {key}")
        require(bool(gradient is not None and gradient.isfinite().all()), name, f"has a finite gradient for {key}")
    require(x.grad is not None and bool(x.grad.any()), name, "has a gradient for its input that is not zero")


def _check_images_apart(module: nn.Module, x: Tensor, num_steps: int, name: str) -> None:
    """Another first image must not change what comes out for the others."""
    changed = x.clone().unflatten(0, (num_steps, _IMAGES))
    changed[:, 0] = 1 - changed[:, 0]
    before, after = (module(each).unflatten(0, (num_steps, _IMAGES))[:, 1:] for each in (x, changed.flatten(0, 1)))
    require(torch.allclose(before, after, atol=1e-12), name, "treats each image by itself")
