"""A context in which a module is in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Compute inside the block in eval mode and without gradients; afterwards each part has its own mode again."""
    training = {part: part.training for part in module.modules()}
    module.eval()  # returns None for mmseg's ResNet
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in training.items():
            part.training = mode
