"""Models on two processes: losses and gradients of one process with both batches, without batch statistics."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from torch import Tensor, nn

from mmmtl.engine.processes import check_synced_norms
from mmmtl.models import MultiTaskSegmentor
from mmmtl.registry import MODELS

OFFSETS = (0, 1, 3, 2)
"""The first process has a key frame alone, so it aligns nothing."""
ROWS = ([0], [1, 2, 3])
LABELLED = (('depth',), ('semseg', 'depth', 'normals'), (), ('semseg',))
"""Nobody labels normals on the first process."""


def image_model(tiny) -> MultiTaskSegmentor:
    return tiny.image_model()


def with_preliminary(tiny) -> MultiTaskSegmentor:
    """Preliminary predictions."""
    head = dict(type='PADNetHead', in_channels=(8,), channels=6, exchange=dict(type='SpatialAttention'))
    return tiny.image_model(neck=None, decode_head=head)


def with_label_space(tiny) -> MultiTaskSegmentor:
    """Predictions in label spaces."""
    return tiny.image_model(neck=None, decode_head=dict(type='ATRCHead', in_channels=(8,), contexts='target_label'))


def student(tiny) -> MultiTaskSegmentor:
    net = dict(
        backbone=dict(type=tiny.TinyNet, hidden=6),
        decode_head=dict(type='TaskConvHead', in_channels=(8,), channels=(10, 6)),
    )
    teacher = dict(model=dict(type='MultiTaskSegmentor', **net), checkpoint='none')
    cfg = dict(type='StudentSegmentor', tasks=tiny.TASKS, teacher=teacher, distillation=dict(type='DistillationLoss'))
    model = tiny.scramble(MODELS.build({**cfg, **net}))
    model.set_teacher(tiny.scramble(model.new_teacher(), seed=1))
    return model.double()


def video(tiny) -> MultiTaskSegmentor:
    return tiny.video_model()


def one_step(
    tiny, build: Callable[[Any], MultiTaskSegmentor], rows: Sequence[int], parallel: bool
) -> dict[str, Tensor]:
    """Return losses and gradients of some rows of a batch."""
    model = tiny.frozen(build(tiny))
    if model.has_key_frames:
        inputs, samples = tiny.clips(4), tiny.clip_samples(OFFSETS)
    else:
        inputs, samples = tiny.pixels(4, 3, *tiny.SIZE), [tiny.sample(seed=row) for row in range(4)]
    for row, tasks in enumerate(LABELLED):
        samples[row].gt = tiny.labels(tasks=tasks, seed=row)
    wrapped = MMDistributedDataParallel(model, find_unused_parameters=True) if parallel else model
    losses = wrapped(inputs[list(rows)], [samples[row] for row in rows], mode='loss')
    total, logged = model.parse_losses(losses)
    total.backward()
    grads = {f'gradient of {name}': value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {**{name: value.detach() for name, value in logged.items()}, **grads}


@pytest.mark.parametrize(
    'build',
    [
        image_model,
        with_label_space,
        video,
        *(pytest.param(b, marks=pytest.mark.slow) for b in (with_preliminary, student)),
    ],
)
def test_two_processes_train_as_one(
    tiny, in_processes: Callable[..., list[dict[str, Tensor]]], build: Callable[[Any], MultiTaskSegmentor]
) -> None:
    alone = one_step(tiny, build, range(4), parallel=False)
    assert len(alone) > 20
    for found in in_processes(lambda rank: one_step(tiny, build, ROWS[rank], parallel=True)):
        assert alone.keys() <= found.keys()
        for name, value in found.items():
            expected = alone.get(name, torch.zeros_like(value))
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12, msg=lambda m, n=name: f'{n}: {m}')


def test_every_process_stops_at_a_loss_that_is_not_finite(tiny, in_processes: Callable[..., list[str]]) -> None:
    def message(rank: int) -> str:
        images = tiny.pixels(1, 3, *tiny.SIZE) * (float('nan') if rank else 1.0)
        with pytest.raises(FloatingPointError) as error:
            tiny.image_model()(images, [tiny.sample(seed=rank)], mode='loss')
        return str(error.value)

    for rank, text in enumerate(in_processes(message)):
        assert text.startswith('semseg.loss_ce, depth.loss_l1, normals.loss_l1 is not finite')
        assert f"['{rank}.png'] on this process" in text


SVC = dict(type='SVCNeck', hidden_channels=4)


@pytest.mark.parametrize(
    ('neck', 'synced', 'expected'),
    [
        (SVC, 'fast_backbone', r'model\.fast_backbone .* SVCNeck .* only key frames '),
        (SVC, 'backbone', ''),
        ({**SVC, 'multi_frame': True}, 'fast_backbone', ''),
        (dict(type='NoPropagationNeck'), 'backbone', r'model\.backbone .* NoPropagationNeck .* no key frame '),
    ],
)
def test_norms_for_which_processes_would_wait_are_refused(
    tiny, in_processes: Callable[..., list[Any]], neck: dict[str, Any], synced: str, expected: str
) -> None:
    def check(rank: int) -> str:
        model = tiny.video_model(neck=neck)
        nn.SyncBatchNorm.convert_sync_batchnorm(getattr(model, synced))
        try:
            check_synced_norms(model)
        except ValueError as error:
            return str(error)
        return ''

    for message in in_processes(check):
        assert re.search(expected, message) if expected else message == ''


def test_frozen_norms_wait_for_nobody(tiny, in_processes: Callable[..., list[Any]]) -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> nn.Sequential:
            return super().train(False)

    def check(rank: int) -> None:
        model = tiny.video_model(neck=SVC)
        model.fast_backbone = Frozen(nn.SyncBatchNorm(3))
        check_synced_norms(model)

    assert in_processes(check) == [None, None]
