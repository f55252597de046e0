"""Spatially variant convolution against unfolding, by hand, and what PyTorch asks of an operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mmmtl.ops import spatially_variant_conv


def unfolded(value: Tensor, kernels: Tensor) -> Tensor:
    side = int(kernels.shape[1] ** 0.5)
    patches = F.unfold(value, side, padding=side // 2).view(*value.shape[:2], side * side, *value.shape[2:])
    return (patches * kernels[:, None]).sum(2)


def inputs(side: int, dtype: torch.dtype = torch.float64, size: tuple[int, int] = (6, 5)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(side)
    shapes = [(2, 3, *size), (2, side * side, *size)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize('side', [1, 3, 5, 9, 15])
def test_it_equals_unfolding(side: int) -> None:
    """Forward and gradients, also with kernels larger than the map."""
    tensors = inputs(side)
    out, expected = spatially_variant_conv(*tensors), unfolded(*tensors)
    torch.testing.assert_close(out, expected)
    weights = torch.randn_like(out)
    found, wanted = (torch.autograd.grad((x * weights).sum(), tensors) for x in (out, expected))
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want)


def test_equal_kernels_are_a_convolution() -> None:
    value, _ = inputs(3)
    kernel = torch.randn(3, 3, dtype=torch.float64)
    kernels = kernel.reshape(1, 9, 1, 1).expand(2, 9, 6, 5)
    expected = F.conv2d(value, kernel.expand(3, 1, 3, 3), padding=1, groups=3)
    torch.testing.assert_close(spatially_variant_conv(value, kernels), expected)


@pytest.mark.parametrize(('y', 'x'), [(0, 0), (1, 0), (-2, 1), (2, 2)])
def test_a_delta_kernel_shifts(y: int, x: int) -> None:
    value, kernels = (tensor.detach() for tensor in inputs(5))
    kernels.zero_()[:, (y + 2) * 5 + x + 2] = 1
    expected = F.pad(value, (2, 2, 2, 2))[..., 2 + y : 8 + y, 2 + x : 7 + x]
    assert torch.equal(spatially_variant_conv(value, kernels), expected)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(spatially_variant_conv, inputs(3, size=(3, 4)))


def test_what_pytorch_asks_of_an_operator() -> None:
    torch.library.opcheck(torch.ops.mmmtl.spatially_variant_conv, inputs(3))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_sums_are_float32(dtype: torch.dtype) -> None:
    """Weights of softmax are float32 under autocast, and so are the sums; the result has the dtype of the value."""
    value, kernels = (tensor.detach() for tensor in inputs(9))
    value, kernels = value.to(dtype), kernels.softmax(dim=1).float()
    out = spatially_variant_conv(value, kernels)
    assert out.dtype == dtype
    exact = unfolded(value.double(), kernels.double())
    torch.testing.assert_close(out, exact.to(dtype), rtol=0, atol=2 * torch.finfo(dtype).eps)


def test_its_multiply_accumulates_are_counted() -> None:
    value, kernels = torch.empty(2, 7, 6, 8, device='meta'), torch.empty(2, 25, 6, 8, device='meta')
    with FlopCounterMode(display=False) as counter:
        assert spatially_variant_conv(value, kernels).shape == value.shape
    assert counter.get_total_flops() == 2 * 25 * 7 * 2 * 48


@pytest.mark.parametrize('shape', [(2, 9, 5, 6), (1, 9, 6, 5), (2, 9, 6), (2, 3, 9, 6, 5)])
def test_kernels_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'\(N, V, H, W\).*\(N, K \* K, H, W\)'):
        spatially_variant_conv(torch.zeros(2, 3, 6, 5), torch.zeros(shape))


@pytest.mark.parametrize('taps', [0, 4, 8, 16])
def test_kernels_need_an_odd_side(taps: int) -> None:
    with pytest.raises(ValueError, match=rf'\b{taps} weights'):
        spatially_variant_conv(torch.zeros(2, 3, 6, 5), torch.zeros(2, taps, 6, 5))


def test_an_exported_program_has_plain_operators_and_open_sizes() -> None:
    class Module(torch.nn.Module):
        def forward(self, value: Tensor, kernels: Tensor) -> Tensor:
            return spatially_variant_conv(value, kernels)

    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    tensors = tuple(tensor.detach() for tensor in inputs(3))
    program = torch.export.export(Module(), tensors, dynamic_shapes=(free, free))
    assert not any('mmmtl' in str(node.target) for node in program.graph.nodes)
    other = [tensor.detach()[:1] for tensor in inputs(3, size=(4, 9))]
    torch.testing.assert_close(program.module()(*other), spatially_variant_conv(*other))
