"""The compiled kernels against plain torch, and what happens where they cannot be compiled."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from raynas_snn.snn.kernels import eager, kernels_for, native
from raynas_snn.snn.kernels.normalisation import Normalisation, RunningStatistics
from raynas_snn.snn.surrogate import ATan, Dspike, Rectangular, Sigmoid
from raynas_snn.snn.surrogate_options import ATanOptions, RectangularOptions

pytestmark = pytest.mark.skipif(native.library(torch.float64) is None, reason="needs a C compiler")

SHAPES = st.one_of(
    st.tuples(
        st.integers(1, 3), st.sampled_from([1, 3, 8, 16, 17, 32, 64, 70, 130]), st.integers(1, 9), st.integers(1, 9)
    ),
    st.tuples(st.integers(1, 5), st.integers(1, 200)),
)
FEW = examples(40)


def maps(shape: tuple[int, ...], num_steps: int, number: int, seed: int, layout: bool = True) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    full = (num_steps * shape[0], *shape[1:])
    made = [torch.randn(full, generator=generator, dtype=torch.float64) for _ in range(number)]
    if len(shape) == 4 and layout:
        return [one.contiguous(memory_format=torch.channels_last) for one in made]
    return made


def a_normalisation(channels: int, weight: str, of_batch: bool, seed: int) -> Normalisation:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.rand(4, channels, generator=generator, dtype=torch.float64) + 0.5
    weights = {"none": None, "scalar": numbers[0, 0], "each": numbers[0]}
    return Normalisation(
        weights[weight], numbers[1] if weight == "each" else None, numbers[2] - 1, numbers[3], 1e-5, of_batch
    )


def same(ours: object, expected: object) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)


@FEW
@given(SHAPES, st.integers(1, 6), st.sampled_from(["none", "scalar", "each", "identity"]), st.booleans(), st.booleans())
def test_fires_and_learns_as_plain_torch(shape, num_steps, weight, detach_reset, layout):
    x, grad = maps(shape, num_steps, 2, 0, layout)
    norm = None if weight == "identity" else a_normalisation(x.shape[1], weight, True, 1)
    same(native.fire(x, norm, num_steps, 0.2, 0.5), eager.fire(x, norm, num_steps, 0.2, 0.5))
    for surrogate in (
        Rectangular(),
        Rectangular(RectangularOptions(width=2)),
        ATan(),
        ATan(ATanOptions(alpha=3)),
        Dspike(),
        Sigmoid(),
    ):
        given = (grad, x, norm, num_steps, 0.2, 0.5, detach_reset, surrogate)
        same(native.fire_backward(*given), eager.fire_backward(*given))


@FEW
@given(SHAPES, st.sampled_from(["none", "scalar", "each"]), st.booleans(), st.booleans(), st.booleans())
def test_normalises_as_plain_torch(shape, weight, of_batch, overwrite, layout):
    x, grad, total = maps(shape, 2, 3, 2, layout)
    norm = a_normalisation(x.shape[1], weight, of_batch, 3)
    same(native.normalise(x, norm), eager.normalise(x, norm))
    ours, expected = total.clone(), total.clone()
    assert native.normalise(x, norm, ours) is ours
    same(ours, eager.normalise(x, norm, expected))
    parameters = eager.gradients(grad, x, norm)
    same(native.gradients(grad, x, norm), parameters)
    given = (x, norm, *parameters, overwrite)
    same(native.input_gradient(grad.clone(), *given), eager.input_gradient(grad.clone(), *given))


@FEW
@given(SHAPES, st.sampled_from([0.1, 1.0, None]), st.floats(-1e4, 1e4))
def test_observes_as_plain_torch(shape, momentum, mean):
    (x,) = maps(shape, 2, 1, 4)
    results = []
    for kernels in (native, eager):
        running = RunningStatistics(*torch.zeros(2, x.shape[1], dtype=torch.float64), torch.tensor(2), momentum)
        results.append([*kernels.observe(x + mean, running), *running[:3]])
    torch.testing.assert_close(*results, rtol=1e-7, atol=1e-7)


def test_the_variance_of_an_almost_silent_channel_keeps_its_digits():
    x = torch.zeros(64, 16, 32, 32).contiguous(memory_format=torch.channels_last)
    x[0, :, 0, 0] = 3.3
    running = RunningStatistics(torch.zeros(16), torch.zeros(16), torch.tensor(0), 0.1)
    expected = torch.var_mean(x.double(), dim=(0, 2, 3), correction=0)
    mean, variance = native.observe(x, running)
    torch.testing.assert_close((variance.double(), mean.double()), expected, rtol=1e-4, atol=0)


def test_whole_numbers_do_for_decay_and_threshold():
    (x,) = maps((2, 16, 5, 5), 3, 1, 10)
    assert torch.equal(native.fire(x, None, 3, 1, 1), native.fire(x, None, 3, 1.0, 1.0))


def test_sums_of_another_type_are_added_to_all_the_same():
    (x,) = (one.float() for one in maps((2, 16, 5, 5), 1, 1, 11))
    norm = Normalisation(None, None, torch.zeros(16), torch.ones(16), 0.0, False)
    for dtype in (torch.bfloat16, torch.float64):
        total = torch.zeros_like(x, dtype=dtype)
        native.normalise(x, norm, total)
        torch.testing.assert_close(total, x.to(dtype))
        native.mix([total, x.clone()], [x], torch.ones(2, 1))
        torch.testing.assert_close(total, 2 * x.to(dtype))


@FEW
@given(SHAPES, st.integers(1, 5), st.integers(1, 4), st.booleans())
def test_mixes_as_plain_torch(shape, edges, kinds, layout):
    given = maps(shape, 2, edges + kinds, 5, layout)
    totals, sources = given[:edges], given[edges:]
    weights = torch.rand(edges, kinds, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    ours, expected = ([one.clone() for one in totals] for _ in range(2))
    native.mix(ours, sources, weights)
    eager.mix(expected, sources, weights)
    same(ours, expected)
    same(native.mix_backward(totals, sources, weights), eager.mix_backward(totals, sources, weights))


@FEW
@given(
    st.tuples(st.integers(1, 9), st.sampled_from([1, 5, 16, 20, 48]), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_gradient_of_a_depthwise_kernel_is_that_of_torch(shape, kernel_size, stride, dilation):
    (x,) = maps(shape, 1, 1, 7)
    padding = dilation * (kernel_size - 1) // 2
    weight = torch.zeros(shape[1], 1, kernel_size, kernel_size, dtype=torch.float64)
    out = torch.nn.functional.conv2d(x, weight, None, stride, padding, dilation, shape[1])
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    given = (grad, x, kernel_size, stride, dilation)
    same(native.depthwise_weight_gradient(*given), eager.depthwise_weight_gradient(*given))


def test_sums_do_not_depend_on_the_number_of_threads():
    x, grad = (one.float() for one in maps((8, 16, 16, 16), 2, 2, 9))
    norm = Normalisation(None, None, torch.zeros(16), torch.ones(16), 1e-5, True)
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append([*native.gradients(grad, x, norm), native.depthwise_weight_gradient(grad, x, 3, 1, 1)])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_left_to_plain_torch(dtype):
    assert kernels_for(torch.zeros(1, dtype=dtype)) is eager
    assert kernels_for(torch.zeros(1)) is native


TRY = """
import torch
from raynas_snn.snn.kernels import kernels_for
from raynas_snn.snn.neuron import LIF, NeuronSettings
print(kernels_for(torch.zeros(1)).__name__.rpartition(".")[2], int(LIF(2, NeuronSettings())(torch.ones(4, 3)).sum()))
"""


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path):
    (tmp_path / "raynas_snn").mkdir()
    (tmp_path / "raynas_snn").chmod(0o777)
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    printed = subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["eager", "12"]


@pytest.mark.parametrize(
    "variables",
    [{"CC": "no-such-compiler"}, {"CC": "false"}, {"RAYNAS_SNN_KERNELS": "eager"}, {"XDG_CACHE_HOME": "/dev/null"}],
    ids=lambda variables: next(iter(variables)),
)
def test_without_a_compiler_or_a_place_to_write_everything_works(variables, tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)} | variables
    printed = subprocess.run([sys.executable, "-c", TRY], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["eager", "12"]
    assert printed.stderr == ""


def test_processes_that_compile_at_once_end_with_one_library(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", TRY]
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0].split() for process in processes] == [["native", "12"]] * 2
    assert [path.suffix for path in (tmp_path / "raynas_snn").iterdir()] == [".so"]
