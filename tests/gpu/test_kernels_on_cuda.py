"""The kernels for CUDA devices against plain torch.

On a CUDA device they run as compiled; with ``TRITON_INTERPRET=1`` in the environment Triton's interpreter runs them on
the CPU instead, which tests/unit/snn/test_triton.py asks for. Skipped where there is neither.
"""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.snn.kernels import eager, kernels_for
from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics
from raynas_snn.snn.neuron import LIF, NeuronSettings
from raynas_snn.snn.normalise import BatchNorm
from raynas_snn.snn.surrogate import ATan, Dspike, Rectangular, Sigmoid
from raynas_snn.snn.surrogate_options import ATanOptions, DspikeOptions, RectangularOptions, SigmoidOptions

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("needs a CUDA device, or Triton's interpreter", allow_module_level=True)
cuda = pytest.importorskip("raynas_snn.snn.kernels.cuda", reason="needs Triton")

pytestmark = pytest.mark.gpu
on_device = pytest.mark.skipif(INTERPRETED, reason="needs a CUDA device")
several_examples = examples(5 if INTERPRETED else 60)

SURROGATES = [
    Rectangular(),
    Rectangular(RectangularOptions(width=1.5)),
    Dspike(),
    Dspike(DspikeOptions(temperature=5)),
    ATan(),
    ATan(ATanOptions(alpha=3)),
    Sigmoid(),
    Sigmoid(SigmoidOptions(slope=2)),
]
COMPUTE = {torch.float64: torch.float64, torch.float32: torch.float32, torch.bfloat16: torch.float32}
TYPES = [torch.float64, torch.float32, torch.bfloat16]
# Each map is rounded once more or less; sums of half-precision numbers are taken in float32 on both sides.
TOLERANCES = {torch.float64: (1e-12, 1e-12), torch.float32: (2e-5, 2e-5), torch.bfloat16: (2e-2, 2e-2)}
# Channels of one tile, of a part of one, of several; more rows than one tile has.
SHAPES = [(4, 16, 5, 7), (2, 1, 3, 3), (6, 70, 3, 2), (2, 96, 2, 3), (2, 33), (2, 12, 13, 11)]
CASES = [(shape, torch.float64) for shape in SHAPES]
CASES += [(shape, dtype) for shape in SHAPES[-3::2] for dtype in (torch.float32, torch.bfloat16)]


def map_of(shape, dtype=torch.float64, seed=0, mean=0.3):
    generator = torch.Generator().manual_seed(seed)
    x = (torch.randn(shape, generator=generator, dtype=torch.float64) + mean).to(dtype).to(DEVICE)
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def normalisation_of(x, weight="channels", bias=True, of_batch=True):
    wide, channels = COMPUTE[x.dtype], x.shape[1]
    numbers = map_of((4, channels), wide, seed=1, mean=0.0)
    weights = {"none": None, "scalar": numbers[0, 0].clone(), "channels": numbers[0] + 1}
    variance = numbers[3].square() + 0.5
    return Normalisation(weights[weight], numbers[1] if bias else None, numbers[2], variance, 1e-5, of_batch)


def assert_alike(ours, theirs, dtype, scale=1.0):
    rtol, atol = TOLERANCES[dtype]
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol * scale)


def without_close_calls(x, norm, num_steps, dtype):
    """Where potentials stay away from the threshold by more than rounding bridges; elsewhere chance rules."""
    if dtype == torch.float64:
        return torch.ones_like(x, dtype=torch.bool)
    u = eager._potentials(x.double(), norm and wider(norm), num_steps, 0.2, 0.5)
    clear = (u - 0.5).abs() > 1e-4
    clear &= (u.abs() > 1e-4) & ((u - 1).abs() > 1e-4)  # the ends of a window one wide
    return clear.unflatten(0, (num_steps, -1)).all(0).repeat(num_steps, *(1,) * (x.dim() - 1))


