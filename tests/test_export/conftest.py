"""A tiny video model of every kind of decoding, exported once, and frames."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmmtl.apis import MultiTaskInferencer
from mmmtl.export import export_model
from mmmtl.registry import MODELS

SIZE = (32, 48)
RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from onnx_stream import OnnxStream

stream, state, found = OnnxStream(sys.argv[1], threads=1), None, {}
for number, frame in enumerate(np.load(sys.argv[2])):
    maps, is_key, state = stream.step(frame, state)
    found |= {f'{number}.{task}': array for task, array in maps.items()} | {f'{number}.is_key': is_key}
np.savez(sys.argv[3], **found)
"""
"""A program without mmmtl: it runs the exported model of a folder on the frames of a file, and writes the maps."""


@MODELS.register_module()
class TwoConvs(nn.Module):
    """A backbone of two convolutions, of stride 4; tracing a larger one takes long."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        first, second = nn.Conv2d(3, channels, 5, stride=4, padding=2), nn.Conv2d(channels, channels, 1)
        self.layers = nn.Sequential(
            *(first, nn.BatchNorm2d(channels), nn.ReLU()), *(second, nn.BatchNorm2d(channels), nn.ReLU6())
        )

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.layers(images),)


VIDEO: dict[str, Any] = dict(
    default_scope='mmmtl',
    tasks=dict(
        semseg=dict(type='SemanticSegmentation', classes=['a', 'b', 'c']),
        depth=dict(type='DepthEstimation', max_depth=10.0, scale=3.0),
    ),
    model=dict(
        type='VideoMultiTaskSegmentor',
        backbone=dict(type='TwoConvs'),
        fast_backbone=dict(type='TwoConvs'),
        neck=dict(type='ILANeck', attention_channels=4, window=3, reduction=2, task_specific=False),
        decode_head=dict(type='TaskConvHead', channels=(4, 4)),
        key_frame_policy=dict(type='FixedInterval', interval=3),
    ),
)
IMAGE: dict[str, Any] = {
    **VIDEO,
    'tasks': dict(disparity=dict(type='DisparityEstimation'), edges=dict(type='EdgeDetection')),
    'model': dict(
        type='MultiTaskSegmentor',
        backbone=dict(type='TwoConvs'),
        decode_head=dict(type='TaskConvHead', channels=(4, 4)),
        data_preprocessor=dict(size_divisor=16),
    ),
}


def make(config: dict[str, Any], size: tuple[int, int] | str = 'letterbox', **model: Any) -> MultiTaskInferencer:
    """A model with random weights whose tasks and memories all matter."""
    cfg = Config({**config, 'model': {**config['model'], **model}})
    resize = dict(type='Resize', size=SIZE)
    cfg.test_dataloader = dict(dataset=dict(pipeline=[resize]))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        inferencer = MultiTaskInferencer(cfg, device='cpu', size=size)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in inferencer.model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(0.5 + noise if name.endswith('running_var') else noise - 0.4)
    return inferencer


def moving(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """Frames (H, W, 3) of a pattern that moves, smooth enough to be resized."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = [
        np.stack([np.sin(x / 7 + t), np.cos(y / 5 - t / 2), np.sin((x + y) / 9 + t / 3)], -1)
        for t in np.arange(count) / 5
    ]
    return [(127 + 120 * wave).astype(np.uint8) for wave in waves]


@pytest.fixture(scope='session')
def video() -> MultiTaskInferencer:
    return make(VIDEO)


@pytest.fixture(scope='session')
def exported(video: MultiTaskInferencer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the exported video model, in both formats."""
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    folder = tmp_path_factory.mktemp('export') / 'video'
    export_model(video, folder, moving(7), name='tiny', formats=('onnx',))
    return folder
