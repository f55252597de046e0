"""Warping along known flows, and resized flows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.ops import resize_flow, warp


def maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def constant_flow(x: float, y: float, size: tuple[int, int], images: int = 2) -> Tensor:
    return torch.tensor([x, y], dtype=torch.float64).view(1, 2, 1, 1).expand(images, 2, *size)


@pytest.mark.parametrize('border', ['zeros', 'border'])
@pytest.mark.parametrize(('x', 'y'), [(0, 0), (1, 0), (0, 2), (-2, 1), (1, -2)])
def test_whole_pixels_are_a_shift(x: int, y: int, border: str) -> None:
    features = maps(2, 3, 6, 7)
    padded = F.pad(features, (2, 2, 2, 2), mode='replicate' if border == 'border' else 'constant')
    expected = padded[..., 2 + y : 8 + y, 2 + x : 9 + x]
    torch.testing.assert_close(warp(features, constant_flow(x, y, (6, 7)), border=border), expected)


def test_half_pixels_are_bilinear() -> None:
    features = maps(2, 3, 6, 7)
    out = warp(features, constant_flow(0.5, 0.25, (6, 7)))[..., :5, :6]
    rows = 0.75 * features[..., :5, :] + 0.25 * features[..., 1:, :]
    torch.testing.assert_close(out, (rows[..., :-1] + rows[..., 1:]) / 2)


def test_each_pixel_goes_its_own_way() -> None:
    features, flow = maps(1, 2, 4, 5), torch.zeros(1, 2, 4, 5, dtype=torch.float64)
    flow[0, :, 1, 2] = torch.tensor([2.0, -1.0])
    out = warp(features, flow)
    torch.testing.assert_close(out[0, :, 1, 2], features[0, :, 0, 4])
    out[0, :, 1, 2] = features[0, :, 1, 2]
    torch.testing.assert_close(out, features)


def test_gradcheck() -> None:
    features, flow = maps(1, 2, 4, 5).requires_grad_(), (maps(1, 2, 4, 5) * 0.9).requires_grad_()
    for border in ('zeros', 'border'):
        assert torch.autograd.gradcheck(lambda f, v, border=border: warp(f, v, border=border), (features, flow))


def test_half_precision_knows_where_it_is() -> None:
    """The last columns of a wide map: bfloat16 has no integers between 256 and 258."""
    features = torch.arange(300.0).expand(1, 1, 2, 300)
    flow = (
        torch.ones(1, 2, 2, 300, dtype=torch.bfloat16) * torch.tensor([1.0, 0.0], dtype=torch.bfloat16)[:, None, None]
    )
    torch.testing.assert_close(warp(features, flow)[..., :-1], features[..., 1:])
    assert warp(features.bfloat16(), flow).dtype == torch.bfloat16


def test_a_flow_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r'\(2, 2, 3, 4\).*\(2, 3, 6, 8\)'):
        warp(maps(2, 3, 6, 8), maps(2, 2, 3, 4))


def test_a_resized_flow_counts_in_the_pixels_of_its_new_map() -> None:
    flow = constant_flow(4.0, 6.0, (8, 12))
    assert resize_flow(flow, (8, 12)) is flow
    for size in ((4, 3), (16, 24), (5, 7)):
        expected = constant_flow(4.0 * size[1] / 12, 6.0 * size[0] / 8, size)
        torch.testing.assert_close(resize_flow(flow, size), expected)


def test_a_smaller_flow_is_an_average() -> None:
    """Every pixel counts: a smooth kernel without gaps, and far from borders the mean of a linear flow is itself."""
    ramp = torch.arange(16.0, dtype=torch.float64).expand(1, 2, 16, 16)
    small = resize_flow(ramp, (4, 4))
    torch.testing.assert_close(small[0, 0, :, 1:3], torch.tensor([5.5, 9.5]).double().expand(4, 2) / 4)
    pulse = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    for column in range(16):
        pulse.zero_()[..., column] = 1
        assert resize_flow(pulse, (4, 4)).any(), column


def test_an_exported_program_takes_any_batch() -> None:
    class Module(torch.nn.Module):
        def forward(self, features: Tensor, flow: Tensor) -> Tensor:
            return warp(features, flow)

    free, flow = {0: torch.export.Dim.DYNAMIC}, constant_flow(0.5, 1, (6, 7))
    program = torch.export.export(Module(), (maps(2, 3, 6, 7), flow), dynamic_shapes=(free, free))
    other = maps(3, 3, 6, 7), constant_flow(-1, 0.25, (6, 7), images=3)
    torch.testing.assert_close(program.module()(*other), warp(*other))
