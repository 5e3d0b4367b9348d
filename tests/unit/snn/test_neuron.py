"""The LIF neuron against SpikingJelly's and against plain autograd, in float64."""

import warnings

import pytest
import torch

from raynas_snn.snn.neuron import LIF, NeuronSettings
from raynas_snn.snn.surrogate import ATan, Dspike, Rectangular, Sigmoid, Surrogate
from raynas_snn.snn.surrogate_options import ATanOptions, DspikeOptions, RectangularOptions, SigmoidOptions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of its own dependencies
    from spikingjelly.activation_based import neuron as sj_neuron
    from spikingjelly.activation_based import surrogate as sj_surrogate

SURROGATES = [
    Rectangular(),
    Rectangular(RectangularOptions(width=2)),
    Dspike(),
    Dspike(DspikeOptions(temperature=5)),
    ATan(),
    ATan(ATanOptions(alpha=3)),
    Sigmoid(),
    Sigmoid(SigmoidOptions(slope=2)),
]


def currents(num_steps: int, shape: tuple[int, ...] = (3, 4, 5, 6)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_steps)
    x = torch.randn((num_steps * shape[0], *shape[1:]), generator=generator, dtype=torch.float64)
    return x.requires_grad_()


def output_and_gradient(run, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    out = run(x)
    weights = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).reshape(out.shape)
    (gradient,) = torch.autograd.grad((out * weights).sum(), x)
    return out.detach(), gradient


@pytest.mark.parametrize(
    ("num_steps", "decay", "v_th", "detach_reset"), [(1, 0.2, 0.5, False), (2, 0.75, 1.0, False), (6, 0.2, 0.5, True)]
)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ATan(), sj_surrogate.ATan(alpha=2.0)),
        (Sigmoid(), sj_surrogate.Sigmoid(alpha=4.0)),
        (Rectangular(), sj_surrogate.Rect(alpha=1.0)),
    ],
    ids=["atan", "sigmoid", "rectangular"],
)
def test_equals_spikingjelly(num_steps, decay, v_th, detach_reset, ours, theirs):
    lif = LIF(num_steps, NeuronSettings(decay, v_th, ours, detach_reset))
    node = sj_neuron.LIFNode(
        tau=1 / (1 - decay),
        decay_input=False,
        v_threshold=v_th,
        v_reset=0.0,
        step_mode="m",
        detach_reset=detach_reset,
        surrogate_function=theirs,
    )
    x = currents(num_steps)
    spikes, gradient = output_and_gradient(lif, x)
    expected, expected_gradient = output_and_gradient(lambda x: node(x.unflatten(0, (num_steps, -1))).flatten(0, 1), x)
    assert torch.equal(spikes, expected)
    assert 0.05 < spikes.mean() < 0.95
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)


class Step(torch.autograd.Function):
    """The step function with a surrogate's derivative: what autograd needs to do the rest."""

    @staticmethod
    def forward(ctx, distance: torch.Tensor, surrogate: Surrogate) -> torch.Tensor:
        ctx.save_for_backward(distance)
        ctx.surrogate = surrogate
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (distance,) = ctx.saved_tensors
        return grad * ctx.surrogate.derivative(distance), None


def reference(x, num_steps, decay, v_th, surrogate, detach_reset):
    """Equations 1-3 as they stand, one step after the other."""
    u = o = torch.zeros_like(x.chunk(num_steps)[0])
    spikes = []
    for x_t in x.chunk(num_steps):
        u = decay * u * (1 - (o.detach() if detach_reset else o)) + x_t
        o = Step.apply(u - v_th, surrogate)
        spikes.append(o)
    return torch.cat(spikes)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
@pytest.mark.parametrize(("decay", "v_th", "detach_reset"), [(0.0, 1.0, False), (1.0, 0.3, False), (1.0, 0.3, True)])
def test_equals_plain_autograd(surrogate, decay, v_th, detach_reset):
    x = currents(4)
    lif = LIF(4, NeuronSettings(decay, v_th, surrogate, detach_reset))
    spikes, gradient = output_and_gradient(lif, x)
    expected, expected_gradient = output_and_gradient(
        lambda x: reference(x, 4, decay, v_th, surrogate, detach_reset), x
    )
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_the_derivative_is_that_of_the_primitive(surrogate):
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(surrogate.primitive(x).sum(), x)
    torch.testing.assert_close(surrogate.derivative(x.detach()), slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_the_area_under_the_derivative_is_one(surrogate):
    x = torch.linspace(-2000, 2000, 4_000_001, dtype=torch.float64)
    area = float(torch.trapezoid(surrogate.derivative(x), x))
    assert area == pytest.approx(1, abs=2e-3)
    ends = surrogate.primitive(x[[0, -1]])
    assert ends.tolist() == pytest.approx([0, 1], abs=1e-3)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_a_smooth_neuron_has_the_gradient_of_finite_differences(surrogate):
    lif = LIF(3, NeuronSettings(0.4, 0.5, surrogate, smooth=True))
    x = currents(3, (1, 2, 2, 2)) * 0.31
    assert torch.autograd.gradcheck(lif, (x.detach().requires_grad_(),), eps=1e-7, atol=1e-5)


def test_memory_layout_changes_nothing_and_is_kept():
    lif = LIF(2, NeuronSettings())
    x = currents(2)
    last = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    spikes, gradient = output_and_gradient(lif, x)
    last_spikes, last_gradient = output_and_gradient(lif, last)
    assert torch.equal(spikes, last_spikes)
    assert torch.equal(gradient, last_gradient)
    assert last_spikes.is_contiguous(memory_format=torch.channels_last)
    assert last_gradient.is_contiguous(memory_format=torch.channels_last)


def test_one_step_is_a_comparison_with_the_threshold():
    x = currents(1)
    assert torch.equal(LIF(1, NeuronSettings(decay=0.9, v_th=0.3))(x), (x > 0.3).double())


def test_nothing_is_carried_from_one_call_to_the_next():
    lif = LIF(2, NeuronSettings(decay=1.0))
    x = currents(2)
    first = lif(x)
    assert torch.equal(first, lif(x))
    assert not lif.state_dict()
