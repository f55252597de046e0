"""Graphs of a model: a function of tensors for each kind of frame, traced into a program without mmmtl."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mmmtl.apis.optimize import fold_norms
from mmmtl.models import MultiTaskSegmentor
from mmmtl.models.segmentors.frame_kinds import KEY, ReadMemories

SLOTS = ('key', 'non_key')


class FrameGraph(nn.Module):
    """One kind of frame, as a function from tensors to tensors; the order is that of `inputs` and `outputs`.

    Inputs are `frames` (N, 3, H, W) and, for each memory that is read, `key.<name>` or `non_key.<name>`. Outputs are
    `logits.<task>` (N, C, H, W), resized to the frames, and `memory.<name>` if later frames read it.

    Args:
        model: the model, in eval mode.
        kind: kind of the frame.
        read: the memories that such a frame reads, as examples.
        memory: the names in the memory of such a frame; empty if no frame reads it.
    """

    def __init__(self, model: MultiTaskSegmentor, kind: str, read: ReadMemories, memory: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.kind = kind
        self.reads = {slot: list(found) for slot, found in zip(SLOTS, read, strict=True) if found is not None}
        self.memory = list(memory)
        self.tasks = list(model.main_tasks)
        self.inputs = ['frames', *(f'{slot}.{name}' for slot, names in self.reads.items() for name in names)]
        self.outputs = [*(f'logits.{name}' for name in self.tasks), *(f'memory.{name}' for name in self.memory)]

    def forward(self, frames: Tensor, *memories: Tensor) -> tuple[Tensor, ...]:
        given = iter(memories)
        key, non_key = (
            {name: next(given) for name in self.reads[slot]} if slot in self.reads else None for slot in SLOTS
        )
        logits, memory = self.model.frame_logits(frames, key, non_key, is_key=self.kind == KEY)
        full = (F.interpolate(logits[name].float(), frames.shape[-2:], mode='bilinear') for name in self.tasks)
        return *full, *(memory[name] for name in self.memory)


def frame_graphs(model: MultiTaskSegmentor, images: Tensor) -> Iterator[tuple[FrameGraph, tuple[Tensor, ...]]]:
    """Yield the graph of each kind of frame, with example inputs; `images` are (N, 3, H, W).

    The model is copied, and batch norm folded in the copy.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    fold_norms(model)
    with torch.no_grad():
        reads = model.steady_memories(images)
        needed = {kind for read in reads.values() for kind, found in zip(SLOTS, read, strict=True) if found is not None}
        for kind, read in reads.items():
            memory = model.frame_logits(images, *read, is_key=kind == KEY).memory if kind in needed else {}
            remembered = [tensor for one in read if one is not None for tensor in one.values()]
            yield FrameGraph(model, kind, read, list(memory)), (images, *remembered)


def trace(graph: FrameGraph, inputs: tuple[Tensor, ...], *, dynamic_size: bool) -> ExportedProgram:
    """Trace a graph for any batch, and for any size of the frames if it is dynamic.

    The examples need a batch of 2, since PyTorch takes a 1 for a constant.
    """
    batch: Any = Dim('batch', min=1)
    frames: dict[int, Any] = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC} if dynamic_size else {}
    memory: dict[int, Any] = {2: Dim.AUTO, 3: Dim.AUTO} if dynamic_size else {}
    memories = tuple({0: batch, **memory} for _ in inputs[1:])
    shapes: Any = ({0: batch, **frames}, *([memories] if memories else []))
    with torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=shapes)
    if own := sorted({str(node.target) for node in program.graph.nodes if str(node.target).startswith('mmmtl.')}):
        raise ValueError(f'{", ".join(own)} cannot run without mmmtl')
    return program
