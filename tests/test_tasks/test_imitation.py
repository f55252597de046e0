"""The distillation losses of the tasks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmmtl.tasks import build_tasks
from mmmtl.tasks.imitation import imitate_binary, imitate_classes

LN3 = math.log(3)


def logits(*values: float) -> Tensor:
    """One pixel with these logits, (1, C, 1, 1), float64."""
    return torch.tensor(values, dtype=torch.float64)[None, :, None, None]


def random(channels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(2, channels, 3, 4, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize('temperature', [1.0, 2.0, 5.0])
def test_classes_by_hand(temperature: float) -> None:
    # Softened, the student has 1/4 and 3/4, the teacher 3/4 and 1/4.
    student, teacher = temperature * logits(7, 7 + LN3), temperature * logits(LN3, 0)
    expected = temperature**2 * (0.75 * math.log(0.75 / 0.25) + 0.25 * math.log(0.25 / 0.75))

    torch.testing.assert_close(imitate_classes(student, teacher, temperature).item(), expected)
    # Averaged over the pixels: a second one that agrees halves it.
    two = (torch.cat([a, teacher], dim=3) for a in (student, teacher))
    torch.testing.assert_close(imitate_classes(*two, temperature).item(), expected / 2)


@pytest.mark.parametrize('temperature', [1.0, 3.0])
def test_binary_is_that_of_two_classes(temperature: float) -> None:
    student, teacher = random(1, 0), random(1, 1)
    as_classes = (torch.cat([torch.zeros_like(x), x], dim=1) for x in (student, teacher))

    expected = imitate_classes(*as_classes, temperature)
    torch.testing.assert_close(imitate_binary(student, teacher, temperature), expected)


@pytest.mark.parametrize(('function', 'channels'), [(imitate_classes, 4), (imitate_binary, 1)])
def test_divergences(function, channels: int) -> None:
    student, teacher = random(channels, 0).requires_grad_(), random(channels, 1)

    assert function(student, teacher, 2.0) > 0
    assert abs(function(teacher, teacher, 2.0).item()) < 1e-14
    assert torch.autograd.gradcheck(lambda x: function(x, teacher, 2.0), student)
    # Logits far out give no NaN.
    assert function(1e4 * student, -1e4 * teacher).isfinite()


def test_depth_takes_the_teacher_for_the_label() -> None:
    task = build_tasks({'depth': dict(type='DepthEstimation', max_depth=10.0, scale=2.0)}, 'the test')['depth']
    student, teacher = (torch.tensor(v)[None, None, None] for v in ([2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 7.0, -1.0]))

    # Metres of the student: 4, 6, 8, 10; of the teacher: 2, 6, 10 (cut off), and none.
    assert task.imitate(student, teacher).item() == pytest.approx((2 + 0 + 2) / 3)


def test_temperature_reaches_the_classes() -> None:
    task = build_tasks({'s': dict(type='SemanticSegmentation', classes=['a', 'b', 'c'])}, 'the test')['s']
    student, teacher = random(3, 0), random(3, 1)

    for temperature in (1.0, 4.0):
        expected = imitate_classes(student, teacher, temperature)
        assert task.imitate(student, teacher, temperature=temperature) == expected
