"""The eight candidates: shapes, scale, and the depthwise convolution's own backward."""

import pytest
import torch
import torch.nn.functional as F

from raynas_snn.core.registry import resolve
from raynas_snn.nas.convolutions import DepthwiseConv2d
from raynas_snn.snn.neuron import LIF, NeuronSettings
from raynas_snn.snn.normalise import BatchNorm
from raynas_snn.snn.surrogate import ATan
from search_spaces.darts_snn import darts_snn

NAMES = darts_snn().operations


def build(name: str, stride: int, searching: bool):
    torch.manual_seed(0)
    return resolve("operations", name)(6, stride, lambda: LIF(2, NeuronSettings()), searching).double()


def test_the_space_holds_the_eight_candidates_of_darts():
    assert len(NAMES) == 8
    assert NAMES[0] == "none"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("searching", [False, True])
def test_shapes(name, stride, size, searching):
    x = torch.randn(4, 6, *size, dtype=torch.float64)
    expected = tuple(-(-side // stride) for side in size)
    assert build(name, stride, searching)(x).shape == (4, 6, *expected)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("none", []),
        ("max_pool_3x3", [-1, 0, 1]),
        ("avg_pool_3x3", [-1, 0, 1]),
        ("skip_connect", [0]),
        ("sep_conv_3x3", [-2, -1, 0, 1, 2]),  # applied twice
        ("sep_conv_5x5", [-4, -3, -2, -1, 0, 1, 2, 3, 4]),
        ("dil_conv_3x3", [-2, 0, 2]),
        ("dil_conv_5x5", [-4, -2, 0, 2, 4]),
    ],
)
def test_what_a_candidate_sees_is_what_its_name_says(name, seen):
    """A change of the pixel in the middle reaches these rows and columns around it."""
    smooth = NeuronSettings(surrogate=ATan(), smooth=True)  # spikes would hide some
    torch.manual_seed(0)
    operation = resolve("operations", name)(6, 1, lambda: LIF(1, smooth), False).double().eval()
    x = torch.randn(1, 6, 13, 13, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 6, 6] += 100
    with torch.no_grad():
        reached = (operation(changed) != operation(x)).any(dim=1)[0].nonzero().tolist()
    assert reached == [[6 + row, 6 + column] for row in seen for column in seen]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
@pytest.mark.parametrize("stride", [1, 2])
def test_scale_multiplies_the_output_and_its_gradient(name, stride):
    x = (torch.rand(4, 6, 8, 8, dtype=torch.float64) > 0.5).double()
    outputs, gradients = [], []
    for folded in (True, False):
        alpha = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        operation = build(name, stride, searching=True)
        out = operation(x, alpha) if folded else alpha * operation(x)
        weights = [alpha, *operation.parameters()]
        loss = (out * torch.linspace(0, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()
        outputs.append(out)
        gradients.append(torch.autograd.grad(loss, weights))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-10)


def test_a_scaled_batchnorm_keeps_the_same_statistics():
    ours, theirs = BatchNorm(6, searching=True).double(), torch.nn.BatchNorm2d(6, affine=False).double()
    x = torch.randn(4, 6, 5, 5, dtype=torch.float64) * 3 + 1
    ours(x, torch.tensor(0.2, dtype=torch.float64))
    theirs(x)
    torch.testing.assert_close(list(ours.buffers()), list(theirs.buffers()), rtol=1e-12, atol=1e-12)
    scaled = ours.eval()(x, torch.tensor(0.2, dtype=torch.float64))
    torch.testing.assert_close(scaled, 0.2 * theirs.eval()(x), rtol=0, atol=1e-12)


def test_batchnorm_takes_all_time_steps_together():
    norm = BatchNorm(3).double()
    x_TNCHW = torch.randn(2, 4, 3, 5, 5, dtype=torch.float64)
    x_TNCHW[1] += 10
    norm(x_TNCHW.flatten(0, 1))
    torch.testing.assert_close(norm.running_mean, 0.1 * x_TNCHW.mean(dim=(0, 1, 3, 4)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_depthwise_convolution_equals_torchs(kernel_size, dilation, stride, size):
    conv = DepthwiseConv2d(4, kernel_size, stride, dilation).double()
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    results = []
    for run in (conv, lambda x: F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, 4)):
        out = run(x)
        loss = (out * torch.linspace(0, 1, out.numel(), dtype=out.dtype).reshape(out.shape)).sum()
        results.append([out, *torch.autograd.grad(loss, (x, conv.weight))])
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(conv(x), results[1][0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_3x3"])
@pytest.mark.parametrize("stride", [1, 2])
def test_learns_in_half_precision_and_remembers_in_float32(name, stride):
    operation = resolve("operations", name)(4, stride, lambda: LIF(2, NeuronSettings()), True)
    x = torch.randn(4, 4, 6, 6).round().requires_grad_()
    scale = torch.tensor(0.5, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        out = operation(x, scale)
        total = operation.add_to(operation.add_to(None, x, scale), x, scale)
    (out.float().sum() + total.float().square().sum()).backward()
    assert x.grad is not None
    assert scale.grad is not None
    assert x.grad.dtype == scale.grad.dtype == torch.float32
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in operation.parameters())
    assert all(b.dtype == torch.float32 for b in operation.buffers() if b.is_floating_point())


@pytest.mark.parametrize("shape", [(2, 5, 4, 4), (2, 6, 4), (2, 6, 4, 4, 4)])
def test_batchnorm_refuses_maps_that_are_not_its_own(shape):
    with pytest.raises(ValueError, match=r"expects \[T\*N, 6, H, W\]"):
        BatchNorm(6)(torch.zeros(shape))


def test_neurons_refuse_maps_that_are_not_whole_steps():
    with pytest.raises(ValueError, match="8 maps are not 3 steps"):
        LIF(3, NeuronSettings())(torch.zeros(8, 2))


def test_an_empty_batch_passes_through():
    empty = torch.zeros(0, 6, 4, 4, requires_grad=True)
    BatchNorm(6).eval()(empty).sum().backward()
    assert empty.grad is not None


def test_derived_classes_are_called_as_they_are_written():
    class Graded(LIF):
        def forward(self, x):
            return super().forward(x) * 0.25

    class Half(resolve("operations", "sep_conv_3x3")):
        def forward(self, x, scale=None):
            return 0.5 * super().forward(x, scale)

    operation = Half(6, 1, lambda: Graded(2, NeuronSettings()), True).double()
    x, scale = torch.randn(4, 6, 5, 5, dtype=torch.float64).round(), torch.tensor(0.3, dtype=torch.float64)
    torch.testing.assert_close(operation.add_to(None, x, scale), operation(x, scale))
    assert not operation.neuron.binary
