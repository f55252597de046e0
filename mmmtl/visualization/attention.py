"""Attention weights and task features of a model, recorded by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmmtl.models.decode_heads import CSAM, CTAM, ATRCHead, DecodeHead, HeadOutput
from mmmtl.models.decode_heads.atrc import LabelContext, LocalContext, TaskMaps, region_descriptors
from mmmtl.models.decode_heads.atrc.context import Context
from mmmtl.models.layers import CrossAttention
from mmmtl.models.layers.linear_attention import EPS
from mmmtl.models.necks import ILANeck, PropagatingNeck

FRAMES = ('last key frame', 'last non-key frame')
"""The names of the frames that a neck propagates from."""

Kind = Literal['ILA', 'CTAM', 'CSAM', 'ATRC']

# C channels, H W target map, h w source map, K regions.


@dataclass(frozen=True)
class Attention:
    """The attention of a target map to a source map.

    Args:
        kind: 'ILA', 'CTAM', 'CSAM' or 'ATRC'.
        task: the task whose features look, or the branch that all tasks share.
        source: what they look at: one of `FRAMES`, a task, or the same task at a coarser scale.
        target_size: (H, W).
        source_size: (h, w).
        window: side of the window in the source map; None if the whole map is seen.
        weights: returns the weights (h, w) of a position (row, column) of the target, float64.
        context: type of the context, for ATRC: 'global', 'local', 'target_label' or 'source_label'.
    """

    kind: Kind
    task: str
    source: str
    target_size: tuple[int, int]
    source_size: tuple[int, int]
    window: int | None
    weights: Callable[[int, int], Tensor]
    context: str = ''

    def seen_from(self, row: int, column: int) -> tuple[slice, slice]:
        """Return the rows and columns of the source that a position of the target sees."""
        return window_around(row, column, self.source_size, self.window)


@dataclass
class Recording:
    """What a model did with one image or frame.

    Args:
        attentions: attentions in the order in which they were computed.
        features: {task: {name: map (C, H, W)}}: of a propagating neck the task's own and those from `FRAMES`, otherwise
            those of each scale of the decode head.
    """

    attentions: list[Attention] = field(default_factory=list)
    features: dict[str, dict[str, Tensor]] = field(default_factory=dict)


@contextmanager
def record(model: nn.Module) -> Iterator[Recording]:
    """Record the next image (a batch of one) that the model, in eval mode, predicts inside the block.

    ILA, CTAM, CSAM and the contexts of ATRC are known. The model is not changed, and its predictions stay the same.
    """
    recording = Recording()
    carries = any(isinstance(module, PropagatingNeck) for module in model.modules())
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            for part, hook in _hooks(name, module, recording, carries=carries):
                hooks.callback(part.register_forward_hook(hook).remove)
        yield recording


def window_around(row: int, column: int, size: tuple[int, int], window: int | None) -> tuple[slice, slice]:
    """Return the rows and columns of a map (h, w) that a window around a position covers; all without a window.

    Examples:
        >>> window_around(0, 4, (6, 8), 5)
        (slice(0, 3, None), slice(2, 7, None))
    """
    if window is None:
        return slice(0, size[0]), slice(0, size[1])
    reach = window // 2
    rows, columns = (
        slice(max(place - reach, 0), min(place + reach + 1, side))
        for place, side in zip((row, column), size, strict=True)
    )
    return rows, columns


def local_weights(
    query: Tensor, key: Tensor, row: int, column: int, *, window: int | None, scale: float, border: str
) -> Tensor:
    """Return the weights (h, w) that `mmmtl.ops.local_attention` gives the source for a target position, float64.

    They are zero outside the window and sum to 1; with `border='zero'` what is outside the map takes its share.
    """
    rows, columns = window_around(row, column, _size(key), window)
    logits = scale * torch.einsum('c,chw->hw', query[:, row, column].double(), key[:, rows, columns].double())
    outside = 0 if window is None or border == 'mask' else window**2 - logits.numel()
    everything = torch.cat([logits.flatten(), logits.new_zeros(outside)]).softmax(0)
    weights = logits.new_zeros(_size(key))
    weights[rows, columns] = everything[: logits.numel()].view_as(logits)
    return weights


def linear_weights(query: Tensor, key: Tensor, row: int, column: int) -> Tensor:
    """Return the weights (h, w) that `linear_attention` gives the source for a position of the target, float64.

    They are the products of the non-negative query and keys, divided by their sum: they sum to 1 unless all are zero.
    """
    products = torch.einsum('c,chw->hw', query[:, row, column].double(), key.double())
    return products / products.sum().clamp(min=EPS)


def region_weights(query: Tensor, key: Tensor, labels: Tensor, row: int, column: int, *, scale: float) -> Tensor:
    """Return the weights (h, w) that a `LabelContext` gives the source for a position of the target, float64.

    The position looks at regions, keys (C, K), and each region is a weighted mean of the positions of the source, by
    the softmax of its logits (K, h, w). The weight of a position is the sum over the regions of both weights' product.
    The weights sum to 1.
    """
    regions = (scale * query[:, row, column].double() @ key.double()).softmax(0)
    places = labels.double().flatten(1).softmax(1)
    return (regions @ places).view(labels.shape[1:])


Hook = Callable[[Any, Any, Any], None]


def _hooks(name: str, module: nn.Module, recording: Recording, *, carries: bool) -> Iterator[tuple[nn.Module, Hook]]:
    """Yield the modules to watch in a module of the model, with the hooks that watch them."""
    if isinstance(module, ILANeck):
        yield module, partial(_see_ila, recording)
    if isinstance(module, PropagatingNeck):
        yield module, partial(_see_slots, recording)
    elif isinstance(module, DecodeHead) and not carries:
        yield module, partial(_see_head, recording)
    elif isinstance(module, CTAM):
        for target, pairs in module.attend.items():
            for source, attend in pairs.items():
                yield attend, partial(_see_cross_attention, recording, 'CTAM', target, source)
    elif isinstance(module, CSAM):
        task = name.rpartition('.')[2]
        for attend in module.attend:
            yield attend, partial(_see_cross_attention, recording, 'CSAM', task, task)
    if isinstance(module, ATRCHead):
        for target, contexts in module.contexts.items():
            for source, attend in contexts.items():
                for context in attend.modules():  # a search holds several, of which one runs
                    if isinstance(context, Context):
                        yield context, partial(_see_context, recording, target, source)


def _see_ila(recording: Recording, neck: ILANeck, memories: Sequence[Any], output: Any) -> None:
    current, *sources = memories
    window = None if isinstance(neck.window, str) else neck.window
    for branch in neck.embed:
        query = _one(current[f'{branch}.embedding'])
        for frame, memory in zip(FRAMES, sources, strict=False):
            if memory is None:
                continue
            key = _one(memory[f'{branch}.embedding'])
            weigh = partial(local_weights, query, key, window=window, scale=neck.scale, border=neck.border)
            recording.attentions.append(Attention('ILA', branch, frame, _size(query), _size(key), window, weigh))


def _see_slots(recording: Recording, neck: nn.Module, memories: Any, output: Mapping[str, Sequence[Any]]) -> None:
    for task, slots in output.items():
        names = ('own', *(f'from the {frame}' for frame in FRAMES))
        found = {name: _one(map_) for name, map_ in zip(names, slots, strict=False) if map_ is not None}
        recording.features[task] = found


def _see_head(recording: Recording, head: DecodeHead, maps: Any, output: HeadOutput) -> None:
    for task, features in output.features.items():
        recording.features[task] = {f'scale {i}': _one(map_) for i, map_ in enumerate(features)}


def _see_cross_attention(
    recording: Recording,
    kind: Kind,
    task: str,
    source: str,
    attend: CrossAttention,
    inputs: tuple[Tensor, Sequence[Tensor]],
    output: Any,
) -> None:
    target, sources = inputs
    query = _one(attend.query(target))
    for map_ in sources:
        key = _one(attend.key(map_))
        weigh = partial(linear_weights, query, key)
        recording.attentions.append(Attention(kind, task, source, _size(query), _size(key), None, weigh))


def _see_context(
    recording: Recording, task: str, source: str, context: Context, inputs: tuple[TaskMaps, TaskMaps], output: Any
) -> None:
    target_maps, source_maps = inputs
    query, window = _one(context.query(target_maps.features)), None
    scale = len(query) ** -0.5
    if isinstance(context, LabelContext):
        kind = f'{context.labels}_label'
        labels = (target_maps if context.labels == 'target' else source_maps).label_space
        assert labels is not None, 'a context that has run had its label space'
        regions = _one(context.key(region_descriptors(source_maps.features, labels).unsqueeze(3))).squeeze(2)
        weigh = partial(region_weights, query, regions, _one(labels), scale=scale)
    else:
        key = _one(context.key(source_maps.features))
        if isinstance(context, LocalContext):
            kind, window = 'local', context.window
            weigh = partial(local_weights, query, key, window=window, scale=scale, border='zero')
        else:
            kind, weigh = 'global', partial(linear_weights, query, key)
    size = _size(source_maps.features[0])
    recording.attentions.append(Attention('ATRC', task, source, _size(query), size, window, weigh, kind))


def _one(maps: Tensor) -> Tensor:
    """Return the map (C, H, W) of a batch of one, in memory of its own."""
    if len(maps) != 1:
        raise ValueError(f'attention is recorded for one image at a time, not for a batch of {len(maps)}')
    return maps[0].detach().cpu().clone()


def _size(map_: Tensor) -> tuple[int, int]:
    return map_.shape[1], map_.shape[2]
