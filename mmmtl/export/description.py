"""The description of a model, which its exported files carry: sizes, tasks, units, normalisation, key frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmmtl.apis.fitting import MEAN_COLOUR, Size
from mmmtl.checkpoint import digest_model
from mmmtl.models import MultiTaskSegmentor
from mmmtl.tasks import Task
from mmmtl.version import __version__

from .graphs import FrameGraph
from .onnx_stream import DECODERS, VERSION, wrong_field


def describe(
    model: MultiTaskSegmentor, name: str, graphs: Sequence[FrameGraph], size: Size, *, dynamic_size: bool
) -> dict[str, Any]:
    """Return what `OnnxStream` must know of a model, for JSON, but for the `kind` of each graph.

    Raises:
        ValueError: a task or a key-frame policy that only mmmtl can decode or follow, memory of an unknown shape, or a
            setting that is infinite.
    """
    decodings = {task: one.decoding() for task, one in model.main_tasks.items()}
    if unknown := [task for task, decoding in decodings.items() if decoding is None]:
        raise ValueError(
            f'{name}: the tasks {unknown} have no `decoding`, so others could not get their maps; describe them in '
            '`Task.decoding` (docs/export.md), or export only the other tasks (--tasks)'
        )
    policy = model.key_frame_policy.rule() if model.has_key_frames else None
    if model.has_key_frames and policy is None:
        raise ValueError(
            f'{name}: {type(model.key_frame_policy).__name__} has no `rule`, so others could not choose key frames'
        )
    preprocessor = model.data_preprocessor
    kinds = [graph.kind for graph in graphs]
    sizes = [size, (2 * size[0] + 37, 2 * size[1] + 53)] if dynamic_size else [size]
    description = {
        'version': VERSION,
        'kinds': kinds,
        'size': list(size),
        'dynamic_size': dynamic_size,
        'size_divisor': preprocessor.size_divisor,
        'mean': preprocessor.mean.flatten().tolist(),
        'std': preprocessor.std.flatten().tolist(),
        'bars': list(MEAN_COLOUR[::-1]),
        'tasks': decodings,
        'policy': policy,
        'reads': {graph.kind: list(graph.reads) for graph in graphs},
        'state': _memory_shapes(model, graphs, [preprocessor.padded_size(one) for one in sizes]),
        'made': {
            'name': name,
            'weights': digest_model(model),  # tells exports apart that differ in nothing else
            'mmmtl': __version__,
            'torch': str(torch.__version__),
        },
    }
    if (wrong := wrong_field({**description, 'kind': kinds[0]})) is not None:
        raise ValueError(f'{name}: files cannot hold {wrong}; numbers must be finite, so take a large one for infinity')
    for task, one in model.main_tasks.items():
        _check_decoding(one, description['tasks'][task], f'{name}: task {task!r}')
    return description


def _check_decoding(task: Task, decoding: dict[str, Any], where: str) -> None:
    """Refuse a `Task.decoding` that makes other maps of random logits than `Task.decode`, such as an inherited one."""
    logits = 4 * torch.randn(1, task.out_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    described = DECODERS[decoding['kind']].decode(logits[0].numpy(), decoding)
    decoded = task.decode(logits)[0].numpy()
    if described.shape != decoded.shape or not np.allclose(described, decoded, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f'{where}: {type(task).__name__}.decode returns other maps than its `decoding` {decoding} describes; let '
            '`decoding` describe it, or return None'
        )


def _memory_shapes(
    model: MultiTaskSegmentor, graphs: Sequence[FrameGraph], sizes: Sequence[Size]
) -> dict[str, dict[str, int]]:
    """Return channels and stride of what a frame leaves behind; maps have ceil(side / stride) pixels."""
    wanted = next((graph.memory for graph in graphs if graph.memory), [])
    if not wanted:
        return {}
    with torch.no_grad():
        found = [model.frame_logits(torch.zeros(1, 3, *size)).memory for size in sizes]
    return {name: _shape(name, sizes, [memory[name] for memory in found]) for name in wanted}


def _shape(name: str, sizes: Sequence[Size], maps: Sequence[Tensor]) -> dict[str, int]:
    pairs = [
        (side, new)
        for size, map_ in zip(sizes, maps, strict=True)
        for side, new in zip(size, map_.shape[2:], strict=True)
    ]
    strides = [
        stride for stride in range(1, 1 + max(sizes[0])) if all(-(-side // stride) == new for side, new in pairs)
    ]
    if not strides or any(map_.dtype != torch.float32 for map_ in maps):
        raise ValueError(
            f'the memory {name!r} is not a float32 map with a fixed stride: {[tuple(one.shape) for one in maps]}'
        )
    return {'channels': maps[0].shape[1], 'stride': strides[0]}