def wider(norm):
    return Normalisation(*(None if one is None else one.double() for one in norm[:4]), *norm[4:])


cases = pytest.mark.parametrize(("shape", "dtype"), CASES, ids=str)
types = pytest.mark.parametrize("dtype", TYPES, ids=str)


@cases
@pytest.mark.parametrize("momentum", [0.1, None])
def test_observe(shape, dtype, momentum):
    x = map_of(shape, dtype, mean=3.0)
    both = []
    for kernels in (cuda, eager):
        running = RunningStatistics(
            *map_of((2, shape[1]), torch.float32, seed=2).unbind(), torch.tensor(4, device=DEVICE), momentum
        )
        both.append((*kernels.observe(x, running), *running[:3]))
    dtype = torch.float32 if dtype == torch.bfloat16 else dtype
    assert_alike(both[0][:2], both[1][:2], dtype)
    assert_alike(both[0][2:], both[1][2:], torch.float32)
    assert both[0][4] == 5


def test_observe_keeps_digits_beside_a_large_mean():
    x = map_of((8, 5, 4, 4), torch.float32, mean=10_000.0)
    running = RunningStatistics(*torch.zeros(2, 5, device=DEVICE), torch.tensor(0, device=DEVICE), 0.1)
    _, variance = cuda.observe(x, running)
    torch.testing.assert_close(variance.double(), x.double().var((0, 2, 3), correction=0), rtol=1e-4, atol=0)


@cases
@pytest.mark.parametrize(("weight", "bias"), [("none", False), ("scalar", True), ("channels", True)])
def test_normalise(shape, dtype, weight, bias):
    x = map_of(shape, dtype)
    norm = normalisation_of(x, weight, bias)
    assert_alike(cuda.normalise(x, norm), eager.normalise(x, norm), dtype)


@types
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format], ids=str)
def test_normalise_adds_in_place(dtype, layout):
    x, total = map_of((3, 6, 5, 4), dtype), map_of((3, 6, 5, 4), dtype, seed=3).contiguous(memory_format=layout)
    norm, expected = normalisation_of(x), total.clone()
    eager.normalise(x, norm, expected)
    assert cuda.normalise(x, norm, total) is total
    assert_alike(total, expected, dtype)


@cases
@pytest.mark.parametrize(
    ("weight", "of_batch", "overwrite"), [("none", True, False), ("scalar", False, True), ("channels", True, True)]
)
def test_gradients_of_a_normalisation(shape, dtype, weight, of_batch, overwrite):
    x, grad = map_of(shape, dtype), map_of(shape, dtype, seed=4)
    norm = normalisation_of(x, weight, True, of_batch)
    theirs = eager.gradients(grad, x, norm)
    ours = cuda.gradients(grad, x, norm)
    assert_alike(ours, theirs, torch.float32 if dtype == torch.bfloat16 else dtype, scale=x.numel() / shape[1])
    expected = eager.input_gradient(grad.clone(), x, norm, *theirs, overwrite=False)
    result = cuda.input_gradient(grad, x, norm, *theirs, overwrite=overwrite)
    assert (result is grad) == overwrite
    assert_alike(result, expected, dtype)


@cases
@pytest.mark.parametrize("weight", [None, "scalar", "channels"])
def test_fire(shape, dtype, weight):
    x = map_of(shape, dtype)
    norm = None if weight is None else normalisation_of(x, weight)
    for num_steps in {1, 2, shape[0]}:
        clear = without_close_calls(x, norm, num_steps, dtype)
        ours, theirs = (kernels.fire(x, norm, num_steps, 0.2, 0.5) for kernels in (cuda, eager))
        assert ours.dtype == dtype
        assert torch.equal(ours[clear], theirs[clear])
        assert clear.double().mean() > 0.9


