"""Losses of two processes are those of one process with both batches, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from mmmtl.models.losses import AdversarialAlignLoss, DistillationLoss
from mmmtl.registry import TASKS
from mmmtl.tasks import Task, build_tasks, masked_mean, sum_over_processes
from mmmtl.tasks.reduction import mean

CONFIGS: dict[str, dict[str, Any]] = {
    'depth': dict(type='DepthEstimation', max_depth=10.0, scale=3.0),
    'disparity': dict(type='DisparityEstimation'),
    'edges': dict(type='EdgeDetection', nms=False),
    'normals': dict(type='SurfaceNormals'),
    'saliency': dict(type='SaliencyDetection'),
    'semseg': dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
    'semseg_weighted': dict(type='SemanticSegmentation', classes=['a', 'b', 'c'], class_weights=[0.2, 3.0, 0.0]),
}
KINDS = {cfg['type'] for cfg in CONFIGS.values()}
ROWS = (slice(0, 1), slice(1, 4))
"""Rows of a batch of four that each of two processes has."""
LABELLED = {'sparsely': (0.05, 0.9, 0.5, 0.1), 'on one process': (0.0, 0.7, 0.0, 0.2), 'nowhere': (0.0,) * 4}
"""The share of labelled pixels in each row."""

Losses = dict[str, Tensor]


def batch(task: Task, shares: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, those of a teacher, and labels of four images."""
    generator = torch.Generator().manual_seed(0)
    logits, teacher, other = torch.randn(3, 4, task.out_channels, 6, 7, generator=generator, dtype=torch.float64)
    labelled = torch.rand(4, 6, 7, generator=generator) < torch.tensor(shares).view(4, 1, 1)
    target = task.decode(other)
    return logits, teacher, torch.where(labelled[:, None], target, torch.full_like(target, task.fill))


def losses_of_tasks(rows: slice) -> Losses:
    """Every loss of every task, and the gradient of a weight that all rows share."""
    found = {}
    for how, shares in LABELLED.items():
        for name, task in build_tasks(CONFIGS, 'the test').items():
            logits, teacher, target = (maps[rows] for maps in batch(task, shares))
            weight = torch.ones(task.out_channels, 1, 1, dtype=torch.float64, requires_grad=True)
            own = {**task.loss(weight * logits, target), 'imitate': task.imitate(weight * logits, teacher)}
            generator = torch.Generator().manual_seed(1)
            in_space = torch.randn(4, task.label_space_size, 6, 7, generator=generator, dtype=torch.float64)[rows]
            own['label_space'] = task.label_space_loss(weight.sum() * in_space, target)['loss_ce']
            for kind, loss in own.items():
                (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
                found[f'{name}.{kind} labelled {how}'] = loss.detach()
                found[f'gradient of {name}.{kind} labelled {how}'] = gradient
    return found


def losses_of_features(rows: slice) -> Losses:
    """The losses of alignment and distillation, and their gradients; `rows` may be empty."""
    generator = torch.Generator().manual_seed(0)
    slow, fast = torch.randn(2, 4, 5, 3, 4, generator=generator, dtype=torch.float64)
    found: Losses = {}

    def add(prefix: str, module: torch.nn.Module, losses: Losses) -> None:
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        found.update({f'{prefix} {name}': value.detach() for name, value in losses.items()})
        grads = {f'gradient of {prefix} {name}': value.grad for name, value in module.named_parameters()}
        assert all(value is not None for value in grads.values())
        found.update(grads)

    for mode in ('grl', 'alternating'):
        torch.manual_seed(0)
        align = AdversarialAlignLoss(in_channels=(5,), hidden_channels=4, mode=mode, detach_slow=False).double()
        weight = align.weight = torch.nn.Parameter(torch.ones(5, 1, 1, dtype=torch.float64))
        add(mode, align, align(weight * slow[rows], weight * fast[rows]).named())
    torch.manual_seed(0)
    tasks = {'semseg': build_tasks(CONFIGS, 'the test')['semseg']}
    distill = DistillationLoss(tasks=tasks, student_channels=(5,), teacher_channels=(5,), temperature=2.0).double()
    logits = torch.randn(2, 4, 3, 3, 4, generator=generator, dtype=torch.float64)
    own, other = ({'semseg': [maps[rows]]} for maps in (slow, fast))
    add('distill', distill, distill(own, {'semseg': logits[0, rows]}, other, {'semseg': logits[1, rows]}))
    return found


@pytest.mark.parametrize('losses', [losses_of_tasks, losses_of_features])
def test_two_processes_have_the_losses_of_one(
    in_processes: Callable[..., list[Losses]], losses: Callable[[slice], Losses]
) -> None:
    one = losses(slice(0, 4))
    two = in_processes(lambda rank: losses(ROWS[rank]))
    assert len(one) > 10
    for name, expected in one.items():
        got = [found[name] for found in two]
        if name.startswith('gradient'):
            got = [sum(got) / 2]  # as DistributedDataParallel does
        for value in got:
            torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14, msg=lambda m, n=name: f'{n}: {m}')


