"""Tiny models of three tasks, their batches, and clips cut out of videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.structures import PixelData
from torch import Tensor, nn

from mmmtl.datasets.clip import Clip
from mmmtl.models import MultiTaskSegmentor, VideoMultiTaskSegmentor
from mmmtl.registry import MODELS
from mmmtl.structures import MultiTaskDataSample
from mmmtl.tasks import build_tasks

TASKS = dict(
    semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c', 'd']),
    depth=dict(type='DepthEstimation', max_depth=10.0),
    normals=dict(type='SurfaceNormals'),
)
CHANNELS = 8
SIZE = (24, 32)
RIVALS = dict(
    dis=dict(type='FlowWarpNeck', flow=dict(type='DISFlow'), reduction=2),
    flownet=dict(type='FlowWarpNeck', flow=dict(type='FlowNetS', base_channels=2), multi_frame=True, reduction=2),
    svc=dict(type='SVCNeck', hidden_channels=4, kernel_size=3),
    svc_mf_ts=dict(type='SVCNeck', hidden_channels=4, kernel_size=5, multi_frame=True, task_specific=True),
    concat=dict(type='ConcatNeck'),
    concat_mf_ts=dict(type='ConcatNeck', multi_frame=True, task_specific=True, reduction=2),
    none=dict(type='NoPropagationNeck', task_specific=True, reduction=2),
)
"""Settings of `video_model`'s neck for other ways of propagation."""
NECKS = dict(
    ila={},
    ila_no_mf=dict(multi_frame=False),
    ila_no_ts=dict(task_specific=False),
    ila_no_mf_ts=dict(multi_frame=False, task_specific=False),
    ila_global=dict(window='global'),
    **RIVALS,
)
"""All of them, ILA's variants included."""


class TinyNet(nn.Module):
    """A backbone of two strided convolutions with batch norm: (N, 3, H, W) to one map of stride 4."""

    def __init__(self, *, hidden: int, channels: int = CHANNELS) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, hidden, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> tuple[Tensor]:
        assert len(images), 'a backbone was run on no images'
        return (self.layers(images),)


def scramble(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters and batch statistics: no norm is the identity, no bias is zero, no two tasks agree."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or name.startswith('data_preprocessor'):
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)
            fan_in = max(tensor[0].numel(), 1) if tensor.dim() > 1 else 4
            tensor.copy_(1 + 0.3 * noise.tanh() if name.endswith('running_var') else 2 * noise / fan_in**0.5)
    return model


def frozen(model: nn.Module) -> nn.Module:
    """In training mode, but without batch statistics and dropout."""
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def image_model(tasks: Mapping[str, Any] = TASKS, **changes: Any) -> MultiTaskSegmentor:
    """An image model with squeeze-excitation, scrambled, float64, in eval mode."""
    cfg: dict[str, Any] = dict(
        type='MultiTaskSegmentor',
        tasks=tasks,
        backbone=dict(type=TinyNet, hidden=6),
        neck=dict(type='TaskSqueezeExcitation', in_channels=(CHANNELS,), reduction=2),
        decode_head=dict(type='TaskConvHead', in_channels=(CHANNELS,), channels=(10, 6)),
    )
    return scramble(MODELS.build({**cfg, **changes})).double().eval()


def video_model(
    tasks: Mapping[str, Any] = TASKS,
    *,
    interval: int = 5,
    neck: Mapping[str, Any] | None = None,
    align: Mapping[str, Any] | None = None,
    **changes: Any,
) -> VideoMultiTaskSegmentor:
    """A MILA with an alignment loss, scrambled, float64, in eval mode."""
    ila = dict(type='ILANeck', attention_channels=4, reduction=2)
    cfg: dict[str, Any] = dict(
        type='VideoMultiTaskSegmentor',
        tasks=tasks,
        backbone=dict(type=TinyNet, hidden=6),
        fast_backbone=dict(type=TinyNet, hidden=4),
        neck={'in_channels': (CHANNELS,), **(ila if 'type' not in (neck or {}) else {}), **(neck or {})},
        decode_head=dict(type='TaskConvHead', in_channels=(CHANNELS,), channels=(10, 6)),
        align_loss={'type': 'AdversarialAlignLoss', 'in_channels': (CHANNELS,), 'hidden_channels': 5, **(align or {})},
        key_frame_policy=dict(type='FixedInterval', interval=interval),
    )
    return scramble(MODELS.build({**cfg, **changes})).double().eval()