@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
@pytest.mark.parametrize("detach_reset", [False, True])
@pytest.mark.parametrize("num_steps", [1, 2, 6])
@pytest.mark.parametrize("normalised", [False, True])
def test_fire_backward(surrogate, detach_reset, num_steps, normalised):
    x, grad = map_of((6, 20, 3, 5)), map_of((6, 20, 3, 5), seed=4)
    norm = normalisation_of(x) if normalised else None
    settings = (num_steps, 0.3, 0.4, detach_reset, surrogate)
    ours, theirs = (kernels.fire_backward(grad, x, norm, *settings) for kernels in (cuda, eager))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@cases
@pytest.mark.parametrize("weight", [None, "none", "channels"])
def test_fire_backward_on_maps_of_any_shape_and_type(shape, dtype, weight):
    x, grad = map_of(shape, dtype), map_of(shape, dtype, seed=4)
    norm = None if weight is None else normalisation_of(x, weight)
    clear = without_close_calls(x, norm, 2, dtype)
    grad *= clear  # no gradient, and so no chance, elsewhere
    settings = (2, 0.2, 0.5, False, Rectangular())
    ours, theirs = (kernels.fire_backward(grad, x, norm, *settings) for kernels in (cuda, eager))
    assert_alike(ours[0], theirs[0], dtype)
    if norm is not None:
        assert_alike(ours[1:], theirs[1:], torch.float32 if dtype == torch.bfloat16 else dtype, scale=x.numel())


def test_what_the_kernels_do_not_know_is_left_to_plain_torch():
    class Triangle:
        def derivative(self, x):
            return (1 - x.abs()).clamp(min=0)

        def primitive(self, x):
            raise AssertionError

    x, grad = map_of((34, 3, 2, 2)), map_of((34, 3, 2, 2), seed=4)
    for num_steps, surrogate in ((2, Triangle()), (17, Rectangular())):
        settings = (num_steps, 0.2, 0.5, False, surrogate)
        ours, theirs = (kernels.fire_backward(grad, x, None, *settings)[0] for kernels in (cuda, eager))
        assert torch.equal(ours, theirs)
    assert torch.equal(cuda.fire(x, None, 17, 0.2, 0.5), eager.fire(x, None, 17, 0.2, 0.5))
    nine = [map_of((2, 3), seed=seed) for seed in range(9)]
    weights = map_of((1, 9))
    totals = [torch.zeros_like(nine[0]) for _ in range(2)]
    for kernels, total in zip((cuda, eager), totals, strict=True):
        kernels.mix([total], nine, weights)
    assert torch.equal(*totals)
    assert torch.equal(
        cuda.mix_backward(totals[:1], nine, weights)[1], eager.mix_backward(totals[:1], nine, weights)[1]
    )


@types
@pytest.mark.parametrize(("edges", "kinds"), [(1, 1), (2, 3), (4, 3)])
@pytest.mark.parametrize("shape", [(2, 16, 5, 7), (1, 5, 21, 17)], ids=str)
def test_mix(dtype, edges, kinds, shape):
    maps = [map_of(shape, dtype, seed=k) for k in range(kinds)]
    grads = [map_of(shape, dtype, seed=10 + e) for e in range(edges)]
    weights = map_of((kinds, edges), COMPUTE[dtype], seed=20).t()  # strided, as slices of alphas are
    ours, theirs = ([grad.clone() for grad in grads] for _ in range(2))
    ours[0] = ours[0].contiguous()  # totals of any layout
    cuda.mix(ours, maps, weights)
    eager.mix(theirs, maps, weights)
    assert_alike(ours, theirs, dtype, scale=4)
    grad_maps, grad_weights = cuda.mix_backward(grads, maps, weights)
    expected_maps, expected_weights = eager.mix_backward(grads, maps, weights)
    assert_alike(grad_maps, expected_maps, dtype, scale=4)
    assert_alike(
        grad_weights, expected_weights, torch.float32 if dtype == torch.bfloat16 else dtype, scale=maps[0].numel()
    )


