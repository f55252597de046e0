"""Contracts of every decode head and every neck: shapes, gradients, rows, order of tasks, bfloat16, state dicts."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmmtl.models.decode_heads import DecodeHead
from mmmtl.models.decode_heads.atrc import CONTEXTS
from mmmtl.models.flow import FlowNetS
from mmmtl.models.necks import PropagatingNeck
from mmmtl.registry import MODELS
from mmmtl.tasks import Task

WIDTHS = (12, 24)
SIZES = ((7, 9), (4, 5))
CHANNELS = 8
TASKS = ('semseg', 'depth', 'normals')
MIXED = dict(
    semseg=dict(semseg='global', depth='target_label', normals='none'),
    depth=dict(semseg='source_label', depth='local', normals='global'),
    normals=dict(semseg='none', depth='none', normals='none'),
)
SCA = dict(type='SCAHead', fpma=dict(type='FPMA'), ctam=dict(type='CTAM'), csam=dict(type='CSAM'))
RELEASED = dict(
    SCA,
    fpma=dict(type='FPMA', mask_axis='adjacent', padding='zero'),
    ctam=dict(type='CTAM', fusion='basic_block', shared_fusion=True, query_convs=2),
    csam=dict(type='CSAM', source='ctam', query_convs=2),
    fpma_entry='input',
    hidden_channels='input',
    upsample_first=True,
)
MTI = dict(
    type='MTINetHead', propagation=dict(type='FPM', mask_axis='adjacent'), exchange=dict(type='SpatialAttention')
)
HEADS: dict[str, dict[str, Any]] = {
    'convolutions': dict(type='TaskConvHead', channels=(10, 5)),
    'multi-scale': dict(type='MultiScaleHead'),
    'sca': SCA,
    'sca without csam': dict(SCA, csam=None),
    'sca without any': dict(SCA, csam=None, ctam=None, fpma=None),
    'sca released': RELEASED,
    'mti-net': MTI,
    'pad-net': dict(type='PADNetHead', channels=16, exchange=dict(type='SpatialAttention')),
    'pad-net with ctam': dict(type='PADNetHead', channels=16, exchange=dict(type='CTAM')),
    **{f'atrc {kind}': dict(type='ATRCHead', contexts=kind) for kind in CONTEXTS[1:]},
    'atrc mixed': dict(type='ATRCHead', contexts=MIXED),
    'atrc search': dict(type='ATRCSearchHead', channels=16),
}
IMAGE_NECKS: dict[str, dict[str, Any]] = {
    'se': dict(type='TaskSqueezeExcitation', in_channels=WIDTHS[:1], reduction=2),
    'self-attention': dict(type='SelfAttentionNeck', in_channels=WIDTHS),
    'self-attention, zero': dict(type='SelfAttentionNeck', in_channels=WIDTHS, num_heads=3, padding='zero'),
}
VIDEO_NECKS: dict[str, dict[str, Any]] = {
    'ila': dict(type='ILANeck', attention_channels=4, reduction=2),
    'ila shared': dict(type='ILANeck', attention_channels=4, reduction=2, multi_frame=False, task_specific=False),
    'ila global': dict(type='ILANeck', attention_channels=4, reduction=2, window='global'),
    'dis': dict(type='FlowWarpNeck', flow=dict(type='DISFlow'), reduction=2),
    'flownet': dict(type='FlowWarpNeck', flow=dict(type='FlowNetS', base_channels=2), multi_frame=True, reduction=2),
    'svc': dict(type='SVCNeck', hidden_channels=4, kernel_size=3, multi_frame=True, task_specific=True),
    'concat': dict(type='ConcatNeck', multi_frame=True, task_specific=True, reduction=2),
    'none': dict(type='NoPropagationNeck', task_specific=True, reduction=2),
}


class Pyramid(nn.Module):
    """A backbone that only resizes: images of `sum(WIDTHS)` channels to maps of all scales."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        parts = images.split(WIDTHS, dim=1)
        return tuple(nn.functional.adaptive_avg_pool2d(p, size) for p, size in zip(parts, SIZES, strict=True))


