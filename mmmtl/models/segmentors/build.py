"""Building the parts of a model: each learns the channels of the maps that it reads from the part before."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmmtl.models.backbones import AlignedBackbone, feature_channels
from mmmtl.registry import MODELS
from mmmtl.tasks import Task


def build_backbone(cfg: dict[str, Any], task_backbone: dict[str, Any] | None, tasks: Mapping[str, Task]) -> nn.Module:
    """Build a backbone, or the `TaskBackbone` around it."""
    return MODELS.build(cfg if task_backbone is None else {**task_backbone, 'backbone': cfg, 'tasks': tasks})


def build_fast_backbone(cfg: dict[str, Any], slow: nn.Module) -> nn.Module:
    """Build the fast network; an `AlignedBackbone` without `channels` gets those of the slow one."""
    if _kind(cfg) is AlignedBackbone and cfg.get('channels') is None:
        cfg = {**cfg, 'channels': feature_channels(slow)[-1]}
    return MODELS.build(cfg)


def build_reader(cfg: dict[str, Any], source: nn.Module, **given: Any) -> Any:
    """Build what reads the maps of a source, with their `in_channels` where it takes them and the config is silent.

    Args:
        cfg: of a neck, a head or a loss of features.
        source: backbone or neck.
        given: further arguments, whatever the config says.

    Raises:
        ValueError: `in_channels` is a number; or see `feature_channels`.
    """
    kind = _kind(cfg)
    if kind is not None and 'in_channels' in inspect.signature(kind).parameters and cfg.get('in_channels') is None:
        cfg = {**cfg, 'in_channels': feature_channels(source)}
    elif isinstance(number := cfg.get('in_channels'), int):
        raise ValueError(
            f'{cfg["type"]}: in_channels={number} must be a sequence with the channels of each map, as ({number},); '
            'without it, they are those of the part before'
        )
    return MODELS.build({**cfg, **given})


def _kind(cfg: dict[str, Any]) -> Any:
    """Return the class or function that a config names; None if there is no such component."""
    return MODELS.get(cfg['type']) if isinstance(cfg['type'], str) else cfg['type']