def test_sums_are_the_same_every_time():
    x, grad = map_of((2, 6, 30, 25), torch.float32), map_of((2, 6, 30, 25), torch.float32, seed=4)
    norm = normalisation_of(x)
    runs = [cuda.fire_backward(grad, x, norm, 2, 0.2, 0.5, False, ATan()) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


@several_examples
@given(
    st.integers(1, 200),
    st.integers(1, 40 if not INTERPRETED else 12),
    st.sampled_from([1, 2, 3, 6, 16]),
    st.floats(0, 1),
    st.floats(0.1, 2),
    st.sampled_from(SURROGATES),
    st.booleans(),
    st.sampled_from(["none", "scalar", "channels"]),
)
def test_any_shape_and_setting(channels, rows, num_steps, decay, v_th, surrogate, detach_reset, weight):
    x, grad = map_of((num_steps * rows, channels)), map_of((num_steps * rows, channels), seed=4)
    norm = normalisation_of(x, weight)
    fired = (kernels.fire(x, norm, num_steps, decay, v_th) for kernels in (cuda, eager))
    assert torch.equal(*fired)
    settings = (num_steps, decay, v_th, detach_reset, surrogate)
    ours, theirs = (kernels.fire_backward(grad, x, norm, *settings) for kernels in (cuda, eager))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@on_device
def test_maps_on_a_device_get_these_kernels():
    assert kernels_for(map_of((2, 3))) is cuda
    assert kernels_for(torch.zeros(2, 3, dtype=torch.int32, device=DEVICE)) is eager


@on_device
def test_a_normalised_neuron_learns_as_on_the_cpu():
    results = []
    for device in ("cpu", DEVICE):
        x = map_of((6, 5, 4, 3)).to(device).requires_grad_()
        norm = BatchNorm(5).double().to(device)
        spikes = LIF(3, NeuronSettings())(x, norm)
        gradients = torch.autograd.grad(
            (spikes * map_of((6, 5, 4, 3), seed=4).to(device)).sum(), (x, *norm.parameters())
        )
        results.append([one.detach().cpu() for one in (spikes, *gradients, *norm.buffers())])
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


@on_device
@types
def test_many_rows(dtype):
    """Sums over more tiles than there are programs."""
    x, grad = map_of((48, 16, 64, 64), dtype), map_of((48, 16, 64, 64), dtype, seed=4)
    norm = normalisation_of(x)
    running = [RunningStatistics(*torch.zeros(2, 16, device=DEVICE), torch.tensor(0, device=DEVICE), 0.1) for _ in "ab"]
    exact = torch.float32 if dtype == torch.bfloat16 else dtype
    assert_alike(cuda.observe(x, running[0]), eager.observe(x, running[1]), exact)
    assert_alike(cuda.gradients(grad, x, norm), eager.gradients(grad, x, norm), exact, scale=1e4)


@on_device
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_graph_can_record_a_neuron(dtype):
    x, grad = map_of((6, 16, 8, 8), dtype), map_of((6, 16, 8, 8), dtype, seed=4)
    running = RunningStatistics(*torch.zeros(2, 16, device=DEVICE), torch.tensor(0, device=DEVICE), None)

    def step():
        norm = normalisation_of_batch(x, running)
        spikes = cuda.fire(x, norm, 3, 0.2, 0.5)
        grad_in, *of_parameters = cuda.fire_backward(grad, x, norm, 3, 0.2, 0.5, False, ATan())
        return spikes, cuda.input_gradient(grad_in, x, norm, *of_parameters, overwrite=True), *of_parameters

    def normalisation_of_batch(x, running):
        return Normalisation(None, None, *cuda.observe(x, running), 1e-5, True)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()  # compiles
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = step()
    x.copy_(map_of((6, 16, 8, 8), dtype, seed=9))
    graph.replay()
    torch.cuda.synchronize()
    assert running.num_batches == 2
    assert all(torch.equal(one, other) for one, other in zip(recorded, step(), strict=True))
