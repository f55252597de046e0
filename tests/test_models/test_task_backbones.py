"""Properties of every backbone with features for each task: names, sizes, gradients, the whole model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmmtl.models.backbones import TaskBackbone
from mmmtl.registry import MODELS

WIDTHS = (2, 3, 4, 5)
BACKBONES = dict(
    resnet=dict(
        type='AlignedBackbone',
        backbone=dict(
            type='mmseg.ResNet',
            depth=18,
            stem_channels=4,
            base_channels=2,
            strides=(1, 2, 1, 1),
            dilations=(1, 1, 2, 4),
            out_indices=(3,),
        ),
        channels=4,
    ),
    hrnet=dict(
        type='mmseg.HRNet',
        extra=dict(
            stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(2,), num_channels=(2,)),
            stage2=dict(num_modules=1, num_branches=2, block='BASIC', num_blocks=(1,) * 2, num_channels=WIDTHS[:2]),
            stage3=dict(num_modules=1, num_branches=3, block='BASIC', num_blocks=(1,) * 3, num_channels=WIDTHS[:3]),
            stage4=dict(num_modules=1, num_branches=4, block='BASIC', num_blocks=(1,) * 4, num_channels=WIDTHS),
        ),
    ),
    segnet=dict(type='SegNet', channels=(4, 5, 6), depths=(2, 1, 3)),
)
METHODS = [dict(type='CrossStitchBackbone'), dict(type='NDDRBackbone'), dict(type='MTANBackbone')]
METHODS.append(dict(type='MTANBackbone', reduction=4, refine='bottleneck'))

every = pytest.mark.parametrize(
    ('method', 'name'),
    [(method, name) for method in METHODS for name in BACKBONES],
    ids=lambda value: value if isinstance(value, str) else '-'.join(map(str, value.values())),
)


def build(tiny, method: dict[str, Any], name: str, tasks=('semseg', 'depth', 'normals')) -> TaskBackbone:
    cfg = dict(backbone=BACKBONES[name], tasks={task: tiny.tasks[task] for task in tasks}, **method)
    return tiny.scramble(MODELS.build(cfg)).double().eval()


@every
def test_tasks_are_known_by_their_names(tiny, method, name) -> None:
    net = build(tiny, method, name)
    turned = build(tiny, method, name, tasks=('normals', 'semseg', 'depth'))
    turned.load_state_dict(net.state_dict())
    images = tiny.pixels(2, 3, 32, 48)
    with torch.no_grad():
        expected, found = net(images), turned(images)
    assert list(found) == ['normals', 'semseg', 'depth']
    for task in expected:
        assert len(found[task]) == len(expected[task]) == (4 if name == 'hrnet' else 1)
        for a, b in zip(found[task], expected[task], strict=True):
            torch.testing.assert_close(a, b)
    assert not torch.allclose(expected['semseg'][0], expected['depth'][0])


@every
def test_a_batch_is_its_rows(tiny, method, name) -> None:
    net, images = build(tiny, method, name), tiny.pixels(2, 3, 61, 83)
    with torch.no_grad():
        both, first, second = net(images), net(images[:1]), net(images[1:])
    for task, maps in both.items():
        for whole, *rows in zip(maps, first[task], second[task], strict=True):
            assert whole.isfinite().all()
            torch.testing.assert_close(whole, torch.cat(rows))


@every
@pytest.mark.parametrize('tasks', [('depth',), ('semseg', 'depth', 'normals')], ids=len)
def test_the_whole_model_learns_at_an_odd_size(tiny, method, name, tasks) -> None:
    head = dict(type='MultiScaleHead') if name == 'hrnet' else dict(type='TaskConvHead', channels=(6, 5))
    model = tiny.image_model(
        {task: tiny.TASKS[task] for task in tasks},
        backbone=BACKBONES[name],
        task_backbone=method,
        neck=None,
        decode_head=head,
    ).train()
    samples = [tiny.sample(size=(61, 83), seed=seed, tasks=tasks) for seed in range(2)]
    losses = model(tiny.pixels(2, 3, 61, 83), samples, mode='loss')
    sum(losses.values()).backward()
    assert {key.partition('.')[0] for key in losses} == set(tasks)
    lacking = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not lacking
    # Small layers may be dead, but not a whole part of the backbone.
    parts = [part for child in model.backbone.children() for part in child.children()]
    assert parts and all(any(p.grad.any() for p in part.parameters()) for part in parts if list(part.parameters()))


@pytest.mark.parametrize('method', METHODS[:3], ids=lambda m: m['type'])
def test_an_unknown_backbone_is_refused(tiny, method) -> None:
    with pytest.raises(ValueError, match='stages of TinyNet are not known'):
        MODELS.build(dict(method, tasks=tiny.tasks, backbone=dict(type=tiny.TinyNet, hidden=4)))


def test_parts_that_read_shared_maps_are_refused(tiny) -> None:
    cfg = dict(type='MultiTaskSegmentor', tasks=tiny.TASKS, backbone=BACKBONES['segnet'])
    split = dict(task_backbone=dict(type='CrossStitchBackbone'))
    gate = dict(neck=dict(type='TaskSqueezeExcitation', reduction=1))
    with pytest.raises(ValueError, match=r'model\.neck \(TaskSqueezeExcitation\).*task_backbone'):
        MODELS.build(dict(cfg, **split, **gate, decode_head=dict(type='MultiScaleHead')))
    for parts in (split, gate):
        model = MODELS.build(dict(cfg, **parts, decode_head=dict(type='PADNetHead', channels=4, exchange=None)))
        with pytest.raises(ValueError, match=r"PADNetHead .*\['depth', 'normals', 'semseg'\].*task_backbone or neck"):
            model(torch.zeros(1, 3, 32, 32))