def test_no_kind_of_task_is_missing() -> None:
    ours = {name for name, kind in TASKS.module_dict.items() if kind.__module__.startswith('mmmtl.')}
    assert ours == KINDS


def test_features_that_one_process_lacks(in_processes: Callable[..., list[Losses]]) -> None:
    def align(rows: slice) -> Losses:
        features = torch.arange(4.0).view(4, 1, 1, 1)[rows]
        torch.manual_seed(0)
        return AdversarialAlignLoss(in_channels=(1,))(features, -features).named()

    alone, two = align(slice(0, 4)), in_processes(lambda rank: align(slice(0, 4 * rank)))
    assert two[0].keys() == two[1].keys() == alone.keys()
    for found in two:
        for name, value in found.items():
            torch.testing.assert_close(value.detach(), alone[name].detach())
    nowhere = in_processes(lambda rank: align(slice(0, 0)))
    assert [{name: value.item() for name, value in found.items()} for found in nowhere] == 2 * [
        {'loss_l1': 0, 'loss_adversarial': 0}
    ]


def test_sums_keep_their_types_and_large_counts(in_processes: Callable[..., list[Any]]) -> None:
    parts = (torch.tensor(0.5), torch.tensor(2**30 + 1), torch.tensor(0.25, dtype=torch.float64))
    for sums in in_processes(lambda rank: sum_over_processes(*parts)):
        assert [value.dtype for value in sums] == [torch.float32, torch.int64, torch.float64]
        assert [value.item() for value in sums] == [1.0, 2**31 + 2, 0.5]


def test_one_process_gets_its_own_parts_back() -> None:
    parts = (torch.tensor(0.5), torch.tensor(3))
    assert all(a is b for a, b in zip(sum_over_processes(*parts), parts, strict=True))
    values = torch.randn(3, 5, 7)
    mask = values > 0
    assert mean(values).item() == values.mean().item()
    assert masked_mean(values, mask).item() == (values.where(mask, 0 * values).sum() / mask.sum()).item()


def test_all_pixels_of_the_rows_with_labels_weigh_the_same(in_processes: Callable[..., list[Any]]) -> None:
    """By hand: errors of 1 at one pixel and 3 at three pixels are 10 / 4 on average, not (1 + 3) / 2."""
    (task,) = build_tasks({'depth': CONFIGS['depth']}, 'the test').values()

    def loss(rank: int) -> tuple[float, float]:
        logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
        target = F.pad(torch.full((1, 1, 1, 1 + 2 * rank), 1.0 + 2 * rank), (0, 3 - 2 * rank))
        value = task.loss(logits, target)['loss_l1']
        value.backward()
        return value.item(), logits.grad.sum().item()

    (first, one), (second, three) = in_processes(loss)
    assert first == second == 2.5
    # Each pixel has the gradient -3 / 4, times two, since DistributedDataParallel halves it.
    assert (one, three) == (-1.5, -4.5)
