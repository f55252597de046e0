"""The balanced cross-entropy by hand, against PyTorch's, and in numerically hard cases."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.tasks.balanced_bce import balanced_bce

EVERYWHERE = torch.ones(4, dtype=torch.bool)


def draw(seed: int, size: tuple[int, ...] = (2, 1, 5, 6)) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, 0/1 labels and where these are valid, float64."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, generator=generator, dtype=torch.float64)
    target = (torch.rand(size, generator=generator) < 0.3).double()
    return logits, target, torch.rand(size, generator=generator) < 0.8


def test_by_hand() -> None:
    # p = 1/2, 3/4, 1/4, 1/2; one positive of four, so it weighs 3/4 and a negative 1/4.
    logits = torch.tensor([0.0, math.log(3), -math.log(3), 0.0], dtype=torch.float64)
    target = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    expected = (0.25 * math.log(2) + 0.75 * math.log(4 / 3) + 0.25 * math.log(4 / 3) + 0.25 * math.log(2)) / 4
    assert balanced_bce(logits, target, EVERYWHERE).item() == pytest.approx(expected, rel=1e-12)

    fixed = (0.1 * math.log(2) + 0.9 * math.log(4 / 3) + 0.1 * math.log(4 / 3) + 0.1 * math.log(2)) / 4
    assert balanced_bce(logits, target, EVERYWHERE, 0.9).item() == pytest.approx(fixed, rel=1e-12)


@pytest.mark.parametrize('pos_weight', [0.05, 0.5, 0.95, None])
def test_is_pytorchs_weighted_loss(pos_weight: float | None) -> None:
    logits, target, valid = draw(0)
    share = float((target[valid] == 0).double().mean())
    positive = share if pos_weight is None else pos_weight
    weight = torch.where(target > 0, positive, 1 - positive)
    expected = F.binary_cross_entropy_with_logits(logits[valid], target[valid], weight[valid])

    assert 0.5 < share < 0.9
    torch.testing.assert_close(balanced_bce(logits, target, valid, pos_weight), expected)


def test_the_share_of_negatives_gives_both_the_same_weight() -> None:
    target = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])
    logits = torch.zeros(8, requires_grad=True)
    balanced_bce(logits, target, torch.ones(8, dtype=torch.bool)).backward()

    assert logits.grad is not None
    assert logits.grad[0].item() == pytest.approx(-7 / 8 / 2 / 8)
    assert logits.grad[1:].sum().item() == pytest.approx(-logits.grad[0].item())


def test_soft_labels_count_in_part() -> None:
    logits = torch.tensor([0.3, -1.2], dtype=torch.float64)
    target = torch.tensor([0.25, 0.75], dtype=torch.float64)
    both = torch.ones(2, dtype=torch.bool)

    torch.testing.assert_close(
        balanced_bce(logits, target, both, 0.5), 0.5 * F.binary_cross_entropy_with_logits(logits, target)
    )


def test_what_is_not_valid_does_not_matter() -> None:
    logits, target, valid = draw(1)
    other = torch.where(valid, target, torch.full_like(target, 255.0))
    strange = torch.where(valid, logits, torch.full_like(logits, 1e30)).requires_grad_()

    expected = balanced_bce(logits, target, valid)
    loss = balanced_bce(strange, other, valid)
    (gradient,) = torch.autograd.grad(loss, strange)
    torch.testing.assert_close(loss, expected)
    assert gradient.isfinite().all() and not gradient[~valid].any()


@pytest.mark.parametrize('pos_weight', [0.95, None])
def test_gradient(pos_weight: float | None) -> None:
    logits, target, valid = draw(2, (2, 1, 3, 3))
    assert torch.autograd.gradcheck(lambda x: balanced_bce(x, target, valid, pos_weight), logits.requires_grad_())


@pytest.mark.parametrize('pos_weight', [0.95, None])
def test_nothing_valid_is_a_zero_tied_to_the_graph(pos_weight: float | None) -> None:
    logits = torch.randn(2, 1, 3, 3, requires_grad=True)
    loss = balanced_bce(logits, torch.full((2, 1, 3, 3), 255.0), torch.zeros(2, 1, 3, 3, dtype=torch.bool), pos_weight)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert loss.item() == 0
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_labels_of_one_kind_alone_weigh_nothing_of_their_own_share(value: float) -> None:
    logits = torch.randn(4, requires_grad=True)
    # All positive: w = 0. All negative: 1 - w = 0.
    assert balanced_bce(logits, torch.full((4,), value), EVERYWHERE).item() == 0
    assert balanced_bce(logits, torch.full((4,), value), EVERYWHERE, 0.5).item() > 0


def test_far_from_zero_it_is_still_right() -> None:
    logits = torch.tensor([200.0, -200.0, 200.0, -200.0], requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0, 1.0])
    loss = balanced_bce(logits, target, EVERYWHERE, 0.9)
    (gradient,) = torch.autograd.grad(loss, logits)

    assert loss.item() == pytest.approx((0.1 * 200 + 0.9 * 200) / 4)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, 0.1 / 4, -0.9 / 4]))


def test_half_precision_logits_count_in_single_precision() -> None:
    # 100 000 positives are more than float16 can count to.
    logits = torch.zeros(200_000, dtype=torch.float16, requires_grad=True)
    target = (torch.arange(200_000) < 100_000).float()
    loss = balanced_bce(logits, target, torch.ones(200_000, dtype=torch.bool))

    assert loss.item() == pytest.approx(0.5 * math.log(2), rel=1e-3)
