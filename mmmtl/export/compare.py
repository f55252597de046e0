"""Comparison of streams that compute the same: errors, losses and times."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import frame_kind
from mmmtl.structures import Array, StreamState

from .onnx_stream import METADATA, Arrays, Graph, OnnxStream, Shapes

NAMES = 'names'
"""The entry of a program that holds the names of its inputs and outputs, as JSON."""


class Stream(Protocol):
    """Anything that predicts frame after frame, as `OnnxStream` does."""

    def advance(self, inputs: Array, state: Any = None) -> tuple[Arrays, bool, Any]:
        """Return {task: logits (1, C, H, W)} of a frame (1, 3, H, W), whether it is a key frame, and the state."""


class TorchStream:
    """A model in PyTorch; `dtype` is that of autocast, None for none."""

    def __init__(self, model: MultiTaskSegmentor, dtype: torch.dtype | None = None) -> None:
        self.model, self.dtype = model, dtype

    @torch.inference_mode()
    def advance(self, inputs: Array, state: StreamState | None = None) -> tuple[Arrays, bool, StreamState]:
        images = torch.from_numpy(inputs)
        with nullcontext() if self.dtype is None else torch.autocast('cpu', self.dtype):
            found = self.model.step(images, state)
        logits = {
            name: F.interpolate(found.logits[name].float(), images.shape[-2:], mode='bilinear').numpy()
            for name in self.model.main_tasks
        }
        return logits, bool(found.is_key[0]), found.state


class ProgramStream(OnnxStream):
    """An exported model of `torch.export` programs."""

    suffix = '.pt2'

    def open_graph(self, path: Path) -> Graph:
        extra = {METADATA: '', NAMES: ''}
        program = torch.export.load(path, extra_files=extra)
        module, names = program.module(), json.loads(extra[NAMES])
        nodes = {node.name: node.meta.get('val') for node in program.graph.nodes}

        def shapes(which: str, tensors: Sequence[Any]) -> Shapes:
            found = [[side if isinstance(side, int) else None for side in nodes[name].shape[1:]] for name in tensors]
            return dict(zip(names[which], found, strict=True))

        @torch.inference_mode()
        def run(feed: Arrays) -> Arrays:
            found = module(*(torch.from_numpy(feed[name]) for name in names['inputs']))
            return {name: tensor.numpy() for name, tensor in zip(names['outputs'], found, strict=True)}

        signature = program.graph_signature
        inputs, outputs = shapes('inputs', signature.user_inputs), shapes('outputs', signature.user_outputs)
        return Graph(extra[METADATA] or None, inputs, outputs, run)


class Comparison(NamedTuple):
    """The differences between a stream and the reference.

    Args:
        error: {task: largest difference of logits, relative to the largest logit of the reference}.
        loss: {task: its primary metric, with the maps of the reference as labels}.
        milliseconds: {kind of frame: median}.
    """

    error: dict[str, float]
    loss: dict[str, float]
    milliseconds: dict[str, float]


def compare(
    model: MultiTaskSegmentor,
    streams: Mapping[str, Stream],
    frames: Iterable[Array],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Comparison]:
    """Compare streams with the model in PyTorch, on the frames (1, 3, H, W) of a video; the first name is 'PyTorch'.

    They take turns at every frame, so that a busy machine disturbs all of them alike. `clock` gives seconds.

    Raises:
        ValueError: a stream chooses other key frames.
    """
    runners: dict[str, Stream] = {'PyTorch': TorchStream(model), **streams}
    records = {name: _Record(model) for name in runners}
    states: dict[str, Any] = dict.fromkeys(runners)
    expected: Arrays = {}
    for number, inputs in enumerate(frames):
        for name, runner in runners.items():
            start = clock()
            logits, is_key, states[name] = runner.advance(inputs, states[name])
            seconds = clock() - start
            if name == 'PyTorch':
                expected, right = logits, is_key
            if is_key != right:
                found, wanted = ('treats', 'does not') if is_key else ('does not treat', 'does')
                raise ValueError(f'{name} {found} frame {number} as a key frame, but PyTorch {wanted}')
            records[name].add(logits, expected, seconds, is_key=is_key)
    return {name: record.summary() for name, record in records.items()}


class _Record:
    """Sums over the frames of a stream."""

    def __init__(self, model: MultiTaskSegmentor) -> None:
        self.model = model
        self.largest: dict[str, tuple[float, float]] = dict.fromkeys(model.main_tasks, (0.0, 0.0))
        self.totals: dict[str, Tensor] = {}
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def add(self, logits: Arrays, expected: Arrays, seconds: float, *, is_key: bool) -> None:
        self.seconds[frame_kind(self.model, is_key)].append(seconds)
        for name, task in self.model.main_tasks.items():
            ours, theirs = logits[name], expected[name]
            # NumPy's maximum keeps NaN, Python's may not.
            found = np.abs(ours - theirs).max(), np.abs(theirs).max()
            self.largest[name] = tuple(float(np.maximum(*pair)) for pair in zip(self.largest[name], found, strict=True))  # type: ignore[assignment]
            maps = (task.decode(torch.from_numpy(one))[0] for one in (ours, theirs))
            measured = task.measure(*maps).double()
            self.totals[name] = self.totals.get(name, torch.zeros_like(measured)) + measured

    def summary(self) -> Comparison:
        tasks = self.model.main_tasks
        losses = {name: tasks[name].summarize(total)[tasks[name].primary_metric] for name, total in self.totals.items()}
        errors = {name: off / max(size, 1e-30) for name, (off, size) in self.largest.items()}
        # The first frame of a kind is slow.
        times = {kind: 1e3 * median(taken[1:] or taken) for kind, taken in self.seconds.items()}
        return Comparison(errors, losses, times)
