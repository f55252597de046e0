"""Motion between frames: estimated flow, visibility and warping, for known motions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from mmmtl.evaluation.motion import (
    collision_free,
    estimate_flow,
    follow,
    forward_backward_visible,
    inside,
    resize_exact_flow,
)

NAN = float('nan')


def uniform(x: float, y: float, size: tuple[int, int] = (4, 6)) -> Tensor:
    return torch.tensor([x, y]).view(2, 1, 1).expand(2, *size).clone()


def texture(size: tuple[int, int]) -> Tensor:
    noise = np.random.default_rng(0).integers(0, 256, size).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return torch.from_numpy(((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8))


def test_following_a_shift() -> None:
    columns = torch.arange(6.0).expand(1, 4, 6)
    classes = columns.long()
    # A pixel at x is at x + 2 in the second frame, which shows x + 2 there.
    flow = uniform(2.0, 0.0)
    there = inside(flow)
    assert there.tolist() == [[True] * 4 + [False] * 2] * 4
    torch.testing.assert_close(follow(columns, flow)[0][there], columns[0][there] + 2)
    assert torch.equal(follow(classes, flow)[0][there], classes[0][there] + 2)
    assert follow(classes, flow).dtype == torch.int64
    # Half a pixel: between two values, and the nearest class.
    torch.testing.assert_close(follow(columns, uniform(0.5, 0.0))[0, :, :5], columns[0, :, :5] + 0.5)
    assert torch.equal(follow(classes, uniform(0.6, 0.0))[0, :, :5], classes[0, :, :5] + 1)
    assert follow(columns.double(), flow).dtype == torch.float64


def test_x_is_to_the_right_and_y_down() -> None:
    rows = torch.arange(4.0).view(1, 4, 1).expand(1, 4, 6)
    torch.testing.assert_close(follow(rows, uniform(3.0, 1.0))[0, :3], rows[0, :3] + 1)
    assert torch.equal(follow(rows.long(), uniform(3.0, 0.6))[0, :3], rows[0, :3].long() + 1)
    assert inside(uniform(0.0, -1.0)).tolist() == [[False] * 6] + [[True] * 6] * 3


def test_no_motion_is_not_inside() -> None:
    flow = uniform(0.0, 0.0)
    flow[:, 1, 2] = NAN
    assert (~inside(flow)).nonzero().tolist() == [[1, 2]]
    assert (~collision_free(flow)).nonzero().tolist() == [[1, 2]]


def test_what_is_run_into_does_not_count() -> None:
    """A bar of two columns moves 3 to the right over a ground that rests: it hides what was there."""
    flow = uniform(0.0, 0.0, (2, 10))
    flow[0, :, 2:4] = 3
    hidden = torch.zeros(2, 10, dtype=torch.bool)
    hidden[:, 2:4] = True  # the bar: the flow does not tell which of the two is in front
    hidden[:, 5:7] = True
    assert torch.equal(~collision_free(flow), hidden)


@pytest.mark.parametrize(('motion', 'free'), [((-1.0, 0.0), True), ((-0.8, 0.8), True), ((-1.2, 0.0), False)])
def test_motions_that_meet_may_differ_by_one_pixel(motion: tuple[float, float], free: bool) -> None:
    flow = uniform(0.0, 0.0)
    flow[:, 1, 3] = torch.tensor(motion)
    assert collision_free(flow)[1, 3] == free


def test_a_smooth_motion_collides_nowhere() -> None:
    """Moving away from a wall to three quarters of its size, about the middle."""
    ys, xs = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing='ij')
    flow = torch.stack([0.25 * (15.5 - xs), 0.25 * (11.5 - ys)])
    assert collision_free(flow).all()


def test_forward_and_backward_disagree_where_something_is_hidden() -> None:
    flow, back = uniform(0.0, 0.0, (2, 10)), uniform(0.0, 0.0, (2, 10))
    flow[0, :, 2:4] = 3
    back[0, :, 5:7] = -3
    hidden = torch.zeros(2, 10, dtype=torch.bool)
    hidden[:, 5:7] = True  # the ground that the bar comes to rest on
    assert torch.equal(~forward_backward_visible(flow, back), hidden)


@pytest.mark.parametrize(('missed', 'visible'), [(0.7, True), (0.72, False)])
def test_forward_and_backward_may_miss_by_so_much(missed: float, visible: bool) -> None:
    """0.5 square pixels, and a hundredth of the squared flows, which are near 0 here."""
    there = forward_backward_visible(uniform(0.0, 0.0), uniform(missed, 0.0))
    assert there.all() == visible
    # With flows of 10 it is 0.01 * (100 + 100) + 0.5.
    size = (4, 40)
    seen = forward_backward_visible(uniform(10.0, 0.0, size), uniform(-11.5, 0.0, size))
    assert seen[:, :30].all() and not seen[:, 30:].any(), 'what leaves the image is not visible'
    assert not forward_backward_visible(uniform(10.0, 0.0, size), uniform(-11.8, 0.0, size)).any()


def test_estimated_flow_of_a_shift() -> None:
    image = texture((64, 96))
    flow = estimate_flow(image[:, 3:], image[:, :-3])
    assert flow.shape == (2, 64, 93) and flow.dtype == torch.float32
    middle = flow[:, 8:-8, 8:-8]
    assert (middle - torch.tensor([3.0, 0.0]).view(2, 1, 1)).norm(dim=0).median() < 0.1
    down = estimate_flow(image[2:], image[:-2])[:, 8:-8, 8:-8]
    assert (down - torch.tensor([0.0, 2.0]).view(2, 1, 1)).norm(dim=0).median() < 0.1


def test_a_smaller_flow_is_in_smaller_pixels() -> None:
    flow = uniform(4.0, -2.0, (8, 12))
    flow[:, :, 6:] = NAN
    small = resize_exact_flow(flow, (4, 3))
    assert small.shape == (2, 4, 3)
    torch.testing.assert_close(small[:, :, 0], torch.tensor([[1.0] * 4, [-1.0] * 4]))
    assert small[:, :, 2].isnan().all()
    assert resize_exact_flow(flow, (8, 12)) is flow
    # The nearest pixel is the middle one of three.
    columns = torch.arange(9.0).expand(2, 3, 9)
    torch.testing.assert_close(resize_exact_flow(columns, (1, 3))[0, 0], torch.tensor([1.0, 4.0, 7.0]) / 3)