@dataclass
class Case:
    """A module, random inputs, and a function that returns its outputs as {name: tensor}."""

    build: Callable[[Mapping[str, Task]], nn.Module]
    inputs: list[Tensor]
    run: Callable[[nn.Module, Sequence[Tensor]], dict[str, Tensor]]


def run_head(head: nn.Module, maps: Sequence[Tensor]) -> dict[str, Tensor]:
    assert isinstance(head, DecodeHead)
    output = head(maps)
    found = {f'{prefix}{n}': value for prefix, part in output.predictions().items() for n, value in part.items()}
    found |= {f'features.{i}.{n}': map_ for n, own in output.features.items() for i, map_ in enumerate(own)}
    found |= {f'label_space.{n}': value for n, value in output.label_space.items()}
    return found | {n: value for n, value in output.losses.items() if 'loss' in n}


def run_image_neck(neck: nn.Module, maps: Sequence[Tensor]) -> dict[str, Tensor]:
    out = neck(maps[: 1 if hasattr(neck, 'excite') else None])
    named = out if isinstance(out, Mapping) else {'shared': out}
    return {f'{name}.{i}': map_ for name, own in named.items() for i, map_ in enumerate(own)}


def run_video_neck(neck: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return slots; the inputs are features and images of the current frame, the key frame and the other."""
    assert isinstance(neck, PropagatingNeck)
    memories = [neck.remember(*inputs[i : i + 2]) for i in (0, 2, 4)]
    slots = neck(*memories)
    assert {len(own) for own in slots.values()} == {neck.num_slots}
    return {f'{name}.{i}': slot for name, own in slots.items() for i, slot in enumerate(own) if slot is not None}


@pytest.fixture(params=[*HEADS, *IMAGE_NECKS, *VIDEO_NECKS])
def case(request: pytest.FixtureRequest, tiny) -> Case:
    name = request.param
    maps = [tiny.pixels(2, c, *size, seed=i) for i, (c, size) in enumerate(zip(WIDTHS, SIZES, strict=True))]
    if name in HEADS:
        plain = name == 'convolutions'
        cfg = {**HEADS[name], 'in_channels': WIDTHS[:1] if plain else WIDTHS}
        return Case(lambda tasks: MODELS.build({**cfg, 'tasks': tasks}), maps[:1] if plain else maps, run_head)
    if name in IMAGE_NECKS:
        return Case(lambda tasks: MODELS.build({**IMAGE_NECKS[name], 'tasks': tasks}), maps, run_image_neck)
    frames = [tiny.pixels(2, *shape, seed=i) for i in range(3) for shape in ((CHANNELS, 6, 8), (3, 24, 32))]
    cfg = {**VIDEO_NECKS[name], 'in_channels': (CHANNELS,)}
    return Case(lambda tasks: MODELS.build({**cfg, 'tasks': tasks}), frames, run_video_neck)


def make(tiny, case: Case, names: Sequence[str] = TASKS, seed: int = 0) -> nn.Module:
    module = tiny.scramble(case.build({name: tiny.tasks[name] for name in names}), seed)
    for part in module.modules():
        if isinstance(part, FlowNetS):  # whose random flows would leave the image
            for parameter in part.predict.parameters():
                parameter.data *= 0.02
    return module.double().eval()


def test_shapes_and_rows(tiny, case: Case) -> None:
    module = make(tiny, case)
    with torch.no_grad():
        out = case.run(module, case.inputs)
        rows = [case.run(module, [x[i : i + 1] for x in case.inputs]) for i in range(2)]
    tiny.assert_same({name: torch.cat([row[name] for row in rows]) for name in out}, out)
    if not isinstance(module, DecodeHead):
        return
    size = SIZES[0]
    assert {name: tuple(out[name].shape) for name in TASKS} == {
        name: (2, tiny.tasks[name].out_channels, *size) for name in TASKS
    }
    widths = [[v.shape[1] for n, v in out.items() if n.startswith('features.') and n.endswith(t)] for t in TASKS]
    assert widths == [list(module.feature_channels)] * len(TASKS)
    assert len(out) == len(TASKS) * (1 + len(module.feature_channels)), 'the rest is for training alone'


@pytest.mark.parametrize('names', [TASKS[:1], TASKS], ids=len)
def test_every_parameter_gets_a_gradient(tiny, case: Case, names: Sequence[str]) -> None:
    module = make(tiny, case, names).train()
    out = case.run(module, case.inputs)
    parameters = dict(module.named_parameters())
    # Some necks have nothing to learn.
    if parameters:
        sum(value.square().mean() if value.dim() else value for value in out.values()).backward()
    grads = {name: parameter.grad for name, parameter in parameters.items()}
    assert not [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()]
    # A bias before a norm has a gradient of zero, as has a constant before a softmax.
    assert not [name for name, grad in grads.items() if name.endswith('conv.weight') and not grad.any()]


def test_a_state_dict_comes_back(tiny, case: Case) -> None:
    first, second = make(tiny, case), make(tiny, case, seed=1)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        expected, got = (case.run(module, case.inputs) for module in (first, second))
    tiny.assert_same(got, expected, rtol=0, atol=0)


def test_bfloat16_stays_near(tiny, case: Case) -> None:
    module = make(tiny, case).float()
    with torch.no_grad():
        expected = case.run(module, [x.float() for x in case.inputs])
        with torch.autocast('cpu', dtype=torch.bfloat16):
            mixed = case.run(module, [x.float() for x in case.inputs])
        low = case.run(module.bfloat16(), [x.bfloat16() for x in case.inputs])
    for name, value in expected.items():
        for other in (mixed[name], low[name]):
            assert (other.float() - value).norm() <= 0.25 * value.norm(), name


@pytest.mark.parametrize('name', HEADS)
def test_permuted_tasks_are_permuted_outputs(tiny, name: str) -> None:
    """The same weights at the beginning, losses and predictions, to the last bit."""
    cfg = {**HEADS[name], 'in_channels': WIDTHS[:1] if name == 'convolutions' else WIDTHS}
    images, models = tiny.pixels(2, sum(WIDTHS), 14, 18).float(), []
    for names in (TASKS, ('normals', 'semseg', 'depth')):
        torch.manual_seed(0)
        backbone = dict(type=First if name == 'convolutions' else Pyramid)
        tasks = {task: tiny.TASKS[task] for task in names}
        models.append(MODELS.build(dict(type='MultiTaskSegmentor', tasks=tasks, backbone=backbone, decode_head=cfg)))
        models[-1].init_weights()
    tiny.assert_same(models[1].state_dict(), models[0].state_dict(), rtol=0, atol=0)
    results = []
    for model in models:
        tiny.scramble(model).train()
        torch.manual_seed(0)
        losses = model(images, [tiny.sample(size=(14, 18), seed=seed) for seed in range(2)], mode='loss')
        with torch.no_grad():
            results.append((losses, model.eval()(images)))
    for first, second in zip(*results, strict=True):
        tiny.assert_same({key: second[key] for key in first}, first, rtol=0, atol=0)


class First(Pyramid):
    """The finest map alone."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return super().forward(images)[:1]


@pytest.mark.parametrize('name', HEADS)
def test_the_norm_of_the_config_reaches_all_parts_of_a_head(tiny, name: str) -> None:
    cfg = dict(HEADS[name], tasks=tiny.tasks, in_channels=WIDTHS[:1] if name == 'convolutions' else WIDTHS)
    for changes, expected in (({}, 0.1), (dict(norm_cfg=dict(type='BN', momentum=0.7)), 0.7)):
        norms = [part for part in MODELS.build({**cfg, **changes}).modules() if isinstance(part, nn.BatchNorm2d)]
        assert {norm.momentum for norm in norms} == {expected}