def labels(size: Sequence[int] = SIZE, tasks: Sequence[str] = tuple(TASKS), seed: int = 0) -> PixelData:
    """Random maps of some of the tasks."""
    generator = torch.Generator().manual_seed(seed)
    normals = torch.randn(3, *size, generator=generator)
    maps = dict(
        semseg=torch.randint(0, 4, (1, *size), generator=generator),
        depth=torch.rand(1, *size, generator=generator) * 9 + 0.5,
        normals=normals / normals.norm(dim=0),
    )
    return PixelData(**{name: maps[name] for name in tasks})


def sample(*, size: Sequence[int] = SIZE, tasks: Sequence[str] = tuple(TASKS), seed: int = 0, **meta: Any) -> Any:
    """A data sample with labels for `tasks`."""
    metainfo = dict(img_path=f'{seed}.png', ori_shape=tuple(size), img_shape=tuple(size), **meta)
    return MultiTaskDataSample(metainfo=metainfo, gt=labels(size, tasks, seed))


def clip_samples(offsets: Sequence[int], **kwargs: Any) -> Any:
    """Data samples of clips."""
    return [sample(seed=row, offset=offset, **kwargs) for row, offset in enumerate(offsets)]


def pixels(*shape: int, seed: int = 0) -> Tensor:
    """Random float64 images."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clips(count: int, seed: int = 0, size: Sequence[int] = SIZE) -> Tensor:
    """Random clips (count, 3, 3, H, W)."""
    return pixels(count, 3, 3, *size, seed=seed)


def clip_at(video: Tensor, time: int, interval: int) -> tuple[Tensor, MultiTaskDataSample]:
    """The clip of frame `time` of a video (T, 3, H, W) that begins with a key frame.

    A frame that is not read is NaN. The current frame stands for a missing last non-key frame.
    """
    offset = time % interval
    slots = [0 if slot is not None and time + slot < 0 else slot for slot in Clip(interval=interval).slots(offset)]
    frames = [torch.full_like(video[0], float('nan')) if slot is None else video[time + slot] for slot in slots]
    return torch.stack(frames), sample(size=video.shape[-2:], seed=time, offset=offset, slots=tuple(slots))


def assert_same(got: Mapping[str, Tensor], expected: Mapping[str, Tensor], **tolerance: float) -> None:
    """Equal maps of equal names in equal order, and no NaN."""
    assert list(got) == list(expected)
    assert got
    for name in got:
        assert torch.isfinite(got[name]).all(), name
        torch.testing.assert_close(got[name], expected[name], msg=lambda m, n=name: f'{n}: {m}', **tolerance)


@pytest.fixture
def tiny() -> SimpleNamespace:
    """Builders of tiny models and batches, see the functions of this file."""
    return SimpleNamespace(
        CHANNELS=CHANNELS,
        SIZE=SIZE,
        TASKS={name: dict(cfg) for name, cfg in TASKS.items()},
        TinyNet=TinyNet,
        assert_same=assert_same,
        clip_at=clip_at,
        clip_samples=clip_samples,
        clips=clips,
        frozen=frozen,
        image_model=image_model,
        labels=labels,
        pixels=pixels,
        sample=sample,
        scramble=scramble,
        tasks=build_tasks(TASKS, 'the test'),
        video_model=video_model,
    )


@pytest.fixture(params=NECKS.values(), ids=NECKS)
def neck(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every way of propagation, for `video_model`."""
    return dict(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
