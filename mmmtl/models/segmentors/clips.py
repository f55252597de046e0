"""Batches of clips: slots, checks, and the networks that run on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .multi_task_segmentor import Samples

LAST_KEY, LAST_NON_KEY, CURRENT = range(3)


def check_clips(clips: Tensor, samples: Samples) -> None:
    """Refuse anything but clips (N, 3, 3, H, W) and N samples with `offset`."""
    described = len(samples) == len(clips) and all('offset' in sample for sample in samples)
    if clips.dim() != 5 or clips.shape[1] != 3 or not described:
        raise ValueError(
            f'a video model takes clips (N, 3, 3, H, W) and N samples with `offset`, not {tuple(clips.shape)} and '
            f'{len(samples)} samples; use a data set with clip=dict(...), or call step(frames, state) for single frames'
        )


def encode_both(
    slow: Callable[[Tensor], Tensor], fast: Callable[[Tensor], Tensor], slow_frames: Tensor, fast_frames: Tensor
) -> tuple[Tensor, Tensor]:
    """Return slow and fast features; either batch may be empty, but not both."""
    # Batch norm refuses an empty batch in training.
    if not len(slow_frames):
        features = fast(fast_frames)
        return features[:0], features
    features = slow(slow_frames)
    return features, fast(fast_frames) if len(fast_frames) else features[:0]


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep batch norm in eval mode inside the block, in which nothing is checkpointed.

    Activation checkpointing (`with_cp`) would run a part again in the backward pass, and so outside the block.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    checkpointed: list[Any] = [m for m in module.modules() if getattr(m, 'with_cp', False)]
    for norm in norms:
        norm.eval()
    for part in checkpointed:
        part.with_cp = False
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
        for part in checkpointed:
            part.with_cp = True
