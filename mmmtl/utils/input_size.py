"""The size of the pictures that a config tests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.config import Config


def input_size(cfg: Config) -> tuple[int, int] | None:
    """(height, width) that the last Resize of the test pipeline makes, or None."""
    sizes = [tuple(transform['size']) for transform in _resizes(cfg.get('test_dataloader') or {})]
    return sizes[-1] if sizes else None


def _resizes(cfg: Any) -> Iterator[dict[str, Any]]:
    """The Resize transforms anywhere in the config of a data loader."""
    if isinstance(cfg, dict):
        if str(cfg.get('type', '')).rpartition('.')[2] == 'Resize' and 'size' in cfg:
            yield cfg
        cfg = list(cfg.values())
    if isinstance(cfg, (list, tuple)):
        for item in cfg:
            yield from _resizes(item)
