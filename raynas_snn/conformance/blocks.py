"""The building blocks: operations, attention, neurons, surrogates. All in float64, where rounding flips no spike."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from raynas_snn.conformance.promise import promise, promised
from raynas_snn.nas.operations import Operation
from raynas_snn.registry import resolve
from raynas_snn.snn.attention import AttentionSettings
from raynas_snn.snn.neuron import LIF, Neuron, NeuronSettings

_STEPS, _IMAGES, _CHANNELS = 2, 3, 6
_SIZES = ((8, 8), (7, 5))


def check_operation(name: str) -> None:
    """An operation is built as ``kind(channels, stride, make_neuron, searching)`` and maps a source of any size."""
    kind = resolve("operations", name)
    for stride in (1, 2):
        for searching in (True, False):
            with promised(name, f"can be built with stride {stride}, searching={searching}"):
                operation = _build(lambda: kind(_CHANNELS, stride, _make_lif, searching))  # noqa: B023 - built at once
            promise(isinstance(operation, Operation), name, "is an Operation")
            promise(
                not (operation.per_source and list(operation.parameters())),
                name,
                "has no weights if it is shared by all edges of a source (per_source)",
            )
            for size in _SIZES:
                x = _features(size, binary=operation.reads_spikes)
                with promised(name, f"maps {size[0]}x{size[1]} maps at stride {stride}"):
                    out = operation(x)
                shape = (*x.shape[:2], *(-(-side // stride) for side in size))
                promise(out.shape == shape, name, f"gives {shape} for {tuple(x.shape)} at stride {stride}")
                promise(bool(out.isfinite().all()), name, "gives finite numbers")
                if searching:
                    scale = torch.tensor(0.3, dtype=torch.float64)
                    close = torch.allclose(operation(x, scale), 0.3 * operation(x), atol=1e-9)
                    promise(close, name, "multiplies its output by the scale")
            _check_gradients(operation, name, lambda op: op(_features((8, 8), binary=op.reads_spikes)))


def check_attention(name: str) -> None:
    """Attention is built as ``kind(channels, num_steps, settings)`` and gates each image by itself."""
    kind = resolve("attentions", name)
    for num_steps in (1, _STEPS):
        with promised(name, f"can be built for {num_steps} steps"):
            attention = _build(lambda: kind(_CHANNELS, num_steps, AttentionSettings()))  # noqa: B023 - built at once
        x = _features((7, 5), num_steps=num_steps)
        with promised(name, "maps real values"):
            out = attention(x)
        promise(out.shape == x.shape, name, "keeps the shape")
        share = out / x
        promise(bool(((share >= 0) & (share <= 1)).all()), name, "multiplies by gates between 0 and 1")
        _check_images_apart(attention, x, num_steps, name)
        _check_gradients(attention, name, lambda gate: gate(x))  # noqa: B023 - called at once


def check_neuron(name: str) -> None:
    """A neuron is built as ``kind(num_steps, settings)``, fires 0 or 1 and remembers nothing between inputs."""
    kind = resolve("neurons", name)
    for num_steps in (1, _STEPS):
        with promised(name, f"can be built for {num_steps} steps"):
            neuron = _build(lambda: kind(num_steps, NeuronSettings()))  # noqa: B023 - built at once
        promise(isinstance(neuron, Neuron), name, "is a Neuron, which is what is counted")
        x = _features((7, 5), num_steps=num_steps)
        with promised(name, "integrates currents"):
            spikes = neuron(x)
        promise(spikes.shape == x.shape, name, "keeps the shape")
        promise(bool(((spikes == 0) | (spikes == 1)).all()), name, "fires 0 or 1")
        promise(bool(torch.equal(neuron(x), spikes)), name, "gives the same spikes for the same input again")
        _check_images_apart(neuron, x, num_steps, name)
        current = x.clone().requires_grad_()
        neuron(current).sum().backward()
        assert current.grad is not None
        promise(bool(current.grad.isfinite().all() and current.grad.any()), name, "has a gradient (its surrogate's)")


def check_surrogate(name: str) -> None:
    """A surrogate is built without arguments; its derivative is that of its primitive, a step from 0 to 1."""
    with promised(name, "can be built without arguments"):
        surrogate: Any = resolve("surrogates", name)()
    x = torch.linspace(-3, 3, 1202, dtype=torch.float64)  # an even number: no point lies on the threshold
    slope, step = surrogate.derivative(x), 1e-5
    difference = (surrogate.primitive(x + step) - surrogate.primitive(x - step)) / (2 * step)
    promise(slope.shape == x.shape and bool((slope >= 0).all()), name, "has a derivative that is never negative")
    off = (slope - difference).abs() > 1e-4 * (1 + slope.abs())
    promise(int(off.sum()) <= 4, name, "has the derivative of its primitive")  # a few points may lie on an edge
    far = surrogate.primitive(torch.tensor([-100.0, 0.0, 100.0], dtype=torch.float64))
    expected = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    promise(torch.allclose(far, expected, atol=0.01), name, "rises from 0 over 1/2 at the threshold to 1")


def _build(make: Callable[[], nn.Module]) -> Any:
    torch.manual_seed(0)
    return make().double()


def _make_lif() -> nn.Module:
    return LIF(_STEPS, NeuronSettings())


def _features(size: tuple[int, int], num_steps: int = _STEPS, binary: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((num_steps * _IMAGES, _CHANNELS, *size), generator=generator, dtype=torch.float64)
    return (x > 0).double() if binary else x


def _check_gradients(module: nn.Module, name: str, run: Callable[[Any], Tensor]) -> None:
    if not any(parameter.requires_grad for parameter in module.parameters()):
        return
    module.zero_grad()
    run(module).square().sum().backward()
    for key, parameter in module.named_parameters():
        promise(parameter.grad is not None, name, f"uses its weight {key}")
        assert parameter.grad is not None
        promise(bool(parameter.grad.isfinite().all()), name, f"has a finite gradient for its weight {key}")


def _check_images_apart(module: nn.Module, x: Tensor, num_steps: int, name: str) -> None:
    """Another first image must not change what comes out for the others."""
    changed = x.clone().unflatten(0, (num_steps, _IMAGES))
    changed[:, 0] += 1
    before, after = (module(each).unflatten(0, (num_steps, _IMAGES))[:, 1:] for each in (x, changed.flatten(0, 1)))
    promise(torch.allclose(before, after, atol=1e-12), name, "treats each image by itself")
